"""The expressions of a mapping book: exact, checked before any report comes, and never anything but a value or a refusal."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.translate.book import Scope
from connector.translate.expression import Compiled, ExpressionRefused, Wanted, compile_expression
from connector.translate.expression_text import CHARACTERS_MAX
from connector.translate.tables import ExpressionFailed
from contracts.expense import AdvanceClaim, Employee, ExpenseReport, Invoice, Line, Rate

LINE = Line(
    line=1,
    category="travel.hotel",
    date=date(2025, 3, 28),
    description="北京酒店",
    amount=Decimal("1060.00"),
    currency="CNY",
    paid_by="employee",
    days=3,
    invoice=Invoice(kind="vat_special", number="12345678", tax=Decimal("60.00")),
)
REPORT = ExpenseReport(
    company="C01",
    number="EXP-1",
    version=2,
    employee=Employee(id="E017", name="张三", department="D01"),
    currency="CNY",
    title="出差",
    submitted_on=date(2025, 4, 1),
    approved_at=datetime(2025, 4, 3, 10, tzinfo=UTC),
    lines=(LINE,),
    total=Decimal("1060.00"),
)
BARE = Line(
    line=1,
    category="travel.taxi",
    date=date(2025, 3, 28),
    description="",
    amount=Decimal("10.00"),
    currency="CNY",
    paid_by="employee",
)
SCOPE = Scope(REPORT, LINE, None, Decimal("1000.00"), "660201", "D01")
LINES = ("line",)


def compiled(source: str, wants: Wanted = "boolean", present: tuple[str, ...] = LINES) -> Compiled:
    return compile_expression(source, "book.yaml:31", wants, present)


def value(source: str, wants: Wanted = "boolean", scope: Scope = SCOPE) -> Any:
    return compiled(source, wants, ()).evaluate(scope)


def refusal(source: str, wants: Wanted = "boolean") -> str:
    with pytest.raises(ExpressionRefused) as refused:
        compiled(source, wants)
    (finding,) = refused.value.findings
    assert finding.code == "MAP-217"
    return str(finding)


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ('line.category == "travel.hotel"', True),
        ('line.category in ["travel.rail", "travel.hotel"] and amount > 1000', False),
        ('line.category in ("travel.rail", "travel.hotel") and amount >= 1000.00', True),
        ('line.category not in ["travel.rail"]', True),
        ('line.project in [none, "P1"]', True),
        ("not amount > 5", False),
        ("500 < amount <= 1000 < coalesce(line.amount, 0)", True),
        ("1000 < amount <= 1000", False),
        ("amount > 2000 or amount < 10 or true", True),
        ("amount > 2000 and true and true", False),
        ('line.invoice.kind == "vat_special"', True),
        ("line.invoice != none and advance == none", True),
        ("line.invoice.certified == none", True),
        ("coalesce(line.invoice.certified, false)", False),
        ("coalesce(line.days, 0) > 2 and line.days == 3", True),
        ("report.version == 2.0", True),
        ('report.employee.department == department and department == "D01"', True),
        ('startswith(account, "6602") and endswith(account, "01") and contains(account, "60")', True),
        ('lower("AbC") + upper("d") == "abcD"', True),
        ("len(report.employee.name) == 2 and len(report.lines) == 1", True),
        (
            "month(report.submitted_on) == 4 and year(report.approved_at) == 2025 and day(report.submitted_on) == 1",
            True,
        ),
        ('coalesce(line.date, date("2025-01-01")) < date("2025-04-01")', True),
        ('days(date("2025-02-28"), date("2025-03-01")) == 1', True),
        ('max(date("2025-02-28"), report.submitted_on) == date("2025-04-01")', True),
        ("\n  amount > 5\n  and amount < 2000\n", True),
        ("true != false", True),
        ("coalesce(line.amount, 0) * coalesce(line.rate.value, 1) >= amount", True),
        ("coalesce(line.amount, 0) > coalesce(line.invoice.tax, 0) + coalesce(line.personal, 0)", True),
    ],
)
def test_a_condition_holds_or_not(source: str, holds: bool) -> None:
    assert value(source) is holds


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ("amount", "1000.00"),
        ("round(amount * 0.06 / 1.06, 2)", "56.60"),
        ("round(2.675, 2)", "2.68"),
        ("round(-2.675, 2)", "-2.68"),
        ("round(1 / 8, 2)", "0.13"),
        ("-round(1 / 8, 2)", "-0.13"),
        ("round(1 / 3 * 3, 12)", "1.000000000000"),
        # Rounded once: cut after 28 digits first, these would end as 0.01.
        ("round(0.005 - 1 / 99999999999999 / 99999999999999 / 99999999999999, 2)", "0.00"),
        ("round(round(10 / 4, 0) / 2, 2)", "1.50"),
        ("round(coalesce(line.days, 1) / 2, 1)", "1.5"),
        ("round(min(1 / 3, 1 / 2) + abs(-1 / 3), 2)", "0.67"),
        ("0.1 + 0.2", "0.3"),
        ("min(amount, 24 * coalesce(line.days, 1))", "72"),
        ("abs(5 - amount)", "995.00"),
        ("amount if amount > 5 else 0", "1000.00"),
        ("0 * -5", "0"),
        ("+5 - -2", "7"),
    ],
)
def test_arithmetic_is_exact_and_rounds_half_up_once(source: str, number: str) -> None:
    found = value(source, "number")

    assert isinstance(found, Decimal)
    assert str(found) == number


def test_an_account_may_depend_on_the_line() -> None:
    source = '"660299" if line.category == "travel.hotel" else account'

    assert value(source, "text") == "660299"
    assert value(source, "text", replace(SCOPE, line=BARE)) == "660201"
    assert compiled(source, "text").constants == {"660299"}


def test_what_is_missing_equals_only_none_and_raises_nothing() -> None:
    alone = replace(SCOPE, line=None)

    assert value('line.category == "travel.hotel"', scope=alone) is False
    assert value('line.category != "travel.hotel"', scope=alone) is True
    assert value("line.invoice.kind == none", scope=alone) is True
    assert value('line.invoice.kind in ["rail"]', scope=replace(SCOPE, line=BARE)) is False
    assert value("coalesce(line.rate.value, 1) == 1", scope=alone) is True


def test_the_advance_is_read_with_its_rates() -> None:
    claim = AdvanceClaim(
        number="ADV1",
        amount=Decimal("480.00"),
        currency="USD",
        rate=Rate(value=Decimal("7.15"), date=date(2025, 4, 1), source="PBOC"),
    )

    assert (
        value('advance.currency == "USD" and advance.rate.value == 7.15', scope=replace(SCOPE, advance=claim)) is True
    )


def test_an_expression_says_what_it_reads() -> None:
    assert compiled('line.invoice.kind == "rail" and (amount > 5 or report.payee != none)').reads == {
        "line.invoice.kind",
        "amount",
        "report.payee",
    }


@pytest.mark.parametrize(
    ("source", "column", "said"),
    [
        ("line.amont > 5", 6, "did you mean amount?"),
        ("report.employee.departmnt == 'D'", 17, "did you mean department?"),
        ("ammount > 5", 1, "did you mean amount?"),
        ("roundd(amount, 2) > 5", 1, "did you mean round?"),
        ("line.paid_by == 'employe'", 17, "did you mean employee?"),
        ("line.invoice.kind in ['rail', 'rial']", 31, "did you mean rail?"),
        ("line.description == '出差' and line.amont > 3", 35, "did you mean amount?"),
        ("line.description > 5", 20, "put the text in quotes"),
        ("line.description * 5 > 1", 1, "expected a number with *"),
        ("amount + 'a' == 'b'", 10, "expected a number with +"),
        ("'a' + amount == 'b'", 7, "expected a text with +"),
        ("amount > '5'", 10, "leave the quotes out"),
        ("line.days > 2", 1, "write coalesce(line.days, 0)"),
        ("line.days + 1 > 2", 1, "write coalesce(line.days, 0)"),
        ("line.project + 'x' == 'y'", 1, 'write coalesce(line.project, "")'),
        ("line.invoice.certified", 1, "a boolean that may be missing"),
        ("not line.invoice.certified", 5, "write coalesce(line.invoice.certified, false)"),
        ("amount", 1, "compare something"),
        ("amount and true", 1, "expected a boolean with and, or and not"),
        ("amount / 3 > 1", 1, "write round("),
        ("round(amount) > 1", 1, "expected round(a, 2)"),
        ("round(amount, amount) > 1", 15, "how many decimals"),
        ("round(amount, 13) > 1", 15, "how many decimals"),
        ("line.date > '2025-03-01'", 13, 'write date("2025-03-31")'),
        ("line.date > date('2025-02-30')", 18, "a day that exists"),
        ("line.date > date(account)", 18, "a day that exists"),
        ("line.date == report.approved_at", 14, "expected a date to compare with a date"),
        ("'a' in line.description", 8, "use contains("),
        ("amount in []", 11, "list the values"),
        ("account in ['a', account]", 18, "fixed values"),
        ("account in ['a', 5]", 18, "put the text in quotes"),
        ("1 < amount in [1]", 15, "compare with in on its own"),
        ("line.invoice == line.invoice", 1, "compare its fields, or with none"),
        ("report.lines == report.lines", 1, "compare its fields"),
        ("true < false", 1, "values that can be compared"),
        ("amount > (5 if true else 'a')", 26, "values of one kind"),
        ("report.payee.bank_account == 'x'", 14, "a field of report.payee"),
        ("line.__class__ == 'x'", 6, "a field of line"),
        ("amount.real == 1", 1, "a record of theirs"),
        ("'a'.upper() == 'A'", 1, "a function"),
        ("account.upper() == 'A'", 1, "a function"),
        ("coalesce(report, line) == none", 10, "a value"),
        ("min('a', 'b') == 'a'", 5, "numbers or dates"),
        ("min(line.days, 1) > 0", 5, "coalesce(line.days, 0)"),
        ("len(amount) > 1", 5, "a text or a list"),
        ("day(amount) > 1", 5, "expected a date"),
        ("lower(account, 'a') == 'a'", 1, "give it the values it takes"),
        ("lower(**account) == 'a'", 1, "give it the values it takes"),
        ("lower(text=account) == 'a'", 11, "compare with =="),
        ("lower(*account) == 'a'", 7, "a star"),
        ("amount ＞ 5", 8, "half width"),
        ("金额 > 5", 1, "put text in quotes"),
        ("amount > 0123", 10, "plain digits"),
        ("amount > 1e5", 10, "plain digits"),
        ("amount > 0x10", 10, "plain digits"),
        ("amount > 1_000", 10, "plain digits"),
        ("amount > 5j", 10, "plain digits"),
        ("amount > .5", 10, "plain digits"),
        ("amount > 123456789012345", 10, "plain digits"),
        ("amount = 5", 8, "compare with =="),
        ("amount => 5", 8, "write >="),
        ("amount =< 5", 8, "write <="),
        ("amount <> 5", 8, "write !="),
        ("amount === 5", 8, "write =="),
        ("amount > 5 && true", 12, "write and"),
        ("amount > 5 || true", 12, "write or"),
        ("!(amount > 5)", 1, "write not"),
        ("account == “a”", 12, "straight quotes"),
        ("account == ‘a’", 12, "straight quotes"),
        ("am\u043eunt > 5", 3, "CYRILLIC SMALL LETTER O"),
        ("department in [D01, D02]", 16, "put codes in quotes"),
        ("amount > 1,000", 12, "put codes in quotes"),
        ("account in ['a' 'b']", 13, "a comma"),
        ("account == 'it''s'", 12, "a comma"),
        ("account == '''a'''", 12, "a comma"),
        ("account == r'a'", 12, "one pair of quotes"),
        ("account == 'a\nb'", 12, "one pair of quotes"),
        ("TRUE", 1, "did you mean true?"),
        ("Amount > 5", 1, "did you mean amount?"),
        ("null == line.project", 1, "write none"),
        ("amount == none", 11, "which is always there"),
        ("line == none", 9, "which is always there"),
        ("max(1, none) > 1", 8, "expected a number"),
        ("line.currency == 'RMB'", 18, "ISO 4217"),
        ("report.currency in ['cny']", 21, "did you mean CNY?"),
        ("line.amount > amount", 15, "line.amount * coalesce(line.rate.value, 1)"),
        ("report.total < line.amount", 16, "line.amount * coalesce(line.rate.value, 1)"),
        ("0 < amount < line.amount", 14, "line.amount * coalesce(line.rate.value, 1)"),
        ("amount + line.amount > 5", 10, "line.amount * coalesce(line.rate.value, 1)"),
        ("round(abs(line.amount) * 0.5, 2) == amount", 37, "line.amount * coalesce(line.rate.value, 1)"),
        ("min(amount, coalesce(line.personal, 0)) > 5", 13, "coalesce(line.rate.value, 1)"),
        ("(amount := 5) > 1", 2, "compare with =="),
        ("amount > 1 # rich", 12, "notes stand above"),
        ("account == 'a\\x41'", 14, "without backslashes"),
        ("amount ** 2 > 1", 1, "got **"),
        ("amount % 2 == 1", 1, "got %"),
        ("amount // 2 == 1", 1, "got //"),
        ("~1 == 1", 1, "got ~"),
        ("account is none", 12, "use == or !="),
        ("lambda: true", 1, "a lambda"),
        ("[x for x in account]", 1, "a loop"),
        ("f'{account}' == 'a'", 1, "an f-string"),
        ("account[0] == 'a'", 1, "square brackets"),
        ("b'a' == account", 1, "text stands in quotes"),
        ("... == account", 1, "text stands in quotes"),
        ("amount >", 1, "expected an expression"),
        ("amount > 1; true", 1, "expected an expression"),
        ("import os", 1, "expected an expression"),
        ("", 1, "nothing"),
        (" \n ", 1, "nothing"),
        ("(" * 300, 1, "expected an expression"),
        ("a" * 501, CHARACTERS_MAX + 1, "at most 500 characters"),
        ("not " * 40 + "true", 1, "30 deep"),
        (" or ".join(["1<1"] * 71), 1, "at most 200 parts"),
        ("account == '\x00'", 1, "expected an expression"),
        ("account == '\ud800'", 1, "something unreadable"),
    ],
)
def test_what_is_no_sound_condition_is_refused_where_it_is_wrong(source: str, column: int, said: str) -> None:
    finding = refusal(source)

    assert said in finding, finding
    if "expected an expression" not in finding or not source.strip():
        assert f"book.yaml:31, column {column}:" in finding, finding


def test_a_refusal_points_below_the_place_also_behind_wide_letters() -> None:
    with pytest.raises(ExpressionRefused) as refused:
        compiled('line.description == "出差" and line.amont > 3')

    shown, caret = str(refused.value).splitlines()[-2:]
    assert shown == '    line.description == "出差" and line.amont > 3'
    assert caret == " " * (4 + shown[4:].index("amont") + 2) + "^"  # Two letters are two columns wide.


@pytest.mark.parametrize(
    ("source", "wants"), [("660201", "text"), ("none", "text"), ('"5"', "number"), ("true", "number")]
)
def test_a_value_of_another_kind_is_refused(source: str, wants: Wanted) -> None:
    assert f"expected a {wants}" in refusal(source, wants)


def test_an_amount_to_be_booked_is_in_the_currency_of_the_books() -> None:
    finding = refusal("round(line.amount * 0.5, 2)", "number")

    assert "the report's currency" in finding
    assert "line.amount * coalesce(line.rate.value, 1)" in finding
    half = compiled("round(line.amount * coalesce(line.rate.value, 1) * 0.5, 2)", "number")
    part = compiled("round(coalesce(line.invoice.tax, 0) / line.amount * amount, 2)", "number")
    assert (half.evaluate(SCOPE), part.evaluate(SCOPE)) == (Decimal("530.00"), Decimal("56.60"))


@pytest.mark.parametrize(
    ("source", "column"),
    [
        ("line.amount if amount > 5 else amount", 32),
        ("amount if amount > 5 else line.amount", 27),
        ("coalesce(line.personal, amount)", 25),
        ("coalesce(line.personal, 0) if amount > 5 else max(amount, 1)", 47),
    ],
)
def test_a_choice_between_amounts_is_in_one_currency(source: str, column: int) -> None:
    assert f"book.yaml:31, column {column}: expected an amount in" in refusal(source, "number")


def test_values_that_the_book_knows_are_told_in_one_order() -> None:
    known = {"line.category": {"travel.rail", "travel.hotel", "office.supplies", "travel.air"}}

    with pytest.raises(ExpressionRefused, match=r"office.supplies, travel.air, travel.hotel, travel.rail"):
        compile_expression('line.category == "zzz"', "b:1", "boolean", LINES, known)


def test_a_value_that_the_book_does_not_know_is_a_slip_of_the_pen() -> None:
    known = {"line.category": ["travel.hotel", "travel.rail"], "account": {"660201": 1}}

    compile_expression('line.category in ["travel.hotel"] and account != "660201"', "b:1", "boolean", LINES, known)
    with pytest.raises(ExpressionRefused, match=r"column 18: .* did you mean travel.hotel?"):
        compile_expression('line.category == "travel.hotle"', "b:1", "boolean", LINES, known)
    with pytest.raises(ExpressionRefused, match=r"column 13: .* did you mean 660201?"):
        compile_expression('account in ["66020l"]', "b:1", "boolean", LINES, known)


@pytest.mark.parametrize(
    ("source", "wants", "said"),
    [
        ("round(1 / (amount - 1000), 2)", "number", "a division by zero"),
        ("amount * 99999999999999", "number", "more than 14 digits"),
        ("amount" + " * 99999999999999" * 6, "number", "more than 60 digits"),
        ("round(1" + " / 99999999999999" * 25 + ", 2)", "number", "more than 300 digits"),
        ("account" + " + account" * 20, "text", "more than 4000 characters"),
    ],
)
def test_what_has_no_value_fails_and_says_why(source: str, wants: Wanted, said: str) -> None:
    scope = replace(SCOPE, account="x" * 300)

    with pytest.raises(ExpressionFailed, match=said):
        compiled(source, wants).evaluate(scope)


_PIECES = st.sampled_from(
    [
        "amount", "account", "line", "report", "advance", ".", "category", "invoice", "employee", "lines", "kind", "rate",
        "round", "min", "coalesce", "len", "day", "date", "(", ")", "[", "]", ",", " ", " and ", " or ", "not ", " in ",
        " if ", " else ", "==", "<", "+", "-", "*", "/", "**", "1", "0.5", "99999999999999", "'a'", "''", "none", "true",
        ":=", "lambda", "{", "}", "__class__", "\n", "\\", "'", '"', "f'", "#", "é", "\x00", ";", "=", "%", "await ", "yield",
    ]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(st.text(max_size=60), st.lists(_PIECES, max_size=25).map("".join)),
    st.sampled_from(["boolean", "number", "text"]),
)
def test_any_text_is_an_expression_or_is_refused(source: str, wants: Wanted) -> None:
    try:
        found = compile_expression(source, "book.yaml:1", wants)
    except ExpressionRefused:
        return
    with suppress(ExpressionFailed):
        found.evaluate(replace(SCOPE, line=BARE))


_LEAVES = st.decimals(min_value=0, max_value=9999, places=2).map(lambda number: (f"{number:f}", Fraction(number)))


def _combined(parts: st.SearchStrategy[tuple[str, Fraction]]) -> st.SearchStrategy[tuple[str, Fraction]]:
    both = st.tuples(parts, parts)
    return st.one_of(
        both.map(lambda p: (f"({p[0][0]} + {p[1][0]})", p[0][1] + p[1][1])),
        both.map(lambda p: (f"({p[0][0]} - {p[1][0]})", p[0][1] - p[1][1])),
        both.map(lambda p: (f"({p[0][0]} * {p[1][0]})", p[0][1] * p[1][1])),
        both.filter(lambda p: p[1][1] != 0).map(lambda p: (f"({p[0][0]} / {p[1][0]})", p[0][1] / p[1][1])),
        both.map(lambda p: (f"max({p[0][0]}, {p[1][0]})", max(p[0][1], p[1][1]))),
        both.map(
            lambda p: (
                f"({p[0][0]} if {p[0][0]} < {p[1][0]} else -{p[1][0]})",
                p[0][1] if p[0][1] < p[1][1] else -p[1][1],
            )
        ),
    )


@settings(deadline=None)
@given(st.recursive(_LEAVES, _combined, max_leaves=6))
def test_arithmetic_agrees_with_fractions_to_the_last_digit(made: tuple[str, Fraction]) -> None:
    source, exact = made
    if len(source) > CHARACTERS_MAX - 20 or abs(exact) >= 10**14:
        return
    cents = Decimal(int(abs(exact) * 100 + Fraction(1, 2))).scaleb(-2)

    found = value(f"round({source}, 2)", "number")

    assert found == (cents if exact >= 0 else -cents)
    assert found == found.quantize(Decimal("0.01"), ROUND_HALF_UP)


@settings(deadline=None)
@given(st.recursive(_LEAVES, _combined, max_leaves=4), st.recursive(_LEAVES, _combined, max_leaves=4))
def test_comparisons_agree_with_python(one: tuple[str, Fraction], other: tuple[str, Fraction]) -> None:
    left, right = f"round({one[0]}, 12)", f"round({other[0]}, 12)"
    if len(left) + len(right) > CHARACTERS_MAX - 20 or max(abs(one[1]), abs(other[1])) >= 10**14:
        return
    a, b = value(left, "number"), value(right, "number")

    assert value(f"{left} < {right}") is (a < b)
    assert value(f"{left} == {right}") is (a == b)
    assert value(f"not {left} >= {right}") is (not a >= b)
