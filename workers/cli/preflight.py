"""`oaerp preflight`: what would stand in a report's way if it were approved now, by the ledger and the book."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.base import AsJson, app, runtime
from workers.cli.output import code_title, emit, hint, leave, note, readable, table
from workers.cli.state import FINDINGS, OK

if TYPE_CHECKING:
    from contracts import Finding


@app.command()
def preflight(
    file: Annotated[
        Path, typer.Argument(help="One report, submitted or approved, JSON or XML.", exists=True, dir_okay=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Tell everything that would stand in a report's way if it were approved now. Writes and sends nothing."""
    content_type = "application/xml" if file.suffix.lower() == ".xml" else "application/json"
    with runtime() as opened:
        asked = opened.preflight(file.read_bytes(), content_type)
    if as_json:
        emit(asked.as_dict())
        leave(OK if asked.ok else FINDINGS)
    columns = ("code", "what", "where", "expected", "got", "do")
    if asked.findings:
        table("", columns, [_row(finding) for finding in asked.findings])
    if asked.warnings:
        table("!", columns, [_row(finding) for finding in asked.warnings])
    if asked.waits_for:
        note("preflight_waits", keys=", ".join(asked.waits_for))
    number = "-" if asked.event is None else asked.event.number
    if asked.ok and asked.voucher is not None:
        voucher = asked.voucher
        note(
            "preflight_ok", number=number, day=voucher.date, total=f"{voucher.total_debit:f}", currency=voucher.currency
        )
        hint(f"preview {file}")
    else:
        note("preflight_bad", number=number, count=len(asked.findings))
    leave(OK if asked.ok else FINDINGS)


def _row(finding: Finding) -> Sequence[str]:
    said = readable(finding)
    return said.code, code_title(said.code), said.path, said.expected, said.got, said.fix
