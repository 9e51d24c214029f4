"""The tables of a mapping book: CSV files read as text, each row checked and remembering its file and line."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal
from difflib import SequenceMatcher, get_close_matches
from functools import cache, partial
from itertools import pairwise
from operator import eq
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from connector.errors import Misconfigured
from connector.translate.places import Places
from contracts.amount import QUANTA, minor_digits
from contracts.findings import FINDINGS_MAX, Finding
from contracts.voucher import MappedRole

ROWS_MAX = 200_000
CELL_CHARACTERS_MAX = 1000
NEAR_MAX = 5000  # Names that are compared with a wrong one: more take seconds.
ANY: Final = "*"
EXPENSE_ACCOUNT = "(expense)"  # In roles.csv: the account of the expense line this line belongs to.
DIMENSIONS = ("department", "employee", "project", "cost_centre", "supplier")

InvoiceKindOrAny = Literal["vat_special", "vat_ordinary", "rail", "air", "coach", "toll", "red_special", "foreign", "*"]
Dimension = Literal["department", "employee", "project", "cost_centre", "supplier"]
Policy = Literal["REJECT", "HOLD", "NEXT_OPEN", "ACCRUE"]
Method = Literal["stated", "included", "fare_and_fuel", "transfer_out", "none"]


def _currency(code: str) -> str:
    if minor_digits(code) is None:
        raise ValueError("not a currency in use (ISO 4217)")
    return code


def _time_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("not a time zone like Asia/Shanghai") from error


def _dimensions(text: str) -> tuple[tuple[str, bool], ...]:
    """`department employee project?` as names, each with whether it is required."""
    found = tuple((name.removesuffix("?"), not name.endswith("?")) for name in text.split())
    for name, _ in found:
        if name not in DIMENSIONS:
            raise ValueError(f"{name!r} is no dimension; there are {', '.join(DIMENSIONS)}")
    if len({name for name, _ in found}) != len(found):
        raise ValueError("a dimension stands twice")
    return found


def _written(pattern: str, expected: str, fix: str) -> Callable[[Any], Any]:
    """A check that a cell is written in one way only, before anything reads a number or a day into it."""
    form = re.compile(pattern, re.ASCII)

    def check(text: Any) -> Any:
        if isinstance(text, str) and not form.fullmatch(text):
            raise PydanticCustomError("written", "{expected}", {"expected": expected, "fix": fix})
        return text

    return check


# No report has such letters in a code, so a row with one would never be chosen.
_STRANGE = re.compile(r"[\uFF01-\uFF07\uFF0A-\uFF5E\u3000\u00A0]")


def _code(text: str) -> str:
    strange = next((each for each in text if _STRANGE.match(each) or not (each.isprintable() or each == " ")), None)
    if strange is not None:
        fix = "write it in half width" if "\uff01" <= strange <= "\uff5e" else "remove it"
        got = f"a code without {strange!r} ({unicodedata.name(strange, 'a control character')})"
        raise PydanticCustomError("written", "{expected}", {"expected": got, "fix": fix})
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Key = Annotated[Text, AfterValidator(_code)]
Whole = Annotated[
    int, BeforeValidator(_written(r"0|-?[1-9][0-9]{0,5}", "a whole number", "write it with plain digits"))
]
Number = Annotated[
    Decimal,
    BeforeValidator(
        _written(r"[0-9]{1,14}(\.[0-9]{1,12})?", "a number like 0.09", "write it with plain digits and a point")
    ),
]
YesNo = Annotated[
    bool, BeforeValidator(_written(r"(?i:yes|no|true|false)", "yes or no", "write yes or no, or leave it empty"))
]
Account = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,32}$")]
Share = Annotated[Number, Field(ge=0, le=1)]
Day = Annotated[
    date,
    BeforeValidator(lambda text: date.fromisoformat(text) if isinstance(text, str) else text),
    BeforeValidator(_written(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "a day like 2025-03-31", "write year-month-day")),
]
Zone = Annotated[ZoneInfo, BeforeValidator(_time_zone)]


class BookRefused(Misconfigured):
    """The mapping book is wrong; `findings` says everything that is, each at its file:line."""

    default_code = "MAP-210"

    def __init__(self, findings: Sequence[Finding]) -> None:
        if len(findings) > FINDINGS_MAX:
            rest = f"{len(findings) - FINDINGS_MAX + 1} more findings"
            findings = [
                *findings[: FINDINGS_MAX - 1],
                bad("", "fewer faults", rest, "mend these first, then look again"),
            ]
        super().__init__(
            "the mapping book is wrong:\n"
            + "\n".join(f"  {f.path}: expected {f.expected}, got {f.got}; {f.fix}" for f in findings)
        )
        self.findings = tuple(findings)


class ExpressionFailed(ValueError):
    """An expression that was sound when it was read has no value here: a division by zero, a text too long."""


class Row(BaseModel):
    """One row of a table. `at` is its file and line; an empty `valid_from` or `valid_to` (inclusive) is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    keys: ClassVar[tuple[str, ...]]  # The columns that choose a row, the weightiest first.

    at: str
    priority: Whole = Field(default=0, ge=-1000, le=1000)
    valid_from: Day = date.min
    valid_to: Day = date.max

    def key(self) -> tuple[str, ...]:
        """What the row is chosen by."""
        return tuple(getattr(self, name) for name in self.keys)

    def rank(self) -> tuple[int, tuple[bool, ...]]:
        """A higher rank is asked first: priority, then exact before `*`, the weightiest column first."""
        return self.priority, tuple(part != ANY for part in self.key())

    def matches(self, wanted: Sequence[str]) -> bool:
        """Whether each column is the wanted value or `*`."""
        return all(part in (ANY, value) for part, value in zip(self.key(), wanted, strict=True))


class CompanyRow(Row):
    """A company and its base currency; the time zone gives the day of an approval stated in UTC."""

    keys = ("company",)
    company: Key
    currency: Annotated[str, AfterValidator(_currency)]
    time_zone: Zone | None = None
    posting_day: Literal["approval", "expense"] = "approval"  # Where the report states none.
    year_start: Annotated[Whole, Field(ge=1, le=12)] = 1  # First month of the fiscal year.
    # tracked: an advance the ledger does not know is waited for; booked: what the OA pays and takes back is booked, too.
    advances: Literal["stated", "tracked", "booked"] = "stated"
    budgets: Literal["stop", "warn", "off"] = "stop"


class ChartRow(Row):
    """An account, its names, and the dimensions its lines carry: `employee` must be there, `project?` may."""

    keys = ("account",)
    account: Account
    name_en: Text
    name_zh: Text
    dimensions: Annotated[tuple[tuple[str, bool], ...], BeforeValidator(_dimensions)] = ()


class AccountRow(Row):
    """Which account the cost of a category goes to."""

    keys = ("category", "department", "company")
    category: Key
    department: Key = ANY
    company: Key = ANY
    account: Account


class RoleRow(Row):
    """Which account a role has: advances, payables, taxes, rounding."""

    keys = ("role", "company")
    role: MappedRole
    company: Key = ANY
    account: Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9._-]{1,32}|\(expense\))$")]


class TaxRow(Row):
    """How much of the tax on a kind of invoice may be deducted. The tax stated on the invoice is taken as stated.

    method  stated         the invoice must state its tax
            included       where it states none: rate / (1 + rate) of the total
            fare_and_fuel  where it states none: rate / (1 + rate) of fare plus fuel, never of the airport fee
            transfer_out   a seller's red invoice: what was deducted is transferred out again
            none           no tax is deducted, it stays in the cost
    """

    keys = ("category", "kind", "company")
    category: Key = ANY
    kind: InvoiceKindOrAny = ANY
    company: Key = ANY
    method: Method
    rate: Annotated[Number, Field(gt=0, lt=1)] | None = None
    deductible: Share = Decimal(1)
    # Deducted only once it is certified; until then the tax is pending, and a red invoice takes it back from there.
    certification: YesNo = False

    def model_post_init(self, context: Any) -> None:
        if (self.method in ("included", "fare_and_fuel")) is not (self.rate is not None):
            raise ValueError("a rate belongs to the methods included and fare_and_fuel, and only to them")


class PayableRow(Row):
    """Which account is owed to, or by, a certain payee: an employee, a supplier or a card company; over the roles table."""

    keys = ("payee", "role", "company")
    payee: Key
    role: Literal["advance", "employee_payable", "employee_receivable", "supplier_payable", "card_clearing"]
    company: Key = ANY
    account: Account


class DimensionRow(Row):
    """What a dimension's value is called in the ERP. `*` as target keeps the value; a dimension with rows needs one for each."""

    keys = ("dimension", "value", "company")
    dimension: Dimension
    value: Key = ANY
    company: Key = ANY
    target: Key


class PerDiemRow(Row):
    """The daily allowance up to which a category is booked on its own account; what is above goes to the category `above`."""

    keys = ("category", "currency", "company")
    category: Key
    currency: Annotated[str, AfterValidator(_currency)]
    company: Key = ANY
    daily: Number
    above: Key

    def model_post_init(self, context: Any) -> None:
        if self.daily != self.daily.quantize(QUANTA[self.currency]):
            raise ValueError(f"an allowance has no more decimals than {self.currency} has")


class PeriodRow(Row):
    """What happens to a document whose posting day lies in a closed period.

    REJECT     the report goes back to the OA
    HOLD       it waits until the period is opened, or a person decides
    NEXT_OPEN  it is booked in the next open period, its origin on each line
    ACCRUE     so too, its cost on the account where it was accrued
    """

    keys = ("document", "company")
    document: Literal["expense.report", "*"] = "*"
    company: Key = ANY
    policy: Policy


class ToleranceRow(Row):
    """How much of a rounding difference a document may carry on the rounding account, in the company's base currency."""

    keys = ("company",)
    company: Key = ANY
    rounding_max: Number


RowT = TypeVar("RowT", bound=Row)


class Reference:
    """A column that names something of another table; `of` is the name, or None where this row need not name any."""

    def __init__(
        self, column: str, what: str, of: Callable[[Any], str | None], known: Collection[str], otherwise: str
    ) -> None:
        self.column, self.what, self.otherwise = column, what, otherwise
        self._of, self._known = of, known
        self.near = cache(partial(near, known=known, otherwise=otherwise))

    def unknown(self, row: Row) -> str | None:
        """What this row names and the other table does not have."""
        named = self._of(row)
        return None if named in self._known else named


def read_table(
    places: Places,
    content: bytes,
    row_type: type[RowT],
    findings: list[Finding],
    reference: Reference | None = None,
) -> list[RowT]:
    """The rows of a CSV file. What is wrong is added to `findings`, each at its place."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        findings.append(not_utf_8(places.file, content, error, "save the file as CSV UTF-8"))
        return []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        lines = ((reader.line_num, cells) for cells in reader)
        return read_rows(places, header, lines, row_type, findings, reference)
    except csv.Error as error:
        at = places.row(reader.line_num)
        findings.append(bad(at, "CSV with commas and double quotes", str(error), "mend the quotes of this line"))
        return []


def not_utf_8(name: str, content: bytes, error: UnicodeDecodeError, fix: str) -> Finding:
    """A file in another encoding, named where it is one that is met often."""
    line = content[: error.start].count(b"\n") + 1
    got = f"a byte at {error.start} that is not"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        got = "UTF-16"
    else:
        with suppress(UnicodeDecodeError):
            content.decode("gb18030")
            got = f"a byte at {error.start} that is not (it reads as GB18030)"
    return bad(f"{name}:{line}", "UTF-8 text", got, fix)


def read_rows(
    places: Places,
    header: Sequence[str],
    lines: Iterable[tuple[int, Sequence[str]]],
    row_type: type[RowT],
    findings: list[Finding],
    reference: Reference | None = None,
) -> list[RowT]:
    """The rows below a header, each with its number. Empty lines and such that begin with # are left out. A row that names
    what is not there is a row all the same, so that nothing else is found wrong because of it."""
    columns = [cell.strip() for cell in header]
    wrong = _no_header(columns)
    if wrong is not None:
        findings.append(bad(places.row(1), "the names of the columns in the first line, between commas", *wrong))
        return []
    if not _header_is_right(places, columns, row_type, findings):
        return []
    rows: list[RowT] = []
    for number, cells in lines:
        if is_note(cells):
            continue
        if len(rows) >= ROWS_MAX:
            findings.append(bad(places.row(number), f"at most {ROWS_MAX} rows", "more", "split the book by company"))
            break
        row = _row(places, number, columns, cells, row_type, findings)
        if row is None:
            continue
        rows.append(row)
        if reference is not None and (named := reference.unknown(row)) is not None:
            at = places.cell(number, columns.index(reference.column))
            fix = (
                reference.near(named) if len(findings) < FINDINGS_MAX else reference.otherwise
            )  # more are only counted
            findings.append(bad(at, reference.what, named, fix))
    return rows


def _no_header(columns: Sequence[str]) -> tuple[str, str] | None:
    """What stands where the header should, and what to do about it, where it is none at all."""
    if not any(columns):
        return "nothing", "write them"
    if columns[0].startswith(("#", "sep=")):
        return columns[0][:80], "move the line below them, or remove it"
    if len(columns) == 1:
        for sign, name in {";": "semicolons", "\t": "tabs", "，": "Chinese commas"}.items():
            if sign in columns[0]:
                return name, "save the file as CSV with commas"
    return None


def is_note(cells: Sequence[str]) -> bool:
    """Whether a line of a table is no row: empty, or a note that begins with #."""
    return not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#")


def _header_is_right(places: Places, header: Sequence[str], row_type: type[Row], findings: list[Finding]) -> bool:
    fields = {field: info for field, info in row_type.model_fields.items() if field != "at"}
    known = ", ".join(fields)
    wrong: list[Finding] = []
    for place, column in enumerate(header):
        at = places.cell(1, place)
        if column not in fields:
            fix = near(column, fields, "correct or remove the column")
            wrong.append(bad(at, f"columns among {known}", repr(column), fix))
        elif column in header[:place]:
            wrong.append(bad(at, "each column once", repr(column), "remove one"))
    wrong += [
        bad(places.row(1), f"a column {field!r}", "none", "add the column")
        for field, info in fields.items()
        if info.is_required() and field not in header
    ]
    findings.extend(wrong)
    return not wrong


def _row(
    places: Places,
    number: int,
    header: Sequence[str],
    cells: Sequence[str],
    row_type: type[RowT],
    findings: list[Finding],
) -> RowT | None:
    at = places.row(number)
    if len(cells) != len(header):
        fix = "a comma is missing or too many; quote cells that hold commas"
        findings.append(bad(at, f"{len(header)} cells", str(len(cells)), fix))
        return None
    long = next((place for place, cell in enumerate(cells) if len(cell) > CELL_CHARACTERS_MAX), None)
    if long is not None:
        limit = f"cells of at most {CELL_CHARACTERS_MAX} characters"
        findings.append(bad(places.cell(number, long), limit, "longer", "shorten the cell"))
        return None
    values = {column: cell.strip() for column, cell in zip(header, cells, strict=True) if cell.strip()}
    try:
        row = row_type.model_validate({**values, "at": at})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            column = detail["loc"][0] if detail["loc"] else None
            found = places.cell(number, header.index(column)) if column in header else at
            findings.append(_from_pydantic(found, detail))
        return None
    if row.valid_from > row.valid_to:
        findings.append(
            bad(at, "valid_from on or before valid_to", f"{row.valid_from} after {row.valid_to}", "correct the days")
        )
        return None
    return row


def _from_pydantic(at: str, detail: ErrorDetails) -> Finding:
    """What pydantic found wrong, at this place of the book."""
    return bad(
        at,
        f"{'.'.join(map(str, detail['loc'])) or 'row'}: {detail['msg'].removeprefix('Value error, ')}",
        repr(detail["input"])[:80],
        _how_to_mend(detail),
    )


def _how_to_mend(detail: ErrorDetails) -> str:
    if detail["type"] == "written":
        return str(detail["ctx"]["fix"])
    if detail["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
        return near(str(detail["input"]), choices, "write one of them")
    return "correct it"


def overlaps(rows: Iterable[Row], findings: list[Finding]) -> None:
    """Adds a finding for two rows that answer the same question on the same day with the same priority."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.priority, *row.key()), []).append(row)
    for group in groups.values():
        group.sort(key=lambda row: row.valid_from)
        for earlier, later in pairwise(group):
            if later.valid_from <= earlier.valid_to:
                key = "/".join(later.key())
                findings.append(
                    bad(
                        later.at,
                        f"one row for {key} on a day",
                        f"another at {earlier.at}",
                        "remove one, or give it dates or a priority",
                    )
                )


def ranked(rows: Iterable[RowT]) -> list[RowT]:
    """The rows in the order in which they are asked."""
    return sorted(rows, key=lambda row: row.rank(), reverse=True)


_DIGITS = str.maketrans("oil", "011")  # Letters that are typed for digits.


def near(name: str, known: Collection[str], otherwise: str) -> str:
    """What to do about a name that is not known: the one that was probably meant, else the other advice."""
    if len(known) > NEAR_MAX:
        return otherwise
    by_case, written = {each.casefold(): each for each in known}, name.casefold()

    def likeness(each: str) -> tuple[float, int]:
        """How like it is; of equals, the one with more letters in their places: 6602O1 is 660201 rather than 660210."""
        in_place = sum(map(eq, each.translate(_DIGITS), written.translate(_DIGITS)))
        return SequenceMatcher(None, each, written).ratio(), in_place

    found = get_close_matches(written, by_case, n=5, cutoff=0.6)
    return f"did you mean {by_case[max(found, key=likeness)]}?" if found else otherwise


def bad(at: str, expected: str, got: str, fix: str) -> Finding:
    """A finding about the book itself."""
    return Finding("MAP-210", at, expected, got, fix)


ROW_TYPES: Mapping[str, type[Row]] = {
    "companies": CompanyRow,
    "chart": ChartRow,
    "accounts": AccountRow,
    "roles": RoleRow,
    "tax": TaxRow,
}
# Tables that a book may leave out.
OPTIONAL_ROW_TYPES: Mapping[str, type[Row]] = {
    "payables": PayableRow,
    "dimensions": DimensionRow,
    "per_diem": PerDiemRow,
    "periods": PeriodRow,
    "tolerances": ToleranceRow,
}
