"""Which errors of the database say that it is away: nobody's message is at fault, and all may work later."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from connector.ledger.faults import is_away


def raised(error: psycopg.Error) -> DBAPIError:
    """As SQLAlchemy tells of it."""
    wrapped = DBAPIError.instance("INSERT", None, error, psycopg.Error)
    assert isinstance(wrapped, DBAPIError)
    return wrapped


AWAY = [
    raised(psycopg.OperationalError("the server closed the connection")),
    raised(psycopg.InterfaceError("the connection is lost")),
    raised(psycopg.errors.DeadlockDetected("deadlock detected")),
    raised(psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction")),
    PoolTimeout("QueuePool limit of size 1 overflow 1 reached"),
]
HERE = [
    raised(psycopg.errors.UniqueViolation("duplicate key")),
    raised(psycopg.errors.NumericValueOutOfRange("out of range")),
    raised(psycopg.errors.InternalError_("a fault of the database")),
    ProgrammingError("SELECT", None, psycopg.errors.UndefinedTable("no such table")),
    ValueError("no error of the database"),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_a_database_that_cannot_be_reached_or_written_to_is_away(error: Exception) -> None:
    assert is_away(error)


@pytest.mark.parametrize("error", HERE, ids=lambda error: type(error).__name__)
def test_what_the_database_refuses_itself_is_no_sign_of_that(error: Exception) -> None:
    assert not is_away(error)
