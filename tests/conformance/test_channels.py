"""Every channel keeps what the conformance suite asks, on real brokers."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from connector.channels import Channel
from connector.channels.amqp import AmqpChannel
from connector.channels.redis import RedisChannel
from connector.settings import Consumer
from connector.testing.channel_conformance import ChannelConformance
from tests.support.servers import Broker


def _fresh(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


class TestMemory(ChannelConformance):
    @pytest.fixture
    def make(self) -> Callable[[], Channel]:
        prefix = _fresh("memory")
        return lambda: AmqpChannel("memory://", prefix, Consumer())


class TestRabbitMq(ChannelConformance):
    @pytest.fixture
    def make(self, rabbitmq: Broker) -> Callable[[], Channel]:
        prefix = _fresh(rabbitmq.prefix)
        return lambda: AmqpChannel(rabbitmq.url, prefix, Consumer())


class TestRedis(ChannelConformance):
    @pytest.fixture
    def make(self, redis_server: Broker) -> Callable[[], Channel]:
        prefix = _fresh(redis_server.prefix)
        return lambda: RedisChannel(redis_server.url, prefix, Consumer(), abandoned_ms=2_000)
