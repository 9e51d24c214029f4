"""What the accounts say to a report that is right in itself: periods, master data, advances, invoices, budgets. Pure.

The same functions answer the OA before the approval (preflight), the worker, and the dry run of a replay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from connector import budgets
from connector.facts import (
    BalanceKey,
    Facts,
    InvoiceFacts,
    Period,
    RecordKey,
    fiscal_year,
    period_of,
)
from connector.invoices import Claimed, claimed_invoices
from connector.spans import Spans, part_of
from connector.translate.book import Book, CompanyView
from connector.translate.voucher import DOCUMENT_TYPE, Refusal, Terms, approval_day, posting_day, to_voucher, view_of
from contracts.amount import QUANTA, converted
from contracts.expense import ExpenseReport, Line
from contracts.findings import Finding
from contracts.voucher import Voucher, VoucherLine

_ZERO = Decimal(0)
_DAY = timedelta(days=1)
HOLDERS_NAMED_MAX = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that was found at once. `voucher` is there where the book could make one; it is to be booked only
    where nothing was found. `uses`: how much of each balance it needs; `invoices`: what it says of those
    it claims; `lacks`: how much has to be left of what it waits for; `warnings` stop nothing."""

    voucher: Voucher | None
    terms: Terms
    findings: tuple[Finding, ...] = ()
    waits_for: tuple[str, ...] = ()
    warnings: tuple[Finding, ...] = ()
    uses: Mapping[BalanceKey, Decimal] = field(default_factory=dict)
    invoices: Mapping[BalanceKey, InvoiceFacts] = field(default_factory=dict)
    lacks: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether it may be booked."""
        return not self.findings


@dataclass(slots=True)
class _Found:
    findings: list[Finding] = field(default_factory=list)
    waits_for: list[str] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    lacks: dict[str, Decimal] = field(default_factory=dict)

    def wrong(
        self, code: str, path: str, expected: str, got: str, fix: str, *, waits: str | None = None, warn: bool = False
    ) -> None:
        finding = Finding(code, f"data.{path}" if path else "data", expected, got, fix)
        if warn:
            self.warnings.append(finding)
            return
        self.findings.append(finding)
        if waits is not None:
            self.waits_for.append(waits)


def examine(
    report: ExpenseReport, book: Book, facts: Facts, document_id: int | None = None, *, reference_max: int = 32
) -> Answer:
    """The voucher of a report and everything that stands in its way, by the book and by what the ledger knows. Pure: what
    the answer says is used or registered is written by whoever books the report."""
    found = _Found()
    view = view_of(report, book)
    claimed = claimed_invoices(report)
    terms = settle_terms(report, view, facts, document_id, claimed, found)
    made = to_voucher(report, book, reference_max=reference_max, terms=terms)
    voucher = None
    if isinstance(made, Refusal):
        found.findings[:0], found.waits_for[:0] = made.findings, made.waits_for
    else:
        voucher = made
    uses: dict[BalanceKey, Decimal] = {}
    invoices: dict[BalanceKey, InvoiceFacts] = {}
    if view is not None:
        on = terms.day or posting_day(report, view)
        _check_records(report, book, view, voucher, facts, on, found)
        _check_advances(report, view, facts, document_id, uses, found)
        _check_invoices(claimed, facts, document_id, uses, invoices, found)
        if voucher is not None and view.row.budgets != "off":
            _check_budgets(report, view, voucher, facts, document_id, uses, found)
    unique = tuple(dict.fromkeys(found.findings)), tuple(dict.fromkeys(found.waits_for))
    return Answer(voucher, terms, *unique, tuple(dict.fromkeys(found.warnings)), uses, invoices, found.lacks)


# Periods


def settle_terms(
    report: ExpenseReport,
    view: CompanyView | None,
    facts: Facts,
    document_id: int | None,
    claimed: Claimed,
    found: _Found,
) -> Terms:
    """Into which period the report goes, by the company's policy. Three days stay apart: of the expense, of the approval,
    of the posting; only the last picks the period."""
    rates = _paid_rates(report, facts)
    if view is None:
        return Terms(advances=rates)
    released, invoices = _released(report, view, facts, document_id, rates), _spans(claimed, facts, document_id)

    def on(day: date, origin: str | None = None, accrued: bool = False) -> Terms:
        return Terms(day, origin, accrued, rates, released, invoices)

    natural, approved = posting_day(report, view), approval_day(report, view)
    periods = facts.periods.get(report.company, ())
    if not periods:
        return on(natural)
    period = period_of(periods, natural)
    if period is None:
        _no_period(report.company, natural, f"period:{natural}", found)
        return on(natural)
    if period.takes(approved):
        return on(natural)
    rule = view.period_rule(DOCUMENT_TYPE, natural)
    policy = "HOLD" if rule is None else rule.policy
    closed = f"an open period; {period.period} of {report.company} is {period.state}"
    if policy == "REJECT":
        found.wrong("ACC-331", "posting_date", closed, str(natural), "approve it again with a later posting date")
        return on(natural)
    if policy == "HOLD":
        fix = "open the period, or give the report another posting date"
        found.wrong("ACC-332", "posting_date", closed, str(natural), fix, waits=f"period:{natural}")
        return on(natural)
    start = max(natural, approved)
    day = next_open_day(periods, start, approved)
    if day is None:
        _no_period(report.company, start, f"open_from:{start}", found)
        return on(natural)
    year_start = view.row.year_start
    crosses = fiscal_year(day, year_start) != fiscal_year(natural, year_start)
    if crosses and document_id not in facts.year_accepted:
        expected = f"a day in the fiscal year of {natural}; the next open one is {day}"
        found.wrong("ACC-334", "posting_date", expected, str(day), "decide: oaerp close accept")
    return on(day, period.period, policy == "ACCRUE")


def next_open_day(periods: Sequence[Period], start: date, approved: date) -> date | None:
    """The first day from `start` on whose period takes what was approved then."""
    # Another period can only begin where one begins or one has ended.
    ended = (period.ends_on + _DAY for period in periods if period.ends_on < date.max)
    turns = {day for day in (*(period.starts_on for period in periods), *ended) if day > start}
    for day in [start, *sorted(turns)]:
        period = period_of(periods, day)
        if period is not None and period.takes(approved):
            return day
    return None


def _no_period(company: str, day: date, waits: str, found: _Found) -> None:
    expected = f"an accounting period of {company} that is open on this day"
    found.wrong("ACC-333", "posting_date", expected, str(day), "create or open it in the ERP", waits=waits)


# Master data


def _check_records(
    report: ExpenseReport, book: Book, view: CompanyView, voucher: Voucher | None, facts: Facts, on: date, found: _Found
) -> None:  # fmt: skip
    if not facts.fed:
        return
    company = report.company
    seen: set[tuple[str, str]] = set()
    stated = list(_stated(report, view, on))
    used = stated if voucher is None else _carried(voucher, stated)
    for path, kind, value in used:
        if (company, kind) not in facts.fed or (kind, value) in seen:
            continue
        seen.add((kind, value))
        record = facts.records.get(RecordKey(company, kind, value))
        if record is None:
            expected = f"a {kind.replace('_', ' ')} of {company}"
            found.wrong(
                "ACC-341", path, expected, value, "create it in the ERP, or correct it", waits=f"{kind}:{value}"
            )
        elif not record.counts_on(on):
            expected = f"a {kind.replace('_', ' ')} that is valid on {on}"
            fix = "choose another, or extend it in the ERP"
            found.wrong("ACC-342", path, expected, value, fix, waits=f"valid:{on}/{kind}/{value}")
    if voucher is not None and (company, "account") in facts.fed:
        _check_accounts(company, book, voucher, facts, on, found)


def _stated(report: ExpenseReport, view: CompanyView, on: date) -> Iterable[tuple[str, str, str]]:
    """Path, kind and value of each dimension that the report names, the value as the ERP calls it."""
    for path, kind, value in stated_dimensions(report):
        called = view.dimension(kind, value, on) if view.translates(kind) else value
        if called is not None:
            yield path, kind, called


def _carried(voucher: Voucher, stated: Iterable[tuple[str, str, str]]) -> Iterable[tuple[str, str, str]]:
    """Those of them that a line of the voucher carries: of a value that no account wants nobody asks."""
    carried = {item for line in voucher.lines for item in line.dimensions.items()}
    return [(path, kind, value) for path, kind, value in stated if (kind, value) in carried]


def stated_dimensions(report: ExpenseReport) -> Iterable[tuple[str, str, str]]:
    """Path, kind and value of every dimension that the report names."""
    yield "employee.id", "employee", report.employee.id
    yield "employee.department", "department", report.employee.department
    if report.payee is not None and report.payee.type == "supplier":
        yield "payee.id", "supplier", report.payee.id
    for index, line in enumerate(report.lines):
        for at, part in ((f"lines[{index}]", line), *_allocated(index, line)):
            for kind in ("department", "project", "cost_centre"):
                value = getattr(part, kind)
                if value is not None:
                    yield f"{at}.{kind}", kind, value


def _allocated(index: int, line: Line) -> Iterable[tuple[str, object]]:
    for place, part in enumerate(line.allocations or ()):
        yield f"lines[{index}].allocations[{place}]", part


def _check_accounts(company: str, book: Book, voucher: Voucher, facts: Facts, on: date, found: _Found) -> None:
    on_account: dict[str, list[VoucherLine]] = {}
    for line in voucher.lines:
        on_account.setdefault(line.account, []).append(line)
    for account, lines in on_account.items():
        record = facts.records.get(RecordKey(company, "account", account))
        if record is None:
            expected = f"an account of {company} in the ERP"
            found.wrong("ACC-341", "lines", expected, account, "create it in the ERP", waits=f"account_code:{account}")
        elif not record.counts_on(on):
            expected, key = f"an account that is active on {on}", f"valid:{on}/account/{account}"
            found.wrong("ACC-342", "lines", expected, account, "map it to another account", waits=key)
        else:
            for name in record.dimensions:
                if any(name not in line.dimensions for line in lines):
                    expected = f"a {name}: the ERP requires it on {account}"
                    fix = "fill it in, or let the chart of the book carry it"
                    carried = name in dict(book.chart[account].dimensions)
                    waits = None if carried else f"chart:{account}/{name}/carried"
                    found.wrong("MAP-209", "lines", expected, "nothing", fix, waits=waits)


# Advances


def _paid_rates(report: ExpenseReport, facts: Facts) -> dict[str, tuple[str, Decimal]]:
    rates: dict[str, tuple[str, Decimal]] = {}
    for claim in report.advances:
        balance = facts.balances.get(BalanceKey("advance", report.company, claim.number))
        if balance is not None and balance.detail.get("rate") is not None:
            rates[claim.number] = balance.currency, Decimal(balance.detail["rate"])
    return rates


def _released(
    report: ExpenseReport,
    view: CompanyView,
    facts: Facts,
    document_id: int | None,
    rates: Mapping[str, tuple[str, Decimal]],
) -> dict[str, Decimal]:
    """What each claim takes off its advance in the base currency, by the part of it that it claims."""
    unit = QUANTA[view.currency]
    found: dict[str, Decimal] = {}
    for claim in report.advances:
        if claim.number not in rates or claim.currency in (None, view.currency):
            continue
        spans = facts.spans_for(BalanceKey("advance", report.company, claim.number), document_id, claim.amount)
        found[claim.number] = taken_off(spans, rates[claim.number][1], unit)
    return found


def taken_off(spans: Spans, rate: Decimal, unit: Decimal) -> Decimal:
    """What these parts of an advance are in the base currency. The sum up to a place is rounded, not the parts: so all
    parts together are what was paid, whoever claims or gives back what, in any order."""
    return part_of(spans, lambda upto: converted(upto, rate, unit))


def _check_advances(
    report: ExpenseReport,
    view: CompanyView,
    facts: Facts,
    document_id: int | None,
    uses: dict[BalanceKey, Decimal],
    found: _Found,
) -> None:
    for index, claim in enumerate(report.advances):
        key = BalanceKey("advance", report.company, claim.number)
        balance = facts.balances.get(key)
        at = f"advances[{index}]"
        if balance is None or "paid" not in balance.detail:
            if view.row.advances != "stated":
                fix = "publish the advance (advance.paid)"
                found.wrong("ACC-301", f"{at}.number", f"an advance of {report.company} that the ledger knows", claim.number,
                            fix, waits=f"advance:{claim.number}")  # fmt: skip
            continue
        uses[key] = claim.amount
        currency = claim.currency or report.currency
        if currency != balance.currency:
            fix = "state amount, currency and rate of the advance"
            found.wrong("ACC-305", f"{at}.currency", f"{balance.currency}, which it was paid in", currency, fix)
            continue
        if claim.paid_rate is not None and claim.paid_rate != Decimal(balance.detail.get("rate") or "1"):
            expected = f"the rate it was paid at, {balance.detail.get('rate') or '1'}"
            found.wrong("ACC-305", f"{at}.paid_rate", expected, f"{claim.paid_rate:f}", "leave the rate out")
        if balance.detail.get("employee") not in (None, report.employee.id):
            expected = f"an advance of {report.employee.id}"
            found.wrong("ACC-303", f"{at}.number", expected, claim.number, "claim the employee's own advance")
        left = facts.open_for(key, document_id)
        if claim.amount > left:
            found.wrong("ACC-302", f"{at}.amount", f"at most its open balance {left:f} {currency}", f"{claim.amount:f}",
                        "lower the claim; the rest becomes payable")  # fmt: skip


# Invoices


def _spans(claimed: Claimed, facts: Facts, document_id: int | None) -> dict[str, Spans]:
    """Which part of each invoice the report has, where that is not the first of it."""
    found: dict[str, Spans] = {}
    for key, claim in claimed.items():
        amount = claim.amount
        balance = facts.balances.get(key)
        if balance is not None and balance.detail.get("parts"):
            spans = facts.spans_for(key, document_id, amount)
            if spans != ((_ZERO, amount),):
                found[key.key] = spans
    return found


def _check_invoices(
    claimed: Claimed,
    facts: Facts,
    document_id: int | None,
    uses: dict[BalanceKey, Decimal],
    invoices: dict[BalanceKey, InvoiceFacts],
    found: _Found,
) -> None:
    for key, claim in claimed.items():
        if claim.clash is not None:
            place, name, expected, got = claim.clash
            expected = f"{expected}, as lines[{claim.place}] says"
            found.wrong("ACC-312", f"lines[{place}].invoice.{name}", expected, got, "copy it from the invoice")
            continue
        at = f"lines[{claim.place}].invoice"
        balance = facts.balances.get(key)
        if balance is None:
            continue  # nobody used it yet; gathering with locks registers it
        uses[key], invoices[key] = claim.amount, claim.facts
        own = facts.uses.get(document_id, {}).get(key) if document_id is not None else None
        others = balance.used - (own.amount if own is not None else _ZERO)
        if others or "payables" in balance.detail:
            differs = next(filter(None, (said.differs(claim.facts) for said in balance.said_of(document_id))), None)
            if differs is not None:
                name, expected, got = differs
                found.wrong("ACC-312", f"{at}.{name}", f"{expected}, as registered", got, "copy it from the invoice")
                continue
        left = claim.facts.total - others
        if claim.amount > left:
            fix = "take it out of the report, or withdraw the other document"
            held = held_by(key, facts, document_id)
            currency = claim.facts.currency
            expected = f"at most {max(left, _ZERO):f} {currency}, the part of {key.key} that is not claimed yet{held}"
            found.wrong("ACC-311", f"{at}.number", expected, f"{claim.amount:f}", fix)


def held_by(key: BalanceKey, facts: Facts, document_id: int | None) -> str:
    """The other documents of the group that hold parts of an invoice, as the end of a sentence; empty where none is known."""
    others = sorted(
        facts.holders[id_] for id_ in facts.balances[key].parts() if id_ != document_id and id_ in facts.holders
    )
    reports = [f"{company} {number}" for kind, company, number in others if kind == "expense.report"]
    companies = ", ".join(dict.fromkeys(company for kind, company, _ in others if kind == "master.invoice"))
    names = ", ".join(reports[:HOLDERS_NAMED_MAX])
    if len(reports) > HOLDERS_NAMED_MAX:
        names = f"{names} and {len(reports) - HOLDERS_NAMED_MAX} more"
    claimed = f"; claimed by {names}" if names else ""
    booked = f"; booked in payables of {companies}" if companies else ""
    return claimed + booked


# Budgets


def _check_budgets(
    report: ExpenseReport,
    view: CompanyView,
    voucher: Voucher,
    facts: Facts,
    document_id: int | None,
    uses: dict[BalanceKey, Decimal],
    found: _Found,
) -> None:
    known = [facts.balances[key] for key in facts.budgets_of.get(report.company, ()) if key in facts.balances]
    for key, amount in budgets.needed(voucher, known).items():
        uses[key] = max(amount, _ZERO)
        left = facts.open_for(key, document_id)
        if amount > max(left, _ZERO):
            expected = f"at most {left:f} {voucher.currency}, what is left of budget {key.key}"
            warn = view.row.budgets == "warn"
            fix = "raise the budget, or book the cost elsewhere"
            found.wrong("ACC-321", "total", expected, f"{amount:f}", fix, waits=f"budget:{key.key}", warn=warn)
            found.lacks[f"budget:{key.key}"] = amount - (left - facts.balances[key].open)  # Its own use counts for it.
