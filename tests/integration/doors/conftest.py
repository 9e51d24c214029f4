"""A gateway served by a real uvicorn on loopback, and a watched folder, each on a fresh ledger."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from connector.adapter import Adapter
from connector.bootstrap import Runtime
from connector.ledger import Ledger
from connector.ledger.tables import dead_letters, outbox
from connector.oa.webhook import WebhookOa
from connector.settings import Gateway, Security, Settings, System
from workers import http_server
from workers.gateway import make_gateway

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def local_ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger on SQLite, for what does not depend on the database."""
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    made.upgrade()
    yield made
    made.close()


def make_runtime(ledger: Ledger, *, tokens: tuple[str, ...] = (), **gateway: Any) -> Runtime:
    """What the gateway works with: this ledger and two OAs that push."""
    security = Security(api_tokens=tuple(SecretStr(token) for token in tokens), webhook_keys=(SecretStr(SECRET),))
    oa: dict[str, Adapter] = {
        f"/oa/webhook/{company}": WebhookOa(System(adapter="webhook", company=company), security)
        for company in ("C01", "C02")
    }
    settings = Settings(security=security, gateway=Gateway(**gateway))
    return Runtime(settings=settings, ledger=ledger, erp={}, oa=oa, open_channel=no_channel)


def no_channel() -> Any:
    """The doors write to the ledger only."""
    raise AssertionError("a door opens no channel")


@contextmanager
def running(runtime: Runtime, *, headers_s: float = 5, **options: Any) -> Iterator[int]:
    """The gateway on a port of its own, stopped at the end."""
    stop, ready = threading.Event(), threading.Event()
    ports: list[int] = []

    def started(port: int) -> None:
        ports.append(port)
        ready.set()

    def run() -> None:
        app = make_gateway(runtime, **options)
        limits = {"connections_max": 200, "stop": stop, "started": started, "headers_s": headers_s}
        http_server.run(app, "127.0.0.1", 0, **limits)

    thread = threading.Thread(target=run, name="gateway")
    thread.start()
    try:
        assert ready.wait(60), "the gateway starts"
        yield ports[0]
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive(), "the gateway stops when told to"


@dataclasses.dataclass
class Served:
    """A running gateway and its ledger."""

    ledger: Ledger
    port: int
    client: httpx2.Client

    def post(self, content: bytes, content_type: str = "application/json", **headers: str) -> httpx2.Response:
        """POST /v1/events."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/v1/events", content=content, headers={"content-type": content_type, **named})

    def waiting(self) -> int:
        """Events in the outbox."""
        return events_in(self.ledger)

    def letters(self) -> int:
        """Dead letters."""
        with self.ledger.begin() as tx:
            return int(tx.scalar(select(func.count()).select_from(dead_letters)) or 0)


def events_in(ledger: Ledger) -> int:
    """Events in the outbox."""
    with ledger.begin() as tx:
        return int(tx.scalar(select(func.count()).select_from(outbox)) or 0)


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Starts gateways; all are stopped at the end."""
    with ExitStack() as stack:

        def start(ledger: Ledger, *, headers_s: float = 5, body_s: float = 20, **settings: Any) -> Served:
            runtime = make_runtime(ledger, **settings)
            port = stack.enter_context(running(runtime, headers_s=headers_s, body_s=body_s))
            client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
            return Served(ledger, port, stack.enter_context(client))

        yield start
