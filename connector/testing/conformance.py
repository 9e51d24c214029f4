"""What every ERP adapter promises, as tests: subclass the suite, give it a rig, and its declared features choose the cases."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from connector.adapter import Adapter, Delivery, Features, Outcome, Receipt
from connector.testing.http_faults import HttpFault, HttpFaults, Match
from connector.testing.suite import Rig, Suite, drained, needs, over_http, posted, together
from connector.translate.target import render
from contracts.bill import total_of
from contracts.voucher import DocumentRef, Unbalanced, Voucher, VoucherLine

TAKES_VOUCHERS = Features(deliver=True)


def every_call(path: str, body: bytes) -> bool:
    """Matches all calls."""
    return True


@dataclass(slots=True, kw_only=True)
class ErpRig(Rig):
    """An ERP to test against: how to open adapters on it, what exists in it, and an oracle that does not use the adapter.

    `live` counts the postings with a reference that count. `faults` stands between adapter and ERP where it speaks HTTP;
    `creates` and `posts` tell the calls that create and that post (the same where one call does both).
    `fenced`: two adapters delivering one reference at the same moment still leave one (else the ledger's lease must see to it).
    """

    live: Callable[[str], int]
    company: str = "C01"
    currency: str = "CNY"
    expense_account: str = "660201"
    payable_account: str = "224101"
    unknown_account: str = "999999"
    employee: str = "E001"
    day: date = date(2026, 11, 24)
    closed_day: date | None = None
    faults: HttpFaults | None = None
    creates: Match = every_call
    posts: Match = every_call
    logins: Callable[[], int] | None = None
    fenced: bool = True

    def voucher(
        self,
        amount: str = "120.50",
        *,
        reference: str | None = None,
        account: str | None = None,
        day: date | None = None,
    ) -> Voucher:
        """A voucher of two lines under a new reference."""
        number = f"EXP{uuid.uuid4().hex[:10].upper()}"
        value, employee = Decimal(amount), {"employee": self.employee}
        return Voucher.of(
            company=self.company,
            reference=reference or f"{self.company}-{number}-V1",
            document=DocumentRef("expense.report", number, 1),
            date=day or self.day,
            currency=self.currency,
            lines=[
                VoucherLine(
                    "debit", account or self.expense_account, value, "expense", employee, memo="深圳出差", source_line=1
                ),
                VoucherLine("credit", self.payable_account, value, "employee_payable", employee),
            ],
        )

    def offset_voucher(self) -> Voucher:
        """A voucher of costs and tax, most of it paid by an advance."""
        whole, employee = self.voucher("113.00"), {"employee": self.employee}
        return replace(
            whole,
            lines=(
                whole.lines[0]._replace(amount=Decimal("106.60")),
                VoucherLine("debit", self.expense_account, Decimal("6.40"), "input_tax", employee, source_line=1),
                VoucherLine("credit", self.payable_account, Decimal("100.00"), "advance", employee),
                whole.lines[1]._replace(amount=Decimal("13.00")),
            ),
        )


class ErpConformance(Suite):
    """Subclass it as `class TestMine(ErpConformance): features = Mine.features` and give a pytest fixture `rig`."""

    def test_a_voucher_is_posted_and_found_with_its_total(self, rig: ErpRig) -> None:
        adapter, voucher = rig.open(), rig.voucher("1913.07")

        receipt = posted(deliver(adapter, voucher))

        found = adapter.find(voucher.reference)
        assert found is not None
        assert (found.state, found.external_id, found.number) == ("posted", receipt.external_id, receipt.number)
        assert Decimal(found.total or "0") == Decimal("1913.07")
        assert found.currency == rig.currency
        assert found.posted_on == voucher.date
        assert rig.live(voucher.reference) == 1

    def test_costs_tax_and_an_advance_are_posted_with_the_total_of_what_this_erp_is_handed(self, rig: ErpRig) -> None:
        adapter, voucher = rig.open(), rig.offset_voucher()

        posted(deliver(adapter, voucher))

        found = adapter.find(voucher.reference)
        assert found is not None
        assert Decimal(found.total or "0") == total_of(render(voucher, adapter.features))
        assert rig.live(voucher.reference) == 1

    def test_a_voucher_delivered_again_leaves_one_and_answers_the_same(self, rig: ErpRig) -> None:
        adapter, voucher = rig.open(), rig.voucher()
        first = posted(deliver(adapter, voucher))

        again = posted(deliver(rig.open(), voucher, attempt=2))

        assert (again.external_id, again.number) == (first.external_id, first.number)
        assert rig.live(voucher.reference) == 1

    def test_one_reference_twice_in_a_batch_leaves_one(self, rig: ErpRig) -> None:
        adapter, voucher = rig.open(), rig.voucher()
        delivery = Delivery(voucher.reference, render(voucher, adapter.features))

        answers = adapter.deliver([delivery, delivery])

        assert all(isinstance(answer, Receipt) for answer in answers), answers
        assert rig.live(voucher.reference) == 1

    def test_deliveries_of_one_voucher_at_the_same_moment_leave_one(self, rig: ErpRig) -> None:
        if not rig.fenced:
            return  # This ERP takes every call; the ledger's lease is what keeps two workers apart.
        voucher, count = rig.voucher(), 4
        adapters = [rig.open() for _ in range(count)]
        for adapter in adapters:
            adapter.find(voucher.reference)
        start = threading.Barrier(count)
        answers: list[Receipt | Outcome | None] = [None] * count

        def run(place: int) -> None:
            start.wait(30)
            answers[place] = deliver(adapters[place], voucher)

        together(run, count)

        last = posted(deliver(adapters[0], voucher, attempt=2))
        assert rig.live(voucher.reference) == 1
        receipts: list[Receipt] = [answer for answer in answers if isinstance(answer, Receipt)]
        assert {receipt.external_id for receipt in receipts} <= {last.external_id}
        assert all(
            isinstance(a, Receipt) or (isinstance(a, Outcome) and a.kind in ("transient", "ambiguous")) for a in answers
        )

    def test_another_content_under_a_used_reference_is_a_conflict_and_books_nothing(self, rig: ErpRig) -> None:
        adapter, voucher = rig.open(), rig.voucher("100.00")
        posted(deliver(adapter, voucher))

        answer = deliver(adapter, rig.voucher("100.01", reference=voucher.reference), attempt=2)

        assert isinstance(answer, Outcome)
        assert answer.kind == "conflict"
        found = adapter.find(voucher.reference)
        assert found is not None
        assert Decimal(found.total or "0") == Decimal("100.00")
        assert rig.live(voucher.reference) == 1

    def test_what_was_never_delivered_is_not_found(self, rig: ErpRig) -> None:
        assert rig.open().find(rig.voucher().reference) is None

    def test_an_unbalanced_voucher_cannot_even_be_built(self, rig: ErpRig) -> None:
        good = rig.voucher("10.00")
        short = VoucherLine("credit", rig.payable_account, Decimal("9.00"), "employee_payable")
        try:
            replace(good, lines=(good.lines[0], short), total_credit=Decimal("9.00"))
        except Unbalanced:
            return
        raise AssertionError("an unbalanced voucher was built")

    def test_amounts_arrive_to_the_cent(self, rig: ErpRig) -> None:
        adapter = rig.open()
        for amount in ("0.01", "0.30", "99999999.99", "1234567890.10"):
            voucher = rig.voucher(amount)
            receipt = posted(deliver(adapter, voucher))
            assert Decimal(receipt.total or "0") == Decimal(amount)

    def test_an_unknown_account_is_permanent_and_named(self, rig: ErpRig) -> None:
        voucher = rig.voucher(account=rig.unknown_account)

        answer = deliver(rig.open(), voucher)

        assert isinstance(answer, Outcome)
        assert (answer.kind, answer.field) == ("permanent", f"account:{rig.unknown_account}")
        assert rig.live(voucher.reference) == 0

    def test_a_closed_period_is_permanent_and_named(self, rig: ErpRig) -> None:
        assert rig.closed_day is not None
        voucher = rig.voucher(day=rig.closed_day)

        answer = deliver(rig.open(), voucher)

        assert isinstance(answer, Outcome)
        assert (answer.kind, answer.code) == ("permanent", "ERP-402")
        assert answer.field == f"period:{rig.closed_day}"
        assert rig.live(voucher.reference) == 0

    @needs(lambda features: features.batch > 1)
    def test_one_bad_voucher_does_not_spoil_its_batch(self, rig: ErpRig) -> None:
        adapter = rig.open()
        vouchers = [rig.voucher(f"{n}.00", account=rig.unknown_account if n == 4 else None) for n in range(1, 8)]

        answers = adapter.deliver([Delivery(v.reference, render(v, adapter.features)) for v in vouchers])

        for n, (voucher, answer) in enumerate(zip(vouchers, answers, strict=True), 1):
            assert isinstance(answer, Outcome if n == 4 else Receipt), (n, answer)
            assert rig.live(voucher.reference) == (0 if n == 4 else 1)
            if isinstance(answer, Receipt):
                assert (answer.reference, Decimal(answer.total or "0")) == (voucher.reference, Decimal(n))

    @needs(lambda features: features.reversal != "none")
    def test_a_reversal_takes_the_voucher_back(self, rig: ErpRig) -> None:
        adapter, voucher = rig.open(), rig.voucher("88.00")
        receipt = posted(deliver(adapter, voucher))

        undone = posted(take_back(adapter, voucher, receipt))

        assert undone.external_id != receipt.external_id
        assert rig.live(voucher.reference) == 0
        original = adapter.find(voucher.reference)
        assert original is not None
        assert original.state == "cancelled"
        found = adapter.find(f"{voucher.reference}-R")
        assert found is not None
        assert (found.state, found.external_id) == ("posted", undone.external_id)
        assert abs(Decimal(found.total or "0")) == Decimal("88.00")

    @needs(lambda features: features.reversal != "none")
    def test_a_reversal_told_twice_takes_back_once(self, rig: ErpRig) -> None:
        adapter, voucher = rig.open(), rig.voucher()
        receipt = posted(deliver(adapter, voucher))
        first = posted(take_back(adapter, voucher, receipt))

        again = posted(take_back(rig.open(), voucher, receipt, attempt=2))

        assert again.external_id == first.external_id
        assert rig.live(voucher.reference) == 0

    @needs(lambda features: features.reversal != "none")
    def test_reversing_what_is_not_there_is_refused(self, rig: ErpRig) -> None:
        voucher = rig.voucher()
        nowhere = Receipt(voucher.reference, "987654321", "none", "posted")

        answer = take_back(rig.open(), voucher, nowhere)

        assert isinstance(answer, Outcome)
        assert (answer.kind, answer.code) == ("permanent", "ERP-422")

    @over_http
    def test_an_answer_lost_after_the_work_is_in_doubt_and_then_found(self, rig: ErpRig) -> None:
        adapter, voucher = warmed(rig), rig.voucher()
        faults(rig).next("lose_answer", rig.creates)

        answer = deliver(adapter, voucher)

        assert isinstance(answer, Outcome)
        assert answer.kind == "ambiguous"
        found = adapter.find(voucher.reference)
        assert found is not None
        again = posted(deliver(adapter, voucher, attempt=2))
        assert again.external_id == found.external_id
        assert rig.live(voucher.reference) == 1

    @over_http
    def test_an_answer_cut_off_is_never_taken_for_success(self, rig: ErpRig) -> None:
        adapter, voucher = warmed(rig), rig.voucher()
        faults(rig).next("cut_answer", rig.creates)

        answer = deliver(adapter, voucher)

        assert isinstance(answer, Outcome)
        assert answer.kind == "ambiguous"
        posted(deliver(adapter, voucher, attempt=2))
        assert rig.live(voucher.reference) == 1

    @over_http
    @needs(lambda features: not features.atomic_post)
    def test_a_draft_left_by_a_crash_is_found_and_only_posted(self, rig: ErpRig) -> None:
        adapter, voucher = warmed(rig), rig.voucher()
        faults(rig).next("lose_request", rig.posts)
        answer = deliver(adapter, voucher)
        assert isinstance(answer, Outcome)
        draft = rig.open().find(voucher.reference)
        assert draft is not None
        assert draft.state == "draft"
        assert rig.live(voucher.reference) == 0

        receipt = posted(deliver(rig.open(), voucher, attempt=2))

        assert receipt.external_id == draft.external_id
        assert rig.live(voucher.reference) == 1

    @over_http
    @needs(lambda features: not features.atomic_post)
    def test_an_answer_lost_after_posting_is_adopted(self, rig: ErpRig) -> None:
        adapter, voucher = warmed(rig), rig.voucher()
        faults(rig).next("lose_answer", rig.posts)

        answer = deliver(adapter, voucher)

        assert isinstance(answer, Outcome)
        assert answer.kind == "ambiguous"
        posted(deliver(adapter, voucher, attempt=2))
        assert rig.live(voucher.reference) == 1

    @over_http
    def test_a_rate_limit_is_obeyed_and_books_nothing(self, rig: ErpRig) -> None:
        adapter, voucher = warmed(rig), rig.voucher()
        faults(rig).next("429", rig.creates)

        answer = deliver(adapter, voucher)

        assert isinstance(answer, Outcome)
        assert (answer.kind, answer.retry_after_s) == ("transient", 7)
        assert rig.live(voucher.reference) == 0
        posted(deliver(adapter, voucher, attempt=2))

    @over_http
    def test_a_server_error_is_never_final(self, rig: ErpRig) -> None:
        adapter = warmed(rig)
        cases: tuple[tuple[HttpFault, tuple[str, ...]], ...] = (
            ("500", ("ambiguous", "transient")),
            ("503", ("transient",)),
        )
        for fault, kinds in cases:
            voucher = rig.voucher()
            faults(rig).next(fault, rig.creates)

            answer = deliver(adapter, voucher)

            assert isinstance(answer, Outcome)
            assert answer.kind in kinds
            posted(deliver(adapter, voucher, attempt=2))
            assert rig.live(voucher.reference) == 1

    @over_http
    def test_a_login_page_or_an_empty_answer_is_never_taken_for_success(self, rig: ErpRig) -> None:
        adapter = warmed(rig)
        cases: tuple[HttpFault, ...] = ("html", "empty")
        for fault in cases:
            voucher = rig.voucher()
            faults(rig).next(fault, rig.creates)

            answer = deliver(adapter, voucher)

            assert isinstance(answer, Outcome)
            assert answer.kind in ("ambiguous", "transient")
            assert rig.live(voucher.reference) == 0
            posted(deliver(adapter, voucher, attempt=2))
            assert rig.live(voucher.reference) == 1

    @over_http
    def test_a_session_that_ends_in_a_batch_is_renewed_once(self, rig: ErpRig) -> None:
        adapter = warmed(rig)
        assert rig.logins is not None
        before = rig.logins()
        vouchers = [rig.voucher() for _ in range(3)]
        faults(rig).next("401", rig.creates)

        answers = adapter.deliver([Delivery(v.reference, render(v, adapter.features)) for v in vouchers])

        assert all(isinstance(answer, Receipt) for answer in answers), answers
        assert rig.logins() == before + 1
        assert all(rig.live(voucher.reference) == 1 for voucher in vouchers)

    @over_http
    def test_a_session_that_ends_under_several_threads_is_renewed_once(self, rig: ErpRig) -> None:
        adapter, count = warmed(rig), 4
        assert rig.logins is not None
        before = rig.logins()
        faults(rig).expire()
        start = threading.Barrier(count)

        def run(place: int) -> None:
            start.wait(30)
            adapter.find("C01-NOTHING-V1")

        together(run, count)

        assert rig.logins() == before + 1

    @over_http
    def test_refused_credentials_are_the_administrators_and_not_hammered(self, rig: ErpRig) -> None:
        assert rig.logins is not None
        adapter, before = rig.open(password="wrong"), rig.logins()  # noqa: S106

        answers = [deliver(adapter, rig.voucher()), deliver(adapter, rig.voucher())]

        assert [answer.kind for answer in answers if isinstance(answer, Outcome)] == ["auth", "auth"]
        assert rig.logins() <= before + 2

    @over_http
    def test_nobody_answering_is_transient(self, rig: ErpRig) -> None:
        answer = deliver(rig.open(url="http://127.0.0.1:9"), rig.voucher())

        assert isinstance(answer, Outcome)
        assert answer.kind == "transient"

    def test_closing_twice_is_fine(self, rig: ErpRig) -> None:
        adapter = rig.open()
        adapter.find(rig.voucher().reference)
        adapter.close()
        adapter.close()

    @needs(lambda features: features.poll)
    def test_the_feed_tells_every_posted_voucher_although_they_share_one_time(self, rig: ErpRig) -> None:
        adapter = rig.open()
        cursor = drained(adapter, None)[1]
        vouchers = [rig.voucher() for _ in range(5)]
        adapter.deliver([Delivery(v.reference, render(v, adapter.features)) for v in vouchers])

        changes, after = drained(adapter, cursor)

        told = [change.event.data.reference for change in changes if change.event.type == "voucher.posted.v1"]
        assert sorted(told) == sorted(voucher.reference for voucher in vouchers)
        repeated = drained(adapter, cursor)[0]
        assert {change.event.id for change in changes} <= {change.event.id for change in repeated}
        assert drained(adapter, after)[0] == []

    @needs(lambda features: features.poll and features.reversal != "none")
    def test_the_feed_tells_a_reversal(self, rig: ErpRig) -> None:
        adapter, voucher = rig.open(), rig.voucher()
        receipt = posted(deliver(adapter, voucher))
        cursor = drained(adapter, None)[1]
        undone = posted(take_back(adapter, voucher, receipt))

        changes = drained(adapter, cursor)[0]

        (event,) = [change.event for change in changes if change.event.type == "voucher.reversed.v1"]
        assert (event.data.reference, event.data.reversal_number) == (voucher.reference, undone.number)
        assert (event.data.document.number, event.data.document.version) == (voucher.document.number, 1)


def deliver(adapter: Adapter, voucher: Voucher, attempt: int = 1) -> Receipt | Outcome:
    """Delivers one voucher."""
    (answer,) = adapter.deliver([Delivery(voucher.reference, render(voucher, adapter.features), attempt)])
    return answer


def take_back(adapter: Adapter, voucher: Voucher, receipt: Receipt, attempt: int = 1) -> Receipt | Outcome:
    """Takes a posted voucher back."""
    return adapter.reverse(reversal(voucher, receipt, attempt, adapter.features))


def reversal(voucher: Voucher, receipt: Receipt, attempt: int = 1, features: Features = TAKES_VOUCHERS) -> Delivery:
    """The delivery that takes a posted voucher back, as an ERP of these features is handed it."""
    reference = f"{voucher.reference}-R"
    return Delivery(reference, render(voucher.reversed(reference, voucher.date), features), attempt, reverses=receipt)


def warmed(rig: ErpRig) -> Adapter:
    """An adapter whose session and lookups are there, so that an armed fault meets the call it is meant for."""
    adapter = rig.open()
    deliver(adapter, rig.voucher())
    return adapter


def faults(rig: ErpRig) -> HttpFaults:
    """The proxy between adapter and ERP."""
    assert rig.faults is not None, "this suite runs over HTTP: give the rig its faults, or set over_http = False"
    return rig.faults
