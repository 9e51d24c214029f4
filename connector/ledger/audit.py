"""The audit log: who did what, when and why. Each row carries the hash of the one before, so that a changed, removed or
reordered row is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.engine import Connection

from connector.ledger.tables import audit

_LOCK = 7_307_720_266_102
_FIRST = "0" * 64


def append(
    tx: Connection, *, actor: str, action: str, subject: str, reason: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Adds a row in the transaction of the act itself: no act without its row, no row without its act."""
    if tx.dialect.name == "postgresql":
        tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})  # one chain, one writer
    previous = tx.scalar(select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)) or _FIRST
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


def first_broken(tx: Connection) -> int | None:
    """The first row that is not what it was when it was written, or None where the chain holds."""
    previous = _FIRST
    for row in tx.execute(select(audit).order_by(audit.c.id)).mappings():
        known = {name: row[name] for name in ("at", "actor", "action", "subject", "reason", "detail", "previous")}
        if row["previous"] != previous or _hash(known) != row["hash"]:
            return int(row["id"])
        previous = str(row["hash"])
    return None


def _hash(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
