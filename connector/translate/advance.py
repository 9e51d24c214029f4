"""Message translator of advances: money paid to an employee, or given back, in; a voucher out. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal

from connector.translate.book import Book
from connector.translate.draft import NO_TERMS, Draft, Refusal, Source
from connector.translate.reference import LENGTH_MAX, make_reference, reference_name
from contracts.advance import AdvancePaid, AdvanceReturned
from contracts.amount import AMOUNT_BELOW, QUANTA, converted
from contracts.expense import AdvanceClaim, ExpenseReport
from contracts.findings import Finding
from contracts.voucher import DocumentRef, Role, Side, Voucher

DOCUMENT_TYPE = "advance"
_OTHER_RATE = "leave the advance out, or correct its rate"


def to_advance_voucher(
    advance: AdvancePaid | AdvanceReturned,
    book: Book,
    *,
    paid_rate: Decimal | None = None,
    released: Decimal | None = None,
    reference_max: int = LENGTH_MAX,
) -> Voucher | Refusal:
    """Debits the advance and credits the bank; on a return the other way round. A return in another currency takes the
    advance down at `paid_rate`, the rate it was paid at (by exactly `released` where that is given), and books the
    difference to today's rate as a gain or a loss; where nobody told at what rate it was paid, it waits for that. Each line
    is written by the rule of its role, as those of a report are."""
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
    rate = Decimal(1) if advance.rate is None else advance.rate.value
    if not foreign and rate != 1:
        expected = f"no rate, the advance is in {view.currency} already"
        return Refusal((Finding("CON-132", "data.rate", expected, f"{rate:f}", "leave the rate out"),))
    if foreign and isinstance(advance, AdvanceReturned) and paid_rate is None:
        expected, fix = f"the rate that {advance.number} was paid at", "publish the advance (advance.paid)"
        return Refusal((Finding("ACC-301", "data.number", expected, "nothing", fix),), (f"advance:{advance.number}",))
    money = converted(advance.amount, rate, unit)
    moves: list[_Move]
    if isinstance(advance, AdvancePaid):
        moves = [("debit", "advance", money, rate), ("credit", "bank", money, rate)]
    else:
        back = paid_rate if foreign and paid_rate is not None else Decimal(1)
        if released is None:
            released = converted(advance.amount, back, unit)
        side: Side = "credit" if money > released else "debit"
        moves = [
            ("debit", "bank", money, rate),
            ("credit", "advance", released, back),
            (side, "exchange_difference", abs(money - released), None),
        ]
    total = max(amount for _, _, amount, _ in moves)
    if total >= AMOUNT_BELOW:
        expected = f"a total below {AMOUNT_BELOW:f} {view.currency}"
        return Refusal((Finding("MAP-212", "data.amount", expected, f"{total:f}", _OTHER_RATE),))
    claim = _as_claim(advance, view.currency, paid_rate)
    draft = Draft(_as_report(advance, claim, on, view.currency, money), book, view, on, NO_TERMS, None)
    for side, role, amount, at in moves:
        source = Source(draft.whole.place, advance=claim, currency=claim.currency, rate=at)
        in_currency = None if at is None or not foreign else advance.amount
        draft.on_role(role, side, amount, source, in_currency)
    if draft.findings:
        return Refusal(tuple(dict.fromkeys(draft.findings)), tuple(dict.fromkeys(draft.waits_for)))
    kind = DOCUMENT_TYPE if isinstance(advance, AdvancePaid) else "return"
    order = [role for _, role, _, _ in moves]  # What moved first, whatever the order of the rules.
    lines = sorted(draft.lines(), key=lambda line: order.index(line.role))
    if not lines:
        expected = f"at least {unit:f} {view.currency}"
        return Refusal((Finding("MAP-212", "data.amount", expected, f"{money:f}", _OTHER_RATE),))
    return Voucher.of(
        company=advance.company,
        # An advance may be paid and given back at the same version.
        reference=make_reference(
            advance.company, reference_name(kind, advance.number), advance.version, "post", reference_max
        ),
        document=DocumentRef(DOCUMENT_TYPE, advance.number, advance.version),
        date=on,
        currency=view.currency,
        lines=lines,
        memo=advance.reason,
    )


# Side, role, amount, and the rate it stands at; a difference of rates has none.
_Move = tuple[Side, Role, Decimal, Decimal | None]


def _as_claim(advance: AdvancePaid | AdvanceReturned, currency: str, paid_rate: Decimal | None) -> AdvanceClaim:
    """The advance as a report names it, for what rules ask of `advance`."""
    if advance.currency == currency:
        return AdvanceClaim(number=advance.number, amount=advance.amount)
    return AdvanceClaim(
        number=advance.number, amount=advance.amount, currency=advance.currency, rate=advance.rate, paid_rate=paid_rate
    )


def _as_report(
    advance: AdvancePaid | AdvanceReturned, claim: AdvanceClaim, on: date, currency: str, money: Decimal
) -> ExpenseReport:
    """What rules and memos find under `report`: a report of no line, whose title is the reason and whose days are all the
    day the money moved."""
    return ExpenseReport.model_construct(
        company=advance.company, number=advance.number, version=advance.version, employee=advance.employee, currency=currency,
        title=advance.reason or "", submitted_on=on, approved_at=datetime.combine(on, time(), UTC), posting_date=on,
        lines=(), advances=(claim,), attachments=(), total=money, payee=None,
    )  # fmt: skip
