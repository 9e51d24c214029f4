"""Bytes in, a checked event out, and back again, in JSON and in XML. Every door reads its messages through here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.codec.json import DEPTH_MAX, EVENT_BYTES_MAX, new_event, parse_document, parse_event, to_json
from contracts.envelope import AnyEvent
from contracts.findings import Finding, Refused, shown

__all__ = ["DEPTH_MAX", "EVENT_BYTES_MAX", "new_event", "parse", "parse_event", "parse_xml", "to_json", "to_xml"]


def parse_xml(body: bytes) -> AnyEvent:
    """The event in this XML. Raises Refused with every finding; entities, DTDs and processing instructions are never followed."""
    from contracts.codec.xml import parse_xml as read  # lxml is only loaded where there is XML

    return read(body)


def to_xml(event: AnyEvent) -> bytes:
    """The event as XML in UTF-8; `parse_xml` gives an equal event back."""
    from contracts.codec.xml import to_xml as write

    return write(event)


_PARSERS: Mapping[str, Any] = {
    "application/cloudevents+json": parse_document,
    "application/json": parse_document,
    "application/xml": parse_xml,
    "text/xml": parse_xml,
}


def parse(body: bytes, content_type: str | None) -> AnyEvent:
    """The event in a body of that media type; none given means JSON. Raises Refused with all findings (CON-108 for other types)."""
    kind, _, parameters = (content_type or "application/json").partition(";")
    parser = _PARSERS.get(kind.strip().lower())
    if parser is None:
        raise Refused(
            Finding(
                "CON-108",
                "",
                f"one of {', '.join(_PARSERS)}",
                shown(content_type),
                "send JSON or XML and say so in Content-Type",
            )
        )
    charset = parameters.lower().partition("charset=")[2].split(";")[0].strip(' "')
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise Refused(Finding("CON-103", "", "UTF-8", shown(charset), "send the message in UTF-8"))
    event: AnyEvent = parser(body)
    return event
