"""The generated schemas are fresh, agree with the models, and do not break what was released."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from lxml import etree

from contracts import AnyEvent, Refused, parse_event, to_json, to_xml
from contracts.catalogue import CATALOGUE
from contracts.schema.__main__ import main
from contracts.schema.compare import breaking_changes
from contracts.schema.generate import BASELINE, EXAMPLES, HERE, schema_files
from tests.unit.contracts.strategies import events

BAD = Path(__file__).parent / "bad"
XSD = etree.XMLSchema(etree.parse(HERE / "events.xsd"))
VALIDATORS = {name: Draft202012Validator(json.loads((HERE / f"{name}.json").read_bytes())) for name in CATALOGUE}
APPROVED = "expense.report.approved.v1"


def test_the_committed_files_are_what_the_models_give() -> None:
    assert main(["--check"]) == 0


def test_a_stale_file_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(HERE, tmp_path / "schema")
    (tmp_path / "schema" / f"{APPROVED}.json").write_text("{}")
    monkeypatch.setattr("contracts.schema.__main__.HERE", tmp_path / "schema")

    assert main(["--check"]) == 1
    assert f"{APPROVED}.json is stale" in capsys.readouterr().err


def test_nothing_released_is_broken() -> None:
    assert main(["--compare", str(BASELINE)]) == 0


def test_a_folder_without_schemas_is_a_usage_error(tmp_path: Path) -> None:
    assert main(["--compare", str(tmp_path)]) == 2


@pytest.mark.parametrize("name", ["expense-report-approved.case-a.json"])
def test_the_schema_takes_the_shared_example(name: str) -> None:
    VALIDATORS[APPROVED].validate(json.loads((EXAMPLES / name).read_bytes()))


def test_the_voucher_schema_takes_the_shared_example() -> None:
    schema = json.loads((HERE / "voucher.json").read_bytes())

    Draft202012Validator(schema).validate(json.loads((EXAMPLES / "voucher.case-a.json").read_bytes()))


@given(events())
@settings(max_examples=50, deadline=None)
def test_what_the_models_take_the_schemas_take(event: AnyEvent) -> None:
    VALIDATORS[event.type].validate(json.loads(to_json(event)))
    assert XSD.validate(etree.fromstring(to_xml(event))), XSD.error_log


# What a schema cannot say (sums, existing days, doubled keys, half characters) only the models refuse; these codes are about form alone.
FORM = {"CON-112", "CON-113", "CON-114", "CON-115", "CON-116", "CON-117", "CON-118", "CON-119", "CON-120"}
FORM_FILES = [
    path
    for path in sorted(BAD.glob("*.json"))
    if path.name.split(".")[1] in FORM and b"ud800" not in path.read_bytes() and path.read_bytes()[:1] == b"{"
]


@pytest.mark.parametrize("path", FORM_FILES, ids=lambda path: path.name)
def test_what_the_models_refuse_for_its_form_the_schema_refuses(path: Path) -> None:
    assert not VALIDATORS[APPROVED].is_valid(json.loads(path.read_bytes()))


def test_a_newline_at_the_end_is_refused_by_the_models() -> None:
    body = (EXAMPLES / "expense-report-approved.case-a.json").read_bytes().replace(b'"1913.00"', b'"1913.00\\n"')

    with pytest.raises(Refused):
        parse_event(body)


def test_the_xsd_refuses_what_is_not_in_the_contract() -> None:
    text = (
        to_xml(parse_event((EXAMPLES / "expense-report-approved.case-a.json").read_bytes())).decode().split("?>", 1)[1]
    )

    for wrong in (
        text.replace("<title>", "<titel>").replace("</title>", "</titel>"),
        text.replace("<total>1913.00</total>", "<total>1e5</total>"),
        text.replace("<currency>CNY</currency>", "", 1),
        text.replace(">employee<", ">nobody<", 1),
    ):
        assert wrong != text
        assert not XSD.validate(etree.fromstring(wrong))


def test_the_asyncapi_document_lists_every_type() -> None:
    document = yaml.safe_load((HERE / "asyncapi.yaml").read_text("utf-8"))

    assert document["asyncapi"] == "3.0.0"
    assert set(document["components"]["messages"]) == set(CATALOGUE)
    assert set(document["channels"]["events"]["messages"]) == set(CATALOGUE)
    for message in document["components"]["messages"].values():
        assert (HERE / message["payload"]["schema"]["$ref"]).is_file()


Change = Callable[[dict[str, Any]], Any]
BREAKING: dict[str, tuple[Change, str]] = {
    "a field removed": (
        lambda s: s["$defs"]["Line"]["properties"].pop("personal"),
        "$.data.lines[].personal: the field is gone",
    ),
    "a field renamed": (
        lambda s: s["$defs"]["Line"]["properties"].update(gross=s["$defs"]["Line"]["properties"].pop("amount")),
        "$.data.lines[].amount: the field is gone",
    ),
    "a new required field": (
        lambda s: s["$defs"]["Line"]["required"].append("project"),
        "$.data.lines[].project: is required now",
    ),
    "a pattern narrowed": (
        lambda s: s["$defs"]["Employee"]["properties"]["id"].update(pattern="^E"),
        "another pattern",
    ),
    "a type changed": (
        lambda s: s["$defs"]["ExpenseReport"]["properties"]["version"].update(type="string"),
        "was integer, is string",
    ),
    "a value removed": (
        lambda s: s["$defs"]["Line"]["properties"]["paid_by"]["enum"].remove("supplier"),
        "'supplier' is gone",
    ),
    "a limit lowered": (
        lambda s: s["$defs"]["ExpenseReport"]["properties"]["lines"].update(maxItems=100),
        "maxItems fell",
    ),
    "null refused": (
        lambda s: s["$defs"]["Line"]["properties"].update(
            project=s["$defs"]["Line"]["properties"]["project"]["anyOf"][0]
        ),
        "$.data.lines[].project: was null",
    ),
}


@pytest.mark.parametrize(("change", "told"), BREAKING.values(), ids=BREAKING.keys())
def test_a_breaking_change_is_told_with_its_path(change: Change, told: str) -> None:
    old = {APPROVED: json.loads((HERE / f"{APPROVED}.json").read_bytes())}
    new = copy.deepcopy(old)
    change(new[APPROVED])

    assert any(told in line for line in breaking_changes(old, new)), breaking_changes(old, new)


ADDED: dict[str, Change] = {
    "an optional field": lambda s: s["$defs"]["Line"]["properties"].update(tip={"type": "string"}),
    "a value": lambda s: s["$defs"]["Line"]["properties"]["paid_by"]["enum"].append("petty_cash"),
    "a higher limit": lambda s: s["$defs"]["ExpenseReport"]["properties"]["lines"].update(maxItems=1000),
    "a field no longer required": lambda s: s["$defs"]["Line"]["required"].remove("description"),
    "null allowed": lambda s: s["$defs"]["Line"]["properties"].update(
        description={"anyOf": [s["$defs"]["Line"]["properties"]["description"], {"type": "null"}]}
    ),
}


@pytest.mark.parametrize("change", ADDED.values(), ids=ADDED.keys())
def test_an_addition_breaks_nothing(change: Change) -> None:
    old = {APPROVED: json.loads((HERE / f"{APPROVED}.json").read_bytes())}
    new = copy.deepcopy(old)
    change(new[APPROVED])

    assert breaking_changes(old, new) == []


def test_a_type_that_is_gone_fails_the_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in schema_files().items():
        if name.endswith(".json"):
            (tmp_path / name).write_text(text)
    (tmp_path / "expense.report.paused.v1.json").write_text("{}")

    assert main(["--compare", str(tmp_path)]) == 1
    assert "expense.report.paused.v1.json: the type is gone" in capsys.readouterr().out
