"""Running a book's cases: what the translator makes of each, and where it differs from what stands beside it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Literal

from lxml import etree

from connector.correct import Correction, correct
from connector.facts import Facts, Period
from connector.preflight import examine
from connector.translate.advance import to_advance_voucher
from connector.translate.book import Book
from connector.translate.cases import AdvanceOfCase, Case
from connector.translate.coverage import refused_by, used_by, used_by_advance
from connector.translate.reference import make_reference
from connector.translate.trace import LineTrace, explain
from connector.translate.voucher import DOCUMENT_TYPE, Refusal, Terms, posting_day, view_of
from contracts.amount import Amount
from contracts.expense import ExpenseReport
from contracts.voucher import Voucher, VoucherLine

_DAY = timedelta(days=1)
_OF_PERIODS = ("ACC-331", "ACC-332", "ACC-333", "ACC-334")


@dataclass(frozen=True, slots=True)
class Said:
    """One line of the right side, and the rule and rows that made it."""

    text: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """A line that is the same (` `), expected and not there (`-`), or there and not expected (`+`)."""

    mark: Literal[" ", "-", "+"]
    text: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """A case and what became of it. It passes where exactly the expected lines come out; expecting nothing never passes."""

    case: Case
    said: tuple[Said, ...]
    used: frozenset[str]

    @property
    def passed(self) -> bool:
        """Whether it is exactly what stands beside it."""
        return bool(self.case.expected) and self.case.expected == tuple(line.text for line in self.said)

    def differences(self) -> list[Difference]:
        """Expected and got, line by line."""
        return differences([Said(text) for text in self.case.expected], self.said)


Explained = tuple[Voucher, tuple[LineTrace, ...]]  # No traces where the lines are a difference or an advance.


@dataclass(frozen=True, slots=True)
class Made:
    """What a case comes to: the voucher of its report or advance and what is posted for it (a correction may post none, or
    several), or why there is none; and the rules and rows that had a part in it."""

    whole: Explained | None = None
    posted: tuple[Explained, ...] = ()
    correction: Correction | None = None
    refusal: Refusal | None = None
    used: frozenset[str] = frozenset()


def make(case: Case, book: Book) -> Made:
    """Everything that is posted for the case by this book, or what refuses it."""
    if case.advance is not None:
        return _moved(case.advance, book)
    terms, used = case.terms, frozenset[str]()
    if isinstance(case.report, Refusal):
        return Made(refusal=case.report)
    if case.closed is not None or terms.origin_period is not None:
        settled, used = _in_closed_period(case, case.report, book)
        if isinstance(settled, Refusal):
            return Made(refusal=settled, used=used)
        terms = settled
    answer = explain(case.report, book, terms=terms)
    if isinstance(answer, Refusal):
        return Made(refusal=answer, used=used | refused_by(case.report, book, answer, terms.day))
    voucher, traces = answer
    used |= used_by(case.report, book, voucher, traces)
    if case.before is not None:
        return _corrected(case, case.before, answer, used, book)
    posted = voucher if case.reversed_on is None else _red(voucher, case.reversed_on)
    return Made(answer, ((posted, traces),), used=used)


def run(case: Case, book: Book) -> Result:
    """The case by this book."""
    made = make(case, book)
    if made.refusal is not None:
        return Result(case, tuple(refused_lines(made.refusal)), made.used)
    assert made.whole is not None, "what is not refused has its voucher"
    headed, _ = made.whole if made.correction is not None else made.posted[0]
    said = _headers(case, headed)
    if made.correction is not None:
        words = ("corrected", made.correction.kind, made.correction.code)
        said.append(Said(" ".join(filter(None, words)), made.correction.reason))
    for voucher, traces in made.posted:
        said += lines_of(voucher, traces)
    return Result(case, tuple(said), made.used)


def _in_closed_period(case: Case, report: ExpenseReport, book: Book) -> tuple[Terms | Refusal, frozenset[str]]:
    """The terms of a report in a closed period, and the row of the periods table that says so. Where the case names the day,
    the ledger has decided; else the book does, and what follows that period is open."""
    view, terms, closed = view_of(report, book), case.terms, case.closed
    rule = None if view is None else view.period_rule(DOCUMENT_TYPE, posting_day(report, view))
    used = frozenset[str]() if rule is None else frozenset((rule.at,))
    if closed is None:
        policy = "ACCRUE" if terms.accrued else "NEXT_OPEN"
        return terms, used if rule is not None and rule.policy == policy else frozenset()
    earlier = Period("earlier", date.min, closed.starts_on - _DAY, "open")
    later = Period("later", closed.ends_on + _DAY, date.max - _DAY, "open")
    answer = examine(report, book, Facts(periods={report.company: (earlier, closed, later)}))
    found = tuple(finding for finding in answer.findings if finding.code in _OF_PERIODS)
    if found:
        return Refusal(found, tuple(key for key in answer.waits_for if key.startswith(("period:", "open_from:")))), used
    settled = replace(answer.terms, advances=terms.advances, invoices=terms.invoices)
    return settled, used if settled.origin_period is not None else frozenset()


def _moved(advance: AdvanceOfCase, book: Book) -> Made:
    """An advance that was paid or given back."""
    if isinstance(advance.moved, Refusal):
        return Made(refusal=advance.moved)
    answer = to_advance_voucher(advance.moved, book, paid_rate=advance.paid_rate)
    if isinstance(answer, Refusal):
        return Made(refusal=answer)
    return Made((answer, ()), ((answer, ()),), used=used_by_advance(advance.moved, book, answer))


def _corrected(case: Case, before: ExpenseReport | Refusal, whole: Explained, used: frozenset[str], book: Book) -> Made:
    """How the version that stands becomes the new one, and what is posted for it: the difference, or red and blue."""
    if isinstance(before, Refusal):
        return Made(refusal=before)
    standing = explain(before, book, terms=Terms(advances=case.terms.advances, invoices=case.terms.invoices))
    if isinstance(standing, Refusal):
        return Made(refusal=standing)
    new = whole[0]
    decision = correct([standing[0]], new, case.facts)
    posted: tuple[Explained, ...] = ()
    if decision.difference is not None:
        added = Voucher.of(
            company=new.company, reference=new.reference, document=new.document, date=new.date, currency=new.currency,
            lines=decision.difference, memo=new.memo,
        )  # fmt: skip
        posted = ((added, ()),)
    elif decision.kind == "red_and_blue":
        posted = ((_red(standing[0], new.date), standing[1]), whole)
    return Made(whole, posted, decision, used=used | used_by(before, book, *standing))


def _red(voucher: Voucher, on: date) -> Voucher:
    document = voucher.document
    return voucher.reversed(make_reference(voucher.company, document.number, document.version, "reverse"), on)


def outcome(report: ExpenseReport, book: Book) -> list[Said]:
    """What becomes of a report, in the notation of the right side."""
    answer = explain(report, book)
    return refused_lines(answer) if isinstance(answer, Refusal) else lines_of(*answer)


def differences(before: Sequence[Said], after: Sequence[Said]) -> list[Difference]:
    """Two right sides, line by line: what both have, what only the first has, what only the second has."""
    found: list[Difference] = []
    matcher = SequenceMatcher(None, [line.text for line in before], [line.text for line in after], autojunk=False)
    for tag, start, end, after_start, after_end in matcher.get_opcodes():
        if tag == "equal":
            found += [Difference(" ", line.text, line.by) for line in after[after_start:after_end]]
            continue
        found += [Difference("-", line.text, line.by) for line in before[start:end]]
        found += [Difference("+", line.text, line.by) for line in after[after_start:after_end]]
    return found


def _headers(case: Case, voucher: Voucher) -> list[Said]:
    """What a case may expect of the voucher as a whole, in the order in which it does."""
    origin = next((line.origin_period for line in voucher.lines if line.origin_period is not None), "-")
    known = {"as": voucher.reference, "on": f"{voucher.date}", "origin": origin}
    words = [text.split()[0] for text in case.expected]
    return [Said(f"{word} {known[word]}") for word in words if word in known]


def refused_lines(refusal: Refusal) -> list[Said]:
    """A refusal: what is wrong, and what it waits for."""
    said = [
        Said(f"refused {finding.code} {finding.path}".strip(), f"expected {finding.expected}, got {finding.got}")
        for finding in refusal.findings
    ]
    return said + [Said(f"waits {key}") for key in refusal.waits_for]


def lines_of(voucher: Voucher, traces: Sequence[LineTrace]) -> list[Said]:
    """The lines of a voucher, each with what made it where that is known."""
    return [
        Said(written(line, voucher.currency), "" if trace is None else _by(trace))
        for line, trace in zip_longest(voucher.lines, traces)
    ]


def written(line: VoucherLine, currency: str) -> str:
    """A voucher line in the notation."""
    side = "Dr" if line.side == "debit" else "Cr"
    words = [side, line.account, *line.dimensions.values(), Amount(line.amount, currency).text()]
    if line.amount_in_currency is not None and line.currency is not None and line.rate is not None:
        words += ["=", Amount(line.amount_in_currency, line.currency).text(), line.currency, "@", f"{line.rate:f}"]
    return " ".join(words)


def _by(trace: LineTrace) -> str:
    return f"[{trace.rule}] {', '.join(trace.places)}"


def junit(name: str, results: Sequence[Result], seconds: float) -> bytes:
    """The results as JUnit XML, the form that CI systems read."""
    failures = sum(not result.passed for result in results)
    counts = {"tests": str(len(results)), "failures": str(failures), "errors": "0", "time": f"{seconds:.3f}"}
    suites = etree.Element("testsuites", counts)
    suite = etree.SubElement(suites, "testsuite", {"name": name, **counts, "skipped": "0"})
    for result in results:
        file, _, line = result.case.at.rpartition(":")
        case = etree.SubElement(
            suite, "testcase", {"classname": file, "name": _xml(result.case.title), "file": file, "line": line}
        )
        if not result.passed:
            told = [f"{d.mark} {d.text}  {d.by}".rstrip() for d in result.differences()]
            failure = etree.SubElement(case, "failure", {"type": "difference", "message": _xml(_brief(result))})
            failure.text = _xml("\n".join(told))
    return etree.tostring(suites, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _brief(result: Result) -> str:
    if not result.case.expected:
        return "the case expects nothing"
    apart = [difference for difference in result.differences() if difference.mark != " "]
    return f"{apart[0].mark} {apart[0].text}" if apart else "the lines stand in another order"


def _xml(text: str) -> str:
    """Text that XML can carry: control characters written out."""
    return "".join(c if c in "\n\t" or c.isprintable() else f"\\x{ord(c):02x}" for c in text)
