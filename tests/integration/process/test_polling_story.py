"""Polling: the cursor moves from where it was read, or the page counts for nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from connector.adapter import Change, Features, Page
from connector.ledger import Ledger
from connector.process.poll import PollResult, poll_once
from connector.settings import Retry
from contracts import parse_event
from tests.integration.process.world import World, report

SYSTEM = "/oa/feishu/C01"


class PolledOa:
    """An OA that numbers no versions: shows a report with the amount that it has now."""

    name, company = "feishu", "C01"
    features = Features(poll=True)

    def __init__(self, amount: str) -> None:
        self.amount, self.edits = amount, 0
        self.before_it_answers: Callable[[], None] = lambda: None

    def edit(self, amount: str) -> None:
        self.amount, self.edits = amount, self.edits + 1

    def poll(self, cursor: str | None) -> Page:
        body = json.dumps(report(amount=self.amount)).encode()
        page = Page([Change(parse_event(body), body, unnumbered=True)], f"edit {self.edits}")
        on_the_way, self.before_it_answers = self.before_it_answers, lambda: None
        on_the_way()
        return page


@pytest.mark.parametrize("polled_before", [False, True], ids=["the first poll", "a later poll"])
def test_a_page_that_another_poll_overtook_counts_for_nothing(
    world: World, ledger: Ledger, polled_before: bool
) -> None:
    oa = PolledOa("5.00")
    if polled_before:
        poll(ledger, oa)
        oa.edit("10.00")

    def overtake() -> None:
        oa.edit("99.00")
        poll(ledger, oa)

    oa.before_it_answers = overtake
    poll(ledger, oa)

    world.deliver()
    assert [str(total) for total in world.live().values()] == ["99.00"]
    assert world.query("SELECT position FROM cursors") == [(f"edit {oa.edits}",)]


def test_a_report_that_did_not_change_is_told_once(world: World, ledger: Ledger) -> None:
    oa = PolledOa("10.00")

    first, second = poll(ledger, oa), poll(ledger, oa)

    world.deliver()
    assert ((first.changes, first.accepted), (second.changes, second.accepted)) == ((1, 1), (1, 0))
    assert list(world.live()) == ["C01-EXP-1-V1"]


def poll(ledger: Ledger, oa: PolledOa) -> PollResult:
    return poll_once(ledger, oa, SYSTEM, Retry())  # type: ignore[arg-type]
