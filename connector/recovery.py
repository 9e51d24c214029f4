"""Recovery: what an error means and how often it came in, what happens next out. Pure; the dice are an argument."""

from __future__ import annotations

from dataclasses import dataclass

from connector.adapter import Outcome
from connector.settings import Retry

# Wrong credentials are asked about rarely and few times: a system locks an account that knocks too often.
AUTH_ATTEMPTS_MAX = 3
# A changed record is read again and decided again; one that still conflicts the third time has another cause.
CONFLICT_ATTEMPTS_MAX = 3
# A system may ask for more patience than our own longest wait, but not for more than a day.
RETRY_AFTER_MAX_S = 24 * 3600
_DOUBLINGS_MAX = 40  # 2^40 waits are longer than every cap; the exponent stays small whatever the attempt is.


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Nothing was done: try again, at the earliest after `delay_s` seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Park:
    """A person must look: the dead letter's code, and why in one sentence."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class InDoubt:
    """It may have been done: ask the system by our reference. `settle`: let the settle window pass before asking."""

    settle: bool


@dataclass(frozen=True, slots=True)
class Adopt:
    """It is there already, under this id: read it back and take it as ours."""

    external_id: str


Decision = RetryLater | Park | InDoubt | Adopt


def decide(outcome: Outcome, attempt: int, retry: Retry, *, jitter: float) -> Decision:
    """What happens after `attempt` counted claims (the first is 1) ended with `outcome`.

    `jitter` from 0 to 1 is the caller's random number: waits double from `ledger_wait_s` to `ledger_wait_max_s`, and
    the delay is that share of the wait (full jitter), so that what failed together does not come back together.
    A `retry_after_s` is obeyed, up to a day. Never answers "try again" to a call that may have been done.
    """
    assert attempt >= 1, "attempts are counted before the call"
    assert 0 <= jitter <= 1, "jitter is a share"
    match outcome.kind:
        case "ambiguous":
            return InDoubt(settle=True)
        case "duplicate":
            return Adopt(outcome.external_id) if outcome.external_id is not None else InDoubt(settle=False)
        case "permanent":
            return Park(outcome.code, outcome.message)
        case "conflict":
            return _again(
                outcome, attempt, min(retry.ledger_attempts, CONFLICT_ATTEMPTS_MAX), _wait(attempt, retry) * jitter
            )
        case "auth":
            return _again(outcome, attempt, min(retry.ledger_attempts, AUTH_ATTEMPTS_MAX), retry.ledger_wait_max_s)
        case "transient":
            return _again(outcome, attempt, retry.ledger_attempts, _wait(attempt, retry) * jitter)


def _again(outcome: Outcome, attempt: int, attempts: int, delay_s: float) -> RetryLater | Park:
    if attempt >= attempts:
        return Park(
            outcome.code, f"{outcome.message} (given up after {attempt} {'attempt' if attempt == 1 else 'attempts'})"
        )
    asked_s = min(outcome.retry_after_s or 0, RETRY_AFTER_MAX_S)
    return RetryLater(max(delay_s, asked_s))


def _wait(attempt: int, retry: Retry) -> float:
    """The longest delay after this attempt: doubled each time, under the cap."""
    return min(retry.ledger_wait_s * 2.0 ** min(attempt - 1, _DOUBLINGS_MAX), retry.ledger_wait_max_s)
