"""The outbox: events that are safe in the ledger and on their way to the broker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, case, func, literal, select, text, update
from sqlalchemy.engine import Connection

from connector.ledger.sql import insert_many, now, now_text, table_of
from connector.ledger.tables import outbox


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """An event to send; `id` is 0 until the ledger gave it one. `again`: it was sent before, and nobody recorded it."""

    source: str
    event_id: str
    type: str
    body: bytes
    id: int = 0
    again: bool = False


class Sent(NamedTuple):
    """What names a message for ever: the event that it claims to be, and the hash of its bytes."""

    source: str
    event_id: str
    sha256: str


def add(tx: Connection, rows: Sequence[OutboxRow]) -> None:
    """Puts events into the outbox; they are sent if, and only if, this transaction commits."""
    insert_many(
        tx,
        outbox,
        [{"source": row.source, "event_id": row.event_id, "type": row.type, "body": row.body} for row in rows],
    )


def claim(tx: Connection, limit: int, resend_after_s: float, resend_after_max_s: float) -> list[OutboxRow]:
    """Up to `limit` due events, the longest due first, for this relay alone. Each is due again after a wait that doubles with
    every send, unless its event is recorded before: then the row is gone."""
    due = (
        select(outbox.c.id)
        .where(outbox.c.due_at <= text(now_text(tx)))
        .order_by(outbox.c.due_at, outbox.c.id)
        .limit(limit)
    )
    if tx.dialect.name == "postgresql":
        due = due.with_for_update(skip_locked=True)
    ids = list(tx.scalars(due))
    if not ids:
        return []
    # 2 ** 16 waits are longer than any cap, so the power stays small.
    doublings: ColumnElement[Any] = func.power(2, case((outbox.c.sends > 16, 16), else_=outbox.c.sends))
    if tx.dialect.name == "sqlite":
        doublings = literal(1).op("<<")(case((outbox.c.sends > 16, 16), else_=outbox.c.sends))
    wait = case((resend_after_s * doublings > resend_after_max_s, resend_after_max_s), else_=resend_after_s * doublings)
    claimed = tx.execute(
        update(outbox)
        .where(outbox.c.id.in_(ids))
        .values(due_at=now(wait), sends=outbox.c.sends + 1)
        .returning(outbox.c.source, outbox.c.event_id, outbox.c.type, outbox.c.body, outbox.c.id, outbox.c.sends > 1)
    )
    return sorted((OutboxRow(*row) for row in claimed), key=lambda row: row.id)


def failed(tx: Connection, ids: Sequence[int]) -> None:
    """These were claimed but not confirmed: due again at once, in their old place, as if they had not been claimed."""
    if ids:
        as_before = {"due_at": outbox.c.created_at, "sends": outbox.c.sends - 1}
        tx.execute(update(outbox).where(outbox.c.id.in_(ids)).values(as_before))


def settle(tx: Connection, sent: Sequence[Sent]) -> None:
    """These events are recorded, or kept as dead letters: they need no sending any more. Other bytes under the same key
    are another message, and stay."""
    if not sent:
        return
    given, parameters = table_of(tx, {"source": "text", "event_id": "text", "sha256": "text"}, sent)
    sha256 = "encode(sha256(o.body), 'hex')" if tx.dialect.name == "postgresql" else "sha256_hex(o.body)"
    tx.execute(
        text(
            f"DELETE FROM outbox WHERE id IN (SELECT o.id FROM {given} JOIN outbox o"
            f" ON o.source = given.source AND o.event_id = given.event_id AND {sha256} = given.sha256)"
        ),
        parameters,
    )


def sent(tx: Connection) -> int:
    """Events that were sent and that nobody recorded yet."""
    return int(tx.scalar(select(func.count()).select_from(outbox).where(outbox.c.sends > 0)) or 0)


def waiting(tx: Connection) -> int:
    """Events nobody recorded yet."""
    return int(tx.scalar(select(func.count()).select_from(outbox)) or 0)


def on_the_way(tx: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
    """Which of these events (source, id) are in the outbox, with their bytes."""
    if not keys:
        return {}
    given, parameters = table_of(tx, {"source": "text", "event_id": "text"}, keys)
    found = tx.execute(
        text(
            f"SELECT o.source, o.event_id, o.body FROM {given} JOIN outbox o"
            " ON o.source = given.source AND o.event_id = given.event_id"
        ),
        parameters,
    )
    return {(source, event_id): bytes(body) for source, event_id, body in found}
