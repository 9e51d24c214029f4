"""The book in force: read anew when a file changed, and only then."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from connector.translate.book import STARTER
from connector.translate.shelf import LOOK_EVERY_S, Shelf


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += LOOK_EVERY_S
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STARTER, tmp_path / "book"))


def test_a_book_that_did_not_change_is_not_read_again(folder: Path) -> None:
    shelf = Shelf(folder, clock=Clock())
    book = shelf.book()
    seen = (folder / "tax.csv").stat()
    (folder / "tax.csv").write_bytes(b"?" * seen.st_size)  # Whoever read it would refuse it.
    os.utime(folder / "tax.csv", ns=(seen.st_atime_ns, seen.st_mtime_ns))

    assert shelf.book() is book


def test_a_changed_book_is_in_force_at_the_next_look(folder: Path) -> None:
    shelf = Shelf(folder, clock=Clock())
    before = shelf.book()
    with (folder / "accounts.csv").open("a", encoding="utf-8") as file:
        file.write("travel.ship,*,*,660201,,,\n")

    assert "travel.ship" in shelf.book().categories()
    assert "travel.ship" not in before.categories()


def test_a_book_that_became_wrong_leaves_the_last_sound_one_in_force(folder: Path) -> None:
    shelf = Shelf(folder, clock=Clock())
    book = shelf.book()
    (folder / "tax.csv").write_text("no table", "utf-8")

    assert shelf.book() is book


def test_the_dangling_link_of_an_editor_is_looked_past(folder: Path) -> None:
    shelf = Shelf(folder, clock=Clock())
    book = shelf.book()
    (folder / ".#book.yaml").symlink_to("somebody@somewhere.1234")

    assert shelf.book() is book
