"""The way back: the OA is told what became of its reports, in order, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connector.adapter import Delivery, Features, Outcome, Receipt, Status
from connector.bootstrap import Runtime
from connector.ledger import Ledger, outbox
from tests.integration.process.world import Shelved, World, advance, claim, expense, period, report, told


class ListeningOa:
    """An OA in memory: keeps what it was told, and refuses as often as it is asked to."""

    name, company = "feishu", "C01"
    features = Features(push=True, deliver=True, batch=10)

    def __init__(self) -> None:
        self.told: list[Status] = []
        self.refusals: list[Outcome] = []

    def deliver(self, batch: Any) -> list[Receipt | Outcome]:
        answers: list[Receipt | Outcome] = []
        for delivery in batch:
            assert isinstance(delivery, Delivery)
            if self.refusals:
                answers.append(self.refusals.pop(0))
                continue
            assert isinstance(delivery.payload, Status)
            self.told.append(delivery.payload)
            answers.append(Receipt(delivery.reference, delivery.reference, None, "posted"))
        return answers

    def close(self) -> None:
        self.told.clear()


@pytest.fixture
def oa() -> ListeningOa:
    return ListeningOa()


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path, oa: ListeningOa) -> World:
    made = World(ledger, tmp_path / "erp")
    old = made.runtime
    made.runtime = Runtime(old.settings, ledger, old.erp, {"/oa/feishu/C01": oa}, old.open_channel)  # type: ignore[dict-item]
    return made


def tell(world: World) -> None:
    while world.runtime.write_back_due("/oa/feishu/C01").claimed:
        pass


def test_a_posted_report_is_told_to_its_oa_with_the_erps_number(world: World, oa: ListeningOa) -> None:
    world.receive(report())
    world.deliver()

    tell(world)

    ((number,),) = world.query("SELECT erp_number FROM postings")
    assert [(s.number, s.version, s.state, s.erp_number) for s in oa.told] == [("EXP-1", 1, "posted", number)]


def test_a_change_is_told_as_reversed_then_posted(world: World, oa: ListeningOa) -> None:
    world.receive(report())
    world.deliver()
    world.receive(report(version=2, amount="70.00"))
    world.deliver()

    tell(world)

    assert [(s.version, s.state) for s in oa.told] == [(1, "posted"), (1, "reversed"), (2, "posted")]


def posted(number: str, kind: str = "expense.report") -> dict[str, Any]:
    """The ERP tells that the voucher of a document stands in its books."""
    document = {"type": kind, "number": number, "version": 1}
    more = {"reference": f"C01-{number}-V1", "erp_number": "7", "posted_on": "2025-04-20"}
    return told("voucher.posted.v1", number, number=number, document=document, **more)


@pytest.mark.parametrize("stranger", ["/erp/nobody/C01", "/oa/feishu/C01"])
def test_a_stranger_does_not_take_a_voucher_back(world: World, stranger: str) -> None:
    world.receive(report())
    world.deliver()
    document = {"type": "expense.report", "number": "EXP-1", "version": 1}
    more = {"reference": "C01-EXP-1-V1", "erp_number": "7", "reversed_on": "2025-04-20"}

    world.receive(told("voucher.reversed.v1", "EXP-1", stranger, number="EXP-1", document=document, **more))

    world.receive(report(version=2, amount="70.00"))
    world.deliver()
    assert list(world.live()) == ["C01-EXP-1-V2"]
    assert [(letter.code, letter.number) for letter in world.letters()] == [("SEC-610", "EXP-1")]


def test_an_answer_that_comes_before_its_report_does_not_keep_the_report_out(world: World) -> None:
    world.receive(posted("EXP-1"))

    world.receive(report())
    world.deliver()

    assert (list(world.live()), world.letters()) == (["C01-EXP-1-V1"], [])
    assert world.query("SELECT kind, source FROM documents") == [("expense.report", "/oa/feishu/C01")]


def test_an_answer_and_its_report_in_one_batch_leave_the_report_to_its_oa(world: World) -> None:
    world.receive(posted("EXP-1"), report())
    world.deliver()

    assert (list(world.live()), world.letters()) == (["C01-EXP-1-V1"], [])


def test_an_answer_about_an_advance_is_about_no_report_of_that_number(world: World, oa: ListeningOa) -> None:
    world.receive(advance("2025-001", "100.00"))
    world.receive(posted("2025-001", "advance"))

    world.receive(report("2025-001"))
    world.deliver()
    tell(world)

    assert (list(world.live()), world.letters()) == (["C01-2025-001-V1"], [])
    assert [(s.version, s.state) for s in oa.told] == [(1, "posted")]
    assert sorted(world.query("SELECT kind, source FROM documents")) == [
        ("advance", "/oa/feishu/C01"),
        ("expense.report", "/oa/feishu/C01"),
    ]


def test_a_status_never_overtakes_the_one_before_it(world: World, oa: ListeningOa) -> None:
    oa.refusals = [Outcome("transient", "OA-501", "busy")]
    world.receive(report())
    world.deliver()
    world.receive(report(version=2, happening="withdrawn"))
    world.deliver()

    tell(world)

    assert [s.state for s in oa.told] == ["posted", "reversed"]


def test_answers_that_overtake_each_other_leave_the_last_word_to_the_last_version(
    world: World, oa: ListeningOa
) -> None:
    world.receive(report())
    world.runtime.deliver_due("C01")
    world.receive(report(version=2, amount="70.00"))
    while world.runtime.deliver_due("C01").claimed:
        pass
    with world.ledger.begin() as tx:
        answers = outbox.claim(tx, 500, 60, 60)

    for answer in reversed(answers):
        world.receive(answer.body)
    tell(world)

    assert (len(answers), [(s.version, s.state) for s in oa.told]) == (3, [(2, "posted")])


def test_an_oa_that_refuses_for_good_leaves_a_dead_letter_and_the_voucher_stands(world: World, oa: ListeningOa) -> None:
    oa.refusals = [Outcome("permanent", "OA-401", "the report is archived")]
    world.receive(report())
    world.deliver()

    tell(world)

    assert ([letter.code for letter in world.letters()], len(world.live())) == (["OA-401"], 1)


def test_a_refused_write_back_is_told_after_a_replay(world: World, oa: ListeningOa) -> None:
    oa.refusals = [Outcome("permanent", "OA-401", "the report is archived")]
    world.receive(report())
    world.deliver()
    tell(world)

    world.replay(world.letters()[0].id)
    tell(world)

    assert ([s.state for s in oa.told], world.letters()) == (["posted"], [])


def test_a_category_without_a_rule_is_not_told_as_rejected_by_the_erp(world: World, oa: ListeningOa) -> None:
    world.receive(report(category="gift.gold"))
    world.deliver()

    tell(world)

    assert oa.told == []


def test_a_new_version_that_books_nothing_is_told_as_posted_at_once(world: World, oa: ListeningOa) -> None:
    world.receive(report())
    world.deliver()

    world.receive(report(version=2, happening="changed", title="Another title"))
    tell(world)

    numbers = {s.erp_number for s in oa.told}
    assert [(s.version, s.state) for s in oa.told] == [(1, "posted"), (2, "posted")]
    assert len(numbers) == 1


def test_a_report_of_a_closed_period_goes_back_where_the_book_says_reject(
    ledger: Ledger, tmp_path: Path, oa: ListeningOa
) -> None:
    book = Shelved(tmp_path / "book")
    book.table("periods", "document,company,policy\n*,*,REJECT\n")
    world = World(ledger, tmp_path / "erp", book=book.folder, oa={"/oa/feishu/C01": oa})  # type: ignore[dict-item]
    world.receive(period("2025-04", "closed"))

    world.receive(report())
    tell(world)

    assert [(s.number, s.state, s.code) for s in oa.told] == [("EXP-1", "rejected", "ACC-331")]


def test_payments_are_told_in_part_in_full_and_taken_back(world: World, oa: ListeningOa) -> None:
    world.receive(claim("EXP-1", expense("travel.taxi", "413.00")))
    world.deliver()
    for at, (number, amount, reverses) in enumerate(
        (("P1", "200.00", False), ("P2", "213.00", False), ("P2", "213.00", True)), 1
    ):
        kind, day = ("reversed", "reversed_on") if reverses else ("made", "paid_on")
        document = {"type": "expense.report", "number": "EXP-1", "version": 1}
        world.receive(
            told(
                f"payment.{kind}.v1", "EXP-1", version=at, number="EXP-1", reference="C01-EXP-1-V1", amount=amount,
                payment_number=number, document=document, currency="CNY", **{day: "2025-05-01"},
            )
        )  # fmt: skip

    tell(world)

    assert [s.state for s in oa.told] == ["posted", "partly_paid", "paid", "payment_reversed"]
