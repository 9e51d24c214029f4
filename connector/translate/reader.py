"""Reads a mapping book: every file once, every row and rule checked, and all that is wrong told at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TypeVar, cast

from connector.translate.book import BOOK_FILE, STARTER, Book
from connector.translate.places import InFile, Places
from connector.translate.rules import BookText, compile_pairs, compile_rules, read_book_text
from connector.translate.tables import (
    ANY,
    EXPENSE_ACCOUNT,
    OPTIONAL_ROW_TYPES,
    ROW_TYPES,
    ROWS_MAX,
    AccountRow,
    BookRefused,
    ChartRow,
    CompanyRow,
    DimensionRow,
    PayableRow,
    PerDiemRow,
    PeriodRow,
    Reference,
    RoleRow,
    Row,
    TaxRow,
    ToleranceRow,
    bad,
    overlaps,
    read_table,
)
from connector.translate.yaml_text import Marks
from contracts.findings import Finding

FILE_BYTES_MAX = 32 * 1024 * 1024
BOOK_BYTES_MAX = 1024 * 1024
# Raise it when the same book makes other vouchers than before: postings record which arithmetic made them.
ARITHMETIC = "2"

_TABLES: Mapping[str, type[Row]] = {**ROW_TYPES, **OPTIONAL_ROW_TYPES}


def load_book(path: Path | None = None) -> Book:
    """The mapping book in this folder, or the starter book. Raises BookRefused with everything that is wrong in it."""
    folder = STARTER if path is None else path

    def from_disk(name: str, bytes_max: int) -> bytes | Finding:
        path = folder / name
        try:
            if not path.resolve().is_relative_to(folder.resolve()):
                return bad(name, f"a file in {folder.name}", "a link out of it", "put the file itself there")
            if path.exists() and not path.is_file():
                return bad(name, f"a readable file in {folder.name}", "no plain file", "put a file there")
            with path.open("rb") as file:
                return file.read(bytes_max + 1)
        except OSError as error:
            return bad(name, f"a readable file in {folder.name}", error.strerror or str(error), "add the file")

    return _read_book(from_disk, {})


def read_book(files: Mapping[str, bytes], places: Mapping[str, Places] | None = None) -> Book:
    """The mapping book in these files, by name: `read_book(book.files)` is the same book, its fingerprint too. `places` says
    of a CSV file where its rows were taken from. Raises BookRefused like `load_book`."""

    def from_memory(name: str, bytes_max: int) -> bytes | Finding:
        return files.get(name, bad(name, "a file of the book", "none", "add the file"))

    return _read_book(from_memory, places or {})


def _read_book(fetch: Callable[[str, int], bytes | Finding], places: Mapping[str, Places]) -> Book:
    findings: list[Finding] = []
    files = _Files(fetch, places, findings)
    content = files.read(BOOK_FILE, BOOK_BYTES_MAX)
    read = read_book_text(content, findings) if content is not None else None
    if read is None:
        raise BookRefused(findings)
    text, marks = read
    tables: dict[str, list[Row]] = {}
    for name in _TABLES:
        wanted = name in ROW_TYPES or name in text.tables
        tables[name] = _table(files, text, marks, name, _reference(name, tables), findings) if wanted else []
    chart = {row.account: row for row in _of(ChartRow, tables["chart"])}
    accounts, roles = _of(AccountRow, tables["accounts"]), _of(RoleRow, tables["roles"])
    companies = _of(CompanyRow, tables["companies"])
    named = {
        "account": chart.keys(), "line.category": {row.category for row in accounts},
        "report.company": {row.company for row in companies},
    }  # fmt: skip
    known = {path: names for path, names in named.items() if names and ANY not in names}
    rules = compile_rules(text, marks, chart, known, findings)
    pairs = compile_pairs(text, marks, chart, known, findings)
    payables, dimensions = _of(PayableRow, tables["payables"]), _of(DimensionRow, tables["dimensions"])
    per_diems = _of(PerDiemRow, tables["per_diem"])
    if findings:
        raise BookRefused(findings)
    return Book(
        text.name, text.version, _fingerprint(files.known), rules, companies, chart, accounts, roles,
        _of(TaxRow, tables["tax"]), payables, dimensions, per_diems,
        _of(PeriodRow, tables["periods"]), _of(ToleranceRow, tables["tolerances"]), pairs,
        files.known, text.tables,
    )  # fmt: skip


class _Files:
    """The files of a book as they are asked for: each is read once, and remembered under its name."""

    def __init__(
        self, fetch: Callable[[str, int], bytes | Finding], places: Mapping[str, Places], findings: list[Finding]
    ) -> None:
        self._fetch = fetch
        self._places = places
        self._findings = findings
        self._lacking: set[str] = set()
        self.known: dict[str, bytes] = {}

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """The file, or None with a finding, once, where there is none or it is too large."""
        if name in self.known or name in self._lacking:
            return self.known.get(name)
        content = self._fetch(name, bytes_max)
        if isinstance(content, bytes) and len(content) > bytes_max:
            content = bad(name, f"at most {bytes_max} bytes", "more", "split the book")
        if isinstance(content, Finding):
            self._lacking.add(name)
            self._findings.append(content)
            return None
        self.known[name] = content
        return content

    def places(self, name: str) -> Places:
        """Where the rows of a CSV file stand."""
        return self._places.get(name, InFile(name))


def _table(
    files: _Files, text: BookText, marks: Marks, name: str, reference: Reference | None, findings: list[Finding]
) -> list[Row]:
    """The rows of all files of a table, in the order of the files."""
    if name not in text.tables:
        findings.append(bad(BOOK_FILE, f"a table named {name!r}", "none", f"add `{name}: {name}.csv` under tables"))
        return []
    row_type = _TABLES[name]
    rows: list[Row] = []
    before = len(findings)
    for file in dict.fromkeys(text.tables[name]):
        content = files.read(file, FILE_BYTES_MAX)
        if content is None:
            continue
        if file.endswith(".xlsx"):
            from connector.translate.sheets import read_sheet  # most books have none

            rows += read_sheet(file, name, content, row_type, findings, reference)
        else:
            rows += read_table(files.places(file), content, row_type, findings, reference)
    if len(rows) > ROWS_MAX:
        at = f"{BOOK_FILE}:{marks.get(('tables', name), 1)}"
        findings.append(bad(at, f"at most {ROWS_MAX} rows in {name}", str(len(rows)), "split the book by company"))
    if not rows and name in ROW_TYPES and len(findings) == before:
        findings.append(bad(text.tables[name][0], f"at least one row in {name}", "none", "add a row"))
    overlaps(rows, findings)
    return rows


def _reference(name: str, tables: Mapping[str, Sequence[Row]]) -> Reference | None:
    """What the rows of a table name in the tables that were read before it."""
    if name in ("accounts", "roles", "payables"):
        chart = {row.account for row in _of(ChartRow, tables["chart"])}
        fix = "add the account to the chart table, or correct it"
        # Without a chart, that is the fault, and not every account.
        return Reference("account", "an account of the chart", _account, chart, fix) if chart else None
    if name == "per_diem":
        categories = {row.category for row in _of(AccountRow, tables["accounts"])}
        what = "above: a category of the accounts table"
        return None if ANY in categories else Reference("above", what, _above, categories, "add it there")
    return None


def _account(row: AccountRow | RoleRow | PayableRow) -> str | None:
    own = isinstance(row, RoleRow) and row.role == "non_deductible_tax" and row.account == EXPENSE_ACCOUNT
    return None if own else row.account


def _above(row: PerDiemRow) -> str:
    return row.above


T = TypeVar("T", bound=Row)


def _of(row_type: type[T], rows: Sequence[Row]) -> list[T]:
    assert all(isinstance(row, row_type) for row in rows)
    return cast(list[T], rows)


def _fingerprint(files: Mapping[str, bytes]) -> str:
    digest = sha256(f"arithmetic {ARITHMETIC}\n".encode())
    for name in sorted(files):
        digest.update(f"{name} {sha256(files[name]).hexdigest()}\n".encode())
    return digest.hexdigest()
