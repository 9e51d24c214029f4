"""A proxy between an adapter and a real HTTP system that loses, breaks or refuses chosen calls: faults for servers we cannot script."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

HttpFault = Literal[
    "lose_answer", "lose_request", "cut_answer", "html", "empty", "refuse", "401", "404", "429", "500", "503", "504"
]
Match = Callable[[str, bytes], bool]  # (path, body) -> whether the call is meant


@dataclass(slots=True)
class _Rule:
    match: Match
    fault: HttpFault
    times: int


class HttpFaults:
    """Start it with `with HttpFaults(target_url) as proxy:` and give the adapter `proxy.url`.

    `next(fault, match, times)` arms a fault for the next matching calls. A call that is refused or lost as a request never
    reaches the system; one whose answer is lost or cut has been done there. `labelled` counts the calls `label` matches.
    `meanwhile(match, act)` holds the next matching call back until `act` is done, as if its worker had been paused.
    """

    def __init__(self, target: str, *, label: Match | None = None) -> None:
        self.target, self.calls, self.met = target, 0, Counter[str]()
        self.refusal = b"{}"  # What `refuse` answers, in the words of the system.
        self.labelled = 0
        self._label = label
        self._rules: list[_Rule] = []
        self._paused: list[tuple[Match, Callable[[], object]]] = []
        self._authorisations: set[str] = set()
        self._expired: set[str] = set()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.faults = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="http-faults", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def next(self, fault: HttpFault, match: Match = lambda path, body: True, times: int = 1) -> None:
        """Arms a fault for the next `times` calls that match."""
        with self._lock:
            self._rules.append(_Rule(match, fault, times))

    def meanwhile(self, match: Match, act: Callable[[], object]) -> None:
        """Before the next call that matches reaches the system, `act` happens; its own calls are not held back."""
        with self._lock:
            self._paused.append((match, act))

    def wait(self, path: str, body: bytes) -> None:
        """Does what is to happen before this call."""
        with self._lock:
            due = [paused for paused in self._paused if paused[0](path, body)][:1]
            self._paused = [paused for paused in self._paused if paused not in due]
        for _, act in due:
            act()

    def expire(self) -> None:
        """From now on every Authorization seen so far is answered 401."""
        with self._lock:
            self._expired |= self._authorisations

    def calm(self) -> None:
        """Takes back what is armed and not yet met."""
        with self._lock:
            self._rules.clear()
            self._paused.clear()

    def pick(self, path: str, body: bytes, authorisation: str) -> HttpFault | None:
        """The fault this call meets."""
        with self._lock:
            self.calls += 1
            if authorisation in self._expired:
                return "401"
            if authorisation:
                self._authorisations.add(authorisation)
            if self._label is not None and self._label(path, body):
                self.labelled += 1
            for rule in self._rules:
                if rule.times > 0 and rule.match(path, body):
                    rule.times -= 1
                    self.met[rule.fault] += 1
                    return rule.fault
            return None

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    faults: HttpFaults

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is expected here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._through()

    def do_POST(self) -> None:
        self._through()

    def _through(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        server.faults.wait(self.path, body)
        fault = server.faults.pick(self.path, body, self.headers.get("authorization") or "")
        match fault:
            case "lose_request":
                self.close_connection = True
            case "html":
                self._answer(200, "text/html", b"<html><body><h1>Please log in</h1></body></html>")
            case "empty":
                self._answer(200, "application/json", b"")
            case "refuse":
                self._answer(200, "application/json", server.faults.refusal)
            case "401" | "404" | "429" | "500" | "503" | "504":
                self._answer(int(fault), "text/html", b"<title>refused</title>", retry_after=fault == "429")
            case _:
                status, kind, answer = self._forward(server.faults.target, body)
                if fault == "lose_answer":
                    self.close_connection = True
                elif fault == "cut_answer":
                    self._answer(status, kind, answer[: len(answer) // 2])
                else:
                    self._answer(status, kind, answer)

    def _forward(self, target: str, body: bytes) -> tuple[int, str, bytes]:
        parts = urlsplit(target)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        kept = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("connection", "host", "accept-encoding")
        }
        # The original host stays in: some systems sign or check the address they were called by.
        try:
            connection.request(
                self.command, self.path, body or None, {**kept, "host": parts.netloc, "connection": "close"}
            )
            reply = connection.getresponse()
            return reply.status, reply.headers.get("content-type", ""), reply.read()
        finally:
            connection.close()

    def _answer(self, status: int, kind: str, body: bytes, retry_after: bool = False) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if retry_after:
            self.send_header("retry-after", "7")
        self.end_headers()
        self.wfile.write(body)
