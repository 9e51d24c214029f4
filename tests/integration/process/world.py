"""A small world for process tests: a real ledger, the real step and deliverer, the file ledger as the ERP."""

from __future__ import annotations

import calendar
import copy
import itertools
import json
from collections.abc import Mapping, Sequence
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
from connector.process.waiting import ReleaseResult
from connector.settings import Delivery, Retry, Settings, System, Waiting
from connector.translate import load_book
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


def expense(category: str, amount: str, **more: Any) -> dict[str, Any]:
    """A line of a report."""
    line = {"line": 1, "category": category, "date": "2025-03-27", "description": "", "amount": amount}
    return {**line, "currency": "CNY", "paid_by": "employee", **more}


def hotel(amount: str, number: str | None = None, **more: Any) -> dict[str, Any]:
    """A hotel night without tax to deduct, on an ordinary invoice."""
    invoice = {"kind": "vat_ordinary", "total": amount, **more}
    return expense("travel.hotel", amount, invoice=invoice if number is None else {**invoice, "number": number})


def claim(
    number: str, *lines: dict[str, Any], version: int = 1, happening: str = "approved", **data: Any
) -> dict[str, Any]:
    """A report of these lines."""
    numbered = [{**line, "line": at} for at, line in enumerate(lines, 1)]
    total = data.pop("total", f"{sum((Decimal(line['amount']) for line in numbered), Decimal(0)):f}")
    return report(number, version, happening, lines=numbered, total=total, **data)


def told(type_: str, subject: str, source: str | None = None, version: int = 1, **data: Any) -> dict[str, Any]:
    """An event that is no report: an advance, a payment, a master record."""
    company = data.pop("company", "C01")
    source = source or f"/erp/file/{company}"
    return {
        "specversion": "1.0", "id": f"event-{next(_ids)}", "source": source, "type": type_, "subject": subject,
        "time": "2025-04-03T02:11:05Z", "datacontenttype": "application/json", "sequence": str(version),
        "partitionkey": f"{company}/{subject}", "data": {"company": company, "version": version, **data},
    }  # fmt: skip


def advance(number: str, amount: str, *, returned: bool = False, version: int = 1, **data: Any) -> dict[str, Any]:
    """An advance that was paid, or (part of) one that was given back."""
    employee = {"id": "E017", "name": "Zhang San", "department": "D01"}
    day = {"returned_on": "2025-04-20"} if returned else {"paid_on": "2025-03-01"}
    values = {"number": number, "employee": employee, "amount": amount, "currency": "CNY", **day, **data}
    kind = "returned" if returned else "paid"
    source = values.pop("source", "/oa/feishu/C01")
    return told(f"advance.{kind}.v1", number, source, version, **values)


def record(kind: str, id_: str, version: int = 1, **data: Any) -> dict[str, Any]:
    """A master record of the ERP."""
    values = {"id": id_, "changed_at": "2025-01-01T00:00:00Z", **data}
    return told(f"master.{kind}.changed.v1", id_, version=version, **values)


def period(month: str, state: str, version: int = 1) -> dict[str, Any]:
    """A month as an accounting period."""
    year, number = map(int, month.split("-"))
    last = calendar.monthrange(year, number)[1]
    return record("period", month, version, starts_on=f"{month}-01", ends_on=f"{month}-{last}", state=state)


class Shelved:
    """A copy of the starter book in a folder, to be changed by a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name, content in load_book(None).files.items():
            (folder / name).write_bytes(content)

    def table(self, name: str, text: str) -> None:
        """Writes a table and names it in the book."""
        (self.folder / f"{name}.csv").write_text(text, "utf-8")
        book = self.folder / "book.yaml"
        said = book.read_text("utf-8")
        if f"\n  {name}:" not in said:
            book.write_text(said.replace("\ntables:\n", f"\ntables:\n  {name}: {name}.csv\n"), "utf-8")

    def company(self, **columns: str) -> None:
        """Sets columns of every company."""
        values = {"currency": "CNY", "time_zone": "Asia/Shanghai", **columns}
        header, cells = ",".join(values), ",".join(values.values())
        self.table("companies", f"company,{header}\n*,{cells}\n")

    def add(self, name: str, row: str) -> None:
        """Adds a row to a table."""
        file = self.folder / f"{name}.csv"
        file.write_text(f"{file.read_text('utf-8').rstrip()}\n{row}\n", "utf-8")


class World:
    """What a process test says and asks."""

    def __init__(
        self,
        ledger: Ledger,
        folder: Path,
        erp: Adapter | None = None,
        *,
        retry: Retry | None = None,
        book: Path | None = None,
        oa: Mapping[str, Adapter] | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self.erp = erp or FileLedger(System(adapter="file", company="C01", options={"path": str(folder)}))
        settings = Settings(
            retry=retry or Retry(ledger_wait_s=0, call_wait_s=0),
            delivery=Delivery(settle_s=0),
            book=book,
            waiting=waiting or Waiting(),
        )
        self.runtime = Runtime(settings, ledger, {"C01": self.erp}, oa or {}, _no_channel)
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

    def release(self) -> ReleaseResult:
        """One round of letting go what waited for a key that arrived, and everything travels."""
        result = self.runtime.waiting.release_due()
        self.deliver()
        return result

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
