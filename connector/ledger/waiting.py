"""What open dead letters wait for, and how far the letters of a key that arrived have been let go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import Row, func, select, text
from sqlalchemy.engine import Connection

from connector.ledger.sql import now_text
from connector.ledger.tables import dead_letters, releases, waits

KEYS_MAX = 2000  # Keys looked at in one round; the oldest first.
State = Literal["canary", "flowing", "done", "stopped"]


@dataclass(frozen=True, slots=True)
class WaitedFor:
    """A key of a company and the open letters that wait for it, with the sums of their amounts."""

    company: str
    key: str
    count: int
    oldest: datetime
    amounts: Mapping[str, Decimal]


def keys(tx: Connection) -> list[tuple[str, str, int]]:
    """The keys that open letters wait for: company, key, how many; the ones that have waited longest first."""
    statement = (
        select(waits.c.company, waits.c.key, func.count())
        .join(dead_letters, dead_letters.c.id == waits.c.letter_id)
        .where(dead_letters.c.state == "open")
        .group_by(waits.c.company, waits.c.key)
        .order_by(func.min(waits.c.letter_id))
        .limit(KEYS_MAX)
    )
    return [(company, key, count) for company, key, count in tx.execute(statement)]


def waited_for(tx: Connection) -> list[WaitedFor]:
    """The same with amounts, for people."""
    d = dead_letters.c
    rows = tx.execute(
        select(
            waits.c.company,
            waits.c.key,
            d.currency,
            d.amount,
            func.count().label("n"),
            func.min(d.created_at).label("oldest"),
        )
        .join(dead_letters, d.id == waits.c.letter_id)
        .where(d.state == "open")
        .group_by(waits.c.company, waits.c.key, d.currency, d.amount)
    ).all()
    found: dict[tuple[str, str], list[Row[Any]]] = {}
    for row in rows:
        found.setdefault((row.company, row.key), []).append(row)
    shown = [_summed(company, key, members) for (company, key), members in found.items()]
    return sorted(shown, key=lambda one: (-one.count, one.company, one.key))


def _summed(company: str, key: str, rows: Sequence[Row[Any]]) -> WaitedFor:
    amounts: dict[str, Decimal] = {}
    for row in rows:
        if row.amount is not None:
            amounts[row.currency] = amounts.get(row.currency, Decimal(0)) + Decimal(row.amount) * row.n
    return WaitedFor(company, key, sum(row.n for row in rows), min(row.oldest for row in rows), amounts)


def letters(tx: Connection, company: str, key: str, limit: int) -> list[Row[Any]]:
    """Open letters that wait for a key, the oldest first: id, document_id, amount, currency."""
    d = dead_letters.c
    statement = (
        select(d.id, d.document_id, d.amount, d.currency)
        .join(waits, waits.c.letter_id == d.id)
        .where(waits.c.company == company, waits.c.key == key, d.state == "open")
        .order_by(d.id)
        .limit(limit)
    )
    return list(tx.execute(statement))


def keys_of(tx: Connection, letter_id: int) -> list[str]:
    """Everything a letter waits for."""
    return list(tx.scalars(select(waits.c.key).where(waits.c.letter_id == letter_id)))


def latest(tx: Connection, company: str, key: str) -> Row[Any] | None:
    """The latest release of a key."""
    c = releases.c
    return tx.execute(select(releases).where(c.company == company, c.key == key).order_by(c.id.desc()).limit(1)).first()


def running(tx: Connection) -> list[Row[Any]]:
    """Releases that are not at their end, the oldest first."""
    c = releases.c
    return list(tx.execute(select(releases).where(c.state.in_(("canary", "flowing"))).order_by(c.id)))


def recent(tx: Connection, limit: int) -> list[Row[Any]]:
    """The latest release of each key, the newest first."""
    c = releases.c
    newest = select(func.max(c.id)).group_by(c.company, c.key)
    return list(tx.execute(select(releases).where(c.id.in_(newest)).order_by(c.id.desc()).limit(limit)))


def begin(tx: Connection, company: str, key: str, canary: int, waiting: int, evidence: str) -> None:
    """A key arrived: its first letter is on its way."""
    tx.execute(
        releases.insert(),
        {
            "company": company,
            "key": key,
            "state": "canary",
            "canary": canary,
            "waiting": waiting,
            "released": 1,
            "evidence": evidence[:64],
        },
    )


def move(tx: Connection, release_id: int, state: State, *, released: int = 0, note: str | None = None) -> None:
    """So much more was let go, and this is where the release stands now."""
    tx.execute(
        text(
            f"UPDATE releases SET state = :state, released = released + :released, note = :note, moved_at = {now_text(tx)}"
            " WHERE id = :id"
        ),
        {"id": release_id, "state": state, "released": released, "note": note},
    )


def fate(tx: Connection, letter_id: int) -> tuple[Literal["through", "back", "on_its_way"], str]:
    """What became of a letter that was let go: its document stands in the ERP, it came back, or nobody knows yet."""
    letter = tx.execute(
        select(dead_letters.c.state, dead_letters.c.code, dead_letters.c.message, dead_letters.c.document_id).where(
            dead_letters.c.id == letter_id
        )
    ).one()
    if letter.state in ("open", "discarded"):
        return "back", f"{letter.code}: {letter.message}"
    if letter.document_id is None:
        return ("through", letter.state) if letter.state == "resolved" else ("on_its_way", letter.state)
    again = tx.execute(
        select(dead_letters.c.code, dead_letters.c.message)
        .where(dead_letters.c.document_id == letter.document_id, dead_letters.c.state == "open")
        .limit(1)
    ).first()
    if again is not None:
        return "back", f"{again.code}: {again.message}"
    posting = tx.execute(
        text(
            "SELECT state, erp_number FROM postings WHERE document_id = :id AND purpose <> 'reverse' ORDER BY id DESC LIMIT 1"
        ),
        {"id": letter.document_id},
    ).first()
    if posting is None:
        return ("through", letter.state) if letter.state == "resolved" else ("on_its_way", letter.state)
    if posting.state in ("POSTED", "REVERSED"):
        return "through", posting.erp_number or posting.state
    return ("back", posting.state) if posting.state == "REJECTED" else ("on_its_way", posting.state)
