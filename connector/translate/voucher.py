"""Message translator: approved expense report in, voucher out. Pure: equal reports and equal books make equal vouchers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

from connector.translate.allocation import allocate
from connector.translate.book import AccountHit, Book, CompanyView, Rule
from connector.translate.reference import make_reference
from connector.translate.tables import EXPENSE_ACCOUNT
from connector.translate.tax import Claimed, Deduction, deduct
from contracts.amount import quantum
from contracts.expense import AdvanceClaim, ExpenseReport, Line, PaidBy
from contracts.findings import Finding, limited
from contracts.voucher import LINES_MAX, DocumentRef, Role, Side, Voucher, VoucherLine

DOCUMENT_TYPE = "expense.report"
_ZERO = Decimal(0)
_NO_OFFSET = timedelta(0)
_NO_DIMENSIONS: Mapping[str, str] = {}
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


def to_voucher(report: ExpenseReport, book: Book, *, reference_max: int = 32) -> Voucher | Refusal:
    """The balanced voucher that posts this report by this book, or everything that stands in its way.

    A missing row never falls back to another account: the refusal names the key it waits for.
    """
    return compile_report(report, book, reference_max=reference_max)


def posting_day(report: ExpenseReport, view: CompanyView | None) -> date:
    """The posting date where the report states one, else the local day of its approval: as written with its offset, or,
    where it is written in UTC, the day in the company's time zone."""
    approved = report.approved_at
    if report.posting_date is not None:
        return report.posting_date
    if view is not None and view.time_zone is not None and approved.utcoffset() == _NO_OFFSET:
        return approved.astimezone(view.time_zone).date()
    return approved.date()


def compile_report(
    report: ExpenseReport, book: Book, *, reference_max: int = 32, parts: list[Part] | None = None
) -> Voucher | Refusal:
    """`to_voucher`, and where `parts` is given, why: one part for each call of a rule, in the order of the calls."""
    view = book.view(report.company, report.posting_date or report.approved_at.date())
    if view is None:
        return _unknown_company(report)
    day = posting_day(report, view)
    if view.currency != report.currency:
        return Refusal((
            Finding(
                "MAP-203", "data.currency", f"{view.currency}, the base currency of {report.company} ({view.at})", report.currency,
                "send the report in the company's base currency, with the rate on each line",
            ),
        ))  # fmt: skip
    unit = quantum(report.currency)
    assert unit is not None, "a report in an unknown currency cannot be built"
    draft = _Draft(report, book, view, day, unit, parts)
    for index, line in enumerate(report.lines):
        draft.line(index, line)
    if not draft.findings:
        draft.settle()
    if draft.findings:
        return Refusal(tuple(limited(list(dict.fromkeys(draft.findings)))), tuple(dict.fromkeys(draft.waits_for)))
    return draft.voucher(reference_max)


def _unknown_company(report: ExpenseReport) -> Refusal:
    finding = Finding(
        "MAP-213",
        "data.company",
        "a company of the mapping book",
        report.company,
        "add it to the companies table, then replay",
    )
    return Refusal((finding,), (f"company:{report.company}",))


class _Draft:
    """A voucher being written: lines by the place of their rule, merged sums, what is owed to whom, what is wrong."""

    __slots__ = (
        "_booked", "_claimed", "_dimensions", "_lines", "_merged", "_owed", "_parts", "_report", "_rules", "_unit",
        "_view", "day", "findings", "waits_for",
    )  # fmt: skip

    def __init__(
        self, report: ExpenseReport, book: Book, view: CompanyView, day: date, unit: Decimal, parts: list[Part] | None
    ) -> None:
        self._report = report
        self._view = view
        self._rules = book.rules
        self._unit = unit
        self._parts = parts
        self.day = day
        self.findings: list[Finding] = []
        self.waits_for: list[str] = []
        self._lines: dict[int, list[VoucherLine]] = {}
        # rule position, side, account and dimensions -> the sum, and what the line is made of.
        self._merged: dict[tuple[object, ...], tuple[Decimal, Rule, Side, AccountHit, Mapping[str, str]]] = {}
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
                self._post_role("employee_receivable", "debit", owed, line, index)
        if deduction is not None:
            tax, stays = deduction.tax, deduction.non_deductible
            if rate is not None:
                tax, stays = self._base(tax, rate), self._base(stays, rate)
            cost -= tax
            if foreign is not None:
                foreign -= deduction.tax
            if tax - stays:
                self._post_role(deduction.role, side, tax - stays, line, index, deduction)
            if stays:
                self._post_role("non_deductible_tax", side, stays, line, index, deduction)
        if line.allocations is not None:
            self._share_out(index, line, cost, foreign, rate, deduction, side)
        elif cost:
            department = line.department or self._report.employee.department
            self._post_cost(
                index, line, cost, foreign, rate, deduction, side, department, line.project, line.cost_centre, None
            )

    def _base(self, amount: Decimal, rate: Decimal | None) -> Decimal:
        """An amount of the line's currency in the voucher's."""
        if rate is None:
            return amount if amount.same_quantum(self._unit) else amount.quantize(self._unit)
        return (amount * rate).quantize(self._unit, ROUND_HALF_UP)

    def _share_out(
        self,
        index: int,
        line: Line,
        cost: Decimal,
        foreign: Decimal | None,
        rate: Decimal | None,
        deduction: Deduction | None,
        side: Side,
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
                    index, line, costs[place], foreigns[place], rate, deduction, side, department,
                    part.project or line.project, part.cost_centre or line.cost_centre, part.share,
                )  # fmt: skip

    def _post_cost(
        self, index: int, line: Line, amount: Decimal, foreign: Decimal | None, rate: Decimal | None, deduction: Deduction | None,
        side: Side, department: str, project: str | None, cost_centre: str | None, share: Decimal | None,
    ) -> None:  # fmt: skip
        hit = self._view.account(line.category, department, self.day)
        if hit is None:
            self._no_account(index, line, department)
            return
        dimensions = self._dimensions.get((hit.shape, department, project, cost_centre))
        if dimensions is None:
            dimensions = self._fill(hit, index, department, project, cost_centre)
        self._post(self._rules["expense"], side, amount, hit, dimensions, line, None, deduction, share, foreign, rate)

    def _no_account(self, index: int, line: Line, department: str) -> None:
        key = f"{line.category}/{department}"
        self._wrong(
            "MAP-201", f"lines[{index}].category", f"an account for {key} in {self._report.company} on {self.day}", line.category,
            "add a row to the accounts table, then replay",
        )  # fmt: skip
        self.waits_for.append(f"account:{key}")

    def _post_role(
        self, role: Role, side: Side, amount: Decimal, line: Line | None = None, index: int | None = None,
        deduction: Deduction | None = None, advance: AdvanceClaim | None = None,
    ) -> None:  # fmt: skip
        """A line on the account of a role. Its dimensions come from the report, and from the line where there is one."""
        hit = self._view.role(role, self.day)
        department = (
            self._report.employee.department if line is None else line.department or self._report.employee.department
        )
        if hit is not None and hit.account == EXPENSE_ACCOUNT:
            assert line is not None, "only taxes may use the account of their expense"
            assert index is not None
            hit = self._view.account(line.category, department, self.day)
            if hit is None:
                self._no_account(index, line, department)
                return
        if hit is None:
            key = f"{role}/{self._report.company}"
            self._wrong(
                "MAP-204",
                "",
                f"an account for {key} on {self.day}",
                "none",
                "add a row to the roles table, then replay",
            )
            self.waits_for.append(f"role:{key}")
            return
        dimensions = _NO_DIMENSIONS
        if hit.dimensions:
            project, cost_centre = (None, None) if line is None else (line.project, line.cost_centre)
            known = self._dimensions.get((hit.shape, department, project, cost_centre))
            dimensions = known or self._fill(hit, index, department, project, cost_centre)
        self._post(self._rules[role], side, amount, hit, dimensions, line, advance, deduction, None, None, None)

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
    ) -> None:  # fmt: skip
        """Writes one voucher line, or adds to the line it is merged into."""
        key = None
        if rule.merge:
            key = (rule.position, side, hit.account, *dimensions.values())
            known = self._merged.get(key)
            self._merged[key] = (amount if known is None else known[0] + amount, rule, side, hit, dimensions)
        else:
            made = VoucherLine(
                side, hit.account, amount, rule.role, dimensions,
                None if rule.memo is None else rule.memo(self._report, line, advance),
                rule.id, None if line is None else line.line,
                None if rate is None or line is None else line.currency, foreign, rate,
            )  # fmt: skip
            place = self._lines.get(rule.position)
            if place is None:
                self._lines[rule.position] = [made]
            else:
                place.append(made)
        if self._parts is not None:
            self._parts.append(Part(rule, key, hit, amount, line, advance, deduction, share))

    def settle(self) -> None:
        """Writes what is owed: advances first, the rest to the employee, the card company, the supplier."""
        report, owed = self._report, self._owed
        if self._booked != report.total:
            self._round(report.total - self._booked)
        balance = owed.get("employee", _ZERO)
        for advance in report.advances:
            used = self._base(advance.amount, None)
            balance -= used
            self._post_role("advance", "credit", used, advance=advance)
        if balance > _ZERO:
            self._post_role("employee_payable", "credit", balance)
        elif balance < _ZERO:
            self._post_role("employee_receivable", "debit", -balance)
        if len(owed) > 1 or "employee" not in owed:
            for paid_by, role in _PAYABLE:
                amount = owed.get(paid_by, _ZERO)
                if amount:
                    self._post_role(role, "credit" if amount > _ZERO else "debit", abs(amount))

    def _round(self, residue: Decimal) -> None:
        """What converting line by line leaves between the lines and the total (a cent per converted line at most) goes to a
        line of its own."""
        converted = [line for line in self._report.lines if line.currency != self._report.currency]
        assert abs(residue) <= self._unit * len(converted), (
            "a report that does not re-add within the cap cannot be built"
        )
        self._post_role("rounding", "debit" if residue > _ZERO else "credit", abs(residue))
        payer = max(
            converted, key=lambda line: line.amount * (line.rate.value if line.rate is not None else _ZERO)
        ).paid_by
        self._owed[payer] = self._owed.get(payer, _ZERO) + residue

    def voucher(self, reference_max: int) -> Voucher | Refusal:
        """The lines in the order of their rules, as a voucher."""
        report = self._report
        for amount, rule, side, hit, dimensions in self._merged.values():
            made = VoucherLine(side, hit.account, amount, rule.role, dimensions, None, rule.id)
            self._lines.setdefault(rule.position, []).append(made)
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
        debit = credit = _ZERO
        for line in lines:
            if line.side == "debit":
                debit += line.amount
            else:
                credit += line.amount
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
            debit,
            credit,
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
            "add a row to the tax table, then replay",
        )
        self.waits_for.append(f"tax:{key}")

    def _wrong(self, code: str, path: str, expected: str, got: str, fix: str) -> None:
        self.findings.append(Finding(code, f"data.{path}" if path else "data", expected, got, fix))
