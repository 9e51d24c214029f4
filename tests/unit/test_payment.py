"""Payments settle a document by exact sums, whatever the order in which the ERP tells of them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.payment import Payment, Settled, recorded, settle, settled
from contracts.findings import Finding

OWED = Decimal("413.00")


def made(number: str, amount: str) -> Payment:
    return Payment(number, Decimal(amount))


def taken_back(number: str, amount: str) -> Payment:
    return Payment(number, Decimal(amount), made=False, reversed=True)


def history(payable: Decimal, told: list[Payment]) -> list[Settled | Finding]:
    """What is answered to each, one after the other."""
    payments: tuple[Payment, ...] = ()
    answers = []
    for one in told:
        answer = settle(payable, payments, one)
        payments = payments if isinstance(answer, Finding) else recorded(payments, one)
        answers.append(answer)
    return answers


def said(answers: list[Settled | Finding]) -> list[str]:
    return [a.code if isinstance(a, Finding) else f"{a.state} {a.paid:f} + {a.open:f}" for a in answers]


TABLE = [
    (
        "paid in two parts, and the second comes back",
        [made("P1", "200.00"), made("P2", "213.00"), taken_back("P2", "213.00")],
        ["partly_paid 200.00 + 213.00", "paid 413.00 + 0.00", "partly_paid 200.00 + 213.00"],
    ),
    ("paid at once", [made("P1", "413.00")], ["paid 413.00 + 0.00"]),
    ("a cent short is not paid", [made("P1", "412.99")], ["partly_paid 412.99 + 0.01"]),
    ("a cent more than is owed is refused", [made("P1", "413.01")], ["ACC-361"]),
    (
        "a cent more than is open is refused",
        [made("P1", "200.00"), made("P2", "213.01")],
        ["partly_paid 200.00 + 213.00", "ACC-361"],
    ),
    (
        "after a refusal the document keeps its state",
        [made("P1", "200.00"), made("P2", "300.00"), made("P3", "213.00")],
        ["partly_paid 200.00 + 213.00", "ACC-361", "paid 413.00 + 0.00"],
    ),
    (
        "the only payment comes back",
        [made("P1", "413.00"), taken_back("P1", "413.00")],
        ["paid 413.00 + 0.00", "open 0 + 413.00"],
    ),
    (
        "what came back is paid anew under another number",
        [made("P1", "413.00"), taken_back("P1", "413.00"), made("P2", "413.00")],
        ["paid 413.00 + 0.00", "open 0 + 413.00", "paid 413.00 + 0.00"],
    ),
    (
        "one payment told twice is refused",
        [made("P1", "100.00"), made("P1", "100.00")],
        ["partly_paid 100.00 + 313.00", "ACC-361"],
    ),
    (
        "one reversal told twice is refused",
        [made("P1", "100.00"), taken_back("P1", "100.00"), taken_back("P1", "100.00")],
        ["partly_paid 100.00 + 313.00", "open 0 + 413.00", "ACC-361"],
    ),
    (
        "a payment that came back is not made again under its number",
        [made("P1", "100.00"), taken_back("P1", "100.00"), made("P1", "100.00")],
        ["partly_paid 100.00 + 313.00", "open 0 + 413.00", "ACC-361"],
    ),
    (
        "a reversal before its payment is remembered",
        [taken_back("P1", "100.00"), made("P1", "100.00")],
        ["open 0 + 413.00", "open 0 + 413.00"],
    ),
    (
        "a remembered reversal told twice is refused",
        [taken_back("P1", "100.00"), taken_back("P1", "100.00")],
        ["open 0 + 413.00", "ACC-361"],
    ),
    (
        "a payment whose reversal is here needs no room",
        [made("P1", "413.00"), taken_back("P2", "300.00"), made("P2", "300.00")],
        ["paid 413.00 + 0.00", "paid 413.00 + 0.00", "paid 413.00 + 0.00"],
    ),
    (
        "a payment does not come back in part",
        [made("P1", "200.00"), taken_back("P1", "50.00")],
        ["partly_paid 200.00 + 213.00", "ACC-361"],
    ),
    (
        "a reversal and its payment have one amount, whichever comes first",
        [taken_back("P1", "50.00"), made("P1", "200.00")],
        ["open 0 + 413.00", "ACC-361"],
    ),
]


@pytest.mark.parametrize(("told", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_document_is_as_far_paid_as_its_live_payments_say(told: list[Payment], expected: list[str]) -> None:
    assert said(history(OWED, told)) == expected


def test_a_refusal_says_what_is_open() -> None:
    answer = settle(OWED, [made("P1", "200.00")], made("P2", "300.00"))

    assert isinstance(answer, Finding)
    assert (answer.code, answer.path, answer.got) == ("ACC-361", "data.amount", "300.00")
    assert answer.expected == "at most what is open, 213.00"


def test_a_document_that_owes_nothing_is_paid() -> None:
    assert settled(Decimal("0.00"), []).state == "paid"


def test_more_paid_than_a_correction_left_is_told_as_less_than_nothing_open() -> None:
    assert settled(Decimal("373.00"), [made("P1", "413.00")]) == Settled("paid", OWED, Decimal("-40.00"))


def replayed(payable: Decimal, told: list[Payment]) -> frozenset[Payment]:
    """All is told; what was refused is replayed, as a person does, as long as one more of it goes through."""
    payments: tuple[Payment, ...] = ()
    waiting = told
    while True:
        refused = []
        for one in waiting:
            if isinstance(settle(payable, payments, one), Finding):
                refused.append(one)
            else:
                payments = recorded(payments, one)
        if len(refused) == len(waiting):
            return frozenset(payments)
        waiting = refused


CENTS = st.integers(1, 50_000).map(lambda cents: Decimal(cents) / 100)


@given(st.lists(st.tuples(CENTS, st.booleans()), max_size=8), st.randoms())
def test_the_order_in_which_payments_are_told_does_not_matter_in_the_end(
    drawn: list[tuple[Decimal, bool]], random: object
) -> None:
    told = []
    for at, (amount, comes_back) in enumerate(drawn):
        told.append(Payment(f"P{at}", amount))
        if comes_back:
            told.append(Payment(f"P{at}", amount, made=False, reversed=True))
    owed = sum((amount for amount, comes_back in drawn if not comes_back), Decimal(0)) + Decimal("0.01")
    shuffled = list(told)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert replayed(owed, shuffled) == replayed(owed, told)
    assert settled(owed, list(replayed(owed, shuffled))).open == Decimal("0.01")


@given(CENTS, st.lists(st.builds(Payment, st.sampled_from(["P1", "P2", "P3"]), CENTS, st.just(True)), max_size=10))
def test_never_is_more_paid_than_is_owed(owed: Decimal, told: list[Payment]) -> None:
    answers = history(owed, told)

    assert all(isinstance(a, Finding) or (a.open >= 0 and a.paid + a.open == owed) for a in answers)
