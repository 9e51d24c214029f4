"""The catalogue of error codes: what each means, how it is mended, whether the connector tries again, and who acts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Literal, cast

import yaml

FAMILIES = ("con", "map", "acc", "erp", "oa", "syn", "sec", "cfg", "ops")
Who = Literal["oa", "consultant", "operator", "it"]


@dataclass(frozen=True, slots=True)
class Code:
    """One error code. `retried`: the connector tries again by itself. `who` acts: the OA's people, the consultant, the operator, IT."""

    name: str
    title_en: str
    title_zh: str
    meaning_en: str
    meaning_zh: str
    fix_en: str
    fix_zh: str
    retried: bool
    who: Who


def code(name: str) -> Code:
    """The code of that name, like `MAP-201`. An unknown name is a mistake of our own code: KeyError."""
    return all_codes()[name]


@cache
def all_codes() -> dict[str, Code]:
    """Every code, by name, in the order of the families."""
    return {
        found.name: found
        for family in FAMILIES
        for found in read_family(family, (files(__name__) / f"{family}.yaml").read_text("utf-8"))
    }


def read_family(family: str, text: str) -> list[Code]:
    """The codes in one file's text. Raises ValueError for a doubled, unknown or missing field and for a code of another family."""
    document = yaml.load(text, Loader=_Strings)  # noqa: S506 - a SafeLoader whose scalars all stay text
    if not isinstance(document, dict):
        raise ValueError(f"{family}.yaml: a mapping of codes is expected")
    return [_code(family, str(name), entry) for name, entry in document.items()]


def _code(family: str, name: str, entry: object) -> Code:
    if not name.startswith(f"{family.upper()}-") or not name[len(family) + 1 :].isdigit():
        raise ValueError(f"{family}.yaml: {name} is not a code of this family")
    wanted = {field.name for field in fields(Code)} - {"name"}
    if not isinstance(entry, dict) or set(entry) != wanted or not all(isinstance(v, str) and v for v in entry.values()):
        raise ValueError(f"{family}.yaml: {name} needs exactly {', '.join(sorted(wanted))}, each with a text")
    retried, who = entry["retried"], entry["who"]
    if retried not in ("yes", "no") or who not in ("oa", "consultant", "operator", "it"):
        raise ValueError(f"{family}.yaml: {name}: retried is yes or no; who is oa, consultant, operator or it")
    texts = {field: entry[field] for field in wanted if field not in ("retried", "who")}
    return Code(name=name, retried=retried == "yes", who=cast(Who, who), **texts)


class _Strings(yaml.SafeLoader):
    """YAML in which every scalar is text (`no` and `0123` stay what they are), anchors are refused and keys come once."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("aliases are not used here")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        keys = [key.value for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise ValueError(f"a key stands twice near line {node.start_mark.line + 1}")
        return cast(dict[object, object], super().construct_mapping(node, deep=deep))


_Strings.yaml_implicit_resolvers = {}
