"""`oaerp mapping explain`: why a voucher of the ledger looks as it does, rebuilt with the mapping book that made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.base import AsJson, runtime, settings
from workers.cli.mapping import mapping, show_differences
from workers.cli.output import console, emit, hint, leave, note, out, plain
from workers.cli.state import CONFLICT, FINDINGS, STATE
from workers.cli.texts import say, translated

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text
    from sqlalchemy.engine import Connection

    from connector.ledger.seen import Booked
    from connector.translate.book import Book
    from connector.translate.compare import Rebuilt
    from connector.translate.trace import LineTrace, Reason
    from contracts.voucher import Voucher


@mapping.command()
def explain(
    number: Annotated[str, typer.Argument(help="The document's number in the OA.")],
    company: Annotated[str | None, typer.Option(help="Where several companies use the number.")] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="The document's version; default: the latest booked.")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="Use the rules of this day (YYYY-MM-DD), or of the book so fingerprinted."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain each line of a booked voucher: rule, file and line, inputs. Rebuilds it with the rules that made it. Exit 1:
    it comes out otherwise."""
    from connector.ledger import seen, story

    with runtime() as opened, opened.ledger.begin() as tx:
        companies = story.companies_of(tx, number)
        if company is None and len(companies) > 1:
            note("more_companies", number=number, companies=", ".join(companies))
            leave(CONFLICT)
        if not companies:
            note("no_document", number=number)
            leave(FINDINGS)
        made = seen.booked(tx, company or companies[0], number)
        wanted = version or max((one.version for one in made), default=0)
        made = [one for one in made if one.version == wanted]
        books = [_book(tx, one, as_of) for one in made]
    if not made:
        note("not_booked", number=number)
        hint(f"trace {number}")
        leave(FINDINGS)
    same = [_tell(one, book, as_json) for one, book in zip(made, books, strict=True)]
    if not all(same):
        leave(FINDINGS)


def _book(tx: Connection, made: Booked, as_of: str | None) -> Book | None:
    """The book that made the voucher, or the one that is asked for."""
    from connector.ledger import books
    from connector.translate import load_book

    try:
        day = None if as_of is None else date.fromisoformat(as_of)
    except ValueError:
        day = None
    if day is not None:
        return books.in_force(tx, day)
    wanted = as_of or made.book
    if wanted is None:
        return None
    present = load_book(settings().book)
    return present if present.fingerprint.startswith(wanted) else books.archived(tx, wanted)


def _tell(made: Booked, book: Book | None, as_json: bool) -> bool:
    """Shows one voucher; gives whether it comes out as it was booked."""
    from connector.translate.compare import rebuild
    from contracts.voucher import to_dict

    rebuilt = None
    if book is None:
        note("no_book", reference=made.voucher.reference)
    elif made.report is not None and made.purpose != "reverse":
        rebuilt = rebuild(made.report, made.voucher, book, made.terms)
    if as_json:
        emit(
            {
                **{name: getattr(made, name) for name in ("purpose", "version", "state", "book", "erp_number")},
                "rebuilt_with": None if book is None else book.fingerprint,
                "same": None if rebuilt is None else rebuilt.same,
                "voucher": to_dict(made.voucher),
                "trace": [] if rebuilt is None else [trace.as_dict() for trace in rebuilt.traces],
                "findings": [] if rebuilt is None else [finding.as_dict() for finding in rebuilt.findings],
                "differences": [] if rebuilt is None else [asdict(line) for line in rebuilt.lines if line.mark != " "],
                "fields": [] if rebuilt is None else [list(field) for field in rebuilt.fields],
            }
        )
    else:
        _show(made, rebuilt)
    if rebuilt is None or made.purpose == "adjust":
        return book is not None
    assert book is not None
    shown = {"reference": made.voucher.reference, "book": f"{book.name} {book.version} ({book.fingerprint[:12]})"}
    if rebuilt.same:
        note("rebuilt_same", **shown)
    else:
        note("rebuilt_other", **shown)
    return rebuilt.same


def _show(made: Booked, rebuilt: Rebuilt | None) -> None:
    voucher = made.voucher
    words = [voucher.reference, str(voucher.date), voucher.currency, made.state, made.erp_number or ""]
    if voucher.reverses is not None:
        words.append(say("takes_back", STATE.language, reference=voucher.reverses))
    out("  ".join(word for word in words if word))
    if rebuilt is None or rebuilt.voucher is None or made.purpose == "adjust":
        console().print(_lines(voucher, ()))
    if rebuilt is not None and rebuilt.voucher is not None:
        if made.purpose == "adjust":
            out(say("whole_version", STATE.language, version=made.version))
        console().print(_lines(rebuilt.voucher, rebuilt.traces))
    if rebuilt is not None and made.purpose != "adjust":
        show_differences(rebuilt.lines)
        for path, before, after in rebuilt.fields:
            out(f"    {path}: {before} → {after}")
    out()


def _lines(voucher: Voucher, traces: Sequence[LineTrace]) -> Table:
    """The lines of a voucher, each with its reasons."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from contracts.amount import Amount

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in ("account", "dimensions", "debit", "credit", "why"):
        right = name in ("debit", "credit")
        made.add_column(
            translated(name, STATE.language), justify="right" if right else "left", no_wrap=right, overflow="fold"
        )
    for line, trace in zip_longest(voucher.lines, traces):
        amount = Amount(line.amount, voucher.currency).text()
        debit, credit = (amount, "") if line.side == "debit" else ("", amount)
        names = "" if trace is None else trace.account_names.get(STATE.language, "")
        account, dimensions = (
            Text(f"{line.account} {plain(names)}".strip()),
            Text(plain(" ".join(line.dimensions.values()))),
        )
        made.add_row(account, dimensions, Text(debit), Text(credit), Text("") if trace is None else _why(trace))
    return made


def _why(trace: LineTrace) -> Text:
    """The rule and its place, then each reason: the sentence, the rows, what was read."""
    from rich.text import Text

    why = Text(f"[{trace.rule}] {trace.at}", style="bold").append(
        f"  {plain(trace.title.get(STATE.language, ''))}", style="not bold"
    )
    for reason in trace.reasons:
        why.append(f"\n{plain(reason.said(STATE.language))}", style="not bold")
        why.append(f"  {', '.join(reason.places)}", style="not bold cyan")
        why.append(f"\n  {plain(_inputs(reason))}", style="not bold dim")
    return why


def _inputs(reason: Reason) -> str:
    return "  ".join(f"{name}={value}" for name, value in reason.inputs.items())
