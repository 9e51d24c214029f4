"""Advances paid to employees before a trip, and what they gave back."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from contracts.amount import DecimalText
from contracts.expense import Employee, Rate
from contracts.fields import Code, Currency, Data, Day, Number, Text
from contracts.findings import broken
from contracts.settlement import money_findings


class _Advance(Data):
    number: Number
    employee: Employee
    amount: DecimalText
    currency: Currency
    rate: Rate | None = None
    reason: Text | None = None

    @property
    def subject(self) -> str:
        return self.number

    @model_validator(mode="after")
    def _is_right(self) -> Self:
        findings = money_findings(self.amount, self.currency)
        if findings:
            raise broken(findings)
        return self


class AdvancePaid(_Advance):
    """Money left the company for an employee; a report claims it later. `number` names the advance."""

    paid_on: Day
    bank_account: Code | None = None


class AdvanceReturned(_Advance):
    """An employee gave (part of) an advance back; `amount` is this return, not the sum of all returns."""

    returned_on: Day
