"""The report that the benchmarks translate: six lines as a traveller hands them in."""

from __future__ import annotations

import json
from typing import Any


def six_lines(number: str = "EXP2025-0001") -> bytes:
    """An approved report of six lines with an advance, as an event."""
    lines: list[dict[str, Any]] = [
        _line("travel.hotel", "1060.00", kind="vat_special", net="1000.00", tax="60.00", certified=True),
        _line("travel.rail", "553.00", kind="rail"),
        _line("travel.air", "1110.00", kind="air", fare="1000.00", fuel="60.00", airport_fee="50.00"),
        _line("entertainment.meal", "300.00", kind="vat_ordinary"),
        _line("travel.taxi", "86.50"),
        _line("office.supplies", "113.00", kind="vat_ordinary", net="100.00", tax="13.00"),
    ]
    data = {
        "company": "C01",
        "number": number,
        "version": 1,
        "employee": {"id": "E017", "name": "Zhang San", "department": "D01"},
        "currency": "CNY",
        "title": "Customer visit",
        "submitted_on": "2025-03-29",
        "approved_at": "2025-04-03T10:11:05+08:00",
        "lines": [{**line, "line": at} for at, line in enumerate(lines, 1)],
        "advances": [{"number": "ADV2025-0003", "amount": "1500.00"}],
        "total": "3222.50",
    }
    event = {
        "specversion": "1.0",
        "id": f"{number}-1",
        "source": "/oa/demo/C01",
        "type": "expense.report.approved.v1",
        "subject": number,
        "time": "2025-04-03T02:11:05Z",
        "datacontenttype": "application/json",
        "sequence": "1",
        "partitionkey": f"C01/{number}",
        "data": data,
    }
    return json.dumps(event).encode()


def _line(category: str, amount: str, **invoice: object) -> dict[str, Any]:
    line: dict[str, Any] = {
        "category": category,
        "date": "2025-03-27",
        "description": "a line of the benchmark",
        "amount": amount,
        "currency": "CNY",
        "paid_by": "employee",
    }
    return line | ({"invoice": {"total": amount, **invoice}} if invoice else {})
