"""What the accounts say to a report: advances, invoices, budgets, periods, master data. On both databases."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from connector.facts import BalanceKey
from connector.ledger import Ledger, balances
from tests.integration.process.world import (
    Shelved,
    World,
    advance,
    claim,
    expense,
    hotel,
    period,
    record,
    report,
    told,
)

WorldWith = Callable[..., World]


@pytest.fixture
def book(tmp_path: Path) -> Shelved:
    return Shelved(tmp_path / "book")


@pytest.fixture
def shelved(ledger: Ledger, tmp_path: Path, book: Shelved) -> World:
    return World(ledger, tmp_path / "erp", book=book.folder)


def codes(world: World) -> list[str]:
    return [letter.code for letter in world.letters()]


def left(world: World, kind: str, key: str, company: str = "C01") -> Decimal:
    with world.ledger.begin() as tx:
        balance = balances.find(tx, BalanceKey(kind, company, key))  # type: ignore[arg-type]
    assert balance is not None
    return balance.open


TAXI = expense("travel.taxi", "1000.00")


# Advances


def test_a_claim_takes_from_the_advance_what_it_claims(world: World) -> None:
    world.receive(advance("ADV-1", "1500.00"))

    world.receive(claim("EXP-1", TAXI, advances=[{"number": "ADV-1", "amount": "900.00"}]))

    assert left(world, "advance", "ADV-1") == Decimal("600.00")


def test_a_claim_above_what_is_open_goes_to_a_person_and_nothing_is_posted(world: World) -> None:
    world.receive(advance("ADV-1", "1500.00"))
    world.receive(claim("EXP-1", TAXI, advances=[{"number": "ADV-1", "amount": "900.00"}]))

    world.receive(claim("EXP-2", TAXI, advances=[{"number": "ADV-1", "amount": "600.01"}]))

    assert codes(world) == ["ACC-302"]
    assert world.postings() == [("C01-EXP-1-V1", "PENDING")]
    assert left(world, "advance", "ADV-1") == Decimal("600.00")


def test_what_was_given_back_cannot_be_claimed(world: World) -> None:
    world.receive(advance("ADV-1", "1500.00"), advance("ADV-1", "700.00", returned=True, version=2))

    world.receive(claim("EXP-1", TAXI, advances=[{"number": "ADV-1", "amount": "900.00"}]))

    assert codes(world) == ["ACC-302"]


def test_more_cannot_be_given_back_than_is_open(world: World) -> None:
    world.receive(advance("ADV-1", "1500.00"))
    world.receive(claim("EXP-1", TAXI, advances=[{"number": "ADV-1", "amount": "900.00"}]))

    world.receive(advance("ADV-1", "600.01", returned=True, version=2))

    assert codes(world) == ["ACC-304"]
    assert left(world, "advance", "ADV-1") == Decimal("600.00")


def test_an_advance_of_somebody_else_cannot_be_claimed(world: World) -> None:
    other = {"id": "E099", "name": "Li Si", "department": "D01"}
    world.receive(advance("ADV-1", "1500.00", employee=other))

    world.receive(claim("EXP-1", TAXI, advances=[{"number": "ADV-1", "amount": "900.00"}]))

    assert codes(world) == ["ACC-303"]


def test_a_withdrawn_report_gives_its_advance_back(world: World) -> None:
    world.receive(advance("ADV-1", "1500.00"))
    world.receive(claim("EXP-1", TAXI, advances=[{"number": "ADV-1", "amount": "900.00"}]))

    world.receive(report("EXP-1", 2, "withdrawn"))

    assert left(world, "advance", "ADV-1") == Decimal("1500.00")


def test_a_new_version_claims_instead_of_the_old_one(world: World) -> None:
    world.receive(advance("ADV-1", "1000.00"))
    world.receive(claim("EXP-1", TAXI, advances=[{"number": "ADV-1", "amount": "900.00"}]))
    world.deliver()

    world.receive(
        claim("EXP-1", TAXI, version=2, happening="changed", advances=[{"number": "ADV-1", "amount": "950.00"}])
    )

    assert codes(world) == []
    assert left(world, "advance", "ADV-1") == Decimal("50.00")


def test_a_report_and_its_advance_may_come_in_one_batch(shelved: World, book: Shelved) -> None:
    book.company(advances="tracked")

    shelved.receive(
        claim("EXP-1", TAXI, advances=[{"number": "ADV-1", "amount": "900.00"}]), advance("ADV-1", "1500.00")
    )

    assert codes(shelved) == []


def test_an_advance_nobody_told_of_is_waited_for_and_the_report_moves_when_it_comes(
    shelved: World, book: Shelved
) -> None:
    book.company(advances="tracked")
    shelved.receive(claim("EXP-1", TAXI, advances=[{"number": "ADV-1", "amount": "900.00"}]))
    assert [letter.waits_for for letter in shelved.letters()] == ["advance:ADV-1"]

    shelved.receive(advance("ADV-1", "1500.00"))
    shelved.release()

    assert shelved.live() == {"C01-EXP-1-V1": Decimal("1000.00")}


USD = {"currency": "USD", "rate": {"value": "7.15", "date": "2025-03-27", "source": "PBOC"}}
PAID = {"currency": "USD", "rate": {"value": "7.10", "date": "2025-03-01", "source": "PBOC"}}


def test_an_advance_in_another_currency_falls_by_the_rate_it_was_paid_at(world: World) -> None:
    world.receive(advance("ADV-1", "500.00", **PAID))

    world.receive(
        claim(
            "EXP-1", expense("travel.hotel", "480.00", **USD), total="3432.00",
            advances=[{"number": "ADV-1", "amount": "480.00", **USD}],
        )
    )  # fmt: skip

    assert world.voucher_lines("C01-EXP-1-V1") == ["Dr 660201 3432.00", "Cr 122101 3408.00", "Cr 660302 24.00"]
    assert left(world, "advance", "ADV-1") == Decimal("20.00")


def _dollars(value: str) -> dict[str, object]:
    return {"currency": "USD", "rate": {"value": value, "date": "2025-03-01", "source": "PBOC"}}


def _spent(number: str, amount: str) -> dict[str, object]:
    """A report that claims so many dollars of an advance, and books costs of 300.00."""
    return claim(
        number, expense("travel.taxi", "300.00"), advances=[{"number": "ADV-1", "amount": amount, **_dollars("7.2")}]
    )


def _taken_off(world: World, *references: str) -> list[Decimal]:
    lines = [line.split() for reference in references for line in world.voucher_lines(reference)]
    return [Decimal(amount) for side, account, amount in lines if (side, account) == ("Cr", "122101")]


def test_claims_in_another_currency_take_off_what_was_paid_also_where_one_was_withdrawn_in_between(
    world: World,
) -> None:
    world.receive(advance("ADV-1", "100.00", **_dollars("7.1234")))
    world.receive(_spent("EXP-1", "33.33"), _spent("EXP-2", "33.33"))
    world.receive(report("EXP-1", 2, "withdrawn"))

    world.receive(_spent("EXP-3", "33.33"))
    world.receive(_spent("EXP-4", "33.34"))

    assert sum(_taken_off(world, "C01-EXP-2-V1", "C01-EXP-3-V1", "C01-EXP-4-V1")) == Decimal("712.34")


def test_what_comes_back_in_parts_takes_off_what_the_claims_left(shelved: World, book: Shelved) -> None:
    book.company(advances="booked")
    shelved.receive(advance("ADV-1", "100.00", **_dollars("7.1234")))
    shelved.receive(_spent("EXP-1", "33.33"), _spent("EXP-2", "33.33"))
    shelved.receive(advance("ADV-1", "11.11", returned=True, version=2, **_dollars("7.2")))
    shelved.receive(report("EXP-1", 2, "withdrawn"))

    for version, amount in ((3, "20.00"), (4, "35.56")):
        shelved.receive(advance("ADV-1", amount, returned=True, version=version, **_dollars("7.2")))

    references = [reference for reference, _ in shelved.postings() if reference != "C01-EXP-1-V1"]
    assert sum(_taken_off(shelved, *references)) == Decimal("712.34")
    assert left(shelved, "advance", "ADV-1") == 0


def test_what_the_oa_pays_and_takes_back_is_booked_where_the_company_says_so(shelved: World, book: Shelved) -> None:
    book.company(advances="booked")
    today = {"currency": "USD", "rate": {"value": "7.12", "date": "2025-04-20", "source": "PBOC"}}
    shelved.receive(advance("ADV-1", "500.00", **PAID))
    shelved.receive(advance("ADV-1", "480.00", returned=True, version=2, **PAID))
    shelved.receive(advance("ADV-1", "20.00", returned=True, version=3, **today))
    shelved.deliver()

    paid, _, back = (reference for reference, _ in shelved.postings())
    bank = next(line for line in shelved.voucher_lines(paid) if line.startswith("Cr")).split()[1]
    assert shelved.voucher_lines(paid) == ["Dr 122101 3550.00", f"Cr {bank} 3550.00"]
    assert shelved.voucher_lines(back) == [f"Dr {bank} 142.40", "Cr 122101 142.00", "Cr 660302 0.40"]
    assert {state for _, state in shelved.postings()} == {"POSTED"}
    assert left(shelved, "advance", "ADV-1") == 0


# Invoices


def test_an_invoice_is_claimed_up_to_its_total_and_not_a_cent_more(world: World) -> None:
    invoice = {"kind": "vat_ordinary", "total": "1060.00", "number": "25442000000123456789"}
    for number, amount in (("EXP-1", "600.00"), ("EXP-2", "460.00"), ("EXP-3", "1.00")):
        world.receive(claim(number, expense("travel.hotel", amount, invoice=invoice)))

    assert [(letter.number, letter.code) for letter in world.letters()] == [("EXP-3", "ACC-311")]
    assert left(world, "invoice", "25442000000123456789", "*") == 0


def _part(number: str, amount: str, **more: object) -> dict[str, object]:
    """A report that claims a part of an invoice of 105.00 with 5.95 of tax, which does not divide by three."""
    invoice = {"kind": "vat_special", "number": "25442000000000000001", "total": "105.00", "net": "99.05", "tax": "5.95",
               "certified": True}  # fmt: skip
    return claim(number, expense("travel.hotel", amount, invoice=invoice), **more)


def _taxes(world: World, *references: str) -> list[str]:
    lines = [line for reference in references for line in world.voucher_lines(reference)]
    return [line.removeprefix("Dr 2221010101 ") for line in lines if line.startswith("Dr 2221010101")]


THIRDS = ("C01-EXP-1-V1", "C01-EXP-2-V1", "C01-EXP-3-V1")


def test_the_reports_that_share_an_invoice_carry_its_tax_to_the_cent(world: World) -> None:
    for number in ("EXP-1", "EXP-2", "EXP-3"):
        world.receive(_part(number, "35.00"))

    assert _taxes(world, *THIRDS) == ["1.98", "1.99", "1.98"]


def test_so_they_do_in_one_batch(world: World) -> None:
    world.receive(*(_part(number, "35.00") for number in ("EXP-1", "EXP-2", "EXP-3")))

    assert sorted(_taxes(world, *THIRDS)) == ["1.98", "1.98", "1.99"]


def test_a_part_given_back_is_taken_by_the_next_report_with_its_tax(world: World) -> None:
    for number in ("EXP-1", "EXP-2", "EXP-3"):
        world.receive(_part(number, "35.00"))
    world.receive(report("EXP-2", 2, "withdrawn"))

    world.receive(_part("EXP-4", "35.00"))

    assert _taxes(world, "C01-EXP-4-V1") == ["1.99"]


def test_a_correction_of_one_part_leaves_the_vouchers_of_the_others_alone(world: World) -> None:
    for number in ("EXP-1", "EXP-2", "EXP-3"):
        world.receive(_part(number, "35.00"))
    world.deliver()
    before = world.postings()

    world.receive(_part("EXP-1", "20.00", version=2, happening="changed"))
    world.receive(_part("EXP-2", "35.00", version=2, happening="changed", title="Another title"))

    assert [made for made in world.postings() if made[0].startswith(("C01-EXP-2", "C01-EXP-3"))] == [
        made for made in before if made[0].startswith(("C01-EXP-2", "C01-EXP-3"))
    ]
    assert _taxes(world, "C01-EXP-1-V2") == ["1.13"]


def test_a_report_handed_in_keeps_its_part_of_an_invoice_until_it_is_approved(world: World) -> None:
    world.receive(_part("EXP-1", "35.00", happening="submitted"))
    world.receive(_part("EXP-2", "35.00"))
    world.receive(_part("EXP-1", "35.00"))

    assert _taxes(world, "C01-EXP-1-V1", "C01-EXP-2-V1") == ["1.98", "1.99"]


def test_another_company_of_the_group_cannot_claim_the_invoice_again(world: World) -> None:
    world.receive(claim("EXP-1", hotel("100.00", "25442000000000000001")))
    other = claim("EXP-1", hotel("100.00", "25442000000000000001"), company="C02", source="/oa/feishu/C02")

    world.receive({**other, "partitionkey": "C02/EXP-1"})

    assert codes(world) == ["ACC-311"]
    assert "that is not claimed yet; claimed by C01 EXP-1, got 100.00" in world.letters()[0].message


def test_who_claimed_an_invoice_in_the_same_batch_is_named_too(world: World) -> None:
    world.receive(*(claim(f"EXP-{place}", hotel("100.00", "25442000000000000001")) for place in (1, 2)))

    (letter,) = world.letters()
    other = {"EXP-1": "EXP-2", "EXP-2": "EXP-1"}[letter.number]
    assert f"that is not claimed yet; claimed by C01 {other}, got 100.00" in letter.message


def test_of_many_that_claim_an_invoice_three_are_named(world: World) -> None:
    world.receive(*(_part(f"EXP-{place}", "21.00") for place in range(1, 6)))

    world.receive(_part("EXP-6", "1.00"))

    assert "claimed by C01 EXP-1, C01 EXP-2, C01 EXP-3 and 2 more, got" in world.letters()[0].message


def test_what_payables_took_of_an_invoice_no_report_can_claim(world: World) -> None:
    number = "25442000000000000001"
    world.receive(record("invoice", number, total="1060.00", used="600.00", currency="CNY"))
    invoice = {"kind": "vat_ordinary", "total": "1060.00", "number": number}

    world.receive(claim("EXP-1", expense("travel.hotel", "460.01", invoice=invoice)))
    world.receive(claim("EXP-2", expense("travel.hotel", "460.00", invoice=invoice)))

    (letter,) = world.letters()
    assert (letter.number, letter.code) == ("EXP-1", "ACC-311")
    assert "that is not claimed yet; booked in payables of C01, got" in letter.message


def test_payables_cannot_take_what_a_report_claimed(world: World) -> None:
    number = "25442000000000000001"
    world.receive(claim("EXP-1", hotel("1060.00", number)))

    world.receive(record("invoice", number, total="1060.00", used="1060.00", currency="CNY"))

    assert codes(world) == ["ACC-311"]
    assert "the part no report has claimed; claimed by C01 EXP-1, got" in world.letters()[0].message


def test_reports_that_share_an_invoice_agree_on_its_tax_as_long_as_both_hold_it(world: World) -> None:
    said = {"kind": "vat_special", "total": "1060.00", "number": "25442000000000000001", "certified": True}
    first = expense("travel.hotel", "530.00", invoice={**said, "net": "1000.00", "tax": "60.00"})
    other = expense("travel.hotel", "530.00", invoice={**said, "net": "940.00", "tax": "120.00"})
    world.receive(claim("EXP-1", first))

    world.receive(claim("EXP-2", other))

    (letter,) = world.letters()
    assert (letter.number, letter.code) == ("EXP-2", "ACC-312")
    assert "data.lines[0].invoice.tax: expected 60.00 CNY, as registered, got 120.00 CNY" in letter.message

    world.receive(report("EXP-1", 2, "withdrawn"))
    world.receive(claim("EXP-3", other))

    assert [letter.number for letter in world.letters()] == ["EXP-2"]


def test_a_fully_digital_invoice_is_one_with_and_without_a_code(world: World) -> None:
    number = "25442000000000000001"
    invoice = {"kind": "vat_ordinary", "total": "100.00", "number": number, "code": "044002200111"}
    world.receive(record("invoice", number, total="100.00", used="0.00", currency="CNY", invoice_code="044002200112"))
    world.receive(claim("EXP-1", hotel("100.00", number)))

    world.receive(claim("EXP-2", expense("travel.hotel", "100.00", invoice=invoice)))

    assert codes(world) == ["ACC-311"]


def test_a_red_invoice_gives_back_once(world: World) -> None:
    red = {"kind": "red_special", "total": "-106.00", "net": "-100.00", "tax": "-6.00", "number": "777"}
    lines = expense("travel.taxi", "200.00"), expense("travel.hotel", "-106.00", invoice={**red, "certified": True})
    world.receive(claim("EXP-1", *lines))

    world.receive(claim("EXP-2", *lines))

    assert codes(world) == ["ACC-311"]


def test_a_withdrawn_report_gives_its_invoice_back(world: World) -> None:
    world.receive(claim("EXP-1", hotel("100.00", "25442000000000000001")))
    world.receive(report("EXP-1", 2, "withdrawn"))

    world.receive(claim("EXP-2", hotel("100.00", "25442000000000000001")))

    assert codes(world) == []


def test_a_report_given_up_by_a_person_gives_its_invoice_back(world: World) -> None:
    world.receive(claim("EXP-1", hotel("100.00", "25442000000000000001")))
    with world.ledger.begin() as tx:
        tx.exec_driver_sql("UPDATE postings SET state = 'REJECTED'")
        letter = _letter_of_the_posting(tx)
    world.discard(letter)

    world.receive(claim("EXP-2", hotel("100.00", "25442000000000000001")))

    assert codes(world) == []


def _letter_of_the_posting(tx: object) -> int:
    from sqlalchemy import text
    from sqlalchemy.engine import Connection

    from connector.ledger.deadletters import Letter, park

    assert isinstance(tx, Connection)
    posting = tx.execute(text("SELECT id, document_id, voucher FROM postings")).one()
    letter = Letter(
        code="ERP-401", message="refused", door="erp file", body=posting.voucher, company="C01", number="EXP-1",
        document_id=posting.document_id, posting_id=posting.id, blocks=True,
    )  # fmt: skip
    return park(tx, letter)


def test_the_total_of_an_invoice_is_what_its_first_claim_said(world: World) -> None:
    first = {"kind": "vat_ordinary", "total": "1060.00", "number": "25442000000000000001"}
    world.receive(claim("EXP-1", expense("travel.hotel", "600.00", invoice=first)))

    world.receive(claim("EXP-2", expense("travel.hotel", "100.00", invoice={**first, "total": "2000.00"})))

    assert codes(world) == ["ACC-312"]


def test_a_refused_version_does_not_change_what_its_invoice_is_about(world: World) -> None:
    number = "25442000000000000001"
    world.receive(claim("EXP-1", hotel("100.00", number)))
    lies = expense("gift.gold", "100.00", invoice={"kind": "vat_ordinary", "total": "500.00", "number": number})
    world.receive(claim("EXP-1", lies, version=2, happening="changed"))

    world.receive(claim("EXP-2", expense("travel.hotel", "300.00", invoice={**lies["invoice"]})))

    assert codes(world) == ["MAP-201", "ACC-312"]
    assert left(world, "invoice", number, "*") == Decimal("0.00")


def test_a_new_version_corrects_the_total_of_an_invoice_that_nobody_else_claims(world: World) -> None:
    number = "25442000000000000001"
    world.receive(claim("EXP-1", hotel("100.00", number)))

    world.receive(claim("EXP-1", hotel("120.00", number), version=2, happening="changed"))

    assert codes(world) == []
    assert left(world, "invoice", number, "*") == Decimal("0.00")


def test_a_report_handed_in_reserves_its_invoice_against_others(world: World) -> None:
    world.receive(claim("EXP-1", hotel("100.00", "25442000000000000001"), happening="submitted"))

    world.receive(claim("EXP-2", hotel("100.00", "25442000000000000001")))
    world.receive(claim("EXP-1", hotel("100.00", "25442000000000000001")))

    assert [(letter.number, letter.code) for letter in world.letters()] == [("EXP-2", "ACC-311")]
    assert world.postings() == [("C01-EXP-1-V1", "PENDING")]


def test_a_version_handed_in_that_comes_late_takes_nothing_from_the_newer_one(world: World) -> None:
    world.receive(advance("ADV-1", "1000.00"))
    newer = [{"number": "ADV-1", "amount": "800.00"}]
    world.receive(claim("EXP-1", TAXI, version=2, happening="submitted", advances=newer))

    world.receive(claim("EXP-1", TAXI, happening="submitted", advances=[{"number": "ADV-1", "amount": "100.00"}]))

    assert world.outcomes() == [(1, "superseded"), (2, "applied")]
    assert left(world, "advance", "ADV-1") == Decimal("200.00")


def test_a_newer_version_handed_in_reserves_instead_of_the_older(world: World) -> None:
    world.receive(advance("ADV-1", "1000.00"))
    for version, amount in ((1, "100.00"), (2, "800.00")):
        claimed = [{"number": "ADV-1", "amount": amount}]
        world.receive(claim("EXP-1", TAXI, version=version, happening="submitted", advances=claimed))

    assert left(world, "advance", "ADV-1") == Decimal("200.00")


# Budgets

HOTEL = expense(
    "travel.hotel", "1060.00",
    invoice={"kind": "vat_special", "total": "1060.00", "net": "1000.00", "tax": "60.00", "certified": True},
)  # fmt: skip
RAIL = expense("travel.rail", "553.00", invoice={"kind": "rail", "total": "553.00"})
BUDGET = {"period": "2025", "amount": "2000.00", "currency": "CNY", "department": "D01"}


def test_a_budget_is_reserved_gross_consumed_net_of_tax_and_restored_on_reversal(world: World) -> None:
    world.receive(record("budget", "B-1", **BUDGET))

    world.receive(claim("EXP-1", HOTEL, RAIL, happening="submitted"))
    assert left(world, "budget", "B-1") == Decimal("2000.00") - Decimal("1613.00")
    world.receive(claim("EXP-1", HOTEL, RAIL))
    assert left(world, "budget", "B-1") == Decimal("2000.00") - Decimal("1507.34")
    world.receive(report("EXP-1", 2, "withdrawn"))
    assert left(world, "budget", "B-1") == Decimal("2000.00")


@pytest.mark.parametrize("period", ["2025Q2", "2025-4", "FY2025", "202504", "2025-13"])
def test_a_budget_of_a_period_that_cannot_be_read_is_refused(world: World, period: str) -> None:
    world.receive(record("budget", "B-1", **BUDGET | {"period": period}))

    assert codes(world) == ["CON-117"]


def test_a_report_above_the_budget_waits_for_it_and_moves_when_it_is_raised(world: World) -> None:
    world.receive(record("budget", "B-1", **{**BUDGET, "amount": "1500.00"}))
    world.receive(claim("EXP-1", HOTEL, RAIL))
    assert [(letter.code, letter.waits_for) for letter in world.letters()] == [("ACC-321", "budget:B-1")]

    world.receive(record("budget", "B-1", 2, **{**BUDGET, "amount": "1700.00"}))
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]
    assert left(world, "budget", "B-1") == Decimal("1700.00") - Decimal("1507.34")


def test_the_budget_that_says_most_about_a_cost_is_the_one_it_falls_under(world: World) -> None:
    world.receive(
        record("budget", "ALL", **{**BUDGET, "department": None}),
        record("budget", "D01", **BUDGET),
        record("budget", "D02", **{**BUDGET, "department": "D02"}),
    )

    world.receive(claim("EXP-1", TAXI))

    assert [left(world, "budget", key) for key in ("ALL", "D01", "D02")] == [2000, 1000, 2000]


# Periods


def test_a_report_of_a_closed_period_waits_until_it_is_opened_again(world: World) -> None:
    world.receive(period("2025-04", "closed"))
    world.receive(claim("EXP-1", TAXI))
    assert [(letter.code, letter.waits_for) for letter in world.letters()] == [("ACC-332", "period:2025-04-03")]

    world.receive(period("2025-04", "open", 2))
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_next_open_books_a_march_expense_in_april_and_says_where_it_belongs(shelved: World, book: Shelved) -> None:
    book.company(posting_day="expense")
    book.table("periods", "document,company,policy\n*,*,NEXT_OPEN\n")
    shelved.receive(period("2025-03", "closed"), period("2025-04", "open"))

    shelved.receive(claim("EXP-1", expense("travel.taxi", "50.00", date="2025-03-28")))

    voucher = _voucher(shelved, "C01-EXP-1-V1")
    assert str(voucher.date) == "2025-04-03"
    assert [line.origin_period for line in voucher.lines] == ["2025-03", None]


def test_accrue_takes_the_cost_from_where_it_was_accrued(shelved: World, book: Shelved) -> None:
    book.company(posting_day="expense")
    book.table("periods", "document,company,policy\n*,*,ACCRUE\n")
    shelved.receive(period("2025-03", "closed"), period("2025-04", "open"))

    shelved.receive(claim("EXP-1", expense("travel.taxi", "50.00", date="2025-03-28")))

    voucher = _voucher(shelved, "C01-EXP-1-V1")
    assert [line.role for line in voucher.lines] == ["accrual", "employee_payable"]


def test_reject_sends_the_report_back_to_the_oa(shelved: World, book: Shelved) -> None:
    book.table("periods", "document,company,policy\n*,*,REJECT\n")
    shelved.receive(period("2025-04", "closed"))

    shelved.receive(claim("EXP-1", TAXI))

    assert codes(shelved) == ["ACC-331"]


def test_another_fiscal_year_is_for_a_person_and_goes_on_once_one_accepted(shelved: World, book: Shelved) -> None:
    from connector.ledger import periods

    book.table("periods", "document,company,policy\n*,*,NEXT_OPEN\n")
    shelved.receive(period("2024-12", "closed"), period("2025-01", "open"))
    shelved.receive(claim("EXP-1", TAXI, posting_date="2024-12-30", approved_at="2025-01-05T10:00:00+08:00"))
    (letter,) = shelved.letters()
    assert (letter.code, letter.waits_for) == ("ACC-334", None)

    with shelved.ledger.begin() as tx:
        periods.accept_year(tx, letter.document_id, "wang", "current year, below materiality")
    shelved.replay(letter.id)
    shelved.deliver()

    assert str(_voucher(shelved, "C01-EXP-1-V1").date) == "2025-01-05"


def test_into_a_closing_period_goes_only_what_was_approved_within_it(world: World) -> None:
    world.receive(period("2025-03", "closing"), period("2025-04", "open"))

    world.receive(claim("EXP-1", TAXI, posting_date="2025-03-31", approved_at="2025-03-31T18:00:00+08:00"))
    world.receive(claim("EXP-2", TAXI, posting_date="2025-03-31", approved_at="2025-04-01T09:00:00+08:00"))

    assert [(letter.number, letter.code) for letter in world.letters()] == [("EXP-2", "ACC-332")]


# Master data


def test_a_project_that_ended_before_the_posting_day_stops_the_report(world: World) -> None:
    world.receive(record("project", "P-88", name="Bridge", valid_to="2025-03-31"))

    world.receive(claim("EXP-1", expense("travel.taxi", "50.00", project="P-88")))

    assert codes(world) == ["ACC-342"]


def test_a_project_nobody_knows_is_waited_for(world: World) -> None:
    world.receive(record("project", "P-1", name="Other"))
    world.receive(claim("EXP-1", expense("travel.taxi", "50.00", project="P-88")))
    assert [letter.waits_for for letter in world.letters()] == ["project:P-88"]

    world.receive(record("project", "P-88", name="Bridge"))
    world.release()

    assert list(world.live()) == ["C01-EXP-1-V1"]


def test_a_project_of_another_company_is_none_of_this_one(world: World) -> None:
    theirs = record("project", "P-88", name="Bridge", company="C02", source="/oa/feishu/C02")
    world.receive(record("project", "P-1", name="Other"), theirs)

    world.receive(claim("EXP-1", expense("travel.taxi", "50.00", project="P-88")))

    assert codes(world) == ["ACC-341"]


# Payments


def _payment(number: str, amount: str, version: int, *, reverses: bool = False) -> dict[str, object]:
    kind, day = ("reversed", "reversed_on") if reverses else ("made", "paid_on")
    return told(
        f"payment.{kind}.v1", "EXP-1", version=version, number="EXP-1", reference="C01-EXP-1-V1", payment_number=number,
        document={"type": "expense.report", "number": "EXP-1", "version": 1}, amount=amount, currency="CNY",
        **{day: "2025-05-01"},
    )  # fmt: skip


def test_a_report_is_partly_paid_then_paid_then_open_again_by_exact_sums(world: World) -> None:
    world.receive(claim("EXP-1", expense("travel.taxi", "413.00")))
    world.deliver()

    for at, event in enumerate((("P1", "200.00", False), ("P2", "213.00", False), ("P2", "213.00", True)), 1):
        number, amount, reverses = event
        world.receive(_payment(number, amount, at, reverses=reverses))

    notes = [note for (note,) in world.query("SELECT note FROM inbox WHERE type LIKE 'payment%' ORDER BY id")]
    assert notes == [
        "partly paid: 200.00 paid, 213.00 open",
        "paid: 413.00 paid, 0.00 open",
        "partly paid: 200.00 paid, 213.00 open",
    ]


def test_more_is_not_paid_than_is_owed(world: World) -> None:
    world.receive(claim("EXP-1", expense("travel.taxi", "413.00")))
    world.deliver()

    world.receive(_payment("P1", "413.01", 1))

    assert codes(world) == ["ACC-361"]


def _voucher(world: World, reference: str):  # type: ignore[no-untyped-def]
    from contracts.voucher import parse_voucher

    ((body,),) = world.query("SELECT voucher FROM postings WHERE reference = :reference", reference=reference)
    return parse_voucher(bytes(body))


def test_claims_on_an_advance_in_another_currency_take_off_what_was_paid_to_the_cent(world: World) -> None:
    rate = {"value": "7.1234", "date": "2025-03-01", "source": "PBOC"}
    foreign = {"currency": "USD", "rate": rate}
    world.receive(advance("ADV-1", "100.00", **foreign))

    for number, amount, total in (
        ("EXP-1", "33.33", "237.42"),
        ("EXP-2", "33.33", "237.42"),
        ("EXP-3", "33.34", "237.49"),
    ):
        claimed = [{"number": "ADV-1", "amount": amount, **foreign}]
        world.receive(claim(number, expense("travel.hotel", amount, **foreign), total=total, advances=claimed))

    taken = [
        line.amount for at in (1, 2, 3) for line in _voucher(world, f"C01-EXP-{at}-V1").lines if line.role == "advance"
    ]
    assert sum(taken) == Decimal("712.34")  # one by one they would come to 712.33


def test_an_advance_paid_in_a_closed_period_waits_until_it_is_opened(shelved: World, book: Shelved) -> None:
    book.company(advances="booked")
    shelved.receive(period("2025-03", "closed"))
    shelved.receive(advance("ADV-1", "500.00"))
    assert [letter.waits_for for letter in shelved.letters()] == ["period:2025-03-01"]

    shelved.receive(period("2025-03", "open", 2))
    shelved.release()

    assert [state for _, state in shelved.postings()] == ["POSTED"]


def test_a_payment_in_another_currency_than_what_is_owed_goes_to_a_person(world: World) -> None:
    world.receive(claim("EXP-1", expense("travel.taxi", "413.00")))
    world.deliver()
    payment = _payment("P1", "58.00", 1)

    world.receive({**payment, "data": {**payment["data"], "currency": "USD"}})  # type: ignore[dict-item]

    assert codes(world) == ["ACC-361"]


def test_a_budget_that_was_deleted_stops_nothing_until_it_is_told_of_again(world: World) -> None:
    deleted = {"id": "B-1", "changed_at": "2025-02-01T00:00:00Z"}
    world.receive(record("budget", "B-1", **{**BUDGET, "amount": "10.00"}))
    world.receive(told("master.budget.deleted.v1", "B-1", version=2, **deleted))

    world.receive(claim("EXP-1", TAXI))
    assert codes(world) == []
    world.receive(record("budget", "B-1", 3, **{**BUDGET, "amount": "10.00"}))
    world.receive(claim("EXP-2", TAXI))

    assert codes(world) == ["ACC-321"]
