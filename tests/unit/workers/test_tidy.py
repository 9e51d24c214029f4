"""The hourly tidying: however much is old, it is forgotten in one turn, and where the audit log ends is written down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from sqlalchemy import text
from structlog.testing import capture_logs

from connector.bootstrap import Runtime, open_runtime
from connector.ledger import audit, idempotency
from connector.settings import Settings
from workers.app import make_app

OLD = (
    "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :count)"
    " INSERT INTO idempotency_keys (scope, key, request_sha256, status, body, created_at)"
    " SELECT 'http', n, 'x', 200, 'x', '2020-01-01 00:00:00.000000' FROM n"
)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    made = open_runtime(Settings(home=tmp_path))
    made.ledger.upgrade()
    yield made
    made.close()


@pytest.fixture
def app(runtime: Runtime) -> Iterator[Celery]:
    made = make_app(runtime)
    yield made
    made.close()


def _answers(runtime: Runtime) -> int:
    with runtime.ledger.begin() as tx:
        return int(tx.scalar(text("SELECT count(*) FROM idempotency_keys")) or 0)


def test_more_old_answers_than_one_batch_are_forgotten_in_one_turn(runtime: Runtime, app: Celery) -> None:
    with runtime.ledger.begin() as tx:
        tx.execute(text(OLD), {"count": 2 * idempotency.FORGOTTEN_AT_ONCE + 1})

    app.tasks["oaerp.tidy"]("")

    assert _answers(runtime) == 0


def test_a_second_bell_in_the_same_turn_forgets_nothing(runtime: Runtime, app: Celery) -> None:
    app.tasks["oaerp.tidy"]("")
    with runtime.ledger.begin() as tx:
        tx.execute(text(OLD), {"count": 1})

    app.tasks["oaerp.tidy"]("")

    assert _answers(runtime) == 1


def test_where_the_audit_log_ends_is_written_into_the_log_of_the_process(runtime: Runtime, app: Celery) -> None:
    with runtime.ledger.begin() as tx:
        audit.append(tx, actor="wang", action="deadletter.discard", subject="dead letter 1", reason="sent twice")
        last = tx.scalar(text("SELECT hash FROM audit"))

    with capture_logs() as logs:
        app.tasks["oaerp.tidy"]("")

    (said,) = [log for log in logs if log["event"] == "the audit log ends here"]
    assert (said["entries"], said["hash"]) == (1, last)
