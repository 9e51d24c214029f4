"""No command, log line or traceback shows a secret, and nothing a message says moves the cursor or forges a line."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import StatementError

from connector.errors import Misconfigured
from connector.ledger import Ledger
from connector.settings import load
from tests.unit.cli.conftest import Cli
from tests.unit.doors.samples import body
from workers import logs
from workers.cli.output import emit
from workers.shown import json_line, masked, without_secrets

SECRET = "s3cret"
Written = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """Logs as a process writes them; gives the lines, each of which must be a JSON object."""
    root = logging.getLogger()
    before = list(root.handlers), root.level
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    logs.configure("INFO")

    def lines() -> list[dict[str, Any]]:
        text = stream.getvalue()
        assert text.replace("\n", "").isprintable()
        return [json.loads(line) for line in text.splitlines()]

    yield lines
    root.handlers, root.level = before
    structlog.reset_defaults()


@pytest.mark.parametrize(
    "text",
    [
        f"amqp://worker:{SECRET}@broker.example/oaerp",
        f"amqp://worker:{SECRET}/with#signs@broker.example/oaerp",
        f"redis://:{SECRET}@broker.example",
        f"postgresql://db.example/x?user=u&password={SECRET}&sslmode=require",
        f"host=db.example password={SECRET}",
        f"password='{SECRET} of two words'",
        f'{{"password": "{SECRET}", "user": "u"}}',
        f"Authorization: Bearer {SECRET}",
        f"the key whsec_{SECRET}",
        f"{{'bank_account': '{SECRET}'}}",
    ],
)
def test_a_secret_inside_a_text_is_left_out(text: str) -> None:
    shown = without_secrets(text)

    assert SECRET not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "amqp://broker.example:5671/oaerp",
        "http://127.0.0.1:8080/v1/events",
        "no rule in accounts for 'TRAVEL-INTL'; add it to the mapping table, then replay",
        "/oa/feishu/C01 at 12:00: 3 events",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_a_secret_deep_in_a_value_is_left_out() -> None:
    value = {"erp": [{"password": SECRET, "port": 1, "on": True}], "urls": (f"redis://:{SECRET}@h",), "none": None}

    assert masked(value) == {
        "erp": [{"password": "***", "port": 1, "on": True}],
        "urls": ["redis://:***@h"],
        "none": None,
    }


def test_a_log_line_is_one_json_object_whatever_a_message_says(written: Written) -> None:
    forged = 'EXP-1\n{"event": "forged"}\r\x1b[2J\x9b31m\x7f\u2028\u202e'

    structlog.get_logger("a").info("received", number=forged)
    logging.getLogger("b").warning("received %s", forged)

    ours, library = written()
    assert (ours["event"], ours["number"]) == ("received", forged)
    assert library["event"] == f"received {forged}"


def test_a_lone_surrogate_does_not_break_a_log_line() -> None:
    # Straight to the renderer: what pytest captures of a log must itself be text that can be encoded.
    line = json_line({"event": "received \udcff"})

    assert (line.encode("utf-8").decode(), json.loads(line)) == (line, {"event": "received \udcff"})


def test_chinese_is_readable_in_a_log() -> None:
    assert json_line({"title": "差旅 ¥ 𠮷"}) == '{"title": "差旅 ¥ 𠮷"}'


def test_a_log_line_has_no_secret(written: Written) -> None:
    log = structlog.get_logger("a")
    log.info("connected", url=f"amqp://u:{SECRET}@h", password=SECRET, systems=[{"api_token": SECRET}])
    logging.getLogger("b").warning("refused %s", {"password": SECRET})
    try:
        raise ValueError(f"cannot reach amqp://u:{SECRET}@h/x")
    except ValueError:
        log.exception("failed")
        logging.getLogger("b").exception("failed")

    lines = written()
    assert len(lines) == 4
    assert SECRET not in json.dumps(lines)
    assert all("ValueError: cannot reach amqp://u:***@h/x" in line["exception"] for line in lines[2:])


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_json_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(out, encoding, errors="backslashreplace", write_through=True))
    value = {"file": "差旅 é 𠮷 \udcff \x9b"}

    emit(value)

    assert json.loads(out.getvalue().decode(encoding)) == value


COMMANDS = [
    "config show",
    "doctor --no-systems",
    "trace EXP-1",
    "publish good.json",
    "preview good.json",
    "deadletters list",
    "deadletters replay --all --yes",
    "audit verify",
    "db upgrade",
    "relay",
    "beat",
    "up",
]
PLANTED = {
    "a list that is no JSON": {"OAERP_SECURITY__SIGNING_KEYS": SECRET},
    "a system that lacks a setting": {"OAERP_ERP": f'[{{"adapter": "file", "password": "{SECRET}"}}]'},
    "an unfinished list": {"OAERP_ERP": f'[{{"adapter": "file", "password": "{SECRET}"'},
    "a password that is no part of a URL": {"OAERP_BROKER_URL": f"amqp://u:{SECRET}/x@h:y/v"},
    "a database's password that is no part of a URL": {"OAERP_LEDGER_URL": f"postgresql://u:{SECRET}/x@h/v"},
    "another kind of database": {"OAERP_LEDGER_URL": f"mysql://u:{SECRET}@h/x"},
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("planted", PLANTED)
def test_no_command_shows_a_secret_where_settings_are_wrong(oaerp: Cli, planted: str, command: str) -> None:
    Path("good.json").write_bytes(body())
    for name, value in PLANTED[planted].items():
        oaerp.monkeypatch.setenv(name, value)

    ran = oaerp("--debug", *command.split())

    assert SECRET not in ran.out + ran.err
    assert ran.code in (0, 1, 3), ran.err


def test_no_command_shows_a_secret_where_the_ledger_is_away(oaerp: Cli) -> None:
    oaerp.monkeypatch.setenv("OAERP_LEDGER_URL", f"postgresql://u:{SECRET}@127.0.0.1:1/x?password={SECRET}")

    ran = oaerp("--debug", "trace", "EXP-1")

    assert ran.code == 4
    assert "Traceback" in ran.err
    assert SECRET not in ran.out + ran.err


@pytest.mark.parametrize(
    "text",
    [
        f'erp:\n  - {{adapter: file, password: "{SECRET}, company: C01}}\n',
        f"lang: [{SECRET}\n password: {SECRET}",
        f"security: {{signing_keys: {SECRET}}}",
        SECRET,
    ],
)
def test_a_broken_settings_file_is_told_without_its_text(text: str, oaerp: Cli) -> None:
    Path("wrong.yaml").write_text(text)

    ran = oaerp("--debug", "--config", "wrong.yaml", "config", "show")

    assert ran.code == 3
    assert "CFG-701: " in ran.err
    assert SECRET not in ran.err


def test_a_settings_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "oaerp.yaml").write_bytes("lang: 中".encode("gb18030"))

    with pytest.raises(Misconfigured, match="is not UTF-8 text"):
        load(tmp_path / "oaerp.yaml")


def test_a_database_error_is_told_without_the_values_of_its_statement() -> None:
    ledger = Ledger("sqlite://")
    with pytest.raises(StatementError) as failed, ledger.begin() as tx:
        tx.exec_driver_sql("INSERT INTO nowhere VALUES (?)", (SECRET,))
    ledger.close()

    assert "INSERT INTO nowhere" in str(failed.value)
    assert SECRET not in str(failed.value)
