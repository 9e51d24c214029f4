"""The mapping book in force: its rules, and its tables as each company sees them. Every answer is looked up, none searched for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, Generic, cast
from zoneinfo import ZoneInfo

from connector.translate.tables import (
    ANY,
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
    ranked,
)
from contracts.expense import AdvanceClaim, ExpenseReport, Line
from contracts.voucher import Role

STARTERS = Path(__file__).parent / "starters"  # Books to begin with, by their chart: chinese, international.
STARTER = STARTERS / "chinese"
BOOK_FILE = "book.yaml"
CACHED_LOOKUPS_MAX = 50_000  # Answers kept per company; more keys than this start over.

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
    _accounts: dict[tuple[str, str], Sequence[AccountHit]] = field(default_factory=dict)
    _roles: dict[Role, Sequence[AccountHit]] = field(default_factory=dict)
    _payables: dict[tuple[Role, str], Sequence[AccountHit]] = field(default_factory=dict)
    _taxes: dict[tuple[str, str], Sequence[TaxRow]] = field(default_factory=dict)
    _rows: dict[tuple[type[Row], tuple[str, ...]], Sequence[Row]] = field(default_factory=dict)

    def account(self, category: str, department: str, on: date) -> AccountHit | None:
        """The account for a category of expense in a department on a posting day."""
        hits = self._accounts.get((category, department))
        if hits is None:
            hits = self._hits(AccountRow, category, department)
            _remember(self._accounts, (category, department), hits)
        for hit in hits:
            if hit.valid_from <= on <= hit.valid_to:
                return hit
        return None

    def role(self, role: Role, on: date) -> AccountHit | None:
        """The account of a role on a posting day; one named `(expense)` stands for the expense line's own."""
        hits = self._roles.get(role)
        if hits is None:
            hits = self._hits(RoleRow, role)
            _remember(self._roles, role, hits)
        for hit in hits:
            if hit.valid_from <= on <= hit.valid_to:
                return hit
        return None

    def payable(self, role: Role, payee: str, on: date) -> AccountHit | None:
        """The account of a role for this payee on a posting day: the payables table's where it has a row, else the role's."""
        if self._book.payables:
            hits = self._payables.get((role, payee))
            if hits is None:
                hits = self._hits(PayableRow, payee, role)
                _remember(self._payables, (role, payee), hits)
            for hit in hits:
                if hit.valid_from <= on <= hit.valid_to:
                    return hit
        return self.role(role, on)

    def tax(self, category: str, kind: str, on: date) -> TaxRow | None:
        """The tax rule for a kind of invoice and a category on the invoice's day."""
        rows = self._taxes.get((category, kind))
        if rows is None:
            rows = self._book.rows_for(TaxRow, category, kind, self.company)
            _remember(self._taxes, (category, kind), rows)
        for row in rows:
            if row.valid_from <= on <= row.valid_to:
                return row
        return None

    def translates(self, dimension: str) -> bool:
        """Whether the dimensions table has rows for this dimension."""
        return dimension in self._book.translated

    def dimension(self, dimension: str, value: str, on: date) -> str | None:
        """What a dimension's value is called in the ERP on a posting day; None where its table has no row for it."""
        row = self.dimension_row(dimension, value, on)
        return None if row is None else value if row.target == ANY else row.target

    def dimension_row(self, dimension: str, value: str, on: date) -> DimensionRow | None:
        """The row that says what a dimension's value is called in the ERP on a posting day."""
        return self._row(DimensionRow, on, dimension, value)

    def per_diem(self, category: str, currency: str, on: date) -> PerDiemRow | None:
        """The daily allowance of a category in a currency on the day of the expense."""
        return self._row(PerDiemRow, on, category, currency) if self._book.per_diems else None

    def period_rule(self, document: str, on: date) -> PeriodRow | None:
        """What happens to a document whose posting day lies in a closed period."""
        return self._row(PeriodRow, on, document)

    def tolerance(self, on: date) -> ToleranceRow | None:
        """The largest rounding difference of a document."""
        return self._row(ToleranceRow, on)

    def _hits(
        self, row_type: type[AccountRow] | type[RoleRow] | type[PayableRow], *wanted: str
    ) -> Sequence[AccountHit]:
        return tuple(self._book.hit(row.account, row) for row in self._book.rows_for(row_type, *wanted, self.company))

    def _row(self, row_type: type[RowT], on: date, *wanted: str) -> RowT | None:
        key = (row_type, wanted)
        rows = cast(Sequence[RowT] | None, self._rows.get(key))
        if rows is None:
            rows = self._book.rows_for(row_type, *wanted, self.company)
            _remember(self._rows, key, rows)
        for row in rows:
            if row.valid_from <= on <= row.valid_to:
                return row
        return None


def _remember(cache: dict[Any, Any], key: Any, answer: Any) -> None:
    if len(cache) >= CACHED_LOOKUPS_MAX:
        cache.clear()
    cache[key] = answer


class _Index(Generic[RowT]):
    """Rows by what they are chosen by. A question is answered in a few steps, however many rows there are."""

    def __init__(self, rows: Iterable[RowT]) -> None:
        self._by_key: dict[tuple[str, ...], list[RowT]] = {}
        for row in rows:
            self._by_key.setdefault(row.key(), []).append(row)

    def rows_for(self, wanted: Sequence[str]) -> list[RowT]:
        keys = product(*((part, ANY) if part != ANY else (ANY,) for part in wanted))
        return ranked(row for key in keys for row in self._by_key.get(key, ()))


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
    payables: Sequence[PayableRow] = ()
    dimensions: Sequence[DimensionRow] = ()
    per_diems: Sequence[PerDiemRow] = ()
    periods: Sequence[PeriodRow] = ()
    tolerances: Sequence[ToleranceRow] = ()
    pairs: Sequence[Pair] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    tables: Mapping[str, Sequence[str]] = field(default_factory=dict)  # The files of each table.
    translated: frozenset[str] = field(init=False)  # The dimensions that have rows.
    _indexes: Mapping[type[Row], _Index[Any]] = field(init=False)
    _views: dict[str, tuple[CompanyView, ...]] = field(default_factory=dict)
    shapes: Mapping[tuple[tuple[str, bool], ...], int] = field(init=False)

    def __post_init__(self) -> None:
        # Accounts that want the same dimensions have one number: what was filled in for one is right for the others.
        self.shapes = {
            wanted: 1 + at for at, wanted in enumerate(dict.fromkeys(row.dimensions for row in self.chart.values()))
        }
        self.translated = frozenset(row.dimension for row in self.dimensions)
        self._indexes = {
            CompanyRow: _Index(self.companies), AccountRow: _Index(self.accounts), RoleRow: _Index(self.roles),
            TaxRow: _Index(self.taxes), PayableRow: _Index(self.payables), DimensionRow: _Index(self.dimensions),
            PerDiemRow: _Index(self.per_diems), PeriodRow: _Index(self.periods), ToleranceRow: _Index(self.tolerances),
        }  # fmt: skip

    def rows_for(self, row_type: type[RowT], *wanted: str) -> Sequence[RowT]:
        """The rows of a table that answer for these values of its key columns, in the order in which they are asked."""
        return self._indexes[row_type].rows_for(wanted)

    def view(self, company: str, on: date) -> CompanyView | None:
        """The book as this company sees it on a day; None where the book does not know the company."""
        views = self._views.get(company)
        if views is None:
            views = tuple(
                CompanyView(row.currency, row.time_zone, row.at, company, row.valid_from, row.valid_to, row, self)
                for row in self.rows_for(CompanyRow, company)
            )
            _remember(self._views, company, views)
        for view in views:
            if view.valid_from <= on <= view.valid_to:
                return view
        return None

    def hit(self, account: str, row: Row) -> AccountHit:
        """The answer a row gives."""
        chart = self.chart.get(account)
        if chart is None:  # `(expense)`: loading made sure that every other account is in the chart.
            return AccountHit(account, (), 0, {}, row.at, row.valid_from, row.valid_to)
        shape = self.shapes[chart.dimensions]
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
        return sorted({row.category for row in self.accounts} - {ANY})
