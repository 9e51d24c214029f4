"""Advances paid and given back: on the accounts and dimensions of the book, and never an error."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from connector.translate import Book, Refusal, load_book
from connector.translate.advance import to_advance_voucher
from connector.translate.reader import read_book
from contracts import AdvancePaid, AdvanceReturned, Employee, Rate, Voucher
from tests.unit.translate.notation import changed

DAY = date(2025, 3, 28)
BOOK = load_book()


def paid(amount: str = "500.00", **more: Any) -> AdvancePaid:
    return AdvancePaid(**_advance(amount, more), paid_on=DAY)


def returned(amount: str = "20.00", **more: Any) -> AdvanceReturned:
    return AdvanceReturned(**_advance(amount, more), returned_on=DAY)


def _advance(amount: str, more: dict[str, Any]) -> dict[str, Any]:
    employee = Employee(id="E017", name="Zhang San", department="D01")
    return {
        "company": "C01", "number": "ADV1", "version": 1, "employee": employee, "amount": Decimal(amount), "currency": "CNY", **more,
    }  # fmt: skip


def dollars(rate: str) -> dict[str, Any]:
    return {"currency": "USD", "rate": Rate(value=Decimal(rate), date=DAY, source="PBOC")}


def lines(answer: Voucher | Refusal) -> list[str]:
    assert isinstance(answer, Voucher), answer
    return [f"{line.side} {line.role} {line.amount:f} {line.amount_in_currency} {line.rate}" for line in answer.lines]


def refused(answer: Voucher | Refusal) -> list[tuple[str, str]]:
    assert isinstance(answer, Refusal)
    return [(finding.code, finding.path) for finding in answer.findings]


def test_every_line_names_the_advance_and_the_voucher_its_reason() -> None:
    voucher = to_advance_voucher(paid(reason="To Shenzhen"), BOOK)

    assert isinstance(voucher, Voucher)
    assert (voucher.memo, {line.memo for line in voucher.lines}) == ("To Shenzhen", {"ADV1"})
    assert (voucher.date, voucher.document.type, voucher.document.number) == (DAY, "advance", "ADV1")


def with_rules(old: str, new: str, accounts: str = "") -> Book:
    """The starter book with a part of its rules written otherwise, and more accounts."""
    files = {**BOOK.files, "chart.csv": BOOK.files["chart.csv"] + accounts.encode()}
    text = files["book.yaml"].decode()
    assert old in text
    files["book.yaml"] = text.replace(old, new).encode()
    return read_book(files)


def test_each_line_is_written_by_the_rule_of_its_role() -> None:
    voucher = to_advance_voucher(returned(**dollars("7.12")), BOOK, paid_rate=Decimal("7.10"))

    assert isinstance(voucher, Voucher)
    assert [line.rule for line in voucher.lines] == ["bank", "advance", "exchange-difference"]


def test_the_memo_of_a_line_is_that_of_its_rule() -> None:
    book = with_rules('role: bank\n    memo: "{advance}"', 'role: bank\n    memo: "{employee} {title} ({number})"')

    voucher = to_advance_voucher(paid(reason="To Shenzhen"), book)

    assert isinstance(voucher, Voucher)
    assert [line.memo for line in voucher.lines] == ["ADV1", "Zhang San To Shenzhen (ADV1)"]


BANKS = """  - id: dollar-bank
    role: bank
    when: '{when}'
    account: "100202"
    priority: 10
  - id: bank
"""


@pytest.mark.parametrize(
    "when",
    [
        'advance.currency == "USD"',
        "advance.rate.value == 7.12",
        "advance.amount == 20",
        "amount == 142.40",
        'account == "100201"',
        'department == "D01"',
        'report.company == "C01" and report.number == "ADV1" and report.version == 1',
        'report.employee.id == "E017" and report.title == "To Shenzhen"',
        'report.currency == "CNY" and report.total == 142.40',
        'report.posting_date == date("2025-03-28") and report.submitted_on == date("2025-03-28")',
        "day(report.approved_at) == 28",
        "len(report.lines) == 0 and len(report.advances) == 1",
        "line == none",
    ],
)
def test_a_condition_may_ask_about_the_advance_and_what_a_report_would_say_of_it(when: str) -> None:
    book = with_rules("  - id: bank\n", BANKS.format(when=when), "100202,美元户,Dollars,\n")
    back = returned(**dollars("7.12"), reason="To Shenzhen")

    voucher = to_advance_voucher(back, book, paid_rate=Decimal("7.10"))

    assert isinstance(voucher, Voucher), voucher
    assert (voucher.lines[0].account, voucher.lines[0].rule) == ("100202", "dollar-bank")


def test_where_no_condition_holds_the_advance_waits_for_a_rule() -> None:
    book = with_rules("    role: bank\n", '    role: bank\n    when: advance.currency == "USD"\n')

    answer = to_advance_voucher(paid(), book)

    assert refused(answer) == [("MAP-215", "data")]
    assert isinstance(answer, Refusal)
    assert answer.waits_for == ("rule:bank",)


def test_an_advance_and_a_report_of_one_number_have_two_references() -> None:
    voucher = to_advance_voucher(paid(), BOOK)

    assert isinstance(voucher, Voucher)
    assert voucher.reference != "C01-ADV1-V1"


def test_a_payment_and_a_return_at_one_version_have_two_references() -> None:
    payment, back = to_advance_voucher(paid(), BOOK), to_advance_voucher(returned(), BOOK)

    assert isinstance(payment, Voucher)
    assert isinstance(back, Voucher)
    assert payment.reference != back.reference


def test_a_reference_is_as_short_as_the_erp_needs_it() -> None:
    voucher = to_advance_voucher(paid(), BOOK, reference_max=20)

    assert isinstance(voucher, Voucher)
    assert len(voucher.reference) <= 20


def test_a_return_takes_off_exactly_what_the_ledger_says() -> None:
    answer = to_advance_voucher(
        returned(**dollars("7.12")), BOOK, paid_rate=Decimal("7.10"), released=Decimal("142.01")
    )

    assert lines(answer) == [
        "debit bank 142.40 20.00 7.12",
        "credit advance 142.01 20.00 7.10",
        "credit exchange_difference 0.39 None None",
    ]


def test_a_return_of_which_nothing_is_left_to_take_off_is_a_gain() -> None:
    answer = to_advance_voucher(
        returned("0.01", **dollars("0.5")), BOOK, paid_rate=Decimal("0.4"), released=Decimal("0.00")
    )

    assert lines(answer) == ["debit bank 0.01 0.01 0.5", "credit exchange_difference 0.01 None None"]


def test_a_return_of_what_was_paid_at_an_unknown_rate_waits_for_the_payment() -> None:
    answer = to_advance_voucher(returned(**dollars("7.12")), BOOK)

    assert refused(answer) == [("ACC-301", "data.number")]
    assert isinstance(answer, Refusal)
    assert answer.waits_for == ("advance:ADV1",)


def test_a_rate_of_the_base_currency_changes_nothing() -> None:
    one = Rate(value=Decimal("1.0"), date=DAY, source="PBOC")

    assert lines(to_advance_voucher(paid(rate=one), BOOK)) == [
        "debit advance 500.00 None None",
        "credit bank 500.00 None None",
    ]


def test_any_other_rate_of_the_base_currency_is_refused() -> None:
    rate = Rate(value=Decimal("7.12"), date=DAY, source="PBOC")

    assert refused(to_advance_voucher(paid(rate=rate), BOOK)) == [("CON-132", "data.rate")]
    assert refused(to_advance_voucher(returned(rate=rate), BOOK)) == [("CON-132", "data.rate")]


def test_a_return_in_the_base_currency_has_no_rate() -> None:
    assert lines(to_advance_voucher(returned(), BOOK, paid_rate=Decimal("7.10"))) == [
        "debit bank 20.00 None None",
        "credit advance 20.00 None None",
    ]


def test_half_a_cent_of_an_advance_is_a_cent() -> None:
    assert lines(to_advance_voucher(paid("0.50", **dollars("7.13")), BOOK))[0] == "debit advance 3.57 0.50 7.13"


@pytest.mark.parametrize(("rate", "paid_rate"), [("7.12", "0.01"), ("0.01", "7.12")])
def test_what_has_no_room_on_the_wire_is_refused(rate: str, paid_rate: str) -> None:
    back = returned("99999999999999.99", **dollars(rate))

    assert refused(to_advance_voucher(back, BOOK, paid_rate=Decimal(paid_rate))) == [("MAP-212", "data.amount")]


def test_an_advance_in_another_currency_needs_its_rate() -> None:
    assert refused(to_advance_voucher(paid(currency="USD"), BOOK)) == [("ACC-305", "data.rate")]


def test_an_advance_of_a_company_that_the_book_does_not_know_waits_for_it() -> None:
    book = changed(companies=("*,CNY", "C09,CNY"))

    answer = to_advance_voucher(paid(company="C07"), book)

    assert refused(answer) == [("MAP-213", "data.company")]
    assert isinstance(answer, Refusal)
    assert answer.waits_for == ("company:C07",)


def without_difference() -> Book:
    return changed(roles=("exchange_difference,*,660302,,,\n", ""))


def test_only_an_advance_with_a_difference_needs_an_account_for_it() -> None:
    book = without_difference()

    assert isinstance(to_advance_voucher(paid(), book), Voucher)
    answer = to_advance_voucher(returned(**dollars("7.12")), book, paid_rate=Decimal("7.10"))
    assert refused(answer) == [("MAP-204", "data")]
    assert isinstance(answer, Refusal)
    assert answer.waits_for == ("role:exchange_difference/C01",)


def test_an_advance_stands_on_the_account_of_its_employee() -> None:
    book = changed(payables=("# S01", "E017,advance,*,122102,,\n# S01"))

    answer = to_advance_voucher(paid(), book)

    assert isinstance(answer, Voucher)
    assert [line.account for line in answer.lines] == ["122102", "100201"]


def test_an_employee_is_called_in_the_erp_as_the_book_says() -> None:
    book = changed(dimensions=("# department,*", "employee,E017,*,80017,,\n# department,*"))

    answer = to_advance_voucher(paid(), book)

    assert isinstance(answer, Voucher)
    assert answer.lines[0].dimensions == {"employee": "80017"}


def test_an_employee_without_a_name_in_the_erp_waits_for_it() -> None:
    book = changed(dimensions=("# department,*", "employee,E018,*,80018,,\n# department,*"))

    answer = to_advance_voucher(paid(), book)

    assert refused(answer) == [("MAP-216", "data.employee.employee")]
    assert isinstance(answer, Refusal)
    assert answer.waits_for == ("dimension:employee/E017",)


def test_a_dimension_that_an_advance_cannot_have_is_missing() -> None:
    book = changed(chart=("银行存款,Bank,", "银行存款,Bank,project"))

    assert refused(to_advance_voucher(paid(), book)) == [("MAP-209", "data.employee.project")]
