"""`oaerp mapping explain`: a booked voucher is rebuilt with the rules that made it, whatever the rules are today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from connector.translate import load_book
from tests.integration.process.world import advance, claim, expense, period, report, told
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
    with (BOOK / "accounts.csv").open("a") as rows:
        rows.write("travel.taxi,D0l,C01,660201,1,,\n")
    oaerp.arrive(report("EXP-1"), report("EXP-2", category="travel.hotl"))
    for key, active in (("D01", True), ("D02", True), ("D03", False)):
        oaerp.arrive(
            told(
                "master.department.changed.v1", key, id=key, name=key, active=active, changed_at="2025-01-01T00:00:00Z"
            )
        )

    (value,) = oaerp.at_home("mapping", "coverage", "--json").values

    [stranger] = value["strangers"]
    assert value["unanswered"] == [
        {"company": "C01", "category": "travel.hotl", "department": "*", "fix": "did you mean travel.hotel?"}
    ]
    assert value["untranslated"] == [{"company": "C01", "dimension": "department", "value": "D02"}]
    assert (stranger["got"], stranger["fix"]) == ("D0l", "did you mean D01?")
    assert Path(HOME / "ledger.db").is_file()

    in_chinese = oaerp("--home", str(HOME), "--lang", "zh", "mapping", "coverage").out
    assert "是否指 travel.hotel？" in in_chinese
    assert "主数据中的部门" in in_chinese


FOREIGN = {"value": "7.15", "date": "2025-03-27", "source": "PBOC"}


def usd(amount: str) -> dict[str, object]:
    return expense("travel.hotel", amount, currency="USD", rate=FOREIGN)


def on_advance(number: str, amount: str) -> dict[str, object]:
    return {"number": number, "amount": amount, "currency": "USD", "rate": FOREIGN}


def paid_in_dollars(number: str, amount: str, rate: str) -> dict[str, object]:
    return advance(number, amount, currency="USD", rate={"value": rate, "date": "2025-03-01", "source": "PBOC"})


def same(oaerp: Cli, number: str, *options: str) -> list[tuple[str, int, object]]:
    """What was booked for a document, and whether it comes out so again."""
    ran = oaerp.at_home("mapping", "explain", number, "--json", *options)
    assert ran.code == 0, ran.out + ran.err
    return [(value["purpose"], value["version"], value["same"]) for value in ran.values]


@pytest.mark.parametrize("policy", ["NEXT_OPEN", "ACCRUE"])
def test_what_was_moved_out_of_a_closed_period_is_rebuilt_though_the_period_is_open_again(
    oaerp: Cli, policy: str
) -> None:
    (BOOK / "periods.csv").write_text(f"document,company,policy\n*,*,{policy}\n")
    oaerp.arrive(period("2025-04", "closed"), period("2025-05", "open"))
    oaerp.arrive(report("EXP-1"), claim("EXP-2", usd("33.33"), usd("33.34"), total="476.69"))
    oaerp.arrive(period("2025-04", "open", version=2))
    supplies_go_to("660209")

    assert same(oaerp, "EXP-1") == [("post", 1, True)]
    assert same(oaerp, "EXP-2") == [("post", 1, True)]


def test_advances_of_one_amount_and_several_rates_are_told_apart(oaerp: Cli) -> None:
    oaerp.arrive(
        *(paid_in_dollars(name, "100.00", rate) for name, rate in (("A", "7.10"), ("B", "7.20"), ("C", "7.10")))
    )
    claims = [on_advance(name, "33.33") for name in ("A", "B", "C")]
    oaerp.arrive(claim("EXP-1", usd("200.00"), total="1430.00", advances=claims))

    assert same(oaerp, "EXP-1") == [("post", 1, True)]


def test_advances_that_the_book_merges_are_taken_apart(oaerp: Cli) -> None:
    text = (BOOK / "book.yaml").read_text("utf-8")
    (BOOK / "book.yaml").write_text(text.replace("    role: advance\n", "    role: advance\n    merge: yes\n"), "utf-8")
    oaerp.arrive(paid_in_dollars("A", "100.00", "7.1234"), paid_in_dollars("B", "100.00", "7.1234"))
    claims = [on_advance("A", "33.33"), on_advance("B", "50.01")]
    oaerp.arrive(claim("EXP-1", usd("200.00"), total="1430.00", advances=claims))

    assert same(oaerp, "EXP-1") == [("post", 1, True)]


def test_however_many_advances_the_book_merges_the_voucher_is_rebuilt(oaerp: Cli) -> None:
    text = (BOOK / "book.yaml").read_text("utf-8")
    (BOOK / "book.yaml").write_text(text.replace("    role: advance\n", "    role: advance\n    merge: yes\n"), "utf-8")
    rates = {"A": "7.10", "B": "7.10", "C": "7.10", "D": "7.10", "E": "7.11", "F": "7.11"}
    oaerp.arrive(*(paid_in_dollars(name, "100.00", rate) for name, rate in rates.items()))
    claims = [on_advance(name, f"{10 * place + 1}.00") for place, name in enumerate(rates, 1)]
    oaerp.arrive(claim("EXP-1", usd("600.00"), total="4290.00", advances=claims))

    assert same(oaerp, "EXP-1") == [("post", 1, True)]


def test_the_last_claim_on_an_advance_takes_what_is_left_of_it_when_it_is_rebuilt_too(oaerp: Cli) -> None:
    oaerp.arrive(paid_in_dollars("A", "100.00", "7.1234"))
    for place, amount in enumerate(("33.33", "33.33", "33.34"), 1):
        oaerp.arrive(claim(f"EXP-{place}", usd("40.00"), total="286.00", advances=[on_advance("A", amount)]))

    assert [same(oaerp, f"EXP-{place}") for place in (1, 2, 3)] == [[("post", 1, True)]] * 3


def test_a_withdrawn_report_is_rebuilt_and_its_reversal_named(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))
    oaerp.deliver()
    oaerp.arrive(report("EXP-1", 2, "withdrawn"))
    oaerp.deliver()
    supplies_go_to("660209")

    assert same(oaerp, "EXP-1") == [("post", 1, True), ("reverse", 1, None)]


def thirds_of(number: str, amount: str = "35.00") -> dict[str, object]:
    """A part of an invoice of 105.00 with 5.95 of tax, which does not divide by three."""
    invoice = {
        "kind": "vat_special",
        "number": number,
        "total": "105.00",
        "net": "99.05",
        "tax": "5.95",
        "certified": True,
    }
    return expense("travel.hotel", amount, invoice=invoice)


def test_each_part_of_an_invoice_is_rebuilt_to_its_own_cent(oaerp: Cli) -> None:
    for place in (1, 2, 3):
        oaerp.arrive(claim(f"EXP-{place}", thirds_of("25442000000000000001")))
    oaerp.arrive(claim("EXP-2", thirds_of("25442000000000000001", "30.00"), version=2, happening="changed"))
    supplies_go_to("660209")

    assert [same(oaerp, f"EXP-{place}") for place in (1, 2, 3)] == [
        [("post", 1, True)], [("post", 2, True)], [("post", 1, True)]
    ]  # fmt: skip


def test_a_sellers_red_invoice_is_rebuilt(oaerp: Cli) -> None:
    red = {"kind": "red_special", "total": "-106.00", "net": "-100.00", "tax": "-6.00", "certified": True}
    oaerp.arrive(claim("EXP-1", expense("travel.hotel", "-106.00", invoice=red), usd("40.00"), total="180.00"))
    supplies_go_to("660209")

    assert same(oaerp, "EXP-1") == [("post", 1, True)]


def test_the_row_that_made_a_voucher_may_be_gone_and_other_books_may_have_come(oaerp: Cli) -> None:
    oaerp.arrive(report("EXP-1"))
    for account in ("660209", "660208", "660207"):
        supplies_go_to(account)
        oaerp.arrive(report(f"EXP-{account}"))
    path = BOOK / "accounts.csv"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "office.supplies" not in line) + "\n")

    assert same(oaerp, "EXP-1") == same(oaerp, "EXP-660208") == [("post", 1, True)]
