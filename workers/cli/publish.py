"""`oaerp publish`: events out of files, into the ledger or to a gateway."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from workers.cli.base import AsJson, app, runtime
from workers.cli.output import emit_lines, hint, leave, note, table
from workers.cli.state import FINDINGS, OK, PARTLY


@app.command()
def publish(
    files: Annotated[
        list[Path], typer.Argument(help="JSON, JSON lines, XML or CSV files.", exists=True, dir_okay=False)
    ],
    to: Annotated[str | None, typer.Option(help="Gateway URL; without it the events go into this ledger.")] = None,
    company: Annotated[str, typer.Option(help="Company of CSV tables.")] = "C01",
    adapter: Annotated[str, typer.Option(help="Source adapter name of CSV tables.")] = "file",
    as_json: AsJson = False,
) -> None:
    """Publish events from files. Doing it again has no second effect."""
    from workers.publish import publish_files, send_files

    if to is not None:
        rows = list(send_files(files, to, token=os.environ.get("OAERP_TOKEN"), company=company, adapter=adapter))
    else:
        with runtime() as opened:
            rows = list(publish_files(files, opened.ledger, company=company, adapter=adapter))
    counts = Counter(row.status for row in rows)
    if as_json:
        emit_lines(row.as_dict() for row in rows)
    else:
        table(
            "",
            ("file", "where", "number", "version", "status", "why"),
            [
                (Path(r.file).name, r.where, r.number, r.version, r.status, "; ".join(map(str, r.findings)))
                for r in rows
            ],
        )
        note("published", accepted=counts["accepted"], duplicate=counts["duplicate"], refused=counts["refused"])
        first = next((row for row in rows if row.number and row.status == "accepted"), None)
        if first is not None and to is None:
            hint(f"trace {first.number}")
    if not counts["refused"]:
        leave(OK)
    leave(PARTLY if counts["accepted"] or counts["duplicate"] else FINDINGS)
