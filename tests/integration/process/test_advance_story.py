"""What becomes of an advance: paid, corrected, given back, told twice, told otherwise. On both databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connector.erp.simulator import SimulatorErp
from connector.facts import BalanceKey
from connector.ledger import Ledger, balances
from connector.settings import System
from connector.testing.erp_simulator import ErpSimulator
from tests.integration.process.world import Shelved, World, advance, told

BANK = "100201"


@pytest.fixture
def booked(ledger: Ledger, tmp_path: Path) -> World:
    """A company that books what the OA pays in advance."""
    book = Shelved(tmp_path / "book")
    book.company(advances="booked")
    return World(ledger, tmp_path / "erp", book=book.folder)


@pytest.fixture
def strict(ledger: Ledger, tmp_path: Path) -> Iterator[tuple[ErpSimulator, World]]:
    """The same with an ERP that has no account for exchange differences yet."""
    book = Shelved(tmp_path / "book")
    book.company(advances="booked")
    with closing(ErpSimulator(accounts=["122101", BANK])) as erp:
        password = SecretStr(ErpSimulator.password)
        system = System(adapter="simulator", company="C01", url=erp.url, password=password)
        with closing(SimulatorErp(system)) as adapter:
            yield erp, World(ledger, tmp_path / "erp", adapter, book=book.folder)


def dollars(rate: str) -> dict[str, Any]:
    return {"currency": "USD", "rate": {"value": rate, "date": "2025-03-01", "source": "PBOC"}}


def paid(amount: str, version: int = 1, **more: Any) -> dict[str, Any]:
    return advance("ADV-1", amount, version=version, **more)


def returned(amount: str, version: int = 2, **more: Any) -> dict[str, Any]:
    return advance("ADV-1", amount, returned=True, version=version, **more)


def left(world: World) -> Decimal:
    with world.ledger.begin() as tx:
        balance = balances.find(tx, BalanceKey("advance", "C01", "ADV-1"))
    assert balance is not None
    return balance.open


def codes(world: World) -> list[str]:
    return [letter.code for letter in world.letters()]


def stands(world: World) -> Decimal:
    """Debits less credits of the employee's advance, over everything the ERP holds."""
    total = Decimal(0)
    for reference, state in world.postings():
        if state not in ("POSTED", "REVERSED"):
            continue
        for line in world.voucher_lines(reference):
            side, account, amount = line.split()
            if account == "122101":
                total += Decimal(amount) * (1 if side == "Dr" else -1)
    return total


def test_a_corrected_payment_is_taken_back_and_posted_anew(booked: World) -> None:
    booked.receive(paid("500.00"))
    booked.deliver()

    booked.receive(paid("400.00", version=2))
    booked.deliver()

    assert codes(booked) == []
    assert [state for _, state in booked.postings()] == ["REVERSED", "POSTED", "POSTED"]
    assert (stands(booked), left(booked)) == (Decimal("400.00"), Decimal("400.00"))


def test_a_payment_of_another_day_is_posted_on_that_day(booked: World) -> None:
    booked.receive(paid("500.00", paid_on="2025-03-01"))
    booked.deliver()

    booked.receive(paid("500.00", version=2, paid_on="2025-03-15"))
    booked.deliver()

    assert booked.query("SELECT purpose, state, posted_on FROM postings ORDER BY id") == [
        ("post", "REVERSED", "2025-03-01"),
        ("reverse", "POSTED", "2025-03-01"),
        ("post", "POSTED", "2025-03-15"),
    ]


def test_a_payment_corrected_before_it_was_sent_is_posted_once(booked: World) -> None:
    booked.receive(paid("500.00"))

    booked.receive(paid("400.00", version=2))
    booked.deliver()

    assert [state for _, state in booked.postings()] == ["POSTED"]
    assert stands(booked) == Decimal("400.00")
    assert booked.outcomes("ADV-1") == [(1, "superseded"), (2, "applied")]


def test_a_correction_waits_for_the_answer_about_the_payment(booked: World) -> None:
    booked.receive(paid("500.00"))
    with booked.ledger.begin() as tx:
        tx.exec_driver_sql("UPDATE postings SET state = 'UNKNOWN', attempts = 1")

    booked.receive(paid("400.00", version=2))
    assert booked.outcomes("ADV-1") == [(1, "applied"), (2, "held")]
    booked.deliver()

    assert booked.outcomes("ADV-1") == [(1, "applied"), (2, "applied")]
    assert stands(booked) == Decimal("400.00")


def test_a_payment_whose_voucher_stays_the_same_is_not_posted_again(booked: World) -> None:
    booked.receive(paid("500.00", reason="To Shenzhen"))
    booked.deliver()

    booked.receive(paid("500.00", version=2, reason="To Shanghai"))

    assert [state for _, state in booked.postings()] == ["POSTED"]


def test_the_same_payment_told_again_is_a_duplicate(booked: World) -> None:
    booked.receive(paid("500.00"))
    booked.deliver()

    booked.receive(paid("500.00"))

    assert booked.outcomes("ADV-1") == [(1, "applied"), (1, "duplicate")]
    assert codes(booked) == []


def test_one_version_of_a_payment_with_two_contents_goes_to_a_person(booked: World) -> None:
    booked.receive(paid("500.00"))

    booked.receive(paid("400.00"))

    assert codes(booked) == ["SYN-301"]
    assert left(booked) == Decimal("500.00")


def test_a_late_payment_of_a_lower_version_changes_nothing(booked: World) -> None:
    booked.receive(paid("400.00", version=2))

    booked.receive(paid("500.00", version=1))

    assert booked.outcomes("ADV-1") == [(1, "superseded"), (2, "applied")]
    assert left(booked) == Decimal("400.00")


def test_a_payment_told_after_its_return_counts_all_the_same(booked: World) -> None:
    booked.receive(returned("100.00", version=2))

    booked.receive(paid("500.00", version=1))
    booked.deliver()

    assert codes(booked) == []
    assert (stands(booked), left(booked)) == (Decimal("400.00"), Decimal("400.00"))


def test_a_payment_corrected_in_one_batch_with_a_return_leaves_the_return(booked: World) -> None:
    booked.receive(paid("500.00", version=1), returned("100.00", version=1), paid("450.00", version=2))
    booked.deliver()

    assert (stands(booked), left(booked)) == (Decimal("350.00"), Decimal("350.00"))
    assert booked.outcomes("ADV-1") == [(1, "superseded"), (1, "applied"), (2, "applied")]


def test_one_return_told_twice_counts_once(world: World) -> None:
    world.receive(paid("500.00"), returned("100.00"))

    world.receive(returned("100.00"))

    assert left(world) == Decimal("400.00")
    assert world.outcomes("ADV-1") == [(1, "applied"), (2, "applied"), (2, "duplicate")]


def test_so_it_does_in_one_batch(booked: World) -> None:
    booked.receive(paid("500.00"), returned("100.00"), returned("100.00"))
    booked.deliver()

    assert (stands(booked), left(booked)) == (Decimal("400.00"), Decimal("400.00"))
    assert codes(booked) == []


def test_two_returns_of_one_amount_count_twice(booked: World) -> None:
    booked.receive(paid("500.00"), returned("100.00", version=2), returned("100.00", version=3))
    booked.deliver()

    assert (stands(booked), left(booked)) == (Decimal("300.00"), Decimal("300.00"))


def test_one_version_of_a_return_with_two_amounts_goes_to_a_person(booked: World) -> None:
    booked.receive(paid("500.00"), returned("100.00"))

    booked.receive(returned("50.00"))

    assert codes(booked) == ["SYN-301"]
    assert left(booked) == Decimal("400.00")


def test_a_payment_and_a_return_that_are_numbered_apart_are_both_booked(booked: World) -> None:
    booked.receive(paid("500.00", version=1))
    booked.receive(returned("100.00", version=1))
    booked.deliver()

    assert codes(booked) == []
    assert len({reference for reference, _ in booked.postings()}) == 2
    assert (stands(booked), left(booked)) == (Decimal("400.00"), Decimal("400.00"))


def test_a_payment_corrected_after_a_return_leaves_the_return(booked: World) -> None:
    booked.receive(paid("500.00"), returned("100.00"))
    booked.deliver()

    booked.receive(paid("450.00", version=3))
    booked.deliver()

    assert codes(booked) == []
    assert (stands(booked), left(booked)) == (Decimal("350.00"), Decimal("350.00"))


def test_a_return_that_the_erp_refused_is_booked_anew_after_a_replay_and_counts_once(
    strict: tuple[ErpSimulator, World],
) -> None:
    erp, world = strict
    world.receive(paid("500.00", **dollars("7.10")), returned("20.00", **dollars("7.12")))
    world.receive(returned("30.00", version=3, **dollars("7.10")))
    world.deliver()
    (letter,) = world.letters()
    assert (letter.code, left(world)) == ("ERP-411", Decimal("450.00"))

    assert erp.accounts is not None
    erp.accounts.add("660302")
    world.replay(letter.id)
    world.deliver()

    assert world.letters() == []
    assert {state for _, state in world.postings()} == {"POSTED"}
    assert (stands(world), left(world)) == (Decimal("3195.00"), Decimal("450.00"))


def test_a_return_in_another_currency_waits_for_its_payment_and_then_goes_on_by_itself(booked: World) -> None:
    booked.receive(returned("20.00", **dollars("7.12")))
    (letter,) = booked.letters()
    assert (letter.code, letter.waits_for) == ("ACC-301", "advance:ADV-1")
    assert letter.message.startswith("data.number: expected the rate that ADV-1 was paid at, got nothing")

    booked.receive(paid("500.00", **dollars("7.10")))
    booked.deliver()
    booked.release()

    assert codes(booked) == []
    assert (stands(booked), left(booked)) == (Decimal("3408.00"), Decimal("480.00"))


def test_the_rate_of_a_payment_stays_once_something_was_taken_off_at_it(booked: World) -> None:
    booked.receive(paid("500.00", **dollars("7.10")), returned("20.00", **dollars("7.12")))

    booked.receive(paid("500.00", version=3, **dollars("7.20")))
    booked.deliver()

    assert codes(booked) == ["ACC-305"]
    assert stands(booked) == Decimal("3408.00")


def test_a_rate_that_nothing_was_taken_off_at_may_be_corrected(booked: World) -> None:
    booked.receive(paid("500.00", **dollars("7.10")))
    booked.deliver()

    booked.receive(paid("500.00", version=2, **dollars("7.20")))
    booked.deliver()

    assert codes(booked) == []
    assert stands(booked) == Decimal("3600.00")


def test_an_answer_about_a_return_is_about_that_return_whatever_its_version(booked: World) -> None:
    booked.receive(paid("500.00", version=1), returned("100.00", version=1))
    booked.deliver()
    (reference,) = (reference for reference, _ in booked.postings() if reference.startswith("RETURN"))
    document = {"type": "advance", "number": "ADV-1", "version": 1}
    more = {"reference": reference, "erp_number": "7", "reversed_on": "2025-04-20"}

    booked.receive(told("voucher.reversed.v1", "ADV-1", number="ADV-1", document=document, **more))

    assert booked.query("SELECT purpose, state FROM postings ORDER BY id") == [
        ("post", "POSTED"),
        ("return", "REVERSED"),
    ]


def test_another_system_cannot_tell_of_the_same_advance(world: World) -> None:
    world.receive(paid("1000.00"), returned("200.00"))

    world.receive(returned("200.00", source="/oa/dingtalk/C01"))

    assert codes(world) == ["SYN-304"]
    assert left(world) == Decimal("800.00")


def test_an_advance_of_another_fiscal_year_is_corrected_by_a_person(booked: World) -> None:
    booked.receive(paid("500.00", paid_on="2024-12-30"))
    booked.deliver()

    booked.receive(paid("400.00", version=2, paid_on="2025-01-02"))

    assert codes(booked) == ["ACC-353"]
    assert left(booked) == Decimal("500.00")
