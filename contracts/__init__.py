"""The language both systems share: envelope, money, documents, vouchers, answers, master data, and the codes of what can be wrong."""

from contracts.advance import AdvancePaid, AdvanceReturned
from contracts.amount import Amount, DecimalText, RateText, ShareText, TaxRateText, minor_digits
from contracts.catalogue import CATALOGUE, Entry, upcast
from contracts.codec import (
    DEPTH_MAX,
    EVENT_BYTES_MAX,
    new_event,
    parse,
    parse_event,
    parse_xml,
    to_json,
    to_xml,
)
from contracts.codes import Code, all_codes, code
from contracts.envelope import AnyEvent, Event
from contracts.expense import (
    AdvanceClaim,
    Allocation,
    Attachment,
    Employee,
    ExpenseReport,
    Invoice,
    Line,
    Payee,
    Rate,
    SubmittedReport,
    Withdrawal,
)
from contracts.fields import Contract, Data
from contracts.findings import Finding, Refused
from contracts.settlement import (
    Document,
    PaymentMade,
    PaymentReversed,
    VoucherPosted,
    VoucherRejected,
    VoucherReversed,
)
from contracts.voucher import DocumentRef, Unbalanced, Voucher, VoucherLine, parse_voucher

__all__ = [
    "CATALOGUE",
    "DEPTH_MAX",
    "EVENT_BYTES_MAX",
    "AdvanceClaim",
    "AdvancePaid",
    "AdvanceReturned",
    "Allocation",
    "Amount",
    "AnyEvent",
    "Attachment",
    "Code",
    "Contract",
    "Data",
    "DecimalText",
    "Document",
    "DocumentRef",
    "Employee",
    "Entry",
    "Event",
    "ExpenseReport",
    "Finding",
    "Invoice",
    "Line",
    "Payee",
    "PaymentMade",
    "PaymentReversed",
    "Rate",
    "RateText",
    "Refused",
    "ShareText",
    "SubmittedReport",
    "TaxRateText",
    "Unbalanced",
    "Voucher",
    "VoucherLine",
    "VoucherPosted",
    "VoucherRejected",
    "VoucherReversed",
    "Withdrawal",
    "all_codes",
    "code",
    "minor_digits",
    "new_event",
    "parse",
    "parse_event",
    "parse_voucher",
    "parse_xml",
    "to_json",
    "to_xml",
    "upcast",
]
