"""A voucher journal in a folder: the ERP of the demo and of small offices. Append-only, durable, one voucher per reference."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from connector.adapter import Change, Delivery, Features, Outcome, Page, Receipt, Status
from connector.errors import Ambiguous, ConnectorError, Misconfigured, Unavailable
from connector.outcomes import outcome_of
from connector.settings import System
from connector.translate.target import TARGETS, with_options
from contracts.bill import ErpDocument, entries, to_json
from contracts.findings import Finding, Refused

COLUMNS = (
    "period", "number", "date", "reference", "document", "version", "purpose", "side", "account", "amount", "currency",
    "dimensions", "role", "memo",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Balance:
    """What stands on one account in one currency. Exact; negative amounts count negative on their own side."""

    debit: Decimal = Decimal(0)
    credit: Decimal = Decimal(0)


@dataclass(slots=True)
class _Books:
    """What this process has read of the journal so far."""

    offset: int = 0
    receipts: dict[str, Receipt] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    reversed_by: dict[str, str] = field(default_factory=dict)
    balances: dict[tuple[str, str], Balance] = field(default_factory=dict)


class FileLedger:
    """Vouchers as JSON lines in `journal.jsonl`, and the same as a table people open: `vouchers.csv`.

    Safe for several threads and processes on one machine (a file lock). A voucher is whole or absent, also after a
    crash, and is on disk when `deliver` returns. Settings: options `path` (required), `closed_until` (a date: nothing
    is posted on or before it), `accounts` (a file with one account code a line: others are refused), `target`,
    `red_letter` and the limits of connector.translate.target.
    """

    name = "file"
    features: Features = Features(
        deliver=True, batch=200, unique_reference=True, reversal="red_letter", settle_s=2, reference_max=64
    )

    def __init__(self, system: System) -> None:
        options = system.options
        if "path" not in options:
            raise Misconfigured("the file adapter needs options.path, the folder of its journal")
        self.company = system.company
        self.features = with_options(type(self).features, options)
        self.folder = Path(options["path"])
        self.journal, self.table = self.folder / "journal.jsonl", self.folder / "vouchers.csv"
        self._closed_until = _day(options.get("closed_until"))
        self._accounts_file = Path(options["accounts"]) if "accounts" in options else None
        self._books = _Books()
        self._thread = threading.RLock()
        self._opened = False

    def receive(self, headers: Mapping[str, str], body: bytes) -> Sequence[Change]:
        """A folder pushes nothing."""
        raise Refused(
            Finding("CON-114", "", "no push: this system is a folder", "a request", "use another adapter's door")
        )

    def poll(self, cursor: str | None) -> Page:
        """Nothing changes in the folder but by us."""
        return Page((), cursor or "")

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Receipt | Outcome]:
        """Appends what is new in one durable write; what is there already under its reference is adopted."""
        try:
            with self._locked() as books:
                known = self._accounts()
                answers: list[Receipt | Outcome] = []
                lines: list[bytes] = []
                for delivery in batch:
                    answer, line = self._decide(books, delivery, known)
                    answers.append(answer)
                    if line is not None:
                        lines.append(line)
                        self._apply(books, json.loads(line))
                self._append(books, b"".join(lines))
                return answers
        except (ConnectorError, OSError) as error:
            outcome = self.classify(error)
            return [outcome] * len(batch)

    def find(self, reference: str) -> Receipt | None:
        """The document with our reference; `cancelled` once a reversal takes it back, whose number its details tell."""
        try:
            with self._locked() as books:
                return self._receipt(books, reference)
        except OSError as error:
            raise Unavailable(f"the journal cannot be read: {error.strerror}") from error

    def reverse(self, delivery: Delivery) -> Receipt | Outcome:
        """Posts the reversal; from then on each names the other."""
        if delivery.reverses is None:
            return Outcome("permanent", "ERP-422", "the delivery does not say what it reverses")
        return self.deliver([delivery])[0]

    def classify(self, error: BaseException) -> Outcome:
        """A full disk or a missing folder may heal; a write whose end we do not know is in doubt."""
        if isinstance(error, ConnectorError):
            return outcome_of(error)
        if isinstance(error, OSError):
            return Outcome("transient", "ERP-501", f"the journal cannot be written: {error.strerror}")
        return Outcome("ambiguous", "ERP-502", f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Nothing stays open between calls."""

    def trial_balance(self) -> dict[tuple[str, str], Balance]:
        """Debits and credits by (account, currency), from the journal on disk, exact."""
        with self._locked() as books:
            return dict(sorted(books.balances.items()))

    def vouchers(self) -> list[dict[str, Any]]:
        """Every record of the journal, in order: period, number, reference, the references of what it reverses and of
        what it is reversed by, and under the name of its target the document as it was sent."""
        with self._locked() as books:
            lines = self.journal.read_bytes().splitlines() if self.journal.exists() else []
            records = [json.loads(line) for line in lines]
            return [{**record, "reversed_by": books.reversed_by.get(record["reference"])} for record in records]

    def _decide(
        self, books: _Books, delivery: Delivery, known: frozenset[str] | None
    ) -> tuple[Receipt | Outcome, bytes | None]:
        document, reference, target = delivery.payload, delivery.reference, self.features.target
        if isinstance(document, Status) or not isinstance(document, TARGETS[target]):
            message = f"the ledger takes documents of the kind {target}, not a {type(document).__name__}"
            return Outcome("permanent", "ERP-401", message), None
        body = to_json(document)
        digest = hashlib.sha256(body).hexdigest()
        there = self._receipt(books, reference)
        if there is not None:
            if books.digests[reference] == digest:
                return there, None
            message = f"{reference} is in the journal already with other content"
            return Outcome("conflict", "ERP-409", message, external_id=there.external_id), None
        refusal = self._refusal(books, delivery, document, known)
        if refusal is not None:
            return refusal, None
        period = f"{document.date:%Y-%m}"
        number = f"记-{books.numbers.get(period, 0) + 1:04d}"
        record = {
            "period": period, "number": number, "reference": reference, "sha256": digest,
            "reverses": delivery.reverses.reference if delivery.reverses else None,
            target: json.loads(body),
        }  # fmt: skip
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        return self._as_receipt(record), line

    def _refusal(
        self, books: _Books, delivery: Delivery, document: ErpDocument, known: frozenset[str] | None
    ) -> Outcome | None:
        if self._closed_until is not None and document.date <= self._closed_until:
            message = f"the period of {document.date} is closed; reopen it or move the posting date"
            return Outcome("permanent", "ERP-402", message, field=f"period:{document.date}")
        if self.features.red_letter == "swapped" and any(line.amount < 0 for _, line in entries(document)):
            return Outcome("permanent", "ERP-401", "the ledger takes no amounts below zero")
        unknown = next(
            (line.account for _, line in entries(document) if known is not None and line.account not in known), None
        )
        if unknown is not None:
            message = f"the ledger has no account {unknown}; add it or correct the mapping"
            return Outcome("permanent", "ERP-411", message, field=f"account:{unknown}")
        if delivery.reverses is not None:
            original = delivery.reverses.reference
            if original not in books.receipts:
                return Outcome("permanent", "ERP-422", f"the journal has no voucher {original} to reverse")
            if original in books.reversed_by:
                by = books.receipts[books.reversed_by[original]]
                return Outcome(
                    "duplicate", "ERP-409", f"{original} is reversed already by {by.number}", external_id=by.external_id
                )
        return None

    def _receipt(self, books: _Books, reference: str) -> Receipt | None:
        receipt = books.receipts.get(reference)
        if receipt is None or reference not in books.reversed_by:
            return receipt
        by = books.receipts[books.reversed_by[reference]]
        return replace(receipt, state="cancelled", details={"reversed_by": by.number or by.reference})

    def _as_receipt(self, record: Mapping[str, Any]) -> Receipt:
        document = _document(record)
        return Receipt(
            reference=record["reference"],
            external_id=f"{record['period']}/{record['number']}",
            number=record["number"],
            state="posted",
            posted_on=date.fromisoformat(document["date"]),
            total=document["total_debit"] if "total_debit" in document else document["total"],
            currency=document["currency"],
        )

    def _apply(self, books: _Books, record: Mapping[str, Any]) -> None:
        books.receipts[record["reference"]] = self._as_receipt(record)
        books.digests[record["reference"]] = record["sha256"]
        books.numbers[record["period"]] = books.numbers.get(record["period"], 0) + 1
        if record["reverses"]:
            books.reversed_by[record["reverses"]] = record["reference"]
        document = _document(record)
        for line in _lines(document):
            key, amount = (line["account"], document["currency"]), Decimal(line["amount"])
            stands = books.balances.get(key, Balance())
            debit = line["side"] == "debit"
            books.balances[key] = Balance(stands.debit + amount * debit, stands.credit + amount * (not debit))

    @contextmanager
    def _locked(self) -> Iterator[_Books]:
        """Holds the file lock and has read everything others wrote."""
        with self._thread:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.folder / "journal.lock", "ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._catch_up()
                if not self._opened:
                    self._rebuild_table()
                    self._opened = True
                yield self._books

    def _catch_up(self) -> None:
        size = self.journal.stat().st_size if self.journal.exists() else 0
        if size < self._books.offset:
            self._books = _Books()
        if size == self._books.offset:
            return
        with open(self.journal, "r+b") as file:
            file.seek(self._books.offset)
            data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):  # A writer died inside a line: that voucher was never acknowledged.
                file.truncate(self._books.offset + len(whole))
                os.fsync(file.fileno())
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                self._apply(self._books, json.loads(line))
            except (ValueError, KeyError) as error:
                raise Misconfigured(
                    f"{self.journal.name} is damaged {number} lines after byte {self._books.offset}"
                ) from error
        self._books.offset += len(whole)

    def _append(self, books: _Books, data: bytes) -> None:
        if not data:
            return
        new = not self.journal.exists()
        try:
            with open(self.journal, "ab") as file:
                try:
                    file.write(data)
                    file.flush()
                except OSError:
                    os.truncate(self.journal, books.offset)
                    raise
                try:
                    os.fsync(file.fileno())
                    if new:
                        self._sync_folder()
                except OSError as error:
                    raise Ambiguous(f"the journal may not be on disk: {error.strerror}") from error
        except (OSError, ConnectorError):
            self._books = _Books()  # What is on disk is read again before the next answer.
            raise
        books.offset += len(data)
        with open(self.table, "a", encoding="utf-8-sig", newline="") as table:
            csv.writer(table).writerows(row for line in data.splitlines() for row in _rows(json.loads(line)))

    def _rebuild_table(self) -> None:
        """The table is only a view: it is written anew when a process starts, so that a crash cannot leave it short."""
        fresh = self.table.with_suffix(f".{os.getpid()}.new")
        with open(fresh, "w", encoding="utf-8-sig", newline="") as table:
            writer = csv.writer(table)
            writer.writerow(COLUMNS)
            if self.journal.exists():
                with open(self.journal, "rb") as journal:
                    writer.writerows(row for line in journal for row in _rows(json.loads(line)))
        fresh.replace(self.table)

    def _sync_folder(self) -> None:
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _accounts(self) -> frozenset[str] | None:
        if self._accounts_file is None:
            return None
        return frozenset(line.strip() for line in self._accounts_file.read_text("utf-8").splitlines() if line.strip())


def _document(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document in its wire form; a journal may hold several kinds."""
    found: Mapping[str, Any] = record[next((target for target in TARGETS if target in record), "voucher")]
    return found


def _lines(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every voucher line of the document."""
    for item in document.get("items", ()):
        yield from item["entries"]
    for name in ("lines", "advances", "parties", "to_employee", "to_card", "to_supplier"):
        yield from document.get(name, ())


def _rows(record: Mapping[str, Any]) -> Iterator[list[str]]:
    document = _document(record)
    for line in _lines(document):
        dimensions = " ".join(f"{name}={code}" for name, code in line.get("dimensions", {}).items())
        yield [
            record["period"], record["number"], document["date"], record["reference"], _text(document["document"]["number"]),
            str(document["document"]["version"]), document["purpose"], line["side"], line["account"], line["amount"],
            document["currency"], _text(dimensions), line.get("role") or "", _text(line.get("memo") or ""),
        ]  # fmt: skip


def _text(value: str) -> str:
    """Foreign text for a spreadsheet: what would be a formula there is quoted."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise Misconfigured(f"options.closed_until must be a date like 2025-03-31, not {text!r}") from error
