"""The adapter of Tryton keeps what every ERP adapter promises, against a real server on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from pydantic import SecretStr

from connector.adapter import Adapter
from connector.erp.tryton import Tryton
from connector.erp.tryton_rpc import TrytonClient
from connector.http import HttpClient
from connector.settings import System
from connector.testing.conformance import ErpConformance, ErpRig
from connector.testing.http_faults import HttpFaults


def calls(method: str) -> Any:
    return lambda path, body: f'"model.account.move.{method}"'.encode() in body


def oracle(server: Any) -> TrytonClient:
    """A session of the administrator, beside the adapter under test."""
    return TrytonClient(HttpClient(server.url), server.database, server.admin_user, server.admin_password)


def live_moves(admin: TrytonClient, reference: str) -> int:
    """Posted moves with the reference, less those that cancel one of them."""
    posted = admin.read(
        "model.account.move.search", [["description", "=", reference], ["state", "=", "posted"]], 0, None, None
    )
    origins = [f"account.move,{move}" for move in posted]
    undone = admin.read(
        "model.account.move.search", [["origin", "in", origins], ["state", "=", "posted"]], 0, None, None
    )
    return len(posted) - len(undone)


class TestTryton(ErpConformance):
    features = Tryton.features

    @pytest.fixture
    def rig(self, tryton: Any) -> Iterator[ErpRig]:
        admin = oracle(tryton)
        period = admin.read("model.account.period.search", [["name", "=", "2026-01"]], 0, 1, None)
        if admin.read("model.account.period.read", period, ["state"])[0]["state"] == "open":
            admin.call("model.account.period.close", period)

        with HttpFaults(tryton.url, label=lambda path, body: b'"common.db.login"' in body) as faults:

            def open_adapter(url: str = faults.url, password: str = tryton.password) -> Adapter:
                options = {"database": tryton.database}
                return Tryton(
                    System(
                        adapter="tryton",
                        company="C01",
                        url=url,
                        user=tryton.user,
                        password=SecretStr(password),
                        options=options,
                    )
                )

            with ErpRig(
                make=open_adapter,
                live=lambda reference: live_moves(admin, reference),
                closed_day=date(2026, 1, 24),
                faults=faults,
                creates=calls("create"),
                posts=calls("post"),
                logins=lambda: faults.labelled,
            ) as rig:
                yield rig
        admin.close()
