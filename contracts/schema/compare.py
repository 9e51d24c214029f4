"""Whether a new JSON Schema still takes everything the old one took: the rule for changing a contract within its version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]


def breaking_changes(old: Mapping[str, Schema], new: Mapping[str, Schema]) -> list[str]:
    """Every breaking change as `file: path: what`, empty when the new files accept all that the old ones accepted."""
    found: list[str] = []
    for name, schema in old.items():
        if name not in new:
            found.append(f"{name}: the type is gone")
        else:
            found.extend(
                f"{name}: {change}" for change in _compare(schema, new[name], schema, new[name], "$", frozenset())
            )
    return found


def _compare(
    old: Schema, new: Schema, old_root: Schema, new_root: Schema, path: str, seen: frozenset[tuple[str, str]]
) -> Iterator[str]:
    if "$ref" in old and "$ref" in new:  # A type that holds itself is compared once on each way down.
        pair = (old["$ref"], new["$ref"])
        if pair in seen:
            return
        seen |= {pair}
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    if "anyOf" in old or "anyOf" in new:
        yield from _compare_options(old, new, old_root, new_root, path, seen)
        return
    yield from _compare_type(old, new, path)
    yield from _compare_values(old, new, path)
    yield from _compare_limits(old, new, path)
    yield from _compare_fields(old, new, old_root, new_root, path, seen)
    for keyword in ("items", "additionalProperties"):
        before, after = old.get(keyword), new.get(keyword)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _compare(before, after, old_root, new_root, f"{path}[]", seen)
    if new.get("additionalProperties") is False and old.get("additionalProperties", True) is not False:
        yield f"{path}: unknown fields are refused now"


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema


def _compare_options(
    old: Schema, new: Schema, old_root: Schema, new_root: Schema, path: str, seen: frozenset[tuple[str, str]]
) -> Iterator[str]:
    """Every option of the old schema must fit one option of the new; where none fits, the nearest says why."""
    for before in old.get("anyOf", [old]):
        reasons = [list(_compare(before, after, old_root, new_root, path, seen)) for after in new.get("anyOf", [new])]
        if not any(not reason for reason in reasons):
            yield from min(reasons, key=len)


def _compare_type(old: Schema, new: Schema, path: str) -> Iterator[str]:
    before, after = _types(old), _types(new)
    if after and not before <= after and not (before == {"integer"} and "number" in after):
        yield f"{path}: was {' or '.join(sorted(before)) or 'anything'}, is {' or '.join(sorted(after))}"


def _types(schema: Schema) -> set[str]:
    kind = schema.get("type")
    return set(kind) if isinstance(kind, list) else set() if kind is None else {kind}


def _compare_values(old: Schema, new: Schema, path: str) -> Iterator[str]:
    after = _values(new)
    if after is not None:
        before = _values(old)
        if before is None:
            yield f"{path}: only some values are allowed now"
        else:
            yield from (f"{path}: the value {value!r} is gone" for value in before if value not in after)
    for keyword in ("pattern", "format"):
        if keyword in new and old.get(keyword) != new[keyword]:
            yield f"{path}: another {keyword}, {new[keyword]!r}"


def _values(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values: list[Any] | None = schema.get("enum")
    return values


def _compare_limits(old: Schema, new: Schema, path: str) -> Iterator[str]:
    for keyword in ("maxLength", "maxItems", "maxProperties", "maximum"):
        if keyword in new and (keyword not in old or new[keyword] < old[keyword]):
            yield f"{path}: {keyword} fell from {old.get(keyword, 'none')} to {new[keyword]}"
    for keyword in ("minLength", "minItems", "minProperties", "minimum"):
        if keyword in new and (keyword not in old or new[keyword] > old[keyword]):
            yield f"{path}: {keyword} rose from {old.get(keyword, 'none')} to {new[keyword]}"


def _compare_fields(
    old: Schema, new: Schema, old_root: Schema, new_root: Schema, path: str, seen: frozenset[tuple[str, str]]
) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name, schema in before.items():
        if name not in after:
            yield f"{path}.{name}: the field is gone (or has another name)"
        else:
            yield from _compare(schema, after[name], old_root, new_root, f"{path}.{name}", seen)
    for name in new.get("required", []):
        if name not in old.get("required", []):
            yield f"{path}.{name}: {'is required now' if name in before else 'a new field is required'}"
