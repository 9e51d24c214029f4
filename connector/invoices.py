"""Invoices as the whole group knows them: what names one, what a report claims of it, what its documents must agree on. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from connector.facts import GROUP, BalanceKey, InvoiceFacts
from contracts.expense import ExpenseReport, Invoice, Line, invoice_total

_ZERO = Decimal(0)
_FULLY_DIGITAL = re.compile(r"[0-9]{20}")


def invoice_name(number: str, code: str | None, *, red: bool = False) -> str:
    """What names an invoice in the whole group: its number, for older ones with the code before it. A fully digital one
    has 20 digits and no code, whatever an OA adds; letters count alike in either case. A seller's red invoice may bear
    the number of the one it takes back, and is another."""
    name = number if code is None or _FULLY_DIGITAL.fullmatch(number) else f"{code}/{number}"
    return f"-{name}".upper() if red else name.upper()


def name_of(invoice: Invoice) -> str | None:
    """What names the invoice of a line; None where it has no number, or where there is no invoice."""
    if invoice.number is None or invoice.kind == "none":
        return None
    return invoice_name(invoice.number, invoice.code, red=invoice.kind == "red_special")


def key_of(name: str) -> BalanceKey:
    """The key of an invoice's balance."""
    return BalanceKey("invoice", GROUP, name)


def stated_tax(invoice: Invoice) -> Decimal | None:
    """The tax on the invoice, else what its total and net leave; an airport fee between them is no tax."""
    if invoice.tax is not None or invoice.net is None or invoice.total is None or invoice.airport_fee:
        return invoice.tax
    return invoice.total - invoice.net


class Clash(NamedTuple):
    """Two lines of one report that say different things of an invoice: the later one, and the field."""

    place: int
    field: str
    expected: str
    got: str


class Claim(NamedTuple):
    """What a report says of an invoice, how much of it all its lines claim, and the first line that does."""

    facts: InvoiceFacts
    amount: Decimal
    place: int
    clash: Clash | None = None


# What a report claims, by invoice.
Claimed = dict[BalanceKey, Claim]


def claimed_invoices(report: ExpenseReport) -> Claimed:
    """What the report claims of each invoice; of a seller's red invoice, what it gives back."""
    claimed: Claimed = {}
    for index, line, invoice, name in _named(report):
        amount = abs(line.amount)
        tax = stated_tax(invoice)
        total = invoice_total(invoice, amount)
        facts = InvoiceFacts(line.currency, total, invoice.kind, None if tax is None else abs(tax))
        key = key_of(name)
        before = claimed.get(key)
        claimed[key] = Claim(facts, amount, index) if before is None else _joined(before, facts, amount, index)
    return claimed


def _named(report: ExpenseReport) -> Iterable[tuple[int, Line, Invoice, str]]:
    for index, line in enumerate(report.lines):
        invoice = line.invoice
        name = None if invoice is None else name_of(invoice)
        if invoice is not None and name is not None and (line.amount < _ZERO) is (invoice.kind == "red_special"):
            yield index, line, invoice, name


def _joined(before: Claim, facts: InvoiceFacts, amount: Decimal, index: int) -> Claim:
    clash = before.clash
    differs = before.facts.differs(facts)
    if clash is None and differs is not None:
        clash = Clash(index, *differs)
    known = before.facts if before.facts.tax is not None else before.facts._replace(tax=facts.tax)
    return Claim(known._replace(total=max(known.total, facts.total)), before.amount + amount, before.place, clash)
