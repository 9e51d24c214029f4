"""Two hundred claims at once on one advance, one invoice and one budget never exceed it. On the real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connector.channels import Message
from connector.facts import BalanceKey
from connector.ledger import Ledger, balances
from tests.integration.process.world import World, advance, claim, expense, record

CLAIMS = 200
PLACES = 37  # So many claims of 10.00 fit into 377.00.


@pytest.fixture
def world(fresh_postgres_url: Callable[[], str], tmp_path: Path) -> Iterator[World]:
    ledger = Ledger(fresh_postgres_url(), pool_size=16)
    ledger.upgrade()
    yield World(ledger, tmp_path / "erp")
    ledger.close()


def _at_once(world: World, events: list[dict[str, Any]]) -> None:
    """Each event in a transaction of its own, sixteen at a time, as sixteen workers would."""
    bodies = [json.dumps(event).encode() for event in events]
    step = world.runtime.step
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda body: step.apply([Message(body)]), bodies))


def _advance_claims() -> list[dict[str, Any]]:
    claimed = [{"number": "ADV-1", "amount": "10.00"}]
    return [claim(f"EXP-{at}", expense("travel.taxi", "10.00"), advances=claimed) for at in range(CLAIMS)]


def _invoice_claims() -> list[dict[str, Any]]:
    invoice = {"kind": "vat_ordinary", "total": "377.00", "number": "25442000000000000001"}
    return [claim(f"EXP-{at}", expense("travel.hotel", "10.00", invoice=invoice)) for at in range(CLAIMS)]


def _budget_claims() -> list[dict[str, Any]]:
    return [claim(f"EXP-{at}", expense("travel.taxi", "10.00")) for at in range(CLAIMS)]


CASES = {
    "advance": ([advance("ADV-1", "377.00")], _advance_claims(), BalanceKey("advance", "C01", "ADV-1"), "ACC-302"),
    "invoice": ([], _invoice_claims(), BalanceKey("invoice", "*", "25442000000000000001"), "ACC-311"),
    "budget": (
        [record("budget", "B-1", period="2025", amount="377.00", currency="CNY", department="D01")],
        _budget_claims(),
        BalanceKey("budget", "C01", "B-1"),
        "ACC-321",
    ),
}


def test_reports_that_take_parts_of_one_invoice_at_once_carry_its_tax_to_the_cent(world: World) -> None:
    invoice = {"kind": "vat_special", "number": "25442000000000000001", "certified": True,
               "total": "370.00", "net": "349.06", "tax": "20.94"}  # fmt: skip
    claims = [claim(f"EXP-{at}", expense("travel.hotel", "10.00", invoice=invoice)) for at in range(PLACES)]

    _at_once(world, claims)

    made = [line for reference, _ in world.postings() for line in world.voucher_lines(reference)]
    taxes = [Decimal(line.split()[-1]) for line in made if line.startswith("Dr 2221010101")]
    assert (len(taxes), sum(taxes), set(taxes)) == (PLACES, Decimal("20.94"), {Decimal("0.56"), Decimal("0.57")})


@pytest.mark.parametrize("kind", CASES)
def test_two_hundred_claims_at_once_never_exceed_the_balance(world: World, kind: str) -> None:
    before, claims, key, code = CASES[kind]
    if before:
        world.receive(*before)

    _at_once(world, claims)

    with world.ledger.begin() as tx:
        balance = balances.find(tx, key)
    assert balance is not None
    assert (len(world.postings()), balance.used, balance.open) == (PLACES, Decimal("370.00"), Decimal("7.00"))
    assert {letter.code for letter in world.letters()} == {code}
    assert len(world.letters()) == CLAIMS - PLACES
