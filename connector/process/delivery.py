"""Delivery: what must stand in the ERP is claimed, sent and settled. The call stands alone between two transactions.

    claim (count the attempt, commit) -> call the ERP -> settle (state, answer event, what waits behind; commit)

The ERP is handed the document its features ask for; where that has no room for it, nothing is sent and a person is told.
A call whose answer was lost leaves the posting UNKNOWN. From there it is only asked about, never sent again, until the
ERP has shown that nothing stands under our reference.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import structlog
from sqlalchemy.engine import Connection

from connector.adapter import Adapter, Outcome, Receipt
from connector.adapter import Delivery as Sending
from connector.errors import ConnectorError
from connector.ledger import Ledger, cross_references, deadletters, documents, outbox, postings
from connector.ledger.documents import DocumentKey
from connector.ledger.postings import Claim
from connector.process.answers import posted_event, rejected_event, reversed_event
from connector.recovery import Adopt, InDoubt, Park, RetryLater, decide
from connector.settings import Delivery, Retry
from connector.translate.target import misfits, naming, render
from contracts import to_json
from contracts.amount import decimal_text, quantum
from contracts.bill import to_json as document_to_json
from contracts.bill import total_of
from contracts.envelope import AnyEvent
from contracts.findings import Finding
from contracts.voucher import Voucher, parse_voucher

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class DeliveryResult:
    """What a round did; `more` says that another round has work at once."""

    claimed: int = 0
    posted: int = 0
    rejected: int = 0
    waiting: int = 0
    in_doubt: int = 0
    lost: int = 0  # claims that another worker had taken over meanwhile
    more: bool = False


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Sends the postings of one company to its ERP."""

    ledger: Ledger
    erp: Adapter
    retry: Retry
    settings: Delivery
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}")
    jitter: Callable[[], float] = random.random

    @property
    def settle_s(self) -> float:
        """How long a lost call may still be going on in the ERP."""
        return self.erp.features.settle_s if self.settings.settle_s is None else self.settings.settle_s

    def deliver_due(self) -> DeliveryResult:
        """Sends one batch of what is due. Raises only where the ledger is away."""
        limit = self.settings.batch
        with self.ledger.begin() as tx:
            postings.expire(tx, self.erp.company, self.settle_s)
            claims = postings.claim_due(tx, self.erp.company, limit, self.settings.lease_s, self.worker)
            sendings: dict[int, Sending] = {}
            unfit: dict[int, Sequence[Finding]] = {}
            for claim in claims:
                self._prepare(tx, claim, sendings, unfit)
        answers = self._call([claim for claim in claims if claim.id in sendings], sendings)
        result = DeliveryResult(claimed=len(claims))
        if claims:
            with self.ledger.begin() as tx:
                documents.lock(tx, [claim.document_id for claim in claims])
                for claim in claims:
                    if claim.id in unfit:
                        self._settle_unfit(tx, claim, unfit[claim.id], result)
                    else:
                        self._settle(tx, claim, answers[claim.id], result)
                result.more = postings.due_at_once(tx, self.erp.company)
        return result

    def resolve_in_doubt(self) -> DeliveryResult:
        """Asks the ERP about postings whose answer was lost and whose settle window has passed."""
        with self.ledger.begin() as tx:
            postings.expire(tx, self.erp.company, self.settle_s)
            claims = postings.claim_in_doubt(
                tx, self.erp.company, self.settings.batch, self.settings.lease_s, self.worker
            )
            for claim in claims:
                postings.begin_attempt(tx, claim, "find", self.worker, None)
        result = DeliveryResult(claimed=len(claims))
        for claim in claims:
            found: Receipt | Outcome | None
            try:
                found = self.erp.find(claim.reference)
            except ConnectorError as error:
                found = self.erp.classify(error)
            with self.ledger.begin() as tx:
                documents.lock(tx, [claim.document_id])
                self._settle_found(tx, claim, found, result)
        result.more = result.waiting > 0
        return result

    # The call

    def _prepare(
        self, tx: Connection, claim: Claim, sendings: dict[int, Sending], unfit: dict[int, Sequence[Finding]]
    ) -> None:
        """Renders what is to be sent and writes the attempt down; or says why nothing may be sent."""
        voucher, reverses = parse_voucher(claim.voucher), None
        if claim.reverses is not None:
            original = postings.read(tx, claim.reverses)
            number, external_id = original["erp_number"], original["external_id"] or ""
            reverses = Receipt(original["reference"], external_id, number, "posted")
            if number or external_id:
                voucher = naming(voucher, number or external_id)
        document = render(voucher, self.erp.features)
        found = misfits(document, self.erp.features)
        if found:
            unfit[claim.id] = found
            return
        operation = "reverse" if claim.purpose == "reverse" else "deliver"
        sha256 = hashlib.sha256(document_to_json(document)).hexdigest()
        postings.begin_attempt(tx, claim, operation, self.worker, sha256)
        sendings[claim.id] = Sending(claim.reference, document, claim.attempts, reverses)

    def _call(self, claims: Sequence[Claim], sendings: Mapping[int, Sending]) -> dict[int, Receipt | Outcome]:
        answers: dict[int, Receipt | Outcome] = {}
        started = time.monotonic()
        size = max(1, self.erp.features.batch)
        posts = [claim for claim in claims if claim.purpose != "reverse"]
        for start in range(0, len(posts), size):
            part = posts[start : start + size]
            given = self.erp.deliver([sendings[claim.id] for claim in part])
            assert len(given) == len(part), "an adapter answers for each delivery"
            answers |= {claim.id: answer for claim, answer in zip(part, given, strict=True)}
        for claim in claims:
            if claim.purpose != "reverse":
                continue
            if time.monotonic() - started > self.settings.lease_s / 2:
                # Reversals go one by one: none begins so late that another worker could take the claim over meanwhile.
                answers[claim.id] = Outcome("transient", "ERP-501", "not begun: too much of the claim was over")
                continue
            answers[claim.id] = self.erp.reverse(sendings[claim.id])
        return answers

    # What came of it

    def _settle(self, tx: Connection, claim: Claim, answer: Receipt | Outcome, result: DeliveryResult) -> None:
        if isinstance(answer, Receipt):
            self._settle_receipt(tx, claim, answer, result)
            return
        postings.end_attempt(tx, claim, answer.kind, answer.code, answer.message)
        match decide(answer, claim.tries, self.retry, jitter=self.jitter()):
            case RetryLater(delay_s):
                moved = postings.move(tx, claim, "PENDING", wait_s=delay_s, code=answer.code, message=answer.message)
                result.waiting += moved
            case InDoubt() | Adopt() if answer.kind == "duplicate" and claim.asks >= self.settings.in_doubt_asks:
                # It stands there, and under our reference nothing does: somebody else did it.
                moved = self._reject(tx, claim, answer.code, f"asked {claim.asks} times; {answer.message}")
                result.rejected += moved
            case InDoubt() | Adopt():
                # Both are answered by asking: what stands under our reference decides.
                wait_s = 0 if answer.kind == "duplicate" else self.settle_s
                moved = postings.move(tx, claim, "UNKNOWN", wait_s=wait_s, code=answer.code, message=answer.message)
                result.in_doubt += moved
            case Park(code, reason):
                moved = self._reject(tx, claim, code, reason)
                result.rejected += moved
        self._note_lost(claim, moved, result)

    def _settle_unfit(self, tx: Connection, claim: Claim, findings: Sequence[Finding], result: DeliveryResult) -> None:
        moved = self._reject(tx, claim, findings[0].code, deadletters.sentence(findings), findings)
        result.rejected += moved
        self._note_lost(claim, moved, result)

    def _settle_receipt(self, tx: Connection, claim: Claim, receipt: Receipt, result: DeliveryResult) -> None:
        wrong = self._mismatch(claim, receipt)
        if wrong is None and receipt.state != "posted":
            postings.end_attempt(tx, claim, receipt.state, None, receipt.number)
            moved = postings.move(tx, claim, "UNKNOWN", message=f"the ERP says it is {receipt.state}")
            result.in_doubt += moved
        elif wrong is not None:
            # An answer about something else tells nothing about ours.
            postings.end_attempt(tx, claim, "mismatch", "ERP-404", wrong)
            moved = postings.move(tx, claim, "UNKNOWN", wait_s=self.settle_s, code="ERP-404", message=wrong)
            result.in_doubt += moved
        else:
            postings.end_attempt(tx, claim, "posted", None, receipt.number)
            moved = self._posted(tx, claim, receipt)
            result.posted += moved
        self._note_lost(claim, moved, result)

    def _settle_found(
        self, tx: Connection, claim: Claim, found: Receipt | Outcome | None, result: DeliveryResult
    ) -> None:
        if isinstance(found, Receipt) and found.state == "posted":
            wrong = self._mismatch(claim, found)
            if wrong is None:
                postings.end_attempt(tx, claim, "adopted", None, found.number)
                moved = self._posted(tx, claim, found)
                result.posted += moved
            else:
                postings.end_attempt(tx, claim, "conflict", "ERP-409", wrong)
                moved = self._doubt_to_person(tx, claim, "ERP-409", wrong)
                result.rejected += moved
        elif isinstance(found, Receipt) and found.state == "cancelled":
            reason = "it stands in the ERP under our reference and was cancelled there"
            postings.end_attempt(tx, claim, "cancelled", "ERP-409", reason)
            moved = self._doubt_to_person(tx, claim, "ERP-409", reason)
            result.rejected += moved
        elif found is None or isinstance(found, Receipt):
            # Proven absent after the window, or there but unfinished: sending (again) is safe, and the adapter is
            # told that it resumes.
            postings.end_attempt(tx, claim, "absent" if found is None else found.state, None, None)
            moved = postings.move(tx, claim, "PENDING")
            result.waiting += moved
        else:
            postings.end_attempt(tx, claim, found.kind, found.code, found.message)
            if claim.asks >= self.settings.in_doubt_asks:
                moved = self._doubt_to_person(tx, claim, "ERP-502", f"asked {claim.asks} times; {found.message}")
                result.rejected += moved
            else:
                wait_s = max(self.settle_s, float(found.retry_after_s or 0)) or 1.0
                moved = postings.move(tx, claim, "UNKNOWN", wait_s=wait_s, code=found.code, message=found.message)
                result.in_doubt += moved
        self._note_lost(claim, moved, result)

    def _mismatch(self, claim: Claim, receipt: Receipt) -> str | None:
        """What is wrong with a receipt, where it is not about the voucher we sent."""
        if receipt.reference != claim.reference:
            return f"the ERP answered about {receipt.reference!r}, asked about {claim.reference!r}"
        if receipt.total is None or claim.purpose == "reverse":
            return None
        sent = render(parse_voucher(claim.voucher), self.erp.features)
        total = decimal_text(total_of(sent), quantum(sent.currency))
        if receipt.total != total or receipt.currency not in (None, sent.currency):
            return f"the ERP holds {receipt.total} {receipt.currency}, we sent {total} {sent.currency}"
        return None

    def _posted(self, tx: Connection, claim: Claim, receipt: Receipt) -> bool:
        if claim.reverses is not None:
            postings.mark_reversed(tx, claim.reverses)
        on = receipt.posted_on or date.fromisoformat(str(parse_voucher(claim.voucher).date))
        moved = postings.move(
            tx,
            claim,
            "POSTED",
            external_id=receipt.external_id,
            erp_number=receipt.number,
            posted_on=on.isoformat(),
        )
        if not moved:
            return False
        cross_references.remember(
            tx, self.erp.name, claim.company, "voucher", claim.reference, receipt.external_id, receipt.number
        )
        voucher = parse_voucher(claim.voucher)
        if claim.purpose == "reverse":
            assert claim.reverses is not None
            original = postings.read(tx, claim.reverses)
            event = reversed_event(self.erp, claim, voucher, receipt, on, original)
        else:
            event = posted_event(self.erp, claim, voucher, receipt, on)
        self._answer(tx, event)
        deadletters.resolve_posting(tx, claim.id)
        documents.release(tx, [claim.document_id])
        return True

    def _reject(self, tx: Connection, claim: Claim, code: str, reason: str, findings: Sequence[Finding] = ()) -> bool:
        if not postings.move(tx, claim, "REJECTED", code=code, message=reason):
            return False
        self._park(tx, claim, code, reason, findings)
        self._answer(tx, rejected_event(self.erp, claim, parse_voucher(claim.voucher), code, reason))
        return True

    def _doubt_to_person(self, tx: Connection, claim: Claim, code: str, reason: str) -> bool:
        """Nobody can tell from here whether it stands in the ERP: it stays UNKNOWN, and a person is asked."""
        far_s = 10 * 365 * 86400.0  # until the person has it asked again
        if not postings.move(tx, claim, "UNKNOWN", wait_s=far_s, code=code, message=reason):
            return False
        self._park(tx, claim, code, reason)
        return True

    def _park(self, tx: Connection, claim: Claim, code: str, reason: str, findings: Sequence[Finding] = ()) -> None:
        voucher: Voucher = parse_voucher(claim.voucher)
        document = documents.origin(tx, claim.document_id)
        key: DocumentKey = document.key
        deadletters.park(
            tx,
            deadletters.Letter(
                code=code,
                message=reason,
                door=f"erp {self.erp.name}",
                body=claim.voucher,
                findings=findings,
                source=document.source,
                event_id=document.event_id,
                type=document.type,
                company=key.company,
                number=key.number,
                amount=f"{voucher.total_debit:f}",
                currency=voucher.currency,
                document_id=claim.document_id,
                posting_id=claim.id,
                blocks=True,
            ),
        )

    def _answer(self, tx: Connection, event: AnyEvent) -> None:
        outbox.add(tx, [outbox.OutboxRow(event.source, event.id, event.type, to_json(event))])

    def _note_lost(self, claim: Claim, moved: bool, result: DeliveryResult) -> None:
        if not moved:
            result.lost += 1
            log.warning("a claim was lost to another worker", reference=claim.reference, epoch=claim.epoch)
