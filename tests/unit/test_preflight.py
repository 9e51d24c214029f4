"""What the accounts say to a report, as a table: facts on the left, findings and what is waited for on the right. Pure."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cache

import pytest

from connector.budgets import covers, reserved
from connector.facts import (
    GROUP,
    Balance,
    BalanceKey,
    Facts,
    InvoiceFacts,
    KnownRecord,
    Period,
    RecordKey,
    Use,
)
from connector.invoices import Claim, claimed_invoices
from connector.preflight import Answer, examine, next_open_day
from connector.translate.book import STARTER, Book
from connector.translate.cases import read_cases
from connector.translate.reader import load_book, read_book
from contracts.expense import ExpenseReport
from contracts.findings import Finding

OWN = 7  # The document that is examined.
TAXI = "travel.taxi 100.00"
# Net of tax 1 507.34, gross 1 613.00.
TRIP = "travel.hotel 1060.00, vat_special 1000.00 + 60.00 certified\ntravel.rail 553.00, rail"


@cache
def book(policy: str = "HOLD", **columns: str) -> Book:
    """The starter book with this policy for closed periods and these columns in its companies table."""
    company = {"currency": "CNY", "time_zone": "Asia/Shanghai", **columns}
    files = {
        **load_book(STARTER).files,
        "periods.csv": f"document,company,policy\n*,*,{policy}\n".encode(),
        "companies.csv": f"company,{','.join(company)}\nC01,{','.join(company.values())}\n".encode(),
    }
    return read_book(files)


def report(text: str) -> ExpenseReport:
    """A report in the notation of the cases."""
    findings: list[Finding] = []
    (case,) = read_cases("report.case", f"# The report\n{text}".encode(), book(), findings)
    assert not findings
    assert isinstance(case.report, ExpenseReport)
    return case.report


def facts(*parts: Mapping[str, object], fed: str = "", accepted: bool = False) -> Facts:
    """Facts of what `periods`, `record`, `advance`, `invoice` and `budget` say."""
    all_ = Facts(
        fed={("C01", kind) for kind in fed.split()}, year_accepted={OWN} if accepted else (), periods={"C01": []}
    )
    records: dict[RecordKey, KnownRecord] = {}
    months: list[Period] = []
    for part in parts:
        for key, value in part.items():
            match value:
                case Period():
                    months.append(value)
                case KnownRecord():
                    kind, _, name = key.partition(":")
                    records[RecordKey("C01", kind, name)] = value
                case Balance():
                    all_.balances[value.key] = value
                    if value.key.kind == "budget":
                        all_.budgets_of.setdefault("C01", []).append(value.key)
                case Use():
                    (balance_key,) = (found for found in all_.balances if found.key == key)
                    all_.uses.setdefault(OWN, {})[balance_key] = value
    return Facts(
        {"C01": months}, all_.fed, records, all_.balances, all_.uses, all_.year_accepted, all_.budgets_of
    )  # fmt: skip


def periods(text: str) -> dict[str, object]:
    """`2025-03 closed, 2025-04 open`; a quarter or a year may be named, too."""
    found: dict[str, object] = {}
    for part in text.split(", "):
        name, state = part.split()
        first, last = (
            (1, 12) if len(name) == 4 else (int(name[5:]), int(name[5:])) if "Q" not in name else _quarter(name)
        )
        year = int(name[:4])
        end = date(year, last, calendar.monthrange(year, last)[1])
        found[name] = Period(name, date(year, first, 1), end, state)  # type: ignore[arg-type]
    return found


def _quarter(name: str) -> tuple[int, int]:
    number = int(name[-1])
    return 3 * number - 2, 3 * number


def record(key: str, start: str = "", end: str = "", *dimensions: str, active: bool = True) -> dict[str, object]:
    days = [date.fromisoformat(day) if day else None for day in (start, end)]
    return {key: KnownRecord(active, *days, dimensions)}


def _balance(kind: str, company: str, key: str, available: str, used: str, currency: str, detail: object) -> Balance:
    balance_key = BalanceKey(kind, company, key)  # type: ignore[arg-type]
    return Balance(balance_key, currency, Decimal(available), Decimal(used), detail)  # type: ignore[arg-type]


def advance(available: str, used: str = "0", currency: str = "CNY", **detail: str | None) -> dict[str, object]:
    said = {"paid": available, "employee": "E017", "rate": None, **detail}
    return {"ADV1": _balance("advance", "C01", "ADV1", available, used, currency, said)}


def invoice(total: str, used: str, key: str = "254420001", **detail: object) -> dict[str, object]:
    return {key: _balance("invoice", GROUP, key, total, used, "CNY", detail)}


def budget(key: str, available: str, used: str = "0", currency: str = "CNY", **scope: str) -> dict[str, object]:
    return {key: _balance("budget", "C01", key, available, used, currency, {"period": "2025", **scope})}


def own_use(key: str, amount: str) -> dict[str, object]:
    """So much of it is used by the document itself."""
    return {key: Use(Decimal(amount), "consumed", 1)}


def said(answer: Answer) -> list[str]:
    """What is wrong, what is waited for, what is only warned of."""
    return [
        *(f"{finding.code} {finding.path}" for finding in answer.findings),
        *(f"waits {key}" for key in answer.waits_for),
        *(f"warns {finding.code} {finding.path}" for finding in answer.warnings),
    ]


def where(answer: Answer) -> str:
    """The posting day, and the closed period it belongs to."""
    accrued = " accrued" if answer.terms.accrued else ""
    return f"{answer.terms.day}" + (f" of {answer.terms.origin_period}{accrued}" if answer.terms.origin_period else "")


MARCH = f"posting_date 2025-03-28\n{TAXI}"
DECEMBER = f"posting_date 2024-12-30\napproved_at 2025-01-05T10:00:00+08:00\n{TAXI}"


@pytest.mark.parametrize(
    ("text", "known", "policy", "day", "expected"),
    [
        # Nobody told of any period: the report's own day.
        (TAXI, "", "HOLD", "2025-04-03", []),
        (TAXI, "2025-04 open", "HOLD", "2025-04-03", []),
        (TAXI, "2025-05 open", "HOLD", "2025-04-03", ["ACC-333 data.posting_date", "waits period:2025-04-03"]),
        (TAXI, "2025-04 closed", "HOLD", "2025-04-03", ["ACC-332 data.posting_date", "waits period:2025-04-03"]),
        (TAXI, "2025-04 closed", "REJECT", "2025-04-03", ["ACC-331 data.posting_date"]),
        # Closing takes what was approved within it, and nothing that was approved later.
        (TAXI, "2025-04 closing", "HOLD", "2025-04-03", []),
        (MARCH, "2025-03 closing, 2025-04 open", "HOLD", "2025-03-28",
         ["ACC-332 data.posting_date", "waits period:2025-03-28"]),
        (MARCH, "2025-03 closing, 2025-04 open", "NEXT_OPEN", "2025-04-03 of 2025-03", []),
        # The next open day is never before the approval.
        (MARCH, "2025-03 closed, 2025-04 open", "NEXT_OPEN", "2025-04-03 of 2025-03", []),
        (MARCH, "2025-03 closed, 2025-04 closed, 2025-05 open", "NEXT_OPEN", "2025-05-01 of 2025-03", []),
        (MARCH, "2025-03 closed, 2025-04 closing", "NEXT_OPEN", "2025-04-03 of 2025-03", []),
        (MARCH, "2025-05 open, 2025-03 closed, 2025-04 closed", "ACCRUE", "2025-05-01 of 2025-03 accrued", []),
        (MARCH, "2025-03 closed", "NEXT_OPEN", "2025-03-28",
         ["ACC-333 data.posting_date", "waits open_from:2025-04-03"]),
        # Of a month and its quarter or year, the month decides.
        (TAXI, "2025-04 closed, 2025-Q2 open", "HOLD", "2025-04-03",
         ["ACC-332 data.posting_date", "waits period:2025-04-03"]),
        (TAXI, "2025-04 open, 2025 closed", "HOLD", "2025-04-03", []),
        (MARCH, "2025-03 closed, 2025-04 closed, 2025 open", "NEXT_OPEN", "2025-05-01 of 2025-03", []),
        # Another fiscal year is for a person, whatever the policy.
        (DECEMBER, "2024-12 closed, 2025-01 open", "NEXT_OPEN", "2025-01-05 of 2024-12", ["ACC-334 data.posting_date"]),
        (DECEMBER, "2024-12 closed, 2025-01 open", "ACCRUE", "2025-01-05 of 2024-12 accrued",
         ["ACC-334 data.posting_date"]),
        (DECEMBER, "2024-12 closed, 2025-01 open", "HOLD", "2024-12-30",
         ["ACC-332 data.posting_date", "waits period:2024-12-30"]),
    ],
)  # fmt: skip
def test_the_posting_day_picks_the_period(text: str, known: str, policy: str, day: str, expected: list[str]) -> None:
    answer = examine(report(text), book(policy), facts(periods(known) if known else {}), OWN)

    assert (where(answer), said(answer)) == (day, expected)


@pytest.mark.parametrize(
    ("text", "known", "year_start", "accepted", "expected"),
    [
        (DECEMBER, "2024-12 closed, 2025-01 open", "1", True, []),
        (DECEMBER, "2024-12 closed, 2025-01 open", "4", False, []),
        (MARCH, "2025-03 closed, 2025-04 open", "4", False, ["ACC-334 data.posting_date"]),
        (MARCH, "2025-03 closed, 2025-04 open", "4", True, []),
    ],
)
def test_a_fiscal_year_begins_where_the_company_says(
    text: str, known: str, year_start: str, accepted: bool, expected: list[str]
) -> None:
    own = book("NEXT_OPEN", year_start=year_start)

    answer = examine(report(text), own, facts(periods(known), accepted=accepted), OWN)

    assert said(answer) == expected


@pytest.mark.parametrize(
    ("known", "start", "approved", "expected"),
    [
        ("2025-04 open", "2025-04-10", "2025-04-10", "2025-04-10"),
        ("2025-04 open", "2025-03-10", "2025-03-10", "2025-04-01"),
        ("2025-04 open", "2025-04-30", "2025-04-30", "2025-04-30"),
        ("2025-04 open", "2025-05-01", "2025-05-01", "None"),
        ("2025-04 closing, 2025-05 open", "2025-04-10", "2025-05-01", "2025-05-01"),
        ("2025-06 open, 2025-05 open", "2025-04-10", "2025-04-10", "2025-05-01"),
        # Where the closed month ends, the open year goes on.
        ("2025-04 closed, 2025 open", "2025-04-10", "2025-04-10", "2025-05-01"),
        ("2025-04 open, 2025 closed", "2025-05-10", "2025-05-10", "None"),
    ],
)
def test_the_next_open_day_lies_in_a_period_that_takes_it(known: str, start: str, approved: str, expected: str) -> None:
    months = [period for period in periods(known).values() if isinstance(period, Period)]

    assert str(next_open_day(months, date.fromisoformat(start), date.fromisoformat(approved))) == expected


def test_a_period_may_end_on_the_last_day_there_is() -> None:
    for_ever = Period("2025", date(2025, 1, 1), date.max, "closed")

    assert next_open_day([for_ever], date(2025, 4, 10), date(2025, 4, 10)) is None


PROJECT = f"{TAXI}, project P1"
SHARED = f"{TAXI}, share 0.5 D01 P1, share 0.5 D02 P2"


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        (PROJECT, facts(fed="project"), ["ACC-341 data.lines[0].project", "waits project:P1"]),
        (PROJECT, facts(record("project:P1"), fed="project"), []),
        # Valid from and to are days on which it still counts.
        (PROJECT, facts(record("project:P1", "2025-04-03", "2025-04-03"), fed="project"), []),
        (PROJECT, facts(record("project:P1", "2025-04-04"), fed="project"), ["ACC-342 data.lines[0].project", "waits valid:2025-04-03/project/P1"]),
        (PROJECT, facts(record("project:P1", "", "2025-04-02"), fed="project"), ["ACC-342 data.lines[0].project", "waits valid:2025-04-03/project/P1"]),
        (PROJECT, facts(record("project:P1", active=False), fed="project"), ["ACC-342 data.lines[0].project", "waits valid:2025-04-03/project/P1"]),
        # It is the posting day that counts, not the day of the expense.
        (f"{PROJECT}, dated 2025-03-28", facts(record("project:P1", "", "2025-03-31"), fed="project"),
         ["ACC-342 data.lines[0].project", "waits valid:2025-04-03/project/P1"]),
        # Kinds that no system tells of are not asked for.
        (PROJECT, facts(fed="supplier"), []),
        (TAXI, facts(fed="department"), ["ACC-341 data.employee.department", "waits department:D01"]),
        (TAXI, facts(record("department:D01"), fed="department employee"),
         ["ACC-341 data.employee.id", "waits employee:E017"]),
        (SHARED, facts(record("project:P1"), fed="project"),
         ["ACC-341 data.lines[0].allocations[1].project", "waits project:P2"]),
        # Where there is no voucher, the report itself says what it names.
        (f"training.other 100.00\n{SHARED}", facts(fed="project"),
         ["MAP-201 data.lines[0].category", "ACC-341 data.lines[1].allocations[0].project",
          "ACC-341 data.lines[1].allocations[1].project", "waits account:training.other/D01",
          "waits project:P1", "waits project:P2"]),
        # Accounts of the book that the ERP does not have, has closed, or wants more of.
        (TAXI, facts(record("account:224101"), fed="account"), ["ACC-341 data.lines", "waits account_code:660201"]),
        (TAXI, facts(record("account:224101"), record("account:660201", "", "2025-04-02"), fed="account"),
         ["ACC-342 data.lines", "waits valid:2025-04-03/account/660201"]),
        (TAXI, facts(record("account:224101"), record("account:660201", "", "", "project"), fed="account"),
         ["MAP-209 data.lines"]),
        (PROJECT, facts(record("account:224101"), record("account:660201", "", "", "project"), fed="account"), []),
    ],
)  # fmt: skip
def test_master_data_counts_on_the_posting_day(text: str, known: Facts, expected: list[str]) -> None:
    assert said(examine(report(text), book(), known, OWN)) == expected


CLAIM = "travel.taxi 100.00\nadvance ADV1 100.00"
DOLLARS = "travel.hotel 100.00 USD @ 7.15\nadvance ADV1 100.00 USD @ 7.15"


@pytest.mark.parametrize(
    ("text", "known", "policy", "expected"),
    [
        (CLAIM, facts(), "stated", []),
        (CLAIM, facts(), "tracked", ["ACC-301 data.advances[0].number", "waits advance:ADV1"]),
        (CLAIM, facts(), "booked", ["ACC-301 data.advances[0].number", "waits advance:ADV1"]),
        (CLAIM, facts(advance("100.00")), "tracked", []),
        (CLAIM, facts(advance("99.99")), "tracked", ["ACC-302 data.advances[0].amount"]),
        (CLAIM, facts(advance("99.99")), "stated", ["ACC-302 data.advances[0].amount"]),
        (CLAIM, facts(advance("150.00", "50.01")), "tracked", ["ACC-302 data.advances[0].amount"]),
        # What the document used before is its own to use again.
        (CLAIM, facts(advance("100.00", "100.00"), own_use("ADV1", "100.00")), "tracked", []),
        (CLAIM, facts(advance("100.00", "100.00"), own_use("ADV1", "99.99")), "tracked",
         ["ACC-302 data.advances[0].amount"]),
        (CLAIM, facts(advance("100.00", employee="E018")), "tracked", ["ACC-303 data.advances[0].number"]),
        (CLAIM, facts(advance("100.00", currency="USD", rate="7.10")), "tracked", ["ACC-305 data.advances[0].currency"]),
        (CLAIM, facts(advance("50.00", employee="E018")), "tracked",
         ["ACC-303 data.advances[0].number", "ACC-302 data.advances[0].amount"]),
        (DOLLARS, facts(), "tracked",
         ["ACC-301 data.advances[0].paid_rate", "ACC-301 data.advances[0].number", "waits advance:ADV1"]),
        (DOLLARS, facts(advance("100.00", currency="USD", rate="7.10")), "tracked", []),
        (f"{DOLLARS} paid 7.1", facts(advance("100.00", currency="USD", rate="7.10")), "tracked", []),
        (f"{DOLLARS} paid 7.11", facts(advance("100.00", currency="USD", rate="7.10")), "tracked",
         ["ACC-305 data.advances[0].paid_rate"]),
    ],
)  # fmt: skip
def test_an_advance_is_claimed_by_its_employee_up_to_what_is_open(
    text: str, known: Facts, policy: str, expected: list[str]
) -> None:
    assert said(examine(report(text), book(advances=policy), known, OWN)) == expected


def test_the_rate_the_ledger_knows_takes_the_advance_down() -> None:
    answer = examine(report(DOLLARS), book(), facts(advance("100.00", currency="USD", rate="7.10")), OWN)

    assert answer.voucher is not None
    assert [f"{line.role} {line.amount}" for line in answer.voucher.lines] == [
        "expense 715.00",
        "advance 710.00",
        "exchange_difference 5.00",
    ]


DIGITAL = "25442000000012345678"
RED = "office.supplies 200.00\ntravel.hotel -106.00, red_special -100.00 + -6.00 certified, invoice 254420001"
HALF = "travel.hotel 530.00, vat_special 1000.00 + 60.00 certified, invoice 254420001, of 1060.00"
PART = "travel.hotel 460.00, vat_ordinary, invoice 254420001, of 1060.00"


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        (PART, facts(), []),
        (PART, facts(invoice("1060.00", "0")), []),
        (PART, facts(invoice("1060.00", "600.00")), []),
        (PART, facts(invoice("1060.00", "600.01")), ["ACC-311 data.lines[0].invoice.number"]),
        (PART, facts(invoice("1060.00", "1060.00"), own_use("254420001", "460.00")), []),
        (PART, facts(invoice("1060.00", "1060.00"), own_use("254420001", "459.99")),
         ["ACC-311 data.lines[0].invoice.number"]),
        (f"{PART}\n{PART}", facts(invoice("1060.00", "140.00")), []),
        (f"{TAXI}\n{PART}\n{PART}", facts(invoice("1060.00", "140.01")), ["ACC-311 data.lines[1].invoice.number"]),
        # Its total is what others registered; where nobody did, this document says it.
        (PART, facts(invoice("1061.00", "600.00")), ["ACC-312 data.lines[0].invoice.total"]),
        (PART, facts(invoice("1061.00", "0")), []),
        (PART, facts(invoice("1061.00", "0", payables="AP-1")), ["ACC-312 data.lines[0].invoice.total"]),
        # Another number, and a number with a code before it, are other invoices.
        (PART, facts(invoice("1060.00", "1060.00", "254420002")), []),
        (PART, facts(invoice("1060.00", "1060.00", "044001/254420001")), []),
        # A seller's red invoice may bear the number of the one it takes back, and counts once as well.
        (RED, facts(invoice("106.00", "106.00")), []),
        (RED, facts(invoice("106.00", "0", "-254420001")), []),
        (RED, facts(invoice("106.00", "106.00", "-254420001")), ["ACC-311 data.lines[1].invoice.number"]),
        # Of 20 digits an invoice is fully digital and has no code; letters are alike in either case.
        (PART.replace("254420001", DIGITAL), facts(invoice("1060.00", "1060.00", DIGITAL)),
         ["ACC-311 data.lines[0].invoice.number"]),
        (PART.replace("254420001", "ab12"), facts(invoice("1060.00", "1060.00", "AB12")),
         ["ACC-311 data.lines[0].invoice.number"]),
        # Documents that share one agree on its kind and its tax, as far as they say it.
        (PART, facts(invoice("1060.00", "600.00", said={"8": "vat_special 60.00"})),
         ["ACC-312 data.lines[0].invoice.kind"]),
        (PART, facts(invoice("1060.00", "600.00", said={"8": "vat_ordinary 60.00"})), []),
        (HALF, facts(invoice("1060.00", "530.00", said={"8": "vat_special "})), []),
        (HALF, facts(invoice("1060.00", "530.00", said={"8": "vat_special 60.0"})), []),
        (HALF, facts(invoice("1060.00", "530.00", said={"8": "vat_special 120.00"})),
         ["ACC-312 data.lines[0].invoice.tax"]),
        # What the document itself said before binds nobody.
        (HALF, facts(invoice("1060.00", "0", said={"7": "vat_ordinary 120.00"})), []),
        # So do the lines of one report.
        (f"{HALF}\n{HALF.replace('1000.00 + 60.00', '940.00 + 120.00')}", facts(), ["ACC-312 data.lines[1].invoice.tax"]),
        (f"{HALF}\n{HALF.replace('1060.00', '2120.00').replace('1000', '2060')}", facts(),
         ["ACC-312 data.lines[1].invoice.total"]),
        (f"{HALF}\n{HALF.replace('530.00,', '530.00 USD @ 7.10,')}", facts(), ["ACC-312 data.lines[1].invoice.total"]),
        (f"{HALF}\n{HALF.replace('vat_special 1000.00 + 60.00', 'vat_ordinary')}", facts(),
         ["ACC-312 data.lines[1].invoice.kind"]),
    ],
)  # fmt: skip
def test_an_invoice_is_claimed_up_to_its_total(text: str, known: Facts, expected: list[str]) -> None:
    assert said(examine(report(text), book(), known, OWN)) == expected


SAID = InvoiceFacts("CNY", Decimal("1060.00"), "vat_ordinary")


def test_an_invoice_is_claimed_with_its_first_line_and_the_sum_of_all() -> None:
    key = BalanceKey("invoice", GROUP, "254420001")

    claimed = claimed_invoices(report(f"{TAXI}\n{PART}\n{PART}"))

    assert claimed == {key: Claim(SAID, Decimal("920.00"), 1)}


@dataclass(frozen=True)
class Budgeted:
    """A report and its budgets, what is said, and how much of which is used."""

    text: str
    known: Facts
    expected: list[str]
    uses: dict[str, str] = field(default_factory=dict)
    policy: str = "stop"


@pytest.mark.parametrize(
    "row",
    [
        Budgeted(TRIP, facts(budget("B1", "1507.34")), [], {"B1": "1507.34"}),
        Budgeted(TRIP, facts(budget("B1", "1507.33")), ["ACC-321 data.total", "waits budget:B1"], {"B1": "1507.34"}),
        Budgeted(TRIP, facts(budget("B1", "1507.33")), ["warns ACC-321 data.total"], {"B1": "1507.34"}, "warn"),
        Budgeted(TRIP, facts(budget("B1", "0")), [], {}, "off"),
        Budgeted(TRIP, facts(budget("B1", "1600.00", "1600.00"), own_use("B1", "1507.34")), [], {"B1": "1507.34"}),
        # The one that says most about the cost is its budget, and no other.
        Budgeted(TAXI, facts(budget("ALL", "0"), budget("D01", "100.00", department="D01")), [], {"D01": "100.00"}),
        Budgeted(TAXI, facts(budget("ALL", "100.00"), budget("D02", "0", department="D02")), [], {"ALL": "100.00"}),
        Budgeted(
            PROJECT,
            facts(budget("D01", "0", department="D01"), budget("D01-P1", "100.00", department="D01", project="P1")),
            [],
            {"D01-P1": "100.00"},
        ),
        Budgeted(TAXI, facts(budget("ALL", "0"), budget("TRAVEL", "100", account="660201")), [], {"TRAVEL": "100.00"}),
        Budgeted(TAXI, facts(budget("MEALS", "0", account="660206")), []),
        # Of two that say as much, the shorter period; another period and another currency are none of its own.
        Budgeted(TAXI, facts(budget("Y", "0"), budget("Q2", "100.00", period="2025-Q2")), [], {"Q2": "100.00"}),
        Budgeted(TAXI, facts(budget("Y", "100.00"), budget("Q1", "0", period="2025-Q1")), [], {"Y": "100.00"}),
        Budgeted(TAXI, facts(budget("Y", "100.00"), budget("M", "0", period="2024-04")), [], {"Y": "100.00"}),
        Budgeted(
            TAXI,
            facts(budget("Z", "0", period="2025-Q2"), budget("A", "100.00", period="2025-04")),
            [],
            {"A": "100.00"},
        ),
        Budgeted(TAXI, facts(budget("USD", "0", currency="USD")), []),
        # Two departments, two budgets; each that is short is named.
        Budgeted(
            f"{TAXI}\ntravel.taxi 50.00, department D02",
            facts(budget("D01", "99.99", department="D01"), budget("D02", "49.99", department="D02")),
            ["ACC-321 data.total", "ACC-321 data.total", "waits budget:D01", "waits budget:D02"],
            {"D01": "100.00", "D02": "50.00"},
        ),
        # The personal part is none of the company's cost; a red invoice gives back.
        Budgeted("travel.taxi 100.00, card, personal 40.00", facts(budget("B1", "60.00")), [], {"B1": "60.00"}),
        Budgeted(
            "travel.hotel 300.00\ntravel.hotel -106.00, red_special -100.00 + -6.00 certified",
            facts(budget("B1", "200.00")),
            [],
            {"B1": "200.00"},
        ),
        Budgeted(
            "travel.hotel -106.00, red_special -100.00 + -6.00 certified", facts(budget("B1", "0")), [], {"B1": "0"}
        ),
        Budgeted(
            "travel.hotel -106.00, red_special -100.00 + -6.00 certified",
            facts(budget("B1", "0", "50.00")),
            [],
            {"B1": "0"},
        ),
    ],
)
def test_a_cost_falls_under_the_budget_that_says_most_about_it(row: Budgeted) -> None:
    answer = examine(report(row.text), book(budgets=row.policy), row.known, OWN)

    assert said(answer) == row.expected
    assert {key.key: f"{amount}" for key, amount in answer.uses.items()} == row.uses


@pytest.mark.parametrize(
    ("period", "day", "expected"),
    [
        ("2025", "2025-12-31", True),
        ("2025", "2026-01-01", False),
        ("2025-03", "2025-03-31", True),
        ("2025-03", "2025-04-01", False),
        ("2025-Q1", "2025-03-31", True),
        ("2025-Q1", "2025-04-01", False),
        ("2025-Q4", "2025-10-01", True),
        ("2025-Q4", "2024-10-01", False),
        ("", "2025-03-31", False),
        ("2025-", "2025-03-31", False),
        ("2025-03-31", "2025-03-31", True),
        ("2025-3", "2025-03-31", False),
        ("2025Q1", "2025-03-31", False),
        ("202503", "2025-03-31", False),
    ],
)
def test_a_budget_covers_the_days_of_its_year_quarter_or_month(period: str, day: str, expected: bool) -> None:
    assert covers(period, date.fromisoformat(day)) is expected


def test_a_report_reserves_its_budget_gross_and_consumes_it_net_of_tax() -> None:
    known = facts(budget("B1", "2000.00"))
    own = report(TRIP)

    answer = examine(own, book(), known, OWN)

    (key,) = answer.uses
    assert (reserved(own, answer.voucher, answer.uses, known, OWN)[key], answer.uses[key]) == (
        Decimal("1613.00"),
        Decimal("1507.34"),
    )


def test_no_more_is_reserved_than_is_left() -> None:
    known = facts(budget("B1", "1550.00"))
    own = report(TRIP)

    answer = examine(own, book(), known, OWN)

    (key,) = answer.uses
    assert reserved(own, answer.voucher, answer.uses, known, OWN)[key] == Decimal("1550.00")


def test_costs_that_stand_in_one_line_are_reserved_gross_too() -> None:
    known = facts(budget("B1", "2000.00"))
    own = report("travel.hotel 1060.00, vat_special 1000.00 + 60.00 certified\ntravel.hotel 100.00")
    files = dict(load_book(STARTER).files)
    files["book.yaml"] = files["book.yaml"].replace(b"\n  - id: cost\n", b"\n  - id: cost\n    merge: yes\n")
    merging = read_book(files)

    answer = examine(own, merging, known, OWN)

    (key,) = answer.uses
    assert answer.uses[key] == Decimal("1100.00")
    assert reserved(own, answer.voucher, answer.uses, known, OWN)[key] == Decimal("1160.00")


def test_a_personal_part_is_not_reserved() -> None:
    known = facts(budget("B1", "2000.00"))
    own = report("travel.hotel 1060.00, card, personal 530.00, vat_special 1000.00 + 60.00 certified")

    answer = examine(own, book(), known, OWN)

    (key,) = answer.uses
    assert (reserved(own, answer.voucher, answer.uses, known, OWN)[key], answer.uses[key]) == (
        Decimal("530.00"),
        Decimal("500.00"),
    )


def test_a_record_that_is_wrong_is_named_where_the_report_names_it() -> None:
    own = report("travel.taxi 50.00\ntravel.taxi 100.00, share 0.5 D01 P1, share 0.5 D02 P2")

    answer = examine(own, book(), facts(fed="project"), OWN)

    assert said(answer)[:2] == [
        "ACC-341 data.lines[1].allocations[0].project",
        "ACC-341 data.lines[1].allocations[1].project",
    ]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    known = facts(
        periods("2025-04 closed"), advance("10.00", employee="E018"), invoice("1060.00", "1000.00"), fed="project"
    )
    text = f"training.other 10.00\n{PART}, project P1\nadvance ADV1 20.00"

    answer = examine(report(text), book(), known, OWN)

    assert said(answer) == [
        "MAP-201 data.lines[0].category",
        "ACC-332 data.posting_date",
        "ACC-341 data.lines[1].project",
        "ACC-303 data.advances[0].number",
        "ACC-302 data.advances[0].amount",
        "ACC-311 data.lines[1].invoice.number",
        "waits account:training.other/D01",
        "waits period:2025-04-03",
        "waits project:P1",
    ]
    assert answer.voucher is None
    assert not answer.ok


def test_a_company_the_book_does_not_know_is_asked_nothing_else() -> None:
    known = facts(periods("2025-04 closed"), fed="project")

    answer = examine(report(f"company C02\n{PROJECT}"), book(), known, OWN)

    assert said(answer) == ["MAP-213 data.company", "waits company:C02"]


def test_looking_changes_no_fact() -> None:
    known = facts(advance("500.00"), invoice("1061.00", "0"), budget("B1", "900.00"))

    answer = examine(report(f"{PART}\n{CLAIM}"), book(), known, OWN)

    assert answer.invoices == {BalanceKey("invoice", GROUP, "254420001"): SAID}
    assert not any(balance.changed for balance in known.balances.values())
    assert known.changed_uses == set()
    assert not any(balance.used for balance in known.balances.values())
