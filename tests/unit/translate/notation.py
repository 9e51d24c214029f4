"""Cases in the accountant's notation: a report on the left, the voucher (or the refusal) beside it. See tests/cases/README.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from connector.translate import Book, Refusal, to_voucher
from contracts.amount import Amount
from contracts.expense import ExpenseReport, Line, booked_amount

CASES = Path(__file__).parents[2] / "cases"
_REPORT = TypeAdapter(ExpenseReport)
_LINE = TypeAdapter(Line)


@dataclass
class Case:
    """One case: what it is about, the report as wire data, and the lines expected beside it."""

    title: str
    at: str
    report: dict[str, Any]
    expected: list[str] = field(default_factory=list)


def cases() -> Iterator[Case]:
    """Every case of every file, in order."""
    for path in sorted(CASES.glob("*.case")):
        yield from read_cases(path)


def read_cases(path: Path) -> Iterator[Case]:
    """The cases of one file: each begins with a line `# title`."""
    case: Case | None = None
    for number, text in enumerate(path.read_text("utf-8").splitlines(), 1):
        if text.startswith("# "):
            if case is not None:
                yield _whole(case)
            case = Case(text[2:].strip(), f"{path.name}:{number}", _empty_report())
        elif text.strip() and not text.startswith("##"):
            assert case is not None, f"{path.name}:{number}: a case begins with a title"
            left, bar, right = text.partition("|")
            assert bar, f"{path.name}:{number}: report | voucher"
            if left.strip():
                _read_report(case.report, left.strip())
            if right.strip():
                case.expected.append(" ".join(right.split()))
    if case is not None:
        yield _whole(case)


def _empty_report() -> dict[str, Any]:
    return {
        "company": "C01", "number": "EXP1", "version": 1, "currency": "CNY", "title": "",
        "employee": {"id": "E017", "name": "Zhang San", "department": "D01"},
        "submitted_on": "2025-03-29", "approved_at": "2025-04-03T10:11:05+08:00", "lines": [], "advances": [],
    }  # fmt: skip


def _whole(case: Case) -> Case:
    if "total" not in case.report:
        lines = [_LINE.validate_json(orjson.dumps(line)) for line in case.report["lines"]]
        booked = [booked_amount(line, case.report["currency"]) or Decimal(0) for line in lines]
        case.report["total"] = Amount(sum(booked, Decimal(0)), case.report["currency"]).text()
    return case


def _read_report(report: dict[str, Any], text: str) -> None:
    word, _, rest = text.partition(" ")
    match word:
        case "company" | "currency" | "number" | "posting_date" | "approved_at" | "total":
            report[word] = rest
        case "version":
            report["version"] = int(rest)
        case "employee":
            identity, department = rest.split()
            report["employee"] |= {"id": identity, "department": department}
        case "advance":
            number, amount = rest.split()
            report["advances"].append({"number": number, "amount": amount})
        case "payee":
            kind, identity = rest.split()
            report["payee"] = {"type": kind, "id": identity}
        case _:
            report["lines"].append(_read_line(text, len(report["lines"]) + 1))


def _read_line(text: str, number: int) -> dict[str, Any]:
    """`travel.hotel 1060.00, card, vat_special 1000.00 + 60.00 certified`."""
    first, *clauses = [clause.strip() for clause in text.split(",")]
    category, amount, *foreign = first.split()
    line: dict[str, Any] = {
        "line": number, "category": category, "date": "2025-03-27", "description": "", "amount": amount, "currency": "CNY",
        "paid_by": "employee",
    }  # fmt: skip
    if foreign:
        line["currency"] = foreign[0]
    if len(foreign) == 3:
        line["rate"] = {"value": foreign[2], "date": "2025-03-27", "source": "PBOC"}
    for clause in clauses:
        _read_clause(line, clause)
    return line


def _read_clause(line: dict[str, Any], clause: str) -> None:
    word, *rest = clause.split()
    invoice = line.get("invoice", {"total": line["amount"]})
    match word:
        case "card":
            line["paid_by"] = "company_card"
        case "supplier":
            line["paid_by"] = "supplier"
        case "personal" | "department" | "project" | "cost_centre":
            line[word] = rest[0]
        case "dated":
            line["date"] = rest[0]
        case "share":
            names = dict(zip(("department", "project", "cost_centre"), rest[1:], strict=False))
            line.setdefault("allocations", []).append({"share": rest[0], **names})
        case "invoice":
            line["invoice"] = {**invoice, "number": rest[0]}
        case "of":
            line["invoice"] = {**invoice, "total": rest[0]}
        case "air":
            fare, fuel, fee = [part for part in rest if part != "+"]
            line["invoice"] = {**invoice, "kind": "air", "fare": fare, "fuel": fuel, "airport_fee": fee}
        case _:
            line["invoice"] = {**invoice, "kind": word}
            amounts = [part for part in rest if re.match(r"-?\d", part)]
            if len(amounts) == 2:
                line["invoice"] |= {"net": amounts[0], "tax": amounts[1]}
            if "certified" in rest:
                line["invoice"]["certified"] = True


def outcome(case: Case, book: Book) -> list[str]:
    """What the translator makes of the case, in the notation of the right side."""
    report = _REPORT.validate_json(orjson.dumps(case.report))
    answer = to_voucher(report, book)
    if isinstance(answer, Refusal):
        said = [f"refused {finding.code} {finding.path}" for finding in answer.findings]
        return said + [f"waits {key}" for key in answer.waits_for]
    said = []
    for line in answer.lines:
        words = [
            "Dr" if line.side == "debit" else "Cr",
            line.account,
            *line.dimensions.values(),
            Amount(line.amount, answer.currency).text(),
        ]
        if line.amount_in_currency is not None and line.currency is not None and line.rate is not None:
            words += ["=", Amount(line.amount_in_currency, line.currency).text(), line.currency, "@", f"{line.rate:f}"]
        said.append(" ".join(words))
    if any(text.startswith("on ") for text in case.expected):
        said.insert(0, f"on {answer.date}")
    if any(text.startswith("as ") for text in case.expected):
        said.insert(0, f"as {answer.reference}")
    return said
