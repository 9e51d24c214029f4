"""A period that is closed while a batch plans into it. On the real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import text

from connector.ledger import Ledger, periods
from connector.ledger.close import obstacles
from connector.translate import load_book
from tests.integration.process.world import World, advance, claim, expense, period
from tests.support.wait import until

APRIL = periods.Period("2025-04", date(2025, 4, 1), date(2025, 4, 30), "open")
CLOSED = periods.Period("2025-04", APRIL.starts_on, APRIL.ends_on, "closed")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def world(fresh_postgres_url: Callable[[], str], tmp_path: Path) -> Iterator[World]:
    ledger = Ledger(fresh_postgres_url())
    ledger.upgrade()
    yield World(ledger, tmp_path / "erp")
    ledger.close()


def close_and_check(ledger: Ledger) -> list[str]:
    """What `oaerp close set` does, and what it then says is unfinished."""
    with ledger.begin() as tx:
        periods.put(tx, "C01", CLOSED)
    with ledger.snapshot() as tx:
        return [
            f"{one.kind} {one.number}" for one in obstacles(tx, "C01", APRIL.starts_on, APRIL.ends_on, load_book(None))
        ]


def waiting(world: World) -> int:
    """How many connections wait for a lock."""
    with world.ledger.begin() as tx:
        return int(tx.scalar(text(WAITING)) or 0)


@pytest.mark.parametrize("known", [True, False], ids=["a known period", "a period nobody knew of"])
def test_who_closes_a_period_sees_every_voucher_that_was_planned_into_it(world: World, known: bool) -> None:
    world.receive(advance("ADV-1", "100.00"), *([period("2025-04", "open")] if known else []))
    report = claim("EXP-1", expense("travel.taxi", "10.00"), advances=[{"number": "ADV-1", "amount": "10.00"}])

    with ThreadPoolExecutor(2) as pool:
        with world.ledger.begin() as other:  # who holds the advance keeps the batch from its end
            other.execute(text("SELECT 1 FROM balances FOR UPDATE"))
            batch = pool.submit(world.receive, report)
            until(lambda: waiting(world) == 1, 60, "the batch has read the periods and waits for the advance")
            closing = pool.submit(close_and_check, world.ledger)
            until(lambda: closing.done() or waiting(world) == 2, 60, "the period is closed, or that waits")
        batch.result(60)
        left = closing.result(60)

    assert left == ["posting EXP-1"]


def test_what_comes_while_a_period_is_being_closed_counts_as_come_after(world: World) -> None:
    world.receive(advance("ADV-1", "100.00"), period("2025-04", "open"), period("2025-05", "open"))
    batch: Future[object]

    with ThreadPoolExecutor(1) as pool:
        with world.ledger.begin() as tx:
            periods.put(tx, "C01", CLOSED)
            batch = pool.submit(world.receive, claim("EXP-1", expense("travel.taxi", "10.00")))
            until(lambda: batch.done() or waiting(world) == 1, 60, "the batch is decided, or waits")
        batch.result(60)

    assert world.postings() == []
    assert [letter.code for letter in world.letters()] == ["ACC-332"]
