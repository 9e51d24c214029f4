"""Between two transactions stands the call: whatever becomes of it, the ERP ends with exactly one live voucher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connector.bootstrap import Runtime
from connector.erp.simulator import SimulatorErp
from connector.ledger import Ledger
from connector.settings import Delivery, Retry, System
from connector.testing.erp_simulator import ErpSimulator
from tests.integration.process.world import World, report

Make = Callable[..., tuple[ErpSimulator, World]]


@pytest.fixture
def make(ledger: Ledger, tmp_path: Path) -> Iterator[Make]:
    opened: list[ErpSimulator | SimulatorErp] = []

    def start(*, retry: Retry | None = None, settle_s: float = 0, **simulator: Any) -> tuple[ErpSimulator, World]:
        erp = ErpSimulator(slow_s=0.05, **simulator)
        opened.append(erp)
        password = SecretStr(ErpSimulator.password)
        options = {"batch": "10", "timeout_s": "30"}
        adapter = SimulatorErp(
            System(adapter="simulator", company="C01", url=erp.url, password=password, options=options)
        )
        opened.append(adapter)
        world = World(ledger, tmp_path / "erp", adapter, retry=retry)
        world.runtime = Runtime(
            world.runtime.settings.model_copy(update={"delivery": Delivery(settle_s=settle_s, in_doubt_asks=3)}),
            ledger,
            {"C01": adapter},
            {},
            world.runtime.open_channel,
        )
        return erp, world

    yield start
    for part in reversed(opened):
        part.close()


@pytest.mark.parametrize(
    "fault",
    [
        "drop_after_commit",
        "drop_before_commit",
        "error_500",
        "error_503",
        "html",
        "empty",
        "error_200",
        "expire",
        "swap",
        "slow",
    ],
)
def test_whatever_the_erp_answers_one_voucher_is_live(make: Make, fault: Any) -> None:
    erp, world = make()
    erp.script(fault)
    world.receive(report(amount="100.00"))

    world.deliver()

    assert (erp.total(), erp.duplicates()) == (Decimal("100.00"), {})
    assert world.postings() == [("C01-EXP-1-V1", "POSTED")]


def test_a_lost_answer_is_in_doubt_and_nothing_is_sent_or_asked_inside_the_settle_window(make: Make) -> None:
    erp, world = make(settle_s=3600)
    erp.script("drop_after_commit")
    world.receive(report())
    world.runtime.deliver_due("C01")
    calls = erp.met["calls"]

    world.deliver()

    assert (world.postings(), erp.met["calls"]) == ([("C01-EXP-1-V1", "UNKNOWN")], calls)


def test_a_voucher_in_doubt_is_adopted_with_its_number(make: Make) -> None:
    erp, world = make()
    erp.script("drop_after_commit")
    world.receive(report())

    world.deliver()

    ((number, outcome),) = world.query(
        "SELECT p.erp_number, a.outcome FROM postings p JOIN attempts a ON a.posting_id = p.id WHERE a.operation = 'find'"
    )
    assert (number, outcome) == (erp.live()[0].number, "adopted")


def test_a_busy_erp_is_tried_as_often_as_the_settings_say_and_then_a_person_is_asked(make: Make) -> None:
    retry = Retry(call_attempts=1, ledger_attempts=3, ledger_wait_s=0)
    erp, world = make(retry=retry)
    erp.script(*["error_503"] * 50)
    world.receive(report())

    world.deliver()

    (letter,) = world.letters()
    assert (letter.code, erp.met["error_503"], erp.live()) == ("ERP-504", 3, [])


def test_what_the_erp_refuses_goes_to_a_person_at_once_and_posts_after_a_replay(make: Make) -> None:
    erp, world = make(accounts=["224101"])
    world.receive(report(amount="100.00"))
    world.deliver()
    (letter,) = world.letters()
    assert (letter.code, erp.met["calls"]) == ("ERP-411", 1)

    assert erp.accounts is not None
    erp.accounts |= {line.split()[1] for line in world.voucher_lines("C01-EXP-1-V1")}
    world.replay(letter.id)
    world.deliver()

    assert (erp.total(), world.letters(), world.letters("resolved")[0].id) == (Decimal("100.00"), [], letter.id)


def test_a_version_behind_a_refused_one_is_posted_after_the_replay_in_order(make: Make) -> None:
    erp, world = make(accounts=["224101"])
    world.receive(report(amount="100.00"))
    world.deliver()
    world.receive(report(version=2, amount="80.00"))
    world.deliver()
    assert world.outcomes() == [(1, "applied"), (2, "held")]

    erp.accounts = None
    world.replay(world.letters()[0].id)
    world.deliver()

    assert [entry.voucher.reference for entry in erp.live()] == ["C01-EXP-1-V2"]
    assert [entry.voucher.reference for entry in erp.entries] == ["C01-EXP-1-V1", "C01-EXP-1-V1-R", "C01-EXP-1-V2"]


def test_a_version_behind_one_in_doubt_waits_until_the_erp_has_answered(make: Make) -> None:
    erp, world = make(settle_s=3600)
    erp.script("drop_after_commit")
    world.receive(report())
    world.runtime.deliver_due("C01")

    world.receive(report(version=2))

    assert world.outcomes() == [(1, "applied"), (2, "held")]


def test_the_versions_behind_one_in_doubt_go_on_once_it_is_found(make: Make) -> None:
    erp, world = make()
    erp.script("drop_after_commit")
    world.receive(report())
    world.runtime.deliver_due("C01")
    world.receive(report(version=2, amount="20.00"), report(version=3, amount="30.00"))

    world.deliver()

    assert [(e.voucher.reference, e.voucher.total_debit) for e in erp.live()] == [("C01-EXP-1-V3", Decimal("30.00"))]


def test_a_reversal_into_a_closed_period_goes_to_a_person_and_the_new_version_waits_for_it(make: Make) -> None:
    erp, world = make()
    world.receive(report(amount="100.00"))
    world.deliver()
    erp.closed_periods = {"2025-04"}
    world.receive(report(version=2, amount="80.00"))
    world.deliver()
    assert ([letter.code for letter in world.letters()], erp.total()) == (["ERP-402"], Decimal("100.00"))

    erp.closed_periods = set()
    world.replay(world.letters()[0].id)
    world.deliver()

    assert (erp.total(), world.letters()) == (Decimal("80.00"), [])


def test_a_doubt_that_cannot_be_answered_goes_to_a_person_and_stays_in_doubt(make: Make) -> None:
    erp, world = make()
    erp.script("drop_after_commit")
    world.receive(report())
    world.runtime.deliver_due("C01")
    erp.close()

    for _ in range(10):
        world.query("SELECT 1")
        with world.ledger.begin() as tx:
            tx.exec_driver_sql("UPDATE postings SET next_at = created_at")
        world.runtime.resolve_in_doubt("C01")

    assert ([letter.code for letter in world.letters()], world.postings()) == (
        ["ERP-502"],
        [("C01-EXP-1-V1", "UNKNOWN")],
    )


def test_one_refused_voucher_does_not_spoil_its_batch(make: Make) -> None:
    erp, world = make(closed_periods=["2025-01"])
    good = [report(f"EXP-{n}") for n in range(5)]
    world.receive(*good, report("EXP-9", posting_date="2025-01-31"))

    world.deliver()

    assert (len(erp.live()), [letter.number for letter in world.letters()]) == (5, ["EXP-9"])


def test_a_posted_voucher_is_bound_to_its_number_and_told_as_an_event(make: Make) -> None:
    _, world = make()
    world.receive(report())

    world.deliver()

    assert [tuple(row) for row in world.query("SELECT our_key, their_number FROM cross_references")] == [
        ("C01-EXP-1-V1", world.query("SELECT erp_number FROM postings")[0][0])
    ]
    assert [row[0] for row in world.query("SELECT type FROM inbox ORDER BY id")] == [
        "expense.report.approved.v1",
        "voucher.posted.v1",
    ]
