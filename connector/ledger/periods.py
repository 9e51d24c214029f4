"""Accounting periods of each company, and the documents that a person let cross the fiscal year.

Who plans into the periods of a company holds them until its transaction ends, as many at once as there are; who changes
one waits for these, and keeps later ones waiting. So whoever has closed a period finds all that was planned into it.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from datetime import date

from sqlalchemy import select, text
from sqlalchemy.engine import Connection

from connector.facts import Period
from connector.ledger import audit
from connector.ledger.tables import periods, year_crossings

# Locks by company, not rows: a period that nobody knew of has no row yet, and sharing a row writes to it.
_LOCK = 0x0A55


def hold(tx: Connection, companies: Collection[str], changing: Collection[str] = ()) -> None:
    """Until the transaction ends, the periods of these companies stay as they are, and nobody else plans into those of
    the companies in `changing`. Held after the documents and before the balances. SQLite has one writer anyway."""
    if tx.dialect.name != "postgresql":
        return
    keys = {_key(company): False for company in companies} | {_key(company): True for company in changing}
    taken = sorted(keys.items())  # by everyone in this order
    statement = text(
        "SELECT CASE WHEN alone THEN pg_advisory_xact_lock(:lock, key) ELSE pg_advisory_xact_lock_shared(:lock, key) END"
        " FROM unnest(CAST(:keys AS int[]), CAST(:alone AS boolean[])) AS given(key, alone)"
    )
    tx.execute(statement, {"lock": _LOCK, "keys": [key for key, _ in taken], "alone": [alone for _, alone in taken]})


def _key(company: str) -> int:
    return zlib.crc32(company.encode()) - 2**31


def of(tx: Connection, company: str) -> Sequence[Period]:
    """The periods of a company, the earliest first; none where the company keeps none."""
    return of_all(tx, [company])[company]


def of_all(tx: Connection, companies: Collection[str]) -> Mapping[str, Sequence[Period]]:
    """The periods of several companies."""
    found: dict[str, list[Period]] = {company: [] for company in companies}
    c = periods.c
    statement = select(periods).where(c.company.in_(list(companies))).order_by(c.company, c.starts_on)
    for row in tx.execute(statement):
        starts_on, ends_on = date.fromisoformat(row.starts_on), date.fromisoformat(row.ends_on)
        found[row.company].append(Period(row.period, starts_on, ends_on, row.state))
    return found


def put(tx: Connection, company: str, period: Period) -> None:
    """Makes the period known, or changes it, once nobody plans into the company's periods any more."""
    hold(tx, (), changing=[company])
    tx.execute(
        text(
            "INSERT INTO periods (company, period, starts_on, ends_on, state)"
            " VALUES (:company, :period, :starts_on, :ends_on, :state) ON CONFLICT (company, period) DO UPDATE"
            " SET starts_on = excluded.starts_on, ends_on = excluded.ends_on, state = excluded.state"
        ),
        {
            "company": company,
            "period": period.period,
            "starts_on": period.starts_on.isoformat(),
            "ends_on": period.ends_on.isoformat(),
            "state": period.state,
        },
    )


def forget(tx: Connection, company: str, period: str) -> None:
    """The period is gone at its source. Waits as `put` does."""
    hold(tx, (), changing=[company])
    tx.execute(
        text("DELETE FROM periods WHERE company = :company AND period = :period"),
        {"company": company, "period": period},
    )


def accept_year(tx: Connection, document_id: int, actor: str, reason: str) -> None:
    """A named person lets the document be booked in another fiscal year than it belongs to. Twice has one effect."""
    tx.execute(
        text(
            "INSERT INTO year_crossings (document_id, accepted_by, reason) VALUES (:id, :actor, :reason)"
            " ON CONFLICT (document_id) DO UPDATE SET accepted_by = excluded.accepted_by, reason = excluded.reason"
        ),
        {"id": document_id, "actor": actor, "reason": reason},
    )
    audit.append(tx, actor=actor, action="period.accept_year", subject=f"document {document_id}", reason=reason)


def accepted(tx: Connection, document_ids: Collection[int]) -> frozenset[int]:
    """Which of these documents may cross the fiscal year."""
    c = year_crossings.c
    return frozenset(tx.scalars(select(c.document_id).where(c.document_id.in_(list(document_ids)))))


__all__ = ["Period", "accept_year", "accepted", "forget", "hold", "of", "of_all", "put"]
