"""Waiting by key: when a missing row, record, period or advance arrives, what waits for it moves by itself, one document
first and the others once that one stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import structlog
from sqlalchemy import Row
from sqlalchemy.engine import Connection

from connector.facts import BalanceKey, RecordKey, period_of
from connector.ledger import Ledger, balances, deadletters, periods, records, waiting
from connector.ledger.deadletters import NotOpen
from connector.ledger.waiting import Arrived, Key
from connector.preflight import next_open_day
from connector.translate import Book
from connector.translate.tables import AccountRow, CompanyRow, DimensionRow, RoleRow, TaxRow

log = structlog.get_logger(__name__)

ACTOR = "connector"
EVIDENCE_MAX = 64  # Characters; the fingerprint of a book is as long.
IN_BOOK = ("account", "role", "tax", "company", "dimension", "rule", "chart", "rounding")
RECORD_KINDS = ("department", "employee", "project", "cost_centre", "supplier")


@dataclass(slots=True)
class ReleaseResult:
    """What a round did: canaries sent, other letters let go, releases that came to an end, and ones that stopped."""

    canaries: int = 0
    released: int = 0
    done: int = 0
    stopped: int = 0

    @property
    def moved(self) -> bool:
        """Whether anything travels."""
        return bool(self.canaries or self.released)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Lets go what waited. One round at a time: the schedule's slot is taken by one worker."""

    ledger: Ledger
    book: Callable[[], Book]
    batch: int  # letters let go in one round, all keys together

    def release_due(self) -> ReleaseResult:
        """One round: look at the canaries, let the next letters of proven keys go, send canaries for keys that arrived."""
        result = ReleaseResult()
        left = self.batch
        with self.ledger.begin() as tx:
            arrived = look(tx, self.book())
            running = {Key(release.company, release.key): release for release in waiting.running(tx)}
        for key, release in running.items():
            left -= self._go_on(key, release, arrived, left, result)
        with self.ledger.begin() as tx:
            still_running = {(release.company, release.key) for release in waiting.running(tx)}
            ready = waiting.first_free(tx, arrived)
        for key, letter_id in ready.items():
            if left > 0 and key not in still_running:
                left -= self._send_canary(key, letter_id, arrived.evidence[key], result)
        return result

    def retry(self, company: str, name: str) -> bool:
        """A person has a stopped key tried again, whatever stopped it. False where nothing waits for it."""
        key = Key(company, name)
        with self.ledger.begin() as tx:
            arrived = look(tx, self.book())
            found = arrived.evidence.get(key, "tried by a person")
            as_if_there = Arrived({**arrived.evidence, key: found}, arrived.short)
            letter_id = waiting.first_free(tx, as_if_there).get(key) or waiting.first(tx, key)
            return letter_id is not None and self._begin(tx, key, letter_id, found)

    def _go_on(self, key: Key, release: Row[Any], arrived: Arrived, left: int, result: ReleaseResult) -> int:
        if release.state == "canary" and not self._is_proven(release, result):
            return 0
        with self.ledger.begin() as tx:
            found = waiting.free(tx, key, arrived, release.reached, left + 1)
        went = sum(self._let_go(letter_id, key) for letter_id in found[:left])
        with self.ledger.begin() as tx:
            if len(found) > left:
                waiting.move(tx, release.id, "flowing", released=went, reached=max(found[:left], default=0))
            else:
                note = "what is left still lacks something" if waiting.count(tx, key) else None
                waiting.move(tx, release.id, "done", released=went, note=note)
                result.done += 1
        result.released += went
        return went

    def _is_proven(self, release: Row[Any], result: ReleaseResult) -> bool:
        """Whether the canary stands in the ERP, so that the others may follow."""
        with self.ledger.begin() as tx:
            fate, said = waiting.fate(tx, release.canary)
            match fate:
                case "through":
                    waiting.move(tx, release.id, "flowing", note=f"the canary stands as {said}")
                case "back":
                    waiting.move(tx, release.id, "stopped", note=said)
                    result.stopped += 1
                case "overtaken":  # It says nothing about the key: another one goes.
                    waiting.move(tx, release.id, "done", note=said)
                    result.done += 1
        return fate == "through"

    def _send_canary(self, key: Key, letter_id: int, found: str, result: ReleaseResult) -> int:
        with self.ledger.begin() as tx:
            before = waiting.latest(tx, key)
            if before is not None and before.state == "stopped" and before.evidence == found:
                return 0
            begun = self._begin(tx, key, letter_id, found)
        if begun:
            log.info("a key arrived; its canary travels", company=key.company, key=key.name, letter=letter_id)
        result.canaries += begun
        return int(begun)

    def _begin(self, tx: Connection, key: Key, canary: int, found: str) -> bool:
        count = waiting.count(tx, key)
        try:
            deadletters.replay(tx, canary, actor=ACTOR, reason=f"{key.name} arrived; the canary")
        except NotOpen:
            return False
        waiting.begin(tx, key, canary, count, found)
        return True

    def _let_go(self, letter_id: int, key: Key) -> bool:
        with self.ledger.begin() as tx:
            try:
                deadletters.replay(tx, letter_id, actor=ACTOR, reason=f"{key.name} arrived")
            except NotOpen:
                return False
        return True


def look(tx: Connection, book: Book) -> Arrived:
    """What arrived of all that open letters wait for."""
    evidence: dict[Key, str] = {}
    for page in waiting.keys(tx):
        evidence |= there(tx, book, page)
    return Arrived(evidence, _short(tx) if any(key.name.startswith("budget:") for key in evidence) else ())


def _short(tx: Connection) -> Collection[int]:
    """Letters that wait for a budget with less left than they lack."""
    wanting = waiting.on_budgets(tx)
    known = balances.find_all(tx, {_balance(key) for _, key, _ in wanting})
    left = {key: balance.open for key, balance in known.items() if "deleted" not in balance.detail}
    return {id_ for id_, key, amount in wanting if left.get(_balance(key), amount) < amount}


def there(tx: Connection, book: Book, keys: Collection[Key]) -> Mapping[Key, str]:
    """Of these keys, the ones that arrived, in the book or in the ledger, each with a short text that changes when what
    is there does."""
    by_kind: dict[str, list[Key]] = defaultdict(list)
    for key in keys:
        by_kind[key.name.partition(":")[0]].append(key)
    found: dict[Key, str] = {}
    for kind, of_kind in by_kind.items():
        if kind in IN_BOOK:
            found |= {key: book.fingerprint for key in of_kind if _in_book(book, key)}
        elif kind == "period":
            found |= _open_periods(tx, of_kind)
        elif kind == "open_from":
            found |= _next_open(tx, of_kind)
        elif kind in ("advance", "budget"):
            found |= _open_balances(tx, of_kind)
        elif kind == "account_code" or kind in RECORD_KINDS:
            found |= _active_records(tx, of_kind)
        elif kind == "valid":
            found |= _valid_records(tx, book, of_kind)
    return found


def _open_periods(tx: Connection, keys: Sequence[Key]) -> Mapping[Key, str]:
    kept = periods.of_all(tx, {key.company for key in keys})
    of_day = {key: period_of(kept[key.company], date.fromisoformat(_name(key))) for key in keys}
    return {
        key: f"{period.period} {period.state}"[:EVIDENCE_MAX]
        for key, period in of_day.items()
        if period is not None and period.state == "open"
    }


def _next_open(tx: Connection, keys: Sequence[Key]) -> Mapping[Key, str]:
    kept = periods.of_all(tx, {key.company for key in keys})
    # What waits was approved on that day at the latest, so a closing period takes it as one that is open does.
    days = {key: date.fromisoformat(_name(key)) for key in keys}
    found = {key: next_open_day(kept[key.company], day, day) for key, day in days.items()}
    return {key: str(day) for key, day in found.items() if day is not None}


def _open_balances(tx: Connection, keys: Sequence[Key]) -> Mapping[Key, str]:
    kept = balances.find_all(tx, {_balance(key) for key in keys})
    of_key = {key: kept[_balance(key)] for key in keys if _balance(key) in kept}
    return {
        key: f"{balance.available:f} {balance.used:f}{' deleted' if 'deleted' in balance.detail else ''}"[:EVIDENCE_MAX]
        for key, balance in of_key.items()
        # Of a budget, how much is enough is told letter by letter: less than nothing where one reserved a part itself.
        if balance.key.kind == "budget" or (balance.open > 0 and "paid" in balance.detail)
    }


def _balance(key: Key) -> BalanceKey:
    return BalanceKey("advance" if key.name.startswith("advance:") else "budget", key.company, _name(key))


def _active_records(tx: Connection, keys: Sequence[Key]) -> Mapping[Key, str]:
    of_key = {key: RecordKey(key.company, _record_kind(key), _name(key)) for key in keys}
    known = records.known(tx, set(of_key.values()))
    kept = {key: known[record] for key, record in of_key.items() if record in known}
    return {key: f"{record.valid_from} {record.valid_to}" for key, record in kept.items() if record.active}


def _valid_records(tx: Connection, book: Book, keys: Sequence[Key]) -> Mapping[Key, str]:
    """Records that count on the day. An account may be mapped to another one instead: its key is always there, and tried
    again when the book changes."""
    asked = {key: _name(key).split("/", 2) for key in keys}
    of_key = {key: RecordKey(key.company, kind, id_) for key, (_, kind, id_) in asked.items()}
    known = records.known(tx, set(of_key.values()))
    found: dict[Key, str] = {}
    for key, (day, kind, _) in asked.items():
        record = known.get(of_key[key])
        counts = record is not None and record.counts_on(date.fromisoformat(day))
        if kind == "account":
            found[key] = f"{counts} {book.fingerprint}"[:EVIDENCE_MAX]
        elif record is not None and counts:
            found[key] = f"{record.valid_from} {record.valid_to}"
    return found


def _record_kind(key: Key) -> str:
    kind = key.name.partition(":")[0]
    return "account" if kind == "account_code" else kind


def _name(key: Key) -> str:
    return key.name.partition(":")[2]


def _in_book(book: Book, key: Key) -> bool:
    kind, _, name = key.name.partition(":")
    company = key.company
    if kind == "company":
        return bool(book.rows_for(CompanyRow, name))
    first, _, second = name.partition("/")
    match kind:
        case "account":
            return any(book.rows_for(AccountRow, *cut, company) for cut in _cuts(name))
        case "role":
            return bool(book.rows_for(RoleRow, first, second))
        case "tax":
            return bool(book.rows_for(TaxRow, second, first, company))
        case "dimension":
            return bool(book.rows_for(DimensionRow, first, second, company))
        case "chart":
            return _carries(book, *name.split("/"))
        case "rounding":
            view = book.view(company, date.fromisoformat(first))
            tolerance = None if view is None else view.tolerance(date.fromisoformat(first))
            return tolerance is None or Decimal(second) <= tolerance.rounding_max
        case _:
            return True  # whether a changed rule fits now, only translating tells: the canary does


def _carries(book: Book, account: str, dimension: str, wanted: str) -> bool:
    """Whether the chart has the account carry the dimension, or require it no more."""
    carried = dict(book.chart[account].dimensions) if account in book.chart else {}
    return dimension in carried if wanted == "carried" else not carried.get(dimension)


def _cuts(name: str) -> Sequence[tuple[str, str]]:
    """Every category and department that it may name: both may have a slash in them."""
    parts = name.split("/")
    return [("/".join(parts[:at]), "/".join(parts[at:])) for at in range(1, len(parts))]
