"""What a report leaves owed: advances first, the rest to the employee, the card company and the supplier. Pure."""

from __future__ import annotations

from decimal import Decimal

from connector.translate.draft import ZERO, Draft, Source
from connector.translate.lines import Owed
from contracts.amount import QUANTA
from contracts.expense import AdvanceClaim, PaidBy
from contracts.voucher import Role

_PAYABLE: tuple[tuple[PaidBy, Role], ...] = (("company_card", "card_clearing"), ("supplier", "supplier_payable"))


def settle(draft: Draft, owed: Owed, residue: Decimal) -> None:
    """Writes what is owed to whom. The residue is what the report's total is above the sum of its converted lines."""
    report = draft.report
    if residue:
        _round(draft, owed, residue)
    balance = owed.get("employee", ZERO)
    for index, advance in enumerate(report.advances):
        if advance.currency is None or advance.currency == report.currency:
            used = draft.base(advance.amount, None)
            draft.on_role("advance", "credit", used, Source(draft.whole.place, advance=advance))
        else:
            used = _release(draft, index, advance, advance.currency)
        balance -= used
    if balance > ZERO:
        draft.on_role("employee_payable", "credit", balance, draft.whole)
    elif balance < ZERO:
        draft.on_role("employee_receivable", "debit", -balance, draft.whole)
    if len(owed) > 1 or "employee" not in owed:
        for paid_by, role in _PAYABLE:
            amount = owed.get(paid_by, ZERO)
            draft.on_role(role, "credit" if amount > ZERO else "debit", abs(amount), draft.whole)


def _release(draft: Draft, index: int, advance: AdvanceClaim, currency: str) -> Decimal:
    """A claim on an advance in another currency: the advance falls by its historical rate, what the claim counts for
    today pays the employee's costs, and the difference is a gain or a loss. Gives what it counts for today."""
    assert advance.rate is not None, "a claim without its rate cannot be built"
    number, terms = advance.number, draft.terms
    used = draft.base(advance.amount, advance.rate.value)
    known = terms.advances.get(number)
    paid_rate = advance.paid_rate if advance.paid_rate is not None else known[1] if known is not None else None
    if paid_rate is None:
        draft.wrong(
            "ACC-301", f"advances[{index}].paid_rate", f"the rate that {number} was paid at", "nothing",
            "publish the advance, or state its rate", f"advance:{number}",
        )  # fmt: skip
        return used
    released = terms.released.get(number)
    if released is None:
        released = draft.base(advance.amount, paid_rate)
    source = Source(draft.whole.place, advance=advance, currency=currency, rate=paid_rate)
    draft.on_role("advance", "credit", released, source, advance.amount)
    draft.on_role("exchange_difference", "credit" if used > released else "debit", abs(used - released), source)
    return used


def _round(draft: Draft, owed: Owed, residue: Decimal) -> None:
    """What converting line by line leaves between the lines and the total (a cent per converted line at most) goes to a
    line of its own, and is owed to the payer of the largest converted line."""
    report = draft.report
    converted = [line for line in report.lines if line.currency != report.currency]
    cap = QUANTA[report.currency] * len(converted)
    assert abs(residue) <= cap, "a report that does not re-add within the cap cannot be built"
    tolerance = draft.view.tolerance(draft.day)
    if tolerance is not None and abs(residue) > tolerance.rounding_max:
        draft.wrong(
            "MAP-211", "total", f"a rounding difference of at most {tolerance.rounding_max:f} ({tolerance.at})",
            f"{abs(residue):f}", "correct the lines or the total, or widen the tolerance",
            f"rounding:{draft.day}/{abs(residue):f}",
        )  # fmt: skip
        return
    draft.on_role("rounding", "debit" if residue > ZERO else "credit", abs(residue), draft.whole)
    payer = max(converted, key=lambda line: line.amount * (line.rate.value if line.rate is not None else ZERO)).paid_by
    owed[payer] = owed.get(payer, ZERO) + residue
