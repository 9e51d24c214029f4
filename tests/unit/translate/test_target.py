"""The document an ERP is handed follows its features, and what has no room there is named before anything is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.adapter import Features
from connector.errors import Misconfigured
from connector.translate import Refusal, load_book, to_voucher
from connector.translate.target import cut, misfits, naming, render, with_options
from contracts import ExpenseReport, Voucher, parse_voucher
from contracts.bill import ExpenseDocument, PayableBill, as_voucher
from contracts.codes import all_codes
from tests.unit.translate.test_properties import reports

CASE_A = parse_voucher((Path(__file__).parents[3] / "contracts/examples/voucher.case-a.json").read_bytes())
RED = CASE_A.reversed("C01-EXP2025-0017-V1-R", date(2025, 4, 9))
BOOK = load_book()


def features(**limits: Any) -> Features:
    return Features(deliver=True, **limits)


def in_any_order(voucher: Voucher) -> Voucher:
    return replace(voucher, lines=tuple(sorted(voucher.lines, key=repr)))


def with_memo(memo: str) -> Voucher:
    return replace(CASE_A, memo=memo, lines=(CASE_A.lines[0]._replace(memo=memo), *CASE_A.lines[1:]))


def test_an_erp_that_takes_vouchers_is_handed_the_very_voucher() -> None:
    assert render(CASE_A, features()) is CASE_A
    assert render(RED, features()) is RED


def test_an_erp_is_handed_the_document_its_features_name() -> None:
    assert render(CASE_A, features(target="payable_bill")) == PayableBill.of(CASE_A)
    assert render(CASE_A, features(target="expense_document")) == ExpenseDocument.of(CASE_A)


@pytest.mark.parametrize("target", ["voucher", "payable_bill", "expense_document"])
def test_a_reversal_stands_on_the_other_sides_where_negative_amounts_are_not_taken(target: Any) -> None:
    document = render(RED, features(target=target, red_letter="swapped"))

    assert in_any_order(as_voucher(document)) == in_any_order(RED.swapped())


def test_a_posting_is_never_swapped() -> None:
    assert render(CASE_A, features(red_letter="swapped")) is CASE_A


def test_an_erp_that_reverses_by_itself_is_told_the_red_letter_as_it_is() -> None:
    assert render(RED, features(red_letter="swapped", reversal="native")) is RED


@settings(max_examples=100, deadline=None)
@given(reports(), st.sampled_from(["payable_bill", "expense_document"]), st.sampled_from(["negative", "swapped"]))
def test_no_voucher_of_the_book_loses_anything_in_a_document(report: ExpenseReport, target: Any, form: Any) -> None:
    voucher = to_voucher(report, BOOK)
    if isinstance(voucher, Refusal):
        return
    red = voucher.reversed("C01-EXP1-V1-R", date(2025, 5, 1))

    for sent, said in ((voucher, voucher), (red, red.swapped() if form == "swapped" else red)):
        back = as_voucher(render(sent, features(target=target, red_letter=form)))
        assert in_any_order(back) == in_any_order(said)


def test_a_long_memo_is_cut_where_one_sees_it_and_no_amount_is_touched() -> None:
    document = as_voucher(render(with_memo("深圳出差住宿两晚"), features(memo_max=5)))

    assert (document.memo, document.lines[0].memo) == ("深圳出差…", "深圳出差…")
    assert [line.amount for line in document.lines] == [line.amount for line in CASE_A.lines]
    assert misfits(document, features(memo_max=5)) == ()


def test_the_memo_of_the_voucher_and_those_of_its_lines_are_cut_alone() -> None:
    lines = tuple(line._replace(memo=None) for line in CASE_A.lines)
    whole = render(replace(CASE_A, memo="深圳出差住宿", lines=lines), features(memo_max=5))
    line = render(replace(with_memo("深圳出差住宿"), memo="深圳"), features(memo_max=5))

    assert (whole.memo, as_voucher(whole).lines[0].memo) == ("深圳出差…", None)
    assert (line.memo, as_voucher(line).lines[0].memo) == ("深圳", "深圳出差…")


def test_a_memo_that_just_fits_is_not_cut() -> None:
    assert cut("深圳出差", 4) == "深圳出差"
    voucher = with_memo("深圳出差")

    assert render(voucher, features(memo_max=4)) is voucher
    assert cut("深圳出差", 1) == "…"


@pytest.mark.parametrize(
    ("limits", "code", "path"),
    [
        ({"reference_max": 18}, "ERP-431", "reference"),
        ({"account_max": 9}, "ERP-432", "lines[3].account"),
        ({"dimension_max": 3}, "ERP-433", "lines[0].dimensions.employee"),
        ({"lines_max": 5}, "ERP-434", ""),
        ({"decimals": 1}, "ERP-435", "lines[1].amount"),
    ],
)
def test_what_is_one_too_much_is_a_misfit_and_what_just_fits_is_not(
    limits: dict[str, int], code: str, path: str
) -> None:
    found = misfits(CASE_A, features(**limits))

    assert (code, path) in {(finding.code, finding.path) for finding in found}
    assert {finding.code for finding in found} == {code}
    assert code in all_codes()
    assert misfits(CASE_A, features(**{name: limit + 1 for name, limit in limits.items()})) == ()


def test_zeros_at_the_end_are_no_decimals() -> None:
    five = Decimal("5.00")
    lines = tuple(line._replace(amount=five) for line in (CASE_A.lines[0], CASE_A.lines[5]))

    assert misfits(replace(CASE_A, lines=lines, total_debit=five, total_credit=five), features(decimals=0)) == ()


def test_an_amount_in_another_currency_needs_its_decimals_too() -> None:
    line = CASE_A.lines[2]._replace(currency="KWD", amount_in_currency=Decimal("12.345"), rate=Decimal("24.3"))
    voucher = replace(CASE_A, lines=(*CASE_A.lines[:2], line, *CASE_A.lines[3:]))

    assert [finding.path for finding in misfits(voucher, features(decimals=2))] == ["lines[2].amount_in_currency"]


def test_every_misfit_is_named_at_once_with_its_place_in_the_document() -> None:
    bill = render(CASE_A, features(target="payable_bill"))

    found = misfits(bill, features(account_max=6, dimension_max=3, reference_max=10, lines_max=2, memo_max=1))

    assert {(finding.code, finding.path) for finding in found} >= {
        ("ERP-431", "reference"),
        ("ERP-432", "lines[3].account"),
        ("ERP-433", "parties[0].dimensions.employee"),
        ("ERP-433", "advances[0].dimensions.employee"),
        ("ERP-434", ""),
    }


def test_a_reversal_names_the_number_of_what_it_takes_back() -> None:
    assert naming(RED, "记-0001").memo == "REV 记-0001"
    assert naming(replace(RED, memo="EXP2025-0017 张三"), "记-0001").memo == "REV 记-0001: EXP2025-0017 张三"
    assert len(naming(replace(RED, memo="长" * 1000), "记-0001").memo or "") == 1000


def test_settings_choose_the_target_the_form_of_reversals_and_the_limits() -> None:
    chosen = with_options(
        features(), {"target": "payable_bill", "red_letter": "swapped", "memo_max": "40", "decimals": "0", "path": "x"}
    )

    assert chosen == features(target="payable_bill", red_letter="swapped", memo_max=40, decimals=0)
    assert with_options(chosen, {}) == chosen


@pytest.mark.parametrize(
    "options",
    [{"target": "invoice"}, {"red_letter": "black"}, {"memo_max": "0"}, {"lines_max": "-1"}, {"decimals": "two"}],
)
def test_what_cannot_be_chosen_is_a_mistake_in_the_settings(options: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match=f"options.{next(iter(options))}"):
        with_options(features(), options)
