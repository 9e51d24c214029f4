"""Short retries: on named errors only, few, soon over; and the product with the long ones is what the settings say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connector.adapter import Outcome
from connector.errors import Ambiguous, Rejected, Unavailable
from connector.outcomes import outcome_of
from connector.recovery import Decision, Park, RetryLater, decide
from connector.retry import call
from connector.settings import Retry

RETRY = Retry(call_attempts=3, call_wait_s=0.2, call_total_s=5)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Work:
    """Fails so many times with an error, then answers."""

    def __init__(self, error: Exception, failures: int) -> None:
        self.error = error
        self.failures = failures
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "done"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_blip_is_tried_again(clock: Clock) -> None:
    work = Work(Unavailable("away"), failures=2)

    assert call(work, on=Unavailable, retry=RETRY, sleep=clock.sleep, clock=clock) == "done"
    assert work.calls == 3


@pytest.mark.parametrize("error", [Ambiguous("lost"), Rejected("no"), KeyError("ours")])
def test_an_error_that_was_not_named_rises_at_once(clock: Clock, error: Exception) -> None:
    work = Work(error, failures=9)

    with pytest.raises(type(error)):
        call(work, on=(Unavailable, TimeoutError), retry=RETRY, sleep=clock.sleep, clock=clock)
    assert (work.calls, clock.slept) == (1, [])


def test_the_last_error_rises_as_it_is(clock: Clock) -> None:
    work = Work(Unavailable("away"), failures=9)

    with pytest.raises(Unavailable, match="away"):
        call(work, on=Unavailable, retry=RETRY, sleep=clock.sleep, clock=clock)
    assert work.calls == 3


@pytest.mark.parametrize("on", [(), Exception, (Unavailable, Exception)])
def test_what_to_retry_on_must_be_named(on: type[Exception] | tuple[type[Exception], ...]) -> None:
    with pytest.raises(ValueError, match="name what to retry on"):
        call(lambda: None, on=on, retry=RETRY)


def test_no_try_begins_after_the_total_time(clock: Clock) -> None:
    def slow() -> None:
        clock.now += 4
        raise Unavailable("slow")

    with pytest.raises(Unavailable):
        call(
            slow,
            on=Unavailable,
            retry=Retry(call_attempts=5, call_wait_s=2, call_total_s=5),
            sleep=clock.sleep,
            clock=clock,
        )
    assert clock.now < 1000 + 2 * 4 + 5


def test_no_try_begins_after_the_deadline(clock: Clock) -> None:
    work = Work(Unavailable("away"), failures=9)

    with pytest.raises(Unavailable):
        call(work, on=Unavailable, retry=RETRY, deadline=clock.now, sleep=clock.sleep, clock=clock)
    assert (work.calls, clock.slept) == (1, [])


def test_a_wait_the_other_system_asks_for_is_kept(clock: Clock) -> None:
    work = Work(Unavailable("busy", retry_after_s=2), failures=1)

    assert call(work, on=Unavailable, retry=RETRY, sleep=clock.sleep, clock=clock) == "done"
    assert clock.slept == [2]


def test_a_wait_longer_than_the_time_left_is_for_the_ledger(clock: Clock) -> None:
    work = Work(Unavailable("busy", retry_after_s=60), failures=1)

    with pytest.raises(Unavailable):
        call(work, on=Unavailable, retry=RETRY, sleep=clock.sleep, clock=clock)
    assert (work.calls, clock.slept) == (1, [])


@pytest.mark.parametrize(("call_attempts", "ledger_attempts"), [(1, 1), (3, 8), (5, 2), (1, 8), (5, 50)])
def test_what_always_fails_is_tried_exactly_the_product_and_then_parked(
    clock: Clock, call_attempts: int, ledger_attempts: int
) -> None:
    retry = Retry(call_attempts=call_attempts, ledger_attempts=ledger_attempts, call_wait_s=0.1)
    work = Work(Unavailable("away"), failures=10**9)

    decisions = drive(work, retry, clock)

    assert work.calls == call_attempts * ledger_attempts
    assert [type(decision) for decision in decisions] == [RetryLater] * (ledger_attempts - 1) + [Park]


def drive(work: Callable[[], str], retry: Retry, clock: Clock) -> list[Decision]:
    """What the delivery process does with one posting, without its ledger: claim, call, decide, wait."""
    decisions: list[Decision] = []
    attempt = 0
    while True:
        attempt += 1
        outcome: Outcome
        try:
            call(work, on=Unavailable, retry=retry, sleep=clock.sleep, clock=clock)
            return decisions
        except Unavailable as error:
            outcome = outcome_of(error)
        decisions.append(decide(outcome, attempt, retry, jitter=1.0))
        match decisions[-1]:
            case RetryLater(delay_s):
                clock.sleep(delay_s)
            case _:
                return decisions
