"""What our own errors mean as an Outcome: the part of `Adapter.classify` that is the same for every system. Pure."""

from __future__ import annotations

from connector.adapter import Outcome
from connector.errors import (
    AlreadyExists,
    Ambiguous,
    Conflict,
    ConnectorError,
    CredentialsRefused,
    Misconfigured,
    Rejected,
    Unavailable,
)


def outcome_of(error: ConnectorError) -> Outcome:
    """The outcome the class of the error stands for, with its code and its sentence."""
    match error:
        case CredentialsRefused():
            return Outcome("auth", error.code, error.message, retry_after_s=error.retry_after_s, field=error.field)
        case Unavailable():
            return Outcome("transient", error.code, error.message, retry_after_s=error.retry_after_s, field=error.field)
        case Ambiguous():
            return Outcome("ambiguous", error.code, error.message, field=error.field)
        case AlreadyExists():
            return Outcome("duplicate", error.code, error.message, external_id=error.external_id)
        case Conflict():
            return Outcome("conflict", error.code, error.message, field=error.field)
        case Misconfigured():
            return Outcome("auth", error.code, error.message, field=error.field)
        case Rejected():
            return Outcome("permanent", error.code, error.message, field=error.field)
        case _:
            return Outcome("permanent", error.code, error.message, field=error.field)
