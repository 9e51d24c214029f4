"""Why a voucher looks as it does: for each line the rule, the rows of the book and the numbers that made it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from connector.translate.book import Book, CompanyView
from connector.translate.draft import values_at
from connector.translate.tax import Deduction
from connector.translate.voucher import NO_TERMS, Part, Refusal, Terms, compile_report, view_of
from contracts.expense import ExpenseReport, Line
from contracts.voucher import Voucher

Lang = Literal["en", "zh"]
_INVOICES_ZH: Mapping[str, str] = {
    "vat_special": "增值税专用发票", "vat_ordinary": "增值税普通发票", "rail": "铁路电子客票", "air": "航空行程单",
    "coach": "公路、水路客票", "toll": "通行费发票", "red_special": "红字专用发票", "foreign": "境外票据",
}  # fmt: skip
_COSTS = ("expense", "accrual")


@dataclass(frozen=True, slots=True)
class Reason:
    """One use of a rule: how much it gave, from which line of the report, by which rows, and the sentence a person reads.

    `row` gave the account, `tax_row` decided about the tax; `rows` are the others: dimensions, allowance, tolerance.
    """

    amount: Decimal
    source_line: int | None
    row: str
    tax_row: str | None
    rows: tuple[str, ...]
    inputs: Mapping[str, str]
    en: str
    zh: str

    def said(self, lang: Lang) -> str:
        """The sentence in this language."""
        return self.zh if lang == "zh" else self.en

    @property
    def places(self) -> tuple[str, ...]:
        """Every row that had a part in it, each once, the one that gave the account first."""
        tax = () if self.tax_row is None else (self.tax_row,)
        return tuple(dict.fromkeys((self.row, *tax, *self.rows)))


@dataclass(frozen=True, slots=True)
class LineTrace:
    """What made one voucher line (counted from 1). The amounts of its reasons add to the line's amount."""

    line: int
    rule: str
    at: str
    title: Mapping[str, str]
    account_names: Mapping[str, str]
    reasons: tuple[Reason, ...]

    @property
    def places(self) -> tuple[str, ...]:
        """Where its rule stands, and every row behind it, each once."""
        return tuple(dict.fromkeys((self.at, *(place for reason in self.reasons for place in reason.places))))

    def as_dict(self) -> dict[str, Any]:
        """The trace as plain JSON-able values."""
        return {
            "line": self.line,
            "rule": self.rule,
            "at": self.at,
            "title": dict(self.title),
            "account_name": dict(self.account_names),
            "reasons": [_reason_as_dict(reason) for reason in self.reasons],
        }


def explain(
    report: ExpenseReport, book: Book, *, terms: Terms = NO_TERMS, reference_max: int = 32
) -> tuple[Voucher, tuple[LineTrace, ...]] | Refusal:
    """The voucher of `to_voucher` with the reason of each line, or the same refusal. Equal books give equal reasons."""
    parts: list[Part] = []
    voucher = compile_report(report, book, reference_max=reference_max, terms=terms, parts=parts)
    if isinstance(voucher, Refusal):
        return voucher
    lines: dict[Any, list[Part]] = {}  # In the order of the voucher: by rule, then as they were made; merged ones last.
    for part in sorted(parts, key=lambda part: (part.rule.position, part.key is not None)):
        lines.setdefault(part.key if part.key is not None else id(part), []).append(part)
    assert len(lines) == len(voucher.lines), "each line of the voucher has its parts"
    view = view_of(report, book)
    assert view is not None, "the company was known a moment ago"
    day = voucher.date
    return voucher, tuple(_trace(number, made, report, view, day) for number, made in enumerate(lines.values(), 1))


def _trace(number: int, parts: Sequence[Part], report: ExpenseReport, view: CompanyView, day: date) -> LineTrace:
    first = parts[0]
    reasons = tuple(_reason(part, report, view, day) for part in parts)
    return LineTrace(number, first.rule.id, first.rule.at, first.rule.title, first.hit.names, reasons)


def _reason(part: Part, report: ExpenseReport, view: CompanyView, day: date) -> Reason:
    en, zh = _sentence(part, report)
    tax_row = part.deduction.row.at if part.deduction is not None else _kept_by(part, view)
    source_line = part.line.line if part.line is not None else None
    rows = tuple(_other_rows(part, report, view, day))
    return Reason(part.amount, source_line, part.hit.at, tax_row, rows, _inputs(part, report), en, zh)


def _other_rows(part: Part, report: ExpenseReport, view: CompanyView, day: date) -> Iterator[str]:
    """The rows that decided something beside account and tax."""
    line, role = part.line, part.rule.role
    values = values_at(report, part.place)
    for name, _ in part.hit.dimensions:
        value = values[name]
        row = view.dimension_row(name, value, day) if value is not None and view.translates(name) else None
        if row is not None:
            yield row.at
    if role == "rounding" and (tolerance := view.tolerance(day)) is not None:
        yield tolerance.at
    if role in _COSTS and line is not None and line.amount > 0:
        allowance = view.per_diem(line.category, line.currency, line.date)
        if allowance is not None:
            yield allowance.at


def _kept_by(part: Part, view: CompanyView) -> str | None:
    """The row that leaves the tax of a cost line in its cost."""
    line = part.line
    if part.rule.role not in _COSTS or line is None or line.invoice is None or line.invoice.kind == "none":
        return None
    row = view.tax(line.category, line.invoice.kind, line.invoice.date or line.date)
    return None if row is None else row.at


def _inputs(part: Part, report: ExpenseReport) -> dict[str, str]:
    """The values the rule read, by their path in the report."""
    found: dict[str, str] = {}
    line = part.line
    if line is not None:
        found |= {"category": line.category, "amount": f"{line.amount:f} {line.currency}", "paid_by": line.paid_by}
        if line.rate is not None:
            found["rate"] = f"{line.rate.value:f} ({line.rate.source}, {line.rate.date})"
        if line.personal is not None:
            found["personal"] = f"{line.personal:f}"
        if line.invoice is not None:
            for name in ("kind", "number", "date", "total", "net", "tax", "fare", "fuel", "airport_fee", "certified"):
                value = getattr(line.invoice, name)
                if value is not None:
                    found[f"invoice.{name}"] = (
                        f"{value:f}"
                        if isinstance(value, Decimal)
                        else str(value).lower()
                        if value in (True, False)
                        else str(value)
                    )
    if part.deduction is not None:
        found["tax"] = f"{part.deduction.tax:f}"
    if part.share is not None:
        found["share"] = f"{part.share:f}"
    if part.advance is not None:
        found |= {"advance.number": part.advance.number, "advance.amount": f"{part.advance.amount:f}"}
        if part.advance.currency is not None:
            found["advance.currency"] = part.advance.currency
        if part.advance.rate is not None:
            found["advance.rate"] = f"{part.advance.rate.value:f}"
        if part.advance.paid_rate is not None:
            found["advance.paid_rate"] = f"{part.advance.paid_rate:f}"
    if line is None and part.advance is None:
        found["total"] = f"{report.total:f}"
        if report.advances:
            found["advances"] = f"{sum((advance.amount for advance in report.advances), Decimal(0)):f}"
    return found


def _sentence(part: Part, report: ExpenseReport) -> tuple[str, str]:
    line = part.line
    if line is None:
        return _of_the_report(part, report)
    gross, gross_zh = (
        f"line {line.line}: {line.amount:f} {line.currency}",
        f"第 {line.line} 行：{line.amount:f} {line.currency}",
    )
    if line.rate is not None and line.currency != report.currency:
        gross, gross_zh = f"{gross} at {line.rate.value:f}", f"{gross_zh}，汇率 {line.rate.value:f}"
    match part.rule.role:
        case "expense" | "accrual" | "counterpart":
            less, less_zh = _less(line, part.deduction)
            if part.allowance is not None:
                less = f"{less}, daily allowance {part.allowance:f}"
                less_zh = f"{less_zh}，每日补贴标准合计 {part.allowance:f}"
            share = "" if part.share is None else f", share {part.share:f}"
            share_zh = "" if part.share is None else f"，分摊比例 {part.share:f}"
            return (
                f"{gross}{less}{share}; {line.category} -> {part.hit.account}",
                f"{gross_zh}{less_zh}{share_zh}；{line.category} → {part.hit.account}",
            )
        case "employee_receivable":
            return f"{gross}, of it personal {line.personal or 0:f}", f"{gross_zh}，其中个人消费 {line.personal or 0:f}"
        case _:
            how, how_zh = _taken(line, part.deduction)
            return f"{gross}, {how}", f"{gross_zh}，{how_zh}"


def _less(line: Line, deduction: Deduction | None) -> tuple[str, str]:
    less = less_zh = ""
    if deduction is not None:
        less, less_zh = f" less tax {deduction.tax:f}", f"，扣除进项税额 {deduction.tax:f}"
    elif line.invoice is not None and line.invoice.kind != "none":
        less, less_zh = ", its tax stays in the cost", "，税额计入成本"
    if line.personal:
        less, less_zh = f"{less} less personal {line.personal:f}", f"{less_zh}，扣除个人消费 {line.personal:f}"
    return less, less_zh


def _taken(line: Line, deduction: Deduction | None) -> tuple[str, str]:
    """How the tax of a line was found."""
    assert deduction is not None, "a tax line has its deduction"
    assert line.invoice is not None, "a deduction has its invoice"
    invoice, row = line.invoice, deduction.row
    partly = "" if not deduction.non_deductible else f", {row.deductible:f} of it deductible"
    partly_zh = "" if not deduction.non_deductible else f"，可抵扣比例 {row.deductible:f}"
    waits = deduction.role == "pending_tax"
    stated = invoice.tax is not None or invoice.net is not None
    if stated:
        en, zh = (
            f"tax {deduction.tax:f} as stated on the {invoice.kind} invoice",
            f"{_INVOICES_ZH[invoice.kind]}注明税额 {deduction.tax:f}",
        )
    elif row.method == "fare_and_fuel":
        en = f"tax {deduction.tax:f} inside fare and fuel at {row.rate:f}, without the airport fee"
        zh = f"票价与燃油附加费内含税额 {deduction.tax:f}（税率 {row.rate:f}，不含机场建设费）"
    else:
        en, zh = (
            f"tax {deduction.tax:f} inside the ticket at {row.rate:f}",
            f"票面内含税额 {deduction.tax:f}（税率 {row.rate:f}）",
        )
    if deduction.tax != deduction.whole:
        en, zh = f"{en}, of {deduction.whole:f} on all of it", f"{zh}，整张发票税额 {deduction.whole:f}"
    if waits:
        en, zh = f"{en}, not certified yet", f"{zh}，尚未勾选认证"
    return f"{en}{partly}", f"{zh}{partly_zh}"


def _of_the_report(part: Part, report: ExpenseReport) -> tuple[str, str]:
    match part.rule.role:
        case "advance":
            claim = part.advance
            number = "" if claim is None else claim.number
            if claim is not None and claim.currency not in (None, report.currency):
                return (
                    f"advance {number}: {claim.amount:f} {claim.currency} at the rate it was paid at",
                    f"冲销借款 {number}：{claim.amount:f} {claim.currency}，按付款时汇率",
                )
            return f"advance {number} as the report claims it", f"报销单冲销借款 {number}"
        case "exchange_difference":
            claim = part.advance
            assert claim is not None, "an exchange difference comes from an advance"
            now = "" if claim.rate is None else f"{claim.rate.value:f}"
            return (
                f"advance {claim.number}: {claim.amount:f} {claim.currency} counts at {now} today",
                f"借款 {claim.number}：{claim.amount:f} {claim.currency} 按当前汇率 {now} 计",
            )
        case "employee_payable":
            if report.advances:
                return "what the employee spent, less the advances", "员工垫付金额减去冲销的借款"
            return "what the employee spent", "员工垫付金额"
        case "employee_receivable" if not report.advances:
            return "what the seller gave back and the employee holds", "销售方退还、由员工代收的款项"
        case "employee_receivable":
            return (
                "the advances are more than the employee spent; the rest is to be returned",
                "借款大于员工垫付金额，差额应退回",
            )
        case "rounding":
            return "the total differs from the sum of the converted lines", "总额与外币行折算合计之差"
        case _:
            return "what was paid this way, all lines together", "该支付方式各行合计"


def _reason_as_dict(reason: Reason) -> dict[str, Any]:
    found: dict[str, Any] = {"amount": f"{reason.amount:f}", "row": reason.row, "inputs": dict(reason.inputs)}
    if reason.source_line is not None:
        found["source_line"] = reason.source_line
    if reason.tax_row is not None:
        found["tax_row"] = reason.tax_row
    if reason.rows:
        found["rows"] = list(reason.rows)
    return {**found, "reason": {"en": reason.en, "zh": reason.zh}}
