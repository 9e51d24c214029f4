"""Help in Chinese: every text of a command, and the lines as wide as a screen shows Chinese."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import typer

from workers.cli.help_texts import HEADINGS, HELP, KINDS, TYPER

# Typer's own Click or the installed one, whichever this Typer uses.
_Formatter: Any = typer.Context.formatter_class

_KIND = re.compile(r"<([^<>|]+)>")
_EXTRAS = re.compile(r"  \[[^\[\]]+\]$")
# A word of Latin letters, or one Chinese letter with the marks that may not begin a line or end one.
_UNBROKEN = re.compile(r"[（“]*(?:[!-~]+|[^ ])[，。；：、）”？！]*")


def in_chinese(command: Any) -> Any:
    """The command, and every command in it, with help in Chinese. What has no Chinese stays as it is."""
    command.context_class = _Context
    command.help = "\n\n".join(map(_said, re.split(r"\n\s*\n", command.help or "")))
    command.short_help = command.help.partition("。")[0]
    command.options_metavar = "[选项]"
    for parameter in command.get_params(_Context(command)):
        parameter.help = _said(getattr(parameter, "help", None) or "")
    if hasattr(command, "commands"):
        command.subcommand_metavar = "命令 [参数]..."
        for child in command.commands.values():
            in_chinese(child)
    return command


def _said(english: str) -> str:
    flat = " ".join(english.split())
    return HELP.get(flat) or TYPER.get(flat, flat)


class _Help(_Formatter):  # type: ignore[misc]
    """Writes the parts of a help page. Widths are columns of the screen, where a Chinese letter takes two."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The line that says how the command is typed."""
        self.write(f"用法：{prog} {args}\n")

    def write_heading(self, heading: str) -> None:
        """The title of a section."""
        self.write(f"{HEADINGS.get(heading, heading)}：\n")

    def write_text(self, text: str) -> None:
        """Paragraphs, each wrapped."""
        indent = " " * self.current_indent
        paragraphs = (_wrapped(paragraph, self.width - self.current_indent) for paragraph in text.split("\n\n"))
        self.write("\n".join("".join(f"{indent}{line}\n" for line in lines) for lines in paragraphs))

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """A list of names, each with what it means beside it."""
        named = [(_KIND.sub(_kind, name), _EXTRAS.sub(_extras, meaning)) for name, meaning in rows]
        column = min(max(_columns(name) for name, _ in named), col_max) + col_spacing
        indent = " " * self.current_indent
        for name, meaning in named:
            lines = list(_wrapped(meaning, max(self.width - self.current_indent - column, 10)))
            if _columns(name) + col_spacing > column:
                lines.insert(0, "")  # a long name has a line of its own
            for first, line in zip_longest([name], lines, fillvalue=""):
                self.write(f"{indent}{first}{' ' * (column - _columns(first))}{line}".rstrip() + "\n")


class _Context(typer.Context):
    formatter_class = _Help


def _kind(found: re.Match[str]) -> str:
    return f"<{KINDS.get(found[1], found[1])}>"


def _extras(found: re.Match[str]) -> str:
    """What Typer adds to the meaning of a parameter: `[default: 3; required]`."""
    return found[0].replace("default: ", "默认：").replace("required", "必填").replace("; ", "；")


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _wrapped(text: str, width: int) -> Iterator[str]:
    """The text in lines of at most so many columns, broken between words and between Chinese letters."""
    line = ""
    for found in _UNBROKEN.finditer(text):
        blank = " " if line and text[found.start() - 1] == " " else ""
        if line and _columns(line + blank + found[0]) > width:
            yield line
            line, blank = "", ""
        line += blank + found[0]
    yield line
