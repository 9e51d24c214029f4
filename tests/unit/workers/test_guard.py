"""The guard lets through what our own doorbell and schedule send, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from connector.bootstrap import open_runtime
from connector.settings import Settings
from tests.integration.workers.crafted import TASKS, Crafted
from workers.app import make_app
from workers.doorbell import Doorbell
from workers.guard import refusal
from workers.schedule import BellScheduler


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    erp = [{"adapter": "file", "company": "C01", "options": {"path": str(tmp_path / "erp")}}]
    settings = Settings(home=tmp_path, prefix=tmp_path.name.replace("_", "-").lower()[:40], erp=erp)
    runtime = open_runtime(settings)
    made = make_app(runtime)
    yield made
    made.close()
    runtime.close()


def sent(app: Celery) -> list[Any]:
    """Every task message that waits, as a worker gets it."""
    messages: list[Any] = []
    with app.connection_for_read() as connection, connection.channel() as channel:
        queue = app.amqp.queues[app.conf.task_default_queue](channel)
        queue.declare()
        while (message := queue.get(no_ack=True)) is not None:
            messages.append(message)
    return messages


def refused(app: Celery, message: Any) -> str | None:
    return refusal(message.headers, message.content_type, message.content_encoding, message.body, app.tasks)


def test_what_the_doorbell_sends_passes(app: Celery) -> None:
    sent(app)
    bell = Doorbell(app)
    bell.want("oaerp.deliver", ["C01"])
    bell.want("oaerp.write_back", ["/oa/webhook/C01"])

    bell.ring()
    bell.close()

    messages = sent(app)
    assert len(messages) == 2
    assert [refused(app, message) for message in messages] == [None, None]


def test_what_beat_sends_passes(app: Celery) -> None:
    sent(app)
    scheduler: Any = BellScheduler(app=app)
    scheduler.setup_schedule()

    for entry in scheduler.schedule.values():
        scheduler.apply_async(entry, advance=False)

    messages = sent(app)
    assert len(messages) == len(app.conf.beat_schedule)
    assert {refused(app, message) for message in messages} == {None}


@pytest.mark.parametrize("crafted", TASKS, ids=lambda crafted: crafted.name)
def test_what_is_crafted_is_refused(app: Celery, crafted: Crafted) -> None:
    reason = refusal(crafted.all_headers(), crafted.content_type, crafted.content_encoding, crafted.body, app.tasks)

    assert reason is not None


def test_headers_of_brokers_and_of_tracing_pass(app: Celery) -> None:
    headers = Crafted("good", headers={"x-delivery-count": 2, "traceparent": "00-1-2-01"}).all_headers()

    assert refusal(headers, "application/json", "utf-8", Crafted("good").body, app.tasks) is None
