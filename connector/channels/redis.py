"""The event channel on Redis: a stream with a consumer group. Nothing is handed out without being remembered as pending.

Any client publishes with `XADD {prefix}:events * body '<CloudEvents JSON>'`. Kombu's lists are not used for events: they
lose what was popped by a client that died before it noted it, and one raw entry ends every worker that reads it.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import orjson
import redis

from connector.channels import GIVEN_UP, Message, texts
from connector.errors import Unavailable
from connector.settings import Consumer
from contracts import EVENT_BYTES_MAX

GROUP = "oaerp"
RELEASED = "released"  # holds in the group what its consumer gave back
TIMEOUT_S = 5
ABANDONED_MS = 60_000  # What a consumer has not acknowledged by then is taken over from it.
TAKE_OVER_EVERY_S = 10


class RedisChannel:
    """One client, for one thread."""

    def __init__(self, url: str, prefix: str, consumer: Consumer, *, abandoned_ms: int = ABANDONED_MS) -> None:
        self.stream = f"{prefix}:events"
        self._consumer = consumer
        self._abandoned_ms = abandoned_ms
        self._name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            socket_keepalive=True,
            health_check_interval=10,
        )
        self._took_over_at = 0.0
        self._held: set[Any] = set()

    def declare(self) -> None:
        """Makes sure the stream and its group are there."""
        with self._errors():
            self._declare()

    def publish(self, messages: Sequence[Message]) -> None:
        """Adds all to the stream; Redis answers for each."""
        for message in messages:
            if len(message.body) > EVENT_BYTES_MAX:
                raise Unavailable(
                    f"an event of {len(message.body)} bytes is over the limit of {EVENT_BYTES_MAX}", code="CON-104"
                )
        with self._errors():
            pipe = self._redis.pipeline(transaction=False)
            for message in messages:
                fields: dict[Any, Any] = {"body": message.body}
                if message.headers:
                    fields["headers"] = orjson.dumps(dict(message.headers))
                pipe.xadd(self.stream, fields)
            pipe.execute()

    def receive(self, max_count: int, wait_s: float) -> Sequence[Message]:
        """Up to `max_count` messages, abandoned ones of other consumers first."""
        with self._errors():
            batch = self._take_over(max_count)
            if not batch:
                batch = self._read(max_count, 1000)
                end = time.monotonic() + wait_s
                while batch and len(batch) < max_count:
                    left_ms = int((end - time.monotonic()) * 1000)
                    if left_ms <= 0:
                        break
                    batch += self._read(max_count - len(batch), left_ms)
        self._held.update(message.token for message in batch)
        return batch

    def ack(self, messages: Sequence[Message]) -> None:
        """These are safe in the ledger: they leave the group and the stream."""
        if not messages:
            return
        ids = [message.token for message in messages]
        with self._errors():
            pipe = self._redis.pipeline(transaction=False)
            pipe.xack(self.stream, GROUP, *ids)
            pipe.xdel(self.stream, *ids)
            pipe.execute()
        self._held.difference_update(ids)

    def beat(self) -> None:
        """What we hold is not abandoned."""
        if self._held:
            with self._errors():
                self._redis.xclaim(self.stream, GROUP, self._name, 0, list(self._held), justid=True)

    def depth(self) -> int:
        """Entries in the stream: waiting or not yet acknowledged."""
        with self._errors():
            return int(self._redis.xlen(self.stream))

    def close(self) -> None:
        """Leaves the group; what is pending counts as abandoned at once, so that others take it over."""
        try:
            if self._held:
                ids = list(self._held)
                self._redis.xclaim(self.stream, GROUP, RELEASED, 0, ids, idle=self._abandoned_ms * 10, justid=True)
                self._held.clear()
            pending = cast("list[Any]", self._redis.xpending_range(self.stream, GROUP, "-", "+", 1, self._name))
            if not pending:
                self._redis.xgroup_delconsumer(self.stream, GROUP, self._name)
        except redis.RedisError:
            pass  # the group, or Redis, is gone: nothing to leave
        self._redis.close()

    def _declare(self) -> None:
        try:
            self._redis.xgroup_create(self.stream, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _read(self, count: int, block_ms: int) -> list[Message]:
        try:
            answer = self._redis.xreadgroup(GROUP, self._name, {self.stream: ">"}, count=count, block=max(1, block_ms))
        except redis.ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self._declare()  # Redis was wiped
            return []
        entries: list[Any] = []
        if isinstance(answer, Mapping):  # RESP3
            for found in answer.values():
                entries += found[0] if found and isinstance(found[0], list) else found
        else:
            for _, found in cast("list[Any]", answer or []):
                entries += found
        return [_message(entry_id, fields, {}) for entry_id, fields in entries]

    def _take_over(self, count: int) -> list[Message]:
        """What other consumers took and never acknowledged. What was delivered too often comes alone, because most of it
        only stood beside the culprit, and marked when that did not help."""
        if time.monotonic() - self._took_over_at < min(TAKE_OVER_EVERY_S, self._abandoned_ms / 1000):
            return []
        limit = self._consumer.delivery_limit
        try:
            idle: list[Any] = self._redis.xpending_range(self.stream, GROUP, "-", "+", count, idle=self._abandoned_ms)
        except redis.ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self._declare()
            return []
        if not idle:
            self._took_over_at = time.monotonic()
            return []
        usual = [entry["message_id"] for entry in idle if entry["times_delivered"] <= limit]
        marks: dict[str, str] = {}
        if not usual and idle[0]["times_delivered"] > limit + 1:
            marks = {GIVEN_UP: f"delivered more than {limit} times, then alone without success"}
        claimed: Any = self._redis.xclaim(
            self.stream, GROUP, self._name, self._abandoned_ms, usual or [idle[0]["message_id"]]
        )
        return [
            _message(entry_id, fields, marks, redelivered=True) for entry_id, fields in claimed if fields is not None
        ]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError) as error:
            raise Unavailable(f"Redis is away: {error}", code="OPS-806") from error


def _message(
    entry_id: Any, fields: Mapping[bytes, bytes], more: Mapping[str, str], *, redelivered: bool = False
) -> Message:
    """An entry as a message; one without a body is handed on as it is, so that it is parked and not lost."""
    body = fields.get(b"body")
    if body is None:
        body = b"\n".join(name + b": " + value for name, value in fields.items())
    try:
        headers = texts(orjson.loads(fields.get(b"headers", b"{}")))
    except orjson.JSONDecodeError:
        headers = {}
    return Message(body, {**headers, **more}, entry_id, redelivered=redelivered)
