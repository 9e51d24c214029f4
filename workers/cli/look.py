"""Commands that only look: preview, config show, doctor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from workers.cli.base import AsJson, app, book_in_force, settings
from workers.cli.output import console, emit, emit_lines, leave, note, plain, table
from workers.cli.state import AWAY, FINDINGS, OK, STATE
from workers.cli.texts import translated

config = typer.Typer(no_args_is_help=True, help="Settings.")
app.add_typer(config, name="config")


@app.command()
def preview(
    file: Annotated[Path, typer.Argument(help="One event, JSON or XML.", exists=True, dir_okay=False)],
    book: Annotated[
        Path | None, typer.Option(help="Mapping book; default: the settings' one, else the starter book.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the plan and the voucher a report would become, line by line with the reason. Sends nothing."""
    from connector.translate import load_book
    from connector.translate.preview import preview as look
    from connector.translate.table import render

    content_type = "application/xml" if file.suffix.lower() == ".xml" else "application/json"
    shown = look(file.read_bytes(), content_type, load_book(book or book_in_force()))
    if as_json:
        sys.stdout.write(shown.to_json().decode() + "\n")
    else:
        console().print(render(shown, STATE.language))
    for warning in shown.warnings:
        sys.stderr.write(plain(f"! {warning.said(STATE.language)}") + "\n")
    leave(OK if shown.ok else FINDINGS)


@config.command("show")
def config_show(as_json: AsJson = False) -> None:
    """Show every setting, its value and where it comes from. Secrets are masked."""
    from workers.in_force import settings_rows

    rows = settings_rows(settings())
    if as_json:
        emit({name: {"value": value, "from": where} for name, value, where in rows})
    else:
        table(
            "",
            ("setting", "value", "from"),
            [(n, value, translated(origin, STATE.language)) for n, value, origin in rows],
        )


@app.command()
def doctor(
    systems: Annotated[
        bool,
        typer.Option("--systems/--no-systems", help="Ask each OA and ERP, too; leave them in peace in a health check."),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Check that the settings are safe and every system answers. Exit 1: unsafe or broken; 4: a server is away."""
    from workers.doctor import examine

    checks = examine(settings(), systems=systems)
    if as_json:
        emit_lines(check.as_dict() for check in checks)
    else:
        marks = {"ok": "✓", "warning": "!", "failed": "✗", "away": "✗"}
        lang = STATE.language
        rows = [
            (
                marks[c.state],
                translated(c.name, lang),
                translated(c.found, lang),
                "" if c.state == "ok" else c.code,
                translated(c.fix, lang),
            )
            for c in checks
        ]
        table("", ("", "check", "found", "code", "do"), rows)
    failed = sum(check.state == "failed" for check in checks)
    away = sum(check.state == "away" for check in checks)
    if failed or away:
        note("doctor_bad", bad=failed + away, count=len(checks))
    else:
        note("doctor_ok", count=len(checks))
    leave(FINDINGS if failed else AWAY if away else OK)
