"""From the bytes of a file or a batch to events, piece by piece, so that a bad piece spoils no other. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from connector.oa.csv_reports import read_csv
from connector.oa.piece import Piece, Span
from contracts import DEPTH_MAX, Finding, Refused, parse

PIECES_MAX = 100_000  # Events in one file; what is longer is split by whoever writes it.
JSON = "application/json"
XML = "application/xml"
SUFFIXES = (".json", ".jsonl", ".ndjson", ".xml", ".csv")

_BLANK = b" \t\r\n"
# A whole string, a quote that no string ends, or a sign that opens, closes or parts. Possessive: no memory for going back.
_SIGNS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)


def read_file(name: str, body: bytes, *, company: str, adapter: str, pieces_max: int = PIECES_MAX) -> Iterator[Piece]:
    """The events of a file by the ending of its name: JSON (one event, an array, or one event a line), XML (one event),
    CSV (`csv_reports`, for `company` where the table has no such column, told by `adapter`).

    Raises Refused, before the first piece, where the file as a whole cannot be read.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix == ".csv":
        return read_csv(body, company=company, adapter=adapter, reports_max=pieces_max)
    if suffix == ".xml":
        return iter([read_one(body, XML)])
    if suffix in (".jsonl", ".ndjson"):
        return read_lines(body, pieces_max)
    if suffix == ".json":
        return read_json(body, pieces_max)
    raise Refused(
        Finding(
            "CON-108", "", f"a file ending in {', '.join(SUFFIXES)}", repr(suffix), "name the file by what is in it"
        )
    )


def read_json(body: bytes, pieces_max: int = PIECES_MAX) -> Iterator[Piece]:
    """One event, an array of events, or an event on each line, whichever the bytes are."""
    start = body.lstrip(_BLANK)[:1]
    if start == b"[":
        return read_array(body, pieces_max)
    if start == b"{" and _is_lines(body):
        return read_lines(body, pieces_max)
    return iter([read_one(body, JSON)])


def read_one(body: bytes, content_type: str, where: str = "") -> Piece:
    """The one event in a body."""
    try:
        return Piece(where, body, content_type, event=parse(body, content_type))
    except Refused as refused:
        return Piece(where, body, content_type, findings=refused.findings)


def read_array(body: bytes, pieces_max: int = PIECES_MAX) -> Iterator[Piece]:
    """Each element of a JSON array, found without parsing it: memory holds one event at a time. Raises Refused where
    the array itself is broken, nested too deep, or has more than `pieces_max` elements."""
    spans = _elements(body, pieces_max)
    return (read_one(body[a:b].strip(_BLANK), JSON, f"[{index}]") for index, (a, b) in enumerate(spans))


def read_lines(body: bytes, pieces_max: int = PIECES_MAX) -> Iterator[Piece]:
    """Each line that is not blank, as one event. Raises Refused where there are none or more than `pieces_max`."""
    spans = _lines(body, pieces_max)
    if not spans:
        return iter([read_one(body, JSON)])
    return (read_one(body[a:b].strip(_BLANK), JSON, f"line {number}") for number, (a, b) in spans)


def _is_lines(body: bytes) -> bool:
    """True where the first line is a whole object and another line follows."""
    lead = body.lstrip(_BLANK)
    first, newline, rest = lead.partition(b"\n")
    if not newline or not rest.strip(_BLANK):
        return False
    depth = 0
    for sign in _SIGNS.finditer(first):
        depth += _step(first[sign.start()])
    return depth == 0


def _lines(body: bytes, pieces_max: int) -> Sequence[tuple[int, Span]]:
    spans: list[tuple[int, Span]] = []
    number = start = 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        number += 1
        if body[start : min(end, start + 80)].strip(_BLANK) or body[start:end].strip(_BLANK):
            spans.append((number, (start, end)))
            if len(spans) > pieces_max:
                raise Refused(too_many(pieces_max))
        start = end + 1
    return spans


def _elements(body: bytes, pieces_max: int) -> Sequence[Span]:
    begin = body.index(b"[") + 1
    spans: list[Span] = []
    depth = 1
    for sign in _SIGNS.finditer(body, begin):
        at = sign.start()
        character = body[at]
        if character == 0x22:  # a string, or a quote that no string ends
            if sign.end() == at + 1:
                raise Refused(_broken("a string that ends", f"the end of the text, in a string from byte {at}"))
        elif character == 0x2C:
            if depth == 1:
                spans.append((begin, at))
                begin = at + 1
                if len(spans) >= pieces_max:
                    raise Refused(too_many(pieces_max))
        else:
            depth += _step(character)
            if depth > DEPTH_MAX + 1:
                fix = "send events as their schema has them"
                raise Refused(Finding("CON-105", "", f"at most {DEPTH_MAX} levels of nesting", "more", fix))
            if depth == 0:
                if character != 0x5D or body[at + 1 :].strip(_BLANK):
                    raise Refused(_broken("one JSON array and nothing behind it", f"something else at byte {at}"))
                if spans or body[begin:at].strip(_BLANK):
                    spans.append((begin, at))
                return spans
    raise Refused(_broken("a closed JSON array", "the end of the text"))


def _step(character: int) -> int:
    if character in b"[{":
        return 1
    return -1 if character in b"]}" else 0


def _broken(expected: str, got: str) -> Finding:
    return Finding("CON-101", "", expected, got, "send well-formed JSON")


def too_many(pieces_max: int) -> Finding:
    """What is said of a file or batch with more events than a door takes at once."""
    return Finding("CON-118", "", f"at most {pieces_max} events at once", "more", "send them in several parts")
