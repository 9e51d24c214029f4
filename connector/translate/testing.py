"""Running a book's cases: what the translator makes of each, and where it differs from what stands beside it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from difflib import SequenceMatcher
from typing import Literal

from lxml import etree

from connector.correct import correct
from connector.translate.advance import to_advance_voucher
from connector.translate.book import Book
from connector.translate.cases import Case
from connector.translate.coverage import used_by
from connector.translate.reference import make_reference
from connector.translate.trace import LineTrace, explain
from connector.translate.voucher import Refusal
from contracts.amount import Amount
from contracts.expense import ExpenseReport
from contracts.voucher import Voucher, VoucherLine


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


def run(case: Case, book: Book) -> Result:
    """The case by this book."""
    if case.advance is not None:
        return Result(case, tuple(_moved(case, book)), frozenset())
    answer = case.report if isinstance(case.report, Refusal) else explain(case.report, book, terms=case.terms)
    if isinstance(answer, Refusal):
        return Result(case, tuple(refused_lines(answer)), frozenset())
    assert isinstance(case.report, ExpenseReport)
    voucher, traces = answer
    if case.before is not None:
        said = _corrected(case, voucher, traces, book)
    elif case.reversed_on is not None:
        said = _headers(case, red := _red(voucher, case.reversed_on)) + lines_of(red, traces)
    else:
        said = _headers(case, voucher) + lines_of(voucher, traces)
    return Result(case, tuple(said), used_by(case.report, book, traces))


def _moved(case: Case, book: Book) -> list[Said]:
    """An advance that was paid or given back."""
    assert case.advance is not None
    moved = case.advance.moved
    answer = moved if isinstance(moved, Refusal) else to_advance_voucher(moved, book, paid_rate=case.advance.paid_rate)
    if isinstance(answer, Refusal):
        return refused_lines(answer)
    return _headers(case, answer) + [Said(written(line, answer.currency)) for line in answer.lines]


def _corrected(case: Case, new: Voucher, traces: Sequence[LineTrace], book: Book) -> list[Said]:
    """How the version that stands becomes the new one: the kind of correction, then the lines of what is posted for it."""
    before = case.before if isinstance(case.before, Refusal) or case.before is None else explain(case.before, book)
    if before is None or isinstance(before, Refusal):
        return [] if before is None else refused_lines(before)
    standing, its_traces = before
    decision = correct([standing], new, case.facts)
    said = [Said(" ".join(filter(None, ("corrected", decision.kind, decision.code))), decision.reason)]
    said = _headers(case, new) + said
    if decision.difference is not None:
        return said + [Said(written(line, new.currency)) for line in decision.difference]
    if decision.kind == "red_and_blue":
        said += lines_of(_red(standing, new.date), its_traces) + lines_of(new, traces)
    return said


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
    """The lines of a voucher, each with what made it."""
    return [
        Said(written(line, voucher.currency), _by(trace)) for line, trace in zip(voucher.lines, traces, strict=True)
    ]


def written(line: VoucherLine, currency: str) -> str:
    """A voucher line in the notation."""
    side = "Dr" if line.side == "debit" else "Cr"
    words = [side, line.account, *line.dimensions.values(), Amount(line.amount, currency).text()]
    if line.amount_in_currency is not None and line.currency is not None and line.rate is not None:
        words += ["=", Amount(line.amount_in_currency, line.currency).text(), line.currency, "@", f"{line.rate:f}"]
    return " ".join(words)


def _by(trace: LineTrace) -> str:
    rows = [row for reason in trace.reasons for row in (reason.row, reason.tax_row) if row is not None]
    return f"[{trace.rule}] {', '.join(dict.fromkeys([trace.at, *rows]))}"


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
