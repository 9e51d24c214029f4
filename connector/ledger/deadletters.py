"""The dead letter channel: what a person must look at, with its original bytes, and what the person decided.

A replay copies: the letter and its bytes stay, its event travels again. Cancelling a replay half way loses nothing,
because each letter is replayed in a transaction of its own.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, func, or_, select, text, update
from sqlalchemy.engine import Connection

from connector.errors import ConnectorError
from connector.ledger import audit, balances, documents, outbox, write_backs
from connector.ledger.sql import now, now_text, table_of
from connector.ledger.tables import dead_letters, inbox, postings, waits
from contracts import AnyEvent, Finding, Refused, parse, to_json


@dataclass(slots=True)
class Letter:
    """A dead letter to write. `blocks` makes later versions of its document wait; `lacks` says how much has to be left of
    a budget that it waits for."""

    code: str
    message: str
    door: str
    body: bytes
    content_type: str = "application/json"
    findings: Sequence[Finding] = ()
    waits_for: Sequence[str] = ()
    lacks: Mapping[str, Decimal] = field(default_factory=dict)
    source: str | None = None
    event_id: str | None = None
    type: str | None = None
    company: str | None = None
    number: str | None = None
    amount: str | None = None
    currency: str | None = None
    document_id: int | None = None
    posting_id: int | None = None
    write_back_id: int | None = None
    blocks: bool = False
    sent_as: tuple[str, str] | None = None  # the outbox row that the message says it comes from

    @classmethod
    def about(cls, event: AnyEvent, body: bytes, door: str, code: str, message: str, *, keyed: bool = True) -> Letter:
        """A letter about an event that could be read. Without `keyed` it does not stand for the event itself: the
        event's key belongs to another message, or must be free to come again."""
        data: Any = event.data
        total = getattr(data, "total", None)
        return cls(
            code=code,
            message=message,
            door=door,
            body=body,
            source=event.source if keyed else None,
            event_id=event.id if keyed else None,
            type=event.type,
            company=event.company,
            number=event.number,
            amount=None if total is None else f"{total:f}",
            currency=None if total is None else data.currency,
        )


def sentence(findings: Sequence[Finding]) -> str:
    """What is wrong, as one sentence of a letter: the first finding, and how many more there are."""
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return f"{first.path or 'message'}: expected {first.expected}, got {first.got}; {first.fix}{more}"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters: every given field must match."""

    ids: Sequence[int] = ()
    state: str | None = "open"
    code: str | None = None
    company: str | None = None
    number: str | None = None
    door: str | None = None
    waits_for: str | None = None
    limit: int = field(default=10_000)

    def where(self) -> list[ColumnElement[bool]]:
        c = dead_letters.c
        conditions: list[ColumnElement[bool]] = []
        if self.ids:
            conditions.append(c.id.in_(list(self.ids)))
        for name in ("state", "code", "company", "number", "door", "waits_for"):
            value = getattr(self, name)
            if value is not None and name == "waits_for":
                of_key = select(waits.c.letter_id).where(waits.c.key == value)
                conditions.append(c.id.in_(of_key))
            elif value is not None:
                conditions.append(c[name] == value)
        return conditions


class NotOpen(ConnectorError):
    """The letter is not in a state for this."""

    default_code = "OPS-803"


def park(tx: Connection, letter: Letter) -> int:
    """Writes a letter and gives its id. What was replayed and failed again is the same letter, open again."""
    values = {
        "code": letter.code,
        "message": letter.message[:4000],
        "findings": json.dumps([finding.as_dict() for finding in letter.findings], ensure_ascii=False),
        "waits_for": ", ".join(letter.waits_for)[:200] or None,
        "amount": letter.amount,
        "currency": letter.currency,
        "document_id": letter.document_id,
        "posting_id": letter.posting_id,
        "write_back_id": letter.write_back_id,
        "state": "open",
    }
    known = _known(tx, letter)
    if known is None:
        known = tx.execute(
            dead_letters.insert().returning(dead_letters.c.id),
            {
                **values,
                "door": letter.door,
                "content_type": letter.content_type[:120],
                "body": letter.body,
                "source": letter.source,
                "event_id": letter.event_id,
                "type": letter.type,
                "company": letter.company,
                "number": letter.number,
                "replays": 0,
            },
        ).scalar_one()
    else:
        tx.execute(
            update(dead_letters)
            .where(dead_letters.c.id == known)
            .values(**values, resolved_by=None, resolution=None, resolved_at=None)
        )
    _wait(tx, int(known), letter)
    if letter.blocks and letter.document_id is not None:
        tx.execute(
            text("UPDATE documents SET blocked_by = :letter WHERE id = :id"),
            {"letter": known, "id": letter.document_id},
        )
    return int(known)


def _known(tx: Connection, letter: Letter) -> int | None:
    """The letter, not done yet, about the very same: the voucher, the status, the event, or the same bytes refused once more
    by the same door."""
    c = dead_letters.c
    not_done = c.state.in_(("replayed", "open"))
    about: tuple[ColumnElement[bool], ...]
    if letter.posting_id is not None:
        about = (c.document_id == letter.document_id, c.posting_id == letter.posting_id, not_done)
    elif letter.write_back_id is not None:
        about = (c.document_id == letter.document_id, c.write_back_id == letter.write_back_id, not_done)
    elif letter.event_id is not None:
        return _known_of_event(tx, letter)
    else:
        about = (
            c.state == "open",
            c.code == letter.code,
            c.door == letter.door,
            c.event_id.is_(None),
            c.posting_id.is_(None),
            c.write_back_id.is_(None),
            c.body == letter.body,
        )
    return tx.scalar(select(c.id).where(*about))


def _known_of_event(tx: Connection, letter: Letter) -> int | None:
    """The letter of the event. A refused voucher that was to be made anew is replaced by what is wrong with its event."""
    c = dead_letters.c
    of_event = (c.source == letter.source, c.event_id == letter.event_id, c.state.in_(("replayed", "open")))
    rows = tx.execute(select(c.id, c.posting_id, c.state).where(*of_event)).all()
    replaced = [row.id for row in rows if row.posting_id is not None and row.state == "replayed"]
    if replaced:
        tx.execute(update(dead_letters).where(c.id.in_(replaced)).values(state="resolved"))
        # Whoever takes its place holds the lane that it held.
        holder = tx.scalar(text("SELECT blocked_by FROM documents WHERE id = :id"), {"id": letter.document_id})
        letter.blocks = letter.blocks or holder in replaced
    return next((row.id for row in rows if row.posting_id is None), None)


def _wait(tx: Connection, letter_id: int, letter: Letter) -> None:
    """Writes what the letter waits for: today's keys, not those of an earlier try."""
    tx.execute(waits.delete().where(waits.c.letter_id == letter_id))
    keys = dict.fromkeys(key[:200] for key in letter.waits_for)
    if keys:
        company = letter.company or ""
        lacks = {key[:200]: f"{amount:f}" for key, amount in letter.lacks.items()}
        rows = [{"letter_id": letter_id, "key": key, "company": company, "lacks": lacks.get(key)} for key in keys]
        tx.execute(waits.insert(), rows)


def find(tx: Connection, wanted: Filter) -> list[Row[Any]]:
    """Letters, oldest first, without their bytes."""
    columns = [column for column in dead_letters.c if column.name not in ("body", "findings")]
    statement = select(*columns).where(*wanted.where()).order_by(dead_letters.c.id).limit(wanted.limit)
    return list(tx.execute(statement))


@dataclass(frozen=True, slots=True)
class Cause:
    """Letters with the same code that wait for the same key, with the exact sum per currency and one letter to look at."""

    code: str
    waits_for: str | None
    count: int
    amounts: Mapping[str, Decimal]
    oldest: datetime
    example: int


def ids(tx: Connection, wanted: Filter) -> list[int]:
    """The numbers of the letters, oldest first, without limit."""
    return list(tx.scalars(select(dead_letters.c.id).where(*wanted.where()).order_by(dead_letters.c.id)))


def causes(tx: Connection, wanted: Filter) -> list[Cause]:
    """Letters by cause, the most frequent first, without limit."""
    c = dead_letters.c
    # Amounts are text: SQL only counts equal ones, they are added here, exactly.
    rows = tx.execute(
        select(
            c.code,
            c.waits_for,
            c.currency,
            c.amount,
            func.count().label("count"),
            func.min(c.created_at).label("oldest"),
            func.min(c.id).label("example"),
        )
        .where(*wanted.where())
        .group_by(c.code, c.waits_for, c.currency, c.amount)
    ).all()
    by_cause: dict[tuple[str, str | None], list[Row[Any]]] = defaultdict(list)
    for row in rows:
        by_cause[row.code, row.waits_for].append(row)
    found = [_cause(code, waits_for, members) for (code, waits_for), members in by_cause.items()]
    return sorted(found, key=lambda cause: (-cause.count, cause.code, cause.example))


def _cause(code: str, waits_for: str | None, rows: Sequence[Row[Any]]) -> Cause:
    amounts: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if row.amount is not None:
            amounts[row.currency] += Decimal(row.amount) * row._mapping["count"]
    return Cause(
        code,
        waits_for,
        sum(row._mapping["count"] for row in rows),
        dict(sorted(amounts.items())),
        min(row.oldest for row in rows),
        min(row.example for row in rows),
    )


def show(tx: Connection, letter_id: int) -> Row[Any] | None:
    """One letter, every column."""
    return tx.execute(select(dead_letters).where(dead_letters.c.id == letter_id)).first()


def replay(tx: Connection, letter_id: int, *, actor: str, reason: str = "replayed") -> str:
    """Sends the letter's event, or its posting, on its way again. Twice, or by two people at once, has one effect:
    the second is refused. Gives a sentence that says what happens now."""
    letter = _open(tx, letter_id)
    if letter.write_back_id is not None:
        if not write_backs.again(tx, letter.write_back_id):
            raise NotOpen(
                f"the OA was told something later about {letter.number} since: discard dead letter {letter_id}"
            )
        said = "the OA is told again"
    elif letter.posting_id is not None:
        said = _replay_posting(tx, letter)
    elif letter.event_id is not None and _in_inbox(tx, letter):
        documents.let_go(tx, letter.source, letter.event_id, letter.type, _event_body(tx, letter))
        said = "its event travels again"
    else:
        said = _read_again(tx, letter)
    tx.execute(
        update(dead_letters)
        .where(dead_letters.c.id == letter_id)
        .values(
            state="replayed",
            replays=dead_letters.c.replays + 1,
            resolved_by=actor,
            resolution=reason,
            resolved_at=now(),
        )
    )
    audit.append(tx, actor=actor, action="deadletter.replay", subject=f"dead letter {letter_id}", reason=reason)
    return said


def discard(tx: Connection, letter_id: int, *, actor: str, reason: str) -> str:
    """Ends the letter for good, by a named person with a reason. What waited behind it goes on.

    Raises NotOpen for a refused reversal that a new voucher waits for: given up, the old voucher would stand in the ERP
    while the document's balances are those of the new one.
    """
    letter = _open(tx, letter_id)
    if letter.posting_id is not None:
        if _awaited(tx, letter.posting_id):
            raise NotOpen(f"a new voucher waits for the reversal of dead letter {letter_id}: have it replayed")
        tx.execute(
            text(
                f"UPDATE postings SET state = 'REJECTED', code = 'OPS-804', message = :why, settled_at = {now_text(tx)},"
                " epoch = epoch + 1 WHERE id = :id AND state IN ('PENDING', 'UNKNOWN', 'REJECTED')"
            ),
            {"id": letter.posting_id, "why": f"discarded by {actor}: {reason}"},
        )
    if letter.event_id is not None:
        ended = tx.execute(
            update(inbox)
            .where(
                inbox.c.source == letter.source,
                inbox.c.event_id == letter.event_id,
                or_(inbox.c.outcome == "parked", inbox.c.outcome == "released"),
            )
            .values(outcome="discarded", note=reason)
            .returning(inbox.c.source, inbox.c.event_id, inbox.c.sha256)
        )
        outbox.settle(tx, [outbox.Sent(*row) for row in ended])
    if letter.document_id is not None and not _stands(tx, letter.document_id):
        balances.release(tx, letter.document_id)
    tx.execute(
        update(dead_letters)
        .where(dead_letters.c.id == letter_id)
        .values(state="discarded", resolved_by=actor, resolution=reason, resolved_at=now())
    )
    audit.append(tx, actor=actor, action="deadletter.discard", subject=f"dead letter {letter_id}", reason=reason)
    return "discarded" + unblock(tx, letter_id, letter.document_id)


def _awaited(tx: Connection, posting_id: int) -> bool:
    c = postings.c
    return bool(tx.scalar(select(c.id).where(c.depends_on == posting_id, c.state == "PENDING").limit(1)))


def _stands(tx: Connection, document_id: int) -> bool:
    """Whether anything of the document stands in the ERP, or may yet."""
    return bool(
        tx.scalar(
            text(
                "SELECT 1 FROM postings WHERE document_id = :id AND purpose <> 'reverse'"
                " AND state IN ('PENDING', 'SENDING', 'UNKNOWN', 'POSTED') LIMIT 1"
            ),
            {"id": document_id},
        )
    )


def is_replay_of(tx: Connection, letter_id: int, key: documents.EventKey) -> bool:
    """Whether this letter is about this event, and was replayed."""
    c = dead_letters.c
    of_event = (c.source == key.source, c.event_id == key.event_id)
    return bool(tx.scalar(select(c.id).where(c.id == letter_id, c.state == "replayed", *of_event)))


def resolve_replayed(tx: Connection, keys: Sequence[documents.EventKey]) -> None:
    """These events went through: the letters that were replayed for them are done, and hold no lane any more."""
    if not keys:
        return
    given, parameters = table_of(tx, {"source": "text", "event_id": "text"}, keys)
    done = tx.execute(
        text(
            f"UPDATE dead_letters SET state = 'resolved' WHERE id IN (SELECT l.id FROM {given} JOIN dead_letters l"
            " ON l.source = given.source AND l.event_id = given.event_id"
            " WHERE l.state = 'replayed' AND l.posting_id IS NULL AND l.write_back_id IS NULL)"
            " RETURNING id, document_id"
        ),
        parameters,
    ).all()
    if done:
        _open_lanes(tx, [(id_, document_id) for id_, document_id in done])


def _open_lanes(tx: Connection, done: Sequence[tuple[int, int | None]]) -> Sequence[int]:
    """Opens the lanes that these letters (id, document) hold, lets the versions behind them go, and gives the documents."""
    given, parameters = table_of(tx, {"letter": "bigint", "document": "bigint"}, done)
    opened = tx.scalars(
        text(
            f"UPDATE documents SET blocked_by = NULL WHERE id IN (SELECT d.id FROM {given} JOIN documents d"
            " ON d.id = given.document AND d.blocked_by = given.letter) RETURNING id"
        ),
        parameters,
    ).all()
    documents.release(tx, opened)
    return opened


def resolve_posting(tx: Connection, document_id: int, posting_id: int) -> None:
    """The posting that letters were about came through: they are done, and their lanes are open."""
    for letter_id in _resolve(tx, document_id, dead_letters.c.posting_id == posting_id):
        unblock(tx, letter_id, document_id)


def resolve_write_back(tx: Connection, document_id: int, write_back_id: int) -> None:
    """The OA was told: letters about that are done."""
    _resolve(tx, document_id, dead_letters.c.write_back_id == write_back_id)


def _resolve(tx: Connection, document_id: int, about: ColumnElement[bool]) -> Sequence[int]:
    c = dead_letters.c
    mine = (c.document_id == document_id, about, c.state.in_(("open", "replayed")))
    return tx.scalars(update(dead_letters).where(*mine).values(state="resolved").returning(c.id)).all()


def unblock(tx: Connection, letter_id: int, document_id: int | None) -> str:
    """Opens the lane that the letter held, and lets the versions behind it go, in order."""
    opened = _open_lanes(tx, [(letter_id, document_id)])
    return "; later versions of its document go on" if opened else ""


def _open(tx: Connection, letter_id: int) -> Row[Any]:
    statement = select(dead_letters).where(dead_letters.c.id == letter_id)
    peek = tx.execute(select(dead_letters.c.document_id).where(dead_letters.c.id == letter_id)).first()
    if peek is None:
        raise NotOpen(f"there is no dead letter {letter_id}")
    if peek.document_id is not None:
        documents.lock(tx, [peek.document_id])  # documents before everything else, as everywhere
    letter = tx.execute(statement.with_for_update()).one()
    if letter.state != "open":
        raise NotOpen(f"dead letter {letter_id} is {letter.state}, by {letter.resolved_by or 'the connector'}")
    return letter


def _in_inbox(tx: Connection, letter: Row[Any]) -> bool:
    return bool(
        tx.scalar(
            select(inbox.c.id).where(inbox.c.source == letter.source, inbox.c.event_id == letter.event_id).limit(1)
        )
    )


def _replay_posting(tx: Connection, letter: Row[Any]) -> str:
    posting = tx.execute(text("SELECT id, state FROM postings WHERE id = :id"), {"id": letter.posting_id}).one()
    if posting.state == "UNKNOWN":
        tx.execute(
            text(
                f"UPDATE postings SET asks = 0, tried_before = attempts, next_at = {now_text(tx)}"
                " WHERE id = :id AND state = 'UNKNOWN'"
            ),
            {"id": posting.id},
        )
        return "the ERP is asked again what became of it"
    if posting.state == "REJECTED":
        return _replan_or_resend(tx, letter, posting.id)
    return f"its posting is {posting.state} already"


def _read_again(tx: Connection, letter: Row[Any]) -> str:
    """The letter never got as far as the inbox (unreadable, unsigned): a person's replay reads its bytes anew."""
    try:
        event = parse(letter.body, letter.content_type)
    except Refused as refused:
        raise NotOpen(f"dead letter {letter.id} still cannot be read: {refused}") from refused
    tx.execute(
        update(dead_letters)
        .where(dead_letters.c.id == letter.id)
        .values(source=event.source, event_id=event.id, type=event.type, company=event.company, number=event.number)
    )
    outbox.add(tx, [outbox.OutboxRow(event.source, event.id, event.type, to_json(event))])
    return "it can be read now and travels again"


def _replan_or_resend(tx: Connection, letter: Row[Any], posting_id: int) -> str:
    if letter.event_id is not None and _in_inbox(tx, letter):
        documents.let_go(tx, letter.source, letter.event_id, letter.type, _event_body(tx, letter))
        return "it is translated with today's mapping book and posted anew"
    tx.execute(
        text(
            f"UPDATE postings SET state = 'PENDING', tried_before = attempts, next_at = {now_text(tx)}"
            " WHERE id = :id AND state = 'REJECTED'"
        ),
        {"id": posting_id},
    )
    return "it is posted again"


def _event_body(tx: Connection, letter: Row[Any]) -> bytes:
    return bytes(
        tx.execute(
            select(inbox.c.body).where(inbox.c.source == letter.source, inbox.c.event_id == letter.event_id)
        ).scalar_one()
    )
