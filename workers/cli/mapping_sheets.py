"""`oaerp mapping export|import`: the tables of a book as one workbook, and back into the book once the whole is sound."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.base import AsJson, settings
from workers.cli.mapping import BookOption, Folder, change_fields, mapping, show_changes, show_findings
from workers.cli.output import emit, hint, leave, note
from workers.cli.state import FINDINGS, USAGE

if TYPE_CHECKING:
    from connector.translate.book import Book
    from connector.translate.compare import Change
    from contracts.findings import Finding


@mapping.command("export")
def export(
    to: Annotated[Path, typer.Option("--to", dir_okay=False, help="The workbook to write, .xlsx.")],
    book: Folder = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the tables of a book as one workbook, a sheet each, every column explained."""
    from connector.translate import load_book
    from connector.translate.sheets import to_workbook

    loaded = load_book(book or settings().book)
    if to.exists() and not force:
        note("export_there", file=to)
        leave(USAGE)
    to.write_bytes(to_workbook(loaded))
    if as_json:
        emit({"file": str(to), "tables": sorted(loaded.tables)})
    note("exported", count=len(loaded.tables), file=to)
    hint(f"mapping import {to}{'' if book is None else f' --book {book}'} --dry-run")


@mapping.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A workbook with a sheet for each table.")],
    book: BookOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take tables of a book from a workbook. Nothing is written unless the whole book is sound with them. Exit 1: it is not."""
    from connector.translate import BookRefused, load_book

    folder = book or settings().book
    if folder is None:
        note("import_where")
        leave(USAGE)
    try:
        changes, files = _taken(file, load_book(folder))
    except BookRefused as refused:
        if as_json:
            emit({"ok": False, "findings": [finding.as_dict() for finding in refused.findings]})
        else:
            show_findings(refused.findings)
        note("import_bad", count=len(refused.findings))
        leave(FINDINGS)
    if as_json:
        emit({"ok": True, "changes": [change_fields(change) for change in changes], "files": sorted(files)})
    else:
        show_changes(changes)
    if not changes:
        note("books_same")
        return
    if dry_run:
        note("dry_run")
        return
    _write(folder, files)
    note("imported", count=len(changes), files=", ".join(sorted(files)))
    hint(f"mapping test {folder}")


def _taken(file: Path, old: Book) -> tuple[list[Change], dict[str, bytes]]:
    """What changes where the workbook's tables stand instead of the book's, and the files that do. Raises BookRefused."""
    from connector.translate import BookRefused
    from connector.translate.compare import compare
    from connector.translate.places import InSheet
    from connector.translate.reader import read_book
    from connector.translate.sheets import from_workbook
    from connector.translate.tables import bad

    findings: list[Finding] = []
    files: dict[str, bytes] = {}
    places: dict[str, InSheet] = {}
    for table, content in from_workbook(file.read_bytes(), file.name).items():
        names = old.tables.get(table, ())
        if len(names) == 1 and names[0].endswith(".csv"):
            files[names[0]], places[names[0]] = content, InSheet(file.name, table)
            continue
        got, fix = ", ".join(names) or "none", "change those files themselves, or join them in one"
        if not names:
            fix = f"add `{table}: {table}.csv` under tables in book.yaml, and the file with its header"
        findings.append(bad(f"{file.name}!{table}", f"one CSV file of the book for {table}", got, fix))
    if findings:
        raise BookRefused(findings)
    changes = compare(old, read_book({**old.files, **files}, places))
    changed = {change.table for change in changes}
    return changes, {name: content for name, content in files.items() if places[name].sheet in changed}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Every file beside its old one first; then each takes its place."""
    made: list[tuple[str, Path]] = []
    for name, content in files.items():
        with NamedTemporaryFile(dir=folder, prefix=f".{name}.", delete=False) as new:
            new.write(content)
        made.append((new.name, folder / name))
    for temporary, path in made:
        if path.exists():
            os.chmod(temporary, path.stat().st_mode)
        os.replace(temporary, path)
