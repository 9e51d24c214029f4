"""Claims and their ends: who may call a system about a row, for how long, and what came of it.

A claim is a lease on the database's clock with an epoch that every claim raises. Whoever comes back late finds another
epoch in the row and changes nothing. The attempt is counted and committed before the call is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import RowMapping, text
from sqlalchemy.engine import Connection

from connector.ledger.sql import now_plus, now_text

_RETURNING = (
    " RETURNING id, document_id, company, version, purpose, reference, voucher, book, reverses, attempts,"
    " tried_before, asks, epoch, external_id"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A posting in the hands of one worker."""

    id: int
    document_id: int
    company: str
    version: int
    purpose: str
    reference: str
    voucher: bytes
    book: str | None
    reverses: int | None
    attempts: int
    tried_before: int
    asks: int
    epoch: int
    external_id: str | None

    @property
    def tries(self) -> int:
        """Calls begun since it was planned, or last replayed by a person."""
        return self.attempts - self.tried_before


def _claims(rows: Sequence[RowMapping]) -> list[Claim]:
    return sorted((Claim(**{**row, "voucher": bytes(row["voucher"])}) for row in rows), key=lambda claim: claim.id)


def _skip(tx: Connection, of: str) -> str:
    return f" FOR UPDATE OF {of} SKIP LOCKED" if tx.dialect.name == "postgresql" else ""


def expire(tx: Connection, company: str, settle_s: float) -> int:
    """Postings whose worker went away in the middle of the call become UNKNOWN: it may have been done."""
    moment = now_plus(tx, ":settle_s")
    return tx.execute(
        text(
            f"UPDATE postings SET state = 'UNKNOWN', next_at = {moment}, epoch = epoch + 1, lease_owner = NULL,"
            " code = 'ERP-502', message = 'the worker went away during the call'"
            f" WHERE id IN (SELECT p.id FROM postings p WHERE p.company = :company AND p.state = 'SENDING'"
            f" AND p.lease_until <= {now_text(tx)}{_skip(tx, 'p')})"
        ),
        {"company": company, "settle_s": settle_s},
    ).rowcount


def claim_due(tx: Connection, company: str, limit: int, lease_s: float, worker: str) -> list[Claim]:
    """Postings that may be sent now: due, unclaimed, and what they depend on stands."""
    rows = (
        tx.execute(
            text(
                "UPDATE postings SET state = 'SENDING', attempts = attempts + 1, epoch = epoch + 1,"
                f" lease_owner = :worker, lease_until = {now_plus(tx, ':lease_s')} WHERE id IN ("
                " SELECT p.id FROM postings p LEFT JOIN postings d ON d.id = p.depends_on"
                " WHERE p.company = :company AND p.state = 'PENDING'"
                f" AND p.next_at <= {now_text(tx)} AND (p.depends_on IS NULL OR d.state IN ('POSTED', 'REVERSED'))"
                f" ORDER BY p.next_at, p.id LIMIT :limit{_skip(tx, 'p')}){_RETURNING}"
            ),
            {"company": company, "limit": limit, "lease_s": lease_s, "worker": worker},
        )
        .mappings()
        .all()
    )
    return _claims(rows)


def claim_in_doubt(tx: Connection, company: str, limit: int, lease_s: float, worker: str) -> list[Claim]:
    """UNKNOWN postings whose settle window has passed: to be asked about, not to be sent."""
    rows = (
        tx.execute(
            text(
                "UPDATE postings SET asks = asks + 1, epoch = epoch + 1, lease_owner = :worker,"
                f" next_at = {now_plus(tx, ':lease_s')} WHERE id IN (SELECT p.id FROM postings p"
                f" WHERE p.company = :company AND p.state = 'UNKNOWN' AND p.next_at <= {now_text(tx)}"
                f" ORDER BY p.next_at, p.id LIMIT :limit{_skip(tx, 'p')}){_RETURNING}"
            ),
            {"company": company, "limit": limit, "lease_s": lease_s, "worker": worker},
        )
        .mappings()
        .all()
    )
    return _claims(rows)


def due_at_once(tx: Connection, company: str) -> bool:
    """True where a posting could be claimed right now."""
    return bool(
        tx.scalar(
            text(
                "SELECT 1 FROM postings p LEFT JOIN postings d ON d.id = p.depends_on"
                " WHERE p.company = :company AND p.state = 'PENDING'"
                f" AND p.next_at <= {now_text(tx)} AND (p.depends_on IS NULL OR d.state IN ('POSTED', 'REVERSED'))"
                " ORDER BY p.next_at LIMIT 1"
            ),
            {"company": company},
        )
    )


def begin_attempt(tx: Connection, claim: Claim, operation: str, worker: str, request_sha256: str | None) -> None:
    """Writes down that a call is about to be made."""
    tx.execute(
        text(
            "INSERT INTO attempts (posting_id, operation, attempt, epoch, worker, request_sha256)"
            " VALUES (:posting_id, :operation, :attempt, :epoch, :worker, :sha)"
        ),
        {
            "posting_id": claim.id,
            "operation": operation,
            "attempt": claim.attempts,
            "epoch": claim.epoch,
            "worker": worker,
            "sha": request_sha256,
        },
    )


def end_attempt(tx: Connection, claim: Claim, outcome: str, code: str | None, message: str | None) -> None:
    """Writes down what came of the call. Never raises about a claim that was lost: the call was made all the same."""
    tx.execute(
        text(
            f"UPDATE attempts SET outcome = :outcome, code = :code, message = :message, ended_at = {now_text(tx)}"
            " WHERE posting_id = :posting_id AND epoch = :epoch AND ended_at IS NULL"
        ),
        {
            "outcome": outcome,
            "code": code,
            "message": message,
            "posting_id": claim.id,
            "epoch": claim.epoch,
        },
    )


def move(tx: Connection, claim: Claim, state: str, *, wait_s: float = 0, **values: Any) -> bool:
    """Ends a claim in `state`, due again in `wait_s` where that means anything. False where the claim was lost to
    another worker in the meantime: then nothing changed."""
    columns = {"code": None, "message": None, **values}
    sets = "".join(f", {name} = :{name}" for name in columns)
    settled = f", settled_at = {now_text(tx)}" if state in ("POSTED", "REJECTED") else ""
    changed = tx.execute(
        text(
            f"UPDATE postings SET state = :state, next_at = {now_plus(tx, ':wait_s')}, lease_owner = NULL,"
            f" lease_until = NULL{sets}{settled} WHERE id = :id AND epoch = :epoch AND state IN ('SENDING', 'UNKNOWN')"
        ),
        {"state": state, "wait_s": wait_s, "id": claim.id, "epoch": claim.epoch, **columns},
    )
    return changed.rowcount == 1


def hand_back(tx: Connection, claim: Claim, before: Literal["PENDING", "UNKNOWN"] = "PENDING") -> bool:
    """Ends a claim whose call was never begun, as if it had not been made. False where it was lost, as for `move`."""
    tx.execute(
        text("DELETE FROM attempts WHERE posting_id = :id AND epoch = :epoch AND ended_at IS NULL"),
        {"id": claim.id, "epoch": claim.epoch},
    )
    if before == "UNKNOWN":
        return move(tx, claim, before, asks=claim.asks - 1)
    return move(tx, claim, before, attempts=claim.attempts - 1)


def mark_reversed(tx: Connection, posting_id: int) -> None:
    """What was posted does not count any more."""
    tx.execute(text("UPDATE postings SET state = 'REVERSED' WHERE id = :id AND state = 'POSTED'"), {"id": posting_id})


def read(tx: Connection, posting_id: int) -> Mapping[str, Any]:
    """One posting, every column."""
    row = tx.execute(text("SELECT * FROM postings WHERE id = :id"), {"id": posting_id}).mappings().one()
    return {str(name): value for name, value in row.items()}
