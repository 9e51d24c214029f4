"""Every case under tests/cases becomes exactly the voucher, or the refusal, that stands beside it."""

from __future__ import annotations

import pytest

from connector.translate import Book
from connector.translate.cases import Case
from connector.translate.testing import run
from tests.unit.translate.notation import cases

ALL = list(cases())


@pytest.mark.parametrize(("case", "book"), ALL, ids=[f"{case.at} {case.title}" for case, _ in ALL])
def test_the_report_becomes_what_stands_beside_it(case: Case, book: Book) -> None:
    assert tuple(line.text for line in run(case, book).said) == case.expected


def test_no_case_is_left_out() -> None:
    assert len(ALL) >= 150
