"""The HTTP client every adapter shares: one total deadline per call, a size limit, and errors that say whether it was done."""

from __future__ import annotations

import html
import json
import os
import re
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import httpcore2
import httpx2

from connector.errors import Ambiguous, Misconfigured, Unavailable

BODY_BYTES_MAX = 32 * 1024 * 1024  # Answers longer than this are cut off and count as unreadable.
EXCERPT_MAX = 300  # Characters of a foreign answer that may stand in one of our messages.
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON with exact numbers. Raises ValueError where it is not JSON."""
        return json.loads(self.body, parse_float=Decimal)

    @property
    def retry_after_s(self) -> int | None:
        """The Retry-After header in seconds, where the server gave one as a number."""
        value = self.headers.get("retry-after", "").strip()
        return min(int(value), 86400) if re.fullmatch(r"[0-9]{1,9}", value) else None


class HttpClient:
    """Calls one base URL. Safe to use from several threads; connects on first use and again after a fork."""

    def __init__(
        self,
        base_url: str,
        *,
        total_s: float = 60,
        connect_s: float = 5,
        connections: int = 8,
        secrets: Iterable[str] = (),
        proxy: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Misconfigured("the url of a system must start with http:// or https:// and name a host")
        if parts.username or parts.password:
            raise Misconfigured("put user and password into their own settings, not into the url")
        self.base_url = base_url.rstrip("/")
        self._total_s, self._connect_s, self._connections = total_s, connect_s, connections
        self._secrets = tuple(secret for secret in secrets if secret)
        self._proxy, self._ca_file = proxy, ca_file
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None
        self._pid = 0

    def call(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        total_s: float | None = None,
        safe: bool = False,
    ) -> Reply:
        """One request, never repeated here; redirects are not followed.

        Raises Unavailable when nothing was done, Ambiguous when the answer was lost after sending. A `safe` call
        changes nothing over there, so its lost answer is Unavailable too.
        """
        lost = Unavailable if safe else Ambiguous
        what = f"{method} {self.base_url}{path.split('?')[0]}"
        budget_s = self._total_s if total_s is None else total_s
        client = self._connected()
        _deadline.at = time.monotonic() + budget_s
        try:
            with client.stream(
                method,
                self.base_url + path,
                content=content,
                headers=dict(headers or {}),
                timeout=httpx2.Timeout(budget_s, connect=min(self._connect_s, budget_s)),
            ) as response:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > BODY_BYTES_MAX:
                        raise lost(f"{what}: the answer is longer than {BODY_BYTES_MAX} bytes")
                return Reply(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(body))
        except _NOT_SENT as error:
            raise Unavailable(f"{what}: cannot connect ({self.scrub(str(error))})") from error
        except httpx2.TimeoutException as error:
            raise lost(f"{what}: no answer within {budget_s:g} s") from error
        except httpx2.HTTPError as error:
            raise lost(f"{what}: the answer was lost ({self.scrub(str(error) or type(error).__name__)})") from error
        finally:
            _deadline.at = None

    def scrub(self, text: str) -> str:
        """A foreign text made fit for our logs: one line, no markup, no secret of ours, no query strings, cut short."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]{0,500}>", " ", text[:20_000], flags=re.IGNORECASE | re.DOTALL)
        text = re.sub(r"\?[^\s'\"]*=[^\s'\"]*", "?***", text)
        text = " ".join(html.unescape(text).split())
        return text if len(text) <= EXCERPT_MAX else text[: EXCERPT_MAX - 1] + "…"

    def close(self) -> None:
        """Gives back the connections; a later call opens new ones."""
        with self._lock:
            if self._client is not None and self._pid == os.getpid():
                self._client.close()
            self._client = None

    def _connected(self) -> httpx2.Client:
        with self._lock:
            if self._client is None or self._pid != os.getpid():  # Sockets of the parent are not ours after a fork.
                self._pid = os.getpid()
                self._client = httpx2.Client(
                    transport=_Transport(self._connections, self._proxy, self._ca_file),
                    trust_env=False,
                    headers={"user-agent": "oa-erp-connector"},
                )
            return self._client


class _Deadline(threading.local):
    at: float | None = None


_deadline = _Deadline()


def _left_s(timeout: float | None, error: type[httpcore2.TimeoutException]) -> float | None:
    if _deadline.at is None:
        return timeout
    left_s = _deadline.at - time.monotonic()
    if left_s <= 0:
        raise error("deadline passed")
    return left_s if timeout is None else min(timeout, left_s)


class _Stream(httpcore2.NetworkStream):
    """A socket whose every read and write ends at the deadline of the call, so that an answer that drips is cut."""

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left_s(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left_s(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left_s(timeout, httpcore2.ConnectTimeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore2.NetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        return _Stream(
            self._inner.connect_tcp(
                host, port, _left_s(timeout, httpcore2.ConnectTimeout), local_address, socket_options
            )
        )


class _Transport(httpx2.HTTPTransport):
    """HTTPTransport with our network backend, which it takes no argument for."""

    def __init__(self, connections: int, proxy: str | None, ca_file: str | None) -> None:
        context = ssl.create_default_context(cafile=ca_file)
        super().__init__(verify=context, trust_env=False)
        self._pool: httpcore2.ConnectionPool = httpcore2.ConnectionPool(
            ssl_context=context,
            proxy=httpcore2.Proxy(proxy) if proxy else None,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=10,
            network_backend=_Backend(),
        )
