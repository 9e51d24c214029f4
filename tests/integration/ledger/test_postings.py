"""Claims: one worker at a time, on the database's clock, and a late one changes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from connector.ledger import Ledger, documents, postings
from connector.ledger.documents import DocumentKey, NewPosting
from connector.ledger.postings import Claim


def add(ledger: Ledger, number: str, version: int = 1, purpose: str = "post", **more: object) -> int:
    key = DocumentKey("expense.report", "C01", number)
    with ledger.begin() as tx:
        document = documents.hold(tx, [(key, "/oa/x/C01")])[key]
        documents.record_postings(
            tx,
            [
                NewPosting(
                    document_id=document.id,
                    company="C01",
                    version=version,
                    purpose=purpose,
                    reference=f"C01-{number}-V{version}{'-R' if purpose == 'reverse' else ''}",
                    voucher=b"{}",
                    book="book",
                    **more,  # type: ignore[arg-type]
                )
            ],
            [],
        )
        return int(tx.scalar(text("SELECT max(id) FROM postings")) or 0)


def claim(ledger: Ledger, worker: str = "one", lease_s: float = 60, limit: int = 50) -> list[Claim]:
    with ledger.begin() as tx:
        return postings.claim_due(tx, "C01", limit, lease_s, worker)


def move(ledger: Ledger, claimed: Claim, state: str, **more: object) -> bool:
    with ledger.begin() as tx:
        return postings.move(tx, claimed, state, **more)  # type: ignore[arg-type]


def state(ledger: Ledger, posting_id: int) -> str:
    with ledger.begin() as tx:
        return str(postings.read(tx, posting_id)["state"])


def test_a_claim_counts_the_attempt_before_the_call(ledger: Ledger) -> None:
    posting = add(ledger, "A1")

    (claimed,) = claim(ledger)

    with ledger.begin() as tx:
        row = postings.read(tx, posting)
    assert (claimed.attempts, row["attempts"], row["state"]) == (1, 1, "SENDING")


def test_what_one_worker_claimed_another_does_not_get(ledger: Ledger) -> None:
    add(ledger, "A1")

    assert (len(claim(ledger, "one")), claim(ledger, "two")) == (1, [])


def test_eight_workers_claim_each_posting_once(ledger: Ledger) -> None:
    for n in range(120):
        add(ledger, f"A{n}")

    with ThreadPoolExecutor(8) as pool:
        rounds = list(
            pool.map(lambda n: [c.reference for _ in range(6) for c in claim(ledger, f"w{n}", limit=5)], range(8))
        )

    got = [reference for mine in rounds for reference in mine]
    assert len(got) == len(set(got)) == 120


def test_a_worker_that_went_away_in_the_call_leaves_the_posting_in_doubt(ledger: Ledger) -> None:
    posting = add(ledger, "A1")
    claim(ledger, lease_s=0)

    with ledger.begin() as tx:
        postings.expire(tx, "C01", settle_s=0)

    assert state(ledger, posting) == "UNKNOWN"


def test_a_posting_in_doubt_is_asked_about_only_after_the_settle_window(ledger: Ledger) -> None:
    add(ledger, "A1")
    claim(ledger, lease_s=0)
    with ledger.begin() as tx:
        postings.expire(tx, "C01", settle_s=3600)

    with ledger.begin() as tx:
        asked = postings.claim_in_doubt(tx, "C01", 50, 60, "one")

    assert asked == []


def test_a_posting_in_doubt_is_never_claimed_for_sending(ledger: Ledger) -> None:
    add(ledger, "A1")
    (claimed,) = claim(ledger)
    move(ledger, claimed, "UNKNOWN")

    assert claim(ledger) == []


def test_a_late_worker_changes_nothing(ledger: Ledger) -> None:
    posting = add(ledger, "A1")
    (late,) = claim(ledger, lease_s=0)
    with ledger.begin() as tx:
        postings.expire(tx, "C01", settle_s=0)
        (asking,) = postings.claim_in_doubt(tx, "C01", 50, 60, "two")
    move(ledger, asking, "POSTED", external_id="7")

    moved = move(ledger, late, "REJECTED", code="ERP-401", message="too late")

    assert (moved, state(ledger, posting)) == (False, "POSTED")


def test_a_posting_waits_until_what_it_depends_on_stands(ledger: Ledger) -> None:
    first = add(ledger, "A1", purpose="reverse")
    add(ledger, "A1", version=2, after=first)

    (reversal,) = claim(ledger)
    held_back = claim(ledger)
    move(ledger, reversal, "POSTED")

    assert (held_back, [c.version for c in claim(ledger)]) == ([], [2])


def test_two_live_vouchers_of_one_document_cannot_be_written(ledger: Ledger) -> None:
    add(ledger, "A1", version=1)
    add(ledger, "A1", version=2)
    first, second = claim(ledger)
    move(ledger, first, "POSTED")

    with pytest.raises(IntegrityError):
        move(ledger, second, "POSTED")


def test_a_retry_is_not_claimed_before_its_time(ledger: Ledger) -> None:
    add(ledger, "A1")
    (claimed,) = claim(ledger)

    move(ledger, claimed, "PENDING", wait_s=3600)

    assert claim(ledger) == []


def test_a_rejected_posting_that_is_planned_again_keeps_its_reference_and_its_attempts(ledger: Ledger) -> None:
    add(ledger, "A1")
    (claimed,) = claim(ledger)
    move(ledger, claimed, "REJECTED", code="ERP-401", message="no")

    add(ledger, "A1", again=True)

    (again,) = claim(ledger)
    assert (again.id, again.reference, again.attempts, again.tries) == (claimed.id, claimed.reference, 2, 1)
