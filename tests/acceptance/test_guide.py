"""Pages that tell what to type are followed as they stand, in an empty folder: their files, their commands, what comes out."""

from __future__ import annotations

import re
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


@pytest.mark.parametrize("language", generate.LANGUAGES)
def test_every_worked_number_of_the_accounting_page_is_a_case_or_a_test(language: str) -> None:
    page = (ROOT / "docs" / language / "explanation" / "accounting.md").read_text("utf-8")
    cases = [_flat(path.read_text("utf-8")) for path in (ROOT / "tests" / "cases").rglob("*.case")]
    shown = [
        case for block in re.findall(r"^```text\n(.*?)^```", page, re.DOTALL | re.M) for case in block.split("\n\n")
    ]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)

    assert len(shown) > 20
    for case in shown:
        assert any(_flat(case) in known for known in cases), case
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text("utf-8")


def _flat(text: str) -> str:
    return " ".join(text.split())
