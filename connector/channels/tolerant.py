"""py-amqp, made to survive headers and routing keys it cannot read: one such message would end every consumer, for ever."""

from __future__ import annotations

import struct
from typing import Any

from amqp import serialization, spec
from amqp.exceptions import FrameSyntaxError
from kombu.transport import pyamqp

UNREADABLE = "x-unreadable"
_UNREADABLE = (ValueError, LookupError, OverflowError, OSError, RecursionError, struct.error, FrameSyntaxError)


def _read_properties(buffer: Any, offset: int) -> tuple[dict[str, Any], int]:
    """What a message says about itself, or only that it cannot be read: its body still can."""
    try:
        read: tuple[dict[str, Any], int] = serialization.decode_properties_basic(buffer, offset)
    except _UNREADABLE:
        return {"application_headers": {UNREADABLE: "true"}}, len(buffer)
    return read


# The one place py-amqp looks for it. Readable messages are read as before.
_READERS: dict[int, Any] = serialization.PROPERTY_CLASSES
_READERS[spec.Basic.CLASS_ID] = _read_properties


class Channel(pyamqp.Channel):
    """Kombu's channel, which takes a message whatever bytes its routing key is made of."""

    def dispatch_method(self, method_sig: Any, payload: Any, content: Any) -> Any:
        """Hands on what arrived."""
        try:
            return super().dispatch_method(method_sig, payload, content)
        except UnicodeDecodeError:
            if method_sig != spec.Basic.Deliver:
                raise
            return super().dispatch_method(method_sig, legible(bytes(payload)), content)


class Connection(pyamqp.Connection):
    """Makes such channels."""

    Channel = Channel


class Transport(pyamqp.Transport):
    """Kombu's transport on such connections."""

    Connection = Connection


class TlsTransport(pyamqp.SSLTransport):
    """The same over TLS."""

    Connection = Connection


def legible(payload: bytes) -> bytes:
    """The arguments of a delivery (consumer, tag, redelivered, exchange, routing key) with every byte of the routing key
    that is not ASCII replaced."""
    head = 4  # class and method
    routing_key = head + 1 + payload[head] + 8 + 1
    routing_key += 1 + payload[routing_key]
    text = payload[routing_key + 1 :]
    return payload[: routing_key + 1] + bytes(byte if byte < 128 else ord("?") for byte in text)
