"""A posted report that changes: nothing, an addition, a red and a blue voucher, or a person. On both databases."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connector.ledger import Ledger
from tests.integration.process.test_accounts_story import _payment
from tests.integration.process.world import World, claim, expense, period, report, told


def special(*, certified: bool, amount: str = "1060.00") -> dict[str, Any]:
    invoice = {"kind": "vat_special", "total": "1060.00", "net": "1000.00", "tax": "60.00", "certified": certified}
    return expense("travel.hotel", amount, invoice=invoice)


def changed(*lines: dict[str, Any], version: int = 2, **data: Any) -> dict[str, Any]:
    return claim("EXP-1", *lines, version=version, happening="changed", **data)


def posted(world: World, *lines: dict[str, Any], **data: Any) -> None:
    world.receive(claim("EXP-1", *lines, **data))
    world.deliver()


TAXI = expense("travel.taxi", "300.00")


def test_a_changed_title_books_nothing(world: World) -> None:
    posted(world, TAXI)

    world.receive(changed(TAXI, title="Another title"))
    world.deliver()

    assert world.postings() == [("C01-EXP-1-V1", "POSTED")]
    assert world.outcomes() == [(1, "applied"), (2, "applied")]


def test_certification_moves_the_tax_by_a_voucher_beside_the_first(world: World) -> None:
    posted(world, special(certified=False))

    world.receive(changed(special(certified=True)))
    world.deliver()

    assert world.postings() == [("C01-EXP-1-V1", "POSTED"), ("C01-EXP-1-V2", "POSTED")]
    assert world.voucher_lines("C01-EXP-1-V2") == ["Dr 2221010101 60.00", "Cr 222109 60.00"]


def test_a_change_after_an_addition_takes_both_back_before_it_posts_anew(world: World) -> None:
    posted(world, special(certified=False))
    world.receive(changed(special(certified=True)))
    world.deliver()

    world.receive(changed(special(certified=True), TAXI, version=3))
    world.deliver()

    assert dict(world.postings()) == {
        "C01-EXP-1-V1": "REVERSED",
        "C01-EXP-1-V2": "REVERSED",
        "C01-EXP-1-V1-R": "POSTED",
        "C01-EXP-1-V2-R": "POSTED",
        "C01-EXP-1-V3": "POSTED",
    }
    assert world.live() == {"C01-EXP-1-V3": Decimal("1360.00")}


def test_case_b_a_changed_meal_of_a_closed_march_is_reversed_and_booked_in_april(world: World) -> None:
    march = {"approved_at": "2025-03-29T10:00:00+08:00"}
    posted(world, expense("entertainment.meal", "300.00"), **march)
    world.receive(period("2025-03", "closed"), period("2025-04", "open"))

    world.receive(changed(expense("entertainment.meal", "260.00"), approved_at="2025-04-08T10:00:00+08:00"))
    world.deliver()

    assert world.voucher_lines("C01-EXP-1-V1-R") == ["Dr 660206 -300.00", "Cr 224101 -300.00"]
    assert world.voucher_lines("C01-EXP-1-V2") == ["Dr 660206 260.00", "Cr 224101 260.00"]
    assert {_day(world, reference) for reference in ("C01-EXP-1-V1-R", "C01-EXP-1-V2")} == {"2025-04-08"}


def test_case_b_once_paid_the_lower_claim_is_for_a_person(world: World) -> None:
    posted(world, expense("travel.taxi", "413.00"))
    world.receive(_payment("P1", "413.00", 1))

    world.receive(changed(expense("travel.taxi", "373.00")))

    (letter,) = world.letters()
    assert letter.code == "ACC-351"
    assert "40.00" in letter.message
    assert world.postings() == [("C01-EXP-1-V1", "POSTED")]


@pytest.mark.parametrize("day", ["2025-03-28", "2025-05-06"])
def test_a_posting_day_that_the_new_version_states_moves_the_voucher(world: World, day: str) -> None:
    posted(world, TAXI)

    world.receive(changed(TAXI, posting_date=day))
    world.deliver()

    assert list(world.live()) == ["C01-EXP-1-V2"]
    assert _day(world, "C01-EXP-1-V1-R") == _day(world, "C01-EXP-1-V1") == "2025-04-03"
    assert _day(world, "C01-EXP-1-V2") == day


def test_out_of_a_closed_period_nothing_is_moved(world: World) -> None:
    posted(world, TAXI)
    world.receive(period("2025-04", "closed"), period("2025-05", "open"))

    world.receive(changed(TAXI, posting_date="2025-05-06"))

    assert world.postings() == [("C01-EXP-1-V1", "POSTED")]


def test_a_later_approval_of_the_same_moves_nothing(world: World) -> None:
    posted(world, TAXI)

    world.receive(changed(TAXI, approved_at="2025-04-09T10:00:00+08:00"))
    world.receive(changed(TAXI, version=3, posting_date="2025-04-03"))

    assert world.postings() == [("C01-EXP-1-V1", "POSTED")]


def _taken_back_in_the_erp(world: World) -> None:
    document = {"type": "expense.report", "number": "EXP-1", "version": 1}
    values = {"reference": "C01-EXP-1-V1", "erp_number": "7", "reversed_on": "2025-04-20"}
    world.receive(told("voucher.reversed.v1", "EXP-1", number="EXP-1", document=document, **values))


def test_a_payment_counts_also_after_somebody_took_the_voucher_back_in_the_erp(world: World) -> None:
    posted(world, expense("travel.taxi", "413.00"))
    world.receive(_payment("P1", "413.00", 1))
    _taken_back_in_the_erp(world)

    world.receive(changed(expense("travel.taxi", "373.00")))

    assert [letter.code for letter in world.letters()] == ["ACC-351"]
    assert world.postings() == [("C01-EXP-1-V1", "REVERSED")]


def test_so_it_does_when_the_report_is_withdrawn(world: World) -> None:
    posted(world, expense("travel.taxi", "413.00"))
    world.receive(_payment("P1", "413.00", 1))
    _taken_back_in_the_erp(world)

    world.receive(report("EXP-1", 2, "withdrawn"))

    assert [letter.code for letter in world.letters()] == ["ACC-351"]


def test_what_somebody_took_back_in_the_erp_is_posted_anew_where_nothing_was_paid(world: World) -> None:
    posted(world, expense("travel.taxi", "413.00"))
    _taken_back_in_the_erp(world)

    world.receive(changed(expense("travel.taxi", "373.00")))
    world.deliver()

    assert world.postings() == [("C01-EXP-1-V1", "REVERSED"), ("C01-EXP-1-V2", "POSTED")]


def test_its_year_counts_too(world: World) -> None:
    posted(world, TAXI, approved_at="2024-12-30T10:00:00+08:00", submitted_on="2024-12-29")
    _taken_back_in_the_erp(world)

    world.receive(changed(expense("travel.taxi", "260.00"), approved_at="2025-01-08T10:00:00+08:00"))

    assert [letter.code for letter in world.letters()] == ["ACC-353"]


def test_a_withdrawal_of_what_somebody_took_back_leaves_nothing_to_do(world: World) -> None:
    posted(world, TAXI)
    _taken_back_in_the_erp(world)

    world.receive(report("EXP-1", 2, "withdrawn"))

    assert world.letters() == []
    assert world.outcomes() == [(1, "applied"), (2, "applied")]


def test_a_higher_claim_of_a_paid_report_is_added_to_it(world: World) -> None:
    posted(world, expense("travel.taxi", "413.00"))
    world.receive(_payment("P1", "413.00", 1))

    world.receive(changed(expense("travel.taxi", "453.00")))
    world.deliver()

    assert world.voucher_lines("C01-EXP-1-V2") == ["Dr 660201 40.00", "Cr 224101 40.00"]
    assert world.live() == {"C01-EXP-1-V1": Decimal("413.00")}


def test_a_paid_report_is_not_withdrawn(world: World) -> None:
    posted(world, TAXI)
    world.receive(_payment("P1", "100.00", 1))

    world.receive(report("EXP-1", 2, "withdrawn"))

    assert [letter.code for letter in world.letters()] == ["ACC-351"]


def test_a_correction_in_another_fiscal_year_is_for_a_person(world: World) -> None:
    posted(world, TAXI, approved_at="2024-12-30T10:00:00+08:00", submitted_on="2024-12-29")

    world.receive(changed(expense("travel.taxi", "260.00"), approved_at="2025-01-08T10:00:00+08:00"))

    assert [letter.code for letter in world.letters()] == ["ACC-353"]


def test_a_withdrawal_whose_month_is_closed_is_reversed_in_the_next_open_one(ledger: Ledger, tmp_path: Path) -> None:
    world = World(ledger, tmp_path / "erp")
    posted(world, TAXI)
    world.receive(period("2025-04", "closed"), period("2025-05", "open"))

    world.receive(report("EXP-1", 2, "withdrawn"))
    world.deliver()

    assert _day(world, "C01-EXP-1-V1-R") == "2025-05-01"
    assert world.live() == {}


def test_a_withdrawal_told_in_utc_is_booked_on_the_company_s_day(world: World) -> None:
    posted(world, TAXI)

    world.receive(report("EXP-1", 2, "withdrawn", withdrawn_at="2025-04-30T23:30:00Z"))
    world.deliver()

    assert _day(world, "C01-EXP-1-V1-R") == "2025-05-01"


def test_a_withdrawal_told_with_an_offset_is_booked_on_the_day_it_says(world: World) -> None:
    posted(world, TAXI)

    world.receive(report("EXP-1", 2, "withdrawn", withdrawn_at="2025-04-30T23:30:00-05:00"))
    world.deliver()

    assert _day(world, "C01-EXP-1-V1-R") == "2025-04-30"


def _day(world: World, reference: str) -> str:
    from contracts.voucher import parse_voucher

    ((body,),) = world.query("SELECT voucher FROM postings WHERE reference = :reference", reference=reference)
    return str(parse_voucher(bytes(body)).date)
