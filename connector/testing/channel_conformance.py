"""What every event channel promises, tested once and run against each: memory, RabbitMQ, Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

import pytest

from connector.channels import GIVEN_UP, Channel, Message
from connector.errors import Unavailable
from contracts import EVENT_BYTES_MAX

WAIT_S = 0.05
LONG_S = 30  # On the slowest machine. Whoever waits for ever waits longer.
TYPE = "expense.report.approved.v1"


class ChannelRig:
    """Opens channels of one broker, as many processes would, and closes them all at its end."""

    def __init__(self, make: Callable[[], Channel]) -> None:
        self._make = make
        self._opened: list[Channel] = []

    def open(self) -> Channel:
        """A channel of its own."""
        channel = self._make()
        self._opened.append(channel)
        return channel

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._opened:
            channel.close()


def messages(count: int) -> list[Message]:
    """Messages that can be told apart."""
    return [Message(b'{"n": %d}' % n, {"type": TYPE, "webhook-id": f"id-{n}"}) for n in range(count)]


def receive_all(channel: Channel, count: int, deadline_s: float = LONG_S) -> list[Message]:
    """`count` messages, in as many batches as they come in; fewer after the deadline."""
    arrived: list[Message] = []
    end = time.monotonic() + deadline_s
    while len(arrived) < count and time.monotonic() < end:
        arrived += channel.receive(count - len(arrived), WAIT_S)
    return arrived


class ChannelConformance:
    """Subclasses give `make`: a function that opens a channel on a broker that holds nothing of ours yet."""

    @pytest.fixture
    def rig(self, make: Callable[[], Channel]) -> Iterator[ChannelRig]:
        with ChannelRig(make) as rig:
            rig.open().declare()
            yield rig

    def test_what_is_published_arrives_once_with_its_bytes_and_headers(self, rig: ChannelRig) -> None:
        sent = [*messages(3), Message(b"\x00\xff not text", {"type": TYPE}), Message(b"", {"type": TYPE})]

        rig.open().publish(sent)

        consumer = rig.open()
        arrived = receive_all(consumer, 5)
        assert [message.body for message in arrived] == [message.body for message in sent]
        assert arrived[0].headers["webhook-id"] == "id-0"
        consumer.ack(arrived)
        assert consumer.receive(10, WAIT_S) == []

    def test_what_was_acknowledged_does_not_come_again(self, rig: ChannelRig) -> None:
        rig.open().publish(messages(4))
        first = rig.open()
        arrived = receive_all(first, 4)

        first.ack(arrived[:3])
        first.close()

        again = receive_all(rig.open(), 1)
        assert [message.body for message in again] == [arrived[3].body]

    def test_what_was_not_acknowledged_comes_again_when_its_consumer_closes(self, rig: ChannelRig) -> None:
        rig.open().publish(messages(5))
        first = rig.open()
        assert len(receive_all(first, 5)) == 5

        first.close()

        again = receive_all(rig.open(), 5)
        assert sorted(message.body for message in again) == sorted(message.body for message in messages(5))

    def test_messages_are_acknowledged_in_any_order(self, rig: ChannelRig) -> None:
        rig.open().publish(messages(6))
        consumer = rig.open()
        arrived = receive_all(consumer, 6)

        consumer.ack([arrived[5], arrived[0]])
        consumer.ack(arrived[1:5])
        consumer.close()

        assert rig.open().receive(10, WAIT_S) == []

    def test_two_consumers_share_the_work_and_double_nothing(self, rig: ChannelRig) -> None:
        rig.open().publish(messages(200))
        taken: list[bytes] = []

        def consume(channel: Channel) -> None:
            while batch := channel.receive(10, WAIT_S):
                taken.extend(message.body for message in batch)
                channel.ack(batch)

        threads = [threading.Thread(target=consume, args=(rig.open(),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert sorted(taken) == sorted(message.body for message in messages(200))

    def test_a_batch_is_never_larger_than_asked_for(self, rig: ChannelRig) -> None:
        rig.open().publish(messages(30))
        consumer = rig.open()

        sizes = [len(consumer.receive(7, WAIT_S)) for _ in range(3)]

        assert max(sizes) <= 7
        assert sum(sizes) > 7

    def test_an_empty_channel_answers_all_the_same(self, rig: ChannelRig) -> None:
        consumer = rig.open()
        consumer.receive(10, WAIT_S)

        started = time.monotonic()
        assert consumer.receive(10, WAIT_S) == []

        assert time.monotonic() - started < LONG_S

    def test_a_batch_does_not_wait_longer_than_told_to_fill(self, rig: ChannelRig) -> None:
        rig.open().publish(messages(1))
        consumer = rig.open()

        started = time.monotonic()
        arrived: Sequence[Message] = []
        while not arrived:
            arrived = consumer.receive(10, WAIT_S)

        assert len(arrived) == 1
        assert time.monotonic() - started < LONG_S

    def test_a_message_over_the_limit_is_refused_before_it_is_sent(self, rig: ChannelRig) -> None:
        publisher = rig.open()

        with pytest.raises(Unavailable, match="over the limit"):
            publisher.publish([Message(b"x" * (EVENT_BYTES_MAX + 1), {"type": TYPE})])

        publisher.publish([Message(b"x" * EVENT_BYTES_MAX, {"type": TYPE})])
        assert [len(message.body) for message in receive_all(rig.open(), 1)] == [EVENT_BYTES_MAX]

    def test_nobody_can_mark_a_message_as_given_up_from_outside(self, rig: ChannelRig) -> None:
        rig.open().publish([Message(b"{}", {"type": TYPE, GIVEN_UP: "says the sender"})])

        (message,) = receive_all(rig.open(), 1)

        assert GIVEN_UP not in message.headers

    def test_what_is_held_and_vouched_for_is_not_given_to_another(self, rig: ChannelRig) -> None:
        rig.open().publish(messages(3))
        holder, other = rig.open(), rig.open()
        held = receive_all(holder, 3)

        taken: list[Message] = []
        for _ in range(3):
            holder.beat()
            taken += other.receive(10, WAIT_S)

        assert taken == []
        holder.ack(held)

    def test_a_closed_channel_opens_again_when_it_is_used(self, rig: ChannelRig) -> None:
        channel = rig.open()
        channel.publish(messages(1))

        channel.close()
        channel.close()
        channel.publish(messages(1))

        assert len(receive_all(rig.open(), 2)) == 2

    def test_depth_tells_how_much_waits(self, rig: ChannelRig) -> None:
        channel = rig.open()
        channel.publish(messages(7))

        assert channel.depth() == 7

    def test_declaring_again_changes_nothing(self, rig: ChannelRig) -> None:
        channel = rig.open()
        channel.publish(messages(2))

        channel.declare()
        channel.declare()

        assert len(receive_all(channel, 2)) == 2
