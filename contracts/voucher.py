"""The voucher the ERP books: balanced to the cent, or it cannot be built."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

import orjson
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from contracts.amount import DecimalText, RateText, decimal_text, fits, minor_digits, quantum
from contracts.fields import Code, Company, Contract, Currency, Day, Number, Text, Version
from contracts.findings import Finding, Refused, broken, refused

LINES_MAX = 5_000
VOUCHER_BYTES_MAX = 4 * 1024 * 1024

Side = Literal["debit", "credit"]
Purpose = Literal["post", "reverse"]
MappedRole = Literal[  # What the mapping has an account for.
    "expense",
    "input_tax",
    "pending_tax",
    "non_deductible_tax",
    "tax_transfer_out",
    "advance",
    "employee_payable",
    "employee_receivable",
    "card_clearing",
    "supplier_payable",
    "exchange_difference",
    "rounding",
    "accrual",
    "bank",
]
Role = Literal[MappedRole, "counterpart"]  # And the other side of a debit and a credit that the mapping adds to a cost.
_NO_DIMENSIONS: Mapping[str, str] = MappingProxyType({})


class Unbalanced(ValueError):
    """A voucher that must not exist: debits and credits differ, or an amount, sign or currency is wrong."""


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """Which version of which document the voucher is for."""

    type: str
    number: str
    version: int


class VoucherLine(NamedTuple):  # A tuple, because a voucher has many: building one costs a fifth of a frozen dataclass.
    """One side of one account. `amount` is in the voucher's currency; the original currency stands beside it where it differs.

    `rule` names the mapping rule that made the line, `source_line` the line of the report it comes from, `origin_period`
    the accounting period it belongs to where that was closed.
    """

    side: Side
    account: str
    amount: Decimal
    role: Role
    dimensions: Mapping[str, str] = _NO_DIMENSIONS
    memo: str | None = None
    rule: str | None = None
    source_line: int | None = None
    currency: str | None = None
    amount_in_currency: Decimal | None = None
    rate: Decimal | None = None
    origin_period: str | None = None


@dataclass(frozen=True, slots=True)
class Voucher:
    """A balanced voucher in one currency. Debits equal credits and the totals are the sums, or building it raises Unbalanced.

    On `post` every amount is above zero. On `reverse` every amount is below zero on the side it had (red letter), or
    every amount is above zero on the other side (`swapped`); never some of each.
    """

    company: str
    reference: str
    document: DocumentRef
    purpose: Purpose
    date: dt.date
    currency: str
    lines: tuple[VoucherLine, ...]
    total_debit: Decimal
    total_credit: Decimal
    memo: str | None = None
    reverses: str | None = None

    def __post_init__(self) -> None:
        # Sums and least amounts are taken by C code: a voucher has many lines, and a worker builds thousands a second.
        # A sum has as many decimals as the finest of its amounts.
        debits = [line.amount for line in self.lines if line.side == "debit"]
        credits = [line.amount for line in self.lines if line.side == "credit"]
        debit, credit = sum(debits, _ZERO), sum(credits, _ZERO)
        unit = quantum(self.currency)
        posting = self.purpose == "post"
        if (
            unit is None
            or not debits
            or not credits
            or not (debit.same_quantum(unit) and credit.same_quantum(unit))
            or not (_all_above_zero(debits, credits) or (not posting and _all_below_zero(debits, credits)))
            or debit != credit
            or debit != self.total_debit
            or credit != self.total_credit
            or len(self.lines) > LINES_MAX
            or posting is not (self.reverses is None)
        ):
            self._explain(debit, credit)

    @classmethod
    def of(
        cls,
        *,
        company: str,
        reference: str,
        document: DocumentRef,
        date: dt.date,
        currency: str,
        lines: Sequence[VoucherLine],
        purpose: Purpose = "post",
        memo: str | None = None,
        reverses: str | None = None,
    ) -> Voucher:
        """The voucher of these lines, with its totals computed. Raises Unbalanced."""
        return cls(
            company,
            reference,
            document,
            purpose,
            date,
            currency,
            tuple(lines),
            sum((line.amount for line in lines if line.side == "debit"), _ZERO),
            sum((line.amount for line in lines if line.side == "credit"), _ZERO),
            memo,
            reverses,
        )

    def reversed(self, reference: str, date: dt.date) -> Voucher:
        """The red-letter voucher: the same accounts on the same sides with negative amounts, linked to this one.

        A red-letter voucher cannot be reversed again: that raises ValueError.
        """
        if self.purpose == "reverse":
            raise ValueError(f"{self.reference} is a reversal; post the document again instead of reversing it")
        return Voucher(
            self.company,
            reference,
            self.document,
            "reverse",
            date,
            self.currency,
            tuple(_negated(line, line.side) for line in self.lines),
            -self.total_debit,
            -self.total_credit,
            self.memo,
            self.reference,
        )

    def swapped(self) -> Voucher:
        """The reversal in its other form: negative amounts on the same sides become positive ones on the other sides, and
        the other way round. Every account ends with the same balance; twice gives the first form back.

        Only a reversal has two forms: anything else raises ValueError.
        """
        if self.purpose != "reverse":
            raise ValueError(f"{self.reference} is not a reversal; only a reversal can stand on the other sides")
        return Voucher(
            self.company,
            self.reference,
            self.document,
            self.purpose,
            self.date,
            self.currency,
            tuple(_negated(line, "credit" if line.side == "debit" else "debit") for line in self.lines),
            -self.total_credit,
            -self.total_debit,
            self.memo,
            self.reverses,
        )

    def _red(self) -> bool:
        """Whether a reversal has negative amounts; its first line decides for all."""
        return bool(self.lines) and self.lines[0].amount.is_signed()

    def _explain(self, debit: Decimal, credit: Decimal) -> None:
        """Raises Unbalanced where something is wrong; returns where amounts only have fewer decimals than the currency."""
        unit = quantum(self.currency)
        if unit is None:
            raise Unbalanced(f"{self.reference}: {self.currency!r} is not a currency in use")
        if not 2 <= len(self.lines) <= LINES_MAX:
            raise Unbalanced(f"{self.reference}: a voucher has 2 to {LINES_MAX} lines, not {len(self.lines)}")
        posting = self.purpose == "post"
        red = not posting and self._red()
        if posting is not (self.reverses is None):
            raise Unbalanced(f"{self.reference}: a reversal names the voucher it reverses, and only a reversal does")
        for number, line in enumerate(self.lines, 1):
            if not line.amount.is_finite() or not fits(line.amount, unit):
                raise Unbalanced(
                    f"{self.reference}: line {number} has more decimals than {self.currency}: {line.amount}"
                )
            if line.amount == 0 or line.amount.is_signed() is not red:
                sign = "below" if red else "above"
                raise Unbalanced(
                    f"{self.reference}: line {number} must be {sign} zero to {self.purpose}, it is {line.amount}"
                )
        if debit != credit:
            raise Unbalanced(f"{self.reference}: debits {debit} and credits {credit} differ by {debit - credit}")
        if debit != self.total_debit or credit != self.total_credit:
            raise Unbalanced(
                f"{self.reference}: totals {self.total_debit}/{self.total_credit} are not the sums {debit}/{credit}"
            )


_ZERO = Decimal(0)


def _all_above_zero(debits: Sequence[Decimal], credits: Sequence[Decimal]) -> bool:
    return min(debits) > _ZERO and min(credits) > _ZERO


def _all_below_zero(debits: Sequence[Decimal], credits: Sequence[Decimal]) -> bool:
    return max(debits) < _ZERO and max(credits) < _ZERO


def _negated(line: VoucherLine, side: Side) -> VoucherLine:
    """The line with its amounts negated, on this side."""
    return VoucherLine(
        side,
        line.account,
        -line.amount,
        line.role,
        line.dimensions,
        line.memo,
        line.rule,
        line.source_line,
        line.currency,
        None if line.amount_in_currency is None else -line.amount_in_currency,
        line.rate,
        line.origin_period,
    )


def to_dict(voucher: Voucher) -> dict[str, Any]:
    """The voucher as it stands on the wire: amounts as text with the currency's decimals, absent fields left out."""
    unit = quantum(voucher.currency)
    document = voucher.document
    wire: dict[str, Any] = {
        "company": voucher.company,
        "reference": voucher.reference,
        "document": {"type": document.type, "number": document.number, "version": document.version},
        "purpose": voucher.purpose,
        "date": voucher.date.isoformat(),
        "currency": voucher.currency,
        "lines": [_line_to_dict(line, unit) for line in voucher.lines],
        "total_debit": decimal_text(voucher.total_debit, unit),
        "total_credit": decimal_text(voucher.total_credit, unit),
    }
    if voucher.memo is not None:
        wire["memo"] = voucher.memo
    if voucher.reverses is not None:
        wire["reverses"] = voucher.reverses
    return wire


def _line_to_dict(line: VoucherLine, unit: Decimal | None) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "side": line.side,
        "account": line.account,
        "amount": decimal_text(line.amount, unit),
        "dimensions": dict(line.dimensions),
        "role": line.role,
    }
    if line.memo is not None:
        wire["memo"] = line.memo
    if line.rule is not None:
        wire["rule"] = line.rule
    if line.source_line is not None:
        wire["source_line"] = line.source_line
    if line.currency is not None:
        wire["currency"] = line.currency
    if line.amount_in_currency is not None:
        wire["amount_in_currency"] = decimal_text(line.amount_in_currency, quantum(line.currency or ""))
    if line.rate is not None:
        wire["rate"] = decimal_text(line.rate)
    if line.origin_period is not None:
        wire["origin_period"] = line.origin_period
    return wire


def to_json(voucher: Voucher) -> bytes:
    """The voucher's wire bytes; `parse_voucher` gives an equal voucher back."""
    return orjson.dumps(to_dict(voucher))


class WireDocument(Contract):
    type: Code
    number: Number
    version: Version


class WireLine(Contract):
    side: Side
    account: Code
    amount: DecimalText
    dimensions: Annotated[dict[Code, Code], Field(max_length=50)]
    role: Role
    memo: Text | None = None
    rule: Text | None = None
    source_line: Annotated[int, Field(ge=1, le=99_999)] | None = None
    currency: Currency | None = None
    amount_in_currency: DecimalText | None = None
    rate: RateText | None = None
    origin_period: Code | None = None

    @model_validator(mode="after")
    def _is_right(self) -> Self:
        """What stands in another currency is an amount of it, and on the same side of zero."""
        amount = self.amount_in_currency
        if amount is not None:
            unit = quantum(self.currency or "")
            if unit is None:
                fix = "correct the currency code"
                raise broken([Finding("CON-122", "currency", "a currency in use (ISO 4217)", repr(self.currency), fix)])
            if not fits(amount, unit) or amount * self.amount < 0:
                expected = f"an amount of whole {unit:f} {self.currency} with the sign of the line"
                fix = "correct the amount"
                raise broken([Finding("CON-121", "amount_in_currency", expected, f"{amount:f}", fix)])
        return self


class WireHeader(Contract):
    """What the wire shapes of a voucher and of its documents have in common."""

    company: Company
    reference: Code
    document: WireDocument
    purpose: Purpose
    date: Day
    currency: Currency
    memo: Text | None = None
    reverses: Code | None = None


class WireVoucher(WireHeader):
    """The wire shape of a voucher, for its JSON Schema and for reading it from outside."""

    lines: Annotated[tuple[WireLine, ...], Field(min_length=2, max_length=LINES_MAX)]
    total_debit: DecimalText
    total_credit: DecimalText


WireT = TypeVar("WireT", bound=WireHeader)
_WIRE = TypeAdapter(WireVoucher)


def parse_voucher(body: bytes) -> Voucher:
    """The voucher in these wire bytes. Raises Refused with every finding, also where it does not balance."""
    wire = read_wire(_WIRE, body)
    try:
        return Voucher(**fields_of(wire))
    except Unbalanced as error:
        raise unbalanced(wire, error) from None


def read_wire(shape: TypeAdapter[WireT], body: bytes) -> WireT:
    """The wire shape in these bytes. Raises Refused with every finding."""
    if len(body) > VOUCHER_BYTES_MAX:
        raise Refused(
            Finding("CON-104", "", f"at most {VOUCHER_BYTES_MAX} bytes", f"{len(body)} bytes", "split the document")
        )
    try:
        return shape.validate_json(body)
    except ValidationError as error:
        raise refused(error) from None


def fields_of(wire: WireHeader) -> dict[str, Any]:
    """The wire's fields as a voucher or a document takes them, its lines as voucher lines."""
    found = {name: lines_of(value) if isinstance(value, tuple) else value for name, value in wire if name != "items"}
    return found | {"document": DocumentRef(wire.document.type, wire.document.number, wire.document.version)}


def lines_of(wire: Iterable[WireLine]) -> tuple[VoucherLine, ...]:
    """Lines on the wire as voucher lines."""
    return tuple([VoucherLine(**line.__dict__) for line in wire])


def unbalanced(wire: WireHeader, error: Unbalanced) -> Refused:
    """The refusal of what does not balance."""
    expected = f"a balanced voucher in {wire.currency} ({minor_digits(wire.currency)} decimals)"
    return Refused(Finding("CON-140", "", expected, str(error), "correct the lines"))
