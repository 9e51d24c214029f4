"""Migrations: they make exactly the tables the code expects, once, whoever runs them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

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
