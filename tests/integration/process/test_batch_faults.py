"""What a batch does where a message, the database or our own code lets it down: nothing is lost, swapped or stuck."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Thread

import pytest
from sqlalchemy import event as engine_event
from sqlalchemy.engine import Connection

from connector.channels import GIVEN_UP, Message
from connector.erp.file_ledger import FileLedger
from connector.errors import Unavailable
from connector.ledger import Ledger, books, deadletters, outbox
from connector.ledger.outbox import OutboxRow
from connector.settings import System, Waiting
from connector.translate import Book
from tests.integration.process.world import Shelved, World, advance, claim, expense, report

GOLD = "gift.gold,*,*,660206,,,"


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelved:
    monkeypatch.setattr("connector.translate.shelf.LOOK_EVERY_S", 0.0)
    return Shelved(tmp_path / "book")


@pytest.fixture
def shelved(ledger: Ledger, tmp_path: Path, book: Shelved) -> World:
    """A world whose book a test changes."""
    return World(ledger, tmp_path / "erp", book=book.folder, waiting=Waiting(batch=100))


@dataclass
class Faulty:
    """A book that cannot be read for a reason that nobody foresaw, until it is mended."""

    world: World
    broken: bool = True

    def __call__(self) -> Book:
        if self.broken:
            raise RuntimeError("a fault of ours")
        return self.world.runtime.book()


@pytest.fixture
def faulty(world: World) -> Faulty:
    """The fault of the batch step of the world."""
    made = Faulty(world)
    world.runtime.step = replace(world.runtime.step, book=made)
    return made


def gold(amount: str, number: str = "EXP-1", event_id: str = "K") -> dict[str, object]:
    return claim(number, expense("gift.gold", amount)) | {"id": event_id}


# One event id, several contents


def test_a_replayed_event_is_not_swapped_for_other_content_under_its_id(shelved: World, book: Shelved) -> None:
    shelved.receive(gold("10.00"))
    book.add("accounts", GOLD)
    with shelved.ledger.begin() as tx:
        deadletters.replay(tx, 1, actor="wang")

    shelved.receive(gold("9999.00"))
    shelved.deliver()

    assert list(map(str, shelved.live().values())) == ["10.00"]
    assert [(letter.code, letter.state) for letter in shelved.letters(None)] == [
        ("MAP-201", "resolved"),
        ("SYN-301", "open"),
    ]


def test_one_event_id_on_two_documents_of_a_batch_is_told(world: World) -> None:
    world.receive(report("EXP-1", event_id="K"), report("EXP-2", event_id="K"))
    world.deliver()

    assert (list(world.live()), [letter.code for letter in world.letters()]) == (["C01-EXP-1-V1"], ["SYN-301"])


def test_one_event_id_on_two_documents_in_two_batches_at_once_is_told(world: World) -> None:
    both = Barrier(2)

    def together() -> Book:
        with suppress(BrokenBarrierError):
            both.wait(2)  # both batches have looked what was read before; on SQLite one waits for the other
        return world.runtime.book()

    world.runtime.step = replace(world.runtime.step, book=together)
    batches = [Thread(target=world.receive, args=[report(number, event_id="K")]) for number in ("EXP-1", "EXP-2")]
    for batch in batches:
        batch.start()
    for batch in batches:
        batch.join()

    assert (len(world.postings()), [letter.code for letter in world.letters()]) == (1, ["SYN-301"])


def test_other_content_on_its_way_under_the_same_id_reaches_a_person(world: World) -> None:
    bodies = [json.dumps(report(number, event_id="K")).encode() for number in ("EXP-1", "EXP-2")]
    with world.ledger.begin() as tx:
        outbox.add(tx, [OutboxRow("/oa/feishu/C01", "K", "expense.report.approved.v1", body) for body in bodies])

    world.runtime.apply_batch([Message(bodies[0])])
    world.relay()

    assert [(letter.code, letter.number) for letter in world.letters()] == [("SYN-301", "EXP-2")]
    assert world.query("SELECT event_id FROM outbox") == []


# A fault of our own


def test_a_version_that_our_code_fails_on_holds_the_later_ones_until_its_replay(world: World, faulty: Faulty) -> None:
    world.receive(report(version=1))
    faulty.broken = False
    world.receive(report(version=2, happening="changed", amount="120.00"))
    assert world.outcomes() == [(1, "parked"), (2, "held")]

    world.replay(world.letters()[0].id)
    world.deliver()

    assert world.outcomes() == [(1, "superseded"), (2, "applied")]
    assert (list(world.live()), world.letters(), len(world.letters("resolved"))) == (["C01-EXP-1-V2"], [], 1)


def test_a_version_that_our_code_fails_on_lets_the_later_ones_go_when_it_is_discarded(
    world: World, faulty: Faulty
) -> None:
    world.receive(report(version=1))
    faulty.broken = False
    world.receive(report(version=2, happening="changed", amount="120.00"))

    world.discard(world.letters()[0].id)
    world.deliver()

    assert (world.outcomes(), list(world.live())) == ([(1, "discarded"), (2, "applied")], ["C01-EXP-1-V2"])


def test_a_replay_that_our_code_fails_on_is_the_same_letter_open_again(world: World, faulty: Faulty) -> None:
    world.receive(report())
    (letter,) = world.letters()

    world.replay(letter.id)

    assert [(again.id, again.code, again.replays) for again in world.letters(None)] == [(letter.id, "OPS-802", 1)]
    assert world.outcomes() == [(1, "parked")]


def test_a_late_version_that_our_code_fails_on_holds_nobody(world: World, faulty: Faulty) -> None:
    faulty.broken = False
    world.receive(report(version=2))
    faulty.broken = True
    world.receive(report(version=1))
    faulty.broken = False

    world.receive(report(version=3, amount="130.00", happening="changed"))
    world.deliver()

    assert (list(world.live()), [letter.code for letter in world.letters()]) == (["C01-EXP-1-V3"], ["OPS-802"])


def test_an_advance_that_our_code_fails_on_counts_once_it_is_replayed(world: World, faulty: Faulty) -> None:
    world.receive(advance("ADV-1", "1000.00"))
    faulty.broken = False

    world.replay(world.letters()[0].id)

    assert (world.query("SELECT available FROM balances"), world.letters()) == ([("1000.00",)], [])


def test_what_was_read_already_stays_as_it_is_where_our_code_fails_on_it_again(world: World, faulty: Faulty) -> None:
    faulty.broken = False
    event = report()
    world.receive(event)
    faulty.broken = True

    world.receive(event)

    assert (world.outcomes(), world.letters()) == ([(1, "applied")], [])


def test_what_the_broker_gave_up_holds_the_later_versions_and_goes_on_after_its_replay(world: World) -> None:
    body = json.dumps(report(version=1)).encode()
    world.runtime.apply_batch([Message(body, {GIVEN_UP: "delivered 10 times"})])
    world.receive(report(version=2, happening="changed", amount="120.00"))
    assert world.outcomes() == [(1, "parked"), (2, "held")]

    world.replay(world.letters()[0].id)
    world.deliver()

    assert (list(world.live()), len(world.letters("resolved"))) == (["C01-EXP-1-V2"], 1)


# The ledger


@contextmanager
def read_only(ledger: Ledger) -> Iterator[None]:
    """The database takes no writes: a failover to a replica, or a disk that is full."""

    def refuse(tx: Connection) -> None:
        tx.exec_driver_sql("SET TRANSACTION READ ONLY" if ledger.dialect == "postgresql" else "PRAGMA query_only=ON")

    engine_event.listen(ledger.engine, "begin", refuse)
    yield
    engine_event.remove(ledger.engine, "begin", refuse)
    ledger.close()


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_waits_while_the_ledger_takes_no_writes(world: World, count: int) -> None:
    events = [report(f"EXP-{n}") for n in range(count)]

    with read_only(world.ledger), pytest.raises(Unavailable):
        world.receive(*events)

    assert world.receive(*events).applied == count


def test_a_batch_waits_while_every_connection_is_in_use(fresh_postgres_url: object, tmp_path: Path) -> None:
    ledger = Ledger(fresh_postgres_url(), pool_size=1)  # type: ignore[operator]
    ledger.upgrade()
    world = World(ledger, tmp_path / "erp")
    ledger.engine.pool._timeout = 0.1  # type: ignore[attr-defined]

    with ledger.begin(), ledger.begin(), pytest.raises(Unavailable):
        world.receive(report())

    assert world.receive(report()).applied == 1
    ledger.close()


# The mapping book


def test_a_book_that_comes_back_into_force_is_the_last_one_the_ledger_tells_of(shelved: World, book: Shelved) -> None:
    accounts = book.folder / "accounts.csv"
    before = accounts.read_text("utf-8")
    first = shelved.runtime.book().fingerprint
    shelved.receive(report("EXP-1"))
    book.add("accounts", GOLD)
    shelved.receive(report("EXP-2"))
    accounts.write_text(before, "utf-8")

    shelved.receive(report("EXP-3"))

    with shelved.ledger.begin() as tx:
        in_force = books.in_force(tx, datetime.now(UTC).date() + timedelta(days=1))
        assert in_force is not None
        assert (in_force.fingerprint, len(books.history(tx))) == (first, 3)


# A voucher that the ERP refused, and whose report then fails before it is made anew


@dataclass
class Refusing:
    """An ERP that lacks the accounts, until somebody adds them."""

    world: World
    accounts: Path

    def mended(self) -> None:
        """The accounts are there."""
        self.accounts.write_text("660202\n224101\n", "utf-8")


@pytest.fixture
def refusing(ledger: Ledger, tmp_path: Path) -> Refusing:
    """A world with a refused voucher of version 1, and version 2 behind it."""
    accounts = tmp_path / "accounts"
    accounts.write_text("1\n", "utf-8")
    options = {"path": str(tmp_path / "erp"), "accounts": str(accounts)}
    world = World(ledger, tmp_path / "erp", FileLedger(System(adapter="file", company="C01", options=options)))
    world.receive(report(version=1))
    world.deliver()
    world.receive(report(version=2, happening="changed", amount="120.00"))
    assert (world.outcomes(), world.letters()[0].posting_id) == ([(1, "applied"), (2, "held")], 1)
    return Refusing(world, accounts)


def faulty_replay(world: World) -> None:
    """A person has the refused voucher made anew, and our code fails on its report."""
    sound = world.runtime.step
    world.runtime.step = replace(sound, book=Faulty(world))
    world.replay(world.letters()[0].id)
    world.runtime.step = sound
    assert [letter.code for letter in world.letters()] == ["OPS-802"]


@pytest.mark.parametrize("person", [World.replay, World.discard])
def test_a_refused_voucher_made_anew_or_given_up_after_a_fault_lets_the_later_version_go(
    refusing: Refusing, person: Callable[[World, int], object]
) -> None:
    world = refusing.world
    faulty_replay(world)
    refusing.mended()

    person(world, world.letters()[0].id)
    world.deliver()

    assert (list(world.live()), world.letters(), world.letters("replayed")) == (["C01-EXP-1-V2"], [], [])
