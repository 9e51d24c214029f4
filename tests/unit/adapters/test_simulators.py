"""The simulators themselves: the same seed meets the same faults and tells the same story, and the oracle adds up."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest
from pydantic import SecretStr

from connector.adapter import Delivery, Outcome, Receipt
from connector.erp.simulator import SimulatorErp
from connector.settings import System
from connector.testing.conformance import ErpRig, deliver
from connector.testing.erp_simulator import ErpSimulator, Fault, FaultPlan
from connector.testing.oa_simulator import refusal_of, tell_story
from connector.translate import load_book, to_voucher
from contracts import Voucher, parse_event
from tests.support.wait import until

RIG = ErpRig(make=lambda: adapter(ErpSimulator()), live=lambda _: 0)


def adapter(erp: ErpSimulator, **options: str) -> SimulatorErp:
    password = SecretStr(erp.password)
    return SimulatorErp(System(adapter="simulator", company="C01", url=erp.url, password=password, options=options))


def test_the_same_seed_meets_the_same_faults() -> None:
    plan = FaultPlan({"drop_after_commit": 0.3, "limit_429": 0.1}, seed=7)
    keys = [f"C01-EXP{n}-V1|1" for n in range(2000)]

    met = Counter(plan.pick(key) for key in keys)

    assert [plan.pick(key) for key in keys] == [FaultPlan(plan.shares, seed=7).pick(key) for key in keys]
    assert 500 < met["drop_after_commit"] < 700
    assert 140 < met["limit_429"] < 260


@pytest.mark.parametrize(
    ("fault", "kind", "booked"),
    [
        ("drop_after_commit", "ambiguous", 1),
        ("drop_before_commit", "ambiguous", 0),
        ("drop_then_commit", "ambiguous", 1),
        ("error_500", "ambiguous", 0),
        ("error_503", "transient", 0),
        ("limit_429", "transient", 0),
        ("slow", "ambiguous", 1),
        ("drip", "ambiguous", 1),
        ("html", "ambiguous", 0),
        ("empty", "ambiguous", 0),
        ("error_200", "transient", 0),
        ("swap", "ambiguous", 1),
    ],
)
def test_a_fault_is_never_taken_for_success(fault: Fault, kind: str, booked: int) -> None:
    with ErpSimulator(slow_s=3) as erp:
        erp.script(fault)
        patient, hasty, voucher = adapter(erp), adapter(erp, timeout_s="1"), RIG.voucher()

        answer = deliver(hasty if fault in ("slow", "drip") else patient, voucher)

        assert isinstance(answer, Outcome)
        assert answer.kind == kind
        erp.settled()
        until(lambda: len(erp.live(voucher.reference)) == booked, 30, lambda: f"the ERP holds {erp.live()}")
        assert isinstance(deliver(patient, voucher, attempt=2), Receipt)
        assert len(erp.live(voucher.reference)) == 1
        patient.close()
        hasty.close()


def test_a_session_that_expires_is_renewed_inside_the_call() -> None:
    with ErpSimulator() as erp:
        erp.script("expire")
        system = adapter(erp)

        assert isinstance(deliver(system, RIG.voucher()), Receipt)

        assert erp.met["logins"] == 2
        system.close()


def test_without_a_unique_reference_the_simulator_books_twice_and_its_oracle_says_so() -> None:
    with ErpSimulator() as erp:
        voucher = RIG.voucher("10.00")
        one, two = adapter(erp), adapter(erp)
        deliver(one, voucher)
        deliver(two, voucher)  # Both claim to be the first attempt: a lie the oracle must show.

        assert erp.duplicates() == {voucher.reference: 2}
        assert erp.total() == Decimal("20.00")
        assert sum(erp.trial_balance().values()) == 0
        one.close()
        two.close()


def test_the_same_seed_tells_the_same_story() -> None:
    assert tell_story(40, seed=5) == tell_story(40, seed=5)
    assert tell_story(40, seed=5) != tell_story(40, seed=6)


def test_a_story_is_told_in_the_shared_language_and_only_the_broken_are_refused() -> None:
    story = tell_story(120, seed=2, broken=6)

    refused = {sent.number for sent in story.sent if refusal_of(sent.body)}

    assert refused == {number for number, how in story.broken.items() if how != "unknown category"}
    assert len(story.broken) == 6
    assert len(story.sent) > 140


def test_the_last_version_of_each_live_report_makes_the_total_the_story_expects() -> None:
    story, book = tell_story(120, seed=3), load_book(None)

    for sent in story.sent:
        if story.versions.get(sent.number) == sent.version and sent.number in story.live:
            voucher = to_voucher(parse_event(sent.body).data, book)
            assert isinstance(voucher, Voucher)
            assert voucher.total_debit == story.live[sent.number]


def test_an_unknown_category_has_no_voucher() -> None:
    story, book = tell_story(30, seed=1), load_book(None)
    (number,) = [number for number, how in story.broken.items() if how == "unknown category"]
    sent = next(sent for sent in story.sent if sent.number == number)

    assert not isinstance(to_voucher(parse_event(sent.body).data, book), Voucher)


def test_differences_are_named() -> None:
    story = tell_story(30, seed=1)
    right = {number: [total] for number, total in story.live.items()}
    first, second, third = list(story.live)[:3]
    assert story.differences(right) == []

    wrong = {
        **right,
        first: [],
        second: [*right[second], *right[second]],
        third: [Decimal("0.01")],
        "EXP-X": [Decimal(1)],
    }

    assert len(story.differences(wrong)) == 4


def test_a_reversal_is_booked_once_although_its_answer_is_lost() -> None:
    with ErpSimulator() as erp:
        system, voucher = adapter(erp), RIG.voucher()
        receipt = deliver(system, voucher)
        assert isinstance(receipt, Receipt)
        reference = f"{voucher.reference}-R"
        erp.script("drop_after_commit")
        delivery = Delivery(reference, voucher.reversed(reference, voucher.date), 1, receipt)
        assert isinstance(system.reverse(delivery), Outcome)

        again = system.reverse(Delivery(reference, delivery.payload, 2, receipt))

        assert isinstance(again, Receipt)
        assert len(erp.entries) == 2
        system.close()
