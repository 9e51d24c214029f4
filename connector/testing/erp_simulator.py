"""An ERP that misbehaves on purpose: HTTP on loopback, a seeded or scripted plan of faults, and a journal tests can trust."""

from __future__ import annotations

import json
import random
import secrets
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

from connector.adapter import RedLetter, Target
from contracts.amount import decimal_text, quantum
from contracts.bill import ErpDocument, as_voucher, parse_expense_document, parse_payable_bill, to_json, total_of
from contracts.findings import Refused
from contracts.voucher import Voucher, parse_voucher

Fault = Literal[
    "drop_after_commit",  # does the work, then closes the connection without an answer
    "drop_before_commit",  # closes the connection and does nothing
    "drop_then_commit",  # closes the connection and does the work a moment later
    "error_500",  # nothing done
    "error_503",  # nothing done
    "limit_429",  # nothing done, Retry-After
    "slow",  # does the work and answers after `slow_s`
    "html",  # 200 with a login page, nothing done
    "empty",  # 200 with no body, nothing done
    "error_200",  # 200 with an error inside, nothing done
    "expire",  # the session has ended, nothing done
    "swap",  # does the work and answers for another document
    "drip",  # does the work and sends its answer one byte at a time, `slow_s` apart
]


PARSERS: Mapping[Target, Callable[[bytes], ErpDocument]] = {
    "voucher": parse_voucher,
    "payable_bill": parse_payable_bill,
    "expense_document": parse_expense_document,
}


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Shares of calls (0 to 1) that meet a fault. The same seed, documents and attempts meet the same faults."""

    shares: Mapping[Fault, float] = field(default_factory=dict)
    seed: int = 0

    def pick(self, key: str) -> Fault | None:
        """The fault this call meets, or none."""
        place = random.Random(f"{self.seed}|{key}").random()
        for fault, share in sorted(self.shares.items()):
            place -= share
            if place < 0:
                return fault
        return None


@dataclass(slots=True)
class Entry:
    """One document in the simulator's journal, and the voucher it stands for."""

    id: int
    number: str
    document: ErpDocument
    voucher: Voucher
    state: Literal["posted", "cancelled"] = "posted"
    cancels: int | None = None
    cancelled_by: str | None = None


class ErpSimulator:
    """Start it with `with ErpSimulator(...) as erp:`; the adapter `simulator` speaks to `erp.url`.

    The journal is the oracle: `live`, `duplicates`, `total`, `trial_balance` read what was really booked.
    `unique_reference` refuses a second voucher with a reference; without it the simulator books both, as most ERPs do.
    `atomic_batch` refuses a whole list for one bad voucher. It takes documents of its `target` and reversals of its
    `red_letter` form, no others, and a reversal only where it takes back what it names to the cent.
    """

    user, password = "connector", "simulator-pw"

    def __init__(
        self,
        plan: FaultPlan | None = None,
        *,
        unique_reference: bool = False,
        atomic_batch: bool = False,
        target: Target = "voucher",
        red_letter: RedLetter = "negative",
        accounts: Iterable[str] | None = None,
        closed_periods: Iterable[str] = (),
        slow_s: float = 1.0,
        retry_after_s: int = 1,
        journal: Path | None = None,
    ) -> None:
        self.plan = plan or FaultPlan()
        self.unique_reference, self.atomic_batch = unique_reference, atomic_batch
        self.target, self.red_letter = target, red_letter
        self.accounts = None if accounts is None else set(accounts)
        self.closed_periods = set(closed_periods)
        self.slow_s, self.retry_after_s = slow_s, retry_after_s
        self.entries: list[Entry] = []
        self.met: Counter[str] = Counter()  # How often each fault was met; `calls` counts requests, `logins` sessions.
        self._journal = journal
        self._script: deque[Fault | None] = deque()
        self._tries: Counter[str] = Counter()
        self._tokens: set[str] = set()
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._late: list[threading.Thread] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.simulator = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="erp-simulator", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def script(self, *faults: Fault | None) -> None:
        """The next writing calls meet these, in order; None is a call without fault. Comes before the plan."""
        self._script.extend(faults)

    def live(self, reference: str | None = None) -> list[Entry]:
        """Vouchers that count: posted, and neither reversed nor a reversal."""
        with self._lock:
            return [
                entry
                for entry in self.entries
                if entry.state == "posted" and entry.cancels is None and reference in (None, entry.voucher.reference)
            ]

    def duplicates(self) -> dict[str, int]:
        """References that count more than once, with how often. Must be empty."""
        counted = Counter(entry.voucher.reference for entry in self.live())
        return {reference: count for reference, count in counted.items() if count > 1}

    def total(self, currency: str = "CNY") -> Decimal:
        """The sum of the live vouchers."""
        return sum((e.voucher.total_debit for e in self.live() if e.voucher.currency == currency), Decimal(0))

    def trial_balance(self) -> dict[tuple[str, str], Decimal]:
        """Debits less credits by (account, currency) over everything booked, reversals too."""
        with self._lock:
            return _balance(entry.voucher for entry in self.entries)

    def settled(self) -> None:
        """Returns when nothing it was told is still on its way into the journal."""
        for thread in list(self._late):
            thread.join()

    def close(self) -> None:
        """Stops listening; what was slow ends at once."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.settled()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def next_fault(self, key: str) -> Fault | None:
        """The fault of the next writing call about `key`."""
        with self._lock:
            self._tries[key] += 1
            fault = self._script.popleft() if self._script else self.plan.pick(f"{key}|{self._tries[key]}")
            if fault:
                self.met[fault] += 1
            return fault

    def login(self, user: str, password: str) -> str | None:
        """A new session, or none for wrong credentials."""
        with self._lock:
            self.met["logins"] += 1
            if (user, password) != (self.user, self.password):
                return None
            token = secrets.token_hex(16)
            self._tokens.add(token)
            return token

    def knows(self, token: str) -> bool:
        """Whether the session is open."""
        with self._lock:
            self.met["calls"] += 1
            return token in self._tokens

    def expire(self) -> None:
        """Ends all sessions."""
        with self._lock:
            self._tokens.clear()

    def post(self, bodies: list[Any]) -> list[dict[str, Any]]:
        """Books what is right; the answers stand in the order of the documents."""
        with self._lock:
            checked = [self._check(body) for body in bodies]
            if self.atomic_batch and any(isinstance(item, dict) for item in checked):
                stop = _error("BATCH_REFUSED", "another voucher of the list is wrong")
                return [item if isinstance(item, dict) else stop for item in checked]
            return [item if isinstance(item, dict) else self._book(item) for item in checked]

    def find(self, reference: str) -> list[dict[str, Any]]:
        """What carries this reference."""
        with self._lock:
            return [self._answer(entry) for entry in self.entries if entry.voucher.reference == reference]

    def later(self, work: Any) -> None:
        """Does work after `slow_s`, without anybody waiting for it."""

        def run() -> None:
            self._stopping.wait(self.slow_s)
            work()

        thread = threading.Thread(target=run, daemon=True)
        self._late.append(thread)
        thread.start()

    def pause(self) -> None:
        """Waits `slow_s`, or until it is closed."""
        self._stopping.wait(self.slow_s)

    def _check(self, body: Any) -> ErpDocument | dict[str, Any]:
        try:
            document = PARSERS[self.target](json.dumps(body).encode())
        except Refused as refused:
            return _error("INVALID", str(refused.findings[0]))
        voucher = as_voucher(document)
        there = next((e for e in self.entries if e.voucher.reference == voucher.reference), None)
        if there is not None and self.unique_reference:
            return _error("DUPLICATE_REFERENCE", f"{voucher.reference} exists", id=str(there.id))
        if f"{voucher.date:%Y-%m}" in self.closed_periods:
            return _error("CLOSED_PERIOD", f"the period of {voucher.date} is closed", field=f"period:{voucher.date}")
        for line in voucher.lines:
            if self.accounts is not None and line.account not in self.accounts:
                return _error("UNKNOWN_ACCOUNT", f"no account {line.account}", field=f"account:{line.account}")
        if voucher.reverses is not None:
            originals = [e for e in self.entries if e.voucher.reference == voucher.reverses and e.cancels is None]
            if not originals:
                return _error("NOT_FOUND", f"no voucher {voucher.reverses} to reverse")
            if all(e.state == "cancelled" for e in originals):
                return _error("ALREADY_REVERSED", f"{voucher.reverses} is reversed already", id=str(originals[0].id))
            if (voucher.lines[0].amount < 0) is not (self.red_letter == "negative"):
                return _error("INVALID", f"a reversal here has {self.red_letter} amounts")
            if any(_balance([originals[0].voucher, voucher]).values()):
                return _error("INVALID", f"{voucher.reference} does not take back what {voucher.reverses} booked")
        return document

    def _book(self, document: ErpDocument) -> dict[str, Any]:
        voucher = as_voucher(document)
        # A list may name one reference twice; the first booking decides about the second.
        if self.unique_reference and any(e.voucher.reference == voucher.reference for e in self.entries):
            return _error("DUPLICATE_REFERENCE", f"{voucher.reference} exists")
        entry = Entry(len(self.entries) + 1, f"S-{len(self.entries) + 1:06d}", document, voucher)
        if voucher.reverses is not None:
            original = next(e for e in self.entries if e.voucher.reference == voucher.reverses and e.state == "posted")
            original.state, original.cancelled_by, entry.cancels = "cancelled", entry.number, original.id
        self.entries.append(entry)
        if self._journal is not None:
            with open(self._journal, "ab") as file:
                file.write(to_json(document) + b"\n")
        return self._answer(entry)

    def _answer(self, entry: Entry) -> dict[str, Any]:
        voucher, total = entry.voucher, total_of(entry.document)
        return {
            "reference": voucher.reference, "id": str(entry.id), "number": entry.number, "state": entry.state,
            "date": voucher.date.isoformat(), "total": decimal_text(total, quantum(voucher.currency)),
            "currency": voucher.currency, "lines": [[line.account, line.side, str(line.amount)] for line in voucher.lines],
            "reversed_by": entry.cancelled_by,
        }  # fmt: skip


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    simulator: ErpSimulator

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def simulator(self) -> ErpSimulator:
        server = self.server
        assert isinstance(server, _Server)
        return server.simulator

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        if not self._authorised():
            return
        reference = parse_qs(urlsplit(self.path).query).get("reference", [""])[0]
        self._send(200, {"documents": self.simulator.find(reference)})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/session":
            token = self.simulator.login(body["user"], body["password"])
            self._send(200 if token else 401, {"token": token} if token else {"error": {"code": "DENIED"}})
        elif self._authorised():
            self._write(body["documents"])

    def _authorised(self) -> bool:
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        if self.simulator.knows(token):
            return True
        self._send(401, {"error": {"code": "SESSION", "message": "log in"}})
        return False

    def _write(self, documents: list[Any]) -> None:
        erp = self.simulator
        fault = erp.next_fault("+".join(str(document.get("reference")) for document in documents))
        match fault:
            case "drop_before_commit":
                self.close_connection = True
            case "drop_then_commit":
                self.close_connection = True
                erp.later(lambda: erp.post(documents))
            case "error_500":
                self._send(500, {"error": {"code": "INTERNAL", "message": "something went wrong"}})
            case "error_503":
                self._send(503, {"error": {"code": "BUSY", "message": "try later"}})
            case "limit_429":
                self._send(
                    429, {"error": {"code": "LIMIT", "message": "too many calls"}}, retry_after_s=erp.retry_after_s
                )
            case "html":
                self._raw(200, b"<html><body><form action='/login'>Please log in</form></body></html>", "text/html")
            case "empty":
                self._raw(200, b"", "application/json")
            case "error_200":
                self._send(200, {"error": {"code": "BUSY", "message": "the database is being backed up"}})
            case "expire":
                erp.expire()
                self._send(401, {"error": {"code": "SESSION", "message": "log in"}})
            case _:
                if fault == "slow":
                    erp.pause()
                results = erp.post(documents)
                if fault == "drop_after_commit":
                    self.close_connection = True
                elif fault == "swap":
                    self._send(
                        200,
                        {"results": [{**r, "reference": "C01-SOMEONE-ELSE-V1"} if "id" in r else r for r in results]},
                    )
                else:
                    self._send(200, {"results": results}, drip=fault == "drip")

    def _send(
        self, status: int, body: Mapping[str, Any], *, retry_after_s: int | None = None, drip: bool = False
    ) -> None:
        self._raw(status, json.dumps(body).encode(), "application/json", retry_after_s, drip)

    def _raw(self, status: int, body: bytes, kind: str, retry_after_s: int | None = None, drip: bool = False) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if retry_after_s is not None:
            self.send_header("retry-after", str(retry_after_s))
        self.end_headers()
        if not drip:
            self.wfile.write(body)
            return
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.simulator.pause()


def _balance(vouchers: Iterable[Voucher]) -> dict[tuple[str, str], Decimal]:
    """Debits less credits by (account, currency)."""
    balance: dict[tuple[str, str], Decimal] = {}
    for voucher in vouchers:
        for line in voucher.lines:
            key = (line.account, voucher.currency)
            amount = line.amount if line.side == "debit" else -line.amount
            balance[key] = balance.get(key, Decimal(0)) + amount
    return balance


def _error(code: str, message: str, **more: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}
