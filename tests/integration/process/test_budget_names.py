"""A budget comes from the ERP and names its scope as the ERP does, whatever the OA calls it. On both databases."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from connector.facts import BalanceKey
from connector.ledger import Ledger, balances
from tests.integration.process.world import Shelved, World, claim, expense, record


@pytest.mark.parametrize("row", ["department,D01,*,100.01,,", "department,*,*,100.01,,"])
def test_a_cost_falls_under_the_budget_of_its_department_as_the_erp_calls_it(
    ledger: Ledger, tmp_path: Path, row: str
) -> None:
    book = Shelved(tmp_path / "book")
    book.add("dimensions", row)
    world = World(ledger, tmp_path / "erp", book=book.folder)
    world.receive(
        record("budget", "B-1", period="2025", amount="2000.00", currency="CNY", department="100.01"),
        record("budget", "B-2", period="2025", amount="2000.00", currency="CNY", department="D01"),
    )

    world.receive(claim("EXP-1", expense("travel.taxi", "300.00")))

    with ledger.begin() as tx:
        left = [balances.find(tx, BalanceKey("budget", "C01", key)) for key in ("B-1", "B-2")]
    assert [balance.open for balance in left if balance is not None] == [Decimal("1700.00"), Decimal("2000.00")]
