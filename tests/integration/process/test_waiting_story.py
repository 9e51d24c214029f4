"""Waiting by key: what waits moves by itself once the key arrives, one document first, none twice. On both databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.erp.file_ledger import FileLedger
from connector.ledger import Ledger, waiting
from connector.settings import System, Waiting
from connector.translate import shelf
from tests.integration.process.world import Shelved, World, claim, expense, period, record, report, told

MISSING = "training.other"
ROW = f"{MISSING},*,*,660205,,,"


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelved:
    monkeypatch.setattr(shelf, "LOOK_EVERY_S", 0.0)
    return Shelved(tmp_path / "book")


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path, book: Shelved) -> World:
    return World(ledger, tmp_path / "erp", book=book.folder)


def _states(world: World) -> list[tuple[str, int, int]]:
    with world.ledger.begin() as tx:
        return [(row.state, row.released, row.waiting) for row in waiting.recent(tx, 10)]


def test_three_hundred_reports_move_when_the_row_arrives_the_canary_first_and_none_twice(
    world: World, book: Shelved
) -> None:
    world.receive(*(claim(f"EXP-{at}", expense(MISSING, "10.00")) for at in range(300)))
    assert len(world.letters()) == 300
    assert not world.release().moved

    book.add("accounts", ROW)
    first = world.release()
    assert (first.canaries, first.released, len(world.live())) == (1, 0, 1)
    assert _states(world) == [("canary", 1, 300)]
    second = world.release()
    assert second.released == 100
    while world.release().moved:
        pass

    assert len(world.live()) == 300
    assert len(world.postings()) == 300
    assert world.letters() == []
    assert _states(world) == [("done", 300, 300)]


def test_a_canary_that_comes_back_stops_the_others(world: World, book: Shelved) -> None:
    world.receive(*(claim(f"EXP-{at}", expense(MISSING, "10.00")) for at in range(5)))

    book.add("accounts", f"{MISSING},*,*,660205,,2020-01-01,2020-12-31")
    for _ in range(4):
        world.release()

    assert len(world.letters()) == 5
    assert _states(world) == [("stopped", 1, 5)]


def test_after_a_stop_the_next_change_of_the_book_is_tried(world: World, book: Shelved) -> None:
    world.receive(*(claim(f"EXP-{at}", expense(MISSING, "10.00")) for at in range(5)))
    book.add("accounts", f"{MISSING},*,*,660205,,2020-01-01,2020-12-31")
    for _ in range(3):
        world.release()

    book.add("accounts", f"{MISSING},*,*,660205,,2021-01-01,")
    for _ in range(4):
        world.release()

    assert len(world.live()) == 5


def test_a_report_that_waits_for_two_keys_moves_when_both_are_there(world: World, book: Shelved) -> None:
    world.receive(claim("EXP-1", expense(MISSING, "10.00"), expense("gift.gold", "5.00")))

    book.add("accounts", ROW)
    assert not world.release().moved
    book.add("accounts", "gift.gold,*,*,660206,,,")
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_a_canary_is_not_proven_by_an_older_version_of_its_document(world: World, book: Shelved) -> None:
    world.receive(claim("EXP-1", expense("travel.taxi", "10.00")))
    world.deliver()
    world.receive(claim("EXP-1", expense(MISSING, "10.00"), version=2, happening="changed"))
    world.receive(*(claim(f"EXP-{at}", expense(MISSING, "10.00")) for at in range(2, 6)))

    book.add("accounts", f"{MISSING},*,*,660205,,2020-01-01,2020-12-31")
    world.runtime.waiting.release_due()
    before_it_was_read = world.runtime.waiting.release_due()
    world.deliver()
    world.release()

    assert not before_it_was_read.moved
    assert _states(world) == [("stopped", 1, 5)]


def test_a_canary_is_not_stopped_by_an_older_version_that_the_erp_refused(
    ledger: Ledger, tmp_path: Path, book: Shelved
) -> None:
    known = tmp_path / "accounts"
    known.write_text("1\n")
    erp = FileLedger(
        System(adapter="file", company="C01", options={"path": str(tmp_path / "erp"), "accounts": str(known)})
    )
    world = World(ledger, tmp_path / "erp", erp, book=book.folder)
    world.receive(claim("EXP-1", expense("travel.taxi", "10.00")))
    world.deliver()
    world.discard(world.letters()[0].id)
    world.receive(claim("EXP-1", expense(MISSING, "10.00"), version=2, happening="changed"))
    world.receive(*(claim(f"EXP-{at}", expense(MISSING, "10.00")) for at in range(2, 6)))

    known.write_text("660205\n224101\n")
    book.add("accounts", ROW)
    world.runtime.waiting.release_due()
    for _ in range(3):
        world.release()

    assert (len(world.live()), _states(world)) == (5, [("done", 5, 5)])


def test_a_canary_that_a_later_version_overtook_proves_nothing_and_another_goes(world: World, book: Shelved) -> None:
    world.receive(*(claim(f"EXP-{at}", expense(MISSING, "10.00")) for at in range(3)))
    book.add("accounts", ROW)
    world.runtime.waiting.release_due()
    world.relay()
    world.receive(claim("EXP-0", expense("travel.taxi", "10.00"), version=2, happening="changed"))
    world.deliver()

    round_two = world.release()

    assert (round_two.canaries, round_two.released) == (1, 0)
    assert _states(world) == [("canary", 1, 2)]


def test_what_waits_for_something_else_too_hides_nobody_from_the_canary(world: World, book: Shelved) -> None:
    world.receive(*(claim(f"OLD-{at}", expense(MISSING, "1.00"), expense("gift.gold", "1.00")) for at in range(25)))
    world.receive(*(claim(f"NEW-{at}", expense(MISSING, "10.00")) for at in range(5)))

    book.add("accounts", ROW)
    while world.release().moved:
        pass

    assert (len(world.live()), len(world.letters())) == (5, 25)


def test_what_waits_for_something_else_too_hides_nobody_from_those_that_follow(
    ledger: Ledger, tmp_path: Path, book: Shelved
) -> None:
    world = World(ledger, tmp_path / "erp", book=book.folder, waiting=Waiting(batch=10))
    world.receive(claim("NEW-0", expense(MISSING, "10.00")))
    world.receive(*(claim(f"OLD-{at}", expense(MISSING, "1.00"), expense("gift.gold", "1.00")) for at in range(10)))
    world.receive(*(claim(f"NEW-{at}", expense(MISSING, "10.00")) for at in range(1, 5)))

    book.add("accounts", ROW)
    while world.release().moved:
        pass

    assert (len(world.live()), len(world.letters())) == (5, 10)
    assert _states(world) == [("done", 5, 15)]


def test_a_key_behind_thousands_that_did_not_arrive_is_seen(
    world: World, book: Shelved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PAGE", 3)
    world.receive(*(claim(f"OLD-{at}", expense(f"gift.{at}", "1.00")) for at in range(10)))
    world.receive(claim("EXP-1", expense(MISSING, "10.00")))

    book.add("accounts", ROW)
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_what_comes_back_neither_holds_up_the_others_nor_is_let_go_again_and_again(
    ledger: Ledger, tmp_path: Path, book: Shelved
) -> None:
    world = World(ledger, tmp_path / "erp", book=book.folder, waiting=Waiting(batch=1))
    for at, day in enumerate(("2025-03-27", "2024-03-27", "2025-03-27")):
        world.receive(claim(f"EXP-{at}", expense(MISSING, "10.00"), approved_at=f"{day}T10:00:00+08:00"))

    book.add("accounts", f"{MISSING},*,*,660205,,2025-01-01,")
    for _ in range(8):
        world.release()

    assert list(world.live()) == ["C01-EXP-0-V1", "C01-EXP-2-V1"]
    assert [(letter.number, letter.replays) for letter in world.letters()] == [("EXP-1", 2)]
    assert _states(world) == [("stopped", 1, 1)]


def test_a_budget_that_is_too_small_for_the_oldest_lets_go_what_it_is_enough_for(world: World) -> None:
    scope = {"period": "2025", "currency": "CNY", "department": "D01"}
    world.receive(record("budget", "B-1", amount="1.00", **scope))
    world.receive(claim("EXP-1", expense("travel.taxi", "900.00")), claim("EXP-2", expense("travel.taxi", "20.00")))
    assert [letter.waits_for for letter in world.letters()] == ["budget:B-1"] * 2

    world.receive(record("budget", "B-1", 2, amount="50.00", **scope))
    world.release()

    assert list(world.live()) == ["C01-EXP-2-V1"]


def test_a_report_that_goes_to_the_next_open_period_waits_for_any_from_its_day_on(world: World, book: Shelved) -> None:
    book.company()
    book.table("periods", "document,company,policy\n*,*,NEXT_OPEN\n")
    world.receive(period("2025-03", "closed"), period("2025-04", "closed"))
    world.receive(claim("EXP-1", expense("travel.taxi", "10.00"), posting_date="2025-03-28"))
    assert [letter.waits_for for letter in world.letters()] == ["open_from:2025-04-03"]

    assert not world.release().moved
    world.receive(period("2025-05", "open"))
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_a_withdrawal_waits_for_any_open_period_from_its_day_on(world: World) -> None:
    world.receive(claim("EXP-1", expense("travel.taxi", "10.00")))
    world.deliver()
    world.receive(period("2025-04", "closed"))
    world.receive(report("EXP-1", 2, "withdrawn"))
    assert [letter.waits_for for letter in world.letters()] == ["open_from:2025-04-05"]

    world.receive(period("2025-05", "open"))
    world.release()

    assert (world.live(), world.letters()) == ({}, [])


@pytest.mark.parametrize(("category", "department"), [("travel/hotel", "D01"), ("training", "D/01")])
def test_a_slash_in_a_category_or_a_department_is_no_cut(
    world: World, book: Shelved, category: str, department: str
) -> None:
    world.receive(claim("EXP-1", expense(category, "10.00", department=department)))
    assert not world.release().moved

    book.add("accounts", f"{category},{department},*,660205,,,")
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_a_report_of_a_project_that_ended_moves_once_the_project_counts_on_its_day(world: World) -> None:
    world.receive(record("project", "P/1", name="Bridge", valid_to="2025-03-31"))
    world.receive(claim("EXP-1", expense("travel.taxi", "10.00", project="P/1")))
    assert [letter.waits_for for letter in world.letters()] == ["valid:2025-04-03/project/P/1"]

    world.receive(record("project", "P/1", 2, name="Bridge", valid_to="2025-04-02"))
    assert not world.release().moved
    world.receive(record("project", "P/1", 3, name="Bridge", valid_to="2025-12-31"))
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


@pytest.mark.parametrize("mended", ["in the ERP", "in the book"])
def test_an_account_that_is_closed_is_waited_for_in_the_erp_and_in_the_book(
    world: World, book: Shelved, mended: str
) -> None:
    accounts = [record("account", code, name=code) for code in ("660201", "660205", "224101")]
    world.receive(*accounts, record("account", "660201", 2, name="Travel", active=False))
    world.receive(claim("EXP-1", expense("travel.taxi", "10.00")))
    assert [letter.waits_for for letter in world.letters()] == ["valid:2025-04-03/account/660201"]
    for _ in range(3):
        world.release()
    assert not world.release().moved

    if mended == "in the ERP":
        world.receive(record("account", "660201", 3, name="Travel", active=True))
    else:
        book.add("accounts", "travel.taxi,D01,*,660205,,,")
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_a_dimension_that_an_account_requires_is_waited_for_in_the_chart(world: World, book: Shelved) -> None:
    chart = (book.folder / "chart.csv").read_text("utf-8")
    (book.folder / "chart.csv").write_text(_with_dimension(chart, "660201", "project"), "utf-8")
    world.receive(claim("EXP-1", expense("travel.taxi", "10.00")))
    assert [letter.waits_for for letter in world.letters()] == ["chart:660201/project/optional"]

    book.add("accounts", "travel.taxi,D02,*,660205,,,")
    assert not world.release().moved
    (book.folder / "chart.csv").write_text(_with_dimension(chart, "660201", "project?"), "utf-8")
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_a_dimension_that_the_erp_requires_is_waited_for_in_the_chart_where_that_does_not_carry_it(
    world: World, book: Shelved
) -> None:
    chart = (book.folder / "chart.csv").read_text("utf-8")
    travel = record("account", "660201", name="Travel", dimensions=["cost_centre"])
    world.receive(record("account", "224101", name="Employees"), travel)
    (book.folder / "chart.csv").write_text(_with_dimension(chart, "660201", ""), "utf-8")
    world.receive(claim("EXP-1", expense("travel.taxi", "10.00", cost_centre="CC1")))
    assert [letter.waits_for for letter in world.letters()] == ["chart:660201/cost_centre/carried"]

    assert not world.release().moved
    (book.folder / "chart.csv").write_text(_with_dimension(chart, "660201", "cost_centre?"), "utf-8")
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def _with_dimension(chart: str, account: str, dimension: str) -> str:
    """The chart in which this account carries no dimension but the given one."""
    lines = chart.splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith(f"{account},"))
    lines[at] = ",".join([*lines[at].split(",")[:3], dimension])
    return "\n".join(lines) + "\n"


def test_a_rounding_difference_waits_for_a_tolerance_that_is_wide_enough(world: World, book: Shelved) -> None:
    book.table("tolerances", "company,rounding_max\n*,0.00\n")
    foreign = {"currency": "USD", "rate": {"value": "7.1234", "date": "2025-03-27", "source": "BOC"}}
    nights = [expense("travel.hotel", amount, **foreign) for amount in ("33.33", "33.33", "33.34")]
    world.receive(claim("EXP-1", *nights, total="712.34"))
    assert [letter.waits_for for letter in world.letters()] == ["rounding:2025-04-03/0.01"]

    book.add("accounts", "gift.gold,*,*,660205,,,")
    assert not world.release().moved
    book.table("tolerances", "company,rounding_max\n*,0.01\n")
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_a_budget_that_covers_what_a_report_costs_net_of_tax_lets_it_go(world: World) -> None:
    scope = {"period": "2025", "currency": "CNY", "department": "D01"}
    invoice = {"kind": "vat_special", "number": "1", "total": "1060.00", "net": "1000.00", "tax": "60.00"}
    world.receive(record("budget", "B-1", amount="900.00", **scope))
    world.receive(claim("EXP-1", expense("travel.hotel", "1060.00", invoice={**invoice, "certified": True})))

    world.receive(record("budget", "B-1", 2, amount="999.99", **scope))
    assert not world.release().moved
    world.receive(record("budget", "B-1", 3, amount="1000.00", **scope))
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_a_budget_that_covers_its_share_of_a_report_lets_it_go(world: World) -> None:
    shares = [{"share": "0.5", "department": "D01"}, {"share": "0.5", "department": "D02"}]
    scope = {"period": "2025", "currency": "CNY", "department": "D01"}
    world.receive(record("budget", "B-1", amount="10.00", **scope))
    world.receive(claim("EXP-1", expense("travel.taxi", "100.00", allocations=shares)))

    world.receive(record("budget", "B-1", 2, amount="60.00", **scope))
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_a_budget_that_is_deleted_lets_go_what_waits_for_it(world: World) -> None:
    scope = {"period": "2025", "currency": "CNY", "department": "D01"}
    world.receive(record("budget", "B-1", amount="1.00", **scope))
    world.receive(claim("EXP-1", expense("travel.taxi", "100.00")))

    world.receive(told("master.budget.deleted.v1", "B-1", version=2, id="B-1", changed_at="2025-02-01T00:00:00Z"))
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_what_a_report_reserved_of_a_budget_itself_counts_for_it(world: World) -> None:
    scope = {"period": "2025", "currency": "CNY", "department": "D01"}
    world.receive(record("budget", "B-1", amount="100.00", **scope))
    world.receive(claim("EXP-1", expense("travel.taxi", "100.00"), happening="submitted"))
    world.receive(claim("EXP-1", expense("travel.taxi", "120.00"), version=2))
    assert [letter.waits_for for letter in world.letters()] == ["budget:B-1"]

    world.receive(record("budget", "B-1", 2, amount="120.00", **scope))
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V2"]


def test_a_book_that_became_wrong_leaves_the_last_sound_one_in_force(world: World, book: Shelved) -> None:
    world.receive(claim("EXP-1", expense("travel.taxi", "10.00")))

    (book.folder / "accounts.csv").write_text("nonsense\n")
    world.receive(claim("EXP-2", expense("travel.taxi", "10.00")))

    assert len(world.postings()) == 2


def test_a_stopped_key_is_tried_again_by_a_person(world: World, book: Shelved) -> None:
    world.receive(claim("EXP-1", expense(MISSING, "10.00")))

    assert world.runtime.waiting.retry("C01", f"account:{MISSING}/D01")
    world.deliver()

    assert not world.runtime.waiting.retry("C01", "account:nothing/D01")
    assert len(world.letters()) == 1
