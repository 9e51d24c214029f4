"""The world of the process tests, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.ledger import Ledger
from tests.integration.process.world import World


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> World:
    return World(ledger, tmp_path / "erp")
