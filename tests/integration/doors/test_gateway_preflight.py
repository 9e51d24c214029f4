"""POST /v1/preflight: every finding at once, before the approval; nothing is written."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from connector.ledger import Ledger
from connector.ledger.periods import Period, put
from tests.integration.doors.conftest import make_runtime, running
from tests.integration.process.world import World, advance, claim, expense, hotel, record


def ask(
    ledger: Ledger, event: Any, *, language: str = "en", tokens: tuple[str, ...] = (), **headers: str
) -> httpx2.Response:
    with running(make_runtime(ledger, tokens=tokens)) as port:
        url = f"http://127.0.0.1:{port}/v1/preflight"
        return httpx2.post(url, json=event, headers={"accept-language": language, **headers}, timeout=60)


def test_a_report_that_would_be_booked_is_answered_with_its_voucher(local_ledger: Ledger) -> None:
    answer = ask(local_ledger, claim("EXP-1", expense("travel.taxi", "50.00"), happening="submitted"))

    assert answer.status_code == 200
    told = answer.json()
    assert (told["ok"], told["findings"], told["waits_for"]) == (True, [], [])
    assert [line["amount"] for line in told["voucher"]["lines"]] == ["50.00", "50.00"]


def test_everything_that_stands_in_the_way_is_answered_at_once(
    local_ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from datetime import date

    world = World(local_ledger, tmp_path_factory.mktemp("erp"))
    world.receive(
        advance("ADV-1", "100.00"),
        record("project", "P-1", name="Bridge", active=False),
        record("budget", "B-1", period="2025", amount="10.00", currency="CNY", department="D01"),
        claim("EXP-0", hotel("70.00", "25442000000000000001")),
    )
    with local_ledger.begin() as tx:
        put(tx, "C01", Period("2025-04", date(2025, 4, 1), date(2025, 4, 30), "closed"))

    answer = ask(
        local_ledger,
        claim(
            "EXP-1",
            hotel("70.00", "25442000000000000001"),
            expense("travel.taxi", "80.00", project="P-1"),
            expense("travel.taxi", "20.00", project="P-9"),
            happening="submitted",
            advances=[{"number": "ADV-1", "amount": "120.00"}],
            approved_at="2025-04-03T10:00:00+08:00",
        ),
    ).json()

    assert answer["ok"] is False
    codes = {finding["code"] for finding in answer["findings"]}
    assert codes == {"ACC-332", "ACC-342", "ACC-341", "ACC-302", "ACC-311", "ACC-321"}
    assert set(answer["waits_for"]) == {
        "period:2025-04-03",
        "valid:2025-04-03/project/P-1",
        "project:P-9",
        "budget:B-1",
    }


def test_the_answer_is_in_the_language_of_the_caller(local_ledger: Ledger) -> None:
    answer = ask(local_ledger, claim("EXP-1", expense("training.other", "50.00")), language="zh-CN").json()

    (finding,) = answer["findings"]
    assert finding["code"] == "MAP-201"
    assert finding["title"] == "缺少对照行"


def test_a_report_that_cannot_be_read_is_a_problem(local_ledger: Ledger) -> None:
    broken = claim("EXP-1", expense("travel.taxi", "50.00"), total="51.00")

    answer = ask(local_ledger, broken)

    assert (answer.status_code, answer.json()["code"]) == (422, "CON-131")


def test_nobody_asks_without_a_token_where_tokens_are_set(local_ledger: Ledger) -> None:
    answer = ask(local_ledger, claim("EXP-1", expense("travel.taxi", "50.00")), tokens=("oa:secret",))

    assert answer.status_code == 401


def test_asking_writes_nothing(local_ledger: Ledger) -> None:
    ask(
        local_ledger,
        claim("EXP-1", hotel("70.00", "25442000000000000001"), advances=[{"number": "A", "amount": "1.00"}]),
    )

    with local_ledger.begin() as tx:
        for table in ("inbox", "outbox", "documents", "balances", "balance_uses", "dead_letters", "books"):
            assert tx.scalar(text(f"SELECT count(*) FROM {table}")) == 0, table


def test_a_version_of_its_own_report_does_not_stand_in_its_way(
    local_ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = World(local_ledger, tmp_path_factory.mktemp("erp"))
    world.receive(claim("EXP-1", hotel("70.00", "25442000000000000001")))

    answer = ask(local_ledger, claim("EXP-1", hotel("70.00", "25442000000000000001"), version=2, happening="changed"))

    assert answer.json()["ok"] is True
