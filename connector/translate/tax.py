"""The tax of one line: taken from the invoice, per invoice, or computed where its kind has a formula. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from connector.invoices import name_of, stated_tax
from connector.spans import Span, Spans, cut, part_of
from connector.translate.tables import TaxRow
from contracts.amount import QUANTA
from contracts.expense import Invoice, Line, invoice_total
from contracts.findings import Finding
from contracts.voucher import Role

_ZERO = Decimal(0)
_ONE = Decimal(1)


class Deduction(NamedTuple):
    """What leaves the cost of a line as tax, in the line's currency: `tax` in all, of it `non_deductible`; the rest goes to
    `role`. `whole` is the tax of the invoice, where the line claims a part of it."""

    tax: Decimal
    non_deductible: Decimal
    role: Role
    row: TaxRow
    whole: Decimal


class Claims:
    """What the lines of one report claim of their invoices. `spans` says where the report's part of an invoice lies among
    those of other documents; where it says nothing, the report has the beginning."""

    __slots__ = ("_claimed", "_spans")

    def __init__(self, spans: Mapping[str, Spans]) -> None:
        self._claimed: dict[str, Decimal] = {}
        self._spans = spans

    def add(self, name: str, amount: Decimal) -> Decimal:
        """Claims so much more; gives how much was claimed before."""
        before = self._claimed.get(name, _ZERO)
        self._claimed[name] = before + amount
        return before

    def cut(self, name: str, start: Decimal, end: Decimal) -> Iterable[Span]:
        """Where on the invoice that part of the claim lies."""
        return cut(self._spans.get(name, ()), start, end)


def deduct(
    line: Line, invoice: Invoice, row: TaxRow, amount: Decimal, counted: Decimal, claims: Claims
) -> Deduction | Finding | None:
    """The tax in `counted`, the business part of the line's `amount` (magnitudes), by this row of the tax table; None
    where no tax leaves the cost. A claim above the invoice's total is refused, also over several lines.

    A part of an invoice, of a line or of a report, has the tax of its own span: the rounded tax up to its end less the
    rounded tax up to its beginning. Parts never overlap and all state the same tax, which preflight sees to, so whatever
    their number and order they never carry more than the invoice's tax, and together they carry all of it once the
    whole invoice is claimed; also where a document gave its part back and others took it.
    """
    total = invoice_total(invoice, amount)
    name = name_of(invoice)
    before = _ZERO if name is None else claims.add(name, amount)
    if before + amount > total:
        return Finding(
            "MAP-207",
            "amount",
            f"at most the invoice's total, {total:f}",
            f"{before + amount:f}",
            "correct the amount; an invoice is claimed once",
        )
    if row.method == "none":
        return None
    whole = _tax(invoice, row, total, QUANTA[line.currency])
    if isinstance(whole, Finding):
        return whole
    if row.method == "transfer_out" and row.certification and invoice.certified is None and whole:
        expected = "whether the tax that it takes back was certified"
        return Finding("MAP-206", "invoice.certified", expected, "nothing", "state true or false")
    if counted == total:
        return Deduction(whole, whole - _part(whole, row.deductible), _role(invoice, row), row, whole)
    spans = [(before, before + counted)] if name is None else list(claims.cut(name, before, before + counted))
    tax = part_of(spans, lambda place: _up_to(place, whole, total))
    deductible = part_of(spans, lambda place: _part(_up_to(place, whole, total), row.deductible))
    return Deduction(tax, tax - deductible, _role(invoice, row), row, whole)


def _tax(invoice: Invoice, row: TaxRow, total: Decimal, unit: Decimal) -> Decimal | Finding:
    """The tax of the whole invoice, in whole units of its currency."""
    stated = stated_tax(invoice)
    if stated is not None:
        red = row.method == "transfer_out"
        tax = abs(stated) if red else stated
        if not _ZERO <= tax < total:
            return Finding(
                "MAP-206",
                "invoice.tax",
                f"from 0 to below the total {total:f}",
                f"{stated:f}",
                "copy the tax from the invoice",
            )
        return tax if tax.same_quantum(unit) else tax.quantize(unit)
    if row.rate is None:
        return Finding(
            "MAP-206",
            "invoice.tax",
            f"the tax stated on the {invoice.kind} invoice",
            "nothing",
            "copy the tax from the invoice",
        )
    inside = total
    if row.method == "fare_and_fuel":
        if invoice.fare is None:
            return Finding(
                "MAP-206",
                "invoice.fare",
                "the fare of the air ticket",
                "nothing",
                "copy fare, fuel and airport fee from the ticket",
            )
        inside = invoice.fare + (invoice.fuel or _ZERO)
        if not _ZERO <= inside <= total:
            return Finding(
                "MAP-206",
                "invoice.fare",
                f"fare plus fuel of at most the total {total:f}",
                f"{inside:f}",
                "copy them from the ticket",
            )
    return (inside * row.rate / (_ONE + row.rate)).quantize(unit, ROUND_HALF_UP)


def _up_to(place: Decimal, tax: Decimal, total: Decimal) -> Decimal:
    """The tax in the first so much of an invoice, rounded."""
    return (tax * place / total).quantize(tax, ROUND_HALF_UP)


def _part(tax: Decimal, deductible: Decimal) -> Decimal:
    """What of a tax may be deducted, rounded."""
    return tax if deductible == _ONE else (tax * deductible).quantize(tax, ROUND_HALF_UP)


def _role(invoice: Invoice, row: TaxRow) -> Role:
    """Where the tax goes: it is pending until it is certified, and a seller's red invoice takes it from where it is."""
    if row.certification and invoice.certified is not True:
        return "pending_tax"
    return "tax_transfer_out" if row.method == "transfer_out" else "input_tax"
