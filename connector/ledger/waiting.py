"""What open dead letters wait for, and how far the letters of a key that arrived have been let go."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from sqlalchemy import Row, func, select, text, tuple_
from sqlalchemy.engine import Connection

from connector.ledger.sql import now_text, table_of
from connector.ledger.tables import dead_letters, releases, waits

PAGE = 2000  # Keys read at once.
State = Literal["canary", "flowing", "done", "stopped"]
Fate = Literal["through", "back", "overtaken", "on_its_way"]


class Key(NamedTuple):
    """What letters of a company wait for: `account:travel.ferry/D01`."""

    company: str
    name: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """What is there of the keys that letters wait for, as a short text each that changes when that does; and the letters
    that a budget has too little left for."""

    evidence: Mapping[Key, str]
    short: Collection[int]


@dataclass(frozen=True, slots=True)
class WaitedFor:
    """A key of a company and the open letters that wait for it, with the sums of their amounts."""

    company: str
    key: str
    count: int
    oldest: datetime
    amounts: Mapping[str, Decimal]


def keys(tx: Connection) -> Iterator[Sequence[Key]]:
    """The keys that open letters wait for, a page at a time."""
    c = waits.c
    open_ones = select(c.company, c.key).distinct().join(dead_letters, dead_letters.c.id == c.letter_id)
    open_ones = open_ones.where(dead_letters.c.state == "open").order_by(c.company, c.key).limit(PAGE)
    page = [Key(*row) for row in tx.execute(open_ones)]
    while page:
        yield page
        page = [Key(*row) for row in tx.execute(open_ones.where(tuple_(c.company, c.key) > tuple_(*page[-1])))]


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


# Of the open letters `d`, those that wait for nothing else: every key of theirs arrived.
_FREE = (
    "d.state = 'open' AND d.id NOT IN (SELECT id FROM {short}) AND NOT EXISTS (SELECT 1 FROM waits o"
    " WHERE o.letter_id = d.id AND (o.company, o.key) NOT IN (SELECT company, key FROM {given}))"
)


def _free(tx: Connection, arrived: Arrived) -> tuple[str, dict[str, str]]:
    given, parameters = table_of(tx, {"company": "text", "key": "text"}, list(arrived.evidence))
    short, more = table_of(tx, {"id": "bigint"}, [(id_,) for id_ in arrived.short], name="short")
    return _FREE.format(given=given, short=short), parameters | more


def first_free(tx: Connection, arrived: Arrived) -> Mapping[Key, int]:
    """Of each key that arrived, the oldest letter that waits for nothing else; keys without one are left out."""
    if not arrived.evidence:
        return {}
    free, parameters = _free(tx, arrived)
    statement = (
        "SELECT w.company, w.key, min(d.id) FROM waits w JOIN dead_letters d ON d.id = w.letter_id"
        f" WHERE {free} GROUP BY w.company, w.key ORDER BY min(d.id)"
    )
    return {Key(company, name): id_ for company, name, id_ in tx.execute(text(statement), parameters)}


def free(tx: Connection, key: Key, arrived: Arrived, after: int, limit: int) -> list[int]:
    """Letters that wait for this key and for nothing that has not arrived, the oldest first, behind the letter `after`."""
    condition, parameters = _free(tx, arrived)
    statement = (
        "SELECT d.id FROM waits w JOIN dead_letters d ON d.id = w.letter_id"
        f" WHERE w.company = :company AND w.key = :name AND d.id > :after AND {condition} ORDER BY d.id LIMIT :limit"
    )
    return list(tx.scalars(text(statement), {**parameters, **key._asdict(), "after": after, "limit": limit}))


def count(tx: Connection, key: Key) -> int:
    """How many open letters wait for a key."""
    open_ones = select(func.count()).join(dead_letters, dead_letters.c.id == waits.c.letter_id)
    of_key = (waits.c.company == key.company, waits.c.key == key.name)
    return tx.scalar(open_ones.select_from(waits).where(*of_key, dead_letters.c.state == "open")) or 0


def first(tx: Connection, key: Key) -> int | None:
    """The oldest open letter that waits for a key, whatever else it waits for."""
    c = dead_letters.c
    waiting = select(c.id).join(waits, waits.c.letter_id == c.id).where(c.state == "open")
    of_key = waiting.where(waits.c.company == key.company, waits.c.key == key.name)
    return tx.execute(of_key.order_by(c.id).limit(1)).scalar()


def on_budgets(tx: Connection) -> Sequence[tuple[int, Key, Decimal]]:
    """The open letters that wait for a budget, with how much has to be left of it."""
    d = dead_letters.c
    statement = (
        select(d.id, waits.c.company, waits.c.key, waits.c.lacks)
        .join(waits, waits.c.letter_id == d.id)
        .where(d.state == "open", waits.c.lacks.is_not(None))
    )
    return [(id_, Key(company, name), Decimal(lacks)) for id_, company, name, lacks in tx.execute(statement)]


def keys_of(tx: Connection, letter_id: int) -> list[str]:
    """Everything a letter waits for."""
    return list(tx.scalars(select(waits.c.key).where(waits.c.letter_id == letter_id)))


def latest(tx: Connection, key: Key) -> Row[Any] | None:
    """The latest release of a key."""
    c = releases.c
    of_key = select(releases).where(c.company == key.company, c.key == key.name)
    return tx.execute(of_key.order_by(c.id.desc()).limit(1)).first()


def running(tx: Connection) -> list[Row[Any]]:
    """Releases that are not at their end, the oldest first."""
    c = releases.c
    return list(tx.execute(select(releases).where(c.state.in_(("canary", "flowing"))).order_by(c.id)))


def recent(tx: Connection, limit: int) -> list[Row[Any]]:
    """The latest release of each key, the newest first."""
    c = releases.c
    newest = select(func.max(c.id)).group_by(c.company, c.key)
    return list(tx.execute(select(releases).where(c.id.in_(newest)).order_by(c.id.desc()).limit(limit)))


def begin(tx: Connection, key: Key, canary: int, waiting: int, evidence: str) -> None:
    """A key arrived: its first letter is on its way."""
    tx.execute(
        releases.insert(),
        {
            "company": key.company,
            "key": key.name,
            "state": "canary",
            "canary": canary,
            "reached": canary,
            "waiting": waiting,
            "released": 1,
            "evidence": evidence,
        },
    )


def move(
    tx: Connection, release_id: int, state: State, *, released: int = 0, reached: int = 0, note: str | None = None
) -> None:
    """So many more were let go, the last of them `reached`, and this is where the release stands now. A note that was
    there stays where there is none."""
    tx.execute(
        text(
            "UPDATE releases SET state = :state, released = released + :released, note = coalesce(:note, note),"
            f" reached = CASE WHEN reached > :reached THEN reached ELSE :reached END, moved_at = {now_text(tx)}"
            " WHERE id = :id"
        ),
        {"id": release_id, "state": state, "released": released, "reached": reached, "note": note},
    )


def fate(tx: Connection, letter_id: int) -> tuple[Fate, str]:
    """What became of a letter that was let go: its version of the document stands in the ERP, it came back, a later
    version took its place, or nobody knows yet."""
    letter = tx.execute(
        text(
            "SELECT d.state, d.code, d.message, i.outcome, i.note, i.document_id, i.version FROM dead_letters d"
            " LEFT JOIN inbox i ON i.source = d.source AND i.event_id = d.event_id WHERE d.id = :id"
        ),
        {"id": letter_id},
    ).one()
    if letter.state in ("open", "discarded"):
        return "back", f"{letter.code}: {letter.message}"
    stuck = _stuck(tx, letter.document_id)
    if stuck is not None:
        return "back", stuck
    if letter.state == "replayed":
        return "on_its_way", letter.state
    if letter.outcome in ("superseded", "duplicate"):
        return "overtaken", letter.note
    return _standing(tx, letter.document_id, letter.version) or ("through", letter.state)


def _stuck(tx: Connection, document_id: int | None) -> str | None:
    """Why a person must look at a posting of the document, where one must."""
    letter = tx.execute(
        text(
            "SELECT code, message FROM dead_letters WHERE document_id = :id AND state = 'open'"
            " AND posting_id IS NOT NULL LIMIT 1"
        ),
        {"id": document_id},
    ).first()
    return None if letter is None else f"{letter.code}: {letter.message}"


def _standing(tx: Connection, document_id: int | None, version: int | None) -> tuple[Fate, str] | None:
    """How the voucher of this version of the document stands; None where it has none."""
    posting = tx.execute(
        text(
            "SELECT state, erp_number FROM postings WHERE document_id = :id AND version = :version"
            " AND purpose <> 'reverse' ORDER BY id DESC LIMIT 1"
        ),
        {"id": document_id, "version": version},
    ).first()
    if posting is None:
        return None
    if posting.state in ("POSTED", "REVERSED"):
        return "through", posting.erp_number or posting.state
    return ("back" if posting.state == "REJECTED" else "on_its_way"), posting.state
