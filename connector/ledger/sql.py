"""What SQLite and PostgreSQL say differently: the clock, exact times, and writing many rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import DateTime, Dialect, Table
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import text
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import String, TypeDecorator

_TEXT_FORMAT = "%Y-%m-%d %H:%M:%S.%f"


class Instant(TypeDecorator[datetime]):
    """A moment, aware and UTC. On SQLite fixed-width text, so that comparing text compares time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(String(26) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).strftime(_TEXT_FORMAT)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.strptime(value.ljust(26, "0"), _TEXT_FORMAT).replace(tzinfo=UTC)
        assert isinstance(value, datetime)
        return value.astimezone(UTC)


class now(FunctionElement[datetime]):
    """The database's clock, `plus_s` seconds from now: leases never trust the clock of a worker."""

    inherit_cache = True
    type = Instant()
    name = "now"

    def __init__(self, plus_s: Any = None) -> None:
        super().__init__(*(() if plus_s is None else (plus_s,)))


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: SQLCompiler, **kw: Any) -> str:
    plus = compiler.process(element.clauses, **kw)
    return f"(clock_timestamp() + make_interval(secs => ({plus})::double precision))" if plus else "clock_timestamp()"


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: SQLCompiler, **kw: Any) -> str:
    plus = compiler.process(element.clauses, **kw)
    moment = (
        f"strftime('%Y-%m-%d %H:%M:%f', 'now', ({plus}) || ' seconds')"
        if plus
        else "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    )
    return f"({moment} || '000')"


def now_text(tx: Connection) -> str:
    """The database's clock, as SQL text."""
    return "clock_timestamp()" if tx.dialect.name == "postgresql" else "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')"


def now_plus(tx: Connection, seconds: str) -> str:
    """The database's clock plus a parameter (`:name`) in seconds, as SQL text."""
    if tx.dialect.name == "postgresql":
        return f"(clock_timestamp() + make_interval(secs => CAST({seconds} AS double precision)))"
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', CAST({seconds} AS TEXT) || ' seconds') || '000')"


def table_of(tx: Connection, columns: dict[str, str], rows: Sequence[Sequence[Any]]) -> tuple[str, dict[str, Any]]:
    """Rows as a table inside a statement: the text to write after FROM (named `given`) and its parameters, so that one
    statement serves a whole batch. `columns` maps names to `text` or `bigint`."""
    names = list(columns)
    if tx.dialect.name == "postgresql":
        arrays = ", ".join(f"CAST(:given_{name} AS {columns[name]}[])" for name in names)
        parameters = {f"given_{name}": [row[at] for row in rows] for at, name in enumerate(names)}
        return f"unnest({arrays}) AS given({', '.join(names)})", parameters
    picked = ", ".join(f"json_extract(value, '$[{at}]') AS {name}" for at, name in enumerate(names))
    return f"(SELECT {picked} FROM json_each(:given)) AS given", {
        "given": orjson.dumps([list(r) for r in rows]).decode()
    }


def insert_many(tx: Connection, table: Table, rows: Sequence[dict[str, Any]], *, skip_existing: bool = False) -> None:
    """Writes all rows in one statement (PostgreSQL: arrays through unnest; SQLite: one prepared statement).
    `skip_existing` leaves out rows whose key is there already. Every row has the same keys."""
    if not rows:
        return
    names = list(rows[0])
    tail = " ON CONFLICT DO NOTHING" if skip_existing else ""
    columns = ", ".join(names)
    if tx.dialect.name == "postgresql":
        casts = ", ".join(f"CAST(:{name} AS {_array_type(tx, table, name)})" for name in names)
        statement = f"INSERT INTO {table.name} ({columns}) SELECT * FROM unnest({casts}){tail}"
        tx.execute(text(statement), {name: [row[name] for row in rows] for name in names})
        return
    marks = ", ".join(f":{name}" for name in names)
    instants = [name for name in names if isinstance(table.c[name].type, Instant)]
    for row in rows:
        for name in instants:
            if row[name] is not None:
                row[name] = row[name].astimezone(UTC).strftime(_TEXT_FORMAT)
    tx.execute(text(f"INSERT INTO {table.name} ({columns}) VALUES ({marks}){tail}"), list(rows))


def _array_type(tx: Connection, table: Table, name: str) -> str:
    return ARRAY(table.c[name].type).compile(dialect=tx.dialect)
