"""Tryton's ids for the codes a voucher names: accounts, parties, periods, currencies; read in lists, kept for a while."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Generic, TypeVar

from connector.adapter import Outcome
from connector.erp.tryton_rpc import TrytonClient
from connector.errors import Misconfigured
from contracts.voucher import Voucher, VoucherLine

KEEP_S = 600.0  # How long a found id is trusted; a missing one is asked for again each time.
PARTY_DIMENSIONS = {
    "supplier_payable": ("supplier", "employee")
}  # Which dimension names the party, by role of the line.
PARTY_DIMENSIONS_ELSE = ("employee", "supplier")

_DOCUMENT = re.compile(r"(?P<advance>advance )?(?P<number>\S.{0,63}?) v(?P<version>[1-9][0-9]{0,15})(?: \| |$)")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Account:
    """An account lines can stand on, or not (`usable`); some want a party on every line, the others refuse one."""

    id: int
    party_required: bool
    usable: bool


@dataclass(frozen=True, slots=True)
class Period:
    """A month, open or closed."""

    id: int
    start: date
    end: date
    open: bool


@dataclass(frozen=True, slots=True)
class Company:
    """The company's base currency and its digits."""

    currency: str
    digits: int


class Lookup(Generic[T]):
    """Codes to values through one query per list of unknown codes. Thread-safe; queries run outside the lock."""

    def __init__(self, query: Callable[[Sequence[str]], dict[str, T]]) -> None:
        self._query = query
        self._known: dict[str, tuple[float, T]] = {}
        self._lock = threading.Lock()

    def load(self, codes: Iterable[str]) -> None:
        """Makes sure that those of `codes` which exist are known."""
        now = time.monotonic()
        with self._lock:
            missing = sorted({code for code in codes if self._known.get(code, (0.0, None))[0] <= now})
        if missing:
            found = self._query(missing)
            with self._lock:
                for code in missing:
                    self._known.pop(code, None)
                self._known.update({code: (now + KEEP_S, value) for code, value in found.items()})

    def forget(self, code: str) -> None:
        """The next `load` asks for it again."""
        with self._lock:
            self._known.pop(code, None)

    def get(self, code: str) -> T | None:
        """The value, if `load` has found it."""
        with self._lock:
            return self._known[code][1] if code in self._known else None


class Masters:
    """Everything of Tryton a voucher refers to."""

    def __init__(self, client: TrytonClient, journal: str) -> None:
        self._client, self._journal = client, journal
        self.accounts = Lookup(self._find_accounts)
        self.parties = Lookup(self._find_parties)
        self.currencies = Lookup(self._find_currencies)
        self.periods = Lookup(self._find_periods)
        self._fixed: tuple[int, Company] | None = None

    def company(self) -> Company:
        """The company's own facts, read once."""
        return self._facts()[1]

    def load(self, vouchers: Iterable[Voucher]) -> None:
        """Reads what these vouchers need, at most one query per kind."""
        wanted = list(vouchers)
        lines = [line for voucher in wanted for line in voucher.lines]
        self.accounts.load(line.account for line in lines)
        self.parties.load(
            code for line in lines for code in line.dimensions.values() if code and _names_party(line, code)
        )
        self.periods.load(voucher.date.isoformat() for voucher in wanted)
        self.currencies.load(line.currency for line in lines if line.currency)

    def move(self, voucher: Voucher) -> dict[str, Any] | Outcome:
        """The values of the account.move for a voucher, once `load` has run; an Outcome names what is missing."""
        journal, company = self._facts()
        if voucher.currency != company.currency:
            return _no(
                "ERP-417",
                f"the company's currency in Tryton is {company.currency}, the voucher's {voucher.currency}",
                "currency",
            )
        period = self._open_period(voucher.date)
        if isinstance(period, Outcome):
            return period
        lines = [self._line(line, voucher, company) for line in voucher.lines]
        wrong = next((line for line in lines if isinstance(line, Outcome)), None)
        if wrong is not None:
            return wrong
        return {
            "company": self._client.company_id,
            "journal": journal,
            "date": voucher.date,
            "period": period.id,
            "description": voucher.reference,
            "lines": [["create", lines]],
        }

    def _line(self, line: VoucherLine, voucher: Voucher, company: Company) -> dict[str, Any] | Outcome:
        account = self.accounts.get(line.account)
        if account is None:
            return _no(
                "ERP-411",
                f"Tryton has no account {line.account}; create it or correct the mapping",
                f"account:{line.account}",
            )
        if not account.usable:
            return _no("ERP-415", f"account {line.account} in Tryton is closed or a heading", f"account:{line.account}")
        if -_exponent(line.amount) > company.digits:
            return _no("ERP-416", f"{line.amount} has more than {company.digits} decimals", f"account:{line.account}")
        zero, debit = Decimal(0), line.side == "debit"
        values: dict[str, Any] = {
            "account": account.id,
            "debit": line.amount if debit else zero,
            "credit": zero if debit else line.amount,
            "description": _describe(line, voucher),
        }
        if account.party_required:
            code = next((line.dimensions[d] for d in _party_dimensions(line) if line.dimensions.get(d)), None)
            if code is None:
                return _no(
                    "ERP-413",
                    f"account {line.account} needs a party and the line names none",
                    f"account:{line.account}",
                )
            party = self.parties.get(code)
            if party is None:
                return _no("ERP-412", f"Tryton has no party with code {code}", f"party:{code}")
            values["party"] = party
        if line.currency and line.currency != company.currency and line.amount_in_currency is not None:
            currency = self.currencies.get(line.currency)
            if currency is None:
                return _no("ERP-417", f"Tryton has no currency {line.currency}", f"currency:{line.currency}")
            values["second_currency"] = currency
            values["amount_second_currency"] = line.amount_in_currency if debit else -line.amount_in_currency
        return values

    def _open_period(self, day: date) -> Period | Outcome:
        key = day.isoformat()
        period = self.periods.get(key)
        if period is None:
            return _no("ERP-414", f"Tryton has no period for {key}", f"period:{key}")
        if not period.open:
            self.periods.forget(key)  # Whoever reopens a month wants the next try to see it.
            return _no(
                "ERP-402",
                f"the period of {key} is closed in Tryton; reopen it or move the posting date",
                f"period:{key}",
            )
        return period

    def _facts(self) -> tuple[int, Company]:
        if self._fixed is None:
            read = self._client.read
            journals = read("model.account.journal.search_read", [["code", "=", self._journal]], 0, 1, None, ["code"])
            if not journals:
                raise Misconfigured(f"Tryton has no journal with code {self._journal!r}", code="ERP-424")
            (company,) = read(
                "model.company.company.read", [self._client.company_id], ["currency.code", "currency.digits"]
            )
            currency = company["currency."]
            self._fixed = journals[0]["id"], Company(currency["code"], currency["digits"])
        return self._fixed

    def _find_accounts(self, codes: Sequence[str]) -> dict[str, Account]:
        domain = [["code", "in", list(codes)], ["company", "=", self._client.company_id]]
        rows = self._client.read(
            "model.account.account.search_read",
            domain,
            0,
            None,
            [["id", "DESC"]],
            ["code", "type", "party_required", "closed"],
        )
        return {r["code"]: Account(r["id"], r["party_required"], bool(r["type"]) and not r["closed"]) for r in rows}

    def _find_parties(self, codes: Sequence[str]) -> dict[str, int]:
        rows = self._client.read(
            "model.party.party.search_read", [["code", "in", list(codes)]], 0, None, None, ["code"]
        )
        return {row["code"]: row["id"] for row in rows}

    def _find_currencies(self, codes: Sequence[str]) -> dict[str, int]:
        rows = self._client.read(
            "model.currency.currency.search_read", [["code", "in", list(codes)]], 0, None, None, ["code"]
        )
        return {row["code"]: row["id"] for row in rows}

    def _find_periods(self, days: Sequence[str]) -> dict[str, Period]:
        first, last = date.fromisoformat(days[0]), date.fromisoformat(days[-1])
        domain = [
            ["company", "=", self._client.company_id], ["type", "=", "standard"],
            ["start_date", "<=", last], ["end_date", ">=", first],
        ]  # fmt: skip
        rows = self._client.read(
            "model.account.period.search_read", domain, 0, None, None, ["start_date", "end_date", "state"]
        )
        periods = [Period(r["id"], r["start_date"], r["end_date"], r["state"] == "open") for r in rows]
        return {
            day: period for day in days for period in periods if period.start <= date.fromisoformat(day) <= period.end
        }


def marked(document_type: str, number: str, version: int) -> str:
    """How each line of a move names its document; `document_of` reads it back."""
    return f"{'advance ' if document_type == 'advance' else ''}{number} v{version}"


def document_of(description: str) -> tuple[bool, str, int] | None:
    """Whether an advance, the number and the version of the document a line's description names."""
    found = _DOCUMENT.match(description)
    return (bool(found["advance"]), found["number"], int(found["version"])) if found else None


def _describe(line: VoucherLine, voucher: Voucher) -> str:
    """What the accountant reads on the line: the document, our memo, and the dimensions base accounting has no field for."""
    document = marked(voucher.document.type, voucher.document.number, voucher.document.version)
    dimensions = " ".join(f"{name}={code}" for name, code in sorted(line.dimensions.items()) if code)
    return " | ".join(part for part in (document, line.memo, dimensions) if part)[:255]


def _party_dimensions(line: VoucherLine) -> tuple[str, ...]:
    return PARTY_DIMENSIONS.get(line.role, PARTY_DIMENSIONS_ELSE)


def _names_party(line: VoucherLine, code: str) -> bool:
    return any(line.dimensions.get(dimension) == code for dimension in PARTY_DIMENSIONS_ELSE)


def _exponent(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def _no(code: str, message: str, field: str) -> Outcome:
    return Outcome("permanent", code, message, field=field)
