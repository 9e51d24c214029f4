"""What every command shares: the options before it, the settings and the runtime, and how errors end."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from workers.cli.output import note, plain, problem
from workers.cli.state import (
    AWAY,
    BUG,
    CONFIGURATION,
    CONFLICT,
    INTERRUPTED,
    NOT_PERMITTED,
    OK,
    STATE,
    USAGE,
)  # fmt: skip
from workers.cli.texts import Lang, say, translated
from workers.shown import without_secrets

if TYPE_CHECKING:
    from types import FrameType

    from connector.bootstrap import Runtime
    from connector.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Books approved expense reports of an OA in an ERP, exactly once and correct to the cent.",
)


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
    if lang not in (None, *get_args(Lang)):
        raise typer.BadParameter(say("languages", STATE.language), param_hint="--lang")
    STATE.home, STATE.config, STATE.debug = home, config, debug


# The base of Typer's usage errors, whether this Typer carries its own Click or uses the installed one.
_UsageError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def run() -> None:
    """Parses and runs; every error ends as a message and an exit code."""
    command_named, STATE.lang = _leading(sys.argv[1:])
    for name in _MODULES.get(command_named, _EVERY_MODULE):
        importlib.import_module(f"workers.cli.{name}")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter shows its number
    try:
        code = _program()(standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the edge of the process
        code = _ended(error)
    if code == INTERRUPTED:
        note("interrupted")
    sys.exit(code if isinstance(code, int) else OK)


# Which module has a command; the others are not imported when one of these is typed, so that it answers at once.
_MODULES = {
    "audit": ("audit",),
    "close": ("close",),
    "config": ("look",),
    "deadletters": ("deadletters", "replay"),
    "demo": ("demo",),
    "doctor": ("look",),
    "init": ("init",),
    "mapping": ("mapping", "mapping_sheets", "explain"),
    "preflight": ("preflight",),
    "preview": ("look",),
    "publish": ("publish",),
    "trace": ("trace",),
    "waiting": ("waiting",),
}
_EVERY_MODULE = tuple(sorted({name for names in _MODULES.values() for name in names} | {"process"}))
_OPTIONS_WITH_VALUE = ("--home", "--config", "--lang")


def _leading(arguments: Sequence[str]) -> tuple[str, Lang | None]:
    """The command that may be meant, and the language asked for before it: help and errors of usage need it first."""
    lang: Lang | None = None
    rest = iter(arguments)
    for word in rest:
        if word[:1] != "-":
            return word, lang
        option, _, value = word.partition("=")
        if option in _OPTIONS_WITH_VALUE:
            value = value or next(rest, "")
        if option == "--lang" and value in get_args(Lang):
            lang = cast(Lang, value)
    return "", lang


def _program() -> Any:
    """The command with all that are registered, its help in the chosen language."""
    program = typer.main.get_command(app)
    if STATE.language == "en":
        return program
    from workers.cli.help_in_chinese import in_chinese

    return in_chinese(program)


def _ended(error: Exception) -> int:
    """The message and exit code of an error."""
    if isinstance(error, _UsageError):
        _show(error)
        return USAGE
    if STATE.debug:
        import traceback

        sys.stderr.write(plain(without_secrets("".join(traceback.format_exception(error)))))
    from sqlalchemy.exc import DatabaseError, DBAPIError, ProgrammingError

    from connector.errors import Ambiguous, ConnectorError, CredentialsRefused, Misconfigured, Unavailable
    from connector.ledger.faults import is_away

    match error:
        case Exception() if is_away(error):
            problem("OPS-805", _first_line(error.orig if isinstance(error, DBAPIError) else error))
            return AWAY
        case ProgrammingError() if error.statement is None:  # it never got as far as a statement
            problem("CFG-701", f"ledger_url: {_first_line(error.orig)}")
            return CONFIGURATION
        case DatabaseError() if type(error) is DatabaseError:  # no database, or a damaged one
            problem("OPS-805", _first_line(error.orig))
            return AWAY
        case UnicodeEncodeError() if error.object in sys.argv:
            note("not_text", given=error.object)
            return USAGE
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


def _show(error: Any) -> None:
    """Wrong usage, told line by line in the chosen language."""
    told = io.StringIO()
    error.show(told)
    sys.stderr.write("".join(f"{translated(line, STATE.language)}\n" for line in told.getvalue().splitlines()))


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


def book_in_force() -> Path | None:
    """The settings' mapping book. Where nobody set anything there is none, and no settings are loaded to find that out."""
    given = STATE.config is not None or STATE.home is not None or Path("oaerp.yaml").is_file()
    if not given and not any(name.upper().startswith("OAERP_") for name in os.environ):
        return None
    return settings().book


@contextmanager
def runtime(*, migrated: bool = True) -> Iterator[Runtime]:
    """Everything the settings name, given back at the end. The embedded ledger is made on first use; another must have
    been migrated (`oaerp db upgrade`)."""
    from connector.bootstrap import open_runtime
    from connector.errors import Misconfigured

    opened = open_runtime(settings())
    try:
        if migrated and opened.ledger.dialect == "sqlite":
            _say_if_new(opened.ledger.url)
            opened.ledger.upgrade()
        elif migrated and not opened.ledger.is_current():
            raise Misconfigured(say("not_migrated", STATE.language))
        yield opened
    finally:
        opened.close()


def _say_if_new(url: str) -> None:
    """A mistyped --home would otherwise look like a ledger in which everything was lost."""
    from sqlalchemy import make_url

    file = make_url(url).database
    if file and file != ":memory:" and not Path(file).exists():
        note("new_ledger", file=file)


def actor() -> str:
    """Who acts: a person's name in the audit log."""
    import getpass

    try:
        return os.environ.get("OAERP_ACTOR") or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that is set by Ctrl-C or SIGTERM, so that what is in hand is finished. A second Ctrl-C ends at once."""
    asked = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
