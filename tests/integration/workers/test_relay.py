"""The relay: what no broker takes goes to a person, and holds up nothing else."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from connector.bootstrap import Runtime, open_runtime
from connector.ledger import outbox
from connector.ledger.outbox import OutboxRow
from connector.settings import Settings
from connector.testing.channel_conformance import receive_all
from contracts import EVENT_BYTES_MAX
from tests.integration.process.world import report
from workers.relay import relay_once


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
