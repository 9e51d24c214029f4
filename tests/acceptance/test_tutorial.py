"""The tutorial is typed as it stands, command by command, and what it says comes out does come out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import generate
from tests.acceptance.terminals import Terminals

ROOT = Path(__file__).parents[2]


@pytest.fixture
def terminals(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminals]:
    for name in ("connector", "contracts"):
        (tmp_path / name).symlink_to(ROOT / name)
    made = Terminals(tmp_path, request.param)
    yield made
    made.stop()


@pytest.mark.parametrize("terminals", generate.LANGUAGES, indirect=True)
def test_whoever_types_the_tutorial_sees_what_it_says(terminals: Terminals) -> None:
    page = ROOT / "docs" / terminals.env["OAERP_LANG"] / "tutorial.md"

    terminals.follow(page.read_text("utf-8"))
