"""The adapter: one small Protocol for every system on either side, so that one conformance suite tests them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, Protocol

from contracts.bill import ErpDocument
from contracts.envelope import AnyEvent
from contracts.findings import Finding

Target = Literal["voucher", "payable_bill", "expense_document"]
RedLetter = Literal["negative", "swapped"]


@dataclass(frozen=True, slots=True)
class Features:
    """What a system can do; the conformance suite and the delivery process skip or adapt to the rest.

    Where a limit is None there is none. What does not fit the limits is never sent; only a memo is cut.
    """

    push: bool = False  # changes come to us by `receive`
    poll: bool = False  # changes are fetched by `poll`
    deliver: bool = False  # it takes deliveries: vouchers (ERP) or status (OA)
    batch: int = 1  # deliveries it takes in one `deliver` call
    atomic_post: bool = True  # one call creates and posts; otherwise an unfinished one must be found and resumed
    unique_reference: bool = False  # it refuses a second document with our reference, so posting again is safe
    reversal: Literal["native", "red_letter", "none"] = "red_letter"
    settle_s: int = 60  # longest time the system may still be working on a call whose answer was lost
    reference_max: int = 32  # characters it stores of our reference
    calls_per_minute: int | None = None
    target: Target = "voucher"  # what it is handed
    red_letter: RedLetter = "negative"  # amounts below zero on the same sides, or above zero on the other sides
    memo_max: int | None = None  # characters of a memo
    account_max: int | None = None  # characters of an account's code
    dimension_max: int | None = None  # characters of a dimension's code
    lines_max: int | None = None  # lines of one document
    decimals: int | None = None  # decimals it stores of an amount


@dataclass(frozen=True, slots=True)
class Change:
    """Something that changed in a system, as it told us: the canonical event and the bytes it came from.

    An OA that numbers its versions gives `event`; one that does not sets `unnumbered`, and the ledger numbers
    them (a new version where the content differs from the last one it was offered).
    """

    event: AnyEvent
    raw: bytes
    unnumbered: bool = False


@dataclass(frozen=True, slots=True)
class RefusedChange:
    """Something that changed and cannot be told as an event: what the system holds, and what is wrong with it.

    `(source, event_id)` names it as an event would be named, so that telling it again makes no second dead letter.
    """

    raw: bytes
    findings: Sequence[Finding]
    source: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Page:
    """Changes since a cursor, oldest first; `cursor` is where the next call goes on, stored only after these are safe."""

    changes: Sequence[Change]
    cursor: str
    more: bool = False
    refused: Sequence[RefusedChange] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """What is written back to the OA about a report: posted, rejected, reversed, paid."""

    company: str
    number: str
    version: int
    state: Literal["posted", "rejected", "reversed", "partly_paid", "paid", "payment_reversed"]
    erp_number: str | None = None
    on: date | None = None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing to write into a system. `reference` is ours, deterministic and the same on every attempt. An ERP gets the
    document that its features ask for: `target`, and on a reversal `red_letter`.

    `resumed` is True from the second attempt on: something of it may be there already.
    A reversal names what it takes back in `reverses`.
    """

    reference: str
    payload: ErpDocument | Status
    attempt: int = 1
    reverses: Receipt | None = None

    @property
    def resumed(self) -> bool:
        return self.attempt > 1


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a system holds under our reference.

    state: `posted` it counts; `draft` it was created and must still be posted; `cancelled` it no longer counts.
    """

    reference: str
    external_id: str
    number: str | None
    state: Literal["posted", "draft", "cancelled"]
    posted_on: date | None = None
    total: str | None = None  # what the system echoes of `contracts.bill.total_of`, as text in the document's currency
    currency: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an error means (`Adapter.classify`), as data; `connector.recovery.decide` turns it into what happens next."""

    kind: Literal["transient", "auth", "duplicate", "conflict", "permanent", "ambiguous"]
    code: str
    message: str
    retry_after_s: int | None = None
    external_id: str | None = None
    field: str | None = None


class Adapter(Protocol):
    """A system on either side. Safe to use from several threads; opens its connections on first use, after any fork."""

    name: str
    company: str
    features: Features

    def receive(self, headers: Mapping[str, str], body: bytes) -> Sequence[Change]:
        """Authenticates a pushed request and gives what changed. Raises contracts.Refused for what it cannot trust or read."""

    def poll(self, cursor: str | None) -> Page:
        """Changes since `cursor`, oldest first; asking again with the same cursor gives at least the same changes again."""

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Receipt | Outcome]:
        """Writes each delivery; the answers stand in the order of the batch. Delivering one twice leaves one effect
        when `attempt` is told truthfully. One bad delivery never spoils another. Raises nothing of its own: what went
        wrong with a delivery is its Outcome."""

    def find(self, reference: str) -> Receipt | None:
        """What became of a delivery: the document that carries our reference, or None where there is none.
        Raises ConnectorError when the system cannot be asked now."""

    def reverse(self, delivery: Delivery) -> Receipt | Outcome:
        """Takes back what `delivery.reverses` names, under the delivery's own reference. Twice leaves one effect."""

    def classify(self, error: BaseException) -> Outcome:
        """What an error of this system's client means."""

    def close(self) -> None:
        """Gives back connections. May be called twice."""
