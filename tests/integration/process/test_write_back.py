"""Telling the OA: each status once, never backward, and none told for ever. On both databases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from connector.adapter import Delivery, Features, Outcome, Receipt, Status
from connector.erp.file_ledger import FileLedger
from connector.ledger import Ledger, outbox
from connector.ledger.deadletters import NotOpen
from connector.process.write_back import WriteBacker
from connector.settings import Delivery as Limits
from connector.settings import Retry, System
from tests.integration.process.world import World, claim, expense, report, told

SOURCE = "/oa/feishu/C01"


class NotingOa:
    """An OA in memory that notes each status under its reference, once, as the OA of a customer does."""

    name, company = "feishu", "C01"

    def __init__(self, batch: int = 10) -> None:
        self.features = Features(push=True, deliver=True, batch=batch)
        self.notes: dict[str, Status] = {}
        self.calls: list[list[str]] = []
        self.now_s, self.takes_s = 0.0, 0.0
        self.at_delivery: Callable[[Delivery], Outcome | None] = lambda delivery: None

    def clock(self) -> float:
        return self.now_s

    def deliver(self, batch: Sequence[Delivery]) -> list[Receipt | Outcome]:
        self.calls.append([delivery.reference for delivery in batch])
        self.now_s += self.takes_s
        answers: list[Receipt | Outcome] = []
        for delivery in batch:
            assert isinstance(delivery.payload, Status)
            refused = self.at_delivery(delivery)
            if refused is None:
                self.notes.setdefault(delivery.reference, delivery.payload)
            answers.append(refused or Receipt(delivery.reference, "1", None, "posted"))
        return answers

    def close(self) -> None:
        self.notes.clear()

    @property
    def states(self) -> list[str]:
        return [status.state for status in self.notes.values()]


class Killed(BaseException):
    """The end of a worker in the middle of a call."""


def worlds(ledger: Ledger, tmp_path: Path, oa: Any, erp: Any = None) -> World:
    return World(ledger, tmp_path / "erp", erp, oa={SOURCE: oa})


def tell(world: World, oa: Any, **limits: Any) -> None:
    """Rounds until nothing is due. A worker that is killed leaves its claims, which are over at once."""
    retry = Retry(ledger_wait_s=0, ledger_attempts=limits.pop("attempts", 3))
    teller = WriteBacker(world.ledger, oa, SOURCE, retry, Limits(**limits), clock=getattr(oa, "clock", lambda: 0.0))
    for _ in range(40):
        try:
            if not teller.write_back_due().claimed:
                return
        except Killed:
            with world.ledger.begin() as tx:
                tx.exec_driver_sql("UPDATE write_backs SET next_at = created_at WHERE state = 'SENDING'")
    raise AssertionError("it never came to rest")


def payment(number: str, amount: str, version: int, *, reverses: bool = False) -> dict[str, Any]:
    kind, day = ("reversed", "reversed_on") if reverses else ("made", "paid_on")
    document = {"type": "expense.report", "number": "EXP-1", "version": 1}
    return told(
        f"payment.{kind}.v1", "EXP-1", version=version, number="EXP-1", reference="C01-EXP-1-V1", amount=amount,
        payment_number=number, document=document, currency="CNY", **{day: "2025-05-01"},
    )  # fmt: skip


def test_every_payment_is_told_under_a_reference_of_its_own(ledger: Ledger, tmp_path: Path) -> None:
    oa = NotingOa()
    world = worlds(ledger, tmp_path, oa)
    world.receive(claim("EXP-1", expense("travel.taxi", "100.00")))
    world.deliver()

    world.receive(payment("P1", "30.00", 1), payment("P2", "30.00", 2), payment("P3", "40.00", 3))
    world.receive(payment("P3", "40.00", 4, reverses=True), payment("P4", "40.00", 5))
    tell(world, oa)

    assert oa.states == ["posted", "partly_paid", "partly_paid", "paid", "payment_reversed", "paid"]


def test_the_first_status_of_its_kind_keeps_the_reference_that_an_oa_may_have_noted(
    ledger: Ledger, tmp_path: Path
) -> None:
    oa = NotingOa()
    noted = Status("C01", "EXP-1", 1, "posted")
    oa.notes = {"C01-EXP-1-V1-posted": noted}  # told, and the answer lost
    world = worlds(ledger, tmp_path, oa)
    world.receive(report())
    world.deliver()

    tell(world, oa)

    assert oa.notes == {"C01-EXP-1-V1-posted": noted}


def test_a_late_refusal_is_not_told_of_a_voucher_that_stands_by_now(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "accounts").write_text("1\n")
    options = {"path": str(tmp_path / "erp"), "accounts": str(tmp_path / "accounts")}
    oa, erp = NotingOa(), FileLedger(System(adapter="file", company="C01", options=options))
    world = worlds(ledger, tmp_path, oa, erp)
    world.receive(report())
    world.runtime.deliver_due("C01")
    with ledger.begin() as tx:
        late = outbox.claim(tx, 500, 60, 60)
    chart = "\n".join(line.split()[1] for line in world.voucher_lines("C01-EXP-1-V1"))
    (tmp_path / "accounts").write_text(f"{chart}\n")
    world.replay(world.letters()[0].id)
    world.deliver()

    world.receive(*(row.body for row in late))
    tell(world, oa)

    assert oa.states == ["posted"]


def test_a_status_that_a_later_one_overtook_is_not_told_again(ledger: Ledger, tmp_path: Path) -> None:
    oa = NotingOa()
    world = worlds(ledger, tmp_path, oa)
    oa.at_delivery = lambda delivery: Outcome("permanent", "OA-401", "the report is archived")
    world.receive(report())
    world.deliver()
    tell(world, oa)
    oa.at_delivery = lambda delivery: None
    world.receive(report(version=2, happening="withdrawn"))
    world.deliver()
    tell(world, oa)

    with pytest.raises(NotOpen, match="told something later"):
        world.replay(world.letters()[0].id)

    assert oa.states == ["reversed"]


def test_a_status_whose_answer_gets_lost_each_time_goes_to_a_person(ledger: Ledger, tmp_path: Path) -> None:
    oa = NotingOa()
    oa.at_delivery = lambda delivery: Outcome("ambiguous", "OA-502", "no answer")
    world = worlds(ledger, tmp_path, oa)
    world.receive(report())
    world.deliver()

    tell(world, oa, attempts=3)

    assert (len(oa.calls), [letter.code for letter in world.letters()]) == (3, ["OA-502"])


@pytest.mark.parametrize("fault", [KeyError, Killed])
def test_a_status_that_breaks_the_call_goes_to_a_person_and_the_others_are_told(
    ledger: Ledger, tmp_path: Path, fault: type[BaseException]
) -> None:
    oa = NotingOa()

    def break_at_2(delivery: Delivery) -> None:
        if delivery.payload.number == "EXP-2":  # type: ignore[union-attr]
            raise fault("status")

    oa.at_delivery = break_at_2
    world = worlds(ledger, tmp_path, oa)
    world.receive(*(report(f"EXP-{n}") for n in range(5)))
    world.deliver()

    tell(world, oa, attempts=3)

    assert sorted(status.number for status in oa.notes.values()) == ["EXP-0", "EXP-1", "EXP-3", "EXP-4"]
    assert [letter.number for letter in world.letters()] == ["EXP-2"]


def test_no_status_is_told_in_the_second_half_of_its_claim(ledger: Ledger, tmp_path: Path) -> None:
    oa = NotingOa(batch=1)
    oa.takes_s = 25
    world = worlds(ledger, tmp_path, oa)
    world.receive(*(report(f"EXP-{n}") for n in range(10)))
    world.deliver()

    WriteBacker(ledger, oa, SOURCE, Retry(), Limits(lease_s=120), clock=oa.clock).write_back_due()  # type: ignore[arg-type]

    assert len(oa.calls) == 3  # at 0, 25 and 50 seconds
    assert world.query("SELECT attempts, count(*) FROM write_backs GROUP BY attempts ORDER BY attempts") == [
        (0, 7),
        (1, 3),
    ]
