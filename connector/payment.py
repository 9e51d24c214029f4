"""Payments of a document: what was paid of what it owes, whatever the order in which the ERP tells of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from contracts.findings import Finding

State = Literal["open", "partly_paid", "paid"]

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment by its number in the ERP, as far as it was told: that it was made, that it was reversed, or both. A
    reversal that comes before its payment is reversed and not made yet."""

    number: str
    amount: Decimal
    made: bool = True
    reversed: bool = False

    @property
    def is_live(self) -> bool:
        """Whether the money is out."""
        return self.made and not self.reversed


@dataclass(frozen=True, slots=True)
class Settled:
    """How far a document is paid: `paid` is the sum of its live payments, `open` what is left of what it owes."""

    state: State
    paid: Decimal
    open: Decimal


def settled(payable: Decimal, payments: Sequence[Payment]) -> Settled:
    """How far these payments settle what is owed, by exact sums."""
    paid = sum((payment.amount for payment in payments if payment.is_live), _ZERO)
    left = payable - paid
    return Settled("paid" if left <= _ZERO else "partly_paid" if paid > _ZERO else "open", paid, left)


def settle(payable: Decimal, payments: Sequence[Payment], told: Payment) -> Settled | Finding:
    """How far the document is paid once this payment, or reversal, is told too; nothing changes where it is refused.

    Refused are a payment above what is open, one that was told before, and a reversal with another amount than its payment.
    What was refused for want of room goes through later, once a reversal made room: the end is the same in any order.
    """
    known = next((payment for payment in payments if payment.number == told.number), None)
    if known is not None and ((known.made and told.made) or (known.reversed and told.reversed)):
        expected = "a payment that was not " + ("made" if told.made else "reversed") + " before"
        return _refused("payment_number", expected, told.number, "number each payment anew in the ERP")
    if known is not None and known.amount != told.amount:
        expected = f"the amount of payment {known.number}, {known.amount:f}"
        return _refused("amount", expected, f"{told.amount:f}", "reverse a payment as a whole in the ERP")
    left = settled(payable, payments).open
    if known is None and told.is_live and told.amount > left:
        return _refused("amount", f"at most what is open, {left:f}", f"{told.amount:f}", "correct it in the ERP")
    return settled(payable, recorded(payments, told))


def recorded(payments: Sequence[Payment], told: Payment) -> tuple[Payment, ...]:
    """The payments with what was told: by number, each made, reversed or both."""
    others = tuple(payment for payment in payments if payment.number != told.number)
    known = next((payment for payment in payments if payment.number == told.number), told)
    return (*others, replace(known, made=known.made or told.made, reversed=known.reversed or told.reversed))


def _refused(field: str, expected: str, got: str, fix: str) -> Finding:
    return Finding("ACC-361", f"data.{field}", expected, got, fix)
