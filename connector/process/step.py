"""The batch step: messages in, one transaction, decisions out. What cannot be decided waits or goes to a person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from connector.channels import Message
from connector.errors import Unavailable
from connector.facts import Facts
from connector.ledger import Ledger, balances, books, documents
from connector.ledger.deadletters import Letter
from connector.ledger.documents import Document, DocumentKey, EventKey
from connector.process import advance, expense, master_data, settlement
from connector.process.batch import Arrived, Batch, BatchResult
from connector.process.gather import gather
from connector.process.intake import document_key, is_answer, owner
from connector.process.messages import open_messages, reread, same_event
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
    _archived: set[str] = field(default_factory=set)  # books that the ledger keeps already

    def apply(self, messages: Sequence[Message], door: str = "broker") -> BatchResult:
        """Decides about every message in one transaction and returns after its commit: only then may they be
        acknowledged. Raises Unavailable where the ledger is away; then nothing happened.

        One message that cannot be processed never spoils the others: the batch is then taken one by one, and the
        culprit is parked.
        """
        arrived, letters = open_messages(messages, self.security, self.erps, door)
        return self._apply(arrived, letters)

    def _apply(self, arrived: Sequence[Arrived], letters: Sequence[Letter]) -> BatchResult:
        try:
            # Two batches that crossed in the database: one of them simply tries again.
            return call(
                lambda: self._decide(arrived, letters), on=(OperationalError, balances.Crossed), retry=self.retry
            )
        except (OperationalError, InterfaceError, balances.Crossed) as error:
            raise Unavailable(f"the ledger is away: {_short(error)}", code="OPS-805") from error
        except Exception as error:  # noqa: BLE001 - the edge where one bad message must not stop the others
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
            lanes: dict[DocumentKey, list[Arrived]] = defaultdict(list)
            for item in arrived:
                lanes[document_key(item.event)].append(item)
            held = documents.hold(tx, [(document_key(item.event), owner(item.event)) for item in arrived])
            seen = documents.already_read(tx, [item.key for item in arrived])
            batch = Batch(tx, held, seen)
            unread = {key: self._unread(batch, held[key], items) for key, items in lanes.items()}
            book = self.book()
            facts = _gather(tx, book, held, unread)
            desk = expense.Desk(book, facts, self.listening, self.irreversible, self.reference_max)
            # What reports depend on first: a report and its advance may come in one batch.
            for key in sorted(unread, key=lambda key: _PLACES.get(key.kind.split(".")[0], 1)):
                self._process(batch, held[key], unread[key], desk)
            balances.write(tx, facts)
            if book.fingerprint not in self._archived and any(key.kind == "expense.report" for key in unread):
                books.archive(tx, book)
            for letter in letters:
                batch.park_bytes(letter)
            batch.result.read = len(arrived) + len(letters)
            result = batch.write()
        self._archived.add(book.fingerprint)
        return result

    def _unread(self, batch: Batch, document: Document, items: Sequence[Arrived]) -> list[Arrived]:
        """Of what arrived for a document, what was not read before; plus the versions of it that wait."""
        unread: dict[EventKey, Arrived] = {}
        for item in items:
            before = batch.seen.get(item.key)
            twin = unread.get(item.key)
            if before is not None and before.outcome == "released":
                item.released = True
            elif before is not None:
                if before.sha256 == item.sha256 or same_event(batch.tx, item):
                    batch.skip(item)
                else:
                    batch.park_bytes(_key_reused(item, document))
                    batch.skip(item)
                continue
            if twin is None:
                unread[item.key] = item
            elif twin.sha256 == item.sha256 or twin.event == item.event:
                batch.skip(item)
            else:
                batch.park_bytes(_key_reused(item, document))
        for body in document.held:
            item = reread(body, "ledger")
            unread.setdefault(item.key, item)
        return list(unread.values())

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
        """Parks the one message that breaks our own code or the database, with the error."""
        reason = f"{type(error).__name__}: {_short(error)}"
        log.error("a message is parked because processing it fails", error=reason, exc_info=error)
        if letters:
            letter = letters[0]
        else:
            item = arrived[0]
            letter = Letter.about(item.event, item.body, item.door, "OPS-802", reason, keyed=False)
        with self.ledger.begin() as tx:
            batch = Batch(tx, {}, {})
            for item in arrived:
                batch.skip(item)
            batch.park_bytes(letter)
            batch.result.read = 1
            batch.result.duplicates = 0
            return batch.write()


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
    letter.document_id = document.id
    return letter


def _short(error: Exception) -> str:
    text = str(error.orig if isinstance(error, DBAPIError) and error.orig else error)
    return text.strip().splitlines()[0][:300] if text.strip() else type(error).__name__
