"""Polling: what changed in a system since we last looked becomes events. The cursor moves in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from connector.adapter import Adapter
from connector.errors import Unavailable
from connector.ledger import Ledger
from connector.ledger.sql import now
from connector.ledger.tables import cursors
from connector.process.intake import accept_in, refuse_in
from connector.retry import call
from connector.settings import Retry

PAGES_MAX = 1000  # A system that always has one more page is asked again at the next tick.


@dataclass(frozen=True, slots=True)
class PollResult:
    """What a round of polling found."""

    changes: int
    accepted: int
    more: bool


def poll_once(ledger: Ledger, adapter: Adapter, system: str, retry: Retry, pages_max: int = PAGES_MAX) -> PollResult:
    """Reads page after page until nothing is new. Changes and cursor commit together, so that a crash repeats a page and
    loses none; a page that another poll overtook counts for nothing. Raises ConnectorError where the system cannot be
    asked."""
    with ledger.begin() as tx:
        cursor = tx.scalar(select(cursors.c.position).where(cursors.c.system == system))
    door = f"poll {adapter.name}"
    changes = accepted = 0
    for _ in range(pages_max):
        page = call(partial(adapter.poll, cursor), on=Unavailable, retry=retry)
        with ledger.begin() as tx:
            # What was read meanwhile by another poll is newer than this page: it would be the last word, and wrong.
            if not _move(tx, system, cursor, page.cursor):
                return PollResult(changes, accepted, more=True)
            answers = accept_in(tx, page.changes, door)
            for refused in page.refused:
                refuse_in(tx, refused.raw, door, refused.findings, source=refused.source, event_id=refused.event_id)
        changes += len(answers)
        accepted += sum(answer.status == "accepted" for answer in answers)
        cursor = page.cursor
        if not page.more:
            return PollResult(changes, accepted, more=False)
    return PollResult(changes, accepted, more=True)


def _move(tx: Connection, system: str, before: str | None, after: str) -> bool:
    """Moves the cursor from where it was read; False where it is not there any more. Another poll waits meanwhile."""
    if before is None:
        insert = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
        first = insert(cursors).values(system=system, position=after).on_conflict_do_nothing()
        return tx.scalar(first.returning(cursors.c.system)) is not None
    from_there = (cursors.c.system == system) & (cursors.c.position == before)
    return tx.execute(cursors.update().where(from_there).values(position=after, moved_at=now())).rowcount == 1
