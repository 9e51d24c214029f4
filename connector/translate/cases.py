"""Cases in the accountant's notation: an expense report on the left, the voucher (or the refusal) it becomes beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import orjson
from pydantic import TypeAdapter, ValidationError

from connector.correct import Facts
from connector.facts import Period
from connector.spans import Spans, free, read
from connector.translate.book import Book
from connector.translate.tables import ANY, bad, near
from connector.translate.voucher import Refusal, Terms
from connector.translate.yaml_text import Place, read_yaml
from contracts.advance import AdvancePaid, AdvanceReturned
from contracts.amount import Amount
from contracts.codec import parse
from contracts.expense import ExpenseReport, InvoiceKind, Line, booked_amount
from contracts.findings import Finding, Refused, refused
from contracts.voucher import Role

SUFFIXES = (".case", ".yaml", ".yml")
TESTS = "tests"  # The folder of a book that holds its own cases.
CASE_FILES_MAX = 1_000
CASE_BYTES_MAX = 4 * 1024 * 1024
CASES_MAX = 20_000
KINDS: tuple[str, ...] = get_args(InvoiceKind)
SAYS = ("Dr", "Cr", "on", "as", "origin", "corrected", "refused", "waits")
_THOUSANDS = re.compile(r"\d,\d{3}(?!\d)")
_SIDES = {"借": "Dr", "贷": "Cr"}
_CLAUSES = (
    "card", "supplier", "personal", "department", "project", "cost_centre", "dated", "described", "days", "share", "invoice",
    "of", *KINDS,
)  # fmt: skip
# What a statement looks like, as a finding quotes it.
_FORMS = {
    "version": "version 2",
    "employee": "employee E017 D01",
    "advance": "advance ADV1 1500.00, or advance ADV1 480.00 USD @ 7.15 paid 7.10",
    "payee": "payee supplier S01",
    "closed": "closed 2025-03 -> 2025-04-03, or closed 2025-03 where the book decides",
    "accrued": "accrued 2025-03 -> 2025-04-03",
    "paid": "paid ADV1 USD @ 7.10",
    "claimed": "claimed 25442000000012345678 600.00, or claimed 25442000000012345678 600.00-660.00",
    "advanced": "advanced ADV1 1500.00, or advanced ADV1 500.00 USD @ 7.10",
    "returned": "returned ADV1 87.00, or returned ADV1 20.00 USD @ 7.12 paid 7.10",
    "then": "then, on a line of its own below the first version",
    "paid_out": "paid_out 413.00",
    "reversed": "reversed 2025-04-08",
    "personal": "personal 20.00",
    "department": "department D02",
    "project": "project P1",
    "cost_centre": "cost_centre CC1",
    "dated": "dated 2025-03-01",
    "days": "days 3",
    "share": "share 0.6 D01",
    "invoice": "invoice 25442000000012345678",
    "of": "of 1060.00",
    "air": "air 1000.00 + 60.00 + 50.00 (fare, fuel, airport fee)",
}
_LINE_FORM = "category amount [currency @ rate], clause, clause"
_STATEMENTS = (
    "company", "currency", "number", "title", "posting_date", "submitted_on", "approved_at", "total", "version", "employee",
    "advance", "paid", "claimed", "payee", "advanced", "returned", "then", "paid_out", "declared", "reversed", "closed", "accrued",
)  # fmt: skip
_REPORT = TypeAdapter(ExpenseReport)
_LINE = TypeAdapter(Line)
_ADVANCES: Mapping[str, TypeAdapter[Any]] = {
    "advanced": TypeAdapter(AdvancePaid),
    "returned": TypeAdapter(AdvanceReturned),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One case: what it is about, the report (or why there is none), what the ledger settled for it, and what is expected.

    A report that breaks the contract is a refusal, so that a case may expect it. Where it is a later version, `before` is
    what stands and `facts` what is known of it; `reversed_on` asks for the reversal; `advance` is a case of no report at all;
    of a period that is `closed` the book says what happens to the report.
    """

    title: str
    at: str
    report: ExpenseReport | Refusal
    expected: tuple[str, ...]
    terms: Terms = field(default_factory=Terms)
    before: ExpenseReport | Refusal | None = None
    facts: Facts = field(default_factory=Facts)
    reversed_on: date | None = None
    advance: AdvanceOfCase | None = None
    closed: Period | None = None


@dataclass(frozen=True, slots=True)
class AdvanceOfCase:
    """Money paid to an employee in advance, or given back, and the rate it was paid at."""

    moved: AdvancePaid | AdvanceReturned | Refusal
    paid_rate: Decimal | None


def load_cases(folder: Path, book: Book) -> tuple[list[Case], list[Finding]]:
    """The cases of every `.case` and `.yaml` file of a folder, in order, and what is wrong with them, each at its file:line."""
    findings: list[Finding] = []
    cases: list[Case] = []
    paths = sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES and path.is_file())
    for path in paths[:CASE_FILES_MAX]:
        cases += read_cases(path.name, path.read_bytes(), book, findings, lambda name: (folder / name).read_bytes())
    if len(paths) > CASE_FILES_MAX or len(cases) > CASES_MAX:
        findings.append(
            bad(folder.name, f"at most {CASE_FILES_MAX} files and {CASES_MAX} cases", "more", "leave some out")
        )
    return cases, findings


def read_cases(
    name: str, content: bytes, book: Book, findings: list[Finding], beside: Callable[[str], bytes] | None = None
) -> list[Case]:
    """The cases of one file; what is wrong is added to `findings`. What a case leaves out is the book's first company and
    its currency. `beside` reads a file that stands beside this one."""
    if len(content) > CASE_BYTES_MAX:
        findings.append(bad(name, f"at most {CASE_BYTES_MAX} bytes", f"{len(content)} bytes", "split the file"))
        return []
    if name.endswith(".case"):
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            findings.append(bad(name, "UTF-8 text", f"a byte at {error.start} that is not", "save the file as UTF-8"))
            return []
        drafts = _columns(name, text, book, findings)
    else:
        drafts = _listed(name, content, book, findings, beside)
    return [draft.case() for draft in drafts]


def read_event(name: str, body: bytes) -> ExpenseReport | Refusal:
    """The approved report in an event's bytes, JSON or XML by the file's name, or why there is none."""
    try:
        event = parse(body, "application/xml" if name.lower().endswith(".xml") else "application/json")
    except Refused as error:
        return Refusal(error.findings)
    if isinstance(event.data, ExpenseReport):
        return event.data
    finding = Finding("MAP-212", "type", "an approved or changed report", event.type, "name an event that is booked")
    return Refusal((finding,))


def starter_of(content: bytes) -> str:
    """The starter book that a file of cases names in its first line (`book: international`), else the Chinese one."""
    first = content.split(b"\n", 1)[0].decode("utf-8", "replace").strip("# \r")
    return first.removeprefix("book:").strip() if first.startswith("book:") else "chinese"


class _Draft:
    """A case being read: its report as wire data."""

    def __init__(self, title: str, at: str, book: Book) -> None:
        known = next((row for row in book.companies if row.company != ANY), None)
        self.title = title
        self.at = at
        self.expected: list[str] = []
        self.day: date | None = None
        self.origin: str | None = None
        self.accrued = False
        self.advances: dict[str, tuple[str, Decimal]] = {}
        self.claimed: dict[str, Spans] = {}
        self.given: ExpenseReport | Refusal | None = None
        self.before: ExpenseReport | Refusal | None = None
        self.paid_out: dict[Role, Decimal] = {}
        self.declared = False
        self.reversed_on: date | None = None
        self.advance: AdvanceOfCase | None = None
        self.closed: Period | None = None
        self.report: dict[str, Any] = {
            "company": "C01" if known is None else known.company, "number": "EXP1", "version": 1,
            "currency": book.companies[0].currency if known is None else known.currency, "title": "",
            "employee": {"id": "E017", "name": "Zhang San", "department": "D01"},
            "submitted_on": "2025-03-29", "approved_at": "2025-04-03T10:11:05+08:00", "lines": [], "advances": [],
        }  # fmt: skip

    def case(self) -> Case:
        invoices = {name: free(spans) for name, spans in self.claimed.items()}
        terms = Terms(self.day, self.origin, self.accrued, self.advances, invoices=invoices)
        facts = Facts(paid=self.paid_out, period_closed=self.declared)
        return Case(
            self.title, self.at, self.given or self._report(), tuple(self.expected), terms, self.before, facts,
            self.reversed_on, self.advance, self.closed,
        )  # fmt: skip

    def then(self) -> None:
        """What was read so far stands in the ERP; the lines and advances of its next version follow."""
        self.before = self._report()
        self.report |= {"version": self.report["version"] + 1, "lines": [], "advances": []}
        self.report.pop("total", None)

    def _report(self) -> ExpenseReport | Refusal:
        wire = deepcopy(self.report)
        for line in wire["lines"]:
            line.setdefault("currency", wire["currency"])
        wire.setdefault("total", _total(wire))
        try:
            return _REPORT.validate_json(orjson.dumps(wire))
        except ValidationError as error:
            return Refusal(refused(error, prefix="data").findings)


def _total(wire: Mapping[str, Any]) -> str:
    """What the lines add to, in the report's currency; the report itself says what is wrong with a line."""
    total = Decimal(0)
    for line in wire["lines"]:
        try:
            total += booked_amount(_LINE.validate_json(orjson.dumps(line)), wire["currency"]) or 0
        except (ValidationError, InvalidOperation):
            continue
    try:
        return Amount(total, wire["currency"]).text()
    except ValueError:
        return f"{total:f}"


def _columns(name: str, text: str, book: Book, findings: list[Finding]) -> Iterator[_Draft]:
    """`report | voucher`: each case begins with a line `# title`."""
    draft: _Draft | None = None
    for number, line in enumerate(text.splitlines(), 1):
        at = f"{name}:{number}"
        if line.startswith("# "):
            if draft is not None:
                yield draft
            draft = _Draft(line[2:].strip(), at, book)
        elif not line.strip() or line.startswith("##") or (number == 1 and line.startswith("book:")):
            continue
        elif draft is None:
            findings.append(bad(at, "a title: # what the case is about", line.strip()[:80], "begin the case with it"))
        else:
            left, _, right = line.partition("|")
            _read_left(draft, left, at, findings)
            _read_right(draft, right, at, findings)
    if draft is not None:
        yield draft


_ITEM = ("case", "given", "file", "expect")


def _listed(
    name: str, content: bytes, book: Book, findings: list[Finding], beside: Callable[[str], bytes] | None
) -> Iterator[_Draft]:
    """A list of `case:`, `given:` (or `file:`) and `expect:`."""
    read = read_yaml(name, content, findings)
    if read is None:
        return
    document, marks = read
    if not isinstance(document, list):
        findings.append(
            bad(f"{name}:1", "a list of cases (- case: title)", type(document).__name__, "begin with a dash")
        )
        return
    lines = content.decode("utf-8-sig").splitlines()
    for index, item in enumerate(document):
        at = f"{name}:{marks.get((index,), 1)}"
        if not _is_item(item, at, index, marks, name, findings):
            continue
        draft = _Draft(item["case"].strip(), at, book)
        for word, reader in (("given", _read_left), ("expect", _read_right)):
            mark = marks.get((index, word), 1)
            is_block = re.search(r"[|>][-+0-9]*\s*$", lines[mark - 1]) is not None
            for offset, line in enumerate(item.get(word, "").splitlines()):
                reader(draft, line, f"{name}:{mark + offset + is_block}", findings)
        if "file" in item:
            place = f"{name}:{marks.get((index, 'file'), 1)}"
            draft.given = _beside(item["file"].strip(), place, beside, findings)
        yield draft


def _is_item(item: Any, at: str, index: int, marks: Mapping[Place, int], name: str, findings: list[Finding]) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("case"), str) or not item["case"].strip():
        findings.append(bad(at, "case: what the case is about", str(item)[:80], "give the case a title"))
        return False
    sound = True
    for key, value in item.items():
        where = f"{name}:{marks.get((index, str(key)), 1)}"
        if key not in _ITEM:
            findings.append(bad(where, f"one of {', '.join(_ITEM)}", str(key), _meant(str(key), _ITEM)))
            sound = False
        elif not isinstance(value, str):
            findings.append(bad(where, f"text under {key} (write {key}: |)", type(value).__name__, "write it as lines"))
            sound = False
    if ("given" in item) is ("file" in item):
        findings.append(bad(at, "either given or file", ", ".join(map(str, item)), "say what the report is, once"))
        sound = False
    return sound


def _beside(
    file: str, at: str, beside: Callable[[str], bytes] | None, findings: list[Finding]
) -> ExpenseReport | Refusal:
    """The report in a file that stands beside the cases, and nowhere else."""
    nothing = Refusal((bad(at, "a readable event", file, "correct the name"),))
    if beside is None or "/" in file or "\\" in file or file in ("", ".", ".."):
        findings.append(bad(at, "the name of a file beside this one", file, "put the event into the same folder"))
        return nothing
    try:
        return read_event(file, beside(file))
    except OSError as error:
        findings.append(bad(at, "a readable file beside this one", f"{file}: {error.strerror}", "correct the name"))
        return nothing


def _read_right(draft: _Draft, text: str, at: str, findings: list[Finding]) -> None:
    said = text.split()
    if not said:
        return
    said[0] = _SIDES.get(said[0], said[0])
    if said[0] not in SAYS:
        findings.append(
            bad(at, f"a line that begins with {', '.join(SAYS)}", " ".join(said), "Dr account dimensions amount")
        )
        return
    draft.expected.append(" ".join(said))


def _read_left(draft: _Draft, text: str, at: str, findings: list[Finding]) -> None:
    text = text.strip()
    if not text:
        return
    try:
        _read_statement(draft, text)
    except _Unreadable as error:
        findings.append(bad(at, error.expected, text[:80], error.fix))
    except (ValueError, IndexError, KeyError, InvalidOperation):
        word = text.split()[0]
        fix = "write it in this form"
        fix = fix if word in _STATEMENTS else near(word, _STATEMENTS, fix)
        findings.append(bad(at, _FORMS.get(word, _LINE_FORM), text[:80], fix))


class _Unreadable(Exception):
    """A statement that is none."""

    def __init__(self, expected: str, fix: str) -> None:
        super().__init__(expected)
        self.expected, self.fix = expected, fix


def _read_statement(draft: _Draft, text: str) -> None:
    word, _, rest = text.partition(" ")
    rest = rest.strip()
    report = draft.report
    match word:
        case "company" | "currency" | "number" | "title" | "posting_date" | "submitted_on" | "approved_at" | "total":
            report[word] = rest
        case "version":
            report["version"] = int(rest)
        case "employee":
            identity, department = rest.split()
            report["employee"] |= {"id": identity, "department": department}
        case "advance":
            report["advances"].append(_read_advance(rest.split(), draft))
        case "paid":
            number, currency, _, rate = rest.split()
            draft.advances[number] = (currency, Decimal(rate))
        case "claimed":
            name, part = rest.split()
            draft.claimed[name] = read(part if "-" in part else f"0-{part}")
        case "payee":
            kind, identity = rest.split()
            report["payee"] = {"type": kind, "id": identity}
        case "advanced" | "returned":
            draft.advance = _read_moved(word, rest.split(), report)
        case "then":
            draft.then()
        case "paid_out":
            draft.paid_out["employee_payable"] = Decimal(rest)
        case "declared":
            draft.declared = True
        case "reversed":
            draft.reversed_on = date.fromisoformat(rest)
        case "closed" if "->" not in rest:
            draft.closed = _month(rest)
        case "closed" | "accrued":
            draft.origin, _, day = rest.split()
            draft.day = date.fromisoformat(day)
            draft.accrued = word == "accrued"
        case _:
            report["lines"].append(_read_line(text, len(report["lines"]) + 1))


def _read_advance(words: Sequence[str], draft: _Draft) -> dict[str, Any]:
    """`ADV1 1500.00`, and of an advance in another currency `ADV1 480.00 USD @ 7.15 paid 7.10`."""
    number, amount, *foreign = words
    claim: dict[str, Any] = {"number": number, "amount": amount}
    if foreign:
        claim["currency"] = foreign[0]
    for name, value in zip(foreign[1::2], foreign[2::2], strict=True):
        match name:
            case "@":
                claim["rate"] = _rate(value)
            case "paid":
                claim["paid_rate"] = value
            case _:
                raise _Unreadable(_FORMS["advance"], _meant(name, ("@", "paid")))
    return claim


def _read_moved(word: str, words: Sequence[str], report: Mapping[str, Any]) -> AdvanceOfCase:
    """`ADV1 1500.00`, and in another currency `ADV1 20.00 USD @ 7.12 paid 7.10`: on the day the report was handed in."""
    number, amount, *foreign = words
    wire: dict[str, Any] = {name: report[name] for name in ("company", "version", "employee", "currency")}
    wire |= {
        "number": number,
        "amount": amount,
        f"{'paid' if word == 'advanced' else 'returned'}_on": report["submitted_on"],
    }
    said = dict(zip(foreign[1::2], foreign[2::2], strict=True))
    if foreign:
        wire |= {"currency": foreign[0], "rate": _rate(said.pop("@"))}
    paid = said.pop("paid", None)
    if said:
        raise ValueError
    try:
        moved = _ADVANCES[word].validate_json(orjson.dumps(wire))
    except ValidationError as error:
        moved = Refusal(refused(error, prefix="data").findings)
    return AdvanceOfCase(moved, None if paid is None else Decimal(paid))


def _month(text: str) -> Period:
    """`2025-03` as a period that is closed."""
    begins = date.fromisoformat(f"{text}-01")
    ends = (begins + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return Period(text, begins, ends, "closed")


def _rate(value: str) -> dict[str, str]:
    return {"value": value, "date": "2025-03-27", "source": "PBOC"}


def _read_line(text: str, number: int) -> dict[str, Any]:
    """`travel.hotel 1060.00, card, vat_special 1000.00 + 60.00 certified`."""
    if _THOUSANDS.search(text):
        raise _Unreadable(_LINE_FORM, "write the amount without commas: 1060.00")
    first, *clauses = [clause.strip() for clause in text.split(",")]
    category, amount, *foreign = first.split()
    Decimal(amount)
    line: dict[str, Any] = {
        "line": number, "category": category, "date": "2025-03-27", "description": "", "amount": amount, "paid_by": "employee",
    }  # fmt: skip
    if foreign:
        line["currency"] = foreign[0]
    if len(foreign) > 1:
        _, value = foreign[1:]
        line["rate"] = _rate(value)
    for clause in clauses:
        _read_clause(line, clause)
    return line


def _read_clause(line: dict[str, Any], clause: str) -> None:
    word, *rest = clause.split() or [""]
    invoice = line.get("invoice", {"total": line["amount"]})
    try:
        match word:
            case "card":
                line["paid_by"] = "company_card"
            case "supplier":
                line["paid_by"] = "supplier"
            case "personal" | "department" | "project" | "cost_centre":
                line[word] = rest[0]
            case "dated":
                line["date"] = rest[0]
            case "described":
                line["description"] = " ".join(rest)
            case "days":
                line["days"] = int(rest[0])
            case "share":
                names = dict(zip(("department", "project", "cost_centre"), rest[1:], strict=False))
                line.setdefault("allocations", []).append({"share": rest[0], **names})
            case "invoice":
                line["invoice"] = {**invoice, "number": rest[0]}
            case "of":
                line["invoice"] = {**invoice, "total": rest[0]}
            case "air" if rest:
                fare, fuel, fee = [part for part in rest if part != "+"]
                line["invoice"] = {**invoice, "kind": "air", "fare": fare, "fuel": fuel, "airport_fee": fee}
            case _ if word in KINDS:
                line["invoice"] = {**invoice, "kind": word}
                amounts = [part for part in rest if re.match(r"-?\d", part)]
                if len(amounts) == 2:
                    line["invoice"] |= {"net": amounts[0], "tax": amounts[1]}
                if "certified" in rest or "pending" in rest:
                    line["invoice"]["certified"] = "certified" in rest
            case _:
                raise _Unreadable(f"a clause of an expense, not {word!r}", _meant(word, _CLAUSES))
    except (ValueError, IndexError):
        raise _Unreadable(_FORMS.get(word, _LINE_FORM), "write it in this form") from None


def _meant(word: str, known: Sequence[str]) -> str:
    close = get_close_matches(word, known, 1)
    return f"did you mean {close[0]}?" if close else f"use one of {', '.join(known)}"
