"""Every event type there is: its version, what its data is, and how an older version becomes the current one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from contracts.advance import AdvancePaid, AdvanceReturned
from contracts.expense import ExpenseReport, SubmittedReport, Withdrawal
from contracts.fields import Data
from contracts.findings import Finding, Refused, shown
from contracts.master_data import (
    AccountRecord,
    BudgetRecord,
    CostCentreRecord,
    DepartmentRecord,
    EmployeeRecord,
    ExchangeRateRecord,
    InvoiceRecord,
    PeriodRecord,
    ProjectRecord,
    RecordDeleted,
    SupplierRecord,
    TaxCodeRecord,
)
from contracts.settlement import PaymentMade, PaymentReversed, VoucherPosted, VoucherRejected, VoucherReversed

DataModel: TypeAlias = "type[Data]"


@dataclass(frozen=True, slots=True)
class Entry:
    """One event type: its full name with the version, the model of its data, and one sentence on what it says."""

    type: str
    data: DataModel
    title: str

    @property
    def name(self) -> str:
        """The type without its version."""
        return self.type.rpartition(".v")[0]

    @property
    def version(self) -> int:
        """The current version of the type."""
        return int(self.type.rpartition(".v")[2])


_RECORDS: dict[str, tuple[type[Data], str]] = {
    "employee": (EmployeeRecord, "An employee"),
    "department": (DepartmentRecord, "A department"),
    "cost_centre": (CostCentreRecord, "A cost centre"),
    "project": (ProjectRecord, "A project"),
    "account": (AccountRecord, "An account"),
    "supplier": (SupplierRecord, "A supplier"),
    "tax_code": (TaxCodeRecord, "A tax code"),
    "period": (PeriodRecord, "An accounting period"),
    "budget": (BudgetRecord, "A budget"),
    "exchange_rate": (ExchangeRateRecord, "An exchange rate"),
    "invoice": (InvoiceRecord, "A supplier's invoice that payables booked"),
}
_ENTRIES = [
    Entry("expense.report.submitted.v1", SubmittedReport, "An expense report was handed in; nothing is booked yet"),
    Entry("expense.report.approved.v1", ExpenseReport, "An expense report was approved and is to be booked"),
    Entry(
        "expense.report.changed.v1",
        ExpenseReport,
        "An approved report was changed and approved again, as a new version",
    ),
    Entry(
        "expense.report.withdrawn.v1",
        Withdrawal,
        "An approved report was taken back; what was booked is to be reversed",
    ),
    Entry("advance.paid.v1", AdvancePaid, "An employee was paid an advance"),
    Entry("advance.returned.v1", AdvanceReturned, "An employee returned (part of) an advance"),
    Entry("voucher.posted.v1", VoucherPosted, "The ERP has booked the voucher of a document"),
    Entry("voucher.rejected.v1", VoucherRejected, "The voucher of a document was refused"),
    Entry("voucher.reversed.v1", VoucherReversed, "The voucher of a document was reversed"),
    Entry("payment.made.v1", PaymentMade, "A payment for a document went out"),
    Entry("payment.reversed.v1", PaymentReversed, "A payment for a document came back"),
    *(
        Entry(f"master.{kind}.{verb}.v1", model if verb == "changed" else RecordDeleted, f"{title} was {verb}")
        for kind, (model, title) in _RECORDS.items()
        for verb in ("changed", "deleted")
    ),
]
CATALOGUE: Mapping[str, Entry] = {entry.type: entry for entry in _ENTRIES}
CURRENT: Mapping[str, int] = {entry.name: entry.version for entry in _ENTRIES}

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
# Type of an older version -> a pure function from that event, as a plain JSON value, to the event one version newer.
# An upcaster stays as long as a message of the old version can still come out of a queue, an archive or a backup.
UPCASTERS: Mapping[str, Upcaster] = {}

_TYPE = re.compile(r"([a-z_]+(?:\.[a-z_]+)+)\.v([1-9][0-9]{0,2})")


def upcast(
    event: dict[str, Any], catalogue: Mapping[str, Entry] = CATALOGUE, upcasters: Mapping[str, Upcaster] = UPCASTERS
) -> dict[str, Any]:
    """The event in the current version of its type. Raises Refused (CON-110, CON-111) where no way leads there."""
    current = {entry.name: entry.version for entry in catalogue.values()}
    while True:
        given = event.get("type")
        if not isinstance(given, str):
            raise Refused(_unknown_type(given, current))
        if given in catalogue:
            return event
        match = _TYPE.fullmatch(given)
        if match is None or match[1] not in current:
            raise Refused(_unknown_type(given, current))
        name, version = match[1], int(match[2])
        step = upcasters.get(given)
        if step is None or version >= current[name]:
            expected = f"{name}.v{current[name]} or an older version that can still be read"
            raise Refused(
                Finding("CON-111", "type", expected, given, "upgrade the connector before the sender, then replay")
            )
        event = step(event)
        assert event["type"] != given, "an upcaster moves to the next version"


def _unknown_type(given: object, current: Mapping[str, int]) -> Finding:
    if not isinstance(given, str):
        return Finding("CON-110", "type", "an event type of the catalogue", shown(given), "name the type of the event")
    same_start = [name for name in current if name.split(".")[0] == given.split(".")[0]] or list(current)
    known = ", ".join(f"{name}.v{current[name]}" for name in same_start[:5])
    return Finding("CON-110", "type", f"an event type of the catalogue, like {known}", shown(given), "correct the type")
