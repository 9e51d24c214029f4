"""Records both systems know: one change or deletion of one record. A field that is absent is not stated, so it is not changed."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from contracts.amount import DecimalText, RateText, TaxRateText, fits, minor_digits, quantum
from contracts.fields import Code, Currency, Data, Day, Instant, Name, Text
from contracts.findings import Finding, broken

DIMENSIONS_MAX = 20
_RECORD_FIELDS = {"company", "id", "version", "changed_at"}


class Record(Data):
    """One master record as its source has it now. `version` only grows; a source that counts none sends its change time."""

    id: Code
    changed_at: Instant

    @property
    def subject(self) -> str:
        return self.id

    def stated(self) -> dict[str, Any]:
        """The fields this change speaks about, without the record's key, version and time."""
        return {name: value for name, value in self if value is not None and name not in _RECORD_FIELDS}


class EmployeeRecord(Record):
    """A person who hands in reports."""

    name: Name
    department: Code | None = None
    active: bool | None = None
    email: Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")] | None = None
    bank_account: Code | None = None
    supplier_code: Code | None = None


class DepartmentRecord(Record):
    """A department; `parent` is the one above it."""

    name: Name
    active: bool | None = None
    parent: Code | None = None
    cost_centre: Code | None = None


class CostCentreRecord(Record):
    """A cost centre; valid days are inclusive."""

    name: Name
    active: bool | None = None
    parent: Code | None = None
    valid_from: Day | None = None
    valid_to: Day | None = None


class ProjectRecord(Record):
    """A project costs can be booked on; valid days are inclusive."""

    name: Name
    active: bool | None = None
    department: Code | None = None
    valid_from: Day | None = None
    valid_to: Day | None = None


class AccountRecord(Record):
    """A general ledger account and the dimensions every line on it must carry."""

    name: Name
    active: bool | None = None
    currency: Currency | None = None
    dimensions: Annotated[tuple[Code, ...], Field(max_length=DIMENSIONS_MAX)] | None = None


class SupplierRecord(Record):
    """A supplier that is paid directly."""

    name: Name
    active: bool | None = None
    tax_number: Code | None = None
    bank_name: Name | None = None
    bank_account: Code | None = None


class TaxCodeRecord(Record):
    """A tax code with its rate, valid from a day on."""

    name: Name
    active: bool | None = None
    rate: TaxRateText | None = None
    valid_from: Day | None = None
    valid_to: Day | None = None


class PeriodRecord(Record):
    """An accounting period; its days are inclusive. Into one that is `closing` only goes what was approved within it."""

    starts_on: Day
    ends_on: Day
    state: Literal["open", "closing", "closed"]

    @model_validator(mode="after")
    def _is_right(self) -> Self:
        if self.starts_on > self.ends_on:
            raise broken(
                [
                    Finding(
                        "CON-139",
                        "ends_on",
                        f"a day from {self.starts_on} on",
                        str(self.ends_on),
                        "correct the period's days",
                    )
                ]
            )
        return self


_BUDGET_PERIOD = re.compile(r"\d{4}(?:-Q[1-4]|-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?)?", re.ASCII)


class BudgetRecord(Record):
    """A budget for a department, project or cost centre (or an account) in a period: `2025`, `2025-Q1`, `2025-03` or
    `2025-03-27`."""

    period: Code
    amount: DecimalText
    currency: Currency
    department: Code | None = None
    project: Code | None = None
    cost_centre: Code | None = None
    account: Code | None = None

    @model_validator(mode="after")
    def _is_right(self) -> Self:
        if not _BUDGET_PERIOD.fullmatch(self.period):
            fix = "write the period like this"
            raise broken([Finding("CON-117", "period", "a period like 2025, 2025-Q1 or 2025-03", self.period, fix)])
        unit = quantum(self.currency)
        if unit is None:
            raise broken(
                [
                    Finding(
                        "CON-122", "currency", "a currency in use (ISO 4217)", repr(self.currency), "correct the code"
                    )
                ]
            )
        if not fits(self.amount, unit):
            expected = f"at most {minor_digits(self.currency)} decimals in {self.currency}"
            raise broken(
                [Finding("CON-121", "amount", expected, f"{self.amount:f}", "round the amount where it was made")]
            )
        return self


class ExchangeRateRecord(Record):
    """Units of `to_currency` for one unit of `from_currency` on a day."""

    from_currency: Currency
    to_currency: Currency
    rate: RateText
    valid_on: Day
    kind: Name | None = None


class InvoiceRecord(Record):
    """A supplier's invoice that payables booked: `id` is its number, `used` how much of its total they took.

    Reports of employees, in every company of the group, share what is left."""

    invoice_code: Code | None = None
    total: DecimalText
    used: DecimalText
    currency: Currency
    seller: Name | None = None

    @model_validator(mode="after")
    def _is_right(self) -> Self:
        unit = quantum(self.currency)
        found: list[Finding] = []
        if unit is None:
            fix = "correct the code"
            found.append(Finding("CON-122", "currency", "a currency in use (ISO 4217)", repr(self.currency), fix))
        for name, value in (("total", self.total), ("used", self.used)):
            if unit is not None and not fits(value, unit):
                expected = f"at most {minor_digits(self.currency)} decimals in {self.currency}"
                found.append(Finding("CON-121", name, expected, f"{value:f}", "round the amount where it was made"))
        if not 0 <= self.used <= self.total:
            expected = f"from 0 to the invoice's total {self.total:f}"
            found.append(Finding("CON-138", "used", expected, f"{self.used:f}", "correct what payables took"))
        if found:
            raise broken(found)
        return self


class RecordDeleted(Record):
    """The record is gone at its source; what was booked with it stays."""

    reason: Text | None = None
