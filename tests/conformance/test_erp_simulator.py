"""The simulator and its adapter keep what every ERP adapter promises, with and without a unique reference, for each document it is handed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest
from pydantic import SecretStr

from connector.adapter import Adapter, Features
from connector.erp.simulator import SimulatorErp
from connector.settings import System
from connector.testing.conformance import ErpConformance, ErpRig
from connector.testing.erp_simulator import ErpSimulator
from connector.testing.http_faults import HttpFaults


def rigged(erp: ErpSimulator) -> Iterator[ErpRig]:
    def writes(path: str, body: bytes) -> bool:
        return path == f"/{erp.target}s" and bool(body)

    with erp, HttpFaults(erp.url) as faults:

        def open_adapter(url: str = faults.url, password: str = erp.password) -> Adapter:
            options = {
                "unique_reference": "yes" if erp.unique_reference else "no",
                "target": erp.target,
                "red_letter": erp.red_letter,
            }
            return SimulatorErp(
                System(
                    adapter="simulator",
                    company="C01",
                    url=url,
                    user=erp.user,
                    password=SecretStr(password),
                    options=options,
                )
            )

        with ErpRig(
            make=open_adapter,
            live=lambda reference: len(erp.live(reference)),
            closed_day=date(2026, 3, 15),
            faults=faults,
            creates=writes,
            posts=writes,
            logins=lambda: erp.met["logins"],
            fenced=erp.unique_reference,
        ) as rig:
            yield rig


class TestUniqueReference(ErpConformance):
    features = Features(deliver=True, batch=100, unique_reference=True)

    @pytest.fixture
    def rig(self) -> Iterator[ErpRig]:
        yield from rigged(
            ErpSimulator(unique_reference=True, accounts=["660201", "224101"], closed_periods=["2026-03"])
        )


class TestNoUniqueReference(ErpConformance):
    features = Features(deliver=True, batch=100)

    @pytest.fixture
    def rig(self) -> Iterator[ErpRig]:
        yield from rigged(ErpSimulator(accounts=["660201", "224101"], closed_periods=["2026-03"]))


class TestAtomicBatch(ErpConformance):
    features = Features(deliver=True, batch=100)

    @pytest.fixture
    def rig(self) -> Iterator[ErpRig]:
        yield from rigged(ErpSimulator(atomic_batch=True, accounts=["660201", "224101"], closed_periods=["2026-03"]))


class TestSwappedVouchers(ErpConformance):
    features = Features(deliver=True, batch=100)

    @pytest.fixture
    def rig(self) -> Iterator[ErpRig]:
        yield from rigged(ErpSimulator(red_letter="swapped", accounts=["660201", "224101"], closed_periods=["2026-03"]))


class TestPayableBills(ErpConformance):
    features = Features(deliver=True, batch=100)

    @pytest.fixture
    def rig(self) -> Iterator[ErpRig]:
        yield from rigged(
            ErpSimulator(
                target="payable_bill", red_letter="negative", accounts=["660201", "224101"], closed_periods=["2026-03"]
            )
        )


class TestSwappedPayableBills(ErpConformance):
    features = Features(deliver=True, batch=100)

    @pytest.fixture
    def rig(self) -> Iterator[ErpRig]:
        yield from rigged(
            ErpSimulator(
                target="payable_bill", red_letter="swapped", accounts=["660201", "224101"], closed_periods=["2026-03"]
            )
        )


class TestExpenseDocuments(ErpConformance):
    features = Features(deliver=True, batch=100)

    @pytest.fixture
    def rig(self) -> Iterator[ErpRig]:
        yield from rigged(
            ErpSimulator(
                target="expense_document",
                red_letter="negative",
                accounts=["660201", "224101"],
                closed_periods=["2026-03"],
            )
        )


class TestSwappedExpenseDocuments(ErpConformance):
    features = Features(deliver=True, batch=100)

    @pytest.fixture
    def rig(self) -> Iterator[ErpRig]:
        yield from rigged(
            ErpSimulator(
                target="expense_document",
                red_letter="swapped",
                accounts=["660201", "224101"],
                closed_periods=["2026-03"],
            )
        )
