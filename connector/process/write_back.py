"""Write-back: the OA is told what became of its reports, in order, until it has taken it."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from connector.adapter import Adapter, Outcome
from connector.adapter import Delivery as Sending
from connector.ledger import Ledger, deadletters, documents, write_backs
from connector.ledger.write_backs import WriteBack
from connector.process.settlement import from_text
from connector.recovery import Park, RetryLater, decide
from connector.settings import Delivery, Retry


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

    def write_back_due(self) -> WriteBackResult:
        """Tells one batch of what is due."""
        with self.ledger.begin() as tx:
            claims = write_backs.claim_due(tx, self.system, self.settings.batch, self.settings.lease_s, self.worker)
        result = WriteBackResult(claimed=len(claims))
        size = max(1, self.oa.features.batch)
        for start in range(0, len(claims), size):
            part = claims[start : start + size]
            answers = self.oa.deliver([_sending(claim) for claim in part])
            with self.ledger.begin() as tx:
                documents.lock(tx, [claim.document_id for claim in part])
                for claim, answer in zip(part, answers, strict=True):
                    if isinstance(answer, Outcome):
                        self._failed(tx, claim, answer, result)
                    else:
                        result.done += write_backs.move(tx, claim, "DONE")
                        deadletters.resolve_write_back(tx, claim.id)
        return result

    def _failed(self, tx: Connection, claim: WriteBack, answer: Outcome, result: WriteBackResult) -> None:
        match decide(answer, claim.attempts, self.retry, jitter=self.jitter()):
            case RetryLater(delay_s):
                result.waiting += write_backs.move(
                    tx, claim, "PENDING", wait_s=delay_s, code=answer.code, message=answer.message
                )
            case Park(code, reason):
                if write_backs.move(tx, claim, "FAILED", code=code, message=reason):
                    result.failed += 1
                    self._park(tx, claim, code, reason)
            case _:
                result.waiting += write_backs.move(
                    tx, claim, "PENDING", wait_s=self.retry.ledger_wait_s, code=answer.code, message=answer.message
                )

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


def _sending(claim: WriteBack) -> Sending:
    status = from_text(claim.status)
    return Sending(f"{status.company}-{status.number}-V{status.version}-{status.state}", status, claim.attempts)
