"""What the ERP echoes is compared with what was sent: to the cent, or a person looks. On both databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from connector.adapter import Delivery, Outcome, Receipt
from connector.erp.file_ledger import FileLedger
from connector.ledger import Ledger
from connector.settings import System
from tests.integration.process.world import World, report


class OtherTotal(FileLedger):
    """An ERP that books what it is sent and echoes another total."""

    total = "1913.01"

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Receipt | Outcome]:
        return [
            replace(answer, total=self.total) if isinstance(answer, Receipt) else answer
            for answer in super().deliver(batch)
        ]

    def find(self, reference: str) -> Receipt | None:
        found = super().find(reference)
        return None if found is None else replace(found, total=self.total)


@pytest.mark.parametrize(("echoed", "state"), [("1913.00", "POSTED"), ("1913.01", "UNKNOWN"), ("1912.99", "UNKNOWN")])
def test_sent_1913_00_is_posted_where_the_erp_echoes_1913_00_and_nothing_else(
    ledger: Ledger, tmp_path: Path, echoed: str, state: str
) -> None:
    erp = OtherTotal(System(adapter="file", company="C01", options={"path": str(tmp_path / "erp")}))
    erp.total = echoed
    world = World(ledger, tmp_path / "erp", erp)
    world.receive(report(amount="1913.00"))

    world.runtime.deliver_due("C01")
    world.runtime.resolve_in_doubt("C01")

    assert world.postings() == [("C01-EXP-1-V1", state)]
    letters = world.letters()
    assert [letter.code for letter in letters] == ([] if state == "POSTED" else ["ERP-409"])
    assert all(echoed in letter.message and "1913.00" in letter.message for letter in letters)
