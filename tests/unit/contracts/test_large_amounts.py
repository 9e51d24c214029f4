"""Amounts at the edge of what travels: refused with a finding, never an exception of the arithmetic."""

from __future__ import annotations

import json
import math
from decimal import Context, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.translate import Refusal, load_book, to_voucher
from contracts import Refused, parse_event
from contracts.amount import converted
from contracts.expense import ExpenseReport

EXAMPLE = Path(__file__).parents[3] / "contracts/examples/expense-report-approved.case-a.json"
LARGEST = "99999999999999.99"
WIDE = Context(prec=60)
RATE = {"value": "9999999999.999999999999", "date": "2025-03-27", "source": "bank"}


def line(amount: str, **more: Any) -> dict[str, Any]:
    values = {"line": 1, "category": "travel.taxi", "date": "2025-03-27", "description": "taxi", "paid_by": "employee"}
    return {**values, "amount": amount, "currency": "CNY", **more}


def report(*lines: dict[str, Any], total: str, **more: Any) -> ExpenseReport:
    event = json.loads(EXAMPLE.read_bytes())
    event["data"] |= {"lines": list(lines), "total": total, "advances": [], **more}
    data: ExpenseReport = parse_event(json.dumps(event).encode()).data
    return data


def refusal(*lines: dict[str, Any], total: str, **more: Any) -> list[str]:
    with pytest.raises(Refused) as refused:
        report(*lines, total=total, **more)
    return [f"{finding.code} {finding.path}" for finding in refused.value.findings]


def test_a_rate_that_takes_a_line_above_the_largest_amount_is_refused() -> None:
    lines = [line(LARGEST, currency="USD", rate=RATE), line("1.00", line=2)]

    assert "CON-132 data.lines[0].rate" in refusal(*lines, total="1.00")


def test_so_is_the_rate_of_a_claim() -> None:
    claim = {"number": "ADV1", "amount": LARGEST, "currency": "USD", "rate": RATE, "paid_rate": RATE["value"]}

    found = refusal(line("1.00"), total="1.00", advances=[claim])

    assert found == ["CON-132 data.advances[0].rate", "CON-132 data.advances[0].paid_rate"]


def test_a_voucher_whose_total_would_be_above_the_largest_amount_is_refused() -> None:
    claims = [{"number": f"ADV{n}", "amount": LARGEST} for n in (1, 2)]

    made = to_voucher(report(line("1.00"), total="1.00", advances=claims), load_book())

    assert isinstance(made, Refusal)
    assert [(finding.code, finding.path) for finding in made.findings] == [("MAP-212", "data.total")]


def test_the_largest_amount_is_booked() -> None:
    made = to_voucher(report(line(LARGEST), total=LARGEST), load_book())

    assert not isinstance(made, Refusal)
    assert made.total_debit == Decimal(LARGEST)


@given(st.integers(1, 10**18 - 1), st.integers(1, 10**22 - 1))
def test_converting_rounds_once_whatever_the_digits(amount: int, rate: int) -> None:
    unit = Decimal("0.01")
    made = converted(Decimal(amount).scaleb(-4, WIDE), Decimal(rate).scaleb(-12, WIDE), unit)

    cents = Fraction(amount * rate, 10**14)
    assert made == WIDE.scaleb(Decimal(math.floor(cents + Fraction(1, 2))), -2)
