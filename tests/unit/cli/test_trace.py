"""`oaerp trace`, `preview`, `publish` and `config show`: what they say to people and to machines."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.process.world import advance, report
from tests.unit.cli.conftest import Cli

EXAMPLES = Path(__file__).parents[3] / "contracts" / "examples"


def write(name: str, value: object) -> None:
    Path(name).write_text(json.dumps(value))


def test_a_booked_report_has_its_whole_story(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))
    oaerp.deliver()

    (story,) = oaerp.at_home("trace", "EXP-1", "--json").values

    assert story["document"]["state"] == "booked"
    assert [moment["what"] for moment in story["moments"]][:4] == ["event", "planned", "call", "posted"]
    assert story["moments"] == sorted(story["moments"], key=lambda moment: moment["at"])
    (voucher,) = story["vouchers"]
    assert voucher["state"] == "POSTED"
    assert voucher["erp_number"]
    assert all(line["rule"] for line in voucher["lines"])


def test_a_reversed_voucher_was_posted_first(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))
    oaerp.deliver()
    oaerp.arrive(report("EXP-1", 2, "changed", amount="120.00"))
    for _ in range(3):
        oaerp.deliver()

    (story,) = oaerp.at_home("trace", "EXP-1", "--json").values

    said = [moment["said"] for moment in story["moments"] if moment["what"] == "posted"]
    assert said[0].startswith("C01-EXP-1-V1 was posted as ")
    assert said[0].endswith("it is REVERSED now")
    assert [line.partition(" as ")[0] for line in said[1:]] == ["C01-EXP-1-V1-R is POSTED", "C01-EXP-1-V2 is POSTED"]


def test_a_voucher_and_its_reversal_name_each_other(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))
    oaerp.deliver()
    oaerp.arrive(report("EXP-1", 2, "withdrawn"))
    oaerp.deliver()

    (story,) = oaerp.at_home("trace", "EXP-1", "--json").values
    shown = " ".join(oaerp.at_home("trace", "EXP-1").out.split())

    original, reversal = story["vouchers"]
    assert (original["reversed_by"], reversal["reverses"]) == (reversal["reference"], original["reference"])
    assert "reversed by C01-EXP-1-V1-R" in shown
    assert "reverses C01-EXP-1-V1" in shown


def test_what_a_person_did_is_in_the_story(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1", category="travel.spa"))
    oaerp.at_home("deadletters", "discard", "1", "--reason", "private", "--yes")

    out = oaerp.at_home("trace", "EXP-1").out

    assert "dead letter" in out
    assert "wang: deadletter.discard of dead letter 1: private" in " ".join(out.split())


def test_a_report_that_waits_for_a_worker_is_on_its_way(oaerp: Cli) -> None:
    write("a.json", report("EXP-1"))
    oaerp.at_home("publish", "a.json")

    ran = oaerp.at_home("trace", "EXP-1")

    assert ran.code == 1
    assert "1 accepted events wait for a worker" in ran.err


def test_a_number_of_two_companies_must_be_told_apart(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))
    oaerp.sql(
        "INSERT INTO documents (kind, company, number, source, version, state, offered_version)"
        " VALUES ('expense.report', 'C02', 'EXP-1', '/oa/feishu/C02', 0, 'new', 0)"
    )

    ran = oaerp.at_home("trace", "EXP-1")

    assert ran.code == 7
    assert "C01, C02" in ran.err
    assert oaerp.at_home("trace", "EXP-1", "--company", "C02").code == 0


def test_publishing_tells_what_became_of_each_event(oaerp: Cli) -> None:
    write("good.json", report("EXP-1", event_id="one"))
    write("bad.json", report("EXP-2") | {"type": "expense.report.approved.v9"})

    ran = oaerp.at_home("publish", "good.json", "bad.json", "--json")
    again = oaerp.at_home("publish", "good.json", "--json")

    assert ran.code == 6
    assert [row["status"] for row in ran.values] == ["accepted", "refused"]
    assert ran.values[1]["findings"][0]["code"] == "CON-111"
    assert (again.code, again.values[0]["status"]) == (0, "duplicate")


def test_publishing_only_bad_files_is_a_finding(oaerp: Cli) -> None:
    Path("bad.json").write_text("{")

    assert oaerp.at_home("publish", "bad.json").code == 1


def test_a_preview_has_the_voucher_and_warns_on_stderr(oaerp: Cli) -> None:
    ran = oaerp("preview", str(EXAMPLES / "expense-report-approved.case-a.json"), "--json")

    (shown,) = ran.values
    assert ran.code == 0
    assert shown["voucher"]["total_debit"] == "1913.00"
    assert {warning["about"] for warning in shown["warnings"]} == {"advance", "invoice", "budget", "period"}
    assert len(ran.err.splitlines()) == len(shown["warnings"])
    assert not Path("var").exists()


def test_a_preview_of_what_would_be_parked_has_every_finding(oaerp: Cli) -> None:
    event = report("EXP-1", category="travel.spa")
    event["data"]["lines"].append(event["data"]["lines"][0] | {"line": 2, "category": "travel.moon"})
    event["data"]["total"] = "200.00"
    write("a.json", event)

    ran = oaerp("preview", "a.json", "--json")

    (shown,) = ran.values
    assert ran.code == 1
    assert shown["voucher"] is None
    assert [finding["got"] for finding in shown["findings"]] == ["travel.spa", "travel.moon"]


def test_a_preview_of_rubbish_is_no_traceback(oaerp: Cli) -> None:
    Path("a.json").write_bytes(b"\xff\xfe\x00")

    ran = oaerp("preview", "a.json")

    assert ran.code == 1
    assert "CON-10" in ran.out


def test_settings_are_shown_with_their_origin_and_without_secrets(oaerp: Cli) -> None:
    set_ = oaerp.monkeypatch.setenv
    set_("OAERP_BROKER_URL", "amqp://worker:s3cret@broker.example:5671/oaerp")
    set_("OAERP_LEDGER_URL", "postgresql://db.example/oaerp?user=x&password=s3cret")
    set_("OAERP_SECURITY__SIGNING_KEYS", '["k1:s3cret"]')
    set_(
        "OAERP_ERP",
        '[{"adapter":"file","company":"C01","password":"s3cret","options":{"path":"p","api_key":"s3cret"}}]',
    )

    ran = oaerp.at_home("config", "show", "--json")

    (shown,) = ran.values
    assert "s3cret" not in ran.out + oaerp.at_home("config", "show").out
    assert shown["broker_url"] == {"value": "amqp://worker:***@broker.example:5671/oaerp", "from": "environment"}
    assert shown["home"] == {"value": "home", "from": "file or option"}
    assert shown["outbox.batch"] == {"value": "500", "from": "default"}
    assert shown["erp.0.options.path"]["value"] == "p"


def test_upgrading_the_ledger_twice_changes_nothing_more(oaerp: Cli) -> None:
    first, second = oaerp.at_home("db", "upgrade", "--json"), oaerp.at_home("db", "upgrade", "--json")

    assert first.code == second.code == 0
    assert first.values == second.values == [{"upgraded": True, "ledger": "sqlite:///home/ledger.db"}]


def test_the_story_of_an_advance_is_told_too(oaerp: Cli) -> None:
    oaerp.arrive(advance("ADV-1", "1500.00"))

    ran = oaerp.at_home("trace", "ADV-1")

    assert ran.code == 0
    assert "1500.00 CNY paid, 1500.00 open" in ran.out
