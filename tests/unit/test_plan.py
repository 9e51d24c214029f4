"""The planner's decisions, one sentence each, and that no order of events leads anywhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.plan import Cancel, DocumentState, Plan, Post, Reverse, Standing, Version, plan

HOME = "/oa/feishu/C01"


def document(
    version: int = 0, *standing: Standing, sha: str | None = None, blocked_by: int | None = None
) -> DocumentState:
    return DocumentState(version, sha or (f"content {version}" if version else None), HOME, blocked_by, standing)


def arriving(number: int, intent: str = "book", *, sha: str | None = None, released: bool = False) -> Version:
    return Version(number, sha or f"content {number}", HOME, intent, released)  # type: ignore[arg-type]


def posting(
    id_: int, version: int, state: str, *, purpose: str = "post", attempts: int = 1, reverses: int | None = None
) -> Standing:
    return Standing(id_, version, purpose, state, attempts, reverses)  # type: ignore[arg-type]


def steps(decided: Plan) -> list[str]:
    said = []
    for step in decided.steps:
        match step:
            case Post(version):
                said.append(f"post {version}")
            case Reverse(old):
                said.append(f"reverse {old.version}")
            case Cancel(old):
                said.append(f"cancel {old.version}")
    return said


POSTED = posting(1, 1, "POSTED")
UNSENT = posting(1, 1, "PENDING", attempts=0)
TAKEN_BACK = posting(2, 1, "PENDING", purpose="reverse", attempts=0, reverses=1)

TABLE = [
    ("a first version is posted", document(), arriving(1), "applied", ["post 1"]),
    ("a first version may be any number", document(), arriving(7), "applied", ["post 7"]),
    (
        "a change after posting is reversed and posted anew",
        document(1, POSTED),
        arriving(2),
        "applied",
        ["reverse 1", "post 2"],
    ),
    ("a withdrawal after posting is reversed", document(1, POSTED), arriving(2, "withdraw"), "applied", ["reverse 1"]),
    (
        "a withdrawal before posting drops the posting",
        document(1, UNSENT),
        arriving(2, "withdraw"),
        "applied",
        ["cancel 1"],
    ),
    ("a withdrawal of nothing needs nothing", document(), arriving(1, "withdraw"), "applied", []),
    (
        "a change before sending replaces the posting",
        document(1, UNSENT),
        arriving(2),
        "applied",
        ["cancel 1", "post 2"],
    ),
    ("the same version again is nothing", document(1, POSTED), arriving(1), "duplicate", []),
    ("an older version is nothing", document(3, POSTED), arriving(2), "superseded", []),
    ("an older withdrawal is nothing", document(3, POSTED), arriving(2, "withdraw"), "superseded", []),
    ("one version with two contents is parked", document(1, POSTED), arriving(1, sha="other"), "parked", []),
    (
        "a version waits while the one before is being sent",
        document(1, posting(1, 1, "SENDING")),
        arriving(2),
        "held",
        [],
    ),
    (
        "a version waits while the one before is in doubt",
        document(1, posting(1, 1, "UNKNOWN")),
        arriving(2),
        "held",
        [],
    ),
    (
        "a version waits while the one before is to be sent again",
        document(1, posting(1, 1, "PENDING")),
        arriving(2),
        "held",
        [],
    ),
    ("a version waits behind a parked one", document(1, POSTED, blocked_by=9), arriving(2), "held", []),
    (
        "a released version passes",
        document(1, POSTED, blocked_by=9),
        arriving(2, released=True),
        "applied",
        ["reverse 1", "post 2"],
    ),
    (
        "what is being reversed is not reversed twice",
        document(2, POSTED, TAKEN_BACK),
        arriving(3),
        "applied",
        ["post 3"],
    ),
    (
        "a third version drops the second and keeps the reversal of the first",
        document(2, POSTED, TAKEN_BACK, posting(3, 2, "PENDING", attempts=0)),
        arriving(3),
        "applied",
        ["cancel 2", "post 3"],
    ),
    (
        "a reversal in doubt does not hold the next version, which waits for it in the ledger",
        document(1, POSTED, posting(2, 1, "UNKNOWN", purpose="reverse", reverses=1)),
        arriving(2),
        "applied",
        ["post 2"],
    ),
    (
        "a reversal that the ERP rejected is asked for again",
        document(
            2, POSTED, posting(2, 1, "REJECTED", purpose="reverse", reverses=1), posting(3, 2, "PENDING", attempts=0)
        ),
        arriving(2, released=True),
        "applied",
        ["cancel 2", "reverse 1", "post 2"],
    ),
    (
        "a rejected version is posted again when a person lets it go",
        document(1, posting(1, 1, "REJECTED")),
        arriving(1, released=True),
        "applied",
        ["post 1"],
    ),
    (
        "a rejected version that only comes again is nothing",
        document(1, posting(1, 1, "REJECTED")),
        arriving(1),
        "duplicate",
        [],
    ),
    (
        "a change after a rejection is posted",
        document(1, posting(1, 1, "REJECTED")),
        arriving(2),
        "applied",
        ["post 2"],
    ),
    (
        "a change after a withdrawal is posted",
        document(2, posting(1, 1, "REVERSED")),
        arriving(3),
        "applied",
        ["post 3"],
    ),
    ("a submitted report is only noted", document(), arriving(1, "note"), "applied", []),
    ("a late submission of an old version is only noted", document(3, POSTED), arriving(1, "note"), "applied", []),
]


@pytest.mark.parametrize(
    ("state", "version", "outcome", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_planner_decides(state: DocumentState, version: Version, outcome: str, expected: list[str]) -> None:
    decided = plan(state, version)

    assert (decided.outcome, steps(decided)) == (outcome, expected)


def test_a_document_of_another_source_is_parked() -> None:
    decided = plan(document(), Version(1, "content 1", "/oa/dingtalk/C01", "book"))

    assert (decided.outcome, decided.code) == ("parked", "SYN-304")


def test_the_same_arguments_give_the_same_plan() -> None:
    assert plan(document(1, POSTED), arriving(2)) == plan(document(1, POSTED), arriving(2))


@given(st.permutations(range(1, 7)), st.sets(st.integers(1, 6)))
def test_in_any_order_the_newest_version_alone_counts(order: list[int], withdrawn: set[int]) -> None:
    state = document()
    live: set[int] = set()

    for number in order:
        intent = "withdraw" if number in withdrawn else "book"
        decided = plan(state, arriving(number, intent))
        if decided.outcome != "applied":
            continue
        for step in decided.steps:
            match step:
                case Post(version):
                    live.add(version)
                case Reverse(old):
                    live.remove(old.version)
                case Cancel(_):
                    pytest.fail("nothing is left unsent here")
        standing = tuple(posting(version, version, "POSTED") for version in sorted(live))
        state = DocumentState(number, f"content {number}", HOME, None, standing)

    assert live == (set() if 6 in withdrawn else {6})
