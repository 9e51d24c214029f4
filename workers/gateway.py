"""The HTTP door: events and signed webhooks in, 202 only when they are safe in the ledger; health and metrics out.

    POST /v1/events                        one CloudEvent (JSON or XML), or a batch (JSON array)
    POST /v1/hooks/{adapter}[/{company}]   a webhook of the OA that this adapter speaks for
    POST /v1/preflight                     one report: what would stand in its way if it were approved now
    GET  /healthz  /readyz  /metrics

A preflight is answered 200 with `ok` and every finding, 422 where the report cannot be read.
Answers to events: 202 all are safe (accepted, or known already), 207 some were refused, 422 none was taken; 400 and
413 and 415 for the request itself, 401 and 403 for its sender, 408 too slow, 503 with Retry-After for later.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter as Counted
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from anyio import CapacityLimiter, to_thread
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connector.adapter import Adapter, Change
from connector.bootstrap import Runtime
from connector.ledger import idempotency
from connector.ledger.faults import is_away
from connector.oa.door import Accept, Taken, accept_each, from_an_oa, take
from connector.oa.piece import Piece
from connector.oa.reading import JSON, read_array, read_one, too_many
from connector.process.intake import Accepted, accept_in, refuse_in
from contracts import Finding, Refused
from workers import http_server
from workers.gauges import ledger_gauges
from workers.problem import Language, Problem, told
from workers.request import (
    BATCH_TYPE,
    XML_TYPES,
    HeaderLimit,
    bad_request,
    client_of,
    heard_out,
    language,
    media_type,
    read_body,
    refuse_encoding,
)

BODY_S = 20.0  # A request's body must be here by then.
RETRY_AFTER = {"retry-after": "2"}
CONNECTIONS_PER_REQUEST = 8

_UNTRUSTED = ("SEC-601", "SEC-602", "SEC-603", "SEC-604")
_KEY = re.compile(r"[!-~]{1,200}")

Handler: TypeAlias = "Callable[[Request], Awaitable[Response]]"
Gauges: TypeAlias = "Callable[[], Iterable[Metric]]"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered, before it is an HTTP response."""

    status: int
    body: bytes
    replayed: bool = False

    def response(self) -> Response:
        """The HTTP response."""
        content_type = "application/problem+json" if self.status == 422 else JSON
        headers = {"idempotency-replayed": "true"} if self.replayed else {}
        return Response(self.body, self.status, headers, content_type)


def make_gateway(runtime: Runtime, *, gauges: Gauges | None = None, body_s: float = BODY_S) -> Starlette:
    """The ASGI application. Nothing connects before the first request."""
    gateway = _Gateway(runtime, gauges or partial(ledger_gauges, runtime.ledger), body_s)
    return Starlette(
        routes=[
            Route("/v1/events", gateway.guarded(gateway.events), methods=["POST"]),
            Route("/v1/preflight", gateway.guarded(gateway.preflight, share=2), methods=["POST"]),
            Route("/v1/hooks/{adapter}", gateway.guarded(gateway.hook, share=2), methods=["POST"]),
            Route("/v1/hooks/{adapter}/{company}", gateway.guarded(gateway.hook, share=2), methods=["POST"]),
            Route("/healthz", gateway.healthz),
            Route("/readyz", gateway.readyz),
            Route("/metrics", gateway.metrics),
        ],
        middleware=[Middleware(HeaderLimit)],
        exception_handlers={HTTPException: _no_such_door},
    )


def serve(
    runtime: Runtime,
    *,
    stop: threading.Event | None = None,
    started: Callable[[int], None] | None = None,
    gauges: Gauges | None = None,
) -> None:
    """Serves the gateway where the settings say, until `stop` is set or a signal comes. Works in any thread.
    `started` is told the port. Raises Misconfigured where it cannot listen there."""
    settings = runtime.settings.gateway
    http_server.run(
        make_gateway(runtime, gauges=gauges),
        settings.host,
        settings.port,
        connections_max=settings.requests_max * CONNECTIONS_PER_REQUEST,
        stop=stop,
        started=started,
    )


class _Gateway:
    def __init__(self, runtime: Runtime, gauges: Gauges, body_s: float) -> None:
        self._ledger, self._oa, self._ask = runtime.ledger, runtime.oa, runtime.preflight
        self._settings = runtime.settings.gateway
        self._gauges, self._body_s = gauges, body_s
        self._tokens = [token.get_secret_value().encode() for token in runtime.settings.security.api_tokens]
        self._at_work = 0
        self._health = CapacityLimiter(2)  # Health is told also while every other thread waits for the database.
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "oaerp_gateway_requests", "Requests answered", ["door", "status"], registry=self._registry
        )
        self._events = Counter("oaerp_gateway_events", "Events told", ["door", "status"], registry=self._registry)

    def guarded(self, handler: Handler, share: int = 1) -> Handler:
        """The handler, with problems as answers, a place among the requests at work (for this handler at most one in
        `share` of them), and the client heard out, so that it can read the answer."""
        places = max(1, self._settings.requests_max // share)
        mine = 0

        async def guard(request: Request) -> Response:
            nonlocal mine
            door = request.url.path.split("/")[2]
            try:
                if self._at_work >= self._settings.requests_max or mine >= places:
                    raise Problem(503, _busy(places), RETRY_AFTER)
                self._at_work, mine = self._at_work + 1, mine + 1
                try:
                    response = await handler(request)
                finally:
                    self._at_work, mine = self._at_work - 1, mine - 1
            except Problem as problem:
                if "connection" not in problem.headers and not await heard_out(request):
                    problem.headers["connection"] = "close"
                response = problem.response(language(request))
            self._requests.labels(door, str(response.status_code)).inc()
            return response

        return guard

    async def events(self, request: Request) -> Response:
        """Takes events from whoever has a token, or from this machine where no tokens are set."""
        client = client_of(request, self._tokens)
        content_type = media_type(request)
        key = request.headers.get("idempotency-key")
        if key is not None and not _KEY.fullmatch(key):
            expected = "1 to 200 visible ASCII characters"
            raise Problem(400, bad_request("Idempotency-Key", expected, repr(key[:40]), "send a UUID"))
        body = await read_body(request, self._settings.body_bytes_max, self._body_s)
        answer = await to_thread.run_sync(
            partial(self._take_events, body, content_type, client, key, language(request))
        )
        return answer.response()

    async def hook(self, request: Request) -> Response:
        """Takes what an OA pushes, after its adapter found it genuine."""
        adapter = self._adapter(request.path_params["adapter"], request.path_params.get("company"))
        refuse_encoding(request)
        body = await read_body(request, self._settings.body_bytes_max, self._body_s)
        headers = dict(request.headers)
        answer = await to_thread.run_sync(partial(self._take_hook, adapter, headers, body, language(request)))
        return answer.response()

    async def preflight(self, request: Request) -> Response:
        """Tells whoever may post events what would stand in a report's way; keeps nothing."""
        client_of(request, self._tokens)
        content_type = media_type(request)
        body = await read_body(request, self._settings.body_bytes_max, self._body_s)
        return await to_thread.run_sync(partial(self._preflight, body, content_type, language(request)))

    def _preflight(self, body: bytes, content_type: str, language: Language) -> Response:
        try:
            asked = self._ask(body, content_type)
        except SQLAlchemyError as error:
            raise _away(error) from error
        if asked.event is None:
            raise Problem(422, asked.findings)
        value = asked.as_dict()
        value["findings"] = [told(finding, language) for finding in asked.findings]
        value["warnings"] = [told(finding, language) for finding in asked.warnings]
        return Response(json.dumps(value, ensure_ascii=False), 200, media_type=JSON)

    async def healthz(self, request: Request) -> Response:
        """The process is up."""
        return _json(200, {"status": "up"})

    async def readyz(self, request: Request) -> Response:
        """The ledger answers and its tables are those of this version."""
        try:
            current = await to_thread.run_sync(self._ledger.is_current, limiter=self._health)
        except SQLAlchemyError as error:
            return _json(503, {"status": "not ready", "ledger": f"away: {type(error).__name__}"})
        if not current:
            return _json(503, {"status": "not ready", "ledger": "its tables are of another version"})
        return _json(200, {"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        """Everything Prometheus asks for."""
        text = await to_thread.run_sync(self._metrics, limiter=self._health)
        return Response(text, 200, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    def _metrics(self) -> bytes:
        try:
            found, up = list(self._gauges()), 1
        except SQLAlchemyError:
            found, up = [], 0
        found.append(GaugeMetricFamily("oaerp_ledger_up", "1 where the ledger answers", up))
        scraped = CollectorRegistry()
        scraped.register(_Collected(found))
        return generate_latest(self._registry) + generate_latest(scraped)

    def _adapter(self, name: str, company: str | None) -> Adapter:
        found = [oa for oa in self._oa.values() if oa.name == name and oa.features.push]
        if company is not None or len(found) > 1:
            found = [oa for oa in found if oa.company == company]
        if not found:
            expected = "an OA of the settings that pushes, and its company where there are several"
            raise Problem(404, Finding("OPS-813", "", expected, repr(name[:40]), "correct the address of the hook"))
        return found[0]

    def _take_events(self, body: bytes, content_type: str, client: str, key: str | None, language: Language) -> Answer:
        pieces = self._pieces(body, content_type)
        single = pieces is None
        read = [read_one(body, content_type)] if pieces is None else pieces
        scope = f"events/{client}"
        sha256 = hashlib.sha256(content_type.encode() + b"\0" + body).hexdigest()
        with self._transaction() as tx:
            first = self._seen(tx, scope, key, sha256, 422)
            if first is not None:
                return first
            taken = list(take(read, _accept_in(tx), "http", from_an_oa()))
            answer = _answer(taken, single, language)
            if key is not None and answer.status != 422:
                idempotency.remember(tx, scope, key, answer.status, answer.body)
            elif key is not None:
                idempotency.release(tx, scope, key)  # Nothing happened: the corrected request may use the key.
        for one in taken:
            self._events.labels("events", one.status).inc()
        return answer

    def _pieces(self, body: bytes, content_type: str) -> Sequence[Piece] | None:
        """The events of a batch; None for a single event."""
        kind = content_type.partition(";")[0]
        is_array = body.lstrip(b" \t\r\n")[:1] == b"["
        if kind in XML_TYPES or not (is_array or kind == BATCH_TYPE):
            return None
        if not is_array:
            finding = Finding("CON-114", "", "a JSON array of events", "another value", "send [event, event]")
            raise Problem(422, finding)
        try:
            pieces = list(read_array(body, self._settings.batch_max))
        except Refused as refused:
            large = refused.findings[0].code == too_many(0).code
            raise Problem(413 if large else 422, refused.findings) from None
        if not pieces:
            raise Problem(422, Finding("CON-118", "", "at least one event", "an empty array", "send an event"))
        return pieces

    def _take_hook(self, adapter: Adapter, headers: dict[str, str], body: bytes, language: Language) -> Answer:
        door = f"hook {adapter.name}"
        changes: Sequence[Change] = ()
        findings: Sequence[Finding] = ()
        try:
            changes = adapter.receive(headers, body)
        except Refused as refused:
            findings = refused.findings
            if findings[0].code.startswith("SEC-"):  # Nobody is known to have sent this: nothing of it is kept.
                self._events.labels("hooks", "untrusted").inc()
                raise Problem(401 if findings[0].code in _UNTRUSTED else 403, findings) from None
        source = f"/oa/{adapter.name}/{adapter.company}"
        scope = f"hook/{adapter.name}/{adapter.company}"[:60]
        given = headers.get("webhook-id", "")
        key = given if _KEY.fullmatch(given) else None
        sha256 = hashlib.sha256(body).hexdigest()
        with self._transaction() as tx:
            first = self._seen(tx, scope, key, sha256, 409)
            if first is not None:
                return first
            if findings:
                letter = refuse_in(tx, body, door, findings, JSON, source, f"hook-{sha256[:40]}")
                answer = Answer(422, Problem(422, findings, more={"dead_letter": letter}).body(language))
            else:
                answer = _answer(_take_changes(tx, changes, door), False, language)
            if key is not None:
                idempotency.remember(tx, scope, key, answer.status, answer.body)
        self._events.labels("hooks", "refused" if findings else "accepted").inc()
        return answer

    def _seen(self, tx: Connection, scope: str, key: str | None, sha256: str, status: int) -> Answer | None:
        if key is None:
            return None
        try:
            first = idempotency.seen(tx, scope, key, sha256)
        except Refused as refused:
            finding = refused.findings[0]
            raise Problem(status, replace(finding, code="SEC-605") if status == 409 else finding) from None
        return Answer(first.status, first.body, replayed=True) if first is not None else None

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """One transaction of the ledger; where that is away, a Problem 503."""
        try:
            with self._ledger.begin() as tx:
                yield tx
        except SQLAlchemyError as error:
            raise _away(error) from error


def _away(error: SQLAlchemyError) -> Problem:
    """The problem of a ledger that is away; any other error of the database is raised as it is."""
    if not is_away(error):
        raise error
    fix = "send the same request again after the time given"
    finding = Finding("OPS-805", "", "the ledger to answer", type(error).__name__, fix)
    return Problem(503, finding, RETRY_AFTER)


class _Collected:
    """Metrics that are there already, as prometheus_client wants to be given them."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def _accept_in(tx: Connection) -> Accept:
    """`accept` inside a transaction of the caller's; what fails leaves the transaction as it was."""

    def accept(changes: Sequence[Change], door: str) -> Sequence[Accepted]:
        with tx.begin_nested():
            return accept_in(tx, changes, door)

    return accept


def _take_changes(tx: Connection, changes: Sequence[Change], door: str) -> Sequence[Taken]:
    """What an adapter read, accepted; what the ledger cannot hold becomes a dead letter."""
    taken: list[Taken] = []
    for change, answer in zip(changes, accept_each(changes, _accept_in(tx), door), strict=True):
        piece = Piece("", change.raw, JSON, change.event)
        if isinstance(answer, Finding):
            refuse_in(tx, change.raw, door, [answer], JSON, change.event.source, change.event.id)
            taken.append(Taken(piece, "refused", findings=[answer]))
        else:
            taken.append(Taken(piece, answer.status, accepted=answer))
    return taken


def _answer(taken: Sequence[Taken], single: bool, language: Language) -> Answer:
    """What the sender is told about each event, and the status that stands for all."""
    counts = Counted(one.status for one in taken)
    events = []
    for index, one in enumerate(taken):
        findings = [told(finding, language) for finding in one.findings]
        value = {"index": index, **one.as_dict()}
        value.pop("where", None)
        events.append(value | {"findings": findings} if findings else value)
    if counts["refused"] == len(taken):
        more = {} if single else {"events": events}
        first = next(one for one in taken if one.findings)
        return Answer(422, Problem(422, first.findings, more=more).body(language))
    told_counts = {status: counts[status] for status in ("accepted", "duplicate", "refused")}
    status = 207 if counts["refused"] else 202
    return Answer(status, json.dumps(told_counts | {"events": events}, ensure_ascii=False).encode())


def _json(status: int, value: dict[str, Any]) -> Response:
    return Response(json.dumps(value), status, media_type=JSON)


def _no_such_door(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    got = repr(f"{request.method} {request.url.path}"[:80])
    finding = Finding("OPS-813", "", "POST /v1/events or another of our paths", got, "correct method and path")
    return Problem(error.status_code, finding, error.headers).response(language(request))


def _busy(places: int) -> Finding:
    return Finding("OPS-810", "", f"at most {places} requests at once", "more", "send it again after the time given")
