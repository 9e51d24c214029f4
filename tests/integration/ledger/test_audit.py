"""The audit log: a row that was changed, removed or reordered is found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from connector.ledger import Ledger, audit


def write(ledger: Ledger, count: int) -> None:
    for n in range(count):
        with ledger.begin() as tx:
            audit.append(tx, actor="wang", action="deadletter.discard", subject=f"dead letter {n}", reason="重复")


def first_broken(ledger: Ledger) -> int | None:
    with ledger.begin() as tx:
        return audit.first_broken(tx)


def test_an_untouched_chain_holds(ledger: Ledger) -> None:
    write(ledger, 5)

    assert first_broken(ledger) is None


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        ("UPDATE audit SET reason = 'other' WHERE id = 3", 3),
        ("UPDATE audit SET actor = 'li' WHERE id = 1", 1),
        ("DELETE FROM audit WHERE id = 2", 3),
    ],
)
def test_tampering_is_located(ledger: Ledger, tamper: str, found: int) -> None:
    write(ledger, 5)

    with ledger.begin() as tx:
        tx.execute(text(tamper))

    assert first_broken(ledger) == found


@pytest.mark.parametrize(
    "tamper", ["DELETE FROM audit WHERE id > 3", "DELETE FROM audit", "UPDATE audit SET hash = 'x' WHERE id = 4"]
)
def test_an_end_that_was_noted_is_missed_where_the_newest_entries_are_gone(ledger: Ledger, tamper: str) -> None:
    write(ledger, 4)
    with ledger.begin() as tx:
        noted = audit.end(tx)
    write(ledger, 1)

    with ledger.begin() as tx:
        kept = audit.holds(tx, noted.hash)
        tx.execute(text(tamper))
        kept_after = audit.holds(tx, noted.hash)

    assert (noted.entries, kept, kept_after) == (4, True, False)


def test_an_empty_log_ends_where_it_begins(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        noted = audit.end(tx)
        assert audit.holds(tx, noted.hash)

    assert noted.entries == 0


def test_writers_at_once_make_one_chain(ledger: Ledger) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: write(ledger, 5), range(4)))

    assert first_broken(ledger) is None
