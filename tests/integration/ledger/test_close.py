"""What stands in the way of closing a period: nothing that is unfinished is overlooked, nothing that is done is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.event import listen, remove

from connector.erp.file_ledger import FileLedger
from connector.ledger import Ledger, outbox, periods, write_backs
from connector.ledger.close import KINDS, Obstacle, obstacles
from connector.ledger.outbox import OutboxRow
from connector.ledger.write_backs import NewWriteBack
from connector.settings import System
from connector.translate import load_book
from tests.integration.process.world import World, period, report

APRIL = date(2025, 4, 1), date(2025, 4, 30)
MARCH = date(2025, 3, 1), date(2025, 3, 31)
BOOK = load_book(None)


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> World:
    return World(ledger, tmp_path / "erp")


def found(world: World, days: tuple[date, date] = APRIL, company: str = "C01") -> list[Obstacle]:
    with world.ledger.snapshot() as tx:
        return obstacles(tx, company, *days, BOOK)


def told(world: World, days: tuple[date, date] = APRIL) -> list[str]:
    """Kind, number, amount and currency of each."""
    return [f"{one.kind} {one.number} {one.amount} {one.currency}" for one in found(world, days)]


def special(number: str = "EXP-1", version: int = 1, *, certified: bool, **more: Any) -> dict[str, Any]:
    """A report with a special invoice of 106.00, 6.00 of it input tax."""
    invoice = {"kind": "vat_special", "number": f"I{number}", "total": "106.00", "net": "100.00", "tax": "6.00"}
    event = report(number, version, "approved" if version == 1 else "changed", amount="106.00", **more)
    event["data"]["lines"][0] |= {"category": "travel.hotel", "invoice": invoice | {"certified": certified}}
    return event


def test_nothing_stands_in_the_way_of_an_empty_ledger(world: World) -> None:
    assert found(world) == []


def test_what_is_booked_stands_in_nobody_s_way(world: World) -> None:
    world.receive(report("EXP-1"))
    world.deliver()

    assert found(world) == []


def test_a_letter_stands_in_the_way_of_the_period_of_its_report(world: World) -> None:
    world.receive(report("EXP-1", category="travel.spa"))

    (one,) = found(world)
    assert (one.kind, one.number, one.amount, one.currency) == ("dead letter", "EXP-1", Decimal("100.00"), "CNY")
    assert one.code == "MAP-201"
    assert one.what.startswith(f"{world.letters()[0].id}: ")
    assert found(world, MARCH) == []
    assert found(world, company="C02") == []


def test_the_posting_date_counts_before_the_day_of_the_approval(world: World) -> None:
    world.receive(report("EXP-1", category="travel.spa", posting_date="2025-03-31"))

    assert told(world) == []
    assert told(world, MARCH) == ["dead letter EXP-1 100.00 CNY"]


def test_a_letter_that_a_person_discarded_stands_in_nobody_s_way(world: World) -> None:
    world.receive(report("EXP-1", category="travel.spa"))
    world.discard(world.letters()[0].id)

    assert found(world) == []


def test_a_letter_that_cannot_be_read_may_be_of_any_period_that_had_begun(world: World) -> None:
    world.receive(b"{")

    assert told(world) == ["dead letter None None None"]
    assert found(world, (date(2999, 1, 1), date(2999, 1, 31))) == []


def test_master_data_stands_in_nobody_s_way(world: World) -> None:
    world.receive(b"{")
    world.query("UPDATE dead_letters SET type = 'master.department.changed.v1' RETURNING id")

    assert found(world) == []


def test_a_version_that_waits_behind_a_letter_is_told_beside_it(world: World) -> None:
    world.receive(report("EXP-1", category="travel.spa"))
    world.receive(report("EXP-1", 2, "changed", amount="120.00"))

    assert told(world) == ["dead letter EXP-1 100.00 CNY", "held version EXP-1 120.00 CNY"]


def test_a_voucher_that_is_not_sent_yet_stands_in_the_way(world: World) -> None:
    world.receive(report("EXP-1"), report("EXP-2", posting_date="2025-03-31"))

    assert told(world) == ["posting EXP-1 100.00 CNY"]
    assert told(world, MARCH) == ["posting EXP-2 100.00 CNY"]


@pytest.mark.parametrize("state", ["PENDING", "SENDING", "UNKNOWN", "REJECTED"])
def test_a_posting_that_is_not_settled_stands_in_the_way(world: World, state: str) -> None:
    world.receive(report("EXP-1"))
    world.query(f"UPDATE postings SET state = '{state}' RETURNING id")

    assert [one.what for one in found(world)] == [f"C01-EXP-1-V1 {state}"]


@pytest.mark.parametrize("state", ["POSTED", "REVERSED"])
def test_a_posting_that_is_settled_does_not(world: World, state: str) -> None:
    world.receive(report("EXP-1"))
    world.query(f"UPDATE postings SET state = '{state}' RETURNING id")

    assert found(world) == []


def test_a_posting_that_the_erp_refused_is_told_once_as_its_letter(ledger: Ledger, tmp_path: Path) -> None:
    options = {"path": str(tmp_path / "erp"), "closed_until": "2025-04-30"}
    world = World(ledger, tmp_path, FileLedger(System(adapter="file", company="C01", options=options)))
    world.receive(report("EXP-1"))
    world.deliver()
    assert told(world) == ["dead letter EXP-1 100.00 CNY"]

    world.discard(world.letters()[0].id)

    assert found(world) == []


def test_a_rejected_version_whose_place_another_took_is_over(world: World) -> None:
    world.receive(report("EXP-1"))
    world.query("UPDATE postings SET state = 'REJECTED' RETURNING id")
    world.receive(report("EXP-1", 2, "changed", amount="120.00"))
    world.deliver()

    assert found(world) == []


def test_an_event_that_no_worker_has_read_stands_in_the_way(world: World) -> None:
    event = report("EXP-1")
    with world.ledger.begin() as tx:
        body = json.dumps(event).encode()
        outbox.add(tx, [OutboxRow(event["source"], event["id"], event["type"], body)])

    assert told(world) == ["unread event EXP-1 100.00 CNY"]
    assert found(world, MARCH) == []
    assert found(world, company="C02") == []


def test_a_report_that_is_handed_in_and_not_approved_stands_in_the_way(world: World) -> None:
    world.receive(report("EXP-1", happening="submitted"))
    month = date.fromisoformat(report()["data"]["submitted_on"])

    assert told(world, (month, month)) == ["not approved EXP-1 100.00 CNY"]

    world.receive(report("EXP-1", 2))
    world.deliver()
    assert found(world, (month, month)) == []


def test_of_a_report_handed_in_twice_the_latest_counts(world: World) -> None:
    for version in (1, 2):
        world.receive(report("EXP-1", version, "submitted", amount=f"{version}00.00", posting_date="2025-04-30"))

    assert told(world) == ["not approved EXP-1 200.00 CNY"]


def test_a_report_whose_approval_is_on_its_way_is_told_once(world: World) -> None:
    event = report("EXP-1", 2, posting_date="2025-04-30")
    world.receive(report("EXP-1", happening="submitted", posting_date="2025-04-30"))
    with world.ledger.begin() as tx:
        body = json.dumps(event).encode()
        outbox.add(tx, [OutboxRow(event["source"], event["id"], event["type"], body)])

    assert told(world) == ["unread event EXP-1 100.00 CNY"]


def test_a_report_that_is_handed_in_and_withdrawn_stands_in_nobody_s_way(world: World) -> None:
    world.receive(report("EXP-1", happening="submitted", posting_date="2025-04-30"))
    world.receive(report("EXP-1", 2, "withdrawn"))

    assert found(world) == []


def test_input_tax_that_is_not_certified_stands_in_the_way_until_it_is(world: World) -> None:
    world.receive(special(certified=False))
    world.deliver()

    assert told(world) == ["pending tax EXP-1 6.00 CNY"]
    assert found(world, MARCH) == []

    world.receive(special(version=2, certified=True))
    world.deliver()
    assert found(world) == []


def test_a_certification_in_another_period_counts_for_the_report_s_own(world: World) -> None:
    world.receive(special(certified=False, posting_date="2025-03-31"))
    world.deliver()
    assert told(world, MARCH) == ["pending tax EXP-1 6.00 CNY"]

    world.receive(special(version=2, certified=True, posting_date="2025-04-30"))
    world.deliver()

    assert world.query("SELECT count(*) FROM postings WHERE purpose = 'adjust'") == [(1,)]
    assert found(world, MARCH) == found(world) == []


def test_a_memo_that_speaks_of_pending_tax_is_none(world: World) -> None:
    world.receive(report("EXP-1", title='"pending_tax"'))
    world.deliver()

    assert found(world) == []


@pytest.mark.parametrize("state", ["PENDING", "SENDING"])
def test_a_status_that_the_oa_was_not_told_stands_in_the_way(world: World, state: str) -> None:
    world.receive(report("EXP-1"))
    world.deliver()
    ((document_id,),) = world.query("SELECT id FROM documents WHERE number = 'EXP-1'")
    status = json.dumps({"state": "posted", "version": 1, "on": "2025-04-30"})
    with world.ledger.begin() as tx:
        write_backs.add(tx, [NewWriteBack(document_id, "/oa/feishu/C01", "/erp/file/C01", "a", status)])
    world.query(f"UPDATE write_backs SET state = '{state}' RETURNING id")

    assert [(one.kind, one.number, one.what) for one in found(world)] == [
        ("write-back", "EXP-1", f"/oa/feishu/C01 {state}")
    ]
    assert found(world, MARCH) == []

    world.query("UPDATE write_backs SET state = 'DONE' RETURNING id")
    assert found(world) == []


def test_a_write_back_that_failed_is_told_once_as_long_as_its_letter_is_open(world: World) -> None:
    world.receive(report("EXP-1"))
    world.deliver()
    ((document_id,),) = world.query("SELECT id FROM documents WHERE number = 'EXP-1'")
    status = json.dumps({"state": "posted", "version": 1, "on": "2025-04-30"})
    with world.ledger.begin() as tx:
        write_backs.add(tx, [NewWriteBack(document_id, "/oa/feishu/C01", "/erp/file/C01", "a", status)])
    world.query("UPDATE write_backs SET state = 'FAILED', code = 'OA-602' RETURNING id")
    assert found(world) == []  # a person gave it up

    world.receive(b"{")
    world.query("UPDATE dead_letters SET write_back_id = (SELECT max(id) FROM write_backs) RETURNING id")

    assert [(one.kind, one.code) for one in found(world)] == [("write-back", "OA-602")]


def test_a_refused_payment_stands_in_the_way_of_the_period_it_was_made_in(world: World) -> None:
    world.receive(report("EXP-1"))
    world.deliver()
    event = {
        "specversion": "1.0",
        "id": "pay-1",
        "source": "/erp/file/C01",
        "type": "payment.made.v1",
        "subject": "EXP-1",
        "time": "2025-04-10T10:00:00+08:00",
        "sequence": "1",
        "partitionkey": "C01/EXP-1",
        "data": {
            "company": "C01",
            "number": "EXP-1",
            "version": 1,
            "document": {"type": "expense.report", "number": "EXP-1", "version": 1},
            "reference": "C01-EXP-1-V1",
            "payment_number": "P1",
            "amount": "100.01",
            "currency": "CNY",
            "paid_on": "2025-04-10",
        },
    }
    world.receive(event)

    (one,) = found(world)
    assert (one.kind, one.code, one.amount, one.currency) == ("dead letter", "ACC-361", Decimal("100.01"), "CNY")


def test_a_report_held_by_a_closed_period_stands_in_the_way_of_that_period(world: World) -> None:
    with world.ledger.begin() as tx:
        periods.put(tx, "C01", periods.Period("2025-04", *APRIL, "closed"))
    world.receive(report("EXP-1"))

    assert [(one.kind, one.code) for one in found(world)] == [("dead letter", "ACC-332")]


def test_obstacles_come_by_kind_and_the_oldest_first(world: World) -> None:
    world.receive(report("EXP-1"), report("EXP-2"), report("EXP-3", category="travel.spa"))

    kinds = [one.kind for one in found(world)]
    assert kinds == sorted(kinds, key=KINDS.index) == ["dead letter", "posting", "posting"]
    assert [one.number for one in found(world)] == ["EXP-3", "EXP-1", "EXP-2"]


def test_what_a_worker_reads_meanwhile_is_told_all_the_same(
    fresh_postgres_url: Callable[[], str], tmp_path: Path
) -> None:
    ledger = Ledger(fresh_postgres_url())  # On SQLite the worker waits until the look is over.
    ledger.upgrade()
    world = World(ledger, tmp_path / "erp")
    event = report("EXP-1", category="travel.spa")
    with ledger.begin() as tx:
        outbox.add(
            tx, [OutboxRow(event["source"], event["id"], event["type"], json.dumps(event, ensure_ascii=False).encode())]
        )
    waiting = [event]

    def read_it_before_the_outbox_is_looked_at(*args: Any) -> None:
        if "FROM outbox" in args[2] and waiting:
            world.receive(waiting.pop())

    listen(ledger.engine, "before_cursor_execute", read_it_before_the_outbox_is_looked_at)
    try:
        assert told(world) == ["unread event EXP-1 100.00 CNY"]
    finally:
        remove(ledger.engine, "before_cursor_execute", read_it_before_the_outbox_is_looked_at)
    assert told(world) == ["dead letter EXP-1 100.00 CNY"]
    ledger.close()


def test_a_withdrawal_that_cannot_be_booked_lies_on_the_company_s_day(world: World) -> None:
    world.receive(report("EXP-1"))
    world.deliver()
    world.receive(period("2025-04", "closed"))
    world.receive(report("EXP-1", 2, "withdrawn", withdrawn_at="2025-03-31T17:00:00Z"))

    assert [letter.code for letter in world.letters()] == ["ACC-333"]
    assert told(world) == ["dead letter EXP-1 None None"]
    assert told(world, MARCH) == []


def test_looking_changes_nothing(world: World) -> None:
    world.receive(special(certified=False), report("EXP-2", category="travel.spa"))

    assert found(world) == found(world)
