"""The doctor: are the settings safe, and does everything answer? What is unsafe is refused with a code and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from connector.bootstrap import open_runtime
from connector.errors import ConnectorError, Misconfigured
from connector.settings import Settings

UNSAFE, INVALID = "CFG-702", "CFG-701"
DISK_BYTES_MIN = 500 * 1024 * 1024
# RabbitMQ takes a message back from a consumer that holds it for 30 minutes, unless its consumer_timeout says otherwise.
CONSUMER_TIMEOUT_S = 1800
LOOPBACK = ("localhost", "127.0.0.1", "::1", "")
ENCRYPTED = ("require", "verify-ca", "verify-full")  # sslmode

State = Literal["ok", "warning", "failed", "away"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `warning` is told, `failed` is unsafe or broken, `away` did not answer."""

    name: str
    state: State
    found: str
    fix: str = ""
    code: str = ""

    def as_dict(self) -> dict[str, str]:
        """The check as JSON-able values."""
        return asdict(self)


def examine(settings: Settings, *, systems: bool = True) -> list[Check]:
    """Looks at everything; changes nothing but making queues that are missing. Without `systems` OA and ERP are not
    asked, so that it can be called every minute."""
    from workers import reach

    checks = [
        *_broker_kind(settings),
        *_security(settings),
        *_encryption(settings),
        *_waits(settings),
        _disk(settings),
        *_celery(settings),
        _book(settings),
    ]
    try:
        runtime = open_runtime(settings)
    except Misconfigured as error:
        return [*checks, Check("systems", "failed", error.message, "correct the setting that is named", error.code)]
    try:
        checks += reach.ledger(runtime.ledger)
        if checks[0].state != "failed":
            checks += reach.broker(settings)
        checks += reach.systems(runtime, ask=systems)
    finally:
        runtime.close()
    return checks


def _broker_kind(settings: Settings) -> Iterator[Check]:
    scheme = settings.broker_url.partition(":")[0]
    if scheme not in ("memory", "amqp", "amqps", "redis", "rediss"):
        fix = "use memory://, amqp:// or redis://: the others lose work when a worker is killed"
        yield Check("broker", "failed", scheme, fix, UNSAFE)
        return
    yield Check("broker", "ok", scheme)
    if scheme == "memory" and settings.ledger_url.startswith("postgresql"):
        yield Check(
            "broker", "warning", "memory:// with PostgreSQL", "one process only; use RabbitMQ or Redis to run several"
        )


def _security(settings: Settings) -> Iterator[Check]:
    security = settings.security
    if security.signing_keys:
        yield Check("message signatures", "ok", f"{len(security.signing_keys)}")
    else:
        local = settings.embedded or (urlsplit(settings.broker_url).hostname or "") in LOOPBACK
        fix = "set OAERP_SECURITY__SIGNING_KEYS, so that nobody on the broker can forge a report"
        yield Check("message signatures", "warning" if local else "failed", "no keys", fix, UNSAFE)
    if settings.gateway.host not in LOOPBACK:
        if security.api_tokens:
            yield Check("gateway", "ok", f"{len(security.api_tokens)}")
        else:
            # Without tokens the gateway takes events from this machine only, so nothing is open; but nobody gets in.
            yield Check("gateway", "failed", "no tokens", "set OAERP_SECURITY__API_TOKENS", UNSAFE)
    if any(system.adapter == "webhook" for system in settings.oa) and not security.webhook_keys:
        yield Check("webhook signatures", "failed", "no keys", "set OAERP_SECURITY__WEBHOOK_KEYS", UNSAFE)


def _encryption(settings: Settings) -> Iterator[Check]:
    """Everything that leaves this machine is encrypted. A name without a dot is one of a container network: told, not refused."""
    broker = urlsplit(settings.broker_url)
    if broker.scheme in ("amqp", "redis"):
        yield from _plain("broker encryption", broker.hostname, "use amqps:// or rediss://")
    ledger = urlsplit(settings.ledger)
    if ledger.scheme.startswith("postgresql"):
        query = parse_qs(ledger.query)
        if query.get("sslmode", ["prefer"])[0] not in ENCRYPTED:
            host = query.get("host", [ledger.hostname or ""])[0]
            if not host.startswith("/"):
                yield from _plain("ledger encryption", host, "add ?sslmode=verify-full to OAERP_LEDGER_URL")
    for system in (*settings.erp, *settings.oa):
        parts = urlsplit(system.url or "")
        if parts.scheme == "http":
            yield from _plain("system encryption", parts.hostname, "use https://")


def _plain(name: str, host: str | None, fix: str) -> Iterator[Check]:
    if host and host not in LOOPBACK:
        inside = "." not in host and ":" not in host
        yield Check(name, "warning" if inside else "failed", f"plain text to {host}", fix, UNSAFE)


def _waits(settings: Settings) -> Iterator[Check]:
    lease, retry = settings.delivery.lease_s, settings.retry
    if lease <= retry.call_total_s:
        fix = "make delivery.lease_s longer than retry.call_total_s, or two workers send at once"
        yield Check("lease", "failed", f"{lease} s <= {retry.call_total_s:g} s", fix, UNSAFE)
    elif lease >= CONSUMER_TIMEOUT_S and settings.broker_url.startswith("amqp"):
        fix = "make delivery.lease_s shorter than RabbitMQ's consumer_timeout (30 minutes unless set)"
        yield Check("lease", "failed", f"{lease} s >= {CONSUMER_TIMEOUT_S} s", fix, UNSAFE)
    else:
        yield Check("lease", "ok", f"{lease} s")
    tries = retry.call_attempts * retry.ledger_attempts
    yield Check("tries of a failing call", "ok", f"{retry.call_attempts} x {retry.ledger_attempts} = {tries}")


def _disk(settings: Settings) -> Check:
    place = settings.home.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{free // 1024**2:,} MiB"
    return Check("disk", "ok", found) if free > DISK_BYTES_MIN else Check("disk", "failed", found, "make room")


# Each of Celery's settings that was seen to lose or double work (the reliability baseline), and what makes it safe.
CELERY: Sequence[tuple[str, Callable[[Any], bool]]] = (
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
    ("broker_connection_retry_on_startup", lambda v: v is True),
    ("broker_connection_max_retries", lambda v: v is None),
    ("worker_soft_shutdown_timeout", lambda v: v >= 20),
)
TRANSPORT: dict[str, Sequence[tuple[str, Callable[[Any], bool]]]] = {
    "amqp": (
        ("confirm_publish", lambda v: v is True),
        ("read_timeout", lambda v: 0 < v <= 30),
        ("write_timeout", lambda v: 0 < v <= 30),
    ),
    "redis": (
        ("socket_timeout", lambda v: 0 < v <= 30),
        ("socket_connect_timeout", lambda v: 0 < v <= 30),
        ("socket_keepalive", lambda v: v is True),
        ("health_check_interval", lambda v: 0 < v <= 30),
        ("visibility_timeout", lambda v: v >= 600),
        ("unacked_restore_throttle", lambda v: v == 1),
    ),
}


def unsafe_celery(conf: dict[str, Any], scheme: str) -> list[str]:
    """The names of Celery's settings, and of its broker's, that are not the safe ones."""
    options = conf.get("broker_transport_options") or {}
    family = {"amqps": "amqp", "rediss": "redis"}.get(scheme, scheme)
    return [name for name, safe in CELERY if not _holds(safe, conf.get(name))] + [
        name for name, safe in TRANSPORT.get(family, ()) if not _holds(safe, options.get(name))
    ]


def _holds(safe: Callable[[Any], bool], value: Any) -> bool:
    try:
        return safe(value)
    except TypeError:  # not there at all
        return False


def _celery(settings: Settings) -> Iterator[Check]:
    from workers.app import configuration

    wrong = unsafe_celery(configuration(settings), settings.broker_url.partition(":")[0])
    if wrong:
        yield Check("Celery", "failed", ", ".join(wrong), "do not override these", UNSAFE)
    else:
        yield Check("Celery", "ok", f"{len(CELERY)}")


def _book(settings: Settings) -> Check:
    from connector.translate import load_book

    try:
        return Check("mapping book", "ok", load_book(settings.book).fingerprint[:12])
    except ConnectorError as error:
        return Check("mapping book", "failed", error.message, "correct the mapping book", error.code)
