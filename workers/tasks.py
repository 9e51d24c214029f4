"""Celery tasks: each rings for one kind of due work. What is due, and whose it is, only the ledger knows."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from celery import Celery
from sqlalchemy.exc import SQLAlchemyError

from connector.bootstrap import Runtime
from connector.errors import ConnectorError
from connector.ledger import audit, idempotency, ticks
from workers import schedule

log = structlog.get_logger(__name__)

# Longer than every window in which a webhook or a request is repeated.
ANSWERS_KEPT_S = 30 * 24 * 3600
ROUNDS_MAX = 200  # A task ends after so many batches; what is left is rung for again.


def register(app: Celery, runtime: Runtime) -> None:
    """Binds the tasks to this app and its runtime: not shared, or a second app in the process would work on the first's."""

    @app.task(name="oaerp.deliver", shared=False)
    def deliver(company: str) -> None:
        if company in runtime.erp:
            _rounds("deliver", company, lambda: runtime.deliver_due(company).more)

    @app.task(name="oaerp.resolve", shared=False)
    def resolve(company: str) -> None:
        if company in runtime.erp:
            _rounds("resolve", company, lambda: _resolve(runtime, company))

    @app.task(name="oaerp.write_back", shared=False)
    def write_back(source: str) -> None:
        if source in runtime.oa:
            _rounds("write back", source, lambda: runtime.write_back_due(source).claimed > 0)

    @app.task(name="oaerp.poll", shared=False)
    def poll(system: str) -> None:
        if system in runtime.polled:
            _rounds("poll", system, lambda: _poll(runtime, system))

    @app.task(name="oaerp.release", shared=False)
    def release(_nothing: str = "") -> None:
        _rounds("release", "what waited", lambda: _release(runtime))

    @app.task(name="oaerp.tidy", shared=False)
    def tidy(_nothing: str = "") -> None:
        _rounds("tidy", "the ledger", lambda: _tidy(runtime))


def _has_turn(runtime: Runtime, job: str, every_s: float) -> bool:
    """True for one worker a turn, however many schedulers ring."""
    with runtime.ledger.begin() as tx:
        return ticks.take(tx, job, every_s)


def _tidy(runtime: Runtime) -> bool:
    """Writes down outside the ledger where its audit log ends, and forgets answers that no client asks for again."""
    if _has_turn(runtime, "tidy", schedule.TIDY_EVERY_S):
        with runtime.ledger.begin() as tx:
            end = audit.end(tx)
        log.info("the audit log ends here", entries=end.entries, hash=end.hash)
        _rounds("forget", "answers", lambda: _forget(runtime))
    return False


def _forget(runtime: Runtime) -> bool:
    """One batch of old answers; True where there may be more. Events are never forgotten."""
    with runtime.ledger.begin() as tx:
        return idempotency.forget(tx, ANSWERS_KEPT_S) == idempotency.FORGOTTEN_AT_ONCE


def _release(runtime: Runtime) -> bool:
    if _has_turn(runtime, "release", runtime.settings.waiting.every_s):
        runtime.waiting.release_due()
    return False


def _resolve(runtime: Runtime, company: str) -> bool:
    asked = runtime.resolve_in_doubt(company)
    if asked.waiting:
        runtime.deliver_due(company)
    return asked.claimed > 0


def _poll(runtime: Runtime, system: str) -> bool:
    if _has_turn(runtime, f"poll {system}", runtime.poll_every_s(system)):
        runtime.poll_once(system)
    return False


def _rounds(what: str, whom: str, work: Callable[[], bool]) -> None:
    """Works until nothing is due. A task never fails: what went wrong is in the ledger, or comes again with the next tick."""
    started = time.monotonic()
    try:
        for _ in range(ROUNDS_MAX):
            if not work():
                return
    except (ConnectorError, SQLAlchemyError) as error:
        log.warning("left for the next tick", work=what, whom=whom, error=str(error)[:300])
    finally:
        log.debug("worked", work=what, whom=whom, duration_ms=int((time.monotonic() - started) * 1000))
