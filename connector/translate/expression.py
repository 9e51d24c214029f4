"""The expressions of a mapping book: conditions and rare arithmetic, exact and safe.

    line.category in ["travel.hotel", "travel.rail"] and amount > 1000
    "660299" if report.employee.department == "D09" else account
    round(amount * 0.06 / 1.06, 2)

A small part of Python's notation, read with `ast` and compiled to closures; nothing is ever executed as Python. Numbers are
exact decimals: what divides stands inside round(), which divides exactly and then rounds half up, once. Kinds of value are
checked when the book is loaded. A field that a report may lack can be compared with `==`, `!=` and `in`, where a missing
one equals only `none`; for anything else, coalesce() says what stands in for it.
"""

from __future__ import annotations

import ast
import datetime as dt
import operator
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from connector.translate.arithmetic import DECIMALS, DIGITS_MAX, EXACT, FRACTIONS, ROUNDING, half_up, sized
from connector.translate.expression_text import QUOTED, Fault, parse
from connector.translate.tables import ExpressionFailed, near
from connector.translate.vocabulary import (
    CURRENCIES,
    FUNCTIONS,
    KIND_NAMES,
    NAMES,
    UNITS,
    WORDS,
    Kind,
    Run,
    Term,
    fields_of,
    reader,
    through,
)
from contracts.findings import Finding

if TYPE_CHECKING:
    from connector.translate.book import Scope

TEXT_CHARACTERS_MAX = 4000
WHOLE_DIGITS_MAX = 14  # Of a result, before the point.
DECIMALS_MAX = 12
LISTED_MAX = 30  # Of the names that a refusal lists.
_LIMIT = Decimal(10) ** WHOLE_DIGITS_MAX

Wanted = Literal["boolean", "number", "text"]
_NOTHING: Mapping[str, Collection[str]] = {}


class ExpressionRefused(ValueError):
    """An expression that cannot be read. `findings` says why; `column` is where in the expression."""

    def __init__(self, source: str, column: int, findings: Sequence[Finding]) -> None:
        before = "".join("  " if unicodedata.east_asian_width(c) in "WF" else " " for c in source[: column - 1])
        shown = source.replace("\n", " ")
        super().__init__("\n".join([*map(str, findings), f"    {shown}", f"    {before}^"]))
        self.findings, self.column = tuple(findings), column


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression ready to be asked. `evaluate` gives a value of the wanted kind or raises ExpressionFailed, nothing else.

    `reads` names the fields it may read (`line.invoice.kind`), `constants` the texts it may give that stand in it word for
    word, so that accounts can be checked before any report comes.
    """

    source: str
    at: str
    evaluate: Callable[[Scope], Any]
    reads: frozenset[str]
    constants: frozenset[str]


def compile_expression(
    source: str, at: str, wants: Wanted, present: Collection[str] = (), known: Mapping[str, Collection[str]] = _NOTHING
) -> Compiled:
    """The expression as a function of a Scope. `present` says which of `line` and `advance` are always there, `known` the
    only texts that a field can be (`line.category`), so that a slip of the pen is told before any report comes.

    Raises ExpressionRefused for whatever is not a sound expression of the wanted kind, and never anything else.
    """
    try:
        return _Compiler(source, frozenset(present), known).compile(at, wants)
    except Fault as fault:
        finding = Finding("MAP-217", f"{at}, column {fault.column}", fault.expected, fault.got, fault.fix)
        raise ExpressionRefused(source, fault.column, (finding,)) from None


class _Compiler:
    def __init__(self, source: str, present: frozenset[str], known: Mapping[str, Collection[str]]) -> None:
        self._source = source
        self._known = known
        self._present = present
        self._reads: set[str] = set()
        self._dividing = 0  # Above 0, numbers are fractions: inside a round() that divides.

    def compile(self, at: str, wants: Wanted) -> Compiled:
        body = parse(self._source)
        term = self._term(body)
        if term.kind != wants or term.optional:
            missing = term.optional and term.kind == wants
            raise self._fault(
                body, f"a {wants}", f"a {wants} that may be missing" if missing else _a(term),
                "say with coalesce(..., ...) what stands in for it" if missing else _WANTED_FIXES[wants],
            )  # fmt: skip
        if wants == "number" and term.unit:
            self._one_currency(body, term, "report")
        run = _guarded(term.run, wants)
        return Compiled(self._source, at, run, frozenset(self._reads), frozenset(_outcomes(body)))

    def _term(self, node: ast.expr) -> Term:
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name() | ast.Attribute():
                return self._field(node)
            case ast.BoolOp():
                return self._all_or_any(node)
            case ast.UnaryOp():
                return self._signed(node)
            case ast.BinOp():
                return self._calculation(node)
            case ast.Compare():
                return self._comparison(node)
            case ast.IfExp():
                return self._choice(node)
            case ast.Call():
                return self._call(node)
        said, fix = _NOT_HERE.get(type(node).__name__, (f"{type(node).__name__.lower()}", "leave it out"))
        raise self._fault(node, "fields, values, comparisons, + - * / and functions", said, fix)

    def _constant(self, node: ast.Constant) -> Term:
        value = node.value
        if value is None:
            return Term("none", lambda scope: None, optional=True)
        if isinstance(value, bool):
            return Term("boolean", lambda scope: value)
        written = self._written(node)
        if isinstance(value, str):
            if not QUOTED.fullmatch(written):
                raise self._fault(
                    node, "one pair of quotes around a text, in one line", written[:40],
                    "put a comma between two texts, or join them with +",
                )  # fmt: skip
            return Term("text", lambda scope: value)
        if not _NUMBER.fullmatch(written):
            raise self._fault(
                node, f"a number like 1060.00, of at most {WHOLE_DIGITS_MAX} digits before the point and {DECIMALS_MAX} after it",
                written[:40], "write it with plain digits; text stands in quotes",
            )  # fmt: skip
        number: Decimal | Fraction = Fraction(written) if self._dividing else Decimal(written)
        return Term("number", lambda scope: number)

    def _field(self, node: ast.Name | ast.Attribute) -> Term:
        """A name, or a field of a record; where the record may be missing, so may the field."""
        if isinstance(node, ast.Name):
            if node.id in WORDS:
                return self._constant(ast.Constant(*WORDS[node.id]))
            return self._number(self._name(node))
        record = self._record(node.value)
        assert record.model is not None
        fields = fields_of(record.model)
        if node.attr not in fields:
            raise self._unknown(self._end(node.value) + 1, node.attr, fields, f"a field of {record.path}")
        term, whole = fields[node.attr]
        path = f"{record.path}.{node.attr}"
        if term.kind != "record":
            self._reads.add(path)
        run = reader(record, node.attr, path, whole)
        optional = record.optional or term.optional
        return self._number(replace(term, run=run, optional=optional, path=path, unit=UNITS.get(path, "")))

    def _record(self, node: ast.expr) -> Term:
        """What stands before a point: a record."""
        if not isinstance(node, ast.Name | ast.Attribute):
            raise self._fault(
                node, "a field like line.amount", "a point behind something else", "name the field in full"
            )
        term = self._field(node)
        if term.kind != "record":
            raise self._fault(
                node, "report, line, advance or a record of theirs before the point", _a(term), "correct the field"
            )
        return term

    def _name(self, node: ast.Name) -> Term:
        term = NAMES.get(node.id)
        if term is None:
            raise self._unknown(self._column(node), node.id, [*NAMES, *WORDS, *FUNCTIONS], "a name that is known here")
        if term.kind != "record":
            self._reads.add(node.id)
        optional = term.optional and node.id not in self._present
        return replace(term, optional=optional, path=node.id, unit=UNITS.get(node.id, ""))

    def _number(self, term: Term) -> Term:
        """Numbers of the report, as fractions where something is divided."""
        if term.kind != "number" or not self._dividing:
            return term
        return replace(term, run=through(term.run, Fraction))

    def _all_or_any(self, node: ast.BoolOp) -> Term:
        runs = [self._of("boolean", part, "and, or and not").run for part in node.values]
        both = isinstance(node.op, ast.And)
        if len(runs) == 2:
            first, second = runs
            if both:
                return Term("boolean", lambda scope: first(scope) and second(scope))
            return Term("boolean", lambda scope: first(scope) or second(scope))
        if both:
            return Term("boolean", lambda scope: all(run(scope) for run in runs))
        return Term("boolean", lambda scope: any(run(scope) for run in runs))

    def _signed(self, node: ast.UnaryOp) -> Term:
        if isinstance(node.op, ast.Not):
            run = self._of("boolean", node.operand, "and, or and not").run
            return Term("boolean", lambda scope: not run(scope))
        if isinstance(node.op, ast.USub | ast.UAdd):
            term = self._of("number", node.operand, "a sign")
            run = term.run
            if isinstance(node.op, ast.UAdd):
                return term
            if self._dividing:
                return Term("number", lambda scope: -run(scope), unit=term.unit)
            return Term("number", lambda scope: EXACT.minus(run(scope)), unit=term.unit)
        raise self._fault(node, "not, - or + before a value", "~", "leave it out")

    def _calculation(self, node: ast.BinOp) -> Term:
        sign = _SIGNS.get(type(node.op))
        if sign is None:
            raise self._fault(node, "+ - * /", _WRITTEN.get(type(node.op), "another sign"), "use + - * / and round()")
        left = self._term(node.left)
        if left.kind == "text" and sign == "+":
            self._sure(node.left, left, "+")
            joined = self._of("text", node.right, "+ behind a text").run
            first = left.run
            return Term("text", lambda scope: _bounded(first(scope) + joined(scope)))
        self._is("number", node.left, left, sign)
        right = self._of("number", node.right, sign)
        one, other, unit = left.run, right.run, self._unit(left, sign, right, node.right)
        if sign == "/" and not self._dividing:
            raise self._fault(
                node,
                "a division inside round()",
                "one outside it",
                "write round(... / ..., 2): what is divided has to be rounded",
            )
        if self._dividing:
            exact = FRACTIONS[sign]
            return Term("number", lambda scope: sized(exact(one(scope), other(scope))), unit=unit)
        combine = DECIMALS[sign]
        return Term("number", lambda scope: combine(one(scope), other(scope)), unit=unit)

    def _unit(self, left: Term, sign: str, right: Term, node: ast.expr) -> str:
        """In whose currency the result is an amount; a rate brings an amount into the report's and, divided by, back."""
        if sign in "+-":
            self._one_currency(node, right, left.unit)
            return left.unit or right.unit
        if sign == "*":
            for one, other in ((left.unit, right.unit), (right.unit, left.unit)):
                if other == f"{one} rate":
                    return "report"
            return "" if left.unit and right.unit else left.unit or right.unit
        if left.unit == "report" and right.unit.endswith(" rate"):
            return right.unit.removesuffix(" rate")
        return "" if right.unit else left.unit

    def _one_currency(self, node: ast.expr, term: Term, unit: str) -> None:
        """Two amounts meet only in one currency."""
        if term.unit == unit or not {term.unit, unit} <= _AMOUNTS.keys():
            return
        record = term.unit if unit == "report" else unit
        raise self._fault(
            node, f"an amount in {_AMOUNTS[unit]} currency", f"one in {_AMOUNTS[term.unit]}",
            f"multiply by the rate: {record}.amount * coalesce({record}.rate.value, 1)",
        )  # fmt: skip

    def _comparison(self, node: ast.Compare) -> Term:
        """One comparison, or a chain of them in which each value is asked for once."""
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn):
            return self._membership(node)
        nodes = [node.left, *node.comparators]
        tests: list[Callable[[Any, Any], bool]] = []
        for sign, right in zip(node.ops, node.comparators, strict=True):
            known = _COMPARISONS.get(type(sign))
            if known is None:
                fix = "compare with in on its own" if isinstance(sign, ast.In | ast.NotIn) else "use == or !="
                raise self._fault(right, "== != < <= > >=", _WRITTEN.get(type(sign), "another sign"), fix)
            tests.append(known)
        terms = [self._term(part) for part in nodes]
        for place, sign in enumerate(node.ops):
            self._comparable(nodes[place], terms[place], nodes[place + 1], terms[place + 1], sign)
        if len(terms) == 2:
            test, one, other = tests[0], terms[0].run, terms[1].run
            fixed = nodes[1]
            if isinstance(fixed, ast.Constant):
                value = other(None)
                return Term("boolean", lambda scope: test(one(scope), value))
            return Term("boolean", lambda scope: test(one(scope), other(scope)))
        runs = [term.run for term in terms]

        def chain(scope: Any) -> bool:
            before = runs[0](scope)
            for test, run in zip(tests, runs[1:], strict=True):
                after = run(scope)
                if not test(before, after):
                    return False
                before = after
            return True

        return Term("boolean", chain)

    def _comparable(self, left_node: ast.expr, left: Term, right_node: ast.expr, right: Term, sign: ast.cmpop) -> None:
        equality = isinstance(sign, ast.Eq | ast.NotEq)
        if equality and "none" in (left.kind, right.kind):
            self._reads.update(term.path for term in (left, right) if term.kind == "record")
            if not (left.optional and right.optional):
                there = left if right.kind == "none" else right
                raise self._fault(
                    right_node, "none beside a value that may be missing", f"{there.path or 'a value'}, which is always there",
                    "leave the comparison out",
                )  # fmt: skip
            return
        if left.kind != right.kind:
            raise self._fault(
                right_node, f"a {left.kind} to compare with a {left.kind}", _a(right), _kind_fix(left.kind, right.kind)
            )
        if left.kind in ("record", "list") or (not equality and left.kind not in ("number", "date", "time", "text")):
            raise self._fault(left_node, "values that can be compared so", _a(left), "compare its fields, or with none")
        if not equality:
            self._sure(left_node, left, _WRITTEN[type(sign)])
            self._sure(right_node, right, _WRITTEN[type(sign)])
        self._one_currency(right_node, right, left.unit)
        self._may_be(left, right_node)
        self._may_be(right, left_node)

    def _membership(self, node: ast.Compare) -> Term:
        among = node.comparators[0]
        if not isinstance(among, ast.List | ast.Tuple) or not among.elts:
            raise self._fault(
                among,
                'a list like ["a", "b"] behind in',
                "something else",
                'list the values; for a part of a text use contains(text, "part")',
            )
        left = self._term(node.left)
        if left.kind not in ("text", "number", "boolean", "date"):
            raise self._fault(node.left, "a text, a number or a date before in", _a(left), "name the field itself")
        values: set[Any] = set()
        for element in among.elts:
            term = self._term(element)
            if not _is_fixed(element):
                raise self._fault(
                    element, "fixed values in the list", "something to be worked out", "compare with == instead"
                )
            if term.kind not in (left.kind, "none"):
                raise self._fault(element, f"a {left.kind} in the list", _a(term), _kind_fix(left.kind, term.kind))
            self._may_be(left, element)
            values.add(term.run(None))
        run, fixed = left.run, frozenset(values)
        if isinstance(node.ops[0], ast.In):
            return Term("boolean", lambda scope: run(scope) in fixed)
        return Term("boolean", lambda scope: run(scope) not in fixed)

    def _choice(self, node: ast.IfExp) -> Term:
        test = self._of("boolean", node.test, "if").run
        then, otherwise = self._term(node.body), self._term(node.orelse)
        either, terms = [node.body, node.orelse], [then, otherwise]
        kind, unit = self._one_kind(either, terms, "if ... else"), self._one_unit(either, terms)
        yes, no = then.run, otherwise.run
        optional = then.optional or otherwise.optional
        return Term(kind, lambda scope: yes(scope) if test(scope) else no(scope), optional, unit=unit)

    def _one_kind(self, nodes: Sequence[ast.expr], terms: Sequence[Term], where: str) -> Kind:
        kind: Kind = next((term.kind for term in terms if term.kind != "none"), "none")
        for node, term in zip(nodes, terms, strict=True):
            if term.kind not in (kind, "none") or term.kind in ("record", "list"):
                expected = f"values of one kind in {where}" if term.kind not in ("record", "list") else "a value"
                raise self._fault(node, expected, _a(term), "give each the same kind: text in quotes, numbers without")
        return kind

    def _one_unit(self, nodes: Sequence[ast.expr], terms: Sequence[Term]) -> str:
        """What the amounts among the values are in."""
        unit = next((term.unit for term in terms if term.unit), "")
        for node, term in zip(nodes, terms, strict=True):
            self._one_currency(node, term, unit)
        return unit

    def _call(self, node: ast.Call) -> Term:
        if not isinstance(node.func, ast.Name):
            raise self._fault(
                node.func,
                f"a function: {', '.join(FUNCTIONS)}",
                "a call of something else",
                "name the function alone, its values in brackets",
            )
        name = node.func.id
        signature = FUNCTIONS.get(name)
        if signature is None:
            raise self._unknown(self._column(node.func), name, FUNCTIONS, "a function")
        if node.keywords or not signature.least <= len(node.args) <= signature.most:
            raise self._fault(
                node, signature.usage, f"{len(node.args) + len(node.keywords)} values", "give it the values it takes"
            )
        return getattr(self, f"_call_{signature.how}")(name, node)  # type: ignore[no-any-return]

    def _call_round(self, _: str, node: ast.Call) -> Term:
        inner, digits = node.args
        if not (
            isinstance(digits, ast.Constant) and isinstance(digits.value, int) and 0 <= digits.value <= DECIMALS_MAX
        ):
            raise self._fault(
                digits, f"how many decimals, 0 to {DECIMALS_MAX}", "something else", "write the number itself"
            )
        places = digits.value
        divides = any(isinstance(part, ast.Div) for part in ast.walk(inner))
        self._dividing += divides
        term = self._of("number", inner, "round()")
        run = term.run
        in_fractions = self._dividing > 0
        self._dividing -= divides
        if in_fractions:
            scale = 10**places
            return self._number(Term("number", lambda scope: half_up(run(scope), scale, places), unit=term.unit))
        last = Decimal(1).scaleb(-places)
        return Term("number", lambda scope: run(scope).quantize(last, context=ROUNDING), unit=term.unit)

    def _call_extreme(self, name: str, node: ast.Call) -> Term:
        terms = [self._term(part) for part in node.args]
        kind = self._one_kind(node.args, terms, f"{name}()")
        for part, term in zip(node.args, terms, strict=True):
            if kind not in ("number", "date"):
                raise self._fault(part, "numbers or dates", _a(term), "give it numbers or dates")
            self._is(kind, part, term, f"{name}()")
        unit = self._one_unit(node.args, terms)
        runs, choose = [term.run for term in terms], min if name == "min" else max
        return Term(kind, lambda scope: choose(run(scope) for run in runs), unit=unit)

    def _call_coalesce(self, name: str, node: ast.Call) -> Term:
        terms = [self._term(part) for part in node.args]
        kind, unit = self._one_kind(node.args, terms, f"{name}()"), self._one_unit(node.args, terms)
        runs = [term.run for term in terms]

        def first(scope: Any) -> Any:
            for run in runs:
                value = run(scope)
                if value is not None:
                    return value
            return None

        return Term(kind, first, all(term.optional for term in terms), unit=unit)

    def _call_abs(self, name: str, node: ast.Call) -> Term:
        term = self._of("number", node.args[0], f"{name}()")
        run, absolute = term.run, abs if self._dividing else EXACT.abs
        return Term("number", lambda scope: absolute(run(scope)), unit=term.unit)

    def _call_len(self, name: str, node: ast.Call) -> Term:
        term = self._term(node.args[0])
        if term.kind not in ("text", "list"):
            raise self._fault(node.args[0], "a text or a list of the report", _a(term), "give it a text")
        self._sure(node.args[0], term, f"{name}()")
        run = term.run
        return self._number(Term("number", lambda scope: Decimal(len(run(scope)))))

    def _call_letters(self, name: str, node: ast.Call) -> Term:
        run, change = self._of("text", node.args[0], f"{name}()").run, _LETTERS[name]
        return Term("text", lambda scope: _bounded(change(run(scope))))

    def _call_part(self, name: str, node: ast.Call) -> Term:
        text, part = (self._of("text", value, f"{name}()").run for value in node.args)
        test = _PARTS[name]
        return Term("boolean", lambda scope: test(text(scope), part(scope)))

    def _call_calendar(self, name: str, node: ast.Call) -> Term:
        term = self._term(node.args[0])
        if term.kind not in ("date", "time"):
            raise self._fault(node.args[0], "a date", _a(term), "give it a date like line.date")
        self._sure(node.args[0], term, f"{name}()")
        run, read = term.run, operator.attrgetter(name)
        return self._number(Term("number", lambda scope: Decimal(read(run(scope)))))

    def _call_days(self, name: str, node: ast.Call) -> Term:
        start, end = (self._of("date", value, f"{name}()").run for value in node.args)
        return self._number(Term("number", lambda scope: Decimal((end(scope) - start(scope)).days)))

    def _call_date(self, _: str, node: ast.Call) -> Term:
        written = node.args[0]
        if isinstance(written, ast.Constant) and isinstance(written.value, str) and _DAY.fullmatch(written.value):
            try:
                day = dt.date.fromisoformat(written.value)
            except ValueError:
                pass
            else:
                return Term("date", lambda scope: day)
        raise self._fault(
            written,
            'a day that exists, like date("2025-03-31")',
            "something else",
            "write year, month and day in quotes",
        )

    def _of(self, kind: Kind, node: ast.expr, where: str) -> Term:
        """The term of this kind; where it may be missing, that is a fault."""
        term = self._term(node)
        self._is(kind, node, term, where)
        return term

    def _is(self, kind: Kind, node: ast.expr, term: Term, where: str) -> None:
        if term.kind != kind:
            raise self._fault(node, f"a {kind} with {where}", _a(term), _kind_fix(kind, term.kind))
        self._sure(node, term, where)

    def _sure(self, node: ast.expr, term: Term, where: str) -> None:
        if term.optional:
            raise self._fault(
                node, f"a {term.kind} that is always there with {where}", f"{term.path or 'a value'}, which may be missing",
                f"write coalesce({term.path or '...'}, {_STAND_INS.get(term.kind, '...')})",
            )  # fmt: skip

    def _may_be(self, term: Term, node: ast.expr) -> None:
        """A text that the contract or the book never lets a field be is a slip of the pen."""
        choices = self._known.get(term.path, term.choices)
        if not choices or not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            return
        if node.value not in choices:
            what = "a currency in use (ISO 4217)" if choices is CURRENCIES else f"a value of {term.path}"
            raise self._unknown(self._column(node), node.value, choices, what, shown=True)

    def _unknown(self, column: int, name: str, known: Collection[str], what: str, *, shown: bool = False) -> Fault:
        few = len(known) <= LISTED_MAX
        fix = "write none" if name == "null" else near(name, known, "use one of those" if few else "correct it")
        every = f": {', '.join(sorted(known))}" if few else ""
        return Fault(column, f"{what}{every}", repr(name) if shown else name, fix)

    def _fault(self, node: ast.expr, expected: str, got: str, fix: str) -> Fault:
        return Fault(self._column(node), expected, got, fix)

    def _column(self, node: ast.expr) -> int:
        return self._characters(node.col_offset) + 1

    def _end(self, node: ast.expr) -> int:
        return self._characters(node.end_col_offset or 0) + 1

    def _written(self, node: ast.expr) -> str:
        return self._source[self._characters(node.col_offset) : self._characters(node.end_col_offset or 0)]

    def _characters(self, octets: int) -> int:
        """`ast` counts bytes, people count characters."""
        return len(self._source.encode()[:octets].decode(errors="ignore"))


def _guarded(run: Run, wants: Wanted) -> Callable[[Scope], Any]:
    """The expression with everything that can go wrong at run time told in one way."""

    def evaluate(scope: Scope) -> Any:
        try:
            value = run(scope)
        except ZeroDivisionError as error:
            raise ExpressionFailed("a division by zero") from error
        except ArithmeticError as error:
            raise ExpressionFailed(f"a number of more than {DIGITS_MAX} digits") from error
        except AttributeError as error:
            raise ExpressionFailed("a field of something that is not there") from error
        if wants != "number":
            return value
        if not -_LIMIT < value < _LIMIT:
            raise ExpressionFailed(f"a number of more than {WHOLE_DIGITS_MAX} digits")
        return value or abs(value)  # -0 is 0.

    return evaluate


def _bounded(text: str) -> str:
    if len(text) > TEXT_CHARACTERS_MAX:
        raise ExpressionFailed(f"a text of more than {TEXT_CHARACTERS_MAX} characters")
    return text


def _outcomes(node: ast.expr) -> list[str]:
    """The texts that an expression may give as they stand in it."""
    if isinstance(node, ast.IfExp):
        return [*_outcomes(node.body), *_outcomes(node.orelse)]
    if isinstance(node, ast.Call):
        return [text for part in node.args for text in _outcomes(part)] if _is_call(node, "coalesce") else []
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _is_call(node: ast.Call, name: str) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == name


def _is_fixed(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        return _is_fixed(node.operand)
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id in WORDS) or (
        isinstance(node, ast.Call) and _is_call(node, "date")
    )  # fmt: skip


def _a(term: Term) -> str:
    """What a term is, as a person says it."""
    said = KIND_NAMES[term.kind]
    return f"{term.path}, {said}" if term.path else said


def _kind_fix(wanted: Kind, got: Kind) -> str:
    if wanted == "text" and got == "number":
        return "put the text in quotes"
    if wanted == "number" and got == "text":
        return "leave the quotes out, or compare a field that is a number"
    if wanted in ("date", "time") and got == "text":
        return 'write date("2025-03-31")'
    if wanted == "boolean":
        return "compare it with something"
    return "correct the field or the value"


_AMOUNTS: Mapping[str, str] = {"report": "the report's", "line": "the line's", "advance": "the advance's"}
_STAND_INS: Mapping[Kind, str] = {"number": "0", "text": '""', "boolean": "false", "date": 'date("2025-01-01")'}
_WANTED_FIXES: Mapping[Wanted, str] = {
    "boolean": "compare something: amount > 1000",
    "number": "work out an amount: round(amount * 0.06, 2)",
    "text": "put the text in quotes",
}
_LETTERS: Mapping[str, Callable[[str], str]] = {"lower": str.lower, "upper": str.upper}
_PARTS: Mapping[str, Callable[[str, str], bool]] = {
    "startswith": str.startswith, "endswith": str.endswith, "contains": operator.contains,
}  # fmt: skip
_SIGNS: Mapping[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
_WRITTEN: Mapping[type[ast.AST], str] = {
    ast.Pow: "**", ast.Mod: "%", ast.FloorDiv: "//", ast.MatMult: "@", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
    ast.LShift: "<<", ast.RShift: ">>", ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
# What Python has and this language has not: how it is called, and what to write instead.
_NOT_HERE: Mapping[str, tuple[str, str]] = {
    "Lambda": ("a lambda", "write the condition itself"),
    "ListComp": ("a loop", "list the values"),
    "SetComp": ("a loop", "list the values"),
    "DictComp": ("a loop", "list the values"),
    "GeneratorExp": ("a loop", "list the values"),
    "JoinedStr": ("an f-string", "join texts with +"),
    "Subscript": ("square brackets behind a value", "name a field with a point"),
    "NamedExpr": (":=", "compare with =="),
    "Starred": ("a star", "leave it out"),
    "List": ("a list", "use it behind in"),
    "Tuple": ("a comma", "join conditions with and, or"),
    "Set": ("braces", "write a list in square brackets behind in"),
    "Dict": ("braces", "write a list in square brackets behind in"),
}
_NUMBER = re.compile(rf"[0-9]{{1,{WHOLE_DIGITS_MAX}}}(\.[0-9]{{1,{DECIMALS_MAX}}})?", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
