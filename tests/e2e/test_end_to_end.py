"""A real OA, RabbitMQ, PostgreSQL and a real ERP: what is accepted in the one stands in the other, once, to the cent."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from connector.channels import Message
from connector.channels.amqp import AmqpChannel
from connector.settings import Consumer
from tests.acceptance.system import System
from tests.acceptance.traffic import traffic
from tests.support.cubicweb import Cubicweb, Line, Refused
from tests.support.servers import Broker
from tests.support.tryton import Tryton
from tests.support.wait import until

T = TypeVar("T")
REPORTS = 200
DEADLINE_S = 400

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture
def system(
    tryton: Tryton, cubicweb: Cubicweb, rabbitmq: Broker, fresh_postgres_url: Callable[[], str], tmp_path: Path
) -> Iterator[System]:
    """The connector between the two, not yet started."""
    erp = {
        "adapter": "tryton",
        "company": "C01",
        "url": tryton.url,
        "user": tryton.user,
        "password": tryton.password,
        "options": {"database": tryton.database},
        "poll_s": 3,
    }
    oa = {
        "adapter": "cubicweb",
        "company": "C01",
        "url": cubicweb.url,
        "user": cubicweb.token_id,
        "password": cubicweb.token,
        "options": {"department": "D01", "employee.admin": "E001"},
        "poll_s": 1,
    }
    made = System(
        {
            "OAERP_LEDGER_URL": fresh_postgres_url(),
            "OAERP_BROKER_URL": rabbitmq.url,
            "OAERP_PREFIX": f"{rabbitmq.prefix}e2e",
            "OAERP_ERP": json.dumps([erp]),
            "OAERP_OA": json.dumps([oa]),
            "OAERP_DELIVERY__LEASE_S": "15",
            "OAERP_DELIVERY__SETTLE_S": "5",
            "OAERP_DELIVERY__TICK_S": "1",
            "OAERP_OUTBOX__RESEND_AFTER_S": "5",
            "OAERP_RETRY__LEDGER_WAIT_S": "1",
            "OAERP_LOG_LEVEL": "WARNING",
        },
        tmp_path,
    )
    yield made
    made.close()


def live(tryton: Tryton, prefix: str) -> dict[str, list[Decimal]]:
    """Document (reference less its version) -> totals of its live moves."""
    found: dict[str, list[Decimal]] = {}
    for move in tryton.live_moves(prefix):
        assert move.reference is not None
        found.setdefault(move.reference.rsplit("-V", 1)[0], []).append(sum(line.debit for line in move.lines))
    return found


def assert_balanced(tryton: Tryton, prefix: str) -> None:
    """Every move of ours is posted and its debits are its credits."""
    wrong = [
        (move.reference, move.state)
        for move in tryton.moves(prefix)
        if move.state != "posted" or sum(line.debit - line.credit for line in move.lines) != 0
    ]
    assert wrong == []


def describe(system: System) -> str:
    return f"{system.rows('SELECT state, purpose, count(*) FROM postings GROUP BY 1, 2')} {system.rows('SELECT code, message FROM dead_letters LIMIT 5')}\n{system.logs()}"


def test_reports_of_the_real_oa_stand_in_the_real_erp_and_their_status_comes_back(
    system: System, tryton: Tryton, cubicweb: Cubicweb, rabbitmq: Broker
) -> None:
    dice = random.Random(3)
    amounts: dict[int, str] = {}

    def money() -> str:
        return f"{Decimal(dice.randint(1_00, 9_999_99)).scaleb(-2)}"

    children = [system.start(name) for name in ("worker", "worker", "relay", "beat")]
    for n in range(REPORTS):
        amount = money()
        amounts[hand_in(cubicweb, f"Trip {n}", amount)] = amount
    posted = "SELECT count(*) FROM postings WHERE state = 'POSTED'"
    until(lambda: system.count(posted) >= REPORTS // 4, DEADLINE_S, lambda: describe(system), 0.5)

    # In the middle: a worker dies, reports are corrected, and old events come again in any order.
    system.kill(children[0])
    for eid in dice.sample(sorted(amounts), REPORTS // 4):
        amounts[eid] = money()
        patiently(partial(cubicweb.edit_line, eid, amount=amounts[eid]))
    repeat(system, rabbitmq, dice)
    system.start("worker")
    for eid in dice.sample(sorted(amounts), REPORTS // 8):
        amounts[eid] = money()
        patiently(partial(cubicweb.edit_line, eid, amount=amounts[eid]))

    expected = {f"C01-EX{eid}": [Decimal(amount)] for eid, amount in amounts.items()}
    until(
        lambda: system.quiet() and live(tryton, "C01-EX") == expected,
        DEADLINE_S,
        lambda: f"{len(live(tryton, 'C01-EX'))} live of {len(expected)} {describe(system)}",
        1,
    )
    assert_balanced(tryton, "C01-EX")
    until(lambda: all(told(cubicweb, eid) for eid in amounts), 60, "every report is told that it is posted", 1)
    moves = len(tryton.moves("C01-EX"))
    print(f"reports={len(amounts)} moves={moves} live={len(expected)} lost=0 doubled=0")


def hand_in(cubicweb: Cubicweb, title: str, amount: str) -> int:
    """Created, handed in and accepted, as people do it."""
    eid = patiently(lambda: cubicweb.create(title, [Line(amount)]))
    patiently(lambda: cubicweb.submit(eid))
    patiently(lambda: cubicweb.accept(eid))
    return eid


def patiently(work: Callable[[], T]) -> T:
    """The OA's database takes one writer at a time and answers 500 to another; a person clicks again."""
    done: list[T] = []

    def clicked() -> bool:
        try:
            done.append(work())
        except Refused as refused:
            if "HTTP 500" not in str(refused):
                raise
            return False
        return True

    until(clicked, 30, "the OA takes it", 0.2)
    return done[0]


def repeat(system: System, rabbitmq: Broker, dice: random.Random) -> None:
    """A fifth of what came so far is published again, shuffled, straight to the exchange as any client may."""
    bodies = [bytes(row[0]) for row in system.rows("SELECT body FROM inbox WHERE type LIKE 'expense.report.%'")]
    channel = AmqpChannel(rabbitmq.url, f"{rabbitmq.prefix}e2e", Consumer())
    channel.publish(
        [Message(body, {"type": "expense.report.approved.v1"}) for body in dice.sample(bodies, len(bodies) // 5)]
    )
    channel.close()


def told(cubicweb: Cubicweb, eid: int) -> bool:
    """True where the last thing the OA was told is that it is posted."""
    notes = patiently(lambda: cubicweb.notes(eid))
    return bool(notes) and "posted" in notes[-1].lower()


def test_two_hundred_shuffled_reports_with_duplicates_and_a_killed_worker_end_exactly(
    system: System, tryton: Tryton, rabbitmq: Broker
) -> None:
    sent = traffic(REPORTS, seed=11, prefix="E2E")
    half = len(sent.events) // 2
    children = [system.start(name) for name in ("worker", "worker", "relay", "beat")]
    system.accept(sent.events[:half])
    channel = AmqpChannel(rabbitmq.url, f"{rabbitmq.prefix}e2e", Consumer())
    channel.publish([Message(body, {"type": "expense.report.approved.v1"}) for body in sent.events[half:]])
    channel.close()
    until(
        lambda: system.count("SELECT count(*) FROM postings WHERE state = 'POSTED'") >= 20,
        DEADLINE_S,
        lambda: describe(system),
        0.1,
    )

    system.kill(children[0])
    system.start("worker")

    def arrived() -> bool:
        known = "SELECT count(DISTINCT event_id) FROM inbox WHERE type LIKE 'expense.report.%'"
        return system.count(known) == len(set(sent.events)) and system.quiet()

    until(arrived, DEADLINE_S, lambda: describe(system), 0.5)
    found: dict[str | None, list[Decimal]] = {}
    for move in tryton.live_moves("C01-E2E"):
        found.setdefault(move.reference, []).append(sum((line.debit for line in move.lines), Decimal(0)))
    doubled: dict[Any, Any] = {reference: totals for reference, totals in found.items() if len(totals) > 1}
    print(f"reports={REPORTS} events={len(sent.events)} live={len(found)} doubled={len(doubled)}")
    assert found == {reference: [amount] for reference, amount in sent.expected.items()}
    assert_balanced(tryton, "C01-E2E")
