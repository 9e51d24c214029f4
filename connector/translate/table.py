"""The voucher as an accountant reads it: debits left, credits right, and under each line why it is there."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from connector.translate.preview import Preview
from connector.translate.trace import Lang, LineTrace
from contracts.amount import Amount
from contracts.codes import code
from contracts.phrases import chinese, in_chinese
from contracts.voucher import Voucher, VoucherLine

_WORDS: Mapping[Lang, Mapping[str, str]] = {
    "en": {
        "account": "Account", "dimensions": "Dimensions", "debit": "Debit", "credit": "Credit", "why": "Why", "total": "Total",
        "plan": "Plan", "date": "Date", "reference": "Reference", "refused": "Would not be booked", "waits": "Waits for", "fix": "Fix",
        "got": ", got", "expected": "expected", "book": "Mapping book", ":": ": ", ";": "; ",
    },
    "zh": {
        "account": "科目", "dimensions": "辅助核算", "debit": "借方", "credit": "贷方", "why": "原因", "total": "合计",
        "plan": "计划", "date": "日期", "reference": "外部编号", "refused": "不会入账", "waits": "等待", "fix": "处理",
        "got": "，实为", "expected": "应为", "book": "映射手册", ":": "：", ";": "；",
    },
}  # fmt: skip


def render(shown: Preview, lang: Lang = "en") -> RenderableType:
    """The preview for a terminal. What came with the document is shown as plain text, never as markup."""
    words = _WORDS[lang]
    if shown.voucher is None:
        return _refusal(shown, words, lang)
    voucher = shown.voucher
    head = Text(
        f"{voucher.company}  {voucher.document.number} V{voucher.document.version}  {voucher.memo or ''}\n",
        style="bold",
    )
    head.append(
        f"{words['reference']} {voucher.reference}   {words['date']} {voucher.date}   {voucher.currency}",
        style="not bold",
    )
    foot = Text(f"{words['book']} {shown.book[:12]}", style="dim")
    if shown.plan is not None:
        foot = Text(f"{words['plan']}{words[':']}{_said(shown.plan.reason, lang)}   ").append_text(foot)
    return Group(head, _lines(voucher, shown.trace, words, lang), foot)


def _lines(voucher: Voucher, trace: tuple[LineTrace, ...], words: Mapping[str, str], lang: Lang) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
    table.add_column(words["account"], words["total"], overflow="fold")
    table.add_column(words["dimensions"], overflow="fold")
    table.add_column(
        words["debit"], Amount(voucher.total_debit, voucher.currency).text(), justify="right", no_wrap=True
    )
    table.add_column(
        words["credit"], Amount(voucher.total_credit, voucher.currency).text(), justify="right", no_wrap=True
    )
    table.add_column(words["why"], overflow="fold")
    for line, made in zip_longest(voucher.lines, trace):
        amount = Amount(line.amount, voucher.currency).text()
        debit, credit = (amount, "") if line.side == "debit" else ("", amount)
        table.add_row(
            Text(line.account if made is None else f"{line.account} {made.account_names.get(lang, '')}"),
            Text(" ".join(line.dimensions.values())),
            Text(debit), Text(credit), Text("") if made is None else _why(line, made, lang),
        )  # fmt: skip
    return table


def _why(line: VoucherLine, made: LineTrace, lang: Lang) -> Text:
    why = Text(f"[{made.rule}] ", style="dim")
    why.append(_WORDS[lang][";"].join(reason.said(lang) for reason in made.reasons), style="not dim")
    if line.amount_in_currency is not None and line.currency is not None:
        why.append(f" = {Amount(line.amount_in_currency, line.currency)}")
    why.append(f"  ({', '.join(made.places)})")
    return why


def _said(text: str, lang: Lang) -> str:
    return (chinese(text) or text) if lang == "zh" else text


def _refusal(shown: Preview, words: Mapping[str, str], lang: Lang) -> RenderableType:
    said = [Text(f"{words['refused']}{words[':'].rstrip()}", style="bold red")]
    for found in shown.findings:
        entry, finding = code(found.code), in_chinese(found) if lang == "zh" else found
        line = Text(f"  {finding.code} ", style="bold").append(entry.title_zh if lang == "zh" else entry.title_en)
        line.append(
            f"\n    {finding.path or '-'}{words[':']}{words['expected']} {finding.expected}{words['got']} {finding.got}",
            style="not bold",
        )
        line.append(f"\n    {words['fix']}{words[':']}{finding.fix}", style="not bold")
        said.append(line)
    if shown.waits_for:
        said.append(Text(f"{words['waits']}{words[':']}{', '.join(shown.waits_for)}"))
    return Group(*said)
