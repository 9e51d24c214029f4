"""What became of a document in the ERP: posted, rejected, reversed, paid, payment reversed."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, Self

from pydantic import model_validator

from contracts.amount import DecimalText, fits, minor_digits, quantum
from contracts.fields import Code, Contract, Currency, Data, Day, Instant, Name, Number, Text, Version
from contracts.findings import Finding, broken


class Document(Contract):
    """The OA document and the version of it that an answer is about."""

    type: Literal["expense.report", "advance"]
    number: Number
    version: Version


class _Settlement(Data):
    """`number` is the OA document's number. `version` counts the ERP's own answers about that document (or is taken from its
    change time); `document.version` says which version of the document the answer is about."""

    number: Number
    document: Document
    reference: Code

    @property
    def subject(self) -> str:
        return self.number

    @model_validator(mode="after")
    def _is_right(self) -> Self:
        findings = self._findings()
        if findings:
            raise broken(findings)
        return self

    def _findings(self) -> list[Finding]:
        if self.document.number == self.number:
            return []
        return [
            Finding(
                "CON-130", "document.number", repr(self.number), repr(self.document.number), "both name one document"
            )
        ]


class VoucherPosted(_Settlement):
    """The voucher with our reference stands in the ERP's books under `erp_number`."""

    erp_number: Code
    posted_on: Day
    posted_at: Instant | None = None


class VoucherRejected(_Settlement):
    """The ERP, or a check before it, refused the voucher; nothing was booked."""

    code: Code
    message: Text
    field: Text | None = None
    rejected_at: Instant | None = None


class VoucherReversed(_Settlement):
    """The voucher was taken back by a red-letter voucher, `reversal_number`, where the ERP numbers those."""

    erp_number: Code
    reversed_on: Day
    reversal_number: Code | None = None
    reason: Text | None = None


class _Payment(_Settlement):
    payment_number: Code
    amount: DecimalText
    currency: Currency

    def _findings(self) -> list[Finding]:
        return [*super()._findings(), *money_findings(self.amount, self.currency)]


class PaymentMade(_Payment):
    """Money went out for the document: this payment's amount, not the sum of all payments."""

    paid_on: Day
    method: Name | None = None


class PaymentReversed(_Payment):
    """A payment came back or was cancelled; the document is open again by this amount."""

    reversed_on: Day
    reason: Text | None = None


def money_findings(amount: Decimal, currency: str) -> list[Finding]:
    """What is wrong with a sum of money that must be above zero and fit its currency."""
    found: list[Finding] = []
    unit = quantum(currency)
    if unit is None:
        found.append(
            Finding("CON-122", "currency", "a currency in use (ISO 4217)", repr(currency), "correct the currency code")
        )
    elif not fits(amount, unit):
        digits = minor_digits(currency)
        found.append(
            Finding(
                "CON-121",
                "amount",
                f"at most {digits} decimals in {currency}",
                f"{amount:f}",
                "round the amount where it was made",
            )
        )
    if amount <= 0:
        found.append(
            Finding("CON-138", "amount", "an amount above zero", f"{amount:f}", "send the reversal event instead")
        )
    return found
