"""The tax of one line: taken from the invoice, per invoice, or computed where its kind has a formula. Pure."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from connector.translate.tables import TaxRow
from contracts.amount import QUANTA
from contracts.expense import Invoice, Line, invoice_total
from contracts.findings import Finding
from contracts.voucher import Role

_ZERO = Decimal(0)
_ONE = Decimal(1)


# How much of an invoice earlier lines of the same report have claimed, and how much of that counts for tax.
Claimed = tuple[Decimal, Decimal]


class Deduction(NamedTuple):
    """What leaves the cost of a line as tax, in the line's currency: `tax` in all, of it `non_deductible`; the rest goes to `role`."""

    tax: Decimal
    non_deductible: Decimal
    role: Role
    row: TaxRow


def deduct(
    line: Line, invoice: Invoice, row: TaxRow, amount: Decimal, counted: Decimal, claimed: dict[str, Claimed]
) -> Deduction | Finding | None:
    """The tax in `counted`, the business part of the line's `amount` (magnitudes), by this row of the tax table.

    Where several lines or a part claim one invoice, they get their share of its tax, and all shares together make it
    up to the cent; None where no tax leaves the cost. A claim above the invoice's total is refused, also over several lines. Records it in `claimed`.
    """
    total = invoice_total(invoice, amount)
    before = _ZERO
    sum_claimed = amount
    if invoice.number is not None:
        key = invoice.number if invoice.code is None else f"{invoice.code}/{invoice.number}"
        known = claimed.get(key)
        if known is None:
            claimed[key] = (amount, counted)
        else:
            sum_claimed, before = amount + known[0], known[1]
            claimed[key] = (sum_claimed, before + counted)
    if sum_claimed > total:
        return Finding(
            "MAP-207",
            "amount",
            f"at most the invoice's total, {total:f}",
            f"{sum_claimed:f}",
            "correct the amount; an invoice is claimed once",
        )
    method = row.method
    if method == "none":
        return None
    tax = _tax(invoice, row, total, QUANTA[line.currency])
    if isinstance(tax, Finding):
        return tax
    if counted != total:
        tax = _share(tax, before + counted, total) - _share(tax, before, total)
    stays = _ZERO
    if row.deductible != _ONE:
        stays = tax - (tax * row.deductible).quantize(tax, ROUND_HALF_UP)
    return Deduction(tax, stays, _role(invoice, row), row)


def _tax(invoice: Invoice, row: TaxRow, total: Decimal, unit: Decimal) -> Decimal | Finding:
    """The tax of the whole invoice, in whole units of its currency."""
    stated = invoice.tax
    if stated is None and invoice.net is not None and invoice.total is not None and not invoice.airport_fee:
        stated = invoice.total - invoice.net
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


def _share(tax: Decimal, counted: Decimal, total: Decimal) -> Decimal:
    """The tax in the first `counted` of `total`: rounding the running sum, not the parts, lets the parts re-add."""
    return (tax * counted / total).quantize(tax, ROUND_HALF_UP)


def _role(invoice: Invoice, row: TaxRow) -> Role:
    if row.method == "transfer_out":
        return "tax_transfer_out"
    return "pending_tax" if row.certification and invoice.certified is not True else "input_tax"
