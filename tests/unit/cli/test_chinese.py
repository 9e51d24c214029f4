"""A person who reads no English can work with the command line: its help, its errors, what it shows of a document."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest

from docs import generate
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
    "mapping coverage",
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


TOLD_BY_TYPER = re.compile(
    r"Usage|Options|Arguments|Commands|default|required|Error|Try|Did you|option|<(str|int|path)"
)


def english(text: str) -> list[str]:
    """The lines that hold words of English, apart from what one types."""
    lines = text.splitlines()
    return [line for line in lines if PROSE.search(TYPED.sub("", line)) or TOLD_BY_TYPER.search(line)]


def width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


@pytest.mark.parametrize("command", [command.path.removeprefix("oaerp").strip() for command in generate.commands()])
def test_the_help_of_a_command_is_chinese(oaerp: Cli, command: str) -> None:
    helped = oaerp("--lang", "zh", *command.split(), "--help")

    assert helped.code == 0
    assert f"用法：oaerp {command}".rstrip() in helped.out
    assert english(helped.out) == []


@pytest.mark.parametrize(
    "chosen", ["--lang zh --help", "--lang=zh --help", "--help --lang zh", "--debug --lang zh --help"]
)
def test_the_language_may_stand_anywhere_before_a_command(oaerp: Cli, chosen: str) -> None:
    helped = oaerp(*chosen.split())

    assert "命令：" in helped.out + helped.err
    assert english(helped.out + helped.err) == []


@pytest.mark.parametrize("variable", ["OAERP_LANG", "LC_ALL", "LANG"])
def test_help_is_in_the_language_of_the_environment(oaerp: Cli, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "zh_CN.UTF-8")

    assert "用法：oaerp preview [选项]" in oaerp("preview", "--help").out
    assert "Usage: oaerp preview" in oaerp("--lang", "en", "preview", "--help").out


def test_help_in_chinese_fits_the_screen(oaerp: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    lines = oaerp("--lang", "zh", "mapping", "coverage", "--help").out.splitlines()

    assert max(width(line) for line in lines) <= 80
    assert not any(line.lstrip()[:1] in "，。；：、）" for line in lines if line)


WRONG = (
    ("--nope", "没有选项 --nope（可能是：--home, --no-debug）"),
    ("--lang fr doctor", "--lang 的值无效：en 或 zh"),
    ("nope", "没有命令 'nope'"),
    ("previw", "没有命令 'previw'。是否指 'preview'？"),
    ("preview", "缺少参数 'file'"),
    ("preview none.json", "'file' 的值无效：文件 'none.json' 不存在"),
    ("preview .", "'file' 的值无效：文件 '.' 是目录"),
    ("preview --boo x", "没有选项 --boo（可能是：--book）"),
    ("preview home/oaerp.yaml extra", "多余的参数：extra"),
    ("preview --book", "选项 '--book' 需要一个值"),
    ("preview --json=3 x", "选项 '--json' 不带值"),
    ("close set", "缺少选项 '--company'"),
    ("close set --company a --period b --state c --reason x", "--state 的值无效：open, closing, closed"),
    ("init --chart x", "'--chart' 的值无效：'x' 不在以下各值之中：'chinese', 'international'"),
    ("mapping explain E --version x", "'--version' 的值无效：应为 整数"),
    ("mapping explain E --version 0", "'--version' 的值无效：应为 不小于 1"),
    ("mapping coverage --min 101", "'--min' 的值无效：应为 不大于 100"),
    ("deadletters show x", "'ID' 的值无效：应为 整数"),
    ("deadletters replay --rate x", "'--rate' 的值无效：应为 数字"),
    ("config show --help=1", "选项 '--help' 不带值"),
)


@pytest.mark.parametrize(("typed", "said"), WRONG)
def test_wrong_usage_is_told_in_chinese(oaerp: Cli, monkeypatch: pytest.MonkeyPatch, typed: str, said: str) -> None:
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")

    wrong = oaerp(*typed.split())

    assert wrong.code == 2
    assert f"错误：{said}" in wrong.err
    assert english(wrong.err) == []


def test_a_command_without_its_own_command_shows_its_help_in_chinese(oaerp: Cli) -> None:
    shown = oaerp("--lang", "zh", "close").err

    assert "用法：oaerp close [选项] 命令 [参数]..." in shown
    assert english(shown) == []
