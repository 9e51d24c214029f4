"""An OA for tests and the demo: realistic reports with changes, withdrawals, repeats and mistakes, and what must come of them."""

from __future__ import annotations

import fcntl
import json
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal

from connector.adapter import Change, Delivery, Features, Outcome, Page, Receipt, Status
from connector.errors import ConnectorError, Misconfigured
from connector.outcomes import outcome_of
from connector.settings import System
from contracts import parse_event
from contracts.findings import Finding, Refused

CENT = Decimal("0.01")
PEOPLE = (
    ("E001", "张三", "D01"), ("E002", "李四", "D01"), ("E003", "王芳", "D02"), ("E004", "赵敏", "D02"),
    ("E005", "陈伟", "D03"), ("E006", "刘洋", "D03"), ("E007", "黄丽", "D04"), ("E008", "周杰", "D04"),
)  # fmt: skip
CITIES = ("深圳", "上海", "北京", "成都", "杭州", "西安", "武汉", "厦门")
Broken = Literal["unknown category", "wrong total", "unknown type"]
BROKEN: tuple[Broken, ...] = ("unknown category", "wrong total", "unknown type")


@dataclass(frozen=True, slots=True)
class Sent:
    """One thing the OA says: the CloudEvents JSON of it."""

    number: str
    version: int
    event: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """Its bytes, the same each time."""
        return json.dumps(self.event, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Story:
    """What an OA sent, in the order it arrives, and what must stand in the end.

    `live`: document number -> total of the one voucher that must count. `withdrawn`: nothing of these may count.
    `broken`: these must end as dead letters, with what is wrong with each.
    """

    sent: tuple[Sent, ...]
    live: Mapping[str, Decimal]
    versions: Mapping[str, int]
    withdrawn: frozenset[str]
    broken: Mapping[str, Broken]

    @property
    def total(self) -> Decimal:
        """The sum of everything that must count."""
        return sum(self.live.values(), Decimal(0))

    def differences(self, live: Mapping[str, Sequence[Decimal]]) -> list[str]:
        """What is wrong with an ERP that holds these live totals by document number, in sentences; empty when all agree."""
        wrong = []
        for number, total in self.live.items():
            there = list(live.get(number, ()))
            if not there:
                wrong.append(f"{number} is lost: {total} must stand")
            elif len(there) > 1:
                wrong.append(f"{number} stands {len(there)} times")
            elif there[0] != total:
                wrong.append(f"{number} stands with {there[0]} instead of {total}")
        wrong += [f"{number} stands but must not" for number in live if live[number] and number not in self.live]
        return wrong


def tell_story(
    reports: int = 30,
    *,
    seed: int = 1,
    company: str = "C01",
    broken: int = 3,
    changed: float = 0.2,
    withdrawn: float = 0.1,
    repeated: float = 0.2,
    shuffled: bool = True,
    first_day: date = date(2026, 11, 2),
    people: Sequence[tuple[str, str, str]] = PEOPLE,
    adapter: str = "simulator",
    prefix: str = "EXP",
) -> Story:
    """Reports of one company and what becomes of them. The same arguments give the same story.

    `broken` of them are wrong, one kind after the other. Shares of the rest are changed (one to three later versions),
    withdrawn (in the end), and repeated (the same event twice). Every report is approved within 20 days of `first_day`.
    """
    dice = random.Random(seed)
    writer = _Writer(dice, company, adapter, first_day, people)
    sent: list[Sent] = []
    live: dict[str, Decimal] = {}
    versions: dict[str, int] = {}
    taken_back: set[str] = set()
    wrong: dict[str, Broken] = {}
    bad_places = set(dice.sample(range(reports), min(broken, reports)))
    for place in range(reports):
        number = f"{prefix}{first_day:%Y}-{place + 1:04d}"
        data = writer.report(number)
        if place in bad_places:
            wrong[number] = BROKEN[len(wrong) % len(BROKEN)]
            sent.append(writer.spoilt(data, wrong[number]))
            continue
        sent.append(writer.event("approved", data))
        if dice.random() < changed:
            for version in range(2, 2 + dice.randint(1, 3)):
                data = writer.changed(data, version)
                sent.append(writer.event("changed", data))
        if dice.random() < withdrawn:
            data = writer.withdrawal(data)
            sent.append(writer.event("withdrawn", data))
            taken_back.add(number)
        else:
            live[number] = Decimal(data["total"])
        versions[number] = data["version"]
    sent += [event for event in list(sent) if dice.random() < repeated]
    if shuffled:
        dice.shuffle(sent)
    return Story(tuple(sent), live, versions, frozenset(taken_back), wrong)


class _Writer:
    """Writes reports as people hand them in: hotels with special invoices, trains, taxis, meals, a company card, an advance."""

    def __init__(
        self, dice: random.Random, company: str, adapter: str, first_day: date, people: Sequence[tuple[str, str, str]]
    ) -> None:
        self._dice, self._company, self._adapter, self._first_day, self._people = (
            dice,
            company,
            adapter,
            first_day,
            people,
        )
        self._kinds: tuple[Callable[[], dict[str, Any]], ...] = (
            self._hotel, self._rail, self._taxi, self._meal, self._air, self._office, self._per_diem, self._abroad, self._phone,
        )  # fmt: skip

    def report(self, number: str) -> dict[str, Any]:
        person = self._dice.choice(self._people)
        city = self._dice.choice(CITIES)
        on = self._first_day + timedelta(days=self._dice.randint(0, 19))
        data: dict[str, Any] = {
            "company": self._company, "number": number, "version": 1,
            "employee": dict(zip(("id", "name", "department"), person, strict=True)),
            "currency": "CNY", "title": f"{city}出差", "submitted_on": (on - timedelta(days=2)).isoformat(),
            "approved_at": f"{on.isoformat()}T{self._dice.randint(9, 18):02d}:{self._dice.randint(0, 59):02d}:00+08:00",
            "lines": self._lines(on, self._dice.randint(1, 5)),
        }  # fmt: skip
        self._total(data)
        owed = sum(
            (Decimal(line["amount"]) for line in data["lines"] if line["paid_by"] == "employee" and "rate" not in line),
            Decimal(0),
        )
        if owed > 200 and self._dice.random() < 0.2:
            advance = (owed * Decimal("0.6")).quantize(CENT, ROUND_HALF_UP)
            data["advances"] = [{"number": f"ADV{number.removeprefix('EXP')}", "amount": str(advance)}]
        return data

    def changed(self, data: Mapping[str, Any], version: int) -> dict[str, Any]:
        on = datetime.fromisoformat(data["approved_at"])
        lines = [dict(line) for line in data["lines"]]
        lines.append({**self._taxi(), "line": len(lines) + 1, "date": data["submitted_on"]})
        after = {**data, "version": version, "lines": lines, "approved_at": (on + timedelta(hours=1)).isoformat()}
        self._total(after)
        return after

    def withdrawal(self, data: Mapping[str, Any]) -> dict[str, Any]:
        at = datetime.fromisoformat(data["approved_at"]) + timedelta(hours=2)
        return {
            "company": data["company"], "number": data["number"], "version": data["version"] + 1,
            "withdrawn_at": at.isoformat(), "reason": "行程取消",
        }  # fmt: skip

    def event(self, happening: str, data: Mapping[str, Any]) -> Sent:
        at = datetime.fromisoformat(data.get("approved_at") or data["withdrawn_at"]).astimezone(UTC)
        number, version = data["number"], data["version"]
        return Sent(number, version, {
            "specversion": "1.0", "id": f"{number}-v{version}-{self._dice.getrandbits(48):012x}",
            "source": f"/oa/{self._adapter}/{self._company}", "type": f"expense.report.{happening}.v1", "subject": number,
            "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "datacontenttype": "application/json", "sequence": str(version),
            "partitionkey": f"{self._company}/{number}", "data": dict(data),
        })  # fmt: skip

    def spoilt(self, data: dict[str, Any], how: Broken) -> Sent:
        if how == "unknown category":
            data["lines"][0]["category"] = "travel.balloon"
        elif how == "wrong total":
            data["total"] = str(Decimal(data["total"]) + Decimal("100.00"))
        sent = self.event("approved", data)
        if how == "unknown type":
            return Sent(sent.number, sent.version, {**sent.event, "type": "expense.report.approved.v9"})
        return sent

    def _total(self, data: dict[str, Any]) -> None:
        booked = [
            (Decimal(line["amount"]) * Decimal(line["rate"]["value"] if "rate" in line else 1)).quantize(
                CENT, ROUND_HALF_UP
            )
            for line in data["lines"]
        ]
        data["total"] = str(sum(booked, Decimal(0)))

    def _lines(self, on: date, count: int) -> list[dict[str, Any]]:
        lines = []
        for number in range(1, count + 1):
            day = on - timedelta(days=self._dice.randint(3, 8))
            line = {"line": number, "date": day.isoformat(), **self._dice.choice(self._kinds)()}
            if "invoice" in line:
                line["invoice"] = {"date": day.isoformat(), **line["invoice"]}
            if "rate" in line:
                line["rate"] = {**line["rate"], "date": day.isoformat()}
            if self._dice.random() < 0.1:
                line["allocations"] = [{"share": "0.6", "department": "D01"}, {"share": "0.4", "department": "D02"}]
            lines.append(line)
        return lines

    def _money(self, low: int, high: int) -> Decimal:
        return Decimal(self._dice.randint(low * 100, high * 100)).scaleb(-2)

    def _invoice_number(self) -> str:
        return "2544" + "".join(str(self._dice.randint(0, 9)) for _ in range(16))

    def _line(
        self, category: str, description: str, amount: Decimal, invoice: Mapping[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        line: dict[str, Any] = {
            "category": category, "description": description, "amount": str(amount), "currency": "CNY", "paid_by": "employee", **more,
        }  # fmt: skip
        if invoice is not None:
            line["invoice"] = {"number": self._invoice_number(), "total": str(amount), **invoice}
        return line

    def _hotel(self) -> dict[str, Any]:
        net = self._money(200, 1600)
        tax = (net * Decimal("0.06")).quantize(CENT, ROUND_HALF_UP)
        invoice = {
            "kind": "vat_special",
            "seller": "如家酒店",
            "net": str(net),
            "tax": str(tax),
            "tax_rate": "0.06",
            "certified": True,
        }
        paid_by = self._dice.choice(("employee", "employee", "company_card"))
        return self._line("travel.hotel", f"{self._dice.choice(CITIES)} 2 晚", net + tax, invoice, paid_by=paid_by)

    def _rail(self) -> dict[str, Any]:
        return self._line("travel.rail", "高铁二等座", self._money(80, 900), {"kind": "rail"})

    def _taxi(self) -> dict[str, Any]:
        return self._line("travel.taxi", "打车", self._money(12, 150))

    def _meal(self) -> dict[str, Any]:
        return self._line(
            "entertainment.meal", "客户晚餐", self._money(100, 900), {"kind": "vat_ordinary", "seller": "海底捞"}
        )

    def _air(self) -> dict[str, Any]:
        fare, fuel, airport = self._money(400, 2400), self._money(20, 100), Decimal("50.00")
        invoice = {"kind": "air", "fare": str(fare), "fuel": str(fuel), "airport_fee": str(airport)}
        return self._line("travel.air", "经济舱", fare + fuel + airport, invoice)

    def _office(self) -> dict[str, Any]:
        return self._line(
            "office.supplies", "打印纸", self._money(20, 400), {"kind": "vat_ordinary", "seller": "得力文具"}
        )

    def _per_diem(self) -> dict[str, Any]:
        return self._line("travel.per_diem", "出差补助", Decimal(self._dice.randint(1, 5) * 100).quantize(CENT))

    def _phone(self) -> dict[str, Any]:
        return self._line(
            "communication.phone", "话费", self._money(30, 200), {"kind": "vat_ordinary", "seller": "中国移动"}
        )

    def _abroad(self) -> dict[str, Any]:
        line = self._line("travel.hotel", "Singapore 1 night", self._money(80, 260), currency="USD")
        return {
            **line,
            "rate": {"value": "7.1234", "source": "PBOC"},
            "invoice": {"kind": "foreign", "number": f"INV-{self._dice.randint(1000, 9999)}"},
        }


@dataclass(slots=True)
class _Store:
    offered: list[bytes] = field(default_factory=list)
    statuses: dict[str, Status] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)


class SimulatorOa:
    """An OA with nothing behind it: `offer` what it should say, read what was written back from `statuses`.

    Adapters with the same option `name` are one OA within a process; with option `path`, a folder, across processes.
    `strict: yes` refuses a status for a report it never offered.
    """

    name = "simulator"
    features = Features(poll=True, deliver=True, batch=100, unique_reference=True, settle_s=1, reference_max=200)
    _stores: ClassVar[dict[str, _Store]] = {}

    def __init__(self, system: System) -> None:
        self.company = system.company
        self._strict = system.options.get("strict", "no") == "yes"
        self._page = int(system.options.get("page", "200"))
        path = system.options.get("path")
        self._folder = Path(path) if path else None
        self._store = self._stores.setdefault(system.options.get("name", system.company), _Store())

    def offer(self, *bodies: bytes) -> None:
        """The OA says these next, in this order."""
        with self._store.lock:
            if self._folder is None:
                self._store.offered += bodies
            else:
                self._append("offered.jsonl", [body.decode() for body in bodies])

    def statuses(self, number: str | None = None) -> list[Status]:
        """What was written back, oldest first: once for each reference, whatever was repeated."""
        with self._store.lock:
            found = self._store.statuses if self._folder is None else self._read_statuses()
            return [status for status in found.values() if number in (None, status.number)]

    def receive(self, headers: Mapping[str, str], body: bytes) -> Sequence[Change]:
        """Takes a pushed event as it is; there is nothing to authenticate in a simulator."""
        return [Change(parse_event(body), body)]

    def poll(self, cursor: str | None) -> Page:
        """What was offered since; the cursor counts. Broken events are the doors' matter: a poll of them is refused."""
        try:
            start = int(cursor or 0)
        except ValueError as error:
            raise Misconfigured(f"this is not a cursor of ours: {cursor!r}") from error
        offered = self._offered()
        bodies = offered[start : start + self._page]
        changes = [Change(parse_event(body), body) for body in bodies]
        end = start + len(bodies)
        return Page(changes, str(end), more=end < len(offered))

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Receipt | Outcome]:
        """Stores each status once."""
        with self._store.lock:
            known = {json.loads(body)["subject"] for body in self._offered()} if self._strict else None
            return [self._take(delivery, known) for delivery in batch]

    def find(self, reference: str) -> Receipt | None:
        """The status with this reference."""
        with self._store.lock:
            found = self._store.statuses if self._folder is None else self._read_statuses()
            return Receipt(reference, reference, None, "posted") if reference in found else None

    def reverse(self, delivery: Delivery) -> Receipt | Outcome:
        """A status is never taken back: a later one says what is true now."""
        return Outcome("permanent", "OA-401", "an OA's status is followed by another one, not reversed")

    def classify(self, error: BaseException) -> Outcome:
        """Our own errors by their class."""
        if isinstance(error, ConnectorError):
            return outcome_of(error)
        return Outcome("ambiguous", "OA-502", f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Nothing to give back."""

    def _take(self, delivery: Delivery, known: set[str] | None) -> Receipt | Outcome:
        status = delivery.payload
        if not isinstance(status, Status):
            return Outcome("permanent", "OA-401", "an OA takes statuses, not vouchers")
        if known is not None and status.number not in known:
            return Outcome(
                "permanent", "OA-402", f"the OA has no report {status.number}", field=f"report:{status.number}"
            )
        if self._folder is None:
            self._store.statuses.setdefault(delivery.reference, status)
        elif delivery.reference not in self._read_statuses():
            values = {name: getattr(status, name) for name in Status.__dataclass_fields__}
            line = {"reference": delivery.reference, **values, "on": status.on.isoformat() if status.on else None}
            self._append("statuses.jsonl", [json.dumps(line, ensure_ascii=False)])
        return Receipt(delivery.reference, delivery.reference, None, "posted")

    def _offered(self) -> list[bytes]:
        if self._folder is None:
            return list(self._store.offered)
        return self._lines("offered.jsonl")

    def _read_statuses(self) -> dict[str, Status]:
        found: dict[str, Status] = {}
        for line in self._lines("statuses.jsonl"):
            values = json.loads(line)
            on = date.fromisoformat(values["on"]) if values["on"] else None
            found.setdefault(values.pop("reference"), Status(**{**values, "on": on}))
        return found

    def _lines(self, name: str) -> list[bytes]:
        assert self._folder is not None
        path = self._folder / name
        data = path.read_bytes() if path.exists() else b""
        return data[: data.rfind(b"\n") + 1].splitlines()

    def _append(self, name: str, lines: Sequence[str]) -> None:
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / name, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write("".join(f"{line}\n" for line in lines).encode())


def refusal_of(body: bytes) -> tuple[Finding, ...]:
    """What is wrong with an event, as the doors would answer; empty for a good one."""
    try:
        parse_event(body)
    except Refused as refused:
        return refused.findings
    return ()
