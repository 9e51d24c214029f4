"""`oaerp close`: may a period be closed, what stands in its way, and who let a document cross the fiscal year."""

from __future__ import annotations

import calendar
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, get_args

import typer

from workers.cli.base import AsJson, actor, app, runtime
from workers.cli.output import code_title, emit, emit_lines, hint, leave, note, out, table
from workers.cli.state import CONFLICT, FINDINGS, STATE, USAGE
from workers.cli.texts import say, translated

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from connector.bootstrap import Runtime
    from connector.ledger.close import Obstacle
    from connector.ledger.periods import Period

ROWS_SHOWN = 50  # What fits a screen or two; `--all` and `--json` give them all.
YEAR_CODES = ("ACC-334", "ACC-353")  # Letters that wait for a person to accept another fiscal year.

# What to do about each kind; `texts.py` has the Chinese.
WHAT_TO_DO = {
    "dead letter": "mend its cause and replay it, or discard it",
    "unread event": "run a relay and a worker",
    "held version": "settle what it waits behind",
    "posting": "run a worker; what is in doubt is asked about",
    "not approved": "approve or withdraw it in the OA",
    "pending tax": "have the invoice certified, or leave it pending knowingly",
    "write-back": "run a worker, or see its dead letter",
}

close = typer.Typer(no_args_is_help=True, help="Closing a period.")
app.add_typer(close, name="close")

Period_ = Annotated[str, typer.Option("--period", help="A month as YYYY-MM, or the id of a period the ledger knows.")]
Company = Annotated[str, typer.Option(help="The company.")]
Reason = Annotated[str, typer.Option(help="Why, for the audit log. Required.")]


@close.command()
def check(
    period: Period_,
    company: Annotated[str | None, typer.Option(help="Only this company.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every row instead of the first 50.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what stands in the way of closing a period, with amounts. Exit 1 where anything does."""
    from connector.ledger import close as closing

    with runtime() as opened, opened.ledger.snapshot() as tx:
        book = opened.book()
        found: list[tuple[str, Obstacle]] = []
        names = [company] if company is not None else _companies(tx, opened)
        asked = {name: days for name in names if (days := _period(tx, name, period)) is not None}
        if names and not asked:
            _no_period(", ".join(names))
        for name, days in asked.items():
            found += [(name, one) for one in closing.obstacles(tx, name, days.starts_on, days.ends_on, book)]
    if as_json:
        emit(
            {
                "period": period,
                "clear": not found,
                "summary": [
                    {"company": name, "kind": kind, "count": len(them), "amounts": _texts(_sums(them))}
                    for (name, kind), them in _by_kind(found).items()
                ],
                "obstacles": [_fields(name, one) for name, one in found],
            }
        )
    elif found:
        _show(found, every)
    if not found:
        note("way_clear", period=period)
        return
    for name in dict.fromkeys(name for name, one in found if one.kind in ("dead letter", "held version")):
        hint(f"deadletters list --company {name}")
    leave(FINDINGS)


def _show(found: Sequence[tuple[str, Obstacle]], every: bool) -> None:
    lang = STATE.language
    rows = [
        (
            name,
            translated(kind, lang),
            len(them),
            ", ".join(f"{total:,f} {currency}" for currency, total in _sums(them).items()),
            translated(WHAT_TO_DO[kind], lang),
        )
        for (name, kind), them in _by_kind(found).items()
    ]
    table("", ("company", "in the way", "count", "amount", "do"), rows, right=("count", "amount"))
    shown = found if every else found[:ROWS_SHOWN]
    each = [
        (
            name,
            translated(one.kind, lang),
            one.number,
            "" if one.amount is None else f"{one.amount:,f} {one.currency}",
            f"{one.code} {code_title(one.code)}" if one.code else "",
            translated(one.what, lang),
            f"{one.since:%Y-%m-%d}",
        )
        for name, one in shown
    ]
    columns = ("company", "in the way", "number", "amount", "code", "what", "since")
    out()
    table("", columns, each, right=("amount",))
    if len(shown) < len(found):
        note("rows_cut", shown=len(shown), all=len(found))


def _by_kind(found: Sequence[tuple[str, Obstacle]]) -> Mapping[tuple[str, str], list[Obstacle]]:
    kinds: dict[tuple[str, str], list[Obstacle]] = defaultdict(list)
    for name, one in found:
        kinds[name, one.kind].append(one)
    return kinds


def _sums(them: Sequence[Obstacle]) -> dict[str, Decimal]:
    """The exact sum of each currency."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for one in them:
        if one.amount is not None and one.currency is not None:
            sums[one.currency] += one.amount
    return dict(sorted(sums.items()))


def _texts(sums: Mapping[str, Decimal]) -> dict[str, str]:
    return {currency: f"{total:f}" for currency, total in sums.items()}


def _fields(company: str, one: Obstacle) -> dict[str, Any]:
    return {
        "company": company,
        "kind": one.kind,
        "number": one.number,
        "amount": None if one.amount is None else f"{one.amount:f}",
        "currency": one.currency,
        "since": one.since.isoformat(),
        "what": one.what,
        "code": one.code,
    }


@close.command("list")
def list_(
    company: Annotated[str | None, typer.Option(help="Only this company.")] = None, as_json: AsJson = False
) -> None:
    """List the accounting periods that the ledger knows, and which are open."""
    from connector.ledger import periods

    with runtime() as opened, opened.ledger.begin() as tx:
        names = [company] if company is not None else _companies(tx, opened)
        found = [(name, period) for name, known in periods.of_all(tx, names).items() for period in known]
    if as_json:
        emit_lines(_period_fields(name, period) for name, period in found)
    elif found:
        rows = [(n, p.period, p.starts_on, p.ends_on, translated(p.state, STATE.language)) for n, p in found]
        table("", ("company", "period", "starts on", "ends on", "state"), rows)
    else:
        note("no_periods")


def _period_fields(company: str, period: Period) -> dict[str, Any]:
    return {
        "company": company,
        "period": period.period,
        "starts_on": period.starts_on.isoformat(),
        "ends_on": period.ends_on.isoformat(),
        "state": period.state,
    }


@close.command("set")
def set_(
    company: Company,
    period: Period_,
    state: Annotated[str, typer.Option(help="open, closing (only what was approved within it) or closed.")],
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Open or close a period here, where the ERP does not tell of its periods; a month is made known by that."""
    from connector.facts import PeriodState
    from connector.ledger import audit, periods
    from connector.ledger import close as closing

    if state not in get_args(PeriodState):
        raise typer.BadParameter(", ".join(get_args(PeriodState)), param_hint="--state")
    _need(reason)
    with runtime() as opened:
        with opened.ledger.begin() as tx:
            if company not in _companies(tx, opened):
                note("no_company", company=company)
                leave(USAGE)
            known = {one.period for one in periods.of(tx, company)}
            before = _period(tx, company, period) or _no_period(company)
            after = periods.Period(period, before.starts_on, before.ends_on, state)  # type: ignore[arg-type]
            periods.put(tx, company, after)
            was = before.state if period in known else None
            audit.append(
                tx,
                actor=actor(),
                action="period.set",
                subject=f"period {company}/{period}",
                reason=reason,
                detail={"from": was, "to": state},
            )
        with opened.ledger.snapshot() as tx:
            left = closing.obstacles(tx, company, after.starts_on, after.ends_on, opened.book())
    if as_json:
        emit(_period_fields(company, after))
    note("period_set", company=company, period=period, state=translated(state, STATE.language))
    if state != "open" and left:
        sums = ", ".join(f"{total:f} {currency}" for currency, total in _sums(left).items())
        note("closed_anyway", count=len(left), amounts=f" ({sums})" if sums else "")
        hint(f"close check --period {period} --company {company}")


@close.command()
def accept(
    number: Annotated[str, typer.Argument(help="The document's number in the OA.")],
    company: Annotated[str | None, typer.Option(help="Where several companies use the number.")] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Let a document be booked in another fiscal year than it belongs to, under your name; what waits for that goes on."""
    from connector.ledger import deadletters, periods, story

    _need(reason)
    with runtime() as opened, opened.ledger.begin() as tx:
        names = story.companies_of(tx, number)
        if company is None and len(names) > 1:
            note("more_companies", number=number, companies=", ".join(names))
            leave(CONFLICT)
        chosen = company or (names[0] if names else None)
        if chosen not in names:
            note("no_document", number=number)
            leave(FINDINGS)
        document_id, letters = _waiting(tx, chosen, number)
        if not letters:
            note("nothing_to_accept", number=number)
            leave(FINDINGS)
        periods.accept_year(tx, document_id, actor(), reason)
        for letter in letters:
            deadletters.replay(tx, letter, actor=actor(), reason=reason)
        embedded = opened.settings.embedded
    if as_json:
        emit({"company": chosen, "number": number, "accepted_by": actor(), "replayed": letters})
    note("year_accepted", number=number, count=len(letters))
    if embedded:
        hint("up")


def _waiting(tx: Connection, company: str, number: str) -> tuple[int, list[int]]:
    """A document, locked, and its open letters that wait for a person to accept the year."""
    from sqlalchemy import select

    from connector.ledger import documents
    from connector.ledger.tables import dead_letters
    from connector.ledger.tables import documents as rows

    d, c = rows.c, dead_letters.c
    found = select(d.id).where(d.kind == "expense.report", d.company == company, d.number == number)
    document_id = int(tx.scalars(found).one())
    documents.lock(tx, [document_id])  # documents before everything else, as everywhere
    letters = select(c.id).where(c.document_id == document_id, c.state == "open", c.code.in_(YEAR_CODES))
    return document_id, list(tx.scalars(letters.order_by(c.id)))


def _need(reason: str) -> None:
    if not reason.strip():
        raise typer.BadParameter(say("say_why", STATE.language), param_hint="--reason")


def _companies(tx: Connection, opened: Runtime) -> list[str]:
    """The companies that the settings or the ledger know."""
    from sqlalchemy import select

    from connector.ledger.tables import documents, periods

    known = {system.company for system in opened.settings.erp}
    known |= set(tx.scalars(select(documents.c.company).distinct()))
    return sorted(known | set(tx.scalars(select(periods.c.company).distinct())))


def _period(tx: Connection, company: str, period: str) -> Period | None:
    """A period that the ledger knows, else the month of that name, open; None where it is neither."""
    from connector.ledger import periods

    known = {one.period: one for one in periods.of(tx, company)}
    if period in known:
        return known[period]
    match = re.fullmatch(r"((?:19|20)\d\d)-(0[1-9]|1[0-2])", period)
    if match is None:
        return None
    year, month = int(match[1]), int(match[2])
    last = calendar.monthrange(year, month)[1]
    return periods.Period(period, date(year, month, 1), date(year, month, last), "open")


def _no_period(companies: str) -> NoReturn:
    raise typer.BadParameter(say("no_period", STATE.language, company=companies), param_hint="--period")
