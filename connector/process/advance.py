"""The story of an advance: paid to an employee, claimed by reports, given back. What is open of it is kept to the cent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from connector.facts import Balance, BalanceKey, Facts, period_of
from connector.ledger.deadletters import Letter
from connector.ledger.documents import Document
from connector.preflight import taken_off
from connector.process.batch import Arrived, Batch, NewPosting
from connector.translate import Book, Refusal
from connector.translate.advance import to_advance_voucher
from contracts.advance import AdvancePaid, AdvanceReturned
from contracts.amount import QUANTA
from contracts.findings import Finding
from contracts.voucher import Voucher
from contracts.voucher import to_json as voucher_to_json


def apply(batch: Batch, document: Document, arrived: Sequence[Arrived], book: Book, facts: Facts) -> None:
    """Takes payments and returns of one advance in the order of their versions."""
    for item in sorted(arrived, key=lambda item: item.event.version):
        _apply_one(batch, document, item, book, facts)


def _apply_one(batch: Batch, document: Document, item: Arrived, book: Book, facts: Facts) -> None:
    event = item.event
    advance: AdvancePaid | AdvanceReturned = event.data
    key = BalanceKey("advance", event.company, event.number)
    balance = facts.balances[key]
    paid = isinstance(advance, AdvancePaid)
    if paid and event.version < document.version:
        batch.end(item, document, "superseded", f"version {document.version} is here already")
        return
    detail = dict(balance.detail)
    refused = _refused(advance, facts, key)
    if refused is not None:
        letter = Letter.about(event, item.body, item.door, refused.code, str(refused))
        letter.document_id, letter.findings = document.id, (refused,)
        batch.park(item, document, letter)
        return
    if paid:
        detail |= {"paid": f"{advance.amount:f}", "employee": advance.employee.id}
        detail["rate"] = None if advance.rate is None else f"{advance.rate.value:f}"
    else:
        detail["returned"] = f"{_returned(balance) + advance.amount:f}"
    returned = Decimal(detail.get("returned", "0"))
    available = Decimal(detail.get("paid", "0")) - returned
    note = f"{advance.amount:f} {advance.currency} {'paid' if paid else 'returned'}, {available - balance.used:f} open"
    if _is_booked_here(event.company, event.system, advance, book):
        voucher = _closed(event.company, advance, facts) or _translate(advance, book, facts, key, document.id)
        if isinstance(voucher, Refusal):
            letter = Letter.about(event, item.body, item.door, voucher.code, str(voucher.findings[0]))
            letter.document_id, letter.findings, letter.waits_for = document.id, voucher.findings, voucher.waits_for
            batch.park(item, document, letter)
            return
        batch.post(
            document,
            NewPosting(
                document_id=document.id,
                company=event.company,
                version=event.version,
                purpose="post" if paid else "adjust",
                reference=voucher.reference,
                voucher=voucher_to_json(voucher),
                book=book.fingerprint,
            ),
        )
    facts.set_available(key, available, advance.currency, detail)
    if balance.is_shared():
        facts.hold(key, document.id, returned)
    document.version, document.state = max(document.version, event.version), "known"
    batch.change(document)
    batch.end(item, document, "applied", note)


def _translate(
    advance: AdvancePaid | AdvanceReturned, book: Book, facts: Facts, key: BalanceKey, document_id: int
) -> Voucher | Refusal:
    balance = facts.balances[key]
    stated = balance.detail.get("rate")
    if isinstance(advance, AdvancePaid) or stated is None:
        return to_advance_voucher(advance, book)
    rate, view = Decimal(stated), book.view(advance.company, advance.returned_on)
    released = None
    if view is not None:
        unit, before = QUANTA[view.currency], balance.parts().get(document_id, ())
        spans = facts.spans_for(key, document_id, _returned(balance) + advance.amount)
        released = taken_off(spans, rate, unit) - taken_off(before, rate, unit)
    return to_advance_voucher(advance, book, paid_rate=rate, released=released)


def _returned(balance: Balance) -> Decimal:
    """How much of an advance was given back already."""
    return Decimal(balance.detail.get("returned", "0"))


def _closed(company: str, advance: AdvancePaid | AdvanceReturned, facts: Facts) -> Refusal | None:
    """Money that moved in a closed period waits until that is opened: no policy moves it, the bank statement has its day."""
    day = _day(advance)
    period = period_of(facts.periods.get(company, ()), day)
    if period is None or period.takes(day):
        return None
    expected = f"an open period; {period.period} of {company} is {period.state}"
    finding = Finding("ACC-332", "data", expected, str(day), "open the period")
    return Refusal((finding,), (f"period:{day}",))


def _day(advance: AdvancePaid | AdvanceReturned) -> date:
    return advance.paid_on if isinstance(advance, AdvancePaid) else advance.returned_on


def _refused(advance: AdvancePaid | AdvanceReturned, facts: Facts, key: BalanceKey) -> Finding | None:
    """A return above what is open, or a payment that no longer covers what was claimed."""
    balance = facts.balances[key]
    known = "paid" in balance.detail
    if known and balance.currency != advance.currency:
        fix = "correct the currency"
        return Finding("ACC-305", "data.currency", f"{balance.currency}, which it was paid in", advance.currency, fix)
    returned = _returned(balance)
    if isinstance(advance, AdvanceReturned) and known and advance.amount > balance.open:
        fix = "correct the return, or withdraw the report that claimed it"
        return Finding("ACC-304", "data.amount", f"at most {balance.open:f}", f"{advance.amount:f}", fix)
    if isinstance(advance, AdvancePaid) and advance.amount - returned < balance.used:
        fix = "withdraw the reports that claimed it first"
        needed = balance.used + returned
        return Finding("ACC-304", "data.amount", f"at least {needed:f}, used and returned", f"{advance.amount:f}", fix)
    return None


def _is_booked_here(company: str, system: str, advance: AdvancePaid | AdvanceReturned, book: Book) -> bool:
    """What the ERP tells of stands in its books already; what the OA tells is booked where the company says so."""
    view = book.view(company, _day(advance))
    return system == "oa" and view is not None and view.row.advances == "booked"
