"""Events and tables for the tests of the doors."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

EXAMPLE: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "contracts/examples/expense-report-approved.case-a.json").read_bytes()
)
COLUMNS = (
    "number,version,employee_id,employee_name,department,currency,title,submitted_on,approved_at,total,"
    "category,date,description,amount,paid_by"
)


def event(number: str = "EXP-1", version: int = 1, **members: Any) -> dict[str, Any]:
    """A good event about that report; `members` replace members of the event."""
    value = copy.deepcopy(EXAMPLE)
    value["data"] |= {"number": number, "version": version}
    value |= {
        "id": f"{number}-{version}",
        "subject": number,
        "sequence": str(version),
        "partitionkey": f"C01/{number}",
    }
    return value | members


def body(number: str = "EXP-1", version: int = 1, **members: Any) -> bytes:
    """The same as JSON."""
    return json.dumps(event(number, version, **members), ensure_ascii=False).encode()


def array(*events: bytes) -> bytes:
    """A batch of events."""
    return b"[" + b",".join(events) + b"]"


def row(number: str = "EXP-1", version: str = "1", amount: str = "10.00", total: str | None = None) -> str:
    """A row of a table under COLUMNS; without a total it is a further row of its report."""
    head = f"E1,张三,D01,CNY,出差,2025-03-29,2025-04-03T10:11:05+08:00,{total}" if total else ",,,,,,,"
    return f"{number},{version},{head},office.supplies,2025-03-01,文具,{amount},employee"


def table(*rows: str) -> bytes:
    """A CSV table."""
    return "\n".join((COLUMNS, *rows, "")).encode()
