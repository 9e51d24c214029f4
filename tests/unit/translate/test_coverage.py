"""Which rules and rows a voucher used, and what a sound book has that nobody can have meant."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from connector.translate import Book, load_book
from connector.translate.cases import read_cases
from connector.translate.coverage import advice, measure, strangers, tables_of, unanswered, untranslated
from connector.translate.reader import read_book
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
        | places(book, "tax", "*/vat_special/*") | places(book, "chart", "660201") | places(book, "chart", "2221010101")
        | places(book, "chart", "224101")
    )  # fmt: skip


def test_the_row_that_keeps_tax_in_the_cost_was_used_too(book: Book) -> None:
    assert places(book, "tax", "entertainment.meal/*/*") <= used("# x\nentertainment.meal 10.00, vat_ordinary", book)


def test_a_refused_report_uses_nothing(book: Book) -> None:
    assert used("# x\nno.such 10.00", book) == set()


def test_every_row_of_every_table_is_counted(written: Written) -> None:
    book = written(tolerances="C01,0.05,,\n", dimensions="department,*,*,*,,\n", payables="E017,advance,*,122101,,\n")
    items = measure(book, ()).items

    rows = {row.at for rows in tables_of(book).values() for row in rows}

    assert rows == {item.at for item in items if item.table not in ("rules", "pairs")}
    assert {item.table for item in items} >= {"chart", "dimensions", "periods", "tolerances", "payables"}


def test_a_tolerance_is_used_where_a_difference_is_within_it_and_where_it_refuses_one(written: Written) -> None:
    book = written(tolerances="C01,0.00,,\n")
    wide = written(tolerances="C01,0.05,,\n")
    residue = "# x\ntotal 712.34\n" + 2 * "travel.hotel 33.33 USD @ 7.1234\n" + "travel.hotel 33.34 USD @ 7.1234\n"

    assert places(wide, "tolerances", "C01") <= used(residue, wide)
    assert used(residue, book) == places(book, "tolerances", "C01")
    assert not places(book, "tolerances", "C01") & used("# x\ntravel.taxi 10.00", book)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("HOLD", ["refused ACC-332 data.posting_date", "waits period:2025-03-28"]),
        ("REJECT", ["refused ACC-331 data.posting_date"]),
        ("NEXT_OPEN", ["Dr 660201 D01 E017 50.00", "Cr 224101 E017 50.00"]),
        ("ACCRUE", ["Dr 224103 50.00", "Cr 224101 E017 50.00"]),
    ],
)
def test_what_the_book_says_of_a_closed_period_can_be_tested_and_uses_its_row(
    written: Written, policy: str, said: list[str]
) -> None:
    book = written(periods=f"*,C01,{policy},,\n")
    moved = policy in ("NEXT_OPEN", "ACCRUE")
    expected = "on 2025-04-03\norigin 2025-03\n" if moved else "Dr 1\n"
    right = "".join(f" | {line}\n" for line in expected.splitlines())
    [case] = read_cases(
        "t.case", f"# x\nclosed 2025-03\nposting_date 2025-03-28\ntravel.taxi 50.00\n{right}".encode(), book, []
    )

    result = run(case, book)

    assert [line.text for line in result.said] == [*(expected.splitlines() if moved else ()), *said]
    assert places(book, "periods", "*/C01") <= result.used


def test_a_period_that_is_closed_says_nothing_to_what_is_posted_outside_it(book: Book) -> None:
    found = used("# x\nclosed 2025-03\nposting_date 2025-04-01\ntravel.taxi 50.00", book)

    assert places(book, "accounts", "travel.taxi/*/*") <= found
    assert not places(book, "periods", "*/*") & found


def test_an_allowance_is_used_below_and_above_it(written: Written) -> None:
    book = written(
        per_diem="travel.per_diem,CNY,*,180.00,travel.taxi,,\n", accounts="travel.per_diem,D01,*,660201,,,\n"
    )
    row = places(book, "per_diem", "travel.per_diem/CNY/*")

    assert row <= used("# x\ntravel.per_diem 100.00", book) & used("# x\ntravel.per_diem 500.00, days 2", book)


def test_an_advance_uses_the_accounts_it_moves_between(book: Book) -> None:
    found = used("# x\nadvanced ADV1 500.00", book)

    assert (
        places(book, "roles", "bank/*") | places(book, "roles", "advance/*") | places(book, "companies", "C01") <= found
    )
    assert not places(book, "roles", "exchange_difference/*") & found


def test_an_advance_uses_the_rules_of_its_lines(book: Book) -> None:
    found = used("# x\nadvanced ADV1 500.00", book)

    assert places(book, "rules", "bank") | places(book, "rules", "advance") <= found
    assert not places(book, "rules", "exchange-difference") & found


def test_what_stands_and_what_follows_it_are_both_used(book: Book) -> None:
    found = used("# x\ntravel.taxi 50.00\nthen\noffice.supplies 50.00", book)

    assert places(book, "accounts", "travel.taxi/*/*") | places(book, "accounts", "office.supplies/*/*") <= found


def test_a_dimension_uses_the_row_that_named_it_for_each_share_and_each_line(written: Written) -> None:
    book = written(
        dimensions="department,D01,*,100.01,,\ndepartment,D02,*,100.02,,\ndepartment,D03,*,100.03,,\ndepartment,D04,*,100.04,,\n"
    )
    rows = {name: places(book, "dimensions", f"department/{name}/*") for name in ("D01", "D02", "D03", "D04")}

    shared = used("# x\ntravel.taxi 10.00, share 0.5 D02, share 0.5 D03", book)

    assert rows["D02"] | rows["D03"] <= shared
    assert not (rows["D01"] | rows["D04"]) & shared
    assert rows["D04"] <= used("# x\nemployee E017 D01\ntravel.taxi 10.00, department D04", book)


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

    # What only partly deductible tax needs.
    elsewhere = {"non_deductible_tax"}
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


def test_a_memo_that_no_line_carries_is_told(tmp_path: Path, book: Book) -> None:
    for name, content in book.files.items():
        text = content.decode().replace("\n  - id: cost\n", "\n  - id: cost\n    merge: yes\n")
        (tmp_path / name).write_text(text, "utf-8")

    found = [finding for finding in advice(load_book(tmp_path)) if "memo" in finding.expected]

    assert [finding.path.split(":")[0] for finding in found] == ["book.yaml"]
    assert [finding for finding in advice(book) if "memo" in finding.expected] == []


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


def test_the_row_is_named_that_takes_the_first_day_of_a_hidden_one(written: Written) -> None:
    years = "x.y,*,*,660202,2,,2024-12-31\nx.y,*,*,660203,2,2025-01-01,\n"
    book = written(accounts=f"{years}x.y,D01,*,660202,,2025-03-01,\n")
    [second] = [row.at for row in book.accounts if row.category == "x.y" and row.account == "660203"]

    [finding] = [finding for finding in advice(book) if finding.path.startswith("accounts")]

    assert finding.got == f"hidden by {second}"


@pytest.mark.parametrize(
    "line",
    [
        "x.y,*,*,660202,,{day},{day}\n",
        "x.y,D{n},*,660202,,{day},{end}\n",
        "x.y,*,*,660202,,{day},{day}\nx.y,D{n},*,660202,,,\n",
    ],
    ids=["one key", "a key for each", "wider and narrower"],
)
def test_twice_the_rows_take_no_more_than_about_twice_the_steps(written: Written, line: str) -> None:
    first = date(2000, 1, 1)

    def steps(rows: int) -> int:
        days = [first + timedelta(days=n) for n in range(rows)]
        lines = (line.format(n=n, day=day, end=day + timedelta(days=90)) for n, day in enumerate(days))
        book = written(accounts="x.y,*,*,660202,3,2000-01-01,2030-01-01\n" + "".join(lines))
        taken = 0

        def count(_frame: object, _event: str, _arg: object) -> None:
            nonlocal taken
            taken += 1

        sys.setprofile(count)
        try:
            advice(book)
        finally:
            sys.setprofile(None)
        return taken

    assert steps(800) < 2.5 * steps(400)


def test_an_account_that_nothing_is_booked_on_is_told(written: Written) -> None:
    book = written(chart="999999,闲置,Idle,\n")

    assert [finding.expected for finding in advice(book)][-1] == "a row or rule that books on 999999"


@pytest.mark.parametrize(
    ("table", "line", "expected", "fix"),
    [
        ("tax", "*,vat_special,C0l,stated,,,,,\n", "a company of the companies table", "did you mean C01?"),
        ("tax", "travel.hotl,air,*,none,,,,,\n", "a category of the accounts table", "did you mean travel.hotel?"),
        ("roles", "bank,XX,100201,,,\n", "a company of the companies table", "remove the row, or add it there"),
    ],
)
def test_a_code_that_its_own_table_lacks_is_told_with_the_one_that_was_meant(
    book: Book, table: str, line: str, expected: str, fix: str
) -> None:
    files = dict(book.files)
    files["companies.csv"] = files["companies.csv"].replace(b"\n*,CNY", b"\n# *,CNY")
    files[f"{table}.csv"] += line.encode()

    [finding] = [finding for finding in advice(read_book(files)) if finding.path.startswith(table)]

    assert (finding.expected, finding.fix) == (expected, fix)


def test_a_book_for_any_company_may_say_more_of_one(written: Written) -> None:
    assert not [found for found in advice(written(roles="bank,XX,100201,,,\n")) if found.path.startswith("roles")]


def test_a_department_that_the_dimensions_table_does_not_translate_is_told(written: Written) -> None:
    book = written(dimensions="department,D01,*,100.01,,\n", accounts="travel.taxi,D0l,*,660201,1,,\n")

    [finding] = [finding for finding in advice(book) if "department" in finding.expected]

    assert (finding.got, finding.fix) == ("D0l", "did you mean D01?")


def test_a_code_that_the_master_data_of_its_company_lacks_is_told_with_the_one_that_was_meant(
    written: Written,
) -> None:
    book = written(
        accounts="travel.taxi,D0l,C01,660201,1,,\ntravel.taxi,D99,C01,660201,1,,2024-12-31\ntravel.taxi,D02,*,660201,1,,\n",
        dimensions="department,D02,*,100.02,,\nproject,P1,*,100.02,,\n",
    )
    values = [("C01", "department", "D01"), ("C02", "department", "D02")]

    [finding] = strangers(book, values, date(2025, 4, 1))

    assert finding.path.startswith("accounts.csv:")
    assert (finding.expected, finding.got) == ("a department of the master data", "D0l")
    assert finding.fix == "did you mean D01?"


def test_what_no_row_answers_is_told_for_each_department_or_for_all(written: Written) -> None:
    book = written(accounts="x.y,D01,*,660202,,,\n")
    departments = [("C01", "D01"), ("C01", "D02"), ("C02", "D09")]

    found = unanswered(book, [("C01", "x.y"), ("C01", "no.row"), ("C01", "travel.taxi")], departments, date(2025, 4, 1))

    assert found == [("C01", "no.row", "*"), ("C01", "x.y", "D02")]


def test_a_value_is_told_that_its_dimension_has_no_row_for(written: Written) -> None:
    book = written(dimensions="department,D01,*,100.01,,\ndepartment,D02,*,100.02,,2024-12-31\n")
    values = [
        ("C01", "department", "D01"),
        ("C01", "department", "D02"),
        ("C01", "project", "P1"),
    ]

    assert untranslated(book, values, date(2025, 4, 1)) == [("C01", "department", "D02")]
