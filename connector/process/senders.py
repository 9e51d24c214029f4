"""Who may say what: an OA tells of its reports, the company's own ERP of vouchers, payments and periods. Pure."""

from __future__ import annotations

from collections.abc import Collection

from contracts import Finding
from contracts.envelope import AnyEvent

# What an answer or a period does is booked by: whoever told of one falsely could have a report posted twice.
_BY_ERP = ("voucher", "payment", "master.period")
_BY_OA = ("expense.report",)


def objection(event: AnyEvent, erps: Collection[str]) -> Finding | None:
    """Why this sender may not say this, if so; `erps` are the sources of the ERPs in the settings.

    Advances and other master records may come from either side.
    """
    if event.system == "oa" and event.kind in _BY_ERP:
        expected = f"an ERP of the settings, for {event.kind}"
        return Finding("SEC-610", "source", expected, repr(event.source), "let the ERP itself tell of it")
    if event.system == "erp" and event.kind in _BY_OA:
        expected = f"an OA, for {event.kind}"
        return Finding("SEC-610", "source", expected, repr(event.source), "let the OA itself tell of it")
    if event.system == "erp" and event.source not in erps:
        fix = "correct the source, or add the ERP to the settings; then replay"
        return Finding("SEC-610", "source", "an ERP of the settings", repr(event.source), fix)
    return None
