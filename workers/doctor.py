"""The doctor: are the settings safe, and does everything answer? What is unsafe is refused with a fix."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from connector.bootstrap import Runtime, open_runtime
from connector.errors import ConnectorError
from connector.settings import Settings

SKEW_S_MAX = 5
DISK_BYTES_MIN = 500 * 1024 * 1024
TASK_S_MAX = 300  # No task of ours holds a message longer.
LOOPBACK = ("localhost", "127.0.0.1", "::1", "")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `warning` is told, `failed` is unsafe or broken, `away` did not answer."""

    name: str
    state: Literal["ok", "warning", "failed", "away"]
    found: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """The check as JSON-able values."""
        return asdict(self)


def examine(settings: Settings) -> list[Check]:
    """Looks at everything and changes nothing."""
    checks = [*_broker_kind(settings), *_security(settings), *_waits(settings), _disk(settings), *_celery(settings)]
    if any(check.state == "failed" and check.name == "broker" for check in checks):
        return checks
    try:
        runtime = open_runtime(settings)
    except ConnectorError as error:
        return [*checks, Check("systems", "failed", error.message, "correct the settings (CFG-701)")]
    try:
        checks += [*_ledger(runtime), *_broker(settings), *_systems(runtime)]
    finally:
        runtime.close()
    return checks


def _broker_kind(settings: Settings) -> Iterator[Check]:
    scheme = settings.broker_url.partition(":")[0]
    if scheme in ("memory", "amqp", "amqps", "redis", "rediss"):
        yield Check("broker", "ok", scheme)
    else:
        yield Check(
            "broker",
            "failed",
            scheme,
            "use memory://, amqp:// or redis://; others lose work when a worker is killed (CFG-702)",
        )
    if scheme == "memory" and settings.ledger_url.startswith("postgresql"):
        yield Check(
            "broker in memory", "warning", "with PostgreSQL", "one process only: use RabbitMQ or Redis to run several"
        )


def _security(settings: Settings) -> Iterator[Check]:
    host = urlsplit(settings.broker_url).hostname or ""
    local = settings.embedded or host in LOOPBACK
    if settings.security.signing_keys:
        yield Check("message signatures", "ok", f"{len(settings.security.signing_keys)} keys")
    else:
        fix = "set OAERP_SECURITY__SIGNING_KEYS, so that nobody on the broker can forge a report (CFG-702)"
        yield Check("message signatures", "warning" if local else "failed", "no keys", fix)
    if not local and settings.broker_url.partition(":")[0] in ("amqp", "redis"):
        yield Check("broker encryption", "failed", f"plain text to {host}", "use amqps:// or rediss:// (CFG-702)")
    if settings.gateway.host not in LOOPBACK and not settings.security.api_tokens:
        yield Check(
            "gateway tokens", "failed", f"open on {settings.gateway.host}", "set OAERP_SECURITY__API_TOKENS (CFG-702)"
        )
    for system in (*settings.erp, *settings.oa):
        parts = urlsplit(system.url or "")
        if parts.scheme == "http" and (parts.hostname or "") not in LOOPBACK:
            yield Check(f"{system.adapter} encryption", "warning", f"plain text to {parts.hostname}", "use https")


def _waits(settings: Settings) -> Iterator[Check]:
    lease, call = settings.delivery.lease_s, settings.retry.call_total_s
    if lease <= call:
        yield Check(
            "lease", "failed", f"{lease} s", f"longer than one call's {call} s, or two workers send at once (CFG-702)"
        )
    else:
        yield Check("lease", "ok", f"{lease} s")
    tries = settings.retry.call_attempts * settings.retry.ledger_attempts
    yield Check(
        "tries of a failing call", "ok", f"{settings.retry.call_attempts} x {settings.retry.ledger_attempts} = {tries}"
    )


def _disk(settings: Settings) -> Check:
    place = settings.home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    return Check(
        "disk",
        "ok" if free > DISK_BYTES_MIN else "failed",
        f"{free // 1024**2:,} MiB free",
        "" if free > DISK_BYTES_MIN else "make room",
    )


def _celery(settings: Settings) -> Iterator[Check]:
    """Each of Celery's settings that was seen to lose or double work (reliability baseline)."""
    from workers.app import configuration

    conf = configuration(settings)
    wanted: Sequence[tuple[str, Callable[[Any], bool]]] = (
        ("task_acks_late", lambda v: v is True),
        ("task_reject_on_worker_lost", lambda v: v is True),
        ("task_ignore_result", lambda v: v is True),
        ("result_backend", lambda v: v is None),
        ("accept_content", lambda v: v == ["json"]),
        ("worker_enable_remote_control", lambda v: v is False),
        ("worker_send_task_events", lambda v: v is False),
        ("worker_prefetch_multiplier", lambda v: v == 1),
        ("worker_consumer", lambda v: v == "workers.guard:SafeConsumer"),
        ("broker_heartbeat", lambda v: 0 < v <= 20),
        ("broker_connection_max_retries", lambda v: v is None),
    )
    wrong = [name for name, right in wanted if not right(conf.get(name))]
    yield Check(
        "Celery",
        "failed" if wrong else "ok",
        ", ".join(wrong) or f"{len(wanted)} settings",
        "do not override these (CFG-702)" if wrong else "",
    )


def _ledger(runtime: Runtime) -> Iterator[Check]:
    ledger = runtime.ledger
    if ledger.dialect == "sqlite":
        ledger.upgrade()
    try:
        current = ledger.is_current()
        with ledger.begin() as tx:
            yield Check("ledger", "ok", f"{ledger.dialect} answers")
            yield Check(
                "ledger tables",
                "ok" if current else "failed",
                "current" if current else "old",
                "" if current else "run: oaerp db upgrade",
            )
            if not current:
                return
            if ledger.dialect == "postgresql":
                commit = str(tx.scalar(text("SHOW synchronous_commit")))
                safe = commit != "off"
                yield Check(
                    "ledger durability",
                    "ok" if safe else "failed",
                    f"synchronous_commit={commit}",
                    "" if safe else "turn synchronous_commit on (CFG-702)",
                )
                there: datetime = tx.scalar(text("SELECT clock_timestamp()"))
                skew = abs((datetime.now(UTC) - there).total_seconds())
                yield Check(
                    "clock",
                    "ok" if skew <= SKEW_S_MAX else "warning",
                    f"{skew:.1f} s from the ledger's",
                    "" if skew <= SKEW_S_MAX else "synchronise the clock (NTP)",
                )
            letters = int(tx.scalar(text("SELECT count(*) FROM dead_letters WHERE state = 'open'")) or 0)
            yield Check(
                "dead letters",
                "warning" if letters else "ok",
                str(letters),
                "oaerp deadletters list" if letters else "",
            )
    except SQLAlchemyError as error:
        yield Check(
            "ledger",
            "away",
            str(getattr(error, "orig", None) or error).strip().splitlines()[0][:200],
            "start it, or correct OAERP_LEDGER_URL",
        )


def _broker(settings: Settings) -> Iterator[Check]:
    from connector.bootstrap import open_channel

    if settings.embedded:
        return
    channel = open_channel(settings)
    try:
        channel.declare()
        yield Check("broker answers", "ok", f"{channel.depth()} events waiting")
    except ConnectorError as error:
        yield Check("broker answers", "away", error.message[:200], "start it, or correct OAERP_BROKER_URL")
        return
    finally:
        channel.close()
    if settings.broker_url.startswith("redis"):
        yield from _redis(settings)


def _redis(settings: Settings) -> Iterator[Check]:
    import redis

    client = redis.Redis.from_url(settings.broker_url, socket_timeout=5, decode_responses=True)
    try:
        found: Any = client.config_get("maxmemory-policy", "appendonly")
        version: Any = client.info("server")
    except redis.RedisError as error:
        yield Check(
            "Redis settings",
            "warning",
            str(error)[:200],
            "let this user read CONFIG, or check maxmemory-policy by hand",
        )
        return
    finally:
        client.close()
    policy = found.get("maxmemory-policy")
    safe = policy == "noeviction"
    yield Check(
        "Redis eviction",
        "ok" if safe else "failed",
        str(policy),
        "" if safe else "set maxmemory-policy noeviction (CFG-702)",
    )
    kept = found.get("appendonly") == "yes"
    yield Check(
        "Redis persistence",
        "ok" if kept else "warning",
        f"appendonly {found.get('appendonly')}",
        "" if kept else "appendonly yes saves resending after a restart; nothing is lost without it",
    )
    major = int(str(version.get("redis_version", "0")).partition(".")[0])
    yield Check(
        "Redis version",
        "ok" if major >= 7 else "failed",
        str(version.get("redis_version")),
        "" if major >= 7 else "Redis 7 or newer",
    )


def _systems(runtime: Runtime) -> Iterator[Check]:
    if not runtime.erp:
        yield Check("ERP", "warning", "none", "name one in OAERP_ERP; until then nothing is delivered")
    for company, erp in runtime.erp.items():
        yield Check(f"ERP of {company}", "ok", erp.name)
    for source in runtime.oa:
        yield Check(f"OA {source}", "ok", "set up")


def settings_rows(settings: Settings) -> list[tuple[str, str, str]]:
    """Every setting: its dotted name, its value (secrets masked), and where it comes from."""
    rows: list[tuple[str, str, str]] = []
    _flatten(settings, "", rows)
    defaults: list[tuple[str, str, str]] = []
    _flatten(Settings.model_construct(), "", defaults)
    known = {name: value for name, value, _ in defaults}
    return [(name, value, _origin(name, value, known.get(name))) for name, value, _ in rows]


def _origin(name: str, value: str, default: str | None) -> str:
    variable = "OAERP_" + name.upper().replace(".", "__")
    if variable in os.environ or variable.split("__")[0] in os.environ:
        return "environment"
    return "default" if value == default else "file or option"


def _flatten(value: Any, name: str, rows: list[tuple[str, str, str]]) -> None:
    if isinstance(value, BaseModel):
        for field in type(value).model_fields:
            _flatten(getattr(value, field), f"{name}.{field}" if name else field, rows)
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for at, item in enumerate(value):
            _flatten(item, f"{name}.{at}", rows)
    else:
        rows.append((name, _shown(value), ""))


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr) or (isinstance(value, tuple) and value and isinstance(value[0], SecretStr)):
        return "***"
    if isinstance(value, str) and "://" in value:
        parts = urlsplit(value)
        if parts.password:
            return value.replace(f":{parts.password}@", ":***@")
    return str(value) if not isinstance(value, Path) else value.as_posix()
