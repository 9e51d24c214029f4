"""`oaerp deadletters list|show`: what a person must look at, by cause, and each with its bytes and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.base import AsJson, app, runtime
from workers.cli.output import (
    code_fix,
    code_meaning,
    code_title,
    emit,
    emit_lines,
    hint,
    leave,
    masked,
    note,
    out,
    readable,
    table,
)
from workers.cli.state import FINDINGS, STATE
from workers.cli.texts import say, translated

if TYPE_CHECKING:
    from sqlalchemy.engine import Row

    from connector.ledger.deadletters import Cause, Filter

BODY_SHOWN = 4000  # Characters of a letter's bytes on a screen; `--json` gives them all.

letters = typer.Typer(no_args_is_help=True, help="Messages that wait for a person.")
app.add_typer(letters, name="deadletters")

ID_MAX = 2**63 - 1  # what the ledger's numbers can be

Ids = Annotated[list[int] | None, typer.Argument(min=1, max=ID_MAX, help="Dead letters by number.")]
Code = Annotated[str | None, typer.Option(help="Only this error code.")]
Company = Annotated[str | None, typer.Option(help="Only this company.")]
Number = Annotated[str | None, typer.Option(help="Only this document.")]
Door = Annotated[str | None, typer.Option(help="Only what came in by this door.")]
WaitsFor = Annotated[str | None, typer.Option("--waits-for", help="Only what waits for this key.")]
STATES = ("open", "replayed", "resolved", "discarded", "all")
COLUMNS = ("id", "code", "message", "company", "number", "amount", "currency", "waits_for", "door", "state")


def wanted(ids: list[int] | None, state: str | None, **fields: Any) -> Filter:
    """The filter that the options name."""
    from connector.ledger.deadletters import Filter

    return Filter(ids=tuple(ids or ()), state=state, **fields)


@letters.command("list")
def list_(
    ids: Ids = None,
    code: Code = None,
    company: Company = None,
    number: Number = None,
    door: Door = None,
    waits_for: WaitsFor = None,
    state: Annotated[str, typer.Option(help="open, replayed, resolved, discarded or all.")] = "open",
    each: Annotated[bool, typer.Option("--each", help="One row a letter instead of one a cause.")] = False,
    as_json: AsJson = False,
) -> None:
    """List dead letters, grouped by cause."""
    from connector.ledger import deadletters

    if state not in STATES:
        raise typer.BadParameter(", ".join(STATES), param_hint="--state")
    filter_ = wanted(
        ids,
        None if state == "all" else state,
        code=code,
        company=company,
        number=number,
        door=door,
        waits_for=waits_for,
    )
    with runtime() as opened, opened.ledger.begin() as tx:
        rows = deadletters.find(tx, filter_) if each else []
        causes = [] if each else deadletters.causes(tx, filter_)
    if as_json:
        emit_lines([_fields(row) for row in rows] if each else [_cause_fields(cause) for cause in causes])
    elif each and rows:
        columns = ("id", "code", "number", "amount", "what", "state", "since")
        table("", columns, [_row(row) for row in rows], right=("id", "amount"))
    elif causes:
        _show_causes(causes)
    else:
        note("no_letters")


def _show_causes(causes: Sequence[Cause]) -> None:
    columns = ("code", "cause", "waits for", "count", "amount", "oldest", "example", "do")
    rows = [
        (
            cause.code,
            code_title(cause.code),
            cause.waits_for,
            cause.count,
            ", ".join(f"{total:,.2f} {currency}" for currency, total in cause.amounts.items()),
            f"{cause.oldest:%Y-%m-%d %H:%M}",
            cause.example,
            code_fix(cause.code),
        )
        for cause in causes
    ]
    table("", columns, rows, right=("count", "amount", "example"))
    note("letters", causes=len(causes), count=sum(cause.count for cause in causes))
    hint(f"deadletters show {causes[0].example}")


def _fields(row: Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in COLUMNS} | {"created_at": row.created_at.isoformat()}


def _cause_fields(cause: Cause) -> dict[str, Any]:
    return {
        "code": cause.code,
        "title": code_title(cause.code),
        "fix": code_fix(cause.code),
        "waits_for": cause.waits_for,
        "count": cause.count,
        "amounts": {currency: f"{total:f}" for currency, total in cause.amounts.items()},
        "oldest": cause.oldest.isoformat(),
        "example": cause.example,
    }


def _row(row: Row[Any]) -> tuple[object, ...]:
    amount = f"{row.amount} {row.currency}" if row.amount else ""
    message, state = translated(row.message, STATE.language), state_said(row.state)
    return (row.id, row.code, row.number, amount, message, state, f"{row.created_at:%Y-%m-%d %H:%M}")


@letters.command()
def show(
    id_: Annotated[int, typer.Argument(metavar="ID", min=1, max=ID_MAX, help="The dead letter's number.")],
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: what is wrong, where, what to do, and the bytes as they came."""
    import json

    from connector.ledger import deadletters

    with runtime() as opened, opened.ledger.begin() as tx:
        row = deadletters.show(tx, id_)
    if row is None:
        note("no_letter", id=id_)
        leave(FINDINGS)
    findings = [_careful(finding) for finding in json.loads(row.findings)]
    body = masked(bytes(row.body).decode("utf-8", "backslashreplace"))
    if as_json:
        emit(
            {
                **_fields(row),
                "title": code_title(row.code),
                "meaning": code_meaning(row.code),
                "fix": code_fix(row.code),
                "findings": findings,
                "replays": row.replays,
                "resolved_by": row.resolved_by,
                "resolution": row.resolution,
                "content_type": row.content_type,
                "bytes": len(row.body),
                "body": body,
            }
        )
        return
    _tell(row, findings)
    out(body[:BODY_SHOWN])
    if len(body) > BODY_SHOWN:
        note("cut", shown=BODY_SHOWN, all=len(body))
    if row.state == "open":
        hint(f"deadletters replay {row.id} --dry-run")
        if row.number:
            hint(f"trace {row.number}")


def _tell(row: Row[Any], findings: Sequence[dict[str, str]]) -> None:
    out(f"{row.id}  {row.code}  {code_title(row.code)}  ({state_said(row.state)})")
    out(f"   {code_meaning(row.code)}")
    out(f"   {translated(row.message, STATE.language)}")
    out(f"→  {code_fix(row.code)}")
    out()
    names = (
        "company",
        "number",
        "type",
        "source",
        "event_id",
        "door",
        "waits_for",
        "replays",
        "resolved_by",
        "resolution",
    )
    known = [(name, getattr(row, name)) for name in names if getattr(row, name) not in (None, "", 0)]
    table("", ("", ""), [(translated(name, STATE.language), value) for name, value in known])
    if findings:
        from contracts import Finding

        out()
        rows = [(f.code, f.path, f.expected, f.got, f.fix) for f in (readable(Finding(**f)) for f in findings)]
        table("", ("code", "where", "expected", "got", "do"), rows)
    out()


def state_said(state: str) -> str:
    """The state of a dead letter, in the chosen language."""
    lang = STATE.language
    match state:
        case "open":
            return say("letter_open", lang)
        case "replayed":
            return say("letter_replayed", lang)
        case "resolved":
            return say("letter_resolved", lang)
    return say("letter_discarded", lang)


def _careful(finding: dict[str, str]) -> dict[str, str]:
    return finding | {"got": "***"} if "bank_account" in finding["path"] else finding
