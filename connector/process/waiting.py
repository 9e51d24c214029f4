"""Waiting by key: when a missing row, record, period or advance arrives, what waits for it moves by itself, one document
first and the others once that one stands."""

from __future__ import annotations

from collections.abc import Callable
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
from connector.translate import Book
from connector.translate.tables import AccountRow, CompanyRow, DimensionRow, RoleRow, TaxRow

log = structlog.get_logger(__name__)

ACTOR = "connector"
CANDIDATES_MAX = 20  # Letters looked at for a canary; one that waits for another key, too, is none.
LETTERS_MAX = 1_000_000
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
            running = waiting.running(tx)
        for release in running:
            left -= self._go_on(release, left, result)
        busy = {(release.company, release.key) for release in running}
        with self.ledger.begin() as tx:
            wanted = [key for key in waiting.keys(tx) if key[:2] not in busy]
        for company, key, count in wanted:
            if left <= 0:
                break
            left -= self._send_canary(company, key, count, result)
        return result

    def retry(self, company: str, key: str) -> bool:
        """A person has a stopped key tried again, whatever stopped it. False where nothing waits for it."""
        result = ReleaseResult()
        with self.ledger.begin() as tx:
            found = waiting.letters(tx, company, key, 1)
            if not found:
                return False
            count = len(waiting.letters(tx, company, key, LETTERS_MAX))
            there = evidence(tx, self.book(), company, key) or "tried by a person"
            return self._begin(tx, company, key, count, found[0].id, there, result)

    def _go_on(self, release: Row[Any], left: int, result: ReleaseResult) -> int:
        company, key = release.company, release.key
        with self.ledger.begin() as tx:
            if release.state == "canary":
                fate, said = waiting.fate(tx, release.canary)
                if fate == "on_its_way":
                    return 0
                if fate == "back":
                    waiting.move(tx, release.id, "stopped", note=said)
                    result.stopped += 1
                    return 0
                waiting.move(tx, release.id, "flowing", note=f"the canary stands as {said}")
            next_ones = waiting.letters(tx, company, key, max(left, 0))
        went = sum(self._let_go(company, letter, key) for letter in next_ones)
        with self.ledger.begin() as tx:
            rest = waiting.letters(tx, company, key, 1)
            note = release.note if release.state == "flowing" else None
            if rest and not went and left > 0:
                waiting.move(tx, release.id, "stopped", note="what is left waits for something else, too")
                result.stopped += 1
            elif rest:
                waiting.move(tx, release.id, "flowing", released=went, note=note)
            else:
                waiting.move(tx, release.id, "done", released=went, note=note)
                result.done += 1
        result.released += went
        return went

    def _send_canary(self, company: str, key: str, count: int, result: ReleaseResult) -> int:
        with self.ledger.begin() as tx:
            found = evidence(tx, self.book(), company, key)
            before = waiting.latest(tx, company, key)
            if found is None or (before is not None and before.state == "stopped" and before.evidence == found):
                return 0
            for letter in waiting.letters(tx, company, key, CANDIDATES_MAX):
                if self._all_arrived(tx, company, letter):
                    begun = self._begin(tx, company, key, count, letter.id, found, result)
                    if begun:
                        log.info("a key arrived; its canary travels", company=company, key=key, waiting=count)
                    return int(begun)
        return 0

    def _begin(
        self, tx: Connection, company: str, key: str, count: int, canary: int, found: str, result: ReleaseResult
    ) -> bool:
        try:
            deadletters.replay(tx, canary, actor=ACTOR, reason=f"{key} arrived; the canary")
        except NotOpen:
            return False
        waiting.begin(tx, company, key, canary, count, found)
        result.canaries += 1
        return True

    def _let_go(self, company: str, letter: Row[Any], key: str) -> int:
        with self.ledger.begin() as tx:
            if not self._all_arrived(tx, company, letter):
                return 0
            try:
                deadletters.replay(tx, letter.id, actor=ACTOR, reason=f"{key} arrived")
            except NotOpen:
                return 0
        return 1

    def _all_arrived(self, tx: Connection, company: str, letter: Row[Any]) -> bool:
        keys, book = waiting.keys_of(tx, letter.id), self.book()
        return all(_serves(tx, book, company, key, letter) for key in keys)


def _serves(tx: Connection, book: Book, company: str, key: str, letter: Row[Any]) -> bool:
    """Whether what a key names is there, and enough of it for this letter."""
    if evidence(tx, book, company, key) is None:
        return False
    kind, _, name = key.partition(":")
    if kind != "budget" or not letter.amount:
        return True
    balance = balances.find(tx, BalanceKey("budget", company, name))
    return balance is not None and balance.open >= Decimal(letter.amount)


def evidence(tx: Connection, book: Book, company: str, key: str) -> str | None:
    """What is there of a key now, in the book or in the ledger, as a short text that changes when that does; None where
    it has not arrived."""
    kind, _, name = key.partition(":")
    if kind in ("account", "role", "tax", "company", "dimension", "rule"):
        return book.fingerprint if _in_book(book, company, kind, name) else None
    if kind == "period":
        period = period_of(periods.of(tx, company), date.fromisoformat(name))
        return f"{period.period} {period.state}" if period is not None and period.state == "open" else None
    if kind in ("advance", "budget"):
        balance = balances.find(tx, BalanceKey("advance" if kind == "advance" else "budget", company, name))
        if balance is None or (kind == "advance" and "paid" not in balance.detail) or balance.open <= 0:
            return None
        return f"{balance.available:f} {balance.used:f}"
    if kind in RECORD_KINDS or kind == "account_code":
        wanted = RecordKey(company, "account" if kind == "account_code" else kind, name)
        record = records.known(tx, [wanted]).get(wanted)
        return f"{record.valid_from} {record.valid_to}" if record is not None and record.active else None
    return None


def _in_book(book: Book, company: str, kind: str, name: str) -> bool:
    if kind == "company":
        return bool(book.rows_for(CompanyRow, name))
    first, _, second = name.partition("/")
    match kind:
        case "account":
            return bool(book.rows_for(AccountRow, first, second, company))
        case "role":
            return bool(book.rows_for(RoleRow, first, second))
        case "tax":
            return bool(book.rows_for(TaxRow, second, first, company))
        case "dimension":
            return bool(book.rows_for(DimensionRow, first, second, company))
        case _:
            return True  # whether a changed rule fits now, only translating tells: the canary does
