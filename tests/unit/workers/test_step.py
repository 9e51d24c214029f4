"""The event loop while the ledger is away: it holds what it has, gives nothing back, and goes on by itself."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from connector.channels import Channel, Message
from connector.channels.amqp import AmqpChannel
from connector.errors import Unavailable
from connector.process.batch import BatchResult
from connector.settings import Consumer, Settings
from tests.support.wait import until
from workers.step import EventLoop


@dataclass
class Runtime:
    """Only what the loop uses: a channel, the settings, and a batch step that fails as long as it is told to."""

    failing: bool
    prefix: str = field(default_factory=lambda: f"step-{uuid.uuid4().hex[:8]}")
    settings: Settings = field(default_factory=Settings)
    tries: int = 0
    channels: int = 0
    applied: list[bytes] = field(default_factory=list)

    def channel(self) -> Channel:
        self.channels += 1
        return AmqpChannel("memory://", self.prefix, Consumer())

    def apply_batch(self, messages: Sequence[Message]) -> BatchResult:
        self.tries += 1
        if self.failing:
            raise Unavailable("the ledger is away", code="OPS-805")
        self.applied += [message.body for message in messages]
        return BatchResult(to_post={"C01"})


@dataclass
class Bell:
    wanted: list[tuple[str, str]] = field(default_factory=list)

    def want(self, task: str, arguments: Any) -> None:
        self.wanted += [(task, argument) for argument in arguments]

    def ring(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def runtime() -> Runtime:
    made = Runtime(failing=True)
    publisher = made.channel()
    publisher.publish([Message(b"%d" % n, {"type": "t"}) for n in range(5)])
    publisher.close()
    made.channels = 0
    return made


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def loop(runtime: Runtime, bell: Bell) -> Iterator[EventLoop]:
    made = EventLoop(runtime, bell)  # type: ignore[arg-type]
    made.start()
    yield made
    made.stop()
    assert not made.is_alive()


def test_a_batch_is_held_while_the_ledger_is_away_and_applied_when_it_is_back(
    runtime: Runtime, bell: Bell, loop: EventLoop
) -> None:
    until(lambda: runtime.tries >= 3, 60, "it tries again")
    assert runtime.channels == 1

    runtime.failing = False

    until(lambda: len(runtime.applied) == 5, 60, "the batch is applied")
    assert runtime.channels == 1
    assert set(bell.wanted) == {("oaerp.deliver", "C01")}


def test_a_loop_told_to_end_gives_back_what_it_holds(runtime: Runtime, bell: Bell) -> None:
    loop = EventLoop(runtime, bell)  # type: ignore[arg-type]
    loop.start()
    until(lambda: runtime.tries >= 1, 60, "it holds a batch")

    ending = threading.Thread(target=loop.stop)
    ending.start()
    ending.join(60)

    assert not loop.is_alive()
    runtime.failing = False
    other = EventLoop(runtime, bell)  # type: ignore[arg-type]
    other.start()
    until(lambda: sorted(runtime.applied) == [b"0", b"1", b"2", b"3", b"4"], 60, "another loop takes it over")
    other.stop()
