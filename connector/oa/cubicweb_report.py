"""From what cubicweb-expense holds to the canonical report: amounts exact or refused, names by the configured tables. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from connector.oa.cubicweb_rql import moment
from contracts import ExpenseReport
from contracts.amount import quantum
from contracts.findings import Finding, Refused, refused

# The OA's five kinds of expense. `others` has no category: it goes on as it is and waits for the mapping to know it.
CATEGORIES = {
    "transport": "travel.taxi",
    "accomodation": "travel.hotel",
    "food": "travel.meal",
    "communication": "communication.phone",
}
PAID_BY = ("employee", "company_card", "supplier")
DEFAULT_TAX_CURRENCY = "EUR"  # What the OA fills in for the currency of a tax, whatever the line is in.


@dataclass(frozen=True, slots=True)
class Accepted:
    """An expense as the OA holds it now, with the times that matter."""

    eid: int
    title: str
    state: str
    modified_at: datetime
    creator: tuple[str | None, str | None, str | None]
    submitted_at: datetime | None
    accepted_at: datetime | None
    left_at: datetime | None  # when it left the accepted state
    lines: Sequence[Sequence[Any]]
    raw: bytes

    @classmethod
    def of(cls, head: Sequence[Any], steps: Sequence[Sequence[Any]], lines: Sequence[Sequence[Any]]) -> Accepted:
        """From the rows of the three queries, asked one after the other: where somebody acted between them, the steps
        know the state better than the head does."""
        number, title, state, modified_at, *creator = head
        submitted_at = accepted_at = left_at = None
        for _, state, at in steps:
            if state == "submitted":
                submitted_at = moment(at)
            if state == "accepted":
                accepted_at, left_at = moment(at), None
            elif accepted_at is not None and left_at is None:
                left_at = moment(at)
        # The modification time stays out: our own note in the description must not look like a change.
        held = {
            "eid": number,
            "title": title,
            "state": state,
            "creator": creator,
            "steps": [s[1:] for s in steps],
            "lines": [li[1:] for li in lines],
        }
        raw = json.dumps(held, ensure_ascii=False, default=str, sort_keys=True).encode()
        login, first, last = creator
        return cls(
            number,
            title,
            state,
            moment(modified_at),
            (login, first, last),
            submitted_at,
            accepted_at,
            left_at,
            lines,
            raw,
        )

    @property
    def fingerprint(self) -> str:
        """Changes when what the OA holds changes."""
        return hashlib.sha256(self.raw).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Naming:
    """How the OA's names become the codes both systems share."""

    company: str
    currency: str
    departments: Mapping[str, str]
    employees: Mapping[str, str]
    categories: Mapping[str, str]
    paid_by: Mapping[str, str]
    certified: bool

    @classmethod
    def from_options(cls, company: str, options: Mapping[str, str]) -> Naming:
        """Options like `employee.zhangsan: E001`; the plain `department` is for whoever has no own one."""

        def table(prefix: str) -> dict[str, str]:
            return {name.removeprefix(prefix): value for name, value in options.items() if name.startswith(prefix)}

        return cls(
            company=company,
            currency=options.get("currency", "CNY"),
            departments={"": options["department"], **table("department.")},
            employees=table("employee."),
            categories={**CATEGORIES, **table("category.")},
            paid_by={**{name: name for name in PAID_BY}, **table("paid_by.")},
            certified=options.get("certified", "no") == "yes",
        )


def report_of(found: Accepted, number: str, naming: Naming, zone: ZoneInfo) -> ExpenseReport:
    """The report, as version 1: the ledger numbers it. Raises Refused naming the line that cannot be told exactly."""
    login, name = _spender(found)
    if login is None:
        raise Refused(
            Finding("OA-404", "employee", "somebody who spent the money", "nobody", "name the person in the OA")
        )
    approved_at = found.accepted_at or found.modified_at
    lines = [_line(place, row, naming) for place, row in enumerate(found.lines, 1)]
    total = sum((_booked(line, naming.currency) for line in lines), Decimal(0))
    try:
        return ExpenseReport.model_validate(
            {
                "company": naming.company,
                "number": number,
                "version": 1,
                "employee": {
                    "id": naming.employees.get(login, login),
                    "name": name,
                    "department": naming.departments.get(login, naming.departments[""]),
                },
                "currency": naming.currency,
                "title": found.title,
                "submitted_on": (found.submitted_at or approved_at).astimezone(zone).date(),
                "approved_at": approved_at,
                "lines": tuple(lines),
                "total": total,
            }
        )
    except ValidationError as error:
        raise refused(error) from None


def _spender(found: Accepted) -> tuple[str | None, str]:
    """Whoever the account that paid belongs to, else whoever wrote the expense."""
    people = {(row[11], row[12], row[13]) for row in found.lines if row[11]}
    if len(people) > 1:
        raise Refused(
            Finding("OA-404", "employee", "one employee on all lines", f"{len(people)}", "split the expense in the OA")
        )
    login, first, last = people.pop() if people else found.creator
    return login, " ".join(part for part in (first, last) if part) or (login or "")


def _line(place: int, row: Sequence[Any], naming: Naming) -> dict[str, Any]:
    _, _, title, day, kind, amount, taxes, tax_currency, currency, rate, label, *_ = row
    at = f"lines[{place - 1}]"
    gross, tax = _money(amount, currency, f"{at}.amount"), _money(taxes, currency, f"{at}.taxes")
    if label not in naming.paid_by:
        raise Refused(
            Finding(
                "OA-404",
                f"{at}.paid_by",
                "an account whose label has an option paid_by.<label>",
                repr(label),
                "add the option to the adapter",
            )
        )
    line: dict[str, Any] = {
        "line": place,
        "category": naming.categories.get(kind, kind),
        "date": datetime.fromisoformat(day).date(),
        "description": title,
        "amount": gross,
        "currency": currency,
        "paid_by": naming.paid_by[label],
    }
    if currency != naming.currency:
        line["rate"] = {"value": _plain(rate), "date": line["date"], "source": "cubicweb"}
    if tax:
        if tax_currency not in (currency, DEFAULT_TAX_CURRENCY):
            raise Refused(
                Finding(
                    "OA-404",
                    f"{at}.taxes_currency",
                    f"the line's currency {currency}",
                    tax_currency,
                    "give the tax in the line's currency",
                )
            )
        if tax < 0 or tax >= gross:
            raise Refused(
                Finding("OA-404", f"{at}.taxes", f"less than the amount {gross}", str(tax), "correct the tax in the OA")
            )
        # The OA keeps no invoice, only its tax: a special invoice, pending until somebody certifies it.
        invoice: dict[str, Any] = {"kind": "vat_special", "total": gross, "net": gross - tax, "tax": tax}
        line["invoice"] = {**invoice, "certified": True} if naming.certified else invoice
    return line


def _booked(line: Mapping[str, Any], currency: str) -> Decimal:
    amount: Decimal = line["amount"]
    if "rate" not in line:
        return amount
    return (amount * Decimal(line["rate"]["value"])).quantize(quantum(currency) or Decimal("0.01"), ROUND_HALF_UP)


def _money(value: Any, currency: str, path: str) -> Decimal:
    """The OA keeps floats; its JSON shows the shortest text that means the same one. That text is taken as it stands,
    and refused where it has more decimals than the currency: a cent is never guessed."""
    unit = quantum(currency)
    exact = Decimal(value)
    if unit is None or not exact.is_finite() or exact != exact.quantize(unit, ROUND_HALF_UP):
        raise Refused(
            Finding(
                "OA-404", path, f"an amount with the decimals of {currency}", str(value), "round the amount in the OA"
            )
        )
    return exact.quantize(unit)


def _plain(value: Any) -> Decimal:
    """A rate without the noise of trailing zeros or an exponent."""
    return Decimal(format(Decimal(value).normalize(), "f"))
