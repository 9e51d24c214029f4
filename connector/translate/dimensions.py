"""The dimensions a voucher line carries: those its account wants, as the ERP calls them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from connector.translate.book import AccountHit, CompanyView
from contracts.findings import Finding


def fill(
    hit: AccountHit, values: Mapping[str, str | None], view: CompanyView, on: date, at: str,
    findings: list[Finding], waits_for: list[str],
) -> dict[str, str]:  # fmt: skip
    """The values that the account has dimensions for, as the book translates them on that day. One that is required and
    missing, or has no translation, is added to `findings`, with the key of the book that it waits for."""
    filled: dict[str, str] = {}
    for name, required in hit.dimensions:
        value = values.get(name)
        if value is None:
            if required:
                expected = f"a {name}: account {hit.account} requires it"
                fix = "fill it in, or let the chart not require it"
                findings.append(Finding("MAP-209", _path(at, name), expected, "nothing", fix))
                waits_for.append(f"chart:{hit.account}/{name}/optional")
            continue
        target = view.dimension(name, value, on) if view.translates(name) else value
        if target is not None:
            filled[name] = target
            continue
        key = f"{name}/{value}"
        fix = "add a row to the dimensions table"
        findings.append(Finding("MAP-216", _path(at, name), f"a row for {key} on {on}", value, fix))
        waits_for.append(f"dimension:{key}")
    return filled


def _path(at: str, name: str) -> str:
    return "data.payee" if name == "supplier" else f"data.{at}.{name}"
