"""The story of an expense report: versions come in, postings go out, later versions wait behind a parked one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from connector.ledger import deadletters
from connector.ledger.deadletters import Letter
from connector.ledger.documents import Document
from connector.ledger.postings import read
from connector.plan import Cancel, Plan, Post, Reverse, Standing, Version, plan
from connector.process.batch import Arrived, Batch, NewPosting
from connector.process.messages import same_content
from connector.translate import Book, Refusal, make_reference, to_voucher
from contracts.envelope import AnyEvent
from contracts.voucher import parse_voucher
from contracts.voucher import to_json as voucher_to_json

_INTENTS = {"approved": "book", "changed": "book", "withdrawn": "withdraw", "submitted": "note"}


def apply(batch: Batch, document: Document, arrived: Sequence[Arrived], book: Book) -> None:
    """Decides about the versions of one document, those that waited first where the lane is open to them, in order."""
    # Version by version; of one version, what was let go before what newly came.
    for item in sorted(arrived, key=lambda item: (item.event.version, not item.released)):
        _apply_one(batch, document, item, book)


def _apply_one(batch: Batch, document: Document, item: Arrived, book: Book) -> None:
    decided = plan(document.as_state(), _version_of(batch, document, item))
    if decided.outcome == "held" and item.waiting:
        return  # it waits on
    if decided.outcome == "parked":
        batch.park(item, document, _letter(item, document, decided.code or "SYN-301", decided.reason))
        return
    if decided.outcome != "applied":
        batch.end(item, document, decided.outcome, decided.reason)
        return
    _carry_out(batch, document, item, decided, book)


def _carry_out(batch: Batch, document: Document, item: Arrived, decided: Plan, book: Book) -> None:
    """Translates first: where that fails, nothing of the plan is carried out."""
    event = item.event
    intent = _INTENTS[event.happening]
    if intent == "note":
        batch.end(item, document, "applied", decided.reason)
        return
    voucher = to_voucher(event.data, book) if intent == "book" else None
    if isinstance(voucher, Refusal):
        first = voucher.findings[0]
        letter = _letter(item, document, first.code, deadletters.sentence(voucher.findings), blocks=True)
        letter.findings, letter.waits_for = voucher.findings, ", ".join(voucher.waits_for) or None
        batch.park(item, document, letter)
        return
    for step in decided.steps:
        match step:
            case Cancel(posting):
                batch.cancel(document, posting, event.version)
            case Reverse(posting):
                batch.post(document, _reversal(batch, document, posting, _day_of(event)))
            case Post(version):
                assert voucher is not None
                after, behind_new = _last_reversal(document)
                batch.post(
                    document,
                    NewPosting(
                        document_id=document.id,
                        company=event.company,
                        version=version,
                        purpose="post",
                        reference=voucher.reference,
                        voucher=voucher_to_json(voucher),
                        book=book.fingerprint,
                        after=after,
                        after_reversal=behind_new,
                    ),
                )
    if event.version > document.version:
        document.blocked_by = None  # the parked version is through; one whose posting was rejected opens when it stands
    document.version, document.sha256 = event.version, item.sha256
    document.state = "withdrawn" if intent == "withdraw" else "booked"
    batch.change(document)
    batch.end(item, document, "applied", decided.reason)


def _version_of(batch: Batch, document: Document, item: Arrived) -> Version:
    event = item.event
    sha256 = item.sha256
    again = event.version == document.version and document.sha256 is not None and sha256 != document.sha256
    # Other bytes are not other content: another event id, another order of fields.
    if again and same_content(batch.tx, document, event):
        sha256 = document.sha256 or sha256
    return Version(event.version, sha256, event.source, _INTENTS[event.happening], item.released)  # type: ignore[arg-type]


def _reversal(batch: Batch, document: Document, posting: Standing, on: date) -> NewPosting:
    posted = read(batch.tx, posting.id)
    reference = make_reference(document.key.company, document.key.number, posting.version, "reverse")
    red = parse_voucher(bytes(posted["voucher"])).reversed(reference, on)
    return NewPosting(
        document_id=document.id,
        company=document.key.company,
        version=posting.version,
        purpose="reverse",
        reference=reference,
        voucher=voucher_to_json(red),
        book=posted["book"],
        reverses=posting.id,
    )


def _last_reversal(document: Document) -> tuple[int | None, bool]:
    """The reversal that must stand before a new posting: its id, or True where it is written by this very batch."""
    open_ones = [
        p for p in document.standing if p.purpose == "reverse" and p.state in ("PENDING", "SENDING", "UNKNOWN")
    ]
    if not open_ones:
        return None, False
    return (None, True) if open_ones[-1].id < 0 else (open_ones[-1].id, False)


def _day_of(event: AnyEvent) -> date:
    """The day a correction is booked on: what the document says, else the local day of what happened."""
    data: Any = event.data
    stated: date | None = getattr(data, "posting_date", None)
    moment: datetime = getattr(data, "approved_at", None) or data.withdrawn_at
    return stated or moment.date()


def _letter(item: Arrived, document: Document, code: str, message: str, *, blocks: bool = False) -> Letter:
    letter = Letter.about(item.event, item.body, item.door, code, message)
    letter.document_id, letter.blocks = document.id, blocks
    return letter
