"""What ends its consumers again and again is handed out alone once, then given up; its neighbours are not."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from connector.channels import GIVEN_UP, Channel, Message
from connector.channels.amqp import AmqpChannel
from connector.channels.redis import RedisChannel
from connector.settings import Consumer
from connector.testing.channel_conformance import ChannelRig, messages, receive_all
from tests.support.servers import Broker
from tests.support.wait import until

CONSUMER = Consumer(delivery_limit=2)


@pytest.fixture(params=["rabbitmq", "redis_server"])
def rig(request: pytest.FixtureRequest) -> Iterator[ChannelRig]:
    broker: Broker = request.getfixturevalue(request.param)
    prefix = f"{broker.prefix}-{uuid.uuid4().hex[:8]}"
    make: Callable[[], Channel] = {
        "rabbitmq": lambda: AmqpChannel(broker.url, prefix, CONSUMER),
        "redis_server": lambda: RedisChannel(broker.url, prefix, CONSUMER, abandoned_ms=200),
    }[request.param]
    with ChannelRig(make) as made:
        made.open().declare()
        yield made


def fail_together(rig: ChannelRig, count: int) -> None:
    """Takes all and dies with them, until nobody hands them out together any more."""
    for _ in range(CONSUMER.delivery_limit + 1):
        channel = rig.open()
        assert len(receive_all(channel, count, 5)) == count
        channel.close()


def next_batch(channel: Channel) -> list[Message]:
    taken: list[Message] = []
    until(lambda: taken.extend(channel.receive(10, 0.05)) or taken, 60, "a batch")  # type: ignore[func-returns-value]
    return taken


def test_what_came_too_often_comes_alone_and_unmarked_so_that_the_innocent_pass(rig: ChannelRig) -> None:
    rig.open().publish(messages(3))
    fail_together(rig, 3)

    channel = rig.open()
    batches = []
    for _ in range(3):
        batches.append(next_batch(channel))
        channel.ack(batches[-1])

    assert [len(batch) for batch in batches] == [1, 1, 1]
    assert all(GIVEN_UP not in batch[0].headers for batch in batches)
    assert sorted(batch[0].body for batch in batches) == sorted(message.body for message in messages(3))
    assert channel.receive(10, 0.05) == []


def test_what_fails_alone_too_is_given_up(rig: ChannelRig) -> None:
    rig.open().publish(messages(1))
    fail_together(rig, 1)
    alone = rig.open()
    assert GIVEN_UP not in next_batch(alone)[0].headers
    alone.close()

    (again,) = next_batch(rig.open())

    assert "alone" in again.headers[GIVEN_UP]
