"""The composition root: the only place that picks implementations. Everything else is handed what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from connector.adapter import Adapter
from connector.channels import Channel, Message
from connector.errors import Misconfigured
from connector.ledger import Ledger
from connector.process.ask import Asked, ask
from connector.process.batch import BatchResult
from connector.process.delivery import Deliverer, DeliveryResult
from connector.process.poll import PollResult, poll_once
from connector.process.step import Step
from connector.process.waiting import Waiting
from connector.process.write_back import WriteBacker, WriteBackResult
from connector.settings import Settings, System
from connector.translate import Book
from connector.translate.reference import LENGTH_MAX
from connector.translate.shelf import Shelf
from contracts.fields import build_contracts


@dataclass
class Runtime:
    """All that a process works with. Nothing is connected until it is used; `close` gives everything back."""

    settings: Settings
    ledger: Ledger
    erp: Mapping[str, Adapter]  # by company
    oa: Mapping[str, Adapter]  # by event source, /oa/<adapter>/<company>
    open_channel: Callable[[], Channel]
    _shelves: list[Shelf] = field(default_factory=list)

    def book(self) -> Book:
        """The mapping book in force: loaded on first use, and anew when its files change."""
        if not self._shelves:
            self._shelves.append(Shelf(self.settings.book))
        return self._shelves[0].book()

    def channel(self) -> Channel:
        """A channel of one's own, for one thread."""
        return self.open_channel()

    @cached_property
    def step(self) -> Step:
        """The batch step."""
        return Step(
            ledger=self.ledger,
            book=self.book,
            security=self.settings.security,
            retry=self.settings.retry,
            erps=self._erps.keys(),
            owners=self.settings.record_owners,
            listening=frozenset(source for source, oa in self.oa.items() if oa.features.deliver),
            reference_max={company: min(LENGTH_MAX, erp.features.reference_max) for company, erp in self.erp.items()},
            irreversible=frozenset(company for company, erp in self.erp.items() if erp.features.reversal == "none"),
        )

    def apply_batch(self, messages: Sequence[Message], door: str = "broker") -> BatchResult:
        """Decides about messages in one transaction (`Step.apply`)."""
        return self.step.apply(messages, door)

    def deliver_due(self, company: str) -> DeliveryResult:
        """Sends one batch of due postings of a company."""
        return self._deliverer(company).deliver_due()

    def resolve_in_doubt(self, company: str) -> DeliveryResult:
        """Asks the company's ERP about postings whose answer was lost."""
        return self._deliverer(company).resolve_in_doubt()

    @cached_property
    def waiting(self) -> Waiting:
        """Lets go what waited for a key that arrived."""
        return Waiting(self.ledger, self.book, self.settings.waiting.batch)

    def preflight(self, body: bytes, content_type: str | None) -> Asked:
        """What would become of a report if it were approved now (`ask`)."""
        asked = ask(self.ledger, self.book(), body, content_type)
        erp = None if asked.event is None else self.erp.get(asked.event.company)
        return asked if erp is None else asked.fitting(erp.features)

    def write_back_due(self, source: str) -> WriteBackResult:
        """Tells one batch of due status to an OA."""
        return WriteBacker(
            self.ledger, self.oa[source], source, self.settings.retry, self.settings.delivery
        ).write_back_due()

    def poll_once(self, system: str) -> PollResult:
        """Reads what changed in a system, named like the source of its events."""
        return poll_once(self.ledger, self.polled[system], system, self.settings.retry)

    @property
    def polled(self) -> dict[str, Adapter]:
        """The systems that are polled, by the source of their events."""
        every = {**self._erps, **self.oa}
        return {source: adapter for source, adapter in every.items() if adapter.features.poll}

    @property
    def _erps(self) -> dict[str, Adapter]:
        return {f"/erp/{erp.name}/{company}": erp for company, erp in self.erp.items()}

    def poll_every_s(self, system: str) -> float:
        """Seconds between two polls of a system."""
        named = {f"/erp/{s.adapter}/{s.company}": s for s in self.settings.erp}
        named |= {f"/oa/{s.adapter}/{s.company}": s for s in self.settings.oa}
        return named[system].poll_s if system in named else 30.0

    def _deliverer(self, company: str) -> Deliverer:
        return Deliverer(self.ledger, self.erp[company], self.settings.retry, self.settings.delivery)

    def close(self) -> None:
        """Gives back every connection."""
        for adapter in (*self.erp.values(), *self.oa.values()):
            adapter.close()
        self.ledger.close()


def open_runtime(settings: Settings) -> Runtime:
    """Builds everything the settings name. Raises Misconfigured where they name something that does not exist."""
    build_contracts()  # before there are threads
    return Runtime(
        settings=settings,
        ledger=Ledger(settings.ledger),
        erp={system.company: _erp(system, settings) for system in settings.erp},
        oa={f"/oa/{system.adapter}/{system.company}": _oa(system, settings) for system in settings.oa},
        open_channel=lambda: open_channel(settings),
    )


def open_channel(settings: Settings) -> Channel:
    """The channel that the broker's URL names."""
    scheme = settings.broker_url.partition(":")[0]
    if scheme in ("amqp", "amqps", "memory"):
        from connector.channels.amqp import AmqpChannel

        return AmqpChannel(settings.broker_url, settings.prefix, settings.consumer)
    if scheme in ("redis", "rediss"):
        from connector.channels.redis import RedisChannel

        return RedisChannel(settings.broker_url, settings.prefix, settings.consumer)
    raise Misconfigured(
        f"broker_url starts with {scheme}:; use memory:// (embedded), amqp:// or redis://"
        " (kombu's filesystem and SQL transports lose work when a worker is killed)"
    )


def _erp(system: System, settings: Settings) -> Adapter:
    match system.adapter:
        case "file":
            from connector.erp.file_ledger import FileLedger

            return FileLedger(system)
        case "tryton":
            from connector.erp.tryton import Tryton

            return Tryton(system)
        case "simulator":
            from connector.erp.simulator import SimulatorErp

            return SimulatorErp(system)
    raise Misconfigured(f"erp adapter {system.adapter!r} is unknown; there are file, tryton, simulator")


def _oa(system: System, settings: Settings) -> Adapter:
    match system.adapter:
        case "webhook":
            from connector.oa.webhook import WebhookOa

            return WebhookOa(system, settings.security)
        case "cubicweb":
            from connector.oa.cubicweb import Cubicweb

            return Cubicweb(system)
        case "simulator":
            from connector.testing.oa_simulator import SimulatorOa

            return SimulatorOa(system)
    raise Misconfigured(f"oa adapter {system.adapter!r} is unknown; there are webhook, cubicweb, simulator")
