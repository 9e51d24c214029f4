"""Every case under tests/cases becomes exactly the voucher, or the refusal, that stands beside it."""

from __future__ import annotations

import pytest

from connector.translate import Book, load_book
from connector.translate.cases import Case, read_cases
from connector.translate.testing import run
from contracts.findings import Finding
from tests.unit.translate.notation import cases

ALL = list(cases())


@pytest.mark.parametrize(("case", "book"), ALL, ids=[f"{case.at} {case.title}" for case, _ in ALL])
def test_the_report_becomes_what_stands_beside_it(case: Case, book: Book) -> None:
    assert tuple(line.text for line in run(case, book).said) == case.expected


def test_no_case_is_left_out() -> None:
    assert len(ALL) >= 151


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("advanced ADV1", "advanced ADV1 1500.00, or advanced ADV1 500.00 USD @ 7.10"),
        ("advanced ADV1 500.00 USD", "advanced ADV1 1500.00, or advanced ADV1 500.00 USD @ 7.10"),
        (
            "returned ADV1 20.00 USD @ 7.12 back 7.10",
            "returned ADV1 87.00, or returned ADV1 20.00 USD @ 7.12 paid 7.10",
        ),
        (
            "returned ADV1 20.00 USD @ 7.12 paid seven",
            "returned ADV1 87.00, or returned ADV1 20.00 USD @ 7.12 paid 7.10",
        ),
        ("paid_out a lot", "paid_out 413.00"),
        ("reversed tomorrow", "reversed 2025-04-08"),
    ],
)
def test_a_statement_that_cannot_be_read_is_told_its_form(statement: str, expected: str) -> None:
    findings: list[Finding] = []

    read_cases("some.case", f"# A case\n{statement} | Dr 660201 D01 E017 1.00".encode(), load_book(), findings)

    assert [(finding.path, finding.expected) for finding in findings] == [("some.case:2", expected)]


def test_what_stands_and_cannot_be_booked_is_told_first() -> None:
    text = "# A case\ntraining.other 10.00\nthen\ntravel.taxi 10.00 | refused MAP-201 data.lines[0].category"
    (case,) = read_cases("some.case", text.encode(), load_book(), [])

    assert [line.text for line in run(case, load_book()).said] == [
        "refused MAP-201 data.lines[0].category",
        "waits account:training.other/D01",
    ]
