"""Tables in XLSX workbooks: every cell is the text an accountant sees, or it is refused at its sheet and cell."""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from connector.translate.places import InSheet
from connector.translate.tables import (
    OPTIONAL_ROW_TYPES,
    ROW_TYPES,
    ROWS_MAX,
    BookRefused,
    Reference,
    Row,
    RowT,
    bad,
    is_note,
    near,
    read_rows,
)
from contracts.findings import Finding

if TYPE_CHECKING:
    from python_calamine import CalamineWorkbook

    from connector.translate.book import Book

WORKBOOK_BYTES_MAX = 32 * 1024 * 1024
UNPACKED_BYTES_MAX = 256 * 1024 * 1024  # A few kilobytes of zeros unpack to gigabytes.
MEMBERS_MAX = 1000
COLUMNS_MAX = 50
CELLS_MAX = 2_000_000
DIGITS_MAX = 15  # A spreadsheet keeps no more of a number.

_TYPES: Mapping[str, type[Row]] = {**ROW_TYPES, **OPTIONAL_ROW_TYPES}
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_TARGETS = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"
_VALUE, _FORMULA = f"{_MAIN}v", f"{_MAIN}f"
_REFERENCE = re.compile(r"([A-Z]{1,3})([1-9][0-9]{0,6})")
_LITERALS = re.compile(r'"[^"]*"|\\.|\[[^]]*\]|_.')  # What a number format says beside the digits.
_DAYS = ("valid_from", "valid_to")


def read_sheet(
    name: str,
    table: str,
    content: bytes,
    row_type: type[RowT],
    findings: list[Finding],
    reference: Reference | None = None,
) -> list[RowT]:
    """The rows of a table in a workbook: the sheet of the table's name, or the only one. What is wrong is added to
    `findings`, each at its `file!sheet!cell`."""
    try:
        book = _Workbook(name, content)
        sheet = book.sheet_for(table)
        header, lines = book.table(sheet)
    except _Faults as faults:
        findings.extend(faults.findings)
        return []
    return read_rows(InSheet(name, sheet), header, lines, row_type, findings, reference)


def from_workbook(content: bytes, name: str = "workbook.xlsx") -> dict[str, bytes]:
    """Each sheet that is named like a table, as the bytes of a CSV file with the same rows in the same places. A sheet
    whose name begins with # is for notes. Raises BookRefused with everything that is wrong, each at its sheet and cell."""
    findings: list[Finding] = []
    tables: dict[str, bytes] = {}
    try:
        book = _Workbook(name, content)
    except _Faults as faults:
        raise BookRefused(faults.findings) from None
    for sheet in book.sheets:
        if sheet.startswith("#"):
            continue
        if sheet not in _TYPES:
            fix = near(sheet, _TYPES, "rename the sheet, or begin its name with # where it holds notes")
            findings.append(bad(f"{name}!{sheet}", f"sheets {', '.join(_TYPES)}", sheet, fix))
            continue
        try:
            header, lines = book.table(sheet)
        except _Faults as faults:
            findings.extend(faults.findings)
            continue
        numbered = list(lines)
        read_rows(InSheet(name, sheet), header, numbered, _TYPES[sheet], findings)
        tables[sheet] = _as_csv([header, *(cells for _, cells in numbered)])
    if findings:
        raise BookRefused(findings)
    return tables


def to_workbook(book: Book) -> bytes:
    """The tables of a book as a workbook, one sheet each: all cells text, the header frozen, each column explained in a
    note. Reading it back with `from_workbook` gives the same rows."""
    import xlsxwriter  # type: ignore[import-untyped]

    made = io.BytesIO()
    workbook = xlsxwriter.Workbook(made, {"in_memory": True, "strings_to_numbers": False, "strings_to_formulas": False})
    workbook.set_properties({"title": book.name, "created": datetime(2000, 1, 1)})  # noqa: DTZ001 - equal books, equal bytes
    text = workbook.add_format({"num_format": "@"})
    head = workbook.add_format({"num_format": "@", "bold": True, "bg_color": "#DDEBF7", "bottom": 1})
    note = workbook.add_format({"num_format": "@", "italic": True, "font_color": "#7F7F7F"})
    for table, row_type in _TYPES.items():
        names = book.tables.get(table)
        if names is None:
            continue
        columns = _columns(row_type)
        sheet = workbook.add_worksheet(table)
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, len(columns) - 1, 18, text)
        for place, column in enumerate(columns):
            sheet.write_string(0, place, column, head)
            sheet.write_comment(0, place, _said(table, column), {"x_scale": 2, "y_scale": 1.2})
        number = 1
        for file in names:
            for cells in _aligned(file, table, book.files[file], columns):
                for place, cell in enumerate(cells):
                    if cell:
                        sheet.write_string(number, place, cell, note if cells[0].startswith("#") else text)
                number += 1
        sheet.autofilter(0, 0, max(number - 1, 1), len(columns) - 1)
    workbook.close()
    return made.getvalue()


class _Faults(Exception):
    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(*findings)
        self.findings = findings


class _Workbook:
    """A workbook that was looked through before anything is unpacked from it for good."""

    def __init__(self, name: str, content: bytes) -> None:
        self._name = name
        self._members = _unpack(name, content)
        self._opened: CalamineWorkbook | None = None
        self._hidden: set[str] = set()
        paths, self._zero_padded = self._index()
        self._paths: Mapping[str, str] = paths
        self.sheets: tuple[str, ...] = tuple(paths)

    def sheet_for(self, table: str) -> str:
        """The sheet that holds a table."""
        if table in self._paths:
            return table
        if len(self.sheets) == 1:
            return self.sheets[0]
        raise self._fault(
            f"a sheet named {table}, or only one sheet", ", ".join(self.sheets)[:80] or "none", "rename the sheet"
        )

    def table(self, sheet: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
        """The header and, below it, each row with its number."""
        if sheet in self._hidden:
            raise self._fault("a sheet that is shown", "a hidden one", "show it, or remove it", sheet)
        findings = self._look_through(sheet)
        values, merged = self._values(sheet)
        grid: list[list[str]] = []
        days = {column for column, name in enumerate(values[0] if values else ()) if str(name).strip() in _DAYS}
        for row, cells in enumerate(values):
            texts = [
                self._text(sheet, row, column, value, column in days, findings) for column, value in enumerate(cells)
            ]
            grid.append(texts)
        header = grid[0] if grid else []
        while header and not header[-1].strip():
            header.pop()
        for number, cells in enumerate(grid[1:], 2):
            for column in range(len(header), len(cells)):
                if cells[column].strip() and not is_note(cells):
                    at = self._at(sheet, number - 1, column)
                    findings.append(
                        bad(
                            at,
                            "nothing right of the header",
                            cells[column][:80],
                            "move it below a column, or remove it",
                        )
                    )
            del cells[len(header) :]
        for (top, left), _ in merged:
            if top >= len(grid) or not is_note(grid[top]) or top == 0:
                findings.append(
                    bad(self._at(sheet, top, left), "single cells", "merged cells", "split them and fill each")
                )
        if findings:
            raise _Faults(findings)
        return header, enumerate(grid[1:], 2)

    def _values(self, sheet: str) -> tuple[list[list[Any]], Sequence[tuple[tuple[int, int], tuple[int, int]]]]:
        """What each cell of a sheet holds, from A1 on, and which ranges are merged."""
        import python_calamine

        try:
            if self._opened is None:
                self._opened = python_calamine.load_workbook(io.BytesIO(_stored(self._members)))
            read = self._opened.get_sheet_by_name(sheet)
            return read.to_python(skip_empty_area=False), read.merged_cell_ranges or []
        except (python_calamine.CalamineError, OSError, ValueError) as error:
            raise self._fault("an .xlsx workbook", str(error)[:80], "save it anew as .xlsx") from None

    def _text(self, sheet: str, row: int, column: int, value: Any, is_day: bool, findings: list[Finding]) -> str:
        """A cell as an accountant sees it. A day counts in a column of days; elsewhere a spreadsheet made it of a code."""
        if isinstance(value, str):
            return value
        expected, fix = "text, a number or a day", "store the cell as text"
        if isinstance(value, bool):
            value, fix = str(value).upper(), "write yes or no as text"
        elif isinstance(value, int | float):
            text = _number_text(value)
            if text is not None:
                return text
            expected = f"a number of at most {DIGITS_MAX} digits"
        elif isinstance(value, date) and not is_day:
            expected = "text or a number, not a day"
        elif isinstance(value, datetime):
            if value.time() == time():
                return value.date().isoformat()
            expected, fix = "a day without a time", "remove the time"
        elif isinstance(value, date):
            return value.isoformat()
        findings.append(bad(self._at(sheet, row, column), expected, str(value)[:80], fix))
        return ""

    def _look_through(self, sheet: str) -> list[Finding]:
        """What the values do not show: errors, formulas that were never worked out, zeros in front that only a format
        makes; and whether the sheet is larger than a table may be."""
        findings: list[Finding] = []

        def wrong(expected: str, got: str, fix: str) -> Finding:
            return bad(self._at(sheet, row, column), expected, got[:80], fix)

        for cells, cell in enumerate(self._each(self._paths[sheet], "c"), 1):
            found = _REFERENCE.fullmatch(cell.get("r", ""))
            if found is None:
                raise self._fault("cells with their place", str(cell.get("r")), "save it anew as .xlsx", sheet)
            row, column = int(found[2]) - 1, _column(found[1])
            value, formula, kind = cell.findtext(_VALUE), cell.find(_FORMULA), cell.get("t", "n")
            shown = bool(value) or kind == "inlineStr"
            if row > ROWS_MAX or cells > CELLS_MAX:
                limit = f"at most {ROWS_MAX} rows and {CELLS_MAX} cells"
                raise _Faults([wrong(limit, "more", "remove what is below the table, or split the book by company")])
            if column >= COLUMNS_MAX:
                raise _Faults([wrong(f"at most {COLUMNS_MAX} columns", "more", "remove what is right of the table")])
            if kind == "e":
                findings.append(wrong("a value", str(value), "mend the formula, or write the value"))
            elif formula is not None and not shown and kind != "str":
                fix = "open the file in the spreadsheet and save it"
                findings.append(wrong("a formula with its value", "one that was never worked out", fix))
            elif kind == "n" and shown and cell.get("s") in self._zero_padded:
                fix = "store the cell as text, its zeros too"
                findings.append(wrong("text", f"{value} with zeros in front only for show", fix))
        return findings

    def _index(self) -> tuple[dict[str, str], frozenset[str]]:
        """The path of each sheet, and the styles that show zeros in front of a number."""
        targets = {
            link.get("Id"): link.get("Target", "") for link in self._each("xl/_rels/workbook.xml.rels", _TARGETS)
        }
        paths: dict[str, str] = {}
        for sheet in self._each("xl/workbook.xml", "sheet"):
            target = targets.get(sheet.get(_LINK), "")
            path = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
            if path.startswith("xl/worksheets/"):
                paths[sheet.get("name", "")] = path
                if sheet.get("state", "visible") != "visible":
                    self._hidden.add(sheet.get("name", ""))
        if "xl/styles.xml" not in self._members:
            return paths, frozenset()
        padded = {
            style.get("numFmtId")
            for style in self._each("xl/styles.xml", "numFmt")
            if _pads(style.get("formatCode", ""))
        }
        # Of all formats, the ones that cells use are those with an xfId.
        formats = [
            style.get("numFmtId") for style in self._each("xl/styles.xml", "xf") if style.get("xfId") is not None
        ]
        return paths, frozenset(str(place) for place, format_id in enumerate(formats) if format_id in padded)

    def _each(self, path: str, tag: str) -> Iterator[Any]:
        """Every element of this name in a member, in its order; forgotten once it was looked at."""
        from lxml import etree

        if path not in self._members:
            raise self._fault("an .xlsx workbook", f"one without {path}", "save it anew as .xlsx")
        wanted = tag if tag.startswith("{") else f"{_MAIN}{tag}"
        try:
            for _, element in etree.iterparse(
                io.BytesIO(self._members[path]), tag=wanted, resolve_entities=False, no_network=True, huge_tree=False
            ):
                yield element
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
        except etree.XMLSyntaxError as error:
            raise self._fault("an .xlsx workbook", str(error)[:80], "save it anew as .xlsx") from None

    def _at(self, sheet: str, row: int, column: int) -> str:
        return InSheet(self._name, sheet).cell(row + 1, column)

    def _fault(self, expected: str, got: str, fix: str, sheet: str = "") -> _Faults:
        return _Faults([bad(f"{self._name}!{sheet}" if sheet else self._name, expected, got, fix)])


def _unpack(name: str, content: bytes) -> dict[str, bytes]:
    """The XML of a workbook, within the limits: a zip that unpacks to more, and XML that defines entities, are refused."""
    if len(content) > WORKBOOK_BYTES_MAX:
        raise _Faults([bad(name, f"at most {WORKBOOK_BYTES_MAX} bytes", "more", "split the book by company")])
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            entries = packed.infolist()
            if len(entries) > MEMBERS_MAX or sum(entry.file_size for entry in entries) > UNPACKED_BYTES_MAX:
                raise _Faults(
                    [bad(name, f"at most {UNPACKED_BYTES_MAX} bytes unpacked", "more", "split the book by company")]
                )
            members = {
                entry.filename: packed.read(entry) for entry in entries if entry.filename.endswith((".xml", ".rels"))
            }
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        zlib.error,
    ):
        fix = "save it as .xlsx, without a password"
        raise _Faults([bad(name, "an .xlsx workbook", "something else", fix)]) from None
    for path, member in members.items():
        if b"<!DOCTYPE" in member or b"<!ENTITY" in member:
            raise _Faults(
                [bad(name, "an .xlsx workbook", f"definitions of its own in {path}", "save it anew as .xlsx")]
            )
    return members


def _stored(members: Mapping[str, bytes]) -> bytes:
    """The members as a zip that unpacks to what was looked through, and to nothing else."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as packed:
        for path, member in members.items():
            packed.writestr(path, member)
    return made.getvalue()


def _number_text(value: float) -> str | None:
    """A number of a sheet as its shortest text; None where a spreadsheet could not have kept it exactly."""
    exact = Decimal(repr(value))
    if not exact.is_finite() or abs(exact) >= 10**DIGITS_MAX or len(exact.normalize().as_tuple().digits) > DIGITS_MAX:
        return None
    return format(exact.to_integral_value() if exact == exact.to_integral_value() else exact, "f")


def _pads(number_format: str) -> bool:
    """Whether a number format shows zeros in front: it asks for two digits or more before the point."""
    shown = _LITERALS.sub("", number_format).partition(";")[0]
    return shown.partition(".")[0].count("0") > 1 and "E" not in shown


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _columns(row_type: type[Row]) -> list[str]:
    """A table's own columns first, then those that every table has."""
    shared = [name for name in Row.model_fields if name != "at"]
    return [name for name in row_type.model_fields if name not in Row.model_fields] + shared


def _aligned(file: str, table: str, content: bytes, columns: Sequence[str]) -> Iterator[list[str]]:
    """The lines of a file below its header, notes too, their cells under these columns. The file was read before."""
    if file.endswith(".xlsx"):
        book = _Workbook(file, content)
        header, numbered = book.table(book.sheet_for(table))
        lines: Iterator[Sequence[str]] = (cells for _, cells in numbered)
    else:
        lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
    places = [columns.index(name.strip()) for name in header]
    for cells in lines:
        if is_note(cells):
            if any(cell.strip() for cell in cells):
                yield [", ".join(cell.strip() for cell in cells if cell.strip())]
            continue
        aligned = [""] * len(columns)
        for place, cell in zip(places, cells, strict=True):
            aligned[place] = cell.strip()
        yield aligned


def _as_csv(lines: Sequence[Sequence[str]]) -> bytes:
    """The lines as CSV, line for line; a note stands as it would be written by hand."""
    made = io.StringIO(newline="")
    writer = csv.writer(made, lineterminator="\n")
    for cells in lines:
        note = ", ".join(cell.strip() for cell in cells if cell.strip())
        if is_note(cells) and '"' not in note and "\n" not in note:
            made.write(note + "\n")
        else:
            writer.writerow(cells)
    return made.getvalue().encode()


def _said(table: str, column: str) -> str:
    """What a column is for, in English and Chinese."""
    en, zh = _COLUMNS.get(f"{table}.{column}") or _COLUMNS[column]
    return f"{en}\n{zh}"


_COLUMNS: Mapping[str, tuple[str, str]] = {
    "priority": ("A higher number is asked first; empty is 0.", "数字大的优先；空为 0。"),
    "valid_from": ("First day the row counts, YYYY-MM-DD; empty: always.", "生效首日，YYYY-MM-DD；空为不限。"),
    "valid_to": ("Last day the row counts, YYYY-MM-DD; empty: for ever.", "失效前最后一日，YYYY-MM-DD；空为不限。"),
    "company": ("Company code, or * for any.", "公司代码；* 为任意公司。"),
    "account": ("Account code, text: 0123 stays 0123.", "科目编码（文本）：0123 保持 0123。"),
    "category": ("Category of expense, or * for any.", "费用类别；* 为任意类别。"),
    "currency": ("Three letters, ISO 4217.", "三位币种代码（ISO 4217）。"),
    "department": ("Department code, or * for any.", "部门代码；* 为任意部门。"),
    "role": ("What the account is for: advance, input_tax ...", "科目用途：advance（借款）、input_tax（进项税）等。"),
    "companies.currency": ("Base currency of the company.", "公司的本位币。"),
    "companies.time_zone": ("Gives the day of an approval stated in UTC.", "用于确定以 UTC 表示的审批所在日期。"),
    "companies.posting_day": (
        "Day of posting where the report states none: approval or expense.", "报销单未写过账日时取：approval 审批日，expense 费用日。",
    ),
    "companies.year_start": ("First month of the fiscal year, 1 to 12.", "会计年度的首月，1 至 12。"),
    "companies.advances": (
        "stated: as the report says; tracked: the advance must be known; booked: its payment is booked, too.",
        "stated 按报销单所述；tracked 借款须已登记；booked 借款的支付与归还也入账。",
    ),
    "companies.budgets": ("Above the budget: stop, warn, or off.", "超预算时：stop 阻止，warn 提醒，off 不检查。"),
    "name_en": ("Name in English.", "英文名称。"),
    "name_zh": ("Name in Chinese.", "中文名称。"),
    "dimensions": (
        "What a line on the account carries: `department employee`; with ? it may be missing.",
        "该科目的辅助核算：如 department employee；带 ? 为可选。",
    ),
    "roles.account": ("Account code; (expense): the account of the expense line.", "科目编码；(expense) 为该费用行的科目。"),
    "kind": ("Kind of invoice, or * for any.", "票种；* 为任意票种。"),
    "method": (
        "Where the tax comes from: stated, included, fare_and_fuel, transfer_out, none.",
        "税额来源：stated 票面，included 价内，fare_and_fuel 票价加燃油，transfer_out 转出，none 不抵扣。",
    ),
    "rate": ("Rate inside the price, 0.09 for 9 %.", "价内税率，9% 写 0.09。"),
    "deductible": ("Part of the tax that may be deducted, 0 to 1; empty is 1.", "可抵扣比例，0 至 1；空为 1。"),
    "certification": ("yes: deducted only once the invoice is certified.", "yes：勾选认证后方可抵扣。"),
    "payee": ("Employee, supplier or card company.", "员工、供应商或发卡公司。"),
    "dimension": ("department, employee, project, cost_centre or supplier.", "department、employee、project、cost_centre 或 supplier。"),
    "value": ("What the OA calls it, or * for any.", "OA 中的值；* 为任意值。"),
    "target": ("What the ERP calls it; * keeps the value.", "ERP 中的值；* 为保持原值。"),
    "daily": ("Allowance for one day, in the currency beside it.", "每日补贴标准（按所列币种）。"),
    "above": ("Category that what is above the allowance goes to.", "超出标准部分所属的费用类别。"),
    "document": ("expense.report, or * for any.", "expense.report；* 为任意单据。"),
    "policy": (
        "Posting day in a closed period: REJECT, HOLD, NEXT_OPEN or ACCRUE.",
        "过账日所在期间已结账时：REJECT 退回，HOLD 等待，NEXT_OPEN 记入下一开放期间，ACCRUE 冲减预提。",
    ),
    "rounding_max": ("Largest rounding difference of a document.", "单张单据的最大折算尾差。"),
}  # fmt: skip
