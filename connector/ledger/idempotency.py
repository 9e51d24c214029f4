"""Answers already given: a request that comes again under its key gets the first answer and has no second effect."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from connector.ledger.sql import now
from connector.ledger.tables import idempotency_keys
from contracts import Finding, Refused

KEY_MAX = 200
FORGOTTEN_AT_ONCE = 10_000  # Answers in one transaction.


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered the first time."""

    status: int
    body: bytes


def seen(tx: Connection, scope: str, key: str, sha256: str) -> Answer | None:
    """The first answer under this key, or None, and then the key is ours until the transaction ends: another request
    with it waits for us. Raises Refused (SYN-306) where it came with other content before."""
    assert 0 < len(key) <= KEY_MAX, "keys are checked at the door"
    insert = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    reserved = tx.execute(
        insert(idempotency_keys)
        .values(scope=scope, key=key, request_sha256=sha256, status=0, body=b"")
        .on_conflict_do_nothing()
        .returning(idempotency_keys.c.key)
    )
    if reserved.first() is not None:
        return None
    first = tx.execute(
        select(idempotency_keys.c.request_sha256, idempotency_keys.c.status, idempotency_keys.c.body).where(
            idempotency_keys.c.scope == scope, idempotency_keys.c.key == key
        )
    ).one()
    if first.request_sha256 != sha256:
        expected, fix = "the same content as the first time", "use a new key for a new request"
        raise Refused(Finding("SYN-306", "", expected, "other content under the same key", fix))
    return Answer(first.status, bytes(first.body))


def remember(tx: Connection, scope: str, key: str, status: int, body: bytes) -> None:
    """Keeps the answer to the request whose key `seen` reserved; it commits or vanishes with what the request did."""
    assert status > 0, "an answer has a status"
    done = tx.execute(
        update(idempotency_keys)
        .where(idempotency_keys.c.scope == scope, idempotency_keys.c.key == key)
        .values(status=status, body=body)
    )
    assert done.rowcount == 1, "seen comes first"


def release(tx: Connection, scope: str, key: str) -> None:
    """Gives back a key that `seen` reserved, where the request had no effect worth remembering."""
    tx.execute(delete(idempotency_keys).where(idempotency_keys.c.scope == scope, idempotency_keys.c.key == key))


def forget(tx: Connection, older_than_s: int, limit: int = FORGOTTEN_AT_ONCE) -> int:
    """Drops at most `limit` answers older than that, and says how many. Events themselves are known for ever."""
    old = (
        select(idempotency_keys.c.scope, idempotency_keys.c.key)
        .where(idempotency_keys.c.created_at < now(-older_than_s))
        .limit(limit)
        .subquery()
    )
    dropped = tx.execute(
        delete(idempotency_keys).where(
            select(old).where(old.c.scope == idempotency_keys.c.scope, old.c.key == idempotency_keys.c.key).exists()
        )
    )
    return dropped.rowcount
