"""The contender: a plain Celery task per message, as a careful user would write it. Validate, deduplicate, six-line
voucher, one PostgreSQL transaction, acknowledged late. It does the bare work only: no rules, no trace, no audit."""

from __future__ import annotations

import os
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import orjson
import psycopg
from celery import Celery

app = Celery("plain", broker=os.environ.get("BENCH_BROKER", "amqp://guest:guest@127.0.0.1:5672//"))
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=50,
    task_default_queue=os.environ.get("BENCH_QUEUE", "plain"),
    task_serializer="json",
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
)

SCHEMA = """
CREATE TABLE plain_inbox (source text, event_id text, body bytea, received_at timestamptz DEFAULT clock_timestamp(),
  PRIMARY KEY (source, event_id));
CREATE TABLE plain_voucher (reference text PRIMARY KEY, company text, number text, version int, lines jsonb, total text);
"""
_connections: dict[int, psycopg.Connection[Any]] = {}
CENT = Decimal("0.01")


def connection() -> psycopg.Connection[Any]:
    """One connection per process, opened after the fork."""
    pid = os.getpid()
    if pid not in _connections:
        _connections[pid] = psycopg.connect(os.environ["BENCH_POSTGRES"])
    return _connections[pid]


@app.task(name="plain.handle")  # type: ignore[untyped-decorator]
def handle(body: str) -> None:
    """One message, one transaction."""
    from contracts import parse_event

    event = parse_event(body.encode())
    report = event.data
    lines = []
    tax = Decimal(0)
    for line in report.lines:
        net = line.amount
        if line.invoice is not None and line.invoice.kind == "vat_special" and line.invoice.tax is not None:
            tax += line.invoice.tax
            net -= line.invoice.tax
        elif line.invoice is not None and line.invoice.kind == "rail":
            part = (line.amount * 9 / 109).quantize(CENT, ROUND_HALF_UP)
            tax += part
            net -= part
        lines.append({"side": "debit", "account": "6602", "amount": f"{net:f}"})
    lines.append({"side": "debit", "account": "2221", "amount": f"{tax:f}"})
    lines.append({"side": "credit", "account": "2241", "amount": f"{report.total:f}"})
    tx = connection()
    with tx.transaction():
        fresh = tx.execute(
            "INSERT INTO plain_inbox (source, event_id, body) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING RETURNING 1",
            (event.source, event.id, body.encode()),
        ).fetchone()
        if fresh:
            tx.execute(
                "INSERT INTO plain_voucher VALUES (%s, %s, %s, %s, %s, %s)",
                (
                    f"{event.company}-{event.number}-V{event.version}",
                    event.company,
                    event.number,
                    event.version,
                    orjson.dumps(lines).decode(),
                    f"{report.total:f}",
                ),
            )
