"""The expense report as both systems share it, and everything that can be wrong with one on its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.amount import (
    AMOUNT_BELOW,
    QUANTA,
    DecimalText,
    RateText,
    ShareText,
    TaxRateText,
    converted,
    fits,
    minor_digits,
)
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
DAYS_MAX = 366
ATTACHMENTS_MAX = 100
ATTACHMENT_BYTES_MAX = 2**40
POSTING_DISTANCE_DAYS_MAX = 366
TAX_TOLERANCE_UNITS = (
    6  # An invoice of many lines rounds each line's tax; six cents cover what tax control systems allow.
)

_ZERO = Decimal(0)

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
    """One expense. `amount` is gross, as on the receipt; `personal` is the part of a card line the employee owes;
    `days` is how many days a daily allowance is claimed for (one where absent)."""

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
    days: Annotated[int, Field(ge=1, le=DAYS_MAX)] | None = None
    invoice: Invoice | None = None


class AdvanceClaim(Contract):
    """How much of an advance this report uses up, in the report's currency or, where the advance was paid in another, in
    that `currency`: `rate` then says what it counts for in the report, `paid_rate` what the advance was paid at."""

    number: Number
    amount: DecimalText
    currency: Currency | None = None
    rate: Rate | None = None
    paid_rate: RateText | None = None


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

    approved_at: Instant | None = None


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
    currency, total, lines = report.currency, report.total, report.lines
    unit = QUANTA.get(currency)
    if unit is None:
        found.append(_unknown_currency("currency", currency))
    elif not (total.same_quantum(unit) or fits(total, unit)):
        found.append(_decimals("total", total, currency))
    if total < _ZERO and not any(line.invoice is not None and line.invoice.kind == "red_special" for line in lines):
        found.append(
            Finding(
                "CON-138",
                "total",
                "a total of zero or more, or a seller's red invoice (red_special) behind it",
                f"{total:f}",
                "send what is owed back as its own document",
            )
        )
    booked: Decimal | None = _ZERO
    for index, line in enumerate(lines):
        faults = line_findings(line, currency)
        if faults:
            found.extend(Finding(f.code, f"lines[{index}].{f.path}", f.expected, f.got, f.fix) for f in faults)
        if booked is not None:
            amount = line.amount if line.currency == currency else booked_amount(line, currency)
            booked = None if amount is None else booked + amount
    if (
        booked is not None
        and unit is not None
        and booked != total
        and _is_more_than_rounding(total - booked, unit, report)
    ):
        found.append(
            Finding(
                "CON-131", "total", f"the sum of the lines, {booked:f}", f"{total:f}", "correct the lines or the total"
            )
        )
    if len({line.line for line in lines}) != len(lines):
        found.extend(_doubled("lines", "line", [str(line.line) for line in lines], "number the lines 1, 2, 3"))
    if report.advances:
        _check_advances(report, unit, found)
    if report.posting_date is not None and isinstance(report, ExpenseReport):
        approved_on = report.approved_at.date()
        if abs(report.posting_date - approved_on) > timedelta(days=POSTING_DISTANCE_DAYS_MAX):
            expected = f"a day within {POSTING_DISTANCE_DAYS_MAX} days of the approval on {approved_on}"
            found.append(
                Finding(
                    "CON-139",
                    "posting_date",
                    expected,
                    str(report.posting_date),
                    "correct the posting date or leave it out",
                )
            )
    return found


def _is_more_than_rounding(difference: Decimal, unit: Decimal, report: _Report) -> bool:
    """An OA may convert the sum instead of the lines: up to one smallest unit per converted line is rounding."""
    converted = sum(line.currency != report.currency for line in report.lines)
    return abs(difference) > unit * converted


def line_findings(line: Line, report_currency: str) -> Sequence[Finding]:
    """Everything wrong with one line of a report in that currency; paths are relative to the line."""
    currency, amount, invoice = line.currency, line.amount, line.invoice
    found: list[Finding] = []
    unit = QUANTA.get(currency)
    if unit is None:
        found.append(_unknown_currency("currency", currency))
    elif not (amount.same_quantum(unit) or fits(amount, unit)):
        found.append(_decimals("amount", amount, currency))
    if currency != report_currency:
        if line.rate is None:
            expected = f"the rate from {currency} to {report_currency}"
            found.append(Finding("CON-132", "rate", expected, "nothing", "pin the rate, its date and its source"))
        else:
            found.extend(_too_large("rate", amount, line.rate.value, report_currency))
    elif line.rate is not None and line.rate.value != 1:
        expected = f"no rate, the line is in {report_currency} already"
        found.append(Finding("CON-132", "rate", expected, f"{line.rate.value:f}", "leave the rate out"))
    if line.personal is not None:
        _check_personal(line, line.personal, unit, found)
    if line.allocations is not None:
        shares = sum((part.share for part in line.allocations), _ZERO)
        if shares != 1:
            found.append(
                Finding(
                    "CON-133",
                    "allocations",
                    "shares that add to exactly 1",
                    f"{shares:f}",
                    "give the last part the rest of the share",
                )
            )
    if invoice is not None:
        wrong = len(found)
        _check_invoice(invoice, currency, unit, found)
        if len(found) == wrong:
            found.extend(_untrue(invoice, amount))
    return found


def booked_amount(line: Line, report_currency: str) -> Decimal | None:
    """The line in the report's currency, rounded half up; None where a currency is unknown or the rate is missing."""
    if line.currency == report_currency:
        return line.amount
    unit = QUANTA.get(report_currency)
    if line.rate is None or unit is None:
        return None
    return converted(line.amount, line.rate.value, unit)


def _too_large(path: str, amount: Decimal, rate: Decimal, currency: str) -> Iterator[Finding]:
    """An amount that is fine in its own currency may have no room in another."""
    unit = QUANTA.get(currency)
    if unit is not None and abs(converted(amount, rate, unit)) >= AMOUNT_BELOW:
        expected = f"a rate at which it counts for less than {AMOUNT_BELOW:f} {currency}"
        yield Finding("CON-132", path, expected, f"{rate:f}", "correct the amount or the rate")


def invoice_total(invoice: Invoice, claimed: Decimal) -> Decimal:
    """What the whole invoice is about, without its sign: its total, else what net, tax and airport fee add to, else what is
    claimed of it. An airport fee that stands beside the total belongs to it."""
    total, fee = invoice.total, invoice.airport_fee
    if total is None:
        if invoice.net is None or invoice.tax is None:
            return claimed
        total = invoice.net + invoice.tax + (fee or _ZERO)
    elif fee and _is_beside(invoice, total):
        total += fee
    return abs(total)


def _is_beside(invoice: Invoice, total: Decimal) -> bool:
    """Whether the airport fee stands beside this total: the rest alone makes it, and with the fee would be more."""
    if invoice.fare is not None:
        fares = invoice.fare if invoice.fuel is None else invoice.fare + invoice.fuel
        if fares + (invoice.airport_fee or _ZERO) <= total:
            return False
        if fares == total:
            return True
    return invoice.net is not None and invoice.tax is not None and invoice.net + invoice.tax == total


def _parts(invoice: Invoice) -> Decimal:
    parts = _ZERO
    for part in (invoice.fare, invoice.fuel, invoice.airport_fee):
        if part is not None:
            parts += part
    return parts


def _check_personal(line: Line, personal: Decimal, unit: Decimal | None, found: list[Finding]) -> None:
    if unit is not None and not fits(personal, unit):
        found.append(_decimals("personal", personal, line.currency))
    if not _ZERO <= personal <= max(line.amount, _ZERO):
        expected = f"from 0 to the line's amount {line.amount:f}"
        found.append(Finding("CON-136", "personal", expected, f"{personal:f}", "correct the personal part"))


def _check_invoice(invoice: Invoice, currency: str, unit: Decimal | None, found: list[Finding]) -> None:
    total, net, tax = invoice.total, invoice.net, invoice.tax
    if unit is not None:
        for name, value in (("total", total), ("net", net), ("tax", tax)):
            if value is not None and not (value.same_quantum(unit) or fits(value, unit)):
                found.append(_decimals(f"invoice.{name}", value, currency))
    if net is not None and tax is not None:
        # On an air ticket the airport fee stands outside net and tax, and some sellers print it inside the total.
        if total is not None and net + tax not in (total, total - (invoice.airport_fee or _ZERO)):
            expected = f"net plus tax, {net + tax:f}"
            found.append(
                Finding("CON-135", "invoice.total", expected, f"{total:f}", "copy net, tax and total from the invoice")
            )
        if invoice.tax_rate is not None and unit is not None:
            exact = net * invoice.tax_rate
            if exact != tax and abs(exact - tax) > TAX_TOLERANCE_UNITS * unit:
                expected = f"net times the tax rate, about {exact.quantize(unit, ROUND_HALF_UP):f}"
                fix = "copy tax and rate from the invoice; leave the rate out where it has several"
                found.append(Finding("CON-135", "invoice.tax", expected, f"{tax:f}", fix))
    if invoice.fare is not None or invoice.fuel is not None or invoice.airport_fee is not None:
        _check_air(invoice, currency, unit, found)


def _untrue(invoice: Invoice, amount: Decimal) -> Iterator[Finding]:
    """What cannot be true of any invoice, although each amount is well-formed. Of a line below zero only that all of the
    invoice has one sign: some OAs state a red invoice below zero, some as large as it is."""
    total, net, tax, parts = invoice.total, invoice.net, invoice.tax, _ZERO
    named: tuple[tuple[str, Decimal | None], ...] = ("total", total), ("net", net), ("tax", tax)
    if invoice.kind == "air":
        named = (*named, ("fare", invoice.fare), ("fuel", invoice.fuel), ("airport_fee", invoice.airport_fee))
        parts = _parts(invoice)
    for name, value in named:
        if value is not None and value.is_signed() and _is_wrong_sign(invoice, amount, value, named):
            expected = "an amount of zero or more; only a seller's red invoice is below zero, and then all of it"
            yield Finding("CON-135", f"invoice.{name}", expected, f"{value:f}", "copy it from the invoice")
            return
    if not tax and not parts:
        return
    # Where it says no total, what is claimed of it is compared when its tax is taken.
    whole, tax = invoice_total(invoice, _ZERO), abs(tax or _ZERO)
    if not whole:
        return
    if parts > whole:
        fix = "copy fare, fuel, airport fee and total from the ticket"
        yield Finding("CON-135", "invoice.total", f"at least its parts, {parts:f}", f"{whole:f}", fix)
    # A tax rate is below 1, but what foreign invoices call tax is not always a rate of their net.
    elif tax >= whole if invoice.kind == "foreign" else tax > whole - tax:
        expected = (
            f"a part of the total {whole:f}" if invoice.kind == "foreign" else f"at most the net, {whole - tax:f}"
        )
        yield Finding("CON-135", "invoice.tax", expected, f"{tax:f}", "copy the tax from the invoice")


def _is_wrong_sign(
    invoice: Invoice, amount: Decimal, value: Decimal, named: Iterable[tuple[str, Decimal | None]]
) -> bool:
    if not value:
        return False
    blue = amount > _ZERO and invoice.kind != "red_special"
    return blue or any(other is not None and other > _ZERO for _, other in named)


def _check_air(invoice: Invoice, currency: str, unit: Decimal | None, found: list[Finding]) -> None:
    for name, value in (("fare", invoice.fare), ("fuel", invoice.fuel), ("airport_fee", invoice.airport_fee)):
        if value is None:
            continue
        path = f"invoice.{name}"
        if invoice.kind != "air":
            expected = "no such part: only air tickets have it"
            found.append(Finding("CON-137", path, expected, f"{value:f}", "leave it out or set kind to air"))
        if unit is not None and not fits(value, unit):
            found.append(_decimals(path, value, currency))


def _check_advances(report: _Report, unit: Decimal | None, found: list[Finding]) -> None:
    numbers = [claim.number for claim in report.advances]
    if len(numbers) > 1 and len(set(numbers)) != len(numbers):
        found.extend(_doubled("advances", "number", numbers, "add the amounts of one advance together"))
    for index, claim in enumerate(report.advances):
        path = f"advances[{index}].amount"
        if claim.amount <= _ZERO:
            found.append(Finding("CON-138", path, "an amount above zero", f"{claim.amount:f}", "leave the advance out"))
        if claim.currency is not None or claim.rate is not None or claim.paid_rate is not None:
            _check_foreign_claim(report, claim, index, found)
        elif unit is not None and not (claim.amount.same_quantum(unit) or fits(claim.amount, unit)):
            found.append(_decimals(path, claim.amount, report.currency))


def _check_foreign_claim(report: _Report, claim: AdvanceClaim, index: int, found: list[Finding]) -> None:
    path = f"advances[{index}]"
    currency = claim.currency or report.currency
    unit = QUANTA.get(currency)
    if unit is None:
        found.append(_unknown_currency(f"{path}.currency", currency))
    elif not fits(claim.amount, unit):
        found.append(_decimals(f"{path}.amount", claim.amount, currency))
    foreign = currency != report.currency
    if foreign and claim.rate is None:
        expected = f"the rate from {currency} to {report.currency}"
        found.append(Finding("CON-132", f"{path}.rate", expected, "nothing", "pin the rate, its date and its source"))
    for name, rate in (("rate", claim.rate.value if claim.rate is not None else None), ("paid_rate", claim.paid_rate)):
        if not foreign and rate is not None and rate != 1:
            expected = f"no rate, the claim is in {report.currency} already"
            found.append(Finding("CON-132", f"{path}.{name}", expected, f"{rate:f}", "leave the rate out"))
        elif rate is not None:
            found.extend(_too_large(f"{path}.{name}", claim.amount, rate, report.currency))


def _doubled(field: str, name: str, values: Sequence[str], fix: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield Finding("CON-134", f"{field}[{index}].{name}", "a number no other has", value, fix)
        seen.add(value)


def _unknown_currency(path: str, currency: str) -> Finding:
    return Finding("CON-122", path, "a currency in use (ISO 4217)", repr(currency), "correct the currency code")


def _decimals(path: str, value: Decimal, currency: str) -> Finding:
    digits = minor_digits(currency)
    return Finding(
        "CON-121",
        path,
        f"at most {digits} decimals in {currency}",
        f"{value:f}",
        "round the amount where it was made, not here",
    )
