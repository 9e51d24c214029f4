"""The event channel on RabbitMQ, and in memory for the embedded default: the same code on kombu for both."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kombu import Connection

from connector.channels import GIVEN_UP, Message, texts, tolerant
from connector.errors import Unavailable
from connector.settings import Consumer
from contracts import EVENT_BYTES_MAX

# Two missed ones end the connection, so that a peer that vanished is noticed within a quarter of a minute.
HEARTBEAT_S = 5
TIMEOUT_S = 10


class AmqpChannel:
    """One connection and its channels, for one thread.

    Topology: topic exchange `{prefix}.events` -> quorum queue `{prefix}.events` (all routing keys); what was redelivered
    too often goes through the fanout `{prefix}.dead` into the queue `{prefix}.dead`; from there `receive` gives it alone,
    because most of it only stood beside the culprit, and marks it when it comes a second time.
    Bodies are never decoded nor decompressed: what a message's headers say about them is not believed.
    """

    def __init__(self, url: str, prefix: str, consumer: Consumer) -> None:
        self._memory = url.startswith("memory:")
        self._consumer = consumer
        self.exchange = self.queue = f"{prefix}.events"
        self.dead = f"{prefix}.dead"
        self._url = url
        self._connection = self._new_connection()
        self._publishing: Any = None
        self._consuming: Any = None
        self._unconfirmed: set[int] = set()
        self._published = 0
        self._returned: list[str] = []
        self._arrived: deque[Message] = deque()
        self._dead_tags: set[int] = set()
        self._unacknowledged: deque[int] = deque()
        self._beat_at = 0.0

    def _new_connection(self) -> Any:
        """A connection that opens itself when it is used."""
        options: dict[str, Any] = (
            {"polling_interval": 0.005} if self._memory else {"read_timeout": TIMEOUT_S, "write_timeout": TIMEOUT_S}
        )
        connection: Any = Connection(
            self._url,
            heartbeat=0 if self._memory else HEARTBEAT_S,
            connect_timeout=TIMEOUT_S,
            transport_options=options,
        )
        if not self._memory:
            connection.transport_cls = tolerant.TlsTransport if self._url.startswith("amqps:") else tolerant.Transport
        return connection

    def declare(self) -> None:
        """Makes sure exchanges and queues are there."""
        with self._errors(), self._connection.channel() as channel:
            self._declare(channel)

    def publish(self, messages: Sequence[Message]) -> None:
        """Sends all, then waits for the broker's confirmation of each. One nobody would receive is not confirmed."""
        if not messages:
            return
        for message in messages:
            if len(message.body) > EVENT_BYTES_MAX:
                raise Unavailable(
                    f"an event of {len(message.body)} bytes is over the limit of {EVENT_BYTES_MAX}", code="CON-104"
                )
        with self._errors():
            channel = self._publisher()
            self._returned.clear()
            for message in messages:
                self._send(channel, message)
            end = time.monotonic() + TIMEOUT_S
            while self._unconfirmed:
                if time.monotonic() > end:
                    raise Unavailable(f"the broker did not confirm {len(self._unconfirmed)} events", code="OPS-806")
                self._connection.drain_events(timeout=TIMEOUT_S)
            if self._returned:
                raise Unavailable(f"the broker could not route an event: {self._returned[0]}", code="OPS-806")

    def receive(self, max_count: int, wait_s: float) -> Sequence[Message]:
        """Up to `max_count` messages, `wait_s` after the first one at the latest; nothing after a second of silence."""
        with self._errors():
            if self._consuming is None:
                self._consume(max_count)
            self._fill(1, time.monotonic() + 1.0)
            if self._arrived:
                self._fill(max_count, time.monotonic() + wait_s)
        if self._arrived and self._arrived[0].token in self._dead_tags:
            return [self._arrived.popleft()]
        batch: list[Message] = []
        while self._arrived and len(batch) < max_count and self._arrived[0].token not in self._dead_tags:
            batch.append(self._arrived.popleft())
        return batch

    def ack(self, messages: Sequence[Message]) -> None:
        """These are safe in the ledger."""
        if not messages:
            return
        with self._errors():
            if self._consuming is None:
                raise Unavailable("the connection these came by is gone; they come again", code="OPS-806")
            tags = [message.token for message in messages]
            in_order = list(self._unacknowledged)[: len(tags)] == tags
            if in_order and not self._memory:
                self._consuming.basic_ack(tags[-1], multiple=True)
            else:
                for tag in tags:
                    self._consuming.basic_ack(tag)
            done = set(tags)
            self._dead_tags -= done
            if in_order:
                for _ in tags:
                    self._unacknowledged.popleft()
            else:
                self._unacknowledged = deque(tag for tag in self._unacknowledged if tag not in done)

    def beat(self) -> None:
        """Heartbeats, where there is a connection."""
        if self._memory or not self._connection.connected:
            return
        with self._errors():
            with suppress(TimeoutError):  # nothing came
                self._connection.drain_events(timeout=0.001)
            self._beat()

    def depth(self) -> int:
        """Messages waiting in the queue."""
        with self._errors(), self._connection.channel() as channel:
            return int(channel.queue_declare(queue=self.queue, passive=True).message_count)

    def close(self) -> None:
        """Gives back what was not acknowledged."""
        try:
            if self._memory and self._consuming is not None:
                for tag in self._unacknowledged:
                    self._consuming.basic_reject(tag, requeue=True)
            self._connection.release()
        except (OSError, *self._connection.connection_errors, *self._connection.channel_errors):
            self._connection.collect()
        self._connection = self._new_connection()  # a released one never opens again
        self._publishing = self._consuming = None
        self._arrived.clear()
        self._unacknowledged.clear()

    def _abandon(self) -> None:
        """Drops a connection that failed without saying goodbye: a peer that vanished would not answer for seconds."""
        raw = self._connection._connection
        if raw is not None and not self._memory:
            raw.collect()
        self.close()

    def _declare(self, channel: Any) -> None:
        quorum: dict[str, Any] = {} if self._memory else {"x-queue-type": "quorum"}
        channel.exchange_declare(exchange=self.exchange, type="topic", durable=True, auto_delete=False)
        channel.exchange_declare(exchange=self.dead, type="fanout", durable=True, auto_delete=False)
        channel.queue_declare(queue=self.dead, durable=True, auto_delete=False, arguments=quorum)
        channel.queue_bind(queue=self.dead, exchange=self.dead, routing_key="")
        limits = {"x-delivery-limit": self._consumer.delivery_limit, "x-dead-letter-exchange": self.dead}
        arguments = quorum | ({} if self._memory else limits)
        channel.queue_declare(queue=self.queue, durable=True, auto_delete=False, arguments=arguments)
        channel.queue_bind(queue=self.queue, exchange=self.exchange, routing_key="#")

    def _publisher(self) -> Any:
        if self._publishing is None:
            channel = self._connection.channel()
            self._declare(channel)
            if not self._memory:
                # Or py-amqp would look for a "blocked" notice before every single message, at three times the cost. A
                # broker that is blocked does not confirm, and that is noticed below.
                channel.connection.client_properties.get("capabilities", {}).pop("connection.blocked", None)
                channel.confirm_select()
                channel.events["basic_ack"].add(self._confirmed)
                channel.events["basic_nack"].add(self._refused)
                channel.events["basic_return"].add(self._unroutable)
            self._publishing, self._published = channel, 0
            self._unconfirmed.clear()
        return self._publishing

    def _send(self, channel: Any, message: Message) -> None:
        headers = {name: value for name, value in message.headers.items() if name not in ("content-type", "type")}
        prepared = channel.prepare_message(
            message.body,
            priority=0,
            content_type=message.headers.get("content-type", "application/cloudevents+json"),
            content_encoding="utf-8" if self._memory else None,
            headers=headers,
            properties={"delivery_mode": 2},
        )
        routing_key = message.headers.get("type", "event")
        if self._memory:
            channel.basic_publish(prepared, exchange=self.exchange, routing_key=routing_key)
            return
        channel.basic_publish(prepared, exchange=self.exchange, routing_key=routing_key, mandatory=True)
        self._published += 1
        self._unconfirmed.add(self._published)

    def _confirmed(self, tag: int, multiple: bool) -> None:
        if multiple:
            self._unconfirmed = {waiting for waiting in self._unconfirmed if waiting > tag}
        else:
            self._unconfirmed.discard(tag)

    def _refused(self, tag: int, multiple: bool) -> None:
        self._returned.append("it answered with a nack")
        self._confirmed(tag, multiple)

    def _unroutable(self, error: Exception, *_: Any) -> None:
        self._returned.append(str(error))

    def _consume(self, batch: int) -> None:
        channel = self._connection.channel()
        self._declare(channel)
        channel.auto_decode = False
        channel.basic_qos(0, batch * 2, False)
        self._arrived.clear()
        self._unacknowledged.clear()
        self._dead_tags.clear()
        channel.basic_consume(queue=self.queue, no_ack=False, callback=self._on_event, consumer_tag="events")
        if not self._memory:
            channel.basic_qos(0, 1, False)  # for the consumer that follows: what is dead is held one at a time
        channel.basic_consume(queue=self.dead, no_ack=False, callback=self._on_dead, consumer_tag="dead")
        self._consuming = channel

    def _on_event(self, raw: Any) -> None:
        self._take(raw, {})

    def _on_dead(self, raw: Any) -> None:
        again = bool((raw.delivery_info or {}).get("redelivered"))
        reason = f"redelivered more than {self._consumer.delivery_limit} times, then alone without success"
        self._dead_tags.add(raw.delivery_tag)
        self._take(raw, {GIVEN_UP: reason} if again else {})

    def _take(self, raw: Any, more: Mapping[str, str]) -> None:
        body = raw.body.encode("utf-8", "surrogatepass") if isinstance(raw.body, str) else bytes(raw.body)
        headers = texts(raw.headers) | texts({"content-type": getattr(raw, "content_type", None)})
        info = raw.delivery_info or {}
        self._unacknowledged.append(raw.delivery_tag)
        self._arrived.append(
            Message(body, {**headers, **more}, raw.delivery_tag, redelivered=bool(info.get("redelivered")))
        )

    def _fill(self, wanted: int, until: float) -> None:
        """Takes in what arrives until enough is there or time is up."""
        while len(self._arrived) < wanted:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._beat()
            try:
                self._connection.drain_events(timeout=left)
            except TimeoutError:
                return

    def _beat(self) -> None:
        if self._memory or time.monotonic() - self._beat_at < 1:
            return
        self._beat_at = time.monotonic()
        self._connection.heartbeat_check(rate=2)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What goes wrong with a connection ends it: the next call opens another."""
        try:
            yield
        except Unavailable:
            self._abandon()
            raise
        except (TimeoutError, OSError, *self._connection.connection_errors, *self._connection.channel_errors) as error:
            self._abandon()
            raise Unavailable(f"the broker is away: {error}", code="OPS-806") from error
