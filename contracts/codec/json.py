"""Events as JSON: one strict pass from bytes to a checked event, and all findings when there are any. The hot path."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args

import orjson
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, create_model

from contracts.catalogue import CATALOGUE, upcast
from contracts.envelope import AnyEvent, Event, utc
from contracts.expense import LINES_MAX, Line, line_findings
from contracts.fields import Data
from contracts.findings import Finding, Refused, limited, path_of, refused, shown

EVENT_BYTES_MAX = (
    256 * 1024
)  # A report of 500 lines with invoices fits; what does not is a bomb or belongs in an attachment.
DEPTH_MAX = 32
FAULTS_MAX = 5_000

DataT = TypeVar("DataT", bound=Data)


class _EventModels(Mapping[str, type[AnyEvent]]):
    """Type of an event -> its model, made when it is first asked for: a command that reads one event pays for one."""

    def __init__(self) -> None:
        self._of_data: dict[type[Data], type[AnyEvent]] = {}
        self._lock = threading.Lock()

    def __getitem__(self, type: str) -> type[AnyEvent]:
        data = CATALOGUE[type].data
        model = self._of_data.get(data)
        if model is None:
            with self._lock:
                model = self._of_data.get(data) or _event_model(data)
                self._of_data[data] = model
        return model

    def __iter__(self) -> Iterator[str]:
        return iter(CATALOGUE)

    def __len__(self) -> int:
        return len(CATALOGUE)


def _event_model(data: type[Data]) -> type[AnyEvent]:
    names = tuple(entry.type for entry in CATALOGUE.values() if entry.data is data)
    made = create_model(
        f"{data.__name__}Event",
        __base__=Event,
        data=(data, ...),
        type=(cast(Any, Literal[names]), ...),
    )
    made.model_rebuild()
    return cast(type[AnyEvent], made)


EVENT_MODELS: Mapping[str, type[AnyEvent]] = _EventModels()


@cache
def _every_event() -> Callable[[bytes], AnyEvent]:
    """Reads any event in one pass; built once, by a process that reads many."""
    models = tuple(dict.fromkeys(EVENT_MODELS.values()))
    adapter: TypeAdapter[AnyEvent] = TypeAdapter(cast(Any, Annotated[Union[models], Field(discriminator="type")]))  # noqa: UP007
    return cast(Callable[[bytes], AnyEvent], adapter.validator.validate_json)


def parse_document(body: bytes) -> AnyEvent:
    """The same as `parse_event`, for a process that reads a few: only the model of this event's type is built."""
    given = _stated_type(body)
    if given in CATALOGUE:
        try:
            return _counted(EVENT_MODELS[given].model_validate_json(body), body)
        except ValidationError:
            pass  # what is wrong is said by the one that reads any event
    return parse_event(body)


def _stated_type(body: bytes) -> str:
    if len(body) > EVENT_BYTES_MAX:
        return ""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    given = document.get("type") if isinstance(document, dict) else None
    return given if isinstance(given, str) else ""


def parse_event(body: bytes) -> AnyEvent:
    """The event in these bytes. Raises Refused with every finding: nothing is converted, guessed or dropped on the way."""
    if len(body) > EVENT_BYTES_MAX:
        raise Refused(
            Finding(
                "CON-104",
                "",
                f"at most {EVENT_BYTES_MAX} bytes",
                f"{len(body)} bytes",
                "send files by their hash; split the document",
            )
        )
    try:
        event = _every_event()(body)
    except ValidationError as error:
        return _explain(body, error)
    return _counted(event, body)


def _counted(event: AnyEvent, body: bytes) -> AnyEvent:
    # JSON parsers keep the last of two equal keys in silence, so keys are counted. Without blanks every key ends in `":`, and so
    # may an escaped quote inside a text: the bytes never count too few. As many as there are fields set: no key came twice.
    if body.translate(None, b" \t\r\n").count(b'":') != key_count(event):
        _load(body)
    return event


def to_json(event: AnyEvent) -> bytes:
    """The event's wire bytes, absent fields left out; `parse_event` gives an equal event back."""
    return event.model_dump_json(exclude_none=True).encode()


def new_event(
    type: str, data: DataT, *, id: str, time: datetime, system: str, adapter: str, traceparent: str | None = None
) -> Event[DataT]:
    """A new event around data that is already built; subject, sequence, partition key and source follow from it.

    Raises Refused where the type is not in the catalogue or its data is of another kind.
    """
    model = EVENT_MODELS.get(type)
    if model is None:
        upcast({"type": type})
    entry = CATALOGUE[type]
    assert model is not None
    if not isinstance(data, entry.data):
        raise Refused(
            Finding("CON-110", "type", f"a type whose data is {data.__class__.__name__}", type, "correct the type")
        )
    try:
        return cast(
            Event[DataT],
            model(
                id=id,
                source=f"/{system}/{adapter}/{data.company}",
                type=type,
                subject=data.subject,
                time=utc(time),
                sequence=str(data.version),
                partitionkey=f"{data.company}/{data.subject}",
                data=data,
                traceparent=traceparent,
            ),
        )
    except ValidationError as error:
        raise refused(error) from None


def key_count(model: BaseModel) -> int:
    """How many keys the JSON had that became this model; with unknown fields refused, each set field was one."""
    count = len(model.__pydantic_fields_set__)
    nested = _NESTED[model.__class__]
    if nested:
        fields = model.__dict__
        for name in nested:
            value = fields[name]
            if value.__class__ is tuple:
                for item in value:
                    count += key_count(item)
            elif value is not None:
                count += key_count(value)
    return count


class _Nested(dict[type[BaseModel], tuple[str, ...]]):
    """The fields of a model that hold other models, worked out once for each model."""

    def __missing__(self, model: type[BaseModel]) -> tuple[str, ...]:
        names = tuple(name for name, field in model.model_fields.items() if _holds_model(field.annotation))
        self[model] = names
        return names


_NESTED = _Nested()


def _holds_model(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return isinstance(annotation, TypeVar) or any(map(_holds_model, get_args(annotation)))


# --- The slow path: the message is wrong (or of an older version), so time is spent on saying exactly how. ---


def _explain(body: bytes, error: ValidationError) -> AnyEvent:
    document = _load(body)
    if not isinstance(document, dict):
        raise Refused(
            Finding("CON-114", "", "a JSON object, the event", shown(document), "send one CloudEvent as a JSON object")
        ) from None
    current = upcast(document)
    if current is not document:
        return parse_event(json.dumps(current, ensure_ascii=False).encode())
    if error.error_count() > FAULTS_MAX:  # A bomb: telling all of it would cost more than the message is worth.
        raise Refused(_too_many(document, error.error_count())) from None
    found = list(refused(error, skip=1).findings)
    found.extend(_more_findings(document, found))
    raise Refused(limited(found)) from None


def _more_findings(document: dict[str, Any], found: list[Finding]) -> Iterator[Finding]:
    """What else is wrong with the lines that are well-formed: the checks of the whole report ran only if all of it was."""
    data = document.get("data")
    if not isinstance(data, dict) or not str(document["type"]).startswith("expense.report."):
        return
    lines, currency = data.get("lines"), data.get("currency")
    if not isinstance(lines, list) or not isinstance(currency, str) or not any(f.path for f in found):
        return
    if not any(finding.code in _STRUCTURAL for finding in found):
        return
    for index, raw in enumerate(lines[:LINES_MAX]):
        try:
            line = Line.model_validate_json(json.dumps(raw))
        except ValidationError:
            continue
        for finding in line_findings(line, currency):
            yield Finding(
                finding.code, f"data.lines[{index}].{finding.path}", finding.expected, finding.got, finding.fix
            )


def _too_many(document: dict[str, Any], faults: int) -> list[Finding]:
    data = document.get("data")
    lines = data.get("lines") if isinstance(data, dict) else None
    found = [
        Finding("CON-118", "", f"at most {FAULTS_MAX} faults", f"{faults} faults", "look at how the message is made")
    ]
    if isinstance(lines, list) and len(lines) > LINES_MAX:
        found.append(
            Finding("CON-118", "data.lines", f"at most {LINES_MAX} lines", f"{len(lines)} lines", "split the document")
        )
    return found


_STRUCTURAL = {f"CON-{number}" for number in (*range(112, 121), 123, 124)}


def _load(body: bytes) -> Any:
    """The JSON value, read slowly and strictly. Raises Refused for everything that is not plain, unambiguous JSON in UTF-8."""
    if not body.strip(b" \t\r\n"):
        raise Refused(Finding("CON-102", "", "one event as a JSON object", "nothing", "send the event in the body"))
    text = _utf8(body)
    depth = _depth(text)
    if depth > DEPTH_MAX:
        raise Refused(
            Finding(
                "CON-105",
                "",
                f"at most {DEPTH_MAX} levels of nesting",
                f"{depth} levels",
                "send the event as its schema has it",
            )
        )
    doubled: list[str] = []
    try:
        value = json.loads(
            text, object_pairs_hook=_pairs(doubled), parse_constant=_constant, parse_int=_integer, parse_float=_number
        )
    except json.JSONDecodeError as error:
        raise Refused(
            Finding(
                "CON-101",
                "",
                f"JSON; {error.msg}",
                f"at line {error.lineno}, column {error.colno}",
                "send well-formed JSON",
            )
        ) from None
    if doubled:
        raise Refused(
            Finding("CON-106", path_of([key]), "each key once in an object", f"{key!r} twice", "remove one of the two")
            for key in dict.fromkeys(doubled)
        )
    lone = _SURROGATE.search(text)
    if lone is not None and _has_surrogate(value):
        raise Refused(
            Finding(
                "CON-117",
                "",
                "text in Unicode",
                "half of a surrogate pair",
                "send characters beyond U+FFFF as a pair or as UTF-8",
            )
        )
    return value


def _utf8(body: bytes) -> str:
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"\x00" in body[:4]:
        raise Refused(
            Finding(
                "CON-103", "", "UTF-8 without a byte order mark", shown(body[:4]), "save the message as plain UTF-8"
            )
        )
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Refused(
            Finding(
                "CON-103",
                "",
                "UTF-8",
                f"byte 0x{body[error.start]:02x} at {error.start}",
                "send the message in UTF-8, not GBK or Latin-1",
            )
        ) from None


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS = re.compile(r"[\[{]|[\]}]")


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _pairs(doubled: list[str]) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(items)
        if len(value) != len(items):
            seen: set[str] = set()
            doubled.extend(key for key, _ in items if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return value

    return pairs


def _constant(name: str) -> Any:
    raise Refused(
        Finding("CON-107", "", "a JSON number", name, "JSON has no such number; leave the field out or send text")
    )


def _integer(digits: str) -> int:
    if len(digits) > 18:
        raise Refused(
            Finding("CON-107", "", "a whole number below 2^53", shown(digits), "send long numbers as JSON strings")
        )
    return int(digits)


def _number(digits: str) -> str:
    """A number with a point or exponent has no place in our events; as text it is quoted in the finding, not rounded."""
    return digits


def _has_surrogate(value: object) -> bool:
    if isinstance(value, str):
        return any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return any(_has_surrogate(key) or _has_surrogate(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_has_surrogate, value))
