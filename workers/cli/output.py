"""How the command line speaks: data on stdout, messages and progress on stderr, in the chosen language, never a control character."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from workers.cli.state import INTERRUPTED, STATE, USAGE
from workers.cli.texts import say, translated
from workers.shown import json_line

if TYPE_CHECKING:
    from rich.console import Console

    from contracts import Finding

# Bank accounts in JSON, also where the text is cut short or broken, and in XML.
_SECRETS = re.compile(r"""("bank_account"\s*:\s*")(?:[^"\\]|\\.)*|(<(?:\w+:)?bank_account\b[^>]*>)[^<]*""")


def console(*, stderr: bool = False) -> Console:
    """A Rich console; plain where it is no terminal or NO_COLOR is set."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 140  # A pipe has no width: wide enough for any table of ours.
    return Console(stderr=stderr, highlight=False, soft_wrap=False, width=width)


def emit(value: Any) -> None:
    """One JSON value on stdout."""
    in_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write((json_line(value) if in_unicode else json.dumps(value, default=str)) + "\n")


def emit_lines(values: Iterable[Any]) -> None:
    """One JSON value a line on stdout."""
    for value in values:
        emit(value)


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    right: Sequence[str] = (),
) -> None:
    """A table on stdout, its headings in the chosen language; `right` names columns of numbers."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        made.add_column(
            translated(column, STATE.language), justify="right" if column in right else "left", overflow="fold"
        )
    for row in rows:
        made.add_row(*(Text("" if cell is None else plain(str(cell))) for cell in row))
    console().print(made)


def plain(text: str) -> str:
    """The text with every control character written out, so that no message moves the cursor or paints the screen."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def masked(text: str) -> str:
    """The text with bank accounts left out, and what would move the cursor written as it is."""
    return plain(_SECRETS.sub(lambda found: f"{found[1] or found[2]}***", text))


def out(text: str = "") -> None:
    """A line on stdout."""
    sys.stdout.write(plain(text) + "\n")


def note(key: str, /, **values: object) -> None:
    """A message on stderr, in the chosen language."""
    sys.stderr.write(plain(say(key, STATE.language, **values)) + "\n")


def hint(command: str) -> None:
    """What to type next, on stderr."""
    sys.stderr.write(f"→ {with_options(command)}\n")


def with_options(command: str) -> str:
    """The command with the options before it that this run was given."""
    home = f" --home {STATE.home}" if STATE.home is not None else ""
    config = f" --config {STATE.config}" if STATE.config is not None else ""
    return f"{_program()}{home}{config} {command}"


def _program() -> str:
    """What to type for this command here: its name where the shell finds it, else its path."""
    here = Path(sys.argv[0])
    found = shutil.which("oaerp")
    if here.name != "oaerp" or (found is not None and Path(found).resolve() == here.resolve()):
        return "oaerp"
    return os.path.relpath(here)


def problem(code_name: str, message: str) -> None:
    """An error with its code, what it means and what to do, on stderr."""
    lines = (line.rstrip() for line in message.splitlines())
    told = "\n".join(_indent(line) + translated(line.lstrip(), STATE.language) for line in lines)
    sys.stderr.write(plain(f"{code_name}: {told}") + "\n")
    if fix := code_fix(code_name):
        sys.stderr.write(f"  {fix}\n")


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def readable(finding: Finding) -> Finding:
    """The finding in the chosen language."""
    if STATE.language == "en":
        return finding
    from contracts.phrases import in_chinese

    return in_chinese(finding)


def code_title(code_name: str) -> str:
    """What a code is called in the chosen language."""
    return _of_code(code_name, "title") or code_name


def code_meaning(code_name: str) -> str:
    """What a code means, in the chosen language."""
    return _of_code(code_name, "meaning")


def code_fix(code_name: str) -> str:
    """What to do about a code, in the chosen language."""
    return _of_code(code_name, "fix")


def _of_code(code_name: str, what: str) -> str:
    from contracts import code

    try:
        known = code(code_name)
    except KeyError:  # a letter of a newer version
        return ""
    return str(getattr(known, f"{what}_{STATE.language}"))


def confirm(key: str, yes: bool, /, **values: object) -> None:
    """Asks where there is somebody to ask; ends with a usage error where there is not and `--yes` was not given."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        note("needs_yes")
        raise typer.Exit(USAGE)
    if not typer.confirm(say(key, STATE.language, **values), err=True):
        raise typer.Exit(INTERRUPTED)


def progress(total: int, key: str, **values: object) -> Any:
    """A progress bar on stderr, as a context manager; call `.advance()` on it."""
    return _Bar(total, say(key, STATE.language, **values))


class _Bar:
    def __init__(self, total: int, label: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console(stderr=True),
        )
        self._task = self._progress.add_task(label, total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, by: int = 1) -> None:
        """So much more is done."""
        self._progress.advance(self._task, by)

    def at(self, done: int) -> None:
        """So much is done in all."""
        self._progress.update(self._task, completed=done)


def leave(code: int) -> NoReturn:
    """Ends the command with an exit code."""
    raise typer.Exit(code)
