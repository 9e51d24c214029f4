"""The tax of one line: from the invoice, per invoice, and never from what is not there."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from connector.translate.tables import TaxRow
from connector.translate.tax import Claims, Deduction, deduct
from contracts.expense import Invoice, Line
from contracts.findings import Finding

STATED = {"category": "*", "kind": "*", "method": "stated"}
NINE = {"category": "*", "kind": "*", "method": "included", "rate": "0.09"}
AIR = {"category": "*", "kind": "air", "method": "fare_and_fuel", "rate": "0.09"}


def tax_of(
    amount: str, row: dict[str, Any], claims: Claims | None = None, counted: str | None = None, **invoice: Any
) -> Deduction | Finding | None:  # fmt: skip
    numbers = {
        name: Decimal(value) for name, value in invoice.items() if name not in ("kind", "number", "code", "certified")
    }
    names = {name: value for name, value in invoice.items() if name in ("kind", "number", "code", "certified")}
    made = Invoice(**{"kind": "vat_special", **numbers, **names})
    line = Line(line=1, category="travel.hotel", date=date(2025, 3, 27), description="", amount=Decimal(amount), currency="CNY",
                paid_by="employee", invoice=made)  # fmt: skip
    return deduct(
        line, made, TaxRow(at="tax.csv:2", **row), Decimal(amount), Decimal(counted or amount), claims or Claims({})
    )  # fmt: skip


def taken(answer: Deduction | Finding | None) -> tuple[str, str]:
    assert isinstance(answer, Deduction), answer
    return f"{answer.tax:f}", f"{answer.non_deductible:f}"


def test_an_invoice_that_states_net_and_tax_needs_no_total() -> None:
    assert taken(tax_of("600.00", STATED, net="1000.00", tax="60.00")) == ("33.96", "0.00")


def test_more_than_net_and_tax_is_more_than_the_invoice() -> None:
    answer = tax_of("1060.01", STATED, net="1000.00", tax="60.00")

    assert isinstance(answer, Finding)
    assert (answer.code, answer.expected) == ("MAP-207", "at most the invoice's total, 1060.00")


def test_the_airport_fee_stands_beside_net_and_tax() -> None:
    ticket = {
        "kind": "air",
        "net": "972.48",
        "tax": "87.52",
        "fare": "1000.00",
        "fuel": "60.00",
        "airport_fee": "50.00",
    }

    assert taken(tax_of("1110.00", AIR, **ticket)) == ("87.52", "0.00")


def test_tax_is_what_total_and_net_leave() -> None:
    assert taken(tax_of("1060.00", STATED, total="1060.00", net="1000.00")) == ("60.00", "0.00")


def test_an_airport_fee_between_net_and_total_is_no_tax() -> None:
    ticket = {
        "kind": "air",
        "total": "1110.00",
        "net": "972.48",
        "fare": "1000.00",
        "fuel": "60.00",
        "airport_fee": "50.00",
    }

    assert taken(tax_of("1110.00", AIR, **ticket)) == ("87.52", "0.00")


def test_a_ticket_without_fuel_has_its_tax_inside_the_fare() -> None:
    assert taken(tax_of("1050.00", AIR, kind="air", total="1050.00", fare="1000.00")) == ("82.57", "0.00")


@pytest.mark.parametrize(("fare", "fuel"), [("1000.00", "50.01"), ("-1.00", "0.00")])
def test_fare_and_fuel_are_a_part_of_the_ticket(fare: str, fuel: str) -> None:
    answer = tax_of("1050.00", AIR, kind="air", total="1050.00", fare=fare, fuel=fuel)

    assert isinstance(answer, Finding)
    assert (answer.code, answer.path) == ("MAP-206", "invoice.fare")


def test_fare_and_fuel_may_be_all_of_the_ticket() -> None:
    assert taken(tax_of("1090.00", AIR, kind="air", total="1090.00", fare="1000.00", fuel="90.00")) == ("90.00", "0.00")


def test_the_code_tells_invoices_of_one_number_apart() -> None:
    claims = Claims({})

    for code in ("011001", "011002"):
        assert taken(tax_of("109.00", NINE, claims, kind="rail", number="12345678", code=code, total="109.00")) == (
            "9.00",
            "0.00",
        )


def test_an_invoice_is_not_claimed_twice_in_a_report() -> None:
    claims = Claims({})
    invoice = {"kind": "rail", "number": "12345678", "code": "011001", "total": "109.00"}

    assert taken(tax_of("109.00", NINE, claims, **invoice)) == ("9.00", "0.00")
    assert isinstance(tax_of("0.01", NINE, claims, **invoice), Finding)


def test_a_tax_of_nothing_is_a_statement() -> None:
    assert taken(tax_of("100.00", STATED, total="100.00", net="100.00", tax="0.00")) == ("0.00", "0.00")


def test_tax_stated_in_fewer_decimals_is_written_in_cents() -> None:
    assert taken(tax_of("1060", STATED, total="1060", net="1000", tax="60")) == ("60.00", "0.00")


@pytest.mark.parametrize("tax", ["-0.01", "100.00"])
def test_tax_is_from_nothing_to_below_the_total(tax: str) -> None:
    answer = tax_of("100.00", STATED, total="100.00", tax=tax)

    assert isinstance(answer, Finding)
    assert (answer.code, answer.path, answer.got) == ("MAP-206", "invoice.tax", tax)


def test_half_a_cent_inside_a_ticket_is_a_cent() -> None:
    row = {**NINE, "rate": "0.6"}

    assert taken(tax_of("0.12", row, kind="rail", total="0.12")) == ("0.05", "0.00")


def test_the_odd_cent_of_the_deductible_part_is_rounded_half_up() -> None:
    assert taken(tax_of("106.00", {**STATED, "deductible": "0.5"}, total="106.00", tax="6.33")) == ("6.33", "3.16")
    assert taken(tax_of("106.00", {**STATED, "deductible": "0"}, total="106.00", tax="6.33")) == ("6.33", "6.33")


@pytest.mark.parametrize(
    ("certification", "certified", "role"),
    [("yes", True, "input_tax"), ("yes", False, "pending_tax"), ("yes", None, "pending_tax"), ("", False, "input_tax")],
)
def test_only_what_needs_certification_and_has_none_is_pending(certification: str, certified: Any, role: str) -> None:
    answer = tax_of(
        "106.00", {**STATED, "certification": certification == "yes"}, total="106.00", tax="6.00", certified=certified
    )

    assert isinstance(answer, Deduction)
    assert answer.role == role


@pytest.mark.parametrize(
    ("certification", "certified", "role"),
    [
        ("yes", False, "pending_tax"),
        ("yes", True, "tax_transfer_out"),
        ("", False, "tax_transfer_out"),
        ("", None, "tax_transfer_out"),
    ],
)
def test_a_red_invoice_is_transferred_out_unless_what_it_takes_back_is_pending(
    certification: str, certified: Any, role: str
) -> None:
    row = {"category": "*", "kind": "red_special", "method": "transfer_out", "certification": certification == "yes"}

    answer = tax_of("106.00", row, kind="red_special", total="-106.00", net="-100.00", tax="-6.00", certified=certified)

    assert isinstance(answer, Deduction)
    assert (answer.tax, answer.role) == (Decimal("6.00"), role)


def test_a_red_invoice_says_whether_what_it_takes_back_was_certified() -> None:
    row = {"category": "*", "kind": "red_special", "method": "transfer_out", "certification": True}

    answer = tax_of("106.00", row, kind="red_special", total="-106.00", net="-100.00", tax="-6.00")

    assert isinstance(answer, Finding)
    assert (answer.code, answer.path) == ("MAP-206", "invoice.certified")
    assert taken(tax_of("100.00", row, kind="red_special", total="-100.00", tax="0.00")) == ("0.00", "0.00")
