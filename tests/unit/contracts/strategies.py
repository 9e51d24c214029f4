"""Hypothesis strategies for valid messages: `expense_reports()`, `withdrawals()`, `events()`; for round trips and for other rooms."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal

from hypothesis import strategies as st

from contracts import (
    AdvanceClaim,
    Allocation,
    AnyEvent,
    Attachment,
    Employee,
    ExpenseReport,
    Invoice,
    Line,
    Payee,
    PaymentMade,
    Rate,
    VoucherPosted,
    Withdrawal,
    new_event,
)
from contracts.expense import booked_amount
from contracts.master_data import AccountRecord, EmployeeRecord, ExchangeRateRecord, PeriodRecord, RecordDeleted
from contracts.settlement import Document

CURRENCIES = {"CNY": 2, "USD": 2, "JPY": 0, "KWD": 3}

_LETTERS = "ABCXYZabcxyz0189" + "费用报销单号张"
codes = st.from_regex(r"\A[A-Z]{1,3}[0-9]{1,6}\Z")
companies = st.sampled_from(["C01", "C02", "head-office_9"])
numbers = st.builds(
    lambda head, tail: head + tail, st.text(_LETTERS, min_size=1, max_size=8), st.from_regex(r"\A[0-9]{4}-[0-9]{1,6}\Z")
)
_FORBIDDEN = (
    "\u2028\u2029\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufff9\ufffa\ufffb\ufffe\uffff"
)
_characters = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=_FORBIDDEN)
names = st.text(_characters, min_size=1, max_size=40)
texts = st.text(st.one_of(_characters, st.sampled_from("\t\n\r ")), max_size=60)
days = st.dates(date(1990, 1, 1), date(2100, 12, 31))
instants = st.datetimes(datetime(1990, 1, 2), datetime(2100, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
versions = st.integers(1, 10**12)
categories = st.sampled_from(
    ["travel.hotel", "travel.rail", "travel.air", "entertainment.meal", "office.supplies", "培训费"]
)


def amounts(currency: str, low: int = -(10**9), high: int = 10**9) -> st.SearchStrategy[Decimal]:
    """Amounts that fit the currency, between so many of its smallest units."""
    return st.integers(low, high).map(lambda units: Decimal(units).scaleb(-CURRENCIES[currency]))


def optional(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(st.none(), strategy)


@st.composite
def invoices(draw: st.DrawFn, currency: str) -> Invoice:
    kind = draw(st.sampled_from(["vat_special", "vat_ordinary", "rail", "air", "coach", "toll", "foreign", "none"]))
    net = draw(amounts(currency, 0, 10**7))
    rate = draw(st.sampled_from(["0.03", "0.06", "0.09", "0.13"]).map(Decimal))
    tax = (net * rate).quantize(Decimal(1).scaleb(-CURRENCIES[currency]), ROUND_HALF_UP)
    air = {"fare": net, "airport_fee": draw(amounts(currency, 0, 10**4))} if kind == "air" else {}
    return Invoice(
        kind=kind,
        number=draw(optional(st.from_regex(r"\A[0-9]{8,20}\Z"))),
        seller=draw(optional(names)),
        date=draw(optional(days)),
        total=net + tax,
        net=net,
        tax=tax,
        tax_rate=rate,
        certified=draw(optional(st.booleans())),
        **air,
    )


@st.composite
def allocations(draw: st.DrawFn) -> tuple[Allocation, ...]:
    cuts = sorted(draw(st.sets(st.integers(1, 999), max_size=4)))
    shares = [Decimal(high - low) / 1000 for low, high in zip([0, *cuts], [*cuts, 1000], strict=True)]
    return tuple(
        Allocation(share=share, cost_centre=draw(optional(codes)), project=draw(optional(codes))) for share in shares
    )


@st.composite
def lines(draw: st.DrawFn, number: int, report_currency: str) -> Line:
    currency = draw(st.sampled_from(list(CURRENCIES)))
    amount = draw(amounts(currency, 0))
    rate = None
    if currency != report_currency:
        value = draw(st.integers(1, 10**8).map(lambda units: Decimal(units).scaleb(-6)))
        rate = Rate(value=value, date=draw(days), source=draw(names))
    return Line(
        line=number,
        category=draw(categories),
        date=draw(days),
        description=draw(texts),
        amount=amount,
        currency=currency,
        paid_by=draw(st.sampled_from(["employee", "company_card", "supplier"])),
        rate=rate,
        department=draw(optional(codes)),
        project=draw(optional(codes)),
        allocations=draw(optional(allocations())),
        personal=draw(optional(st.just(amount))),
        invoice=draw(optional(invoices(currency))),
    )


@st.composite
def expense_reports(draw: st.DrawFn, lines_max: int = 5) -> ExpenseReport:
    """An approved report that is right in every respect the contracts check."""
    currency = draw(st.sampled_from(list(CURRENCIES)))
    count = draw(st.integers(1, lines_max))
    own = tuple(draw(lines(number, currency)) for number in range(1, count + 1))
    booked = [booked_amount(line, currency) for line in own]
    claimed = draw(st.lists(numbers, max_size=2, unique=True))
    return ExpenseReport(
        company=draw(companies),
        number=draw(numbers),
        version=draw(versions),
        employee=Employee(id=draw(codes), name=draw(names), department=draw(codes)),
        currency=currency,
        title=draw(texts),
        submitted_on=draw(days),
        approved_at=draw(instants),
        lines=own,
        advances=tuple(AdvanceClaim(number=number, amount=draw(amounts(currency, 1))) for number in claimed),
        attachments=tuple(
            Attachment(
                name=draw(names), sha256="0f" * 32, media_type="application/pdf", size=draw(st.integers(0, 2**40))
            )
            for _ in range(draw(st.integers(0, 2)))
        ),
        total=sum((amount for amount in booked if amount is not None), Decimal(0)),
        payee=draw(optional(st.builds(Payee, type=st.just("supplier"), id=codes, bank_account=optional(codes)))),
    )


def withdrawals() -> st.SearchStrategy[Withdrawal]:
    return st.builds(
        Withdrawal, company=companies, number=numbers, version=versions, withdrawn_at=instants, reason=optional(texts)
    )


@st.composite
def settlements(draw: st.DrawFn) -> VoucherPosted | PaymentMade:
    number = draw(numbers)
    common = {
        "company": draw(companies),
        "number": number,
        "version": draw(versions),
        "document": Document(type="expense.report", number=number, version=draw(versions)),
        "reference": draw(codes),
    }
    if draw(st.booleans()):
        return VoucherPosted(**common, erp_number=draw(codes), posted_on=draw(days))
    return PaymentMade(
        **common, payment_number=draw(codes), amount=draw(amounts("CNY", 1)), currency="CNY", paid_on=draw(days)
    )


def records() -> st.SearchStrategy[object]:
    key = {"company": companies, "id": codes, "version": versions, "changed_at": instants}
    return st.one_of(
        st.builds(
            EmployeeRecord,
            **key,
            name=names,
            department=optional(codes),
            active=optional(st.booleans()),
            email=optional(st.just("zhang.san@example.com")),
            bank_account=optional(codes),
            supplier_code=optional(codes),
        ),
        st.builds(AccountRecord, **key, name=names, dimensions=optional(st.lists(codes, max_size=4).map(tuple))),
        st.builds(
            ExchangeRateRecord,
            **key,
            from_currency=st.just("USD"),
            to_currency=st.just("CNY"),
            rate=st.integers(1, 10**9).map(lambda units: Decimal(units).scaleb(-8)),
            valid_on=days,
        ),
        st.builds(
            PeriodRecord,
            **key,
            starts_on=st.just(date(2025, 4, 1)),
            ends_on=st.just(date(2025, 4, 30)),
            state=st.just("open"),
        ),
        st.builds(RecordDeleted, **key, reason=optional(texts)),
    )


_TYPES = {
    "ExpenseReport": "expense.report.approved.v1",
    "Withdrawal": "expense.report.withdrawn.v1",
    "VoucherPosted": "voucher.posted.v1",
    "PaymentMade": "payment.made.v1",
    "EmployeeRecord": "master.employee.changed.v1",
    "AccountRecord": "master.account.changed.v1",
    "ExchangeRateRecord": "master.exchange_rate.changed.v1",
    "PeriodRecord": "master.period.changed.v1",
    "RecordDeleted": "master.supplier.deleted.v1",
}


@st.composite
def events(draw: st.DrawFn, data: st.SearchStrategy[object] | None = None) -> AnyEvent:
    """Any valid event, or one around the given data."""
    content = draw(data or st.one_of(expense_reports(), withdrawals(), settlements(), records()))
    return new_event(
        _TYPES[type(content).__name__],
        content,
        id=str(draw(st.uuids())),
        time=draw(instants),
        system=draw(st.sampled_from(["oa", "erp"])),
        adapter=draw(st.sampled_from(["feishu", "tryton", "cubicweb"])),
    )
