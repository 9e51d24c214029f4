"""`oaerp close`: what stands in the way of a period, its state, and who let a document cross the fiscal year."""

from __future__ import annotations

import json

import pytest

from tests.integration.process.world import report
from tests.unit.cli.conftest import Cli


def set_state(oaerp: Cli, state: str, *, period: str = "2025-04", company: str = "C01") -> int:
    return oaerp.at_home(
        "close", "set", "--company", company, "--period", period, "--state", state, "--reason", "month end"
    ).code


def test_a_period_in_which_all_is_done_may_be_closed(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))
    oaerp.deliver()

    ran = oaerp.at_home("close", "check", "--period", "2025-04")

    assert (ran.code, ran.out) == (0, "")
    assert "nothing stands in the way of closing 2025-04" in ran.err


def test_what_stands_in_the_way_is_told_by_kind_with_exact_sums_then_each(oaerp: Cli) -> None:
    oaerp.arrive(
        report("EXP-1", amount="1000.10"),
        report("EXP-2", amount="0.20"),
        report("EXP-3", category="travel.spa"),
        report("EXP-4", posting_date="2025-03-31"),
    )

    ran = oaerp.at_home("close", "check", "--period", "2025-04")
    (value,) = oaerp.at_home("close", "check", "--period", "2025-04", "--json").values

    assert ran.code == 1
    assert "1,000.30 CNY" in ran.out
    assert "MAP-201" in ran.out
    assert "EXP-4" not in ran.out
    assert "deadletters list --company C01" in ran.err
    assert value["clear"] is False
    assert value["summary"] == [
        {"company": "C01", "kind": "dead letter", "count": 1, "amounts": {"CNY": "100.00"}},
        {"company": "C01", "kind": "posting", "count": 2, "amounts": {"CNY": "1000.30"}},
    ]
    assert [one["number"] for one in value["obstacles"]] == ["EXP-3", "EXP-1", "EXP-2"]


def test_fifty_rows_are_shown_unless_all_are_asked_for(oaerp: Cli) -> None:
    oaerp.arrive(*[report(f"EXP-{at}") for at in range(51)])

    few = oaerp.at_home("close", "check", "--period", "2025-04")
    every = oaerp.at_home("close", "check", "--period", "2025-04", "--all")

    assert (few.out.count("EXP-") // 2, every.out.count("EXP-") // 2) == (50, 51)
    assert "50 of 51" in few.err
    assert "50 of 51" not in every.err


def test_the_period_may_be_one_that_the_ledger_knows(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))
    oaerp.sql(
        "INSERT INTO periods (company, period, starts_on, ends_on, state)"
        " VALUES ('C01', 'P07', '2025-03-15', '2025-04-14', 'open'), ('C01', '2025-05', '2025-04-01', '2025-05-31', 'open')"
    )

    assert oaerp.at_home("close", "check", "--period", "P07").code == 1
    assert oaerp.at_home("close", "check", "--period", "2025-05").code == 1
    assert oaerp.at_home("close", "check", "--period", "2025-03").code == 0
    assert oaerp.at_home("close", "check", "--period", "P08").code == 2
    assert oaerp.at_home("close", "check", "--period", "2025-13").code == 2


def test_only_the_company_asked_for_is_looked_at(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))

    assert oaerp.at_home("close", "check", "--period", "2025-04", "--company", "C02").code == 0
    assert oaerp.at_home("close", "check", "--period", "2025-04", "--company", "C01").code == 1


def test_the_check_speaks_chinese(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))

    ran = oaerp.at_home("--lang", "zh", "close", "check", "--period", "2025-04")

    assert "未完成的过账" in ran.out


def test_a_closed_period_is_listed_and_holds_what_belongs_to_it(oaerp: Cli) -> None:
    assert set_state(oaerp, "closed") == 0
    oaerp.arrive(report("EXP-1"))

    (listed,) = oaerp.at_home("close", "list", "--json").values
    assert listed == {
        "company": "C01",
        "period": "2025-04",
        "starts_on": "2025-04-01",
        "ends_on": "2025-04-30",
        "state": "closed",
    }
    assert oaerp.sql("SELECT code FROM dead_letters") == [("ACC-332",)]


def test_february_of_a_leap_year_ends_on_the_29th(oaerp: Cli) -> None:
    set_state(oaerp, "open", period="2024-02")

    (listed,) = oaerp.at_home("close", "list", "--json").values
    assert listed["ends_on"] == "2024-02-29"


def test_setting_a_period_keeps_the_days_that_the_erp_told(oaerp: Cli) -> None:
    oaerp.arrive()
    oaerp.sql(
        "INSERT INTO periods (company, period, starts_on, ends_on, state)"
        " VALUES ('C01', '2025-04', '2025-03-29', '2025-04-27', 'open')"
    )

    set_state(oaerp, "closing")

    assert oaerp.sql("SELECT starts_on, ends_on, state FROM periods") == [("2025-03-29", "2025-04-27", "closing")]


def test_who_closed_a_period_and_why_is_in_the_audit_log(oaerp: Cli) -> None:
    set_state(oaerp, "closed")
    set_state(oaerp, "open")

    rows = oaerp.sql("SELECT actor, action, subject, reason, detail FROM audit ORDER BY id")
    assert [tuple(row[:4]) for row in rows] == [("wang", "period.set", "period C01/2025-04", "month end")] * 2
    assert [json.loads(row[4]) for row in rows] == [{"from": None, "to": "closed"}, {"from": "closed", "to": "open"}]
    assert oaerp.at_home("audit", "verify").code == 0


def test_closing_over_something_unfinished_is_told(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))

    ran = oaerp.at_home(
        "close", "set", "--company", "C01", "--period", "2025-04", "--state", "closed", "--reason", "month end"
    )

    assert "1 things stand in its way (100.00 CNY)" in ran.err
    assert "close check --period 2025-04 --company C01" in ran.err


@pytest.mark.parametrize(
    "wrong",
    [{"state": "shut"}, {"period": "April"}, {"company": "C09"}],
    ids=["a state that is none", "a period that is none", "a company that is none"],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(oaerp: Cli, wrong: dict[str, str]) -> None:
    oaerp.arrive()

    assert set_state(oaerp, **({"state": "closed"} | wrong)) == 2
    assert oaerp.sql("SELECT * FROM periods") == []
    assert oaerp.sql("SELECT * FROM audit") == []


def test_nobody_closes_a_period_without_saying_why(oaerp: Cli) -> None:
    ran = oaerp.at_home("close", "set", "--company", "C01", "--period", "2025-04", "--state", "closed")

    assert ran.code == 2


def test_a_correction_in_another_year_goes_on_once_a_person_accepted_it(oaerp: Cli) -> None:
    changed = report("EXP-1", 2, "changed", amount="120.00", posting_date="2025-01-05")
    oaerp.arrive(report("EXP-1", posting_date="2024-12-31"))
    oaerp.deliver()
    oaerp.arrive(changed)
    assert oaerp.sql("SELECT code, state FROM dead_letters") == [("ACC-353", "open")]

    ran = oaerp.at_home("close", "accept", "EXP-1", "--reason", "prior year, immaterial", "--json")

    assert ran.code == 0
    assert ran.values == [{"company": "C01", "number": "EXP-1", "accepted_by": "wang", "replayed": [1]}]
    oaerp.arrive(changed)
    assert oaerp.sql("SELECT state FROM dead_letters") == [("resolved",)]
    assert oaerp.sql("SELECT purpose, version FROM postings ORDER BY id") == [("post", 1), ("reverse", 1), ("post", 2)]
    actions = oaerp.sql("SELECT actor, action, reason FROM audit ORDER BY id")
    assert actions == [
        ("wang", "period.accept_year", "prior year, immaterial"),
        ("wang", "deadletter.replay", "prior year, immaterial"),
    ]


def test_what_does_not_wait_for_a_year_is_not_accepted(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1", category="travel.spa"))

    assert oaerp.at_home("close", "accept", "EXP-1", "--reason", "prior year").code == 1
    assert oaerp.at_home("close", "accept", "EXP-9", "--reason", "prior year").code == 1
    assert oaerp.at_home("close", "accept", "EXP-1").code == 2
    assert oaerp.sql("SELECT * FROM year_crossings") == []
    assert oaerp.sql("SELECT state FROM dead_letters") == [("open",)]
