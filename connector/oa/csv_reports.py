"""Expense reports from a CSV table: one row for each line of a report, rows of one report under the same number.

The table has a heading row; columns may stand in any order and those not needed may be left out. Amounts, rates and
shares are written like `1060.00`, days like `2025-03-27`, times like `2025-04-03T10:11:05+08:00`. Text is UTF-8 (with
or without a byte order mark) or GB18030; cells are parted by commas, semicolons or tabs.

Columns of the report, the same on each of its rows, or blank after its first:
    number version event (submitted, approved, changed or withdrawn; blank: approved) company (blank: the folder's)
    employee_id employee_name department currency title submitted_on approved_at total posting_date
    payee_type payee_id payee_bank_account, and for withdrawn: withdrawn_at reason
Columns of the line:
    line (blank: counted) category date description amount line_currency (blank: the report's) paid_by
    rate rate_date rate_source line_department project cost_centre personal
    invoice_kind invoice_number invoice_code invoice_seller invoice_date invoice_total invoice_net invoice_tax
    invoice_tax_rate invoice_certified (true or false) invoice_fare invoice_fuel invoice_airport_fee
Columns of an advance that the report uses up, on any of its rows:
    advance_number advance_amount
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from connector.oa.piece import Piece, Span
from contracts import Finding, Refused, parse_event
from contracts.expense import LINES_MAX

CSV = "text/csv"
LINE_CHARACTERS_MAX = 64 * 1024
ROW_LINES_MAX = 1_000  # Text lines inside one row: cells may hold line ends, whole documents they may not.
COLUMNS_MAX = 200

_REPORT = {
    "company": "company",
    "number": "number",
    "version": "version",
    "employee_id": "employee.id",
    "employee_name": "employee.name",
    "department": "employee.department",
    "currency": "currency",
    "title": "title",
    "submitted_on": "submitted_on",
    "approved_at": "approved_at",
    "total": "total",
    "posting_date": "posting_date",
    "payee_type": "payee.type",
    "payee_id": "payee.id",
    "payee_bank_account": "payee.bank_account",
}
_WITHDRAWAL = {
    "company": "company",
    "number": "number",
    "version": "version",
    "withdrawn_at": "withdrawn_at",
    "reason": "reason",
}
_INVOICE = (
    *("kind", "number", "code", "seller", "date", "total", "net", "tax", "tax_rate", "certified"),
    *("fare", "fuel", "airport_fee"),
)
_LINE = {
    "line": "line",
    "category": "category",
    "date": "date",
    "description": "description",
    "amount": "amount",
    "line_currency": "currency",
    "paid_by": "paid_by",
    "rate": "rate.value",
    "rate_date": "rate.date",
    "rate_source": "rate.source",
    "line_department": "department",
    "project": "project",
    "cost_centre": "cost_centre",
    "personal": "personal",
    **{f"invoice_{name}": f"invoice.{name}" for name in _INVOICE},
}
_ADVANCE = {"advance_number": "number", "advance_amount": "amount"}
COLUMNS = ("event", *dict.fromkeys((*_REPORT, *_WITHDRAWAL, *_LINE, *_ADVANCE)))
TEMPLATE = ",".join(COLUMNS)
_EVENTS = ("submitted", "approved", "changed", "withdrawn")


@dataclass(slots=True)
class _Row:
    number: int
    span: Span


@dataclass(slots=True)
class _Report:
    """The rows of one report, as places in the text; cells are read again when its turn comes."""

    rows: list[_Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def read_csv(body: bytes, *, company: str, adapter: str, reports_max: int) -> Iterator[Piece]:
    """Each report of the table, refused or as an event whose id follows from its content alone. Raises Refused where
    the table as a whole cannot be read: then nothing of it is taken, since any report might miss rows."""
    text = _decoded(body)
    heading, delimiter, rows_start = _heading(text)
    reports = _grouped(text, heading, delimiter, rows_start, reports_max)
    if not reports:
        raise Refused(Finding("CON-102", "", "a row for each line of a report", "no rows", "add the rows"))
    head = text[:rows_start]
    return (_piece(report, text, head, heading, delimiter, company, adapter) for report in reports)


def _decoded(body: bytes) -> str:
    if not body.strip():
        raise Refused(Finding("CON-102", "", "a table with a heading row", "nothing", "write the rows into the file"))
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Refused(Finding("CON-103", "", "UTF-8 or GB18030", "UTF-16", "save the table as CSV UTF-8"))
    if b"\x00" in body:
        raise Refused(_bad(f"byte {body.index(0)}", "text", "a NUL character", "write the table anew"))
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Refused(Finding("CON-103", "", "UTF-8 or GB18030", "neither of them", "save the table as CSV UTF-8"))


def _heading(text: str) -> tuple[list[str], str, int]:
    end = text.find("\n")
    end = len(text) if end < 0 else end + 1
    first = text[:end]
    if len(first) > LINE_CHARACTERS_MAX:
        raise Refused(_bad("row 1", f"at most {COLUMNS_MAX} columns", f"{len(first)} characters", "use our columns"))
    delimiter = max(",;\t", key=first.count)
    names = [name.strip().lower() for name in first.rstrip("\r\n").split(delimiter)]
    names = [name.strip('"') for name in names]
    unknown = [name for name in names if name not in COLUMNS]
    if len(names) > COLUMNS_MAX or unknown or len(set(names)) != len(names):
        got = f"the column {unknown[0][:40]!r}" if unknown else "a column twice, or too many columns"
        raise Refused(_bad("row 1", f"columns out of {', '.join(COLUMNS)}", got, "correct the heading row"))
    missing = [name for name in ("number", "version") if name not in names]
    if missing:
        raise Refused(_bad("row 1", f"a column {missing[0]}", "no such column", "add the column"))
    return names, delimiter, end


def _grouped(text: str, heading: Sequence[str], delimiter: str, start: int, reports_max: int) -> Sequence[_Report]:
    """The reports in the order of their first rows; a row of the wrong width spoils its report, or stands alone."""
    reports: dict[tuple[str, ...], _Report] = {}
    for row, cells in _rows(text, delimiter, start):
        if not any(cells):
            continue
        given = dict(zip(heading, cells, strict=False))
        whole = len(cells) == len(heading)
        key = tuple(given.get(name, "").strip() for name in ("company", "number", "version", "event"))
        report = reports.setdefault(key if whole or key[1] else ("", "", "", f"row {row.number}"), _Report())
        report.rows.append(row)
        if not whole:
            expected = f"{len(heading)} cells, as in the heading"
            fix = "quote cells that hold the separator; write every cell, also blank ones"
            report.findings.append(_bad(f"row {row.number}", expected, f"{len(cells)} cells", fix))
        if len(reports) > reports_max:
            fix = "split the table between two reports"
            raise Refused(Finding("CON-118", "", f"at most {reports_max} reports", "more", fix))
    return list(reports.values())


def _rows(text: str, delimiter: str, start: int) -> Iterator[tuple[_Row, list[str]]]:
    at = start  # where the lines end that the reader was given
    number, lines_in_row = 1, 0

    def lines() -> Iterator[str]:
        nonlocal at, lines_in_row
        while at < len(text):
            end = text.find("\n", at)
            end = len(text) if end < 0 else end + 1
            lines_in_row += 1
            if end - at > LINE_CHARACTERS_MAX or lines_in_row > ROW_LINES_MAX:
                place = f"row {number + 1}"
                raise Refused(_bad(place, f"at most {LINE_CHARACTERS_MAX} characters", "more", "close every quote"))
            line, at = text[at:end], end
            yield line

    begin = start
    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            number += 1
            yield _Row(number, (begin, at)), cells
            begin, lines_in_row = at, 0
    except csv.Error as error:
        fix = "close every quote; write a quote inside a cell twice; then send the whole table again"
        raise Refused(_bad(f"row {number + 1}", "a row of cells", str(error), fix)) from None


def _piece(
    report: _Report, text: str, head: str, heading: Sequence[str], delimiter: str, company: str, adapter: str
) -> Piece:
    numbers = [row.number for row in report.rows]
    where = f"row {numbers[0]}" if len(numbers) == 1 else f"rows {', '.join(map(str, numbers[:20]))}"
    if len(numbers) > 20:
        where += f" and {len(numbers) - 20} more"
    raw = "".join([head, *(text[slice(*row.span)] for row in report.rows)]).encode()
    if len(numbers) > LINES_MAX:
        fix = "split the report"
        report.findings.append(Finding("CON-118", where, f"at most {LINES_MAX} lines", f"{len(numbers)} lines", fix))
    if report.findings:
        return Piece(where, raw, CSV, findings=report.findings[:100])
    rows = [dict(zip(heading, _cells(text, row, delimiter), strict=True)) for row in report.rows]
    try:
        return Piece(where, raw, CSV, event=parse_event(_event(rows, numbers, company, adapter)))
    except Refused as refused:
        return Piece(where, raw, CSV, findings=_in_the_table(refused.findings, numbers))


def _cells(text: str, row: _Row, delimiter: str) -> list[str]:
    lines = (f"{line}\n" for line in text[slice(*row.span)].removesuffix("\n").split("\n"))
    return [cell.strip() for cell in next(csv.reader(lines, delimiter=delimiter, strict=True))]


def _event(rows: Sequence[Mapping[str, str]], numbers: Sequence[int], company: str, adapter: str) -> bytes:
    happening = rows[0].get("event", "") or "approved"
    if happening not in _EVENTS:
        raise Refused(Finding("CON-115", "event", f"one of {', '.join(_EVENTS)}", repr(happening[:40]), "correct it"))
    columns = _WITHDRAWAL if happening == "withdrawn" else _REPORT
    head = _head(rows, numbers, columns)
    data: dict[str, Any] = {"company": company, **_nested(head, columns)}
    data["version"] = _whole(data.get("version"))
    if happening != "withdrawn":
        data |= {"title": data.get("title", ""), **_lists(rows, data.get("currency"))}
    kind = f"expense.report.{happening}.v1"
    content = json.dumps([kind, data], ensure_ascii=False).encode()
    at = data.get("withdrawn_at") or data.get("approved_at") or f"{data.get('submitted_on')}T00:00:00Z"
    event = {
        "specversion": "1.0",
        "id": f"csv-{hashlib.sha256(content).hexdigest()[:40]}",
        "source": f"/oa/{adapter}/{data['company']}",
        "type": kind,
        "subject": data.get("number"),
        "time": at,
        "sequence": str(data["version"]),
        "partitionkey": f"{data['company']}/{data.get('number')}",
        "data": data,
    }
    return json.dumps(event, ensure_ascii=False).encode()


def _head(rows: Sequence[Mapping[str, str]], numbers: Sequence[int], columns: Mapping[str, str]) -> dict[str, str]:
    head: dict[str, str] = {}
    found: list[Finding] = []
    for column in columns:
        head[column] = rows[0].get(column, "")
        for number, row in zip(numbers[1:], rows[1:], strict=True):
            value = row.get(column, "")
            if value not in ("", head[column]):
                path, expected = f"row {number} {column}", f"{head[column]!r}, as on row {numbers[0]}, or a blank cell"
                found.append(Finding("CON-151", path, expected, repr(value[:80]), "make the rows of a report agree"))
    if found:
        raise Refused(found[:100])
    return head


def _lists(rows: Sequence[Mapping[str, str]], currency: str | None) -> dict[str, Any]:
    lines: list[dict[str, Any]] = []
    advances: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        line = _nested(row, _LINE)
        line["line"] = _whole(line["line"]) if "line" in line else index + 1
        line.setdefault("description", "")
        if currency is not None:
            line.setdefault("currency", currency)
        invoice = line.get("invoice", {})
        if invoice.get("certified", "").lower() in ("true", "false"):
            invoice["certified"] = invoice["certified"].lower() == "true"
        lines.append(line)
        advance = _nested(row, _ADVANCE)
        if advance:
            advances.append(advance)
    return {"lines": lines, "advances": advances}


def _nested(row: Mapping[str, str], columns: Mapping[str, str]) -> dict[str, Any]:
    """The cells that are not blank, under the names of the contract."""
    value: dict[str, Any] = {}
    for column, path in columns.items():
        cell = row.get(column, "")
        if cell:
            outer, _, inner = path.rpartition(".")
            (value.setdefault(outer, {}) if outer else value)[inner] = cell
    return value


def _whole(cell: str | None) -> int | str | None:
    """A whole number where it is one; anything else stays what it is and is refused by the contract."""
    return int(cell) if cell and re.fullmatch(r"[0-9]{1,16}", cell) else cell


_LINE_PATH = re.compile(r"data\.lines\[(\d+)\]\.?(.*)")


def _in_the_table(findings: Sequence[Finding], numbers: Sequence[int]) -> Sequence[Finding]:
    """The findings with the places people see, row and column. What was made out of a wrong cell is not told again."""
    told = [finding for finding in findings if not finding.path or finding.path.startswith(("data", "row", "event"))]
    by_line = {path: column for column, path in _LINE.items()}
    by_report = {path: column for column, path in (_REPORT | _WITHDRAWAL).items()}
    placed: list[Finding] = []
    for finding in told or findings:
        line = _LINE_PATH.fullmatch(finding.path)
        if line is not None and int(line[1]) < len(numbers):
            path = f"row {numbers[int(line[1])]} {by_line.get(line[2], line[2])}".rstrip()
        elif finding.path.startswith("data."):
            path = f"row {numbers[0]} {by_report.get(finding.path[5:], finding.path[5:])}"
        else:
            path = finding.path
        placed.append(replace(finding, path=path))
    return placed


def _bad(path: str, expected: str, got: str, fix: str) -> Finding:
    return Finding("CON-150", path, expected, got, fix)
