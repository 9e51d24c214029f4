"""The lines of a report: each expense as its cost, its tax and its personal part, which add to its amount. Pure."""

from __future__ import annotations

from decimal import Decimal

from connector.translate.allocation import allocate
from connector.translate.draft import ZERO, Draft, Source
from connector.translate.tax import Claims, deduct
from contracts.amount import QUANTA
from contracts.expense import Line, PaidBy
from contracts.findings import Finding
from contracts.voucher import Side

# payer -> what the company owes him, below zero what he owes.
Owed = dict[PaidBy, Decimal]


def write_lines(draft: Draft) -> tuple[Owed, Decimal]:
    """Writes every line of the report; gives what is owed to whom, and what the lines add to in the base currency."""
    owed: Owed = {}
    claims = Claims(draft.terms.invoices)
    booked = ZERO
    for index, line in enumerate(draft.report.lines):
        booked += _write(draft, index, line, owed, claims)
    return owed, booked


def _write(draft: Draft, index: int, line: Line, owed: Owed, claims: Claims) -> Decimal:
    """Writes one line; gives its amount in the base currency, below zero for a seller's red invoice."""
    amount, invoice, personal = line.amount, line.invoice, line.personal or ZERO
    side: Side = "debit"
    red = invoice is not None and invoice.kind == "red_special"
    if amount <= ZERO or red:
        if not amount:
            return ZERO
        if (amount < ZERO) is not red:
            expected = (
                "an amount below zero" if red else "an amount above zero, or a seller's red invoice (red_special)"
            )
            fix = "claim a refund with the red invoice behind it"
            draft.wrong("MAP-208", f"lines[{index}].amount", expected, f"{amount:f}", fix)
            return ZERO
        amount, side = -amount, "credit"
    deduction = None
    if invoice is not None and invoice.kind != "none":
        on = invoice.date or line.date
        row = draft.view.tax(line.category, invoice.kind, on)
        if row is None:
            key = f"{invoice.kind}/{line.category}"
            draft.wrong(
                "MAP-205", f"lines[{index}].invoice.kind", f"a tax rule for {key} on {on}", invoice.kind,
                "add a row to the tax table", f"tax:{key}",
            )  # fmt: skip
            return ZERO
        answer = deduct(line, invoice, row, amount, amount - personal if personal else amount, claims)
        if isinstance(answer, Finding):
            draft.wrong(answer.code, f"lines[{index}].{answer.path}", answer.expected, answer.got, answer.fix)
            return ZERO
        deduction = answer
    rate = currency = None
    if line.currency != draft.report.currency:
        assert line.rate is not None, "a report without its rates cannot be built"
        rate, currency = line.rate.value, line.currency
        draft.stated(currency, amount)
    booked = cost = due = draft.base(amount, rate)
    department = line.department or draft.report.employee.department
    source = Source(
        (department, line.project, line.cost_centre), line, index, None, currency, rate, side, deduction
    )  # fmt: skip
    payer = line.paid_by
    if personal:
        private = draft.base(personal, rate)
        cost -= private
        if payer == "employee":  # Nobody is paid for what was private.
            due -= private
            if currency is not None:
                draft.carried(currency, personal)
        else:
            draft.on_role("employee_receivable", side, private, source, personal)
    owed[payer] = owed.get(payer, ZERO) + (due if side == "debit" else -due)
    business = amount - personal if personal else amount
    foreign = None if rate is None else business
    if deduction is not None:
        tax, kept = deduction.tax, deduction.non_deductible
        # Each part is rounded on its own; where they are next to nothing, together they may be above the whole.
        leaves = tax if rate is None else min(draft.base(tax, rate), cost)
        source.cost = cost = cost - leaves
        foreign = None if foreign is None else foreign - tax
        if kept:
            stays = kept if rate is None else min(draft.base(kept, rate), leaves)
            draft.on_role("non_deductible_tax", side, stays, source, kept)
            leaves, tax = leaves - stays, tax - kept
        draft.on_role(deduction.role, side, leaves, source, tax)
    if draft.book.per_diems and side == "debit":
        daily = draft.view.per_diem(line.category, line.currency, line.date)
        allowed = ZERO if daily is None else daily.daily * (line.days or 1)
        if daily is not None and business > allowed:
            within = min(draft.base(allowed, rate), cost)
            foreign_within = None if foreign is None else min(allowed, foreign)
            above = None if foreign is None or foreign_within is None else foreign - foreign_within
            _cost(draft, source, line, line.category, within, foreign_within, allowed)
            _cost(draft, source, line, daily.above, cost - within, above, allowed)
            return booked
    if line.allocations is None:
        draft.cost(source, line.category, cost, foreign, source.place)
    else:
        _cost(draft, source, line, line.category, cost, foreign)
    return booked if side == "debit" else -booked


def _cost(
    draft: Draft, source: Source, line: Line, category: str, cost: Decimal, foreign: Decimal | None, allowance: Decimal | None = None
) -> None:  # fmt: skip
    """The cost of a line on a category's account, shared out where the line is allocated."""
    if line.allocations is None:
        draft.cost(source, category, cost, foreign, source.place, None, allowance)
        return
    shares = [part.share for part in line.allocations]
    costs = allocate(cost, shares, QUANTA[draft.report.currency])
    foreigns = [None] * len(shares) if foreign is None else allocate(foreign, shares, QUANTA[line.currency])
    department, project, cost_centre = source.place
    for part, amount, in_currency in zip(line.allocations, costs, foreigns, strict=True):
        place = (part.department or department, part.project or project, part.cost_centre or cost_centre)
        draft.cost(source, category, amount, in_currency, place, part.share, allowance)
