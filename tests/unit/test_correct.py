"""How a posted document is corrected, in the accountant's words, and what no correction ever does."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.correct import Correction, Facts, correct, difference
from contracts.codes import all_codes
from contracts.voucher import DocumentRef, Role, Voucher, VoucherLine

ACCOUNTS: dict[str, Role] = {
    "travel": "expense",
    "meals": "expense",
    "tax": "input_tax",
    "pending": "pending_tax",
    "transfer": "tax_transfer_out",
    "advance": "advance",
    "employee": "employee_payable",
    "supplier": "supplier_payable",
    "card": "card_clearing",
    "rounding": "rounding",
}
DEFAULTS: dict[str, str] = {"travel": "D01", "meals": "D01"}


def voucher(*said: str, currency: str = "CNY", **changes: Any) -> Voucher:
    """A voucher of lines like `Dr travel 100.00`, `Dr travel/D02 714.00 USD 100.00 @ 7.14`."""
    values = {
        "company": "C01",
        "reference": "C01-EXP-1-V1",
        "document": DocumentRef("expense.report", "EXP-1", 1),
        "date": dt.date(2025, 4, 3),
        "currency": currency,
        "lines": [line(text) for text in said],
    }
    return Voucher.of(**(values | changes))


def line(said: str) -> VoucherLine:
    side, place, amount, *foreign = said.split()
    account, _, department = place.partition("/")
    department = department or DEFAULTS.get(account, "")
    return VoucherLine(
        "debit" if side == "Dr" else "credit",
        account,
        Decimal(amount),
        ACCOUNTS[account],
        {"department": department} if department else {},
        currency=foreign[0] if foreign else None,
        amount_in_currency=Decimal(foreign[1]) if foreign else None,
        rate=Decimal(foreign[3]) if foreign else None,
    )


def shown(lines: Iterable[VoucherLine]) -> list[str]:
    """The lines as `voucher` reads them."""
    said = []
    for each in lines:
        department = each.dimensions.get("department", "")
        place = each.account if DEFAULTS.get(each.account, "") == department else f"{each.account}/{department}"
        foreign = f" {each.currency} {each.amount_in_currency:f}" if each.currency else ""
        said.append(f"{'Dr' if each.side == 'debit' else 'Cr'} {place} {each.amount:f}{foreign}")
    return said


def known(**given_: Any) -> Facts:
    paid = {role: Decimal(amount) for role, amount in given_.pop("paid", {}).items()}
    return Facts(paid=paid, **given_)


CASE_A = voucher(
    "Dr travel 1000.00",
    "Dr travel 507.34",
    "Dr meals 300.00",
    "Dr tax 105.66",
    "Cr advance 1500.00",
    "Cr employee 413.00",
)
CASE_B = voucher(
    "Dr travel 1000.00",
    "Dr travel 507.34",
    "Dr meals 260.00",
    "Dr tax 105.66",
    "Cr advance 1500.00",
    "Cr employee 373.00",
)
PLAIN = voucher("Dr meals 300.00", "Cr employee 300.00")
LESS = voucher("Dr meals 260.00", "Cr employee 260.00")
MORE = voucher("Dr meals 350.00", "Cr employee 350.00")
ADDED = voucher("Dr meals 50.00", "Cr employee 50.00")
ELSEWHERE = voucher("Dr meals/D02 300.00", "Cr employee 300.00")
SPECIAL = voucher("Dr travel 1000.00", "Dr tax 60.00", "Cr employee 1060.00")
LESS_TAX = voucher("Dr travel 500.00", "Dr tax 30.00", "Cr employee 530.00")
MORE_TAX = voucher("Dr travel 1500.00", "Dr tax 90.00", "Cr employee 1590.00")
SAME_TAX = voucher("Dr travel 900.00", "Dr tax 60.00", "Cr employee 960.00")
RED_INVOICE = voucher("Dr travel 1000.00", "Dr tax 60.00", "Cr transfer 6.00", "Cr travel 100.00", "Cr employee 954.00")
LESS_TAX_RED = voucher("Dr travel 500.00", "Dr tax 30.00", "Cr transfer 6.00", "Cr travel 100.00", "Cr employee 424.00")
PENDING = voucher("Dr travel 1000.00", "Dr pending 60.00", "Cr employee 1060.00")
HALF = voucher("Dr travel 1000.00", "Dr tax 40.00", "Dr pending 20.00", "Cr employee 1060.00")
CERTIFIED_AND_LESS = voucher("Dr travel 900.00", "Dr tax 60.00", "Cr employee 960.00")
CARD = voucher("Dr meals 56.10", "Cr card 56.10")
SUPPLIER = voucher("Dr meals 300.00", "Cr supplier 300.00")
IN_USD = voucher("Dr meals 300.00", "Cr employee 300.00", currency="USD")
FOREIGN = voucher("Dr travel 712.34 USD 100.00 @ 7.1234", "Cr employee 712.34")
FOREIGN_MORE = voucher("Dr travel 1424.68 USD 200.00 @ 7.1234", "Cr employee 1424.68")
FOREIGN_RATE = voucher("Dr travel 720.00 USD 100.00 @ 7.2", "Cr employee 720.00")
FOREIGN_TURNED = voucher("Dr travel 713.00 USD 90.00 @ 7.9222", "Cr employee 713.00")
NO_PAYABLE = voucher("Dr meals 300.00", "Cr advance 300.00")

CLOSED = {"period_closed": True}
PAID = {"paid": {"employee_payable": "300.00"}}
PARTLY = {"paid": {"employee_payable": "200.00"}}
RIGID = {"reversible": False}

Row = tuple[str, Sequence[Voucher], Voucher | None, dict[str, Any], str]

# What stands, what is wanted, what is known; then the answer, with its code or the lines that are added.
TABLE: list[Row] = [
    # Nothing to correct
    ("a changed title is no correction", [PLAIN], dataclasses.replace(PLAIN, memo="客户餐费"), {}, "none"),
    (
        "another day, reference and version are no correction",
        [PLAIN],
        voucher(
            "Dr meals 300.00",
            "Cr employee 300.00",
            date=dt.date(2025, 5, 1),
            reference="C01-EXP-1-V2",
            document=DocumentRef("expense.report", "EXP-1", 2),
        ),
        {},
        "none",
    ),
    ("lines in another order are no correction", [PLAIN], voucher(*reversed(shown(PLAIN.lines))), {}, "none"),
    (
        "one line split in two on the same account is no correction",
        [PLAIN],
        voucher("Dr meals 100.00", "Dr meals 200.00", "Cr employee 300.00"),
        {},
        "none",
    ),
    ("an original and its addition say the same as their sum", [PLAIN, ADDED], MORE, {}, "none"),
    ("a changed title of a paid report is no correction", [PLAIN], PLAIN, PAID, "none"),
    ("a changed title in another year needs nobody", [PLAIN], PLAIN, {"same_year": False}, "none"),
    ("a changed title where the ERP cannot reverse is no correction", [PLAIN], PLAIN, RIGID, "none"),
    ("a changed title after a refused reversal books nothing", [PLAIN], PLAIN, {"reversal_rejected": True}, "none"),
    ("another posting day is a correction", [PLAIN], PLAIN, {"moved": True}, "red_and_blue"),
    ("another posting day of a paid report is for a person", [PLAIN], PLAIN, {**PAID, "moved": True}, "block ACC-351"),
    ("another posting day where the ERP cannot reverse, too", [PLAIN], PLAIN, {**RIGID, "moved": True}, "block ACC-354"),
    ("a withdrawal of what never stood needs nothing", [], None, {}, "none"),
    ("a withdrawal of what was reversed by hand needs nothing", [PLAIN], None, {"reversed_by_hand": True}, "none"),
    # Unpaid: red letter
    ("an unpaid report that costs less is reversed and posted anew", [PLAIN], LESS, {}, "red_and_blue"),
    ("an unpaid report that costs more is reversed and posted anew", [PLAIN], MORE, {}, "red_and_blue"),
    ("a cent is a correction", [PLAIN], voucher("Dr meals 300.01", "Cr employee 300.01"), {}, "red_and_blue"),
    ("another department is a correction", [PLAIN], ELSEWHERE, {}, "red_and_blue"),
    (
        "another account is a correction",
        [PLAIN],
        voucher("Dr travel 300.00", "Cr employee 300.00"),
        {},
        "red_and_blue",
    ),
    ("another payee is a correction", [PLAIN], SUPPLIER, {}, "red_and_blue"),
    ("another currency is a correction", [PLAIN], IN_USD, {}, "red_and_blue"),
    (
        "another amount in foreign currency is a correction, though the value is the same",
        [FOREIGN],
        voucher("Dr travel 712.34 USD 99.00 @ 7.1954", "Cr employee 712.34"),
        {},
        "red_and_blue",
    ),
    ("an unpaid report that is withdrawn is reversed", [PLAIN], None, {}, "red"),
    ("a withdrawal reverses the original and its additions", [PLAIN, ADDED], None, {}, "red"),
    ("case B: March is closed, so red and blue in April", [CASE_A], CASE_B, CLOSED, "red_and_blue"),
    ("an amount of payment that is zero is no payment", [PLAIN], LESS, {"paid": {"employee_payable": "0.00"}}, "red_and_blue"),
    # Paid
    (
        "case B, paid: the 40.00 must come back first",
        [CASE_A],
        CASE_B,
        CLOSED | {"paid": {"employee_payable": "413.00"}},
        "block ACC-351",
    ),
    ("a paid report that costs more is added to", [PLAIN], MORE, PAID, "additive Dr meals 50.00, Cr employee 50.00"),
    (
        "a second addition counts the first",
        [PLAIN, ADDED],
        voucher("Dr meals 380.00", "Cr employee 380.00"),
        {"paid": {"employee_payable": "350.00"}},
        "additive Dr meals 30.00, Cr employee 30.00",
    ),
    ("a paid report that costs a cent less is blocked", [PLAIN], LESS, PAID, "block ACC-351"),
    (
        "a report paid in part may become less, down to what was paid",
        [PLAIN],
        LESS,
        {"paid": {"employee_payable": "260.00"}},
        "additive Dr employee 40.00, Cr meals 40.00",
    ),
    (
        "a report paid in part becomes no less than what was paid",
        [PLAIN],
        LESS,
        {"paid": {"employee_payable": "260.01"}},
        "block ACC-351",
    ),
    (
        "a paid report moves to another department by an addition",
        [PLAIN],
        ELSEWHERE,
        PAID,
        "additive Dr meals/D02 300.00, Cr meals 300.00",
    ),
    ("a paid report does not change its payee", [PLAIN], SUPPLIER, PAID, "block ACC-351"),
    ("a paid report does not change its currency", [PLAIN], IN_USD, PARTLY, "block ACC-351"),
    (
        "what was reversed by hand after it was paid does not come back in another currency",
        [PLAIN],
        IN_USD,
        PARTLY | {"reversed_by_hand": True},
        "block ACC-351",
    ),
    (
        "who was paid nothing has nothing to give back",
        [PLAIN],
        voucher("Dr meals 300.00", "Dr card 10.00", "Cr employee 310.00"),
        {"paid": {"employee_payable": "300.00", "card_clearing": "0.00"}},
        "additive Dr card 10.00, Cr employee 10.00",
    ),
    ("a paid report is not withdrawn", [PLAIN], None, PAID, "block ACC-351"),
    ("a report paid in part is not withdrawn", [PLAIN], None, PARTLY, "block ACC-351"),
    ("what a card company was paid counts like what an employee was paid", [CARD], voucher("Dr meals 50.00", "Cr card 50.00"), {"paid": {"card_clearing": "56.10"}}, "block ACC-351"),
    (
        "each payee has its own balance: more for the employee does not cover the supplier",
        [voucher("Dr meals 400.00", "Cr employee 100.00", "Cr supplier 300.00")],
        voucher("Dr meals 400.00", "Cr employee 200.00", "Cr supplier 200.00"),
        {"paid": {"supplier_payable": "300.00"}},
        "block ACC-351",
    ),
    ("a claim that an advance covers now is not what was paid", [PLAIN], NO_PAYABLE, PARTLY, "block ACC-351"),
    (
        "a foreign line grows in both currencies",
        [FOREIGN],
        FOREIGN_MORE,
        {"paid": {"employee_payable": "712.34"}},
        "additive Dr travel 712.34 USD 100.00, Cr employee 712.34",
    ),
    (
        "no addition says that only a rate changed",
        [FOREIGN],
        FOREIGN_RATE,
        {"paid": {"employee_payable": "712.34"}},
        "block ACC-351",
    ),
    (
        "no addition says that a foreign amount fell while its value rose",
        [FOREIGN],
        FOREIGN_TURNED,
        {"paid": {"employee_payable": "712.34"}},
        "block ACC-351",
    ),
    # Input tax
    ("declared input tax is not taken back", [SPECIAL], LESS_TAX, CLOSED, "block ACC-352"),
    ("declared input tax is not taken back by a withdrawal", [SPECIAL], None, CLOSED, "block ACC-352"),
    (
        "declared input tax is not taken back by an addition",
        [SPECIAL],
        LESS_TAX,
        CLOSED | {"paid": {"employee_payable": "500.00"}},
        "block ACC-352",
    ),
    ("input tax that is not declared yet may become less", [SPECIAL], LESS_TAX, {}, "red_and_blue"),
    (
        "a closed period whose tax is not declared yet may lose input tax",
        [SPECIAL],
        LESS_TAX,
        CLOSED | {"tax_closed": False},
        "red_and_blue",
    ),
    ("an open period whose tax is declared may not", [SPECIAL], LESS_TAX, {"tax_closed": True}, "block ACC-352"),
    ("more input tax is fine", [SPECIAL], MORE_TAX, CLOSED, "red_and_blue"),
    ("equal input tax is fine", [SPECIAL], SAME_TAX, CLOSED, "red_and_blue"),
    ("a withdrawal without input tax needs no red invoice", [PLAIN], None, CLOSED, "red"),
    ("pending tax was not declared", [PENDING], None, CLOSED, "red"),
    ("the seller's red invoice transfers tax out", [SPECIAL], RED_INVOICE, CLOSED, "red_and_blue"),
    ("a red invoice does not cover input tax that goes missing", [SPECIAL], LESS_TAX_RED, CLOSED, "block ACC-352"),
    (
        "tax that a red invoice transferred out may be left out of the input tax instead",
        [RED_INVOICE],
        voucher("Dr travel 900.00", "Dr tax 54.00", "Cr employee 954.00"),
        CLOSED,
        "red_and_blue",
    ),
    ("a red invoice that falls away only gives tax back", [RED_INVOICE], SPECIAL, CLOSED, "red_and_blue"),
    # Certification
    ("certification is an addition", [PENDING], SPECIAL, {}, "additive Dr tax 60.00, Cr pending 60.00"),
    (
        "certification of a part is an addition",
        [PENDING],
        HALF,
        {},
        "additive Dr tax 40.00, Cr pending 40.00",
    ),
    (
        "certification of the rest is another",
        [PENDING, voucher("Dr tax 40.00", "Cr pending 40.00")],
        SPECIAL,
        {},
        "additive Dr tax 20.00, Cr pending 20.00",
    ),
    (
        "certification of a paid report is an addition",
        [PENDING],
        SPECIAL,
        CLOSED | {"paid": {"employee_payable": "1060.00"}},
        "additive Dr tax 60.00, Cr pending 60.00",
    ),
    (
        "certification where the ERP cannot reverse is an addition",
        [PENDING],
        SPECIAL,
        RIGID,
        "additive Dr tax 60.00, Cr pending 60.00",
    ),
    ("certification together with another change is none", [PENDING], CERTIFIED_AND_LESS, {}, "red_and_blue"),
    ("a certification taken back is none", [SPECIAL], PENDING, {}, "red_and_blue"),
    ("a certification is not taken back once declared", [SPECIAL], PENDING, CLOSED, "block ACC-352"),
    ("certification in another year is held for a person", [PENDING], SPECIAL, {"same_year": False}, "block ACC-353"),
    # Another fiscal year
    ("a correction in another year is held for a person", [PLAIN], LESS, {"same_year": False}, "block ACC-353"),
    ("a withdrawal in another year is held for a person", [PLAIN], None, {"same_year": False}, "block ACC-353"),
    (
        "a correction in another year that a person accepted goes on",
        [PLAIN],
        LESS,
        {"same_year": False, "year_accepted": True},
        "red_and_blue",
    ),
    (
        "who accepts the year has not recovered the money",
        [PLAIN],
        LESS,
        PAID | {"same_year": False, "year_accepted": True},
        "block ACC-351",
    ),
    (
        "an addition in another year is held for a person, too",
        [PLAIN],
        MORE,
        PAID | {"same_year": False},
        "block ACC-353",
    ),
    # An ERP that cannot reverse
    ("where the ERP cannot reverse, more is added", [PLAIN], MORE, RIGID, "additive Dr meals 50.00, Cr employee 50.00"),
    ("where the ERP cannot reverse, less is for a person", [PLAIN], LESS, RIGID, "block ACC-354"),
    ("where the ERP cannot reverse, a move is for a person", [PLAIN], ELSEWHERE, RIGID, "block ACC-354"),
    ("where the ERP cannot reverse, a withdrawal is for a person", [PLAIN], None, RIGID, "block ACC-354"),
    (
        "where the ERP cannot reverse, another currency is for a person",
        [PLAIN],
        voucher("Dr meals 350.00", "Cr employee 350.00", currency="USD"),
        RIGID,
        "block ACC-354",
    ),
    (
        "where the ERP cannot reverse, a new line is an addition",
        [PLAIN],
        voucher("Dr meals 300.00", "Dr travel 20.00", "Cr employee 320.00"),
        RIGID,
        "additive Dr travel 20.00, Cr employee 20.00",
    ),
    ("where the ERP cannot reverse, less is for a person though partly paid", [PLAIN], LESS, RIGID | PARTLY, "block ACC-354"),
    # Reversals that went wrong, or that others made
    ("behind a refused reversal nothing is booked", [PLAIN], LESS, {"reversal_rejected": True}, "block ACC-355"),
    ("behind a refused reversal nothing is withdrawn", [PLAIN], None, {"reversal_rejected": True}, "block ACC-355"),
    ("what was reversed by hand is posted anew", [PLAIN], LESS, {"reversed_by_hand": True}, "blue"),
    ("what was reversed by hand is posted anew, though it says the same", [PLAIN], PLAIN, {"reversed_by_hand": True}, "blue"),
    (
        "a reversal that was refused because a hand was faster is settled",
        [PLAIN],
        LESS,
        {"reversed_by_hand": True, "reversal_rejected": True},
        "blue",
    ),
    ("tax that a hand reversed is not taken back by us", [SPECIAL], LESS_TAX, CLOSED | {"reversed_by_hand": True}, "blue"),
    (
        "what was reversed by hand after it was paid does not come back for less",
        [PLAIN],
        LESS,
        PAID | {"reversed_by_hand": True},
        "block ACC-351",
    ),
    (
        "what was reversed by hand while the money is out is not simply withdrawn",
        [PLAIN],
        None,
        PAID | {"reversed_by_hand": True},
        "block ACC-351",
    ),
    (
        "what was reversed by hand last year is held for a person",
        [PLAIN],
        LESS,
        {"reversed_by_hand": True, "same_year": False},
        "block ACC-353",
    ),
    ("a first version is posted", [], PLAIN, {}, "blue"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("posted", "new", "facts", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_a_correction_is_decided(
    posted: Sequence[Voucher], new: Voucher | None, facts: dict[str, Any], expected: str
) -> None:
    decided = correct(posted, new, known(**facts))

    more = decided.code or ", ".join(shown(decided.difference or ()))
    assert f"{decided.kind} {more}".strip() == expected


def test_every_row_has_a_sentence_of_its_own() -> None:
    assert len({row[0] for row in TABLE}) == len(TABLE) >= 45


def test_a_block_says_how_much_to_recover() -> None:
    decided = correct([CASE_A], CASE_B, known(period_closed=True, paid={"employee_payable": "413.00"}))

    assert decided == Correction(
        "block",
        "413.00 was paid to the employee and 373.00 is owed now:"
        " recover 40.00 first or book an employee receivable of 40.00",
        "ACC-351",
    )


def test_a_withdrawal_of_what_was_paid_says_that_all_of_it_is_to_come_back() -> None:
    decided = correct([CARD], None, known(paid={"card_clearing": "56.10"}))

    assert decided.reason == (
        "56.10 was paid to the card company and nothing is owed now:"
        " recover 56.10 first or book a receivable from the card company of 56.10"
    )


def test_a_block_about_tax_says_how_much() -> None:
    assert correct([SPECIAL], LESS_TAX, known(tax_closed=True)).reason.startswith("input tax of 30.00 was declared")


def test_the_lines_of_an_addition_name_the_rule_and_period_of_the_new_version_and_no_line_of_the_report() -> None:
    ruled = [each._replace(rule="meals.client", source_line=7, origin_period="2025-03") for each in MORE.lines]
    new = dataclasses.replace(MORE, lines=tuple(ruled))

    lines = difference([PLAIN], new)

    assert lines is not None
    assert {(each.rule, each.source_line, each.origin_period) for each in lines} == {("meals.client", None, "2025-03")}


def test_a_difference_between_two_rates_has_no_rate() -> None:
    two_rates = voucher("Dr travel 1432.34 USD 200.00 @ 7.2", "Cr employee 1432.34")

    (debit, _), (same, _) = difference([FOREIGN], two_rates) or (), difference([FOREIGN], FOREIGN_MORE) or ()

    assert (debit.rate, same.rate) == (None, Decimal("7.1234"))


def test_a_role_alone_is_no_correction_but_an_addition_keeps_it() -> None:
    cost = line("Dr meals 48.00")
    lost = cost._replace(role="non_deductible_tax", amount=Decimal("3.00"))
    owed = line("Cr employee 51.00")
    posted = voucher(lines=[cost, lost, owed])
    otherwise = voucher(lines=[cost._replace(amount=Decimal("51.00")), owed])
    more = voucher(lines=[cost, lost._replace(amount=Decimal("5.00")), owed._replace(amount=Decimal("53.00"))])

    assert correct([posted], otherwise, Facts()).kind == "none"
    assert [each.role for each in difference([posted], more) or ()] == ["non_deductible_tax", "employee_payable"]


def test_more_differences_than_a_voucher_has_lines_are_no_addition() -> None:
    many = [f"Dr meals/D{at} 1.00" for at in range(2600)]
    others = [f"Dr travel/D{at} 1.00" for at in range(2600)]

    decided = correct(
        [voucher(*many, "Cr employee 2600.00")],
        voucher(*others, "Cr employee 2600.00"),
        known(paid={"employee_payable": "1.00"}),
    )

    assert (decided.kind, decided.code) == ("block", "ACC-351")


@st.composite
def vouchers(draw: st.DrawFn) -> Voucher:
    """Any voucher of a document: some lines, and what balances them."""
    currency = draw(st.sampled_from(["CNY", "CNY", "CNY", "USD"]))
    lines = []
    for _ in range(draw(st.integers(1, 5))):
        account = draw(st.sampled_from(sorted(ACCOUNTS)))
        amount = Decimal(draw(st.integers(1, 400))) / 4
        foreign = draw(st.sampled_from([None, None, "EUR"]))
        lines.append(
            VoucherLine(
                draw(st.sampled_from(["debit", "credit"])),
                account,
                amount.quantize(Decimal("0.01")),
                ACCOUNTS[account],
                draw(st.sampled_from([{}, {"department": "D01"}, {"project": "P1"}])),
                currency=foreign,
                amount_in_currency=None if foreign is None else Decimal(draw(st.integers(1, 100))),
            )
        )
    left = sum((each.amount if each.side == "debit" else -each.amount for each in lines), Decimal(0))
    if left:
        payable = draw(st.sampled_from(["employee", "supplier", "card", "rounding"]))
        lines.append(VoucherLine("credit" if left > 0 else "debit", payable, abs(left), ACCOUNTS[payable]))
    else:
        lines += [line("Dr rounding 0.01"), line("Cr employee 0.01")]
    return voucher(currency=currency, lines=lines)


ROLES: tuple[Role, ...] = ("employee_payable", "supplier_payable", "card_clearing")
FACTS = st.builds(
    Facts,
    st.dictionaries(
        st.sampled_from(ROLES), st.sampled_from([Decimal(0), Decimal("0.01"), Decimal("20.00"), Decimal(500)])
    ),
    st.booleans(),
    st.sampled_from([None, True, False]),
    *[st.booleans()] * 5,
)
FEW = st.lists(vouchers(), max_size=3)


def nets(vouchers_: Iterable[Voucher]) -> dict[Any, tuple[Decimal, Decimal]]:
    """Debits less credits of each account and its dimensions, in value and in foreign currency."""
    sums: dict[Any, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for each in (each for made in vouchers_ for each in made.lines):
        sign = 1 if each.side == "debit" else -1
        place = each.account, tuple(sorted(each.dimensions.items()))
        sums[place][0] += sign * each.amount
        sums[(*place, each.currency)][1] += sign * (each.amount_in_currency or Decimal(0))
    return {place: (value, foreign) for place, (value, foreign) in sums.items() if value or foreign}


def owed(vouchers_: Iterable[Voucher], role: Role) -> Decimal:
    lines = [each for made in vouchers_ for each in made.lines if each.role == role]
    return sum((each.amount if each.side == "credit" else -each.amount for each in lines), Decimal(0))


@given(FEW, vouchers())
def test_a_difference_balances_and_makes_the_new_version(posted: list[Voucher], new: Voucher) -> None:
    lines = difference(posted, new)

    if lines:
        added = voucher(currency=new.currency, lines=lines)  # it balances and is above zero, or it could not be built
        assert nets([*posted, added]) == nets([new])
        assert all(each.amount_in_currency is None or each.amount_in_currency > 0 for each in lines)
        assert difference([*posted, added], new) == ()


@given(FEW, st.none() | vouchers(), FACTS)
def test_every_situation_has_an_answer_that_keeps_what_was_paid(
    posted: list[Voucher], new: Voucher | None, facts: Facts
) -> None:
    decided = correct(posted, new, facts)

    paid = any(facts.paid.values())
    assert (decided.kind == "block") == (decided.code is not None)
    assert (decided.kind == "additive") == (decided.difference is not None)
    assert decided.code is None or decided.code in all_codes()
    assert not (decided.kind.startswith("red") and (paid or facts.reversed_by_hand or not facts.reversible))
    if decided.difference is not None:
        assert new is not None
        added = voucher(currency=new.currency, lines=decided.difference)
        assert nets([*posted, added]) == nets([new])
        for role, amount in facts.paid.items():
            before, after = owed(posted, role), owed([*posted, added], role)
            assert after >= before or after >= amount
    if decided.kind in ("additive", "red", "red_and_blue"):
        assert not facts.reversal_rejected
        assert facts.same_year or facts.year_accepted


@given(vouchers(), FACTS)
def test_a_changed_title_is_never_reversed(posted: Voucher, facts: Facts) -> None:
    decided = correct([posted], dataclasses.replace(posted, memo="新标题", reference="C01-EXP-1-V2"), facts)

    assert decided.kind == "none" or facts.reversed_by_hand


def test_facts_that_nobody_stated_are_the_usual_ones() -> None:
    assert Facts() == Facts(MappingProxyType({}), False, None, True, False, True, False, False)
