"""Intake: from a door into the ledger. When these functions return, what they were given cannot be lost."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from connector.adapter import Change
from connector.ledger import Ledger, deadletters, documents, outbox
from connector.ledger.documents import DocumentKey, EventKey, Offer
from connector.ledger.tables import originals
from connector.ledger.tables import outbox as outbox_rows
from contracts import Finding, to_json
from contracts.envelope import AnyEvent


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that is safe: `duplicate` says that the very same one was safe already."""

    source: str
    event_id: str
    number: str
    version: int
    status: Literal["accepted", "duplicate"]


def document_key(event: AnyEvent) -> DocumentKey:
    """The document an event is about: an answer of the ERP is about the report, or the advance, that it answers."""
    kind = event.data.document.type if is_answer(event) else event.kind
    return DocumentKey(kind, event.company, event.number)


def owner(event: AnyEvent) -> str:
    """The source that a document belongs to, by an event about it; an answer of the ERP gives it none."""
    return "" if is_answer(event) else event.source


def is_answer(event: AnyEvent) -> bool:
    """Whether an event tells what became of a document in the ERP, and is no version of it."""
    return event.kind in ("voucher", "payment")


def accept(ledger: Ledger, changes: Sequence[Change], door: str) -> list[Accepted]:
    """Stores changes in one transaction, original bytes and outbox rows together, and returns after the commit."""
    with ledger.begin() as tx:
        return accept_in(tx, changes, door)


def accept_in(tx: Connection, changes: Sequence[Change], door: str) -> list[Accepted]:
    """The same inside a transaction of the caller, which must commit before anyone is told."""
    numbered = _number(tx, changes)
    keys = [EventKey(change.event.source, change.event.id) for change in numbered]
    known = {key: read.sha256 for key, read in documents.already_read(tx, keys).items()}
    known |= {EventKey(*key): _sha256(body) for key, body in outbox.on_the_way(tx, keys).items()}
    rows: list[outbox.OutboxRow] = []
    answers: list[Accepted] = []
    for key, change in zip(keys, numbered, strict=True):
        event = change.event
        body = to_json(event)
        sha256 = _sha256(body)
        status: Literal["accepted", "duplicate"] = "duplicate" if key in known else "accepted"
        answers.append(Accepted(event.source, event.id, event.number, event.version, status))
        # A known key with other content travels all the same: the worker parks it, where dropping it here would hide
        # that somebody uses a key twice. A key that we made ourselves says what the content is: approved again as it
        # was, a report differs in its times only.
        if key not in known or (known[key] != sha256 and not change.unnumbered):
            rows.append(outbox.OutboxRow(event.source, event.id, event.type, body))
            _keep_original(tx, event, door, change.raw, body)
        known[key] = sha256
    outbox.add(tx, rows)
    return answers


def publish(connection: Connection, *events: AnyEvent) -> None:
    """The transactional outbox: the events are sent if, and only if, the caller's own transaction commits. The
    connection must be one of the ledger's database, by whatever driver."""
    if events:
        rows = [{"source": e.source, "event_id": e.id, "type": e.type, "body": to_json(e)} for e in events]
        connection.execute(outbox_rows.insert(), rows)


def refuse(
    ledger: Ledger,
    raw: bytes,
    door: str,
    findings: Sequence[Finding],
    content_type: str = "application/json",
    source: str | None = None,
) -> int:
    """Stores what could not be read as a dead letter, with the original bytes, and gives its id."""
    with ledger.begin() as tx:
        return refuse_in(tx, raw, door, findings, content_type, source)


def refuse_in(
    tx: Connection,
    raw: bytes,
    door: str,
    findings: Sequence[Finding],
    content_type: str = "application/json",
    source: str | None = None,
    event_id: str | None = None,
) -> int:
    """The same inside a transaction of the caller; where `event_id` is given, refusing it again gives the same letter."""
    letter = deadletters.Letter(
        code=findings[0].code,
        message=deadletters.sentence(findings),
        door=door,
        body=raw,
        content_type=content_type,
        findings=tuple(findings),
        source=source,
        event_id=event_id,
    )
    return deadletters.park(tx, letter)


def _number(tx: Connection, changes: Sequence[Change]) -> list[Change]:
    """Numbers the versions of a system that does not: the next one where the content is not what it last offered. All the
    documents are locked at once, in the order that every batch locks them."""
    wanted = [(document_key(change.event), owner(change.event)) for change in changes if change.unnumbered]
    if not wanted:
        return list(changes)
    offers = documents.offers(tx, documents.hold(tx, wanted).values())
    before = dict(offers)
    numbered: list[Change] = []
    for change in changes:
        if not change.unnumbered:
            numbered.append(change)
            continue
        key = document_key(change.event)
        event, offers[key] = _numbered(change.event, offers[key])
        numbered.append(replace(change, event=event))
    documents.record_offers(tx, {key: offer for key, offer in offers.items() if offer != before[key]})
    return numbered


def _numbered(event: AnyEvent, last: Offer) -> tuple[AnyEvent, Offer]:
    """The event as the version that it is, and what its system has offered by now."""
    content = event.data.model_dump_json(exclude={"version", "approved_at"}).encode()
    sha256 = hashlib.sha256(event.type.encode() + b"\0" + content).hexdigest()
    offer = last if last.sha256 == sha256 else Offer(last.version + 1, sha256)
    data = event.data.model_copy(update={"version": offer.version})
    id_ = f"{event.subject}:{offer.version}:{sha256[:16]}"
    return event.model_copy(update={"data": data, "sequence": str(offer.version), "id": id_}), offer


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _keep_original(tx: Connection, event: AnyEvent, door: str, raw: bytes, body: bytes) -> None:
    if raw == body:
        return
    insert = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    tx.execute(
        insert(originals).values(source=event.source, event_id=event.id, door=door, body=raw).on_conflict_do_nothing()
    )
