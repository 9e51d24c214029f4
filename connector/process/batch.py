"""A batch in the making: what the process managers decide about each event, written by one transaction or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.engine import Connection

from connector.ledger import deadletters, documents, outbox, payments, tables, write_backs
from connector.ledger.documents import Document, DocumentKey, Entry, EventKey, NewPosting, Read
from connector.payment import Payment
from connector.plan import Standing, taken_back_by_hand
from contracts.envelope import AnyEvent
from contracts.voucher import Voucher, parse_voucher

_THROUGH = ("applied", "superseded", "duplicate")  # outcomes after which nobody needs to look at an event


@dataclass(slots=True)
class Arrived:
    """An event of this batch: the bytes it came as, and whether it was read before and let go again."""

    event: AnyEvent
    key: EventKey
    body: bytes
    sha256: str
    door: str
    waiting: bool = False  # it was held before; nobody let it go yet
    released: bool = False
    fault: str | None = None  # why no worker tries it again before a person has looked


@dataclass(slots=True)
class BatchResult:
    """Counts of a batch, and whom to ring: companies with something to post, systems with something to write back."""

    read: int = 0
    applied: int = 0
    duplicates: int = 0
    superseded: int = 0
    held: int = 0
    parked: int = 0
    to_post: set[str] = field(default_factory=set)
    to_write_back: set[str] = field(default_factory=set)

    def add(self, other: BatchResult) -> None:
        """Sums up."""
        for name in ("read", "applied", "duplicates", "superseded", "held", "parked"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.to_post |= other.to_post
        self.to_write_back |= other.to_write_back


def may_stand(posting: Standing) -> bool:
    """Whether this posting counts in the ERP, or may."""
    return posting.purpose != "reverse" and posting.state in ("POSTED", "SENDING", "UNKNOWN")


class Batch:
    """Decisions about events, gathered document by document."""

    def __init__(self, tx: Connection, held: Mapping[DocumentKey, Document], seen: Mapping[EventKey, Read]) -> None:
        self.tx = tx
        self.held = held
        self.seen = seen
        self.result = BatchResult()
        self.write_backs: list[write_backs.NewWriteBack] = []
        self._entries: dict[EventKey, Entry] = {}
        self._letters: list[deadletters.Letter] = []
        self._changed: dict[int, Document] = {}
        self._new: dict[int, NewPosting] = {}
        self._places = count(-1, -1)
        self._cancelled: list[int] = []
        self._superseded: list[tuple[int, int, int]] = []
        self._sent: list[outbox.Sent] = []
        self._read_before: set[EventKey] = set()

    @cached_property
    def payments(self) -> dict[int, tuple[Payment, ...]]:
        """The payments of each document of the batch, asked for once; whoever records one adds it here."""
        return payments.of(self.tx, self._documents())

    @cached_property
    def posted(self) -> Mapping[int, Row[Any]]:
        """The row of each posting that may stand in the ERP, or stood there until somebody took it back; asked for once."""
        ids = [
            posting.id
            for document in self.held.values()
            for posting in (*filter(may_stand, document.standing), *taken_back_by_hand(document.standing))
        ]
        rows = self.tx.execute(select(tables.postings).where(tables.postings.c.id.in_(ids)))
        return {row.id: row for row in rows}

    def voucher(self, posting: Standing) -> Voucher:
        """The voucher of one of the postings in `posted`."""
        return parse_voucher(bytes(self.posted[posting.id].voucher))

    @cached_property
    def told(self) -> Mapping[int, Sequence[str]]:
        """What each document's OA was told before this batch, asked for once."""
        w = tables.write_backs.c
        told: dict[int, list[str]] = {}
        for document_id, status in self.tx.execute(
            select(w.document_id, w.status).where(w.document_id.in_(self._documents()))
        ):
            told.setdefault(document_id, []).append(status)
        return told

    def body_of(self, document: Document) -> bytes | None:
        """The bytes of the version that counts, whether this batch read it or an earlier one."""
        wanted = (document.id, document.version, document.sha256)
        for entry in self._entries.values():
            if (entry.document_id, entry.version, entry.sha256) == wanted:
                return entry.body
        return documents.body_of(self.tx, *wanted)

    def _documents(self) -> list[int]:
        return [document.id for document in self.held.values()]

    def end(self, arrived: Arrived, document: Document, outcome: str, note: str) -> None:
        """Writes down what became of an event."""
        event = arrived.event
        # An answer of the ERP is about the document, but is no version of it.
        version = event.version if event.kind == document.key.kind else None
        self._entries[arrived.key] = Entry(
            arrived.key, event.type, arrived.sha256, arrived.body, document.id, version, outcome, note
        )
        if arrived.waiting or arrived.key in self.seen:
            self._read_before.add(arrived.key)
        counter = {"duplicate": "duplicates"}.get(outcome, outcome)
        setattr(self.result, counter, getattr(self.result, counter) + 1)
        self._sent.append(outbox.Sent(*arrived.key, arrived.sha256))

    def skip(self, arrived: Arrived) -> None:
        """The event is recorded already: nothing of it needs sending any more."""
        self._sent.append(outbox.Sent(*arrived.key, arrived.sha256))
        self.result.duplicates += 1

    def park(self, arrived: Arrived, document: Document, letter: deadletters.Letter) -> None:
        """The event goes to a person."""
        self.end(arrived, document, "parked", letter.message)
        self._letters.append(letter)
        if letter.blocks:
            document.blocked_by = -1  # known to later versions in this batch; the letter's id comes when it is written
            document.state = "parked" if document.state == "new" else document.state
            self.change(document)

    def park_bytes(self, letter: deadletters.Letter) -> None:
        """Something that is no event of a document goes to a person."""
        self._letters.append(letter)
        if letter.sent_as is not None:  # nothing of it needs sending any more
            self._sent.append(outbox.Sent(*letter.sent_as, hashlib.sha256(letter.body).hexdigest()))
        self.result.parked += 1

    def change(self, document: Document) -> None:
        """The document's row is to be written."""
        self._changed[document.id] = document

    def post(self, document: Document, posting: NewPosting) -> None:
        """A posting is to be written; until it has an id, later versions in this batch know it by a number below 0."""
        place = next(self._places)
        posting.again = any(
            p.state == "REJECTED" and p.version == posting.version and p.purpose == posting.purpose
            for p in document.standing
        )
        self._new[place] = posting
        document.standing.append(
            Standing(
                place,
                posting.version,
                posting.purpose,  # type: ignore[arg-type]
                "PENDING",
                0,
                posting.reverses,
            )
        )
        self.result.to_post.add(posting.company)

    def cancel(self, document: Document, posting: Standing, winner: int) -> None:
        """A posting that never left us is dropped; its version ends as superseded by `winner`."""
        if posting.id < 0:
            del self._new[posting.id]
        else:
            self._cancelled.append(posting.id)
        document.standing.remove(posting)
        if posting.version != winner:  # A version that is planned anew takes nobody's place.
            self._superseded.append((document.id, posting.version, winner))

    def write(self) -> BatchResult:
        """Writes everything, in an order that keeps every reference good."""
        self._mark_superseded_here()
        documents.record_entries(self.tx, list(self._entries.values()), self._read_before)
        documents.record_documents(self.tx, list(self._changed.values()))
        documents.record_postings(self.tx, list(self._new.values()), self._cancelled)
        if self._superseded:
            self._mark_superseded_before()
        for letter in self._letters:
            deadletters.park(self.tx, letter)
        write_backs.add(self.tx, self.write_backs)
        # What is read for the first time has no letter that was replayed.
        through = [key for key in self._read_before if self._entries[key].outcome in _THROUGH]
        deadletters.resolve_replayed(self.tx, through)
        outbox.settle(self.tx, self._sent)
        return self.result

    def _mark_superseded_here(self) -> None:
        by_version = {(document_id, version): winner for document_id, version, winner in self._superseded}
        if not by_version:
            return
        for key, entry in self._entries.items():
            winner = by_version.get((entry.document_id or 0, entry.version or 0))
            given_back = entry.type.startswith("advance.returned.")  # A return takes nobody's place.
            if winner is not None and entry.outcome == "applied" and not given_back:
                self._entries[key] = replace(entry, outcome="superseded", note=f"version {winner} took its place")

    def _mark_superseded_before(self) -> None:
        self.tx.execute(
            text(
                "UPDATE inbox SET outcome = 'superseded', note = :note"
                " WHERE document_id = :document_id AND version = :version AND outcome = 'applied'"
                " AND type NOT LIKE 'advance.returned.%'"
            ),
            [
                {"note": f"version {winner} took its place", "document_id": document_id, "version": version}
                for document_id, version, winner in self._superseded
            ],
        )


__all__ = ["Arrived", "Batch", "BatchResult", "NewPosting"]
