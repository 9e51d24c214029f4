"""Exact arithmetic: every number to the last digit, or a failure; only rounding rounds, half up and once."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from fractions import Fraction

from connector.translate.tables import ExpressionFailed

FRACTION_DIGITS_MAX = 300
DIGITS_MAX = 60  # Of any number on the way; an amount has 18.

_FRACTION_MAX = 10**FRACTION_DIGITS_MAX
EXACT = Context(prec=DIGITS_MAX, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
ROUNDING = Context(prec=DIGITS_MAX, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow])

DECIMALS: Mapping[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": EXACT.add, "-": EXACT.subtract, "*": EXACT.multiply,
}  # fmt: skip
FRACTIONS: Mapping[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip


def sized(value: Fraction) -> Fraction:
    """The fraction, where it is not too long to go on with."""
    if abs(value.numerator) > _FRACTION_MAX or value.denominator > _FRACTION_MAX:
        raise ExpressionFailed(f"a fraction of more than {FRACTION_DIGITS_MAX} digits")
    return value


def half_up(value: Fraction, scale: int, places: int) -> Decimal:
    """The fraction rounded half up (away from zero), exactly: no digit is lost before."""
    numerator, denominator = abs(value.numerator) * scale, value.denominator
    whole = (2 * numerator + denominator) // (2 * denominator)
    return EXACT.scaleb(EXACT.create_decimal(whole if value >= 0 else -whole), -places)
