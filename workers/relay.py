"""The relay: events leave the outbox for the broker, a batch at a time, confirmed. Any number may run at once."""

from __future__ import annotations

import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError
from tenacity import Retrying, retry_if_exception_type, wait_exponential_jitter

from connector.bootstrap import Runtime
from connector.channels import Channel, Message, named
from connector.channels.signature import sign
from connector.errors import Unavailable
from connector.ledger import outbox
from connector.ledger.outbox import OutboxRow
from contracts import EVENT_BYTES_MAX

log = structlog.get_logger(__name__)


def run(runtime: Runtime, stop: threading.Event) -> None:
    """Relays until told to stop. Where the broker or the ledger is away it waits and tries again; nothing is lost."""
    retrying = Retrying(
        retry=retry_if_exception_type((Unavailable, SQLAlchemyError)),
        wait=wait_exponential_jitter(multiplier=0.2, max=5),
        sleep=lambda seconds: _wait(stop, seconds),
        stop=lambda _: stop.is_set(),
        retry_error_callback=lambda _: None,
        before_sleep=lambda state: log.warning(
            "the relay waits", error=str(state.outcome and state.outcome.exception())[:300]
        ),
    )
    while not stop.is_set():
        retrying(_relay, runtime, stop)


def _relay(runtime: Runtime, stop: threading.Event) -> None:
    channel = runtime.channel()
    try:
        channel.declare()
        while not stop.is_set():
            if not relay_once(runtime, channel):
                stop.wait(runtime.settings.outbox.idle_s)
                channel.beat()
    finally:
        channel.close()


def relay_once(runtime: Runtime, channel: Channel) -> int:
    """Sends one batch of due events and returns how many. Raises Unavailable where the broker did not confirm them;
    then they are due again. What was sent before is sent again only where the broker lost something."""
    settings = runtime.settings.outbox
    with runtime.ledger.begin() as tx:
        rows = outbox.claim(tx, settings.batch, settings.resend_after_s, settings.resend_after_max_s)
    if not rows:
        return 0
    too_long = [row for row in rows if len(row.body) > EVENT_BYTES_MAX]
    if too_long:  # only by an application's own publish: no broker of ours takes them, so they go to a person at once
        runtime.apply_batch([Message(row.body, named(row.source, row.event_id)) for row in too_long], door="relay")
        rows = [row for row in rows if len(row.body) <= EVENT_BYTES_MAX]
    keys = runtime.settings.security.signing_keys
    try:
        rows = _new_or_lost(runtime, channel, rows)
        channel.publish(
            [
                Message(
                    row.body,
                    {"type": row.type, **named(row.source, row.event_id), **sign(row.body, row.event_id, keys)},
                )
                for row in rows
            ]
        )
    except Unavailable:
        with runtime.ledger.begin() as tx:
            outbox.failed(tx, [row.id for row in rows])
        raise
    return len(rows)


def _new_or_lost(runtime: Runtime, channel: Channel, rows: list[OutboxRow]) -> list[OutboxRow]:
    """Leaves out what was sent before while the queue is as long as all that was sent and not recorded: then the broker
    holds it still, and no worker came to it. It has its turn again after a longer wait."""
    new = [row for row in rows if not row.again]
    if len(new) == len(rows):
        return rows
    with runtime.ledger.begin() as tx:
        sent_before = outbox.sent(tx) - len(new)
    return new if channel.depth() >= sent_before else rows


def _wait(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)
