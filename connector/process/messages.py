"""From bytes on a channel to events that can be trusted, and back to the question whether two say the same."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from sqlalchemy import text
from sqlalchemy.engine import Connection

from connector.channels import GIVEN_UP, Message
from connector.channels.signature import verify
from connector.ledger.deadletters import Letter, sentence
from connector.ledger.documents import EventKey
from connector.process.batch import Arrived
from connector.process.senders import objection
from connector.settings import Security
from contracts import Finding, Refused, parse_event
from contracts.envelope import AnyEvent


def open_messages(
    messages: Sequence[Message], security: Security, erps: Collection[str], door: str
) -> tuple[list[Arrived], list[Letter]]:
    """Decodes and verifies each message; what cannot be read or trusted, or is not its sender's to say (`erps` are the
    sources of the ERPs in the settings), becomes a letter with its original bytes."""
    arrived: list[Arrived] = []
    letters: list[Letter] = []
    for message in messages:
        try:
            event = parse_event(message.body)
            verify(message, security, event.source)
        except Refused as refused:
            letters.append(_unreadable(message, refused, door))
            continue
        finding = objection(event, erps)
        if finding is not None:
            letters.append(_not_its_own(message, event, finding, door))
            continue
        if GIVEN_UP in message.headers:
            letters.append(_given_up(message, event, door))
            continue
        sha256 = hashlib.sha256(message.body).hexdigest()
        arrived.append(Arrived(event, EventKey(event.source, event.id), message.body, sha256, door))
    return arrived, letters


def _unreadable(message: Message, refused: Refused, door: str) -> Letter:
    first = refused.findings[0]
    return Letter(
        code=first.code,
        message=sentence(refused.findings),
        door=door,
        body=message.body,
        content_type=message.headers.get("content-type", "application/json"),
        findings=refused.findings,
        sent_as=_sent_as(message),
    )


def _sent_as(message: Message) -> tuple[str, str]:
    return message.headers.get("outbox-source", ""), message.headers.get("outbox-id", "")


def _not_its_own(message: Message, event: AnyEvent, finding: Finding, door: str) -> Letter:
    """Says what it is about, and leaves the event's key to whoever may say it."""
    letter = Letter.about(event, message.body, door, finding.code, sentence([finding]), keyed=False)
    letter.findings, letter.sent_as = [finding], _sent_as(message)
    return letter


def _given_up(message: Message, event: AnyEvent, door: str) -> Letter:
    """A message that ended its worker again and again is not tried once more: a person looks at it."""
    reason = f"given up by the broker: {message.headers[GIVEN_UP]}"
    return Letter.about(event, message.body, door, "OPS-802", reason)


def reread(body: bytes, door: str) -> Arrived:
    """An event from the inbox: it was verified when it came in."""
    event = parse_event(body)
    return Arrived(event, EventKey(event.source, event.id), body, hashlib.sha256(body).hexdigest(), door, waiting=True)


def same_event(tx: Connection, arrived: Arrived) -> bool:
    """True where the event read before under this key says the same, whatever its bytes look like."""
    body = tx.scalar(
        text("SELECT body FROM inbox WHERE source = :source AND event_id = :event_id"), arrived.key._asdict()
    )
    return body is not None and parse_event(bytes(body)) == arrived.event


def same_content(tx: Connection, document_id: int, sha256: str, event: AnyEvent) -> bool:
    """True where the version that counts, which came as bytes of this hash, has the data of the event."""
    body = tx.scalar(
        text(
            "SELECT body FROM inbox WHERE document_id = :document_id AND version = :version"
            " AND sha256 = :sha256 ORDER BY id LIMIT 1"
        ),
        {"document_id": document_id, "version": event.version, "sha256": sha256},
    )
    if body is None:
        return False
    known = parse_event(bytes(body))
    return known.data == event.data and known.happening == event.happening
