"""The doorbell: tells workers that something is due. Losing a ring costs time, never money."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import structlog
from amqp.exceptions import RecoverableConnectionError
from celery import Celery
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)

QUIET_S = 0.05


class Doorbell:
    """Rings for each (task, argument) at most every `QUIET_S`; what is rung for in between is rung once afterwards."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._wanted: set[tuple[str, str]] = set()
        self._rung: dict[tuple[str, str], float] = {}
        self._connection: Any = None
        self._publisher: Any = None

    def want(self, task: str, arguments: Iterable[str]) -> None:
        """Something is due."""
        self._wanted |= {(task, argument) for argument in arguments}

    def ring(self) -> None:
        """Rings for what is wanted and has been quiet long enough."""
        now = time.monotonic()
        for bell in list(self._wanted):
            if now - self._rung.get(bell, -QUIET_S) < QUIET_S:
                continue
            try:
                self._app.send_task(bell[0], args=(bell[1],), producer=self._producer())
            except (OSError, OperationalError, RecoverableConnectionError) as error:
                log.warning("the doorbell is silent; the next tick finds what is due", error=str(error)[:200])
                self._drop()
            self._wanted.discard(bell)
            self._rung[bell] = now

    @property
    def waiting(self) -> bool:
        """True where a ring is still to be made."""
        return bool(self._wanted)

    def _producer(self) -> Any:
        """On a connection of the doorbell's own, so that one that broke is dropped and not used again."""
        if self._connection is None:
            self._connection = self._app.connection_for_write()
            self._publisher = self._app.amqp.Producer(self._connection)
        return self._publisher

    def _drop(self) -> None:
        if self._connection is not None:
            raw = self._connection._connection
            if hasattr(raw, "collect"):
                raw.collect()  # without a goodbye that a vanished peer would not answer
            self._connection.collect()
            self._connection = None

    def close(self) -> None:
        """Gives the connection back."""
        if self._connection is not None:
            self._connection.release()
            self._connection = None
