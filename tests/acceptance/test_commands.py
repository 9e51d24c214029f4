"""The commands as they are typed: demo, preview, publish and trace, the gateway, and stopping."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.commands import ROOT, STOP_S, Terminal, lines
from tests.support.servers import Broker
from tests.support.wait import until
from tests.unit.doors.samples import body, row, table

EXAMPLES = ROOT / "contracts" / "examples"
CASE_A = EXAMPLES / "expense-report-approved.case-a.json"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    yield made
    made.close()


def differences(expected: Any, found: Any, where: str = "") -> list[str]:
    """Where `found` does not have what `expected` gives; more is allowed."""
    if isinstance(expected, dict):
        return [d for key, value in expected.items() for d in differences(value, found.get(key), f"{where}.{key}")]
    if isinstance(expected, list):
        if len(expected) != len(found):
            return [f"{where}: {len(found)} instead of {len(expected)}"]
        return [
            d for at, pair in enumerate(zip(expected, found, strict=True)) for d in differences(*pair, f"{where}[{at}]")
        ]
    return [] if expected == found else [f"{where}: {found!r} instead of {expected!r}"]


@dataclass(frozen=True)
class Demo:
    """A demo that ran: where, and what it said."""

    terminal: Terminal
    ran: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo's tests share one run; none of them changes it."""
    terminal = Terminal(tmp_path_factory.mktemp("demo"))
    return Demo(terminal, terminal.type("demo"))


def test_the_demo_proves_its_totals_and_runs_again_in_the_same_place(tmp_path: Path, demo: Demo) -> None:
    shutil.copytree(demo.terminal.folder, tmp_path, dirs_exist_ok=True)
    terminal = Terminal(tmp_path)

    ran = terminal.type("demo", "--json")

    result = json.loads(ran.stdout)
    assert demo.ran.returncode == ran.returncode == 0, ran.stderr
    assert result["agree"] is True
    assert result["expected"] == result["ledger"] == result["erp"]
    assert f"{len(result['vouchers'])} vouchers" in demo.ran.stdout
    assert result["differences"] == []
    assert sorted(letter["code"] for letter in result["dead_letters"]) == ["CON-111", "CON-131", "MAP-201"]
    again = terminal.type("--home", "var/demo", "trace", result["vouchers"][0]["document"]["number"], "--json")
    assert again.returncode == 0, again.stderr


def test_the_home_of_a_demo_is_known_from_any_folder(demo: Demo) -> None:
    elsewhere = Terminal(Path("/"))
    home = demo.terminal.folder / "var" / "demo"

    ran = elsewhere.type("--home", str(home), "deadletters", "list", "--json")

    assert ran.returncode == 0, ran.stderr
    assert sum(cause["count"] for cause in lines(ran.stdout)) == 3


def test_every_next_command_that_the_demo_prints_works_as_printed(demo: Demo) -> None:
    hints = re.findall(r"^→ (?:\S*/)?oaerp (.+)$", demo.ran.stderr, re.MULTILINE)

    assert len(hints) == 2
    for typed in hints:
        assert demo.terminal.type(*typed.split()).returncode == 0, typed


def test_the_demo_never_clears_a_folder_that_is_not_a_demo(terminal: Terminal) -> None:
    (terminal.folder / "books").mkdir()
    (terminal.folder / "books" / "2025.xlsx").write_text("ours")

    ran = terminal.type("--home", "books", "demo")

    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert (terminal.folder / "books" / "2025.xlsx").read_text() == "ours"


def test_a_preview_equals_the_golden_voucher_in_every_given_field(terminal: Terminal) -> None:
    ran = terminal.type("preview", str(CASE_A), "--json")

    shown = json.loads(ran.stdout)
    assert ran.returncode == 0
    assert differences(json.loads((EXAMPLES / "voucher.case-a.json").read_bytes()), shown["voucher"]) == []
    assert ran.stderr.count("! ") == len(shown["warnings"]) > 0


def test_a_published_report_is_booked_and_its_story_told(terminal: Terminal) -> None:
    home = terminal.folder / "home"
    home.mkdir()
    (home / "oaerp.yaml").write_text("erp: [{adapter: file, company: C01, options: {path: home/erp}}]\n")
    published = terminal.type("--home", "home", "publish", str(CASE_A), "--json")
    assert lines(published.stdout)[0]["status"] == "accepted"

    with terminal.up("home") as wait:
        wait(lambda: "booked" in terminal.type("--home", "home", "trace", "EXP2025-0017").stdout)

    story = json.loads(terminal.type("--home", "home", "trace", "EXP2025-0017", "--json").stdout)
    assert [voucher["state"] for voucher in story["vouchers"]] == ["POSTED"]
    assert {"event", "planned", "call", "posted"} <= {moment["what"] for moment in story["moments"]}


def test_what_comes_over_http_and_what_lies_in_a_watched_folder_is_booked(terminal: Terminal) -> None:
    home = terminal.folder / "home"
    home.mkdir()
    (home / "oaerp.yaml").write_text(
        "erp: [{adapter: file, company: C01, options: {path: home/erp}}]\n"
        "folders: [{path: home/in, company: C01, quiet_s: 0}]\n"
    )
    (home / "in" / "inbox").mkdir(parents=True)
    (home / "in" / "inbox" / "march.csv").write_bytes(table(row("EXP-5", total="10.00")))
    log = terminal.folder / "log"
    child = terminal.start("--home", "home", "up", log=log)
    try:
        until(lambda: "http://" in log.read_text(), STOP_S, log.read_text)
        url = re.search(r"http://[0-9.:]+", log.read_text())
        assert url is not None

        reply = httpx2.post(
            f"{url[0]}/v1/events", content=body("EXP-1"), headers={"content-type": "application/cloudevents+json"}
        )

        assert reply.status_code == 202, reply.text
        booked = "SELECT reference FROM postings WHERE state = 'POSTED' ORDER BY reference"
        until(lambda: len(terminal.query("home", booked)) == 2, STOP_S, log.read_text)
        assert terminal.query("home", booked) == [("C01-EXP-1-V1",), ("C01-EXP-5-V1",)]
        child.terminate()
        assert child.wait(STOP_S) == 0, log.read_text()
    finally:
        child.kill()
        child.wait()


def test_a_gateway_that_refuses_our_token_ends_publishing_with_5(terminal: Terminal) -> None:
    terminal.env |= {"OAERP_SECURITY__API_TOKENS": '["right"]'}
    gateway = terminal.start("--home", "home", "gateway", "--json")
    try:
        assert gateway.stdout is not None
        url = f"http://127.0.0.1:{json.loads(gateway.stdout.readline())['port']}"

        wrong = terminal.type("publish", str(CASE_A), "--to", url, OAERP_TOKEN="wrong")
        right = terminal.type("publish", str(CASE_A), "--to", url, "--json", OAERP_TOKEN="right")

        assert wrong.returncode == 5, wrong.stderr
        assert "SEC-606" in wrong.stderr
        assert right.returncode == 0, right.stderr
        assert lines(right.stdout)[0]["status"] == "accepted"
    finally:
        gateway.terminate()
        assert gateway.wait(STOP_S) == 0
        gateway.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("process", ["up", "gateway", "relay"])
def test_a_process_ends_well_when_it_is_asked_to(process: str, number: int, terminal: Terminal) -> None:
    child = terminal.start("--home", "home", process, "--json")
    assert child.stdout is not None
    assert json.loads(child.stdout.readline())["running"]

    child.send_signal(number)
    _, err = child.communicate(timeout=STOP_S)

    assert child.returncode == 0, err
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_no_fault(terminal: Terminal) -> None:
    child = terminal.start("--lang", "en", "config", "show")
    assert child.stdout is not None
    child.stdout.close()
    child.stdout = None

    _, err = child.communicate(timeout=STOP_S)

    assert child.returncode in (0, 1)
    assert "Traceback" not in err
    assert "OPS-801" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("process", ["worker", "beat"])
def test_a_celery_process_ends_well_when_it_is_asked_to(
    process: str, number: int, redis_server: Broker, terminal: Terminal
) -> None:
    prefix = f"{redis_server.prefix}.{process}"
    terminal.env |= {"OAERP_BROKER_URL": redis_server.url, "OAERP_PREFIX": prefix}
    log = terminal.folder / "log"
    child = terminal.start("--home", "home", process, log=log)
    ready = {"worker": "ready", "beat": "beat: Starting"}[process]
    until(lambda: ready in log.read_text(), STOP_S, log.read_text)

    child.send_signal(number)

    assert child.wait(STOP_S) == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def test_without_a_terminal_there_is_no_colour_and_no_question(demo: Demo) -> None:
    ran = demo.terminal.type("--home", "var/demo", "deadletters", "discard", "--all", "--reason", "test")

    assert ran.returncode == 2
    assert "\x1b[" not in ran.stdout + ran.stderr + demo.ran.stdout + demo.ran.stderr
