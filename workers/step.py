"""The batch step in a Celery worker: events by the hundred, one transaction a batch, acknowledged after its commit."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import structlog
from celery import bootsteps
from tenacity import Retrying, retry_if_exception_type, wait_exponential_jitter

from connector.bootstrap import Runtime
from connector.channels import Channel, Message
from connector.errors import Unavailable
from connector.process.batch import BatchResult
from workers.doorbell import Doorbell

log = structlog.get_logger(__name__)

STUCK_S = 120  # Longer than every timeout of broker and database together: a step silent for so long is dead.
STOP_S = 20


class EventStep(bootsteps.ConsumerStep):
    """Consumes events on a connection and a thread of its own, so that Celery's loop and the batches never wait for
    each other. Ends with the batch in hand; what was not acknowledged goes back to the broker."""

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._loop: EventLoop | None = None

    def get_consumers(self, channel: Any) -> list[Any]:
        """None on Celery's own connection."""
        return []

    def start(self, parent: Any) -> None:
        """Starts the thread, where it does not run yet: Celery restarts its steps whenever it reconnects."""
        if self._loop is None or not self._loop.is_alive():
            self._loop = EventLoop(parent.app.runtime, Doorbell(parent.app))
            self._loop.start()

    def stop(self, parent: Any) -> None:
        """Celery stops its steps when it reconnects, too: events have their own connection and go on."""

    def shutdown(self, parent: Any) -> None:
        """The same at the very end."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None


class EventLoop(threading.Thread):
    """Receives, applies, acknowledges; waits and reconnects where the broker or the ledger is away."""

    def __init__(self, runtime: Runtime, doorbell: Doorbell) -> None:
        super().__init__(name="events", daemon=True)
        self._runtime = runtime
        self._doorbell = doorbell
        self._ending = threading.Event()
        self._alive_at = time.monotonic()
        self._watchdog = threading.Thread(target=self._watch, name="events-watchdog", daemon=True)

    def start(self) -> None:
        """Starts the loop and its watchdog."""
        super().start()
        self._watchdog.start()

    def stop(self) -> None:
        """Ends after the batch in hand."""
        self._ending.set()
        self.join(STOP_S)
        self._watchdog.join(STOP_S)

    def run(self) -> None:
        """Until told to stop: one connection after another."""
        retrying = Retrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_exponential_jitter(multiplier=0.2, max=10),
            sleep=self._wait,
            stop=lambda _: self._ending.is_set(),
            reraise=False,
            retry_error_callback=lambda _: None,
            before_sleep=lambda state: log.warning("events wait", error=str(_error(state))[:300]),
        )
        while not self._ending.is_set():
            retrying(self._consume)

    def _wait(self, seconds: float) -> None:
        self._alive_at = time.monotonic()
        self._ending.wait(seconds)

    def _consume(self) -> None:
        """Works on one connection until it breaks (Unavailable) or the worker ends. What was received and not
        acknowledged comes again."""
        self._alive_at = time.monotonic()
        channel = self._runtime.channel()
        try:
            while not self._ending.is_set():
                self._one_batch(channel)
        finally:
            channel.close()
            self._doorbell.close()

    def _one_batch(self, channel: Channel) -> None:
        settings = self._runtime.settings.consumer
        messages = channel.receive(settings.batch, settings.wait_ms / 1000)
        self._alive_at = time.monotonic()
        if messages:
            result = self._apply(channel, messages)
            if result is None:
                return
            channel.ack(messages)
            self._doorbell.want("oaerp.deliver", result.to_post)
            self._doorbell.want("oaerp.write_back", result.to_write_back)
        self._doorbell.ring()

    def _apply(self, channel: Channel, messages: Sequence[Message]) -> BatchResult | None:
        """Applies a batch, and holds it while the ledger is away: giving it back would count as a failed delivery, and
        after some minutes the broker would give up healthy messages. None where the worker ends meanwhile."""
        retrying = Retrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_exponential_jitter(multiplier=0.2, max=2),
            sleep=lambda seconds: self._hold(channel, seconds),
            stop=lambda _: self._ending.is_set(),
            retry_error_callback=lambda _: None,
            before_sleep=lambda state: log.warning("a batch waits", error=str(_error(state))[:300]),
        )
        return retrying(self._runtime.apply_batch, messages)

    def _hold(self, channel: Channel, seconds: float) -> None:
        self._wait(seconds)
        channel.beat()

    def _watch(self) -> None:
        """Ends the process where the loop has died or hangs: a supervisor starts another, and nothing is lost."""
        while not self._ending.wait(1):
            if self.is_alive() and time.monotonic() - self._alive_at < STUCK_S:
                continue
            log.critical("the event loop hangs; the worker ends so that its supervisor starts another")
            os._exit(1)


def _error(state: Any) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
