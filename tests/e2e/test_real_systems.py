"""The real systems do what the tests above them build on: Tryton refuses what does not balance, the OA its workflow."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest

from tests.support import cubicweb as oa
from tests.support import tryton as erp
from tests.support.cubicweb import Cubicweb
from tests.support.tryton import Tryton

pytestmark = pytest.mark.e2e

DAY = date(2026, 11, 24)
BALANCED = [("660201", "100.00", "0", None), ("2221010101", "6.00", "0", None), ("224101", "0", "106.00", "E017")]


@pytest.fixture
def reference() -> str:
    return f"C01-PROBE{uuid.uuid4().hex[:8]}-V1"


def test_a_balanced_move_is_posted_and_read_by_account_and_party(tryton: Tryton, reference: str) -> None:
    move = tryton.draft(reference, BALANCED, DAY)
    assert tryton.live_moves(reference) == []

    tryton.post(move)

    (live,) = tryton.live_moves(reference)
    assert (live.id, live.state, live.reference, live.date, live.cancels) == (move, "posted", reference, DAY, None)
    assert live.number
    assert [(line.account, line.debit, line.credit, line.party) for line in live.lines] == [
        ("660201", Decimal("100.00"), Decimal(0), None),
        ("2221010101", Decimal("6.00"), Decimal(0), None),
        ("224101", Decimal(0), Decimal("106.00"), "E017"),
    ]


def test_a_move_that_does_not_balance_is_refused(tryton: Tryton, reference: str) -> None:
    move = tryton.draft(reference, [("660201", "10.00", "0", None), ("1002", "0", "9.00", None)], DAY)

    with pytest.raises(erp.Refused, match="balance"):
        tryton.post(move)

    assert [found.state for found in tryton.moves(reference)] == ["draft"]


def test_a_cancelled_move_and_its_cancellation_do_not_live(tryton: Tryton, reference: str) -> None:
    move = tryton.draft(reference, BALANCED, DAY)
    tryton.post(move)
    before = tryton.balance("660201")

    session, *_ = tryton.call("wizard.account.move.cancel.create")
    records = {"active_model": "account.move", "active_id": move, "active_ids": [move]}
    form = {"default": {"description": f"{reference}-R", "reversal": True}}
    tryton.call("wizard.account.move.cancel.execute", session, form, "cancel", **records)

    cancelling = [found for found in tryton.moves(reference) if found.cancels == move]
    if cancelling[0].state == "draft":
        tryton.post(cancelling[0].id)
    assert tryton.live_moves(reference) == []
    assert tryton.balance("660201") == before - 100


@pytest.fixture
def closed_month(tryton: Tryton) -> Iterator[date]:
    tryton.close_period("2026-03")
    yield date(2026, 3, 15)
    tryton.reopen_period("2026-03")


def test_a_closed_month_takes_no_move(tryton: Tryton, reference: str, closed_month: date) -> None:
    with pytest.raises(erp.Refused):
        tryton.draft(reference, BALANCED, closed_month)


def test_employees_are_parties_under_their_number(tryton: Tryton) -> None:
    codes = tryton.party_codes()

    assert {f"E{number:03}" for number in range(1, 21)} <= set(codes)
    assert codes["E017"] == "张三"


def test_an_expense_goes_from_draft_to_accepted(cubicweb: Cubicweb) -> None:
    lines = [oa.Line("1060.00", "60.00"), oa.Line("553.00", "45.66", type="transport", title="高铁")]

    expense = cubicweb.create("深圳出差", lines, by="E017")
    states = [cubicweb.state(expense)]
    cubicweb.submit(expense, by="E017")
    states.append(cubicweb.state(expense))
    cubicweb.accept(expense)
    states.append(cubicweb.state(expense))

    assert states == ["draft", "submitted", "accepted"]


def test_an_employee_does_not_accept_and_does_not_edit_what_was_accepted(cubicweb: Cubicweb) -> None:
    expense = cubicweb.hand_in("深圳出差", [oa.Line("100.00")], by="E001")

    with pytest.raises(oa.Refused, match="not allowed to perform update"):
        cubicweb.rql(("SET X title 'other' WHERE X eid %(x)s", {"x": expense}), by="E001")
    with pytest.raises(oa.Refused, match="allowed"):
        cubicweb.accept(expense)


def test_a_manager_edits_a_line_after_acceptance_and_the_expense_does_not_look_modified(cubicweb: Cubicweb) -> None:
    expense = cubicweb.hand_in("深圳出差", [oa.Line("100.00")])
    before = cubicweb.modified_at(expense)

    cubicweb.edit_line(expense, amount="90.00")

    assert cubicweb.state(expense) == "accepted"
    assert cubicweb.modified_at(expense) == before


def test_the_oa_keeps_what_it_holds_through_a_kill(cubicweb: Cubicweb) -> None:
    expense = cubicweb.hand_in("深圳出差", [oa.Line("100.00")])

    cubicweb.server.kill()
    cubicweb.server.start()

    assert cubicweb.state(expense) == "accepted"
