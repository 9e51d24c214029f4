"""Intake: what a door was told is safe is safe, once, with the bytes it came as."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

import connector
from connector.adapter import Change
from connector.channels import Message, named
from connector.ledger import Ledger, outbox
from connector.ledger.outbox import OutboxRow
from connector.process.intake import accept, refuse
from contracts import Finding, parse_event
from tests.integration.process.world import World, report
from tests.support.wait import until


def event(**more: object) -> Change:
    body = json.dumps(report(**more), ensure_ascii=False).encode()  # type: ignore[arg-type]
    return Change(parse_event(body), body)


def unnumbered(amount: str, number: str = "EX1", **data: object) -> Change:
    body = json.dumps(report(number, amount=amount, **data), ensure_ascii=False).encode()  # type: ignore[arg-type]
    return Change(parse_event(body), b"what the OA said", unnumbered=True)


def waiting(ledger: Ledger) -> int:
    with ledger.begin() as tx:
        return int(tx.scalar(text("SELECT count(*) FROM outbox")) or 0)


def test_an_event_is_sent_if_the_callers_own_transaction_commits(ledger: Ledger) -> None:
    engine = create_engine(ledger.engine.url)

    with engine.begin() as own:
        connector.publish(own, event().event)

    engine.dispose()
    assert waiting(ledger) == 1


def test_an_event_is_not_sent_if_the_callers_own_transaction_fails(ledger: Ledger) -> None:
    engine = create_engine(ledger.engine.url)

    def fail() -> None:
        with engine.begin() as own:
            connector.publish(own, event().event)
            raise RuntimeError("the OA's own work failed")

    with pytest.raises(RuntimeError):
        fail()

    engine.dispose()
    assert waiting(ledger) == 0


def test_the_same_event_twice_is_told_to_be_a_duplicate(ledger: Ledger) -> None:
    change = event(event_id="one")

    first, second = accept(ledger, [change, change], "test")
    (third,) = accept(ledger, [change], "test")

    assert ([first.status, second.status, third.status], waiting(ledger)) == (["accepted", "duplicate", "duplicate"], 1)


def test_a_known_event_id_with_other_content_reaches_a_person(world: World, ledger: Ledger) -> None:
    accept(ledger, [event(event_id="one", amount="1.00")], "test")
    accept(ledger, [event(event_id="one", amount="2.00")], "test")

    world.deliver()

    assert [letter.code for letter in world.letters()] == ["SYN-301"]


def test_an_oa_that_does_not_number_its_versions_gets_one_for_each_content(world: World, ledger: Ledger) -> None:
    for amount in ("10.00", "10.00", "20.00", "20.00", "10.00"):
        accept(ledger, [unnumbered(amount)], "poll")

    world.deliver()

    assert [version for version, _ in world.outcomes("EX1")] == [1, 2, 3]
    assert list(world.live()) == ["C01-EX1-V3"]


def test_a_report_approved_again_as_it_was_is_known_and_nobody_is_asked(world: World, ledger: Ledger) -> None:
    accept(ledger, [unnumbered("10.00", approved_at="2025-04-03T10:00:00+08:00")], "poll")
    world.deliver()

    (again,) = accept(ledger, [unnumbered("10.00", approved_at="2025-04-04T09:00:00+08:00")], "poll")

    world.deliver()
    assert ((again.version, again.status), waiting(ledger), world.letters()) == ((1, "duplicate"), 0, [])


def test_a_page_of_an_oa_locks_its_documents_in_the_order_that_every_batch_does(
    fresh_postgres_url: Callable[[], str], tmp_path: Path
) -> None:
    ledger = Ledger(fresh_postgres_url())
    ledger.upgrade()
    World(ledger, tmp_path).receive(report("EX-A"), report("EX-B"))
    page = [unnumbered("10.00", "EX-B"), unnumbered("10.00", "EX-A")]

    def waits() -> bool:
        with ledger.begin() as other:
            waiting_for = "datname = current_database() AND wait_event_type = 'Lock'"
            return bool(other.scalar(text(f"SELECT count(*) FROM pg_stat_activity WHERE {waiting_for}")))

    with closing(ledger), ThreadPoolExecutor(1) as pool:
        with ledger.begin() as tx:
            tx.execute(text("SELECT 1 FROM documents WHERE number = 'EX-A' FOR UPDATE"))
            taking = pool.submit(accept, ledger, page, "poll")
            until(waits, 20, "the page does not wait for the first document")
            tx.execute(text("SELECT 1 FROM documents WHERE number = 'EX-B' FOR UPDATE NOWAIT"))

        assert [answer.status for answer in taking.result(30)] == ["accepted", "accepted"]


def test_the_bytes_an_oa_sent_are_kept_beside_the_event(ledger: Ledger) -> None:
    accept(ledger, [unnumbered("10.00")], "poll")

    with ledger.begin() as tx:
        kept = tx.execute(text("SELECT door, body FROM originals")).one()
    assert (kept.door, bytes(kept.body)) == ("poll", b"what the OA said")


def test_the_same_bytes_refused_twice_are_one_letter(ledger: Ledger) -> None:
    finding = Finding("CON-101", "", "JSON", "{", "send JSON")

    first = refuse(ledger, b"{", "folder", [finding])
    second = refuse(ledger, b"{", "folder", [finding])
    other = refuse(ledger, b"[", "folder", [finding])

    assert (first == second, first == other) == (True, False)


def test_an_accepted_event_that_this_version_cannot_read_is_a_letter_and_is_not_sent_for_ever(
    world: World, ledger: Ledger
) -> None:
    newer = json.dumps(report(event_id="one")).replace(".v1", ".v9").encode()
    with ledger.begin() as tx:
        outbox.add(tx, [OutboxRow("/oa/feishu/C01", "one", "expense.report.approved.v9", newer)])

    world.runtime.apply_batch([Message(newer, named("/oa/feishu/C01", "one"))])

    assert ([letter.code for letter in world.letters()], waiting(ledger)) == (["CON-111"], 0)


def test_a_message_cannot_make_another_ones_event_vanish(world: World, ledger: Ledger) -> None:
    accept(ledger, [event(event_id="one")], "test")

    world.runtime.apply_batch([Message(b"{", named("/oa/feishu/C01", "one"))])

    assert waiting(ledger) == 1
