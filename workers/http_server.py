"""uvicorn as we run it: a client that sends its headers slowly is let go, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from connector.errors import Misconfigured
from contracts import Finding
from workers.problem import PROBLEM, Problem
from workers.request import HEADER_BYTES_MAX

HEADERS_S = 10.0  # A request's headers must be here by then.
KEEP_ALIVE_S = 5
GRACE_S = 20  # Requests at work may finish this long after a stop was asked for.


def run(
    app: Any,
    host: str,
    port: int,
    *,
    connections_max: int,
    stop: threading.Event | None = None,
    started: Callable[[int], None] | None = None,
    headers_s: float = HEADERS_S,
) -> None:
    """Serves until `stop` is set or, in the main thread, a signal comes; then requests at work finish first.

    `started` is told the port. Raises Misconfigured where host and port cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise Misconfigured(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    protocol: type[asyncio.Protocol] = type("PatientFor", (Patient,), {"headers_s": headers_s})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=connections_max,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
    )
    with listening:
        _Server(config, stop, started, listening.getsockname()[1]).run(sockets=[listening])


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        stop: threading.Event | None,
        started: Callable[[int], None] | None,
        port: int,
    ) -> None:
        super().__init__(config)
        self._stop, self._tell, self._port = stop, started, port

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._tell is not None:
            self._tell(self._port)

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or (self._stop is not None and self._stop.is_set())


class Patient(H11Protocol):
    """h11 with a deadline for headers (uvicorn has none), and bad requests answered as problems that can be read."""

    headers_s = HEADERS_S
    _timer: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)
            self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()  # The next request's headers may have begun to arrive already.

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answers and hears the client out for `headers_s`: closing on one that still sends would reset the connection,
        and it could not read why it was refused."""
        fix = "send the request with an ordinary HTTP client"
        expected = f"HTTP/1.1 with at most {HEADER_BYTES_MAX} bytes of headers"
        body = Problem(400, Finding("OPS-812", "", expected, "something else", fix)).body("en")
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {PROBLEM}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        with suppress(OSError):  # It is gone already.
            self.transport.write_eof()
        self._refused = True
        if self.cycle is not None:  # Its body broke off: it gets no other answer.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        self._unwatch()
        self._watch()

    @property
    def _at_work(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete and not self._refused

    def _watch(self) -> None:
        if self._at_work or self.transport.is_closing():
            self._unwatch()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.headers_s, self._too_slow)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if not self._at_work and not self.transport.is_closing():
            self.transport.close()
