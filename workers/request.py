"""What an HTTP request must be before anything of it is taken: from whom, of what kind, how large and how fast."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
from collections.abc import Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from contracts import Finding
from workers.problem import Language, Problem, language_of

HEADER_BYTES_MAX = 16 * 1024
DRAIN_BYTES_MAX = 64 * 1024 * 1024  # Read and dropped, so that a client that still sends can read why it was refused.
DRAIN_S = 5.0

EVENT_TYPES = ("application/cloudevents+json", "application/json")
BATCH_TYPE = "application/cloudevents-batch+json"
XML_TYPES = ("application/xml", "text/xml")


class HeaderLimit:
    """Middleware: a request with more than HEADER_BYTES_MAX of headers goes no further."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in scope.get("headers", ()))
        answer = self._app
        if size > HEADER_BYTES_MAX:
            expected = f"at most {HEADER_BYTES_MAX} bytes of headers"
            finding = bad_request("", expected, f"{size} bytes", "send less")
            answer = Problem(431, finding, {"connection": "close"}).response("en")
        await answer(scope, receive, send)


def client_of(request: Request, tokens: Sequence[bytes]) -> str:
    """A name for the client, under which its keys are kept; without tokens only this machine may come. Raises Problem
    401 or 403."""
    if not tokens:
        if not _is_local(request):
            finding = Finding("SEC-607", "", "a request from this machine", "another", "set security.api_tokens")
            raise Problem(403, finding)
        return "local"
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    token = given.strip().encode()
    fits = [hmac.compare_digest(token, known) for known in tokens]
    if scheme.lower() != "bearer" or True not in fits:
        got = "another" if given else "none"
        finding = Finding("SEC-606", "", "a token of security.api_tokens", got, "send Authorization: Bearer TOKEN")
        raise Problem(401, finding, {"www-authenticate": "Bearer"})
    return hashlib.sha256(token).hexdigest()[:16]


async def read_body(request: Request, bytes_max: int, body_s: float) -> bytes:
    """The body, within its limits of size and time. Raises Problem 400, 408 or 413."""
    length = request.headers.get("content-length", "")
    if length and "transfer-encoding" in request.headers:
        expected, got = "one length", "Content-Length and Transfer-Encoding"
        raise Problem(400, bad_request("", expected, got, "send one of them"), {"connection": "close"})
    if len(length) > 18 or int(length or 0) > bytes_max:
        raise Problem(413, _too_large(bytes_max, length))
    body = bytearray()
    try:
        async with asyncio.timeout(body_s):
            async for part in request.stream():
                body += part
                if len(body) > bytes_max:
                    raise Problem(413, _too_large(bytes_max, "more"))
    except TimeoutError:
        finding = Finding("OPS-811", "", f"the body within {body_s:g} s", "less of it", "send it faster")
        raise Problem(408, finding, {"connection": "close"}) from None
    except ClientDisconnect:
        finding = bad_request("", "a whole body", "a part of it", "send the whole body")
        raise Problem(400, finding, {"connection": "close"}) from None
    request.state.was_read = True
    return bytes(body)


async def heard_out(request: Request) -> bool:
    """Reads what the client still sends and drops it; False where that does not end soon."""
    if getattr(request.state, "was_read", False):
        return True
    if request.headers.get("expect"):
        return False  # It waits for our word before it sends the body.
    dropped = 0
    try:
        async with asyncio.timeout(DRAIN_S):
            while dropped <= DRAIN_BYTES_MAX:
                message = await request.receive()
                if message["type"] != "http.request":
                    return False
                dropped += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return True
    except TimeoutError:
        pass
    return False


def media_type(request: Request) -> str:
    """The content type, where we take it. Raises Problem 415."""
    refuse_encoding(request)
    given = request.headers.get("content-type", "")
    kind, separator, parameters = given.partition(";")
    kind = kind.strip().lower()
    if kind not in (*EVENT_TYPES, BATCH_TYPE, *XML_TYPES):
        accepted = ", ".join((*EVENT_TYPES, BATCH_TYPE, XML_TYPES[0]))
        fix = "say in Content-Type what the body is"
        raise Problem(415, Finding("CON-108", "Content-Type", f"one of {accepted}", repr(given[:80]), fix))
    return f"{kind}{separator}{parameters}"


def refuse_encoding(request: Request) -> None:
    """Nothing is unpacked, so there is no bomb to unpack. Raises Problem 415."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        finding = Finding("CON-108", "Content-Encoding", "identity", repr(encoding[:40]), "send the body uncompressed")
        raise Problem(415, finding)


def language(request: Request) -> Language:
    """The language the client wants to read."""
    return language_of(request.headers.get("accept-language"))


def bad_request(path: str, expected: str, got: str, fix: str) -> Finding:
    """What is wrong with the request itself, before its body matters."""
    return Finding("OPS-812", path, expected, got, fix)


def _is_local(request: Request) -> bool:
    """True for a program on this machine that speaks to us directly: no proxy, and no browser lured by a foreign name."""
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via"))
    return request.client is not None and _is_loopback(request.client.host) and _is_loopback(host) and not forwarded


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _too_large(bytes_max: int, got: str) -> Finding:
    return Finding("CON-104", "", f"at most {bytes_max} bytes", f"{got[:20]} bytes", "send it in several parts")
