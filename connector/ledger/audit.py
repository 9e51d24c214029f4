"""The audit log: who did what, when and why. Each row carries the hash of the one before, so that a row changed, removed
or reordered in the middle is found. Newest rows that were removed are found where the end was noted outside the ledger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.engine import Connection

from connector.ledger.tables import audit

_LOCK = 7_307_720_266_102
_FIRST = "0" * 64


@dataclass(frozen=True, slots=True)
class End:
    """How many rows the log has, and the hash of the last: to be noted where nobody who can change the ledger comes."""

    entries: int
    hash: str


def append(
    tx: Connection, *, actor: str, action: str, subject: str, reason: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Adds a row in the transaction of the act itself: no act without its row, no row without its act."""
    if tx.dialect.name == "postgresql":
        tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})  # one chain, one writer
    previous = _last(tx)
    row = {
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "actor": actor,
        "action": action,
        "subject": subject,
        "reason": reason,
        "detail": json.dumps(detail or {}, ensure_ascii=False, sort_keys=True),
        "previous": previous,
    }
    tx.execute(audit.insert(), {**row, "hash": _hash(row)})


def _last(tx: Connection) -> str:
    return tx.execute(select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)).scalar() or _FIRST


def end(tx: Connection) -> End:
    """Where the log ends now."""
    return End(tx.execute(select(func.count(audit.c.id))).scalar_one(), _last(tx))


def holds(tx: Connection, noted: str) -> bool:
    """Whether the row whose hash was noted is still there: with a whole chain, nothing up to it is missing."""
    return noted == _FIRST or tx.scalar(select(audit.c.id).where(audit.c.hash == noted)) is not None


def first_broken(tx: Connection) -> int | None:
    """The first row that is not what it was when it was written, or None where the chain holds as far as it goes."""
    previous = _FIRST
    for row in tx.execute(select(audit).order_by(audit.c.id)).mappings():
        known = {name: row[name] for name in ("at", "actor", "action", "subject", "reason", "detail", "previous")}
        if row["previous"] != previous or _hash(known) != row["hash"]:
            return int(row["id"])
        previous = str(row["hash"])
    return None


def _hash(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
