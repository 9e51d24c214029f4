"""The same voucher as a document of a sub-ledger, for ERPs that pay from one: a payable bill, or an expense document."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Self

import orjson
from pydantic import Field, TypeAdapter

from contracts.amount import DecimalText, decimal_text, quantum
from contracts.fields import Code, Contract
from contracts.voucher import (
    LINES_MAX,
    DocumentRef,
    Purpose,
    Role,
    Side,
    Unbalanced,
    Voucher,
    VoucherLine,
    WireHeader,
    WireLine,
    fields_of,
    lines_of,
    read_wire,
    unbalanced,
)
from contracts.voucher import to_dict as voucher_to_dict

_PARTIES: dict[Role, str] = {
    "employee_payable": "to_employee",
    "employee_receivable": "to_employee",
    "card_clearing": "to_card",
    "supplier_payable": "to_supplier",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """What both have in common. `memo` and `reverses` are the voucher's."""

    company: str
    reference: str
    document: DocumentRef
    purpose: Purpose
    date: dt.date
    currency: str
    total: Decimal
    memo: str | None = None
    reverses: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayableBill(_Document):
    """Who is owed what, and for what: costs and their tax in `lines`, what was paid before in `advances`, one entry for each
    payable in `parties` (a debit entry there is owed by the party).

    `total` is what is owed: the sum of the parties, and the lines less the advances; or building it raises Unbalanced. A
    reversal names the bill it takes back in `reverses`, and its total has the other sign.
    """

    lines: tuple[VoucherLine, ...]
    advances: tuple[VoucherLine, ...]
    parties: tuple[VoucherLine, ...]

    def __post_init__(self) -> None:
        _check(self, _bill_parts(as_voucher(self)))

    @classmethod
    def of(cls, voucher: Voucher) -> Self:
        """The bill this voucher says. No line is lost: `as_voucher` gives them all back, in the order of the bill."""
        return cls(**_header(voucher), **_bill_parts(voucher))


@dataclass(frozen=True, slots=True)
class ExpenseItem:
    """One line of the report with its costs and its tax. The item without `source_line` holds what belongs to no single line."""

    source_line: int | None
    entries: tuple[VoucherLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpenseDocument(_Document):
    """An employee's expenses, item by item as in the report, the advances set against them, and who is paid the rest.

    `total` is what was spent: the sum of the items, which advances and payables re-add to; or building it raises
    Unbalanced. `employee` is the first one named by what employees are paid, by the advances, by the items. A reversal
    names the document it takes back in `reverses`, and its total has the other sign.
    """

    employee: str | None
    items: tuple[ExpenseItem, ...]
    advances: tuple[VoucherLine, ...]
    to_employee: tuple[VoucherLine, ...]
    to_card: tuple[VoucherLine, ...]
    to_supplier: tuple[VoucherLine, ...]

    def __post_init__(self) -> None:
        _check(self, _expense_parts(as_voucher(self)))

    @classmethod
    def of(cls, voucher: Voucher) -> Self:
        """The expense document this voucher says. No line is lost: `as_voucher` gives them all back, in its order."""
        return cls(**_header(voucher), **_expense_parts(voucher))


ErpDocument = Voucher | PayableBill | ExpenseDocument


def as_voucher(document: ErpDocument) -> Voucher:
    """The voucher this document stands for, its lines in the order of the document. Raises Unbalanced."""
    if isinstance(document, Voucher):
        return document
    return Voucher.of(
        company=document.company,
        reference=document.reference,
        document=document.document,
        date=document.date,
        currency=document.currency,
        lines=[line for _, line in entries(document)],
        purpose=document.purpose,
        memo=document.memo,
        reverses=document.reverses,
    )


def entries(document: ErpDocument) -> Iterator[tuple[str, VoucherLine]]:
    """Every line of the document with its place on the wire, such as `parties[0]`."""
    if isinstance(document, ExpenseDocument):
        for number, item in enumerate(document.items):
            yield from ((f"items[{number}].entries[{place}]", line) for place, line in enumerate(item.entries))
    for name in _lists(document):
        yield from ((f"{name}[{place}]", line) for place, line in enumerate(getattr(document, name)))


def total_of(document: ErpDocument) -> Decimal:
    """What an ERP shows as the total of such a document: a voucher's debits, what a bill owes, what an expense document spent."""
    return document.total_debit if isinstance(document, Voucher) else document.total


def _lists(document: ErpDocument) -> tuple[str, ...]:
    match document:
        case PayableBill():
            return ("lines", "advances", "parties")
        case ExpenseDocument():
            return ("advances", "to_employee", "to_card", "to_supplier")
        case _:
            return ("lines",)


def _header(voucher: Voucher) -> dict[str, Any]:
    return {
        name: getattr(voucher, name)
        for name in ("company", "reference", "document", "purpose", "date", "currency", "memo", "reverses")
    }


def _bill_parts(voucher: Voucher) -> dict[str, Any]:
    """The fields of a bill that follow from the voucher's lines."""
    parties = tuple(line for line in voucher.lines if line.role in _PARTIES)
    return {
        "lines": tuple(line for line in voucher.lines if line.role != "advance" and line.role not in _PARTIES),
        "advances": tuple(line for line in voucher.lines if line.role == "advance"),
        "parties": parties,
        "total": _total(parties, "credit", voucher.currency),
    }


def _expense_parts(voucher: Voucher) -> dict[str, Any]:
    """The fields of an expense document that follow from the voucher's lines."""
    own = [line for line in voucher.lines if line.role != "advance" and line.role not in _PARTIES]
    items: dict[int | None, list[VoucherLine]] = {}
    for line in own:
        items.setdefault(line.source_line, []).append(line)
    paid = {
        name: tuple(line for line in voucher.lines if _PARTIES.get(line.role) == name)
        for name in ("to_employee", "to_card", "to_supplier")
    }
    advances = tuple(line for line in voucher.lines if line.role == "advance")
    named = (line for lines in (paid["to_employee"], advances, *items.values()) for line in lines)
    return {
        "employee": next((line.dimensions["employee"] for line in named if "employee" in line.dimensions), None),
        "items": tuple(ExpenseItem(number, tuple(lines)) for number, lines in items.items()),
        "advances": advances,
        **paid,
        "total": _total(own, "debit", voucher.currency),
    }


def _total(lines: Iterable[VoucherLine], side: Side, currency: str) -> Decimal:
    """What stands on this side more than on the other, with the currency's decimals."""
    nothing = Decimal(0) * (quantum(currency) or 1)
    return sum((line.amount if line.side == side else -line.amount for line in lines), nothing)


def _check(document: PayableBill | ExpenseDocument, parts: dict[str, Any]) -> None:
    """Raises Unbalanced where a field is not what the lines say: a line in the wrong place, another total."""
    for name, said in parts.items():
        if getattr(document, name) != said:
            raise Unbalanced(f"{document.reference}: {name} is not what the lines say: {said}")


def to_dict(document: ErpDocument) -> dict[str, Any]:
    """The document as it stands on the wire: amounts as text with the currency's decimals, absent fields left out."""
    if isinstance(document, Voucher):
        return voucher_to_dict(document)
    wire = voucher_to_dict(as_voucher(document))
    lines = iter(wire.pop("lines"))
    del wire["total_debit"], wire["total_credit"]
    wire["total"] = decimal_text(document.total, quantum(document.currency))
    if isinstance(document, ExpenseDocument):
        if document.employee is not None:
            wire["employee"] = document.employee
        wire["items"] = [
            {
                **({} if item.source_line is None else {"source_line": item.source_line}),
                "entries": [next(lines) for _ in item.entries],
            }
            for item in document.items
        ]
    return wire | {name: [next(lines) for _ in getattr(document, name)] for name in _lists(document)}


def to_json(document: ErpDocument) -> bytes:
    """The document's wire bytes; `parse_payable_bill` or `parse_expense_document` gives an equal one back."""
    return orjson.dumps(to_dict(document))


_Lines = Annotated[tuple[WireLine, ...], Field(max_length=LINES_MAX)]


class WirePayableBill(WireHeader):
    """The wire shape of a payable bill, for its JSON Schema and for reading it from outside."""

    total: DecimalText
    lines: _Lines
    advances: _Lines
    parties: _Lines


class WireItem(Contract):
    source_line: Annotated[int, Field(ge=1, le=99_999)] | None = None
    entries: Annotated[tuple[WireLine, ...], Field(min_length=1, max_length=LINES_MAX)]


class WireExpenseDocument(WireHeader):
    """The wire shape of an expense document, for its JSON Schema and for reading it from outside."""

    total: DecimalText
    employee: Code | None = None
    items: Annotated[tuple[WireItem, ...], Field(max_length=LINES_MAX)]
    advances: _Lines
    to_employee: _Lines
    to_card: _Lines
    to_supplier: _Lines


_BILL = TypeAdapter(WirePayableBill)
_EXPENSE = TypeAdapter(WireExpenseDocument)


def parse_payable_bill(body: bytes) -> PayableBill:
    """The bill in these wire bytes. Raises Refused with every finding, also where it does not balance."""
    wire = read_wire(_BILL, body)
    try:
        return PayableBill(**fields_of(wire))
    except Unbalanced as error:
        raise unbalanced(wire, error) from None


def parse_expense_document(body: bytes) -> ExpenseDocument:
    """The expense document in these wire bytes. Raises Refused with every finding, also where it does not balance."""
    wire = read_wire(_EXPENSE, body)
    items = tuple(ExpenseItem(item.source_line, lines_of(item.entries)) for item in wire.items)
    try:
        return ExpenseDocument(**fields_of(wire), items=items)
    except Unbalanced as error:
        raise unbalanced(wire, error) from None
