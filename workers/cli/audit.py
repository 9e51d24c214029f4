"""`oaerp audit`: is the log of what people did whole?"""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.base import AsJson, app, runtime
from workers.cli.output import emit, leave, note
from workers.cli.state import FINDINGS

audit = typer.Typer(no_args_is_help=True, help="The log of what people did.")
app.add_typer(audit, name="audit")


@audit.command("verify")
def verify(
    noted: Annotated[
        str, typer.Option(help="The hash of the last entry, as it was noted before: it must still be there.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Find the first entry that was changed, removed or reordered. Exit 1 where there is one, or the noted one is gone."""
    from connector.ledger.audit import end, first_broken, holds

    with runtime() as opened, opened.ledger.begin() as tx:
        broken, now = first_broken(tx), end(tx)
        whole = broken is None and (not noted or holds(tx, noted))
    if as_json:
        emit({"whole": whole, "entries": now.entries, "end": now.hash, "first_broken": broken})
    elif whole and not now.entries:
        note("audit_empty")
    elif whole:
        note("audit_ok", count=now.entries, end=now.hash)
    elif broken is not None:
        note("audit_broken", id=broken)
    else:
        note("audit_cut", noted=noted)
    if not whole:
        leave(FINDINGS)
