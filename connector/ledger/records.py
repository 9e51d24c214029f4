"""Master records as booking sees them: which kinds a company's systems tell of, and whether a record counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.engine import Connection

from connector.facts import KnownRecord, RecordKey
from connector.ledger.sql import table_of


def fed(tx: Connection, companies: Collection[str], kinds: Collection[str]) -> frozenset[tuple[str, str]]:
    """Of these kinds, the ones that at least one record of the company is known of."""
    rows = [(company, f"master.{kind}") for company in companies for kind in kinds]
    given, parameters = table_of(tx, {"company": "text", "kind": "text"}, rows)
    found = tx.execute(
        text(
            f"SELECT given.company, given.kind FROM {given} WHERE EXISTS (SELECT 1 FROM master_records m"
            " WHERE m.company = given.company AND m.kind = given.kind)"
        ),
        parameters,
    )
    return frozenset((company, kind.removeprefix("master.")) for company, kind in found)


def known(tx: Connection, wanted: Iterable[RecordKey]) -> Mapping[RecordKey, KnownRecord]:
    """Of these records, the ones that are there and not deleted."""
    rows = [(company, f"master.{kind}", id_) for company, kind, id_ in sorted(wanted)]
    if not rows:
        return {}
    given, parameters = table_of(tx, {"company": "text", "kind": "text", "key": "text"}, rows)
    found = tx.execute(
        text(
            f"SELECT m.company, m.kind, m.key, m.merged FROM {given} JOIN master_records m"
            " ON m.company = given.company AND m.kind = given.kind AND m.key = given.key"
        ),
        parameters,
    )
    read = {
        RecordKey(company, kind.removeprefix("master."), key): _read(merged) for company, kind, key, merged in found
    }
    return {key: record for key, record in read.items() if record is not None}


def _read(merged: str) -> KnownRecord | None:
    values: Any = orjson.loads(merged)
    if not isinstance(values, dict):  # deleted
        return None
    return KnownRecord(
        values.get("active") is not False,
        _day(values.get("valid_from")),
        _day(values.get("valid_to")),
        tuple(values.get("dimensions") or ()),
    )


def _day(stated: str | None) -> date | None:
    return None if stated is None else date.fromisoformat(stated)
