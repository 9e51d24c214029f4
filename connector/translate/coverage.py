"""Which rules and rows of a mapping book were used, and which never can be. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise, product
from operator import attrgetter

from connector.translate.book import BOOK_FILE, Book, Rule
from connector.translate.tables import ANY, AccountRow, DimensionRow, Reference, Row
from connector.translate.trace import LineTrace
from connector.translate.voucher import Refusal, posting_day, view_of
from contracts.advance import AdvancePaid, AdvanceReturned
from contracts.expense import ExpenseReport
from contracts.findings import FINDINGS_MAX, Finding
from contracts.voucher import Voucher

ADVICE = "MAP-218"
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Item:
    """A rule or a row: what it is chosen by, where it stands, and how many vouchers it had a part in."""

    table: str
    key: str
    at: str
    used: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """Every rule and every row of every table."""

    items: tuple[Item, ...]

    @property
    def rules(self) -> tuple[Item, ...]:
        """The rules, pairs of lines included."""
        return tuple(item for item in self.items if item.table in ("rules", "pairs"))

    @property
    def rows(self) -> tuple[Item, ...]:
        """The rows of the tables."""
        return tuple(item for item in self.items if item.table not in ("rules", "pairs"))

    @property
    def unused(self) -> tuple[Item, ...]:
        """What no voucher needed."""
        return tuple(item for item in self.items if not item.used)

    @property
    def percent(self) -> int:
        """How much of all was used, rounded down: 100 means everything."""
        return 100 * (len(self.items) - len(self.unused)) // len(self.items)


def measure(book: Book, uses: Iterable[Iterable[str]]) -> Coverage:
    """How often each rule and row was used, by the places that the vouchers used (`used_by`)."""
    times = Counter(at for places in uses for at in places)
    return Coverage(tuple(Item(table, key, at, times[at]) for table, key, at in _everything(book)))


def used_by(report: ExpenseReport, book: Book, voucher: Voucher, traces: Iterable[LineTrace]) -> frozenset[str]:
    """The places of the book that made this voucher: its company, its accounts, and what its trace tells."""
    view = view_of(report, book)
    company = () if view is None else (view.at,)
    return frozenset((*company, *_of_chart(book, voucher), *(place for trace in traces for place in trace.places)))


def used_by_advance(advance: AdvancePaid | AdvanceReturned, book: Book, voucher: Voucher) -> frozenset[str]:
    """The places of the book that made the voucher of an advance."""
    view = book.view(advance.company, voucher.date)
    assert view is not None, "the company was known a moment ago"
    hits = (view.payable(line.role, advance.employee.id, voucher.date) for line in voucher.lines)
    written_by = {line.rule for line in voucher.lines}
    rules = (rule.at for rule in rules_of(book) if rule.id in written_by)
    return frozenset((view.at, *_of_chart(book, voucher), *(hit.at for hit in hits if hit is not None), *rules))


def refused_by(report: ExpenseReport, book: Book, refusal: Refusal, day: date | None) -> frozenset[str]:
    """The row of the tolerances that stood in a report's way: to refuse is what it is for."""
    view = view_of(report, book)
    if view is None or all(finding.code != "MAP-211" for finding in refusal.findings):
        return frozenset()
    tolerance = view.tolerance(day or posting_day(report, view))
    return frozenset() if tolerance is None else frozenset((tolerance.at,))


def _of_chart(book: Book, voucher: Voucher) -> Iterator[str]:
    return (book.chart[line.account].at for line in voucher.lines)


def unanswered(
    book: Book, categories: Iterable[tuple[str, str]], departments: Iterable[tuple[str, str]], on: date
) -> list[tuple[str, str, str]]:
    """Company, category and department that no row of the accounts table answers on this day; `*` stands for every one of
    the company's departments."""
    by_company: dict[str, set[str]] = {}
    for company, department in departments:
        by_company.setdefault(company, set()).add(department)
    found: list[tuple[str, str, str]] = []
    for company, category in sorted(set(categories)):
        view = book.view(company, on)
        all_ = sorted(by_company.get(company, ()))
        open_ = [name for name in all_ if view is None or view.account(category, name, on) is None]
        found += [(company, category, name) for name in ([ANY] if open_ == all_ else open_)]
    return found


def untranslated(book: Book, values: Iterable[tuple[str, str, str]], on: date) -> list[tuple[str, str, str]]:
    """Company, dimension and value that the dimensions table has no row for on this day, though it has some of the dimension."""
    found: list[tuple[str, str, str]] = []
    for company, dimension, value in sorted(set(values)):
        view = book.view(company, on)
        if view is not None and view.translates(dimension) and view.dimension(dimension, value, on) is None:
            found.append((company, dimension, value))
    return found


def strangers(book: Book, values: Iterable[tuple[str, str, str]], on: date) -> list[Finding]:
    """Rows of this day for a department, or another value of a dimension, that the master data of their company does not
    have, though it has some. `values` are company, dimension and value."""
    known: dict[tuple[str, str], set[str]] = {}
    for company, dimension, value in values:
        known.setdefault((company, dimension), set()).add(value)
        known.setdefault((ANY, dimension), set()).add(value)
    named: dict[tuple[str, str], list[AccountRow | DimensionRow]] = {}
    rows: tuple[AccountRow | DimensionRow, ...] = (*book.accounts, *book.dimensions)
    for row in rows:
        if row.valid_from <= on <= row.valid_to:
            dimension = "department" if isinstance(row, AccountRow) else row.dimension
            named.setdefault((row.company, dimension), []).append(row)
    return [
        finding
        for (company, dimension), those in named.items()
        if (company, dimension) in known
        for finding in _unknown(
            those,
            Reference(
                dimension,
                f"a {dimension} of the master data",
                lambda row: row.department if isinstance(row, AccountRow) else row.value,
                known[company, dimension] | {ANY},
                "correct it, or leave it so",
            ),
        )
    ]


def rules_of(book: Book) -> Iterator[Rule]:
    """Every rule, those of one role in the order in which they are tried."""
    for first in book.rules.values():
        rule: Rule | None = first
        while rule is not None:
            yield rule
            rule = rule.otherwise


def tables_of(book: Book) -> Mapping[str, Sequence[Row]]:
    """The rows of each table by the table's name."""
    return {
        "companies": book.companies, "chart": list(book.chart.values()), "accounts": book.accounts, "roles": book.roles,
        "tax": book.taxes, "payables": book.payables, "dimensions": book.dimensions, "per_diem": book.per_diems,
        "periods": book.periods, "tolerances": book.tolerances,
    }  # fmt: skip


def _everything(book: Book) -> Iterator[tuple[str, str, str]]:
    for rule in rules_of(book):
        yield "rules", rule.id, rule.at
    for pair in book.pairs:
        yield "pairs", pair.id, pair.at
    for table, rows in tables_of(book).items():
        for row in rows:
            yield table, "/".join(row.key()), row.at


def advice(book: Book) -> list[Finding]:
    """What a sound book has that nobody can have meant: rows that are never chosen, accounts nobody books on, gaps."""
    found = [
        finding for table, rows in tables_of(book).items() if table != "chart" for finding in _of_table(table, rows)
    ]
    return found + _unknown_codes(book) + _idle_accounts(book) + _open_roles(book) + _unread_memos(book)


def _unknown_codes(book: Book) -> list[Finding]:
    """Rows for a company, category or department that its own table does not have: they are never chosen."""
    codes = {
        "company": ("a company of the companies table", {row.company for row in book.companies}),
        "category": ("a category of the accounts table", {row.category for row in book.accounts}),
        "department": (
            "a department of the dimensions table",
            {row.value for row in book.dimensions if row.dimension == "department"},
        ),
    }
    references = [
        Reference(column, what, attrgetter(column), known | {ANY}, "remove the row, or add it there")
        for column, (what, known) in codes.items()
        if known and ANY not in known
    ]
    return [
        finding
        for rows in tables_of(book).values()
        for reference in references
        if rows and reference.column in rows[0].keys
        for finding in _unknown(rows, reference)
    ]


def _unknown(rows: Iterable[Row], reference: Reference) -> Iterator[Finding]:
    found = ((row, named) for row in rows if (named := reference.unknown(row)) is not None)
    for told, (row, named) in enumerate(found):
        fix = reference.near(named) if told < FINDINGS_MAX else reference.otherwise
        yield _advice(row.at, reference.what, named, fix)


def _of_table(table: str, rows: Sequence[Row]) -> Iterator[Finding]:
    by_key: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        by_key.setdefault(row.key(), []).append(row)
    layers = {key: _layers(group) for key, group in by_key.items()}
    for key, group in by_key.items():
        # Rows for the same question or a wider one: each part is this key's or `*`.
        wider = [layer for wide in product(*({part, ANY} for part in key)) for layer in layers.get(wide, ())]
        yield from _hidden(table, "/".join(key), group, wider)
        yield from _gaps(table, "/".join(key), group, wider)


class _Layer:
    """The rows of one key and one priority. No two of them hold on the same day: a book with such rows is refused."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = sorted(rows, key=lambda row: row.valid_from)
        self._starts = [row.valid_from for row in self._rows]
        self._ends = [row.valid_to for row in self._rows]  # of all that follow each other without a gap
        for place in range(len(rows) - 2, -1, -1):
            if self._starts[place + 1] - self._ends[place] == _DAY:
                self._ends[place] = self._ends[place + 1]
        self.rank = rows[0].rank()

    def on(self, day: date) -> Row | None:
        """The row of this day."""
        place = bisect_right(self._starts, day) - 1
        return self._rows[place] if place >= 0 and self._rows[place].valid_to >= day else None

    def end(self, day: date) -> date | None:
        """The last day from this one on without a gap; None where there is no row on this day."""
        return None if self.on(day) is None else self._ends[bisect_right(self._starts, day) - 1]

    def start(self, day: date) -> date | None:
        """The first day after this one on which a row begins."""
        place = bisect_right(self._starts, day)
        return self._starts[place] if place < len(self._starts) else None


def _layers(rows: Sequence[Row]) -> list[_Layer]:
    by_priority: dict[int, list[Row]] = {}
    for row in rows:
        by_priority.setdefault(row.priority, []).append(row)
    return list(map(_Layer, by_priority.values()))


def _hidden(table: str, key: str, group: Sequence[Row], wider: Sequence[_Layer]) -> Iterator[Finding]:
    for row in group:
        above = [layer for layer in wider if layer.rank > row.rank()]
        if _gap(row.valid_from, row.valid_to, above) is None:
            first = max((layer.rank, hider.at) for layer in above if (hider := layer.on(row.valid_from)) is not None)
            fix = "remove it, or lower the other's priority"
            yield _advice(row.at, f"a day that is left to {table} {key}", f"hidden by {first[1]}", fix)


def _gaps(table: str, key: str, group: Sequence[Row], wider: Sequence[_Layer]) -> Iterator[Finding]:
    for earlier, later in pairwise(sorted(group, key=lambda row: row.valid_from)):
        if later.valid_from <= earlier.valid_to:
            continue
        start, end = earlier.valid_to + _DAY, later.valid_from - _DAY
        gap = _gap(start, end, wider) if start <= end else None
        if gap is not None:
            days, fix = f"nothing from {gap[0]} to {gap[1]}", "join the dates, or leave it so"
            yield _advice(later.at, f"{table} {key} without a gap after {earlier.at}", days, fix)


def _gap(start: date, end: date, layers: Sequence[_Layer]) -> tuple[date, date] | None:
    """The first days of this span that none of the layers covers."""
    day = start
    while ends := [last for layer in layers if (last := layer.end(day)) is not None]:
        if max(ends) >= end:
            return None
        day = max(ends) + _DAY
    starts = [begins - _DAY for layer in layers if (begins := layer.start(day)) is not None]
    return day, min([*starts, end])


def _idle_accounts(book: Book) -> list[Finding]:
    used = {row.account for row in book.accounts} | {row.account for row in book.roles}
    used |= {row.account for row in book.payables}
    used |= {account for pair in book.pairs for account in (pair.debit, pair.credit)}
    written = book.files.get(BOOK_FILE, b"").decode("utf-8", "replace")  # An expression may name an account.
    return [
        _advice(
            row.at, f"a row or rule that books on {row.account}", "none", "remove the account, or map something to it"
        )
        for row in book.chart.values()
        if row.account not in used and row.account not in written
    ]


def _open_roles(book: Book) -> list[Finding]:
    lasts = [(role, rules[-1]) for role, rules in _chains(book)]
    return [
        _advice(last.at, f"a last rule for {role} without a condition", "only conditions", "add one")
        for role, last in lasts
        if last.when is not None
    ]


def _unread_memos(book: Book) -> list[Finding]:
    """A line that others are merged into has no text of its own."""
    return [
        _advice(rule.at, "no memo beside merge: yes", "a memo that no line carries", "leave out one of the two")
        for _, rules in _chains(book)
        for rule in rules
        if rule.merge and rule.memo is not None
    ]


def _chains(book: Book) -> Iterator[tuple[str, list[Rule]]]:
    """The rules of each role, in the order in which they are asked."""
    for role, first in book.rules.items():
        rules = [first]
        while (later := rules[-1].otherwise) is not None:
            rules.append(later)
        yield role, rules


def _advice(at: str, expected: str, got: str, fix: str) -> Finding:
    return Finding(ADVICE, at, expected, got, fix)
