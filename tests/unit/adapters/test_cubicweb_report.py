"""From cubicweb's rows to a report: exact, or refused with the line named."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connector.oa.cubicweb_report import Accepted, Naming, report_of
from contracts import ExpenseReport, Refused

HEAD = [1142, "深圳出差", "accepted", "2026-11-24T09:46:08.786484+00:00", "zhangsan", "三", "张"]
STEPS = [[1142, "submitted", "2026-11-20T16:30:00+00:00"], [1142, "accepted", "2026-11-24T01:00:00+00:00"]]


def line(**changes: Any) -> list[Any]:
    values = {
        "expense": 1142, "line": 1140, "title": "hotel", "day": "2026-11-19", "type": "accomodation", "amount": Decimal("318.0"),
        "taxes": Decimal("0.0"), "tax_currency": "EUR", "currency": "CNY", "rate": Decimal("1.0"), "label": "employee",
        "login": None, "first": None, "last": None,
    }  # fmt: skip
    return list({**values, **changes}.values())


def report(*lines: list[Any], **options: str) -> ExpenseReport:
    naming = Naming.from_options("C01", {"department": "D01", **options})
    found = Accepted.of(HEAD, STEPS, lines or [line()])
    return report_of(found, "EX1142", naming, ZoneInfo("Asia/Shanghai"))


def refused(*lines: list[Any]) -> tuple[str, str]:
    with pytest.raises(Refused) as refusal:
        report(*lines)
    return refusal.value.findings[0].code, refusal.value.findings[0].path


def test_people_and_days_come_from_the_workflow() -> None:
    made = report(**{"employee.zhangsan": "E017", "department.zhangsan": "D07"})

    assert (made.employee.id, made.employee.name, made.employee.department) == ("E017", "三 张", "D07")
    assert made.submitted_on == date(2026, 11, 21)  # 16:30 UTC is the next morning in Shanghai.
    assert made.total == Decimal("318.00")


def test_an_expense_accepted_between_two_queries_is_accepted() -> None:
    found = Accepted.of([*HEAD[:2], "submitted", *HEAD[3:]], STEPS, [line()])

    assert (found.state, found.left_at) == ("accepted", None)


def test_an_expense_taken_back_between_two_queries_has_left() -> None:
    found = Accepted.of(HEAD, [*STEPS, [1142, "draft", "2026-11-24T02:00:00+00:00"]], [line()])

    assert (found.state, found.left_at) == ("draft", datetime(2026, 11, 24, 2, tzinfo=UTC))


def test_the_owner_of_the_account_that_paid_spent_the_money() -> None:
    assert report(line(login="lisi", first="四", last="李")).employee.id == "lisi"
    assert refused(line(login="lisi"), line(login="wangwu")) == ("OA-404", "employee")


@pytest.mark.parametrize(
    ("kind", "category"), [("transport", "travel.taxi"), ("food", "travel.meal"), ("others", "others")]
)
def test_a_kind_has_one_category_or_keeps_its_own_name(kind: str, category: str) -> None:
    assert report(line(type=kind)).lines[0].category == category


def test_a_category_can_be_set_by_an_option() -> None:
    assert report(line(type="transport"), **{"category.transport": "travel.rail"}).lines[0].category == "travel.rail"


@pytest.mark.parametrize("amount", ["10.005", "0.1000000001", "NaN", "Infinity"])
def test_an_amount_that_is_no_whole_number_of_cents_is_refused(amount: str) -> None:
    assert refused(line(amount=Decimal(amount))) == ("OA-404", "lines[0].amount")


def test_an_amount_in_a_currency_without_decimals_has_none() -> None:
    assert refused(line(currency="JPY", amount=Decimal("10.5"), rate=Decimal("0.0476"))) == (
        "OA-404",
        "lines[0].amount",
    )
    assert report(line(currency="JPY", amount=Decimal("1000.0"), rate=Decimal("0.0476"))).total == Decimal("47.60")


def test_an_unknown_currency_is_refused() -> None:
    assert refused(line(currency="RMB")) == ("OA-404", "lines[0].amount")


@pytest.mark.parametrize("tax", ["318.0", "-1.0", "400.0"])
def test_a_tax_that_cannot_be_inside_the_amount_is_refused(tax: str) -> None:
    assert refused(line(taxes=Decimal(tax))) == ("OA-404", "lines[0].taxes")


def test_a_tax_in_another_currency_is_refused() -> None:
    assert refused(line(taxes=Decimal("18.0"), tax_currency="USD")) == ("OA-404", "lines[0].taxes_currency")


def test_an_account_nobody_named_is_refused() -> None:
    assert refused(line(label="the boss")) == ("OA-404", "lines[0].paid_by")
    assert report(line(label="the boss"), **{"paid_by.the boss": "company_card"}).lines[0].paid_by == "company_card"


def test_our_note_in_the_description_changes_no_fingerprint_but_a_line_does() -> None:
    later = [*HEAD[:3], "2026-11-25T00:00:00+00:00", *HEAD[4:]]

    assert Accepted.of(HEAD, STEPS, [line()]).fingerprint == Accepted.of(later, STEPS, [line()]).fingerprint
    assert Accepted.of(HEAD, STEPS, [line()]).fingerprint != Accepted.of(HEAD, STEPS, [line(title="x")]).fingerprint
