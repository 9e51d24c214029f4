"""Message translator of advances: money paid to an employee, or given back, in; a voucher out. Pure."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from connector.translate.book import AccountHit, Book, CompanyView
from connector.translate.reference import make_reference
from connector.translate.voucher import Refusal
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
    accounts = _accounts(view, advance, on)
    if isinstance(accounts, Refusal):
        return accounts
    stated = (advance.currency, advance.amount) if foreign else (None, None)
    if isinstance(advance, AdvancePaid):
        lines = [
            _line("debit", "advance", accounts, money, advance, stated, rate),
            _line("credit", "bank", accounts, money, advance, stated, rate),
        ]
    else:
        back = paid_rate if foreign and paid_rate is not None else rate
        if released is None:
            released = (advance.amount * back).quantize(unit, ROUND_HALF_UP)
        lines = [
            _line("debit", "bank", accounts, money, advance, stated, rate),
            _line("credit", "advance", accounts, released, advance, stated, back),
        ]
        if money != released:
            side: Side = "credit" if money > released else "debit"
            lines.append(
                _line(side, "exchange_difference", accounts, abs(money - released), advance, (None, None), rate)
            )
    return Voucher.of(
        company=advance.company,
        # An advance and a report may have the same number; their references must differ.
        reference=make_reference(advance.company, f"advance {advance.number}", advance.version, "post"),
        document=DocumentRef(DOCUMENT_TYPE, advance.number, advance.version),
        date=on,
        currency=view.currency,
        lines=lines,
        memo=advance.reason,
    )


def _accounts(view: CompanyView, advance: AdvancePaid | AdvanceReturned, on: date) -> dict[Role, AccountHit] | Refusal:
    found: dict[Role, AccountHit] = {}
    roles: tuple[Role, ...] = ("advance", "bank", "exchange_difference")
    for role in roles:
        hit = view.payable(role, advance.employee.id, on)
        if hit is None:
            key = f"{role}/{view.company}"
            finding = Finding("MAP-204", "", f"an account for {key} on {on}", "none", "add a row to the roles table")
            return Refusal((finding,), (f"role:{key}",))
        found[role] = hit
    return found


def _line(
    side: Side, role: Role, accounts: dict[Role, AccountHit], amount: Decimal, advance: AdvancePaid | AdvanceReturned,
    stated: tuple[str | None, Decimal | None], rate: Decimal,
) -> VoucherLine:  # fmt: skip
    hit = accounts[role]
    known = {"employee": advance.employee.id, "department": advance.employee.department}
    dimensions = {name: known[name] for name, _ in hit.dimensions if name in known}
    return VoucherLine(
        side, hit.account, amount, role, dimensions, advance.number, None, None, *stated, None if stated[0] is None else rate
    )  # fmt: skip
