"""A fresh ledger on each database: what the ledger promises holds on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connector.ledger import Ledger


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'ledger.db'}"
    else:
        fresh: Callable[[], str] = request.getfixturevalue("fresh_postgres_url")
        url = fresh()
    made = Ledger(url)
    made.upgrade()
    yield made
    made.close()
