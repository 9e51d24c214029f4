"""An ERP is handed the document it takes and the reversal it takes; what has no room there is never sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connector.adapter import Delivery as Sending
from connector.adapter import Receipt
from connector.bootstrap import Runtime
from connector.erp.file_ledger import FileLedger
from connector.erp.simulator import SimulatorErp
from connector.ledger import Ledger
from connector.settings import Delivery, System
from connector.testing.erp_simulator import ErpSimulator
from contracts.bill import ExpenseDocument, PayableBill
from contracts.voucher import Voucher, parse_voucher
from tests.integration.process.world import World, report

Make = Callable[..., tuple[ErpSimulator, World]]
TARGETS: dict[str, type[Any]] = {
    "voucher": Voucher,
    "payable_bill": PayableBill,
    "expense_document": ExpenseDocument,
}


@pytest.fixture
def make(ledger: Ledger, tmp_path: Path) -> Iterator[Make]:
    opened: list[ErpSimulator | SimulatorErp] = []

    def start(*, limits: dict[str, str] | None = None, **simulator: Any) -> tuple[ErpSimulator, World]:
        erp = ErpSimulator(slow_s=0.05, **simulator)
        opened.append(erp)
        options = {"timeout_s": "30", "target": erp.target, "red_letter": erp.red_letter, **(limits or {})}
        password = SecretStr(ErpSimulator.password)
        adapter = SimulatorErp(
            System(adapter="simulator", company="C01", url=erp.url, password=password, options=options)
        )
        opened.append(adapter)
        world = World(ledger, tmp_path / "erp", adapter)
        settings = world.runtime.settings.model_copy(update={"delivery": Delivery(settle_s=0, in_doubt_asks=3)})
        world.runtime = Runtime(settings, ledger, {"C01": adapter}, {}, world.runtime.open_channel)
        return erp, world

    yield start
    for part in reversed(opened):
        part.close()


@pytest.mark.parametrize("red_letter", ["negative", "swapped"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_report_is_booked_changed_and_withdrawn_in_the_documents_the_erp_takes(
    make: Make, target: str, red_letter: str
) -> None:
    erp, world = make(target=target, red_letter=red_letter)

    world.receive(report(amount="100.00"))
    world.deliver()
    world.receive(report(version=2, amount="80.00"))
    world.deliver()
    assert (erp.total(), erp.duplicates()) == (Decimal("80.00"), {})
    world.receive(report(version=3, happening="withdrawn"))
    world.deliver()

    assert world.letters() == []
    assert {type(entry.document) for entry in erp.entries} == {TARGETS[target]}
    reversals = [entry for entry in erp.entries if entry.cancels is not None]
    assert [entry.voucher.reverses for entry in reversals] == ["C01-EXP-1-V1", "C01-EXP-1-V2"]
    assert {line.amount < 0 for entry in reversals for line in entry.voucher.lines} == {red_letter == "negative"}
    assert set(erp.trial_balance().values()) == {Decimal(0)}


def test_a_reversal_is_kept_red_in_the_ledger_whatever_the_erp_takes(make: Make) -> None:
    _, world = make(red_letter="swapped")
    world.receive(report(amount="100.00"))
    world.deliver()

    world.receive(report(version=2, happening="withdrawn"))

    original, red = world.voucher_lines("C01-EXP-1-V1"), world.voucher_lines("C01-EXP-1-V1-R")
    assert red == [line.replace(" 100.00", " -100.00") for line in original]


def test_a_reversal_tells_its_reader_the_number_of_what_it_takes_back(make: Make) -> None:
    erp, world = make()
    world.receive(report())
    world.deliver()

    world.receive(report(version=2, happening="withdrawn"))
    world.deliver()

    original, reversal = erp.entries
    assert (reversal.voucher.memo or "").startswith(f"REV {original.number}")
    found = world.erp.find("C01-EXP-1-V1")
    assert found is not None
    assert (found.state, found.details) == ("cancelled", {"reversed_by": reversal.number})


@pytest.mark.parametrize("red_letter", ["negative", "swapped"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_file_ledger_holds_each_document_and_its_table_the_lines(
    ledger: Ledger, tmp_path: Path, target: str, red_letter: str
) -> None:
    options = {"path": str(tmp_path / "erp"), "target": target, "red_letter": red_letter}
    books = FileLedger(System(adapter="file", company="C01", options=options))
    world = World(ledger, tmp_path / "erp", books)
    world.receive(report(amount="100.00"))
    world.deliver()
    world.receive(report(version=2, happening="withdrawn"))
    world.deliver()

    original, reversal = books.vouchers()

    assert (original[target]["reference"], reversal[target]["reverses"]) == ("C01-EXP-1-V1", "C01-EXP-1-V1")
    assert (original["reversed_by"], reversal["reversed_by"]) == ("C01-EXP-1-V1-R", None)
    assert reversal[target]["memo"].startswith(f"REV {original['number']}")
    assert all(balance.debit == balance.credit for balance in books.trial_balance().values())
    table = books.table.read_text("utf-8-sig").splitlines()
    sign = "-" if red_letter == "negative" else ""
    assert sum(",100.00," in row for row in table) == (2 if sign else 4)
    assert len(table) == 5


def _of_long_name(number: str) -> dict[str, Any]:
    """A report whose employee has a code of 12 characters."""
    return report(number, employee={"id": "E00000000017", "name": "Zhang San", "department": "D01"})


def test_what_does_not_fit_the_erp_is_parked_and_never_sent_and_its_batch_goes_on(make: Make) -> None:
    erp, world = make(limits={"dimension_max": "11"})
    world.receive(report("EXP-1"), _of_long_name("EXP-2"), report("EXP-3"))

    world.deliver()

    assert [entry.voucher.reference for entry in erp.entries] == ["C01-EXP-1-V1", "C01-EXP-3-V1"]
    assert world.postings()[1] == ("C01-EXP-2-V1", "REJECTED")
    (letter,) = world.letters()
    assert (letter.code, letter.number) == ("ERP-433", "EXP-2")
    assert "at most 11 characters" in letter.message
    findings = json.loads(world.query("SELECT findings FROM dead_letters")[0][0])
    assert {finding["code"] for finding in findings} == {"ERP-433"}
    assert len(findings) > 1  # the cost and the payable
    calls = world.query(
        "SELECT 1 FROM attempts a JOIN postings p ON p.id = a.posting_id WHERE p.reference = 'C01-EXP-2-V1'"
    )
    assert calls == []


def test_what_did_not_fit_is_posted_after_the_limit_is_corrected_and_the_letter_replayed(make: Make) -> None:
    erp, world = make(limits={"dimension_max": "11"})
    world.receive(_of_long_name("EXP-1"))
    world.deliver()
    (letter,) = world.letters()

    world.erp.features = replace(world.erp.features, dimension_max=12)
    world.replay(letter.id)
    world.deliver()

    assert ([entry.voucher.reference for entry in erp.live()], world.letters()) == (["C01-EXP-1-V1"], [])


def test_a_memo_too_long_for_the_erp_is_cut_and_booked(make: Make) -> None:
    erp, world = make(limits={"memo_max": "8"})
    world.receive(report())
    world.deliver()
    world.receive(report(version=2, happening="withdrawn"))
    world.deliver()

    memos = [
        memo for entry in erp.entries for memo in (entry.voucher.memo, *(line.memo for line in entry.voucher.lines))
    ]
    assert world.letters() == []
    assert max(len(memo) for memo in memos if memo) == 8
    assert erp.entries[1].voucher.memo == "REV S-0…"


def test_a_reversal_that_another_call_of_ours_made_is_asked_about_and_never_goes_to_a_person(make: Make) -> None:
    erp, world = make()
    world.receive(report(amount="100.00"))
    world.deliver()
    world.receive(report(version=2, happening="withdrawn"))
    _reverse_as_a_dying_worker(world, "C01-EXP-1-V1-R")

    world.runtime.deliver_due("C01")
    assert world.postings()[-1] == ("C01-EXP-1-V1-R", "UNKNOWN")
    world.deliver()

    assert world.postings() == [("C01-EXP-1-V1", "REVERSED"), ("C01-EXP-1-V1-R", "POSTED")]
    assert (world.letters(), len(erp.entries), erp.live()) == ([], 2, [])
    outcomes = [row[0] for row in world.query("SELECT outcome FROM attempts ORDER BY id")]
    assert outcomes == ["posted", "duplicate", "adopted"]


def test_a_reversal_that_somebody_else_made_goes_to_a_person_after_it_was_asked_about(make: Make) -> None:
    erp, world = make()
    world.receive(report(amount="100.00"))
    world.deliver()
    world.receive(report(version=2, happening="withdrawn"))
    _reverse_as_a_dying_worker(world, "BY-HAND-1")

    world.deliver()

    (letter,) = world.letters()
    assert (letter.code, "reversed already" in letter.message) == ("ERP-409", True)
    assert world.postings()[-1] == ("C01-EXP-1-V1-R", "REJECTED")
    assert (len(erp.entries), erp.live()) == (2, [])


def _reverse_as_a_dying_worker(world: World, reference: str) -> None:
    """The reversal reaches the ERP, and the worker that sent it is not there any more to say so."""
    ((body, external_id),) = world.query("SELECT voucher, external_id FROM postings WHERE reference = 'C01-EXP-1-V1'")
    voucher = parse_voucher(bytes(body))
    receipt = Receipt(voucher.reference, external_id, None, "posted")
    red = voucher.reversed(reference, voucher.date)
    assert isinstance(world.erp.reverse(Sending(reference, red, 1, receipt)), Receipt)
