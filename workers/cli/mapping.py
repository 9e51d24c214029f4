"""`oaerp mapping`: the consultant's workbench. Check a book, run its tests, try a report, see what is used and what differs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.base import AsJson, app, runtime, settings
from workers.cli.output import console, emit, hint, leave, note, out, plain, progress, readable, table
from workers.cli.state import FINDINGS, OK, STATE
from workers.cli.texts import say, translated

if TYPE_CHECKING:
    from connector.translate.book import Book
    from connector.translate.cases import Case
    from connector.translate.compare import Change
    from connector.translate.coverage import Coverage, Item
    from connector.translate.preview import Preview
    from connector.translate.testing import Difference, Explained, Made, Result
    from contracts.expense import ExpenseReport
    from contracts.findings import Finding

mapping = typer.Typer(no_args_is_help=True, help="The mapping book: check it, test it, try it, compare it.")
app.add_typer(mapping, name="mapping")

PROGRESS_FROM = 200  # Fewer cases are run before a bar is drawn.
UNUSED_SHOWN = 100  # Of one table.
_MISSING = {
    "unanswered": ("company", "category", "department", "fix"),
    "untranslated": ("company", "dimension", "value"),
}

Folder = Annotated[
    Path | None,
    typer.Argument(metavar="BOOK", help="Mapping book; default: the settings' one, else the starter book."),
]
BookOption = Annotated[
    Path | None, typer.Option("--book", help="Mapping book; default: the settings' one, else the starter book.")
]
Events = Annotated[
    list[Path] | None,
    typer.Option("--with", exists=True, help="An event (JSON or XML), or a folder of them; may be given again."),
]


@mapping.command()
def lint(book: Folder = None, as_json: AsJson = False) -> None:
    """Check a book whole: everything that is wrong (exit 1), and what nobody can have meant (exit 0)."""
    from connector.translate import BookRefused, load_book
    from connector.translate.coverage import advice, rules_of, tables_of

    try:
        loaded = load_book(book or settings().book)
    except BookRefused as refused:
        if as_json:
            emit({"ok": False, "findings": [finding.as_dict() for finding in refused.findings], "advice": []})
        else:
            show_findings(refused.findings)
        note("lint_bad", count=len(refused.findings))
        leave(FINDINGS)
    found = advice(loaded)
    rules, rows = sum(1 for _ in rules_of(loaded)) + len(loaded.pairs), sum(map(len, tables_of(loaded).values()))
    if as_json:
        head = {"ok": True, "book": loaded.name, "version": loaded.version, "fingerprint": loaded.fingerprint}
        emit(head | {"rules": rules, "rows": rows, "findings": [], "advice": [finding.as_dict() for finding in found]})
    elif found:
        show_findings(found, "!")
    note("lint_ok", name=loaded.name, version=loaded.version, rules=rules, rows=rows)
    if found:
        note("lint_advice", count=len(found))
    hint(f"mapping test{'' if book is None else f' {book}'}")


def show_findings(findings: Sequence[Finding], mark: str = "✗") -> None:
    """A table of findings, each at its file and line."""
    rows = [(mark, f.path, f.code, f.expected, f.got, f.fix) for f in map(readable, findings)]
    table("", ("", "where", "code", "expected", "got", "do"), rows)


@mapping.command("test")
def run_tests(
    book: Folder = None,
    only: Annotated[str | None, typer.Option(help="Only tests whose title or place has this text.")] = None,
    junit: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the results there as JUnit XML, for a CI system.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the book's own tests: each report in BOOK/tests becomes exactly the voucher beside it, or exit 1."""
    from connector.translate.coverage import measure
    from connector.translate.testing import junit as junit_of

    loaded, cases = _book_and_cases(book)
    cases = [case for case in cases if only is None or only.casefold() in f"{case.title} {case.at}".casefold()]
    if not cases:
        note("no_test_named", only=only)
        leave(FINDINGS)
    begun = time.monotonic()
    results = _run(loaded, cases)
    if junit is not None:
        junit.write_bytes(junit_of(loaded.name, results, time.monotonic() - begun))
    covered = measure(loaded, (result.used for result in results))
    failed = [result for result in results if not result.passed]
    if as_json:
        emit(
            {
                "ok": not failed,
                "passed": len(results) - len(failed),
                "failed": len(failed),
                "cases": [_result_fields(result) for result in results],
                "rules": _counts(covered.rules),
                "rows": _counts(covered.rows),
            }
        )
    else:
        for result in results:
            _show_result(result)
        out()
        out(say("tests_used", STATE.language, rules=_share(covered.rules), rows=_share(covered.rows)))
    if failed:
        note("tests_failed", failed=len(failed), count=len(results))
        leave(FINDINGS)
    note("tests_passed", count=len(results))


def _book_and_cases(book: Path | None) -> tuple[Book, list[Case]]:
    """The book and its tests; ends with a message where there are none or where one cannot be read."""
    from connector.translate import load_book
    from connector.translate.book import STARTER
    from connector.translate.cases import TESTS, load_cases

    folder = book or settings().book or STARTER
    loaded = load_book(folder)
    cases, findings = load_cases(folder / TESTS, loaded)
    if findings:
        show_findings(findings)
        note("tests_unreadable", count=len(findings))
        leave(FINDINGS)
    if not cases:
        note("no_tests", folder=folder / TESTS)
        leave(FINDINGS)
    return loaded, cases


def _run(book: Book, cases: Sequence[Case]) -> list[Result]:
    from connector.translate.testing import run

    if len(cases) < PROGRESS_FROM:
        return [run(case, book) for case in cases]
    results = []
    with progress(len(cases), "testing") as bar:
        for case in cases:
            results.append(run(case, book))
            bar.advance()
    return results


def _show_result(result: Result) -> None:
    from rich.text import Text

    mark, style = ("✓", "green") if result.passed else ("✗", "bold red")
    line = Text(f"{mark} ", style=style).append(plain(result.case.title), style="not bold default")
    console().print(line.append(f"  {result.case.at}", style="dim not bold"), soft_wrap=True)
    if result.passed:
        return
    if not result.case.expected:
        out(f"    {say('expects_nothing', STATE.language)}")
    show_differences(result.differences())


def show_differences(told: Sequence[Difference]) -> None:
    """Two vouchers in the notation of the cases, line by line, and the rule and rows behind what differs."""
    from rich.text import Text

    styles = {"-": "red", "+": "green", " ": "dim"}
    width = max((len(difference.text) for difference in told), default=0)
    for difference in told:
        line = Text(f"    {difference.mark} {plain(difference.text)}", style=styles[difference.mark])
        if difference.mark != " " and difference.by:
            line.append(
                f"{' ' * (width - len(difference.text))}   {plain(translated(difference.by, STATE.language))}",
                style="dim",
            )
        console().print(line, soft_wrap=True)


def _result_fields(result: Result) -> dict[str, Any]:
    fields: dict[str, Any] = {"case": result.case.title, "at": result.case.at, "passed": result.passed}
    if not result.passed:
        fields["differences"] = [{"mark": d.mark, "text": d.text, "by": d.by} for d in result.differences()]
    return fields


@mapping.command("try")
def try_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An event, JSON or XML, or a case.")],
    book: BookOption = None,
    as_json: AsJson = False,
) -> None:
    """Show the voucher that a report would become by a book, with the reason of each line. Expects nothing, sends nothing."""
    from connector.translate import load_book
    from connector.translate.cases import SUFFIXES
    from connector.translate.preview import preview
    from connector.translate.table import render

    loaded = load_book(book or settings().book)
    if file.suffix.lower() in SUFFIXES:
        _try_cases(file, loaded, as_json)
    content_type = "application/xml" if file.suffix.lower() == ".xml" else "application/json"
    shown = preview(file.read_bytes(), content_type, loaded)
    if as_json:
        sys.stdout.write(shown.to_json().decode() + "\n")
    else:
        console().print(render(shown, STATE.language))
    leave(OK if shown.ok else FINDINGS)


def _try_cases(file: Path, book: Book, as_json: bool) -> None:
    from connector.translate.cases import read_cases
    from connector.translate.testing import make

    findings: list[Finding] = []
    cases = read_cases(file.name, file.read_bytes(), book, findings, lambda name: (file.parent / name).read_bytes())
    if findings or not cases:
        show_findings(findings)
        note("tests_unreadable", count=len(findings))
        leave(FINDINGS)
    sound = True
    for case in cases:
        made = make(case, book)
        sound = sound and made.refusal is None and (made.correction is None or made.correction.code is None)
        if as_json:
            emit({"case": case.title, "at": case.at, **_made_fields(made, book)})
            continue
        out(f"# {case.title}  {case.at}")
        _show_made(made, book)
        out()
    leave(OK if sound else FINDINGS)


def _preview(made: Made, shown: Explained | None, book: Book) -> Preview:
    from connector.translate.preview import Preview

    voucher, traces = shown or (None, ())
    findings, waits_for = (made.refusal.findings, made.refusal.waits_for) if made.refusal is not None else ((), ())
    return Preview(None, None, voucher, traces, (), findings, waits_for, book.fingerprint)


def _made_fields(made: Made, book: Book) -> dict[str, Any]:
    from contracts.voucher import to_dict

    correction = made.correction
    return {
        **_preview(made, made.whole, book).as_dict(),
        "corrected": correction and {name: getattr(correction, name) for name in ("kind", "code", "reason")},
        "posted": [
            {"voucher": to_dict(voucher), "trace": [line.as_dict() for line in traces]}
            for voucher, traces in made.posted
        ],
    }


def _show_made(made: Made, book: Book) -> None:
    """What is posted for a case, or why nothing is."""
    from connector.translate.table import render

    if made.refusal is not None:
        console().print(render(_preview(made, None, book), STATE.language))
    if made.correction is not None:
        kind = " ".join(filter(None, (made.correction.kind, made.correction.code)))
        out(
            say("tried_corrected", STATE.language, kind=kind, reason=translated(made.correction.reason, STATE.language))
        )
    for posted in made.posted:
        console().print(render(_preview(made, posted, book), STATE.language))


@mapping.command()
def coverage(
    book: Folder = None,
    events: Events = None,
    least: Annotated[
        int, typer.Option("--min", min=0, max=100, help="Exit 1 where less of the rules and rows is used, in percent.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Show which rules and rows no test needs, and what the ledger has seen that no row answers."""
    from connector.translate.coverage import measure

    loaded, cases = _book_and_cases(book)
    cases += [_as_case(file, report) for file, report in _reports(events)]
    covered = measure(loaded, (result.used for result in _run(loaded, cases)))
    missing, foreign = _seen(loaded)
    if as_json:
        emit(
            {
                "percent": covered.percent,
                "rules": _counts(covered.rules),
                "rows": _counts(covered.rows),
                "items": [{"table": i.table, "key": i.key, "at": i.at, "used": i.used} for i in covered.items],
                **{
                    name: [dict(zip(_MISSING[name], triple, strict=True)) for triple in triples]
                    for name, triples in missing.items()
                },
                "strangers": [finding.as_dict() for finding in foreign],
            }
        )
    else:
        _show_coverage(covered)
    if missing["unanswered"]:
        note("coverage_unanswered", count=len(missing["unanswered"]))
    if missing["untranslated"]:
        note("coverage_untranslated", count=len(missing["untranslated"]))
    for name, triples in missing.items():
        if triples and not as_json:
            rows = [(*found[:3], *(translated(fix, STATE.language) for fix in found[3:])) for found in triples]
            table("", _MISSING[name], rows)
    if foreign:
        note("coverage_strangers", count=len(foreign))
        if not as_json:
            show_findings(foreign, "!")
    note("coverage", percent=covered.percent, unused=len(covered.unused), count=len(cases))
    if covered.percent < least:
        note("coverage_low", percent=covered.percent, least=least)
        leave(FINDINGS)


def _show_coverage(covered: Coverage) -> None:
    by_table: dict[str, list[Item]] = {}
    for item in covered.items:
        by_table.setdefault(item.table, []).append(item)
    language = STATE.language
    rows = [(translated(name, language), *_share(items).split("/"), _unused(items)) for name, items in by_table.items()]
    table("", ("table", "used", "of", "never used"), rows, right=("used", "of"))


def _unused(items: Sequence[Item]) -> str:
    """The first of them; `--json` gives them all."""
    unused = [f"{item.key}  {item.at}" for item in items if not item.used]
    rest = [f"… {len(unused) - UNUSED_SHOWN}"] if len(unused) > UNUSED_SHOWN else []
    return "\n".join(unused[:UNUSED_SHOWN] + rest)


def _counts(items: Sequence[Item]) -> dict[str, int]:
    return {"used": sum(bool(item.used) for item in items), "of": len(items)}


def _share(items: Sequence[Item]) -> str:
    return "{used}/{of}".format(**_counts(items))


def _as_case(file: Path, report: ExpenseReport) -> Case:
    from connector.translate.cases import Case

    return Case(report.number, f"{file}:1", report, ())


def _reports(paths: Sequence[Path] | None) -> Iterator[tuple[Path, ExpenseReport]]:
    """The approved reports in these files and folders; others are named and left out."""
    from connector.translate.cases import read_event
    from connector.translate.voucher import Refusal

    for path in paths or ():
        inside = (file for file in path.rglob("*") if file.suffix.lower() in (".json", ".xml"))
        for file in sorted(inside) if path.is_dir() else [path]:
            report = read_event(file.name, file.read_bytes())
            if isinstance(report, Refusal):
                note("no_report", file=file, why=translated(str(report.findings[0]), STATE.language))
            else:
                yield file, report


def _seen(book: Book) -> tuple[dict[str, list[tuple[str, ...]]], list[Finding]]:
    """What the ledger has seen and no row of the accounts or the dimensions table answers, and rows for what its master data
    does not have; nothing where there is no ledger yet."""
    from datetime import UTC, datetime

    from sqlalchemy import make_url

    from connector.ledger import seen
    from connector.translate.coverage import strangers, unanswered, untranslated

    file = make_url(settings().ledger).database
    if settings().ledger.startswith("sqlite") and not (file and Path(file).is_file()):
        return {"unanswered": [], "untranslated": []}, []
    wanted: set[tuple[str, str]] = set()
    with runtime() as opened, opened.ledger.begin() as tx:
        values = seen.dimension_values(tx)
        departments = {(company, value) for company, dimension, value in values if dimension == "department"}
        for report in seen.recent_reports(tx):
            for line in report.lines:
                wanted.add((report.company, line.category))
                departments.add((report.company, line.department or report.employee.department))
    today = datetime.now(UTC).date()
    missing: dict[str, list[tuple[str, ...]]] = {
        "unanswered": [(*triple, _meant(book, triple[1])) for triple in unanswered(book, wanted, departments, today)],
        "untranslated": [*untranslated(book, values, today)],
    }
    return missing, strangers(book, values, today)


def _meant(book: Book, category: str) -> str:
    """What to do about a category that no row names; nothing where one does, but not for this department."""
    from connector.translate.tables import near

    known = {row.category for row in book.accounts}
    return "" if category in known else near(category, known, "")


@mapping.command()
def diff(
    old: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The mapping book as it was.")],
    new: Annotated[
        Path | None,
        typer.Argument(help="The mapping book as it is; default: the settings' one, else the starter book."),
    ] = None,
    events: Events = None,
    as_json: AsJson = False,
) -> None:
    """Show what differs between two books, and with `--with` the vouchers that would be others. Exit 1 where they differ."""
    from connector.translate import load_book
    from connector.translate.compare import compare, other_lines

    before, after = load_book(old), load_book(new or settings().book)
    changes = compare(before, after)
    reports = [report for _, report in _reports(events)]
    lines = list(other_lines(reports, before, after))
    if as_json:
        emit(
            {
                "same": not (changes or lines),
                "changes": [change_fields(change) for change in changes],
                "lines": [asdict(line) for line in lines],
            }
        )
    else:
        show_changes(changes)
        if lines:
            out()
            columns = ("number", "before", "after", "rule")
            table("", columns, [(x.number, x.before, x.after, x.after_by or x.before_by) for x in lines])
    if changes:
        note("books_differ", count=len(changes))
    else:
        note("books_same")
    if events:
        note("vouchers_differ", others=len({line.number for line in lines}), count=len(reports))
    leave(FINDINGS if changes or lines else OK)


def show_changes(changes: Sequence[Change]) -> None:
    """What differs between two books, a line for each field."""
    if changes:
        rows = [row for change in changes for row in _change_rows(change)]
        table("", ("what", "table", "key", "field", "before", "after", "where"), rows)


def _change_rows(change: Change) -> Iterator[tuple[str, ...]]:
    """One row a field, the first one naming what it is about."""
    where = " → ".join(dict.fromkeys(at for at in (change.old_at, change.new_at) if at))
    head = (translated(change.what, STATE.language), translated(change.table, STATE.language), change.key)
    for name, (before, after) in (change.fields or {"": ("", "")}).items():
        yield (*head, name, before, after, where)
        head, where = ("", "", ""), ""


def change_fields(change: Change) -> dict[str, Any]:
    """A difference as JSON-able values."""
    fields = {name: {"before": before, "after": after} for name, (before, after) in change.fields.items()}
    return {**asdict(change), "fields": fields}
