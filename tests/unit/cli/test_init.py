"""`oaerp init` writes a whole book, or nothing; what is there already is not touched unasked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connector.translate import load_book
from connector.translate.book import STARTERS
from tests.unit.cli.conftest import Cli
from workers.cli.init import Chart, write
from workers.cli.state import OK, USAGE


def everything(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("chart", [chart.value for chart in Chart])
def test_a_new_book_is_the_starter_book_byte_for_byte(oaerp: Cli, chart: str) -> None:
    done = oaerp("init", "some/where", "--chart", chart)

    assert done.code == OK
    assert everything(Path("some/where")) == everything(STARTERS / chart)
    assert load_book(Path("some/where")).fingerprint == load_book(STARTERS / chart).fingerprint
    assert [line.split()[0] for line in done.out.splitlines()[1:3]] == ["book.yaml", "companies.csv"]
    assert "mapping lint some/where" in done.err
    assert [path.name for path in Path("some").iterdir()] == ["where"]


def test_every_starter_can_be_chosen_and_the_chinese_one_is_the_default(oaerp: Cli) -> None:
    assert {chart.value for chart in Chart} == {folder.name for folder in STARTERS.iterdir() if folder.is_dir()}
    assert json.loads(oaerp("init", "--json").out)["chart"] == "chinese"
    assert load_book(Path("book")).fingerprint == load_book().fingerprint


def test_a_folder_with_files_is_refused_and_left_as_it_is(oaerp: Cli) -> None:
    Path("book").mkdir()
    Path("book/notes.txt").write_text("mine")

    done = oaerp("init")

    assert done.code == USAGE
    assert "--force" in done.err
    assert everything(Path("book")) == {"notes.txt": b"mine"}


def test_force_replaces_files_named_alike_and_keeps_the_others(oaerp: Cli) -> None:
    Path("book/tests").mkdir(parents=True)
    Path("book/tests/mine.case").write_text("# mine")
    Path("book/tax.csv").write_text("old")

    assert oaerp("init", "book", "--force").code == OK

    found = everything(Path("book"))
    assert found.pop("tests/mine.case") == b"# mine"
    assert found == everything(STARTERS / "chinese")


def test_an_empty_folder_is_filled_where_it_stands(oaerp: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("new").mkdir()
    monkeypatch.chdir("new")

    assert oaerp("init", ".").code == OK
    assert everything(Path()) == everything(STARTERS / "chinese")


def test_a_copy_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    """A link to nowhere in the middle of the starter breaks the copy off."""
    starter = tmp_path / "starter"
    starter.mkdir()
    (starter / "a.csv").write_text("a")
    (starter / "book.yaml").symlink_to("nowhere")

    with pytest.raises(OSError, match=r"book\.yaml"):
        write(starter, tmp_path / "book")

    assert [path.name for path in tmp_path.iterdir()] == ["starter"]


def test_a_file_in_the_way_is_named(oaerp: Cli) -> None:
    Path("book").write_text("a file")

    done = oaerp("init", "book", "--force")

    assert done.code == USAGE
    assert "book" in done.err
    assert Path("book").read_text() == "a file"
