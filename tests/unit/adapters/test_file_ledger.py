"""The file ledger: whole vouchers or none, whatever dies; numbers in order; totals exact; a table that is safe to open."""

from __future__ import annotations

import csv
import multiprocessing
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from connector.adapter import Delivery, Outcome, Receipt
from connector.erp.file_ledger import FileLedger
from connector.errors import Misconfigured
from connector.settings import System
from connector.testing.conformance import ErpRig, deliver, reversal, take_back
from connector.testing.suite import posted

RIG = ErpRig(make=lambda: FileLedger(System(adapter="file", company="C01", options={"path": "."})), live=lambda _: 0)


def ledger(folder: Path, **options: str) -> FileLedger:
    return FileLedger(System(adapter="file", company="C01", options={"path": str(folder), **options}))


def test_numbers_count_up_in_each_month(tmp_path: Path) -> None:
    books = ledger(tmp_path)
    days = [date(2026, 10, 30), date(2026, 10, 31), date(2026, 11, 1), date(2026, 10, 1)]

    numbers = [posted(deliver(books, RIG.voucher(day=day))).number for day in days]

    assert numbers == ["记-0001", "记-0002", "记-0001", "记-0003"]


def test_the_trial_balance_is_exact_and_a_reversal_brings_it_back_to_zero(tmp_path: Path) -> None:
    books = ledger(tmp_path)
    vouchers = [RIG.voucher("0.10") for _ in range(30)]
    receipts = [posted(deliver(books, voucher)) for voucher in vouchers]

    balance = books.trial_balance()
    assert balance["660201", "CNY"].debit == Decimal("3.00")
    assert balance["224101", "CNY"].credit == Decimal("3.00")
    for voucher, receipt in zip(vouchers, receipts, strict=True):
        posted(books.reverse(reversal(voucher, receipt)))

    assert {(b.debit, b.credit) for b in ledger(tmp_path).trial_balance().values()} == {(Decimal(0), Decimal(0))}


def test_a_voucher_half_written_by_a_crash_is_taken_away_and_can_be_delivered_again(tmp_path: Path) -> None:
    books = ledger(tmp_path)
    first, second = RIG.voucher(), RIG.voucher()
    posted(deliver(books, first))
    whole = books.journal.read_bytes()
    posted(deliver(books, second))
    books.journal.write_bytes(books.journal.read_bytes()[: len(whole) + 100])

    after = ledger(tmp_path)

    assert after.find(second.reference) is None
    assert books.journal.read_bytes() == whole
    assert posted(deliver(after, second, attempt=2)).number == "记-0002"
    assert after.find(first.reference) is not None


def test_a_damaged_line_in_the_middle_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    books = ledger(tmp_path)
    posted(deliver(books, RIG.voucher()))
    books.journal.write_bytes(b"{broken}\n" + books.journal.read_bytes())

    with pytest.raises(Misconfigured, match="damaged"):
        ledger(tmp_path).find("C01-X-V1")
    answer = deliver(ledger(tmp_path), RIG.voucher())
    assert isinstance(answer, Outcome)


def deliver_many(folder: str, references: list[str]) -> None:
    books = ledger(Path(folder))
    for reference in references:
        posted(deliver(books, replace(RIG.voucher("5.00", reference=reference), document=RIG.voucher().document)))


def test_processes_that_write_at_once_number_without_gap_or_double(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=deliver_many, args=(str(tmp_path), [f"C01-W{worker}-{n}-V1" for n in range(25)]))
        for worker in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    records = ledger(tmp_path).vouchers()
    assert [record["number"] for record in records] == [f"记-{n:04d}" for n in range(1, 76)]
    assert len({record["reference"] for record in records}) == 75


def test_what_another_process_wrote_is_seen(tmp_path: Path) -> None:
    one, other = ledger(tmp_path), ledger(tmp_path)
    voucher = RIG.voucher()
    assert other.find(voucher.reference) is None

    receipt = posted(deliver(one, voucher))

    assert other.find(voucher.reference) == receipt
    assert deliver(other, voucher, attempt=2) == receipt


def test_a_second_reversal_under_another_reference_names_the_first(tmp_path: Path) -> None:
    books, voucher = ledger(tmp_path), RIG.voucher()
    receipt = posted(deliver(books, voucher))
    undone = posted(books.reverse(reversal(voucher, receipt)))

    other = Delivery("C01-OTHER-R", voucher.reversed("C01-OTHER-R", voucher.date), 1, receipt)
    answer = books.reverse(other)

    assert isinstance(answer, Outcome)
    assert (answer.kind, answer.external_id) == ("duplicate", undone.external_id)


def test_the_table_shows_every_line_and_no_formula(tmp_path: Path) -> None:
    books = ledger(tmp_path)
    plain = RIG.voucher()
    evil = replace(plain, lines=(replace_memo(plain.lines[0], '=HYPERLINK("http://x")'), plain.lines[1]))
    posted(deliver(books, evil))

    with open(books.table, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))

    assert [row["memo"] for row in rows] == ['\'=HYPERLINK("http://x")', ""]
    assert [row["amount"] for row in rows] == ["120.50", "120.50"]
    assert rows[0]["number"] == "记-0001"


def replace_memo(line: object, memo: str) -> object:
    from contracts.voucher import VoucherLine

    assert isinstance(line, VoucherLine)
    return VoucherLine(line.side, line.account, line.amount, line.role, line.dimensions, memo)


def test_a_lost_table_is_written_anew(tmp_path: Path) -> None:
    books = ledger(tmp_path)
    posted(deliver(books, RIG.voucher()))
    books.table.unlink()

    ledger(tmp_path).trial_balance()

    assert len(books.table.read_text("utf-8-sig").splitlines()) == 3


def test_a_folder_that_cannot_be_written_is_transient(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    answer = deliver(ledger(tmp_path / "file" / "books"), RIG.voucher())

    assert isinstance(answer, Outcome)
    assert answer.kind == "transient"


def test_a_batch_is_one_write_and_each_answer_is_its_own(tmp_path: Path) -> None:
    books = ledger(tmp_path, closed_until="2026-03-31")
    vouchers = [RIG.voucher(), RIG.voucher(day=date(2026, 3, 31)), RIG.voucher()]

    answers = books.deliver([Delivery(voucher.reference, voucher) for voucher in vouchers])

    assert [type(answer) for answer in answers] == [Receipt, Outcome, Receipt]
    assert [record["number"] for record in books.vouchers()] == ["记-0001", "记-0002"]


def test_a_voucher_and_its_reversal_name_each_other(tmp_path: Path) -> None:
    books, voucher = ledger(tmp_path), RIG.voucher()
    undone = posted(take_back(books, voucher, posted(deliver(books, voucher))))

    original, reversal = ledger(tmp_path).vouchers()

    assert (original["reversed_by"], reversal["reverses"]) == (undone.reference, voucher.reference)
    found = ledger(tmp_path).find(voucher.reference)
    assert found is not None
    assert (found.state, found.details) == ("cancelled", {"reversed_by": undone.number})


def test_a_ledger_of_another_target_refuses_a_voucher(tmp_path: Path) -> None:
    books, voucher = ledger(tmp_path, target="payable_bill"), RIG.voucher()

    (answer,) = books.deliver([Delivery(voucher.reference, voucher)])

    assert isinstance(answer, Outcome)
    assert (answer.kind, books.vouchers()) == ("permanent", [])


def test_a_ledger_of_swapped_reversals_takes_no_amount_below_zero(tmp_path: Path) -> None:
    books, voucher = ledger(tmp_path, red_letter="swapped"), RIG.voucher()
    receipt = posted(deliver(books, voucher))

    answer = books.reverse(reversal(voucher, receipt))

    assert isinstance(answer, Outcome)
    assert answer.kind == "permanent"
    posted(take_back(books, voucher, receipt))


def test_a_journal_may_hold_documents_of_several_targets(tmp_path: Path) -> None:
    one, other = RIG.voucher("5.00"), RIG.voucher("7.00")
    posted(deliver(ledger(tmp_path), one))
    posted(deliver(ledger(tmp_path, target="expense_document"), other))

    books = ledger(tmp_path, target="payable_bill")

    assert books.trial_balance()["660201", "CNY"].debit == Decimal("12.00")
    assert books.find(other.reference) is not None


@pytest.mark.parametrize(
    "options",
    [{}, {"path": "x", "closed_until": "March"}, {"path": "x", "target": "invoice"}, {"path": "x", "decimals": "two"}],
)
def test_unusable_options_are_a_mistake_in_the_settings(options: dict[str, str]) -> None:
    with pytest.raises(Misconfigured):
        FileLedger(System(adapter="file", company="C01", options=options))
