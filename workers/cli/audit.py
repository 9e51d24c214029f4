"""`oaerp audit`: is the log of what people did whole?"""

from __future__ import annotations

import typer

from workers.cli.base import AsJson, app, runtime
from workers.cli.output import emit, leave, note
from workers.cli.state import FINDINGS

audit = typer.Typer(no_args_is_help=True, help="The log of what people did.")
app.add_typer(audit, name="audit")


@audit.command("verify")
def verify(as_json: AsJson = False) -> None:
    """Find the first entry that was changed, removed or reordered. Exit 1 where there is one."""
    from sqlalchemy import text

    from connector.ledger.audit import first_broken

    with runtime() as opened, opened.ledger.begin() as tx:
        broken = first_broken(tx)
        count = int(tx.scalar(text("SELECT count(*) FROM audit")) or 0)
    if as_json:
        emit({"whole": broken is None, "entries": count, "first_broken": broken})
    elif broken is None:
        note("audit_ok", count=count)
    else:
        note("audit_broken", id=broken)
    if broken is not None:
        leave(FINDINGS)
