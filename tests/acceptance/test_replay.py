"""Replaying dead letters: interrupted, killed, or typed in two terminals at once, it loses nothing and doubles nothing."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from connector.bootstrap import open_runtime
from connector.channels import Message
from connector.settings import load
from connector.translate.book import STARTER
from tests.acceptance.commands import ROOT, Terminal, lines

LETTERS = 40
CASE_A = json.loads((ROOT / "contracts/examples/expense-report-approved.case-a.json").read_bytes())


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    alone(tmp_path, monkeypatch)
    made = parked(tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """The same on each kind of ledger."""
    alone(tmp_path, monkeypatch)
    env = {}
    if request.param == "postgresql":
        env = {"OAERP_LEDGER_URL": request.getfixturevalue("fresh_postgres_url")()}
        monkeypatch.setenv("OAERP_LEDGER_URL", env["OAERP_LEDGER_URL"])
    made = parked(tmp_path, env)
    yield made
    made.close()


def alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own, without settings of the machine's."""
    monkeypatch.chdir(folder)
    for name in list(os.environ):
        if name.startswith("OAERP_"):
            monkeypatch.delenv(name)


def parked(folder: Path, env: dict[str, str] | None = None) -> Terminal:
    """A home where LETTERS reports were parked for a row of the mapping book that is there by now."""
    home = folder / "home"
    home.mkdir()
    (home / "oaerp.yaml").write_text("home: home\nerp: [{adapter: file, company: C01, options: {path: home/erp}}]\n")
    runtime = open_runtime(load(home / "oaerp.yaml"))
    runtime.ledger.upgrade()
    runtime.apply_batch([Message(_report(n)) for n in range(LETTERS)])
    runtime.close()
    shutil.copytree(STARTER, home / "book")
    with (home / "book" / "accounts.csv").open("a") as file:
        file.write("travel.spa,*,*,660201,,,\n")
    with (home / "oaerp.yaml").open("a") as file:
        file.write("book: home/book\n")
    made = Terminal(folder, env)
    assert made.query("home", "SELECT count(*) FROM dead_letters WHERE state = 'open'") == [(LETTERS,)]
    return made


def _report(at: int) -> bytes:
    number = f"EXP-{at}"
    event = copy.deepcopy(CASE_A)
    event |= {"id": number, "subject": number, "partitionkey": f"C01/{number}"}
    event["data"]["number"] = number
    event["data"]["lines"][0]["category"] = "travel.spa"
    for line in event["data"]["lines"]:
        line["invoice"]["number"] = f"{line['invoice']['number'][:-3]}{at:03}"  # an invoice is claimed once
    return json.dumps(event).encode()


def replay(terminal: Terminal, *more: str) -> list[bool]:
    """Replays all that is open, and gives what became of each."""
    ran = terminal.type("--home", "home", "deadletters", "replay", "--all", "--yes", "--json", *more)
    assert ran.returncode in (0, 6, 7), ran.stderr
    return [row["ok"] for row in lines(ran.stdout)]


def assert_each_report_is_booked_once(terminal: Terminal) -> None:
    with terminal.up("home") as wait:
        wait(lambda: terminal.query("home", "SELECT count(*) FROM postings WHERE state = 'POSTED'") == [(LETTERS,)])
        wait(lambda: terminal.query("home", "SELECT count(*) FROM outbox") == [(0,)])

    assert terminal.query("home", "SELECT DISTINCT state, replays FROM dead_letters") == [("resolved", 1)]
    journal = (terminal.folder / "home/erp/journal.jsonl").read_text("utf-8").splitlines()
    references = [json.loads(line)["reference"] for line in journal]
    assert sorted(references) == sorted(f"C01-EXP-{n}-V1" for n in range(LETTERS))
    assert terminal.query("home", "SELECT count(*) FROM audit WHERE action = 'deadletter.replay'") == [(LETTERS,)]
    assert terminal.type("--home", "home", "audit", "verify").returncode == 0


def test_an_interrupted_replay_says_how_far_it_came_and_goes_on_later(terminal: Terminal) -> None:
    child = terminal.start("--home", "home", "deadletters", "replay", "--all", "--yes", "--json", "--rate", "10")
    assert child.stdout is not None
    first = [child.stdout.readline() for _ in range(3)]
    child.send_signal(signal.SIGINT)
    rest, err = child.communicate(timeout=120)

    done = len(first) + len(rest.splitlines())
    assert child.returncode == 130
    assert done < LETTERS
    assert f"{done} replayed, 0 refused, {LETTERS - done} left" in err
    assert terminal.query("home", "SELECT count(*) FROM dead_letters WHERE state = 'replayed'") == [(done,)]
    assert replay(terminal) == [True] * (LETTERS - done)
    assert_each_report_is_booked_once(terminal)


def test_a_replay_that_is_killed_has_done_what_it_told_and_goes_on_later(terminal: Terminal) -> None:
    child = terminal.start("--home", "home", "deadletters", "replay", "--all", "--yes", "--json", "--rate", "50")
    assert child.stdout is not None
    for _ in range(5):
        child.stdout.readline()
    child.kill()
    child.communicate()

    ((done,),) = terminal.query("home", "SELECT count(*) FROM dead_letters WHERE state = 'replayed'")
    assert 5 <= done < LETTERS
    assert terminal.query("home", "SELECT count(*) FROM outbox") == [(done,)]
    assert replay(terminal) == [True] * (LETTERS - done)
    assert_each_report_is_booked_once(terminal)


def test_two_people_who_replay_at_once_share_the_work(shared: Terminal) -> None:
    command = ("--home", "home", "deadletters", "replay", "--all", "--yes", "--json", "--rate", "100")
    children = [shared.start(*command) for _ in range(2)]
    said = [child.communicate(timeout=120) for child in children]

    went_through = sum(row["ok"] for out, _ in said for row in lines(out))
    assert {child.returncode for child in children} <= {0, 6, 7}, said
    assert went_through == LETTERS
    assert_each_report_is_booked_once(shared)


def test_a_dry_run_says_that_all_would_go_through_and_changes_nothing(terminal: Terminal) -> None:
    ran = terminal.type("--home", "home", "deadletters", "replay", "--all", "--dry-run", "--json")

    assert [row["ok"] for row in lines(ran.stdout)] == [True] * LETTERS
    assert terminal.query("home", "SELECT DISTINCT state FROM dead_letters") == [("open",)]
    assert terminal.query("home", "SELECT count(*) FROM outbox") == [(0,)]
