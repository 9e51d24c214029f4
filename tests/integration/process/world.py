"""A small world for process tests: a real ledger, the real step and deliverer, the file ledger as the ERP."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import text

from connector.adapter import Adapter
from connector.bootstrap import Runtime
from connector.channels import Message
from connector.erp.file_ledger import FileLedger
from connector.ledger import Ledger, deadletters, outbox
from connector.process.batch import BatchResult
from connector.settings import Delivery, Retry, Settings, System
from contracts.voucher import parse_voucher

EXAMPLE = json.loads(
    (Path(__file__).parents[3] / "contracts/examples/expense-report-approved.case-a.json").read_bytes()
)
_ids = itertools.count(1)


def report(
    number: str = "EXP-1",
    version: int = 1,
    happening: str = "approved",
    *,
    amount: str = "100.00",
    category: str = "office.supplies",
    source: str = "/oa/feishu/C01",
    event_id: str | None = None,
    **data: Any,
) -> dict[str, Any]:
    """An event about an expense report of one line."""
    event = copy.deepcopy(EXAMPLE)
    values: dict[str, Any] = {"company": "C01", "number": number, "version": version}
    if happening == "withdrawn":
        values |= {"withdrawn_at": "2025-04-05T10:00:00+08:00"}
    else:
        values |= {key: event["data"][key] for key in ("employee", "currency", "title", "submitted_on", "approved_at")}
        line = {
            "line": 1,
            "category": category,
            "date": "2025-03-27",
            "description": "文具",
            "amount": amount,
            "currency": "CNY",
            "paid_by": "employee",
        }
        values |= {"lines": [line], "total": amount}
        if happening == "submitted":
            del values["approved_at"]
    event |= {
        "id": event_id or f"event-{next(_ids)}",
        "source": source,
        "type": f"expense.report.{happening}.v1",
        "subject": number,
        "sequence": str(version),
        "partitionkey": f"C01/{number}",
        "data": values | data,
    }
    return event


class World:
    """What a process test says and asks."""

    def __init__(self, ledger: Ledger, folder: Path, erp: Adapter | None = None, *, retry: Retry | None = None) -> None:
        self.erp = erp or FileLedger(System(adapter="file", company="C01", options={"path": str(folder)}))
        settings = Settings(
            retry=retry or Retry(ledger_wait_s=0, call_wait_s=0),
            delivery=Delivery(settle_s=0),
        )
        self.runtime = Runtime(settings, ledger, {"C01": self.erp}, {}, _no_channel)
        self.ledger = ledger

    def receive(self, *events: dict[str, Any] | bytes) -> BatchResult:
        """Events arrive in one batch."""
        bodies = [
            event if isinstance(event, bytes) else json.dumps(event, ensure_ascii=False).encode() for event in events
        ]
        return self.runtime.apply_batch([Message(body) for body in bodies])

    def deliver(self) -> None:
        """Everything due is sent, asked about and told, until nothing is due any more."""
        for _ in range(50):
            delivered = self.runtime.deliver_due("C01")
            asked = self.runtime.resolve_in_doubt("C01")
            moved = self.relay()
            if not (delivered.claimed or asked.claimed or moved):
                return
        raise AssertionError("it never came to rest")

    def relay(self) -> int:
        """What waits in the outbox travels."""
        with self.ledger.begin() as tx:
            rows = outbox.claim(tx, 500, 60, 60)
        if rows:
            self.runtime.apply_batch([Message(row.body) for row in rows])
        return len(rows)

    def live(self) -> dict[str, Decimal]:
        """Reference -> total of what counts in the ERP."""
        rows = self.query("SELECT reference FROM postings WHERE purpose = 'post' ORDER BY reference")
        found = {reference: self.erp.find(reference) for (reference,) in rows}
        return {ref: Decimal(r.total or "0") for ref, r in found.items() if r is not None and r.state == "posted"}

    def outcomes(self, number: str = "EXP-1") -> list[tuple[int, str]]:
        """What became of each version of a report."""
        return [
            (version, outcome)
            for version, outcome in self.query(
                "SELECT i.version, i.outcome FROM inbox i JOIN documents d ON d.id = i.document_id"
                " WHERE d.number = :number AND i.version IS NOT NULL ORDER BY i.version, i.id",
                number=number,
            )
        ]

    def postings(self) -> list[tuple[str, str]]:
        """Reference and state of every posting."""
        return [(r, s) for r, s in self.query("SELECT reference, state FROM postings ORDER BY id")]

    def letters(self, state: str | None = "open") -> Sequence[Any]:
        """The dead letters."""
        with self.ledger.begin() as tx:
            return deadletters.find(tx, deadletters.Filter(state=state))

    def replay(self, letter_id: int) -> str:
        """A person has a letter replayed, and it travels."""
        with self.ledger.begin() as tx:
            said = deadletters.replay(tx, letter_id, actor="wang", reason="corrected")
        self.relay()
        return said

    def discard(self, letter_id: int) -> None:
        """A person gives a letter up."""
        with self.ledger.begin() as tx:
            deadletters.discard(tx, letter_id, actor="wang", reason="sent by mistake")
        self.relay()

    def query(self, statement: str, **parameters: Any) -> Sequence[Any]:
        """Rows of the ledger."""
        with self.ledger.begin() as tx:
            return tx.execute(text(statement), parameters).all()

    def voucher_lines(self, reference: str) -> list[str]:
        """A voucher in the accountant's notation."""
        ((body,),) = self.query("SELECT voucher FROM postings WHERE reference = :reference", reference=reference)
        voucher = parse_voucher(bytes(body))
        return [f"{'Dr' if line.side == 'debit' else 'Cr'} {line.account} {line.amount}" for line in voucher.lines]


def _no_channel() -> Any:
    raise AssertionError("nothing here uses a broker")
