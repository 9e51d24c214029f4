"""Message translator: approved expense report in, voucher out. Pure: equal reports and equal books make equal vouchers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

from connector.translate.allocation import allocate
from connector.translate.book import AccountHit, Book, CompanyView, Pair, Rule, Scope
from connector.translate.reference import make_reference
from connector.translate.tables import EXPENSE_ACCOUNT, ExpressionFailed
from connector.translate.tax import Claimed, Deduction, deduct
from contracts.amount import quantum
from contracts.expense import AdvanceClaim, ExpenseReport, Line, PaidBy
from contracts.findings import Finding, limited
from contracts.voucher import LINES_MAX, DocumentRef, Role, Side, Voucher, VoucherLine

DOCUMENT_TYPE = "expense.report"
_ZERO = Decimal(0)
_NO_OFFSET = timedelta(0)
_NO_DIMENSIONS: Mapping[str, str] = {}
_COSTS: tuple[Role, ...] = ("expense", "accrual")
_PAYABLE: tuple[tuple[PaidBy, Role], ...] = (("company_card", "card_clearing"), ("supplier", "supplier_payable"))


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
    off them in the base currency, so that all claims and returns together take off what was paid."""

    day: date | None = None
    origin_period: str | None = None
    accrued: bool = False
    advances: Mapping[str, tuple[str, Decimal]] = field(default_factory=dict)
    released: Mapping[str, Decimal] = field(default_factory=dict)


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
    allowance: Decimal | None = None  # The daily allowance times the days, where the line is above it.


def to_voucher(
    report: ExpenseReport, book: Book, *, reference_max: int = 32, terms: Terms = NO_TERMS
) -> Voucher | Refusal:
    """The balanced voucher that posts this report by this book, or everything that stands in its way.

    A missing row never falls back to another account: the refusal names the key it waits for.
    """
    return compile_report(report, book, reference_max=reference_max, terms=terms)


def posting_day(report: ExpenseReport, view: CompanyView | None) -> date:
    """The posting date where the report states one, else the day of its last expense or of its approval, as the company
    has it."""
    if report.posting_date is not None:
        return report.posting_date
    if view is not None and view.row.posting_day == "expense":
        return max(line.date for line in report.lines)
    return approval_day(report, view)


def approval_day(report: ExpenseReport, view: CompanyView | None) -> date:
    """The local day of the approval: as written with its offset, or, where it is written in UTC, the day in the company's
    time zone."""
    approved = report.approved_at
    if view is not None and view.time_zone is not None and approved.utcoffset() == _NO_OFFSET:
        return approved.astimezone(view.time_zone).date()
    return approved.date()


def compile_report(
    report: ExpenseReport,
    book: Book,
    *,
    reference_max: int = 32,
    terms: Terms = NO_TERMS,
    parts: list[Part] | None = None,
) -> Voucher | Refusal:
    """`to_voucher`, and where `parts` is given, why: one part for each call of a rule, in the order of the calls."""
    view = view_of(report, book)
    if view is None:
        return _unknown_company(report)
    day = terms.day or posting_day(report, view)
    if view.currency != report.currency:
        return Refusal((
            Finding(
                "MAP-203", "data.currency", f"{view.currency}, the base currency of {report.company} ({view.at})", report.currency,
                "send the report in the company's base currency, with the rate on each line",
            ),
        ))  # fmt: skip
    unit = quantum(report.currency)
    assert unit is not None, "a report in an unknown currency cannot be built"
    draft = _Draft(report, book, view, day, unit, terms, parts)
    for index, line in enumerate(report.lines):
        draft.line(index, line)
    if not draft.findings:
        draft.settle()
    if draft.findings:
        return Refusal(tuple(limited(list(dict.fromkeys(draft.findings)))), tuple(dict.fromkeys(draft.waits_for)))
    return draft.voucher(reference_max)


def view_of(report: ExpenseReport, book: Book) -> CompanyView | None:
    """The book as the report's company sees it."""
    return book.view(report.company, report.posting_date or report.approved_at.date())


def _unknown_company(report: ExpenseReport) -> Refusal:
    finding = Finding(
        "MAP-213",
        "data.company",
        "a company of the mapping book",
        report.company,
        "add it to the companies table",
    )
    return Refusal((finding,), (f"company:{report.company}",))


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

    def as_line(self, origin: str | None) -> VoucherLine:
        """The line with the sums."""
        role = self.rule.role
        return VoucherLine(
            self.side, self.hit.account, self.amount, role, self.dimensions, None, self.rule.id, None, self.currency,
            self.foreign, self.rate, origin if role in _COSTS else None,
        )  # fmt: skip


class _Draft:
    """A voucher being written: lines by the place of their rule, merged sums, what is owed to whom, what is wrong."""

    __slots__ = (
        "_book", "_booked", "_claimed", "_dimensions", "_expense", "_foreign", "_lines", "_merged", "_origin", "_owed", "_parts", "_report",
        "_rules", "_terms", "_unit", "_view", "day", "findings", "waits_for",
    )  # fmt: skip

    def __init__(
        self, report: ExpenseReport, book: Book, view: CompanyView, day: date, unit: Decimal, terms: Terms,
        parts: list[Part] | None,
    ) -> None:  # fmt: skip
        self._report = report
        self._book = book
        self._view = view
        self._rules = book.rules
        self._terms = terms
        self._unit = unit
        self._parts = parts
        self.day = day
        self.findings: list[Finding] = []
        self.waits_for: list[str] = []
        self._lines: dict[int, list[VoucherLine]] = {}
        # rule position, side, account, currency and dimensions -> the sums.
        self._merged: dict[tuple[object, ...], _Sums] = {}
        self._origin = terms.origin_period
        expense = book.rules["expense"]
        # The rule of every cost line, where none needs choosing.
        self._expense = None if terms.accrued or expense.when is not None or expense.account is not None else expense
        # currency -> what the lines of the report say in it, less what the voucher's lines carry in it.
        self._foreign: dict[str, Decimal] = {}
        self._dimensions: dict[tuple[int, str, str | None, str | None], Mapping[str, str]] = {}
        self._owed: dict[str, Decimal] = {}
        self._booked = _ZERO
        self._claimed: dict[str, Claimed] = {}

    def line(self, index: int, line: Line) -> None:
        """Writes the cost, the tax and the personal part of one line, and notes who is owed its amount."""
        amount = line.amount
        invoice = line.invoice
        red = invoice is not None and invoice.kind == "red_special"
        if amount <= _ZERO or red:
            if not amount and not red:
                return
            if (amount < _ZERO) is not red:
                expected = (
                    "an amount below zero" if red else "an amount above zero, or a seller's red invoice (red_special)"
                )
                self._wrong(
                    "MAP-208",
                    f"lines[{index}].amount",
                    expected,
                    f"{amount:f}",
                    "claim a refund with the red invoice behind it",
                )
                return
            amount = -amount
        deduction = None
        personal = line.personal or _ZERO
        if invoice is not None and invoice.kind != "none":
            row = self._view.tax(line.category, invoice.kind, invoice.date or line.date)
            if row is None:
                self._no_tax_rule(index, line, invoice.kind)
                return
            answer = deduct(line, invoice, row, amount, amount - personal, self._claimed)
            if answer is not None and isinstance(answer, Finding):
                self._wrong(answer.code, f"lines[{index}].{answer.path}", answer.expected, answer.got, answer.fix)
                return
            deduction = answer
        if line.currency == self._report.currency:
            rate = None
            booked = amount if amount.same_quantum(self._unit) else amount.quantize(self._unit)
        else:
            assert line.rate is not None, "a report without its rates cannot be built"
            rate = line.rate.value
            booked = (amount * rate).quantize(self._unit, ROUND_HALF_UP)
            self._foreign[line.currency] = self._foreign.get(line.currency, _ZERO) + (-amount if red else amount)
        self._write(index, line, booked, personal, rate, deduction, "credit" if red else "debit")
        if red:
            booked = -booked
        self._booked += booked
        self._owed[line.paid_by] = self._owed.get(line.paid_by, _ZERO) + booked

    def _write(
        self,
        index: int,
        line: Line,
        booked: Decimal,
        personal: Decimal,
        rate: Decimal | None,
        deduction: Deduction | None,
        side: Side,
    ) -> None:
        """The lines of one expense: cost (shared out where it is allocated), tax, personal part. They add to `booked`."""
        cost = booked  # Without a rate, the line's amounts are in the voucher's currency already.
        foreign = None if rate is None else abs(line.amount) - personal
        if personal:
            owed = self._base(personal, rate)
            cost -= owed
            if owed:
                self._post_role("employee_receivable", "debit", owed, line, index, foreign=personal, rate=rate)
            elif rate is not None:
                self._carried(line.currency, personal, "debit")
        if deduction is not None:
            tax, stays = deduction.tax, deduction.non_deductible
            if rate is not None:
                # Each part is rounded on its own; where they are next to nothing, together they may be above the whole.
                tax = min(self._base(tax, rate), cost)
                stays = min(self._base(stays, rate), tax)
            cost -= tax
            if foreign is not None:
                foreign -= deduction.tax
            kept = deduction.non_deductible
            if tax != stays:
                self._post_role(
                    deduction.role, side, tax - stays, line, index, deduction, None, None, deduction.tax - kept, rate
                )
            elif rate is not None:
                self._carried(line.currency, deduction.tax - kept, side)
            if stays:
                self._post_role("non_deductible_tax", side, stays, line, index, deduction, None, None, kept, rate)
            elif kept and rate is not None:
                self._carried(line.currency, kept, side)
        if self._book.per_diems and side == "debit":
            above = self._above(line, line.amount - personal)
            if above is not None:
                self._split_allowance(index, line, cost, foreign, rate, deduction, *above)
                return
        if line.allocations is None and cost:
            department = line.department or self._report.employee.department
            self._post_cost(
                index, line, line.category, cost, foreign, rate, deduction, side, department, line.project,
                line.cost_centre, None, None,
            )  # fmt: skip
        else:
            self._cost(index, line, line.category, cost, foreign, rate, deduction, side)

    def _above(self, line: Line, amount: Decimal) -> tuple[Decimal, str] | None:
        """The daily allowance of the line's days and the category of what is above it, where the line is above it."""
        row = self._view.per_diem(line.category, line.currency, line.date)
        if row is None:
            return None
        allowed = row.daily * (line.days or 1)
        return None if amount <= allowed else (allowed, row.above)

    def _split_allowance(
        self, index: int, line: Line, cost: Decimal, foreign: Decimal | None, rate: Decimal | None,
        deduction: Deduction | None, allowed: Decimal, above: str,
    ) -> None:  # fmt: skip
        """The allowance goes to the line's own category, the rest to the category of what is above."""
        if foreign is None:
            within = min(self._base(allowed, None), cost)
            self._cost(index, line, line.category, within, None, rate, deduction, "debit", allowance=allowed)
            self._cost(index, line, above, cost - within, None, rate, deduction, "debit", allowance=allowed)
            return
        within, foreign_within = min(self._base(allowed, rate), cost), min(allowed, foreign)
        self._cost(index, line, line.category, within, foreign_within, rate, deduction, "debit", allowance=allowed)
        self._cost(
            index, line, above, cost - within, foreign - foreign_within, rate, deduction, "debit", allowance=allowed
        )

    def _cost(
        self, index: int, line: Line, category: str, cost: Decimal, foreign: Decimal | None, rate: Decimal | None,
        deduction: Deduction | None, side: Side, allowance: Decimal | None = None,
    ) -> None:  # fmt: skip
        """The cost of a line on a category's account, shared out where the line is allocated."""
        if line.allocations is not None:
            self._share_out(index, line, category, cost, foreign, rate, deduction, side, allowance)
        elif cost:
            department = line.department or self._report.employee.department
            self._post_cost(
                index, line, category, cost, foreign, rate, deduction, side, department, line.project, line.cost_centre,
                None, allowance,
            )  # fmt: skip
        elif foreign:
            self._carried(line.currency, foreign, side)

    def _base(self, amount: Decimal, rate: Decimal | None) -> Decimal:
        """An amount of the line's currency in the voucher's."""
        if rate is None:
            return amount if amount.same_quantum(self._unit) else amount.quantize(self._unit)
        return (amount * rate).quantize(self._unit, ROUND_HALF_UP)

    def _share_out(
        self,
        index: int,
        line: Line,
        category: str,
        cost: Decimal,
        foreign: Decimal | None,
        rate: Decimal | None,
        deduction: Deduction | None,
        side: Side,
        allowance: Decimal | None,
    ) -> None:
        assert line.allocations is not None
        shares = [part.share for part in line.allocations]
        costs = allocate(cost, shares, self._unit)
        foreigns: list[Decimal] | list[None] = [None] * len(shares)
        if foreign is not None:
            foreign_unit = quantum(line.currency)
            assert foreign_unit is not None
            foreigns = allocate(foreign, shares, foreign_unit)
        for place, part in enumerate(line.allocations):
            department = part.department or line.department or self._report.employee.department
            if costs[place]:
                self._post_cost(
                    index, line, category, costs[place], foreigns[place], rate, deduction, side, department,
                    part.project or line.project, part.cost_centre or line.cost_centre, part.share, allowance,
                )  # fmt: skip
            elif foreigns[place]:
                self._carried(
                    line.currency, foreigns[place] or _ZERO, side
                )  # Too little to be a cent of the base currency.

    def _post_cost(
        self, index: int, line: Line, category: str, amount: Decimal, foreign: Decimal | None, rate: Decimal | None,
        deduction: Deduction | None, side: Side, department: str, project: str | None, cost_centre: str | None,
        share: Decimal | None, allowance: Decimal | None,
    ) -> None:  # fmt: skip
        hit = self._view.account(category, department, self.day)
        if hit is None:
            self._no_account(index, category, department)
            return
        rule = self._expense
        if rule is None:
            accrued = self._terms.accrued
            chosen = (
                self._accrued(hit, line, amount, department) if accrued else self._chosen(hit, line, amount, department)
            )
            if chosen is None:
                return
            rule, hit = chosen
        dimensions = self._dimensions.get((hit.shape, department, project, cost_centre))
        if dimensions is None:
            dimensions = self._fill(hit, index, department, project, cost_centre)
        self._post(rule, side, amount, hit, dimensions, line, None, deduction, share, foreign, rate, allowance)
        if self._book.pairs:
            scope = Scope(self._report, line, None, amount, hit.account, department)
            for pair in self._book.pairs:
                self._add_pair(pair, scope, index, line, department, project, cost_centre)

    def _chosen(
        self, hit: AccountHit, line: Line, amount: Decimal, department: str
    ) -> tuple[Rule, AccountHit] | None:  # fmt: skip
        return self._choose(self._rules["expense"], "expense", hit, line, None, amount, department)

    def _accrued(
        self, hit: AccountHit, line: Line, amount: Decimal, department: str
    ) -> tuple[Rule, AccountHit] | None:  # fmt: skip
        """The account on which the cost was accrued in its own period."""
        accrual = self._view.role("accrual", self.day)
        if accrual is None:
            self._no_role("accrual")
            return None
        return self._choose(self._rules.get("accrual"), "accrual", accrual, line, None, amount, department)

    def _choose(
        self, rule: Rule | None, role: Role, hit: AccountHit, line: Line | None, advance: AdvanceClaim | None,
        amount: Decimal, department: str,
    ) -> tuple[Rule, AccountHit] | None:  # fmt: skip
        """The first rule of the role whose condition holds, and its account; None with a finding where there is none."""
        scope = Scope(self._report, line, advance, amount, hit.account, department)
        try:
            while rule is not None and rule.when is not None and not rule.when(scope):
                rule = rule.otherwise
            if rule is None:
                at = "" if line is None else f"lines[{self._report.lines.index(line)}].category"
                self._wrong(
                    "MAP-215", at, f"a rule for the role {role} whose condition holds", "none",
                    "add a rule without a condition to the book",
                )  # fmt: skip
                self.waits_for.append(f"rule:{role}")
                return None
            if rule.account is None:
                return rule, hit
            account = rule.account(scope)
        except ExpressionFailed as error:
            self._wrong(
                "MAP-214", "", f"a value from the expression at {rule.at if rule else '-'}", str(error), "correct it"
            )
            return None
        found = self._known_account(account, rule.at)
        if found is None:
            self._wrong(
                "MAP-214", "", f"an account of the chart from the expression at {rule.at}", account, "correct it"
            )
            return None
        return rule, found

    def _known_account(self, account: str, at: str) -> AccountHit | None:
        """An account that a rule named, as the chart has it."""
        chart = self._book.chart.get(account)
        if chart is None:
            return None
        shape = hash(("named", *chart.dimensions))
        return AccountHit(
            account, chart.dimensions, shape, {"en": chart.name_en, "zh": chart.name_zh}, at, date.min, date.max
        )

    def _add_pair(
        self, pair: Pair, scope: Scope, index: int, line: Line, department: str, project: str | None, cost_centre: str | None
    ) -> None:  # fmt: skip
        """The debit and the credit that a rule of the book adds for a cost line."""
        try:
            if pair.when is not None and not pair.when(scope):
                return
            amount = pair.amount(scope)
        except ExpressionFailed as error:
            self._wrong("MAP-214", f"lines[{index}]", f"an amount from the pair at {pair.at}", str(error), "correct it")
            return
        if not amount.same_quantum(self._unit):
            rounded = amount.quantize(self._unit)
            if rounded != amount:
                self._wrong(
                    "MAP-214", f"lines[{index}]", f"an amount in whole units of {self._report.currency} from {pair.at}",
                    f"{amount:f}", "round it in the expression",
                )  # fmt: skip
                return
            amount = rounded
        if not amount:
            return
        rule = Rule(pair.id, "expense", pair.merge, None, pair.at, pair.position, pair.title)
        sides: tuple[tuple[Side, str], ...] = (("debit", pair.debit), ("credit", pair.credit))
        if amount < _ZERO:
            sides, amount = (("debit", pair.credit), ("credit", pair.debit)), -amount
        for side, account in sides:
            hit = self._known_account(account, pair.at)
            assert hit is not None, "loading the book made sure of its accounts"
            dimensions = self._fill(hit, index, department, project, cost_centre)
            self._post(rule, side, amount, hit, dimensions, line, None, None, None, None, None)

    def _no_account(self, index: int, category: str, department: str) -> None:
        key = f"{category}/{department}"
        self._wrong(
            "MAP-201", f"lines[{index}].category", f"an account for {key} in {self._report.company} on {self.day}", category,
            "add a row to the accounts table",
        )  # fmt: skip
        self.waits_for.append(f"account:{key}")

    def _no_role(self, role: Role) -> None:
        key = f"{role}/{self._report.company}"
        self._wrong(
            "MAP-204",
            "",
            f"an account for {key} on {self.day}",
            "none",
            "add a row to the roles table",
        )
        self.waits_for.append(f"role:{key}")

    def _post_role(
        self, role: Role, side: Side, amount: Decimal, line: Line | None = None, index: int | None = None,
        deduction: Deduction | None = None, advance: AdvanceClaim | None = None, payee: str | None = None,
        foreign: Decimal | None = None, rate: Decimal | None = None,
    ) -> None:  # fmt: skip
        """A line on the account of a role. Its dimensions come from the report, and from the line where there is one."""
        view = self._view
        hit = view.role(role, self.day) if payee is None else view.payable(role, payee, self.day)
        department = (
            self._report.employee.department if line is None else line.department or self._report.employee.department
        )
        if hit is not None and hit.account == EXPENSE_ACCOUNT:
            assert line is not None, "only taxes may use the account of their expense"
            assert index is not None
            hit = self._view.account(line.category, department, self.day)
            if hit is None:
                self._no_account(index, line.category, department)
                return
        if hit is None:
            self._no_role(role)
            return
        rule = self._rules.get(role)
        if rule is None or rule.when is not None or rule.account is not None:
            chosen = self._choose(rule, role, hit, line, advance, amount, department)
            if chosen is None:
                return
            rule, hit = chosen
        dimensions = _NO_DIMENSIONS
        if hit.dimensions:
            project, cost_centre = (None, None) if line is None else (line.project, line.cost_centre)
            known = self._dimensions.get((hit.shape, department, project, cost_centre))
            dimensions = known or self._fill(hit, index, department, project, cost_centre)
        if rate is None:
            foreign = None
        self._post(rule, side, amount, hit, dimensions, line, advance, deduction, None, foreign, rate)

    def _fill(
        self, hit: AccountHit, index: int | None, department: str, project: str | None, cost_centre: str | None
    ) -> Mapping[str, str]:
        """The dimensions the account wants, from this line; a finding where one it requires is missing."""
        filled: dict[str, str] = {}
        whole = True
        for name, required in hit.dimensions:
            value: str | None
            if name == "department":
                value = department
            elif name == "employee":
                value = self._report.employee.id
            elif name == "project":
                value = project
            elif name == "cost_centre":
                value = cost_centre
            else:
                payee = self._report.payee
                value = payee.id if payee is not None and payee.type == "supplier" else None
            if value is not None and self._book.dimensions and self._view.translates(name):
                target = self._view.dimension(name, value, self.day)
                if target is None:
                    whole = False
                    key = f"{name}/{value}"
                    at = f"employee.{name}" if index is None else f"lines[{index}].{name}"
                    self._wrong(
                        "MAP-216", at, f"a row for {key} on {self.day}", value, "add a row to the dimensions table"
                    )  # fmt: skip
                    self.waits_for.append(f"dimension:{key}")
                    continue
                value = target
            if value is not None:
                filled[name] = value
            elif required:
                whole = False
                at = (
                    "payee" if name == "supplier" else f"employee.{name}" if index is None else f"lines[{index}].{name}"
                )
                self._wrong(
                    "MAP-209",
                    at,
                    f"a {name}: account {hit.account} requires it",
                    "nothing",
                    "fill it in, or let the chart not require it",
                )
        if whole:
            self._dimensions[hit.shape, department, project, cost_centre] = filled
        return filled

    def _post(
        self, rule: Rule, side: Side, amount: Decimal, hit: AccountHit, dimensions: Mapping[str, str], line: Line | None,
        advance: AdvanceClaim | None, deduction: Deduction | None, share: Decimal | None, foreign: Decimal | None, rate: Decimal | None,
        allowance: Decimal | None = None,
    ) -> None:  # fmt: skip
        """Writes one voucher line, or adds to the line it is merged into."""
        currency = None
        if rate is not None and foreign is not None:
            claim = line or advance
            assert claim is not None, "what has a rate comes from a line or an advance"
            currency = claim.currency
            if line is not None:
                self._carried(line.currency, foreign, side)
        key: tuple[object, ...] | None = None
        position = rule.position
        if rule.merge:
            key = (position, side, hit.account, currency, rate, *dimensions.items())
            sums = self._merged.get(key)
            if sums is None:
                self._merged[key] = _Sums(amount, foreign, rule, side, hit, dimensions, currency, rate)
            else:
                sums.amount += amount
                if foreign is not None:
                    sums.foreign = foreign + (sums.foreign or _ZERO)
        else:
            memo = rule.memo
            made = VoucherLine(
                side, hit.account, amount, rule.role, dimensions,
                None if memo is None else memo(self._report, line, advance),
                rule.id, None if line is None else line.line, currency, foreign, rate,
                self._origin if rule.role in _COSTS else None,
            )  # fmt: skip
            place = self._lines.get(position)
            if place is None:
                self._lines[position] = [made]
            else:
                place.append(made)
        if self._parts is not None:
            self._parts.append(Part(rule, key, hit, amount, line, advance, deduction, share, allowance))

    def _carried(self, currency: str, foreign: Decimal, side: Side) -> None:
        """So much of what the report says in a currency stands in the voucher."""
        left = self._foreign.get(currency, _ZERO)
        self._foreign[currency] = left - foreign if side == "debit" else left + foreign

    def settle(self) -> None:
        """Writes what is owed: advances first, the rest to the employee, the card company, the supplier."""
        report, owed = self._report, self._owed
        if self._booked != report.total:
            self._round(report.total - self._booked)
        balance = owed.get("employee", _ZERO)
        employee = report.employee.id
        for index, advance in enumerate(report.advances):
            if advance.currency is None or advance.currency == report.currency:
                used = self._base(advance.amount, None)
                self._post_role("advance", "credit", used, advance=advance, payee=employee)
            else:
                used = self._release(index, advance)
            balance -= used
        if balance > _ZERO:
            self._post_role("employee_payable", "credit", balance, payee=employee)
        elif balance < _ZERO:
            self._post_role("employee_receivable", "debit", -balance, payee=employee)
        if len(owed) > 1 or "employee" not in owed:
            supplier = report.payee.id if report.payee is not None and report.payee.type == "supplier" else None
            for paid_by, role in _PAYABLE:
                amount = owed.get(paid_by, _ZERO)
                if amount:
                    side: Side = "credit" if amount > _ZERO else "debit"
                    payee = supplier if role == "supplier_payable" else None
                    self._post_role(role, side, abs(amount), payee=payee)

    def _release(self, index: int, advance: AdvanceClaim) -> Decimal:
        """A claim on an advance in another currency: the advance falls by its historical rate, what the claim counts for
        today pays the employee's costs, and the difference is a gain or a loss. Gives what it counts for today."""
        assert advance.currency is not None
        assert advance.rate is not None, "a claim without its rate cannot be built"
        used = self._base(advance.amount, advance.rate.value)
        known = self._terms.advances.get(advance.number)
        paid_rate = advance.paid_rate if advance.paid_rate is not None else known[1] if known is not None else None
        if paid_rate is None:
            self._wrong(
                "ACC-301", f"advances[{index}].paid_rate", f"the rate that {advance.number} was paid at", "nothing",
                "publish the advance, or state its rate",
            )  # fmt: skip
            self.waits_for.append(f"advance:{advance.number}")
            return used
        released = self._terms.released.get(advance.number)
        if released is None:
            released = self._base(advance.amount, paid_rate)
        if released:
            self._post_role(
                "advance", "credit", released, advance=advance, payee=self._report.employee.id, foreign=advance.amount,
                rate=paid_rate,
            )  # fmt: skip
        if used != released:
            side: Side = "credit" if used > released else "debit"
            self._post_role("exchange_difference", side, abs(used - released), advance=advance)
        return used

    def _round(self, residue: Decimal) -> None:
        """What converting line by line leaves between the lines and the total (a cent per converted line at most) goes to a
        line of its own."""
        converted = [line for line in self._report.lines if line.currency != self._report.currency]
        assert abs(residue) <= self._unit * len(converted), (
            "a report that does not re-add within the cap cannot be built"
        )
        tolerance = self._view.tolerance(self.day)
        if tolerance is not None and abs(residue) > tolerance.rounding_max:
            self._wrong(
                "MAP-211", "total", f"a rounding difference of at most {tolerance.rounding_max:f} ({tolerance.at})",
                f"{abs(residue):f}", "correct the lines or the total, or widen the tolerance",
            )  # fmt: skip
            return
        self._post_role("rounding", "debit" if residue > _ZERO else "credit", abs(residue))
        payer = max(
            converted, key=lambda line: line.amount * (line.rate.value if line.rate is not None else _ZERO)
        ).paid_by
        self._owed[payer] = self._owed.get(payer, _ZERO) + residue

    def voucher(self, reference_max: int) -> Voucher | Refusal:
        """The lines in the order of their rules, as a voucher."""
        report = self._report
        for sums in self._merged.values():
            self._lines.setdefault(sums.rule.position, []).append(sums.as_line(self._origin))
        uneven = next((currency for currency, left in self._foreign.items() if left), None)
        assert uneven is None, f"what the report says in {uneven} stands in the voucher"
        lines: list[VoucherLine] = []
        for position in sorted(self._lines):
            lines += self._lines[position]
        if not 2 <= len(lines) <= LINES_MAX:
            got = "nothing to book" if not lines else f"{len(lines)} lines"
            return Refusal(
                (
                    Finding(
                        "MAP-212",
                        "data.lines",
                        f"2 to {LINES_MAX} voucher lines",
                        got,
                        "withdraw the report, or split it",
                    ),
                )
            )
        # What is debited is what is credited: building the voucher makes sure of it.
        total = sum([line.amount for line in lines if line.side == "debit"], _ZERO)
        reference = make_reference(report.company, report.number, report.version, "post", reference_max)
        document = DocumentRef(DOCUMENT_TYPE, report.number, report.version)
        return Voucher(
            report.company,
            reference,
            document,
            "post",
            self.day,
            report.currency,
            tuple(lines),
            total,
            total,
            report.title or None,
        )

    def _no_tax_rule(self, index: int, line: Line, kind: str) -> None:
        key = f"{kind}/{line.category}"
        on = line.invoice.date if line.invoice is not None and line.invoice.date is not None else line.date
        self._wrong(
            "MAP-205",
            f"lines[{index}].invoice.kind",
            f"a tax rule for {key} on {on}",
            kind,
            "add a row to the tax table",
        )
        self.waits_for.append(f"tax:{key}")

    def _wrong(self, code: str, path: str, expected: str, got: str, fix: str) -> None:
        self.findings.append(Finding(code, f"data.{path}" if path else "data", expected, got, fix))
