"""Claims find what is due by an index, and letters their like: what else there is, however much, costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Connection

from connector.ledger import Ledger, deadletters, outbox, postings, write_backs

CLAIMS: dict[str, Callable[[Connection], object]] = {
    "events": lambda tx: outbox.claim(tx, 500, 30, 1800),
    "postings": lambda tx: postings.claim_due(tx, "C01", 50, 120, "one"),
    "whether a posting is due": lambda tx: postings.due_at_once(tx, "C01"),
    "postings in doubt": lambda tx: postings.claim_in_doubt(tx, "C01", 50, 120, "one"),
    "abandoned postings": lambda tx: postings.expire(tx, "C01", 60),
    "a letter of unreadable bytes": lambda tx: deadletters.park(
        tx, deadletters.Letter("CON-101", "unreadable", "broker", b"{")
    ),
    "write-backs": lambda tx: write_backs.claim_due(tx, "/oa/x/C01", 50, 120, "one"),
}
_FILL = """
INSERT INTO outbox (source, event_id, type, body, due_at, sends)
  SELECT 's', g::text, 't', 'x', now() + interval '1 hour', 3 FROM generate_series(1, 5000) g;
INSERT INTO documents (kind, company, number, source)
  SELECT 'expense.report', 'C01', g::text, 's' FROM generate_series(1, 5000) g;
INSERT INTO postings (document_id, company, version, purpose, reference, state, voucher, attempts, tried_before, asks, epoch,
    next_at)
  SELECT id, 'C01', 1, 'post', number, 'PENDING', 'x', 1, 0, 0, 0, now() + interval '1 hour' FROM documents;
INSERT INTO write_backs (document_id, system, event_source, event_id, status, state, attempts, epoch, next_at)
  SELECT id, '/oa/x/C01', 's', number, 'x', 'PENDING', 1, 0, now() + interval '1 hour' FROM documents;
INSERT INTO dead_letters (code, message, findings, door, content_type, body, state, replays)
  SELECT 'CON-101', 'unreadable', '[]', 'broker', 'application/json', decode(md5(g::text), 'hex'), 'open', 0
  FROM generate_series(1, 5000) g;
ANALYZE;
"""


@pytest.fixture(scope="module")
def full(databases: Any) -> Iterator[Ledger]:
    """A ledger on PostgreSQL in which everything is to be tried in an hour."""
    ledger = Ledger(databases.fresh())
    ledger.upgrade()
    with ledger.begin() as tx:
        tx.exec_driver_sql(_FILL)
    yield ledger
    ledger.close()


@pytest.mark.parametrize("what", CLAIMS)
def test_a_claim_reads_nothing_that_is_not_due(full: Ledger, what: str) -> None:
    plans: list[str] = []

    with full.begin() as tx:
        _explain_first(tx, plans)
        CLAIMS[what](tx)

    read = sum(int(line.rpartition(":")[2]) for line in plans if "Rows Removed by" in line)
    assert read == 0, "\n".join(plans)


def _explain_first(tx: Connection, plans: list[str]) -> None:
    """Has every statement of this transaction told how PostgreSQL carries it out."""

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        cursor.execute(f"EXPLAIN ANALYZE {statement}", parameters)
        plans.extend(line for (line,) in cursor.fetchall())

    event.listen(tx, "before_cursor_execute", explain)
