"""The two books to begin with: both are whole, know the same categories and every role, and what they book is known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, get_args

import pytest

from connector.translate import Book, load_book, to_voucher
from connector.translate.book import STARTERS
from connector.translate.reader import read_book
from connector.translate.tables import ANY, OPTIONAL_ROW_TYPES, ROW_TYPES
from contracts.expense import Employee, ExpenseReport, Invoice, InvoiceKind, Line
from contracts.voucher import MappedRole, Voucher

DAY = date(2025, 4, 3)
CHARTS = sorted(folder.name for folder in STARTERS.iterdir() if folder.is_dir())


@pytest.fixture(params=CHARTS)
def book(request: pytest.FixtureRequest) -> Book:
    return load_book(STARTERS / request.param)


def booked(book: Book, *lines: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Side, account and amount of each line of the voucher of a report of company E01."""
    made = tuple(
        Line(line=number, date=DAY, description="", currency="EUR", paid_by="employee", **line)
        for number, line in enumerate(lines, 1)
    )
    report = ExpenseReport(
        company="E01",
        number="EXP1",
        version=1,
        employee=Employee(id="E017", name="Anna", department="D01"),
        currency="EUR",
        title="",
        submitted_on=DAY,
        approved_at=datetime(2025, 4, 3, 10, tzinfo=UTC),
        lines=made,
        total=sum((line.amount for line in made), Decimal("0.00")),
    )
    voucher = to_voucher(report, book)
    assert isinstance(voucher, Voucher), voucher
    return [(line.side, line.account, f"{line.amount:f}") for line in voucher.lines]


def test_there_are_two_and_the_chinese_one_is_taken_where_none_is_named() -> None:
    assert CHARTS == ["chinese", "international"]
    assert load_book().fingerprint == load_book(STARTERS / "chinese").fingerprint


def test_every_role_has_a_rule_and_an_account(book: Book) -> None:
    view = book.view("any", DAY)
    assert view is not None

    for role in get_args(MappedRole):
        assert role in book.rules
        if role != "expense":
            assert view.role(role, DAY) is not None, role


def test_every_kind_of_invoice_has_a_tax_rule(book: Book) -> None:
    view = book.view("any", DAY)
    assert view is not None

    for kind in get_args(InvoiceKind):
        assert kind == "none" or view.tax("training.course", kind, DAY) is not None, kind


def test_every_table_is_there_and_every_file_says_what_it_is_for(book: Book) -> None:
    assert set(book.tables) == {*ROW_TYPES, *OPTIONAL_ROW_TYPES}
    assert set(book.files) == {"book.yaml", *(name for names in book.tables.values() for name in names)}
    for name in OPTIONAL_ROW_TYPES:
        notes = [line for line in book.files[f"{name}.csv"].decode().splitlines() if line.startswith("#")]
        assert any(re.search("[一-鿿]", note) for note in notes), name
        assert any(not re.search("[一-鿿]", note) for note in notes), name


def test_both_know_the_same_categories() -> None:
    chinese, international = (set(load_book(STARTERS / name).categories()) for name in CHARTS)

    assert international - chinese == {"travel.per_diem.taxable"}
    assert chinese <= international


def test_a_closed_period_holds_the_report_and_policies_are_said_outright(book: Book) -> None:
    view = book.view("any", DAY)
    assert view is not None
    rule = view.period_rule("expense.report", DAY)

    assert rule is not None
    assert rule.policy == "HOLD"
    for row in book.companies:
        assert (row.posting_day, row.year_start, row.advances, row.budgets) == ("approval", 1, "stated", "stop")
    assert any(row.company == ANY for row in book.companies)


def test_rules_and_accounts_are_named_in_both_languages(book: Book) -> None:
    for rule in book.rules.values():
        assert set(rule.title) == {"en", "zh"}
    for row in book.chart.values():
        assert row.name_en.isascii()
        assert not row.name_zh.isascii()


@pytest.mark.parametrize("chart", CHARTS)
def test_the_examples_in_the_notes_can_be_used_as_they_stand(chart: str) -> None:
    files = dict(load_book(STARTERS / chart).files)
    text = files["book.yaml"].decode()
    rule = re.search(r"(?m)(^#   - id: .*\n(?:^#     .*\n)+)", text)
    pairs = re.search(r"(?m)(^# pairs:\n(?:^#   .*\n?)+)", text)
    assert rule is not None
    assert pairs is not None
    rules = rule[0].replace("#   ", "  ")
    assert text.count("\nrules:\n") == 1
    text = text.replace("\nrules:\n", f"\nrules:\n{rules}") + re.sub("(?m)^# ", "", pairs[0])
    files["book.yaml"] = text.encode()
    for name in OPTIONAL_ROW_TYPES:  # Examples are notes that look like rows.
        header, *lines = files[f"{name}.csv"].decode().splitlines()
        columns = header.count(",")
        rows = [
            line.removeprefix("# ") if line.count(",") == columns and re.match("# [^ ]+,", line) else line
            for line in lines
        ]
        files[f"{name}.csv"] = "\n".join([header, *rows]).encode()

    book = read_book(files)

    assert book.rules["expense"].when is not None
    assert len(book.pairs) == 1
    assert book.payables
    assert book.tolerances
    assert book.translated == {"department"}
    assert book.per_diems


def test_half_of_the_vat_on_fuel_is_deducted_and_the_rest_has_its_own_account() -> None:
    invoice = Invoice(kind="vat_special", net=Decimal("48.68"), tax=Decimal("6.32"), total=Decimal("55.00"))

    assert booked(
        load_book(STARTERS / "international"),
        {"category": "vehicle.fuel", "amount": Decimal("55.00"), "invoice": invoice},
    ) == [
        ("debit", "6150", "48.68"),
        ("debit", "6190", "3.16"),
        ("debit", "1510", "3.16"),
        ("credit", "2110", "55.00"),
    ]


def test_what_is_above_the_daily_allowance_is_taxable() -> None:
    assert booked(
        load_book(STARTERS / "international"), {"category": "travel.per_diem", "amount": Decimal("50.00")}
    ) == [
        ("debit", "6110", "24.00"),
        ("debit", "6115", "26.00"),
        ("credit", "2110", "50.00"),
    ]


def test_the_vat_of_a_meal_stays_in_its_cost() -> None:
    invoice = Invoice(kind="vat_special", net=Decimal("100.00"), tax=Decimal("19.00"), total=Decimal("119.00"))

    assert booked(
        load_book(STARTERS / "international"),
        {"category": "entertainment.meal", "amount": Decimal("119.00"), "invoice": invoice},
    ) == [("debit", "6120", "119.00"), ("credit", "2110", "119.00")]
