"""Money: exact decimals with their currency, and the only text forms in which they travel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

# ISO 4217 minor units of the currencies in use; funds, metals and withdrawn codes are left out on purpose.
_ZERO = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_TWO = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE
    CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR
    KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB
    PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY
    TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
_DIGITS: dict[str, int] = {
    **dict.fromkeys(_ZERO.split(), 0),
    **dict.fromkeys(_TWO.split(), 2),
    **dict.fromkeys(_THREE.split(), 3),
}
QUANTA: Mapping[str, Decimal] = {currency: Decimal(1).scaleb(-digits) for currency, digits in _DIGITS.items()}


def minor_digits(currency: str) -> int | None:
    """How many decimals the currency has; None for a code that is unknown, withdrawn, a metal or a fund."""
    return _DIGITS.get(currency)


def quantum(currency: str) -> Decimal | None:
    """The smallest amount of the currency (`0.01` for CNY); None for a code `minor_digits` does not know."""
    return QUANTA.get(currency)


def fits(value: Decimal, unit: Decimal) -> bool:
    """Whether the value has no more decimals than the unit. Trailing zeros count: 1.50 does not fit JPY."""
    if value.same_quantum(unit):
        return True
    return int(value.as_tuple().exponent) >= int(unit.as_tuple().exponent)


def decimal_text(value: Decimal, unit: Decimal | None = None) -> str:
    """The value as it stands on the wire, with the decimals of `unit` where given; never an exponent, never -0."""
    exact = value if unit is None or value.same_quantum(unit) else value.quantize(unit)
    assert unit is None or exact == value, "the decimals of an amount are never cut"
    return format(exact, "f")


AMOUNT_BELOW = Decimal(10) ** 14  # What an amount on the wire stays below, without its sign.
# An amount of 18 digits times a rate of 22 keeps each of its digits until it is rounded, once.
_WIDE = Context(prec=60, rounding=ROUND_HALF_UP)


def converted(amount: Decimal, rate: Decimal, unit: Decimal) -> Decimal:
    """The amount at a rate, in whole units of another currency, rounded half up."""
    return _WIDE.quantize(_WIDE.multiply(amount, rate), unit)


@dataclass(frozen=True, slots=True)
class Amount:
    """An exact sum of money in one currency. Building one with an unknown currency or too many decimals raises ValueError."""

    value: Decimal
    currency: str

    def __post_init__(self) -> None:
        unit = QUANTA.get(self.currency)
        if unit is None:
            raise ValueError(f"{self.currency!r} is not a currency in use (ISO 4217)")
        if not self.value.is_finite() or not fits(self.value, unit):
            raise ValueError(f"{self.value} has more decimals than {self.currency} has")

    @classmethod
    def rounded(cls, value: Decimal, currency: str) -> Amount:
        """The value rounded half up to the currency's decimals."""
        unit = QUANTA.get(currency)
        return cls(value if unit is None else value.quantize(unit, ROUND_HALF_UP), currency)

    def text(self) -> str:
        """The wire form, always with the currency's own number of decimals: `1060.00`."""
        value = self.value or abs(self.value)  # -0 is 0.
        return decimal_text(value, QUANTA[self.currency])

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.value + self._same(other), self.currency)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.value - self._same(other), self.currency)

    def __neg__(self) -> Amount:
        return Amount(-self.value, self.currency)

    def __lt__(self, other: Amount) -> bool:
        return self.value < self._same(other)

    def __le__(self, other: Amount) -> bool:
        return self.value <= self._same(other)

    def __gt__(self, other: Amount) -> bool:
        return self.value > self._same(other)

    def __ge__(self, other: Amount) -> bool:
        return self.value >= self._same(other)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __str__(self) -> str:
        return f"{self.text()} {self.currency}"

    def _same(self, other: Amount) -> Decimal:
        if not isinstance(other, Amount):
            raise TypeError(f"an Amount meets only an Amount, not {type(other).__name__}")
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} do not mix without a rate")
        return other.value


@dataclass(frozen=True, slots=True)
class DecimalForm:
    """A decimal that travels as a JSON string of one exact form. Everything else is refused before it becomes a number:
    JSON numbers, exponents, underscores, spaces, full-width digits, negative zero."""

    pattern: str
    code: str
    expected: str
    fix: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        error: dict[str, str | int] = {"code": self.code, "expected": self.expected, "fix": self.fix}
        text = core_schema.str_schema(pattern=self.pattern, strict=True)
        form = re.compile(self.pattern)

        def from_python(value: object) -> Decimal:
            if isinstance(value, Decimal) and value.is_finite():
                value = format(value, "f")
            if isinstance(value, str) and form.fullmatch(value):
                return Decimal(value)
            raise PydanticCustomError("form", "expected {expected}", {**error})

        return core_schema.json_or_python_schema(
            json_schema=core_schema.custom_error_schema(
                core_schema.no_info_after_validator_function(Decimal, text),
                custom_error_type="form",
                custom_error_message="expected {expected}",
                custom_error_context=error,
            ),
            python_schema=core_schema.no_info_plain_validator_function(from_python),
            serialization=core_schema.plain_serializer_function_ser_schema(
                decimal_text, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )


def _above_zero(decimals: int) -> str:
    """The digits after `0.` of a number above zero with at most so many decimals; regular expressions here have no look-ahead."""
    return "|".join(f"{'0' * zeros}[1-9][0-9]{{0,{decimals - zeros - 1}}}" for zeros in range(decimals))


_AMOUNT_WHOLE = r"[1-9][0-9]{0,13}(?:\.[0-9]{1,4})?"
AMOUNT_PATTERN = rf"^(?:0(?:\.[0-9]{{1,4}})?|{_AMOUNT_WHOLE}|-(?:{_AMOUNT_WHOLE}|0\.(?:{_above_zero(4)})))$"

DecimalText = Annotated[
    Decimal,
    DecimalForm(
        AMOUNT_PATTERN,
        "CON-120",
        'an amount as a JSON string like "1060.00", at most 14 digits before and 4 after the point',
        "send the amount as text: digits and a point, nothing else",
    ),
]
RateText = Annotated[
    Decimal,
    DecimalForm(
        rf"^(?:[1-9][0-9]{{0,9}}(?:\.[0-9]{{1,12}})?|0\.(?:{_above_zero(12)}))$",
        "CON-120",
        'a rate above zero as a JSON string like "7.1234", at most 12 decimals',
        "send the rate as text: digits and a point, nothing else",
    ),
]
ShareText = Annotated[
    Decimal,
    DecimalForm(
        rf"^(?:1(?:\.0{{1,12}})?|0\.(?:{_above_zero(12)}))$",
        "CON-120",
        'a share above 0 and at most 1 as a JSON string like "0.4"',
        "send the share as text; the shares of a line add to exactly 1",
    ),
]
TaxRateText = Annotated[
    Decimal,
    DecimalForm(
        r"^0(?:\.[0-9]{1,6})?$",
        "CON-120",
        'a tax rate from 0 to below 1 as a JSON string like "0.06"',
        "send the rate as a fraction, not as a percentage: 6 % is 0.06",
    ),
]
