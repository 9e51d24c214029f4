"""Every answer of Tryton we know of, in its own words, and what it means."""

from __future__ import annotations

import pytest

from connector.erp.tryton_errors import TABLE, Fault, classify

ANSWERS = [
    ("UserError", 'To post move "(3)", you must balance all its lines debits and credits.', "permanent", "ERP-401"),
    ("UserError", 'To post move "(3)", you must fill in its lines.', "permanent", "ERP-401"),
    ("UserError", 'A value is required for field "Journal" in record "(5)" of "Account Move".', "permanent", "ERP-401"),
    (
        "UserError",
        'The value "99999" for field "Account" in "Account Move Line" does not exist.',
        "permanent",
        "ERP-411",
    ),
    ("UserError", 'The value "77" for field "Party" in "Account Move Line" does not exist.', "permanent", "ERP-412"),
    (
        "UserError",
        'A value is required for field "Party" in record "-CNY 10.00 @ 2.1.1" of "Account Move Line".',
        "permanent",
        "ERP-413",
    ),
    (
        "UserError",
        'To create a line on account "2.2.1 - Accrued", you must remove the party on line "-CNY 10.00 @ 2.2.1".',
        "permanent",
        "ERP-413",
    ),
    (
        "UserError",
        'The number of digits in the value "\'10.001\'" for field "Credit" in record "x" exceeds the limit of "(None, 2)".',
        "permanent",
        "ERP-416",
    ),
    ("UserError", 'You cannot create a journal-period in closed period "2026-03".', "permanent", "ERP-402"),
    (
        "UserError",
        'The value "2026-03" for field "Period" in record "(13)" of "Account Move" is not valid according to its domain.',
        "permanent",
        "ERP-414",
    ),
    (
        "UserError",
        'You cannot add/modify/delete lines on closed journal-period "EXP - 2026-01".',
        "permanent",
        "ERP-402",
    ),
    (
        "UserError",
        'To continue, you must reopen the period "2026-01" of company "示例" for the date "2026-01-24".',
        "permanent",
        "ERP-402",
    ),
    (
        "UserError",
        'To continue, you must create a period for the date "2031-01-24" and company "示例".',
        "permanent",
        "ERP-414",
    ),
    (
        "UserError",
        'To create a line on account "6602 - 管理费用", you must set a type or unclose it.',
        "permanent",
        "ERP-415",
    ),
    ("UserError", 'You can not call "post" on "1" of "Account Move".', "duplicate", "ERP-409"),
    (
        "UserError",
        'You are not allowed to modify the field "Description" in record "2" of "Account Move".',
        "permanent",
        "ERP-418",
    ),
    ("UserError", 'You cannot modify posted move "2".', "conflict", "ERP-419"),
    ("UserError", 'You are not allowed to access "Account Move".', "permanent", "ERP-418"),
    ("UserError", 'You cannot reconcile already reconciled line "-CNY 10.00 @ 2.1.1".', "permanent", "ERP-421"),
    ("UserError", "The code on party must be unique.", "duplicate", "ERP-409"),
    (
        "UserError",
        'You are trying to read records "987654" of "Account Move" that don\'t exist.',
        "conflict",
        "ERP-419",
    ),
    ("UserError", "Something Tryton has not said before.", "permanent", "ERP-401"),
    (
        "UserWarning",
        'd41d8cd98f00b204e9800998ecf8427e.invoice_similar The invoice "[FP-1]" is similar to invoice "1 [FP-1]".',
        "duplicate",
        "ERP-409",
    ),
    (
        "UserWarning",
        'account.move,5.cancel The period of move "5" is closed. Do you want to use the current period?',
        "permanent",
        "ERP-423",
    ),
    ("UserWarning", "some.other Are you sure?", "permanent", "ERP-401"),
    ("ConcurrencyException", "Records were modified in the meanwhile", "conflict", "ERP-419"),
    ("'foo'", "", "permanent", "ERP-420"),
    ("'account.nothing'", "", "permanent", "ERP-420"),
    ("[<class 'decimal.ConversionSyntax'>]", "", "permanent", "ERP-420"),
]
STATUSES = [
    (400, "permanent", "ERP-420"),
    (401, "auth", "ERP-403"),
    (403, "permanent", "ERP-420"),
    (404, "permanent", "ERP-420"),
    (413, "permanent", "ERP-416"),
    (422, "permanent", "ERP-420"),
    (429, "transient", "ERP-505"),
    (500, "ambiguous", "ERP-502"),
    (502, "ambiguous", "ERP-502"),
    (503, "transient", "ERP-504"),
    (504, "ambiguous", "ERP-502"),
    (302, "ambiguous", "ERP-506"),
]


@pytest.mark.parametrize(
    ("name", "text", "kind", "code"), ANSWERS, ids=[f"{a[3]} {a[1][:40] or a[0]}" for a in ANSWERS]
)
def test_an_answer_means_what_the_table_says(name: str, text: str, kind: str, code: str) -> None:
    outcome = classify(Fault(name, text))

    assert (outcome.kind, outcome.code) == (kind, code)


@pytest.mark.parametrize(("status", "kind", "code"), STATUSES)
def test_a_bare_status_means_what_the_table_says(status: int, kind: str, code: str) -> None:
    outcome = classify(Fault("HTTP", "could not obtain lock on row in relation", status, retry_after_s=3))

    assert (outcome.kind, outcome.code, outcome.retry_after_s) == (kind, code, 3)


def test_every_row_of_the_table_is_met_by_an_answer_above() -> None:
    met = set()
    for name, text, _, _ in ANSWERS:
        met.add(first_row(Fault(name, text)))
    for status, _, _ in STATUSES:
        met.add(first_row(Fault("HTTP", "", status)))

    assert [row for row in TABLE if row not in met] == []


def first_row(fault: Fault) -> object:
    from connector.erp.tryton_errors import _fits

    return next(row for row in TABLE if _fits(row, fault))
