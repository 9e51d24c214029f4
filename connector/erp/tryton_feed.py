"""What Tryton tells us: our moves posted and cancelled, and employees changed, as canonical events."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from connector.adapter import Change, Page
from connector.delta import Delta, Key, Row
from connector.erp.tryton_masters import document_of
from connector.erp.tryton_rpc import TrytonClient
from contracts import new_event
from contracts.master_data import EmployeeRecord
from contracts.settlement import Document, VoucherPosted, VoucherReversed

# Tryton stamps rows with the start of their transaction: one that took this long to commit is still seen.
OVERLAP_S = 120
LIMIT = 200
MOVE_FIELDS = ["number", "date", "description", "origin", "write_date", "lines.description"]
EMPLOYEE_FIELDS = ["party.code", "party.name", "party.email", "active", "create_date", "write_date", "party.write_date"]
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


class Feed:
    """Pages of changes of one company."""

    def __init__(self, client: TrytonClient, company: str) -> None:
        self._client, self._company = client, company
        streams = {
            "moves": self._moves,
            "employees created": lambda after, limit: self._employees("create_date", after, limit),
            "employees written": lambda after, limit: self._employees("write_date", after, limit),
            "parties written": lambda after, limit: self._employees("party.write_date", after, limit),
        }
        self._delta = Delta(streams, overlap_s=OVERLAP_S, limit=LIMIT)

    def page(self, cursor: str | None) -> Page:
        """Changes since the cursor, oldest first."""
        rows, cursor, more = self._delta.page(cursor)
        moves = [row for stream, row in rows if stream == "moves"]
        originals = self._originals([row.data for row in moves])
        changes: list[Change] = []
        told: set[str] = set()
        for stream, row in rows:
            change = self._voucher(row, originals) if stream == "moves" else self._employee(row)
            if change is not None and change.event.id not in told:
                told.add(change.event.id)
                changes.append(change)
        return Page(changes, cursor, more)

    def _moves(self, after: Key, limit: int) -> Sequence[Row]:
        domain = [
            ["company", "=", self._client.company_id], ["state", "=", "posted"], _since("write_date", after),
            ["OR", ["description", "like", f"{_escaped(self._company)}-%"], ["origin", "like", "account.move,%"]],
        ]  # fmt: skip
        order = [["write_date", "ASC"], ["id", "ASC"]]
        rows = self._client.read("model.account.move.search_read", domain, 0, limit, order, MOVE_FIELDS)
        return [Row(Key(row["write_date"], row["id"]), row) for row in rows]

    def _employees(self, field: str, after: Key, limit: int) -> Sequence[Row]:
        domain = [["company", "=", self._client.company_id], _since(field, after)]
        rows = self._client.call(
            "model.company.employee.search_read", domain, 0, limit, [[field, "ASC"], ["id", "ASC"]], EMPLOYEE_FIELDS,
            context={"active_test": False}, safe=True,
        )  # fmt: skip
        return [
            Row(Key(row["party."]["write_date"] if field.startswith("party.") else row[field], row["id"]), row)
            for row in rows
        ]

    def _originals(self, moves: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """The moves these cancel, by the text Tryton writes for an origin."""
        ids = sorted(
            {int(move["origin"].split(",")[1]) for move in moves if (move["origin"] or "").startswith("account.move,")}
        )
        if not ids:
            return {}
        rows = self._client.read("model.account.move.search_read", [["id", "in", ids]], 0, None, None, MOVE_FIELDS)
        return {f"account.move,{row['id']}": row for row in rows}

    def _voucher(self, row: Row, originals: Mapping[str, Mapping[str, Any]]) -> Change | None:
        move = row.data
        original = originals.get(move["origin"] or "")
        document = self._document(original or move)
        reference = (original or move)["description"] or ""
        if document is None or not reference.startswith(f"{self._company}-"):
            return None
        version = _micros(row.key.at)
        data: VoucherPosted | VoucherReversed
        if original is not None:
            data = VoucherReversed(
                company=self._company, version=version, number=document.number, document=document, reference=reference,
                erp_number=original["number"], reversed_on=move["date"], reversal_number=move["number"],
                reason=None if move["description"] == reference else move["description"],
            )  # fmt: skip
        else:
            data = VoucherPosted(
                company=self._company, version=version, number=document.number, document=document, reference=reference,
                erp_number=move["number"], posted_on=move["date"], posted_at=row.key.at,
            )  # fmt: skip
        kind = "voucher.posted.v1" if original is None else "voucher.reversed.v1"
        return self._change(kind, f"move-{row.key.id}-{version}", row.key.at, data, move)

    def _employee(self, row: Row) -> Change | None:
        employee, party = row.data, row.data["party."]
        if not party["code"]:
            return None
        stamps = (employee["create_date"], employee["write_date"], party["write_date"])
        changed_at = max(stamp for stamp in stamps if stamp is not None)
        email = party["email"] if _EMAIL.fullmatch(party["email"] or "") else None
        version = _micros(changed_at)
        data = EmployeeRecord(
            company=self._company, version=version, id=party["code"], changed_at=changed_at, name=party["name"] or party["code"],
            active=employee["active"], email=email,
        )  # fmt: skip
        return self._change(
            "master.employee.changed.v1", f"employee-{row.key.id}-{version}", changed_at, data, employee
        )

    def _document(self, move: Mapping[str, Any]) -> Document | None:
        for line in move["lines."]:
            found = document_of(line["description"] or "")
            if found:
                return Document(type="advance" if found[0] else "expense.report", number=found[1], version=found[2])
        return None

    def _change(self, kind: str, event_id: str, at: datetime, data: Any, row: Mapping[str, Any]) -> Change:
        event = new_event(kind, data, id=event_id, time=at, system="erp", adapter="tryton")
        return Change(event, json.dumps(row, default=str, ensure_ascii=False, sort_keys=True).encode())


def _since(field: str, after: Key) -> list[Any]:
    return ["OR", [field, ">", after.at], [[field, "=", after.at], ["id", ">", after.id]]]


def _micros(at: datetime) -> int:
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _escaped(text: str) -> str:
    return re.sub(r"([%_\\])", r"\\\1", text)
