"""The story of an expense report: versions come in, postings go out, later versions wait behind a parked one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from connector import budgets
from connector.adapter import Status
from connector.correct import Correction, correct
from connector.correct import Facts as CorrectionFacts
from connector.facts import Facts, fiscal_year, period_of
from connector.ledger import deadletters, documents
from connector.ledger.deadletters import Letter
from connector.ledger.documents import Document
from connector.ledger.write_backs import NewWriteBack
from connector.payment import Payment
from connector.plan import Cancel, Plan, Post, Purpose, Reverse, Standing, Version, plan, taken_back_by_hand
from connector.preflight import Answer, examine, next_open_day
from connector.process.batch import Arrived, Batch, NewPosting
from connector.process.messages import same_content
from connector.process.settlement import to_text
from connector.translate import Book, make_reference, terms
from connector.translate.reference import LENGTH_MAX, reference_name
from connector.translate.voucher import local_day, posting_day, view_of
from contracts.advance import AdvancePaid
from contracts.envelope import AnyEvent
from contracts.expense import ExpenseReport, SubmittedReport, Withdrawal
from contracts.findings import Finding
from contracts.voucher import Role, Voucher
from contracts.voucher import to_json as voucher_to_json

_INTENTS = {"approved": "book", "changed": "book", "withdrawn": "withdraw", "submitted": "note"}
PAYABLE_ROLES: tuple[Role, ...] = ("employee_payable", "supplier_payable", "card_clearing")


@dataclass(frozen=True, slots=True)
class Desk:
    """What deciding about a report needs besides the report: the book, the facts of the batch, which OAs listen, the
    companies whose ERP cannot take a voucher back, and how long a reference each ERP stores."""

    book: Book
    facts: Facts
    listening: Collection[str]
    irreversible: Collection[str]
    reference_max: Mapping[str, int]

    def examine(self, report: ExpenseReport, document_id: int) -> Answer:
        """The voucher of a report and everything that stands in its way."""
        room = self.room(report.company)
        return examine(report, self.book, self.facts, document_id, reference_max=room)

    def room(self, company: str) -> int:
        """How long a reference may be in the ERP of a company."""
        return self.reference_max.get(company, LENGTH_MAX)


def apply(batch: Batch, document: Document, arrived: Sequence[Arrived], desk: Desk) -> None:
    """Decides about the versions of one document, those that waited first where the lane is open to them, in order."""
    # Version by version; of one version, what was let go before what newly came.
    for item in sorted(arrived, key=lambda item: (item.event.version, not item.released)):
        _apply_one(batch, document, item, desk)


def is_next(document: Document, event: AnyEvent) -> bool:
    """Whether an event is a version still to be booked or taken back, which no later one may pass."""
    books = document.key.kind == event.kind == "expense.report" and _INTENTS[event.happening] != "note"
    return books and event.source == document.source and event.version > document.version


def _apply_one(batch: Batch, document: Document, item: Arrived, desk: Desk) -> None:
    decided = plan(document.as_state(), _version_of(batch, document, item))
    if decided.outcome == "held" and item.waiting:
        return  # it waits on
    if decided.outcome == "parked":
        batch.park(item, document, _letter(item, document, decided.code or "SYN-301", decided.reason))
        return
    if decided.outcome == "held" and item.released and document.blocked_by is not None:
        _wait_for_the_erp(batch, document, item)
    if decided.outcome != "applied":
        batch.end(item, document, decided.outcome, decided.reason)
        return
    _carry_out(batch, document, item, decided, desk)


def _wait_for_the_erp(batch: Batch, document: Document, item: Arrived) -> None:
    """A replayed version that must wait for an answer of the ERP does not wait behind its own letter: the answer lets it
    go."""
    assert document.blocked_by is not None, "only a blocked lane can be opened"
    if deadletters.is_replay_of(batch.tx, document.blocked_by, item.key):
        document.blocked_by = None
        batch.change(document)


def _carry_out(batch: Batch, document: Document, item: Arrived, decided: Plan, desk: Desk) -> None:
    """Translates and asks the accounts first: where that fails, nothing of the plan is carried out."""
    event = item.event
    data: Any = event.data
    if isinstance(data, SubmittedReport):
        _reserve(batch, document, item, data, decided, desk)
        return
    answer = desk.examine(data, document.id) if isinstance(data, ExpenseReport) else None
    if answer is not None and not answer.ok:
        _park(batch, document, item, answer, desk)
        return
    voucher = None if answer is None else answer.voucher
    live = [step.posting for step in decided.steps if isinstance(step, Reverse)]
    by_hand = [] if live else taken_back_by_hand(document.standing)
    on = _correction_day(event, answer, desk)
    if live and on is None:
        _hold_for_period(batch, document, item, desk)
        return
    decision = None
    if live or by_hand:
        day = on or _event_day(event, desk)
        decision = decide(batch, document, item, live or by_hand, voucher, day, desk, by_hand=bool(by_hand))
    if decision is not None and decision.kind == "block":
        letter = _letter(item, document, decision.code or "SYN-301", decision.reason, blocks=True)
        batch.park(item, document, letter)
        return
    pinned = None if answer is None else terms.to_text(answer.terms)
    write_postings(batch, document, item, decided, voucher, decision, on, desk, pinned=pinned)
    if live and decision is not None and decision.kind == "none":
        tell_it_stands(batch, document, item, live[-1], desk)
    if answer is not None:
        desk.facts.register(document.id, answer.invoices)
        desk.facts.use(document.id, event.version, answer.uses, "consumed")
    else:
        desk.facts.release(document.id, event.version)
    if event.version > document.version:
        document.blocked_by = None  # the parked version is through; one whose posting was rejected opens when it stands
    document.version, document.sha256 = event.version, item.sha256
    document.state = "withdrawn" if answer is None else "booked"
    batch.change(document)
    batch.end(item, document, "applied", decided.reason if decision is None else decision.reason)


def _reserve(
    batch: Batch, document: Document, item: Arrived, report: SubmittedReport, decided: Plan, desk: Desk
) -> None:
    """A report handed in reserves its advances, invoices and budgets; what stands in its way is told, not parked: the OA
    asks before the approval (preflight)."""
    asked = as_approved(report, item.event)
    if document.version:
        batch.end(item, document, "applied", decided.reason)
        return
    if document.state == "submitted" and documents.newest_submitted(batch.tx, document.id) > item.event.version:
        batch.end(item, document, "superseded", "a later version was handed in already")
        return
    answer = desk.examine(asked, document.id)
    if answer.ok:
        desk.facts.register(document.id, answer.invoices)
        reserved = budgets.reserved(asked, answer.voucher, answer.uses, desk.facts, document.id)
        desk.facts.use(document.id, item.event.version, reserved, "reserved")
        if document.blocked_by is None:
            document.state = "submitted"
        batch.change(document)
        note = decided.reason
    else:
        note = f"would not be booked now: {deadletters.sentence(answer.findings)}"
    batch.end(item, document, "applied", note)


def as_approved(report: SubmittedReport, event: AnyEvent) -> ExpenseReport:
    """The report as it would be approved now."""
    values = {**dict(report), "approved_at": report.approved_at or event.time}
    return ExpenseReport.model_construct(**values)


def _park(batch: Batch, document: Document, item: Arrived, answer: Answer, desk: Desk) -> None:
    first = answer.findings[0]
    letter = _letter(item, document, first.code, deadletters.sentence(answer.findings), blocks=True)
    letter.findings, letter.waits_for, letter.lacks = answer.findings, answer.waits_for, answer.lacks
    batch.park(item, document, letter)
    if first.code == "ACC-331" and document.source in desk.listening:
        message = f"expected {first.expected}, got {first.got}; {first.fix}"
        _tell(batch, document, item, Status(document.key.company, document.key.number, item.event.version, "rejected",
                                            code=first.code, message=message))  # fmt: skip


def _hold_for_period(batch: Batch, document: Document, item: Arrived, desk: Desk) -> None:
    day = _event_day(item.event, desk)
    finding = Finding("ACC-333", "data", f"an accounting period that is open on {day}", "none", "create or open it")
    letter = _letter(item, document, finding.code, str(finding), blocks=True)
    letter.findings, letter.waits_for = (finding,), (f"open_from:{day}",)
    batch.park(item, document, letter)


def decide(
    batch: Batch,
    document: Document,
    item: Arrived,
    live: Sequence[Standing],
    voucher: Voucher | None,
    on: date,
    desk: Desk,
    *,
    by_hand: bool = False,
) -> Correction:
    """How the posted version becomes this one: not at all, by an addition, by a red and a blue voucher, or by a person.
    Where somebody took it back in the ERP already (`by_hand`), its payments and its year count all the same."""
    posted = [batch.voucher(posting) for posting in live]
    company = document.key.company
    view = desk.book.view(company, on)
    year_start = 1 if view is None else view.row.year_start
    first = min(voucher.date for voucher in posted)
    period = period_of(desk.facts.periods.get(company, ()), first)
    closed = period is not None and period.state == "closed"
    failed = any(p.purpose == "reverse" and p.state == "REJECTED" for p in document.standing) and not item.released
    return correct(
        posted,
        voucher,
        CorrectionFacts(
            paid=_paid(batch.payments.get(document.id, ()), posted),
            period_closed=closed,
            tax_closed=closed,
            same_year=fiscal_year(first, year_start) == fiscal_year(on, year_start),
            year_accepted=document.id in desk.facts.year_accepted,
            reversible=company not in desk.irreversible,
            reversal_rejected=failed,
            reversed_by_hand=by_hand,
            moved=not closed
            and _states_its_day(item.event.data)
            and voucher is not None
            and voucher.date not in {one.date for one in posted},
        ),
    )


def _states_its_day(data: Any) -> bool:
    """Whether a version says itself on which day it is posted: money that was paid in advance always does."""
    return isinstance(data, AdvancePaid) or getattr(data, "posting_date", None) is not None


def _paid(payments: Sequence[Payment], posted: Sequence[Voucher]) -> dict[Role, Decimal]:
    """Live payments, attributed to what the posted vouchers owe: first the employee, then the supplier, then the card."""
    left = sum((payment.amount for payment in payments if payment.is_live), Decimal(0))
    found = dict[Role, Decimal]()
    for role in PAYABLE_ROLES:
        owed = sum(
            (
                line.amount if line.side == "credit" else -line.amount
                for voucher in posted
                for line in voucher.lines
                if line.role == role
            ),
            Decimal(0),
        )
        part = min(left, owed)
        if part > 0:
            found[role] = part
            left -= part
    if left > 0:
        found["employee_payable"] = found.get("employee_payable", Decimal(0)) + left
    return found


def write_postings(
    batch: Batch,
    document: Document,
    item: Arrived,
    decided: Plan,
    voucher: Voucher | None,
    decision: Correction | None,
    on: date | None,
    desk: Desk,
    *,
    purpose: Purpose = "post",
    pinned: str | None = None,
) -> None:
    """Drops what never left us, then takes back and posts as decided."""
    kind = "blue" if decision is None else decision.kind
    for step in decided.steps:
        match step:
            case Cancel(posting):
                batch.cancel(document, posting, item.event.version)
            case Reverse(posting) if kind in ("red_and_blue", "red"):
                assert on is not None, "a correction has its day"
                day = batch.voucher(posting).date if decision is not None and decision.in_place else on
                batch.post(document, _reversal(batch, document, posting, day, desk))
            case Post(version) if kind in ("red_and_blue", "blue"):
                assert voucher is not None, "what is posted was translated"
                batch.post(document, _posting(document, version, voucher, purpose, pinned, desk.book))
    if kind == "additive":
        assert decision is not None, "only a correction adds"
        assert decision.difference is not None, "an addition has its lines"
        assert voucher is not None, "an addition has its voucher"
        added = Voucher.of(
            company=voucher.company,
            reference=voucher.reference,
            document=voucher.document,
            date=voucher.date,
            currency=voucher.currency,
            lines=decision.difference,
            memo=voucher.memo,
        )
        batch.post(document, _posting(document, item.event.version, added, "adjust", pinned, desk.book))


def _posting(
    document: Document, version: int, voucher: Voucher, purpose: Purpose, pinned: str | None, book: Book
) -> NewPosting:
    after, behind_new = _last_reversal(document)
    return NewPosting(
        document_id=document.id,
        company=document.key.company,
        version=version,
        purpose=purpose,
        reference=voucher.reference,
        voucher=voucher_to_json(voucher),
        book=book.fingerprint,
        terms=pinned,
        after=after,
        after_reversal=behind_new,
    )


def _reversal(batch: Batch, document: Document, posting: Standing, on: date, desk: Desk) -> NewPosting:
    company, name = document.key.company, reference_name(document.key.kind, document.key.number)
    reference = make_reference(company, name, posting.version, "reverse", desk.room(company))
    red = batch.voucher(posting).reversed(reference, on)
    after, behind_new = _last_reversal(document)
    return NewPosting(
        document_id=document.id,
        company=document.key.company,
        version=posting.version,
        purpose="reverse",
        reference=reference,
        voucher=voucher_to_json(red),
        book=batch.posted[posting.id].book,
        reverses=posting.id,
        after=after,
        after_reversal=behind_new,
    )


def _last_reversal(document: Document) -> tuple[int | None, bool]:
    """The reversal that must stand before a new posting: its id, or True where it is written by this very batch."""
    open_ones = [
        p for p in document.standing if p.purpose == "reverse" and p.state in ("PENDING", "SENDING", "UNKNOWN")
    ]
    if not open_ones:
        return None, False
    return (None, True) if open_ones[-1].id < 0 else (open_ones[-1].id, False)


def tell_it_stands(batch: Batch, document: Document, item: Arrived, posting: Standing, desk: Desk) -> None:
    """The new version is booked as it stands: its OA is told so at once, for no answer of the ERP will come."""
    if document.source not in desk.listening:
        return
    standing = batch.posted[posting.id]
    status = Status(
        company=document.key.company,
        number=document.key.number,
        version=item.event.version,
        state="posted",
        erp_number=standing.erp_number,
        on=None if standing.posted_on is None else date.fromisoformat(standing.posted_on),
    )
    _tell(batch, document, item, status)


def _tell(batch: Batch, document: Document, item: Arrived, status: Status) -> None:
    batch.write_backs.append(
        NewWriteBack(document.id, document.source, item.event.source, item.event.id, to_text(status))
    )
    batch.result.to_write_back.add(document.source)


def _version_of(batch: Batch, document: Document, item: Arrived) -> Version:
    event = item.event
    sha256 = item.sha256
    again = event.version == document.version and document.sha256 is not None and sha256 != document.sha256
    # Other bytes are not other content: another event id, another order of fields.
    if again and (body := batch.body_of(document)) is not None and same_content(body, event):
        sha256 = document.sha256 or sha256
    return Version(event.version, sha256, event.source, _INTENTS[event.happening], item.released)  # type: ignore[arg-type]


def _correction_day(event: AnyEvent, answer: Answer | None, desk: Desk) -> date | None:
    """The day a correction is booked on: the new version's posting day, else the day of the withdrawal or, where its period
    is closed, the first open one after it; None where there is none."""
    if answer is not None and answer.terms.day is not None:
        return answer.terms.day
    day = _event_day(event, desk)
    periods = desk.facts.periods.get(event.company, ())
    return next_open_day(periods, day, day) if periods else day


def _event_day(event: AnyEvent, desk: Desk) -> date:
    """The day of what happened, as the company has it."""
    data: Any = event.data
    if isinstance(data, Withdrawal):
        return local_day(data.withdrawn_at, desk.book.view(event.company, data.withdrawn_at.date()))
    return posting_day(data, view_of(data, desk.book))


def _letter(item: Arrived, document: Document, code: str, message: str, *, blocks: bool = False) -> Letter:
    letter = Letter.about(item.event, item.body, item.door, code, message)
    letter.document_id, letter.blocks = document.id, blocks
    return letter
