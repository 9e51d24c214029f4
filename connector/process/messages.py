"""From bytes on a channel to events that can be trusted, and back to the question whether two say the same."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from connector.channels import GIVEN_UP, Message
from connector.channels.signature import verify
from connector.ledger import documents
from connector.ledger.deadletters import Letter, sentence
from connector.ledger.documents import EventKey, Read
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
        item = _opened(event, message.body, door)
        if GIVEN_UP in message.headers:  # it ended its worker again and again
            item.fault = f"given up by the broker: {message.headers[GIVEN_UP]}"
        arrived.append(item)
    return arrived, letters


def _opened(event: AnyEvent, body: bytes, door: str) -> Arrived:
    return Arrived(event, EventKey(event.source, event.id), body, hashlib.sha256(body).hexdigest(), door)


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


def reread(body: bytes, door: str) -> Arrived:
    """An event from the inbox: it was verified when it came in."""
    item = _opened(parse_event(body), body, door)
    item.waiting = True
    return item


@dataclass(slots=True)
class Sorted:
    """What arrived, by what was read before: events to decide about, ones that are recorded already, and ones whose key
    belongs to another event."""

    unread: list[Arrived] = field(default_factory=list)
    repeated: list[Arrived] = field(default_factory=list)
    reused: list[Arrived] = field(default_factory=list)


def sort_out(arrived: Sequence[Arrived], read: Mapping[EventKey, Read], other: Mapping[EventKey, AnyEvent]) -> Sorted:
    """Sorts a batch by the key of each event. `read` was read before; `other` are the events of these whose bytes are not
    those that arrived.

    An event that was let go travels as the bytes that it had: others that say the same only repeat it.
    """
    done = Sorted()
    first: dict[EventKey, Arrived] = {}
    for item in arrived:
        before, twin = read.get(item.key), first.get(item.key)
        if before is not None and before.sha256 != item.sha256:
            (done.repeated if other[item.key] == item.event else done.reused).append(item)
        elif twin is not None:
            same = twin.sha256 == item.sha256 or twin.event == item.event
            (done.repeated if same else done.reused).append(item)
        elif before is not None and before.outcome != "released":
            done.repeated.append(item)
        else:
            item.released = before is not None
            first[item.key] = item
    done.unread = list(first.values())
    return done


def said_before(
    tx: Connection, arrived: Sequence[Arrived], read: Mapping[EventKey, Read]
) -> Mapping[EventKey, AnyEvent]:
    """The events that were read before under keys of this batch as other bytes."""
    keys = {item.key for item in arrived if item.key in read and read[item.key].sha256 != item.sha256}
    return {key: parse_event(body) for key, body in documents.bodies(tx, list(keys)).items()}


def same_content(body: bytes, event: AnyEvent) -> bool:
    """Whether these bytes are an event that says the same, under whatever id."""
    known = parse_event(body)
    return known.data == event.data and known.happening == event.happening
