"""What the ERP said about a posting, and what becomes of the posting."""

from __future__ import annotations

import pytest

from connector.adapter import Features, Outcome, Receipt
from connector.ledger.postings import Claim
from connector.process.delivery import in_calls
from connector.process.verdict import Limits, Verdict, of_call, of_question
from connector.settings import Retry

LIMITS = Limits(Retry(ledger_attempts=3, ledger_wait_s=0), settle_s=60, asks_max=3)
REFERENCE = "C01-EXP-1-V1"


def claim(id_: int = 1, *, purpose: str = "post", tries: int = 1, asks: int = 0) -> Claim:
    return Claim(id_, 1, "C01", 1, purpose, REFERENCE, b"{}", None, None, tries, 0, asks, 1, None)


def receipt(state: str = "posted", reference: str = REFERENCE) -> Receipt:
    return Receipt(reference, "7", "7", state)  # type: ignore[arg-type]


def outcome(kind: str, code: str = "ERP-502") -> Outcome:
    return Outcome(kind, code, "what it said")  # type: ignore[arg-type]


def told(verdict: Verdict) -> tuple[str, str | None, float, bool]:
    return verdict.state, verdict.code, min(verdict.wait_s, 1e6), verdict.person


@pytest.mark.parametrize(
    ("answer", "asked", "becomes"),
    [
        (receipt(), claim(), ("POSTED", None, 0, False)),
        (receipt("draft"), claim(), ("UNKNOWN", None, 0, False)),
        (receipt(reference="C01-EXP-2-V1"), claim(), ("UNKNOWN", "ERP-404", 60, False)),
        (outcome("ambiguous"), claim(), ("UNKNOWN", "ERP-502", 60, False)),
        (outcome("ambiguous"), claim(tries=9), ("UNKNOWN", "ERP-502", 60, False)),
        (outcome("duplicate", "ERP-409"), claim(), ("UNKNOWN", "ERP-409", 0, False)),
        (outcome("duplicate", "ERP-409"), claim(asks=3), ("REJECTED", "ERP-409", 0, False)),
        (outcome("transient", "ERP-504"), claim(), ("PENDING", "ERP-504", 0, False)),
        (outcome("transient", "ERP-504"), claim(tries=3), ("REJECTED", "ERP-504", 0, False)),
        (outcome("permanent", "ERP-411"), claim(), ("REJECTED", "ERP-411", 0, False)),
    ],
)
def test_after_a_call(answer: Receipt | Outcome, asked: Claim, becomes: tuple[str, str | None, float, bool]) -> None:
    assert told(of_call(asked, answer, Features(), LIMITS, jitter=1)) == becomes


@pytest.mark.parametrize(
    ("found", "asked", "becomes"),
    [
        (receipt(), claim(tries=9, asks=9), ("POSTED", None, 0, False)),
        (receipt(reference="C01-EXP-2-V1"), claim(), ("UNKNOWN", "ERP-409", 1e6, True)),
        (receipt("cancelled"), claim(), ("UNKNOWN", "ERP-409", 1e6, True)),
        (receipt("draft"), claim(tries=2), ("PENDING", None, 0, False)),
        (receipt("draft"), claim(tries=3), ("UNKNOWN", "ERP-503", 1e6, True)),
        (None, claim(tries=2), ("PENDING", None, 0, False)),
        (None, claim(tries=3), ("REJECTED", "ERP-503", 0, False)),
        (outcome("transient", "ERP-501"), claim(asks=2), ("UNKNOWN", "ERP-501", 60, False)),
        (outcome("transient", "ERP-501"), claim(asks=3), ("UNKNOWN", "ERP-502", 1e6, True)),
    ],
)
def test_after_a_question(
    found: Receipt | Outcome | None, asked: Claim, becomes: tuple[str, str | None, float, bool]
) -> None:
    assert told(of_question(asked, found, Features(), LIMITS)) == becomes


def test_vouchers_go_in_lists_reversals_alone_and_what_was_in_doubt_last() -> None:
    claims = [claim(1, asks=1, tries=2), claim(2), claim(3, purpose="reverse"), claim(4), claim(5), claim(6, asks=1)]

    calls = [[one.id for one in together] for together in in_calls(claims, 2)]

    assert calls == [[2, 4], [5], [3], [1], [6]]


def test_what_was_in_doubt_changes_its_order_with_each_try() -> None:
    orders = [
        [one.id for (one,) in in_calls([claim(id_, asks=1, tries=tries) for id_ in (1, 2, 3)], 10)]
        for tries in (1, 2, 3)
    ]

    assert orders == [[1, 2, 3], [3, 2, 1], [1, 2, 3]]
