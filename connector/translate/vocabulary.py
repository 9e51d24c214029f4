"""What an expression may name: the fields of a report, what kind of value each has, and the functions."""

from __future__ import annotations

import datetime as dt
import operator
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from contracts.amount import QUANTA
from contracts.expense import AdvanceClaim, ExpenseReport, Line
from contracts.findings import SECRET_FIELDS

Kind = Literal["boolean", "number", "text", "date", "time", "list", "record", "none"]
Run = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Term:
    """A part of an expression: what kind of value it has, whether that may be missing, and how to get it."""

    kind: Kind
    run: Run
    optional: bool = False
    choices: tuple[str, ...] = ()  # The only texts the contract lets this field be.
    model: type[BaseModel] | None = None  # Of a record.
    path: str = ""
    unit: str = ""  # Of a number: the record in whose currency it is an amount (`line`), or `line rate` for its rate.


@dataclass(frozen=True, slots=True)
class Signature:
    """A function: how a call of it is read, how many values it takes, and how it is written."""

    how: str
    least: int
    most: int
    usage: str


FUNCTIONS: Mapping[str, Signature] = {
    "round": Signature("round", 2, 2, "round(a, 2)"),
    "min": Signature("extreme", 2, 20, "min(a, b)"),
    "max": Signature("extreme", 2, 20, "max(a, b)"),
    "abs": Signature("abs", 1, 1, "abs(a)"),
    "len": Signature("len", 1, 1, "len(text)"),
    "lower": Signature("letters", 1, 1, "lower(text)"),
    "upper": Signature("letters", 1, 1, "upper(text)"),
    "startswith": Signature("part", 2, 2, 'startswith(text, "part")'),
    "endswith": Signature("part", 2, 2, 'endswith(text, "part")'),
    "contains": Signature("part", 2, 2, 'contains(text, "part")'),
    "day": Signature("calendar", 1, 1, "day(date)"),
    "month": Signature("calendar", 1, 1, "month(date)"),
    "year": Signature("calendar", 1, 1, "year(date)"),
    "days": Signature("days", 2, 2, "days(from, to)"),
    "date": Signature("date", 1, 1, 'date("2025-03-31")'),
    "coalesce": Signature("coalesce", 2, 20, "coalesce(a, b)"),
}
NAMES: Mapping[str, Term] = {
    "report": Term("record", operator.attrgetter("report"), model=ExpenseReport),
    "line": Term("record", operator.attrgetter("line"), optional=True, model=Line),
    "advance": Term("record", operator.attrgetter("advance"), optional=True, model=AdvanceClaim),
    "amount": Term("number", operator.attrgetter("amount")),
    "account": Term("text", operator.attrgetter("account")),
    "department": Term("text", operator.attrgetter("department")),
}
CURRENCIES = tuple(QUANTA)
# Amounts by the record in whose currency they are, and the rates that bring them into the report's.
UNITS: Mapping[str, str] = {
    "amount": "report", "report.total": "report", "advance.amount": "advance",
    **{f"line.{name}": "line" for name in ("amount", "personal")},
    **{f"line.invoice.{name}": "line" for name in ("total", "net", "tax", "fare", "fuel", "airport_fee")},
    "line.rate.value": "line rate", "advance.rate.value": "advance rate", "advance.paid_rate": "advance rate",
}  # fmt: skip
WORDS: Mapping[str, tuple[bool | None]] = {"true": (True,), "false": (False,), "none": (None,)}
_KINDS: Mapping[Any, Kind] = {
    str: "text", bool: "boolean", int: "number", Decimal: "number", dt.date: "date", dt.datetime: "time",
}  # fmt: skip
KIND_NAMES: Mapping[Kind, str] = {
    "boolean": "a boolean", "number": "a number", "text": "a text", "date": "a date", "time": "a time",
    "list": "a list", "record": "a record", "none": "none",
}  # fmt: skip


def reader(record: Term, name: str, path: str, whole: bool) -> Run:
    """How to get a field: in one step where its record is always there, else only where it is."""
    read: Run = through(record.run, operator.attrgetter(name)) if record.optional else operator.attrgetter(path)
    return through(read, Decimal) if whole else read


def through(get: Run, change: Run) -> Run:
    """What is got, changed where there is something."""
    return lambda scope: None if (found := get(scope)) is None else change(found)


@lru_cache
def fields_of(model: type[BaseModel]) -> Mapping[str, tuple[Term, bool]]:
    """The fields of a contract type that an expression may name, and whether each is a whole number there."""
    found: dict[str, tuple[Term, bool]] = {}
    for name, info in model.model_fields.items():
        plain, optional = _without_none(info.annotation)
        kind = _kind(plain)
        if kind is not None and name not in SECRET_FIELDS:
            choices = get_args(plain) if get_origin(plain) is Literal else CURRENCIES if name == "currency" else ()
            found[name] = (
                Term(kind, _nothing, optional, choices, plain if kind == "record" else None, name),
                plain is int,
            )
    return found


def _nothing(scope: Any) -> None:
    raise AssertionError("a field is read through its record")


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """A type without its metadata and without `| None`, and whether that was there."""
    if get_origin(annotation) is Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        assert len(rest) == 1, "a field of a report is of one type"
        return _without_none(rest[0])[0], True
    return annotation, False


def _kind(plain: Any) -> Kind | None:
    if get_origin(plain) is Literal:
        return "text"
    if get_origin(plain) is tuple:
        return "list"
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return "record"
    return _KINDS.get(plain)
