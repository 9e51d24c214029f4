"""Preflight: what would become of a report if it were approved now. Every finding at once; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection

from connector.adapter import Features
from connector.ledger import Ledger
from connector.preflight import examine
from connector.process.expense import as_approved
from connector.process.gather import gather
from connector.translate import Book
from connector.translate.target import misfits, render
from contracts.codec import parse
from contracts.envelope import AnyEvent
from contracts.expense import ExpenseReport, SubmittedReport
from contracts.findings import Finding, Refused
from contracts.voucher import Voucher, to_dict


@dataclass(frozen=True, slots=True)
class Asked:
    """The answer to a preflight: `ok` where it would be booked as it is."""

    event: AnyEvent | None
    findings: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()
    waits_for: tuple[str, ...] = ()
    voucher: Voucher | None = None
    book: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing stands in its way."""
        return not self.findings

    def fitting(self, erp: Features) -> Asked:
        """The same, with what does not fit the ERP that has these features."""
        if self.voucher is None:
            return self
        return replace(self, findings=self.findings + misfits(render(self.voucher, erp), erp))

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain JSON-able values."""
        return {
            "ok": self.ok,
            "number": None if self.event is None else self.event.number,
            "version": None if self.event is None else self.event.version,
            "findings": [finding.as_dict() for finding in self.findings],
            "warnings": [finding.as_dict() for finding in self.warnings],
            "waits_for": list(self.waits_for),
            "voucher": None if self.voucher is None else to_dict(self.voucher),
            "book": self.book,
        }


def ask(ledger: Ledger, book: Book, body: bytes, content_type: str | None) -> Asked:
    """What stands in the way of this report: a submitted, approved or changed one, as an event (JSON or XML). Never raises
    for what is in `body`."""
    try:
        event = parse(body, content_type)
    except Refused as refused:
        return Asked(None, refused.findings, book=book.fingerprint)
    report = event.data
    if isinstance(report, SubmittedReport):
        report = as_approved(report, event)
    if not isinstance(report, ExpenseReport):
        expected = "a submitted, approved or changed expense report"
        finding = Finding("MAP-212", "type", expected, event.type, "preflight is for reports that are to be booked")
        return Asked(event, (finding,), book=book.fingerprint)
    with ledger.begin() as tx:
        document_id = _document(tx, event)
        facts = gather(tx, book, [report], (), [] if document_id is None else [document_id], lock=False)
    answer = examine(report, book, facts, document_id)
    return Asked(event, answer.findings, answer.warnings, answer.waits_for, answer.voucher, book.fingerprint)


def _document(tx: Connection, event: AnyEvent) -> int | None:
    """The document's row, where an earlier version of it is known: what that one uses is its own."""
    found: int | None = tx.scalar(
        text("SELECT id FROM documents WHERE kind = :kind AND company = :company AND number = :number"),
        {"kind": event.kind, "company": event.company, "number": event.number},
    )
    return found
