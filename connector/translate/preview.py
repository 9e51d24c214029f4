"""Preview: what the connector would do with a document, with the reason of every voucher line. Nothing is sent, no ledger is needed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import orjson

from connector.plan import DocumentState, Plan, Version, plan
from connector.translate.book import Book
from connector.translate.trace import Lang, LineTrace, explain
from connector.translate.voucher import Refusal
from contracts.codec import parse
from contracts.envelope import AnyEvent
from contracts.expense import ExpenseReport
from contracts.findings import Finding, Refused
from contracts.voucher import Voucher, to_dict

Intent = Literal["book", "withdraw", "note"]
_INTENTS: Mapping[str, Intent] = {"approved": "book", "changed": "book", "withdrawn": "withdraw", "submitted": "note"}
LANGUAGES: tuple[Lang, ...] = get_args(Lang)


@dataclass(frozen=True, slots=True)
class Warned:
    """What a ledger would know better than the document does."""

    about: Literal["advance", "invoice", "budget", "period", "version"]
    path: str
    en: str
    zh: str

    def said(self, lang: Lang) -> str:
        """The sentence in this language."""
        return self.zh if lang == "zh" else self.en


@dataclass(frozen=True, slots=True)
class Preview:
    """The answer: a plan and a voucher with its reasons, or everything that stands in the way. `ok` where there is a voucher."""

    event: AnyEvent | None
    plan: Plan | None
    voucher: Voucher | None
    trace: tuple[LineTrace, ...] = ()
    warnings: tuple[Warned, ...] = ()
    findings: tuple[Finding, ...] = ()
    waits_for: tuple[str, ...] = ()
    book: str = ""

    @property
    def ok(self) -> bool:
        """Whether the document would be booked: the command exits 0, and 1 where it would be refused or parked."""
        return self.voucher is not None

    def as_dict(self) -> dict[str, Any]:
        """The preview as plain JSON-able values, the voucher in its wire form under `voucher`."""
        return {
            "ok": self.ok,
            "book": self.book,
            "plan": None if self.plan is None else _plan_as_dict(self.plan),
            "voucher": None if self.voucher is None else to_dict(self.voucher),
            "trace": [line.as_dict() for line in self.trace],
            "warnings": [{"about": w.about, "path": w.path, "en": w.en, "zh": w.zh} for w in self.warnings],
            "findings": [finding.as_dict() for finding in self.findings],
            "waits_for": list(self.waits_for),
        }

    def to_json(self) -> bytes:
        """`as_dict` as JSON, indented for people."""
        return orjson.dumps(self.as_dict(), option=orjson.OPT_INDENT_2)


def preview(body: bytes, content_type: str | None, book: Book) -> Preview:
    """What would become of this event on a new document. Never raises for what is in `body`: that is answered as findings."""
    try:
        event = parse(body, content_type)
    except Refused as refused:
        return Preview(None, None, None, findings=refused.findings, book=book.fingerprint)
    if event.kind != "expense.report":
        finding = Finding(
            "MAP-212", "type", "an event of an expense report", event.type, "preview shows what becomes a voucher"
        )
        return Preview(event, None, None, findings=(finding,), book=book.fingerprint)
    intent = _INTENTS[event.happening]
    decided = plan(
        DocumentState(version=0, sha256=None, source=event.source, blocked_by=None),
        Version(number=event.version, sha256="", source=event.source, intent=intent),
    )
    report = event.data
    if intent != "book" or not isinstance(report, ExpenseReport):
        finding = Finding("MAP-212", "type", "an approved or changed report", event.type, decided.reason)
        return Preview(event, decided, None, findings=(finding,), book=book.fingerprint)
    warnings = _warnings(report)
    answer = explain(report, book)
    if isinstance(answer, Refusal):
        parked = Plan("parked", answer.findings[0].expected, code=answer.code)
        return Preview(event, parked, None, (), warnings, answer.findings, answer.waits_for, book.fingerprint)
    voucher, trace = answer
    return Preview(event, decided, voucher, trace, warnings, book=book.fingerprint)


def _warnings(report: ExpenseReport) -> tuple[Warned, ...]:
    """What is taken as stated because no ledger was asked."""
    found: list[Warned] = []
    for index, advance in enumerate(report.advances):
        found.append(
            Warned(
                "advance", f"data.advances[{index}].amount",
                f"advance {advance.number}: {advance.amount:f} is taken as stated, its open balance was not checked",
                f"借款 {advance.number}：按单据所填 {advance.amount:f} 冲销，未核对余额",
            )
        )  # fmt: skip
    numbers: Sequence[str] = [
        line.invoice.number for line in report.lines if line.invoice is not None and line.invoice.number
    ]
    if numbers:
        found.append(
            Warned(
                "invoice",
                "data.lines",
                f"{len(numbers)} invoices were not looked up for earlier claims",
                f"{len(numbers)} 张发票未做重复报销检查",
            )
        )
    found.append(Warned("budget", "data.total", "the budget was not checked", "未检查预算"))
    found.append(
        Warned("period", "data.posting_date", "whether the period is open was not checked", "未检查会计期间是否打开")
    )
    if report.version > 1:
        found.append(
            Warned(
                "version",
                "data.version",
                "an earlier version may be posted; it would be reversed first",
                "较早版本可能已过账；若已过账将先红冲",
            )
        )
    return tuple(found)


def _plan_as_dict(decided: Plan) -> dict[str, Any]:
    steps = [{"step": type(step).__name__.lower(), "version": getattr(step, "version", None)} for step in decided.steps]
    return {"outcome": decided.outcome, "reason": decided.reason, "code": decided.code, "steps": steps}
