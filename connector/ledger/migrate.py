"""Brings the ledger's tables to the version that this code expects (Alembic)."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

if TYPE_CHECKING:
    from connector.ledger import Ledger

# Any number that only we use: two processes that start together migrate one after the other.
_LOCK = 7_307_720_266_101


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("connector.ledger").joinpath("migrations")))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(ledger: Ledger, revision: str = "head") -> None:
    """Runs what is missing, in one transaction."""
    with ledger.begin() as tx:
        if ledger.dialect == "postgresql":
            tx.execute(text("SET LOCAL lock_timeout = '120s'"))
            tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config = _config()
        config.attributes["connection"] = tx
        command.upgrade(config, revision)


def is_current(ledger: Ledger) -> bool:
    """True where nothing is missing."""
    with ledger.engine.connect() as connection:
        at = MigrationContext.configure(connection).get_current_heads()
    return set(at) == set(ScriptDirectory.from_config(_config()).get_heads())
