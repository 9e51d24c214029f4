"""Crafted messages against a running worker: parked with their bytes, same process, and good work goes on."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import amqp
import pytest
import redis
from pydantic import SecretStr

from connector.bootstrap import open_channel
from connector.channels import Message
from connector.channels.signature import KEY_ID, sign
from connector.settings import Security, Settings
from tests.acceptance.system import System
from tests.integration.process.world import report
from tests.integration.workers.crafted import EVENTS, RAW_REDIS, TASKS, UNREADABLE_PROPERTIES, redis_envelope
from tests.support.servers import Broker
from tests.support.wait import until

KEY = SecretStr("k1:" + base64.b64encode(b"a key of thirty-two bytes length!").decode())
WRONG = SecretStr("k1:" + base64.b64encode(b"another key of the same length!!!").decode())

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=["rabbitmq", "redis_server"])
def broker(request: pytest.FixtureRequest) -> Broker:
    found: Broker = request.getfixturevalue(request.param)
    return Broker(found.url, f"{found.prefix}bad")


@pytest.fixture
def system(broker: Broker, fresh_postgres_url: Callable[[], str], tmp_path: Path) -> Iterator[System]:
    env = {
        "OAERP_LEDGER_URL": fresh_postgres_url(),
        "OAERP_BROKER_URL": broker.url,
        "OAERP_PREFIX": broker.prefix,
        "OAERP_SECURITY__SIGNING_KEYS": json.dumps([KEY.get_secret_value()]),
        "OAERP_LOG_LEVEL": "ERROR",
    }
    made = System(env, tmp_path)
    yield made
    made.close()


def settings(broker: Broker) -> Settings:
    return Settings(broker_url=broker.url, prefix=broker.prefix, security=Security(signing_keys=(KEY,)))


def send_event(broker: Broker, *messages: Message) -> None:
    channel = open_channel(settings(broker))
    channel.publish(messages)
    channel.close()


def good(number: str) -> Message:
    body = json.dumps(report(number), ensure_ascii=False).encode()
    return Message(body, {"type": "expense.report.approved.v1", **sign(body, number, (KEY,))})


def send_raw(broker: Broker) -> int:
    """Sends everything crafted past our own publisher; gives how many must end as dead letters."""
    queue = f"{broker.prefix}.tasks"
    if broker.url.startswith("redis"):
        client = redis.Redis.from_url(broker.url)
        for entry in [*RAW_REDIS, *(redis_envelope(message, queue) for message in TASKS)]:
            client.lpush(f"{broker.prefix}:{queue}", entry)
        for body in EVENTS:
            client.xadd(f"{broker.prefix}:events", {"body": body})
        client.xadd(f"{broker.prefix}:events", {"nothing": "here"})
        client.close()
        return len(RAW_REDIS) + len(TASKS) + len(EVENTS) + 1
    parts = urlsplit(broker.url)
    with amqp.Connection(
        f"{parts.hostname}:{parts.port}", userid=parts.username, password=parts.password, virtual_host=parts.path[1:]
    ) as connection:
        channel = connection.channel()
        for message in TASKS:
            raw = amqp.Message(
                message.body,
                content_type=message.content_type,
                content_encoding=message.content_encoding,
                application_headers=message.all_headers(),
            )
            channel.basic_publish(raw, exchange="", routing_key=queue)
        for exchange, routing_key in (("", queue), (f"{broker.prefix}.events", "any")):
            raw = amqp.Message(b"a date that no clock shows")
            raw._serialize_properties = lambda: UNREADABLE_PROPERTIES
            channel.basic_publish(raw, exchange=exchange, routing_key=routing_key)
        for body in EVENTS:
            channel.basic_publish(amqp.Message(body), exchange=f"{broker.prefix}.events", routing_key="any")
        odd = amqp.Message(
            b"{}", content_encoding="utf-99", application_headers={"compression": "zip", "x": [1, {"y": 2}]}
        )
        channel.basic_publish(odd, exchange=f"{broker.prefix}.events", routing_key="any")
    return len(TASKS) + len(EVENTS) + 3


def posted_or_planned(system: System, number: str) -> bool:
    return system.count("SELECT count(*) FROM documents WHERE number = :number", number=number) == 1


def test_crafted_messages_are_parked_and_the_worker_lives(system: System, broker: Broker) -> None:
    worker = system.start("worker")
    send_event(broker, good("BEFORE-1"))
    until(lambda: posted_or_planned(system, "BEFORE-1"), 120, system.logs)

    crafted = send_raw(broker)
    send_event(broker, good("AFTER-1"))

    until(
        lambda: system.count("SELECT count(*) FROM dead_letters") >= crafted,
        120,
        lambda: f"{system.rows('SELECT message, substr(body, 1, 60) FROM dead_letters')} of {crafted} {system.logs()}",
    )
    until(lambda: posted_or_planned(system, "AFTER-1"), 120, system.logs)
    assert system.count("SELECT count(*) FROM dead_letters") == crafted
    assert worker.poll() is None
    kept = [bytes(row[0]) for row in system.rows("SELECT body FROM dead_letters")]
    assert all(
        any(message.body in body for body in kept) for message in TASKS if len(message.body) < 100_000 and message.body
    )


def test_forged_unsigned_and_expired_events_are_parked_and_a_replayed_one_has_one_effect(
    system: System, broker: Broker
) -> None:
    worker = system.start("worker")
    body = json.dumps(report("FORGED-1"), ensure_ascii=False).encode()
    genuine = good("GENUINE-1")
    changed = Message(genuine.body.replace(b"100.00", b"900.00"), genuine.headers)
    messages = {
        "SEC-601": Message(body, {"type": "t"}),
        "SEC-602": Message(body, {"type": "t", **sign(body, "x", (WRONG,))}),
        "SEC-603": Message(body, {"type": "t", **sign(body, "x", (KEY,), now_s=1_000_000_000)}),
        "SEC-604": Message(body, {"type": "t", **sign(body, "x", (KEY,)), KEY_ID: "k9"}),
    }

    send_event(broker, *messages.values(), changed, genuine, genuine, genuine)

    until(lambda: posted_or_planned(system, "GENUINE-1"), 120, system.logs)
    until(
        lambda: system.count("SELECT count(*) FROM dead_letters") == 5,
        120,
        lambda: f"{system.rows('SELECT message FROM dead_letters')} {system.logs()}",
    )
    codes = sorted(row[0] for row in system.rows("SELECT code FROM dead_letters"))
    assert codes == sorted([*messages, "SEC-602"])
    assert system.count("SELECT count(*) FROM inbox") == 1
    assert not posted_or_planned(system, "FORGED-1")
    assert worker.poll() is None
