"""Waiting by key: what waits moves by itself once the key arrives, one document first, none twice. On both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from connector.ledger import Ledger, waiting
from connector.translate import shelf
from tests.integration.process.world import Shelved, World, claim, expense

MISSING = "training.other"
ROW = f"{MISSING},*,*,660205,,,"


@pytest.fixture
def book(tmp_path: Path) -> Shelved:
    return Shelved(tmp_path / "book")


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path, book: Shelved, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(shelf, "LOOK_EVERY_S", 0.0)
    return World(ledger, tmp_path / "erp", book=book.folder)


def _states(world: World) -> list[tuple[str, int, int]]:
    with world.ledger.begin() as tx:
        return [(row.state, row.released, row.waiting) for row in waiting.recent(tx, 10)]


def test_three_hundred_reports_move_when_the_row_arrives_the_canary_first_and_none_twice(
    world: World, book: Shelved
) -> None:
    world.receive(*(claim(f"EXP-{at}", expense(MISSING, "10.00")) for at in range(300)))
    assert len(world.letters()) == 300
    assert not world.release().moved

    book.add("accounts", ROW)
    first = world.release()
    assert (first.canaries, first.released, len(world.live())) == (1, 0, 1)
    assert _states(world) == [("canary", 1, 300)]
    second = world.release()
    assert second.released == 100
    while world.release().moved:
        pass

    assert len(world.live()) == 300
    assert len(world.postings()) == 300
    assert world.letters() == []
    assert _states(world) == [("done", 300, 300)]


def test_a_canary_that_comes_back_stops_the_others(world: World, book: Shelved) -> None:
    world.receive(*(claim(f"EXP-{at}", expense(MISSING, "10.00")) for at in range(5)))

    book.add("accounts", f"{MISSING},*,*,660205,,2020-01-01,2020-12-31")
    for _ in range(4):
        world.release()

    assert len(world.letters()) == 5
    assert _states(world) == [("stopped", 1, 5)]


def test_after_a_stop_the_next_change_of_the_book_is_tried(world: World, book: Shelved) -> None:
    world.receive(*(claim(f"EXP-{at}", expense(MISSING, "10.00")) for at in range(5)))
    book.add("accounts", f"{MISSING},*,*,660205,,2020-01-01,2020-12-31")
    for _ in range(3):
        world.release()

    book.add("accounts", f"{MISSING},*,*,660205,,2021-01-01,")
    for _ in range(4):
        world.release()

    assert len(world.live()) == 5


def test_a_report_that_waits_for_two_keys_moves_when_both_are_there(world: World, book: Shelved) -> None:
    world.receive(claim("EXP-1", expense(MISSING, "10.00"), expense("gift.gold", "5.00")))

    book.add("accounts", ROW)
    assert not world.release().moved
    book.add("accounts", "gift.gold,*,*,660206,,,")
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_a_book_that_became_wrong_leaves_the_last_sound_one_in_force(world: World, book: Shelved) -> None:
    world.receive(claim("EXP-1", expense("travel.taxi", "10.00")))

    (book.folder / "accounts.csv").write_text("nonsense\n")
    world.receive(claim("EXP-2", expense("travel.taxi", "10.00")))

    assert len(world.postings()) == 2


def test_a_stopped_key_is_tried_again_by_a_person(world: World, book: Shelved) -> None:
    world.receive(claim("EXP-1", expense(MISSING, "10.00")))

    assert world.runtime.waiting.retry("C01", f"account:{MISSING}/D01")
    world.deliver()

    assert not world.runtime.waiting.retry("C01", "account:nothing/D01")
    assert len(world.letters()) == 1
