"""The draft of a voucher: its lines by the place of their rules, what is merged, and everything that is wrong at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from connector.spans import Spans
from connector.translate.book import AccountHit, Book, CompanyView, Pair, Rule, Scope
from connector.translate.dimensions import fill
from connector.translate.tables import EXPENSE_ACCOUNT, ExpressionFailed
from connector.translate.tax import Deduction
from contracts.amount import QUANTA, converted
from contracts.expense import AdvanceClaim, ExpenseReport, Line
from contracts.findings import Finding
from contracts.voucher import Role, Side, VoucherLine

ZERO = Decimal(0)
_NO_DIMENSIONS: Mapping[str, str] = {}
_COSTS: tuple[Role, ...] = ("expense", "accrual")
_PAIR_ROLES: tuple[Role, ...] = ("expense", "counterpart")

# Department, project and cost centre.
Place = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no voucher: everything that is wrong at once, and the keys of the book whose arrival would help."""

    findings: tuple[Finding, ...]
    waits_for: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """The error code the document is parked under: what it waits for first, else what is wrong first."""
        return self.findings[0].code


@dataclass(frozen=True, slots=True)
class Terms:
    """What the ledger settled before a report is translated: the posting day, the closed period it really belongs to,
    whether its cost was accrued there, and of its advances the currency and rate they were paid in and what a claim takes
    off them in the base currency, so that all claims and returns together take off what was paid; and which spans of an
    invoice are the report's, where that is not simply the first of it."""

    day: date | None = None
    origin_period: str | None = None
    accrued: bool = False
    advances: Mapping[str, tuple[str, Decimal]] = field(default_factory=dict)
    released: Mapping[str, Decimal] = field(default_factory=dict)
    invoices: Mapping[str, Spans] = field(default_factory=dict)


NO_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Part:
    """What one call of a rule gave to a voucher line; only made when somebody asks for the explanation."""

    rule: Rule
    key: tuple[object, ...] | None  # What merged lines share; None for a line of its own.
    hit: AccountHit
    amount: Decimal
    line: Line | None
    advance: AdvanceClaim | None
    deduction: Deduction | None
    share: Decimal | None
    place: Place
    allowance: Decimal | None = None  # The daily allowance times the days, where the line is above it.


@dataclass(slots=True)
class Source:
    """What voucher lines come from: a line of the report, an advance, or neither: the report as a whole.

    `currency` and `rate` where it is not in the base currency; `side` is where the cost of a line stands, `cost` what of
    it is neither tax nor personal.
    """

    place: Place
    line: Line | None = None
    index: int | None = None
    advance: AdvanceClaim | None = None
    currency: str | None = None
    rate: Decimal | None = None
    side: Side = "debit"
    deduction: Deduction | None = None
    cost: Decimal = ZERO


@dataclass(slots=True)
class _Sums:
    """A voucher line that others are merged into."""

    amount: Decimal
    foreign: Decimal | None
    rule: Rule
    side: Side
    hit: AccountHit
    dimensions: Mapping[str, str]
    currency: str | None
    rate: Decimal | None


def values_at(report: ExpenseReport, place: Place) -> Mapping[str, str | None]:
    """Each dimension's value as the report has it, for what belongs to this place."""
    department, project, cost_centre = place
    payee = report.payee
    return {
        "department": department,
        "employee": report.employee.id,
        "project": project,
        "cost_centre": cost_centre,
        "supplier": payee.id if payee is not None and payee.type == "supplier" else None,
    }


def place_of(report: ExpenseReport, index: int | None, place: Place) -> str:
    """The path of what belongs to this place: a line of the report, a part that it is shared out to, or the employee."""
    if index is None:
        return "employee"
    line = report.lines[index]
    for number, part in enumerate(line.allocations or ()):
        own = (part.department or line.department or report.employee.department, part.project or line.project,
               part.cost_centre or line.cost_centre)  # fmt: skip
        if own == place:
            return f"lines[{index}].allocations[{number}]"
    return f"lines[{index}]"


class Draft:
    """A voucher being written. What is wrong is collected in `findings`, so that one answer names everything."""

    __slots__ = (
        "_accrued", "_dimensions", "_expense", "_foreign", "_lines", "_merged", "_origin", "_pairs", "_parts", "_payees", "_rules", "_unit",
        "book",
        "day", "findings", "report", "terms", "view", "waits_for", "whole",
    )  # fmt: skip

    def __init__(
        self, report: ExpenseReport, book: Book, view: CompanyView, day: date, terms: Terms, parts: list[Part] | None
    ) -> None:
        self.report = report
        self.book = book
        self.view = view
        self.day = day
        self.terms = terms
        self.whole = Source((report.employee.department, None, None))
        self.findings: list[Finding] = []
        self.waits_for: list[str] = []
        self._unit = QUANTA[report.currency]
        self._rules = book.rules
        self._pairs = book.pairs
        self._origin = terms.origin_period
        self._accrued = terms.accrued
        expense = book.rules["expense"]
        # The rule of every cost line, where none needs choosing.
        self._expense = None if terms.accrued or expense.when is not None or expense.account is not None else expense
        self._parts = parts
        employee, payee = report.employee.id, report.payee
        self._payees: dict[Role, str] = {
            "advance": employee,
            "employee_payable": employee,
            "employee_receivable": employee,
        }
        if payee is not None and payee.type == "supplier":
            self._payees["supplier_payable"] = payee.id
        self._lines: dict[int, list[VoucherLine]] = {}
        # rule position, side, account, currency, rate and dimensions -> the sums.
        self._merged: dict[tuple[object, ...], _Sums] = {}
        self._dimensions: dict[tuple[int, Place], Mapping[str, str]] = {}
        # currency -> what the lines of the report say in it, less what the voucher's lines carry in it.
        self._foreign: dict[str, Decimal] = {}

    def base(self, amount: Decimal, rate: Decimal | None) -> Decimal:
        """An amount of a line's currency in the voucher's, in whole units of it."""
        if rate is None:
            return amount if amount.same_quantum(self._unit) else amount.quantize(self._unit, ROUND_HALF_UP)
        return converted(amount, rate, self._unit)

    def wrong(self, code: str, path: str, expected: str, got: str, fix: str, waits_for: str | None = None) -> None:
        """Notes what is wrong, and the key of the book whose arrival would help."""
        self.findings.append(Finding(code, f"data.{path}" if path else "data", expected, got, fix))
        if waits_for is not None:
            self.waits_for.append(waits_for)

    def stated(self, currency: str, amount: Decimal) -> None:
        """The report says so much in a currency; the voucher's lines are to carry it."""
        self._foreign[currency] = self._foreign.get(currency, ZERO) + amount

    def carried(self, currency: str, amount: Decimal) -> None:
        """So much of what the report says in a currency stands in the voucher, or is too little to stand there."""
        self.stated(currency, -amount)

    def cost(
        self, source: Source, category: str, amount: Decimal, foreign: Decimal | None, place: Place,
        share: Decimal | None = None, allowance: Decimal | None = None,
    ) -> None:  # fmt: skip
        """A cost on the account of its category, with the pairs that the book adds. `foreign` is the amount in the line's
        currency where that is another."""
        if not amount:
            self._too_little(source, foreign)
            return
        rule, hit = self._expense, self.view.account(category, place[0], self.day)
        if rule is None or hit is None:
            chosen = self._cost_account(source, category, amount, place[0])
            if chosen is None:
                return
            rule, hit = chosen
        self._post(rule, source.side, hit, amount, source, place, foreign, share, allowance)
        if self._pairs:
            scope = Scope(self.report, source.line, None, amount, hit.account, place[0])
            for pair in self._pairs:
                self._add_pair(pair, scope, source, place)

    def on_role(self, role: Role, side: Side, amount: Decimal, source: Source, foreign: Decimal | None = None) -> None:
        """A line on the account of a role, or, where somebody is owed or owes, on his own where the book has one."""
        if not amount:
            self._too_little(source, foreign)
            return
        view, place, payee = self.view, source.place, self._payees.get(role)
        hit = view.role(role, self.day) if payee is None else view.payable(role, payee, self.day)
        if hit is None:
            self._no_role(role)
            return
        if hit.account == EXPENSE_ACCOUNT:
            assert source.line is not None, "only taxes may use the account of their expense"
            chosen = self._cost_account(source, source.line.category, source.cost, place[0])
            if chosen is None:
                return
            hit = chosen[1]
        rule = self._rules.get(role)
        if rule is None or rule.when is not None or rule.account is not None:
            chosen = self._choose(rule, role, hit, source, amount, place[0])
            if chosen is None:
                return
            rule, hit = chosen
        self._post(rule, side, hit, amount, source, place, foreign)

    def lines(self) -> list[VoucherLine]:
        """The lines in the order of their rules, merged ones with their sums."""
        assert not any(self._foreign.values()), "what the report says in another currency stands in the voucher"
        for sums in self._merged.values():
            rule = sums.rule
            made = VoucherLine(
                sums.side, sums.hit.account, sums.amount, rule.role, sums.dimensions, None, rule.id, None, sums.currency,
                sums.foreign, sums.rate, self._origin if rule.role in _COSTS else None,
            )  # fmt: skip
            self._lines.setdefault(rule.position, []).append(made)
        lines: list[VoucherLine] = []
        for position in sorted(self._lines):
            lines += self._lines[position]
        return lines

    def _too_little(self, source: Source, foreign: Decimal | None) -> None:
        """Of an amount that is no cent of the base currency nothing stands in the voucher."""
        if foreign is not None and source.currency is not None and source.line is not None:
            self.carried(source.currency, foreign)

    def _cost_account(
        self, source: Source, category: str, amount: Decimal, department: str
    ) -> tuple[Rule, AccountHit] | None:
        """The rule and the account of a cost: its category's, or where it was accrued."""
        hit = self.view.account(category, department, self.day)
        if hit is None:
            key = f"{category}/{department}"
            self.wrong(
                "MAP-201", f"lines[{source.index}].category", f"an account for {key} in {self.report.company} on {self.day}",
                category, "add a row to the accounts table", f"account:{key}",
            )  # fmt: skip
            return None
        if self._expense is not None:
            return self._expense, hit
        role: Role = "expense"
        if self._accrued:
            role = "accrual"
            hit = self.view.role(role, self.day)
            if hit is None:
                self._no_role(role)
                return None
        return self._choose(self._rules.get(role), role, hit, source, amount, department)

    def _choose(
        self, rule: Rule | None, role: Role, hit: AccountHit, source: Source, amount: Decimal, department: str
    ) -> tuple[Rule, AccountHit] | None:
        """The first rule of the role whose condition holds, and its account; None with a finding where there is none."""
        scope = Scope(self.report, source.line, source.advance, amount, hit.account, department)
        try:
            while rule is not None and rule.when is not None and not rule.when(scope):
                rule = rule.otherwise
            if rule is None:
                self.wrong(
                    "MAP-215", "" if source.index is None else f"lines[{source.index}].category",
                    f"a rule for the role {role} whose condition holds", "none", "add a rule without a condition to the book",
                    f"rule:{role}",
                )  # fmt: skip
                return None
            if rule.account is None:
                return rule, hit
            account = rule.account(scope)
        except ExpressionFailed as error:
            at = rule.at if rule else "-"
            self.wrong("MAP-214", "", f"a value from the expression at {at}", str(error), "correct it", f"rule:{at}")
            return None
        found = self._known_account(account, rule.at)
        if found is None:
            expected = f"an account of the chart from the expression at {rule.at}"
            self.wrong("MAP-214", "", expected, account, "correct it", f"rule:{rule.at}")
            return None
        return rule, found

    def _known_account(self, account: str, at: str) -> AccountHit | None:
        """An account that a rule named, as the chart has it."""
        chart = self.book.chart.get(account)
        if chart is None:
            return None
        shape = self.book.shapes[chart.dimensions]
        return AccountHit(
            account, chart.dimensions, shape, {"en": chart.name_en, "zh": chart.name_zh}, at, date.min, date.max
        )

    def _add_pair(self, pair: Pair, scope: Scope, source: Source, place: Place) -> None:
        """The debit and the credit that a rule of the book adds for a cost line; for a seller's red invoice, and where the
        amount is below zero, on the other sides."""
        at = f"lines[{source.index}]"
        try:
            if pair.when is not None and not pair.when(scope):
                return
            amount = pair.amount(scope)
        except ExpressionFailed as error:
            expected = f"an amount from the pair at {pair.at}"
            self.wrong("MAP-214", at, expected, str(error), "correct it", f"rule:{pair.at}")
            return
        whole = self.base(amount, None)
        if whole != amount:
            expected = f"an amount in whole units of {self.report.currency} from {pair.at}"
            self.wrong("MAP-214", at, expected, f"{amount:f}", "round it in the expression", f"rule:{pair.at}")
            return
        cost, other = (
            Rule(pair.id, role, pair.merge, None, pair.at, pair.position, pair.title) for role in _PAIR_ROLES
        )
        sides: tuple[tuple[Side, Rule, str], ...] = (("debit", cost, pair.debit), ("credit", other, pair.credit))
        # Counted from `line.amount` the amount of a red invoice is below zero, from `amount` above: it is taken back in both.
        if whole < ZERO or source.side == "credit":
            sides = (("debit", other, pair.credit), ("credit", cost, pair.debit))
        whole = abs(whole)
        for side, rule, account in sides if whole else ():
            hit = self._known_account(account, pair.at)
            assert hit is not None, "loading the book made sure of its accounts"
            self._post(rule, side, hit, whole, Source(place, source.line, source.index), place)

    def _no_role(self, role: Role) -> None:
        key = f"{role}/{self.report.company}"
        self.wrong(
            "MAP-204",
            "",
            f"an account for {key} on {self.day}",
            "none",
            "add a row to the roles table",
            f"role:{key}",
        )

    def _post(
        self, rule: Rule, side: Side, hit: AccountHit, amount: Decimal, source: Source, place: Place,
        foreign: Decimal | None = None, share: Decimal | None = None, allowance: Decimal | None = None,
    ) -> None:  # fmt: skip
        """Writes one voucher line, or adds to the line it is merged into."""
        line = source.line
        dimensions = _NO_DIMENSIONS
        if hit.dimensions:
            known = self._dimensions.get((hit.shape, place))
            dimensions = known if known is not None else self._fill(hit, source.index, place)
        currency = rate = None
        if foreign is not None:
            currency, rate = source.currency, source.rate
            if currency is None:
                foreign = None
            elif line is not None:
                self.carried(currency, foreign)
        key: tuple[object, ...] | None = None
        position = rule.position
        if rule.merge:
            key = (position, side, hit.account, currency, rate, *dimensions.items())
            sums = self._merged.get(key)
            if sums is None:
                self._merged[key] = _Sums(amount, foreign, rule, side, hit, dimensions, currency, rate)
            else:
                sums.amount += amount
                if foreign is not None and sums.foreign is not None:
                    sums.foreign += foreign
        else:
            memo = rule.memo
            made = VoucherLine(
                side, hit.account, amount, rule.role, dimensions,
                None if memo is None else memo(self.report, line, source.advance),
                rule.id, None if line is None else line.line, currency, foreign, rate,
                self._origin if rule.role in _COSTS else None,
            )  # fmt: skip
            others = self._lines.get(position)
            if others is None:
                self._lines[position] = [made]
            else:
                others.append(made)
        if self._parts is not None:
            self._parts.append(
                Part(rule, key, hit, amount, line, source.advance, source.deduction, share, place, allowance)
            )  # fmt: skip

    def _fill(self, hit: AccountHit, index: int | None, place: Place) -> Mapping[str, str]:
        """The dimensions the account wants, from this line; findings where one it requires is missing."""
        wrong = len(self.findings)
        values, at = values_at(self.report, place), place_of(self.report, index, place)
        filled = fill(hit, values, self.view, self.day, at, self.findings, self.waits_for)
        if len(self.findings) == wrong:
            self._dimensions[hit.shape, place] = filled
        return filled
