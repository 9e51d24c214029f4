"""`oaerp deadletters`: what a person must look at, by cause; replay and discard, one transaction a letter."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.base import (
    CONFLICT,
    FINDINGS,
    INTERRUPTED,
    OK,
    PARTLY,
    STATE,
    USAGE,
    AsJson,
    Yes,
    actor,
    app,
    code_title,
    confirm,
    emit,
    emit_lines,
    hint,
    leave,
    note,
    out,
    problem,
    progress,
    runtime,
    table,
)
from workers.cli.texts import say

if TYPE_CHECKING:
    from connector.bootstrap import Runtime
    from connector.ledger.deadletters import Filter

letters = typer.Typer(no_args_is_help=True, help="Messages that wait for a person.")
app.add_typer(letters, name="deadletters")

Ids = Annotated[list[int] | None, typer.Argument(help="Dead letters by number.")]
Code = Annotated[str | None, typer.Option(help="Only this error code.")]
Company = Annotated[str | None, typer.Option(help="Only this company.")]
Number = Annotated[str | None, typer.Option(help="Only this document.")]
Door = Annotated[str | None, typer.Option(help="Only what came in by this door.")]
WaitsFor = Annotated[str | None, typer.Option("--waits-for", help="Only what waits for this key.")]
COLUMNS = (
    "id",
    "code",
    "message",
    "company",
    "number",
    "amount",
    "currency",
    "waits_for",
    "door",
    "state",
    "created_at",
)


def _filter(ids: list[int] | None, state: str | None, **fields: Any) -> Filter:
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

    wanted = _filter(
        ids,
        None if state == "all" else state,
        code=code,
        company=company,
        number=number,
        door=door,
        waits_for=waits_for,
    )
    with runtime() as opened, opened.ledger.begin() as tx:
        found = deadletters.find(tx, wanted)
    if as_json:
        emit_lines({name: getattr(row, name) for name in COLUMNS} for row in found)
        return
    if not found:
        note("no_letters")
        return
    if each:
        table(
            "",
            ("id", "code", "number", "amount", "what", "since"),
            [_row(row) for row in found],
            right=("id", "amount"),
        )
        return
    causes = _causes(found)
    table("", ("code", "cause", "waits for", "count", "amount", "oldest", "example"), causes, right=("count", "amount"))
    note("letters", causes=len(causes), count=len(found))
    hint(f"deadletters show {found[0].id}")


def _row(row: Any) -> tuple[object, ...]:
    amount = f"{row.amount} {row.currency}" if row.amount else ""
    return (row.id, row.code, row.number, amount, row.message, row.created_at.strftime("%Y-%m-%d %H:%M"))


def _causes(found: Any) -> list[tuple[object, ...]]:
    groups: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in found:
        groups[row.code, row.waits_for or ""].append(row)
    rows: list[tuple[object, ...]] = []
    for (code, key), members in sorted(groups.items(), key=lambda item: -len(item[1])):
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for member in members:
            if member.amount:
                sums[member.currency] += Decimal(member.amount)
        amount = ", ".join(f"{total:,.2f} {currency}" for currency, total in sums.items())
        oldest = min(member.created_at for member in members).strftime("%Y-%m-%d %H:%M")
        rows.append((code, code_title(code), key, len(members), amount, oldest, members[0].id))
    return rows


@letters.command()
def show(
    id_: Annotated[int, typer.Argument(metavar="ID", help="The dead letter's number.")], as_json: AsJson = False
) -> None:
    """Show one dead letter: what is wrong, where, what to do, and the bytes as they came."""
    import orjson

    from connector.ledger import deadletters
    from contracts import code as known_code

    with runtime() as opened, opened.ledger.begin() as tx:
        row = deadletters.show(tx, id_)
    if row is None:
        note("no_letter", id=id_)
        leave(FINDINGS)
    findings = orjson.loads(row.findings)
    body = bytes(row.body)
    if as_json:
        shown = {name: getattr(row, name) for name in COLUMNS}
        emit(
            {**shown, "findings": findings, "replays": row.replays, "body": _masked(body), "resolution": row.resolution}
        )
        return
    code = known_code(row.code)
    zh = STATE.language == "zh"
    out(f"{row.id}  {row.code}  {code_title(row.code)}  ({row.state})")
    out(f"   {code.meaning_zh if zh else code.meaning_en}")
    out(f"   {row.message}")
    out(f"→  {code.fix_zh if zh else code.fix_en}")
    out()
    pairs = [
        (name, getattr(row, name))
        for name in ("company", "number", "type", "source", "event_id", "door", "waits_for", "replays")
    ]
    table("", ("", ""), [(name, value) for name, value in pairs if value not in (None, "")])
    if findings:
        out()
        rows = [(f["code"], f["path"], f["expected"], f["got"], f["fix"]) for f in findings]
        table("", ("code", "where", "expected", "got", "fix"), rows)
    out()
    out(_masked(body))
    if row.state == "open":
        hint(f"deadletters replay {row.id} --dry-run")
        if row.number:
            hint(f"trace {row.number}")


def _masked(body: bytes) -> str:
    """The bytes as text, shortened, control characters escaped, bank accounts masked."""
    import re

    text = body[:4000].decode("utf-8", "backslashreplace")
    text = re.sub(r'("bank_account"\s*:\s*")[^"]*"', r'\1***"', text)
    text = "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)
    return text if len(body) <= 4000 else f"{text}… ({len(body)} bytes)"


@letters.command()
def replay(
    ids: Ids = None,
    every: Annotated[bool, typer.Option("--all", help="Every open letter.")] = False,
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

    wanted = _chosen(ids, every, code=code, company=company, number=number, door=door, waits_for=waits_for)
    with runtime() as opened:
        with opened.ledger.begin() as tx:
            found = deadletters.find(tx, wanted)
        _check_ids(ids, found)
        if dry_run:
            _dry_run(opened, [row.id for row in found], as_json)
            return
        confirm("replay_ask", yes or as_json, count=len(found))
        done, refused = _one_by_one(
            found,
            "replaying",
            as_json,
            rate,
            lambda tx, id_: deadletters.replay(tx, id_, actor=actor(), reason=reason),
            opened,
        )
        if opened.settings.embedded and done and not as_json:
            hint("up")
    note("replayed", done=done, refused=refused, left=len(found) - done - refused)
    leave(INTERRUPTED if done + refused < len(found) else OK if not refused else PARTLY if done else CONFLICT)


@letters.command()
def discard(
    ids: Ids = None,
    every: Annotated[bool, typer.Option("--all", help="Every open letter.")] = False,
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
        raise typer.BadParameter("say why", param_hint="--reason")
    wanted = _chosen(ids, every, code=code, company=company, number=number, door=door, waits_for=waits_for)
    with runtime() as opened:
        with opened.ledger.begin() as tx:
            found = deadletters.find(tx, wanted)
        _check_ids(ids, found)
        confirm("discard_ask", yes or as_json, count=len(found))
        done, refused = _one_by_one(
            found,
            "replaying",
            as_json,
            1000,
            lambda tx, id_: deadletters.discard(tx, id_, actor=actor(), reason=reason),
            opened,
        )
    note("discarded", done=done, refused=refused)
    leave(OK if not refused else PARTLY if done else CONFLICT)


def _chosen(ids: list[int] | None, every: bool, **fields: str | None) -> Filter:
    if not ids and not every and not any(fields.values()):
        note("choose")
        raise typer.Exit(USAGE)
    return _filter(ids, None if ids else "open", **fields)


def _check_ids(ids: list[int] | None, found: Any) -> None:
    missing = set(ids or ()) - {row.id for row in found}
    if missing:
        note("no_letter", id=", ".join(map(str, sorted(missing))))
        raise typer.Exit(FINDINGS)


def _one_by_one(found: Any, label: str, as_json: bool, rate: float, act: Any, opened: Runtime) -> tuple[int, int]:
    """Acts on each letter in a transaction of its own; gives how many went through and how many were refused. What an
    interruption leaves is left as it was."""
    from connector.ledger.deadletters import NotOpen

    done = refused = 0
    try:
        with progress(len(found), label) as bar:
            for row in found:
                started = time.monotonic()
                try:
                    with opened.ledger.begin() as tx:
                        said = act(tx, row.id)
                    done += 1
                    if as_json:
                        emit({"id": row.id, "ok": True, "said": said})
                except NotOpen as error:
                    refused += 1
                    if as_json:
                        emit({"id": row.id, "ok": False, "said": error.message})
                    else:
                        problem(error.code, error.message)
                bar.advance()
                time.sleep(max(0.0, 1 / rate - (time.monotonic() - started)))
    except KeyboardInterrupt:
        note("interrupted")
    return done, refused


def _dry_run(opened: Runtime, ids: list[int], as_json: bool) -> None:
    rows = list(_foretell(opened, ids))
    if as_json:
        emit_lines({"id": id_, "ok": ok, "said": said} for id_, ok, said in rows)
    else:
        table(
            "",
            ("id", "", "what would happen"),
            [(id_, "✓" if ok else "✗", said) for id_, ok, said in rows],
            right=("id",),
        )
        note("dry_run")
    leave(OK if all(ok for _, ok, _ in rows) else FINDINGS)


def _foretell(opened: Runtime, ids: list[int]) -> Iterator[tuple[int, bool, str]]:
    """What a replay of each letter would lead to, with today's mapping book."""
    from connector.ledger import deadletters
    from connector.translate import Refusal, to_voucher
    from contracts import ExpenseReport, Refused, parse

    lang = STATE.language
    for id_ in ids:
        with opened.ledger.begin() as tx:
            row = deadletters.show(tx, id_)
        assert row is not None
        if row.write_back_id is not None:
            yield id_, True, say("would_tell", lang)
            continue
        if row.posting_id is not None:
            yield id_, True, say("would_ask", lang)
            continue
        try:
            event = parse(bytes(row.body), row.content_type)
        except Refused as refused:
            yield id_, False, say("would_fail", lang, why=str(refused.findings[0]))
            continue
        answer = to_voucher(event.data, opened.book()) if isinstance(event.data, ExpenseReport) else None
        if isinstance(answer, Refusal):
            yield id_, False, say("would_fail", lang, why=str(answer.findings[0]))
        else:
            yield id_, True, say("would_pass", lang)
