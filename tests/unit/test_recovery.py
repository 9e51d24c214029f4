"""The recovery decision: one table, what happened on the left, what follows on the right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.adapter import Outcome
from connector.recovery import Adopt, Decision, InDoubt, Park, RetryLater, decide
from connector.settings import Retry

RETRY = Retry(ledger_attempts=8, ledger_wait_s=30, ledger_wait_max_s=3600)
KINDS = ["transient", "auth", "duplicate", "conflict", "permanent", "ambiguous"]

TABLE: list[tuple[str, dict[str, object], int, float, Decision]] = [
    # kind, what the outcome says besides, attempt, jitter -> decision
    ("transient", {}, 1, 1.0, RetryLater(30)),
    ("transient", {}, 2, 1.0, RetryLater(60)),
    ("transient", {}, 3, 0.5, RetryLater(60)),
    ("transient", {}, 7, 1.0, RetryLater(1920)),
    ("transient", {}, 1, 0.0, RetryLater(0)),
    ("transient", {"retry_after_s": 100}, 1, 1.0, RetryLater(100)),
    ("transient", {"retry_after_s": 10}, 1, 1.0, RetryLater(30)),
    ("transient", {"retry_after_s": 7200}, 1, 0.0, RetryLater(7200)),
    ("transient", {"retry_after_s": 10**9}, 1, 1.0, RetryLater(86400)),
    ("transient", {}, 8, 1.0, Park("ERP-501", "no answer (given up after 8 attempts)")),
    ("transient", {"retry_after_s": 5}, 9, 1.0, Park("ERP-501", "no answer (given up after 9 attempts)")),
    ("auth", {}, 1, 0.0, RetryLater(3600)),
    ("auth", {}, 2, 1.0, RetryLater(3600)),
    ("auth", {"retry_after_s": 7200}, 2, 1.0, RetryLater(7200)),
    ("auth", {}, 3, 1.0, Park("ERP-501", "no answer (given up after 3 attempts)")),
    ("conflict", {}, 1, 1.0, RetryLater(30)),
    ("conflict", {}, 2, 1.0, RetryLater(60)),
    ("conflict", {}, 3, 1.0, Park("ERP-501", "no answer (given up after 3 attempts)")),
    ("permanent", {}, 1, 1.0, Park("ERP-501", "no answer")),
    ("permanent", {"retry_after_s": 5}, 1, 1.0, Park("ERP-501", "no answer")),
    ("ambiguous", {}, 1, 1.0, InDoubt(settle=True)),
    ("ambiguous", {}, 99, 0.0, InDoubt(settle=True)),
    ("ambiguous", {"retry_after_s": 5}, 8, 1.0, InDoubt(settle=True)),
    ("duplicate", {"external_id": "42"}, 1, 1.0, Adopt("42")),
    ("duplicate", {"external_id": "42"}, 99, 1.0, Adopt("42")),
    ("duplicate", {}, 1, 1.0, InDoubt(settle=False)),
]


@pytest.mark.parametrize(("kind", "more", "attempt", "jitter", "expected"), TABLE)
def test_each_outcome_has_its_decision(
    kind: str, more: dict[str, object], attempt: int, jitter: float, expected: Decision
) -> None:
    outcome = Outcome(kind, "ERP-501", "no answer", **more)  # type: ignore[arg-type]

    assert decide(outcome, attempt, RETRY, jitter=jitter) == expected


@given(st.sampled_from(KINDS), st.integers(1, 10_000), st.floats(0, 1), st.none() | st.integers(0, 10**9))
def test_a_wait_is_never_negative_and_never_longer_than_its_cap(
    kind: str, attempt: int, jitter: float, retry_after_s: int | None
) -> None:
    outcome = Outcome(kind, "ERP-501", "no answer", retry_after_s=retry_after_s)  # type: ignore[arg-type]

    decision = decide(outcome, attempt, RETRY, jitter=jitter)

    if isinstance(decision, RetryLater):
        assert 0 <= decision.delay_s <= 86400
        assert decision.delay_s >= min(retry_after_s or 0, 86400)


@given(st.sampled_from(KINDS), st.floats(0, 1))
def test_every_outcome_stops_being_tried_again(kind: str, jitter: float) -> None:
    outcome = Outcome(kind, "ERP-501", "no answer")  # type: ignore[arg-type]

    assert not isinstance(decide(outcome, RETRY.ledger_attempts, RETRY, jitter=jitter), RetryLater)


def test_a_single_attempt_parks_after_the_first() -> None:
    decision = decide(Outcome("transient", "ERP-501", "no answer"), 1, Retry(ledger_attempts=1), jitter=1.0)

    assert decision == Park("ERP-501", "no answer (given up after 1 attempt)")
