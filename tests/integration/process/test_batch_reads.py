"""However many documents a batch is about, the ledger is asked for what they depend on at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from connector.ledger import Ledger
from tests.integration.process.test_settlement_story import ListeningOa
from tests.integration.process.world import World, report, told


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> World:
    return World(ledger, tmp_path / "erp", oa={"/oa/feishu/C01": ListeningOa()})  # type: ignore[dict-item]


def payment(number: str, payment_number: str, amount: str) -> dict[str, Any]:
    """A payment of a report that was posted as its first version."""
    document = {"type": "expense.report", "number": number, "version": 1}
    return told(
        "payment.made.v1", number, number=number, reference=f"C01-{number}-V1", amount=amount, paid_on="2025-05-01",
        payment_number=payment_number, document=document, currency="CNY",
    )  # fmt: skip


def posted(number: str) -> dict[str, Any]:
    """The ERP's own feed tells what we posted."""
    document = {"type": "expense.report", "number": number, "version": 1}
    return told(
        "voucher.posted.v1", number, number=number, reference=f"C01-{number}-V1", erp_number="1", posted_on="2025-04-03",
        document=document,
    )  # fmt: skip


def asked(world: World, *events: dict[str, Any]) -> int:
    """How often the ledger is asked for something while these events are decided."""
    statements: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(world.ledger.engine, "before_cursor_execute", listen)
    try:
        result = world.receive(*events)
    finally:
        event.remove(world.ledger.engine, "before_cursor_execute", listen)
    assert result.applied == len(events)
    return sum(statement.lstrip().startswith(("SELECT", "WITH")) for statement in statements)


def test_many_payments_ask_the_ledger_no_more_often_than_two(world: World) -> None:
    numbers = [f"EXP-{n}" for n in range(10)]
    world.receive(*(report(number) for number in numbers))
    world.deliver()

    two = asked(world, *(payment(number, "P1", "10.00") for number in numbers[:2]))
    many = asked(world, *(payment(number, "P2", "20.00") for number in numbers))

    assert many == two


def test_many_answers_ask_the_ledger_no_more_often_than_two(world: World) -> None:
    numbers = [f"EXP-{n}" for n in range(10)]
    world.receive(*(report(number) for number in numbers))
    world.deliver()

    assert asked(world, *map(posted, numbers[2:])) == asked(world, *map(posted, numbers[:2]))


@pytest.mark.parametrize("amount", ["100.00", "70.00"], ids=["nothing to correct", "red and blue"])
def test_many_corrections_ask_the_ledger_no_more_often_than_two(world: World, amount: str) -> None:
    numbers = [f"EXP-{n}" for n in range(10)]
    world.receive(*(report(number) for number in numbers))
    world.deliver()

    changes = [report(number, 2, "changed", amount=amount, title="again") for number in numbers]

    assert asked(world, *changes[2:]) == asked(world, *changes[:2])


def test_two_payments_of_one_batch_know_of_each_other(world: World) -> None:
    world.receive(report())
    world.deliver()

    world.receive(payment("EXP-1", "P1", "60.00"), payment("EXP-1", "P2", "40.00"), payment("EXP-1", "P3", "1.00"))

    assert world.query("SELECT number FROM payments ORDER BY id") == [("P1",), ("P2",)]
    assert [letter.code for letter in world.letters()] == ["ACC-361"]
