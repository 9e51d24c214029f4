"""What each answer of Tryton means, as a table: the first row that fits decides. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from connector.adapter import Outcome

Kind = Literal["transient", "auth", "duplicate", "conflict", "permanent", "ambiguous"]


class Fault(Exception):
    """An error Tryton answered: `name` is its class (`HTTP` for a bare status), `text` its message in English."""

    def __init__(self, name: str, text: str, status: int = 200, retry_after_s: int | None = None) -> None:
        super().__init__(f"{name} {status}: {text}" if name == "HTTP" else f"{name}: {text}")
        self.name, self.text, self.status, self.retry_after_s = name, text, status, retry_after_s


@dataclass(frozen=True, slots=True)
class Row:
    """One row: exception name (or HTTP and a status) and an anchored pattern of the message -> what it means."""

    name: str
    pattern: str
    kind: Kind
    code: str
    status: int | None = None


# Tryton's messages have no codes; we ask for English in the context and anchor on the fixed parts of its catalogue.
TABLE: tuple[Row, ...] = (
    Row("UserError", r'You can not call "post" on', "duplicate", "ERP-409"),
    Row("UserError", r"You cannot (create|add/modify/delete) .*closed (journal-)?period", "permanent", "ERP-402"),
    Row("UserError", r"To continue, you must reopen the (period|fiscal year)", "permanent", "ERP-402"),
    Row("UserError", r"To continue, you must create a (period|fiscal year) for the date", "permanent", "ERP-414"),
    Row("UserError", r'The value .* for field "(Effective Date|Period)" .*is not valid', "permanent", "ERP-414"),
    Row("UserError", r"To post move .*, you must (balance|fill in its lines)", "permanent", "ERP-401"),
    Row("UserError", r'A value is required for field "Party"', "permanent", "ERP-413"),
    Row("UserError", r"To create a line on account .*, you must (set|remove) (a|the) party", "permanent", "ERP-413"),
    Row("UserError", r"To create a line on account .*, you must set a type or unclose it", "permanent", "ERP-415"),
    Row("UserError", r'The value "[^"]*" for field "Account"', "permanent", "ERP-411"),
    Row("UserError", r'The value "[^"]*" for field "Party"', "permanent", "ERP-412"),
    Row("UserError", r"The number of digits in the value", "permanent", "ERP-416"),
    Row("UserError", r"You are not allowed to (access|read|write|create|delete|modify)", "permanent", "ERP-418"),
    Row("UserError", r"You are trying to read records .* that don't exist", "conflict", "ERP-419"),
    Row("UserError", r"You cannot modify (line .* from )?posted move", "conflict", "ERP-419"),
    Row("UserError", r"(You cannot reconcile|In order to modify the reconciled line)", "permanent", "ERP-421"),
    Row("UserError", r"The .* on .* must be unique", "duplicate", "ERP-409"),
    Row("UserWarning", r"\S*invoice_similar", "duplicate", "ERP-409"),
    Row("UserWarning", r"\S* ?The period of move .* is closed", "permanent", "ERP-423"),
    Row("UserWarning", r"", "permanent", "ERP-401"),
    Row("ConcurrencyException", r"", "conflict", "ERP-419"),
    Row("UserError", r"", "permanent", "ERP-401"),
    # Answers that are a status only. Tryton rolls its transaction back before any of them but 504 and 502.
    Row("HTTP", r"", "auth", "ERP-403", status=401),
    Row("HTTP", r"", "permanent", "ERP-420", status=400),
    Row("HTTP", r"", "permanent", "ERP-420", status=403),
    Row("HTTP", r"", "permanent", "ERP-420", status=404),
    Row("HTTP", r"", "permanent", "ERP-420", status=422),
    Row("HTTP", r"", "permanent", "ERP-416", status=413),
    Row("HTTP", r"", "transient", "ERP-505", status=429),
    Row("HTTP", r"", "transient", "ERP-504", status=503),
    Row("HTTP", r"", "ambiguous", "ERP-502", status=500),
    Row("HTTP", r"", "ambiguous", "ERP-502", status=502),
    Row("HTTP", r"", "ambiguous", "ERP-502", status=504),
    Row("HTTP", r"", "ambiguous", "ERP-506"),
    # Untyped faults (unknown field or model, bad number): what we sent does not fit this server's modules.
    Row("", r"", "permanent", "ERP-420"),
)


def classify(fault: Fault) -> Outcome:
    """The outcome of the first row that fits; an unknown exception class counts as a misfit of the mapping."""
    row = next(row for row in TABLE if _fits(row, fault))
    return Outcome(row.kind, row.code, fault.text or f"HTTP {fault.status}", retry_after_s=fault.retry_after_s)


def _fits(row: Row, fault: Fault) -> bool:
    if row.name and row.name != fault.name:
        return False
    if row.status is not None and row.status != fault.status:
        return False
    return re.match(row.pattern, fault.text, flags=re.DOTALL) is not None
