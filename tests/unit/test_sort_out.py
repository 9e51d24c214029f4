"""A batch sorted by what was read before under the key of each event."""

from __future__ import annotations

import hashlib
import json

import pytest

from connector.ledger.documents import EventKey, Read
from connector.process.batch import Arrived
from connector.process.messages import sort_out
from contracts import parse_event
from tests.integration.process.world import report

REPORT = report(event_id="K", amount="10.00")
SAME = json.dumps(REPORT).encode()
SPACED = json.dumps(REPORT, indent=1).encode()  # the same event as other bytes
OTHER = json.dumps(report("EXP-2", event_id="K", amount="99.00")).encode()
KEY = EventKey("/oa/feishu/C01", "K")


def sorted_names(before: str | None, *bodies: bytes) -> list[str]:
    """What becomes of each of these, where the first event was read before with this outcome."""
    arrived = [Arrived(parse_event(body), KEY, body, hashlib.sha256(body).hexdigest(), "broker") for body in bodies]
    read = {} if before is None else {KEY: Read(hashlib.sha256(SAME).hexdigest(), before)}
    done = sort_out(arrived, read, {KEY: parse_event(SAME)})
    names = {id(item): "released" if item.released else "unread" for item in done.unread}
    names |= {id(item): "repeated" for item in done.repeated} | {id(item): "reused" for item in done.reused}
    return [names[id(item)] for item in arrived]


@pytest.mark.parametrize(
    ("before", "bodies", "expected"),
    [
        (None, [SAME], ["unread"]),
        (None, [SAME, SAME, SPACED, OTHER], ["unread", "repeated", "repeated", "reused"]),
        ("applied", [SAME, SPACED, OTHER], ["repeated", "repeated", "reused"]),
        ("held", [SAME, OTHER], ["repeated", "reused"]),
        ("released", [SAME, SAME], ["released", "repeated"]),
        # What was let go is on its way as the bytes that it had.
        ("released", [SPACED, SAME, OTHER], ["repeated", "released", "reused"]),
        ("released", [OTHER], ["reused"]),
    ],
)  # fmt: skip
def test_each_event_is_new_or_repeated_or_let_go_or_has_a_key_of_another(
    before: str | None, bodies: list[bytes], expected: list[str]
) -> None:
    assert sorted_names(before, *bodies) == expected
