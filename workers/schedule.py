"""The schedule: how often Celery beat rings for each kind of due work. Two beats ring twice and change nothing."""

from __future__ import annotations

from typing import Any

from celery.beat import Scheduler

from connector.bootstrap import Runtime
from workers.doorbell import Doorbell

TIDY_EVERY_S = 3600.0


def entries(runtime: Runtime) -> dict[str, dict[str, Any]]:
    """Beat's table, from the systems that the settings name."""
    tick_s = runtime.settings.delivery.tick_s
    table: dict[str, dict[str, Any]] = {
        "tidy": {"task": "oaerp.tidy", "schedule": TIDY_EVERY_S},
        "release": {"task": "oaerp.release", "schedule": runtime.settings.waiting.every_s},
    }
    for company in runtime.erp:
        table[f"deliver {company}"] = _every(tick_s, "oaerp.deliver", company)
        table[f"resolve {company}"] = _every(tick_s, "oaerp.resolve", company)
    for source, oa in runtime.oa.items():
        if oa.features.deliver:
            table[f"write back {source}"] = _every(tick_s, "oaerp.write_back", source)
    for system in runtime.polled:
        table[f"poll {system}"] = _every(runtime.poll_every_s(system), "oaerp.poll", system)
    return table


def _every(seconds: float, task: str, argument: str) -> dict[str, Any]:
    return {"task": task, "schedule": seconds, "args": (argument,)}


class BellScheduler(Scheduler):
    """Celery's scheduler, keeping nothing on disk, that rings by the doorbell: a connection that broke is replaced."""

    producer: Any = None  # Celery would open a connection here and keep it, broken or not.

    def __init__(self, app: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(app, *args, **kwargs)
        self._bell = Doorbell(app)

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> None:
        """Rings for the entry."""
        due: Any = self.reserve(entry) if advance else entry
        self._bell.want(due.task, due.args or ("",))
        self._bell.ring()

    def close(self) -> None:
        """Gives the connection back."""
        self._bell.close()
