"""Types, versions, upcasting, and the error codes."""

from __future__ import annotations

from typing import Any

import pytest

from contracts import CATALOGUE, Refused, all_codes, code
from contracts.catalogue import Entry, upcast
from contracts.codes import FAMILIES, read_family
from contracts.expense import Withdrawal

ALL_TYPES = {
    *(f"expense.report.{verb}.v1" for verb in ("submitted", "approved", "changed", "withdrawn")),
    *(f"advance.{verb}.v1" for verb in ("paid", "returned")),
    *(f"voucher.{verb}.v1" for verb in ("posted", "rejected", "reversed")),
    *(f"payment.{verb}.v1" for verb in ("made", "reversed")),
    *(
        f"master.{kind}.{verb}.v1"
        for kind in [
            "employee",
            "department",
            "cost_centre",
            "project",
            "account",
            "supplier",
            "tax_code",
            "period",
            "budget",
            "exchange_rate",
            "invoice",
        ]
        for verb in ("changed", "deleted")
    ),
}


def test_the_catalogue_is_the_shared_list_of_types() -> None:
    assert set(CATALOGUE) == ALL_TYPES


THIRD = {"expense.report.withdrawn.v3": Entry("expense.report.withdrawn.v3", Withdrawal, "withdrawn")}


def first_to_second(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "type": "expense.report.withdrawn.v2", "steps": ["1-2"]}


def second_to_third(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "type": "expense.report.withdrawn.v3", "steps": [*event["steps"], "2-3"]}


STEPS = {"expense.report.withdrawn.v1": first_to_second, "expense.report.withdrawn.v2": second_to_third}


def test_an_old_version_climbs_step_by_step() -> None:
    event = upcast({"type": "expense.report.withdrawn.v1"}, THIRD, STEPS)

    assert event == {"type": "expense.report.withdrawn.v3", "steps": ["1-2", "2-3"]}


def test_a_current_event_is_left_as_it_is() -> None:
    event = {"type": "expense.report.withdrawn.v3"}

    assert upcast(event, THIRD, STEPS) is event


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("expense.report.withdrawn.v4", "CON-111"),
        ("expense.report.withdrawn.v999", "CON-111"),
        ("expense.report.removed.v1", "CON-110"),
        ("expense.report.withdrawn", "CON-110"),
        ("", "CON-110"),
        (None, "CON-110"),
        (7, "CON-110"),
        ({}, "CON-110"),
    ],
)
def test_a_type_no_way_leads_from_is_refused(given: Any, expected: str) -> None:
    with pytest.raises(Refused) as caught:
        upcast({"type": given}, THIRD, STEPS)

    assert [finding.code for finding in caught.value.findings] == [expected]


def test_an_old_version_whose_step_is_missing_is_refused() -> None:
    with pytest.raises(Refused, match="CON-111"):
        upcast({"type": "expense.report.withdrawn.v1"}, THIRD, {})


def test_every_code_is_complete_and_in_both_languages() -> None:
    codes = all_codes()

    assert {name.split("-")[0].lower() for name in codes} == set(FAMILIES)
    assert code("MAP-201").who == "consultant"
    assert code("ERP-501").retried is True
    for entry in codes.values():
        assert any("\u4e00" <= character <= "\u9fff" for character in entry.title_zh + entry.meaning_zh), entry.name


GOOD = "CON-101:\n  title_en: a\n  title_zh: b\n  meaning_en: c\n  meaning_zh: d\n  fix_en: e\n  fix_zh: f\n  retried: no\n  who: oa\n"


def test_yaml_text_stays_text() -> None:
    assert read_family("con", GOOD)[0].retried is False


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("CON-", "MAP-"),
        GOOD + GOOD,
        GOOD.replace("  who: oa\n", ""),
        GOOD.replace("who: oa", "who: nobody"),
        GOOD + "  colour: red\n",
        GOOD.replace("retried: no", "retried: maybe"),
        GOOD.replace("title_en: a", "title_en: &x a").replace("title_zh: b", "title_zh: *x"),
        "- a list",
    ],
)
def test_a_wrong_file_of_codes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"con\.yaml|alias|twice"):
        read_family("con", text)


def test_every_contract_code_is_raised_somewhere_and_is_in_the_catalogue() -> None:
    import re
    from pathlib import Path

    root = Path(__file__).parents[3]
    sources = [path for package in ("contracts", "connector") for path in (root / package).rglob("*.py")]
    raised = {name for source in sources for name in re.findall(r'"(CON-\d{3})"', source.read_text("utf-8"))}

    assert raised <= set(all_codes())
    assert {name for name in all_codes() if name.startswith("CON-1")} <= raised | {"CON-114"}
