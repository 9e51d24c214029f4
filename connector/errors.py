"""What can go wrong at an edge, and what each means for the message: the class decides the outcome.

    ConnectorError
    ├── Unavailable        nothing was done and it may work later: wait, then try again
    │   └── CredentialsRefused   the other system does not know us: wait for IT, never hammer
    ├── Rejected           the other system read it and said no: a person decides
    │   └── Conflict       it changed in the meanwhile: read again, decide again
    ├── AlreadyExists      our reference is there already: adopt it
    ├── Ambiguous          the answer was lost, it may have been done: ask, never repeat blindly
    └── Misconfigured      our own settings are wrong: refuse to start
Every one carries an error code of the catalogue (contracts/codes), so that a person finds the page that helps.
"""

from __future__ import annotations


class ConnectorError(Exception):
    """The base: a code of the catalogue and a sentence for a person."""

    default_code = "OPS-801"

    def __init__(self, message: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.field = field


class Unavailable(ConnectorError):
    """Nothing was done; the same call may work later, at the earliest after `retry_after_s` seconds."""

    default_code = "ERP-501"

    def __init__(
        self, message: str, *, code: str | None = None, field: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message, code=code, field=field)
        self.retry_after_s = retry_after_s


class CredentialsRefused(Unavailable):
    """The other system refused our credentials; nothing was done."""

    default_code = "ERP-403"


class Rejected(ConnectorError):
    """The other system understood the message and refused it for good."""

    default_code = "ERP-401"


class Conflict(Rejected):
    """The record changed since we read it; read it again and decide again."""

    default_code = "ERP-409"


class AlreadyExists(ConnectorError):
    """Our reference is taken already; `external_id` names what holds it, where the system told us."""

    default_code = "ERP-409"

    def __init__(self, message: str, *, code: str | None = None, external_id: str | None = None) -> None:
        super().__init__(message, code=code)
        self.external_id = external_id


class Ambiguous(ConnectorError):
    """The call left us but its answer did not arrive: it may or may not have been done."""

    default_code = "ERP-502"


class Misconfigured(ConnectorError):
    """A setting is missing, wrong or unsafe."""

    default_code = "CFG-701"
