"""Advances, invoices and budgets with their uses: locked, read and written for a whole batch at once.

Every claim on a balance takes its row lock first, always in the order of the rows, after the documents' locks. So two
claims on one advance wait for one another, and the second sees what the first left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import bindparam, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from connector.facts import Balance, BalanceKey, Facts, Use
from connector.ledger.sql import insert_many, table_of
from connector.ledger.tables import balance_uses, balances

Wanted = Mapping[BalanceKey, tuple[str, Decimal]]  # currency and what is available, where the balance is new


class Crossed(Exception):
    """Another transaction wrote a balance that this one found missing: nothing happened, and a second try finds it."""


def gather(
    tx: Connection,
    facts: Facts,
    document_ids: Collection[int],
    known: Collection[BalanceKey],
    made: Wanted,
    budgets: Collection[int],
    *,
    lock: bool = True,
) -> None:
    """Adds to `facts` the balances of these keys, of these budgets (row numbers) and those the documents use already; with
    `lock` they stay as they are until the transaction ends. Of `made`, the ones without a row begin unused."""
    keys = {*known, *made}
    uses = _uses(tx, document_ids)
    ids = {balance_id for balance_id, *_ in uses} | set(budgets)
    found = _read(tx, ids | _ids(tx, keys), lock=lock) if ids else _read_keys(tx, keys, lock=lock)
    by_id = {balance.id: balance for balance in found}
    facts.balances |= {balance.key: balance for balance in found}
    for key, (currency, available) in made.items():
        if key not in facts.balances:
            facts.balances[key] = Balance(0, key, currency, available, Decimal(0), {})
    for balance_id, document_id, version, amount, state in uses:
        key = by_id[balance_id].key
        facts.uses.setdefault(document_id, {})[key] = Use(Decimal(amount), state, version)
        facts.used_before.add(document_id)


def write(tx: Connection, facts: Facts) -> None:
    """Writes what changed back. Raises Crossed where another transaction was first with a new balance."""
    changed = [balance for balance in facts.balances.values() if balance.changed]
    old = [balance for balance in changed if not balance.is_new]
    _insert(tx, [balance for balance in changed if balance.is_new])
    _update(tx, old)
    if not facts.changed_uses:
        return
    before = sorted(facts.changed_uses & facts.used_before)
    if before:
        statement = balance_uses.delete().where(balance_uses.c.document_id.in_(bindparam("ids", expanding=True)))
        tx.execute(statement, {"ids": before})
    rows = [
        {
            "document_id": document_id,
            "balance_id": facts.balances[key].id,
            "version": use.version,
            "amount": f"{use.amount:f}",
            "state": use.state,
        }
        for document_id in sorted(facts.changed_uses)
        for key, use in facts.uses.get(document_id, {}).items()
    ]
    insert_many(tx, balance_uses, rows)


def _insert(tx: Connection, new: Sequence[Balance]) -> None:
    if not new:
        return
    # In the order of the keys: two batches that write the same ones wait for one another, never for each other.
    ordered = sorted(new, key=lambda balance: balance.key)
    for balance, id_ in zip(ordered, _new_ids(tx, len(ordered)), strict=True):
        balance.id = id_
    rows = [
        {
            "id": b.id,
            "kind": b.key.kind,
            "company": b.key.company,
            "key": b.key.key,
            "currency": b.currency,
            "available": f"{b.available:f}",
            "used": f"{b.used:f}",
            "detail": _dump(b.detail),
        }
        for b in ordered
    ]
    try:
        insert_many(tx, balances, rows)
    except IntegrityError as error:
        raise Crossed("another transaction wrote one of these balances meanwhile") from error


def _new_ids(tx: Connection, count: int) -> Sequence[int]:
    """Row numbers that nobody else gets."""
    if tx.dialect.name == "postgresql":
        series = "SELECT nextval('balances_id_seq') FROM generate_series(1, :count)"
        return tx.scalars(text(series), {"count": count}).all()
    first = int(
        tx.scalar(text("SELECT coalesce(max(id), 0) + 1 FROM balances")) or 1
    )  # the transaction holds the database
    return range(first, first + count)


def _update(tx: Connection, changed: Sequence[Balance]) -> None:
    if not changed:
        return
    columns = {"id": "bigint", "currency": "text", "available": "text", "used": "text", "detail": "text"}
    rows = [(b.id, b.currency, f"{b.available:f}", f"{b.used:f}", _dump(b.detail)) for b in changed]
    given, parameters = table_of(tx, columns, rows)
    tx.execute(
        text(
            "UPDATE balances SET currency = given.currency, available = given.available, used = given.used,"
            f" detail = given.detail FROM {given} WHERE balances.id = given.id"
        ),
        parameters,
    )


def release(tx: Connection, document_id: int) -> None:
    """Nothing of the document uses anything any more. The caller holds the document's lock."""
    facts = Facts()
    gather(tx, facts, [document_id], (), {}, ())
    facts.release(document_id)
    write(tx, facts)


def budgets_of(tx: Connection, companies: Collection[str]) -> Sequence[tuple[int, BalanceKey, Mapping[str, Any]]]:
    """Every budget of these companies, as it stands, unlocked: row, key and scope."""
    c = balances.c
    rows = tx.execute(
        select(c.id, c.company, c.key, c.detail).where(c.kind == "budget", c.company.in_(list(companies)))
    )
    return [(row.id, BalanceKey("budget", row.company, row.key), orjson.loads(row.detail)) for row in rows]


def find(tx: Connection, key: BalanceKey) -> Balance | None:
    """One balance as it stands, unlocked."""
    return next(iter(_read_keys(tx, [key], lock=False)), None)


def _uses(tx: Connection, document_ids: Collection[int]) -> list[Any]:
    if not document_ids:
        return []
    given, parameters = table_of(tx, {"id": "bigint"}, [(id_,) for id_ in document_ids])
    return list(
        tx.execute(
            text(
                "SELECT u.balance_id, u.document_id, u.version, u.amount, u.state"
                f" FROM {given} JOIN balance_uses u ON u.document_id = given.id"
            ),
            parameters,
        )
    )


def _ids(tx: Connection, keys: Iterable[BalanceKey]) -> set[int]:
    rows = list(keys)
    if not rows:
        return set()
    given, parameters = table_of(tx, {"kind": "text", "company": "text", "key": "text"}, rows)
    return set(
        tx.scalars(
            text(
                f"SELECT b.id FROM {given} JOIN balances b ON b.kind = given.kind AND b.company = given.company"
                " AND b.key = given.key"
            ),
            parameters,
        )
    )


def _read_keys(tx: Connection, keys: Collection[BalanceKey], *, lock: bool) -> list[Balance]:
    if not keys:
        return []
    columns = {"kind": "text", "company": "text", "key": "text"}
    given, parameters = table_of(tx, columns, sorted(keys))
    joined = "b.kind = given.kind AND b.company = given.company AND b.key = given.key"
    return _balances(tx, given, joined, parameters, lock=lock)


def _read(tx: Connection, ids: Collection[int], *, lock: bool) -> list[Balance]:
    given, parameters = table_of(tx, {"id": "bigint"}, [(id_,) for id_ in sorted(ids)])
    return _balances(tx, given, "b.id = given.id", parameters, lock=lock)


def _balances(tx: Connection, given: str, joined: str, parameters: Mapping[str, Any], *, lock: bool) -> list[Balance]:
    locking = " FOR UPDATE OF b" if lock and tx.dialect.name == "postgresql" else ""
    rows = tx.execute(
        text(
            "SELECT b.id, b.kind, b.company, b.key, b.currency, b.available, b.used, b.detail"
            f" FROM {given} JOIN balances b ON {joined} ORDER BY b.id{locking}"
        ),
        parameters,
    )
    return [
        Balance(id_, BalanceKey(kind, company, key), currency, Decimal(available), Decimal(used), orjson.loads(detail))
        for id_, kind, company, key, currency, available, used, detail in rows
    ]


def _dump(detail: Mapping[str, Any]) -> str:
    if not detail:
        return "{}"
    return orjson.dumps(dict(detail), option=orjson.OPT_SORT_KEYS).decode()
