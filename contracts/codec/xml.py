"""Events as XML: the same fields under the same names, read through the same checks as JSON, and written back without loss."""

from __future__ import annotations

import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import orjson
from lxml import etree
from pydantic import BaseModel

from contracts.catalogue import CATALOGUE, upcast
from contracts.codec.json import DEPTH_MAX, EVENT_BYTES_MAX, EVENT_MODELS, parse_document
from contracts.envelope import AnyEvent, Event
from contracts.findings import Finding, Refused, limited, shown

NAMESPACE = "urn:oa-erp-connector:contracts:1"
_TAG = f"{{{NAMESPACE}}}"
_ROOT = f"{_TAG}event"
INTEGER_DIGITS_MAX = 16


def parse_xml(body: bytes) -> AnyEvent:
    """The event in this XML. Raises Refused with every finding; entities, DTDs and processing instructions are never followed."""
    root = _read(body)
    found: list[Finding] = []
    given = root.findtext(f"{_TAG}type")
    if given is None or given not in EVENT_MODELS:
        upcast({"type": given})
        raise AssertionError("a type without a model is refused")
    event = _object(root, EVENT_MODELS[given], "", found)
    if found:
        raise Refused(limited(found))
    return parse_document(orjson.dumps(event))


def to_xml(event: AnyEvent) -> bytes:
    """The event as XML in UTF-8; `parse_xml` gives an equal event back."""
    root = etree.Element(_ROOT, nsmap={None: NAMESPACE})  # type: ignore[dict-item]
    _write(root, event.model_dump(mode="json", exclude_none=True), CATALOGUE[event.type].data.__name__)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def data_element(model: str) -> str:
    """The element inside `data` that holds a model: `ExpenseReport` stands in `expense_report`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in model).lstrip("_")


def item_element(name: str) -> str:
    """The element of one entry of a list: `lines` holds `line`."""
    return name.removesuffix("s")


def _write(parent: etree._Element, value: Mapping[str, Any], data: str | None = None) -> None:
    for name, item in value.items():
        element = etree.SubElement(parent, f"{_TAG}{name}")
        if data is not None and name == "data":
            _write(etree.SubElement(element, f"{_TAG}{data_element(data)}"), item)
        elif isinstance(item, dict):
            _write(element, item)
        elif isinstance(item, list):
            for entry in item:
                child = etree.SubElement(element, f"{_TAG}{item_element(name)}")
                if isinstance(entry, dict):
                    _write(child, entry)
                else:
                    child.text = entry
        else:
            element.text = str(item).lower() if isinstance(item, bool) else str(item)


def _read(body: bytes) -> etree._Element:
    if len(body) > EVENT_BYTES_MAX:
        raise Refused(
            Finding("CON-104", "", f"at most {EVENT_BYTES_MAX} bytes", f"{len(body)} bytes", "split the document")
        )
    if not body.strip():
        raise Refused(Finding("CON-102", "", "one event as XML", "nothing", "send the event in the body"))
    if body.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in body[:4]:
        raise Refused(Finding("CON-103", "", "UTF-8", shown(body[:4]), "save the message as UTF-8"))
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise Refused(
            Finding("CON-109", "", "XML without a document type", "a DOCTYPE", "leave the DOCTYPE and all entities out")
        )
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, encoding=None
    )
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        if "depth" in str(error).lower():
            raise Refused(_too_deep()) from None
        code = "CON-103" if "encoding" in str(error).lower() or "utf-8" in str(error).lower() else "CON-101"
        raise Refused(
            Finding(code, "", "well-formed XML in UTF-8", shown(str(error)), "send well-formed XML")
        ) from None
    information: Any = root.getroottree().docinfo
    if information.doctype:
        raise Refused(
            Finding("CON-109", "", "XML without a document type", "a DOCTYPE", "leave the DOCTYPE and all entities out")
        )
    if (information.encoding or "UTF-8").upper() not in ("UTF-8", "US-ASCII", "ASCII"):
        raise Refused(Finding("CON-103", "", "UTF-8", shown(information.encoding), "send the message in UTF-8"))
    if (
        root.getprevious() is not None
        or root.getnext() is not None
        or any(not isinstance(e.tag, str) for e in root.iter())
    ):
        raise Refused(Finding("CON-109", "", "elements and text only", "a processing instruction", "leave it out"))
    if root.tag != _ROOT:
        raise Refused(
            Finding("CON-109", "", f"the element event in {NAMESPACE}", shown(root.tag), "use this namespace and root")
        )
    if _deeper_than(root, DEPTH_MAX):
        raise Refused(_too_deep())
    return root


def _too_deep() -> Finding:
    return Finding(
        "CON-105", "", f"at most {DEPTH_MAX} levels of nesting", "more", "send the event as its schema has it"
    )


def _deeper_than(root: etree._Element, limit: int) -> bool:
    level = [root]
    for _ in range(limit):
        level = [child for element in level for child in element]
        if not level:
            return False
    return True


def _object(element: etree._Element, model: type[BaseModel], path: str, found: list[Finding]) -> dict[str, Any]:
    """The element's children as a JSON object, each converted as its field wants it; what does not convert stays text."""
    if element.attrib or (element.text or "").strip() or any((child.tail or "").strip() for child in element):
        found.append(
            Finding(
                "CON-109", path, "elements only", "an attribute or loose text", "put every value into its own element"
            )
        )
    shapes = _shapes(model)
    value: dict[str, Any] = {}
    for child in element:
        name = str(child.tag).removeprefix(_TAG)
        at = f"{path}.{name}" if path else name
        if name in value:
            found.append(Finding("CON-106", at, "each element once", f"{name!r} twice", "remove one of the two"))
            continue
        if name == "data" and issubclass(model, Event):
            value[name] = _data(child, shapes[name], at, found)
        else:
            value[name] = _value(child, name, shapes.get(name, str), at, found)
    return value


def _data(element: etree._Element, model: Any, path: str, found: list[Finding]) -> dict[str, Any]:
    wanted = data_element(model.__name__)
    if len(element) != 1 or element[0].tag != f"{_TAG}{wanted}":
        found.append(
            Finding(
                "CON-130", path, f"one element {wanted}, as the type says", "another", "correct the type or the data"
            )
        )
        return {}
    return _object(element[0], model, path, found)


def _value(element: etree._Element, name: str, shape: Any, path: str, found: list[Finding]) -> Any:
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        return _object(element, shape, path, found)
    if isinstance(shape, list):
        wanted = f"{_TAG}{item_element(name)}"
        stray = next((child for child in element if child.tag != wanted), None)
        if stray is not None or element.attrib or (element.text or "").strip():
            got = "loose text or an attribute" if stray is None else shown(str(stray.tag).removeprefix(_TAG))
            found.append(
                Finding("CON-113", path, f"only elements {item_element(name)}", got, "correct the element's name")
            )
        return [
            _value(child, name, shape[0], f"{path}[{index}]", found)
            for index, child in enumerate(element)
            if child.tag == wanted
        ]
    if len(element) or element.attrib:
        found.append(Finding("CON-114", path, "text only", "elements or attributes inside", "correct the element"))
        return None
    text = element.text or ""
    if shape is int:
        digits = text.removeprefix("-")
        return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= INTEGER_DIGITS_MAX else text
    if shape is bool:
        return {"true": True, "false": False}.get(text, text)
    return text


@cache
def _shapes(model: type[BaseModel]) -> dict[str, Any]:
    """Field name -> how its text converts: a model, a list of one shape, int, bool or str."""
    return {name: shape_of(field.annotation) for name, field in model.model_fields.items()}


def shape_of(annotation: Any) -> Any:
    """A model, `[shape]` for a list of one, int, bool, or str for everything that stays text."""
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return next(shape_of(option) for option in get_args(annotation) if option is not types.NoneType)
    if origin is tuple:
        return [shape_of(get_args(annotation)[0])]
    if origin is Literal or isinstance(annotation, TypeVar):
        return str
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or annotation in (int, bool)):
        return annotation
    return str
