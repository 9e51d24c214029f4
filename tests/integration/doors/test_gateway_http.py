"""The HTTP side of the gateway: who may speak, how much, how fast, and what happens while the ledger is away."""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from connector.errors import Misconfigured
from connector.ledger import Ledger
from tests.integration.doors.conftest import Served, make_runtime
from tests.unit.doors.samples import array, body
from workers.gateway import serve as serve_gateway

Serve = Callable[..., Served]
HEAD = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def exchange(port: int, *parts: bytes, wait_s: float = 60) -> bytes:
    """What comes back on a raw connection until the server closes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        while part := connection.recv(65536):
            received += part
        return received


def until(condition: Callable[[], bool], wait_s: float = 60) -> bool:
    """Waits for a condition, with a deadline."""
    deadline = time.monotonic() + wait_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.02)
    return True


@pytest.mark.parametrize(
    "content_type", ["application/x-python-pickle", "application/x-yaml", "text/plain", "application/msgpack", ""]
)
def test_another_content_type_is_refused(serve: Serve, local_ledger: Ledger, content_type: str) -> None:
    gateway = serve(local_ledger)
    headers = {"content-type": content_type} if content_type else {}

    reply = gateway.client.post("/v1/events", content=body(), headers=headers)

    assert (reply.status_code, reply.json()["code"]) == (415, "CON-108")


@pytest.mark.parametrize("encoding", ["gzip", "br", "utf-99", "gzip, identity"])
@pytest.mark.parametrize("path", ["/v1/events", "/v1/hooks/webhook/C01"])
def test_a_packed_body_is_refused_unread(serve: Serve, local_ledger: Ledger, encoding: str, path: str) -> None:
    headers = {"content-type": "application/json", "content-encoding": encoding}

    reply = serve(local_ledger).client.post(path, content=b"\x1f\x8b" + b"\0" * 1000, headers=headers)

    assert (reply.status_code, reply.json()["code"]) == (415, "CON-108")


@pytest.mark.parametrize("chunked", [False, True])
def test_ten_megabytes_are_refused_within_bounded_memory(serve: Serve, local_ledger: Ledger, chunked: bool) -> None:
    gateway = serve(local_ledger)
    before = psutil.Process().memory_info().rss

    def parts() -> Iterator[bytes]:
        for _ in range(160):
            yield b"x" * 65536

    content = parts() if chunked else b"x" * 10_485_760
    reply = gateway.client.post("/v1/events", content=content, headers={"content-type": "application/json"})

    assert (reply.status_code, reply.json()["code"]) == (413, "CON-104")
    assert psutil.Process().memory_info().rss - before < 60_000_000
    assert gateway.post(body()).status_code == 202


def test_a_body_that_drips_is_cut_off_in_time(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger, body_s=0.3)

    received = exchange(gateway.port, HEAD + b"Content-Length: 1000\r\n\r\n{")

    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"OPS-811" in received


def test_headers_that_drip_are_cut_off_in_time(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger, headers_s=1)

    assert exchange(gateway.port, b"POST /v1/events HTTP/1.1\r\nHost: local") == b""


def test_many_slow_clients_keep_nobody_else_out(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger)
    slow = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(100)]
    for connection in slow:
        connection.sendall(b"POST /v1/events HTTP/1.1\r\nHost:")

    assert gateway.post(body()).status_code == 202

    for connection in slow:
        connection.close()


def test_a_second_slow_request_on_a_connection_is_cut_off_too(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger, headers_s=1.5)
    healthz = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

    received = exchange(gateway.port, healthz, b"GET /healthz HTTP/1.1\r\n")

    assert received.count(b"HTTP/1.1 200 OK") == 1


def test_two_lengths_in_one_request_are_refused(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger)
    content = body()

    received = exchange(
        gateway.port,
        HEAD + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(content),
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content),
    )

    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"OPS-812" in received
    assert gateway.waiting() == 0


@pytest.mark.parametrize(
    ("lengths", "status", "code"),
    [
        (b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", b"400", b"OPS-812"),
        (b"Content-Length: 5000000\r\nTransfer-Encoding: chunked\r\n\r\n", b"400", b"OPS-812"),
        (b"Content-Length: 5000000\r\n\r\n", b"413", b"CON-104"),
        (b"Content-Encoding: gzip\r\nContent-Length: 5000000\r\n\r\n", b"415", b"CON-108"),
    ],
    ids=["no HTTP", "two lengths", "too long", "packed"],
)
def test_a_client_that_still_sends_reads_why_it_was_refused(
    serve: Serve, local_ledger: Ledger, lengths: bytes, status: bytes, code: bytes
) -> None:
    gateway = serve(local_ledger)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
        connection.sendall(HEAD + lengths)
        assert select.select([connection], [], [], 30)[0], "the answer is here before the body is sent"
        for _ in range(50):
            connection.sendall(b"x" * 65_536)
        connection.shutdown(socket.SHUT_WR)

        received = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert received.startswith(b"HTTP/1.1 " + status)
    assert code in received
    assert received.count(b"HTTP/1.1 " + status) == 1


def test_a_refused_client_that_sends_on_is_let_go(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger, headers_s=0.3)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
        connection.sendall(HEAD + b"Content-Length: -1\r\n\r\n")

        def is_reset() -> bool:
            try:
                connection.sendall(b"x")
            except OSError:
                return True
            return False

        assert until(is_reset)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"x" * 65_536 + b"\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[    \r\nzz\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Split: a\rb\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["64 KB header", "two lengths", "negative length", "packed transfer", "broken chunk", "CR in a header", "TLS"],
)
def test_a_request_that_is_no_http_is_answered_with_a_problem(
    serve: Serve, local_ledger: Ledger, request_bytes: bytes
) -> None:
    gateway = serve(local_ledger)

    received = exchange(gateway.port, request_bytes)

    assert received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
    assert b"application/problem+json" in received
    assert gateway.client.get("/healthz").status_code == 200


def test_more_requests_at_once_than_allowed_are_told_to_come_back(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger, requests_max=1)
    with socket.create_connection(("127.0.0.1", gateway.port)) as slow:
        slow.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        replies = []

        def is_busy() -> bool:
            replies.append(gateway.post(body()))
            return replies[-1].status_code == 503

        assert until(is_busy)

    assert replies[-1].json()["code"] == "OPS-810"
    assert replies[-1].headers["retry-after"].isdigit()
    assert until(lambda: gateway.post(body()).status_code == 202)


def test_only_a_known_token_may_post_where_tokens_are_set(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger, tokens=("good-token", "next-token"))

    missing = gateway.post(body())
    wrong = [gateway.post(body(), authorization=value) for value in ("Bearer bad", "Basic good-token", "Bearer")]
    good = [gateway.post(body(), authorization=f"Bearer {token}") for token in ("good-token", "next-token")]

    assert [reply.status_code for reply in (missing, *wrong)] == [401] * 4
    assert missing.json()["code"] == "SEC-606"
    assert missing.headers["www-authenticate"] == "Bearer"
    assert [reply.status_code for reply in good] == [202, 202]


@pytest.mark.parametrize(
    "headers",
    [{"x-forwarded-for": "203.0.113.9"}, {"forwarded": "for=203.0.113.9"}, {"host": "attacker.example"}],
    ids=["proxy", "standard proxy", "rebound name"],
)
def test_without_tokens_a_proxy_or_a_foreign_name_may_not_post(
    serve: Serve, local_ledger: Ledger, headers: dict[str, str]
) -> None:
    gateway = serve(local_ledger)

    reply = gateway.client.post("/v1/events", content=body(), headers={"content-type": "application/json", **headers})

    assert (reply.status_code, reply.json()["code"]) == (403, "SEC-607")


def test_another_path_or_method_is_a_problem_too(serve: Serve, local_ledger: Ledger) -> None:
    client = serve(local_ledger).client

    replies = [client.get("/v1/events"), client.get("/nothing"), client.post("/healthz")]

    assert [reply.status_code for reply in replies] == [405, 404, 405]
    assert {reply.json()["code"] for reply in replies} == {"OPS-813"}


def test_while_the_ledger_is_away_the_sender_is_told_to_come_back(serve: Serve) -> None:
    away = Ledger("postgresql://oaerp@127.0.0.1:1/none?connect_timeout=2")
    gateway = serve(away)

    reply = gateway.post(body(), idempotency_key="k1")

    assert (reply.status_code, reply.json()["code"]) == (503, "OPS-805")
    assert reply.headers["retry-after"].isdigit()
    assert "oaerp@" not in reply.text
    assert gateway.client.get("/healthz").status_code == 200
    assert gateway.client.get("/readyz").status_code == 503
    assert "oaerp_ledger_up 0.0" in gateway.client.get("/metrics").text
    away.close()


def test_a_request_that_waits_for_the_database_keeps_no_other_waiting(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger)
    replies: list[int] = []
    with local_ledger.begin():  # SQLite has one writer, and it is us.
        thread = threading.Thread(target=lambda: replies.append(gateway.post(body()).status_code))
        thread.start()

        assert gateway.client.get("/healthz", timeout=25).status_code == 200
        assert replies == []
    thread.join(30)

    assert replies == [202]


def test_readiness_means_that_the_tables_are_current(serve: Serve, tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'empty.db'}")
    client = serve(ledger).client

    assert client.get("/readyz").status_code == 503
    ledger.upgrade()
    assert client.get("/readyz").json() == {"status": "ready"}
    ledger.close()


def test_metrics_tell_of_requests_events_and_what_waits(serve: Serve, ledger: Ledger) -> None:
    gateway = serve(ledger)
    gateway.post(array(body("A"), b"{}"))

    text = gateway.client.get("/metrics").text

    assert 'oaerp_gateway_requests_total{door="events",status="207"} 1.0' in text
    assert 'oaerp_gateway_events_total{door="events",status="refused"} 1.0' in text
    assert "oaerp_outbox_events 1.0" in text
    assert re.search(r"oaerp_outbox_oldest_seconds [0-9.]+\n", text)
    assert "oaerp_ledger_up 1.0" in text
    assert "EXP" not in text


def test_a_port_in_use_is_told_plainly(local_ledger: Ledger) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        runtime = make_runtime(local_ledger, port=taken.getsockname()[1])

        with pytest.raises(Misconfigured, match="cannot listen on"):
            serve_gateway(runtime)


def test_stopping_lets_the_request_at_work_finish(local_ledger: Ledger) -> None:
    stop, ready, ports = threading.Event(), threading.Event(), list[int]()
    runtime = make_runtime(local_ledger, port=0)

    def started(port: int) -> None:
        ports.append(port)
        ready.set()

    thread = threading.Thread(target=serve_gateway, args=(runtime,), kwargs={"stop": stop, "started": started})
    thread.start()
    assert ready.wait(60)
    content = body()
    with socket.create_connection(("127.0.0.1", ports[0])) as connection:
        connection.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(content) + content[:10])
        idle = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert exchange(ports[0], idle).startswith(b"HTTP/1.1 200")
        stop.set()
        connection.sendall(content[10:])
        received = connection.recv(65536)
    thread.join(30)

    assert received.startswith(b"HTTP/1.1 202 ")
    assert not thread.is_alive()
