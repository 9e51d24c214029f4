"""Payments of documents as the ERP told of them; a reversal may come before the payment it takes back."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import select, text
from sqlalchemy.engine import Connection

from connector.ledger.tables import payments
from connector.payment import Payment


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


def of(tx: Connection, document_ids: Sequence[int]) -> dict[int, tuple[Payment, ...]]:
    """Every payment of these documents, by document, in the order in which they were told."""
    found: dict[int, tuple[Payment, ...]] = {}
    c = payments.c
    for row in tx.execute(select(payments).where(c.document_id.in_(document_ids)).order_by(c.id)):
        payment = Payment(row.number, Decimal(row.amount), made=row.paid, reversed=row.reversed)
        found[row.document_id] = (*found.get(row.document_id, ()), payment)
    return found
