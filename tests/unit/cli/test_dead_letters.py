"""`oaerp deadletters`: by cause, one by one, replayed and discarded without losing or doubling anything."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from connector.translate.book import STARTER
from tests.integration.process.world import report
from tests.unit.cli.conftest import HOME, Cli
from workers.cli.output import masked


def park(oaerp: Cli, *amounts: str, category: str = "travel.spa") -> None:
    """Reports EXP-1, EXP-2... of these amounts, whose category has no account."""
    oaerp.arrive(*(report(f"EXP-{n}", category=category, amount=amount) for n, amount in enumerate(amounts, 1)))


def own_book(*rows: str) -> None:
    """A mapping book of the home's own: the starter book and these accounts."""
    if not (HOME / "book").exists():
        shutil.copytree(STARTER, HOME / "book")
        (HOME / "oaerp.yaml").write_text((HOME / "oaerp.yaml").read_text() + "book: home/book\n")
    with (HOME / "book" / "accounts.csv").open("a") as file:
        file.write("".join(f"{row}\n" for row in rows))


def test_letters_are_listed_by_cause_with_their_exact_sum_and_what_to_do(oaerp: Cli) -> None:
    park(oaerp, "0.10", "0.20", "10000000000.01")

    (cause,) = oaerp.at_home("deadletters", "list", "--json").values

    assert cause["code"] == "MAP-201"
    assert cause["waits_for"] == "account:travel.spa/D01"
    assert cause["count"] == 3
    assert cause["amounts"] == {"CNY": "10000000000.31"}
    assert cause["example"] == 1
    assert cause["title"]
    assert cause["fix"]


def test_a_person_sees_the_causes_as_a_table_and_the_next_command(oaerp: Cli) -> None:
    park(oaerp, "100.00")

    ran = oaerp.at_home("deadletters", "list")

    assert "account:travel.spa/D01      1  100.00 CNY" in ran.out
    assert "→ oaerp --home home deadletters show 1" in ran.err


def test_each_letter_is_one_row(oaerp: Cli) -> None:
    park(oaerp, "1.00", "2.00")

    rows = oaerp.at_home("deadletters", "list", "--each", "--json").values

    assert [(row["id"], row["number"], row["amount"], row["state"]) for row in rows] == [
        (1, "EXP-1", "1.00", "open"),
        (2, "EXP-2", "2.00", "open"),
    ]


@pytest.mark.parametrize(
    ("option", "value", "ids"),
    [
        ("--code", "MAP-201", [1, 2]),
        ("--code", "CON-101", [3]),
        ("--number", "EXP-2", [2]),
        ("--company", "C01", [1, 2]),
        ("--company", "C02", []),
        ("--door", "broker", [1, 2, 3]),
        ("--waits-for", "account:travel.spa/D01", [1, 2]),
        ("--state", "discarded", []),
        ("--state", "all", [1, 2, 3]),
    ],
)
def test_a_filter_picks_letters(oaerp: Cli, option: str, value: str, ids: list[int]) -> None:
    park(oaerp, "1.00", "2.00")
    oaerp.arrive(b"no json")

    rows = oaerp.at_home("deadletters", "list", "--each", "--json", option, value).values

    assert [row["id"] for row in rows] == ids


def test_where_there_are_none_it_says_so(oaerp: Cli) -> None:
    ran = oaerp.at_home("deadletters", "list")

    assert (ran.code, ran.out) == (0, "")
    assert "no dead letters" in ran.err


def test_one_letter_is_shown_with_everything(oaerp: Cli) -> None:
    park(oaerp, "100.00")

    (shown,) = oaerp.at_home("deadletters", "show", "1", "--json").values

    assert shown["code"] == "MAP-201"
    assert shown["findings"][0]["path"] == "data.lines[0].category"
    assert json.loads(shown["body"])["data"]["number"] == "EXP-1"
    assert shown["bytes"] == len(shown["body"].encode())
    assert shown["meaning"]
    assert shown["fix"]


def test_a_person_reads_what_is_wrong_what_to_do_and_the_bytes(oaerp: Cli) -> None:
    park(oaerp, "100.00")

    shown = oaerp("--lang", "zh", "--home", "home", "deadletters", "show", "1").out

    assert "缺少对照行" in shown
    assert "data.lines[0].category" in shown
    assert '"number":"EXP-1"' in shown.replace(" ", "")


def test_a_letter_that_is_not_there_is_a_finding(oaerp: Cli) -> None:
    for command in ("show", "replay"):
        ran = oaerp.at_home("deadletters", command, "7", *(["--yes"] if command == "replay" else []))

        assert ran.code == 1
        assert "no dead letter 7" in ran.err


@pytest.mark.parametrize(
    "body",
    [
        '{"bank_account": "6222021234567890"}',
        '{"bank_account":"6222021234567890',
        '{"bank_account" : "62220212\\"34567890"}',
        "<payee><bank_account>6222021234567890</bank_account></payee>",
        '<e:bank_account kind="x">6222021234567890</e:bank_account>',
    ],
)
def test_a_bank_account_is_left_out(body: str) -> None:
    assert "***" in masked(body)
    assert "34567890" not in masked(body)


def test_bytes_cannot_move_the_cursor(oaerp: Cli) -> None:
    oaerp.arrive(b"\x1b[2J\x1b]0;owned\x07 not json")

    ran = oaerp.at_home("deadletters", "show", "1")

    assert "\x1b" not in ran.out + ran.err
    assert "\\x1b[2J" in ran.out


def test_a_dry_run_tells_what_still_fails_and_changes_nothing(oaerp: Cli) -> None:
    park(oaerp, "1.00")
    oaerp.arrive(b"no json")

    ran = oaerp.at_home("deadletters", "replay", "--all", "--dry-run", "--json")

    assert ran.code == 1
    assert [(row["id"], row["ok"]) for row in ran.values] == [(1, False), (2, False)]
    assert "MAP-201" in ran.values[0]["said"]
    assert oaerp.sql("SELECT DISTINCT state, replays FROM dead_letters") == [("open", 0)]


def test_a_dry_run_uses_the_mapping_book_of_today(oaerp: Cli) -> None:
    park(oaerp, "1.00")
    own_book("travel.spa,*,*,660201,,,")

    ran = oaerp.at_home("deadletters", "replay", "--all", "--dry-run", "--json")

    assert ran.code == 0
    assert ran.values == [{"id": 1, "ok": True, "said": "would go through now"}]


def test_a_dry_run_knows_what_was_replayed_already(oaerp: Cli) -> None:
    park(oaerp, "1.00")
    oaerp.at_home("deadletters", "replay", "1", "--yes")

    ran = oaerp.at_home("deadletters", "replay", "1", "--dry-run", "--json")

    assert ran.code == 1
    assert ran.values == [{"id": 1, "ok": False, "said": "it is replayed already"}]


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["person", "machine"])
def test_nothing_is_replayed_where_nobody_can_be_asked(oaerp: Cli, more: list[str]) -> None:
    park(oaerp, "1.00")

    ran = oaerp.at_home("deadletters", "replay", "--all", *more)

    assert ran.code == 2
    assert "--yes" in ran.err
    assert oaerp.sql("SELECT state FROM dead_letters") == [("open",)]


def test_a_mended_letter_is_replayed_and_its_report_is_booked(oaerp: Cli) -> None:
    park(oaerp, "1.00")
    own_book("travel.spa,*,*,660201,,,")

    ran = oaerp.at_home("deadletters", "replay", "1", "--reason", "mapped", "--yes", "--json")
    oaerp.arrive(*(bytes(body) for (body,) in oaerp.sql("SELECT body FROM outbox")))

    assert (ran.code, [row["ok"] for row in ran.values]) == (0, [True])
    assert oaerp.sql("SELECT state FROM dead_letters") == [("resolved",)]
    assert oaerp.sql("SELECT reference, state FROM postings") == [("C01-EXP-1-V1", "PENDING")]
    assert oaerp.sql("SELECT actor, action, reason FROM audit") == [("wang", "deadletter.replay", "mapped")]


def test_replaying_twice_has_one_effect_and_the_second_is_told(oaerp: Cli) -> None:
    park(oaerp, "1.00")
    oaerp.at_home("deadletters", "replay", "1", "--yes")

    ran = oaerp.at_home("deadletters", "replay", "1", "--yes")

    assert ran.code == 7
    assert "OPS-803" in ran.err
    assert oaerp.sql("SELECT count(*) FROM outbox") == [(1,)]
    assert oaerp.sql("SELECT count(*) FROM audit") == [(1,)]


def test_where_some_are_refused_the_code_is_6(oaerp: Cli) -> None:
    park(oaerp, "1.00")
    oaerp.arrive(b"no json")

    ran = oaerp.at_home("deadletters", "replay", "--all", "--yes")

    assert ran.code == 6
    assert "1 replayed, 1 refused, 0 left" in ran.err


def test_discarding_wants_a_reason(oaerp: Cli) -> None:
    park(oaerp, "1.00")

    assert oaerp.at_home("deadletters", "discard", "1", "--reason", "  ", "--yes").code == 2
    assert oaerp.sql("SELECT state FROM dead_letters") == [("open",)]


def test_a_discarded_letter_carries_the_name_and_the_reason(oaerp: Cli) -> None:
    park(oaerp, "1.00")

    ran = oaerp.at_home("deadletters", "discard", "1", "--reason", "sent by mistake", "--yes")

    assert ran.code == 0
    assert oaerp.sql("SELECT state, resolved_by, resolution FROM dead_letters") == [
        ("discarded", "wang", "sent by mistake")
    ]
    assert oaerp.at_home("audit", "verify").code == 0


def test_a_changed_audit_log_is_found(oaerp: Cli) -> None:
    park(oaerp, "1.00", "2.00")
    oaerp.at_home("deadletters", "discard", "--all", "--reason", "sent by mistake", "--yes")
    oaerp.sql("UPDATE audit SET actor = 'li' WHERE id = 2")

    ran = oaerp.at_home("audit", "verify", "--json")

    assert ran.code == 1
    (said,) = ran.values
    assert (said["whole"], said["entries"], said["first_broken"]) == (False, 2, 2)


def test_newest_entries_that_were_removed_are_missed_where_the_end_was_noted(oaerp: Cli) -> None:
    park(oaerp, "1.00", "2.00")
    oaerp.at_home("deadletters", "discard", "--all", "--reason", "sent by mistake", "--yes")
    end = oaerp.at_home("audit", "verify", "--json").values[0]["end"]
    assert oaerp.at_home("audit", "verify", "--noted", end).code == 0
    oaerp.sql("DELETE FROM audit WHERE id = 2")

    unnoted = oaerp.at_home("audit", "verify")
    ran = oaerp.at_home("audit", "verify", "--noted", end)

    assert (unnoted.code, ran.code) == (0, 1)
    assert end in ran.err


def test_letters_without_an_amount_do_not_spoil_the_sum(oaerp: Cli) -> None:
    park(oaerp, "1.00")
    oaerp.arrive(b"no json")

    causes = oaerp.at_home("deadletters", "list", "--json").values

    assert sorted((cause["code"], cause["amounts"]) for cause in causes) == [
        ("CON-101", {}),
        ("MAP-201", {"CNY": str(Decimal("1.00"))}),
    ]


def test_a_folder_name_is_no_home(oaerp: Cli) -> None:
    Path("file").write_text("")

    ran = oaerp("--home", "file", "deadletters", "list")

    assert ran.code == 2
    assert "Traceback" not in ran.err
