"""Traffic with a known end: reports, changes, withdrawals and duplicates, shuffled, and what must stand in the ERP after them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from decimal import Decimal

from tests.integration.process.world import report


@dataclass(frozen=True, slots=True)
class Traffic:
    """Events in the order they are sent, and reference -> amount of every voucher that must be live at the end."""

    events: list[bytes]
    expected: dict[str, Decimal]
    documents: int


def traffic(
    documents: int, *, seed: int, duplicates: float = 0.2, versions_max: int = 3, prefix: str = "EXP"
) -> Traffic:
    """`documents` reports with one to `versions_max` versions each; the last may be a withdrawal. The same seed gives the
    same traffic."""
    dice = random.Random(seed)
    events: list[bytes] = []
    expected: dict[str, Decimal] = {}
    for n in range(documents):
        number = f"{prefix}-{n:05d}"
        last = dice.randint(1, versions_max)
        for version in range(1, last + 1):
            withdrawn = version == last and version > 1 and dice.random() < 0.2
            amount = Decimal(dice.randint(1, 9_999_99)).scaleb(-2)
            happening = "withdrawn" if withdrawn else "approved" if version == 1 else "changed"
            event = report(number, version, happening, amount=f"{amount:f}", event_id=f"{number}-{version}")
            events.append(json.dumps(event, ensure_ascii=False).encode())
            if version == last and not withdrawn:
                expected[f"C01-{number}-V{version}"] = amount
    events += dice.sample(events, int(len(events) * duplicates))
    dice.shuffle(events)
    return Traffic(events, expected, documents)
