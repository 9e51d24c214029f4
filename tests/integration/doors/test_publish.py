"""Publishing files by hand: through the ledger or to a gateway, and again without a second effect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from connector.errors import Rejected, Unavailable
from connector.ledger import Ledger
from connector.settings import Retry
from tests.integration.doors.conftest import Served, events_in
from tests.unit.doors.samples import array, body, row, table
from workers.publish import publish_files, send_files

Serve = Callable[..., Served]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.json", tmp_path / "b.csv", tmp_path / "c.jsonl"]
    paths[0].write_bytes(array(body("A"), body("B")))
    paths[1].write_bytes(table(row("C", total="10.00"), row("D", amount="1e1", total="10.00")))
    paths[2].write_bytes(b"\n".join([body("E"), b"{", body("F")]))
    return paths


EXPECTED = [
    ("A", "accepted"),
    ("B", "accepted"),
    ("C", "accepted"),
    ("", "refused"),
    ("E", "accepted"),
    ("", "refused"),
    ("F", "accepted"),
]


def test_files_are_published_through_the_ledger_once(ledger: Ledger, files: list[Path]) -> None:
    rows = list(publish_files(files, ledger))

    assert [(one.number, one.status) for one in rows] == EXPECTED
    assert {one.status for one in publish_files(files, ledger)} == {"duplicate", "refused"}
    assert events_in(ledger) == 5


def test_files_are_published_to_a_gateway_once(serve: Serve, local_ledger: Ledger, files: list[Path]) -> None:
    gateway = serve(local_ledger, tokens=("secret-token",))
    url = f"http://127.0.0.1:{gateway.port}"

    rows = list(send_files(files, url, token="secret-token"))
    list(send_files(files, url, token="secret-token"))

    assert [(one.number, one.status) for one in rows] == EXPECTED
    assert gateway.waiting() == 5


def test_a_wrong_token_is_told(serve: Serve, local_ledger: Ledger, files: list[Path]) -> None:
    gateway = serve(local_ledger, tokens=("secret-token",))

    with pytest.raises(Rejected, match="401"):
        list(send_files(files, f"http://127.0.0.1:{gateway.port}", token="another-token"))


def test_a_gateway_that_is_away_is_told(files: list[Path]) -> None:
    with pytest.raises(Unavailable):
        list(send_files(files, "http://127.0.0.1:1", retry=Retry(call_attempts=2, call_wait_s=0)))


def test_what_a_gateway_refuses_is_told_with_its_findings(serve: Serve, local_ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(body(f"A{number}") for number in range(1200)))

    rows = list(send_files([path], f"http://127.0.0.1:{serve(local_ledger).port}"))

    assert len(rows) == 1200
    assert {one.status for one in rows} == {"accepted"}


def test_a_file_that_is_not_there_is_a_row_that_says_so(local_ledger: Ledger, files: list[Path]) -> None:
    missing = files[0].with_name("nothing.json")

    rows = list(publish_files([missing, files[0]], local_ledger))

    assert [one.status for one in rows] == ["refused", "accepted", "accepted"]
    assert rows[0].as_dict()["findings"][0]["code"] == "OPS-812"
