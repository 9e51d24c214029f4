"""`oaerp deadletters replay|discard`: one transaction a letter, so that an interruption loses and doubles nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.base import AsJson, Yes, actor, runtime, stoppable
from workers.cli.deadletters import Code, Company, Door, Ids, Number, WaitsFor, letters, state_said, wanted
from workers.cli.output import confirm, emit, emit_lines, hint, leave, note, problem, progress, table
from workers.cli.state import CONFLICT, FINDINGS, INTERRUPTED, OK, PARTLY, STATE, USAGE
from workers.cli.texts import say, translated

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Row

    from connector.bootstrap import Runtime
    from connector.ledger.deadletters import Filter

Every = Annotated[bool, typer.Option("--all", help="Every open letter.")]


@letters.command()
def replay(
    ids: Ids = None,
    every: Every = False,
    code: Code = None,
    company: Company = None,
    number: Number = None,
    door: Door = None,
    waits_for: WaitsFor = None,
    reason: Annotated[str, typer.Option(help="Why, for the audit log.")] = "replayed",
    rate: Annotated[float, typer.Option(min=0.1, max=1000, help="Letters a second at most.")] = 100,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would happen.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters on their way again. Each is a transaction of its own: interrupting loses and doubles nothing."""
    from connector.ledger import deadletters

    filter_ = _chosen(ids, every, code=code, company=company, number=number, door=door, waits_for=waits_for)
    with runtime() as opened:
        found = _found(opened, filter_)
        if dry_run:
            leave(_dry_run(opened, found, as_json))
        confirm("replay_ask", yes, count=len(found))
        exit_code = _one_by_one(
            opened,
            found,
            ("replaying", "replayed"),
            as_json,
            lambda tx, id_: deadletters.replay(tx, id_, actor=actor(), reason=reason),
            rate=rate,
        )
        if opened.settings.embedded and exit_code in (OK, PARTLY):
            hint("up")
    leave(exit_code)


@letters.command()
def discard(
    ids: Ids = None,
    every: Every = False,
    code: Code = None,
    company: Company = None,
    number: Number = None,
    door: Door = None,
    waits_for: WaitsFor = None,
    reason: Annotated[str, typer.Option(help="Why, for the audit log. Required.")] = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give dead letters up for good, with a reason. Later versions of their documents go on."""
    from connector.ledger import deadletters

    if not reason.strip():
        raise typer.BadParameter(say("say_why", STATE.language), param_hint="--reason")
    filter_ = _chosen(ids, every, code=code, company=company, number=number, door=door, waits_for=waits_for)
    with runtime() as opened:
        found = _found(opened, filter_)
        confirm("discard_ask", yes, count=len(found))
        exit_code = _one_by_one(
            opened,
            found,
            ("discarding", "discarded"),
            as_json,
            lambda tx, id_: deadletters.discard(tx, id_, actor=actor(), reason=reason),
        )
    leave(exit_code)


def _chosen(ids: list[int] | None, every: bool, **fields: str | None) -> Filter:
    if not ids and not every and not any(fields.values()):
        note("choose")
        leave(USAGE)
    return wanted(ids, None if ids else "open", **fields)


def _found(opened: Runtime, filter_: Filter) -> list[int]:
    from connector.ledger import deadletters

    with opened.ledger.begin() as tx:
        found = deadletters.ids(tx, filter_)
    missing = sorted(set(filter_.ids) - set(found))
    if missing:
        note("no_letter", id=", ".join(map(str, missing)))
        leave(FINDINGS)
    if not found:
        note("no_letters")
        leave(OK)
    return found


def _one_by_one(
    opened: Runtime,
    ids: Sequence[int],
    texts: tuple[str, str],
    as_json: bool,
    act: Callable[[Connection, int], str],
    *,
    rate: float = 1000,
) -> int:
    """Acts on each letter in a transaction of its own, and gives the exit code. What an interruption, or a ledger that
    goes away, leaves is left as it was; how far it came is told in any case."""
    from connector.ledger.deadletters import NotOpen

    done = refused = 0
    try:
        with stoppable() as stop, progress(len(ids), texts[0]) as bar:
            for id_ in ids:
                if stop.is_set():
                    break
                started = time.monotonic()
                try:
                    with opened.ledger.begin() as tx:
                        said, ok = act(tx, id_), True
                except NotOpen as error:
                    said, ok = error.message, False
                done, refused = done + ok, refused + (not ok)
                if as_json:
                    emit({"id": id_, "ok": ok, "said": said})
                elif not ok:
                    problem(NotOpen.default_code, said)
                bar.advance()
                stop.wait(max(0.0, 1 / rate - (time.monotonic() - started)))
    finally:
        note(texts[1], done=done, refused=refused, left=len(ids) - done - refused)
    if done + refused < len(ids):
        return INTERRUPTED
    return OK if not refused else PARTLY if done else CONFLICT


def _dry_run(opened: Runtime, ids: Sequence[int], as_json: bool) -> int:
    rows = list(_foretell(opened, ids))
    if as_json:
        emit_lines({"id": id_, "ok": ok, "said": said} for id_, ok, said in rows)
    else:
        columns = ("id", "", "what would happen")
        table("", columns, [(id_, "✓" if ok else "✗", said) for id_, ok, said in rows], right=("id",))
        note("foretold", ok=sum(ok for _, ok, _ in rows), failing=sum(not ok for _, ok, _ in rows))
        note("dry_run")
    return OK if all(ok for _, ok, _ in rows) else FINDINGS


def _foretell(opened: Runtime, ids: Sequence[int]) -> Iterator[tuple[int, bool, str]]:
    """What a replay of each letter would lead to, with today's mapping book."""
    from sqlalchemy import text

    from connector.ledger import deadletters

    lang = STATE.language
    for id_ in ids:
        with opened.ledger.begin() as tx:
            row = deadletters.show(tx, id_)
            assert row is not None, "letters are never deleted"
            statement = text("SELECT state FROM postings WHERE id = :id")
            posting = None if row.posting_id is None else tx.scalar(statement, {"id": row.posting_id})
        if row.state != "open":
            yield id_, False, say("would_refuse", lang, state=state_said(row.state))
        elif row.write_back_id is not None:
            yield id_, True, say("would_tell", lang)
        elif posting == "UNKNOWN":
            yield id_, True, say("would_ask", lang)
        elif posting is not None and row.event_id is None:
            yield id_, True, say("would_send", lang)
        else:
            why = _why_not(opened, row)
            yield (
                id_,
                why is None,
                say("would_pass", lang) if why is None else say("would_fail", lang, why=translated(why, lang)),
            )


def _why_not(opened: Runtime, row: Row[Any]) -> str | None:
    """The first thing that still stands in the way of a letter's event, by today's book and ledger, or None."""
    from contracts import ExpenseReport, Refused, parse

    try:
        event = parse(bytes(row.body), row.content_type)
    except Refused as refused:
        return str(refused.findings[0])
    if not isinstance(event.data, ExpenseReport):
        return None
    asked = opened.preflight(bytes(row.body), row.content_type)
    return None if asked.ok else str(asked.findings[0])
