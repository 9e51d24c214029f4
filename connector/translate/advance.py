"""Message translator of advances: money paid to an employee, or given back, in; a voucher out. Pure."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from connector.translate.book import Book, CompanyView
from connector.translate.dimensions import fill
from connector.translate.draft import Refusal
from connector.translate.reference import make_reference
from contracts.advance import AdvancePaid, AdvanceReturned
from contracts.amount import QUANTA
from contracts.findings import Finding
from contracts.voucher import DocumentRef, Role, Side, Voucher, VoucherLine

DOCUMENT_TYPE = "advance"


def to_advance_voucher(
    advance: AdvancePaid | AdvanceReturned,
    book: Book,
    *,
    paid_rate: Decimal | None = None,
    released: Decimal | None = None,
) -> Voucher | Refusal:
    """Debits the advance and credits the bank; on a return the other way round. A return in another currency takes the
    advance down at `paid_rate`, the rate it was paid at (by exactly `released` where that is given), and books the
    difference to today's rate as a gain or a loss."""
    on = advance.paid_on if isinstance(advance, AdvancePaid) else advance.returned_on
    view = book.view(advance.company, on)
    if view is None:
        finding = Finding(
            "MAP-213", "data.company", "a company of the mapping book", advance.company, "add it to the companies table"
        )
        return Refusal((finding,), (f"company:{advance.company}",))
    unit = QUANTA[view.currency]
    foreign = advance.currency != view.currency
    if foreign and advance.rate is None:
        expected = f"the rate from {advance.currency} to {view.currency}"
        return Refusal((Finding("ACC-305", "data.rate", expected, "nothing", "pin the rate of the payment"),))
    rate = advance.rate.value if foreign and advance.rate is not None else Decimal(1)
    money = (advance.amount * rate).quantize(unit, ROUND_HALF_UP)
    moves: list[_Move]
    if isinstance(advance, AdvancePaid):
        moves = [("debit", "advance", money, rate), ("credit", "bank", money, rate)]
    else:
        back = paid_rate if foreign and paid_rate is not None else rate
        if released is None:
            released = (advance.amount * back).quantize(unit, ROUND_HALF_UP)
        side: Side = "credit" if money > released else "debit"
        moves = [
            ("debit", "bank", money, rate),
            ("credit", "advance", released, back),
            (side, "exchange_difference", abs(money - released), None),
        ]
    findings: list[Finding] = []
    waits_for: list[str] = []
    lines = [_line(move, view, advance, on, findings, waits_for) for move in moves if move[2]]
    if findings:
        return Refusal(tuple(dict.fromkeys(findings)), tuple(dict.fromkeys(waits_for)))
    if not lines:
        expected, fix = f"at least {unit:f} {view.currency}", "leave the advance out, or correct its rate"
        return Refusal((Finding("MAP-212", "data.amount", expected, f"{money:f}", fix),))
    return Voucher.of(
        company=advance.company,
        # An advance and a report may have the same number; their references must differ.
        reference=make_reference(advance.company, f"advance {advance.number}", advance.version, "post"),
        document=DocumentRef(DOCUMENT_TYPE, advance.number, advance.version),
        date=on,
        currency=view.currency,
        lines=[line for line in lines if line is not None],
        memo=advance.reason,
    )


# Side, role, amount, and the rate it stands at; a difference of rates has none.
_Move = tuple[Side, Role, Decimal, Decimal | None]


def _line(
    move: _Move, view: CompanyView, advance: AdvancePaid | AdvanceReturned, on: date,
    findings: list[Finding], waits_for: list[str],
) -> VoucherLine | None:  # fmt: skip
    side, role, amount, rate = move
    hit = view.payable(role, advance.employee.id, on)
    if hit is None:
        key = f"{role}/{view.company}"
        findings.append(
            Finding("MAP-204", "data", f"an account for {key} on {on}", "none", "add a row to the roles table")
        )
        waits_for.append(f"role:{key}")
        return None
    values = {"employee": advance.employee.id, "department": advance.employee.department}
    dimensions = fill(hit, values, view, on, "employee", findings, waits_for)
    line = VoucherLine(side, hit.account, amount, role, dimensions, advance.number)
    if rate is None or advance.currency == view.currency:
        return line
    return line._replace(currency=advance.currency, amount_in_currency=advance.amount, rate=rate)
