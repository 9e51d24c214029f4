"""The doctor beside real servers: what is unsafe there is refused, what is away is told, what is safe passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.commands import Terminal, lines
from tests.support.servers import Broker


def check(terminal: Terminal, name: str) -> tuple[int, str, str]:
    """The exit code, the state of the check of this name, and its code."""
    ran = terminal.type("doctor", "--json")
    found = [row for row in lines(ran.stdout) if row["name"] == name]
    assert found, ran.stdout + ran.stderr
    return ran.returncode, found[-1]["state"], found[-1]["code"]


def test_postgresql_with_our_tables_passes(fresh_postgres_url: Callable[[], str], tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, {"OAERP_LEDGER_URL": fresh_postgres_url()})

    assert check(terminal, "ledger tables") == (1, "failed", "CFG-701")
    assert terminal.type("trace", "EXP-1").returncode == 3
    assert terminal.type("db", "upgrade").returncode == 0
    assert check(terminal, "ledger tables") == (0, "ok", "")


def test_postgresql_that_forgets_what_it_committed_is_refused(
    fresh_postgres_url: Callable[[], str], tmp_path: Path
) -> None:
    url = fresh_postgres_url()
    terminal = Terminal(tmp_path, {"OAERP_LEDGER_URL": url})
    assert terminal.type("db", "upgrade").returncode == 0
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off'.encode())

    assert check(terminal, "ledger durability") == (1, "failed", "CFG-702")


def test_rabbitmq_with_our_queues_passes(rabbitmq: Broker, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, {"OAERP_BROKER_URL": rabbitmq.url, "OAERP_PREFIX": f"{rabbitmq.prefix}.doctor"})

    assert check(terminal, "broker queues") == (0, "ok", "")


def test_a_queue_on_rabbitmq_that_was_made_otherwise_is_refused(rabbitmq: Broker, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, {"OAERP_BROKER_URL": rabbitmq.url, "OAERP_PREFIX": f"{rabbitmq.prefix}.other"})
    assert check(terminal, "broker queues") == (0, "ok", "")
    terminal.env["OAERP_CONSUMER__DELIVERY_LIMIT"] = "3"

    assert check(terminal, "broker queues") == (1, "failed", "CFG-702")


def test_a_password_that_rabbitmq_refuses_is_told(rabbitmq: Broker, tmp_path: Path) -> None:
    head, _, host = rabbitmq.url.rpartition("@")
    terminal = Terminal(tmp_path, {"OAERP_BROKER_URL": f"{head.partition('://')[0]}://nobody:wrong@{host}"})

    code, state, _ = check(terminal, "broker")

    assert (code, state) == (1, "failed")


def test_redis_is_asked_whether_it_keeps_everything(redis_server: Broker, tmp_path: Path) -> None:
    terminal = Terminal(
        tmp_path, {"OAERP_BROKER_URL": redis_server.url, "OAERP_PREFIX": f"{redis_server.prefix}.doctor"}
    )

    code, state, _ = check(terminal, "Redis eviction")

    assert (code, state) == (0, "ok")


def test_redis_with_another_thing_under_our_key_is_refused(redis_server: Broker, tmp_path: Path) -> None:
    import redis

    prefix = f"{redis_server.prefix}.taken"
    with redis.Redis.from_url(redis_server.url) as client:
        client.set(f"{prefix}:events", "x", ex=60)
        terminal = Terminal(tmp_path, {"OAERP_BROKER_URL": redis_server.url, "OAERP_PREFIX": prefix})

        assert check(terminal, "broker queues") == (1, "failed", "CFG-702")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_doctor_is_readable_in_both_languages(language: str, tmp_path: Path) -> None:
    ran = Terminal(tmp_path, {"OAERP_LANG": language}).type("doctor")

    assert ran.returncode == 0
    assert {"en": "message signatures", "zh": "消息签名"}[language] in ran.stdout
