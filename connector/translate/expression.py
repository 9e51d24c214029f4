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
import types
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from difflib import get_close_matches
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from connector.translate.tables import ExpressionFailed as ExpressionFailed  # What compiled expressions raise.
from contracts.expense import AdvanceClaim, ExpenseReport, Line
from contracts.findings import SECRET_FIELDS, Finding

if TYPE_CHECKING:
    from connector.translate.book import Scope

CHARACTERS_MAX = 500
NODES_MAX = 200
DEPTH_MAX = 30
TEXT_CHARACTERS_MAX = 4000
DIGITS_MAX = 60  # Of any number on the way; an amount has 18.
WHOLE_DIGITS_MAX = 14  # Of a result, before the point.
DECIMALS_MAX = 12

Wanted = Literal["boolean", "number", "text"]
Kind = Literal["boolean", "number", "text", "date", "time", "list", "record", "none"]
Run = Callable[[Any], Any]

# Everything is exact or it is an error; only round() rounds.
_EXACT = Context(prec=DIGITS_MAX, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_ROUNDING = Context(prec=DIGITS_MAX, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow])
_LIMIT = Decimal(10) ** WHOLE_DIGITS_MAX


class ExpressionRefused(ValueError):
    """An expression that cannot be read. `findings` says why, each at its file, line and column in the expression."""

    def __init__(self, source: str, column: int, findings: Sequence[Finding]) -> None:
        before = "".join("  " if unicodedata.east_asian_width(c) in "WF" else " " for c in source[: column - 1])
        shown = source.replace("\n", " ")
        super().__init__("\n".join([*map(str, findings), f"    {shown}", f"    {before}^"]))
        self.findings = tuple(findings)


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


@dataclass(frozen=True, slots=True)
class _Term:
    """A part of an expression: what kind of value it has, whether that may be missing, and how to get it."""

    kind: Kind
    run: Run
    optional: bool = False
    choices: tuple[str, ...] = ()  # The only texts the contract lets this field be.
    model: type[BaseModel] | None = None  # Of a record.
    path: str = ""


class _Fault(Exception):
    def __init__(self, column: int, expected: str, got: str, fix: str) -> None:
        super().__init__(expected)
        self.column, self.expected, self.got, self.fix = column, expected, got, fix


def compile_expression(source: str, at: str, wants: Wanted, present: Collection[str] = ()) -> Compiled:
    """The expression as a function of a Scope. `present` says which of `line` and `advance` are always there.

    Raises ExpressionRefused for whatever is not a sound expression of the wanted kind, and never anything else.
    """
    try:
        return _Compiler(source, frozenset(present)).compile(at, wants)
    except _Fault as fault:
        finding = Finding("MAP-217", f"{at}, column {fault.column}", fault.expected, fault.got, fault.fix)
        raise ExpressionRefused(source, fault.column, (finding,)) from None


class _Compiler:
    def __init__(self, source: str, present: frozenset[str]) -> None:
        self._source = source
        self._present = present
        self._reads: set[str] = set()
        self._dividing = 0  # Above 0, numbers are fractions: inside a round() that divides.

    def compile(self, at: str, wants: Wanted) -> Compiled:
        body = _parse(self._source)
        term = self._term(body)
        if term.kind != wants or term.optional:
            missing = term.optional and term.kind == wants
            raise self._fault(
                body, f"a {wants}", f"a {wants} that may be missing" if missing else _a(term),
                "say with coalesce(..., ...) what stands in for it" if missing else _WANTED_FIXES[wants],
            )  # fmt: skip
        run = _guarded(term.run, wants)
        return Compiled(self._source, at, run, frozenset(self._reads), frozenset(_outcomes(body)))

    def _term(self, node: ast.expr) -> _Term:
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

    def _constant(self, node: ast.Constant) -> _Term:
        value = node.value
        if value is None:
            return _Term("none", lambda scope: None, optional=True)
        if isinstance(value, bool):
            return _Term("boolean", lambda scope: value)
        if isinstance(value, str):
            return _Term("text", lambda scope: value)
        written = self._written(node)
        if not _NUMBER.fullmatch(written):
            raise self._fault(
                node, f"a number like 1060.00, of at most {WHOLE_DIGITS_MAX} digits before the point and {DECIMALS_MAX} after it",
                written[:40], "write it with plain digits; text stands in quotes",
            )  # fmt: skip
        number: Decimal | Fraction = Fraction(written) if self._dividing else Decimal(written)
        return _Term("number", lambda scope: number)

    def _field(self, node: ast.Name | ast.Attribute) -> _Term:
        """A name, or a field of a record; where the record may be missing, so may the field."""
        if isinstance(node, ast.Name):
            if node.id in _WORDS:
                return self._constant(ast.Constant(*_WORDS[node.id]))
            return self._number(self._name(node))
        record = self._record(node.value)
        assert record.model is not None
        fields = _fields(record.model)
        if node.attr not in fields:
            raise self._unknown(self._end(node.value) + 1, node.attr, fields, f"a field of {record.path}")
        term, whole = fields[node.attr]
        path = f"{record.path}.{node.attr}"
        if term.kind != "record":
            self._reads.add(path)
        run = _reader(record, node.attr, path, whole)
        return self._number(replace(term, run=run, optional=record.optional or term.optional, path=path))

    def _record(self, node: ast.expr) -> _Term:
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

    def _name(self, node: ast.Name) -> _Term:
        term = _NAMES.get(node.id)
        if term is None:
            raise self._unknown(
                self._column(node), node.id, [*_NAMES, *_WORDS, *_FUNCTIONS], "a name that is known here"
            )
        if term.kind != "record":
            self._reads.add(node.id)
        optional = term.optional and node.id not in self._present
        return replace(term, optional=optional, path=node.id)

    def _number(self, term: _Term) -> _Term:
        """Numbers of the report, as fractions where something is divided."""
        if term.kind != "number" or not self._dividing:
            return term
        return replace(term, run=_through(term.run, Fraction))

    def _all_or_any(self, node: ast.BoolOp) -> _Term:
        runs = [self._of("boolean", part, "and, or and not").run for part in node.values]
        both = isinstance(node.op, ast.And)
        if len(runs) == 2:
            first, second = runs
            if both:
                return _Term("boolean", lambda scope: first(scope) and second(scope))
            return _Term("boolean", lambda scope: first(scope) or second(scope))
        if both:
            return _Term("boolean", lambda scope: all(run(scope) for run in runs))
        return _Term("boolean", lambda scope: any(run(scope) for run in runs))

    def _signed(self, node: ast.UnaryOp) -> _Term:
        if isinstance(node.op, ast.Not):
            run = self._of("boolean", node.operand, "and, or and not").run
            return _Term("boolean", lambda scope: not run(scope))
        if isinstance(node.op, ast.USub | ast.UAdd):
            run = self._of("number", node.operand, "a sign").run
            if isinstance(node.op, ast.UAdd):
                return _Term("number", run)
            if self._dividing:
                return _Term("number", lambda scope: -run(scope))
            return _Term("number", lambda scope: _EXACT.minus(run(scope)))
        raise self._fault(node, "not, - or + before a value", "~", "leave it out")

    def _calculation(self, node: ast.BinOp) -> _Term:
        sign = _SIGNS.get(type(node.op))
        if sign is None:
            raise self._fault(node, "+ - * /", _WRITTEN.get(type(node.op), "another sign"), "use + - * / and round()")
        left = self._term(node.left)
        if left.kind == "text" and sign == "+":
            self._sure(node.left, left, "+")
            joined = self._of("text", node.right, "+ behind a text").run
            first = left.run
            return _Term("text", lambda scope: _bounded(first(scope) + joined(scope)))
        self._is("number", node.left, left, sign)
        one, other = left.run, self._of("number", node.right, sign).run
        if sign == "/" and not self._dividing:
            raise self._fault(
                node,
                "a division inside round()",
                "one outside it",
                "write round(... / ..., 2): what is divided has to be rounded",
            )
        if self._dividing:
            exact = _FRACTIONS[sign]
            return _Term("number", lambda scope: _sized(exact(one(scope), other(scope))))
        combine = _DECIMALS[sign]
        return _Term("number", lambda scope: combine(one(scope), other(scope)))

    def _comparison(self, node: ast.Compare) -> _Term:
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
                return _Term("boolean", lambda scope: test(one(scope), value))
            return _Term("boolean", lambda scope: test(one(scope), other(scope)))
        runs = [term.run for term in terms]

        def chain(scope: Any) -> bool:
            before = runs[0](scope)
            for test, run in zip(tests, runs[1:], strict=True):
                after = run(scope)
                if not test(before, after):
                    return False
                before = after
            return True

        return _Term("boolean", chain)

    def _comparable(
        self, left_node: ast.expr, left: _Term, right_node: ast.expr, right: _Term, sign: ast.cmpop
    ) -> None:
        equality = isinstance(sign, ast.Eq | ast.NotEq)
        if equality and "none" in (left.kind, right.kind):
            self._reads.update(term.path for term in (left, right) if term.kind == "record")
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
        self._may_be(left, right_node)
        self._may_be(right, left_node)

    def _membership(self, node: ast.Compare) -> _Term:
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
            return _Term("boolean", lambda scope: run(scope) in fixed)
        return _Term("boolean", lambda scope: run(scope) not in fixed)

    def _choice(self, node: ast.IfExp) -> _Term:
        test = self._of("boolean", node.test, "if").run
        then, otherwise = self._term(node.body), self._term(node.orelse)
        kind = self._one_kind([node.body, node.orelse], [then, otherwise], "if ... else")
        yes, no = then.run, otherwise.run
        return _Term(kind, lambda scope: yes(scope) if test(scope) else no(scope), then.optional or otherwise.optional)

    def _one_kind(self, nodes: Sequence[ast.expr], terms: Sequence[_Term], where: str) -> Kind:
        kind: Kind = next((term.kind for term in terms if term.kind != "none"), "none")
        for node, term in zip(nodes, terms, strict=True):
            if term.kind not in (kind, "none") or term.kind in ("record", "list"):
                expected = f"values of one kind in {where}" if term.kind not in ("record", "list") else "a value"
                raise self._fault(node, expected, _a(term), "give each the same kind: text in quotes, numbers without")
        return kind

    def _call(self, node: ast.Call) -> _Term:
        if not isinstance(node.func, ast.Name):
            raise self._fault(
                node.func,
                f"a function: {', '.join(_FUNCTIONS)}",
                "a call of something else",
                "name the function alone, its values in brackets",
            )
        name = node.func.id
        signature = _FUNCTIONS.get(name)
        if signature is None:
            raise self._unknown(self._column(node.func), name, _FUNCTIONS, "a function")
        if node.keywords or not signature.least <= len(node.args) <= signature.most:
            raise self._fault(
                node, signature.usage, f"{len(node.args) + len(node.keywords)} values", "give it the values it takes"
            )
        return getattr(self, f"_call_{signature.how}")(name, node)  # type: ignore[no-any-return]

    def _call_round(self, _: str, node: ast.Call) -> _Term:
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
        run = self._of("number", inner, "round()").run
        in_fractions = self._dividing > 0
        self._dividing -= divides
        if in_fractions:
            scale = 10**places
            return self._number(_Term("number", lambda scope: _half_up(run(scope), scale, places)))
        unit = Decimal(1).scaleb(-places)
        return _Term("number", lambda scope: run(scope).quantize(unit, context=_ROUNDING))

    def _call_extreme(self, name: str, node: ast.Call) -> _Term:
        terms = [self._term(part) for part in node.args]
        kind = self._one_kind(node.args, terms, f"{name}()")
        for part, term in zip(node.args, terms, strict=True):
            if kind not in ("number", "date"):
                raise self._fault(part, "numbers or dates", _a(term), "give it numbers or dates")
            self._sure(part, term, f"{name}()")
        runs, choose = [term.run for term in terms], min if name == "min" else max
        return _Term(kind, lambda scope: choose(run(scope) for run in runs))

    def _call_coalesce(self, name: str, node: ast.Call) -> _Term:
        terms = [self._term(part) for part in node.args]
        kind = self._one_kind(node.args, terms, f"{name}()")
        runs = [term.run for term in terms]

        def first(scope: Any) -> Any:
            for run in runs:
                value = run(scope)
                if value is not None:
                    return value
            return None

        return _Term(kind, first, all(term.optional for term in terms))

    def _call_abs(self, name: str, node: ast.Call) -> _Term:
        run = self._of("number", node.args[0], f"{name}()").run
        absolute: Run = abs if self._dividing else _EXACT.abs
        return _Term("number", lambda scope: absolute(run(scope)))

    def _call_len(self, name: str, node: ast.Call) -> _Term:
        term = self._term(node.args[0])
        if term.kind not in ("text", "list"):
            raise self._fault(node.args[0], "a text or a list of the report", _a(term), "give it a text")
        self._sure(node.args[0], term, f"{name}()")
        run = term.run
        return self._number(_Term("number", lambda scope: Decimal(len(run(scope)))))

    def _call_letters(self, name: str, node: ast.Call) -> _Term:
        run, change = self._of("text", node.args[0], f"{name}()").run, _LETTERS[name]
        return _Term("text", lambda scope: _bounded(change(run(scope))))

    def _call_part(self, name: str, node: ast.Call) -> _Term:
        text, part = (self._of("text", value, f"{name}()").run for value in node.args)
        test = _PARTS[name]
        return _Term("boolean", lambda scope: test(text(scope), part(scope)))

    def _call_calendar(self, name: str, node: ast.Call) -> _Term:
        term = self._term(node.args[0])
        if term.kind not in ("date", "time"):
            raise self._fault(node.args[0], "a date", _a(term), "give it a date like line.date")
        self._sure(node.args[0], term, f"{name}()")
        run, read = term.run, operator.attrgetter(name)
        return self._number(_Term("number", lambda scope: Decimal(read(run(scope)))))

    def _call_days(self, name: str, node: ast.Call) -> _Term:
        start, end = (self._of("date", value, f"{name}()").run for value in node.args)
        return self._number(_Term("number", lambda scope: Decimal((end(scope) - start(scope)).days)))

    def _call_date(self, _: str, node: ast.Call) -> _Term:
        written = node.args[0]
        if isinstance(written, ast.Constant) and isinstance(written.value, str) and _DAY.fullmatch(written.value):
            try:
                day = dt.date.fromisoformat(written.value)
            except ValueError:
                pass
            else:
                return _Term("date", lambda scope: day)
        raise self._fault(
            written,
            'a day that exists, like date("2025-03-31")',
            "something else",
            "write year, month and day in quotes",
        )

    def _of(self, kind: Kind, node: ast.expr, where: str) -> _Term:
        """The term of this kind; where it may be missing, that is a fault."""
        term = self._term(node)
        self._is(kind, node, term, where)
        return term

    def _is(self, kind: Kind, node: ast.expr, term: _Term, where: str) -> None:
        if term.kind != kind:
            raise self._fault(node, f"a {kind} with {where}", _a(term), _kind_fix(kind, term.kind))
        self._sure(node, term, where)

    def _sure(self, node: ast.expr, term: _Term, where: str) -> None:
        if term.optional:
            raise self._fault(
                node, f"a {term.kind} that is always there with {where}", f"{term.path or 'a value'}, which may be missing",
                f"write coalesce({term.path or '...'}, {_STAND_INS.get(term.kind, '...')})",
            )  # fmt: skip

    def _may_be(self, term: _Term, node: ast.expr) -> None:
        """A text that the contract never lets a field be is a slip of the pen."""
        if (
            term.choices
            and isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value not in term.choices
        ):
            raise self._unknown(self._column(node), node.value, term.choices, f"a value of {term.path}", shown=True)

    def _unknown(self, column: int, name: str, known: Collection[str], what: str, *, shown: bool = False) -> _Fault:
        near = get_close_matches(name, known, n=1, cutoff=0.6)
        every = ", ".join(known)
        return _Fault(
            column, f"{what}: {every}" if len(every) <= 160 or not near else what, repr(name) if shown else name,
            f"did you mean {near[0]}?" if near else "use one of those",
        )  # fmt: skip

    def _fault(self, node: ast.expr, expected: str, got: str, fix: str) -> _Fault:
        return _Fault(self._column(node), expected, got, fix)

    def _column(self, node: ast.expr) -> int:
        return self._characters(node.col_offset) + 1

    def _end(self, node: ast.expr) -> int:
        return self._characters(node.end_col_offset or 0) + 1

    def _written(self, node: ast.expr) -> str:
        return self._source[self._characters(node.col_offset) : self._characters(node.end_col_offset or 0)]

    def _characters(self, octets: int) -> int:
        """`ast` counts bytes, people count characters."""
        return len(self._source.encode()[:octets].decode(errors="ignore"))


def _parse(source: str) -> ast.expr:
    """The tree of an expression within all limits; whatever Python's parser would only warn about is refused before it."""
    if len(source) > CHARACTERS_MAX:
        raise _Fault(
            CHARACTERS_MAX + 1, f"at most {CHARACTERS_MAX} characters", str(len(source)), "say it in the tables instead"
        )
    unquoted = _QUOTED.sub(lambda found: '"' + " " * (len(found[0]) - 2) + '"', source)
    strange = _STRANGE.search(unquoted)
    if strange is not None:
        letter = strange[0]
        fix = next(said for holds, said in _STRANGE_FIXES if holds(letter))
        raise _Fault(strange.start() + 1, "letters a-z, digits and signs outside quotes", repr(letter), fix)
    if "\\" in source:
        raise _Fault(source.index("\\") + 1, "text without backslashes", "\\", "write the letter itself")
    plain = source.replace("\n", " ").replace("\r", " ").replace("\t", " ")
    indent = len(plain) - len(plain.lstrip())
    if indent == len(plain):
        raise _Fault(1, "an expression", "nothing", "write one, or leave the key out")
    try:
        body = ast.parse(plain[indent:], mode="eval").body
    except SyntaxError as error:
        # Python says where; the words are its own.
        raise _Fault(
            min((error.offset or 1) + indent, len(source)), "an expression", error.msg,
            'text stands in quotes; compare with ==; join conditions with and, or, not',
        ) from None  # fmt: skip
    except (ValueError, MemoryError, RecursionError):
        raise _Fault(1, "an expression", "something unreadable", "write it anew") from None
    if indent:
        for part in ast.walk(body):
            if isinstance(part, ast.expr):
                part.col_offset += indent
                part.end_col_offset = (part.end_col_offset or 0) + indent
    _measure(body)
    return body


def _measure(body: ast.expr) -> None:
    level: list[ast.expr] = [body]
    nodes = depth = 0
    while level:
        nodes, depth = nodes + len(level), depth + 1
        if nodes > NODES_MAX or depth > DEPTH_MAX:
            limit = f"at most {NODES_MAX} parts, {DEPTH_MAX} deep"
            raise _Fault(1, limit, "more", "make several rules of it, or say it in the tables")
        level = [inner for part in level for inner in ast.iter_child_nodes(part) if isinstance(inner, ast.expr)]


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


_FRACTION_MAX = 10**300


def _sized(value: Fraction) -> Fraction:
    if abs(value.numerator) > _FRACTION_MAX or value.denominator > _FRACTION_MAX:
        raise ExpressionFailed("a fraction of more than 300 digits")
    return value


def _half_up(value: Fraction, scale: int, places: int) -> Decimal:
    """The fraction rounded half up (away from zero), exactly: no digit is lost before."""
    numerator, denominator = abs(value.numerator) * scale, value.denominator
    whole = (2 * numerator + denominator) // (2 * denominator)
    return _EXACT.scaleb(_EXACT.create_decimal(whole if value >= 0 else -whole), -places)


def _reader(record: _Term, name: str, path: str, whole: bool) -> Run:
    """How to get a field: in one step where its record is always there, else only where it is."""
    read: Run = _through(record.run, operator.attrgetter(name)) if record.optional else operator.attrgetter(path)
    return _through(read, Decimal) if whole else read


def _through(get: Run, change: Run) -> Run:
    """What is got, changed where there is something."""
    return lambda scope: None if (found := get(scope)) is None else change(found)


@lru_cache
def _fields(model: type[BaseModel]) -> Mapping[str, tuple[_Term, bool]]:
    """The fields of a contract type that an expression may name, and whether each is a whole number there."""
    found: dict[str, tuple[_Term, bool]] = {}
    for name, info in model.model_fields.items():
        plain, optional = _without_none(info.annotation)
        kind = _kind(plain)
        if kind is not None and name not in SECRET_FIELDS:
            choices = get_args(plain) if get_origin(plain) is Literal else ()
            found[name] = (
                _Term(kind, _nothing, optional, choices, plain if kind == "record" else None, name),
                plain is int,
            )
    return found


def _nothing(scope: Any) -> None:
    raise AssertionError("a field is read through its record")


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """A type without its metadata and without `| None`, and whether that was there."""
    if get_origin(annotation) is Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        assert len(rest) == 1, "a field of a report is of one type"
        return _without_none(rest[0])[0], True
    return annotation, False


def _kind(plain: Any) -> Kind | None:
    if get_origin(plain) is Literal:
        return "text"
    if get_origin(plain) is tuple:
        return "list"
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return "record"
    return _KINDS.get(plain)


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
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id in _WORDS) or (
        isinstance(node, ast.Call) and _is_call(node, "date")
    )  # fmt: skip


def _a(term: _Term) -> str:
    """What a term is, as a person says it."""
    said = _KIND_NAMES[term.kind]
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


@dataclass(frozen=True, slots=True)
class _Signature:
    how: str
    least: int
    most: int
    usage: str


_FUNCTIONS: Mapping[str, _Signature] = {
    "round": _Signature("round", 2, 2, "round(a, 2)"),
    "min": _Signature("extreme", 2, 20, "min(a, b)"),
    "max": _Signature("extreme", 2, 20, "max(a, b)"),
    "abs": _Signature("abs", 1, 1, "abs(a)"),
    "len": _Signature("len", 1, 1, "len(text)"),
    "lower": _Signature("letters", 1, 1, "lower(text)"),
    "upper": _Signature("letters", 1, 1, "upper(text)"),
    "startswith": _Signature("part", 2, 2, 'startswith(text, "part")'),
    "endswith": _Signature("part", 2, 2, 'endswith(text, "part")'),
    "contains": _Signature("part", 2, 2, 'contains(text, "part")'),
    "day": _Signature("calendar", 1, 1, "day(date)"),
    "month": _Signature("calendar", 1, 1, "month(date)"),
    "year": _Signature("calendar", 1, 1, "year(date)"),
    "days": _Signature("days", 2, 2, "days(from, to)"),
    "date": _Signature("date", 1, 1, 'date("2025-03-31")'),
    "coalesce": _Signature("coalesce", 2, 20, "coalesce(a, b)"),
}
_NAMES: Mapping[str, _Term] = {
    "report": _Term("record", operator.attrgetter("report"), model=ExpenseReport),
    "line": _Term("record", operator.attrgetter("line"), optional=True, model=Line),
    "advance": _Term("record", operator.attrgetter("advance"), optional=True, model=AdvanceClaim),
    "amount": _Term("number", operator.attrgetter("amount")),
    "account": _Term("text", operator.attrgetter("account")),
    "department": _Term("text", operator.attrgetter("department")),
}
_WORDS: Mapping[str, tuple[bool | None]] = {"true": (True,), "false": (False,), "none": (None,)}
_KINDS: Mapping[Any, Kind] = {
    str: "text", bool: "boolean", int: "number", Decimal: "number", dt.date: "date", dt.datetime: "time",
}  # fmt: skip
_KIND_NAMES: Mapping[Kind, str] = {
    "boolean": "a boolean", "number": "a number", "text": "a text", "date": "a date", "time": "a time",
    "list": "a list", "record": "a record", "none": "none",
}  # fmt: skip
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
_DECIMALS: Mapping[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": _EXACT.add, "-": _EXACT.subtract, "*": _EXACT.multiply,
}  # fmt: skip
_FRACTIONS: Mapping[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip
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
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
# Outside quotes: letters that are not ASCII, a comment (it would swallow the next line), =, and a number with a letter at its
# end, a leading zero, or no digit before its point. No name has a digit in it.
_STRANGE = re.compile(
    r"[^\x20-\x7e\t\r\n]|#|(?<![=!<>:])=(?!=)|[0-9.]*[0-9][A-Za-z_]|(?<![0-9.])0[0-9]+|(?<![0-9])\.[0-9]"
)
_STRANGE_FIXES: Sequence[tuple[Callable[[str], bool], str]] = (
    (lambda letter: letter == "=", "compare with =="),
    (lambda letter: letter == "#", "put text in quotes; notes stand above the rule"),
    (lambda letter: letter[0] in ".0123456789", "write numbers with plain digits and a point; put codes in quotes"),
    (lambda letter: unicodedata.normalize("NFKC", letter).isascii(), "write it in half width"),
    (lambda letter: True, "put text in quotes"),
)
_NUMBER = re.compile(rf"[0-9]{{1,{WHOLE_DIGITS_MAX}}}(\.[0-9]{{1,{DECIMALS_MAX}}})?", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
