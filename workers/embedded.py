"""The embedded default: relay, worker and beat as threads of one process, on the very same code as in production."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.beat import Service
from celery.concurrency.thread import TaskPool
from celery.worker import WorkController

from connector.bootstrap import Runtime
from workers import relay
from workers.app import make_app
from workers.schedule import BellScheduler

JOIN_S = 10
Part = Callable[[threading.Event], None]  # something that runs until the event is set


class _Pool(TaskPool):
    """Threads that know whose tasks they run: Celery looks a task up in the thread's current app."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.executor = ThreadPoolExecutor(max_workers=self.limit, initializer=self.app.set_current)


@contextmanager
def running(runtime: Runtime, more: Sequence[Part] = ()) -> Iterator[Celery]:
    """Everything runs while the block does. At its end the batch in hand is finished, the rest stays in the ledger."""
    app = make_app(runtime)
    stop = threading.Event()
    ready = threading.Event()
    worker = WorkController(
        app=app,
        concurrency=2,
        pool_cls=_Pool,
        without_mingle=True,
        without_gossip=True,
        ready_callback=lambda _consumer: ready.set(),
    )
    beat: Any = Service(app, max_interval=1, scheduler_cls=BellScheduler)
    threads = [
        threading.Thread(target=relay.run, args=(runtime, stop), name="relay", daemon=True),
        threading.Thread(target=worker.start, name="worker", daemon=True),
        threading.Thread(target=beat.start, kwargs={"embedded_process": False}, name="beat", daemon=True),
        *(threading.Thread(target=part, args=(stop,), name="part", daemon=True) for part in more),
    ]
    for thread in threads:
        thread.start()
    try:
        yield app
    finally:
        stop.set()
        beat.stop()
        ready.wait(JOIN_S)  # a Celery worker that is told to stop while it starts goes on starting
        worker.stop()
        for thread in threads:
            thread.join(JOIN_S)
        app.close()
