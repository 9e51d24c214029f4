"""A real OA, RabbitMQ, PostgreSQL and a real ERP: what is accepted in the one stands in the other, once, to the cent.

The oracle is Tryton's own database, read by SQL: neither the connector nor Tryton's program is asked what it did.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import amqp
import pytest

from tests.acceptance.system import System
from tests.acceptance.traffic import traffic
from tests.support.cubicweb import Cubicweb, Line
from tests.support.private import virtual_host
from tests.support.servers import Broker
from tests.support.tryton import Move, Tryton
from tests.support.wait import until

EXPENSES, DOCUMENTS = 12, 200
DEADLINE_S = 600
KINDS = ("accomodation", "transport", "food", "communication")
# A killed worker is noticed, and the ERP asked about its calls, within seconds instead of minutes.
SHORT = {
    "OAERP_DELIVERY__LEASE_S": "20",
    "OAERP_DELIVERY__SETTLE_S": "3",
    "OAERP_DELIVERY__TICK_S": "1",
    "OAERP_OUTBOX__RESEND_AFTER_S": "5",
    "OAERP_RETRY__LEDGER_WAIT_S": "1",
    "OAERP_LOG_LEVEL": "WARNING",
}

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(DEADLINE_S * 2)]

Connector = Callable[..., System]


@pytest.fixture
def connector(
    fresh_postgres_url: Callable[[], str], rabbitmq: Broker, tryton: Tryton, tmp_path: Path
) -> Iterator[Connector]:
    """Makes a connector on RabbitMQ and PostgreSQL that books in Tryton; its processes end with the test."""
    made: list[System] = []

    def make(*oa: dict[str, Any]) -> System:
        erp = {
            "adapter": "tryton",
            "company": "C01",
            "url": tryton.url,
            "user": tryton.user,
            "password": tryton.password,
            "poll_s": 2,
            "options": {"database": tryton.database},
        }
        env = {
            "OAERP_LEDGER_URL": fresh_postgres_url(),
            "OAERP_BROKER_URL": rabbitmq.url,
            "OAERP_PREFIX": f"{rabbitmq.prefix}e2e",
            "OAERP_ERP": json.dumps([erp]),
            "OAERP_OA": json.dumps(oa),
        }
        made.append(System({**SHORT, **env}, tmp_path))
        return made[-1]

    yield make
    for system in made:
        system.close()


def test_what_the_oa_accepts_stands_posted_in_the_erp_and_the_oa_is_told(
    connector: Connector, cubicweb: Cubicweb, tryton: Tryton
) -> None:
    options = {"department": "D01", "employee.admin": "E001"}
    key = {"url": cubicweb.url, "user": cubicweb.token_id, "password": cubicweb.token}
    system = connector({"adapter": "cubicweb", "company": "C01", "poll_s": 1, "options": options, **key})
    for process in ("worker", "worker", "relay", "beat"):
        system.start(process)

    totals: dict[int, Decimal] = {}
    for n in range(1, EXPENSES + 1):
        lines = [Line(f"{100 + n}.{n:02}", "6.00", type=KINDS[n % len(KINDS)])]
        lines += [Line("53.10", type="food", title="晚餐")] if n % 3 == 0 else []
        expense = cubicweb.hand_in(f"出差 {n}", lines, by=f"E{n:03}")
        totals[expense] = sum((Decimal(line.amount) for line in lines), Decimal(0))
    first = {f"C01-EX{expense}-V1": total for expense, total in totals.items()}
    comes_true(system, lambda: standing(tryton, "C01-EX", of=totals) == first)
    comes_true(system, lambda: all(told(cubicweb, expense, f"(C01-EX{expense}-V1-posted)") for expense in totals))

    corrected, *others = totals
    cubicweb.edit_line(corrected, amount="88.80", taxes="0")

    last = {f"C01-EX{expense}-V1": totals[expense] for expense in others}
    last[f"C01-EX{corrected}-V2"] = Decimal("88.80")
    comes_true(system, lambda: standing(tryton, "C01-EX", of=totals) == last)
    comes_true(system, lambda: told(cubicweb, corrected, f"(C01-EX{corrected}-V2-posted)"))
    comes_true(system, system.quiet)
    books = [move for expense in totals for move in tryton.moves(f"C01-EX{expense}-")]
    assert_sound(books)
    assert [move.reference for move in books if move.cancels] == [f"C01-EX{corrected}-V1-R"]
    owed = {(move.reference, line.party) for move in books for line in move.lines if line.account == "224101"}
    assert {(f"C01-EX{expense}-V1", f"E{n:03}") for n, expense in enumerate(totals, 1)} <= owed
    letters = {number for (number,) in system.rows("SELECT number FROM dead_letters")}
    assert not letters & {f"EX{expense}" for expense in totals}  # Other tests hand in what cannot be booked.
    print(f"expenses={len(totals)} moves={len(books)} live={len(last)}")


def test_nothing_is_lost_or_doubled_where_workers_are_killed(
    connector: Connector, rabbitmq: Broker, tryton: Tryton
) -> None:
    sent = traffic(DOCUMENTS, seed=3, prefix="E2E")
    system = connector()
    exchange = f"{system.env['OAERP_PREFIX']}.events"
    workers = [system.start("worker"), system.start("worker")]
    for process in ("relay", "beat"):
        system.start(process)
    comes_true(system, lambda: is_declared(rabbitmq, exchange))

    # In waves: versions of one report arrive before and after an earlier one of them was posted.
    third = len(sent.events) // 3
    for n, wave in enumerate((sent.events[:third], sent.events[third : 2 * third], sent.events[2 * third :])):
        before = len(tryton.moves("C01-E2E"))
        system.accept(wave[::2])
        publish(rabbitmq, exchange, wave[1::2])
        comes_true(system, lambda before=before: len(tryton.moves("C01-E2E")) > before)
        if n < len(workers):
            system.kill(workers[n])
            system.start("worker")

    known = "SELECT count(*) FROM inbox WHERE source = '/oa/feishu/C01'"
    comes_true(system, lambda: system.count(known) == len({*sent.events}) and system.quiet())
    books = tryton.moves("C01-E2E")
    live = standing(tryton, "C01-E2E")
    lost, extra = sorted({*sent.expected} - {*live}), sorted({*live} - {*sent.expected})
    wrong = sorted(reference for reference in {*live} & {*sent.expected} if live[reference] != sent.expected[reference])
    doubled = sorted(str(ref) for ref, times in Counter(move.reference for move in books).items() if times > 1)
    taken_back = [move.cancels for move in books if move.cancels is not None]
    print(
        f"documents={sent.documents} events={len(sent.events)} moves={len(books)} live={len(live)}"
        f" reversed={len(taken_back)} lost={len(lost)} doubled={len(doubled)} extra={len(extra)} wrong={len(wrong)}"
    )
    assert (lost, doubled, extra, wrong) == ([], [], [], [])
    assert_sound(books)
    assert taken_back
    assert len({*taken_back}) == len(taken_back)
    assert system.count("SELECT count(*) FROM dead_letters WHERE state = 'open'") == 0


def comes_true(system: System, condition: Callable[[], object]) -> None:
    """Waits; where it does not happen, the postings and the logs say why."""

    def why() -> str:
        tables = {
            "postings": "SELECT state, purpose, code, count(*) FROM postings GROUP BY state, purpose, code",
            "write_backs": "SELECT state, code, count(*) FROM write_backs GROUP BY state, code",
            "inbox": "SELECT type, outcome, count(*) FROM inbox GROUP BY type, outcome",
            "dead letters": "SELECT code, message FROM dead_letters LIMIT 5",
        }
        return "\n".join(f"{name}: {system.rows(query)}" for name, query in tables.items()) + f"\n{system.logs()}"

    until(condition, DEADLINE_S, why, 0.25)


def standing(tryton: Tryton, prefix: str, of: Sequence[int] | dict[int, Decimal] | None = None) -> dict[str, Decimal]:
    """Reference -> debit of the moves that count; those of some expenses only, where they are given."""
    only = None if of is None else {f"C01-EX{expense}" for expense in of}
    return {
        reference: sum((line.debit for line in move.lines), Decimal(0))
        for move in tryton.live_moves(prefix)
        if (reference := str(move.reference)) and (only is None or reference.rpartition("-V")[0] in only)
    }


def assert_sound(moves: Sequence[Move]) -> None:
    """No draft is left behind; each move balances and says something."""
    assert [move.reference for move in moves if move.state != "posted"] == []
    for move in moves:
        debit = sum((line.debit for line in move.lines), Decimal(0))
        assert debit == sum((line.credit for line in move.lines), Decimal(0)) != 0, move.reference


def told(cubicweb: Cubicweb, expense: int, mark: str) -> bool:
    """Whether the OA shows a posted status with this mark."""
    return any(note.startswith("[ERP] posted") and note.endswith(mark) for note in cubicweb.notes(expense))


def connection_of_a_stranger(broker: Broker) -> amqp.Connection:
    """A connection of a program that knows nothing of the connector."""
    parts = urlsplit(broker.url)
    connection = amqp.Connection(
        f"{parts.hostname}:{parts.port or 5672}",
        userid=parts.username or "guest",
        password=parts.password or "guest",
        virtual_host=virtual_host(broker.url),
    )
    connection.connect()
    return connection


def is_declared(broker: Broker, exchange: str) -> bool:
    """Whether the connector has made its exchange and its queue."""
    with closing(connection_of_a_stranger(broker)) as connection:
        try:
            connection.channel().exchange_declare(exchange, "topic", passive=True)
            connection.channel().queue_declare(exchange, passive=True)
        except amqp.NotFound:
            return False
    return True


def publish(broker: Broker, exchange: str, events: Sequence[bytes]) -> None:
    """Plain CloudEvents, straight to the exchange and confirmed by the broker."""
    with closing(connection_of_a_stranger(broker)) as connection:
        channel = connection.channel()
        channel.confirm_select()
        for event in events:
            message = amqp.Message(event, content_type="application/cloudevents+json", delivery_mode=2)
            channel.basic_publish_confirm(message, exchange, json.loads(event)["type"], mandatory=True)
