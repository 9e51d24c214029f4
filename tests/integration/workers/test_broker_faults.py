"""The broker is wiped, loses its connections without a word, or its clients are killed: everything still arrives."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import amqp
import pytest
import redis

from tests.acceptance.system import System
from tests.integration.process.world import report
from tests.support.proxy import Proxy
from tests.support.servers import Broker
from tests.support.wait import until

EVENTS = 500
DEADLINE_S = 300
NOTICED_S = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * DEADLINE_S)]


@pytest.fixture(params=["rabbitmq", "redis_server"])
def broker(request: pytest.FixtureRequest) -> Broker:
    found: Broker = request.getfixturevalue(request.param)
    return Broker(found.url, f"{found.prefix}{request.node.name[5:12].replace('_', '')}")


@pytest.fixture
def proxy(broker: Broker) -> Iterator[Proxy]:
    parts = urlsplit(broker.url)
    assert parts.hostname is not None
    with Proxy(parts.hostname, parts.port or 5672) as made:
        yield made


@pytest.fixture
def make(fresh_postgres_url: Callable[[], str], tmp_path: Path) -> Iterator[Callable[[str, str], System]]:
    made: list[System] = []

    def start(url: str, prefix: str) -> System:
        erp = [{"adapter": "file", "company": "C01", "options": {"path": str(tmp_path / "erp")}}]
        env = {
            "OAERP_LEDGER_URL": fresh_postgres_url(),
            "OAERP_BROKER_URL": url,
            "OAERP_PREFIX": prefix,
            "OAERP_ERP": json.dumps(erp),
            "OAERP_OUTBOX__RESEND_AFTER_S": "2",
            "OAERP_DELIVERY__TICK_S": "1",
            "OAERP_LOG_LEVEL": "ERROR",
        }
        system = System(env, tmp_path)
        made.append(system)
        return system

    yield start
    for system in made:
        system.close()


def bodies(first: int, count: int) -> list[bytes]:
    return [json.dumps(report(f"F-{n:05d}"), ensure_ascii=False).encode() for n in range(first, first + count)]


def posted(system: System) -> int:
    return system.count("SELECT count(*) FROM postings WHERE state = 'POSTED'")


def wipe(broker: Broker) -> None:
    """Deletes every queue, exchange and key of ours, whatever is in them."""
    if broker.url.startswith("redis"):
        client = redis.Redis.from_url(broker.url)
        for key in client.scan_iter(f"{broker.prefix}*", count=1000):
            client.delete(key)
        client.close()
        return
    parts = urlsplit(broker.url)
    with amqp.Connection(
        f"{parts.hostname}:{parts.port}", userid=parts.username, password=parts.password, virtual_host=parts.path[1:]
    ) as connection:
        for name in ("events", "dead", "tasks"):
            channel = connection.channel()
            channel.queue_delete(f"{broker.prefix}.{name}")
            channel.exchange_delete(f"{broker.prefix}.{name}")


def test_a_wiped_broker_loses_nothing(make: Callable[[str, str], System], broker: Broker) -> None:
    system = make(broker.url, broker.prefix)
    relay = system.start("relay")
    beat = system.start("beat")
    system.accept(bodies(0, EVENTS))
    sent = "SELECT count(*) FROM outbox WHERE sends > 0"
    until(lambda: system.count(sent) == EVENTS, DEADLINE_S, system.logs)  # all are on the broker, and nowhere read

    wipe(broker)
    worker = system.start("worker")
    system.accept(bodies(EVENTS, EVENTS))
    until(lambda: posted(system) >= EVENTS // 2, DEADLINE_S, system.logs)
    wipe(broker)

    until(lambda: posted(system) == 2 * EVENTS and system.quiet(), DEADLINE_S, system.logs, 0.2)
    assert [child.poll() for child in (relay, beat, worker)] == [None, None, None]


def test_a_half_open_connection_is_noticed_within_a_minute(
    make: Callable[[str, str], System], broker: Broker, proxy: Proxy
) -> None:
    parts = urlsplit(broker.url)
    through = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{proxy.port}")).geturl()
    system = make(through, broker.prefix)
    children = [system.start(name) for name in ("worker", "relay", "beat")]
    system.accept(bodies(0, 5))
    usual_s = until(lambda: posted(system) == 5, DEADLINE_S, system.logs)

    proxy.lose()
    system.accept(bodies(5, 5))

    # A slow machine has as much longer as it took to begin with.
    seconds = until(lambda: posted(system) == 10, NOTICED_S + 3 * usual_s, system.logs)
    print(f"{urlsplit(broker.url).scheme}: work resumed {seconds:.1f} s after the connections were lost")
    assert [child.poll() for child in children] == [None, None, None]


def test_a_relay_killed_in_the_middle_loses_nothing_and_two_at_once_double_nothing(
    make: Callable[[str, str], System], broker: Broker
) -> None:
    system = make(broker.url, broker.prefix)
    system.accept(bodies(0, 2 * EVENTS))
    first = system.start("relay")
    for name in ("relay", "worker", "beat"):
        system.start(name)
    until(lambda: system.count("SELECT count(*) FROM inbox") > 100, DEADLINE_S, system.logs)

    system.kill(first)

    until(lambda: posted(system) == 2 * EVENTS and system.quiet(), DEADLINE_S, system.logs, 0.2)
    assert system.count("SELECT count(*) FROM inbox WHERE outcome <> 'applied'") == 0


def test_a_worker_asked_to_end_under_load_ends_soon_and_hands_back_the_rest(
    make: Callable[[str, str], System], broker: Broker
) -> None:
    system = make(broker.url, broker.prefix)
    system.accept(bodies(0, 2 * EVENTS))
    system.start("relay")
    system.start("beat")
    first = system.start("worker")
    until(lambda: system.count("SELECT count(*) FROM inbox") > 50, DEADLINE_S, system.logs)

    first.send_signal(signal.SIGTERM)

    until(lambda: first.poll() is not None, 60, system.logs)
    assert first.returncode == 0
    system.start("worker")
    until(lambda: posted(system) == 2 * EVENTS and system.quiet(), DEADLINE_S, system.logs, 0.2)


def test_a_worker_killed_under_load_loses_and_doubles_nothing(
    make: Callable[[str, str], System], broker: Broker
) -> None:
    system = make(broker.url, broker.prefix)
    system.env["OAERP_DELIVERY__LEASE_S"] = "5"
    system.env["OAERP_DELIVERY__SETTLE_S"] = "1"
    system.accept(bodies(0, 2 * EVENTS))
    system.start("relay")
    system.start("beat")
    first = system.start("worker")
    until(lambda: posted(system) > 20, DEADLINE_S, system.logs)

    system.kill(first)
    system.start("worker")

    until(lambda: posted(system) == 2 * EVENTS and system.quiet(), DEADLINE_S, system.logs, 0.2)
    assert system.count("SELECT count(DISTINCT erp_number) FROM postings") == 2 * EVENTS
