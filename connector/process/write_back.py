"""Write-back: the OA is told what became of its reports, in order, until it has taken it."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy.engine import Connection

from connector.adapter import Adapter, Outcome, Receipt
from connector.adapter import Delivery as Sending
from connector.ledger import Ledger, deadletters, documents, write_backs
from connector.ledger.write_backs import WriteBack
from connector.process.settlement import from_text
from connector.recovery import Adopt, InDoubt, Park, RetryLater, decide
from connector.settings import Delivery, Retry

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class WriteBackResult:
    """What a round did."""

    claimed: int = 0
    done: int = 0
    waiting: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class WriteBacker:
    """Tells one OA what became of its reports. Telling twice is harmless there, so a lost answer is simply told again."""

    ledger: Ledger
    oa: Adapter
    system: str
    retry: Retry
    settings: Delivery
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}")
    jitter: Callable[[], float] = random.random
    clock: Callable[[], float] = time.monotonic

    def write_back_due(self) -> WriteBackResult:
        """Tells one batch of what is due."""
        started = self.clock()
        with self.ledger.begin() as tx:
            claims = write_backs.claim_due(tx, self.system, self.settings.batch, self.settings.lease_s, self.worker)
            earlier = write_backs.before(tx, claims)
        result = WriteBackResult(claimed=len(claims))
        for together in in_calls(claims, self.oa.features.batch):
            # As for postings: none begins so late that another worker could take it over and tell what comes next.
            begun = self.clock() - started <= self.settings.lease_s / 2
            answers = self._tell(together, earlier) if begun else [None] * len(together)
            with self.ledger.begin() as tx:
                documents.lock(tx, [claim.document_id for claim in together])
                for claim, answer in zip(together, answers, strict=True):
                    self._settle(tx, claim, answer, result)
        return result

    def _tell(self, together: Sequence[WriteBack], earlier: Mapping[int, Sequence[str]]) -> Sequence[Receipt | Outcome]:
        if together[0].attempts > self.retry.ledger_attempts:
            return [Outcome("transient", "OA-502", "the worker went away during the call")]
        try:
            given = self.oa.deliver([_sending(claim, earlier[claim.id]) for claim in together])
            assert len(given) == len(together), "an adapter answers for each delivery"
        except Exception as error:
            log.exception("the adapter failed", write_backs=[claim.id for claim in together])
            return [Outcome("transient", "OA-502", f"{type(error).__name__}: {error}")] * len(together)
        return given

    def _settle(
        self, tx: Connection, claim: WriteBack, answer: Receipt | Outcome | None, result: WriteBackResult
    ) -> None:
        """Writes what came of it; without an answer it was never begun."""
        if answer is None:
            result.waiting += write_backs.hand_back(tx, claim)
        elif isinstance(answer, Outcome):
            self._failed(tx, claim, answer, result)
        elif write_backs.move(tx, claim, "DONE"):
            result.done += 1
            deadletters.resolve_write_back(tx, claim.document_id, claim.id)

    def _failed(self, tx: Connection, claim: WriteBack, answer: Outcome, result: WriteBackResult) -> None:
        if answer.kind in ("ambiguous", "duplicate"):  # Telling it once more settles either.
            answer = replace(answer, kind="transient")
        match decide(answer, claim.attempts, self.retry, jitter=self.jitter()):
            case RetryLater(delay_s):
                result.waiting += write_backs.move(
                    tx, claim, "PENDING", wait_s=delay_s, code=answer.code, message=answer.message
                )
            case Park(code, reason):
                if write_backs.move(tx, claim, "FAILED", code=code, message=reason):
                    result.failed += 1
                    self._park(tx, claim, code, reason)
            case InDoubt() | Adopt():
                raise AssertionError("neither ambiguous nor duplicate")

    def _park(self, tx: Connection, claim: WriteBack, code: str, reason: str) -> None:
        status = from_text(claim.status)
        deadletters.park(
            tx,
            deadletters.Letter(
                code=code,
                message=f"the OA was not told that {status.number} is {status.state}: {reason}",
                door=f"oa {self.oa.name}",
                body=claim.status.encode(),
                company=status.company,
                number=status.number,
                document_id=claim.document_id,
                write_back_id=claim.id,
            ),
        )


def in_calls(claims: Sequence[WriteBack], size: int) -> list[list[WriteBack]]:
    """What goes into one call: what is told for the first time in lists, the rest last and alone, because it may be what
    broke its call. Where it even ends its worker, it stands behind the others every second time."""
    size = max(1, size)
    fresh = [claim for claim in claims if claim.attempts == 1]
    again = sorted(
        (claim for claim in claims if claim.attempts > 1),
        key=lambda claim: claim.id if claim.attempts % 2 else -claim.id,
    )
    return [fresh[start : start + size] for start in range(0, len(fresh), size)] + [[claim] for claim in again]


def _sending(claim: WriteBack, earlier: Sequence[str]) -> Sending:
    """The status under a reference of its own: what an OA has noted under a reference it does not note again. A version is
    paid in part, or refused, more than once."""
    status = from_text(claim.status)
    told = {(before.version, before.state) for before in map(from_text, earlier)}
    repeated = f"-{claim.id}" if (status.version, status.state) in told else ""
    reference = f"{status.company}-{status.number}-V{status.version}-{status.state}{repeated}"
    return Sending(reference, status, claim.attempts)
