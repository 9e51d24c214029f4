"""Answers of the ERP as events: posted, rejected, reversed. They travel back through the broker like any other event."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import orjson

from connector.adapter import Adapter, Receipt
from connector.ledger.postings import Claim
from contracts import parse_event
from contracts.envelope import AnyEvent
from contracts.voucher import Voucher


def posted_event(erp: Adapter, claim: Claim, voucher: Voucher, receipt: Receipt, on: date) -> AnyEvent:
    """The voucher stands in the ERP."""
    more = {"erp_number": receipt.number or receipt.external_id, "posted_on": on.isoformat()}
    return _event(erp, claim, voucher, "posted", more)


def reversed_event(
    erp: Adapter, claim: Claim, voucher: Voucher, receipt: Receipt, on: date, original: Mapping[str, Any]
) -> AnyEvent:
    """The voucher was taken back."""
    more = {
        "erp_number": original["erp_number"] or original["external_id"],
        "reversed_on": on.isoformat(),
        "reversal_number": receipt.number or receipt.external_id,
    }
    return _event(erp, claim, voucher, "reversed", more)


def rejected_event(erp: Adapter, claim: Claim, voucher: Voucher, code: str, reason: str) -> AnyEvent:
    """The ERP refused the voucher; nothing stands there."""
    message = " ".join(reason.split())[:500] or code
    return _event(erp, claim, voucher, "rejected", {"code": code, "message": message})


def _event(erp: Adapter, claim: Claim, voucher: Voucher, happening: str, more: Mapping[str, Any]) -> AnyEvent:
    document = voucher.document
    wire = {
        "specversion": "1.0",
        # One answer for one claim: a second worker that settled the same would name the same event.
        "id": f"{claim.reference}:{happening}:{claim.attempts}",
        "source": f"/erp/{erp.name}/{claim.company}",
        "type": f"voucher.{happening}.v1",
        "subject": document.number,
        "time": datetime.now(UTC).isoformat(),
        "sequence": str(max(claim.attempts, 1)),
        "partitionkey": f"{claim.company}/{document.number}",
        "data": {
            "company": claim.company,
            "number": document.number,
            "version": max(claim.attempts, 1),
            "document": {"type": document.type, "number": document.number, "version": document.version},
            "reference": claim.reference,
            **more,
        },
    }
    return parse_event(orjson.dumps(wire))
