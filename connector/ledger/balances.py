"""Advances, invoices and budgets with their uses: locked, read and written for a whole batch at once.

Every claim on a balance takes its row lock first, always in the order of their keys, after the documents' locks. So two
claims on one advance wait for one another, and the second sees what the first left. A balance nobody knew is written by
whoever uses it first; who was second then finds it at its next try.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from connector.facts import Balance, BalanceKey, Facts, Use
from connector.ledger.faults import Crossed
from connector.ledger.sql import insert_many, table_of
from connector.ledger.tables import balance_uses, balances

_ZERO = Decimal(0)
_SAME_KEY = "{0}.key = given.key AND {0}.kind = given.kind AND {0}.company = given.company"

Wanted = Mapping[BalanceKey, tuple[str, Decimal]]  # currency and what is available, where the balance is new


def gather(
    tx: Connection,
    facts: Facts,
    document_ids: Collection[int],
    known: Collection[BalanceKey],
    made: Wanted,
    *,
    lock: bool = True,
) -> None:
    """Adds to `facts` the balances of these keys and those the documents use already; with `lock` they stay as they are
    until the transaction ends. Of `made`, the ones without a row begin unused."""
    _read_uses(tx, facts, document_ids)
    wanted = {*known, *made}.union(*facts.uses.values())
    facts.balances |= {balance.key: balance for balance in _read(tx, wanted, lock=lock)}
    for key, (currency, available) in made.items():
        if key not in facts.balances:
            facts.balances[key] = Balance(key, currency, available, _ZERO, {}, is_new=True)


def write(tx: Connection, facts: Facts) -> None:
    """Writes what changed back. Raises Crossed where another transaction was first with a new balance."""
    changed = [balance for balance in facts.balances.values() if balance.changed]
    _insert(tx, [balance for balance in changed if balance.is_new])
    _update(tx, [balance for balance in changed if not balance.is_new])
    before = sorted(facts.changed_uses & facts.used_before)
    if before:
        statement = balance_uses.delete().where(balance_uses.c.document_id.in_(bindparam("ids", expanding=True)))
        tx.execute(statement, {"ids": before})
    insert_many(tx, balance_uses, [_use_row(id_, facts.uses[id_]) for id_ in facts.changed_uses if facts.uses[id_]])


def _use_row(document_id: int, uses: Mapping[BalanceKey, Use]) -> dict[str, Any]:
    one = next(iter(uses.values()))  # A document uses everything at one version, in one state.
    said = orjson.dumps([(*key, f"{use.amount:f}") for key, use in uses.items()]).decode()
    return {"document_id": document_id, "version": one.version, "state": one.state, "uses": said}


def _insert(tx: Connection, new: Sequence[Balance]) -> None:
    # In the order of the keys: two batches that write the same ones wait for one another, never for each other.
    ordered = sorted(new, key=lambda balance: balance.key)
    rows = [
        {
            "key": b.key.key,
            "kind": b.key.kind,
            "company": b.key.company,
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


def _update(tx: Connection, changed: Sequence[Balance]) -> None:
    if not changed:
        return
    columns = dict.fromkeys(("kind", "company", "key", "currency", "available", "used", "detail"), "text")
    rows = [(*b.key, b.currency, f"{b.available:f}", f"{b.used:f}", _dump(b.detail)) for b in changed]
    given, parameters = table_of(tx, columns, rows)
    tx.execute(
        text(
            "UPDATE balances SET currency = given.currency, available = given.available, used = given.used,"
            f" detail = given.detail FROM {given} WHERE {_SAME_KEY.format('balances')}"
        ),
        parameters,
    )


def release(tx: Connection, document_id: int) -> None:
    """Nothing of the document uses anything any more. The caller holds the document's lock."""
    facts = Facts()
    gather(tx, facts, [document_id], (), {})
    facts.release(document_id)
    write(tx, facts)


def budgets_of(tx: Connection, companies: Collection[str]) -> Sequence[tuple[BalanceKey, Mapping[str, Any]]]:
    """Every budget of these companies, as it stands, unlocked: its key and its scope."""
    given, parameters = table_of(tx, {"company": "text"}, [(company,) for company in companies])
    rows = tx.execute(
        text(
            f"SELECT b.company, b.key, b.detail FROM {given} JOIN balances b ON b.company = given.company"
            " WHERE b.kind = 'budget' ORDER BY b.company, b.key"
        ),
        parameters,
    )
    return [(BalanceKey("budget", company, key), orjson.loads(detail)) for company, key, detail in rows]


def find(tx: Connection, key: BalanceKey) -> Balance | None:
    """One balance as it stands, unlocked."""
    return next(iter(_read(tx, [key], lock=False)), None)


def find_all(tx: Connection, keys: Collection[BalanceKey]) -> Mapping[BalanceKey, Balance]:
    """Those of these balances that are there, as they stand, unlocked."""
    return {balance.key: balance for balance in _read(tx, keys, lock=False)}


def _read_uses(tx: Connection, facts: Facts, document_ids: Collection[int]) -> None:
    if not document_ids:
        return
    given, parameters = table_of(tx, {"id": "bigint"}, [(id_,) for id_ in document_ids])
    rows = tx.execute(
        text(
            "SELECT u.document_id, u.version, u.state, u.uses"
            f" FROM {given} JOIN balance_uses u ON u.document_id = given.id"
        ),
        parameters,
    )
    for document_id, version, state, said in rows:
        facts.uses[document_id] = {
            BalanceKey(*key): Use(Decimal(amount), state, version) for *key, amount in orjson.loads(said)
        }
        facts.used_before.add(document_id)


def _read(tx: Connection, keys: Collection[BalanceKey], *, lock: bool) -> list[Balance]:
    if not keys:
        return []
    given, parameters = table_of(tx, {"kind": "text", "company": "text", "key": "text"}, list(keys))
    locking = " FOR UPDATE OF b" if lock and tx.dialect.name == "postgresql" else ""
    rows = tx.execute(
        text(
            "SELECT b.kind, b.company, b.key, b.currency, b.available, b.used, b.detail"
            f" FROM {given} JOIN balances b ON {_SAME_KEY.format('b')} ORDER BY b.key, b.kind, b.company{locking}"
        ),
        parameters,
    )
    return [
        Balance(BalanceKey(kind, company, key), currency, Decimal(available), Decimal(used), orjson.loads(detail))
        for kind, company, key, currency, available, used, detail in rows
    ]


def _dump(detail: Mapping[str, Any]) -> str:
    if not detail:
        return "{}"
    return orjson.dumps(dict(detail), option=orjson.OPT_SORT_KEYS).decode()
