"""The mapping book: rules and tables that a finance consultant writes, checked whole, hashed, and compiled once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from connector.errors import Misconfigured
from connector.translate.tables import (
    ANY,
    EXPENSE_ACCOUNT,
    OPTIONAL_ROW_TYPES,
    ROW_TYPES,
    AccountRow,
    ChartRow,
    CompanyRow,
    DimensionRow,
    PayableRow,
    PerDiemRow,
    PeriodRow,
    RoleRow,
    Row,
    RowT,
    TaxRow,
    ToleranceRow,
    bad,
    overlaps,
    ranked,
    read_table,
)
from connector.translate.yaml_text import Place, read_yaml
from contracts.expense import AdvanceClaim, ExpenseReport, Line
from contracts.findings import Finding
from contracts.voucher import Role

STARTER = Path(__file__).parent / "starter"
BOOK_FILE = "book.yaml"
FILE_BYTES_MAX = 32 * 1024 * 1024
BOOK_BYTES_MAX = 1024 * 1024
CACHED_LOOKUPS_MAX = 50_000  # Answers kept per company; more keys than this start over.
# Raise it when the same book makes other vouchers than before: postings record which arithmetic made them.
ARITHMETIC = "1"

MemoOf = Callable[[ExpenseReport, Line | None, AdvanceClaim | None], str | None]


class BookRefused(Misconfigured):
    """The mapping book is wrong; `findings` says everything that is, each at its file:line."""

    default_code = "MAP-210"

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(
            "the mapping book is wrong:\n"
            + "\n".join(f"  {f.path}: expected {f.expected}, got {f.got}; {f.fix}" for f in findings)
        )
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a rule's expressions may read: the report, the line and the advance the voucher line comes from, its amount
    in the base currency, and the account and department that the tables gave."""

    report: ExpenseReport
    line: Line | None
    advance: AdvanceClaim | None
    amount: Decimal
    account: str
    department: str


@dataclass(frozen=True, slots=True)
class Rule:
    """How lines of a role are written. `position` is its place in the book and so the place of its lines in a voucher.

    Where `when` does not hold for a line, the rule in `otherwise` is asked; None there: no rule fits.
    """

    id: str
    role: Role
    merge: bool
    memo: MemoOf | None
    at: str
    position: int
    title: Mapping[str, str]
    when: Callable[[Scope], bool] | None = None
    account: Callable[[Scope], str] | None = None  # Instead of the account that the tables gave.
    otherwise: Rule | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A debit and a credit of the same amount that a rule adds to the voucher, for each line where `when` holds."""

    id: str
    debit: str
    credit: str
    amount: Callable[[Scope], Decimal]
    when: Callable[[Scope], bool] | None
    merge: bool
    at: str
    position: int
    title: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class AccountHit:
    """An account that a table answered: its dimensions (name, required) and the row that says so.
    Accounts with equal dimensions have the same `shape`."""

    account: str
    dimensions: tuple[tuple[str, bool], ...]
    shape: int
    names: Mapping[str, str]
    at: str
    valid_from: date
    valid_to: date


@dataclass(slots=True)
class CompanyView:
    """The book as one company sees it; what was looked up once is answered from memory."""

    currency: str
    time_zone: ZoneInfo | None
    at: str
    company: str
    valid_from: date
    valid_to: date
    row: CompanyRow
    _book: Book
    _payables: dict[tuple[Role, str], tuple[AccountHit, ...]] = field(default_factory=dict)
    _dimensions: dict[tuple[str, str], tuple[DimensionRow, ...]] = field(default_factory=dict)
    _optional: dict[tuple[str, ...], tuple[Row, ...]] = field(default_factory=dict)
    _roles: dict[Role, tuple[AccountHit, ...]] = field(default_factory=dict)
    _accounts: dict[tuple[str, str], tuple[AccountHit, ...]] = field(default_factory=dict)
    _tax: dict[tuple[str, str], tuple[TaxRow, ...]] = field(default_factory=dict)

    def account(self, category: str, department: str, on: date) -> AccountHit | None:
        """The account for a category of expense in a department on a posting day."""
        hits = self._accounts.get((category, department))
        if hits is None:
            wanted = (category, department, self.company)
            rows = [row for row in self._book.by_category.get(category, ()) if row.matches(wanted)]
            hits = tuple(self._book.hit(row.account, row) for row in ranked(rows))
            self._remember(self._accounts, (category, department), hits)
        for hit in hits:
            if hit.valid_from <= on <= hit.valid_to:
                return hit
        return None

    def role(self, role: Role, on: date) -> AccountHit | None:
        """The account of a role on a posting day; one named `(expense)` stands for the expense line's own."""
        hits = self._roles.get(role)
        if hits is None:
            rows = [row for row in self._book.roles if row.matches((role, self.company))]
            hits = tuple(self._book.hit(row.account, row) for row in ranked(rows))
            self._remember(self._roles, role, hits)
        for hit in hits:
            if hit.valid_from <= on <= hit.valid_to:
                return hit
        return None

    def tax(self, category: str, kind: str, on: date) -> TaxRow | None:
        """The tax rule for a kind of invoice and a category on the invoice's day."""
        rows = self._tax.get((category, kind))
        if rows is None:
            wanted = (category, kind, self.company)
            rows = tuple(ranked(row for row in self._book.taxes if row.matches(wanted)))
            self._remember(self._tax, (category, kind), rows)
        for row in rows:
            if row.valid_from <= on <= row.valid_to:
                return row
        return None

    def payable(self, role: Role, payee: str, on: date) -> AccountHit | None:
        """The account of a role for this payee on a posting day: the payables table's where it has a row, else the role's."""
        if self._book.payables:
            hits = self._payables.get((role, payee))
            if hits is None:
                rows = [row for row in self._book.payables if row.matches((payee, role, self.company))]
                hits = tuple(self._book.hit(row.account, row) for row in ranked(rows))
                self._remember(self._payables, (role, payee), hits)
            for hit in hits:
                if hit.valid_from <= on <= hit.valid_to:
                    return hit
        return self.role(role, on)

    def translates(self, dimension: str) -> bool:
        """Whether the dimensions table has rows for this dimension."""
        return dimension in self._book.translated

    def dimension(self, dimension: str, value: str, on: date) -> str | None:
        """What a dimension's value is called in the ERP on a posting day; None where its table has no row for it."""
        rows = self._dimensions.get((dimension, value))
        if rows is None:
            wanted = (dimension, value, self.company)
            rows = tuple(ranked(row for row in self._book.dimensions if row.matches(wanted)))
            self._remember(self._dimensions, (dimension, value), rows)
        for row in rows:
            if row.valid_from <= on <= row.valid_to:
                return value if row.target == ANY else row.target
        return None

    def per_diem(self, category: str, currency: str, on: date) -> PerDiemRow | None:
        """The daily allowance of a category in a currency on the day of the expense."""
        return self._choose(self._book.per_diems, (category, currency, self.company), on)

    def period_rule(self, document: str, on: date) -> PeriodRow | None:
        """What happens to a document whose posting day lies in a closed period."""
        return self._choose(self._book.periods, (document, self.company), on)

    def tolerance(self, on: date) -> ToleranceRow | None:
        """The largest rounding difference of a document."""
        return self._choose(self._book.tolerances, (self.company,), on)

    def _choose(self, rows: Sequence[RowT], wanted: tuple[str, ...], on: date) -> RowT | None:
        if not rows:
            return None
        key = (type(rows[0]).__name__, *wanted)
        found = self._optional.get(key)
        if found is None:
            found = tuple(ranked(row for row in rows if row.matches(wanted)))
            self._remember(self._optional, key, found)
        for row in found:
            if row.valid_from <= on <= row.valid_to:
                return cast(RowT, row)
        return None

    @staticmethod
    def _remember(cache: dict[Any, Any], key: Any, answer: Any) -> None:
        if len(cache) >= CACHED_LOOKUPS_MAX:
            cache.clear()
        cache[key] = answer


@dataclass(slots=True)
class Book:
    """A checked mapping book. `fingerprint` is the SHA-256 (hex) of all its files and of the arithmetic: equal
    fingerprints make equal vouchers. Safe to share between threads; never changes after loading."""

    name: str
    version: str
    fingerprint: str
    rules: Mapping[Role, Rule]
    companies: Sequence[CompanyRow]
    chart: Mapping[str, ChartRow]
    accounts: Sequence[AccountRow]
    roles: Sequence[RoleRow]
    taxes: Sequence[TaxRow]
    by_category: Mapping[str, Sequence[AccountRow]]
    payables: Sequence[PayableRow] = ()
    dimensions: Sequence[DimensionRow] = ()
    per_diems: Sequence[PerDiemRow] = ()
    periods: Sequence[PeriodRow] = ()
    tolerances: Sequence[ToleranceRow] = ()
    pairs: Sequence[Pair] = ()
    translated: frozenset[str] = frozenset()
    files: Mapping[str, bytes] = field(default_factory=dict)
    _views: dict[str, tuple[CompanyView, ...]] = field(default_factory=dict)
    _shapes: dict[tuple[tuple[str, bool], ...], int] = field(default_factory=dict)

    def view(self, company: str, on: date) -> CompanyView | None:
        """The book as this company sees it on a day; None where the book does not know the company."""
        views = self._views.get(company)
        if views is None:
            rows = ranked(row for row in self.companies if row.matches((company,)))
            views = tuple(
                CompanyView(row.currency, row.time_zone, row.at, company, row.valid_from, row.valid_to, row, self)
                for row in rows
            )
            if len(self._views) >= CACHED_LOOKUPS_MAX:
                self._views.clear()
            self._views[company] = views
        for view in views:
            if view.valid_from <= on <= view.valid_to:
                return view
        return None

    def hit(self, account: str, row: Row) -> AccountHit:
        """The answer a row gives."""
        chart = self.chart.get(account)
        if chart is None:  # `(expense)`: loading made sure that every other account is in the chart.
            return AccountHit(account, (), 0, {}, row.at, row.valid_from, row.valid_to)
        shape = self._shapes.setdefault(chart.dimensions, len(self._shapes) + 1)
        return AccountHit(
            account,
            chart.dimensions,
            shape,
            {"en": chart.name_en, "zh": chart.name_zh},
            row.at,
            row.valid_from,
            row.valid_to,
        )

    def categories(self) -> list[str]:
        """Every category the book has an account for."""
        return sorted(self.by_category)


class _RuleText(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.-]{0,59}$")]
    role: Role
    merge: bool = False
    memo: Annotated[str, StringConstraints(max_length=200)] | None = None
    title: Mapping[str, str] = Field(default_factory=dict)


class _BookText(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]
    version: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    title: Mapping[str, str] = Field(default_factory=dict)
    tables: Mapping[str, Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+\.csv$")]]
    rules: Annotated[list[_RuleText], Field(min_length=1, max_length=200)]


_ROLES: tuple[Role, ...] = (
    "expense", "non_deductible_tax", "input_tax", "pending_tax", "tax_transfer_out", "rounding",
    "employee_receivable", "advance", "employee_payable", "card_clearing", "supplier_payable",
)  # fmt: skip


def load_book(path: Path | None = None) -> Book:
    """The mapping book in this folder, or the starter book. Raises BookRefused with everything that is wrong in it."""
    folder = STARTER if path is None else path
    findings: list[Finding] = []
    files: dict[str, bytes] = {}
    content = _read(folder, BOOK_FILE, BOOK_BYTES_MAX, files, findings)
    read = _book_text(content, findings) if content is not None else None
    if read is None:
        raise BookRefused(findings)
    text, marks = read
    tables = {name: _table(folder, text, name, row_type, files, findings) for name, row_type in ROW_TYPES.items()}
    tables |= {
        name: _table(folder, text, name, row_type, files, findings) if name in text.tables else []
        for name, row_type in OPTIONAL_ROW_TYPES.items()
    }
    rules = _rules(text, marks, findings)
    chart = {row.account: row for row in _of(ChartRow, tables["chart"])}
    accounts, roles = _of(AccountRow, tables["accounts"]), _of(RoleRow, tables["roles"])
    payables, dimensions = _of(PayableRow, tables["payables"]), _of(DimensionRow, tables["dimensions"])
    _check_accounts([*accounts, *roles, *payables], chart, findings)
    if findings:
        raise BookRefused(findings)
    by_category: dict[str, list[AccountRow]] = {}
    for row in accounts:
        by_category.setdefault(row.category, []).append(row)
    return Book(
        text.name, text.version, _fingerprint(files), rules, _of(CompanyRow, tables["companies"]), chart, accounts, roles,
        _of(TaxRow, tables["tax"]), _with_fallback(by_category), payables, dimensions,
        _of(PerDiemRow, tables["per_diem"]), _of(PeriodRow, tables["periods"]), _of(ToleranceRow, tables["tolerances"]),
        translated=frozenset(row.dimension for row in dimensions), files=files,
    )  # fmt: skip


def _with_fallback(by_category: Mapping[str, Sequence[AccountRow]]) -> Mapping[str, Sequence[AccountRow]]:
    """Rows for any category answer for each; a book without such rows answers only for the categories it names."""
    anything = by_category.get(ANY)
    if not anything:
        return by_category
    return _Default(
        {category: [*rows, *anything] for category, rows in by_category.items() if category != ANY}, anything
    )


class _Default(dict[str, Sequence[AccountRow]]):
    def __init__(self, known: Mapping[str, Sequence[AccountRow]], rest: Sequence[AccountRow]) -> None:
        super().__init__(known)
        self._rest = rest

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, self._rest)


def _read(folder: Path, name: str, bytes_max: int, files: dict[str, bytes], findings: list[Finding]) -> bytes | None:
    try:
        with (folder / name).open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        findings.append(bad(name, f"a readable file in {folder.name}", error.strerror or str(error), "add the file"))
        return None
    if len(content) > bytes_max:
        findings.append(bad(name, f"at most {bytes_max} bytes", "more", "split the book"))
        return None
    files[name] = content
    return content


def _book_text(content: bytes, findings: list[Finding]) -> tuple[_BookText, Mapping[Place, int]] | None:
    read = read_yaml(BOOK_FILE, content, findings)
    if read is None:
        return None
    document, marks = read
    try:
        return _BookText.model_validate(document), marks
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            place = detail["loc"]
            while place and place not in marks:
                place = place[:-1]
            name = ".".join(map(str, detail["loc"])) or "book"
            findings.append(
                bad(
                    f"{BOOK_FILE}:{marks.get(place, 1)}",
                    f"{name}: {detail['msg']}",
                    repr(detail["input"])[:80],
                    "correct it",
                )
            )
    return None


def _table(
    folder: Path, text: _BookText, name: str, row_type: type[RowT], files: dict[str, bytes], findings: list[Finding]
) -> list[RowT]:
    if name not in text.tables:
        findings.append(bad(BOOK_FILE, f"a table named {name!r}", "none", f"add `{name}: {name}.csv` under tables"))
        return []
    content = _read(folder, text.tables[name], FILE_BYTES_MAX, files, findings)
    rows = read_table(text.tables[name], content, row_type, findings) if content is not None else []
    overlaps(rows, findings)
    return rows


def _rules(text: _BookText, marks: Mapping[Place, int], findings: list[Finding]) -> Mapping[Role, Rule]:
    rules: dict[Role, Rule] = {}
    ids: set[str] = set()
    for position, rule in enumerate(text.rules):
        at = f"{BOOK_FILE}:{marks.get(('rules', position), 1)}"
        if rule.id in ids or rule.role in rules:
            findings.append(
                bad(at, "one rule per id and per role", f"{rule.id} for {rule.role}", "remove or rename one of them")
            )
        ids.add(rule.id)
        rules[rule.role] = Rule(
            rule.id, rule.role, rule.merge, _memo(rule.memo, at, findings), at, position, rule.title
        )
    for role in _ROLES:
        if role not in rules:
            findings.append(bad(BOOK_FILE, f"a rule for the role {role}", "none", "add it under rules"))
    known = {**ROW_TYPES, **OPTIONAL_ROW_TYPES}
    for name in sorted(text.tables.keys() - known.keys()):
        findings.append(
            bad(f"{BOOK_FILE}:{marks.get(('tables', name), 1)}", f"tables {', '.join(known)}", name, "remove it")
        )
    return rules


_MEMO_FIELDS: Mapping[str, MemoOf] = {
    "description": lambda report, line, advance: (line.description or None) if line is not None else None,
    "category": lambda report, line, advance: line.category if line is not None else None,
    "advance": lambda report, line, advance: advance.number if advance is not None else None,
    "number": lambda report, line, advance: report.number,
    "title": lambda report, line, advance: report.title or None,
    "employee": lambda report, line, advance: report.employee.name,
}
_FIELD = re.compile(r"\{([a-z]*)\}")


def _memo(template: str | None, at: str, findings: list[Finding]) -> MemoOf | None:
    """`{description} ({employee})` as a function."""
    if not template:
        return None
    parts = _FIELD.split(template)  # Text and field names take turns.
    for name in parts[1::2]:
        if name not in _MEMO_FIELDS:
            findings.append(
                bad(at, f"memo fields {', '.join(_MEMO_FIELDS)}", f"{{{name}}}", "correct the name in the braces")
            )
            return None
    if len(parts) == 3 and not parts[0] and not parts[2]:
        return _MEMO_FIELDS[parts[1]]
    pieces: list[str | MemoOf] = [part if i % 2 == 0 else _MEMO_FIELDS[part] for i, part in enumerate(parts)]

    def memo(report: ExpenseReport, line: Line | None, advance: AdvanceClaim | None) -> str | None:
        said = "".join(piece if isinstance(piece, str) else piece(report, line, advance) or "" for piece in pieces)
        return said[:1000].strip() or None

    return memo


def _check_accounts(
    rows: Sequence[AccountRow | RoleRow | PayableRow], chart: Mapping[str, ChartRow], findings: list[Finding]
) -> None:
    for row in rows:
        if row.account in chart:
            continue
        if row.account == EXPENSE_ACCOUNT and isinstance(row, RoleRow) and row.role == "non_deductible_tax":
            continue
        findings.append(
            bad(row.at, "an account of the chart", row.account, "add the account to the chart table, or correct it")
        )


T = TypeVar("T", bound=Row)


def _of(row_type: type[T], rows: Sequence[Row]) -> list[T]:
    assert all(isinstance(row, row_type) for row in rows)
    return cast(list[T], rows)


def _fingerprint(files: Mapping[str, bytes]) -> str:
    digest = sha256(f"arithmetic {ARITHMETIC}\n".encode())
    for name in sorted(files):
        digest.update(f"{name} {sha256(files[name]).hexdigest()}\n".encode())
    return digest.hexdigest()
