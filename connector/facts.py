"""What the ledger knows that a voucher depends on: periods, master records, advances, invoices, budgets. Plain values, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from connector.spans import Spans, read, take, write

BalanceKind = Literal["advance", "invoice", "budget"]
PeriodState = Literal["open", "closing", "closed"]
GROUP = "*"  # The company of an invoice: it is claimed once in the whole group.
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Period:
    """A period; its days are inclusive. Into one that is `closing` only goes what was approved within it."""

    period: str
    starts_on: date
    ends_on: date
    state: PeriodState

    def takes(self, approved_on: date) -> bool:
        """Whether something approved on this day may be booked in it."""
        return self.state == "open" or (self.state == "closing" and approved_on <= self.ends_on)


class BalanceKey(NamedTuple):
    """What names a balance."""

    kind: BalanceKind
    company: str
    key: str


class InvoiceFacts(NamedTuple):
    """What a document says of an invoice; None where it does not say. Those that share one have to agree."""

    currency: str
    total: Decimal
    kind: str | None = None
    tax: Decimal | None = None

    def differs(self, other: InvoiceFacts) -> tuple[str, str, str] | None:
        """The first thing on which both speak and disagree: the field, what this one says, what the other one says."""
        if (self.currency, self.total) != (other.currency, other.total):
            return "total", f"{self.total:f} {self.currency}", f"{other.total:f} {other.currency}"
        if self.kind is not None and other.kind is not None and self.kind != other.kind:
            return "kind", self.kind, other.kind
        if self.tax is not None and other.tax is not None and self.tax != other.tax:
            return "tax", f"{self.tax:f} {self.currency}", f"{other.tax:f} {other.currency}"
        return None


@dataclass(slots=True)
class Balance:
    """Something of which at most `available` may be used. `detail` says what it is about: employee and rate of an
    advance, scope of a budget, which document holds which part."""

    key: BalanceKey
    currency: str
    available: Decimal
    used: Decimal
    detail: Mapping[str, Any]
    is_new: bool = False  # The ledger has no row of it yet: it gets one once something of it is used.
    changed: bool = False

    @property
    def open(self) -> Decimal:
        """What is left."""
        return self.available - self.used

    def said_of(self, document_id: int | None) -> Sequence[InvoiceFacts]:
        """Of an invoice: what every other document says; its total alone where only payables hold it."""
        said = self.detail.get("said", {})
        others = (text.partition(" ") for id_, text in said.items() if id_ != str(document_id))
        found = [
            InvoiceFacts(self.currency, self.available, kind, Decimal(tax) if tax else None) for kind, _, tax in others
        ]
        return found or [InvoiceFacts(self.currency, self.available)]

    def is_shared(self) -> bool:
        """Whether it matters which part of it a document holds: parts of it are rounded, and together make the whole."""
        return self.key.kind == "invoice" or self.detail.get("rate") is not None

    def parts(self) -> dict[int, Spans]:
        """Of an invoice, and of an advance in another currency: which document holds which part of it."""
        return {int(document_id): read(spans) for document_id, spans in self.detail.get("parts", {}).items()}


@dataclass(slots=True)
class Use:
    """How much of a balance a document uses: reserved while it is handed in, consumed once it is to be posted."""

    amount: Decimal
    state: Literal["reserved", "consumed"]
    version: int


class RecordKey(NamedTuple):
    """What names a master record: company, kind (`project`), its key."""

    company: str
    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class KnownRecord:
    """A master record as far as booking asks: whether it counts on a day, and which dimensions an account requires."""

    active: bool
    valid_from: date | None = None
    valid_to: date | None = None
    dimensions: tuple[str, ...] = ()

    def counts_on(self, day: date) -> bool:
        """Whether it may be booked on that day."""
        begun = self.valid_from is None or self.valid_from <= day
        return self.active and begun and (self.valid_to is None or day <= self.valid_to)


@dataclass(slots=True)
class Facts:
    """What is known, for the documents it was gathered for. Uses change as documents are decided; whoever gathered it
    with locks writes them back."""

    periods: Mapping[str, Sequence[Period]] = field(default_factory=dict)
    fed: Collection[tuple[str, str]] = frozenset()  # Kinds of master data that a company's systems tell of.
    records: Mapping[RecordKey, KnownRecord] = field(default_factory=dict)
    balances: dict[BalanceKey, Balance] = field(default_factory=dict)
    uses: dict[int, dict[BalanceKey, Use]] = field(default_factory=dict)  # by document
    year_accepted: Collection[int] = frozenset()
    budgets_of: dict[str, list[BalanceKey]] = field(default_factory=dict)
    used_before: set[int] = field(default_factory=set)  # documents that used something when it was gathered
    changed_uses: set[int] = field(default_factory=set)
    # Kind, company and number of the documents that hold parts of the invoices.
    holders: dict[int, tuple[str, str, str]] = field(default_factory=dict)

    def open_for(self, key: BalanceKey, document_id: int | None) -> Decimal:
        """What is left of a balance for this document, what it uses itself included."""
        own = self.uses.get(document_id, {}).get(key) if document_id is not None else None
        return self.balances[key].open + (own.amount if own is not None else _ZERO)

    def spans_for(self, key: BalanceKey, document_id: int | None, amount: Decimal) -> Spans:
        """The part of it that the document would hold: what it holds already, then what nobody does."""
        if not self.balances[key].detail.get("parts"):
            return ((_ZERO, amount),) if amount else ()
        parts = self.balances[key].parts()
        own = parts.pop(document_id, ()) if document_id is not None else ()
        return take(amount, own, [span for spans in parts.values() for span in spans])

    def use(
        self,
        document_id: int,
        version: int,
        amounts: Mapping[BalanceKey, Decimal],
        state: Literal["reserved", "consumed"],
    ) -> None:
        """The document uses exactly this from now on: what it used before is given back. Never checks; that is `check`."""
        before = self.uses.get(document_id, {})
        for key, use in before.items():
            self._move(key, -use.amount)
        after = {key: Use(amount, state, version) for key, amount in amounts.items() if amount}
        for key, use in after.items():
            self._move(key, use.amount)
        for key in {**before, **after}:
            if self.balances[key].is_shared():
                self.hold(key, document_id, after[key].amount if key in after else _ZERO)
        if before or after:
            self.uses[document_id] = after
            self.changed_uses.add(document_id)

    def release(self, document_id: int, version: int = 0) -> None:
        """Nothing of the document uses anything any more."""
        self.use(document_id, version, {}, "consumed")

    def set_available(self, key: BalanceKey, available: Decimal, currency: str, detail: Mapping[str, Any]) -> None:
        """What there is to use, as its source tells it now."""
        balance = self.balances[key]
        balance.available, balance.currency, balance.detail, balance.changed = available, currency, detail, True

    def register(self, document_id: int, invoices: Mapping[BalanceKey, InvoiceFacts]) -> None:
        """What the document says of its invoices; their totals are those that all their documents say."""
        for key, facts in invoices.items():
            detail = self.balances[key].detail
            text = f"{facts.kind or ''} {'' if facts.tax is None else f'{facts.tax:f}'}"
            said = {**detail.get("said", {}), str(document_id): text}
            self.set_available(key, facts.total, facts.currency, {**detail, "said": said})

    def hold(self, key: BalanceKey, document_id: int, amount: Decimal) -> None:
        """Writes down which part of it the document holds from now on."""
        balance, spans = self.balances[key], self.spans_for(key, document_id, amount)
        parts = {**balance.detail.get("parts", {}), str(document_id): write(spans)}
        said = dict(balance.detail.get("said", {}))
        if not spans:
            del parts[str(document_id)]
            said.pop(str(document_id), None)
        balance.detail = {**balance.detail, "parts": parts} | ({"said": said} if "said" in balance.detail else {})

    def _move(self, key: BalanceKey, amount: Decimal) -> None:
        balance = self.balances[key]
        balance.used += amount
        balance.changed = True


def period_of(periods: Iterable[Period], day: date) -> Period | None:
    """The period that a day lies in; the shortest where several do."""
    found = [period for period in periods if period.starts_on <= day <= period.ends_on]
    return min(found, key=lambda period: period.ends_on - period.starts_on, default=None)


def fiscal_year(day: date, year_start: int) -> int:
    """The fiscal year of a day, named by the calendar year it begins in."""
    return day.year if day.month >= year_start else day.year - 1
