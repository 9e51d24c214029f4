"""Headers and routing keys that py-amqp cannot read: the body arrives all the same, and the consumer lives."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import amqp
import pytest

from connector.channels.amqp import AmqpChannel
from connector.settings import Consumer
from connector.testing.channel_conformance import receive_all
from tests.support.servers import Broker

HEADERS_ONLY = 1 << 13


def header(value: bytes, name: bytes = b"k") -> bytes:
    pair = bytes([len(name)]) + name + value
    return struct.pack(">HI", HEADERS_ONLY, len(pair)) + pair


def long_text(value: bytes) -> bytes:
    return b"S" + struct.pack(">I", len(value)) + value


@pytest.fixture
def channel(rabbitmq: Broker) -> Iterator[AmqpChannel]:
    made = AmqpChannel(rabbitmq.url, f"{rabbitmq.prefix}-{uuid.uuid4().hex[:8]}", Consumer())
    made.declare()
    yield made
    made.close()


def send(
    broker: Broker, exchange: str, body: bytes, properties: bytes | None = None, routing_key: bytes = b"x"
) -> None:
    parts = urlsplit(broker.url)
    with amqp.Connection(
        f"{parts.hostname}:{parts.port}", userid=parts.username, password=parts.password, virtual_host=parts.path[1:]
    ) as connection:
        raw = connection.channel()
        message = amqp.Message(body)
        if properties is not None:
            message._serialize_properties = lambda: properties
        raw.basic_publish(message, exchange=exchange, routing_key=routing_key)
        raw.exchange_declare(exchange, type="topic", passive=True)  # the broker has read what was before this


@pytest.mark.parametrize(
    "properties",
    [
        header(b"T" + b"\xff" * 8),
        header(b"D\xff\x00\x00\x00\x01"),
        header(long_text(b"\xff\xfe")),
        header(long_text(b"\xed\xa0\x80")),
        header(long_text(b"a\x00b")),
        struct.pack(">H", 1 << 15) + b"\x02\xff\xfe",
        struct.pack(">H", 1 << 15) + b"\x03a\x00b",
    ],
    ids=[
        "year-far-away",
        "odd-decimal",
        "not-utf8",
        "lone-surrogate",
        "nul",
        "content-type-not-utf8",
        "content-type-nul",
    ],
)
def test_a_message_with_unreadable_properties_arrives(
    rabbitmq: Broker, channel: AmqpChannel, properties: bytes
) -> None:
    send(rabbitmq, channel.exchange, b"body", properties)

    (message,) = receive_all(channel, 1)

    assert message.body == b"body"
    assert all(value.isprintable() for value in message.headers.values())
    channel.ack([message])


def test_a_message_with_an_unreadable_routing_key_arrives(rabbitmq: Broker, channel: AmqpChannel) -> None:
    send(rabbitmq, channel.exchange, b"body", routing_key=b"\xff.\xfe")

    assert [message.body for message in receive_all(channel, 1)] == [b"body"]
