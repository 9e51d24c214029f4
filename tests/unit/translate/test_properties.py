"""Whatever the report: its voucher balances, re-adds to the report to the cent, and is the same every time."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.translate import Book, Refusal, load_book, to_voucher
from connector.translate.allocation import allocate
from connector.translate.trace import explain
from contracts import AdvanceClaim, Allocation, Employee, ExpenseReport, Invoice, Line, Rate, Voucher, parse_voucher
from contracts.expense import booked_amount
from contracts.voucher import to_json
from tests.unit.contracts import strategies

BOOK: Book = load_book()
CENT = Decimal("0.01")
PAYABLE = ("employee_payable", "card_clearing", "supplier_payable")
PURE = settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SOME = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def cents(low: int, high: int) -> st.SearchStrategy[Decimal]:
    return st.integers(low, high).map(lambda units: Decimal(units).scaleb(-2))


@st.composite
def shares(draw: st.DrawFn) -> list[Decimal]:
    cuts = sorted(draw(st.sets(st.integers(1, 10**6 - 1), max_size=7)))
    return [Decimal(high - low) / 10**6 for low, high in zip([0, *cuts], [*cuts, 10**6], strict=True)]


@st.composite
def invoices(draw: st.DrawFn, amount: Decimal) -> Invoice:
    kind = draw(st.sampled_from(["vat_special", "vat_ordinary", "rail", "air", "coach", "toll", "none"]))
    if kind in ("vat_special", "toll"):
        tax = (amount * draw(st.sampled_from([Decimal("0.03"), Decimal("0.06"), Decimal("0.13")])) / 2).quantize(CENT)
        return Invoice(kind=kind, total=amount, net=amount - tax, tax=tax, certified=draw(st.booleans()))
    if kind == "air":
        fee = (amount / 20).quantize(CENT)
        return Invoice(kind=kind, total=amount, fare=amount - fee - fee, fuel=fee, airport_fee=fee)
    return Invoice(kind=kind, total=amount)


@st.composite
def lines(draw: st.DrawFn, number: int) -> Line:
    amount = draw(cents(1, 10**8))
    foreign = draw(st.integers(0, 4)) == 0
    rate = (
        Rate(value=draw(st.integers(1, 10**7)) / Decimal(10**4), date=date(2025, 3, 27), source="PBOC")
        if foreign
        else None
    )
    parts = draw(st.none() | shares())
    return Line(
        line=number,
        category=draw(st.sampled_from(BOOK.categories())),
        date=date(2025, 3, 27),
        description="",
        amount=amount,
        currency="USD" if foreign else "CNY",
        paid_by=draw(st.sampled_from(["employee", "company_card", "supplier"])),
        rate=rate,
        department=draw(st.none() | st.just("D02")),
        allocations=None
        if parts is None
        else tuple(Allocation(share=s, department=f"D{i}") for i, s in enumerate(parts)),
        personal=draw(st.none() | st.integers(0, 100).map(lambda percent: (amount * percent / 100).quantize(CENT))),
        invoice=draw(st.none() | invoices(amount)),
    )


@st.composite
def reports(draw: st.DrawFn) -> ExpenseReport:
    own = tuple(draw(lines(number)) for number in range(1, draw(st.integers(1, 7)) + 1))
    booked = sum((booked_amount(line, "CNY") or Decimal(0) for line in own), Decimal(0))
    converted = sum(line.currency != "CNY" for line in own)
    off = draw(st.integers(-converted, converted)) * CENT if booked > 1 else Decimal(0)
    return ExpenseReport(
        company="C01", number="EXP1", version=1, employee=Employee(id="E1", name="Zhang San", department="D01"), currency="CNY",
        title="", submitted_on=date(2025, 3, 29), approved_at=datetime(2025, 4, 3, 2, tzinfo=UTC), lines=own,
        advances=tuple(AdvanceClaim(number=f"A{i}", amount=draw(cents(1, 10**8))) for i in range(draw(st.integers(0, 2)))),
        total=booked + off,
    )  # fmt: skip


@PURE
@given(reports())
def test_every_report_the_book_knows_balances_and_re_adds_to_its_total(report: ExpenseReport) -> None:
    voucher = to_voucher(report, BOOK)

    if isinstance(voucher, Refusal):  # Nothing is left to book where every line rounds to nothing.
        assert report.total < 1
        return
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for line in voucher.lines:
        sums[line.role, line.side] += line.amount
    debit = sum(amount for (_, side), amount in sums.items() if side == "debit")
    credit = sum(amount for (_, side), amount in sums.items() if side == "credit")
    assert debit == credit == voucher.total_debit == voucher.total_credit
    assert _costs(sums) + _personal(report) + _rounding(sums) == report.total
    advances = sum((advance.amount for advance in report.advances), Decimal(0))
    paid_out = sum((sums[role, "credit"] - sums[role, "debit"] for role in PAYABLE), Decimal(0))
    returned = sums["employee_receivable", "debit"] - _personal(report)
    assert paid_out + advances - returned == report.total


def _costs(sums: dict[tuple[str, str], Decimal]) -> Decimal:
    return (
        sums["expense", "debit"]
        + sums["input_tax", "debit"]
        + sums["pending_tax", "debit"]
        + sums["non_deductible_tax", "debit"]
    )


def _rounding(sums: dict[tuple[str, str], Decimal]) -> Decimal:
    return sums["rounding", "debit"] - sums["rounding", "credit"]


def _personal(report: ExpenseReport) -> Decimal:
    found = Decimal(0)
    for line in report.lines:
        rate = Decimal(1) if line.rate is None else line.rate.value
        found += ((line.personal or Decimal(0)) * rate).quantize(CENT, ROUND_HALF_UP)
    return found


@SOME
@given(reports())
def test_the_reasons_of_each_line_add_to_its_amount(report: ExpenseReport) -> None:
    explained = explain(report, BOOK)

    if isinstance(explained, Refusal):
        return
    voucher, trace = explained
    assert voucher == to_voucher(report, BOOK)
    assert [sum(reason.amount for reason in line.reasons) for line in trace] == [line.amount for line in voucher.lines]
    assert [made.rule for made in trace] == [line.rule for line in voucher.lines]


@SOME
@given(reports())
def test_a_voucher_survives_the_wire_and_can_be_taken_back(report: ExpenseReport) -> None:
    voucher = to_voucher(report, BOOK)

    if isinstance(voucher, Voucher):
        assert parse_voucher(to_json(voucher)) == voucher
        red = voucher.reversed("C01-EXP1-V1-R", date(2025, 5, 1))
        assert red.total_debit == -voucher.total_debit


@SOME
@given(strategies.expense_reports())
def test_any_valid_report_becomes_a_voucher_or_findings_and_never_an_error(report: ExpenseReport) -> None:
    answer = to_voucher(report, BOOK)

    if isinstance(answer, Refusal):
        assert answer.findings
        assert all(finding.code.startswith("MAP-") for finding in answer.findings)


@SOME
@given(cents(0, 10**12), shares())
def test_parts_of_an_amount_re_add_and_are_less_than_a_cent_off(amount: Decimal, parts: list[Decimal]) -> None:
    given_out = allocate(amount, parts, CENT)

    assert sum(given_out) == amount
    assert all(abs(got - amount * share) < CENT for got, share in zip(given_out, parts, strict=True))
