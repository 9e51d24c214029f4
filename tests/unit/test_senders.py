"""Who may say what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connector.process.senders import objection
from contracts import parse_event
from tests.integration.process.world import advance, period, record, report, told

OA, ERP, STRANGER = "/oa/feishu/C01", "/erp/file/C01", "/erp/nobody/C01"
ANSWER = {"number": "EXP-1", "document": {"type": "expense.report", "number": "EXP-1", "version": 1}, "reference": "R"}
POSTED = {**ANSWER, "erp_number": "7", "posted_on": "2025-04-20"}
PAID = {**ANSWER, "payment_number": "P1", "amount": "10.00", "currency": "CNY", "paid_on": "2025-04-20"}


def from_(source: str, event: dict[str, Any]) -> Any:
    return parse_event(json.dumps(event | {"source": source}).encode())


@pytest.mark.parametrize(
    ("event", "heard"),
    [
        (report(), (OA,)),
        (report(happening="submitted"), (OA,)),
        (report(happening="withdrawn"), (OA,)),
        (advance("ADV-1", "10.00"), (OA, ERP)),
        (record("project", "P1", name="P"), (OA, ERP)),
        (record("employee", "E1", name="E"), (OA, ERP)),
        (period("2025-04", "closed"), (ERP,)),
        (told("voucher.posted.v1", "EXP-1", **POSTED), (ERP,)),
        (told("payment.made.v1", "EXP-1", **PAID), (ERP,)),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_each_side_is_heard_about_its_own(event: dict[str, Any], heard: tuple[str, ...]) -> None:
    objections = {source: objection(from_(source, event), {ERP}) for source in (OA, ERP, STRANGER)}

    assert tuple(source for source, finding in objections.items() if finding is None) == heard
    assert {finding.code for finding in objections.values() if finding is not None} == {"SEC-610"}


def test_the_erp_of_another_company_is_not_heard() -> None:
    elsewhere = told("voucher.posted.v1", "EXP-1", "/erp/file/C02", company="C02", **POSTED)

    assert objection(from_("/erp/file/C02", elsewhere), {ERP}) is not None
