"""The terms of a posting as text: what the ledger had settled when its voucher was made, so that it can be made again."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import orjson

from connector import spans
from connector.translate.draft import Terms


def to_text(terms: Terms) -> str | None:
    """What the ledger settled, as JSON; None where that is nothing but the day, which the voucher tells."""
    said: dict[str, Any] = {
        "origin_period": terms.origin_period,
        "accrued": terms.accrued,
        "advances": {number: (currency, f"{rate:f}") for number, (currency, rate) in terms.advances.items()},
        "released": {number: f"{amount:f}" for number, amount in terms.released.items()},
        "invoices": {name: spans.write(parts) for name, parts in terms.invoices.items()},
    }
    settled = {name: value for name, value in said.items() if value}
    return orjson.dumps(settled).decode() if settled else None


def from_text(text: str | None, day: date) -> Terms:
    """The terms that `to_text` wrote, of a voucher of this day."""
    said = {} if text is None else orjson.loads(text)
    return Terms(
        day,
        said.get("origin_period"),
        said.get("accrued", False),
        {number: (currency, Decimal(rate)) for number, (currency, rate) in said.get("advances", {}).items()},
        {number: Decimal(amount) for number, amount in said.get("released", {}).items()},
        {name: spans.read(parts) for name, parts in said.get("invoices", {}).items()},
    )
