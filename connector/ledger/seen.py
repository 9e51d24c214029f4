"""What the ledger has seen that a mapping book must answer for, and what was booked for one document. Only reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson
from sqlalchemy import select
from sqlalchemy.engine import Connection

from connector.ledger.tables import documents, inbox, master_records, postings
from connector.translate.draft import Terms
from connector.translate.tables import DIMENSIONS
from connector.translate.terms import from_text
from contracts import parse_event
from contracts.expense import ExpenseReport
from contracts.voucher import Voucher, parse_voucher

REPORTS_MAX = 10_000  # Recent ones; a category nobody used in that many needs no row.


@dataclass(frozen=True, slots=True)
class Booked:
    """A voucher that was made for a version of a document: the report it says, the mapping book that made it, its state,
    and the terms it was made on."""

    purpose: str
    version: int
    state: str
    book: str | None
    erp_number: str | None
    voucher: Voucher
    report: ExpenseReport | None
    terms: Terms


def recent_reports(tx: Connection) -> Iterator[ExpenseReport]:
    """The reports that came in last, the latest first."""
    c = inbox.c
    recent = select(c.body).where(c.type.startswith("expense.report.")).order_by(c.id.desc()).limit(REPORTS_MAX)
    for body in tx.scalars(recent):
        data = parse_event(bytes(body)).data
        if isinstance(data, ExpenseReport):
            yield data


def dimension_values(tx: Connection) -> list[tuple[str, str, str]]:
    """Company, dimension and value of all master data that a voucher line may carry; what was deleted or is no longer
    active is left out."""
    c = master_records.c
    kinds = {f"master.{dimension}": dimension for dimension in DIMENSIONS}
    rows = tx.execute(
        select(c.company, c.kind, c.key, c.merged).where(c.kind.in_(kinds)).order_by(c.company, c.kind, c.key)
    )
    read = ((company, kinds[kind], key, orjson.loads(merged)) for company, kind, key, merged in rows)
    return [
        (company, dimension, key)
        for company, dimension, key, values in read
        if isinstance(values, dict) and values.get("active") is not False
    ]


def booked(tx: Connection, company: str, number: str) -> list[Booked]:
    """Every voucher of a report, as it was made, in the order in which they were planned."""
    p, d, i = postings.c, documents.c, inbox.c
    rows = tx.execute(
        select(p.purpose, p.version, p.state, p.book, p.erp_number, p.voucher, p.document_id, p.terms)
        .join(documents, d.id == p.document_id)
        .where(d.kind == "expense.report", d.company == company, d.number == number)
        .order_by(p.id)
    ).all()
    found: list[Booked] = []
    for purpose, version, state, book, erp_number, voucher, document_id, terms in rows:
        body = tx.scalar(
            select(i.body)
            .where(i.document_id == document_id, i.version == version)
            .order_by((i.outcome == "applied").desc(), i.id.desc())
            .limit(1)
        )
        data = None if body is None else parse_event(bytes(body)).data
        report = data if isinstance(data, ExpenseReport) else None
        made = parse_voucher(bytes(voucher))
        found.append(Booked(purpose, version, state, book, erp_number, made, report, from_text(terms, made.date)))
    return found
