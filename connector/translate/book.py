"""The mapping book: rules and tables that a finance consultant writes, checked whole, hashed, and compiled once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from connector.translate.tables import (
    ANY,
    EXPENSE_ACCOUNT,
    OPTIONAL_ROW_TYPES,
    ROW_TYPES,
    ROWS_MAX,
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
    near,
    overlaps,
    ranked,
    read_table,
)
from connector.translate.tables import BookRefused as BookRefused  # It is a book that is refused.
from connector.translate.yaml_text import Place, read_yaml
from contracts.expense import AdvanceClaim, ExpenseReport, Line
from contracts.findings import Finding
from contracts.voucher import Role

if TYPE_CHECKING:
    from connector.translate.expression import Wanted

STARTERS = Path(__file__).parent / "starters"  # Books to begin with, by their chart: chinese, international.
STARTER = STARTERS / "chinese"
BOOK_FILE = "book.yaml"
FILE_BYTES_MAX = 32 * 1024 * 1024
BOOK_BYTES_MAX = 1024 * 1024
FILES_MAX = 100  # Of one table: a group may keep one for each company.
RULES_MAX = 200
CACHED_LOOKUPS_MAX = 50_000  # Answers kept per company; more keys than this start over.
# Raise it when the same book makes other vouchers than before: postings record which arithmetic made them.
ARITHMETIC = "1"

_TABLES: Mapping[str, type[Row]] = {**ROW_TYPES, **OPTIONAL_ROW_TYPES}

MemoOf = Callable[[ExpenseReport, Line | None, AdvanceClaim | None], str | None]


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
    tables: Mapping[str, Sequence[str]] = field(default_factory=dict)  # The files of each table.
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


Id = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.-]{0,59}$")]
Title = Annotated[Mapping[str, str], Field(default_factory=dict)]
FileNames = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+\.(csv|xlsx)$")], ...],
    BeforeValidator(lambda names: [part.strip() for part in names.split(",")] if isinstance(names, str) else names),
    Field(min_length=1, max_length=FILES_MAX),
]


class _RuleText(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id
    role: Role
    when: str | None = None
    account: str | None = None
    priority: int = Field(default=0, ge=-1000, le=1000)
    merge: bool = False
    memo: Annotated[str, StringConstraints(max_length=200)] | None = None
    title: Title


class _PairText(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id
    when: str | None = None
    debit: str
    credit: str
    amount: str
    merge: bool = False
    title: Title


class _BookText(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]
    version: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    title: Title
    tables: Mapping[str, FileNames]
    rules: Annotated[list[_RuleText], Field(min_length=1, max_length=RULES_MAX)]
    pairs: Annotated[list[_PairText], Field(max_length=RULES_MAX)] = Field(default_factory=list)


# Which of `line` and `advance` a voucher line of a role always comes from.
_PRESENT: Mapping[Role, tuple[str, ...]] = {
    **dict.fromkeys(
        ("expense", "accrual", "non_deductible_tax", "input_tax", "pending_tax", "tax_transfer_out"), ("line",)
    ),
    **dict.fromkeys(("advance", "exchange_difference"), ("advance",)),
}
# Roles that every book has a rule for; a book without advances in other currencies, accruals or payments needs no more.
_ROLES: tuple[Role, ...] = (
    "expense", "non_deductible_tax", "input_tax", "pending_tax", "tax_transfer_out", "rounding",
    "employee_receivable", "advance", "employee_payable", "card_clearing", "supplier_payable",
)  # fmt: skip


def load_book(path: Path | None = None) -> Book:
    """The mapping book in this folder, or the starter book. Raises BookRefused with everything that is wrong in it."""
    folder = STARTER if path is None else path

    def from_disk(name: str, bytes_max: int) -> bytes | Finding:
        try:
            with (folder / name).open("rb") as file:
                return file.read(bytes_max + 1)
        except OSError as error:
            return bad(name, f"a readable file in {folder.name}", error.strerror or str(error), "add the file")

    return _read_book(from_disk)


def read_book(files: Mapping[str, bytes]) -> Book:
    """The mapping book in these files, by name: `read_book(book.files)` is the same book, its fingerprint too.
    Raises BookRefused like `load_book`."""

    def from_memory(name: str, bytes_max: int) -> bytes | Finding:
        return files.get(name, bad(name, "a file of the book", "none", "add the file"))

    return _read_book(from_memory)


def _read_book(fetch: Callable[[str, int], bytes | Finding]) -> Book:
    findings: list[Finding] = []
    files = _Files(fetch, findings)
    content = files.read(BOOK_FILE, BOOK_BYTES_MAX)
    read = _book_text(content, findings) if content is not None else None
    if read is None:
        raise BookRefused(findings)
    text, marks = read
    tables = {name: _table(files, text, marks, name, findings) for name in ROW_TYPES}
    tables |= {
        name: _table(files, text, marks, name, findings) if name in text.tables else [] for name in OPTIONAL_ROW_TYPES
    }
    chart = {row.account: row for row in _of(ChartRow, tables["chart"])}
    rules = _rules(text, marks, chart, findings)
    pairs = _pairs(text, marks, chart, findings)
    accounts, roles = _of(AccountRow, tables["accounts"]), _of(RoleRow, tables["roles"])
    payables, dimensions = _of(PayableRow, tables["payables"]), _of(DimensionRow, tables["dimensions"])
    per_diems = _of(PerDiemRow, tables["per_diem"])
    by_category: dict[str, list[AccountRow]] = {}
    for row in accounts:
        by_category.setdefault(row.category, []).append(row)
    _check_accounts([*accounts, *roles, *payables], chart, findings)
    _check_allowances(per_diems, by_category, findings)
    if findings:
        raise BookRefused(findings)
    return Book(
        text.name, text.version, _fingerprint(files.known), rules, _of(CompanyRow, tables["companies"]), chart, accounts, roles,
        _of(TaxRow, tables["tax"]), _with_fallback(by_category), payables, dimensions, per_diems,
        _of(PeriodRow, tables["periods"]), _of(ToleranceRow, tables["tolerances"]), pairs,
        translated=frozenset(row.dimension for row in dimensions), files=files.known, tables=text.tables,
    )  # fmt: skip


class _Files:
    """The files of a book as they are asked for: each is read once, and remembered under its name."""

    def __init__(self, fetch: Callable[[str, int], bytes | Finding], findings: list[Finding]) -> None:
        self._fetch = fetch
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
            findings.append(_text_fault(f"{BOOK_FILE}:{marks.get(place, 1)}", detail))
    return None


def _text_fault(at: str, detail: ErrorDetails) -> Finding:
    """What pydantic found wrong in book.yaml, with the name that was meant where one is near."""
    place = detail["loc"]
    last = place[-1] if place else ""
    if detail["type"] == "extra_forbidden":
        texts: Mapping[str, type[BaseModel]] = {"rules": _RuleText, "pairs": _PairText}
        known = (texts.get(str(place[0]), _BookText) if len(place) > 1 else _BookText).model_fields
        return bad(at, f"keys {', '.join(known)}", str(last), near(str(last), known, "remove the key"))
    name, got = ".".join(map(str, place)) or "book", detail["input"]
    fix = near(got, get_args(Role), "correct it") if last == "role" and isinstance(got, str) else "correct it"
    return bad(at, f"{name}: {detail['msg']}", repr(got)[:80], fix)


def _table(files: _Files, text: _BookText, marks: Mapping[Place, int], name: str, findings: list[Finding]) -> list[Row]:
    """The rows of all files of a table, in the order of the files."""
    if name not in text.tables:
        findings.append(bad(BOOK_FILE, f"a table named {name!r}", "none", f"add `{name}: {name}.csv` under tables"))
        return []
    row_type = _TABLES[name]
    rows: list[Row] = []
    for file in dict.fromkeys(text.tables[name]):
        content = files.read(file, FILE_BYTES_MAX)
        if content is None:
            continue
        if file.endswith(".xlsx"):
            from connector.translate.sheets import read_sheet  # most books have none

            rows += read_sheet(file, name, content, row_type, findings)
        else:
            rows += read_table(file, content, row_type, findings)
    if len(rows) > ROWS_MAX:
        at = f"{BOOK_FILE}:{marks.get(('tables', name), 1)}"
        findings.append(bad(at, f"at most {ROWS_MAX} rows in {name}", str(len(rows)), "split the book by company"))
    overlaps(rows, findings)
    return rows


def _rules(
    text: _BookText, marks: Mapping[Place, int], chart: Mapping[str, ChartRow], findings: list[Finding]
) -> Mapping[Role, Rule]:
    """For each role the rule that is asked first; the others hang on it. A higher priority is asked first, then the file's
    order."""
    chains: dict[Role, list[Rule]] = {}
    ids: set[str] = set()
    order = sorted(range(len(text.rules)), key=lambda place: -text.rules[place].priority)
    for position in order:
        rule = text.rules[position]
        at = f"{BOOK_FILE}:{marks.get(('rules', position), 1)}"
        _check_id(rule.id, at, ids, findings)
        earlier = chains.setdefault(rule.role, [])
        if earlier and text.rules[earlier[-1].position].when is None:
            findings.append(
                bad(
                    at, f"one rule per role, or a condition (when) on {earlier[-1].id}, which is asked before",
                    f"{rule.id} for {rule.role}, which no line can reach", "add the condition, or remove one of them",
                )
            )  # fmt: skip
        place = ("rules", position)
        earlier.append(
            Rule(
                rule.id, rule.role, rule.merge, _memo(rule.memo, at, findings), at, position, rule.title,
                _expression(rule.when, "boolean", (*place, "when"), _PRESENT.get(rule.role, ()), marks, findings),
                _named_account(rule, (*place, "account"), marks, chart, findings),
            )
        )  # fmt: skip
    for role in _ROLES:
        if role not in chains:
            findings.append(bad(BOOK_FILE, f"a rule for the role {role}", "none", "add it under rules"))
    for name in sorted(text.tables.keys() - _TABLES.keys()):
        at = f"{BOOK_FILE}:{marks.get(('tables', name), 1)}"
        findings.append(bad(at, f"tables {', '.join(_TABLES)}", name, near(name, _TABLES, "remove it")))
    return {role: _chained(rules) for role, rules in chains.items()}


def _chained(rules: Sequence[Rule]) -> Rule:
    last: Rule | None = None
    for rule in reversed(rules):
        last = replace(rule, otherwise=last)
    assert last is not None, "a role is known by its rules"
    return last


def _pairs(
    text: _BookText, marks: Mapping[Place, int], chart: Mapping[str, ChartRow], findings: list[Finding]
) -> tuple[Pair, ...]:
    ids = {rule.id for rule in text.rules}
    pairs: list[Pair] = []
    for position, pair in enumerate(text.pairs):
        place = ("pairs", position)
        at = f"{BOOK_FILE}:{marks.get(place, 1)}"
        _check_id(pair.id, at, ids, findings)
        for side, account in (("debit", pair.debit), ("credit", pair.credit)):
            if account not in chart:
                line = marks.get((*place, side), 1)
                findings.append(_not_in_chart(f"{BOOK_FILE}:{line}", account, chart))
        amount = _expression(pair.amount, "number", (*place, "amount"), ("line",), marks, findings)
        when = _expression(pair.when, "boolean", (*place, "when"), ("line",), marks, findings)
        if amount is not None:
            # Behind the rules, so that its lines stand below theirs.
            where = len(text.rules) + position
            pairs.append(Pair(pair.id, pair.debit, pair.credit, amount, when, pair.merge, at, where, pair.title))
    return tuple(pairs)


def _check_id(name: str, at: str, ids: set[str], findings: list[Finding]) -> None:
    if name in ids:
        findings.append(bad(at, "one rule per id", name, "rename one of them"))
    ids.add(name)


def _expression(
    source: str | None, wants: Wanted, place: Place, present: Sequence[str], marks: Mapping[Place, int], findings: list[Finding],
    constants: set[str] | None = None,
) -> Callable[[Scope], Any] | None:  # fmt: skip
    """The expression at a place of book.yaml, ready to be asked; None with a finding where it is no sound one."""
    if source is None:
        return None
    from connector.translate.expression import ExpressionRefused, compile_expression  # most rules have no condition

    try:
        compiled = compile_expression(source, f"{BOOK_FILE}:{marks.get(place, 1)}", wants, present)
    except ExpressionRefused as refused:
        findings.extend(refused.findings)
        return None
    if constants is not None:
        constants |= compiled.constants
    return compiled.evaluate


def _named_account(
    rule: _RuleText, place: Place, marks: Mapping[Place, int], chart: Mapping[str, ChartRow], findings: list[Finding]
) -> Callable[[Scope], str] | None:
    """The account that a rule names: an account of the chart as it stands there, or an expression that gives one."""
    if rule.account is None:
        return None
    if rule.account in chart:
        fixed = rule.account
        return lambda scope: fixed
    at = f"{BOOK_FILE}:{marks.get(place, 1)}"
    if _CODE.fullmatch(rule.account):
        findings.append(_not_in_chart(at, rule.account, chart))
        return None
    constants: set[str] = set()
    found = _expression(rule.account, "text", place, _PRESENT.get(rule.role, ()), marks, findings, constants)
    findings.extend(_not_in_chart(at, account, chart) for account in sorted(constants - chart.keys()))
    return found


_CODE = re.compile(r"[0-9][A-Za-z0-9._-]*")  # An account as it stands: no expression begins so.


def _not_in_chart(at: str, account: str, chart: Mapping[str, ChartRow]) -> Finding:
    return bad(
        at,
        "an account of the chart",
        account,
        near(account, chart, "add the account to the chart table, or correct it"),
    )


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


def _check_allowances(
    rows: Sequence[PerDiemRow], by_category: Mapping[str, Sequence[AccountRow]], findings: list[Finding]
) -> None:
    for row in rows:
        if row.above not in by_category and ANY not in by_category:
            findings.append(
                bad(
                    row.at,
                    "above: a category of the accounts table",
                    row.above,
                    near(row.above, by_category, "add it there"),
                )
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
