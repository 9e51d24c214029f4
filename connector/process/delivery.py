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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import structlog
from sqlalchemy.engine import Connection

from connector.adapter import Adapter, Outcome, Receipt
from connector.adapter import Delivery as Sending
from connector.errors import ConnectorError
from connector.ledger import Ledger, cross_references, deadletters, documents, outbox, postings
from connector.ledger.documents import DocumentKey
from connector.ledger.postings import Claim
from connector.process.answers import posted_event, rejected_event, reversed_event
from connector.process.verdict import Limits, Verdict, of_call, of_question, unfit
from connector.settings import Delivery, Retry
from connector.translate.target import misfits, naming, render
from contracts import to_json
from contracts.bill import to_json as document_to_json
from contracts.envelope import AnyEvent
from contracts.findings import Finding, Refused
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

    def count(self, verdict: Verdict, kept: bool) -> None:
        """Counts a verdict, where it was written."""
        if verdict.state == "POSTED":
            self.posted += kept
        elif verdict.state == "REJECTED" or verdict.person:
            self.rejected += kept
        elif verdict.state == "PENDING":
            self.waiting += kept
        else:
            self.in_doubt += kept


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Sends the postings of one company to its ERP."""

    ledger: Ledger
    erp: Adapter
    retry: Retry
    settings: Delivery
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}")
    jitter: Callable[[], float] = random.random
    clock: Callable[[], float] = time.monotonic

    @property
    def settle_s(self) -> float:
        """How long a lost call may still be going on in the ERP."""
        return self.erp.features.settle_s if self.settings.settle_s is None else self.settings.settle_s

    def deliver_due(self) -> DeliveryResult:
        """Sends one batch of what is due. Raises only where the ledger is away."""
        started = self.clock()
        with self.ledger.begin() as tx:
            postings.expire(tx, self.erp.company, self.settle_s)
            claims = postings.claim_due(tx, self.erp.company, self.settings.batch, self.settings.lease_s, self.worker)
            sendings: dict[int, Sending] = {}
            verdicts: dict[int, Verdict] = {}
            for claim in claims:
                self._prepare(tx, claim, sendings, verdicts)
        for claim, answer in self._call([claim for claim in claims if claim.id in sendings], sendings, started):
            verdicts[claim.id] = of_call(claim, answer, self.erp.features, self._limits, self.jitter())
        result = DeliveryResult(claimed=len(claims))
        if claims:
            with self.ledger.begin() as tx:
                documents.lock(tx, [claim.document_id for claim in claims])
                for claim in claims:
                    self._settle(tx, claim, verdicts.get(claim.id), result)
                result.more = postings.due_at_once(tx, self.erp.company)
        return result

    def resolve_in_doubt(self) -> DeliveryResult:
        """Asks the ERP about postings whose answer was lost and whose settle window has passed."""
        started = self.clock()
        with self.ledger.begin() as tx:
            postings.expire(tx, self.erp.company, self.settle_s)
            claims = postings.claim_in_doubt(
                tx, self.erp.company, self.settings.batch, self.settings.lease_s, self.worker
            )
            for claim in claims:
                postings.begin_attempt(tx, claim, "find", self.worker, None)
        result = DeliveryResult(claimed=len(claims))
        for claim in claims:
            late = self._is_late(started)
            verdict = None if late else of_question(claim, self._ask(claim), self.erp.features, self._limits)
            with self.ledger.begin() as tx:
                documents.lock(tx, [claim.document_id])
                self._settle(tx, claim, verdict, result, before="UNKNOWN")
        result.more = result.waiting > 0
        return result

    @property
    def _limits(self) -> Limits:
        return Limits(self.retry, self.settle_s, self.settings.in_doubt_asks)

    # The call

    def _prepare(
        self, tx: Connection, claim: Claim, sendings: dict[int, Sending], verdicts: dict[int, Verdict]
    ) -> None:
        """Renders what is to be sent and writes the attempt down; or says why nothing may be sent."""
        try:
            voucher, reverses = parse_voucher(claim.voucher), None
        except Refused as error:  # Written by an older program: it stops nobody else's voucher.
            verdicts[claim.id] = unfit(error.findings, deadletters.sentence(error.findings))
            return
        if claim.reverses is not None:
            original = postings.read(tx, claim.reverses)
            number, external_id = original["erp_number"], original["external_id"] or ""
            reverses = Receipt(original["reference"], external_id, number, "posted")
            if number or external_id:
                voucher = naming(voucher, number or external_id)
        document = render(voucher, self.erp.features)
        found = misfits(document, self.erp.features)
        if found:
            verdicts[claim.id] = unfit(found, deadletters.sentence(found))
            return
        operation = "reverse" if claim.purpose == "reverse" else "deliver"
        sha256 = hashlib.sha256(document_to_json(document)).hexdigest()
        postings.begin_attempt(tx, claim, operation, self.worker, sha256)
        sendings[claim.id] = Sending(claim.reference, document, claim.attempts, reverses)

    def _call(
        self, claims: Sequence[Claim], sendings: Mapping[int, Sending], started: float
    ) -> Iterator[tuple[Claim, Receipt | Outcome]]:
        """Sends them and gives each with its answer. No call begins so late in its claims that another worker could take
        them over meanwhile: what is left then is given no answer."""
        for together in in_calls(claims, self.erp.features.batch):
            if self._is_late(started):
                return
            given = self._tell([sendings[claim.id] for claim in together], reverse=together[0].purpose == "reverse")
            yield from zip(together, given, strict=True)

    def _is_late(self, started: float) -> bool:
        """Whether a call that begins now could still be going on when its claim ends."""
        return self.clock() - started > self.settings.lease_s / 2

    def _tell(self, together: Sequence[Sending], *, reverse: bool) -> Sequence[Receipt | Outcome]:
        try:
            given = [self.erp.reverse(together[0])] if reverse else self.erp.deliver(together)
            assert len(given) == len(together), "an adapter answers for each delivery"
        except Exception as error:
            # A fault of the adapter, at any moment of the call: nobody knows what of it was done.
            log.exception("the adapter failed", references=[one.reference for one in together])
            return [_fault(error)] * len(together)
        return given

    def _ask(self, claim: Claim) -> Receipt | Outcome | None:
        try:
            return self.erp.find(claim.reference)
        except ConnectorError as error:
            return self.erp.classify(error)
        except Exception as error:
            log.exception("the adapter failed", references=[claim.reference])
            return _fault(error)

    # What came of it

    def _settle(
        self,
        tx: Connection,
        claim: Claim,
        verdict: Verdict | None,
        result: DeliveryResult,
        *,
        before: Literal["PENDING", "UNKNOWN"] = "PENDING",
    ) -> None:
        """Writes the verdict; without one the call was never begun, and the posting is what it was `before`."""
        if verdict is None:
            kept = postings.hand_back(tx, claim, before)
            result.waiting += kept
        else:
            number = verdict.receipt.number if verdict.receipt else None
            postings.end_attempt(tx, claim, verdict.attempt, verdict.code, verdict.message or number)
            kept = self._write(tx, claim, verdict)
            result.count(verdict, kept)
        if not kept:
            result.lost += 1
            log.warning("a claim was lost to another worker", reference=claim.reference, epoch=claim.epoch)

    def _write(self, tx: Connection, claim: Claim, verdict: Verdict) -> bool:
        """Moves the posting, with all that follows; False where the claim was lost, and nothing changed."""
        if verdict.receipt is not None:
            return self._posted(tx, claim, verdict.receipt)
        moved = postings.move(
            tx, claim, verdict.state, wait_s=verdict.wait_s, code=verdict.code, message=verdict.message
        )
        if not moved:
            return False
        if verdict.state == "REJECTED" or verdict.person:
            code, reason = verdict.code or "", verdict.message or ""
            self._park(tx, claim, code, reason, verdict.findings)
            voucher = _readable(claim)
            if verdict.state == "REJECTED" and voucher is not None:
                self._answer(tx, rejected_event(self.erp, claim, voucher, code, reason))
        return True

    def _posted(self, tx: Connection, claim: Claim, receipt: Receipt) -> bool:
        voucher = parse_voucher(claim.voucher)
        on = receipt.posted_on or voucher.date
        if not postings.move(
            tx,
            claim,
            "POSTED",
            external_id=receipt.external_id,
            erp_number=receipt.number,
            posted_on=on.isoformat(),
        ):
            return False
        cross_references.remember(
            tx, self.erp.name, claim.company, "voucher", claim.reference, receipt.external_id, receipt.number
        )
        if claim.purpose == "reverse":
            assert claim.reverses is not None
            postings.mark_reversed(tx, claim.reverses)
            original = postings.read(tx, claim.reverses)
            event = reversed_event(self.erp, claim, voucher, receipt, on, original)
        else:
            event = posted_event(self.erp, claim, voucher, receipt, on)
        self._answer(tx, event)
        deadletters.resolve_posting(tx, claim.document_id, claim.id)
        documents.release(tx, [claim.document_id])
        return True

    def _park(self, tx: Connection, claim: Claim, code: str, reason: str, findings: Sequence[Finding] = ()) -> None:
        voucher = _readable(claim)
        document = documents.origin(tx, claim.document_id, claim.version, claim.purpose)
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
                amount=None if voucher is None else f"{voucher.total_debit:f}",
                currency=None if voucher is None else voucher.currency,
                document_id=claim.document_id,
                posting_id=claim.id,
                blocks=True,
            ),
        )

    def _answer(self, tx: Connection, event: AnyEvent) -> None:
        outbox.add(tx, [outbox.OutboxRow(event.source, event.id, event.type, to_json(event))])


def in_calls(claims: Sequence[Claim], size: int) -> list[list[Claim]]:
    """What goes into one call: vouchers in lists, reversals one by one.

    What was in doubt before goes last and alone, because it may be what broke its call: it takes no other with it. Where it
    even ends its worker, it stands behind the others every second time.
    """
    size = max(1, size)
    fresh = [claim for claim in claims if not claim.asks]
    posts = [claim for claim in fresh if claim.purpose != "reverse"]
    alone = [claim for claim in fresh if claim.purpose == "reverse"]
    alone += sorted((c for c in claims if c.asks), key=lambda claim: claim.id if claim.tries % 2 else -claim.id)
    return [posts[start : start + size] for start in range(0, len(posts), size)] + [[claim] for claim in alone]


def _readable(claim: Claim) -> Voucher | None:
    try:
        return parse_voucher(claim.voucher)
    except Refused:
        return None


def _fault(error: Exception) -> Outcome:
    return Outcome("ambiguous", "ERP-502", f"{type(error).__name__}: {error}")
