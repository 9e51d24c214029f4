"""A voucher balances to the cent, or it cannot be built."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from contracts import Refused, Unbalanced, Voucher, VoucherLine, parse_voucher
from contracts.voucher import to_json

CASE_A = (Path(__file__).parents[3] / "contracts/examples/voucher.case-a.json").read_bytes()


@pytest.fixture
def voucher() -> Voucher:
    return parse_voucher(CASE_A)


def test_the_wire_form_is_the_shared_example(voucher: Voucher) -> None:
    assert json.loads(to_json(voucher)) == json.loads(CASE_A)


def test_a_voucher_survives_the_wire_with_everything_on_it(voucher: Voucher) -> None:
    line = voucher.lines[0]._replace(
        memo="深圳 2 晚", rule="travel/3", currency="USD", amount_in_currency=Decimal("140.45"), rate=Decimal("7.12")
    )
    full = replace(voucher, lines=(line, *voucher.lines[1:]), memo="EXP2025-0017 张三")

    assert parse_voucher(to_json(full)) == full


def test_amounts_are_written_with_the_decimals_of_the_currency() -> None:
    lines = [
        VoucherLine("debit", "6602", Decimal("5"), "expense"),
        VoucherLine("credit", "2241", Decimal("5.0"), "employee_payable"),
    ]
    example = parse_voucher(CASE_A)

    voucher = Voucher.of(
        company="C01", reference="R", document=example.document, date=date(2025, 4, 3), currency="CNY", lines=lines
    )

    wire = json.loads(to_json(voucher))
    assert [line["amount"] for line in wire["lines"]] == ["5.00", "5.00"]
    assert wire["total_debit"] == "5.00"


def test_a_reversal_is_red_on_the_same_sides(voucher: Voucher) -> None:
    red = voucher.reversed("C01-EXP2025-0017-V1-R", date(2025, 4, 9))

    assert red.purpose == "reverse"
    assert red.reverses == voucher.reference
    assert [(line.side, line.account, -line.amount) for line in red.lines] == [
        (line.side, line.account, line.amount) for line in voucher.lines
    ]
    assert (red.total_debit, red.total_credit) == (Decimal("-1913.00"), Decimal("-1913.00"))
    assert parse_voucher(to_json(red)) == red


def test_a_reversal_stands_on_the_other_sides_where_an_erp_takes_no_negative_amounts(voucher: Voucher) -> None:
    red = voucher.reversed("C01-EXP2025-0017-V1-R", date(2025, 4, 9))

    black = red.swapped()

    other = {"debit": "credit", "credit": "debit"}
    assert [(other[line.side], line.account, line.amount) for line in black.lines] == [
        (line.side, line.account, line.amount) for line in voucher.lines
    ]
    assert (black.total_debit, black.total_credit) == (Decimal("1913.00"), Decimal("1913.00"))
    assert (black.purpose, black.reverses) == ("reverse", voucher.reference)
    assert black.swapped() == red
    assert parse_voucher(to_json(black)) == black


def test_only_a_reversal_has_two_forms(voucher: Voucher) -> None:
    with pytest.raises(ValueError, match="not a reversal"):
        voucher.swapped()


def test_a_reversal_is_not_reversed(voucher: Voucher) -> None:
    with pytest.raises(ValueError, match="reversal"):
        voucher.reversed("R", date(2025, 4, 9)).reversed("S", date(2025, 4, 10))


CHANGES = {
    "a cent more on one side": lambda v: {"lines": (v.lines[0]._replace(amount=Decimal("1000.01")), *v.lines[1:])},
    "a total that is not the sum": lambda _: {"total_debit": Decimal("1913.01")},
    "both totals wrong": lambda _: {"total_debit": Decimal("1.00"), "total_credit": Decimal("1.00")},
    "an amount of zero": lambda v: {"lines": (*v.lines, v.lines[0]._replace(amount=Decimal("0.00")))},
    "a negative pair": lambda v: {
        "lines": (*v.lines, v.lines[0]._replace(amount=Decimal("-1.00")), v.lines[0]._replace(amount=Decimal("1.00")))
    },
    "tenths of a cent": lambda v: {
        "lines": (*v.lines, v.lines[0]._replace(amount=Decimal("0.001")), v.lines[5]._replace(amount=Decimal("0.001")))
    },
    "a currency nobody knows": lambda _: {"currency": "XXX"},
    "decimals the yen has not": lambda _: {"currency": "JPY"},
    "no lines": lambda _: {"lines": (), "total_debit": Decimal(0), "total_credit": Decimal(0)},
    "red and black amounts on a reversal": lambda v: {
        "purpose": "reverse",
        "reverses": "R",
        "lines": (*v.lines, v.lines[0]._replace(amount=Decimal("-1.00")), v.lines[5]._replace(amount=Decimal("-1.00"))),
        "total_debit": Decimal("1912.00"),
        "total_credit": Decimal("1912.00"),
    },
    "black and red amounts on a reversal": lambda v: {
        "purpose": "reverse",
        "reverses": "R",
        "lines": (*(line._replace(amount=-line.amount) for line in v.lines[:5]), v.lines[5]),
        "total_debit": Decimal("-1913.00"),
        "total_credit": Decimal("-1087.00"),
    },
    "a posting that reverses": lambda _: {"reverses": "R"},
    "not a number": lambda v: {"lines": (v.lines[0]._replace(amount=Decimal("NaN")), *v.lines[1:])},
    "infinite on both sides": lambda v: {"lines": (v.lines[0]._replace(amount=Decimal("Infinity")), *v.lines[1:])},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_wrong_voucher_is_not_built(voucher: Voucher, change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Unbalanced):
        replace(voucher, **change(voucher))


def test_an_unbalanced_voucher_from_outside_is_refused_with_a_code() -> None:
    with pytest.raises(Refused) as caught:
        parse_voucher(CASE_A.replace(b'"413.00"', b'"412.99"'))

    assert [finding.code for finding in caught.value.findings] == ["CON-140"]


def test_an_amount_as_a_number_is_refused_in_a_voucher() -> None:
    with pytest.raises(Refused) as caught:
        parse_voucher(CASE_A.replace(b'"413.00"', b"413.00"))

    assert [(finding.code, finding.path) for finding in caught.value.findings] == [("CON-120", "lines[5].amount")]


@pytest.mark.parametrize(
    ("currency", "amount", "code"),
    [("USD", "14.1234", "CON-121"), ("USD", "-5.00", "CON-121"), ("JPY", "5.5", "CON-121"), ("XXX", "5", "CON-122")],
)
def test_an_amount_in_another_currency_is_an_amount_of_it(currency: str, amount: str, code: str) -> None:
    wire = json.loads(CASE_A)
    wire["lines"][0] |= {"currency": currency, "amount_in_currency": amount, "rate": "7.1"}

    with pytest.raises(Refused) as refusal:
        parse_voucher(json.dumps(wire).encode())

    assert [finding.code for finding in refusal.value.findings] == [code]
