"""The rules of a mapping book: what book.yaml says, checked against the contract and the chart, and compiled once."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from connector.translate.book import BOOK_FILE, MemoOf, Pair, Rule, Scope
from connector.translate.tables import OPTIONAL_ROW_TYPES, ROW_TYPES, ChartRow, Whole, YesNo, bad, near
from connector.translate.yaml_text import Marks, Place, read_yaml
from contracts.expense import AdvanceClaim, ExpenseReport, Line
from contracts.findings import Finding
from contracts.voucher import MappedRole, Role

if TYPE_CHECKING:
    from connector.translate.expression import Wanted

RULES_MAX = 500
FILES_MAX = 100  # Of one table: a group may keep one for each company.

_TABLES = {**ROW_TYPES, **OPTIONAL_ROW_TYPES}

_Id = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.-]{0,59}$")]
_Title = Annotated[Mapping[str, str], Field(default_factory=dict)]
_FileNames = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+\.(csv|xlsx)$")], ...],
    BeforeValidator(lambda names: [part.strip() for part in names.split(",")] if isinstance(names, str) else names),
    Field(min_length=1, max_length=FILES_MAX),
]


Known = Mapping[str, Collection[str]]  # The only texts that a field can be, by its path.


class _RuleText(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: _Id
    role: MappedRole
    when: str | None = None
    account: str | None = None
    priority: Whole = Field(default=0, ge=-1000, le=1000)
    merge: YesNo = False
    memo: Annotated[str, StringConstraints(max_length=200)] | None = None
    title: _Title


class _PairText(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: _Id
    when: str | None = None
    debit: str
    credit: str
    amount: str
    merge: YesNo = False
    title: _Title


class BookText(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]
    version: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    title: _Title
    tables: Mapping[str, _FileNames]
    rules: Annotated[list[_RuleText], Field(min_length=1, max_length=RULES_MAX)]
    pairs: Annotated[list[_PairText], Field(max_length=RULES_MAX)] = Field(default_factory=list)


# Which of `line` and `advance` a voucher line of a role always comes from.
_PRESENT: Mapping[Role, tuple[str, ...]] = {
    **dict.fromkeys(
        ("expense", "accrual", "non_deductible_tax", "input_tax", "pending_tax", "tax_transfer_out"), ("line",)
    ),
    **dict.fromkeys(("advance", "exchange_difference", "bank"), ("advance",)),
}
# Roles that every book has a rule for; a book without advances in other currencies, accruals or payments needs no more.
_ROLES: tuple[Role, ...] = (
    "expense", "non_deductible_tax", "input_tax", "pending_tax", "tax_transfer_out", "rounding",
    "employee_receivable", "advance", "employee_payable", "card_clearing", "supplier_payable",
)  # fmt: skip


def read_book_text(content: bytes, findings: list[Finding]) -> tuple[BookText, Marks] | None:
    read = read_yaml(BOOK_FILE, content, findings)
    if read is None:
        return None
    document, marks = read
    empty = [place for place, node in marks.scalars.items() if node.tag == "tag:yaml.org,2002:null"]
    if empty:
        fix = "write one, or leave the key out"
        findings += [bad(f"{BOOK_FILE}:{marks[place]}", f"a value for {place[-1]}", "nothing", fix) for place in empty]
        return None
    try:
        return BookText.model_validate(document), marks
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            place = detail["loc"]
            while place and place not in marks:
                place = place[:-1]
            findings.append(_text_fault(f"{BOOK_FILE}:{marks.get(place, 1)}", detail))
    return None


def _text_fault(at: str, detail: ErrorDetails) -> Finding:
    """What pydantic found wrong in book.yaml, with the name that was meant where one is near."""
    place = detail["loc"]
    last = place[-1] if place else ""
    if detail["type"] == "extra_forbidden":
        texts: Mapping[str, type[BaseModel]] = {"rules": _RuleText, "pairs": _PairText}
        known = (texts.get(str(place[0]), BookText) if len(place) > 1 else BookText).model_fields
        return bad(at, f"keys {', '.join(known)}", str(last), near(str(last), known, "remove the key"))
    name, got = ".".join(map(str, place)) or "book", detail["input"]
    if detail["type"] == "written":
        return bad(at, f"{name}: {detail['msg']}", repr(got)[:80], str(detail["ctx"]["fix"]))
    fix = near(got, get_args(MappedRole), "correct it") if last == "role" and isinstance(got, str) else "correct it"
    return bad(at, f"{name}: {detail['msg']}", repr(got)[:80], fix)


def compile_rules(
    text: BookText, marks: Marks, chart: Mapping[str, ChartRow], known: Known, findings: list[Finding]
) -> Mapping[Role, Rule]:
    """For each role the rule that is asked first; the others hang on it. A higher priority is asked first, then the file's
    order."""
    chains: dict[Role, list[Rule]] = {}
    ids: set[str] = set()
    order = sorted(range(len(text.rules)), key=lambda place: -text.rules[place].priority)
    for position in order:
        rule = text.rules[position]
        at = f"{BOOK_FILE}:{marks.get(('rules', position), 1)}"
        _check_id(rule.id, at, ids, findings)
        earlier = chains.setdefault(rule.role, [])
        if earlier and text.rules[earlier[-1].position].when is None:
            findings.append(
                bad(
                    at, f"one rule per role, or a condition (when) on {earlier[-1].id}, which is asked before",
                    f"{rule.id} for {rule.role}, which no line can reach", "add the condition, or remove one of them",
                )
            )  # fmt: skip
        place = ("rules", position)
        earlier.append(
            Rule(
                rule.id, rule.role, rule.merge, _memo(rule.memo, at, findings), at, position, rule.title,
                _expression(rule.when, "boolean", (*place, "when"), _PRESENT.get(rule.role, ()), marks, known, findings),
                _named_account(rule, (*place, "account"), marks, chart, known, findings),
            )
        )  # fmt: skip
    for role in _ROLES:
        if role not in chains:
            findings.append(bad(BOOK_FILE, f"a rule for the role {role}", "none", "add it under rules"))
    for name in sorted(text.tables.keys() - _TABLES.keys()):
        at = f"{BOOK_FILE}:{marks.get(('tables', name), 1)}"
        findings.append(bad(at, f"tables {', '.join(_TABLES)}", name, near(name, _TABLES, "remove it")))
    return {role: _chained(rules) for role, rules in chains.items()}


def _chained(rules: Sequence[Rule]) -> Rule:
    last: Rule | None = None
    for rule in reversed(rules):
        last = replace(rule, otherwise=last)
    assert last is not None, "a role is known by its rules"
    return last


def compile_pairs(
    text: BookText, marks: Marks, chart: Mapping[str, ChartRow], known: Known, findings: list[Finding]
) -> tuple[Pair, ...]:
    ids = {rule.id for rule in text.rules}
    pairs: list[Pair] = []
    for position, pair in enumerate(text.pairs):
        place = ("pairs", position)
        at = f"{BOOK_FILE}:{marks.get(place, 1)}"
        _check_id(pair.id, at, ids, findings)
        for side, account in (("debit", pair.debit), ("credit", pair.credit)):
            if account not in chart:
                line = marks.get((*place, side), 1)
                findings.append(_not_in_chart(f"{BOOK_FILE}:{line}", account, chart))
        amount = _expression(pair.amount, "number", (*place, "amount"), ("line",), marks, known, findings)
        when = _expression(pair.when, "boolean", (*place, "when"), ("line",), marks, known, findings)
        if amount is not None:
            # Behind the rules, so that its lines stand below theirs.
            where = len(text.rules) + position
            pairs.append(Pair(pair.id, pair.debit, pair.credit, amount, when, pair.merge, at, where, pair.title))
    return tuple(pairs)


def _check_id(name: str, at: str, ids: set[str], findings: list[Finding]) -> None:
    if name in ids:
        findings.append(bad(at, "one rule per id", name, "rename one of them"))
    ids.add(name)


def _expression(
    source: str | None, wants: Wanted, place: Place, present: Sequence[str], marks: Marks, known: Known, findings: list[Finding],
    constants: set[str] | None = None,
) -> Callable[[Scope], Any] | None:  # fmt: skip
    """The expression at a place of book.yaml, ready to be asked; None with a finding where it is no sound one."""
    if source is None:
        return None
    from connector.translate.expression import ExpressionRefused, compile_expression  # most rules have no condition

    try:
        compiled = compile_expression(source, f"{BOOK_FILE}:{marks.get(place, 1)}", wants, present, known)
    except ExpressionRefused as refused:
        line, column = marks.position(place, refused.column)
        findings.extend(replace(found, path=f"{BOOK_FILE}:{line}, column {column}") for found in refused.findings)
        return None
    if constants is not None:
        constants |= compiled.constants
    return compiled.evaluate


def _named_account(
    rule: _RuleText, place: Place, marks: Marks, chart: Mapping[str, ChartRow], known: Known, findings: list[Finding]
) -> Callable[[Scope], str] | None:
    """The account that a rule names: an account of the chart as it stands there, or an expression that gives one."""
    if rule.account is None:
        return None
    if rule.account in chart:
        fixed = rule.account
        return lambda scope: fixed
    at = f"{BOOK_FILE}:{marks.get(place, 1)}"
    if _CODE.fullmatch(rule.account):
        findings.append(_not_in_chart(at, rule.account, chart))
        return None
    constants: set[str] = set()
    found = _expression(rule.account, "text", place, _PRESENT.get(rule.role, ()), marks, known, findings, constants)
    findings.extend(_not_in_chart(at, account, chart) for account in sorted(constants - chart.keys()))
    return found


_CODE = re.compile(r"[0-9][A-Za-z0-9._-]*")  # An account as it stands: no expression begins so.


def _not_in_chart(at: str, account: str, chart: Mapping[str, ChartRow]) -> Finding:
    return bad(
        at,
        "an account of the chart",
        account,
        near(account, chart, "add the account to the chart table, or correct it"),
    )


_MEMO_FIELDS: Mapping[str, MemoOf] = {
    "description": lambda report, line, advance: (line.description or None) if line is not None else None,
    "category": lambda report, line, advance: line.category if line is not None else None,
    "advance": lambda report, line, advance: advance.number if advance is not None else None,
    "number": lambda report, line, advance: report.number,
    "title": lambda report, line, advance: report.title or None,
    "employee": lambda report, line, advance: report.employee.name,
}
_FIELD = re.compile(r"\{([^{}]*)\}")


def _memo(template: str | None, at: str, findings: list[Finding]) -> MemoOf | None:
    """`{description} ({employee})` as a function."""
    if not template:
        return None
    parts = _FIELD.split(template)  # Text and field names take turns.
    for name in parts[1::2]:
        if name not in _MEMO_FIELDS:
            findings.append(
                bad(
                    at,
                    f"memo fields {', '.join(_MEMO_FIELDS)}",
                    f"{{{name}}}",
                    near(name, _MEMO_FIELDS, "correct the name in the braces"),
                )
            )
            return None
    if any("{" in text or "}" in text for text in parts[::2]):
        findings.append(
            bad(at, f"memo fields {', '.join(_MEMO_FIELDS)}", template, "close the braces, or leave them out")
        )
        return None
    if len(parts) == 3 and not parts[0] and not parts[2]:
        return _MEMO_FIELDS[parts[1]]
    pieces: list[str | MemoOf] = [part if i % 2 == 0 else _MEMO_FIELDS[part] for i, part in enumerate(parts)]

    def memo(report: ExpenseReport, line: Line | None, advance: AdvanceClaim | None) -> str | None:
        said = "".join(piece if isinstance(piece, str) else piece(report, line, advance) or "" for piece in pieces)
        return said[:1000].strip() or None

    return memo
