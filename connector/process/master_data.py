"""The story of a master record: both sides tell what they know, the conflict rules decide, a person is asked where they cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import RowMapping, select

from connector.conflict import DELETED, Resolution, Side, State, counts, resolve
from connector.facts import BalanceKey, Facts, Period
from connector.ledger import periods
from connector.ledger.deadletters import Letter
from connector.ledger.documents import Document
from connector.ledger.tables import master_records
from connector.preflight import held_by
from connector.process.batch import Arrived, Batch
from connector.process.gather import payables_key
from contracts.envelope import AnyEvent
from contracts.findings import Finding
from contracts.master_data import BudgetRecord, InvoiceRecord, PeriodRecord, RecordDeleted

Owners = Mapping[str, Mapping[str, Side]]


def apply(batch: Batch, document: Document, arrived: Sequence[Arrived], owners: Owners, facts: Facts) -> None:
    """Takes the changes of one record in the order of their versions, each side's numbers on its own."""
    for item in sorted(arrived, key=lambda item: (item.event.time, item.event.version)):
        _apply_one(batch, document, item, owners, facts)


def _apply_one(batch: Batch, document: Document, item: Arrived, owners: Owners, facts: Facts) -> None:
    event = item.event
    side = event.system
    record = (
        batch.tx.execute(select(master_records).where(master_records.c.document_id == document.id)).mappings().first()
    )
    if record is not None and not counts(record[f"{side}_version"], event.version):
        batch.end(
            item, document, "superseded", f"the {side.upper()} told of version {record[f'{side}_version']} before"
        )
        return
    told: dict[str, State] = {"oa": _kept(record, "oa"), "erp": _kept(record, "erp")}
    told[side] = DELETED if event.happening == "deleted" else _values(event)
    base = _kept(record, "base")
    agreed = base if isinstance(base, Mapping) else {}
    resolution = resolve(owners.get(event.kind.split(".")[1], {}), agreed, told["oa"], told["erp"])
    refused = _keep_accounts(batch, document, event, facts)
    if refused is not None:
        letter = Letter.about(event, item.body, item.door, refused.code, str(refused))
        letter.document_id, letter.findings = document.id, (refused,)
        batch.park(item, document, letter)
        return
    _write(batch, document, event, record, told, resolution)
    document.version, document.state = max(document.version, event.version), "known"
    batch.change(document)
    if resolution.parked:
        batch.park(item, document, _letter(item, document, resolution))
    else:
        winners = resolution.winners.items()
        batch.end(item, document, "applied", "; ".join(f"{field}: {winner.rule}" for field, winner in winners))


def _keep_accounts(batch: Batch, document: Document, event: AnyEvent, facts: Facts) -> Finding | None:
    """What a record changes in what booking depends on: a period, a budget, an invoice that payables took."""
    data: Any = event.data
    match data:
        case PeriodRecord():
            periods.put(batch.tx, event.company, Period(data.id, data.starts_on, data.ends_on, data.state))
            facts.periods = periods.of_all(batch.tx, facts.periods)
        case RecordDeleted() if event.kind == "master.period":
            periods.forget(batch.tx, event.company, data.id)
            facts.periods = periods.of_all(batch.tx, facts.periods)
        case BudgetRecord():
            scope = {
                name: getattr(data, name) for name in ("period", "department", "project", "cost_centre", "account")
            }
            key = BalanceKey("budget", event.company, data.id)
            facts.set_available(key, data.amount, data.currency, {k: v for k, v in scope.items() if v is not None})
        case RecordDeleted() if event.kind == "master.budget":
            budget = facts.balances.get(BalanceKey("budget", event.company, data.id))
            if budget is not None:
                facts.set_available(budget.key, budget.available, budget.currency, {**budget.detail, "deleted": True})
        case InvoiceRecord():
            return _take_invoice(document, event, data, facts)
        case RecordDeleted() if event.kind == "master.invoice":
            facts.release(document.id, event.version)
    return None


def _take_invoice(document: Document, event: AnyEvent, data: InvoiceRecord, facts: Facts) -> Finding | None:
    """Payables took (part of) an invoice: what reports claimed of it stays claimed, and both together fit its total."""
    key = payables_key(data)
    balance = facts.balances[key]
    own = facts.uses.get(document.id, {}).get(key)
    others = balance.used - (own.amount if own is not None else 0)
    if others and (balance.currency, balance.available) != (data.currency, data.total):
        expected = f"{balance.available:f} {balance.currency}, as a report registered it"
        got = f"{data.total:f} {data.currency}"
        return Finding("ACC-312", "data.total", expected, got, "correct the one that is wrong")
    if data.used > data.total - others:
        held = held_by(key, facts, document.id)
        expected = f"at most {data.total - others:f}, the part no report has claimed{held}"
        fix = "take it out of payables, or withdraw the report"
        return Finding("ACC-311", "data.used", expected, f"{data.used:f}", fix)
    facts.set_available(key, data.total, data.currency, {**balance.detail, "payables": True})
    facts.use(document.id, event.version, {key: data.used}, "consumed")
    return None


def _values(event: AnyEvent) -> dict[str, Any]:
    stated: dict[str, Any] = event.data.model_dump(
        mode="json", exclude={"company", "id", "version", "changed_at"}, exclude_none=True
    )
    return stated


def _kept(record: RowMapping | None, column: str) -> State:
    if record is None or record[column] is None:
        return None
    kept: dict[str, Any] | str = orjson.loads(record[column])
    return DELETED if isinstance(kept, str) else kept


def _write(
    batch: Batch,
    document: Document,
    event: AnyEvent,
    record: RowMapping | None,
    told: Mapping[str, State],
    resolution: Resolution,
) -> None:
    versions = {"oa": 0, "erp": 0} if record is None else {"oa": record["oa_version"], "erp": record["erp_version"]}
    versions[event.system] = event.version
    values = {
        "base": _dump(_agreed(record, told)),
        "oa": _dump(told["oa"]),
        "erp": _dump(told["erp"]),
        "oa_version": versions["oa"],
        "erp_version": versions["erp"],
        "merged": _dump(resolution.values),
        "winners": _dump({field: [winner.system, winner.rule] for field, winner in resolution.winners.items()}),
        "conflict": bool(resolution.parked),
    }
    if record is None:
        key = {"document_id": document.id, "company": event.company, "kind": event.kind, "key": event.number}
        batch.tx.execute(master_records.insert(), {**key, **values})
    else:
        batch.tx.execute(master_records.update().where(master_records.c.id == record["id"]).values(**values))


def _agreed(record: RowMapping | None, told: Mapping[str, State]) -> State:
    """What both sides last said alike, field by field: a change of one side alone does not move it, or the change of
    the other side a moment later would win unseen."""
    oa, erp = told["oa"], told["erp"]
    if oa is DELETED and erp is DELETED:
        return {}
    base = _kept(record, "base")
    agreed = dict(base) if isinstance(base, Mapping) else {}
    if isinstance(oa, Mapping) and isinstance(erp, Mapping):
        agreed |= {field: value for field, value in oa.items() if erp.get(field) == value}
    return agreed


def _letter(item: Arrived, document: Document, resolution: Resolution) -> Letter:
    said = "; ".join(
        f"{parked.field}: the OA says {_shown(parked.oa)}, the ERP says {_shown(parked.erp)}"
        for parked in resolution.parked
    )
    letter = Letter.about(item.event, item.body, item.door, "SYN-305", f"changed on both sides: {said}")
    letter.document_id = document.id
    return letter


def _shown(value: Any) -> str:
    return "deleted" if value is DELETED else repr(value)


def _dump(values: Any) -> str | None:
    if values is None:
        return None
    return orjson.dumps("deleted" if values is DELETED else values, option=orjson.OPT_SORT_KEYS).decode()
