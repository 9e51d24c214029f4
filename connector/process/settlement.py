"""The way back: what the ERP says about a report is written back to the OA that it came from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import Any

import orjson

from connector.adapter import Status
from connector.facts import Facts
from connector.ledger import payments, postings
from connector.ledger.deadletters import Letter
from connector.ledger.documents import Document
from connector.ledger.write_backs import NewWriteBack
from connector.payment import Payment, recorded, settle
from connector.process.batch import Arrived, Batch, may_stand
from contracts.envelope import AnyEvent
from contracts.findings import Finding
from contracts.voucher import Voucher

_PAYABLES = ("employee_payable", "supplier_payable", "card_clearing")
_STATES = {"voucher.posted": "posted", "voucher.rejected": "rejected", "voucher.reversed": "reversed"}


def apply(
    batch: Batch, document: Document, arrived: Sequence[Arrived], listening: Collection[str], facts: Facts
) -> None:
    """Turns each answer about a report into a write-back for the report's own OA, where that OA takes any."""
    if document.key.kind != "expense.report":
        listening = ()  # A status names a report; where it were told of an advance, a report of that number would change.
    for item in arrived:
        event = item.event
        if event.kind == "payment":
            _pay(batch, document, item, listening)
            continue
        state = _STATES.get(f"{event.kind}.{event.happening}")
        if state is None:
            batch.end(item, document, "applied", "recorded")
            continue
        if state == "reversed" and _reversed_by_hand(batch, document, event):
            note = "reversed in the ERP by somebody else; the ledger follows"
            facts.release(document.id)
        else:
            note = "recorded"
        status = _status(event, state)
        if document.source in listening and not (
            _refused_no_more(document, status) or _told_before(batch, document, status)
        ):
            told = to_text(status)
            batch.write_backs.append(NewWriteBack(document.id, document.source, event.source, event.id, told))
            batch.result.to_write_back.add(document.source)
            note = "to be written back to the OA"
        batch.end(item, document, "applied", note)


def _pay(batch: Batch, document: Document, item: Arrived, listening: Collection[str]) -> None:
    """A payment, or the taking back of one: the document is open, partly paid or paid by the sum of what is live."""
    event, data = item.event, item.event.data
    reverses = event.happening == "reversed"
    standing = [batch.voucher(posting) for posting in document.standing if may_stand(posting)]
    owed = sum((_owed(voucher) for voucher in standing), Decimal(0))
    told = batch.payments.get(document.id, ())
    payment = Payment(data.payment_number, data.amount, made=not reverses, reversed=reverses)
    how_far = _other_currency(standing, data.currency) or settle(owed, told, payment)
    if isinstance(how_far, Finding):
        letter = Letter.about(event, item.body, item.door, how_far.code, str(how_far))
        letter.document_id, letter.findings = document.id, (how_far,)
        batch.park(item, document, letter)
        return
    payments.record(batch.tx, document.id, data.payment_number, data.amount, data.currency, reverses=reverses)
    batch.payments[document.id] = recorded(told, payment)
    note = f"{how_far.state.replace('_', ' ')}: {how_far.paid:f} paid, {how_far.open:f} open"
    if document.source in listening:
        states = {"open": "payment_reversed", "partly_paid": "partly_paid", "paid": "paid"}
        state = "payment_reversed" if reverses else states[how_far.state]
        status = Status(
            company=event.company,
            number=event.number,
            version=data.document.version,
            state=state,  # type: ignore[arg-type]
            on=getattr(data, "paid_on", None) or getattr(data, "reversed_on", None),
            message=note,
        )
        told_text = to_text(status)
        batch.write_backs.append(NewWriteBack(document.id, document.source, event.source, event.id, told_text))
        batch.result.to_write_back.add(document.source)
    batch.end(item, document, "applied", note)


def _owed(voucher: Voucher) -> Decimal:
    """What a voucher owes to the employee, the supplier and the card company together."""
    signed = (
        line.amount if line.side == "credit" else -line.amount for line in voucher.lines if line.role in _PAYABLES
    )
    return sum(signed, Decimal(0))


def _other_currency(standing: Sequence[Voucher], currency: str) -> Finding | None:
    """A payment in another currency than what is owed: nobody can tell how much of it that pays."""
    other = next((voucher.currency for voucher in standing if voucher.currency != currency), None)
    if other is None:
        return None
    return Finding(
        "ACC-361", "data.currency", f"{other}, the currency of what is owed", currency, "tell what it paid of that"
    )


def _refused_no_more(document: Document, status: Status) -> bool:
    """A refusal that comes late: what the ERP refused was sent anew since, and what becomes of that is told."""
    about = [posting for posting in document.standing if posting.version == status.version]
    return status.state == "rejected" and bool(about) and all(posting.state != "REJECTED" for posting in about)


def _told_before(batch: Batch, document: Document, status: Status) -> bool:
    """We told of it when we posted it and the ERP's own feed tells of the same again; or we told of something later, and a
    status never goes backward: answers may overtake each other on the broker."""
    told = [new.status for new in batch.write_backs if new.document_id == document.id]
    told += batch.told.get(document.id, ())
    return to_text(status) in told or any(_place(from_text(other)) > _place(status) for other in told)


def _place(status: Status) -> tuple[int, bool]:
    """Where a status stands in a report's life: a version that was taken back is not posted again. Payments have no place
    in it."""
    if status.state in ("partly_paid", "paid", "payment_reversed"):
        return 0, False
    return status.version, status.state == "reversed"


def _reversed_by_hand(batch: Batch, document: Document, event: AnyEvent) -> bool:
    """Follows a reversal that the ERP tells of and we did not ask for."""
    version = event.data.document.version
    reversals = {p.reverses for p in document.standing if p.purpose == "reverse" and p.state != "REJECTED"}
    live = [
        posting
        for posting in document.standing
        if posting.purpose != "reverse" and posting.state == "POSTED" and posting.version == version
    ]
    meant = [posting for posting in live if posting.id not in reversals]
    if not meant:
        return False
    # An advance may be paid and given back at one version: the reference tells which.
    named = [posting for posting in meant if batch.posted[posting.id].reference == event.data.reference]
    postings.mark_reversed(batch.tx, (named or meant)[0].id)
    return True


def _status(event: AnyEvent, state: str) -> Status:
    data: Any = event.data
    return Status(
        company=event.company,
        number=event.number,
        version=data.document.version,
        state=state,  # type: ignore[arg-type]
        erp_number=getattr(data, "erp_number", None),
        on=getattr(data, "posted_on", None) or getattr(data, "reversed_on", None),
        code=getattr(data, "code", None),
        message=getattr(data, "message", None),
    )


def to_text(status: Status) -> str:
    """A status as the ledger keeps it."""
    return orjson.dumps(asdict(status)).decode()


def from_text(kept: str) -> Status:
    """The status that `to_text` kept."""
    values = orjson.loads(kept)
    on = values.pop("on")
    return Status(**values, on=None if on is None else date.fromisoformat(on))
