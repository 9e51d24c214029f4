"""The outbox: nothing in it is forgotten, nothing is handed to two relays at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest

from connector.ledger import Ledger, outbox
from connector.ledger.outbox import OutboxRow, Sent


def rows(count: int) -> list[OutboxRow]:
    return [OutboxRow("/oa/x/C01", f"event-{n}", "expense.report.approved.v1", b"{}") for n in range(count)]


def claim(ledger: Ledger, limit: int = 500, resend_after_s: float = 60) -> list[OutboxRow]:
    with ledger.begin() as tx:
        return outbox.claim(tx, limit, resend_after_s, 1800)


def test_events_are_claimed_in_the_order_they_were_added(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        outbox.add(tx, rows(5))

    claimed = claim(ledger, limit=3)

    assert [row.event_id for row in claimed] == ["event-0", "event-1", "event-2"]


def test_a_claimed_event_is_not_claimed_again_before_it_is_due(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        outbox.add(tx, rows(2))

    first, second = claim(ledger), claim(ledger)

    assert (len(first), second) == (2, [])


def test_an_event_nobody_recorded_is_claimed_again(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        outbox.add(tx, rows(1))
    claim(ledger, resend_after_s=0)

    again = claim(ledger, resend_after_s=0)

    assert [row.event_id for row in again] == ["event-0"]


def test_an_event_whose_send_failed_is_due_at_once(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        outbox.add(tx, rows(1))
    claimed = claim(ledger)

    with ledger.begin() as tx:
        outbox.failed(tx, [row.id for row in claimed])

    assert len(claim(ledger)) == 1


def test_only_what_was_sent_and_not_recorded_is_claimed_as_sent_before(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        outbox.add(tx, rows(1))
    claimed = claim(ledger)
    with ledger.begin() as tx:
        outbox.failed(tx, [row.id for row in claimed])

    first, second = claim(ledger, resend_after_s=0), claim(ledger, resend_after_s=0)

    assert [row.again for row in first + second] == [False, True]


def test_a_recorded_event_is_never_sent_again(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        outbox.add(tx, rows(2))

    with ledger.begin() as tx:
        outbox.settle(tx, [Sent("/oa/x/C01", "event-0", sha256(b"{}").hexdigest())])

    assert [row.event_id for row in claim(ledger)] == ["event-1"]


def test_other_bytes_under_the_key_of_a_recorded_event_are_still_sent(ledger: Ledger) -> None:
    other = OutboxRow("/oa/x/C01", "event-0", "expense.report.approved.v1", b"\x00{ }")
    with ledger.begin() as tx:
        outbox.add(tx, [*rows(1), other])

    with ledger.begin() as tx:
        outbox.settle(tx, [Sent("/oa/x/C01", "event-0", sha256(b"{}").hexdigest())])

    assert [row.body for row in claim(ledger)] == [other.body]


def test_an_event_of_a_transaction_that_failed_is_not_sent(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.begin() as tx:
            outbox.add(tx, rows(1))
            raise RuntimeError("the caller's own work failed")

    with pytest.raises(RuntimeError):
        fail()

    assert claim(ledger) == []


def test_four_relays_at_once_claim_each_event_once(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        outbox.add(tx, rows(400))

    def relay(_: int) -> list[str]:
        mine: list[str] = []
        while claimed := claim(ledger, limit=17):
            mine += [row.event_id for row in claimed]
        return mine

    with ThreadPoolExecutor(4) as pool:
        claimed = [event_id for mine in pool.map(relay, range(4)) for event_id in mine]

    assert sorted(claimed) == sorted(row.event_id for row in rows(400))
