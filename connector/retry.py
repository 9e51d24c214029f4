"""Short retries inside one call, on what the caller names and on nothing else. Longer ones are rows of the ledger (recovery)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from connector.settings import Retry

T = TypeVar("T")


def call(
    work: Callable[[], T],
    *,
    on: type[Exception] | tuple[type[Exception], ...],
    retry: Retry,
    deadline: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """What `work` returns; it is tried again on errors of the classes `on`, at most `retry.call_attempts` times in all.

    No further try begins after `retry.call_total_s` seconds, nor after `deadline` (a reading of `clock`), nor sooner than
    an error's own `retry_after_s`: where that is longer than the time left, the error rises at once. The last error rises
    as it is. Name only errors after which nothing was done: what is in doubt is asked about, not repeated.
    """
    kinds = on if isinstance(on, tuple) else (on,)
    if not kinds or Exception in kinds or BaseException in kinds:
        raise ValueError("name what to retry on: one or more error classes narrower than Exception")
    end = clock() + retry.call_total_s
    if deadline is not None:
        end = min(end, deadline)
    backoff = wait_random_exponential(multiplier=retry.call_wait_s, max=retry.call_total_s)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        return max(backoff(state), getattr(error, "retry_after_s", None) or 0)

    def out_of_time(state: RetryCallState) -> bool:
        return clock() + state.upcoming_sleep >= end

    retrying = Retrying(
        retry=retry_if_exception_type(kinds),
        stop=lambda state: stop_after_attempt(retry.call_attempts)(state) or out_of_time(state),
        wait=wait,
        sleep=sleep,
        reraise=True,
    )
    return retrying(work)
