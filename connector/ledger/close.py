"""The close check: everything that stands in the way of closing a period, each with its amount. Only reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal, get_args

import orjson
from sqlalchemy import Row, and_, or_, select, text
from sqlalchemy.engine import Connection

from connector.ledger.sql import table_of
from connector.ledger.tables import dead_letters, documents, inbox, outbox, postings, write_backs
from connector.translate.book import Book, CompanyView
from connector.translate.voucher import local_day, posting_day, view_of
from contracts import Refused, parse
from contracts.advance import AdvancePaid, AdvanceReturned
from contracts.expense import ExpenseReport, SubmittedReport, Withdrawal
from contracts.settlement import PaymentMade, PaymentReversed, VoucherPosted, VoucherReversed
from contracts.voucher import Voucher, parse_voucher

Kind = Literal["dead letter", "unread event", "held version", "posting", "not approved", "pending tax", "write-back"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that is not finished: what kind, of which document, worth how much, since when, and its error code.

    dead letter   a person must look at it
    unread event  accepted, and no worker has decided about it
    held version  waits behind a parked version or for an answer of the ERP
    posting       not in the ERP yet, or in doubt
    not approved  handed in, and its approval has not come
    pending tax   booked as input tax that is not certified
    write-back    the OA does not know yet
    """

    kind: Kind
    number: str | None
    amount: Decimal | None
    currency: str | None
    since: datetime
    what: str
    code: str | None = None


def obstacles(tx: Connection, company: str, starts_on: date, ends_on: date, book: Book | None = None) -> list[Obstacle]:
    """What stands in the way of closing these days (inclusive) in a company, by kind, the oldest first. A report lies on
    its posting day as the book of the company has it; without a book on its posting date, else the day of its approval.

    `tx` is a snapshot, or what moves from one kind to another meanwhile may be told of neither.

    A letter whose bytes cannot be read may be of any day and company: it stands in the way where it came after the period
    began.
    """
    asked = _Asked(tx, company, starts_on, ends_on, book)
    found = [
        *_letters(asked),
        *_unread(asked),
        *_held(asked),
        *_postings(asked),
        *_not_approved(asked),
        *_pending_tax(asked),
        *_write_backs(asked),
    ]
    coming = {one.number for one in found if one.kind == "unread event"}
    found = [one for one in found if not (one.kind == "not approved" and one.number in coming)]
    return sorted(found, key=lambda one: (KINDS.index(one.kind), one.since, one.number or ""))


@dataclass(frozen=True, slots=True)
class _Asked:
    tx: Connection
    company: str
    starts_on: date
    ends_on: date
    book: Book | None

    def covers(self, day: date | None) -> bool:
        return day is not None and self.starts_on <= day <= self.ends_on

    @property
    def view(self) -> CompanyView | None:
        """The book as the company sees it at the end of the period."""
        return None if self.book is None else self.book.view(self.company, self.ends_on)

    def local(self, moment: datetime) -> date:
        """The day of a moment, as the company has it."""
        return local_day(moment, self.view)

    def day_of(self, data: Any) -> date | None:
        """The day on which something is to be booked; None for what no period holds."""
        match data:
            case ExpenseReport():
                return posting_day(data, None if self.book is None else view_of(data, self.book))
            case SubmittedReport():
                return data.posting_date or data.submitted_on
            case Withdrawal():
                return self.local(data.withdrawn_at)
            case PaymentMade() | AdvancePaid():
                return data.paid_on
            case PaymentReversed() | VoucherReversed():
                return data.reversed_on
            case AdvanceReturned():
                return data.returned_on
            case VoucherPosted():
                return data.posted_on
            case Voucher():
                return data.date
        return None


def _letters(asked: _Asked) -> Iterator[Obstacle]:
    c = dead_letters.c
    statement = select(dead_letters).where(
        c.state == "open",
        or_(c.company == asked.company, c.company.is_(None)),
        or_(c.type.is_(None), c.type.not_like("master.%")),
        c.write_back_id.is_(None),
    )
    for row in asked.tx.execute(statement):
        about = _about(row)
        if about is None:
            counts = asked.local(row.created_at) >= asked.starts_on
        else:
            counts = about.company == asked.company and asked.covers(asked.day_of(about))
        if counts:
            amount = getattr(about, "amount", None) if row.amount is None else Decimal(row.amount)
            currency = row.currency or getattr(about, "currency", None)
            what = f"{row.id}: {row.message}"
            yield Obstacle("dead letter", row.number, amount, currency, row.created_at, what, row.code)


def _about(row: Row[Any]) -> Any:
    """What a letter is about: the voucher of a posting, else the data of its event; None where it cannot be read."""
    body = bytes(row.body)
    try:
        return parse_voucher(body) if row.posting_id is not None else parse(body, row.content_type).data
    except Refused:
        return None


def _unread(asked: _Asked) -> Iterator[Obstacle]:
    c = outbox.c
    for row in asked.tx.execute(select(c.type, c.body, c.created_at).where(c.type.like("expense.report.%"))):
        data = _data(row.body)
        if data is not None and data.company == asked.company and asked.covers(asked.day_of(data)):
            yield _of_report("unread event", data, row.created_at, row.type)


def _held(asked: _Asked) -> Iterator[Obstacle]:
    i, d = inbox.c, documents.c
    statement = (
        select(i.body, i.type, i.received_at)
        .join(documents, d.id == i.document_id)
        .where(text("inbox.outcome = 'held'"), d.company == asked.company)  # as its index says it
    )
    for row in asked.tx.execute(statement):
        data = _data(row.body)
        if data is not None and asked.covers(asked.day_of(data)):
            yield _of_report("held version", data, row.received_at, row.type)


def _not_approved(asked: _Asked) -> Iterator[Obstacle]:
    i, d = inbox.c, documents.c
    statement = (
        select(i.document_id, i.body, i.received_at, i.type)
        .join(documents, d.id == i.document_id)
        .where(
            d.company == asked.company,
            d.kind == "expense.report",
            d.state.in_(("new", "submitted")),
            d.version == 0,
            i.type.like("expense.report.submitted.%"),
            i.outcome == "applied",
        )
        .order_by(i.document_id, i.version.desc(), i.id.desc())
    )
    seen: set[int] = set()
    for row in asked.tx.execute(statement):
        if row.document_id in seen:
            continue  # an older version of it
        seen.add(row.document_id)
        data = _data(row.body)
        if data is not None and asked.covers(asked.day_of(data)):
            yield _of_report("not approved", data, row.received_at, row.type)


def _data(body: bytes) -> Any:
    try:
        return parse(bytes(body), None).data
    except Refused:
        return None


def _of_report(kind: Kind, data: Any, since: datetime, type_: str) -> Obstacle:
    amount, currency = getattr(data, "total", None), getattr(data, "currency", None)
    return Obstacle(kind, data.number, amount, currency, since, f"{type_}, version {data.version}")


# A rejected posting is over once a person discarded it, a later version took its place, or what it was to take back is
# gone. Of one with an open letter, the letter tells.
_UNFINISHED = """
    p.state IN ('PENDING', 'SENDING', 'UNKNOWN', 'REJECTED')
    AND NOT EXISTS (SELECT 1 FROM dead_letters l WHERE l.posting_id = p.id AND l.state = 'open')
    AND (p.state <> 'REJECTED' OR (coalesce(p.code, '') <> 'OPS-804' AND CASE WHEN p.purpose = 'reverse'
        THEN EXISTS (SELECT 1 FROM postings o WHERE o.id = p.reverses AND o.state = 'POSTED')
        ELSE p.purpose = 'return' OR p.version = d.version END))
"""


def _postings(asked: _Asked) -> Iterator[Obstacle]:
    p, d = postings.alias("p"), documents.alias("d")
    statement = (
        select(d.c.number, p.c.reference, p.c.state, p.c.code, p.c.created_at, p.c.voucher)
        .join(d, d.c.id == p.c.document_id)
        .where(p.c.company == asked.company, text(_UNFINISHED))
    )
    for row in asked.tx.execute(statement):
        voucher = parse_voucher(bytes(row.voucher))
        if asked.covers(voucher.date):
            what = f"{row.reference} {row.state}"
            yield Obstacle("posting", row.number, voucher.total_debit, voucher.currency, row.created_at, what, row.code)


def _pending_tax(asked: _Asked) -> Iterator[Obstacle]:
    """What reports posted in these days still have as pending tax, their additional vouchers of any day included."""
    given, parameters = table_of(asked.tx, {"id": "bigint"}, [(id_,) for id_ in _with_pending_tax(asked)])
    p, d = postings.c, documents.c
    statement = (
        select(d.number, p.document_id, p.reference, p.voucher, p.settled_at, p.created_at)
        .join(documents, d.id == p.document_id)
        .where(p.state == "POSTED", p.purpose != "reverse")
        .where(text(f"postings.document_id IN (SELECT given.id FROM {given})"))
        .order_by(p.document_id, p.id)
    )
    for _, rows in groupby(asked.tx.execute(statement, parameters), key=attrgetter("document_id")):
        live = list(rows)
        vouchers = [parse_voucher(bytes(row.voucher)) for row in live]
        pending = sum((_pending_in(voucher) for voucher in vouchers), _ZERO)
        if pending:
            first = live[0]
            since = first.settled_at or first.created_at
            yield Obstacle("pending tax", first.number, pending, vouchers[0].currency, since, first.reference)


def _with_pending_tax(asked: _Asked) -> Sequence[int]:
    """Documents whose live voucher lies in these days and has a line of pending tax. The cheap look into the bytes comes
    first: a voucher of another kind is not even parsed."""
    if asked.tx.dialect.name == "postgresql":
        has, day = "position(:role in p.voucher) > 0", "CAST(convert_from(p.voucher, 'UTF8') AS json) ->> 'date'"
    else:
        has, day = "instr(p.voucher, :role) > 0", "json_extract(CAST(p.voucher AS TEXT), '$.date')"
    statement = text(
        "SELECT p.document_id FROM postings p WHERE p.company = :company AND p.purpose = 'post' AND p.state = 'POSTED'"
        f" AND CASE WHEN {has} THEN {day} BETWEEN :starts_on AND :ends_on ELSE false END ORDER BY p.document_id"
    )
    values = {
        "role": b'"pending_tax"',
        "company": asked.company,
        "starts_on": asked.starts_on.isoformat(),
        "ends_on": asked.ends_on.isoformat(),
    }
    return asked.tx.scalars(statement, values).all()


def _pending_in(voucher: Voucher) -> Decimal:
    lines = [line for line in voucher.lines if line.role == "pending_tax"]
    return sum((line.amount if line.side == "debit" else -line.amount for line in lines), _ZERO)


def _write_backs(asked: _Asked) -> Iterator[Obstacle]:
    w, d, letter = write_backs.c, documents.c, dead_letters.c
    statement = (
        select(d.number, w.system, w.status, w.state, w.code, w.created_at, letter.id.label("letter"), letter.message)
        .join(documents, d.id == w.document_id)
        .outerjoin(dead_letters, and_(letter.write_back_id == w.id, letter.state == "open"))
        .where(d.company == asked.company, or_(w.state.in_(("PENDING", "SENDING")), letter.id.is_not(None)))
    )
    for row in asked.tx.execute(statement):
        status = orjson.loads(row.status)
        on = date.fromisoformat(status["on"]) if status["on"] else asked.local(row.created_at)
        if asked.covers(on):
            what = f"{row.system} {row.state}" if row.letter is None else f"{row.letter}: {row.message}"
            yield Obstacle("write-back", row.number, None, None, row.created_at, what, row.code)
