"""The ledger: the SQL truth about documents, postings and dead letters. SQLite embedded, PostgreSQL in production."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from connector.errors import Misconfigured


class Ledger:
    """A database that holds the ledger. Opens connections on first use and never shares one with a forked child."""

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        self.url = url
        self._pool_size = pool_size
        self._engine: Engine | None = None
        self.dialect = _dialect(url)

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine, made on first use."""
        if self._engine is None:
            self._engine = _make_engine(self.url, self._pool_size)
        return self._engine

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        with self.engine.begin() as tx:
            yield tx

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Several reads of one moment: what others commit meanwhile is in none of them. Nothing is written."""
        with self.engine.connect() as connection:
            if self.dialect == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    def upgrade(self, revision: str = "head") -> None:
        """Brings the tables to `revision`; running it again, or in two processes at once, changes nothing more."""
        from connector.ledger.migrate import upgrade

        upgrade(self, revision)

    def is_current(self) -> bool:
        """True where the tables are those this version of the code expects."""
        from connector.ledger.migrate import is_current

        return is_current(self)

    def close(self) -> None:
        """Gives back every connection."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def _dialect(url: str) -> str:
    try:
        name = make_url(url).get_backend_name()
    except ArgumentError as error:
        raise Misconfigured(f"ledger_url is not a database URL: {error}") from error
    if name not in ("sqlite", "postgresql"):
        raise Misconfigured(f"ledger_url names {name}; the ledger runs on sqlite or postgresql")
    return name


def _make_engine(url: str, pool_size: int) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        # An error tells the statement without its values: bodies hold bank accounts, and errors reach logs.
        engine = create_engine(parsed, hide_parameters=True, connect_args={"timeout": 30})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            pool_timeout=10,
            connect_args={
                "connect_timeout": 10,
                # A peer that vanished without a word is noticed by the kernel within a minute.
                "keepalives": 1,
                "keepalives_idle": 15,
                "keepalives_interval": 5,
                "keepalives_count": 4,
                "tcp_user_timeout": 45_000,
                "options": "-c lock_timeout=20s -c statement_timeout=60s -c idle_in_transaction_session_timeout=120s",
            },
        )
    event.listen(engine, "connect", _remember_pid)
    event.listen(engine, "checkout", _refuse_foreign_pid)
    return engine


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function("sha256_hex", 1, lambda body: hashlib.sha256(body).hexdigest(), deterministic=True)


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: take the write lock at once and wait for it, instead of failing half way through.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _remember_pid(_connection: Any, entry: ConnectionPoolEntry) -> None:
    entry.info["pid"] = os.getpid()


def _refuse_foreign_pid(_connection: Any, entry: Any, proxy: Any) -> None:
    # Two processes writing on one socket garble each other, so a child drops what it inherited and connects anew.
    if entry.info["pid"] != os.getpid():
        entry.dbapi_connection = proxy.dbapi_connection = None
        raise DisconnectionError("this connection belongs to the parent process")
