"""From an approved report to one live voucher, whatever happens on the way."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.integration.process.world import EXAMPLE, World, report


def test_an_approved_report_becomes_one_voucher(world: World) -> None:
    world.receive(report(amount="100.00"))

    world.deliver()

    assert world.live() == {"C01-EXP-1-V1": Decimal("100.00")}


def test_case_a_is_posted_as_the_contract_says(world: World) -> None:
    world.receive(EXAMPLE)

    world.deliver()

    assert world.voucher_lines("C01-EXP2025-0017-V1") == [
        "Dr 660201 1000.00",
        "Dr 660201 507.34",
        "Dr 660206 300.00",
        "Dr 2221010101 105.66",
        "Cr 122101 1500.00",
        "Cr 224101 413.00",
    ]


def test_the_same_event_ten_times_leaves_one_voucher(world: World) -> None:
    event = report(event_id="same")
    world.receive(event, event, event)
    world.deliver()

    result = world.receive(*[event] * 7)
    world.deliver()

    assert (result.duplicates, len(world.live())) == (7, 1)


def test_the_same_version_under_another_event_id_is_a_duplicate(world: World) -> None:
    world.receive(report(event_id="one"))

    result = world.receive(report(event_id="two"))

    assert (result.duplicates, result.parked) == (1, 0)


def test_one_event_id_with_two_contents_is_parked(world: World) -> None:
    world.receive(report(event_id="one", amount="100.00"))

    world.receive(report(event_id="one", amount="900.00"))
    world.deliver()

    assert ([letter.code for letter in world.letters()], world.live()) == (
        ["SYN-301"],
        {"C01-EXP-1-V1": Decimal("100.00")},
    )


def test_one_version_with_two_contents_is_parked_and_holds_nobody(world: World) -> None:
    world.receive(report(amount="100.00"), report(amount="900.00"), report(version=2, amount="70.00"))
    world.deliver()

    assert ([letter.code for letter in world.letters()], list(world.live())) == (["SYN-301"], ["C01-EXP-1-V2"])


def test_a_change_after_posting_is_reversed_and_posted_anew(world: World) -> None:
    world.receive(report(amount="100.00"))
    world.deliver()

    world.receive(report(version=2, happening="changed", amount="80.00"))
    world.deliver()

    assert world.live() == {"C01-EXP-1-V2": Decimal("80.00")}
    assert world.postings() == [("C01-EXP-1-V1", "REVERSED"), ("C01-EXP-1-V1-R", "POSTED"), ("C01-EXP-1-V2", "POSTED")]


def test_a_withdrawal_after_posting_leaves_nothing_live(world: World) -> None:
    world.receive(report())
    world.deliver()

    world.receive(report(version=2, happening="withdrawn"))
    world.deliver()

    assert world.live() == {}


def test_a_change_before_sending_never_reaches_the_erp_as_two_vouchers(world: World) -> None:
    world.receive(report(amount="100.00"), report(version=2, happening="changed", amount="80.00"))
    world.deliver()

    assert world.postings() == [("C01-EXP-1-V2", "POSTED")]
    assert world.outcomes() == [(1, "superseded"), (2, "applied")]


def test_a_change_that_comes_in_a_later_batch_before_sending_replaces_the_posting(world: World) -> None:
    world.receive(report(amount="100.00"))
    world.receive(report(version=2, happening="changed", amount="80.00"))
    world.deliver()

    assert world.live() == {"C01-EXP-1-V2": Decimal("80.00")}
    assert world.outcomes() == [(1, "superseded"), (2, "applied")]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 1, 2)])
@pytest.mark.parametrize("together", [True, False])
def test_versions_in_any_order_end_with_the_newest(world: World, order: tuple[int, ...], together: bool) -> None:
    events = [report(version=n, amount=f"{n}0.00") for n in order]
    for batch in [events] if together else [[event] for event in events]:
        world.receive(*batch)
        world.deliver()

    assert world.live() == {"C01-EXP-1-V3": Decimal("30.00")}


def test_a_submitted_report_books_nothing_and_is_no_version(world: World) -> None:
    world.receive(report(happening="submitted"))
    world.receive(report(happening="approved"))
    world.deliver()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_a_number_of_another_source_is_parked(world: World) -> None:
    world.receive(report())

    world.receive(report(version=2, source="/oa/dingtalk/C01"))

    assert [letter.code for letter in world.letters()] == ["SYN-304"]


def test_bytes_that_are_no_event_are_parked_and_the_rest_goes_on(world: World) -> None:
    result = world.receive(b"\xff\xfe not json", report("EXP-1"), b'{"specversion":"1.0"}', report("EXP-2"))
    world.deliver()

    assert (result.parked, len(world.live()), len(world.letters())) == (2, 2, 2)
    ((body,),) = world.query("SELECT body FROM dead_letters WHERE id = 1")
    assert bytes(body) == b"\xff\xfe not json"


def test_the_same_version_under_two_ids_in_one_batch_is_one(world: World) -> None:
    first = report("EXP-1")

    world.receive(first, {**first, "id": "another-id"})

    assert world.letters() == []
    assert world.outcomes() == [(1, "applied"), (1, "duplicate")]
