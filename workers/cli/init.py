"""The command that writes a mapping book to begin with: init."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workers.cli.base import AsJson, app
from workers.cli.output import emit, hint, leave, note, table
from workers.cli.state import STATE, USAGE
from workers.cli.texts import translated


class Chart(StrEnum):
    """The books to begin with."""

    chinese = "chinese"
    international = "international"


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new book; made where it is missing.")] = Path("book"),
    chart: Annotated[
        Chart, typer.Option(help="chinese: Chinese GAAP, base currency CNY; international: four digits, EUR.")
    ] = Chart.chinese,
    force: Annotated[
        bool, typer.Option("--force", help="Also into a folder that holds files; those named alike are replaced.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a mapping book to begin with into a folder, with notes in English and Chinese. Change its tables, then lint it."""
    from connector.translate.book import STARTERS

    if folder.is_dir() and any(folder.iterdir()) and not force:
        note("init_not_empty", folder=folder)
        leave(USAGE)
    files = write(STARTERS / chart.value, folder)
    if as_json:
        emit({"folder": str(folder), "chart": chart.value, "files": files})
    else:
        table("", ("file", "what it says"), [(name, translated(_WHAT.get(name, ""), STATE.language)) for name in files])
    hint(f"mapping lint {shlex.quote(str(folder))}")


def write(starter: Path, folder: Path) -> list[str]:
    """Copies a book into a folder and names its files. All of it is written beside the folder first: a folder that is new
    appears whole, and in one that is there book.yaml comes last, so that no half of a book is ever read."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".oaerp-", dir=folder.parent) as beside:
        made = Path(beside) / "book"
        shutil.copytree(starter, made, copy_function=shutil.copyfile)
        files = sorted((str(file.relative_to(made)) for file in made.rglob("*") if file.is_file()), key=_reading_order)
        if not folder.exists():
            made.rename(folder)
            return files
        for name in reversed(files):
            (folder / name).parent.mkdir(exist_ok=True)
            os.replace(made / name, folder / name)
    return files


def _reading_order(name: str) -> tuple[int, str]:
    known = [*_WHAT]
    return (known.index(name) if name in known else len(known), name)


# What each file of a book says, in the order in which one reads them.
_WHAT = {
    "book.yaml": "the rules, and which tables there are",
    "companies.csv": "base currency, time zone and policies of each company",
    "chart.csv": "accounts, and the dimensions they carry",
    "accounts.csv": "category, department, company: which cost account",
    "roles.csv": "accounts of advances, payables, taxes, rounding",
    "tax.csv": "kind of invoice: how much of its tax is deducted",
    "periods.csv": "what happens in a closed period",
    "tolerances.csv": "largest rounding difference",
    "payables.csv": "accounts of certain employees and suppliers",
    "dimensions.csv": "what departments and projects are called in the ERP",
    "per_diem.csv": "daily allowances",
    "tests/basic.yaml": "examples that the book must pass: oaerp mapping test",
}
