"""The doctor refuses each setting that loses, doubles or opens something, and says what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connector.settings import Delivery, Gateway, Retry, Security, Settings, System
from tests.integration.process.world import report
from tests.unit.cli.conftest import Cli
from workers.app import configuration
from workers.doctor import CELERY, TRANSPORT, Check, examine, unsafe_celery
from workers.reach import redis_settings

KEYS = Security(signing_keys=(SecretStr("k1:c2VjcmV0"),), api_tokens=(SecretStr("t"),))


def found(settings: Settings) -> Sequence[Check]:
    return examine(settings, systems=False)


def named(checks: Sequence[Check], name: str) -> list[str]:
    return [check.state for check in checks if check.name == name]


def test_the_embedded_default_is_safe(tmp_path: Path) -> None:
    checks = found(Settings(home=tmp_path))

    assert {check.state for check in checks} <= {"ok", "warning"}


@pytest.mark.parametrize(
    ("name", "unsafe"),
    [
        ("broker", {"broker_url": "filesystem://"}),
        ("broker", {"broker_url": "sqla+sqlite:///broker.db"}),
        ("broker", {"broker_url": "sqs://"}),
        ("message signatures", {"broker_url": "amqps://broker.example/x", "security": Security()}),
        ("broker encryption", {"broker_url": "amqp://broker.example/x"}),
        ("broker encryption", {"broker_url": "redis://10.0.0.7"}),
        ("ledger encryption", {"ledger_url": "postgresql://db.example/x"}),
        ("ledger encryption", {"ledger_url": "postgresql://db.example/x?sslmode=prefer"}),
        (
            "system encryption",
            {"erp": (System(adapter="tryton", company="C01", url="http://erp.example", user="u", password=SecretStr("p"), options={"database": "d"}),)},
        ),
        ("gateway", {"gateway": Gateway(host="0.0.0.0"), "security": Security()}),
        ("webhook signatures", {"oa": (System(adapter="webhook", company="C01"),), "security": Security()}),
        ("lease", {"delivery": Delivery(lease_s=5), "retry": Retry(call_total_s=5)}),
        ("lease", {"delivery": Delivery(lease_s=1800), "broker_url": "amqp://127.0.0.1:1/"}),
    ],
)  # fmt: skip
def test_what_is_unsafe_is_refused_with_its_code_and_what_to_do(
    name: str, unsafe: dict[str, Any], tmp_path: Path
) -> None:
    checks = found(Settings(**({"home": tmp_path, "security": KEYS} | unsafe)))

    refused = [check for check in checks if check.name == name]
    assert "failed" in {check.state for check in refused}
    assert all(check.code == "CFG-702" and check.fix for check in refused if check.state == "failed")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("broker encryption", {"broker_url": "amqps://broker.example/x"}),
        ("broker encryption", {"broker_url": "redis://127.0.0.1:1"}),
        ("ledger encryption", {"ledger_url": "postgresql://db.example/x?sslmode=verify-full"}),
        ("ledger encryption", {"ledger_url": "postgresql:///x?host=/var/run/postgresql"}),
    ],
)
def test_what_is_safe_is_not_complained_about(name: str, safe: dict[str, Any], tmp_path: Path) -> None:
    assert named(found(Settings(home=tmp_path, security=KEYS, **safe)), name) == []


def test_inside_a_container_network_plain_text_is_told_not_refused(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        security=KEYS,
        broker_url="amqp://rabbitmq/oaerp",
        ledger_url="postgresql://postgres/oaerp",
    )

    checks = found(settings)

    assert named(checks, "broker encryption") == named(checks, "ledger encryption") == ["warning"]


@pytest.mark.parametrize("scheme", ["memory", "amqp", "amqps", "redis", "rediss"])
def test_our_celery_settings_are_the_safe_ones(scheme: str) -> None:
    assert unsafe_celery(configuration(Settings(broker_url=f"{scheme}://")), scheme) == []


@pytest.mark.parametrize("name", [name for name, _ in CELERY])
def test_another_celery_setting_is_found(name: str) -> None:
    conf = configuration(Settings(broker_url="amqp://")) | {name: "another"}

    assert unsafe_celery(conf, "amqp") == [name]


@pytest.mark.parametrize(("scheme", "name"), [(scheme, name) for scheme, rows in TRANSPORT.items() for name, _ in rows])
def test_a_missing_option_of_the_transport_is_found(scheme: str, name: str) -> None:
    conf = configuration(Settings(broker_url=f"{scheme}://"))
    conf["broker_transport_options"] = {k: v for k, v in conf["broker_transport_options"].items() if k != name}

    assert unsafe_celery(conf, scheme) == [name]


@pytest.mark.parametrize(
    ("policy", "appendonly", "version", "states"),
    [
        ("noeviction", "yes", "7.0.15", ["ok", "ok", "ok"]),
        ("allkeys-lru", "yes", "7.2.0", ["failed", "ok", "ok"]),
        ("volatile-ttl", "no", "7.2.0", ["failed", "warning", "ok"]),
        ("noeviction", "yes", "6.2.0", ["ok", "ok", "failed"]),
    ],
)
def test_redis_must_keep_what_it_was_given(policy: str, appendonly: str, version: str, states: list[str]) -> None:
    checks = list(redis_settings({"maxmemory-policy": policy, "appendonly": appendonly}, version))

    assert [check.state for check in checks] == states


def test_a_broken_mapping_book_is_found(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()

    assert named(found(Settings(home=tmp_path, book=tmp_path / "book")), "mapping book") == ["failed"]


def test_an_adapter_that_lacks_a_setting_is_found(oaerp: Cli) -> None:
    oaerp.monkeypatch.setenv("OAERP_ERP", '[{"adapter": "tryton", "company": "C01"}]')

    ran = oaerp("doctor", "--json")

    assert ran.code == 1
    assert ran.values[-1]["name"] == "systems"
    assert ran.values[-1]["code"] == "CFG-701"


def test_looking_makes_no_ledger(oaerp: Cli) -> None:
    ran = oaerp.at_home("doctor")

    assert ran.code == 0
    assert not Path("home/ledger.db").exists()


def test_old_tables_are_told(oaerp: Cli) -> None:
    oaerp.at_home("db", "upgrade")
    with sqlite3.connect("home/ledger.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0000'")
    database.close()

    checks = {check["name"]: check for check in oaerp.at_home("doctor", "--json").values}

    assert checks["ledger tables"]["state"] == "warning"


def test_what_is_stuck_is_told_and_refuses_nothing(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"), report("EXP-2"), report("EXP-3", category="travel.spa"))
    oaerp.sql("UPDATE postings SET state = 'UNKNOWN' WHERE reference LIKE '%EXP-1-%'")
    oaerp.sql(
        "UPDATE postings SET state = 'SENDING', lease_owner = 'x', lease_until = '2025-01-01 00:00:00.000000'"
        " WHERE reference LIKE '%EXP-2-%'"
    )
    oaerp.sql(
        "INSERT INTO outbox (source, event_id, type, body, created_at)"
        " VALUES ('/oa/feishu/C01', 'x', 'expense.report.approved.v1', '{}', '2025-01-01 00:00:00.000000')"
    )

    ran = oaerp.at_home("doctor", "--json")

    checks = {check["name"]: (check["state"], check["found"]) for check in ran.values}
    assert ran.code == 0
    for name in ("events nobody takes", "postings in doubt", "postings left in a call", "dead letters"):
        assert checks[name] == ("warning", "1")


def test_an_erp_that_is_away_ends_with_4_and_is_left_in_peace_on_request(oaerp: Cli) -> None:
    oaerp.monkeypatch.setenv(
        "OAERP_ERP",
        '[{"adapter": "tryton", "company": "C01", "url": "http://127.0.0.1:1", "user": "u", "password": "p",'
        ' "options": {"database": "d"}}]',
    )

    assert oaerp("doctor").code == 4
    assert oaerp("doctor", "--no-systems").code == 0


def test_a_ledger_that_is_away_ends_with_4(oaerp: Cli) -> None:
    oaerp.monkeypatch.setenv("OAERP_LEDGER_URL", "postgresql://nobody@127.0.0.1:1/x")

    ran = oaerp.at_home("doctor", "--no-systems", "--json")

    assert ran.code == 4
    assert [check["state"] for check in ran.values if check["name"] == "ledger"] == ["away"]


def test_a_broker_that_is_away_ends_with_4(oaerp: Cli) -> None:
    oaerp.monkeypatch.setenv("OAERP_BROKER_URL", "redis://127.0.0.1:1")

    ran = oaerp("doctor", "--json")

    assert ran.code == 4
    assert [check["code"] for check in ran.values if check["state"] == "away"] == ["OPS-806"]


def test_an_unsafe_setting_wins_over_a_server_that_is_away(oaerp: Cli) -> None:
    oaerp.monkeypatch.setenv("OAERP_BROKER_URL", "redis://127.0.0.1:1")
    oaerp.monkeypatch.setenv("OAERP_DELIVERY__LEASE_S", "1")

    assert oaerp("doctor").code == 1


def test_the_doctor_speaks_chinese(oaerp: Cli) -> None:
    ran = oaerp("--lang", "zh", "doctor")

    assert "消息签名" in ran.out
    assert "，防止有人在消息中间件上伪造报销单" in ran.out
