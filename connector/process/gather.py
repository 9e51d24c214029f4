"""Gathers for a batch everything that booking it depends on: a handful of statements, however many documents there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy.engine import Connection

from connector.facts import BalanceKey, Facts, RecordKey
from connector.invoices import claimed_invoices, invoice_name, key_of
from connector.ledger import balances, documents, periods, records
from connector.preflight import stated_dimensions
from connector.translate import Book
from connector.translate.tables import DimensionRow
from connector.translate.voucher import view_of
from contracts.advance import AdvancePaid, AdvanceReturned
from contracts.envelope import AnyEvent
from contracts.expense import ExpenseReport
from contracts.master_data import BudgetRecord, InvoiceRecord

_KINDS = ("department", "employee", "project", "cost_centre", "supplier", "account")
_ZERO = Decimal(0)


def gather(
    tx: Connection,
    book: Book,
    reports: Sequence[ExpenseReport],
    events: Iterable[AnyEvent] = (),
    document_ids: Collection[int] = (),
    *,
    lock: bool = True,
) -> Facts:
    """What is known about these reports and documents. With `lock`, periods and balances stay as they are until the
    transaction ends, and whoever locks writes the balances back (`balances.write`)."""
    events = list(events)
    companies = {report.company for report in reports} | {event.company for event in events}
    facts = Facts()
    if not companies:
        return facts
    if lock:
        periods.hold(tx, companies, changing={event.company for event in events if event.kind == "master.period"})
    facts.periods = periods.of_all(tx, companies)
    if document_ids:
        facts.year_accepted = periods.accepted(tx, document_ids)
    _gather_balances(tx, facts, book, reports, events, document_ids, lock=lock)
    if reports:
        _gather_records(tx, facts, reports, book)
    return facts


def _gather_balances(
    tx: Connection,
    facts: Facts,
    book: Book,
    reports: Sequence[ExpenseReport],
    events: Iterable[AnyEvent],
    document_ids: Collection[int],
    *,
    lock: bool,
) -> None:
    made: dict[BalanceKey, tuple[str, Decimal]] = {}
    known: set[BalanceKey] = set()
    for report in reports:
        known |= {BalanceKey("advance", report.company, claim.number) for claim in report.advances}
        made |= {key: claim.facts[:2] for key, claim in claimed_invoices(report).items()}
    for event in events:
        made |= _told_by(event)
        if event.type.startswith("master.budget.deleted."):
            known.add(BalanceKey("budget", event.company, event.number))
    if reports:
        facts.budgets_of = _budgets_for(balances.budgets_of(tx, {report.company for report in reports}), reports, book)
        known.update(*facts.budgets_of.values())
    balances.gather(tx, facts, document_ids, known, made, lock=lock)
    held = {id_ for key in made if key.kind == "invoice" for id_ in facts.balances[key].parts()}
    facts.holders = documents.names(tx, held)


def _told_by(event: AnyEvent) -> Mapping[BalanceKey, tuple[str, Decimal]]:
    """The balance that an event tells of."""
    data: Any = event.data
    if isinstance(data, (AdvancePaid, AdvanceReturned)):
        return {BalanceKey("advance", event.company, data.number): (data.currency, _ZERO)}
    if isinstance(data, BudgetRecord):
        return {BalanceKey("budget", event.company, data.id): (data.currency, data.amount)}
    if isinstance(data, InvoiceRecord):
        return {payables_key(data): (data.currency, data.total)}
    return {}


def payables_key(record: InvoiceRecord) -> BalanceKey:
    """The invoice that payables booked, as reports name it."""
    return key_of(invoice_name(record.id, record.invoice_code))


def _budgets_for(
    every: Sequence[tuple[BalanceKey, Mapping[str, Any]]], reports: Sequence[ExpenseReport], book: Book
) -> dict[str, list[BalanceKey]]:
    """The budgets that these reports may fall under, by company and what they name, as the OA and as the ERP calls it: a
    company may have thousands."""
    found: dict[str, list[BalanceKey]] = {}
    if not every:
        return found
    named: dict[str, set[str]] = {}
    for report in reports:
        named.setdefault(report.company, set()).update(f"{key.kind}/{key.id}" for key in _record_keys(report, book))
    for key, scope in every:
        stated = [f"{kind}/{scope[kind]}" for kind in ("department", "project", "cost_centre") if scope.get(kind)]
        if not scope.get("deleted") and named.get(key.company, set()).issuperset(stated):
            found.setdefault(key.company, []).append(key)
    return found


def _gather_records(tx: Connection, facts: Facts, reports: Sequence[ExpenseReport], book: Book) -> None:
    companies = {report.company for report in reports}
    facts.fed = records.fed(tx, companies, _KINDS)
    if not facts.fed:
        return
    wanted = {key for report in reports for key in _record_keys(report, book)}
    wanted |= {RecordKey(company, "account", account) for company in companies for account in book.chart}
    facts.records = records.known(tx, {key for key in wanted if (key.company, key.kind) in facts.fed})


def _record_keys(report: ExpenseReport, book: Book) -> Iterable[RecordKey]:
    view = view_of(report, book)
    for _, kind, value in stated_dimensions(report):
        yield RecordKey(report.company, kind, value)
        if view is not None and view.translates(kind):
            rows = book.rows_for(DimensionRow, kind, value, report.company)
            yield from (RecordKey(report.company, kind, row.target) for row in rows)
