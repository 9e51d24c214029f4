"""`oaerp publish` and `preview` take every format, and a file is judged piece by piece."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts import parse_event, to_xml
from tests.unit.cli.conftest import Cli
from tests.unit.doors.samples import body, row, table

FILES = {
    "one.json": body("EXP-1"),
    "lines.jsonl": body("EXP-2") + b"\n" + b'{"type": "broken"\n' + body("EXP-3") + b"\n",
    "four.xml": to_xml(parse_event(body("EXP-4"))),
    "table.csv": table(row("EXP-5", total="10.00"), row("EXP-6", total="11.00"), row("EXP-7", total="10.00")),
    "broken.xml": b"<event",
}


@pytest.fixture
def files() -> list[str]:
    for name, content in FILES.items():
        Path(name).write_bytes(content)
    return list(FILES)


def test_every_format_is_published_and_what_is_wrong_is_told_beside_what_is_right(oaerp: Cli, files: list[str]) -> None:
    ran = oaerp.at_home("publish", *files, "--json")

    assert ran.code == 6, ran.err
    accepted = [row["number"] for row in ran.values if row["status"] == "accepted"]
    refused = [(row["file"], row["where"]) for row in ran.values if row["status"] == "refused"]
    assert accepted == ["EXP-1", "EXP-2", "EXP-3", "EXP-4", "EXP-5", "EXP-7"]
    assert refused == [("lines.jsonl", "line 2"), ("table.csv", "row 3"), ("broken.xml", "")]
    assert all(row["findings"] for row in ran.values if row["status"] == "refused")


def test_publishing_the_same_files_again_changes_nothing(oaerp: Cli, files: list[str]) -> None:
    oaerp.at_home("publish", *files)
    before = oaerp.sql("SELECT count(*) FROM outbox"), oaerp.sql("SELECT id, state FROM dead_letters")

    ran = oaerp.at_home("publish", *files, "--json")

    assert {row["status"] for row in ran.values} == {"duplicate", "refused"}
    assert before == (oaerp.sql("SELECT count(*) FROM outbox"), oaerp.sql("SELECT id, state FROM dead_letters"))


def test_a_person_sees_a_table_and_the_sum(oaerp: Cli, files: list[str]) -> None:
    ran = oaerp.at_home("publish", *files)

    assert "6 accepted, 0 known before, 3 refused" in ran.err
    assert "EXP-7" in ran.out


def test_a_company_that_can_be_none_is_refused_as_a_value(oaerp: Cli, files: list[str]) -> None:
    ran = oaerp.at_home("publish", "table.csv", "--company", "no such company!", "--json")

    assert ran.code == 1, ran.err
    assert {row["status"] for row in ran.values} == {"refused"}


def test_an_xml_event_is_previewed_as_its_json(oaerp: Cli, files: list[str]) -> None:
    Path("four.json").write_bytes(body("EXP-4"))

    (xml,), (json_,) = oaerp("preview", "four.xml", "--json").values, oaerp("preview", "four.json", "--json").values

    assert xml["voucher"] == json_["voucher"]
    assert xml["ok"] is True


def test_a_file_name_that_is_no_text_is_published(oaerp: Cli) -> None:
    name = b"caf\xe9.json".decode("utf-8", "surrogateescape")
    Path(name).write_bytes(body())

    ran = oaerp.at_home("publish", name, "--json")

    assert ran.code == 0, ran.err
    assert ran.values[0]["file"] == name
