"""Message translator: approved expense report in, voucher out. Pure: equal reports and equal books make equal vouchers."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from connector.translate.book import Book, CompanyView
from connector.translate.draft import NO_TERMS as NO_TERMS
from connector.translate.draft import ZERO, Draft
from connector.translate.draft import Part as Part
from connector.translate.draft import Refusal as Refusal
from connector.translate.draft import Terms as Terms
from connector.translate.lines import write_lines
from connector.translate.owed import settle
from connector.translate.reference import make_reference
from contracts.amount import AMOUNT_BELOW
from contracts.expense import ExpenseReport
from contracts.findings import Finding, limited
from contracts.voucher import LINES_MAX, DocumentRef, Voucher

DOCUMENT_TYPE = "expense.report"
_NO_OFFSET = timedelta(0)


def to_voucher(
    report: ExpenseReport, book: Book, *, reference_max: int = 32, terms: Terms = NO_TERMS
) -> Voucher | Refusal:
    """The balanced voucher that posts this report by this book, or everything that stands in its way.

    A missing row never falls back to another account: the refusal names the key it waits for.
    """
    return compile_report(report, book, reference_max=reference_max, terms=terms)


def compile_report(
    report: ExpenseReport,
    book: Book,
    *,
    reference_max: int = 32,
    terms: Terms = NO_TERMS,
    parts: list[Part] | None = None,
) -> Voucher | Refusal:
    """`to_voucher`, and where `parts` is given, why: one part for each call of a rule, in the order of the calls."""
    view = view_of(report, book)
    if view is None:
        finding = Finding(
            "MAP-213", "data.company", "a company of the mapping book", report.company, "add it to the companies table"
        )
        return Refusal((finding,), (f"company:{report.company}",))
    if view.currency != report.currency:
        expected = f"{view.currency}, the base currency of {report.company} ({view.at})"
        fix = "send the report in the company's base currency, with the rate on each line"
        return Refusal((Finding("MAP-203", "data.currency", expected, report.currency, fix),))
    draft = Draft(report, book, view, terms.day or posting_day(report, view), terms, parts)
    owed, booked = write_lines(draft)
    if not draft.findings:
        settle(draft, owed, report.total - booked)
    if draft.findings:
        return Refusal(tuple(limited(list(dict.fromkeys(draft.findings)))), tuple(dict.fromkeys(draft.waits_for)))
    return _voucher(draft, reference_max)


def view_of(report: ExpenseReport, book: Book) -> CompanyView | None:
    """The book as the report's company sees it."""
    return book.view(report.company, report.posting_date or report.approved_at.date())


def posting_day(report: ExpenseReport, view: CompanyView | None) -> date:
    """The posting date where the report states one, else the day of its last expense or of its approval, as the company
    has it."""
    if report.posting_date is not None:
        return report.posting_date
    if view is not None and view.row.posting_day == "expense":
        return max(line.date for line in report.lines)
    return approval_day(report, view)


def approval_day(report: ExpenseReport, view: CompanyView | None) -> date:
    """The day of the approval, as the company has it."""
    return local_day(report.approved_at, view)


def local_day(moment: datetime, view: CompanyView | None) -> date:
    """The day of a moment: as it is written with its offset, or, where it is written in UTC, as the company's time zone
    has it."""
    if view is not None and view.time_zone is not None and moment.utcoffset() == _NO_OFFSET:
        return moment.astimezone(view.time_zone).date()
    return moment.date()


def _voucher(draft: Draft, reference_max: int) -> Voucher | Refusal:
    """The draft as a voucher, where it has the lines for one."""
    report = draft.report
    lines = draft.lines()
    if not 2 <= len(lines) <= LINES_MAX:
        got = "nothing to book" if not lines else f"{len(lines)} lines"
        fix = "withdraw the report, or split it"
        return Refusal((Finding("MAP-212", "data.lines", f"2 to {LINES_MAX} voucher lines", got, fix),))
    # What is debited is what is credited: building the voucher makes sure of it.
    total = sum([line.amount for line in lines if line.side == "debit"], ZERO)
    if total >= AMOUNT_BELOW:
        expected, got = f"a total below {AMOUNT_BELOW:f} {report.currency}", f"{total:f}"
        return Refusal((Finding("MAP-212", "data.total", expected, got, "withdraw the report, or split it"),))
    return Voucher(
        report.company,
        make_reference(report.company, report.number, report.version, "post", reference_max),
        DocumentRef(DOCUMENT_TYPE, report.number, report.version),
        "post",
        draft.day,
        report.currency,
        tuple(lines),
        total,
        total,
        report.title or None,
    )
