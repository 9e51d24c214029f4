"""A person who reads no English can work with every command that shows what became of a document."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.integration.process.world import claim, expense, report
from tests.unit.cli.conftest import Cli

PROSE = re.compile(r"\b[a-z]{2,} [a-z]{2,}\b")
TYPED = re.compile(r"oaerp [a-z ]+|\w+=\w+")  # What one types, and how a server names its settings.
COMMANDS = (
    "preflight waits.json",
    "preview waits.json",
    "preview cut-off.json",
    "trace EXP-1",
    "trace EXP-2",
    "deadletters list",
    "deadletters list --each",
    "deadletters show 1",
    "deadletters replay --all --dry-run",
    "waiting list",
    "close check --period 2025-04",
    "close list",
    "audit verify",
    "doctor --no-systems",
    "config show",
    "mapping lint",
)


@pytest.fixture
def office(oaerp: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A report that was booked and changed, and one that waits for a row of the accounts."""
    monkeypatch.setenv("COLUMNS", "400")
    oaerp.arrive(report("EXP-1"))
    oaerp.deliver()
    oaerp.arrive(report("EXP-1", 2, "changed", amount="120.00"))
    for _ in range(3):
        oaerp.deliver()
    waits = claim("EXP-2", expense("training.other", "10.50"))
    oaerp.arrive(waits)
    Path("waits.json").write_text(json.dumps(waits))
    Path("cut-off.json").write_text('{"a":')
    return oaerp


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_shows_in_chinese_has_no_english_prose(office: Cli, command: str) -> None:
    ran = office("--lang", "zh", "--home", "home", *command.split())

    lines = [line for line in (ran.out + ran.err).splitlines() if not line.startswith(("→", "{"))]
    assert [line for line in lines if PROSE.search(TYPED.sub("", line))] == []


def test_the_machine_reads_the_same_in_every_language(office: Cli) -> None:
    english = office.at_home("deadletters", "show", "1", "--json").values[0]
    chinese = office("--lang", "zh", "--home", "home", "deadletters", "show", "1", "--json").values[0]

    assert english["findings"] == chinese["findings"]
    assert english["message"] == chinese["message"]


def test_what_a_person_did_is_told_in_chinese(office: Cli) -> None:
    office.at_home("deadletters", "replay", "1", "--yes", "--reason", "row added")

    shown = office("--lang", "zh", "--home", "home", "trace", "EXP-2").out

    assert "wang：重放死信 1：row added" in shown
