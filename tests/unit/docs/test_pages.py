"""The pages are whole: both languages have the same ones, links lead somewhere, and what they name exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts import all_codes
from docs import generate

ROOT = Path(__file__).parents[3]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PAGES = sorted(
    [
        *READMES,
        *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
        *ROOT.glob("docs/**/*.md"),
    ]
)
ALL_PAGES = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
SECTIONS = "retry|delivery|outbox|consumer|security|gateway"


def test_both_languages_have_the_same_pages() -> None:
    pages = {
        language: {path.relative_to(ROOT / "docs" / language) for path in (ROOT / "docs" / language).rglob("*.md")}
        for language in generate.LANGUAGES
    }

    assert pages["en"] == pages["zh"]


def test_both_languages_have_the_same_code_to_type() -> None:
    for english in (ROOT / "docs" / "en").rglob("*.md"):
        chinese = ROOT / "docs" / "zh" / english.relative_to(ROOT / "docs" / "en")
        for kind in ("sh", "python", "yaml"):
            assert len(blocks(english, kind)) == len(blocks(chinese, kind)), (english.name, kind)


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@ALL_PAGES
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@ALL_PAGES
def test_every_command_a_page_names_exists(page: Path) -> None:
    known = {command.path for command in generate.commands()}
    groups = {command.path for command in generate.commands() if command.is_group}

    for words in re.findall(r"(?:`|^\$ |^)oaerp((?: [a-z][a-z-]*)+)", page.read_text("utf-8"), re.MULTILINE):
        parts = ["oaerp", *words.split()]
        named = parts[:2] if " ".join(parts[:2]) not in groups else parts[:3]
        assert " ".join(named) in known, words


@ALL_PAGES
def test_every_setting_a_page_names_exists(page: Path) -> None:
    known = {setting.path for setting in generate.settings()}

    for name in re.findall(rf"`((?:{SECTIONS})\.[a-z_]+)`", page.read_text("utf-8")):
        assert name in known


@ALL_PAGES
def test_every_error_code_a_page_names_exists(page: Path) -> None:
    for name in re.findall(r"\b(?:CON|MAP|ERP|OA|SYN|SEC|CFG|OPS)-[0-9]{3}\b", page.read_text("utf-8")):
        assert name in all_codes()


@ALL_PAGES
def test_every_make_target_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    for name in re.findall(r"(?:`|^)make ([a-z0-9-]+)", page.read_text("utf-8"), re.MULTILINE):
        assert name in targets


def named_tests(page: Path) -> list[str]:
    return re.findall(r"`((?:tests|connector)/[\w/]+\.py::\w+(?:::\w+)?)`", page.read_text("utf-8"))


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.name)
def test_every_test_a_readme_names_exists(readme: Path) -> None:
    named = named_tests(readme)

    assert len(named) >= 10, "each guarantee names the test that shows it"
    for name in named:
        path, _, wanted = name.partition("::")
        assert wanted in set(names_in(ROOT / path)), name


def names_in(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef))


def test_both_readmes_name_the_same_tests() -> None:
    assert named_tests(READMES[0]) == named_tests(READMES[1])


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text("utf-8")

    for note in (ROOT / "docs" / "decisions").glob("0*.md"):
        assert f"({note.name})" in index
