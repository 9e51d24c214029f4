"""Resending: what the broker still holds is not sent a second time, and what it lost is. On every broker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from connector.bootstrap import Runtime, open_runtime
from connector.channels import Channel
from connector.ledger import outbox
from connector.ledger.outbox import OutboxRow
from connector.settings import Outbox, Settings
from connector.testing.channel_conformance import receive_all
from tests.support.servers import Broker
from workers.relay import relay_once

AT_ONCE = Outbox(resend_after_s=0.000_001, resend_after_max_s=0.000_001)


@pytest.fixture(params=["memory", "rabbitmq", "redis_server"])
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runtime]:
    url, prefix = "memory://", ""
    if request.param != "memory":
        broker: Broker = request.getfixturevalue(request.param)
        url, prefix = broker.url, broker.prefix
    settings = Settings(home=tmp_path, broker_url=url, prefix=f"{prefix}{uuid.uuid4().hex[:8]}", outbox=AT_ONCE)
    made = open_runtime(settings)
    made.ledger.upgrade()
    yield made
    made.close()


@pytest.fixture
def channel(runtime: Runtime) -> Iterator[Channel]:
    opened = runtime.channel()
    opened.declare()
    yield opened
    opened.close()


def _accept(runtime: Runtime, count: int) -> None:
    with runtime.ledger.begin() as tx:
        outbox.add(tx, [OutboxRow("/oa/x/C01", f"{n}", "expense.report.approved.v1", b"%d" % n) for n in range(count)])


def test_without_a_worker_every_event_is_in_the_queue_once_however_long_it_takes(
    runtime: Runtime, channel: Channel
) -> None:
    _accept(runtime, 10)

    for _ in range(20):
        relay_once(runtime, channel)

    assert channel.depth() == 10


def test_events_that_the_broker_lost_are_all_sent_again(runtime: Runtime, channel: Channel) -> None:
    _accept(runtime, 10)
    relay_once(runtime, channel)
    channel.ack(receive_all(channel, 10))

    two_at_once = replace(
        runtime, settings=runtime.settings.model_copy(update={"outbox": AT_ONCE.model_copy(update={"batch": 2})})
    )
    for _ in range(20):
        relay_once(two_at_once, channel)

    assert sorted(int(message.body) for message in receive_all(channel, 10)) == list(range(10))


def test_what_a_broker_did_not_take_is_sent_although_others_wait_in_the_queue(
    runtime: Runtime, channel: Channel
) -> None:
    _accept(runtime, 2)
    relay_once(runtime, channel)
    with runtime.ledger.begin() as tx:
        outbox.add(tx, [OutboxRow("/oa/x/C01", "new", "expense.report.approved.v1", b"99")])
        claimed = outbox.claim(tx, 500, 60, 60)
        outbox.failed(tx, [row.id for row in claimed])

    for _ in range(3):
        relay_once(runtime, channel)

    assert sorted(int(message.body) for message in receive_all(channel, 3)) == [0, 1, 99]
