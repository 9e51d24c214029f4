"""Tables in workbooks: a cell is what an accountant sees, or it is refused at its sheet and cell."""

from __future__ import annotations

import csv
import io
import re
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.translate import Book, BookRefused, load_book
from connector.translate.reader import read_book
from connector.translate.sheets import (
    COLUMNS_MAX,
    UNPACKED_BYTES_MAX,
    _columns,
    from_workbook,
    read_sheet,
    to_workbook,
)
from connector.translate.tables import AccountRow, ChartRow, Row, TaxRow
from contracts.findings import Finding

HEADER = ("category", "account", "valid_from")
Write = Callable[[Any, Any], None]


def workbook(*sheets: tuple[str, Write]) -> bytes:
    made = io.BytesIO()
    book = xlsxwriter.Workbook(made, {"in_memory": True})
    for name, write in sheets:
        write(book, book.add_worksheet(name))
    book.close()
    return made.getvalue()


def accounts(write: Write, header: tuple[str, ...] = HEADER) -> bytes:
    """One sheet with this header and whatever is written below it."""

    def both(book: Any, sheet: Any) -> None:
        for column, name in enumerate(header):
            sheet.write_string(0, column, name)
        write(book, sheet)

    return workbook(("Sheet1", both))


def rows(content: bytes) -> list[AccountRow]:
    findings: list[Finding] = []
    found = read_sheet("accounts.xlsx", "accounts", content, AccountRow, findings)
    assert not findings, findings
    return found


def faults(content: bytes) -> list[tuple[str, str]]:
    findings: list[Finding] = []
    assert read_sheet("accounts.xlsx", "accounts", content, AccountRow, findings) == []
    assert all(finding.code == "MAP-210" for finding in findings)
    return [(finding.path, f"{finding.expected} / {finding.got}") for finding in findings]


def changed(content: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, change(old.read(entry)) if entry == name else old.read(entry))
    return made.getvalue()


def plain(book: Book) -> dict[str, list[Mapping[str, Any]]]:
    tables: dict[str, Sequence[Row]] = {
        "companies": book.companies,
        "chart": list(book.chart.values()),
        "accounts": book.accounts,
        "roles": book.roles,
        "taxes": book.taxes,
        "periods": book.periods,
    }
    return {name: [row.model_dump(exclude={"at"}) for row in found] for name, found in tables.items()}


def test_a_cell_is_the_text_that_an_accountant_sees() -> None:
    def write(book: Any, sheet: Any) -> None:
        sheet.write_string(1, 0, "travel.taxi")
        sheet.write_string(1, 1, "0123")
        sheet.write_datetime(1, 2, date(2025, 3, 1), book.add_format({"num_format": "yyyy-mm-dd"}))
        sheet.write_string(2, 0, "# a note")
        sheet.write_string(4, 0, "travel.rail")
        sheet.write_number(4, 1, 660201)
        sheet.write_string(4, 2, "2025-04-01")

    first, second = rows(accounts(write))

    assert (first.category, first.account, first.valid_from) == ("travel.taxi", "0123", date(2025, 3, 1))
    assert (second.category, second.account, second.valid_from) == ("travel.rail", "660201", date(2025, 4, 1))
    assert (first.at, second.at) == ("accounts.xlsx!Sheet1!2", "accounts.xlsx!Sheet1!5")


def test_a_rate_in_a_number_cell_is_exact() -> None:
    def write(book: Any, sheet: Any) -> None:
        for column, name in enumerate(("method", "rate")):
            sheet.write_string(0, column, name)
        for row, rate in enumerate((0.06, 0.09, 0.1), 1):
            sheet.write_string(row, 0, "included")
            sheet.write_number(row, 1, rate)

    findings: list[Finding] = []
    found = read_sheet("tax.xlsx", "tax", workbook(("tax", write)), TaxRow, findings)

    assert [row.rate for row in found] == [Decimal("0.06"), Decimal("0.09"), Decimal("0.1")]


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda book, sheet: sheet.write_formula(6, 1, "=1/0", None, "#DIV/0!"), "a value / #DIV/0!"),
        (lambda book, sheet: sheet.write_formula(6, 1, "=VLOOKUP(1,A1,2)", None, "#N/A"), "a value / #N/A"),
        (lambda book, sheet: sheet.write_formula(6, 1, "=A1", None, ""), "a formula with its value"),
        (lambda book, sheet: sheet.write_boolean(6, 1, True), "text, a number or a day / TRUE"),
        (lambda book, sheet: sheet.write_number(6, 1, 0.1234567890123456), "at most 15 digits"),
        (lambda book, sheet: sheet.write_number(6, 1, 12345678901234500000), "at most 15 digits"),
        (
            lambda book, sheet: sheet.write_number(6, 1, 123, book.add_format({"num_format": "000000"})),
            "zeros in front",
        ),
        (
            lambda book, sheet: sheet.write_datetime(6, 1, time(12, 30), book.add_format({"num_format": "hh:mm"})),
            "a day / 12:30",
        ),
        (lambda book, sheet: sheet.merge_range(6, 1, 6, 2, "660201"), "single cells / merged cells"),
    ],
)
def test_a_cell_that_does_not_hold_what_it_shows_is_refused_at_its_place(write: Write, said: str) -> None:
    ((path, text),) = faults(accounts(write))

    assert path == "accounts.xlsx!Sheet1!B7"
    assert said in text


def test_merged_headers_are_refused_and_merged_notes_are_not() -> None:
    assert ("accounts.xlsx!Sheet1!A1", "single cells / merged cells") in faults(
        accounts(lambda book, sheet: sheet.merge_range(0, 0, 0, 1, "category"))
    )
    assert rows(accounts(lambda book, sheet: sheet.merge_range(1, 0, 1, 2, "# signed by the tax adviser"))) == []


def test_what_stands_beside_the_table_is_refused() -> None:
    assert [path for path, _ in faults(accounts(lambda book, sheet: sheet.write_string(1, 4, "stray")))] == [
        "accounts.xlsx!Sheet1!E2"
    ]


@pytest.mark.parametrize(
    ("cells", "at", "said"),
    [
        (["travel.taxi", "660 201"], "B3", "account: "),
        (["travel.taxi", "660201", "1.4.2025"], "C3", "valid_from: a day like 2025-03-31"),
        (["x" * 2000, "660201"], "A3", "cells of at most 1000 characters"),
        (["", "660201"], "A3", "category: Field required"),
    ],
)
def test_a_wrong_value_is_named_at_its_cell(cells: Sequence[str], at: str, said: str) -> None:
    ((path, text),) = faults(accounts(lambda book, sheet: sheet.write_row(2, 0, cells)))

    assert path == f"accounts.xlsx!Sheet1!{at}"
    assert text.startswith(said)


@pytest.mark.parametrize(("names", "at"), [(("category", "acount"), "B1"), ((*HEADER[:2], *HEADER), "C1")])
def test_a_wrong_name_of_a_column_is_named_at_its_cell(names: tuple[str, ...], at: str) -> None:
    (path, _), *_ = faults(accounts(lambda book, sheet: None, names))

    assert path == f"accounts.xlsx!Sheet1!{at}"


def kept_in_a_workbook(*changes: tuple[str, int, int, str]) -> dict[str, bytes]:
    """The starter book with its tables in one workbook, but for these cells of some sheets."""
    starter = load_book()
    text = re.sub(rb"(?<=: )\w+\.csv", b"tables.xlsx", starter.files["book.yaml"])
    tables = {
        name: list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
        for name, content in from_workbook(to_workbook(starter)).items()
    }
    for table, row, column, value in changes:
        tables[table][row][column] = value

    def sheet_of(lines: Sequence[Sequence[str]]) -> Write:
        return lambda book, sheet: [sheet.write_row(row, 0, cells) for row, cells in enumerate(lines)]

    return {"book.yaml": text, "tables.xlsx": workbook(*((name, sheet_of(lines)) for name, lines in tables.items()))}


def test_an_account_that_the_chart_lacks_is_named_at_its_cell_with_the_one_that_was_meant() -> None:
    column = next(n for n, name in enumerate(_columns(AccountRow)) if name == "account")

    with pytest.raises(BookRefused) as refused:
        read_book(kept_in_a_workbook(("accounts", 2, column, "66020O1")))

    [finding] = refused.value.findings
    assert (finding.path, finding.fix) == ("tables.xlsx!accounts!D3", "did you mean 660201?")


def test_the_sheet_of_a_table_is_the_one_named_so_or_the_only_one() -> None:
    nothing: Write = lambda book, sheet: sheet.write_row(0, 0, HEADER)  # noqa: E731
    wrong: Write = lambda book, sheet: sheet.write_row(0, 0, ["something"])  # noqa: E731

    assert rows(workbook(("notes", wrong), ("accounts", nothing))) == []
    ((path, text),) = faults(workbook(("one", nothing), ("two", nothing)))
    assert (path, text) == ("accounts.xlsx", "a sheet named accounts, or only one sheet / one, two")


def test_a_book_can_keep_its_tables_in_a_workbook_and_is_rebuilt_byte_for_byte() -> None:
    starter = load_book()
    text = re.sub(rb"(?<=: )\w+\.csv", b"tables.xlsx", starter.files["book.yaml"])

    book = read_book({"book.yaml": text, "tables.xlsx": to_workbook(starter)})

    assert plain(book) == plain(starter)
    assert book.accounts[0].at == "tables.xlsx!accounts!2"
    assert read_book(book.files).fingerprint == book.fingerprint != starter.fingerprint
    assert to_workbook(book) == to_workbook(starter)


def test_exported_tables_come_back_as_the_same_rows_and_notes() -> None:
    starter = load_book()

    tables = from_workbook(to_workbook(starter))
    again = read_book(
        {"book.yaml": starter.files["book.yaml"], **{f"{name}.csv": text for name, text in tables.items()}}
    )

    assert plain(again) == plain(starter)
    assert tables["tax"].decode().count("\n# ") == starter.files["tax.csv"].decode().count("\n# ")


def test_an_exported_workbook_explains_its_columns_and_keeps_its_header_in_sight() -> None:
    with zipfile.ZipFile(io.BytesIO(to_workbook(load_book()))) as packed:
        notes = packed.read("xl/comments5.xml").decode()
        sheet = packed.read("xl/worksheets/sheet5.xml").decode()

    assert "Rate inside the price" in notes
    assert "价内税率" in notes
    assert 'state="frozen"' in sheet


def test_an_imported_workbook_says_what_is_wrong_at_sheet_and_cell() -> None:
    def chart(book: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, ["account", "name_en", "name_zh"])
        sheet.write_row(1, 0, ["6602 01", "Travel", "差旅"])
        sheet.write_boolean(2, 0, False)

    def wrong(book: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, ["category", "acount"])

    with pytest.raises(BookRefused) as refused:
        from_workbook(workbook(("chart", chart), ("accounts", wrong), ("acounts", wrong), ("#notes", wrong)), "in.xlsx")

    said = {(finding.path, finding.fix) for finding in refused.value.findings}
    assert said == {
        ("in.xlsx!chart!A3", "write yes or no as text"),
        ("in.xlsx!accounts!B1", "did you mean account?"),
        ("in.xlsx!accounts!1", "add the column"),
        ("in.xlsx!acounts", "did you mean accounts?"),
    }


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\xd0\xcf\x11\xe0" * 200, b"category,account\n"])
def test_what_is_no_workbook_is_refused(content: bytes) -> None:
    assert faults(content) == [("accounts.xlsx", "an .xlsx workbook / something else")]


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    made = io.BytesIO()
    with (
        zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed,
        packed.open("xl/workbook.xml", "w", force_zip64=True) as file,
    ):
        for _ in range(UNPACKED_BYTES_MAX // 2**20 + 1):
            file.write(bytes(2**20))

    ((path, text),) = faults(made.getvalue())
    assert path == "accounts.xlsx"
    assert "bytes unpacked" in text


def test_a_zip_that_lies_about_its_size_is_refused() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/workbook.xml", bytes(2**20))
    content = made.getvalue().replace(struct.pack("<I", 2**20), struct.pack("<I", 10))

    assert faults(content) == [("accounts.xlsx", "an .xlsx workbook / something else")]


def test_a_cell_far_away_does_not_make_a_table_of_millions_of_cells() -> None:
    assert "columns" in faults(accounts(lambda book, sheet: sheet.write_string(5, COLUMNS_MAX, "x")))[0][1]
    assert "rows" in faults(accounts(lambda book, sheet: sheet.write_string(1_000_000, 0, "x")))[0][1]


def test_xml_that_defines_entities_is_refused() -> None:
    content = changed(
        accounts(lambda book, sheet: None),
        "xl/workbook.xml",
        lambda old: old.replace(b"<workbook", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><workbook', 1),
    )

    assert "definitions of its own" in faults(content)[0][1]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_workbook_is_read_or_refused(data: st.DataObject) -> None:
    name = data.draw(
        st.sampled_from(["xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/styles.xml", "xl/sharedStrings.xml"])
    )

    def damage(old: bytes) -> bytes:
        start = data.draw(st.integers(0, len(old) - 1))
        return old[:start] + data.draw(st.binary(max_size=4)) + old[start + data.draw(st.integers(0, 9)) :]

    content = changed(accounts(lambda book, sheet: sheet.write_row(1, 0, ["travel.taxi", 660201])), name, damage)

    findings: list[Finding] = []
    found = read_sheet("accounts.xlsx", "accounts", content, AccountRow, findings)
    assert not (found and findings and any("workbook" in finding.expected for finding in findings))


@pytest.mark.parametrize("text", ["0123", "1e5", "=A1", "TRUE", " 660201 ", "https://x", "é，中"])
def test_text_goes_out_and_comes_back_as_it_is(text: str) -> None:
    def write(book: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, ["account", "name_en", "name_zh"])
        sheet.write_string(1, 0, "1")
        sheet.write_string(1, 1, text)
        sheet.write_string(1, 2, text)

    (row,) = read_sheet("chart.xlsx", "chart", workbook(("chart", write)), ChartRow, [])

    assert row.name_en == text.strip()


@pytest.mark.parametrize("shown", ["000000", '"K"000000', "000-000", "0000;-0000", "[$-804]00000", "0,000"])
def test_zeros_that_only_a_format_shows_are_refused(shown: str) -> None:
    def write(book: Any, sheet: Any) -> None:
        sheet.write_string(1, 0, "travel.taxi")
        sheet.write_number(1, 1, 123, book.add_format({"num_format": shown}))

    [(at, said)] = faults(accounts(write))

    assert at == "accounts.xlsx!Sheet1!B2"
    assert "zeros in front" in said


@pytest.mark.parametrize("shown", ["0", "0.00", "#,##0", "#,##0.00", "0%", '0"-00"'])
def test_a_number_that_is_shown_as_it_is_counts(shown: str) -> None:
    def write(book: Any, sheet: Any) -> None:
        sheet.write_string(1, 0, "travel.taxi")
        sheet.write_number(1, 1, 660201, book.add_format({"num_format": shown}))

    assert [row.account for row in rows(accounts(write))] == ["660201"]


def test_a_code_that_the_spreadsheet_made_a_day_of_is_refused_at_its_cell() -> None:
    def write(book: Any, sheet: Any) -> None:
        sheet.write_datetime(1, 0, date(2025, 1, 2), book.add_format({"num_format": "m-d"}))
        sheet.write_string(1, 1, "660201")

    [(at, said)] = faults(accounts(write))

    assert (at, said) == ("accounts.xlsx!Sheet1!A2", "text or a number, not a day / 2025-01-02")


def test_a_day_with_a_time_is_refused() -> None:
    def write(book: Any, sheet: Any) -> None:
        day = datetime.combine(date(2025, 3, 1), time(12, 30))
        sheet.write_datetime(6, 2, day, book.add_format({"num_format": "yyyy-mm-dd hh:mm"}))

    assert faults(accounts(write)) == [("accounts.xlsx!Sheet1!C7", "a day without a time / 2025-03-01 12:30:00")]


def test_a_hidden_table_is_not_taken() -> None:
    def write(book: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, HEADER)
        sheet.write_row(1, 0, ("travel.taxi", "660201"))
        sheet.hide()

    def notes(book: Any, sheet: Any) -> None:
        sheet.activate()

    with pytest.raises(BookRefused) as refused:
        from_workbook(workbook(("accounts", write), ("# notes", notes)), "book.xlsx")

    assert [(finding.path, finding.got) for finding in refused.value.findings] == [
        ("book.xlsx!accounts", "a hidden one")
    ]


def test_everything_that_is_wrong_with_a_sheet_is_named_at_once() -> None:
    def write(book: Any, sheet: Any) -> None:
        sheet.write_formula(1, 0, "=1/0", value="#DIV/0!")
        sheet.write_number(1, 1, 123, book.add_format({"num_format": "0000"}))
        sheet.write_boolean(2, 1, True)

    assert [at.rpartition("!")[2] for at, _ in faults(accounts(write))] == ["A2", "B2", "B3"]
