"""Which rules and rows a voucher used, and what a sound book has that nobody can have meant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from connector.translate import Book, load_book
from connector.translate.cases import read_cases
from connector.translate.coverage import advice, measure, unanswered
from connector.translate.testing import run
from tests.unit.translate.notation import cases

Written = Callable[..., Book]


@pytest.fixture(scope="module")
def book() -> Book:
    return load_book()


@pytest.fixture
def written(tmp_path: Path, book: Book) -> Written:
    """The starter book with more lines at the end of its files."""

    def write(**more: str) -> Book:
        for name, content in book.files.items():
            (tmp_path / name).write_bytes(content + more.get(name.partition(".")[0], "").encode())
        return load_book(tmp_path)

    return write


def used(text: str, book: Book) -> set[str]:
    """The places that the vouchers of these cases used."""
    results = [run(case, book) for case in read_cases("t.case", text.encode(), book, [])]
    return {item.at for item in measure(book, (result.used for result in results)).items if item.used}


def places(book: Book, table: str, key: str) -> set[str]:
    return {item.at for item in measure(book, ()).items if (item.table, item.key) == (table, key)}


def test_a_voucher_uses_its_rules_and_the_rows_that_answered_and_nothing_else(book: Book) -> None:
    found = used("# x\ntravel.hotel 1060.00, vat_special 1000.00 + 60.00 certified", book)

    assert found == (
        places(book, "rules", "cost") | places(book, "rules", "input-tax") | places(book, "rules", "employee-payable")
        | places(book, "companies", "C01") | places(book, "accounts", "travel.hotel/*/*")
        | places(book, "roles", "input_tax/*") | places(book, "roles", "employee_payable/*")
        | places(book, "tax", "*/vat_special/*")
    )  # fmt: skip


def test_the_row_that_keeps_tax_in_the_cost_was_used_too(book: Book) -> None:
    assert places(book, "tax", "entertainment.meal/*/*") <= used("# x\nentertainment.meal 10.00, vat_ordinary", book)


def test_a_refused_report_uses_nothing(book: Book) -> None:
    assert used("# x\nno.such 10.00", book) == set()


def test_how_often_is_counted_per_voucher(book: Book) -> None:
    text = "# x\ntravel.taxi 1.00\ntravel.taxi 2.00\n# y\ntravel.taxi 3.00\n"
    results = [run(case, book) for case in read_cases("t.case", text.encode(), book, [])]

    covered = measure(book, (result.used for result in results))

    [taxi] = [item for item in covered.items if item.key == "travel.taxi/*/*"]
    assert taxi.used == 2
    assert covered.percent == 100 * (len(covered.items) - len(covered.unused)) // len(covered.items)


def test_nothing_is_whole_before_the_last_row_is_used(book: Book) -> None:
    everything = [item.at for item in measure(book, ()).items]

    assert measure(book, [everything]).percent == 100
    assert measure(book, [everything[:-1]]).percent == 99 - (len(everything) < 100)


def test_our_own_cases_hit_every_rule_a_report_can_reach() -> None:
    by_book: dict[str, tuple[Book, list[frozenset[str]]]] = {}
    for case, book in cases():
        by_book.setdefault(book.fingerprint, (book, []))[1].append(run(case, book).used)

    book, uses = by_book[load_book().fingerprint]

    # Money that moves without a report, and what only partly deductible tax needs.
    elsewhere = {"bank", "accrual", "exchange_difference", "non_deductible_tax"}
    missed = {item.key for item in measure(book, uses).rules if not item.used}
    assert missed <= {rule.id for role, rule in book.rules.items() if role in elsewhere}


def test_the_starter_book_leaves_nothing_to_advise(book: Book) -> None:
    assert [finding for finding in advice(book) if finding.path.startswith(("accounts", "tax", "roles"))] == []


CLIENT = """
  - id: client
    role: expense
    when: line.category == "entertainment.meal" and line.amount > 100
    account: '"660209"'
    priority: 1
"""
PAIR = """
pairs:
  - id: meals-again
    when: line.category == "entertainment.meal"
    debit: "660206"
    credit: "224102"
    amount: amount
"""


def test_rules_with_conditions_and_pairs_are_used_where_they_hold(written: Written) -> None:
    book = written(book=CLIENT + PAIR)
    rule = {name: places(book, "rules", name) for name in ("client", "cost")}

    small, large = used("# x\nentertainment.meal 10.00", book), used("# x\nentertainment.meal 110.00", book)

    assert rule["cost"] <= small
    assert not rule["client"] & small
    assert rule["client"] <= large
    assert not rule["cost"] & large
    assert places(book, "pairs", "meals-again") <= small & large
    assert not places(book, "pairs", "meals-again") & used("# x\ntravel.taxi 10.00", book)


def test_a_role_whose_rules_all_have_conditions_is_told(tmp_path: Path, book: Book) -> None:
    for name, content in book.files.items():
        text = content.decode().replace("role: rounding\n", "role: rounding\n    when: amount > 0\n")
        (tmp_path / name).write_text(text, "utf-8")

    [finding] = [finding for finding in advice(load_book(tmp_path)) if finding.path.startswith("book.yaml")]

    assert "rounding" in finding.expected


def test_a_row_hidden_by_a_wider_one_of_higher_priority_is_told(written: Written) -> None:
    book = written(accounts="x.y,D01,C01,660202,,,\nx.y,D01,*,660202,2,,\n")

    [finding] = [finding for finding in advice(book) if finding.path.startswith("accounts")]

    assert finding.code == "MAP-218"
    assert finding.got.startswith("hidden by accounts.csv:")


def test_a_row_that_has_one_day_left_is_not_hidden(written: Written) -> None:
    book = written(accounts="x.y,D01,*,660202,,2025-01-01,2025-12-31\nx.y,*,*,660202,2,2025-01-02,\n")

    assert not [finding for finding in advice(book) if finding.path.startswith("accounts")]


def test_days_between_two_rows_of_one_key_are_told_unless_a_wider_row_has_them(written: Written) -> None:
    gap = "x.y,D01,*,660202,,,2024-12-31\nx.y,D01,*,660203,,2025-02-01,\n"

    [finding] = [finding for finding in advice(written(accounts=gap)) if finding.path.startswith("accounts")]
    covered = [f for f in advice(written(accounts=gap + "x.y,*,*,660204,,,\n")) if f.path.startswith("accounts")]

    assert "2025-01-01 to 2025-01-31" in finding.got
    assert covered == []


def test_an_account_that_nothing_is_booked_on_is_told(written: Written) -> None:
    book = written(chart="999999,闲置,Idle,\n")

    assert [finding.expected for finding in advice(book)][-1] == "a row or rule that books on 999999"


def test_what_no_row_answers_is_told_for_each_department_or_for_all(written: Written) -> None:
    book = written(accounts="x.y,D01,*,660202,,,\n")
    departments = [("C01", "D01"), ("C01", "D02"), ("C02", "D09")]

    found = unanswered(book, [("C01", "x.y"), ("C01", "no.row"), ("C01", "travel.taxi")], departments, date(2025, 4, 1))

    assert found == [("C01", "no.row", "*"), ("C01", "x.y", "D02")]
