"""What every OA adapter promises, as tests: subclass the suite, give it a rig, and its declared features choose the cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from connector.adapter import Delivery, Outcome, Status
from connector.testing.suite import Rig, Suite, drained, needs, posted


@dataclass(slots=True, kw_only=True)
class OaRig(Rig):
    """An OA to test against. `approve` makes a report there and returns its number; `withdraw` takes it back;
    `statuses` reads what stands in the OA about a report without the adapter."""

    approve: Callable[[], str]
    withdraw: Callable[[str], None]
    statuses: Callable[[str], Sequence[str]]
    company: str = "C01"


class OaConformance(Suite):
    """What every polled OA adapter promises."""

    @needs(lambda features: features.poll)
    def test_approved_reports_are_told_oldest_first(self, oa: OaRig) -> None:
        adapter = oa.open()
        cursor = drained(adapter, None)[1]
        numbers = [oa.approve() for _ in range(3)]

        changes, _ = drained(adapter, cursor)

        assert [change.event.number for change in changes] == numbers
        assert {change.event.type for change in changes} == {"expense.report.approved.v1"}
        assert all(change.raw for change in changes)

    @needs(lambda features: features.poll)
    def test_the_same_cursor_gives_the_same_again_and_the_next_one_nothing(self, oa: OaRig) -> None:
        adapter = oa.open()
        cursor = drained(adapter, None)[1]
        oa.approve()
        first, after = drained(adapter, cursor)

        again, _ = drained(adapter, cursor)
        fresh, _ = drained(oa.open(), cursor)

        assert [change.event.id for change in first] == [change.event.id for change in again]
        assert {change.event.id for change in first} <= {change.event.id for change in fresh}
        assert drained(adapter, after)[0] == []

    @needs(lambda features: features.poll)
    def test_a_report_taken_back_is_told_as_withdrawn(self, oa: OaRig) -> None:
        adapter, number = oa.open(), oa.approve()
        cursor = drained(adapter, None)[1]
        oa.withdraw(number)

        changes, _ = drained(adapter, cursor)

        assert [(change.event.type, change.event.number) for change in changes] == [
            ("expense.report.withdrawn.v1", number)
        ]

    @needs(lambda features: features.deliver)
    def test_a_status_delivered_twice_stands_once(self, oa: OaRig) -> None:
        adapter, number = oa.open(), oa.approve()
        status = Status(oa.company, number, 1, "posted", erp_number="记-0001", on=date(2026, 11, 24))
        delivery = Delivery(f"{number}-posted", status)

        posted(adapter.deliver([delivery])[0])
        posted(oa.open().deliver([replace(delivery, attempt=2)])[0])

        assert len(oa.statuses(number)) == 1
        assert "记-0001" in oa.statuses(number)[0]

    @needs(lambda features: features.deliver)
    def test_a_later_status_stands_beside_the_earlier_one(self, oa: OaRig) -> None:
        adapter, number = oa.open(), oa.approve()

        states: tuple[Literal["posted", "reversed"], ...] = ("posted", "reversed")
        for state in states:
            status = Status(oa.company, number, 1, state, erp_number="记-0001")
            posted(adapter.deliver([Delivery(f"{number}-{state}", status)])[0])

        assert len(oa.statuses(number)) == 2

    @needs(lambda features: features.deliver)
    def test_a_status_of_an_unknown_report_is_permanent(self, oa: OaRig) -> None:
        status = Status(oa.company, "EXP-NOWHERE-1", 1, "posted", erp_number="1")

        answer = oa.open().deliver([Delivery("EXP-NOWHERE-1-posted", status)])[0]

        assert isinstance(answer, Outcome)
        assert answer.kind == "permanent"
