"""YAML read with care: every scalar is text, each place has its line, and aliases, doubled keys and deep nests are refused."""

from __future__ import annotations

import re
from typing import Any

import yaml

from connector.text_yaml import Loader, load_text_yaml
from connector.translate.tables import bad, not_utf_8
from contracts.findings import Finding

DEPTH_MAX = 20
Place = tuple[str | int, ...]


class Marks(dict[Place, int]):
    """The line of each place of a document. Of the texts in it, `position` knows where every letter stands."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.scalars: dict[Place, yaml.ScalarNode] = {}

    def position(self, place: Place, column: int) -> tuple[int, int]:
        """Line and column in the file of a column of the text at this place, however it is quoted or folded."""
        node = self.scalars[place]
        begin, end = node.start_mark.index, node.end_mark.index
        if node.style in ("|", ">"):
            begin = self.text.index("\n", begin)
        elif node.style:
            begin, end = begin + 1, end - 1
        # Folding changes only blanks, so what is no blank stands in the same order in the file.
        seen = sum(not letter.isspace() for letter in node.value[: column - 1])
        letters = [found.start() for found in _LETTERS[node.style or ""].finditer(self.text, begin, end)]
        at = letters[min(seen, len(letters) - 1)] if letters else begin
        return self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)


# What makes one letter of a text that is no blank, by the quotes around it.
_LETTERS = {
    "": re.compile(r"\S"), "|": re.compile(r"\S"), ">": re.compile(r"\S"), "'": re.compile(r"''|\S"),
    '"': re.compile(r"(?:\\(?!\s)(?:x..|u....|U.{8}|.))|[^\s\\]"),
}  # fmt: skip


def read_yaml(name: str, content: bytes, findings: list[Finding]) -> tuple[Any, Marks] | None:
    """The document and the line of each place in it (keys and indices), or None with what is wrong added to `findings`."""
    try:
        text = content.decode("utf-8-sig")
        fault = _trick(name, text)
        if fault is not None:
            findings.append(fault)
            return None
        marks = Marks(text)
        _walk(yaml.compose(text, Loader=Loader), (), marks, name, findings)
        return load_text_yaml(text), marks
    except UnicodeDecodeError as error:
        findings.append(not_utf_8(name, content, error, "save the file as UTF-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        findings.append(
            bad(
                f"{name}:{mark.line + 1 if mark else 1}", "YAML", error.problem or "something else", "correct this line"
            )
        )
    except yaml.reader.ReaderError as error:
        line = content[: error.position].count(b"\n") + 1
        findings.append(bad(f"{name}:{line}", "text", f"the control character {error.character!r}", "remove it"))
    return None


def _trick(name: str, text: str) -> Finding | None:
    """An alias (a few lines of them unfold without end) or a nest too deep to walk, found before anything is built."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        at = f"{name}:{event.start_mark.line + 1}" if event.start_mark else name
        if isinstance(event, yaml.AliasEvent):
            return bad(at, "plain values", f"the alias *{event.anchor}", "write the value out")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            return bad(at, "plain values", f"the tag {event.tag}", "write the value without a tag")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            return bad(at, f"at most {DEPTH_MAX} levels", "more", "make the file flatter")
    return None


def _walk(node: yaml.Node | None, place: Place, marks: Marks, name: str, findings: list[Finding]) -> None:
    if node is None:
        return
    marks[place] = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        marks.scalars[place] = node
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            if inner in marks:
                findings.append(bad(f"{name}:{key.start_mark.line + 1}", "each key once", str(key.value), "remove one"))
            _walk(value, inner, marks, name, findings)
            marks[inner] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*place, index), marks, name, findings)
