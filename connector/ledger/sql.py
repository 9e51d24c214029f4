"""What SQLite and PostgreSQL say differently: the clock, exact times, and writing many rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg
from sqlalchemy import BigInteger, DateTime, Dialect, Integer, LargeBinary, Table, Text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import text
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import String, TypeDecorator, TypeEngine

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
    """The database's clock, as SQL text. A statement reads it once, so that an index serves a comparison with it."""
    # In a SELECT of its own: PostgreSQL would compare every row with a clock that it reads anew for each.
    if tx.dialect.name == "postgresql":
        return "(SELECT clock_timestamp())"
    return "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')"


def now_plus(tx: Connection, seconds: str) -> str:
    """The database's clock plus a parameter (`:name`) in seconds, as SQL text."""
    if tx.dialect.name == "postgresql":
        return f"(clock_timestamp() + make_interval(secs => CAST({seconds} AS double precision)))"
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', CAST({seconds} AS TEXT) || ' seconds') || '000')"


def table_of(
    tx: Connection, columns: dict[str, str], rows: Sequence[Sequence[Any]], *, name: str = "given"
) -> tuple[str, dict[str, Any]]:
    """Rows as a table inside a statement: the text to write after FROM (the table is called `name`) and its parameter,
    so that one statement serves a whole batch. `columns` maps names to `text` or `bigint`."""
    # One JSON text is several times faster to hand over than an array for each column.
    if tx.dialect.name == "postgresql":
        typed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        given = orjson.dumps([dict(zip(columns, row, strict=True)) for row in rows]).decode()
        return f"json_to_recordset(CAST(:{name} AS json)) AS {name}({typed})", {name: given}
    picked = ", ".join(f"json_extract(value, '$[{at}]') AS {column}" for at, column in enumerate(columns))
    return (
        f"(SELECT {picked} FROM json_each(:{name})) AS {name}",
        {name: orjson.dumps([list(row) for row in rows]).decode()},
    )


def insert_many(tx: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Writes all rows at once: COPY on PostgreSQL, one prepared statement on SQLite. Every row has the same keys."""
    if not rows:
        return
    names = list(rows[0])
    columns = ", ".join(names)
    if tx.dialect.name == "postgresql":
        cursor = tx.connection.cursor()
        try:
            with cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types([_wire_type(table.c[name].type) for name in names])
                for row in rows:
                    copy.write_row(tuple(row.values()))
        except psycopg.Error as error:
            raise _wrapped(error, table) from error
        finally:
            cursor.close()
        return
    marks = ", ".join(f":{name}" for name in names)
    tx.execute(text(f"INSERT INTO {table.name} ({columns}) VALUES ({marks})"), list(rows))


def _wire_type(kind: TypeEngine[Any]) -> str:
    """What PostgreSQL calls the binary form of a column. Binary, because a body in hexadecimal is twice as long."""
    match kind:
        case LargeBinary():
            return "bytea"
        case BigInteger():
            return "int8"
        case Integer():
            return "int4"
        case Text():
            return "text"
        case String():
            return "varchar"
    raise AssertionError(f"no binary form is known for {kind!r}")


def _wrapped(error: psycopg.Error, table: Table) -> DBAPIError:
    """COPY goes past SQLAlchemy, so its errors are put into SQLAlchemy's classes here."""
    wrapped = DBAPIError.instance(f"COPY {table.name}", None, error, psycopg.Error)
    assert isinstance(wrapped, DBAPIError)
    return wrapped
