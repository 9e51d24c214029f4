"""Write-backs: status on its way to the OA, claimed and settled like postings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.engine import Connection

from connector.ledger.sql import now_plus, now_text, table_of
from connector.ledger.tables import write_backs


@dataclass(frozen=True, slots=True)
class NewWriteBack:
    """A status to tell a system (`/oa/<adapter>/<company>`), because of an event."""

    document_id: int
    system: str
    event_source: str
    event_id: str
    status: str


@dataclass(frozen=True, slots=True)
class WriteBack:
    """A write-back in the hands of one worker."""

    id: int
    document_id: int
    system: str
    status: str
    attempts: int
    epoch: int


def add(tx: Connection, new: Sequence[NewWriteBack]) -> None:
    """Each event is written back once, however often it arrives."""
    columns = {"document_id": "bigint", "system": "text", "event_source": "text", "event_id": "text", "status": "text"}
    rows = [(n.document_id, n.system, n.event_source, n.event_id, n.status) for n in new]
    if not rows:
        return
    given, parameters = table_of(tx, columns, rows)
    # WHERE true: SQLite needs it to tell ON CONFLICT from a join's ON.
    tx.execute(
        text(
            "INSERT INTO write_backs (document_id, system, event_source, event_id, status, state, attempts, epoch)"
            f" SELECT document_id, system, event_source, event_id, status, 'PENDING', 0, 0 FROM {given} WHERE true"
            " ON CONFLICT (event_source, event_id) DO NOTHING"
        ),
        parameters,
    )


def claim_due(tx: Connection, system: str, limit: int, lease_s: float, worker: str) -> list[WriteBack]:
    """Write-backs that may be told now: the earliest of each document, so that a status never goes backward; also
    those whose worker went away, because telling twice is harmless."""
    skip = " FOR UPDATE OF w SKIP LOCKED" if tx.dialect.name == "postgresql" else ""
    rows = tx.execute(
        text(
            "UPDATE write_backs SET state = 'SENDING', attempts = attempts + 1, epoch = epoch + 1,"
            f" lease_owner = :worker, lease_until = {now_plus(tx, ':lease_s')}, next_at = {now_plus(tx, ':lease_s')}"
            " WHERE id IN (SELECT w.id FROM write_backs w WHERE w.system = :system"
            f" AND w.state IN ('PENDING', 'SENDING') AND w.next_at <= {now_text(tx)}"
            " AND NOT EXISTS (SELECT 1 FROM write_backs e WHERE e.document_id = w.document_id AND e.id < w.id"
            " AND e.state IN ('PENDING', 'SENDING'))"
            f" ORDER BY w.next_at, w.id LIMIT :limit{skip}) RETURNING id, document_id, system, status, attempts, epoch"
        ),
        {"system": system, "limit": limit, "lease_s": lease_s, "worker": worker},
    ).all()
    claims = [WriteBack(r.id, r.document_id, r.system, r.status, r.attempts, r.epoch) for r in rows]
    return sorted(claims, key=lambda claim: claim.id)


def before(tx: Connection, claims: Sequence[WriteBack]) -> dict[int, list[str]]:
    """The statuses of the same document from before each claim, by the claim's id. A document has one claim at most."""
    w = write_backs.c
    claimed = {claim.document_id: claim.id for claim in claims}
    statement = select(w.document_id, w.id, w.status).where(w.document_id.in_(list(claimed)))
    found: dict[int, list[str]] = {claim.id: [] for claim in claims}
    for document_id, id_, status in tx.execute(statement):
        if id_ < claimed[document_id]:
            found[claimed[document_id]].append(status)
    return found


def hand_back(tx: Connection, claim: WriteBack) -> bool:
    """Ends a claim whose call was never begun, as if it had not been made. False where it was lost, as for `move`."""
    changed = tx.execute(
        text(
            "UPDATE write_backs SET state = 'PENDING', attempts = attempts - 1, lease_owner = NULL, lease_until = NULL,"
            f" next_at = {now_text(tx)} WHERE id = :id AND epoch = :epoch AND state = 'SENDING'"
        ),
        {"id": claim.id, "epoch": claim.epoch},
    )
    return changed.rowcount == 1


def move(
    tx: Connection,
    claim: WriteBack,
    state: str,
    *,
    wait_s: float = 0,
    code: str | None = None,
    message: str | None = None,
) -> bool:
    """Ends a claim; False where another worker has it by now."""
    settled = f", settled_at = {now_text(tx)}" if state in ("DONE", "FAILED") else ""
    changed = tx.execute(
        text(
            f"UPDATE write_backs SET state = :state, next_at = {now_plus(tx, ':wait_s')}, lease_owner = NULL,"
            f" lease_until = NULL, code = :code, message = :message{settled}"
            " WHERE id = :id AND epoch = :epoch AND state = 'SENDING'"
        ),
        {"state": state, "wait_s": wait_s, "code": code, "message": message, "id": claim.id, "epoch": claim.epoch},
    )
    return changed.rowcount == 1


def again(tx: Connection, write_back_id: int) -> bool:
    """A person has the OA told once more. False where it was told something later about the document since, or is being
    told: a status never goes backward."""
    w = write_backs.c
    document_id = select(w.document_id).where(w.id == write_back_id).scalar_subquery()
    rows = tx.execute(select(w.id, w.state).where(w.document_id == document_id).with_for_update()).all()
    if any(row.id > write_back_id and row.state in ("SENDING", "DONE") for row in rows):
        return False
    tx.execute(
        text(
            f"UPDATE write_backs SET state = 'PENDING', attempts = 0, next_at = {now_text(tx)}"
            " WHERE id = :id AND state = 'FAILED'"
        ),
        {"id": write_back_id},
    )
    return True
