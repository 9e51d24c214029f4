"""The mapping book: text stays text, rows have an order and a time, and everything wrong is found at its file:line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from connector.translate import Book, BookRefused, load_book
from connector.translate.book import STARTER

CATEGORIES = [
    "travel.hotel",
    "travel.rail",
    "travel.air",
    "travel.coach",
    "travel.taxi",
    "travel.toll",
    "travel.meal",
    "travel.per_diem",
    "entertainment.meal",
    "entertainment.gift",
    "office.supplies",
    "office.postage",
    "office.printing",
    "communication.phone",
    "vehicle.fuel",
    "vehicle.parking",
    "training.course",
    "meeting.venue",
    "welfare.meal",
    "freight.express",
    "service.consulting",
]
DAY = date(2025, 4, 3)

Change = Callable[[str, str, str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "book"
    shutil.copytree(STARTER, copy)
    return copy


@pytest.fixture
def change(folder: Path) -> Change:
    def replace(name: str, old: str, new: str) -> None:
        text = (folder / name).read_text("utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), "utf-8")

    return replace


def account(book: Book, category: str, department: str = "D01", company: str = "C01", on: date = DAY) -> str | None:
    view = book.view(company, on)
    assert view is not None
    hit = view.account(category, department, on)
    return None if hit is None else hit.account


def findings(folder: Path) -> list[tuple[str, str]]:
    with pytest.raises(BookRefused) as refused:
        load_book(folder)
    assert all(finding.code == "MAP-210" for finding in refused.value.findings)
    return [(finding.path, f"{finding.expected} / {finding.got}") for finding in refused.value.findings]


def test_the_starter_book_has_exactly_its_categories() -> None:
    assert load_book().categories() == sorted(CATEGORIES)


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_starter_book_takes_any_department_and_company(category: str) -> None:
    assert account(load_book(), category, "any department", "C77") is not None


def test_no_other_category_falls_into_an_account_of_the_starter_book() -> None:
    assert account(load_book(), "travel") is None
    assert account(load_book(), "*") is None
    assert account(load_book(), "travel.hotel ") is None


def test_an_account_with_a_leading_zero_stays_text(folder: Path, change: Change) -> None:
    change("accounts.csv", "travel.taxi,*,*,660201", "travel.taxi,*,*,0123")
    change("chart.csv", "account,name_zh", "account,name_zh")
    (folder / "chart.csv").write_text((folder / "chart.csv").read_text("utf-8") + "0123,差旅,Travel,\n", "utf-8")

    assert account(load_book(folder), "travel.taxi") == "0123"


def test_an_exact_row_wins_over_a_star_and_a_priority_over_both(folder: Path, change: Change) -> None:
    change(
        "accounts.csv",
        "travel.taxi,*,*,660201,,,",
        "travel.taxi,*,*,660201,,,\ntravel.taxi,D07,*,660204,,,\ntravel.taxi,*,C02,660208,5,,",
    )
    book = load_book(folder)

    assert account(book, "travel.taxi") == "660201"
    assert account(book, "travel.taxi", "D07") == "660204"
    assert account(book, "travel.taxi", "D07", "C02") == "660208"


def test_a_row_counts_only_on_its_days(folder: Path, change: Change) -> None:
    change(
        "accounts.csv",
        "travel.taxi,*,*,660201,,,",
        "travel.taxi,*,*,660201,,,2025-03-31\ntravel.taxi,*,*,660204,,2025-04-02,",
    )
    book = load_book(folder)

    assert account(book, "travel.taxi", on=date(2025, 3, 31)) == "660201"
    assert account(book, "travel.taxi", on=date(2025, 4, 1)) is None
    assert account(book, "travel.taxi", on=date(2025, 4, 2)) == "660204"


def test_a_row_for_any_category_answers_for_each(folder: Path, change: Change) -> None:
    change("accounts.csv", "travel.taxi,*,*,660201,,,", "travel.taxi,*,*,660204,,,\n*,*,*,660202,,,")
    book = load_book(folder)

    assert account(book, "travel.taxi") == "660204"
    assert account(book, "whatever") == "660202"


def test_the_fingerprint_changes_with_every_file_and_only_then(folder: Path, change: Change) -> None:
    starter = load_book().fingerprint
    assert load_book(folder).fingerprint == starter
    change("tax.csv", "0.03", "0.04")

    assert load_book(folder).fingerprint != starter
    assert len(starter) == 64


@pytest.mark.parametrize(
    ("name", "old", "new", "at", "said"),
    [
        (
            "accounts.csv",
            "travel.rail,*,*,660201",
            "travel.rail,*,*,999999",
            "accounts.csv:3",
            "an account of the chart",
        ),
        ("accounts.csv", "travel.rail,*,*,660201,,,", "travel.rail,*,*,660201", "accounts.csv:3", "7 cells / 4"),
        ("accounts.csv", "travel.rail", "travel.hotel", "accounts.csv:3", "another at accounts.csv:2"),
        ("accounts.csv", "category,", "kategory,", "accounts.csv:1", "kategory"),
        ("accounts.csv", "660201,,,", "660201,high,,", "accounts.csv:2", "priority"),
        ("accounts.csv", "660201,,,", "660201,,2025-02-30,", "accounts.csv:2", "valid_from"),
        ("accounts.csv", "660201,,,", "660201,,2025-03-02,2025-03-01", "accounts.csv:2", "valid_from on or before"),
        ("accounts.csv", "travel.rail,", 'travel."rail,', "accounts.csv:3", "an account for"),
        ("companies.csv", "C01,CNY", "C01,XYZ", "companies.csv:2", "ISO 4217"),
        ("companies.csv", "Asia/Shanghai", "Asia/Nowhere", "companies.csv:2", "time zone"),
        ("chart.csv", "employee\n", "person\n", "chart.csv:2", "'person' is no dimension"),
        ("roles.csv", "input_tax", "imput_tax", "roles.csv:3", "role"),
        ("roles.csv", "2221010101", "(expense)", "roles.csv:3", "an account of the chart"),
        ("tax.csv", "included,0.09", "included,9", "tax.csv:13", "rate"),
        ("tax.csv", "included,0.09", "included,", "tax.csv:13", "a rate belongs to"),
        ("book.yaml", "    merge: yes", "    merge: perhaps", "book.yaml:30", "merge"),
        ("book.yaml", "id: cost", "id: input-tax", "book.yaml:28", "one rule per id"),
        ("book.yaml", "{description}", "{descriptoin}", "book.yaml:20", "descriptoin"),
        ("book.yaml", "role: advance", "role: advanse", "book.yaml:47", "role"),
        ("book.yaml", "  tax: tax.csv", "  tax: ../tax.csv", "book.yaml:15", "tables.tax"),
        ("book.yaml", "  tax: tax.csv", "  tax: other.csv", "other.csv", "a readable file"),
        ("book.yaml", "rules:", "rules: [", "book.yaml:20", "YAML"),
    ],
)
def test_what_is_wrong_is_found_at_its_line(
    folder: Path, change: Change, name: str, old: str, new: str, at: str, said: str
) -> None:
    if said == "an account for":  # A stray quote is text in CSV unless it opens the cell.
        change(name, "travel.rail,", '"travel.rail" x,')
        said = "double quotes"
    else:
        change(name, old, new)

    found = findings(folder)

    assert any(path == at and said in text for path, text in found), found


def test_everything_wrong_is_named_at_once(folder: Path, change: Change) -> None:
    change("accounts.csv", "travel.rail,*,*,660201", "travel.rail,*,*,999999")
    change("companies.csv", "C01,CNY", "C01,XYZ")
    change("tax.csv", "stated", "guessed")

    assert [path for path, _ in findings(folder)] == ["companies.csv:2", "tax.csv:8", "accounts.csv:3"]


def test_a_folder_that_is_no_book_is_refused(tmp_path: Path) -> None:
    assert findings(tmp_path) == [("book.yaml", f"a readable file in {tmp_path.name} / No such file or directory")]


@pytest.mark.parametrize(
    "text", ["a: &x [1]\nb: *x\n", "[" * 5000, "name: \x00", "- 1", "", "a: 1\na: 2\n", "!!python/object:os.system {}"]
)
def test_yaml_tricks_are_refused(folder: Path, text: str) -> None:
    (folder / "book.yaml").write_text(text, "utf-8")

    assert findings(folder)


def test_a_table_that_is_not_utf_8_is_refused(folder: Path) -> None:
    (folder / "chart.csv").write_bytes("科目".encode("gb18030"))

    assert ("chart.csv", "UTF-8 text / a byte at 0 that is not") in findings(folder)
