"""Which budget a cost falls under, and how much of each a report needs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from connector.facts import Balance, BalanceKey, Facts
from contracts.amount import QUANTA, converted
from contracts.expense import ExpenseReport, booked_amount
from contracts.voucher import Voucher, VoucherLine

COST_ROLES = ("expense", "accrual", "non_deductible_tax")
_DIMENSIONS = ("department", "project", "cost_centre")
_ZERO = Decimal(0)
# The days of a period, for which of two is shorter: `2025`, `2025-Q1`, `2025-03`, `2025-03-27`.
_DAYS = ((r"\d{4}", 366), (r"\d{4}-Q[1-4]", 92), (r"\d{4}-\d\d", 31), (r"\d{4}-\d\d-\d\d", 1))


def needed(voucher: Voucher, budgets: Sequence[Balance]) -> dict[BalanceKey, Decimal]:
    """What the costs of a voucher come to under each budget; below zero where more is given back than spent."""
    found: dict[BalanceKey, Decimal] = {}
    offered = _of_the_day(voucher, budgets)
    for line in voucher.lines if offered else ():
        key = _chosen(line, offered) if line.role in COST_ROLES else None
        if key is not None:
            found[key] = found.get(key, _ZERO) + _signed(line)
    return found


def reserved(
    report: ExpenseReport, voucher: Voucher | None, uses: Mapping[BalanceKey, Decimal], facts: Facts, document_id: int | None
) -> Mapping[BalanceKey, Decimal]:  # fmt: skip
    """What a report reserves while it is only handed in: advances and invoices as claimed; its budgets gross, because the
    tax that may be deducted is only settled when it is booked, and at most what is left of them."""
    reserves = dict(uses)
    keys = [key for key in uses if key.kind == "budget"]
    if voucher is None or not keys:
        return reserves
    offered = _of_the_day(voucher, [facts.balances[key] for key in keys])
    merged = _ZERO  # Tax of lines whose cost stands in a voucher line together with others'.
    for line in report.lines:
        gross = booked_amount(line, report.currency)
        if gross is None or gross <= _ZERO:
            continue
        rate = Decimal(1) if line.rate is None else line.rate.value
        gross -= converted(line.personal or _ZERO, rate, QUANTA[report.currency])
        costs = [made for made in voucher.lines if made.source_line == line.line and made.role in COST_ROLES]
        if not costs:
            merged += gross
        elif (key := _chosen(costs[0], offered)) is not None:
            reserves[key] += gross - sum((made.amount for made in costs), _ZERO)
    merged -= sum(
        (_signed(made) for made in voucher.lines if made.source_line is None and made.role in COST_ROLES), _ZERO
    )
    if merged > _ZERO:
        reserves[max(keys, key=lambda key: (uses[key], key))] += merged
    for key in keys:
        reserves[key] = max(uses[key], min(reserves[key], facts.open_for(key, document_id)))
    return reserves


def covers(period: str, day: date) -> bool:
    """Whether a budget's period has the day: `2025`, `2025-Q1`, `2025-03` or `2025-03-27`."""
    if not _length(period):
        return False
    if "Q" in period:
        return period == f"{day.year}-Q{(day.month + 2) // 3}"
    return day.isoformat().startswith(period)


def _of_the_day(voucher: Voucher, budgets: Iterable[Balance]) -> list[Balance]:
    """The budgets of the voucher's day and currency, those that say most first, of two the one of the shorter period."""
    offered = [
        budget
        for budget in budgets
        if budget.currency == voucher.currency and covers(str(budget.detail.get("period", "")), voucher.date)
    ]
    return sorted(offered, key=_rank, reverse=True)


def _rank(budget: Balance) -> tuple[int, int, str]:
    says = sum(bool(budget.detail.get(name)) for name in (*_DIMENSIONS, "account"))
    return says, -_length(str(budget.detail["period"])), budget.key.key


def _length(period: str) -> int:
    """The days of a period, about; 0 for what is none."""
    return next((days for form, days in _DAYS if re.fullmatch(form, period)), 0)


def _chosen(line: VoucherLine, offered: Iterable[Balance]) -> BalanceKey | None:
    """The first of the budgets that has the line."""
    for budget in offered:
        scope = budget.detail
        if scope.get("account") not in (None, "", line.account):
            continue
        if all(scope.get(name) in (None, "", line.dimensions.get(name)) for name in _DIMENSIONS):
            return budget.key
    return None


def _signed(line: VoucherLine) -> Decimal:
    return line.amount if line.side == "debit" else -line.amount
