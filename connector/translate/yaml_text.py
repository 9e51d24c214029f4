"""YAML read with care: every scalar is text, each place has its line, and aliases, doubled keys and deep nests are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from connector.text_yaml import Loader, load_text_yaml
from connector.translate.tables import bad
from contracts.findings import Finding

DEPTH_MAX = 20
Place = tuple[str | int, ...]


def read_yaml(name: str, content: bytes, findings: list[Finding]) -> tuple[Any, Mapping[Place, int]] | None:
    """The document and the line of each place in it (keys and indices), or None with what is wrong added to `findings`."""
    try:
        text = content.decode("utf-8-sig")
        fault = _trick(name, text)
        if fault is not None:
            findings.append(fault)
            return None
        marks: dict[Place, int] = {}
        _walk(yaml.compose(text, Loader=Loader), (), marks, name, findings)
        return load_text_yaml(text), marks
    except UnicodeDecodeError as error:
        findings.append(bad(name, "UTF-8 text", f"a byte at {error.start} that is not", "save the file as UTF-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        findings.append(
            bad(
                f"{name}:{mark.line + 1 if mark else 1}", "YAML", error.problem or "something else", "correct this line"
            )
        )
    except yaml.YAMLError as error:
        findings.append(bad(name, "YAML", str(error), "correct the file"))
    return None


def _trick(name: str, text: str) -> Finding | None:
    """An alias (a few lines of them unfold without end) or a nest too deep to walk, found before anything is built."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        at = f"{name}:{event.start_mark.line + 1}" if event.start_mark else name
        if isinstance(event, yaml.AliasEvent):
            return bad(at, "plain values", f"the alias *{event.anchor}", "write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            return bad(at, f"at most {DEPTH_MAX} levels", "more", "make the file flatter")
    return None


def _walk(node: yaml.Node | None, place: Place, marks: dict[Place, int], name: str, findings: list[Finding]) -> None:
    if node is None:
        return
    marks[place] = node.start_mark.line + 1
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
