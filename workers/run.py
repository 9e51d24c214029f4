"""One process each: worker, relay, beat. They end gracefully on SIGTERM and SIGINT. `python -m workers.run worker|relay|beat`."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from types import FrameType
from typing import Any

from celery.apps.beat import Beat
from celery.apps.worker import Worker
from celery.signals import worker_shutting_down

from connector.bootstrap import Runtime, open_runtime
from connector.settings import load
from workers import relay
from workers.app import make_app
from workers.logs import configure

CONCURRENCY = 4  # Deliveries at once; they wait for the ERP, not for the processor.
LOOK_UP_S = 0.5  # The main thread of a process whose work is done by others looks this often whether a signal came.


def worker(runtime: Runtime) -> int:
    """A Celery worker with the batch step, until it is told to end. Gives the exit code."""
    app = make_app(runtime)
    process: Any = Worker(
        app=app,
        pool_cls="threads",
        concurrency=CONCURRENCY,
        without_mingle=True,
        without_gossip=True,
        quiet=True,
        loglevel=runtime.settings.log_level,
    )
    gc.collect()
    gc.freeze()  # what is loaded by now stays: the collector need not look at it in every round
    asked: list[str] = []

    def shutting_down(how: str = "", **_: Any) -> None:
        asked.append(how)

    worker_shutting_down.connect(shutting_down)
    process.start()
    # Ctrl-C is a failure to Celery; to us who finished what was in hand ended well.
    return 0 if asked == ["Warm"] else int(process.exitcode or 0)


def beat(runtime: Runtime) -> int:
    """Celery beat, keeping nothing on disk."""
    process: Any = Beat(app=make_app(runtime), quiet=True, loglevel=runtime.settings.log_level, max_interval=1)
    process.run()
    return 0


def relay_process(runtime: Runtime, stop: threading.Event | None = None) -> int:
    """The relay, until `stop` is set or, without it, a signal comes."""
    relay.run(runtime, stop or stop_on_signals())
    return 0


def stop_on_signals() -> threading.Event:
    """An event that is set when the process is asked to end."""
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return stop


def wait_for(asked: threading.Event) -> None:
    """Returns once the event is set. A wait without an end would miss a signal: where the kernel hands it to another
    thread, or it comes just before the wait, Python runs the handler only when the main thread wakes."""
    while not asked.wait(LOOK_UP_S):
        pass


PROCESSES = {"worker": worker, "beat": beat, "relay": relay_process}


def main() -> None:
    """Runs the process that the command line names, on the settings of the environment."""
    settings = load()
    configure(settings.log_level)
    runtime = open_runtime(settings)
    try:
        sys.exit(PROCESSES[sys.argv[1]](runtime))
    finally:
        runtime.close()


if __name__ == "__main__":
    main()
