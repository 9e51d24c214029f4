"""What every door does with pieces: the good ones are accepted, the bad ones told apart, and one spoils no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Literal, Protocol, TypeAlias

from sqlalchemy.exc import DBAPIError

from connector.adapter import Change
from connector.ledger import Ledger
from connector.ledger.faults import is_away
from connector.oa.piece import Piece
from connector.process import intake
from connector.process.intake import Accepted
from connector.process.senders import objection
from contracts import AnyEvent, Finding

CHUNK = 500  # Events in one transaction.

Accept: TypeAlias = "Callable[[Sequence[Change], str], Sequence[Accepted]]"
Check: TypeAlias = "Callable[[AnyEvent], Finding | None]"


class Refuse(Protocol):
    """Keeps bytes that were refused as a dead letter and gives its id; the same `event_id` again, the same letter."""

    def __call__(
        self,
        raw: bytes,
        door: str,
        findings: Sequence[Finding],
        content_type: str,
        source: str | None = None,
        event_id: str | None = None,
    ) -> int: ...


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a piece."""

    piece: Piece
    status: Literal["accepted", "duplicate", "refused"]
    accepted: Accepted | None = None
    findings: Sequence[Finding] = ()

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON-able values, for result files and answers."""
        value: dict[str, Any] = {"status": self.status}
        if self.piece.where:
            value = {"where": self.piece.where} | value
        if self.accepted is not None:
            done = self.accepted
            value |= {"id": done.event_id, "source": done.source, "number": done.number, "version": done.version}
            value["trace"] = f"oaerp trace {done.number}"
        if self.findings:
            value["findings"] = [finding.as_dict() for finding in self.findings]
        return value


def take(pieces: Iterable[Piece], accept: Accept, door: str, check: Check | None = None) -> Iterator[Taken]:
    """Accepts pieces in chunks, each durable before it is told of, in the order they came. What `check` objects to, or
    what the ledger cannot hold, is refused alone. Raises what `accept` raises where the ledger is away."""
    remaining = iter(pieces)
    while chunk := list(islice(remaining, CHUNK)):
        yield from _take_chunk([_checked(piece, check) for piece in chunk], accept, door)


def into_ledger(ledger: Ledger) -> tuple[Accept, Refuse]:
    """`accept` and `refuse` as doors use them, each in a transaction of its own."""

    def refuse(
        raw: bytes,
        door: str,
        findings: Sequence[Finding],
        content_type: str,
        source: str | None = None,
        event_id: str | None = None,
    ) -> int:
        with ledger.begin() as tx:
            return intake.refuse_in(tx, raw, door, findings, content_type, source, event_id)

    return partial(intake.accept, ledger), refuse


def from_an_oa(company: str | None = None) -> Check:
    """A check that an OA speaks, of its own affairs, and of this company where the door belongs to one. What an ERP says
    comes from its adapter, or over the broker: whoever may hand in a report must not be able to say that it is booked."""

    def check(event: AnyEvent) -> Finding | None:
        if event.system != "oa":
            fix = "let the ERP's adapter tell of it, or publish it to the broker or with oaerp publish"
            return Finding("SEC-608", "source", "an event of an OA", repr(event.source), fix)
        if company not in (None, event.company):
            expected = f"an event of an OA of company {company}"
            return Finding("SEC-608", "source", expected, repr(event.source), "send it through its own company's door")
        return objection(event, erps=())

    return check


def _checked(piece: Piece, check: Check | None) -> Piece:
    finding = check(piece.event) if check is not None and piece.event is not None else None
    if finding is None:
        return piece
    return Piece(piece.where, piece.raw, piece.content_type, findings=[finding])


def _take_chunk(pieces: Sequence[Piece], accept: Accept, door: str) -> Iterator[Taken]:
    changes = [Change(piece.event, piece.raw) for piece in pieces if piece.event is not None]
    answers = iter(accept_each(changes, accept, door))
    for piece in pieces:
        if piece.event is None:
            yield Taken(piece, "refused", findings=piece.findings)
            continue
        answer = next(answers)
        if isinstance(answer, Finding):
            yield Taken(piece, "refused", findings=[answer])
        else:
            yield Taken(piece, answer.status, accepted=answer)


def accept_each(changes: Sequence[Change], accept: Accept, door: str) -> Sequence[Accepted | Finding]:
    """All at once; where the database refuses a value of one of them, each alone, so that only the culprit is refused."""
    if not changes:
        return []
    try:
        return accept(changes, door)
    except DBAPIError as error:
        if is_away(error):
            raise
        if len(changes) == 1:
            fix = "look at the original bytes; report this as a fault of the connector"
            return [Finding("OPS-802", "", "values the ledger can hold", type(error).__name__, fix)]
    return [answer for change in changes for answer in accept_each([change], accept, door)]
