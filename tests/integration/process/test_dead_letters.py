"""The dead letter channel: a lane waits, the others flow, a replay has one effect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from connector.adapter import Delivery, Outcome, Receipt
from connector.erp.file_ledger import FileLedger
from connector.ledger import Ledger, deadletters
from connector.ledger.deadletters import Letter, NotOpen
from connector.settings import System
from tests.integration.process.world import Shelved, World, report

UNMAPPED = "gift.gold"


def test_a_category_without_a_rule_is_parked_under_the_key_it_waits_for(world: World) -> None:
    world.receive(report(category=UNMAPPED))

    (letter,) = world.letters()
    assert (letter.code, letter.number, letter.amount, letter.currency) == ("MAP-201", "EXP-1", "100.00", "CNY")
    assert letter.waits_for.startswith("account:gift.gold")


def test_a_parked_version_holds_later_ones_of_its_document_and_of_no_other(world: World) -> None:
    world.receive(report("EXP-1", 1))
    world.deliver()
    world.receive(report("EXP-1", 2, category=UNMAPPED))

    world.receive(report("EXP-1", 3), report("EXP-2", 1))
    world.deliver()

    assert sorted(world.live()) == ["C01-EXP-1-V1", "C01-EXP-2-V1"]
    assert world.outcomes() == [(1, "applied"), (2, "parked"), (3, "held")]


def test_versions_behind_a_discarded_letter_go_on_in_order(world: World) -> None:
    world.receive(report(category=UNMAPPED), report(version=2, amount="20.00"), report(version=3, amount="30.00"))
    (letter,) = world.letters()

    world.discard(letter.id)
    world.deliver()

    assert world.live() == {"C01-EXP-1-V3": Decimal("30.00")}
    assert world.outcomes() == [(1, "discarded"), (2, "superseded"), (3, "applied")]


def test_a_replay_that_fails_again_is_the_same_letter_and_still_holds_its_lane(world: World) -> None:
    world.receive(report(category=UNMAPPED), report(version=2))
    (letter,) = world.letters()

    world.replay(letter.id)

    (again,) = world.letters()
    assert (again.id, again.replays) == (letter.id, 1)
    assert world.outcomes() == [(1, "parked"), (2, "held")]


def test_a_letter_cannot_be_replayed_twice(world: World, ledger: Ledger) -> None:
    world.receive(report(category=UNMAPPED))
    (letter,) = world.letters()
    with ledger.begin() as tx:
        deadletters.replay(tx, letter.id, actor="wang")

    with pytest.raises(NotOpen, match="wang"), ledger.begin() as tx:
        deadletters.replay(tx, letter.id, actor="li")


def test_a_letter_that_still_cannot_be_read_stays_open_and_says_why(world: World) -> None:
    world.receive(b"{")
    (letter,) = world.letters()

    with pytest.raises(NotOpen, match="still cannot be read"):
        world.replay(letter.id)

    assert [open_.id for open_ in world.letters()] == [letter.id]


def test_every_replay_and_discard_is_in_the_audit_log(world: World) -> None:
    world.receive(report("EXP-1", category=UNMAPPED), report("EXP-2", category=UNMAPPED))
    first, second = world.letters()

    world.replay(first.id)
    world.discard(second.id)

    assert [tuple(row) for row in world.query("SELECT actor, action FROM audit ORDER BY id")] == [
        ("wang", "deadletter.replay"),
        ("wang", "deadletter.discard"),
    ]


class Once(FileLedger):
    """An ERP that gives one other answer, to the call with this place in the row."""

    def __init__(self, folder: Path, place: int, answer: Outcome) -> None:
        super().__init__(System(adapter="file", company="C01", options={"path": str(folder)}))
        self.calls, self.place, self.answer = 0, place, answer

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Receipt | Outcome]:
        self.calls += 1
        return [self.answer] * len(batch) if self.calls == self.place else super().deliver(batch)


def test_a_replayed_version_that_waits_for_the_erp_goes_on_once_it_answered(ledger: Ledger, tmp_path: Path) -> None:
    erp = Once(tmp_path / "erp", 1, Outcome("ambiguous", "ERP-502", "no answer"))
    world = World(ledger, tmp_path / "erp", erp)
    world.receive(report("EXP-1", 1))
    world.receive(report("EXP-1", 2, "changed", category=UNMAPPED))
    world.runtime.deliver_due("C01")
    world.replay(world.letters()[0].id)
    assert world.outcomes() == [(1, "applied"), (2, "held")]

    world.deliver()

    assert world.outcomes() == [(1, "applied"), (2, "parked")]
    assert [letter.code for letter in world.letters()] == ["MAP-201"]


def _whose_reversal_was_refused(ledger: Ledger, folder: Path) -> World:
    """A posted report was changed to 120.00, and the ERP did not take its first voucher back."""
    erp = Once(folder / "erp", 2, Outcome("permanent", "ERP-422", "not today"))
    world = World(ledger, folder / "erp", erp)
    world.receive(report("EXP-1", 1))
    world.deliver()
    world.receive(report("EXP-1", 2, "changed", amount="120.00"))
    world.deliver()
    return world


def test_a_version_planned_anew_after_a_refused_reversal_is_the_one_that_counts(ledger: Ledger, tmp_path: Path) -> None:
    world = _whose_reversal_was_refused(ledger, tmp_path)

    world.replay(world.letters()[0].id)

    assert world.outcomes() == [(1, "applied"), (2, "applied")]
    world.deliver()
    assert world.live() == {"C01-EXP-1-V2": Decimal("120.00")}


def test_a_refused_reversal_is_not_given_up_while_the_new_voucher_waits_for_it(ledger: Ledger, tmp_path: Path) -> None:
    world = _whose_reversal_was_refused(ledger, tmp_path)
    (letter,) = world.letters()

    with pytest.raises(NotOpen, match="waits for the reversal"):
        world.discard(letter.id)

    assert [open_.id for open_ in world.letters()] == [letter.id]
    world.replay(letter.id)
    world.deliver()
    assert world.live() == {"C01-EXP-1-V2": Decimal("120.00")}


def test_what_is_handed_in_after_a_discard_is_a_report_handed_in(world: World) -> None:
    world.receive(report("EXP-1", 1, category=UNMAPPED))
    world.discard(world.letters()[0].id)

    world.receive(report("EXP-1", 2, "submitted"))

    assert world.query("SELECT state FROM documents") == [("submitted",)]


def test_a_refused_voucher_whose_report_lost_its_rule_has_a_letter_with_the_report(
    ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "accounts").write_text("1\n")
    options = {"path": str(tmp_path / "erp"), "accounts": str(tmp_path / "accounts")}
    erp, book = FileLedger(System(adapter="file", company="C01", options=options)), Shelved(tmp_path / "book")
    without = (book.folder / "accounts.csv").read_text("utf-8")
    book.add("accounts", f"{UNMAPPED},*,*,660206,,,")
    world = World(ledger, tmp_path / "erp", erp, book=book.folder)
    sent = report(category=UNMAPPED)
    world.receive(sent)
    world.deliver()
    (refused,) = world.letters()
    (book.folder / "accounts.csv").write_text(without, "utf-8")

    world = World(ledger, tmp_path / "erp", erp, book=book.folder)
    world.replay(refused.id)

    (letter,) = world.letters()
    with ledger.begin() as tx:
        shown = deadletters.show(tx, letter.id)
    assert shown is not None
    assert (shown.code, shown.posting_id, json.loads(shown.body)["id"]) == ("MAP-201", None, sent["id"])
    assert [row.id for row in world.letters("resolved")] == [refused.id]
    book.add("accounts", f"{UNMAPPED},*,*,660206,,,")
    (tmp_path / "accounts").write_text("660206\n224101\n")
    world = World(ledger, tmp_path / "erp", erp, book=book.folder)
    world.replay(letter.id)
    world.deliver()
    assert (world.postings(), world.letters(), world.letters("replayed")) == ([("C01-EXP-1-V1", "POSTED")], [], [])


def test_two_vouchers_refused_for_one_report_have_a_letter_each(ledger: Ledger) -> None:
    def refused(posting: int) -> Letter:
        return Letter(
            "ERP-402", "closed", "erp file", b"{}", source="/oa/x/C01", event_id="1", document_id=1, posting_id=posting
        )

    with ledger.begin() as tx:
        assert [deadletters.park(tx, refused(posting)) for posting in (7, 8, 7)] == [1, 2, 1]


def test_a_status_that_fails_again_after_a_replay_is_the_same_letter(ledger: Ledger) -> None:
    letter = Letter("OA-401", "archived", "oa feishu", b"{}", document_id=1, write_back_id=7)

    with ledger.begin() as tx:
        assert [deadletters.park(tx, letter) for _ in range(2)] == [1, 1]
