"""Waiting for a condition, with a deadline: the only place in the tests where time passes on purpose."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(
    condition: Callable[[], object], deadline_s: float, what: str | Callable[[], str], every_s: float = 0.05
) -> float:
    """Returns how many seconds it took until `condition` was true; fails after `deadline_s`, saying what did not happen."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > deadline_s:
            raise AssertionError(f"not within {deadline_s} s: {what if isinstance(what, str) else what()}")
        time.sleep(every_s)
    return time.monotonic() - started
