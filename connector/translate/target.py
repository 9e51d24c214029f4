"""Target: a compiled voucher as the document its ERP takes, and what of it does not fit there. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, get_args

from connector.adapter import Features, RedLetter, Target
from connector.errors import Misconfigured
from contracts.bill import ErpDocument, ExpenseDocument, PayableBill, entries
from contracts.findings import Finding, limited
from contracts.voucher import Voucher

TARGETS: Mapping[Target, type[ErpDocument]] = {
    "voucher": Voucher,
    "payable_bill": PayableBill,
    "expense_document": ExpenseDocument,
}
LIMITS = ("memo_max", "account_max", "dimension_max", "lines_max", "decimals")
DECIMALS_MAX = 4  # Of an amount on the wire.
LIMIT_MAX = 1_000_000
MEMO_MAX = 1000  # What a voucher's wire form takes.


def render(voucher: Voucher, features: Features) -> ErpDocument:
    """The document that an ERP of these features is handed; of the voucher nothing is lost but the end of a long memo.

    A reversal stands on the other sides where the ERP takes no negative amounts. A memo longer than `memo_max` ends
    visibly in "…". For an ERP that takes vouchers as they are it is the voucher itself.
    """
    if voucher.purpose == "reverse" and features.reversal == "red_letter" and features.red_letter == "swapped":
        voucher = voucher.swapped()
    if features.memo_max is not None:
        voucher = _with_short_memos(voucher, features.memo_max)
    match features.target:
        case "voucher":
            return voucher
        case "payable_bill":
            return PayableBill.of(voucher)
        case "expense_document":
            return ExpenseDocument.of(voucher)


def misfits(document: ErpDocument, features: Features) -> tuple[Finding, ...]:
    """Everything of the document that the ERP has no room for; nothing of it is ever cut or rounded to make it fit."""
    return tuple(limited(list(_misfits(document, features))))


def cut(text: str, characters: int) -> str:
    """The text in at most so many characters; where it was longer it ends in "…"."""
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def naming(voucher: Voucher, number: str) -> Voucher:
    """The reversal with the ERP's number of what it takes back in front of its memo, for whoever reads it there."""
    memo = f"REV {number}" if voucher.memo is None else f"REV {number}: {voucher.memo}"
    return replace(voucher, memo=cut(memo, MEMO_MAX))


def with_options(features: Features, options: Mapping[str, str]) -> Features:
    """The features of an adapter whose settings may choose `target`, `red_letter` and the limits (`LIMITS`).
    Raises Misconfigured for what cannot be chosen."""
    chosen: dict[str, Any] = {}
    for name, values in (("target", get_args(Target)), ("red_letter", get_args(RedLetter))):
        if name in options:
            if options[name] not in values:
                raise Misconfigured(f"options.{name} must be one of {', '.join(values)}, not {options[name]!r}")
            chosen[name] = options[name]
    for name in LIMITS:
        if name in options:
            least, most = (0, DECIMALS_MAX) if name == "decimals" else (1, LIMIT_MAX)
            if not options[name].isdecimal() or not least <= int(options[name]) <= most:
                raise Misconfigured(
                    f"options.{name} must be a whole number from {least} to {most}, not {options[name]!r}"
                )
            chosen[name] = int(options[name])
    return replace(features, **chosen)


def _with_short_memos(voucher: Voucher, characters: int) -> Voucher:
    def fits(memo: str | None) -> bool:
        return memo is None or len(memo) <= characters

    if fits(voucher.memo) and all(fits(line.memo) for line in voucher.lines):
        return voucher
    return replace(
        voucher,
        memo=voucher.memo and cut(voucher.memo, characters),
        lines=tuple(line._replace(memo=line.memo and cut(line.memo, characters)) for line in voucher.lines),
    )


def _misfits(document: ErpDocument, features: Features) -> Iterator[Finding]:
    yield from _too_long("ERP-431", "reference", document.reference, features.reference_max)
    yield from _too_long("ERP-436", "memo", document.memo, features.memo_max)
    if all(getattr(features, name) is None for name in LIMITS):
        return
    count = 0
    for count, (place, line) in enumerate(entries(document), 1):  # noqa: B007 - the last one is how many there are
        yield from _too_long("ERP-432", f"{place}.account", line.account, features.account_max)
        for name, code in line.dimensions.items():
            yield from _too_long("ERP-433", f"{place}.dimensions.{name}", code, features.dimension_max)
        yield from _too_long("ERP-436", f"{place}.memo", line.memo, features.memo_max)
        yield from _too_fine(f"{place}.amount", line.amount, features.decimals)
        yield from _too_fine(f"{place}.amount_in_currency", line.amount_in_currency, features.decimals)
    if features.lines_max is not None and count > features.lines_max:
        fix = "split the report, or merge lines in the mapping"
        yield Finding("ERP-434", "", f"at most {features.lines_max} lines", f"{count} lines", fix)


_FIXES = {
    "ERP-431": "give the ERP's field more room and correct reference_max",
    "ERP-432": "map to a shorter account, or correct account_max",
    "ERP-433": "translate the code in the mapping, or correct dimension_max",
    "ERP-436": "shorten it",
}


def _too_long(code: str, path: str, text: str | None, characters: int | None) -> Iterator[Finding]:
    if text is not None and characters is not None and len(text) > characters:
        yield Finding(
            code, path, f"at most {characters} characters", f"{cut(text, 80)!r} of {len(text)} characters", _FIXES[code]
        )


def _too_fine(path: str, amount: Decimal | None, decimals: int | None) -> Iterator[Finding]:
    if amount is not None and decimals is not None and amount != round(amount, decimals):
        fix = "let the ERP store the currency's decimals and correct the limit"
        yield Finding("ERP-435", path, f"at most {decimals} decimals", f"{amount:f}", fix)
