"""The story of an advance: paid to an employee, claimed by reports, given back. What is open of it is kept to the cent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import orjson

from connector.facts import Balance, BalanceKey, Facts, period_of
from connector.ledger.deadletters import Letter, sentence
from connector.ledger.documents import Document
from connector.plan import DocumentState, Purpose, Reverse, Version, plan
from connector.preflight import taken_off
from connector.process.batch import Arrived, Batch
from connector.process.expense import Desk, decide, tell_it_stands, write_postings
from connector.translate import Book, Refusal
from connector.translate.advance import to_advance_voucher
from contracts.advance import AdvancePaid, AdvanceReturned
from contracts.amount import QUANTA
from contracts.findings import Finding
from contracts.voucher import Voucher

_Advance = AdvancePaid | AdvanceReturned
_PAID = "paid"


def apply(batch: Batch, document: Document, arrived: Sequence[Arrived], desk: Desk) -> None:
    """Decides about payments and returns of one advance in the order of their versions. A later payment corrects the one
    before, each return counts beside the others; whatever is told again counts once."""
    for item in sorted(arrived, key=lambda item: (item.event.version, item.event.happening, not item.released)):
        _apply_one(batch, document, item, desk)


def _apply_one(batch: Batch, document: Document, item: Arrived, desk: Desk) -> None:
    event = item.event
    advance: _Advance = event.data
    balance = desk.facts.balances[BalanceKey("advance", event.company, event.number)]
    booked = _is_booked_here(event.system, advance, desk.book)
    version = Version(event.version, item.sha256, event.source, "book" if booked else "withdraw", item.released)
    decided = plan(_as_state(document, item, balance), version)
    if decided.outcome == "held" and item.waiting:
        return  # it waits on
    if decided.outcome == "parked":
        _park(batch, document, item, decided.code or "SYN-301", decided.reason)
        return
    if decided.outcome != "applied":
        batch.end(item, document, decided.outcome, decided.reason)
        return
    live = [step.posting for step in decided.steps if isinstance(step, Reverse)]
    refused = _refused(advance, balance) or (_closed(advance, desk.facts) if booked or live else None)
    voucher = _translate(advance, balance, desk) if refused is None and booked else None
    if isinstance(voucher, Refusal):
        refused, voucher = voucher, None
    if refused is not None:
        _park(batch, document, item, refused.code, sentence(refused.findings), refused.findings, refused.waits_for)
        return
    on = _day(advance)
    decision = decide(batch, document, item, live, voucher, on, desk) if live else None
    if decision is not None and decision.kind == "block":
        _park(batch, document, item, decision.code or "SYN-301", decision.reason)
        return
    purpose: Purpose = "post" if isinstance(advance, AdvancePaid) else "return"
    write_postings(batch, document, item, decided, voucher, decision, on, desk, purpose=purpose)
    if decision is not None and decision.kind == "none":
        tell_it_stands(batch, document, item, live[-1], desk)
    _count(advance, balance, desk.facts)
    if isinstance(advance, AdvancePaid):
        document.version = event.version
    document.state = "known"
    batch.change(document)
    note = f"{advance.amount:f} {advance.currency} {event.happening}, {balance.open:f} open"
    batch.end(item, document, "applied", note)


def _as_state(document: Document, item: Arrived, balance: Balance) -> DocumentState:
    """What the planner sees. Of payments one counts, and a later one takes its place; a return is on its own."""
    advance: _Advance = item.event.data
    before = _told(balance).get(_name(advance))
    is_same = before is not None and type(advance).model_validate_json(orjson.dumps(before)) == advance
    version, sha256 = 0 if before is None else before["version"], item.sha256 if is_same else None
    if isinstance(advance, AdvanceReturned):
        standing = [p for p in document.standing if p.purpose == "return" and p.version == advance.version]
        return DocumentState(version, sha256, document.source, None, tuple(standing))
    standing = [posting for posting in document.standing if posting.purpose != "return"]
    return DocumentState(version, sha256, document.source, document.blocked_by, tuple(standing))


def _count(advance: _Advance, balance: Balance, facts: Facts) -> None:
    """What there is to claim from now on."""
    told = {**_told(balance), _name(advance): advance.model_dump(mode="json", exclude_none=True)}
    detail = {**balance.detail, "told": told}
    if isinstance(advance, AdvancePaid):
        rate = None if advance.rate is None else f"{advance.rate.value:f}"
        detail |= {"paid": f"{advance.amount:f}", "employee": advance.employee.id, "rate": rate}
    available = Decimal(detail.get("paid", "0")) - _returned(told)
    facts.set_available(balance.key, available, advance.currency, detail)
    if isinstance(advance, AdvanceReturned) and balance.is_shared():
        facts.hold(balance.key, -advance.version, advance.amount)


def _told(balance: Balance) -> Mapping[str, Any]:
    """The payment that counts, and every return, as they were told."""
    told: Mapping[str, Any] = balance.detail.get("told", {})
    return told


def _name(advance: _Advance) -> str:
    return _PAID if isinstance(advance, AdvancePaid) else f"returned/{advance.version}"


def _returned(told: Mapping[str, Any]) -> Decimal:
    return sum((Decimal(said["amount"]) for name, said in told.items() if name != _PAID), Decimal(0))


def _translate(advance: _Advance, balance: Balance, desk: Desk) -> Voucher | Refusal:
    room, view = desk.room(advance.company), desk.book.view(advance.company, _day(advance))
    stated = balance.detail.get("rate")
    if isinstance(advance, AdvancePaid) or stated is None or view is None or advance.currency == view.currency:
        return to_advance_voucher(advance, desk.book, reference_max=room)
    rate, spans = Decimal(stated), desk.facts.spans_for(balance.key, -advance.version, advance.amount)
    released = taken_off(spans, rate, QUANTA[view.currency])
    return to_advance_voucher(advance, desk.book, paid_rate=rate, released=released, reference_max=room)


def _closed(advance: _Advance, facts: Facts) -> Refusal | None:
    """Money that moved in a closed period waits until that is opened: no policy moves it, the bank statement has its day."""
    day = _day(advance)
    period = period_of(facts.periods.get(advance.company, ()), day)
    if period is None or period.takes(day):
        return None
    expected = f"an open period; {period.period} of {advance.company} is {period.state}"
    finding = Finding("ACC-332", "data", expected, str(day), "open the period")
    return Refusal((finding,), (f"period:{day}",))


def _day(advance: _Advance) -> date:
    return advance.paid_on if isinstance(advance, AdvancePaid) else advance.returned_on


def _refused(advance: _Advance, balance: Balance) -> Refusal | None:
    """A return above what is open, or a payment that no longer covers what was claimed, or not at the rate it was."""
    known = "paid" in balance.detail
    if known and balance.currency != advance.currency:
        expected, fix = f"{balance.currency}, which it was paid in", "correct the currency"
        return _wrong("ACC-305", "data.currency", expected, advance.currency, fix)
    told = _told(balance)
    if isinstance(advance, AdvancePaid):
        needed = balance.used + _returned(told)
        if advance.amount < needed:
            expected, fix = f"at least {needed:f}, used and returned", "withdraw the reports that claimed it first"
            return _wrong("ACC-304", "data.amount", expected, f"{advance.amount:f}", fix)
        stated, rate = balance.detail.get("rate"), None if advance.rate is None else advance.rate.value
        if needed and stated is not None and rate != Decimal(stated):
            fix = "keep the rate, or withdraw the reports that claimed it first"
            got = "nothing" if rate is None else f"{rate:f}"
            return _wrong("ACC-305", "data.rate", f"{stated}, at which parts of it were taken off", got, fix)
        return None
    # Booked anew, a return counts already.
    left = balance.open + Decimal(told[_name(advance)]["amount"] if _name(advance) in told else 0)
    if known and advance.amount > left:
        fix = "correct the return, or withdraw the report that claimed it"
        return _wrong("ACC-304", "data.amount", f"at most {left:f}", f"{advance.amount:f}", fix)
    return None


def _wrong(code: str, path: str, expected: str, got: str, fix: str) -> Refusal:
    return Refusal((Finding(code, path, expected, got, fix),))


def _is_booked_here(system: str, advance: _Advance, book: Book) -> bool:
    """What the ERP tells of stands in its books already; what the OA tells is booked where the company says so."""
    view = book.view(advance.company, _day(advance))
    return system == "oa" and view is not None and view.row.advances == "booked"


def _park(
    batch: Batch,
    document: Document,
    item: Arrived,
    code: str,
    message: str,
    findings: Sequence[Finding] = (),
    waits_for: Sequence[str] = (),
) -> None:
    letter = Letter.about(item.event, item.body, item.door, code, message)
    letter.document_id, letter.findings, letter.waits_for = document.id, findings, waits_for
    batch.park(item, document, letter)
