"""Sharing an amount out so that not a cent is lost: the largest remainder method. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal


def allocate(amount: Decimal, shares: Sequence[Decimal], unit: Decimal) -> list[Decimal]:
    """The amount (zero or more, whole units) in parts by these shares, which add to exactly 1.

    The parts add to exactly the amount, and each differs from its exact share by less than one unit. Each part is
    rounded down, then the units left over go one by one to the largest remainders, the earlier part first on a tie.
    """
    assert amount >= 0, "a negative amount is shared out by its magnitude"
    exact = [amount * share for share in shares]
    parts = [value.quantize(unit, ROUND_FLOOR) for value in exact]
    left = int((amount - sum(parts)) / unit)
    assert 0 <= left <= len(parts), "the shares add to 1"
    by_remainder = sorted(range(len(parts)), key=lambda place: parts[place] - exact[place])
    for place in by_remainder[:left]:
        parts[place] += unit
    return parts
