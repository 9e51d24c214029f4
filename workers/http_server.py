"""uvicorn as we run it: a client that sends its headers slowly is let go, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import h11
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
    """h11 with a deadline for headers (uvicorn has none), and answers that can be read also by who still sends: a bad
    request is answered as a problem, and a client is heard out before the connection is closed."""

    headers_s = HEADERS_S
    _timer: asyncio.TimerHandle | None = None
    hears_out = False  # The answer is given; what still comes is read and forgotten.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Lingering(transport, self))  # type: ignore[arg-type]
        self._watch()

    def data_received(self, data: bytes) -> None:
        if not self.hears_out:
            super().data_received(data)
            self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()  # The next request's headers may have begun to arrive already.

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answers what is no proper HTTP."""
        fix = "send the request with an ordinary HTTP client"
        expected = f"HTTP/1.1 with at most {HEADER_BYTES_MAX} bytes of headers"
        body = Problem(400, Finding("OPS-812", "", expected, "something else", fix)).body("en")
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {PROBLEM}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self.transport.close()

    @property
    def still_sends(self) -> bool:
        """Whether the client's request is not here whole, or is none."""
        return self.conn.their_state in (h11.SEND_BODY, h11.ERROR)

    def hear_out(self, transport: asyncio.Transport) -> None:
        """Says that no more will be written, and closes once the client says the same, or after `headers_s`."""
        if self.hears_out:
            return
        self.hears_out = True
        with suppress(OSError):  # It is gone already.
            transport.write_eof()
        if self.cycle is not None:  # Its body broke off: it gets no other answer.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        self._unwatch()
        self._timer = self.loop.call_later(self.headers_s, transport.close)

    @property
    def _at_work(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        if self.hears_out:
            return
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


class _Lingering:
    """A transport that is not closed on a client which still sends: that would reset the connection, and the client could
    not read the answer it was given."""

    def __init__(self, transport: asyncio.Transport, protocol: Patient) -> None:
        self._transport, self._protocol = transport, protocol

    def close(self) -> None:
        """Closes, at once or once the client was heard out."""
        if self._protocol.still_sends:
            self._protocol.hear_out(self._transport)
        else:
            self._transport.close()

    def is_closing(self) -> bool:
        """Whether nothing more will be written."""
        return self._protocol.hears_out or self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
