"""Random stories of the accounts: whatever arrives, in whatever order, twice, at two workers, with workers that die in the
middle: what is used of every balance is what the live vouchers say. The seeds are fixed. On both databases."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from connector.adapter import Delivery, Outcome, Receipt
from connector.erp.file_ledger import FileLedger
from connector.facts import BalanceKey
from connector.invoices import claimed_invoices
from connector.ledger import Ledger, waiting
from connector.ledger.deadletters import NotOpen
from connector.ledger.waiting import Key
from connector.process.waiting import look
from connector.settings import System
from connector.translate import shelf
from contracts import parse_event
from contracts.expense import ExpenseReport
from contracts.voucher import Voucher, parse_voucher
from tests.integration.process.world import Shelved, World, advance, claim, expense, period, record, report, told

SEEDS = (13, 39)
STEPS = 30
MISSING = "training.other"
ADVANCES, INVOICES, BUDGETS = ("ADV-1", "ADV-2"), ("25442000000000000001", "25442000000000000002"), ("D01", "D02")


class Killed(BaseException):
    """The worker died."""


class Moody(FileLedger):
    """An ERP that refuses some vouchers, and whose caller dies at times: before the call, or once all is done."""

    def __init__(self, system: System, chance: random.Random) -> None:
        super().__init__(system)
        self.chance = chance
        self.calm = False

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Receipt | Outcome]:
        mood = 1.0 if self.calm else self.chance.random()
        if mood < 0.1:
            raise Killed
        if mood < 0.25:
            return [Outcome("permanent", "ERP-422", "not today") for _ in batch]
        answers = super().deliver(batch)
        if mood < 0.35:
            raise Killed
        return answers


class Story:
    """One random story: what may be told next, and what must hold after it."""

    def __init__(self, ledger: Ledger, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.book = Shelved(folder / "book")
        self.book.company(advances="tracked")
        options = {"path": str(folder / "erp")}
        self.erp = Moody(System(adapter="file", company="C01", options=options), self.chance)
        self.world = World(ledger, folder / "erp", self.erp, book=self.book.folder)
        self.versions: dict[str, int] = defaultdict(int)
        self.told: list[dict[str, Any]] = []
        self.late: list[dict[str, Any]] = []
        self.by_hand: set[str] = set()
        self.row_is_there = False
        self.world.receive(
            *(
                record("budget", f"B-{at}", period="2025", amount="600.00", currency="CNY", department=at)
                for at in BUDGETS
            )
        )

    # What happens

    def step(self) -> None:
        """Something happens."""
        happenings = (
            [self.arrive] * 6 + [self.deliver] * 3 + [self.release, self.person, self.row_arrives, self.by_somebody]
        )
        self.chance.choice(happenings)()

    def arrive(self) -> None:
        """Some events arrive at one worker or two: new ones, late ones, ones told before."""
        new = [self.event() for _ in range(self.chance.randint(1, 4))]
        self.late += [event for event in new if self.chance.random() < 0.25]
        batch = [event for event in new if event not in self.late]
        if self.late and self.chance.random() < 0.4:
            batch.append(self.late.pop(self.chance.randrange(len(self.late))))
        if self.told and self.chance.random() < 0.4:
            batch.append(self.chance.choice(self.told))
        self.chance.shuffle(batch)
        self.told += batch
        if self.chance.random() < 0.5:
            self.world.receive(*batch)
            return
        with ThreadPoolExecutor(2) as workers:
            halves = [part for part in (batch[::2], batch[1::2]) if part]
            for done in [workers.submit(self.world.receive, *part) for part in halves]:
                done.result()

    def event(self) -> dict[str, Any]:
        """A new event about one of a few things, so that they meet."""
        about = self.chance.random()
        if about < 0.6:
            return self.report()
        if about < 0.72:
            return self.advance()
        if about < 0.82:
            key, total = self.chance.choice(INVOICES), "300.00"
            used = self.chance.choice(("0.00", "120.00", "300.00"))
            return record("invoice", key, self.next(key), total=total, used=used, currency="CNY")
        if about < 0.9:
            at, amount = self.chance.choice(BUDGETS), self.chance.choice(("200.00", "600.00", "2000.00"))
            more = {"period": "2025", "amount": amount, "currency": "CNY", "department": at}
            return record("budget", f"B-{at}", self.next(f"B-{at}") + 1, **more)
        if about < 0.95:
            state = self.chance.choice(("open", "open", "closed"))
            return period("2025-04", state, self.next("2025-04"))
        return self.payment()

    def report(self) -> dict[str, Any]:
        number = f"EXP-{self.chance.randint(1, 6)}"
        version = self.next(number)
        happening = "approved" if version == 1 else self.chance.choice(("changed", "changed", "withdrawn", "submitted"))
        if happening == "withdrawn":
            return report(number, version, happening, withdrawn_at="2025-04-20T10:00:00+08:00")
        lines = [expense("travel.taxi", self.amount())]
        if self.chance.random() < 0.6:
            invoice = {"kind": "vat_ordinary", "total": "300.00", "number": self.chance.choice(INVOICES)}
            lines.append(expense("travel.hotel", self.amount(), invoice=invoice))
        if self.chance.random() < 0.2:
            lines.append(expense(MISSING, self.amount()))
        more: dict[str, Any] = {}
        if self.chance.random() < 0.5:
            more["advances"] = [{"number": self.chance.choice(ADVANCES), "amount": "40.00"}]
        employee = {"id": "E017", "name": "Zhang San", "department": self.chance.choice(BUDGETS)}
        return claim(number, *lines, version=version, happening=happening, employee=employee, **more)

    def advance(self) -> dict[str, Any]:
        number = self.chance.choice(ADVANCES)
        version = self.next(number)
        returned = version > 1 and self.chance.random() < 0.6
        amount = "30.00" if returned else self.chance.choice(("100.00", "150.00"))
        return advance(number, amount, returned=returned, version=version)

    def payment(self) -> dict[str, Any]:
        number = f"EXP-{self.chance.randint(1, 6)}"
        kind, day = self.chance.choice((("made", "paid_on"), ("reversed", "reversed_on")))
        version = self.next(f"payment {number}")
        return told(
            f"payment.{kind}.v1", number, version=version, number=number, reference=f"C01-{number}-V1", amount="50.00",
            payment_number=f"P-{self.chance.randint(1, 3)}", currency="CNY", **{day: "2025-05-01"},
            document={"type": "expense.report", "number": number, "version": 1},
        )  # fmt: skip

    def amount(self) -> str:
        return f"{self.chance.choice((60, 90, 120, 250))}.00"

    def next(self, name: str) -> int:
        self.versions[name] += 1
        return self.versions[name]

    def deliver(self) -> None:
        """Everything due travels and is sent; at times the worker dies, and its claims run out."""
        with suppress(Killed):
            self.world.deliver()
        self.run_out()

    def run_out(self) -> None:
        with self.world.ledger.begin() as tx:
            tx.execute(
                text("UPDATE postings SET lease_until = created_at, next_at = created_at WHERE state = 'SENDING'")
            )

    def release(self) -> None:
        """What waited for a key that arrived is let go."""
        with suppress(Killed):
            self.world.release()
        self.run_out()

    def person(self) -> None:
        """A person replays a letter, or gives it up."""
        letters = self.world.letters()
        if letters:
            letter = self.chance.choice(letters)
            with suppress(NotOpen):  # a reversal that a new voucher waits for is not given up
                self.chance.choice((self.world.replay, self.world.discard))(letter.id)

    def row_arrives(self) -> None:
        """The account that reports waited for."""
        if not self.row_is_there:
            self.book.add("accounts", f"{MISSING},*,*,660205,,,")
            self.row_is_there = True

    def by_somebody(self) -> None:
        """Somebody takes a voucher back in the ERP."""
        posted = self.world.query(
            "SELECT p.id, p.reference, p.version, d.number, p.voucher FROM postings p JOIN documents d ON d.id = p.document_id"
            " WHERE p.state = 'POSTED' AND p.purpose = 'post' AND NOT EXISTS (SELECT 1 FROM postings r WHERE r.reverses = p.id)"
        )
        if not posted or self.chance.random() < 0.5:
            return
        one = self.chance.choice(posted)
        self.by_hand.add(one.reference)
        version = self.next(f"reversal {one.number}")
        self.world.receive(
            told(
                "voucher.reversed.v1",
                one.number,
                version=version,
                number=one.number,
                reference=one.reference,
                document={"type": "expense.report", "number": one.number, "version": one.version},
                erp_number="X-1",
                reversed_on="2025-04-21",
                reversal_number=f"X-{version}",
            )
        )

    def end(self) -> None:
        """Everything late arrives, the ERP takes everything, and all that can move has moved."""
        self.erp.calm = True
        for event in self.late:
            self.world.receive(event)
        for _ in range(20):
            self.run_out()
            self.world.deliver()
            if not self.world.release().moved:
                return
        raise AssertionError("it never came to rest")

    # What must hold

    def check(self) -> None:
        """What must hold whenever nobody is in the middle of a transaction."""
        uses = self.uses()
        self.check_balances(uses)
        for document in self.world.query("SELECT * FROM documents WHERE kind = 'expense.report'"):
            self.check_document(document, uses.get(document.id, {}))

    def uses(self) -> dict[int, dict[BalanceKey, Decimal]]:
        rows = self.world.query("SELECT document_id, uses FROM balance_uses")
        return {
            row.document_id: {BalanceKey(*key): Decimal(amount) for *key, amount in json.loads(row.uses)}
            for row in rows
        }

    def check_balances(self, uses: dict[int, dict[BalanceKey, Decimal]]) -> None:
        used: dict[BalanceKey, Decimal] = defaultdict(Decimal)
        for each in uses.values():
            for key, amount in each.items():
                used[key] += amount
        for row in self.world.query("SELECT * FROM balances"):
            key = BalanceKey(row.kind, row.company, row.key)
            assert Decimal(row.used) == used.pop(key, Decimal(0)), key
            if row.kind == "invoice" or "paid" in json.loads(row.detail):
                assert Decimal(row.used) <= Decimal(row.available), key
        assert not used, "a use of a balance that is not there"

    def check_document(self, document: Any, uses: dict[BalanceKey, Decimal]) -> None:
        live = self.live(document.id)
        if document.state not in ("booked", "submitted"):
            assert not uses or document.blocked_by is not None, (document.number, document.state, uses)
        if document.state != "booked":
            assert not live or document.state == "withdrawn", (document.number, document.state)
            return
        if not live:
            assert not uses or self.refused_and_open(document.id), (document.number, "uses without a voucher", uses)
            return
        by_kind = {kind: {k: a for k, a in uses.items() if k.kind == kind} for kind in ("advance", "invoice", "budget")}
        stated = self.report_of(document)
        assert by_kind["advance"] == {
            BalanceKey("advance", "C01", claimed.number): claimed.amount for claimed in stated.advances
        }, document.number
        assert by_kind["invoice"] == {key: claim.amount for key, claim in claimed_invoices(stated).items()}
        cost = sum((_cost(voucher) for voucher in live), Decimal(0))
        assert sum(by_kind["budget"].values()) == cost, (document.number, by_kind["budget"], cost)

    def live(self, document_id: int) -> list[Voucher]:
        rows = self.world.query(
            "SELECT voucher FROM postings p WHERE document_id = :id AND purpose <> 'reverse'"
            " AND state IN ('PENDING', 'SENDING', 'UNKNOWN', 'POSTED') AND NOT EXISTS (SELECT 1 FROM postings r"
            " WHERE r.reverses = p.id AND (r.state <> 'REJECTED' OR r.code <> 'OPS-804'))",
            id=document_id,
        )
        return [parse_voucher(bytes(row.voucher)) for row in rows]

    def refused_and_open(self, document_id: int) -> bool:
        return bool(
            self.world.query(
                "SELECT 1 FROM postings p JOIN dead_letters l ON l.posting_id = p.id"
                " WHERE p.document_id = :id AND p.state = 'REJECTED' AND l.state IN ('open', 'replayed')",
                id=document_id,
            )
        )

    def report_of(self, document: Any) -> ExpenseReport:
        ((body,),) = self.world.query(
            "SELECT body FROM inbox WHERE document_id = :id AND version = :version AND outcome = 'applied'"
            " ORDER BY id DESC LIMIT 1",
            id=document.id, version=document.version,
        )  # fmt: skip
        data = parse_event(bytes(body)).data
        assert isinstance(data, ExpenseReport)
        return data

    def check_at_rest(self) -> None:
        """What must hold once all that can move has moved."""
        self.check()
        posted = self.world.query("SELECT reference, purpose, state FROM postings WHERE purpose <> 'reverse'")
        for row in posted:
            found = self.erp.find(row.reference)
            stands = found is not None and found.state == "posted"
            assert stands == (row.state == "POSTED" or (row.reference in self.by_hand and stands)), row
        for row in self.world.query("SELECT number, blocked_by FROM documents WHERE blocked_by IS NOT NULL"):
            states = self.world.query("SELECT state FROM dead_letters WHERE id = :id", id=row.blocked_by)
            assert [state for (state,) in states] == ["open"], row
        held = self.world.query(
            "SELECT d.number, i.version FROM inbox i JOIN documents d ON d.id = i.document_id"
            " WHERE i.outcome IN ('held', 'released') AND d.blocked_by IS NULL"
        )
        assert not held
        assert not self.world.query("SELECT source, event_id FROM outbox")
        self.check_waiting()

    def check_waiting(self) -> None:
        """What still waits misses something, or was stopped."""
        letters = self.world.query("SELECT id, company FROM dead_letters WHERE state = 'open'")
        with self.world.ledger.begin() as tx:
            arrived = look(tx, self.world.runtime.book())
            for letter in letters:
                keys = [Key(letter.company, name) for name in waiting.keys_of(tx, letter.id)]
                if keys and all(key in arrived.evidence for key in keys) and letter.id not in arrived.short:
                    latest = [waiting.latest(tx, key) for key in keys]
                    assert any(one is not None and one.state == "stopped" for one in latest), (letter, keys)


def _cost(voucher: Voucher) -> Decimal:
    return sum(
        (line.amount if line.side == "debit" else -line.amount for line in voucher.lines if line.role == "expense"),
        Decimal(0),
    )


@pytest.fixture
def books_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "LOOK_EVERY_S", 0.0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.usefixtures("books_are_read_at_once")
def test_what_is_used_is_what_the_live_vouchers_say_whatever_happens(ledger: Ledger, tmp_path: Path, seed: int) -> None:
    story = Story(ledger, tmp_path, seed)

    for _ in range(STEPS):
        story.step()
        story.check()
    story.end()

    story.check_at_rest()
