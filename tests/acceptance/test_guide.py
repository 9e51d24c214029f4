"""Pages that tell what to type are followed as they stand, in an empty folder: their files, their commands, what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import generate
from tests.acceptance.terminals import Terminals
from tests.support.private import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def terminals(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminals]:
    made = Terminals(tmp_path, request.param)
    yield made
    made.stop()


@pytest.mark.parametrize("page", ["write-a-mapping-book", "check-before-approval", "release-what-waits"])
@pytest.mark.parametrize("terminals", generate.LANGUAGES, indirect=True)
def test_whoever_follows_the_page_sees_what_it_says(terminals: Terminals, page: str) -> None:
    text = (ROOT / "docs" / terminals.env["OAERP_LANG"] / "how-to" / f"{page}.md").read_text("utf-8")
    port = terminals.env["OAERP_GATEWAY__PORT"] = str(free_port())

    terminals.follow(text.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
