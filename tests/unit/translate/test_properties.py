"""Whatever the report: its voucher balances, re-adds to the report to the cent in every currency, and is the same every time."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.facts import GROUP, Balance, BalanceKey, Facts
from connector.preflight import examine
from connector.translate import Book, Refusal, load_book, to_voucher
from connector.translate.allocation import allocate
from connector.translate.book import STARTERS
from connector.translate.reader import read_book
from connector.translate.trace import explain
from connector.translate.voucher import Terms
from contracts import (
    AdvanceClaim,
    Allocation,
    Employee,
    ExpenseReport,
    Invoice,
    Line,
    Payee,
    Rate,
    Voucher,
    parse_voucher,
)
from contracts.amount import QUANTA
from contracts.expense import PaidBy, booked_amount
from contracts.voucher import VoucherLine, to_json
from tests.unit.contracts import strategies

ZERO = Decimal(0)
CENT = Decimal("0.01")
DAY = date(2025, 3, 27)
CURRENCIES = ("CNY", "CNY", "CNY", "USD", "EUR", "JPY", "KWD")
COSTS = ("expense", "input_tax", "pending_tax", "non_deductible_tax", "tax_transfer_out", "rounding")
PAYABLE = {"employee": "employee_payable", "company_card": "card_clearing", "supplier": "supplier_payable"}


def _examples(count: int) -> settings:
    """So many examples, the same in every run."""
    return settings(
        max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )


def _with(**tables: str) -> Book:
    files = load_book(STARTERS / "chinese").files
    for name, row in tables.items():
        files = {**files, f"{name}.csv": files[f"{name}.csv"].rstrip() + f"\n{row}\n".encode()}
    return read_book(files)


# The starter as it is, and with tax that is half deductible and daily allowances in three currencies.
STARTER = load_book(STARTERS / "chinese")
RICH = _with(
    tax="vehicle.fuel,vat_special,*,stated,,0.5,,,\nservice.consulting,vat_special,*,stated,,0.37,,,",
    per_diem="\n".join(
        f"travel.{name},{currency},*,{daily},welfare.meal,,"
        for name in ("per_diem", "taxi")
        for currency, daily in (("CNY", "180.00"), ("USD", "60.00"), ("JPY", "9000"), ("KWD", "18.500"))
    ),
)
RICH_AGAIN = read_book(RICH.files)
# The same for companies whose currency has no decimals, and three.
BY_CURRENCY = {
    currency: read_book({**RICH.files, "companies.csv": RICH.files["companies.csv"].replace(b"CNY", currency.encode())})
    for currency in ("JPY", "KWD")
}
CATEGORIES = STARTER.categories()


# Reports. One seed makes one line, so that hypothesis finds the smallest report without drawing every digit of it.

_seeds = st.integers(0, 2**32 - 1)


def _amount(random: Random, currency: str, high: int = 8) -> Decimal:
    """Small amounts as often as large ones."""
    return random.randint(1, 10 ** random.randint(1, high)) * QUANTA[currency]


def _part(random: Random, amount: Decimal, currency: str) -> Decimal:
    """From nothing to all of it, in whole units."""
    return (amount * random.randint(0, 100) / 100).quantize(QUANTA[currency])


def _rate(random: Random, currency: str, base: str = "CNY") -> Rate | None:
    if currency == base:
        return None
    value = random.choice([Decimal("7.1234"), Decimal(random.randint(1, 10**6)).scaleb(-random.randint(2, 6))])
    return Rate(value=value, date=DAY, source="PBOC")


def _invoice(random: Random, amount: Decimal, currency: str) -> Invoice | None:
    unit = QUANTA[currency]
    kind = random.choice(
        [None, "none", "vat_special", "vat_special", "vat_ordinary", "foreign", "rail", "air", "coach", "toll"]
    )
    if kind is None:
        return None
    number = random.choice([None, None, "25442000000000000001", "25442000000000000002"])
    # A part of an invoice only where its number is not shared: several lines of one number add up to at most its total.
    total = amount if number is not None or random.random() < 0.8 else amount + _amount(random, currency)
    if kind in ("vat_special", "toll", "vat_ordinary", "foreign"):
        tax = (total * random.choice([Decimal("0.03"), Decimal("0.06"), Decimal("0.13"), Decimal("0.9")]) / 2).quantize(
            unit
        )
        certified = random.choice([None, True, False])
        return Invoice(kind=kind, number=number, total=total, net=total - tax, tax=tax, certified=certified)
    if kind == "air":
        fee = (total / random.choice([1, 20])).quantize(unit)
        fuel = _part(random, total - fee, currency)
        return Invoice(kind=kind, total=total, fare=total - fee - fuel, fuel=fuel, airport_fee=fee)
    return Invoice(kind=kind, number=number, total=total)


def _shares(random: Random) -> tuple[Allocation, ...] | None:
    if random.random() < 0.6:
        return None
    cuts = sorted(random.sample(range(1, 10**6), random.randint(0, 7)))
    parts = [Decimal(high - low) / 10**6 for low, high in zip([0, *cuts], [*cuts, 10**6], strict=True)]
    projects = [None, "P1", "P2"]
    return tuple(
        Allocation(share=share, department=f"D{place}", project=random.choice(projects))
        for place, share in enumerate(parts)
    )


def _line(seed: int, number: int, paid_by: Sequence[PaidBy], base: str) -> Line:
    random = Random(seed)
    currency = random.choice((base, *CURRENCIES))
    amount = _amount(random, currency) if random.random() < 0.95 else 0 * QUANTA[currency]
    red = random.random() < 0.1
    if red:
        tax = (amount * Decimal("0.06")).quantize(QUANTA[currency])
        certified = random.choice([True, False])
        invoice: Invoice | None = Invoice(
            kind="red_special", total=-amount, net=tax - amount, tax=-tax, certified=certified
        )
    else:
        invoice = _invoice(random, amount, currency)
    return Line(
        line=number,
        category=random.choice([*CATEGORIES, "vehicle.fuel", "travel.per_diem"]),
        date=DAY,
        description="",
        amount=-amount if red else amount,
        currency=currency,
        paid_by=random.choice(paid_by),
        rate=_rate(random, currency, base),
        department=random.choice([None, "D02"]),
        project=random.choice([None, None, "P9"]),
        allocations=_shares(random),
        personal=None if red or random.random() < 0.7 else _part(random, amount, currency),
        days=random.choice([None, 1, 3]),
        invoice=invoice,
    )  # fmt: skip


def _claim(seed: int, place: int, base: str) -> AdvanceClaim:
    random = Random(seed)
    currency = random.choice((base, *CURRENCIES))
    claim = AdvanceClaim(number=f"A{place}", amount=_amount(random, currency))
    if currency == base:
        return claim
    paid_rate = Decimal(random.randint(1, 10**6)).scaleb(-4)
    return claim.model_copy(
        update={"currency": currency, "rate": _rate(random, currency, base), "paid_rate": paid_rate}
    )


def _unique_invoices(lines: Sequence[Line]) -> Iterator[Line]:
    """Lines that share a number claim parts of one invoice: its total is what they claim together."""
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for line in lines:
        if line.invoice is not None and line.invoice.number is not None:
            sums[line.invoice.number, line.currency] += line.amount
    for line in lines:
        invoice = line.invoice
        if invoice is None or invoice.number is None:
            yield line
            continue
        total = sums[invoice.number, line.currency]
        number = f"{invoice.number}{line.currency}"
        told = {"number": number, "total": total}
        if invoice.tax is not None:
            tax = (total * Decimal("0.0566")).quantize(QUANTA[line.currency])
            told |= {"tax": tax, "net": total - tax}
        yield line.model_copy(update={"invoice": invoice.model_copy(update=told)})


@st.composite
def reports(
    draw: st.DrawFn, paid_by: Sequence[PaidBy] = ("employee", "company_card", "supplier"), base: str = "CNY"
) -> ExpenseReport:
    seeds = draw(st.lists(_seeds, min_size=1, max_size=8))
    lines = tuple(_unique_invoices([_line(seed, number, paid_by, base) for number, seed in enumerate(seeds, 1)]))
    claims = tuple(_claim(seed, place, base) for place, seed in enumerate(draw(st.lists(_seeds, max_size=3))))
    booked = sum((booked_amount(line, base) or ZERO for line in lines), ZERO)
    converted = sum(line.currency != base for line in lines)
    off = Random(seeds[0]).randint(-converted, converted) * QUANTA[base]
    if booked + off < 0:  # Only a red invoice brings a total below zero.
        off = max(off, ZERO)
    if booked + off < 0 and not any(line.invoice is not None and line.invoice.kind == "red_special" for line in lines):
        off = ZERO
    return ExpenseReport(
        company="C01", number="EXP1", version=1, employee=Employee(id="E1", name="Zhang San", department="D01"), currency=base,
        title="", submitted_on=date(2025, 3, 29), approved_at=datetime(2025, 4, 3, 2, tzinfo=UTC), lines=lines,
        advances=claims, total=booked + off, payee=Payee(type="supplier", id="S01"),
    )  # fmt: skip


# What is asked of a voucher.

_SIGN = {"debit": 1, "credit": -1}


def _net(voucher: Voucher, *roles: str) -> Decimal:
    """Debits less credits of these roles."""
    return sum((_SIGN[line.side] * line.amount for line in voucher.lines if line.role in roles), ZERO)


def _in_base(amount: Decimal, rate: Rate | None, unit: Decimal) -> Decimal:
    return amount if rate is None else (amount * rate.value).quantize(unit, ROUND_HALF_UP)


def _rounded(amount: Decimal, rate: Rate | None) -> Decimal:
    return _in_base(amount, rate, CENT)


def _personal(report: ExpenseReport, paid_by: str | None = None) -> Decimal:
    return sum(
        (_rounded(line.personal or ZERO, line.rate) for line in report.lines if paid_by in (None, line.paid_by)), ZERO
    )


def _claimed(report: ExpenseReport) -> Decimal:
    return sum((_rounded(claim.amount, claim.rate) for claim in report.advances), ZERO)


def _little(report: ExpenseReport) -> bool:
    """Whether every line rounds to nothing, or is all private and paid by the employee, so that there is nothing to book."""
    return not any(
        (booked_amount(line, "CNY") or ZERO)
        - (_rounded(line.personal or ZERO, line.rate) if line.paid_by == "employee" else ZERO)
        for line in report.lines
    )


@_examples(3000)
@given(reports())
def test_every_report_the_book_knows_balances_and_re_adds_to_its_total(report: ExpenseReport) -> None:
    voucher = to_voucher(report, RICH)

    if isinstance(voucher, Refusal):
        assert [finding.code for finding in voucher.findings] == ["MAP-212"]
        assert _little(report)
        return
    debits = sum((line.amount for line in voucher.lines if line.side == "debit"), ZERO)
    credits = sum((line.amount for line in voucher.lines if line.side == "credit"), ZERO)
    assert debits == credits == voucher.total_debit == voucher.total_credit
    assert all(line.amount > 0 and line.amount.same_quantum(CENT) for line in voucher.lines)
    assert _net(voucher, *COSTS) + _personal(report) == report.total
    owed = -_net(voucher, "employee_payable", "card_clearing", "supplier_payable", "employee_receivable")
    assert owed + _personal(report) + _claimed(report) == report.total
    assert -_net(voucher, "advance", "exchange_difference") == _claimed(report)


@pytest.mark.parametrize("base", BY_CURRENCY)
@_examples(800)
@given(data=st.data())
def test_so_it_does_where_the_smallest_unit_is_a_yen_or_a_thousandth_of_a_dinar(base: str, data: st.DataObject) -> None:
    report = data.draw(reports(base=base))
    unit = QUANTA[base]

    voucher = to_voucher(report, BY_CURRENCY[base])

    if isinstance(voucher, Refusal):
        assert [finding.code for finding in voucher.findings] == ["MAP-212"]
        return
    private = sum((_in_base(line.personal or ZERO, line.rate, unit) for line in report.lines), ZERO)
    claimed = sum((_in_base(claim.amount, claim.rate, unit) for claim in report.advances), ZERO)
    owed = -_net(voucher, "employee_payable", "card_clearing", "supplier_payable", "employee_receivable")
    assert all(line.amount > 0 and line.amount.same_quantum(unit) for line in voucher.lines)
    assert _net(voucher, *COSTS) + private == owed + private + claimed == report.total


@_examples(1200)
@given(reports())
def test_each_payer_is_owed_what_the_lines_say_less_advances(report: ExpenseReport) -> None:
    voucher = to_voucher(report, RICH)

    if isinstance(voucher, Refusal):
        assert _little(report)
        return
    by_payer = {
        payer: sum((booked_amount(line, "CNY") or ZERO for line in report.lines if line.paid_by == payer), ZERO)
        for payer in PAYABLE
    }
    by_payer["employee"] -= _personal(report, "employee")
    receivable = (
        _net(voucher, "employee_receivable") - _personal(report, "company_card") - _personal(report, "supplier")
    )
    owed = {payer: -_net(voucher, role) for payer, role in PAYABLE.items()}
    owed["employee"] += _claimed(report) - receivable
    apart = {payer: owed[payer] - by_payer[payer] for payer in PAYABLE}
    # The rounding difference is owed whole to the payer of the largest converted line.
    converted = [line for line in report.lines if line.rate is not None]
    largest = max(converted, key=lambda line: line.amount * line.rate.value).paid_by if converted else "employee"
    assert apart == dict.fromkeys(PAYABLE, ZERO) | {largest: _net(voucher, "rounding")}


@_examples(1200)
@given(reports())
def test_foreign_amounts_re_add_in_each_currency(report: ExpenseReport) -> None:
    voucher = to_voucher(report, RICH)

    if isinstance(voucher, Refusal):
        assert _little(report)
        return
    stated: dict[str, Decimal] = defaultdict(Decimal)
    unit_rates: dict[str, Decimal] = defaultdict(Decimal)
    for line in report.lines:
        if line.rate is not None:
            stated[line.currency] += line.amount
            if line.paid_by == "employee":  # Nobody is paid for what was private.
                stated[line.currency] -= line.personal or ZERO
            unit_rates[line.currency] = max(unit_rates[line.currency], CENT / line.rate.value)
    carried: dict[str, Decimal] = defaultdict(Decimal)
    for made in voucher.lines:
        if made.role == "advance" or made.currency is None:
            continue
        assert made.amount_in_currency is not None
        assert made.amount_in_currency >= 0
        assert made.amount_in_currency.same_quantum(QUANTA[made.currency])
        carried[made.currency] += _SIGN[made.side] * made.amount_in_currency
    for currency, amount in stated.items():
        # Less only what is too little to be a cent: of each line its parts, which are below a cent each.
        lost = amount - carried[currency]
        assert abs(lost) <= 24 * len(report.lines) * unit_rates[currency] + QUANTA[currency]
        if unit_rates[currency] < QUANTA[currency]:
            assert lost == 0
    claims = {(claim.currency, claim.amount, claim.paid_rate) for claim in report.advances if claim.currency}
    released = {(m.currency, m.amount_in_currency, m.rate) for m in voucher.lines if m.role == "advance" and m.currency}
    assert released <= claims


@_examples(1000)
@given(reports())
def test_the_reasons_of_each_line_add_to_its_amount(report: ExpenseReport) -> None:
    explained = explain(report, RICH)

    if isinstance(explained, Refusal):
        assert _little(report)
        return
    voucher, trace = explained
    assert voucher == to_voucher(report, RICH)
    assert [sum(reason.amount for reason in line.reasons) for line in trace] == [line.amount for line in voucher.lines]
    assert [made.rule for made in trace] == [line.rule for line in voucher.lines]


@_examples(500)
@given(reports())
def test_what_is_shared_out_re_adds_to_the_line(report: ExpenseReport) -> None:
    alone = report.model_copy(
        update={"lines": tuple(line.model_copy(update={"allocations": None}) for line in report.lines)}
    )

    shared, whole = to_voucher(report, RICH), to_voucher(alone, RICH)

    assert _costs_by_line(shared) == _costs_by_line(whole)
    assert _others(shared) == _others(whole)


def _costs_by_line(answer: Voucher | Refusal) -> dict[int | None, Decimal]:
    sums: dict[int | None, Decimal] = defaultdict(Decimal)
    for line in _lines(answer):
        if line.role == "expense":
            sums[line.source_line] += _SIGN[line.side] * line.amount
    return sums


def _others(answer: Voucher | Refusal) -> list[VoucherLine]:
    return [line for line in _lines(answer) if line.role != "expense"]


def _lines(answer: Voucher | Refusal) -> tuple[VoucherLine, ...]:
    return answer.lines if isinstance(answer, Voucher) else ()


@_examples(500)
@given(reports())
def test_tax_is_what_the_invoices_state(report: ExpenseReport) -> None:
    """Without personal parts, tax re-adds to the invoices: whole ones by their tax, parts of one number to its tax."""
    lines = tuple(
        line.model_copy(update={"personal": None, "currency": "CNY", "rate": None, "amount": _in_cents(line.amount)})
        for line in report.lines
    )
    lines = tuple(
        line.model_copy(update={"invoice": _special(line.amount, number=f"{index}"), "category": "office.supplies"})
        for index, line in enumerate(lines)
        if line.amount > 0
    )
    if not lines:
        return
    total = sum((line.amount for line in lines), ZERO)
    voucher = to_voucher(report.model_copy(update={"lines": lines, "total": total}), STARTER)

    assert isinstance(voucher, Voucher)
    stated = sum((line.invoice.tax or ZERO for line in lines if line.invoice is not None), ZERO)
    assert _net(voucher, "input_tax", "pending_tax") == stated


def _in_cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP) or CENT


def _special(amount: Decimal, number: str) -> Invoice:
    tax = (amount * Decimal("0.06") / Decimal("1.06")).quantize(CENT, ROUND_HALF_UP)
    certified = amount % 2 < 1
    return Invoice(
        kind="vat_special", number=f"2544200{number}", total=amount, net=amount - tax, tax=tax, certified=certified
    )


@_examples(400)
@given(st.integers(2, 9), _seeds)
def test_parts_of_one_invoice_get_its_tax_to_the_cent(count: int, seed: int) -> None:
    random = Random(seed)
    amounts = [_amount(random, "CNY", 6) for _ in range(count)]
    total = sum(amounts, ZERO)
    invoice = _special(total, "77").model_copy(update={"certified": True})
    own = tuple(
        Line(line=at, category="travel.hotel", date=DAY, description="", amount=amount, currency="CNY", paid_by="employee",
             invoice=invoice)
        for at, amount in enumerate(amounts, 1)
    )  # fmt: skip
    voucher = to_voucher(_report(own, total), STARTER)

    assert isinstance(voucher, Voucher)
    assert _net(voucher, "input_tax") == invoice.tax
    assert _net(voucher, "expense") == invoice.net


def _report(lines: tuple[Line, ...], total: Decimal) -> ExpenseReport:
    return ExpenseReport(
        company="C01", number="EXP1", version=1, employee=Employee(id="E1", name="Zhang San", department="D01"), currency="CNY",
        title="", submitted_on=date(2025, 3, 29), approved_at=datetime(2025, 4, 3, 2, tzinfo=UTC), lines=lines, total=total,
    )  # fmt: skip


@_examples(500)
@given(reports())
def test_compiled_again_a_report_makes_the_same_voucher(report: ExpenseReport) -> None:
    """Also by a book that was read again and has answered nothing yet, and from the bytes: nothing is fetched anew."""
    again = ExpenseReport.model_validate_json(report.model_dump_json(exclude_none=True))

    assert to_voucher(report, RICH) == to_voucher(report, RICH) == to_voucher(again, RICH_AGAIN)


@_examples(500)
@given(reports(), _seeds)
def test_the_order_of_the_lines_changes_no_total(report: ExpenseReport, seed: int) -> None:
    lines = [line for line in report.lines if line.invoice is None or line.invoice.number is None] or [report.lines[0]]
    total = sum((booked_amount(line, "CNY") or ZERO for line in lines), ZERO)
    mixed = Random(seed).sample(lines, len(lines))
    one, other = (
        to_voucher(report.model_copy(update={"lines": tuple(order), "total": total}), RICH) for order in (lines, mixed)
    )

    assert _balances(one) == _balances(other)


def _balances(answer: Voucher | Refusal) -> dict[object, tuple[Decimal, Decimal]]:
    sums: dict[object, tuple[Decimal, Decimal]] = {}
    for line in _lines(answer):
        key = (line.side, line.account, line.role, tuple(line.dimensions.items()), line.currency, line.rate)
        amount, foreign = sums.get(key, (ZERO, ZERO))
        sums[key] = (amount + line.amount, foreign + (line.amount_in_currency or ZERO))
    return sums


@_examples(400)
@given(reports(), st.booleans())
def test_a_closed_period_changes_day_origin_and_accrual_and_no_amount(report: ExpenseReport, accrued: bool) -> None:
    plain = to_voucher(report, RICH)
    moved = to_voucher(report, RICH, terms=Terms(date(2025, 5, 1), "2025-03", accrued))

    if isinstance(plain, Refusal) or isinstance(moved, Refusal):
        assert _little(report)
        return
    assert moved.date == date(2025, 5, 1)
    costs = ("expense", "accrual")
    assert _net(moved, "accrual" if accrued else "expense") == _net(plain, "expense")
    assert _net(moved, *costs) == _net(plain, *costs)
    assert all((line.origin_period == "2025-03") is (line.role in costs) for line in moved.lines)
    assert moved.total_debit == plain.total_debit


@_examples(300)
@given(reports())
def test_a_voucher_survives_the_wire_and_can_be_taken_back(report: ExpenseReport) -> None:
    voucher = to_voucher(report, RICH)

    if isinstance(voucher, Voucher):
        assert parse_voucher(to_json(voucher)) == voucher
        red = voucher.reversed("C01-EXP1-V1-R", date(2025, 5, 1))
        assert red.total_debit == -voucher.total_debit
        assert not any(_net(voucher, line.role) + _net(red, line.role) for line in voucher.lines)


# One invoice, claimed in parts by several reports.

_TAXES = ("input_tax", "pending_tax", "non_deductible_tax")


def _part_of_invoice(random: Random, invoice: Invoice, amount: Decimal, category: str) -> ExpenseReport:
    """A report that claims so much of the invoice, in one line or two, shared out or not."""
    first = random.choice([amount, _part(random, amount, "CNY") or amount])
    lines = tuple(
        Line(line=number, category=category, date=DAY, description="", amount=part, currency="CNY", paid_by="employee",
             allocations=_shares(random), invoice=invoice)
        for number, part in enumerate((first, amount - first), 1) if part
    )  # fmt: skip
    return ExpenseReport(
        company="C01", number="EXP1", version=1, employee=Employee(id="E1", name="Zhang San", department="D01"), currency="CNY",
        title="", submitted_on=date(2025, 3, 29), approved_at=datetime(2025, 4, 3, 2, tzinfo=UTC), lines=lines, total=amount,
    )  # fmt: skip


@_examples(1500)
@given(_seeds)
def test_the_parts_of_an_invoice_never_carry_more_than_its_tax_and_the_whole_of_it_all(seed: int) -> None:
    random = Random(seed)
    cents = random.randint(1, 10 ** random.randint(1, 6))
    total, tax = cents * CENT, random.randint(0, cents // 2) * CENT
    invoice = Invoice(kind="vat_special", number="2544", total=total, net=total - tax, tax=tax, certified=True)
    category = random.choice(["travel.hotel", "vehicle.fuel", "service.consulting"])
    deductible = {"vehicle.fuel": Decimal("0.5"), "service.consulting": Decimal("0.37")}.get(category, Decimal(1))
    key = BalanceKey("invoice", GROUP, "2544")
    facts = Facts(balances={key: Balance(key, "CNY", total, ZERO, {}, is_new=True)})
    live: dict[int, Voucher] = {}
    for step in range(random.randint(1, 30)):
        document = random.randint(1, 6)  # Who claims again changes what he claimed, who has a claim may give it back.
        if random.random() < 0.25:
            facts.release(document)
            live.pop(document, None)
        else:
            left = facts.open_for(key, document)
            amount = left if random.random() < 0.3 else _part(random, left, "CNY")
            if not amount:
                continue
            report = _part_of_invoice(random, invoice, amount, category)
            answer = examine(report, RICH, facts, document)
            assert answer.voucher is not None, answer.findings
            assert to_voucher(report, RICH, terms=answer.terms) == answer.voucher
            facts.use(document, step, answer.uses, "consumed")
            live[document] = answer.voucher
        carried = sum((_net(voucher, *_TAXES) for voucher in live.values()), ZERO)
        deducted = sum((_net(voucher, "input_tax") for voucher in live.values()), ZERO)
        most = (tax * deductible).quantize(CENT, ROUND_HALF_UP)
        assert carried <= tax
        assert deducted <= most
        if facts.balances[key].open == 0:
            assert (carried, deducted) == (tax, most)


@_examples(300)
@given(_seeds)
def test_a_report_that_claims_the_same_again_has_the_same_voucher_whoever_came_and_went(seed: int) -> None:
    random = Random(seed)
    invoice = Invoice(
        kind="vat_special", number="2544", total=Decimal("105.00"), net=Decimal("99.05"), tax=Decimal("5.95"), certified=True
    )  # fmt: skip
    key = BalanceKey("invoice", GROUP, "2544")
    facts = Facts(balances={key: Balance(key, "CNY", Decimal("105.00"), ZERO, {}, is_new=True)})
    reports = [_part_of_invoice(random, invoice, Decimal("35.00"), "travel.hotel") for _ in range(3)]
    vouchers = []
    for document, report in enumerate(reports):
        answer = examine(report, RICH, facts, document)
        facts.use(document, 1, answer.uses, "consumed")
        vouchers.append(answer.voucher)
    facts.release(random.choice([0, 2]))

    assert examine(reports[1], RICH, facts, 1).voucher == vouchers[1]


@_examples(200)
@given(reports())
def test_there_is_no_float_anywhere(report: ExpenseReport) -> None:
    explained = explain(report, RICH)

    if not isinstance(explained, Refusal):
        assert not [value for value in _values(explained) if isinstance(value, float)]


def _values(thing: object) -> Iterator[object]:
    if isinstance(thing, dict):
        for key, value in thing.items():
            yield from _values(key)
            yield from _values(value)
    elif isinstance(thing, (list, tuple)):
        for value in thing:
            yield from _values(value)
    elif dataclasses.is_dataclass(thing):
        for part in dataclasses.fields(thing):
            yield from _values(getattr(thing, part.name))
    else:
        yield thing


@_examples(60)
@given(strategies.expense_reports())
def test_any_valid_report_becomes_a_voucher_or_findings_and_never_an_error(report: ExpenseReport) -> None:
    answer = to_voucher(report, STARTER)

    if isinstance(answer, Refusal):
        assert answer.findings
        assert all(finding.code.startswith(("MAP-", "ACC-")) for finding in answer.findings)


@_examples(1000)
@given(st.integers(0, 10**14), _seeds)
def test_parts_of_an_amount_re_add_and_are_less_than_a_cent_off(units: int, seed: int) -> None:
    amount = units * CENT
    parts = [part.share for part in _shares(Random(seed)) or ()] or [Decimal(1)]

    given_out = allocate(amount, parts, CENT)

    assert sum(given_out) == amount
    assert all(abs(got - amount * share) < CENT for got, share in zip(given_out, parts, strict=True))
