"""The cases under tests/cases, each with the book it is about."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from connector.translate import Book, load_book
from connector.translate.book import STARTERS
from connector.translate.cases import SUFFIXES, Case, read_cases, starter_of
from connector.translate.reader import read_book
from contracts.findings import Finding

CASES = Path(__file__).parents[2] / "cases"


def cases() -> Iterator[tuple[Case, Book]]:
    """Every case of every file, in order. A folder with a book of its own is about that one, else a file names a starter."""
    for path in sorted(CASES.rglob("*")):
        own = path.parent / "book"
        if path.suffix not in SUFFIXES or "book" in path.relative_to(CASES).parts[:-1]:
            continue
        content = path.read_bytes()
        book = _book(own if own.is_dir() else _starter(starter_of(content)))
        findings: list[Finding] = []
        for case in read_cases(
            path.relative_to(CASES).as_posix(),
            content,
            book,
            findings,
            lambda name, folder=path.parent: (folder / name).read_bytes(),
        ):
            yield case, book
        assert not findings, "\n".join(map(str, findings))


@cache
def _book(folder: Path) -> Book:
    return load_book(folder)


def changed(**tables: tuple[str, str]) -> Book:
    """The Chinese starter book with the old text of some tables replaced by the new."""
    files = dict(load_book(_starter("chinese")).files)
    for name, (old, new) in tables.items():
        text = files[f"{name}.csv"].decode()
        assert old in text, f"{old} is in {name}.csv"
        files[f"{name}.csv"] = text.replace(old, new).encode()
    return read_book(files)


def _starter(name: str) -> Path:
    return STARTERS / name
