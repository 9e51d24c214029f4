"""Every command ends with a code that says what happened, and a sentence, never with a traceback."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from connector.errors import Ambiguous, CredentialsRefused, Rejected, Unavailable
from tests.integration.process.world import report
from tests.unit.cli.conftest import Cli
from workers.cli import base
from workers.cli.state import STATE


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "bogus",
        "preview",
        "preview no-such-file.json",
        "preview .",
        "--lang fr doctor",
        "deadletters",
        "deadletters list --state gone",
        "deadletters replay",
        "deadletters replay --rate 0 --all",
        "deadletters discard 1",
        "deadletters show abc",
        "deadletters show 0",
        f"deadletters show {2**63}",
        f"deadletters replay {2**63} --yes",
        "trace EXP-\udcff",
        "deadletters list --number \udcff",
    ],
)
def test_wrong_usage_ends_with_2_and_says_so(oaerp: Cli, typed: str) -> None:
    ran = oaerp(*typed.split())

    assert ran.code == 2
    assert ran.err
    assert "Traceback" not in ran.err
    assert "OPS-801" not in ran.err


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("OAERP_LEDGER_URL", "mysql://x/y", "mysql"),
        ("OAERP_LEDGER_URL", "nonsense", "ledger_url"),
        ("OAERP_LEDGER_URL", "postgresql://127.0.0.1:1a/x", "ledger_url"),
        ("OAERP_LEDGER_URL", "postgresql://127.0.0.1:1/x?bogus=1", "ledger_url"),
        ("OAERP_BROKER_URL", "amqp://127.0.0.1:1a/x", "broker_url"),
        ("OAERP_RETRY__CALL_ATTEMPTS", "0", "retry.call_attempts"),
        ("OAERP_SECURITY__SIGNING_KEYS", "k1:x", "security"),
        ("OAERP_CONFIG", "no-such.yaml", "no-such.yaml"),
        ("OAERP_ERP", '[{"adapter": "abacus", "company": "C01"}]', "abacus"),
    ],
)
def test_wrong_settings_end_with_3_and_name_the_setting(oaerp: Cli, variable: str, value: str, named: str) -> None:
    oaerp.monkeypatch.setenv(variable, value)

    ran = oaerp("trace", "EXP-1")

    assert ran.code == 3
    assert ran.err.startswith("CFG-701: ")
    assert named in ran.err


def test_a_ledger_that_is_away_ends_with_4(oaerp: Cli) -> None:
    oaerp.monkeypatch.setenv("OAERP_LEDGER_URL", "postgresql://nobody@127.0.0.1:1/x")

    ran = oaerp("trace", "EXP-1")

    assert ran.code == 4
    assert ran.err.startswith("OPS-805: ")


@pytest.mark.parametrize("command", ["trace EXP-1", "deadletters list", "doctor --no-systems"])
def test_a_ledger_that_is_no_database_ends_with_4(oaerp: Cli, command: str) -> None:
    Path("home/ledger.db").write_text("no database at all, but long enough to be looked at as one")

    ran = oaerp.at_home(*command.split())

    assert ran.code == 4
    assert "OPS-805" in ran.err + ran.out


def test_a_gateway_that_is_away_ends_with_4(oaerp: Cli) -> None:
    oaerp.monkeypatch.setenv("OAERP_RETRY__CALL_TOTAL_S", "0.1")
    Path("b.json").write_bytes(json.dumps(report("EXP-1")).encode())

    ran = oaerp("publish", "b.json", "--to", "http://127.0.0.1:1")

    assert ran.code == 4


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError(13, "Permission denied", "secret.yaml"), 5),
        (CredentialsRefused("the user is refused"), 5),
        (Rejected("the gateway answered 401", code="SEC-606"), 5),
        (Unavailable("the ERP is away"), 4),
        (Ambiguous("the answer was lost"), 4),
        (Rejected("the gateway answered 409"), 7),
        (FileNotFoundError(2, "No such file", "a.json"), 2),
    ],
)
def test_each_kind_of_error_has_its_code(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert base._ended(error) == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_fault_of_ours_ends_with_70_and_one_sentence(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1", category="travel.spa"))
    oaerp.sql("UPDATE dead_letters SET findings = '{'")

    ran = oaerp.at_home("deadletters", "show", "1")

    assert ran.code == 70
    assert ran.err.startswith("OPS-801: JSONDecodeError: ")
    assert "Traceback" not in ran.err
    assert "--debug" in ran.err


def test_with_debug_a_fault_shows_its_traceback(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1", category="travel.spa"))
    oaerp.sql("UPDATE dead_letters SET findings = '{'")

    ran = oaerp("--debug", "--home", "home", "deadletters", "show", "1")

    assert ran.code == 70
    assert "Traceback" in ran.err


def test_ctrl_c_lets_what_is_in_hand_be_finished() -> None:
    with base.stoppable() as asked:
        os.kill(os.getpid(), signal.SIGINT)

        assert asked.wait(5)


def test_a_second_ctrl_c_ends_at_once() -> None:
    with base.stoppable() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.wait(5)

        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_messages_speak_the_language_that_is_asked_for(oaerp: Cli) -> None:
    english, chinese = oaerp.at_home("trace", "X"), oaerp("--lang", "zh", "--home", "home", "trace", "X")

    assert "no document X" in english.err
    assert "没有单据 X" in chinese.err
    assert STATE.language == "zh"


def test_the_language_is_that_of_the_locale_where_none_is_asked_for(oaerp: Cli) -> None:
    oaerp.monkeypatch.setenv("LANG", "zh_CN.UTF-8")

    assert "没有单据 X" in oaerp.at_home("trace", "X").err


def test_a_ledger_that_is_made_by_a_mistyped_home_is_told(oaerp: Cli) -> None:
    ran = oaerp("--home", "hoem", "trace", "EXP-1")

    assert "hoem/ledger.db" in ran.err


def test_the_next_command_repeats_the_options_of_this_one(oaerp: Cli) -> None:
    Path("b.json").write_bytes(json.dumps(report("EXP-1")).encode())

    assert "→ oaerp --home home trace EXP-1" in oaerp.at_home("publish", "b.json").err


def test_a_user_without_a_name_acts_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_uid: int) -> None:
        raise KeyError("uid not found")

    for name in ("OAERP_ACTOR", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)

    assert base.actor() == f"uid {os.getuid()}"
