"""Migrations: they make exactly the tables the code expects, once, whoever runs them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from connector.ledger import Ledger
from connector.ledger.tables import metadata


def test_the_migrated_tables_are_the_ones_the_code_expects(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), metadata)

    assert difference == []


def test_migrating_again_or_at_once_changes_nothing(ledger: Ledger) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: ledger.upgrade(), range(3)))

    assert ledger.is_current()


def test_what_an_older_ledger_holds_is_there_after_the_upgrade(
    tmp_path: Path, fresh_postgres_url: Callable[[], str]
) -> None:
    for url in (f"sqlite:///{tmp_path / 'old.db'}", fresh_postgres_url()):
        old = Ledger(url)
        old.upgrade("0001")
        with old.begin() as tx:
            tx.execute(
                text(
                    "INSERT INTO postings (id, document_id, company, version, purpose, reference, state, voucher, attempts,"
                    " tried_before, asks, epoch) VALUES (7, 1, 'C01', 1, 'post', 'C01-EXP1-V1', 'POSTED', :voucher, 1, 0, 0, 1)"
                ),
                {"voucher": b"{}"},
            )
            tx.execute(
                text(
                    "INSERT INTO attempts (posting_id, operation, attempt, epoch, worker) VALUES (7, 'deliver', 1, 1, 'w')"
                )
            )

        old.upgrade()

        with old.begin() as tx:
            assert tx.execute(text("SELECT reference, state, voucher FROM postings")).all() == [
                ("C01-EXP1-V1", "POSTED", b"{}")
            ]
            assert tx.scalar(text("SELECT worker FROM attempts WHERE posting_id = 7")) == "w"
            tx.execute(text("UPDATE postings SET purpose = 'adjust'"))
        old.close()
