"""The consultant's workbench: cases in both forms, what cannot be read at its line, results, and two books compared."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

import contracts
from connector.translate import Book, Refusal, load_book, to_voucher
from connector.translate.book import STARTERS
from connector.translate.cases import TESTS, Case, load_cases, read_cases
from connector.translate.compare import compare, other_lines, rebuild
from connector.translate.coverage import advice
from connector.translate.terms import from_text, to_text
from connector.translate.testing import junit, run
from connector.translate.voucher import Terms
from contracts.expense import ExpenseReport
from contracts.findings import Finding
from contracts.voucher import Voucher

EXAMPLES = Path(contracts.__file__).parent / "examples"
TAXI = """# A taxi
travel.taxi 50.00 | Dr 660201 D01 E017 50.00
                  |   Cr 224101 E017   50.00
"""


@pytest.fixture(scope="module")
def book() -> Book:
    return load_book()


@pytest.fixture
def folder(tmp_path: Path, book: Book) -> Path:
    """The starter book, to be changed."""
    made = tmp_path / "book"
    made.mkdir()
    for name, content in book.files.items():
        (made / name).write_bytes(content)
    return made


def read(text: str, book: Book, name: str = "t.case") -> tuple[list[Case], list[Finding]]:
    findings: list[Finding] = []
    return read_cases(name, text.encode(), book, findings), findings


def only(text: str, book: Book, name: str = "t.case") -> Case:
    cases, findings = read(text, book, name)
    assert not findings
    [case] = cases
    return case


def report_of(text: str, book: Book) -> ExpenseReport:
    report = only(f"# x\n{text}", book).report
    assert isinstance(report, ExpenseReport)
    return report


def test_both_forms_of_a_case_say_the_same(book: Book) -> None:
    listed = """
- case: A taxi
  given: |
    travel.taxi 50.00
  expect: |
    借 660201 D01 E017 50.00
    贷 224101 E017     50.00
"""

    columns, other = only(TAXI, book), only(listed, book, "t.yaml")

    assert run(columns, book).passed
    assert replace(other, at=columns.at) == columns


def test_a_case_may_name_an_event_that_stands_beside_it(tmp_path: Path, book: Book) -> None:
    shutil.copy(EXAMPLES / "expense-report-approved.case-a.json", tmp_path / "a.json")
    (tmp_path / "a.yaml").write_text("- case: A\n  file: a.json\n  expect: as C01-EXP2025-0017-V1\n")

    [case], findings = load_cases(tmp_path, book)

    assert not findings
    assert run(case, book).said[0].text == "as C01-EXP2025-0017-V1"


@pytest.mark.parametrize("chart", ["chinese", "international"])
def test_a_starter_book_passes_its_own_tests_and_leaves_nothing_to_advise(chart: str) -> None:
    book = load_book(STARTERS / chart)

    cases, findings = load_cases(STARTERS / chart / TESTS, book)

    assert findings == advice(book) == []
    assert len(cases) >= 3
    assert [case.title for case in cases if not run(case, book).passed] == []


@pytest.mark.parametrize("name", ["../a.json", "/etc/passwd", "a\\b.json", "..", "none.json"])
def test_a_case_reads_no_file_from_elsewhere(tmp_path: Path, book: Book, name: str) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    inner = tmp_path / "tests"
    inner.mkdir()
    (inner / "a.yaml").write_text(f"- case: A\n  file: {name}\n")

    _, [finding] = load_cases(inner, book)

    assert (finding.code, finding.path) == ("MAP-210", "a.yaml:2")
    assert "beside" in finding.expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("employee E017", "employee E017 D01"),
        ("version one", "version 2"),
        ("advance ADV1", "advance ADV1 1500.00"),
        ("advance ADV1 1.00 USD for 7.10", "advance ADV1 1500.00"),
        ("closed March", "closed 2025-03 -> 2025-04-03"),
        ("travel.taxi", "category amount"),
        ("travel.taxi fifty", "category amount"),
        ("travel.taxi 50.00 USD @", "category amount"),
        ("travel.taxi 50.00, days many", "days 3"),
        ("travel.taxi 50.00, air 1.00", "air 1000.00 + 60.00 + 50.00"),
        ("travel.taxi 50.00, crad", "a clause of an expense"),
        ("travel.taxi 50.00,", "a clause of an expense"),
    ],
)
def test_what_cannot_be_read_is_named_at_its_line(book: Book, statement: str, expected: str) -> None:
    for name, text in (
        ("t.case", f"# x\n\n{statement} |"),
        ("t.yaml", f"- case: x\n  given: |\n    {statement}\n"),
    ):
        _, [finding] = read(text, book, name)

        assert (finding.code, finding.path) == ("MAP-210", f"{name}:3")
        assert expected in finding.expected


@pytest.mark.parametrize(
    ("name", "text", "where", "word"),
    [
        ("t.case", "travel.taxi 50.00 |", "t.case:1", "title"),
        ("t.case", "# x\ntravel.taxi 50.00 | 660201 50.00", "t.case:2", "Dr"),
        ("t.yaml", "case: x", "t.yaml:1", "list"),
        ("t.yaml", "- case: x\n  givne: |\n    travel.taxi 1.00\n", "t.yaml:2", "given"),
        ("t.yaml", "- case: x\n  expect: |\n    Dr 1\n", "t.yaml:1", "given"),
        ("t.yaml", "- case: x\n  given: [1]\n", "t.yaml:2", "text"),
        ("t.yaml", "- case: x\n  given: travel.taxi 5.00, crad\n", "t.yaml:2", "clause"),
    ],
)
def test_a_file_that_is_no_list_of_cases_is_named_at_its_line(
    book: Book, name: str, text: str, where: str, word: str
) -> None:
    _, findings = read(text, book, name)

    assert findings[0].path == where
    assert word in findings[0].expected


def test_a_word_that_is_nearly_right_is_guessed(book: Book) -> None:
    _, [finding] = read("# x\ntravel.taxi 50.00, crad", book)

    assert finding.fix == "did you mean card?"


@pytest.mark.parametrize(
    ("statement", "fix"),
    [
        ("employe E017 D01", "did you mean employee?"),
        ("postingdate 2025-01-01", "did you mean posting_date?"),
        ("closed March", "write it in this form"),
        ("travel.taxi 1,060.00", "write the amount without commas: 1060.00"),
        ("travel.hotel 1060.00, vat_special 1,000.00 + 60.00", "write the amount without commas: 1060.00"),
    ],
)
def test_what_was_probably_meant_is_said(book: Book, statement: str, fix: str) -> None:
    _, [finding] = read(f"# x\n{statement}", book)

    assert finding.fix == fix


@given(text=st.text(alphabet="ab#|:,-@ \n0.>[]{}&*\t", max_size=200), name=st.sampled_from(["t.case", "t.yaml"]))
def test_no_text_makes_reading_raise(text: str, name: str) -> None:
    read(text, load_book(), name)


def test_a_report_that_breaks_the_contract_may_be_what_is_expected(book: Book) -> None:
    case = only("# x\ntotal 60.00 |\ntravel.taxi 50.00 | refused CON-131 data.total", book)

    assert run(case, book).passed


def test_an_advance_in_another_currency_keeps_both_its_rates(book: Book) -> None:
    report = report_of("advance ADV1 480.00 USD @ 7.15 paid 7.10\ntravel.taxi 50.00, days 3", book)

    [claim] = report.advances
    assert (claim.currency, claim.rate and claim.rate.value, claim.paid_rate) == (
        "USD",
        Decimal("7.15"),
        Decimal("7.10"),
    )
    assert report.lines[0].days == 3


def test_a_closed_period_moves_the_voucher_and_leaves_its_origin(book: Book) -> None:
    case = only(
        "# x\nclosed 2025-03 -> 2025-04-05 | on 2025-04-05\ntravel.taxi 50.00 | origin 2025-03\n | Dr 660201 D01 E017 50.00\n"
        " | Cr 224101 E017 50.00",
        book,
    )

    assert run(case, book).passed
    assert case.terms == Terms(date(2025, 4, 5), "2025-03")


def test_a_failed_case_says_line_by_line_what_made_the_difference(book: Book) -> None:
    case = only(TAXI.replace("660201", "660202"), book)

    result = run(case, book)

    assert not result.passed
    assert [(d.mark, d.text) for d in result.differences()] == [
        ("-", "Dr 660202 D01 E017 50.00"),
        ("+", "Dr 660201 D01 E017 50.00"),
        (" ", "Cr 224101 E017 50.00"),
    ]
    by = result.differences()[1].by
    assert by.startswith("[cost] book.yaml:")
    assert "accounts.csv:6" in by


def test_a_case_that_expects_nothing_never_passes(book: Book) -> None:
    assert not run(only("# x\ntravel.taxi 0.00", book), book).passed
    assert not run(only("# x\ntravel.taxi 50.00", book), book).passed


def test_junit_counts_the_cases_and_tells_each_failure(book: Book) -> None:
    cases, _ = read(TAXI + TAXI.replace("A taxi", "A <\x00> taxi").replace("660201", "1"), book)

    suite = etree.fromstring(junit("book", [run(case, book) for case in cases], 0.25))[0]

    assert dict(suite.attrib) == {
        "name": "book", "tests": "2", "failures": "1", "errors": "0", "time": "0.250", "skipped": "0",
    }  # fmt: skip
    passed, failed = suite
    assert (passed.get("file"), passed.get("line"), len(passed)) == ("t.case", "1", 0)
    assert failed.get("name") == "A <\\x00> taxi"
    assert "- Dr 1 D01 E017 50.00" in (failed[0].text or "")


def test_books_with_the_same_files_do_not_differ(book: Book, folder: Path) -> None:
    assert compare(book, load_book(folder)) == []


def test_a_number_written_with_other_zeros_is_no_difference(book: Book, folder: Path) -> None:
    change(folder / "tax.csv", "*,rail,*,included,0.09", "*,rail,*,included,0.090")

    assert compare(book, load_book(folder)) == []


def test_rows_and_rules_are_compared_by_their_keys(book: Book, folder: Path) -> None:
    change(folder / "accounts.csv", "travel.taxi,*,*,660201", "travel.taxi,*,*,660209")
    change(folder / "accounts.csv", "office.postage,*,*,660202,,,\n", "gift.new,D01,*,660206,,2025-01-01,\n")
    change(folder / "tax.csv", "*,rail,*,included,0.09", "*,rail,*,included,0.08")
    change(folder / "book.yaml", "id: rounding", "id: round-off")

    found = compare(book, load_book(folder))

    assert {
        (c.what, c.table, c.key, *(f"{name} {old}>{new}" for name, (old, new) in c.fields.items())) for c in found
    } >= {
        ("changed", "accounts", "travel.taxi/*/*", "account 660201>660209"),
        ("removed", "accounts", "office.postage/*/*", "account 660202>"),
        ("added", "accounts", "gift.new/D01/*", "valid_from >2025-01-01", "account >660206"),
        ("changed", "tax", "*/rail/*", "rate 0.09>0.08"),
    }
    assert {(c.what, c.key) for c in found if c.table == "rules"} == {("removed", "rounding"), ("added", "round-off")}
    assert all(c.old_at or c.new_at for c in found)


def test_a_rule_that_changed_its_place_moved_and_a_condition_is_compared_as_text(book: Book, folder: Path) -> None:
    text = (folder / "book.yaml").read_text("utf-8")
    start, end = text.index("  - id: rounding"), text.index("  - id: employee-owes")
    moved = (
        text[:start]
        + text[end:].rstrip("\n")
        + "\n"
        + text[start:end].replace("    role", "    when: amount > 0\n    role")
    )
    (folder / "book.yaml").write_text(text[:start] + text[end:].rstrip("\n") + "\n" + text[start:end], "utf-8")
    only_moved = compare(book, load_book(folder))
    (folder / "book.yaml").write_text(moved, "utf-8")

    [changed] = compare(book, load_book(folder))

    assert [(c.what, c.key) for c in only_moved] == [("moved", "rounding")]
    assert changed.fields == {"when": ("", "amount > 0")}


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    path.write_text(text.replace(old, new), "utf-8")


def test_the_lines_that_another_book_makes_otherwise_are_told_old_and_new(book: Book, folder: Path) -> None:
    change(folder / "accounts.csv", "travel.taxi,*,*,660201", "travel.taxi,*,*,660209")
    new = load_book(folder)
    reports = [report_of("travel.taxi 50.00", book), report_of("number E2\ntravel.hotel 50.00", book)]

    [line] = other_lines(reports, book, new)

    assert (line.number, line.before, line.after) == ("EXP1", "Dr 660201 D01 E017 50.00", "Dr 660209 D01 E017 50.00")
    assert list(other_lines(reports, book, book)) == []


def test_a_booked_voucher_is_rebuilt_to_the_same_bytes_on_the_terms_it_was_made_on(book: Book) -> None:
    report = report_of("travel.taxi 50.00\nentertainment.meal 20.00", book)
    terms = Terms(date(2025, 5, 2), "2025-04")
    booked = to_voucher(report, book, terms=terms, reference_max=20)
    assert isinstance(booked, Voucher)

    assert rebuild(report, booked, book, terms).same
    assert not rebuild(report, booked, book, Terms(date(2025, 5, 2))).same


@pytest.mark.parametrize(
    "terms",
    [
        Terms(date(2025, 5, 2)),
        Terms(date(2025, 5, 2), "2025-04", accrued=True),
        Terms(
            date(2025, 5, 2),
            advances={"ADV1": ("USD", Decimal("7.10"))},
            released={"ADV1": Decimal("3408.00")},
            invoices={"25442000000000000001": ((Decimal("35.00"), Decimal("70.00")),)},
        ),
    ],
)
def test_terms_are_read_as_they_were_written(terms: Terms) -> None:
    assert from_text(to_text(terms), date(2025, 5, 2)) == terms


def test_a_day_alone_is_told_by_the_voucher() -> None:
    assert to_text(Terms(date(2025, 5, 2))) is None


def test_a_voucher_that_comes_out_otherwise_says_where(book: Book, folder: Path) -> None:
    report = report_of("travel.taxi 50.00, described To the airport", book)
    booked = to_voucher(report, book)
    assert isinstance(booked, Voucher)
    change(folder / "book.yaml", 'memo: "{description}"', 'memo: "{category}"')
    other_memo = rebuild(report, booked, load_book(folder), Terms())
    change(folder / "accounts.csv", "travel.taxi,*,*,660201,,,\n", "")
    refused = rebuild(report, booked, load_book(folder), Terms())

    assert not other_memo.same
    assert other_memo.fields == (("lines[0].memo", "To the airport", "travel.taxi"),)
    assert not refused.same
    assert [finding.code for finding in refused.findings] == ["MAP-201"]


def test_a_company_and_a_currency_that_are_left_out_are_the_books_own(folder: Path) -> None:
    change(folder / "companies.csv", "C01,CNY", "E01,EUR")
    book = load_book(folder)

    report = report_of("travel.taxi 50.00", book)

    assert (report.company, report.currency, report.lines[0].currency) == ("E01", "EUR", "EUR")
    assert not isinstance(to_voucher(report, book), Refusal)
