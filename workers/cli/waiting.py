"""`oaerp waiting`: what documents wait for, and how far those whose key arrived have been let go."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.base import AsJson, app, runtime
from workers.cli.output import emit, emit_lines, hint, leave, note, table
from workers.cli.state import FINDINGS, OK, STATE
from workers.cli.texts import translated

if TYPE_CHECKING:
    from sqlalchemy import Row

waiting = typer.Typer(no_args_is_help=True, help="Documents that wait for a row, a record, a period or an advance.")
app.add_typer(waiting, name="waiting")

SHOWN_MAX = 200


@waiting.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the keys that documents wait for, and what became of the ones that arrived: the canary first, then the rest."""
    from connector.ledger import waiting as kept

    with runtime() as opened, opened.ledger.begin() as tx:
        wanted = kept.waited_for(tx)
        released = {(row.company, row.key): row for row in kept.recent(tx, SHOWN_MAX)}
        canaries = {key: kept.fate(tx, row.canary) for key, row in released.items()}
    rows: list[tuple[str, str, int, Mapping[str, Decimal], datetime | None, Row[Any] | None]] = [
        (one.company, one.key, one.count, one.amounts, one.oldest, released.pop((one.company, one.key), None))
        for one in wanted
    ]
    rows += [(row.company, row.key, 0, {}, None, row) for row in released.values()]
    if as_json:
        emit_lines(
            {
                "company": company,
                "key": key,
                "waiting": count,
                "amounts": {currency: f"{amount:f}" for currency, amount in amounts.items()},
                "since": None if oldest is None else oldest.isoformat(),
                "release": None
                if release is None
                else {
                    "state": release.state,
                    "canary": release.canary,
                    "canary_is": canaries[company, key][0],
                    "released": release.released,
                    "waited": release.waiting,
                    "note": release.note,
                },
            }
            for company, key, count, amounts, oldest, release in rows
        )
        leave(OK)
    if not rows:
        note("nothing_waits")
        leave(OK)
    table(
        "",
        ("company", "waits for", "count", "amount", "since", "release", "canary", "let go", "why"),
        [
            (
                company,
                key,
                count or "",
                ", ".join(f"{amount:,} {currency}" for currency, amount in sorted(amounts.items())),
                "" if oldest is None else f"{oldest:%Y-%m-%d %H:%M}",
                "" if release is None else translated(release.state, STATE.language),
                "" if release is None else f"#{release.canary}",
                "" if release is None else f"{release.released}/{release.waiting}",
                "" if release is None or release.note is None else translated(release.note, STATE.language),
            )
            for company, key, count, amounts, oldest, release in rows
        ],
        right=("count", "amount", "let go"),
    )
    first = next((key for company, key, count, *_ in rows if count), None)
    if first is not None:
        hint(f"deadletters list --waits-for {first}")


@waiting.command()
def retry(
    key: Annotated[str, typer.Argument(help="The key, as `oaerp waiting list` shows it.")],
    company: Annotated[str, typer.Option(help="Its company.")] = "C01",
    as_json: AsJson = False,
) -> None:
    """Send the canary of a key again, whatever stopped it; the others follow once it stands."""
    with runtime() as opened:
        found = opened.waiting.retry(company, key)
    if as_json:
        emit({"company": company, "key": key, "sent": found})
    note("canary_sent" if found else "nothing_waits_for", key=key)
    leave(OK if found else FINDINGS)
