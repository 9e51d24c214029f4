"""What an error of the database means for the work: it is away, or another transaction was first."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

_READ_ONLY = "25006"  # SQLSTATE: a replica after a failover, or a cloud database whose disk is full


class Crossed(Exception):
    """Another transaction wrote the same row meanwhile: the same work, begun anew, finds it."""


def is_away(error: BaseException) -> bool:
    """True where the database could not be reached, gave up or takes no writes now, or every connection is in use: the
    same call may work later, and no message is at fault."""
    if isinstance(error, NoConnection):
        return True
    if not isinstance(error, DBAPIError):
        return False
    read_only = getattr(error.orig, "sqlstate", None) == _READ_ONLY
    return error.connection_invalidated or read_only or isinstance(error, OperationalError | InterfaceError)
