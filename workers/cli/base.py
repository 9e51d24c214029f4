"""What every command shares: the options before it, output for people and for machines, exit codes, and how errors end."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from workers.cli.texts import Lang, say

if TYPE_CHECKING:
    from rich.console import Console

    from connector.bootstrap import Runtime
    from connector.settings import Settings

# Exit codes, the same for every command (docs/reference/commands).
OK, FINDINGS, USAGE, CONFIGURATION, AWAY, NOT_PERMITTED, PARTLY, CONFLICT = range(8)
BUG, INTERRUPTED = 70, 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Books approved expense reports of an OA in an ERP, exactly once and correct to the cent.",
)


@dataclass(slots=True)
class State:
    """The options before the command."""

    home: Path | None = None
    config: Path | None = None
    lang: Lang | None = None
    debug: bool = False

    @property
    def language(self) -> Lang:
        """Of messages: the option, else $OAERP_LANG, else the locale's."""
        if self.lang is not None:
            return self.lang
        named = os.environ.get("OAERP_LANG") or os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
        return "zh" if named.lower().startswith("zh") else "en"


STATE = State()

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object (or one a line) on stdout, for machines.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.callback()
def _options(
    home: Annotated[
        Path | None, typer.Option(help="Folder of the embedded default; a file `oaerp.yaml` in it is read.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (YAML).")] = None,
    lang: Annotated[str | None, typer.Option(help="Language of messages: en or zh.")] = None,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an unexpected error.")] = False,
) -> None:
    if lang not in (None, "en", "zh"):
        raise typer.BadParameter("en or zh", param_hint="--lang")
    STATE.home, STATE.config, STATE.debug = home, config, debug
    STATE.lang = lang  # type: ignore[assignment]


# The base of Typer's usage errors, whether this Typer carries its own Click or uses the installed one.
_UsageError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def run() -> None:
    """Parses and runs; every error ends as a message and an exit code."""
    from workers.cli import audit, deadletters, demo, look, process, publish, trace  # noqa: F401 - they register

    try:
        code = app(standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the edge of the process
        code = _ended(error)
    if code == INTERRUPTED:
        note("interrupted")
    sys.exit(code if isinstance(code, int) else OK)


def _ended(error: Exception) -> int:
    """The message and exit code of an error."""
    if isinstance(error, _UsageError):
        error.show()
        return USAGE
    if STATE.debug:
        import traceback

        traceback.print_exception(error)
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
    from sqlalchemy.exc import TimeoutError as NoConnection

    from connector.errors import Ambiguous, ConnectorError, CredentialsRefused, Misconfigured, Unavailable

    match error:
        case OperationalError() | InterfaceError() | NoConnection():
            problem("OPS-805", _first_line(error.orig if isinstance(error, DBAPIError) else error))
            return AWAY
        case PermissionError() if error.filename:
            note("file", file=str(error.filename), why=error.strerror or str(error))
            return NOT_PERMITTED
        case OSError() if error.filename:
            note("file", file=str(error.filename), why=error.strerror or str(error))
            return USAGE
        case ConnectorError():
            problem(error.code, error.message)
    match error:
        case Misconfigured():
            return CONFIGURATION
        case CredentialsRefused():
            return NOT_PERMITTED
        case Unavailable() | Ambiguous():
            return AWAY
        case ConnectorError():
            return NOT_PERMITTED if error.code.startswith("SEC-") else CONFLICT
    problem("OPS-801", f"{type(error).__name__}: {_first_line(error)}")
    note("bug")
    return BUG


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def settings() -> Settings:
    """The settings this command works with."""
    from connector.settings import load

    found = STATE.config
    if found is None and STATE.home is not None and (STATE.home / "oaerp.yaml").is_file():
        found = STATE.home / "oaerp.yaml"
    loaded = load(found)
    return loaded if STATE.home is None else loaded.model_copy(update={"home": STATE.home})


@contextmanager
def runtime(*, migrated: bool = True) -> Iterator[Runtime]:
    """Everything the settings name, given back at the end. The embedded ledger is made on first use; another must have
    been migrated (`oaerp db upgrade`)."""
    from connector.bootstrap import open_runtime
    from connector.errors import Misconfigured

    opened = open_runtime(settings())
    try:
        if migrated and opened.ledger.dialect == "sqlite":
            opened.ledger.upgrade()
        elif migrated and not opened.ledger.is_current():
            raise Misconfigured(say("not_migrated", STATE.language))
        yield opened
    finally:
        opened.close()


def actor() -> str:
    """Who acts: a person's name in the audit log."""
    import getpass

    try:
        return os.environ.get("OAERP_ACTOR") or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


# Output


def console(*, stderr: bool = False) -> Console:
    """A Rich console; plain where it is no terminal or NO_COLOR is set."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 140
    return Console(stderr=stderr, highlight=False, soft_wrap=False, width=width)


def emit(value: Any) -> None:
    """One JSON value on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def emit_lines(values: Iterable[Any]) -> None:
    """One JSON value a line on stdout."""
    for value in values:
        emit(value)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> None:
    """A table on stdout; `right` names columns of numbers."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    console().print(made)


def out(text: str = "") -> None:
    """A line on stdout."""
    sys.stdout.write(text + "\n")


def note(key: str, /, **values: object) -> None:
    """A message on stderr, in the chosen language."""
    sys.stderr.write(say(key, STATE.language, **values) + "\n")


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
    from contracts import code

    sys.stderr.write(f"{code_name}: {message}\n")
    try:
        known = code(code_name)
    except KeyError:
        return
    fix = known.fix_zh if STATE.language == "zh" else known.fix_en
    sys.stderr.write(f"  {fix}\n")


def code_title(code_name: str) -> str:
    """What a code is called in the chosen language."""
    from contracts import code

    try:
        known = code(code_name)
    except KeyError:
        return code_name
    return known.title_zh if STATE.language == "zh" else known.title_en


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


__all__ = ["AsJson", "Callable", "Mapping", "Yes", "app"]
