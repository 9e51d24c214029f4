"""A document's whole story: everything the ledger knows of it, in the order in which it happened. Only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import and_, or_, select, text
from sqlalchemy.engine import Connection

from connector.ledger.tables import attempts, audit, dead_letters, documents, inbox, originals, postings, write_backs

_TOLD = ("expense.report", "advance")


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened: when, what, in one line, and the details."""

    at: datetime
    what: str
    said: str
    details: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The moment as JSON-able values."""
        return {"at": self.at.isoformat(), "what": self.what, "said": self.said, **self.details}


@dataclass(frozen=True, slots=True)
class Story:
    """A document, its standing now, and how it came there."""

    document: Mapping[str, Any]
    vouchers: Sequence[Mapping[str, Any]]
    moments: Sequence[Moment]

    def as_dict(self) -> dict[str, Any]:
        """The story as JSON-able values."""
        return {
            "document": dict(self.document),
            "vouchers": [dict(voucher) for voucher in self.vouchers],
            "moments": [moment.as_dict() for moment in self.moments],
        }


def companies_of(tx: Connection, number: str) -> list[str]:
    """The companies that have a report, or an advance, of this number."""
    c = documents.c
    return list(
        tx.scalars(select(c.company).where(c.number == number, c.kind.in_(_TOLD)).distinct().order_by(c.company))
    )


def letters_of(tx: Connection, number: str) -> list[int]:
    """Dead letters that name the document, also where the ledger knows no such document."""
    return list(
        tx.scalars(select(dead_letters.c.id).where(dead_letters.c.number == number).order_by(dead_letters.c.id))
    )


def on_the_way(tx: Connection) -> int:
    """Accepted events, of whatever document, that no worker has decided about yet."""
    return int(tx.scalar(text("SELECT count(*) FROM outbox")) or 0)


def tell(tx: Connection, company: str, number: str) -> Story | None:
    """The story of a report, else of an advance of this number, or None where the ledger has never heard of either."""
    c = documents.c
    named = select(documents).where(c.kind.in_(_TOLD), c.company == company, c.number == number)
    document = tx.execute(named.order_by(c.kind.desc()).limit(1)).mappings().first()
    if document is None:
        return None
    id_ = document["id"]
    moments = [
        *_received(tx, id_),
        *_postings(tx, id_),
        *_attempts(tx, id_),
        *_write_backs(tx, id_),
        *_letters(tx, id_, company, number),
    ]
    shown = {name: document[name] for name in ("company", "number", "source", "version", "state", "blocked_by")}
    return Story(shown, _vouchers(tx, id_), sorted(moments, key=lambda moment: moment.at))


def _received(tx: Connection, id_: int) -> list[Moment]:
    rows = tx.execute(
        select(inbox, originals.c.door.label("door"))
        .outerjoin(originals, (originals.c.source == inbox.c.source) & (originals.c.event_id == inbox.c.event_id))
        .where(inbox.c.document_id == id_)
    ).mappings()
    return [
        Moment(
            row["received_at"],
            "event",
            f"{row['type']}{'' if row['version'] is None else ' version ' + str(row['version'])}: {row['outcome']}; {row['note']}",
            {
                "event_id": row["event_id"],
                "source": row["source"],
                "type": row["type"],
                "version": row["version"],
                "outcome": row["outcome"],
                "note": row["note"],
                "door": row["door"],
                "sha256": row["sha256"],
            },
        )
        for row in rows
    ]


def _postings(tx: Connection, id_: int) -> list[Moment]:
    moments: list[Moment] = []
    for row in tx.execute(select(postings).where(postings.c.document_id == id_)).mappings():
        details = {
            name: row[name]
            for name in ("reference", "purpose", "version", "state", "attempts", "book", "erp_number", "code")
        }
        moments.append(Moment(row["created_at"], "planned", f"{row['purpose']} {row['reference']}", details))
        if row["settled_at"] is not None:
            as_what = f" as {row['erp_number']}" if row["erp_number"] else ""
            why = f": {row['code']} {row['message']}" if row["code"] else ""
            said = f"{row['reference']} is {row['state']}{as_what}{why}"
            what = row["state"].lower()
            if row["state"] == "REVERSED":  # settled when it was posted; the reversal is a posting of its own
                said, what = f"{row['reference']} was posted{as_what}; it is REVERSED now", "posted"
            moments.append(Moment(row["settled_at"], what, said, details))
    return moments


def _attempts(tx: Connection, id_: int) -> list[Moment]:
    rows = tx.execute(
        select(attempts, postings.c.reference)
        .join(postings, postings.c.id == attempts.c.posting_id)
        .where(postings.c.document_id == id_)
    ).mappings()
    moments = []
    for row in rows:
        took = None if row["ended_at"] is None else round((row["ended_at"] - row["started_at"]).total_seconds() * 1000)
        said = f"{row['operation']} {row['reference']}, attempt {row['attempt']}: {row['outcome'] or 'no answer yet'}"
        said += "" if took is None else f" in {took} ms"
        said += f"; {row['code']} {row['message']}" if row["code"] else ""
        names = ("reference", "operation", "attempt", "worker", "outcome", "code", "message", "request_sha256")
        moments.append(Moment(row["started_at"], "call", said, {**{n: row[n] for n in names}, "took_ms": took}))
    return moments


def _write_backs(tx: Connection, id_: int) -> list[Moment]:
    moments = []
    for row in tx.execute(select(write_backs).where(write_backs.c.document_id == id_)).mappings():
        status = orjson.loads(row["status"])
        said = f"{row['system']} is told that version {status['version']} is {status['state']}: {row['state'].lower()}"
        details = {"system": row["system"], "status": status, "state": row["state"], "attempts": row["attempts"]}
        moments.append(Moment(row["settled_at"] or row["created_at"], "write-back", said, details))
    return moments


def _letters(tx: Connection, id_: int, company: str, number: str) -> list[Moment]:
    moments: list[Moment] = []
    names: list[str] = []
    c = dead_letters.c
    # What was refused before it reached the document still names it.
    named = and_(c.document_id.is_(None), c.company == company, c.number == number)
    for row in tx.execute(select(dead_letters).where(or_(c.document_id == id_, named))).mappings():
        details = {"id": row["id"], "code": row["code"], "state": row["state"], "waits_for": row["waits_for"]}
        moments.append(Moment(row["created_at"], "dead letter", f"{row['id']}: {row['message']}", details))
        names.append(f"dead letter {row['id']}")
    for row in tx.execute(select(audit).where(audit.c.subject.in_(names))).mappings():
        said = f"{row['actor']}: {row['action']} of {row['subject']}: {row['reason']}"
        moments.append(
            Moment(datetime.fromisoformat(row["at"]), "person", said, {"actor": row["actor"], "action": row["action"]})
        )
    return moments


def _vouchers(tx: Connection, id_: int) -> list[dict[str, Any]]:
    """Every voucher of the document with its lines, the rule that made each, and what reverses it or is reversed by it."""
    rows = tx.execute(
        text("SELECT state, erp_number, voucher FROM postings WHERE document_id = :id ORDER BY id"), {"id": id_}
    )
    told = [{"state": state, "erp_number": number, **orjson.loads(bytes(voucher))} for state, number, voucher in rows]
    taken_back = {one["reverses"]: one["reference"] for one in told if "reverses" in one and one["state"] == "POSTED"}
    return [{**one, "reversed_by": taken_back.get(one["reference"])} for one in told]
