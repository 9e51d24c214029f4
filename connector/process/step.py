"""The batch step: messages in, one transaction, decisions out. What cannot be decided waits or goes to a person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from connector.channels import Message
from connector.errors import Unavailable
from connector.facts import Facts
from connector.ledger import Ledger, balances, books, documents
from connector.ledger.deadletters import Letter
from connector.ledger.documents import Document, DocumentKey
from connector.ledger.faults import Crossed, is_away
from connector.process import advance, expense, master_data, settlement
from connector.process.batch import Arrived, Batch, BatchResult
from connector.process.gather import gather
from connector.process.intake import document_key, is_answer, owner
from connector.process.messages import open_messages, reread, said_before, sort_out
from connector.retry import call
from connector.settings import Retry, Security
from connector.translate import Book
from contracts.expense import ExpenseReport, SubmittedReport

_PLACES = {"master": 0, "advance": 0}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """What deciding needs: the ledger, the mapping book, who signs, which ERPs speak, who owns a field, which OAs listen,
    and the companies whose ERP cannot take a voucher back."""

    ledger: Ledger
    book: Callable[[], Book]
    security: Security
    retry: Retry
    erps: Collection[str]  # the sources of their events
    owners: master_data.Owners
    listening: Collection[str]
    irreversible: Collection[str] = ()
    reference_max: Mapping[str, int] = field(default_factory=dict)  # by company; 32 characters where it says nothing
    _told: list[str] = field(default_factory=list)  # the book that the ledger was told of last

    def apply(self, messages: Sequence[Message], door: str = "broker") -> BatchResult:
        """Decides about every message in one transaction and returns after its commit: only then may they be
        acknowledged. Raises Unavailable where the ledger is away; then nothing happened.

        One message that cannot be processed never spoils the others: the batch is then taken one by one, and the
        culprit is parked.
        """
        arrived, letters = open_messages(messages, self.security, self.erps, door)
        try:
            return self._apply(arrived, letters)
        except Exception as error:
            if not _works_later(error):
                raise
            raise Unavailable(f"the ledger is away: {_short(error)}", code="OPS-805") from error

    def _apply(self, arrived: Sequence[Arrived], letters: Sequence[Letter]) -> BatchResult:
        try:
            # Two batches that crossed in the database: one of them simply tries again.
            return call(lambda: self._decide(arrived, letters), on=(OperationalError, Crossed), retry=self.retry)
        except Exception as error:
            if _works_later(error):
                raise
            # The edge where one bad message must not stop the others.
            if len(arrived) + len(letters) == 1:
                return self._give_up(arrived, letters, error)
            log.warning("a batch is taken one by one", error=_short(error), size=len(arrived))
            result = BatchResult()
            for letter in letters:
                result.add(self._apply([], [letter]))
            for item in arrived:
                result.add(self._apply([item], []))
            return result

    def _decide(self, arrived: Sequence[Arrived], letters: Sequence[Letter]) -> BatchResult:
        with self.ledger.begin() as tx:
            held = documents.hold(tx, [(document_key(item.event), owner(item.event)) for item in arrived])
            batch = Batch(tx, held, documents.already_read(tx, [item.key for item in arrived]))
            unread = self._unread(batch, arrived)
            told = self._process_all(batch, unread) if unread else None
            for letter in letters:
                batch.park_bytes(letter)
            batch.result.read = len(arrived) + len(letters)
            result = batch.write()
        if told is not None:
            self._told[:] = [told]
        return result

    def _unread(self, batch: Batch, arrived: Sequence[Arrived]) -> dict[DocumentKey, list[Arrived]]:
        """What is to be decided about, by document: what was not read before, and the versions that wait."""
        sorted_ = sort_out(arrived, batch.seen, said_before(batch.tx, arrived, batch.seen))
        for item in sorted_.repeated:
            batch.skip(item)
        for item in sorted_.reused:
            batch.park_bytes(_key_reused(item, batch.held[document_key(item.event)]))
        lanes: dict[DocumentKey, list[Arrived]] = defaultdict(list)
        for item in sorted_.unread:
            document = batch.held[document_key(item.event)]
            if item.fault is None:
                lanes[document.key].append(item)
            else:
                batch.park(item, document, _faulty(item, item.fault, document))
        for key, items in lanes.items():
            waiting = (reread(body, "ledger") for body in batch.held[key].held)
            arrived_too = {item.key for item in items}
            items += [item for item in waiting if item.key not in arrived_too]
        return lanes

    def _process_all(self, batch: Batch, unread: Mapping[DocumentKey, Sequence[Arrived]]) -> str | None:
        """Decides about every event. Gives the fingerprint of the book where it told the ledger which one is in force."""
        book = self.book()
        facts = _gather(batch.tx, book, batch.held, unread)
        desk = expense.Desk(book, facts, self.listening, self.irreversible, self.reference_max)
        # What reports depend on first: a report and its advance may come in one batch.
        for key in sorted(unread, key=lambda key: _PLACES.get(key.kind.split(".")[0], 1)):
            self._process(batch, batch.held[key], unread[key], desk)
        balances.write(batch.tx, facts)
        if book.fingerprint in self._told or not any(key.kind == "expense.report" for key in unread):
            return None
        books.archive(batch.tx, book)
        return book.fingerprint

    def _process(self, batch: Batch, document: Document, items: Sequence[Arrived], desk: expense.Desk) -> None:
        """Hands the events of a document to the process manager of their kind."""
        reports = [item for item in items if item.event.kind == "expense.report"]
        answers = [item for item in items if is_answer(item.event)]
        records = [item for item in items if item.event.kind.startswith("master.")]
        if reports:
            expense.apply(batch, document, reports, desk)
        if answers:
            settlement.apply(batch, document, answers, self.listening, desk.facts)
        if records:
            master_data.apply(batch, document, records, self.owners, desk.facts)
        advances = [item for item in items if item.event.kind == "advance"]
        if advances:
            advance.apply(batch, document, advances, desk)

    def _give_up(self, arrived: Sequence[Arrived], letters: Sequence[Letter], error: Exception) -> BatchResult:
        """Parks the one message that breaks our own code or the database, with the error: as an event of its document or,
        where even that fails, as bytes that a person's replay reads anew."""
        reason = f"{type(error).__name__}: {_short(error)}"
        log.error("a message is parked because processing it fails", error=reason, exc_info=error)
        for item in arrived:
            if item.fault is None:
                item.fault = reason
                return self._apply([item], [])
            letter = Letter.about(item.event, item.body, item.door, "OPS-802", item.fault, keyed=False)
            letter.sent_as = item.key
            return self._decide([], [letter])
        return self._decide([], letters)


def _gather(
    tx: Connection, book: Book, held: Mapping[DocumentKey, Document], unread: Mapping[DocumentKey, Sequence[Arrived]]
) -> Facts:
    """What deciding about these events depends on."""
    events = [item.event for items in unread.values() for item in items]
    reports = []
    for event in events:
        if isinstance(event.data, ExpenseReport):
            reports.append(event.data)
        elif isinstance(event.data, SubmittedReport):
            reports.append(expense.as_approved(event.data, event))
    # A document that nothing was ever decided about uses nothing yet.
    old = [held[key].id for key, items in unread.items() if items and not held[key].is_new]
    facts = gather(tx, book, reports, events, old)
    facts.holders |= {document.id: key for key, document in held.items()}
    return facts


def _key_reused(item: Arrived, document: Document) -> Letter:
    message = f"the event id {item.event.id} was used before with other content"
    letter = Letter.about(item.event, item.body, item.door, "SYN-301", message, keyed=False)
    letter.document_id, letter.sent_as = document.id, item.key
    return letter


def _faulty(item: Arrived, fault: str, document: Document) -> Letter:
    letter = Letter.about(item.event, item.body, item.door, "OPS-802", fault)
    letter.document_id, letter.blocks = document.id, expense.is_next(document, item.event)
    return letter


def _works_later(error: Exception) -> bool:
    return isinstance(error, Crossed) or is_away(error)


def _short(error: Exception) -> str:
    text = str(error.orig if isinstance(error, DBAPIError) and error.orig else error)
    return text.strip().splitlines()[0][:300] if text.strip() else type(error).__name__
