"""Answers kept under a key: the first one counts, also when two requests come at once, and none outlives a rollback."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import update

from connector.ledger import Ledger, idempotency
from connector.ledger.idempotency import Answer
from connector.ledger.sql import now
from connector.ledger.tables import idempotency_keys
from contracts import Refused


def test_the_first_answer_is_given_again(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        assert idempotency.seen(tx, "s", "k", "a" * 64) is None
        idempotency.remember(tx, "s", "k", 202, b"answer")

    with ledger.begin() as tx:
        assert idempotency.seen(tx, "s", "k", "a" * 64) == Answer(202, b"answer")
        assert idempotency.seen(tx, "another", "k", "b" * 64) is None


def test_other_content_under_a_known_key_is_refused(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        idempotency.seen(tx, "s", "k", "a" * 64)
        idempotency.remember(tx, "s", "k", 202, b"")

    with pytest.raises(Refused) as caught, ledger.begin() as tx:
        idempotency.seen(tx, "s", "k", "b" * 64)
    assert caught.value.findings[0].code == "SYN-306"


def test_a_key_is_free_again_when_its_request_did_nothing(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        idempotency.seen(tx, "s", "k", "a" * 64)
        tx.rollback()
    with ledger.begin() as tx:
        assert idempotency.seen(tx, "s", "k", "b" * 64) is None
        idempotency.release(tx, "s", "k")

    with ledger.begin() as tx:
        assert idempotency.seen(tx, "s", "k", "c" * 64) is None


def test_the_second_of_two_at_once_waits_for_the_first(ledger: Ledger) -> None:
    begun = threading.Event()
    answers: list[Answer | None] = []

    def second() -> None:
        begun.set()
        with ledger.begin() as tx:
            answers.append(idempotency.seen(tx, "s", "k", "a" * 64))

    thread = threading.Thread(target=second)
    with ledger.begin() as tx:
        idempotency.seen(tx, "s", "k", "a" * 64)
        thread.start()
        assert begun.wait(60)
        idempotency.remember(tx, "s", "k", 202, b"first")
    thread.join(30)

    assert answers == [Answer(202, b"first")]


def test_old_answers_are_forgotten_and_new_ones_kept(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        for key in ("old", "older", "new"):
            idempotency.seen(tx, "s", key, "a" * 64)
            idempotency.remember(tx, "s", key, 202, b"")
        tx.execute(update(idempotency_keys).where(idempotency_keys.c.key != "new").values(created_at=now(-1000)))

    with ledger.begin() as tx:
        assert idempotency.forget(tx, older_than_s=500) == 2
        assert idempotency.seen(tx, "s", "new", "a" * 64) is not None
