"""The shared HTTP client says whether a call was done, cuts what drips, and keeps secrets out of messages."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from connector.errors import Ambiguous, ConnectorError, Misconfigured, Unavailable
from connector.http import HttpClient

LONG_S = 30  # The servers below would drip for hours.


@contextmanager
def server(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server for one connection at a time; `answer` has read the request and does what it likes."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                try:
                    answer(connection, stop)
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def dripping(start: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(start)
        while not stop.wait(0.05):
            connection.sendall(b"x")

    return answer


def test_a_body_that_drips_is_cut_at_the_deadline() -> None:
    with server(dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")) as url:
        client, start = HttpClient(url, total_s=2), time.monotonic()
        with pytest.raises(Ambiguous):
            client.call("POST", "/", content=b"{}")
        assert time.monotonic() - start < LONG_S
        client.close()


def test_a_header_that_drips_is_cut_at_the_deadline() -> None:
    with server(dripping(b"HTTP/1.1 200 OK\r\nx-slow: ")) as url:
        client, start = HttpClient(url, total_s=2), time.monotonic()
        with pytest.raises(Ambiguous):
            client.call("POST", "/", content=b"{}")
        assert time.monotonic() - start < LONG_S
        client.close()


def test_a_lost_answer_is_in_doubt_but_of_a_safe_call_only_unavailable() -> None:
    with server(lambda connection, stop: None) as url:
        client = HttpClient(url)
        with pytest.raises(Ambiguous):
            client.call("POST", "/", content=b"{}")
        with pytest.raises(Unavailable):
            client.call("GET", "/", safe=True)
        client.close()


def test_nobody_listening_means_that_nothing_was_done() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = HttpClient(f"http://127.0.0.1:{port}")
    with pytest.raises(Unavailable):
        client.call("POST", "/", content=b"{}")
    client.close()


def test_redirects_are_answers_and_not_followed() -> None:
    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/\r\ncontent-length: 0\r\n\r\n")

    with server(answer) as url:
        client = HttpClient(url)
        assert client.call("GET", "/").status == 302
        client.close()


def test_retry_after_is_read_as_whole_seconds_only() -> None:
    given = iter(["7", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "99999999"])

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(
            f"HTTP/1.1 429 X\r\nretry-after: {next(given)}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode()
        )

    with server(answer) as url:
        client = HttpClient(url)
        assert [client.call("GET", "/").retry_after_s for _ in range(4)] == [7, None, None, 86400]
        client.close()


def test_messages_carry_no_secret_no_markup_and_no_query() -> None:
    client = HttpClient("http://127.0.0.1:9", secrets=["s3cret-token"])

    text = client.scrub(
        "<html><script>x</script><p>bad\n s3cret-token at /a?access_token=abc &amp; more</p>" + "y" * 900
    )

    assert "s3cret" not in text
    assert "abc" not in text
    assert "<" not in text
    assert text.startswith("bad *** at /a?*** & more")
    assert len(text) == 300


@pytest.mark.parametrize("url", ["ftp://host", "host:80", "http://", "http://user:pw@host/"])
def test_an_unusable_url_is_a_mistake_in_the_settings(url: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        HttpClient(url)
    assert "pw" not in str(refused.value)


def test_the_query_of_a_failed_call_is_not_in_its_message() -> None:
    client = HttpClient("http://127.0.0.1:9")
    with pytest.raises(ConnectorError) as failed:
        client.call("GET", "/gettoken?secret=abc")
    assert "abc" not in str(failed.value)
