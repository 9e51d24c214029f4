"""What a thing of ours is called in another system."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.engine import Connection


def remember(
    tx: Connection, system: str, company: str, kind: str, our_key: str, their_key: str, their_number: str | None
) -> None:
    """Binds our key to theirs; the latest binding counts."""
    tx.execute(
        text(
            "INSERT INTO cross_references (system, company, kind, our_key, their_key, their_number)"
            " VALUES (:system, :company, :kind, :our_key, :their_key, :their_number)"
            " ON CONFLICT (system, company, kind, our_key) DO UPDATE"
            " SET their_key = excluded.their_key, their_number = excluded.their_number"
        ),
        {
            "system": system,
            "company": company,
            "kind": kind,
            "our_key": our_key,
            "their_key": their_key,
            "their_number": their_number,
        },
    )


def theirs(tx: Connection, system: str, company: str, kind: str, our_key: str) -> str | None:
    """Their key for ours, where it is known."""
    key: str | None = tx.scalar(
        text(
            "SELECT their_key FROM cross_references"
            " WHERE system = :system AND company = :company AND kind = :kind AND our_key = :our_key"
        ),
        {"system": system, "company": company, "kind": kind, "our_key": our_key},
    )
    return key
