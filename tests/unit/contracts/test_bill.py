"""A payable bill and an expense document say what their voucher says, all of it, or they cannot be built."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from contracts import DocumentRef, Refused, Unbalanced, Voucher, VoucherLine, parse_voucher
from contracts.bill import (
    ErpDocument,
    ExpenseDocument,
    ExpenseItem,
    PayableBill,
    as_voucher,
    entries,
    parse_expense_document,
    parse_payable_bill,
    to_json,
    total_of,
)
from contracts.schema.generate import HERE
from contracts.voucher import Role, Side

CASE_A = parse_voucher((Path(__file__).parents[3] / "contracts/examples/voucher.case-a.json").read_bytes())
PARSERS: dict[type[Any], Callable[[bytes], Any]] = {
    PayableBill: parse_payable_bill,
    ExpenseDocument: parse_expense_document,
}
SCHEMAS = {
    PayableBill: Draft202012Validator(json.loads((HERE / "payable_bill.json").read_bytes())),
    ExpenseDocument: Draft202012Validator(json.loads((HERE / "expense_document.json").read_bytes())),
}
FORMS: list[Callable[[Voucher], Any]] = [PayableBill.of, ExpenseDocument.of]


def sums(lines: tuple[VoucherLine, ...]) -> list[tuple[str, str]]:
    return [(line.account, f"{line.amount:f}") for line in lines]


def in_any_order(voucher: Voucher) -> Voucher:
    return replace(voucher, lines=tuple(sorted(voucher.lines, key=repr)))


def test_case_a_is_a_bill_of_413_owed_to_the_employee() -> None:
    bill = PayableBill.of(CASE_A)

    assert sums(bill.lines) == [
        ("660201", "1000.00"),
        ("660201", "507.34"),
        ("660206", "300.00"),
        ("2221010101", "105.66"),
    ]
    assert sums(bill.advances) == [("122101", "1500.00")]
    assert [(line.role, line.dimensions["employee"], line.amount) for line in bill.parties] == [
        ("employee_payable", "E017", Decimal("413.00"))
    ]
    assert bill.total == Decimal("413.00")


def test_case_a_is_an_expense_document_of_1913_with_an_item_for_each_line_of_the_report() -> None:
    expense = ExpenseDocument.of(CASE_A)

    assert [(item.source_line, sums(item.entries)) for item in expense.items] == [
        (1, [("660201", "1000.00")]),
        (2, [("660201", "507.34")]),
        (3, [("660206", "300.00")]),
        (None, [("2221010101", "105.66")]),
    ]
    assert (expense.employee, expense.total) == ("E017", Decimal("1913.00"))
    assert (sums(expense.advances), sums(expense.to_employee)) == ([("122101", "1500.00")], [("224101", "413.00")])
    assert (expense.to_card, expense.to_supplier) == ((), ())


def test_the_tax_of_a_line_stands_in_its_item() -> None:
    own = CASE_A.lines[3]._replace(source_line=2)

    expense = ExpenseDocument.of(replace(CASE_A, lines=(*CASE_A.lines[:3], own, *CASE_A.lines[4:])))

    assert [(item.source_line, len(item.entries)) for item in expense.items] == [(1, 1), (2, 2), (3, 1)]


@pytest.mark.parametrize("form", FORMS)
def test_a_reversal_names_what_it_takes_back_and_its_total_has_the_other_sign(form: Callable[[Voucher], Any]) -> None:
    red = CASE_A.reversed("C01-EXP2025-0017-V1-R", date(2025, 4, 9))

    for reversal in (form(red), form(red.swapped())):
        assert (reversal.purpose, reversal.reverses) == ("reverse", CASE_A.reference)
        assert reversal.total == -form(CASE_A).total
    assert all(line.amount < 0 for _, line in entries(form(red)))
    assert all(line.amount > 0 for _, line in entries(form(red.swapped())))


def test_an_employee_who_gives_money_back_is_a_debit_entry_and_counts_against_what_is_owed() -> None:
    advance, owed = CASE_A.lines[4], CASE_A.lines[5]
    back = VoucherLine("debit", "122102", Decimal("87.00"), "employee_receivable", owed.dimensions)
    lines = (*CASE_A.lines[:4], advance._replace(amount=Decimal("2000.00")), back)

    bill = PayableBill.of(replace(CASE_A, lines=lines, total_debit=Decimal("2000.00"), total_credit=Decimal("2000.00")))

    assert (bill.parties, bill.total) == ((back,), Decimal("-87.00"))


# Round trips


ROLES: tuple[Role, ...] = get_args(Role)
DIMENSIONS = st.dictionaries(
    st.sampled_from(["employee", "supplier", "department"]), st.sampled_from(["E1", "E2", "S1"])
)


@st.composite
def vouchers(draw: st.DrawFn) -> Voucher:
    """Any voucher: every role on either side, other currencies, lines of the report mixed up; posting, red or swapped."""

    def line(side: Side, cents: int) -> VoucherLine:
        foreign = draw(st.booleans())
        return VoucherLine(
            side,
            draw(st.sampled_from(["6602", "2241", "1221"])),
            Decimal(cents).scaleb(-2),
            draw(st.sampled_from(ROLES)),
            draw(DIMENSIONS),
            draw(st.none() | st.just("深圳 2 晚")),
            draw(st.none() | st.just("travel/3")),
            draw(st.none() | st.integers(1, 4)),
            "USD" if foreign else None,
            Decimal(cents).scaleb(-2) if foreign else None,
            Decimal("7.1234") if foreign else None,
            draw(st.none() | st.just("2025-03")),
        )

    debits = draw(st.lists(st.integers(1, 10**9), min_size=1, max_size=6))
    total = sum(debits)
    cuts = sorted(draw(st.sets(st.integers(1, total - 1), max_size=4))) if total > 1 else []
    credits = [high - low for low, high in zip([0, *cuts], [*cuts, total], strict=True)]
    lines = [line("debit", cents) for cents in debits] + [line("credit", cents) for cents in credits]
    voucher = Voucher.of(
        company="C01",
        reference="C01-EXP1-V1",
        document=DocumentRef("expense.report", "EXP1", 1),
        date=date(2025, 4, 3),
        currency="CNY",
        lines=draw(st.permutations(lines)),
        memo=draw(st.none() | st.just("EXP1 张三")),
    )
    form = draw(st.sampled_from(["post", "red", "swapped"]))
    if form == "post":
        return voucher
    red = voucher.reversed("C01-EXP1-V1-R", date(2025, 5, 1))
    return red if form == "red" else red.swapped()


@settings(max_examples=300, deadline=None)
@given(vouchers(), st.sampled_from(FORMS))
def test_any_voucher_comes_back_from_its_document_and_from_the_wire(
    voucher: Voucher, form: Callable[[Voucher], Any]
) -> None:
    document = form(voucher)

    assert in_any_order(as_voucher(document)) == in_any_order(voucher)
    assert PARSERS[type(document)](to_json(document)) == document
    SCHEMAS[type(document)].validate(json.loads(to_json(document)))


@settings(max_examples=300, deadline=None)
@given(vouchers())
def test_what_is_owed_is_what_was_spent_less_the_advances(voucher: Voucher) -> None:
    bill, expense = PayableBill.of(voucher), ExpenseDocument.of(voucher)

    advances = sum(line.amount if line.side == "credit" else -line.amount for line in bill.advances)
    assert bill.total == expense.total - advances


@settings(max_examples=50, deadline=None)
@given(vouchers())
def test_a_voucher_is_its_own_document(voucher: Voucher) -> None:
    assert as_voucher(voucher) is voucher
    assert total_of(voucher) == voucher.total_debit
    assert parse_voucher(to_json(voucher)) == voucher


# What cannot be


BILL, EXPENSE = PayableBill.of(CASE_A), ExpenseDocument.of(CASE_A)
WRONG: dict[str, Callable[[], ErpDocument]] = {
    "a total a cent off": lambda: replace(BILL, total=Decimal("413.01")),
    "a total that is not a number": lambda: replace(BILL, total=Decimal("NaN")),
    "a party that is owed a cent more": lambda: replace(
        BILL, parties=(BILL.parties[0]._replace(amount=Decimal("413.01")),), total=Decimal("413.01")
    ),
    "an advance left out": lambda: replace(BILL, advances=()),
    "an advance among the parties": lambda: replace(BILL, advances=(), parties=(*BILL.advances, *BILL.parties)),
    "a payable among the costs": lambda: replace(BILL, lines=(*BILL.lines, *BILL.parties), parties=()),
    "tenths of a cent": lambda: replace(
        BILL, parties=(BILL.parties[0]._replace(amount=Decimal("413.001")),), total=Decimal("413.001")
    ),
    "a posting that reverses": lambda: replace(BILL, reverses="R"),
    "an expense document of another total": lambda: replace(EXPENSE, total=Decimal("413.00")),
    "another employee": lambda: replace(EXPENSE, employee="E018"),
    "an item with the line of another": lambda: replace(
        EXPENSE, items=(ExpenseItem(2, EXPENSE.items[0].entries), *EXPENSE.items[1:])
    ),
    "an item of nothing": lambda: replace(EXPENSE, items=(ExpenseItem(9, ()), *EXPENSE.items)),
    "two items for one line": lambda: replace(
        EXPENSE,
        items=(*EXPENSE.items[:3], ExpenseItem(3, (CASE_A.lines[3]._replace(source_line=3),))),
    ),
    "a card paid as an employee": lambda: replace(EXPENSE, to_card=EXPENSE.to_employee, to_employee=()),
}


@pytest.mark.parametrize("build", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_document_is_not_built(build: Callable[[], ErpDocument]) -> None:
    with pytest.raises(Unbalanced):
        build()


@pytest.mark.parametrize(
    ("parse", "document"), [(parse_payable_bill, BILL), (parse_expense_document, EXPENSE)], ids=["bill", "expense"]
)
def test_a_wrong_document_from_outside_is_refused_with_a_code(
    parse: Callable[[bytes], ErpDocument], document: ErpDocument
) -> None:
    body = to_json(document)
    for wrong, code in (
        (body.replace(b'"413.00"', b'"412.99"'), "CON-140"),
        (body.replace(b'"413.00"', b"413.00"), "CON-120"),
        (body.replace(b'"total"', b'"sum"'), "CON-112"),
        (b'"' + b"x" * (4 * 1024 * 1024) + b'"', "CON-104"),
    ):
        with pytest.raises(Refused) as caught:
            parse(wrong)

        assert code in {finding.code for finding in caught.value.findings}
