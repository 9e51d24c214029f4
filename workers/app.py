"""The Celery app: tasks are doorbells, the ledger holds the work. Settings are the safe ones, checked again by `oaerp doctor`."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from connector.bootstrap import Runtime
from connector.ledger.deadletters import Letter, park
from connector.settings import Settings
from workers import guard, schedule, tasks
from workers.step import EventStep

TASK_QUEUE = "tasks"
RING_TTL_MS = 60_000  # A doorbell that nobody heard for a minute has been rung again.


def make_app(runtime: Runtime) -> Celery:
    """The app of a process that works on `runtime`."""
    settings = runtime.settings

    def park_raw(raw: bytes, reason: str) -> None:
        letter = Letter(
            code="OPS-802",
            message=f"a message on the task queue is not ours: {reason}",
            door="task queue",
            body=raw,
            content_type="application/octet-stream",
        )
        with runtime.ledger.begin() as tx:
            park(tx, letter)

    guard.install(park_raw)
    app = Celery("oaerp", set_as_current=False)
    app.conf.update(configuration(settings))
    app.conf.beat_schedule = schedule.entries(runtime)
    vars(app)["runtime"] = runtime  # for the batch step, which Celery builds itself
    app.steps["consumer"].add(EventStep)
    tasks.register(app, runtime)
    return app


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings, every one of them there for a failure that was seen."""
    queue = f"{settings.prefix}.{TASK_QUEUE}"
    return {
        "broker_url": settings.broker_url,
        "broker_heartbeat": 5,
        "broker_connection_timeout": 10,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": _transport_options(settings),
        "broker_pool_limit": 2,
        "task_default_queue": queue,
        "task_queues": [_queue(queue, settings)],
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_publish_retry": False,  # a doorbell that cannot be rung is rung again by the next tick
        "result_backend": None,
        "accept_content": ["json"],
        "task_serializer": "json",
        "worker_consumer": "workers.guard:SafeConsumer",
        "worker_pool": "threads",  # delivery waits for the ERP; nothing is forked, so no connection is shared
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_soft_shutdown_timeout": 20,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "beat_scheduler": "workers.schedule:BellScheduler",  # keeps nothing on disk: who runs when is in the ledger
        "beat_max_loop_interval": 1,
        "enable_utc": True,
    }


def _queue(name: str, settings: Settings) -> Queue:
    if not settings.broker_url.startswith("amqp"):
        return Queue(name, Exchange(name, type="direct"), routing_key=name)
    # No dead letter exchange: a doorbell that expired or killed its worker too often is no loss.
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": settings.consumer.delivery_limit,
        "x-message-ttl": RING_TTL_MS,
        "x-max-length": 10_000,
    }
    return Queue(name, Exchange(name, type="direct"), routing_key=name, queue_arguments=arguments)


def _transport_options(settings: Settings) -> dict[str, Any]:
    scheme = settings.broker_url.partition(":")[0]
    if scheme.startswith("amqp"):
        return {"confirm_publish": True, "read_timeout": 10, "write_timeout": 10, "confirm_timeout": 5}
    if scheme.startswith("redis"):
        return {
            "global_keyprefix": f"{settings.prefix}:",
            "socket_timeout": 5,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "visibility_timeout": 600,
            "unacked_restore_throttle": 1,
        }
    return {"polling_interval": 0.01}
