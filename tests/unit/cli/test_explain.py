"""`oaerp mapping explain`: a booked voucher is rebuilt with the rules that made it, whatever the rules are today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from connector.translate import load_book
from tests.integration.process.world import report, told
from tests.unit.cli.conftest import HOME, Cli

BOOK = HOME / "book"


@pytest.fixture(autouse=True)
def _a_book_of_our_own(oaerp: Cli) -> None:
    oaerp.own_book()


def supplies_go_to(account: str) -> None:
    path = BOOK / "accounts.csv"
    text = re.sub(r"office\.supplies,\*,\*,\d+", f"office.supplies,*,*,{account}", path.read_text("utf-8"))
    path.write_text(text, "utf-8")


def test_yesterdays_voucher_is_rebuilt_with_yesterdays_rules(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))
    supplies_go_to("660209")

    (voucher,) = oaerp.at_home("mapping", "explain", "EXP-1", "--json").values

    assert voucher["same"] is True
    assert voucher["rebuilt_with"] == voucher["book"] != load_book(BOOK).fingerprint
    cost = voucher["trace"][0]
    assert cost["at"].startswith("book.yaml:")
    assert cost["reasons"][0]["inputs"]["category"] == "office.supplies"


def test_with_the_rules_of_another_book_it_says_what_would_differ(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))
    supplies_go_to("660209")
    today = load_book(BOOK).fingerprint

    ran = oaerp.at_home("mapping", "explain", "EXP-1", "--as-of", today[:12])

    assert ran.code == 1
    assert re.search(r"- Dr 660202 .* 100\.00", ran.out)
    assert re.search(r"\+ Dr 660209 .* 100\.00 +\[cost\] book\.yaml:\d+, accounts\.csv:\d+", ran.out)


def test_the_rules_of_a_day_are_those_in_force_at_its_end(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))
    first = load_book(BOOK).fingerprint
    oaerp.sql("UPDATE books SET used_from = '2025-01-01 10:00:00.000000'")
    supplies_go_to("660209")
    oaerp.arrive(report("EXP-2"))

    (then,) = oaerp.at_home("mapping", "explain", "EXP-2", "--as-of", "2025-01-01", "--json").values
    before = oaerp.at_home("mapping", "explain", "EXP-2", "--as-of", "2024-12-31")

    assert (then["same"], then["rebuilt_with"]) == (False, first)
    assert [line["mark"] for line in then["differences"]] == ["-", "+"]
    assert before.code == 1
    assert "no such mapping book" in before.err


def test_each_version_is_explained_and_its_reversal_named(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))
    oaerp.deliver()
    oaerp.arrive(report("EXP-1", 2, "changed", amount="120.00"))

    second = oaerp.at_home("mapping", "explain", "EXP-1", "--json").values
    first = oaerp.at_home("mapping", "explain", "EXP-1", "--version", "1", "--json").values

    assert [(v["purpose"], v["version"], v["same"]) for v in second] == [("post", 2, True)]
    assert {v["purpose"]: v["same"] for v in first} == {"post": True, "reverse": None}
    assert "takes back C01-EXP-1-V1" in oaerp.at_home("mapping", "explain", "EXP-1", "--version", "1").out


def test_what_a_later_version_adds_stands_beside_the_whole(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))
    oaerp.deliver()
    payment = told(
        "payment.made.v1", "EXP-1", number="EXP-1", reference="C01-EXP-1-V1", payment_number="P1", paid_on="2025-05-01",
        document={"type": "expense.report", "number": "EXP-1", "version": 1}, amount="100.00", currency="CNY",
    )  # fmt: skip
    oaerp.arrive(payment)
    oaerp.arrive(report("EXP-1", 2, "changed", amount="120.00"))

    ran = oaerp.at_home("mapping", "explain", "EXP-1")

    assert ran.code == 0, ran.err
    assert re.search(r"660202 .* 20\.00[^[]*\n", ran.out)
    assert re.search(r"660202 .* 120\.00 +\[cost\]", ran.out)


@pytest.mark.parametrize("number", ["EXP-9", "EXP-1"])
def test_what_was_never_booked_is_said(oaerp: Cli, number: str) -> None:
    oaerp.arrive(report("EXP-1", category="no.such"))

    ran = oaerp.at_home("mapping", "explain", number)

    assert ran.code == 1
    assert number in ran.err
    assert ran.out == ""


def test_coverage_names_what_the_ledger_has_seen_and_no_row_answers(oaerp: Cli) -> None:
    (BOOK / "tests").mkdir()
    (BOOK / "tests" / "a.case").write_text("# x\ntravel.taxi 1.00 | Dr 1")
    with (BOOK / "dimensions.csv").open("a") as rows:
        rows.write("department,D01,*,100.01,,\n")
    oaerp.arrive(report("EXP-1"), report("EXP-2", category="no.such"))
    for key, active in (("D01", True), ("D02", True), ("D03", False)):
        oaerp.arrive(
            told(
                "master.department.changed.v1", key, id=key, name=key, active=active, changed_at="2025-01-01T00:00:00Z"
            )
        )

    (value,) = oaerp.at_home("mapping", "coverage", "--json").values

    assert value["unanswered"] == [{"company": "C01", "category": "no.such", "department": "*"}]
    assert value["untranslated"] == [{"company": "C01", "dimension": "department", "value": "D02"}]
    assert Path(HOME / "ledger.db").is_file()
