"""`oaerp waiting` and `oaerp preflight`: what waits for what, the canary in sight, and everything that stands in the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.process.world import advance, claim, expense
from tests.unit.cli.conftest import HOME, Cli

BOOK = HOME / "book"


@pytest.fixture(autouse=True)
def _a_book_of_our_own(oaerp: Cli) -> None:
    oaerp.own_book()


def _let_go(oaerp: Cli) -> None:
    oaerp._in_runtime(lambda runtime: runtime.waiting.release_due())


def _travel(oaerp: Cli) -> None:
    from sqlalchemy.engine import Connection

    from connector.channels import Message
    from connector.ledger import outbox

    def move(runtime: object) -> None:
        ledger = runtime.ledger  # type: ignore[attr-defined]
        with ledger.begin() as tx:
            assert isinstance(tx, Connection)
            rows = outbox.claim(tx, 500, 60, 60)
        runtime.apply_batch([Message(row.body) for row in rows])  # type: ignore[attr-defined]

    oaerp._in_runtime(move)
    oaerp.deliver()


def test_nothing_waits_at_first(oaerp: Cli) -> None:
    ran = oaerp.at_home("waiting", "list")

    assert (ran.code, ran.out) == (0, "")
    assert "nothing waits" in ran.err


def test_what_waits_is_listed_by_key_with_its_amount(oaerp: Cli) -> None:
    oaerp.arrive(*(claim(f"EXP-{at}", expense("training.other", "10.50")) for at in range(3)))

    ran = oaerp.at_home("waiting", "list", "--json")

    (row,) = ran.values
    assert (row["key"], row["waiting"], row["amounts"], row["release"]) == (
        "account:training.other/D01",
        3,
        {"CNY": "31.50"},
        None,
    )


def test_the_canary_is_shown_before_the_others_move(oaerp: Cli) -> None:
    oaerp.arrive(*(claim(f"EXP-{at}", expense("training.other", "10.50")) for at in range(3)))
    accounts = BOOK / "accounts.csv"
    accounts.write_text(f"{accounts.read_text('utf-8').rstrip()}\ntraining.other,*,*,660205,,,\n", "utf-8")

    _let_go(oaerp)
    sent = oaerp.at_home("waiting", "list", "--json").values[0]["release"]
    _travel(oaerp)
    stands = oaerp.at_home("waiting", "list", "--json").values[0]["release"]
    _let_go(oaerp)
    followed = oaerp.at_home("waiting", "list", "--json").values[0]["release"]

    assert (sent["state"], sent["canary_is"], sent["released"], sent["waited"]) == ("canary", "on_its_way", 1, 3)
    assert (stands["state"], stands["canary_is"]) == ("canary", "through")
    assert (followed["state"], followed["released"]) == ("done", 3)


def test_a_person_has_a_key_tried_again(oaerp: Cli) -> None:
    oaerp.arrive(claim("EXP-1", expense("training.other", "10.50")))

    sent = oaerp.at_home("waiting", "retry", "account:training.other/D01")
    assert "{" not in sent.err
    nothing = oaerp.at_home("waiting", "retry", "account:other/D01")

    assert (sent.code, nothing.code) == (0, 1)


def _file(event: dict[str, object]) -> str:
    path = Path("report.json")
    path.write_text(json.dumps(event), "utf-8")
    return str(path)


def test_preflight_tells_everything_at_once_and_ends_with_1(oaerp: Cli) -> None:
    oaerp.arrive(advance("ADV-1", "5.00"))
    lines = [expense("training.other", "10.00"), expense("gift.gold", "10.00")]
    file = _file(claim("EXP-1", *lines, happening="submitted", advances=[{"number": "ADV-1", "amount": "6.00"}]))

    ran = oaerp.at_home("preflight", file)
    told = oaerp.at_home("preflight", file, "--json").values[0]

    assert ran.code == 1
    assert [finding["code"] for finding in told["findings"]] == ["MAP-201", "MAP-201", "ACC-302"]
    assert all(code in ran.out for code in ("MAP-201", "ACC-302"))


def test_preflight_of_a_sound_report_ends_with_0_and_its_total(oaerp: Cli) -> None:
    ran = oaerp.at_home("preflight", _file(claim("EXP-1", expense("travel.taxi", "50.00"))))

    assert ran.code == 0
    assert "50.00 CNY" in ran.err
