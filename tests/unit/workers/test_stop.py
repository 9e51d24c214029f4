"""A process that was asked to end does so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from workers.run import stop_on_signals, wait_for


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.usefixtures("handlers")
def test_a_signal_that_another_thread_caught_ends_the_process_all_the_same(number: int) -> None:
    asked = stop_on_signals()
    catcher = threading.Timer(0.05, lambda: signal.pthread_kill(threading.get_ident(), number))
    catcher.start()

    wait_for(asked)

    assert asked.is_set()
    catcher.join()
