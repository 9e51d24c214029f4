"""The delta feed: every row at least once, in order, whatever shares a time or commits late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.delta import Delta, Key, Row
from connector.errors import Misconfigured

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


class Table:
    """Rows of a system: (seconds, id)."""

    def __init__(self, *rows: tuple[float, int]) -> None:
        self.rows = list(rows)

    def fetch(self, after: Key, limit: int) -> Sequence[Row]:
        keys = sorted(Key(NOW + timedelta(seconds=at), row) for at, row in self.rows)
        return [Row(key, key.id) for key in keys if key > after][:limit]


def ids(delta: Delta, cursor: str | None) -> tuple[list[int], str]:
    told: list[int] = []
    for _ in range(100):
        rows, cursor, more = delta.page(cursor)
        told += [row.data for _, row in rows]
        if not more:
            return told, cursor
    raise AssertionError("the feed never ends")


def test_rows_of_one_time_are_all_told_across_pages() -> None:
    delta = Delta({"t": Table(*[(0, n) for n in range(1, 11)]).fetch}, overlap_s=60, limit=3)

    assert ids(delta, None)[0] == list(range(1, 11))


def test_a_row_that_committed_late_is_told() -> None:
    table = Table((0, 1), (50, 2))
    delta = Delta({"t": table.fetch}, overlap_s=60)
    _, cursor = ids(delta, None)
    table.rows.append((10, 3))

    told, _ = ids(delta, cursor)

    assert told == [3]


def test_nothing_is_told_twice_while_nothing_changes() -> None:
    delta = Delta({"t": Table((0, 1), (50, 2)).fetch}, overlap_s=60)
    _, cursor = ids(delta, None)

    told, same = ids(delta, cursor)

    assert (told, same) == ([], cursor)


def test_asking_again_with_an_old_cursor_gives_the_same_again() -> None:
    table = Table((0, 1))
    delta = Delta({"t": table.fetch}, overlap_s=60)
    _, cursor = ids(delta, None)
    table.rows += [(1, 2), (-5, 3)]

    assert ids(delta, cursor)[0] == [3, 2]
    assert ids(delta, cursor)[0] == [3, 2]


def test_a_page_lost_between_two_late_rows_loses_none() -> None:
    table = Table((0, 1), (50, 2))
    delta = Delta({"t": table.fetch}, overlap_s=60)
    _, cursor = ids(delta, None)
    table.rows.append((10, 3))
    ids(delta, cursor)  # Told, but the caller died before it stored the new cursor.

    assert ids(delta, cursor)[0] == [3]


def test_another_process_tells_the_window_again_rather_than_too_little() -> None:
    table = Table((0, 1), (50, 2))
    _, cursor = ids(Delta({"t": table.fetch}, overlap_s=60), None)

    assert ids(Delta({"t": table.fetch}, overlap_s=60), cursor)[0] == [1, 2]


def test_two_streams_share_a_cursor_and_are_told_in_order_of_time() -> None:
    delta = Delta({"a": Table((0, 1), (20, 3)).fetch, "b": Table((10, 2)).fetch}, overlap_s=60)

    assert ids(delta, None)[0] == [1, 2, 3]


@pytest.mark.parametrize("cursor", ["x", "{}", '{"at": 3}', '{"at": {"t": ["no time", 1, true]}}', "[]"])
def test_a_foreign_cursor_is_named(cursor: str) -> None:
    with pytest.raises(Misconfigured):
        Delta({"t": Table().fetch}, overlap_s=60).page(cursor)


@given(
    st.lists(st.lists(st.tuples(st.integers(-50, 0), st.booleans()), max_size=8), min_size=1, max_size=6),
    st.integers(1, 5),
)
def test_whatever_commits_within_the_overlap_is_told(rounds: list[list[tuple[int, bool]]], limit: int) -> None:
    table, told, cursor = Table(), set[int](), None
    delta = Delta({"t": table.fetch}, overlap_s=60, limit=limit)
    for number, arrivals in enumerate(rounds):
        for late, _ in arrivals:
            table.rows.append((number * 10 + late, len(table.rows) + 1))
        new, cursor = ids(delta, cursor)
        told |= set(new)

    assert told == {row for _, row in table.rows}
