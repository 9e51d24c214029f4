"""Documents, their versions (inbox rows) and the postings planned for them: locked, read and written a batch at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from connector.ledger.faults import Crossed
from connector.ledger.sql import insert_many, table_of
from connector.ledger.tables import documents, inbox, postings
from connector.plan import DocumentState, Standing


class DocumentKey(NamedTuple):
    """What names a document: the family of its events, the company, its number."""

    kind: str
    company: str
    number: str


class EventKey(NamedTuple):
    """What names an event, for ever."""

    source: str
    event_id: str


class Read(NamedTuple):
    """An event that was read before, and what became of it."""

    sha256: str
    outcome: str


@dataclass(slots=True)
class Document:
    """A document, locked until the transaction ends."""

    id: int
    key: DocumentKey
    source: str
    version: int
    sha256: str | None
    state: str
    blocked_by: int | None
    standing: list[Standing] = field(default_factory=list)
    held: list[bytes] = field(default_factory=list)

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever decided about it."""
        return not self.version and self.state == "new"

    def as_state(self) -> DocumentState:
        """What the planner sees of it."""
        return DocumentState(self.version, self.sha256, self.source, self.blocked_by, tuple(self.standing))


def hold(tx: Connection, wanted: Iterable[tuple[DocumentKey, str]]) -> dict[DocumentKey, Document]:
    """Makes sure each document (key, source of an event about it; empty where that gives it none) is there and locks them
    all, always in the same order, so that two batches wait for one another and never for each other. A document belongs
    to the first source that is told."""
    sources: dict[DocumentKey, str] = {}
    for key, source in wanted:
        sources[key] = sources.get(key) or source
    rows = [(*key, source) for key, source in sorted(sources.items())]
    given, parameters = table_of(tx, {"kind": "text", "company": "text", "number": "text", "source": "text"}, rows)
    # WHERE true: SQLite needs it to tell ON CONFLICT from a join's ON.
    made = tx.execute(
        text(
            "INSERT INTO documents (kind, company, number, source)"
            f" SELECT kind, company, number, source FROM {given} WHERE true ON CONFLICT DO NOTHING"
            " RETURNING id, kind, company, number, source"
        ),
        parameters,
    )
    held: dict[DocumentKey, Document] = {}
    for id_, kind, company, number, source in made:
        key = DocumentKey(kind, company, number)
        held[key] = Document(id_, key, source, 0, None, "new", None)
    known = [row for row in rows if DocumentKey(*row[:3]) not in held]
    if known:
        held |= _lock_known(tx, known)
    return held


def _lock_known(tx: Connection, rows: Sequence[tuple[str, ...]]) -> dict[DocumentKey, Document]:
    given, parameters = table_of(tx, {"kind": "text", "company": "text", "number": "text", "source": "text"}, rows)
    lock = " FOR UPDATE OF d" if tx.dialect.name == "postgresql" else ""
    found = tx.execute(
        text(
            "SELECT d.id, d.kind, d.company, d.number, d.source, d.version, d.sha256, d.state, d.blocked_by, given.source"
            f" FROM {given} JOIN documents d ON d.kind = given.kind AND d.company = given.company"
            f" AND d.number = given.number ORDER BY d.id{lock}"
        ),
        parameters,
    )
    held: dict[DocumentKey, Document] = {}
    owned: list[dict[str, Any]] = []
    for id_, kind, company, number, source, version, sha256, state, blocked_by, told in found:
        key = DocumentKey(kind, company, number)
        held[key] = Document(id_, key, source or told, version, sha256, state, blocked_by)
        if not source and told:
            owned.append({"id": id_, "source": told})
    if owned:
        tx.execute(text("UPDATE documents SET source = :source WHERE id = :id"), owned)
    old = [document for document in held.values() if not document.is_new]
    if old:
        _read_standing(tx, old)
        _read_held(tx, old)
    return held


def _read_standing(tx: Connection, old: Sequence[Document]) -> None:
    by_id = {document.id: document for document in old}
    given, parameters = table_of(tx, {"id": "bigint"}, [(document.id,) for document in old])
    lock = " FOR UPDATE OF p" if tx.dialect.name == "postgresql" else ""
    for document_id, *rest in tx.execute(
        text(
            "SELECT p.document_id, p.id, p.version, p.purpose, p.state, p.attempts, p.reverses"
            f" FROM {given} JOIN postings p ON p.document_id = given.id ORDER BY p.id{lock}"
        ),
        parameters,
    ):
        by_id[document_id].standing.append(Standing(*rest))


def _read_held(tx: Connection, old: Sequence[Document]) -> None:
    by_id = {document.id: document for document in old}
    given, parameters = table_of(tx, {"id": "bigint"}, [(document.id,) for document in old])
    for document_id, body in tx.execute(
        text(
            f"SELECT i.document_id, i.body FROM {given} JOIN inbox i ON i.document_id = given.id"
            " WHERE i.outcome = 'held' ORDER BY i.document_id, i.version, i.id"
        ),
        parameters,
    ):
        by_id[document_id].held.append(bytes(body))


class Offer(NamedTuple):
    """What a system that numbers no versions last told of a document: our number for it, and its content."""

    version: int
    sha256: str | None


def offers(tx: Connection, held: Iterable[Document]) -> dict[DocumentKey, Offer]:
    """What was last offered of each of these documents."""
    keys = {document.id: document.key for document in held}
    given, parameters = table_of(tx, {"id": "bigint"}, [(id_,) for id_ in keys])
    rows = tx.execute(
        text(f"SELECT d.id, d.offered_version, d.offered_sha256 FROM {given} JOIN documents d ON d.id = given.id"),
        parameters,
    )
    return {keys[id_]: Offer(version, sha256) for id_, version, sha256 in rows}


def record_offers(tx: Connection, offered: Mapping[DocumentKey, Offer]) -> None:
    """Writes what is now the last offer."""
    if offered:
        tx.execute(
            text(
                "UPDATE documents SET offered_version = :version, offered_sha256 = :sha256"
                " WHERE kind = :kind AND company = :company AND number = :number"
            ),
            [key._asdict() | offer._asdict() for key, offer in offered.items()],
        )


def body_of(tx: Connection, document_id: int, version: int, sha256: str | None) -> bytes | None:
    """The bytes that a version of a document came as; None where they were never read."""
    statement = text(
        "SELECT body FROM inbox WHERE document_id = :document_id AND version = :version"
        " AND sha256 = :sha256 ORDER BY id LIMIT 1"
    )
    body = tx.scalar(statement, {"document_id": document_id, "version": version, "sha256": sha256})
    return None if body is None else bytes(body)


def newest_submitted(tx: Connection, document_id: int) -> int:
    """The newest version of a report that was handed in and taken note of; 0 where none was."""
    statement = text(
        "SELECT max(version) FROM inbox"
        " WHERE document_id = :id AND outcome = 'applied' AND type LIKE 'expense.report.submitted.%'"
    )
    return int(tx.scalar(statement, {"id": document_id}) or 0)


def already_read(tx: Connection, keys: Sequence[EventKey]) -> dict[EventKey, Read]:
    """Which of these events were read before."""
    found = _of_inbox(tx, keys, "i.sha256, i.outcome")
    return {EventKey(source, event_id): Read(sha256, outcome) for source, event_id, sha256, outcome in found}


def bodies(tx: Connection, keys: Sequence[EventKey]) -> dict[EventKey, bytes]:
    """The bytes of events that were read before."""
    found = _of_inbox(tx, keys, "i.body")
    return {EventKey(source, event_id): bytes(body) for source, event_id, body in found}


def _of_inbox(tx: Connection, keys: Sequence[EventKey], columns: str) -> Iterable[Any]:
    if not keys:
        return ()
    given, parameters = table_of(tx, {"source": "text", "event_id": "text"}, keys)
    return tx.execute(
        text(
            f"SELECT i.source, i.event_id, {columns} FROM {given}"
            " JOIN inbox i ON i.source = given.source AND i.event_id = given.event_id"
        ),
        parameters,
    )


@dataclass(slots=True)
class NewPosting:
    """A posting to write: post, adjust or reverse. `after` and `reverses` name postings that are there; `after_reversal`
    ties it to the reversal written just before it for the same document; `again` says that the ERP rejected it before."""

    document_id: int
    company: str
    version: int
    purpose: str
    reference: str
    voucher: bytes
    book: str | None
    terms: str | None = None
    after: int | None = None
    reverses: int | None = None
    after_reversal: bool = False
    again: bool = False


@dataclass(slots=True)
class Entry:
    """An event to write into the inbox, with its outcome."""

    key: EventKey
    type: str
    sha256: str
    body: bytes
    document_id: int | None
    version: int | None
    outcome: str
    note: str


def record_entries(tx: Connection, entries: Sequence[Entry], read_before: Iterable[EventKey]) -> None:
    """Writes what became of each event: new rows, or the new outcome of one that was waiting. Raises Crossed where another
    batch read one of the new ones meanwhile."""
    before = set(read_before)
    rows = [
        {
            "source": entry.key.source,
            "event_id": entry.key.event_id,
            "type": entry.type,
            "sha256": entry.sha256,
            "body": entry.body,
            "document_id": entry.document_id,
            "version": entry.version,
            "outcome": entry.outcome,
            "note": entry.note,
        }
        for entry in entries
        if entry.key not in before
    ]
    try:
        insert_many(tx, inbox, rows)
    except IntegrityError as error:
        raise Crossed("another batch read one of these events meanwhile") from error
    again = [entry for entry in entries if entry.key in before]
    if again:
        tx.execute(
            text(
                "UPDATE inbox SET outcome = :outcome, note = :note, document_id = :document_id, version = :version"
                " WHERE source = :source AND event_id = :event_id"
            ),
            [
                {
                    "outcome": entry.outcome,
                    "note": entry.note,
                    "document_id": entry.document_id,
                    "version": entry.version,
                    "source": entry.key.source,
                    "event_id": entry.key.event_id,
                }
                for entry in again
            ],
        )


def record_documents(tx: Connection, changed: Sequence[Document]) -> None:
    """Writes the version, content and state that now count."""
    if not changed:
        return
    columns = {"id": "bigint", "version": "bigint", "sha256": "text", "state": "text", "blocked_by": "bigint"}
    rows = [(d.id, d.version, d.sha256, d.state, d.blocked_by) for d in changed]
    given, parameters = table_of(tx, columns, rows)
    tx.execute(
        text(
            "UPDATE documents SET version = given.version, sha256 = given.sha256, state = given.state,"
            f" blocked_by = given.blocked_by FROM {given} WHERE documents.id = given.id"
        ),
        parameters,
    )


def record_postings(tx: Connection, new: Sequence[NewPosting], cancelled: Sequence[int]) -> None:
    """Writes postings, reversals first so that what depends on them can name them; drops the cancelled ones, which
    never left us. A posting that the ERP rejected before takes the place of its old row, attempts kept."""
    if cancelled:
        tx.execute(
            text("DELETE FROM postings WHERE id = :id AND state = 'PENDING' AND attempts = 0"),
            [{"id": id_} for id_ in cancelled],
        )
    reversals = [posting for posting in new if posting.purpose == "reverse"]
    made: dict[int, int] = {}
    for posting in reversals:
        if posting.after_reversal:
            posting.after = made[posting.document_id]
        made[posting.document_id] = _write_one(tx, posting)
    plain = [posting for posting in new if posting.purpose != "reverse"]
    for posting in plain:
        if posting.after_reversal:
            posting.after = made[posting.document_id]
    insert_many(tx, postings, [_row(posting) for posting in plain if not posting.again])
    for posting in plain:
        if posting.again:
            _write_again(tx, posting)


def _row(posting: NewPosting) -> dict[str, Any]:
    return {
        "document_id": posting.document_id,
        "company": posting.company,
        "version": posting.version,
        "purpose": posting.purpose,
        "reference": posting.reference,
        "state": "PENDING",
        "voucher": posting.voucher,
        "book": posting.book,
        "terms": posting.terms,
        "depends_on": posting.after,
        "reverses": posting.reverses,
        "attempts": 0,
        "tried_before": 0,
        "asks": 0,
        "epoch": 0,
    }


def _write_one(tx: Connection, posting: NewPosting) -> int:
    if posting.again:
        return _write_again(tx, posting)
    return int(tx.execute(postings.insert().returning(postings.c.id), _row(posting)).scalar_one())


def _write_again(tx: Connection, posting: NewPosting) -> int:
    statement = text(
        "UPDATE postings SET state = 'PENDING', voucher = :voucher, book = :book, terms = :terms, depends_on = :depends_on,"
        " reverses = :reverses, tried_before = attempts, asks = 0, next_at = created_at, code = NULL, message = NULL"
        " WHERE document_id = :document_id AND version = :version AND purpose = :purpose AND state = 'REJECTED'"
        " RETURNING id"
    )
    return int(tx.execute(statement, _row(posting)).scalar_one())


def release(tx: Connection, document_ids: Sequence[int]) -> None:
    """Lets the earliest waiting version of each document go, where nothing blocks its lane: it travels through the
    outbox again and takes the later ones of its document with it, in order."""
    for document_id in document_ids:
        earliest = tx.execute(
            text(
                "SELECT i.source, i.event_id, i.type, i.body FROM inbox i JOIN documents d ON d.id = i.document_id"
                " WHERE i.document_id = :id AND i.outcome = 'held' AND d.blocked_by IS NULL AND NOT EXISTS"
                " (SELECT 1 FROM inbox r WHERE r.document_id = i.document_id AND r.outcome = 'released')"
                " ORDER BY i.version, i.id LIMIT 1"
            ),
            {"id": document_id},
        ).first()
        if earliest is not None:
            let_go(tx, earliest.source, earliest.event_id, earliest.type, earliest.body)


def let_go(tx: Connection, source: str, event_id: str, type_: str, body: bytes) -> None:
    """Marks an event as to be read again and puts it into the outbox."""
    from connector.ledger import outbox

    tx.execute(
        text("UPDATE inbox SET outcome = 'released' WHERE source = :source AND event_id = :event_id"),
        {"source": source, "event_id": event_id},
    )
    outbox.add(tx, [outbox.OutboxRow(source, event_id, type_, bytes(body))])


@dataclass(frozen=True, slots=True)
class Origin:
    """A document and the event that brought the version that counts."""

    key: DocumentKey
    source: str
    event_id: str | None
    type: str | None


def origin(tx: Connection, document_id: int, version: int, purpose: str) -> Origin:
    """Where the version that counts came from; for the return of an advance, where that return did."""
    which = "i.version = d.version AND i.type NOT LIKE 'advance.returned.%'"
    if purpose == "return":
        which = "i.version = :version AND i.type LIKE 'advance.returned.%'"
    row = tx.execute(
        text(
            "SELECT d.kind, d.company, d.number, d.source, i.event_id, i.type FROM documents d"
            f" LEFT JOIN inbox i ON i.document_id = d.id AND {which} AND i.outcome = 'applied'"
            " WHERE d.id = :id ORDER BY i.id DESC LIMIT 1"
        ),
        {"id": document_id, "version": version} if purpose == "return" else {"id": document_id},
    ).one()
    return Origin(DocumentKey(row.kind, row.company, row.number), row.source, row.event_id, row.type)


def names(tx: Connection, document_ids: Collection[int]) -> dict[int, tuple[str, str, str]]:
    """Kind, company and number of each of these documents."""
    if not document_ids:
        return {}
    given, parameters = table_of(tx, {"id": "bigint"}, [(id_,) for id_ in document_ids])
    rows = tx.execute(
        text(f"SELECT d.id, d.kind, d.company, d.number FROM {given} JOIN documents d ON d.id = given.id"), parameters
    )
    return {id_: DocumentKey(kind, company, number) for id_, kind, company, number in rows}


def lock(tx: Connection, document_ids: Iterable[int]) -> None:
    """Locks documents before their postings, in the order everyone locks them."""
    if tx.dialect.name != "postgresql":
        return  # the transaction holds the whole database already
    given, parameters = table_of(tx, {"id": "bigint"}, [(id_,) for id_ in sorted(set(document_ids))])
    tx.execute(
        text(f"SELECT d.id FROM {given} JOIN documents d ON d.id = given.id ORDER BY d.id FOR UPDATE OF d"), parameters
    ).all()


__all__ = [
    "Document",
    "DocumentKey",
    "Entry",
    "EventKey",
    "NewPosting",
    "Offer",
    "Read",
    "already_read",
    "bodies",
    "documents",
    "hold",
    "let_go",
    "lock",
    "names",
    "offers",
    "record_documents",
    "record_entries",
    "record_offers",
    "record_postings",
    "release",
]
