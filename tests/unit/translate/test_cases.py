"""Every case under tests/cases becomes exactly the voucher, or the refusal, that stands beside it."""

from __future__ import annotations

import pytest

from connector.translate import Book, load_book
from tests.unit.translate.notation import Case, cases, outcome

ALL = list(cases())


@pytest.fixture(scope="module")
def book() -> Book:
    return load_book()


@pytest.mark.parametrize("case", ALL, ids=[f"{case.at} {case.title}" for case in ALL])
def test_the_report_becomes_what_stands_beside_it(case: Case, book: Book) -> None:
    assert outcome(case, book) == case.expected


def test_no_case_is_left_out() -> None:
    assert len(ALL) >= 40
