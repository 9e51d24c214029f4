"""What differs between two mapping books: rows and rules by their keys, and the vouchers that would be others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from difflib import SequenceMatcher
from itertools import groupby, zip_longest
from typing import Any, Literal

from connector.text_yaml import load_text_yaml
from connector.translate.book import BOOK_FILE, Book
from connector.translate.coverage import rules_of, tables_of
from connector.translate.tables import Row
from connector.translate.testing import Difference, Said, differences, lines_of, outcome, refused_lines, written
from connector.translate.trace import LineTrace, explain
from connector.translate.voucher import Refusal, Terms
from contracts.expense import ExpenseReport
from contracts.findings import Finding
from contracts.voucher import Voucher, to_dict, to_json


@dataclass(frozen=True, slots=True)
class Change:
    """A row or rule that one book has and the other has not, or has otherwise: `fields` gives the old and the new text."""

    what: Literal["added", "removed", "changed", "moved"]
    table: str
    key: str
    old_at: str
    new_at: str
    fields: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OtherLine:
    """A line of a report's voucher (or refusal) by the old book, and what stands there by the new one; empty: nothing."""

    number: str
    before: str
    before_by: str
    after: str
    after_by: str


def compare(old: Book, new: Book) -> list[Change]:
    """Every difference between two books, table by table."""
    found = [*_of_entries("rules", old, new), *_of_entries("pairs", old, new)]
    after = tables_of(new)
    for table, rows in tables_of(old).items():
        found += _of_rows(table, rows, after[table])
    return found


def other_lines(reports: Iterable[ExpenseReport], old: Book, new: Book) -> Iterator[OtherLine]:
    """The lines of these reports' vouchers that the new book makes otherwise."""
    for report in reports:
        told = differences(outcome(report, old), outcome(report, new))
        for is_same, block in groupby(told, key=lambda difference: difference.mark == " "):
            if is_same:
                continue
            lines = list(block)
            nothing = Difference(" ", "")
            before, after = [x for x in lines if x.mark == "-"], [x for x in lines if x.mark == "+"]
            for one, other in zip_longest(before, after, fillvalue=nothing):
                yield OtherLine(report.number, one.text, one.by, other.text, other.by)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A booked voucher made again: with the reasons of its lines, or what refuses it. `same` where its bytes are the same;
    else the lines that differ, or, where the lines agree, the fields of the wire form."""

    voucher: Voucher | None
    traces: tuple[LineTrace, ...]
    findings: tuple[Finding, ...]
    same: bool
    lines: tuple[Difference, ...] = ()
    fields: tuple[tuple[str, str, str], ...] = ()


def rebuild(report: ExpenseReport, booked: Voucher, book: Book, terms: Terms) -> Rebuilt:
    """The report's voucher by this book, on the terms the booked one was made on, beside the booked one. The reference is
    taken over: the ERP's limits made it, not the book."""
    answer = explain(report, book, terms=terms)
    stood = [Said(written(line, booked.currency)) for line in booked.lines]
    if isinstance(answer, Refusal):
        return Rebuilt(None, (), answer.findings, False, tuple(differences(stood, refused_lines(answer))))
    voucher, traces = replace(answer[0], reference=booked.reference), answer[1]
    if to_json(voucher) == to_json(booked):
        return Rebuilt(voucher, traces, (), True)
    lines = differences(stood, lines_of(voucher, traces))
    if any(line.mark != " " for line in lines):
        return Rebuilt(voucher, traces, (), False, tuple(lines))
    return Rebuilt(voucher, traces, (), False, (), tuple(_fields(to_dict(booked), to_dict(voucher))))


def _fields(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Each place of the wire form that differs, old and new."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*before, *after]):
            yield from _fields(before.get(name), after.get(name), f"{path}.{name}" if path else name)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from _fields(*pair, f"{path}[{index}]")
    elif before != after:
        yield path, str(before), str(after)


def _of_rows(table: str, old: Sequence[Row], new: Sequence[Row]) -> Iterator[Change]:
    """Rows of one key are paired by priority and first day, then in their order."""
    before, after = _by_key(old), _by_key(new)
    for key in dict.fromkeys([*before, *after]):
        named = "/".join(key)
        left, right = before.get(key, []), after.get(key, [])
        exact = {(row.priority, row.valid_from): row for row in right}
        pairs = [(row, exact.pop((row.priority, row.valid_from), None)) for row in left]
        rest = iter(exact.values())
        for row, same in pairs:
            other = same or next(rest, None)
            if other is None:
                yield Change("removed", table, named, row.at, "", _apart(_texts(row), {}))
            elif fields := _apart(_texts(row), _texts(other)):
                yield Change("changed", table, named, row.at, other.at, fields)
        for row in rest:
            yield Change("added", table, named, "", row.at, _apart({}, _texts(row)))


def _by_key(rows: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.valid_from):
        found.setdefault(row.key(), []).append(row)
    return found


def _texts(row: Row) -> dict[str, str]:
    """The columns of a row beside its key, as they are written; what is as it is where left out is empty."""
    columns = {name: info for name, info in type(row).model_fields.items() if name != "at" and name not in row.keys}
    values = {name: getattr(row, name) for name in columns}
    return {name: "" if value == columns[name].default else _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case Decimal():
            return f"{value.normalize():f}"
        case tuple():  # dimensions
            return " ".join(name if required else f"{name}?" for name, required in value)
    return str(value)


def _of_entries(section: str, old: Book, new: Book) -> Iterator[Change]:
    """Rules (or pairs), by their ids; one whose place among the others is another is moved: so are its voucher lines."""
    before, after = _entries(section, old), _entries(section, new)
    old_places, new_places = _places(section, old), _places(section, new)
    common = [name for name in before if name in after]
    stays = _in_order(common, [name for name in after if name in before])
    for name in dict.fromkeys([*before, *after]):
        old_at, new_at = old_places.get(name, ""), new_places.get(name, "")
        fields = _apart(before.get(name, {}), after.get(name, {}))
        if name not in after:
            yield Change("removed", section, name, old_at, "", fields)
        elif name not in before:
            yield Change("added", section, name, "", new_at, fields)
        elif fields:
            yield Change("changed", section, name, old_at, new_at, fields)
        elif name not in stays:
            yield Change("moved", section, name, old_at, new_at)


def _in_order(old: Sequence[str], new: Sequence[str]) -> set[str]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    return {name for block in matcher.get_matching_blocks() for name in old[block.a : block.a + block.size]}


def _entries(section: str, book: Book) -> dict[str, dict[str, str]]:
    """What the book's file says of each, word by word."""
    document = load_text_yaml(book.files[BOOK_FILE].decode("utf-8-sig"))
    return {
        entry["id"]: {name: _flat(value) for name, value in entry.items() if name != "id"}
        for entry in document.get(section) or []
    }


def _flat(value: Any) -> str:
    return " / ".join(map(str, value.values())) if isinstance(value, dict) else str(value or "")


def _places(section: str, book: Book) -> dict[str, str]:
    return {entry.id: entry.at for entry in (rules_of(book) if section == "rules" else book.pairs)}


def _apart(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The fields that differ, each old and new."""
    names = dict.fromkeys([*before, *after])
    both = {name: (before.get(name, ""), after.get(name, "")) for name in names}
    return {name: (old, new) for name, (old, new) in both.items() if old != new}
