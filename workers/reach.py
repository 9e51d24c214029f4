"""What the doctor finds out by asking: the ledger, the broker, the OA and the ERP."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, make_url, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from connector.adapter import Adapter
from connector.bootstrap import Runtime, open_channel
from connector.errors import ConnectorError, CredentialsRefused, Misconfigured, Unavailable
from connector.ledger import Ledger
from connector.ledger.sql import now
from connector.ledger.tables import dead_letters, outbox, postings
from connector.settings import Settings
from workers.doctor import INVALID, UNSAFE, Check

SKEW_S_MAX = 5
WAITING_S_MAX = 300  # An event that no worker took in this time waits for a process that does not run.
POSTGRESQL_MIN = 150000
DURABLE = ("synchronous_commit", "fsync", "full_page_writes")
REFERENCE = "OAERP-DOCTOR"  # a reference that nothing carries


def ledger(found: Ledger) -> Iterator[Check]:
    """Whether the ledger answers, keeps what it commits, has the right tables, and what waits in it."""
    if found.dialect == "sqlite" and (new := _not_made_yet(found.url)) is not None:
        yield new
        return
    try:
        current = found.is_current()
        with found.begin() as tx:
            yield Check("ledger", "ok", found.dialect)
            yield from _sqlite(tx) if found.dialect == "sqlite" else _postgresql(tx)
            if not current:
                # The embedded ledger is brought up to date by whatever starts on it.
                state: Any = "warning" if found.dialect == "sqlite" else "failed"
                yield Check("ledger tables", state, "not of this version", "run: oaerp db upgrade", INVALID)
                return
            yield Check("ledger tables", "ok", "current")
            yield from _waiting(tx)
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
        yield Check("ledger", "away", said[0][:200], "start it, or correct OAERP_LEDGER_URL", "OPS-805")


def _not_made_yet(url: str) -> Check | None:
    file = make_url(url).database
    if not file or file == ":memory:" or Path(file).exists():
        return None
    folder = Path(file).absolute().parent
    while not folder.exists():
        folder = folder.parent
    if os.access(folder, os.W_OK):
        return Check("ledger", "ok", f"sqlite, made on first use: {file}")
    return Check("ledger", "failed", str(folder), "let the connector write into this folder", INVALID)


def _sqlite(tx: Connection) -> Iterator[Check]:
    journal = str(tx.exec_driver_sql("PRAGMA journal_mode").scalar())
    synchronous = int(tx.exec_driver_sql("PRAGMA synchronous").scalar() or 0)
    found = f"journal_mode={journal} synchronous={synchronous}"
    if journal == "wal" and synchronous >= 2:
        yield Check("ledger durability", "ok", found)
    else:
        yield Check("ledger durability", "failed", found, "put the ledger on a local disk that can do WAL", UNSAFE)


def _postgresql(tx: Connection) -> Iterator[Check]:
    shown = {name: str(tx.scalar(text(f"SHOW {name}"))) for name in DURABLE}
    off = [name for name, value in shown.items() if value == "off"]
    if off:
        fix = "turn these on: what is committed must survive a power cut"
        yield Check("ledger durability", "failed", ", ".join(f"{name}=off" for name in off), fix, UNSAFE)
    else:
        yield Check("ledger durability", "ok", f"synchronous_commit={shown['synchronous_commit']}")
    version = int(tx.scalar(text("SHOW server_version_num")) or 0)
    if version < POSTGRESQL_MIN:
        yield Check("ledger", "warning", f"PostgreSQL {version // 10000}", "use PostgreSQL 15 or newer")
    there: datetime = tx.execute(text("SELECT clock_timestamp()")).scalar_one()
    skew = abs((datetime.now(there.tzinfo) - there).total_seconds())
    if skew > SKEW_S_MAX:
        yield Check("clock", "warning", f"{skew:.1f} s from the ledger's", "synchronise the clocks (NTP)")
    else:
        yield Check("clock", "ok", f"{skew:.1f} s from the ledger's")


def _waiting(tx: Connection) -> Iterator[Check]:
    """What is stuck: told, never refused."""
    late = select(func.count(outbox.c.id)).where(outbox.c.created_at < now(-WAITING_S_MAX))
    doubtful = select(func.count(postings.c.id)).where(postings.c.state == "UNKNOWN")
    abandoned = select(func.count(postings.c.id)).where(postings.c.state == "SENDING", postings.c.lease_until < now())
    letters = select(func.count(dead_letters.c.id)).where(dead_letters.c.state == "open")
    for name, statement, fix in (
        ("events nobody takes", late, "run a relay and a worker"),
        ("postings in doubt", doubtful, "nothing yet: the ERP is asked what became of them"),
        ("postings left in a call", abandoned, "run a worker and beat: they are taken over and asked about"),
        ("dead letters", letters, "oaerp deadletters list"),
    ):
        count = int(tx.scalar(statement) or 0)
        yield Check(name, "warning", str(count), fix) if count else Check(name, "ok", "0")


def broker(settings: Settings) -> Iterator[Check]:
    """Whether the broker lets us in, and its queues are the ones that lose nothing."""
    if settings.embedded:
        return
    channel = open_channel(settings)
    try:
        channel.declare()
        yield Check("broker queues", "ok", f"{channel.depth()}")
    except ConnectorError as error:
        yield _broker_trouble(error.message, error.code)
        return
    finally:
        channel.close()
    if settings.broker_url.startswith("redis"):
        yield from _redis(settings)


def _broker_trouble(message: str, code: str) -> Check:
    if "PRECONDITION_FAILED" in message or "WRONGTYPE" in message:
        fix = "delete the queue or key that was made otherwise; the ledger sends again what was in it"
        return Check("broker queues", "failed", message[:200], fix, UNSAFE)
    if "ACCESS_REFUSED" in message or "NOPERM" in message or "WRONGPASS" in message or "NOAUTH" in message:
        return Check("broker", "failed", message[:200], "correct the user, password or rights on the broker", INVALID)
    return Check("broker", "away", message[:200], "start it, or correct OAERP_BROKER_URL", code)


def _redis(settings: Settings) -> Iterator[Check]:
    import redis

    client = redis.Redis.from_url(
        settings.broker_url, socket_timeout=5, socket_connect_timeout=5, decode_responses=True
    )
    try:
        found: Any = client.config_get("maxmemory-policy", "appendonly")
        server: Any = client.info("server")
    except redis.RedisError as error:
        fix = "let this user read CONFIG and INFO, or look by hand: noeviction, appendonly yes, version 7"
        yield Check("Redis settings", "warning", str(error)[:200], fix)
        return
    finally:
        client.close()
    yield from redis_settings(found, str(server.get("redis_version", "0")))


def redis_settings(found: Mapping[str, str], version: str) -> Iterator[Check]:
    """Whether Redis keeps what it was given."""
    policy, appended = found.get("maxmemory-policy", "?"), found.get("appendonly", "?")
    if policy == "noeviction":
        yield Check("Redis eviction", "ok", policy)
    else:
        yield Check("Redis eviction", "failed", policy, "set maxmemory-policy noeviction", UNSAFE)
    if appended == "yes":
        yield Check("Redis persistence", "ok", "appendonly yes")
    else:
        fix = "set appendonly yes: without it a restart loses no event, but every one is sent again"
        yield Check("Redis persistence", "warning", f"appendonly {appended}", fix)
    if int(version.partition(".")[0]) >= 7:
        yield Check("Redis version", "ok", version)
    else:
        yield Check("Redis version", "failed", version, "use Redis 7 or newer", UNSAFE)


def systems(runtime: Runtime, *, ask: bool) -> Iterator[Check]:
    """Whether each OA and ERP is set up and, with `ask`, lets us in. It is asked for something that does not exist."""
    if not runtime.erp:
        yield Check("ERP", "warning", "none", "name one in OAERP_ERP; until then nothing is delivered")
    for company, erp in runtime.erp.items():
        yield _system("ERP", f"{erp.name} {company}", erp, ask)
    for source, oa in runtime.oa.items():
        yield _system("OA", source, oa, ask)


def _system(kind: str, what: str, adapter: Adapter, ask: bool) -> Check:
    if not ask:
        return Check(kind, "ok", what)
    try:
        adapter.find(REFERENCE)
    except CredentialsRefused as error:
        return Check(kind, "failed", f"{what}: {error.message}", "correct its user and password", error.code)
    except Misconfigured as error:
        return Check(kind, "failed", f"{what}: {error.message}", "correct the setting that is named", error.code)
    except Unavailable as error:
        return Check(kind, "away", f"{what}: {error.message}", "start it, or correct its address", error.code)
    except ConnectorError as error:
        return Check(kind, "failed", f"{what}: {error.message}", "look at the code", error.code)
    return Check(kind, "ok", what)
