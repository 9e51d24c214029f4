"""One piece spoils no other: what a check objects to, or the database cannot hold, is refused alone."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from sqlalchemy.exc import DataError, OperationalError

from connector.adapter import Change
from connector.oa.door import CHUNK, from_an_oa, take
from connector.oa.reading import read_array
from connector.process.intake import Accepted
from tests.integration.process.world import period
from tests.unit.doors.samples import array, body


class Recorder:
    """Remembers what it was given; as a database would, it refuses a whole call for one value it cannot hold."""

    def __init__(self, cannot_hold: str = "") -> None:
        self.calls: list[list[str]] = []
        self.cannot_hold = cannot_hold

    def accept(self, changes: Sequence[Change], door: str) -> Sequence[Accepted]:
        names = [change.event.number for change in changes]
        if self.cannot_hold in names:
            raise DataError("INSERT", {}, ValueError("value too long"))
        self.calls.append(names)
        return [Accepted(c.event.source, c.event.id, c.event.number, c.event.version, "accepted") for c in changes]


def test_events_are_accepted_in_chunks_and_in_order() -> None:
    ledger = Recorder()
    pieces = read_array(array(*(body(f"A{number}") for number in range(CHUNK + 1))))

    taken = list(take(pieces, ledger.accept, "test"))

    assert [len(call) for call in ledger.calls] == [CHUNK, 1]
    assert [one.accepted.number for one in taken if one.accepted] == [f"A{number}" for number in range(CHUNK + 1)]


def test_what_the_database_cannot_hold_is_refused_alone() -> None:
    ledger = Recorder(cannot_hold="B")

    taken = list(take(read_array(array(body("A"), body("B"), body("C"))), ledger.accept, "test"))

    assert [one.status for one in taken] == ["accepted", "refused", "accepted"]
    assert taken[1].findings[0].code == "OPS-802"
    assert ledger.calls == [["A"], ["C"]]


def test_a_database_that_is_away_is_nobody_s_fault() -> None:
    def away(changes: Sequence[Change], door: str) -> Sequence[Accepted]:
        raise OperationalError("INSERT", {}, ConnectionRefusedError())

    with pytest.raises(OperationalError):
        list(take(read_array(array(body("A"))), away, "test"))


def test_events_of_another_company_do_not_come_through_a_company_s_door() -> None:
    ledger = Recorder()
    foreign = body("B").replace(b"C01", b"C02")

    taken = list(take(read_array(array(body("A"), foreign)), ledger.accept, "test", from_an_oa("C01")))

    assert [one.status for one in taken] == ["accepted", "refused"]
    assert taken[1].findings[0].code == "SEC-608"


def test_an_erp_is_not_heard_at_a_door_for_oas() -> None:
    ledger = Recorder()
    foreign = body("B").replace(b"/oa/feishu/", b"/erp/tryton/")

    taken = list(take(read_array(array(body("A"), foreign)), ledger.accept, "test", from_an_oa()))

    assert [one.status for one in taken] == ["accepted", "refused"]
    assert taken[1].findings[0].code == "SEC-608"


def test_an_oa_does_not_speak_for_the_erp_at_its_door() -> None:
    posted = period("2025-04", "open") | {"source": "/oa/feishu/C01"}
    ledger = Recorder()

    (taken,) = take(read_array(array(json.dumps(posted).encode())), ledger.accept, "test", from_an_oa("C01"))

    assert (taken.status, [finding.code for finding in taken.findings]) == ("refused", ["SEC-610"])
