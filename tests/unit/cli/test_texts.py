"""Whatever the command line says, it says in both languages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import workers
from workers.cli.texts import CHINESE, TEXTS, say

FOLDER = Path(workers.__file__).parent
SPEAKING = ("say", "note", "confirm", "progress")
# Says the same in both languages.
SAME = {"", "ERP", "OA", "oaerp deadletters list"}


def calls(name: str, *files: Path) -> Iterator[ast.Call]:
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                yield node


def texts_in(node: ast.AST) -> set[str]:
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


@pytest.mark.parametrize("key", TEXTS)
def test_a_message_has_both_languages_and_the_same_places_to_fill(key: str) -> None:
    english, chinese = TEXTS[key]

    assert english
    assert re.search("[一-鿿]", chinese) or not re.search("[a-z]", re.sub("{.*?}", "", english))
    assert set(re.findall(r"{(\w+)}", english)) == set(re.findall(r"{(\w+)}", chinese))


@pytest.mark.parametrize("english", CHINESE)
def test_a_heading_has_its_chinese(english: str) -> None:
    assert english in SAME or re.search("[一-鿿]", CHINESE[english])


def test_every_message_that_is_said_is_in_the_catalogue_and_none_is_left_over() -> None:
    files = list((FOLDER / "cli").glob("*.py"))
    used = {text for name in SPEAKING for call in calls(name, *files) for text in texts_in(call)}
    used |= {text for call in calls("_one_by_one", *files) for text in texts_in(call)}

    named = {
        call.args[0].value
        for name in SPEAKING
        for call in calls(name, *files)
        if call.args and isinstance(call.args[0], ast.Constant)
    }
    assert {key for key in named if isinstance(key, str)} <= set(TEXTS)
    assert set(TEXTS) - used == set()


def test_every_check_of_the_doctor_has_its_chinese() -> None:
    said: set[str] = set()
    for call in calls("Check", FOLDER / "doctor.py", FOLDER / "reach.py"):
        for place in (0, 3):
            if len(call.args) > place and isinstance(call.args[place], ast.Constant):
                said |= texts_in(call.args[place])
    for file in (FOLDER / "doctor.py", FOLDER / "reach.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "fix":
                said |= texts_in(node.value)

    assert len(said) > 40
    assert said - set(CHINESE) == set()


def test_every_heading_of_a_table_has_its_chinese() -> None:
    said: set[str] = set()
    for call in calls("table", *(FOLDER / "cli").glob("*.py")):
        said |= texts_in(call.args[1]) if isinstance(call.args[1], ast.Tuple) else set()

    assert len(said) > 15
    assert said - set(CHINESE) == set()


def test_a_message_is_filled_in() -> None:
    assert say("no_document", "en", number="EXP-1") == "no document EXP-1 in this ledger"
    assert say("no_document", "zh", number="EXP-1") == "台账中没有单据 EXP-1"
