"""Payments of documents as the ERP told of them; a reversal may come before the payment it takes back."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.engine import Connection

from connector.ledger.tables import payments


def record(tx: Connection, document_id: int, number: str, amount: Decimal, currency: str, *, reverses: bool) -> None:
    """Writes that a payment was made, or taken back. The caller holds the document's lock; twice has one effect."""
    tx.execute(
        text(
            "INSERT INTO payments (document_id, number, amount, currency, paid, reversed)"
            " VALUES (:document_id, :number, :amount, :currency, :paid, :reversed)"
            f" ON CONFLICT (document_id, number) DO UPDATE SET {'reversed' if reverses else 'paid'} = :yes"
            + ("" if reverses else ", amount = excluded.amount, currency = excluded.currency")
        ),
        {
            "document_id": document_id,
            "number": number,
            "amount": f"{amount:f}",
            "currency": currency,
            "paid": not reverses,
            "reversed": reverses,
            "yes": True,
        },
    )


def of(tx: Connection, document_id: int) -> Sequence[Row[Any]]:
    """Every payment of a document: number, amount (text), currency, paid, reversed."""
    c = payments.c
    return tx.execute(select(payments).where(c.document_id == document_id).order_by(c.id)).all()


def paid(tx: Connection, document_id: int) -> Decimal:
    """What is paid and not taken back."""
    return sum((Decimal(row.amount) for row in of(tx, document_id) if row.paid and not row.reversed), Decimal(0))
