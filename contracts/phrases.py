"""What findings say, in Chinese: English is the data, and Chinese is made of it where a person reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files

from contracts.codes import all_codes
from contracts.findings import Finding

DEPTH_MAX = 5  # Phrases inside phrases: a note, its sentence, what that expects, a message, and one to spare.
_HOLE = re.compile(r"\{(\w+)\}")
_PLACE, _REFERENCE = re.compile(r"[^\s:;,]+"), re.compile(r"[^\s:;,]*[-/][^\s:;,]*")
_NUMBER, _DAY = re.compile(r"-?[0-9][0-9.]*"), re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Holes that take a phrase of ours and nothing else: their template would fit any text with a comma in it.
_PHRASES_ONLY = ("Step", "Steps")
# What the holes of these names take.
_SHAPES = {
    "n": _NUMBER,
    "m": _NUMBER,
    "day": _DAY,
    "end": _DAY,
    "reference": _REFERENCE,
    "place": _PLACE,
    "path": re.compile("[^:]+"),
}


def chinese(text: str) -> str | None:
    """The text in Chinese, or None where it is no phrase of ours. The values in it stay as they are."""
    return _chinese(text, DEPTH_MAX)


def _chinese(text: str, depth: int) -> str | None:
    exact, templates = _read()
    if text in exact:
        return exact[text]
    if depth == 0:
        return None
    for pieces, translation in templates:
        values = _values(pieces, text)
        if values is not None and (said := _said(values, exact, depth - 1)) is not None:
            return _HOLE.sub(lambda hole: said[hole[1]], translation)
    return None


def _said(values: Mapping[str, str], exact: Mapping[str, str], depth: int) -> dict[str, str] | None:
    """The values as they stand in Chinese, or None where one is not what its hole takes."""
    said = {}
    for name, value in values.items():
        if name.isupper():
            phrase = exact.get(f"={value}")
        elif name in _SHAPES:
            phrase = value if _SHAPES[name].fullmatch(value) else None
        elif name in _PHRASES_ONLY:
            phrase = _chinese(value, depth)
        else:
            phrase = (_chinese(value, depth) if name[0].isupper() else None) or value
        if phrase is None:
            return None
        said[name] = phrase
    return said


def in_chinese(finding: Finding) -> Finding:
    """The finding as a person reads it in Chinese. A fix that is no phrase of ours becomes that of its code."""
    known = all_codes().get(finding.code)
    return replace(
        finding,
        expected=chinese(finding.expected) or finding.expected,
        got=chinese(finding.got) or finding.got,
        fix=chinese(finding.fix) or (finding.fix if known is None else known.fix_zh),
    )


def read_phrases(text: str) -> Iterator[tuple[str, str]]:
    """Each English phrase and its Chinese: a line, and an indented line below it. Raises ValueError for anything else."""
    lines = [line for line in text.splitlines() if line and not line.startswith("# ")]
    for english, translation in zip(lines[::2], lines[1::2], strict=True):
        if english.startswith(" ") or not translation.startswith("    "):
            raise ValueError(f"a phrase and, indented, its Chinese: {english!r}, {translation!r}")
        yield english, translation.strip()


Pieces = tuple[str, ...]  # text, name, text, name, ..., text


@cache
def _read() -> tuple[Mapping[str, str], list[tuple[Pieces, str]]]:
    """The phrases without holes, and those with holes, the ones that say most themselves first."""
    exact, templates = {}, []
    for english, translation in read_phrases((files(__package__) / "codes/phrases.txt").read_text("utf-8")):
        pieces = tuple(_HOLE.split(english))
        if len(pieces) == 1:
            exact[english] = translation
        else:
            templates.append((pieces, translation))
    templates.sort(key=lambda template: -sum(map(len, template[0][::2])))
    return exact, templates


def _values(pieces: Pieces, text: str) -> dict[str, str] | None:
    """What stands in the holes, each as short as it can be, or None where the text is not of this template."""
    first, last = pieces[0], pieces[-1]
    if not (text.startswith(first) and text.endswith(last)):
        return None
    values, at, end = {}, len(first), len(text) - len(last)
    for name, literal in zip(pieces[1:-2:2], pieces[2:-2:2], strict=True):
        found = text.find(literal, at + 1, end)
        if found < 0:
            return None
        values[name] = text[at:found]
        at = found + len(literal)
    if at >= end:
        return None
    values[pieces[-2]] = text[at:end]
    return values
