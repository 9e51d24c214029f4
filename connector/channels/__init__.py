"""The event channel: how events travel between processes. The ledger is the truth, a channel only rings the bell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

# A header that a channel sets on what ended its consumer even when it was handed out alone: it is parked, not tried again.
GIVEN_UP = "x-given-up"


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes on a channel: a CloudEvents JSON body and its headers (signature, content type). `token` acknowledges it."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    token: Any = None
    redelivered: bool = False


def named(source: str, event_id: str) -> dict[str, str]:
    """Headers that name the outbox row a message comes from: the only way back to it where the body cannot be read."""
    return {"outbox-source": source, "outbox-id": event_id}


def texts(named: Any) -> dict[str, str]:
    """The headers a sender set, as far as they are text. What no database would store is escaped, and nobody outside
    marks a message as given up."""
    if not isinstance(named, Mapping):
        return {}
    return {
        str(name): value if value.isprintable() else ascii(value)[1:-1]
        for name, value in named.items()
        if isinstance(value, str) and name != GIVEN_UP
    }


class Channel(Protocol):
    """A broker seen as one durable queue of events. One object serves one thread; open one per thread."""

    def declare(self) -> None:
        """Makes sure exchanges, queues and the dead letter channel exist. Cheap to repeat."""

    def publish(self, messages: Sequence[Message]) -> None:
        """Returns when the broker has confirmed every message; raises Unavailable where one was not (then any of them
        may still have arrived)."""

    def receive(self, max_count: int, wait_s: float) -> Sequence[Message]:
        """Up to `max_count` messages; returns when that many are there, or `wait_s` after the first one came, or
        with nothing after at most one second. Raises Unavailable when the connection is lost; what was not
        acknowledged comes again. What came too often comes alone, so that it cannot take others with it."""

    def ack(self, messages: Sequence[Message]) -> None:
        """Tells the broker that these are safe in the ledger."""

    def beat(self) -> None:
        """Says that we are there and still hold what we received. To be called every few seconds while nothing else is.
        Raises Unavailable when the connection is lost."""

    def depth(self) -> int:
        """Messages waiting, roughly."""

    def close(self) -> None:
        """Gives back what was not acknowledged, and the connection. May be called twice."""
