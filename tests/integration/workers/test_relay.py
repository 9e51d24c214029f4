"""The relay: what no broker takes goes to a person, and holds up nothing else."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from connector.bootstrap import Runtime, open_runtime
from connector.ledger import Ledger, outbox
from connector.ledger.outbox import OutboxRow
from connector.settings import Settings
from connector.testing.channel_conformance import receive_all
from contracts import EVENT_BYTES_MAX
from tests.integration.process.world import report
from tests.support.wait import until
from workers.relay import relay_once, run


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    made = open_runtime(Settings(home=tmp_path, prefix=f"relay-{uuid.uuid4().hex[:8]}"))
    made.ledger.upgrade()
    yield made
    made.close()


def test_an_event_too_long_for_any_broker_becomes_a_dead_letter_and_the_others_travel(runtime: Runtime) -> None:
    body = json.dumps(report("R-1"), ensure_ascii=False).encode()
    rows = [
        OutboxRow("/oa/x/C01", "long", "expense.report.approved.v1", b"x" * (EVENT_BYTES_MAX + 1)),
        OutboxRow("/oa/x/C01", "good", "expense.report.approved.v1", body),
    ]
    with runtime.ledger.begin() as tx:
        outbox.add(tx, rows)
    channel = runtime.channel()

    relay_once(runtime, channel)

    assert [message.body for message in receive_all(channel, 1)] == [body]
    with runtime.ledger.begin() as tx:
        assert tx.execute(text("SELECT code, length(body) FROM dead_letters")).all() == [
            ("CON-104", EVENT_BYTES_MAX + 1)
        ]
        assert tx.scalars(text("SELECT event_id FROM outbox")).all() == ["good"]
    channel.close()


def test_the_relay_waits_while_every_connection_of_the_ledger_is_in_use(
    fresh_postgres_url: Callable[[], str], tmp_path: Path
) -> None:
    made = open_runtime(Settings(home=tmp_path, prefix=f"relay-{uuid.uuid4().hex[:8]}"))
    runtime = replace(made, ledger=Ledger(fresh_postgres_url(), pool_size=1))
    runtime.ledger.upgrade()
    runtime.ledger.engine.pool._timeout = 0.1  # type: ignore[attr-defined]
    stop = Event()
    relay = Thread(target=run, args=(runtime, stop))
    with runtime.ledger.begin(), runtime.ledger.begin(), capture_logs() as logs:
        relay.start()
        until(lambda: any(log["event"] == "the relay waits" for log in logs) or not relay.is_alive(), 10, "it waits")

    with runtime.ledger.begin() as tx:
        outbox.add(tx, [OutboxRow("/oa/x/C01", "one", "expense.report.approved.v1", b"{}")])
    sent = "SELECT count(*) FROM outbox WHERE sends = 1"
    until(lambda: _one(runtime.ledger, sent) == 1, 10, "it goes on")

    stop.set()
    relay.join(10)
    runtime.close()


def _one(ledger: Ledger, query: str) -> object:
    with ledger.begin() as tx:
        return tx.scalar(text(query))
