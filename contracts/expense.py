"""The expense report as both systems share it, and everything that can be wrong with one on its own."""

from __future__ import annotations

from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.amount import DecimalText, RateText, ShareText, TaxRateText, fits, minor_digits, quantum
from contracts.fields import (
    Code,
    Contract,
    Currency,
    Data,
    Day,
    Instant,
    InvoiceNumber,
    MediaType,
    Name,
    Number,
    Sha256,
    Text,
)
from contracts.findings import Finding, broken

LINES_MAX = 500
ALLOCATIONS_MAX = 100
ADVANCES_MAX = 50
ATTACHMENTS_MAX = 100
ATTACHMENT_BYTES_MAX = 2**40
POSTING_DISTANCE_DAYS_MAX = 366
TAX_TOLERANCE_UNITS = 6  # An invoice of many lines rounds each line's tax; six cents cover what tax control systems allow.

PaidBy = Literal["employee", "company_card", "supplier"]
InvoiceKind = Literal["vat_special", "vat_ordinary", "rail", "air", "coach", "toll", "red_special", "foreign", "none"]


class Employee(Contract):
    """Who spent the money; `department` is the default of every line."""

    id: Code
    name: Name
    department: Code


class Rate(Contract):
    """Units of the report's currency for one unit of the line's currency, pinned for ever: replay never fetches another."""

    value: RateText
    date: Day
    source: Name


class Allocation(Contract):
    """One part of a line's cost; the shares of a line add to exactly 1."""

    share: ShareText
    department: Code | None = None
    project: Code | None = None
    cost_centre: Code | None = None


class Invoice(Contract):
    """The receipt behind a line, in the line's currency. `fare`, `fuel` and `airport_fee` only on air tickets."""

    kind: InvoiceKind
    number: InvoiceNumber | None = None
    code: InvoiceNumber | None = None
    seller: Name | None = None
    date: Day | None = None
    total: DecimalText | None = None
    net: DecimalText | None = None
    tax: DecimalText | None = None
    tax_rate: TaxRateText | None = None
    certified: bool | None = None
    fare: DecimalText | None = None
    fuel: DecimalText | None = None
    airport_fee: DecimalText | None = None


class Line(Contract):
    """One expense. `amount` is gross, as on the receipt; `personal` is the part of a card line the employee owes."""

    line: Annotated[int, Field(ge=1, le=99_999)]
    category: Code
    date: Day
    description: Text
    amount: DecimalText
    currency: Currency
    paid_by: PaidBy
    rate: Rate | None = None
    department: Code | None = None
    project: Code | None = None
    cost_centre: Code | None = None
    allocations: Annotated[tuple[Allocation, ...], Field(min_length=1, max_length=ALLOCATIONS_MAX)] | None = None
    personal: DecimalText | None = None
    invoice: Invoice | None = None


class AdvanceClaim(Contract):
    """How much of an advance this report uses up, in the report's currency."""

    number: Number
    amount: DecimalText


class Attachment(Contract):
    """A file of the report, by its hash; the bytes stay in the OA."""

    name: Name
    sha256: Sha256
    media_type: MediaType
    size: Annotated[int, Field(ge=0, le=ATTACHMENT_BYTES_MAX)]


class Payee(Contract):
    """Who gets the money when it is not the employee's usual account."""

    type: Literal["employee", "supplier"]
    id: Code
    bank_account: Code | None = None


class _Report(Data):
    number: Number
    employee: Employee
    currency: Currency
    title: Text
    submitted_on: Day
    lines: Annotated[tuple[Line, ...], Field(min_length=1, max_length=LINES_MAX)]
    advances: Annotated[tuple[AdvanceClaim, ...], Field(max_length=ADVANCES_MAX)] = ()
    attachments: Annotated[tuple[Attachment, ...], Field(max_length=ATTACHMENTS_MAX)] = ()
    total: DecimalText
    posting_date: Day | None = None
    payee: Payee | None = None

    @property
    def subject(self) -> str:
        return self.number

    @model_validator(mode="after")
    def _is_right(self) -> Self:
        findings = report_findings(self)
        if findings:
            raise broken(findings)
        return self


class SubmittedReport(_Report):
    """A report handed in and not yet approved: for budget reservation and early checks, never for posting."""


class ExpenseReport(_Report):
    """An approved report. Building one means it is right in itself: lines add up, rates are there, shares are whole."""

    approved_at: Instant


class Withdrawal(Data):
    """An approved report taken back: whatever was posted for it is to be reversed."""

    number: Number
    withdrawn_at: Instant
    reason: Text | None = None

    @property
    def subject(self) -> str:
        return self.number


def report_findings(report: _Report) -> list[Finding]:
    """Everything wrong with a report whose fields are each well-formed; paths are relative to the report."""
    found: list[Finding] = []
    unit = quantum(report.currency)
    if unit is None:
        found.append(_unknown_currency("currency", report.currency))
    else:
        if not fits(report.total, unit):
            found.append(_decimals("total", report.total, report.currency))
        if report.total < 0:
            found.append(
                Finding("CON-138", "total", "a total of zero or more", str(report.total), "send what is owed back as its own document")
            )
    booked: Decimal | None = Decimal(0)
    numbers: set[int] = set()
    for index, line in enumerate(report.lines):
        fault = line_findings(line, report.currency)
        if fault or line.line in numbers:
            at = f"lines[{index}]"
            if line.line in numbers:
                fault.append(Finding("CON-134", "line", "a number no other line has", str(line.line), "number the lines 1, 2, 3"))
            found.extend(Finding(f.code, f"{at}.{f.path}", f.expected, f.got, f.fix) for f in fault)
        numbers.add(line.line)
        if booked is not None:
            amount = booked_amount(line, report.currency, unit)
            booked = None if amount is None else booked + amount
    if booked is not None and unit is not None and booked != report.total:
        found.append(
            Finding("CON-131", "total", f"the sum of the lines, {booked:f}", f"{report.total:f}", "correct the lines or the total")
        )
    if report.advances:
        found.extend(_advance_findings(report, unit))
    if report.posting_date is not None and isinstance(report, ExpenseReport):
        approved_on = report.approved_at.date()
        if abs(report.posting_date - approved_on) > timedelta(days=POSTING_DISTANCE_DAYS_MAX):
            found.append(
                Finding(
                    "CON-139", "posting_date", f"a day within {POSTING_DISTANCE_DAYS_MAX} days of the approval on {approved_on}",
                    str(report.posting_date), "correct the posting date or leave it out",
                )
            )
    return found


def line_findings(line: Line, report_currency: str) -> list[Finding]:
    """Everything wrong with one line of a report in that currency; paths are relative to the line."""
    found: list[Finding] = []
    unit = quantum(line.currency)
    if unit is None:
        found.append(_unknown_currency("currency", line.currency))
    elif not fits(line.amount, unit):
        found.append(_decimals("amount", line.amount, line.currency))
    if line.currency == report_currency:
        if line.rate is not None and line.rate.value != 1:
            found.append(
                Finding("CON-132", "rate", f"no rate, the line is in {report_currency} already", f"{line.rate.value:f}", "leave the rate out")
            )
    elif line.rate is None:
        found.append(
            Finding(
                "CON-132", "rate", f"the rate from {line.currency} to {report_currency}", "nothing", "pin the rate, its date and its source"
            )
        )
    if line.personal is not None:
        if unit is not None and not fits(line.personal, unit):
            found.append(_decimals("personal", line.personal, line.currency))
        if not 0 <= line.personal <= max(line.amount, Decimal(0)):
            found.append(
                Finding("CON-136", "personal", f"from 0 to the line's amount {line.amount:f}", f"{line.personal:f}", "correct the personal part")
            )
    if line.allocations is not None:
        shares = sum((part.share for part in line.allocations), Decimal(0))
        if shares != 1:
            found.append(
                Finding("CON-133", "allocations", "shares that add to exactly 1", f"{shares:f}", "give the last part the rest of the share")
            )
    if line.invoice is not None:
        _check_invoice(line.invoice, line.currency, unit, found)
    return found


def booked_amount(line: Line, report_currency: str, unit: Decimal | None = None) -> Decimal | None:
    """The line in the report's currency, rounded half up; None where a currency is unknown or the rate is missing."""
    if line.currency == report_currency:
        return line.amount
    unit = unit or quantum(report_currency)
    if line.rate is None or unit is None:
        return None
    return (line.amount * line.rate.value).quantize(unit, ROUND_HALF_UP)


_AIR_PARTS = ("fare", "fuel", "airport_fee")


def _check_invoice(invoice: Invoice, currency: str, unit: Decimal | None, found: list[Finding]) -> None:
    total, net, tax = invoice.total, invoice.net, invoice.tax
    if unit is not None:
        for name, value in (("total", total), ("net", net), ("tax", tax)):
            if value is not None and not fits(value, unit):
                found.append(_decimals(f"invoice.{name}", value, currency))
    if net is not None and tax is not None:
        if total is not None and net + tax != total:
            found.append(
                Finding("CON-135", "invoice.total", f"net plus tax, {net + tax:f}", f"{total:f}", "copy net, tax and total from the invoice")
            )
        if invoice.tax_rate is not None and unit is not None:
            exact = net * invoice.tax_rate
            if abs(exact - tax) > TAX_TOLERANCE_UNITS * unit:
                found.append(
                    Finding(
                        "CON-135", "invoice.tax", f"net times the tax rate, about {exact.quantize(unit, ROUND_HALF_UP):f}", f"{tax:f}",
                        "copy tax and rate from the invoice; leave the rate out where it has several",
                    )
                )
    if invoice.fare is invoice.fuel is invoice.airport_fee is None:
        return
    for name in _AIR_PARTS:
        value = getattr(invoice, name)
        if value is None:
            continue
        if invoice.kind != "air":
            found.append(
                Finding("CON-137", f"invoice.{name}", "no such part: only air tickets have it", f"{value:f}", "leave it out or set kind to air")
            )
        if unit is not None and not fits(value, unit):
            found.append(_decimals(f"invoice.{name}", value, currency))


def _advance_findings(report: _Report, unit: Decimal | None) -> list[Finding]:
    found: list[Finding] = []
    numbers: set[str] = set()
    for index, claim in enumerate(report.advances):
        at = f"advances[{index}]"
        if claim.number in numbers:
            found.append(Finding("CON-134", f"{at}.number", "each advance once", claim.number, "add the amounts of one advance together"))
        numbers.add(claim.number)
        if claim.amount <= 0:
            found.append(Finding("CON-138", f"{at}.amount", "an amount above zero", f"{claim.amount:f}", "leave the advance out"))
        if unit is not None and not fits(claim.amount, unit):
            found.append(_decimals(f"{at}.amount", claim.amount, report.currency))
    return found


def _unknown_currency(path: str, currency: str) -> Finding:
    return Finding("CON-122", path, "a currency in use (ISO 4217)", repr(currency), "correct the currency code")


def _decimals(path: str, value: Decimal, currency: str) -> Finding:
    digits = minor_digits(currency)
    return Finding("CON-121", path, f"at most {digits} decimals in {currency}", f"{value:f}", "round the amount where it was made, not here")
