"""What a call may cost: none begins late in its claim, none is made for ever, and one bad voucher spoils no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from connector.adapter import Delivery, Features, Outcome, Receipt
from connector.erp.file_ledger import FileLedger
from connector.ledger import Ledger
from connector.process.delivery import Deliverer
from connector.settings import Delivery as Limits
from connector.settings import Retry, System
from tests.integration.process.world import World, report


class ScriptedErp:
    """An ERP in memory. Each call takes `takes_s` on its own clock and may do what a test says about a reference."""

    name, company = "scripted", "C01"

    def __init__(self, batch: int = 1, takes_s: float = 0) -> None:
        self.features = Features(deliver=True, batch=batch, settle_s=0)
        self.takes_s, self.now_s = takes_s, 0.0
        self.calls: list[list[str]] = []
        self.holds: dict[str, str] = {}  # reference -> state
        self.at_delivery: Callable[[str], Outcome | None] = lambda reference: None
        self.at_question: Callable[[str], None] = lambda reference: None

    def clock(self) -> float:
        return self.now_s

    def deliver(self, batch: Sequence[Delivery]) -> list[Receipt | Outcome]:
        self.calls.append([delivery.reference for delivery in batch])
        self.now_s += self.takes_s
        refused = [self.at_delivery(delivery.reference) for delivery in batch]
        answers: list[Receipt | Outcome] = []
        for delivery, outcome in zip(batch, refused, strict=True):
            if outcome is None:
                self.holds[delivery.reference] = "posted"
            answers.append(outcome or self._receipt(delivery.reference))
        return answers

    def find(self, reference: str) -> Receipt | None:
        self.now_s += self.takes_s
        self.at_question(reference)
        return self._receipt(reference) if reference in self.holds else None

    def classify(self, error: BaseException) -> Outcome:
        return Outcome("ambiguous", "ERP-502", f"{type(error).__name__}: {error}")

    def close(self) -> None:
        self.holds.clear()

    def _receipt(self, reference: str) -> Receipt:
        return Receipt(reference, reference, reference, self.holds[reference])  # type: ignore[arg-type]

    @property
    def sent(self) -> list[str]:
        return [reference for call in self.calls for reference in call]


class Killed(BaseException):
    """The end of a worker in the middle of a call."""


@pytest.fixture
def start(ledger: Ledger, tmp_path: Path) -> Callable[..., tuple[World, Deliverer]]:
    def started(erp: Any, **limits: Any) -> tuple[World, Deliverer]:
        retry = Retry(ledger_wait_s=0, ledger_attempts=limits.pop("attempts", 3))
        world = World(ledger, tmp_path / "erp", erp, retry=retry)
        settings = Limits(settle_s=0, **{"in_doubt_asks": 3, **limits})
        return world, Deliverer(ledger, erp, retry, settings, clock=getattr(erp, "clock", lambda: 0.0))

    return started


def until_rest(world: World, deliverer: Deliverer) -> None:
    """Rounds until nothing moves. A worker that is killed leaves its claims, which are over at once."""
    for _ in range(40):
        try:
            claimed = deliverer.deliver_due().claimed
        except Killed:
            claimed = 1
            with world.ledger.begin() as tx:
                tx.exec_driver_sql("UPDATE postings SET lease_until = created_at WHERE state = 'SENDING'")
        asked = deliverer.resolve_in_doubt().claimed
        if not (claimed or asked or world.relay()):
            return
    raise AssertionError("it never came to rest")


def test_no_call_begins_in_the_second_half_of_its_claim(start: Any) -> None:
    erp = ScriptedErp(batch=1, takes_s=25)
    world, deliverer = start(erp, lease_s=120)
    world.receive(*(report(f"EXP-{n}") for n in range(10)))

    deliverer.deliver_due()

    assert len(erp.sent) == 3  # at 0, 25 and 50 seconds


def test_what_was_not_begun_is_sent_in_a_later_round_and_counts_no_try(start: Any) -> None:
    erp = ScriptedErp(batch=1, takes_s=25)
    world, deliverer = start(erp, lease_s=120, attempts=1)
    world.receive(*(report(f"EXP-{n}") for n in range(10)))

    until_rest(world, deliverer)

    assert sorted(erp.sent) == sorted(reference for reference, _ in world.postings())
    assert {row[0] for row in world.query("SELECT attempts FROM postings")} == {1}
    assert world.query("SELECT count(*) FROM attempts") == [(10,)]


def test_a_voucher_that_gets_lost_each_time_goes_to_a_person_after_as_many_tries_as_the_settings_say(
    start: Any,
) -> None:
    erp = ScriptedErp()
    erp.at_delivery = lambda reference: Outcome("ambiguous", "ERP-502", "HTTP 500")
    world, deliverer = start(erp, attempts=3)
    world.receive(report())

    until_rest(world, deliverer)

    assert (len(erp.sent), world.postings()) == (3, [("C01-EXP-1-V1", "REJECTED")])
    assert [letter.code for letter in world.letters()] == ["ERP-503"]


def test_a_lost_voucher_is_posted_after_a_replay(start: Any) -> None:
    erp = ScriptedErp()
    erp.at_delivery = lambda reference: Outcome("ambiguous", "ERP-502", "HTTP 500")
    world, deliverer = start(erp, attempts=3)
    world.receive(report())
    until_rest(world, deliverer)

    erp.at_delivery = lambda reference: None
    world.replay(world.letters()[0].id)
    until_rest(world, deliverer)

    assert (world.postings(), world.letters()) == ([("C01-EXP-1-V1", "POSTED")], [])


def test_a_draft_that_never_gets_posted_goes_to_a_person_whose_replay_tries_it_again(start: Any) -> None:
    erp = ScriptedErp()
    erp.holds["C01-EXP-1-V1"] = "draft"
    erp.at_delivery = lambda reference: Outcome("ambiguous", "ERP-502", "HTTP 500")
    world, deliverer = start(erp, attempts=2)
    world.receive(report())
    until_rest(world, deliverer)
    assert (len(erp.sent), world.postings()) == (2, [("C01-EXP-1-V1", "UNKNOWN")])

    erp.at_delivery = lambda reference: None
    world.replay(world.letters()[0].id)
    until_rest(world, deliverer)

    assert (world.postings(), world.letters()) == ([("C01-EXP-1-V1", "POSTED")], [])


@pytest.mark.parametrize("fault", [KeyError, Killed])
def test_a_voucher_that_breaks_the_call_goes_to_a_person_and_the_others_of_its_batch_are_posted(
    start: Any, fault: type[BaseException]
) -> None:
    erp = ScriptedErp(batch=100)

    def break_at_2(reference: str) -> None:
        if reference == "C01-EXP-2-V1":
            raise fault("lines.")

    erp.at_delivery = break_at_2
    world, deliverer = start(erp, attempts=3)
    world.receive(*(report(f"EXP-{n}") for n in range(5)))

    until_rest(world, deliverer)

    states = dict(world.postings())
    assert states == {f"C01-EXP-{n}-V1": "REJECTED" if n == 2 else "POSTED" for n in range(5)}
    assert [letter.number for letter in world.letters()] == ["EXP-2"]


def test_a_voucher_that_cannot_be_asked_about_goes_to_a_person_and_the_others_are_asked_about(start: Any) -> None:
    erp = ScriptedErp()
    erp.at_delivery = lambda reference: Outcome("ambiguous", "ERP-502", "HTTP 500")
    world, deliverer = start(erp, attempts=1, in_doubt_asks=1)
    world.receive(report("EXP-1"), report("EXP-2"))

    def break_at_1(reference: str) -> None:
        if reference == "C01-EXP-1-V1":
            raise KeyError("lines.")

    erp.at_question = break_at_1
    until_rest(world, deliverer)

    assert world.postings() == [("C01-EXP-1-V1", "UNKNOWN"), ("C01-EXP-2-V1", "REJECTED")]
    assert [letter.number for letter in world.letters()] == ["EXP-1", "EXP-2"]


def test_a_reversal_whose_claim_was_lost_leaves_the_original_to_whoever_has_the_claim(
    start: Any, ledger: Ledger, tmp_path: Path
) -> None:
    class Overtaken(FileLedger):
        def reverse(self, delivery: Delivery) -> Receipt | Outcome:
            with ledger.begin() as tx:
                tx.exec_driver_sql("UPDATE postings SET epoch = epoch + 1, state = 'UNKNOWN' WHERE purpose = 'reverse'")
            return super().reverse(delivery)

    (tmp_path / "erp").mkdir()
    erp = Overtaken(System(adapter="file", company="C01", options={"path": str(tmp_path / "erp")}))
    world, deliverer = start(erp)
    world.receive(report())
    world.deliver()
    world.receive(report(version=2, happening="withdrawn"))

    result = deliverer.deliver_due()

    assert (result.lost, world.postings()) == (1, [("C01-EXP-1-V1", "POSTED"), ("C01-EXP-1-V1-R", "UNKNOWN")])


def test_what_was_not_asked_in_time_counts_no_question(start: Any) -> None:
    erp = ScriptedErp(batch=50)
    world, deliverer = start(erp, lease_s=120)
    world.receive(*(report(f"EXP-{n}") for n in range(10)))
    erp.at_delivery = lambda reference: Outcome("ambiguous", "ERP-502", "the answer was lost")
    deliverer.deliver_due()
    erp.takes_s = 25

    deliverer.resolve_in_doubt()

    asks = sorted(asks for (asks,) in world.query("SELECT asks FROM postings"))
    assert asks == [0] * 7 + [1] * 3  # at 0, 25 and 50 seconds


def test_a_voucher_that_cannot_be_read_back_stops_no_other(start: Any) -> None:
    erp = ScriptedErp(batch=50)
    world, deliverer = start(erp)
    world.receive(report("EXP-1"), report("EXP-2"))
    with world.ledger.begin() as tx:
        tx.execute(text("UPDATE postings SET voucher = :voucher WHERE reference = 'C01-EXP-1-V1'"), {"voucher": b"{}"})

    until_rest(world, deliverer)

    assert world.postings() == [("C01-EXP-1-V1", "REJECTED"), ("C01-EXP-2-V1", "POSTED")]
    assert [(letter.number, letter.code) for letter in world.letters()] == [("EXP-1", "CON-112")]
