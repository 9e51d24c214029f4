"""Money is exact, has a currency, and travels in one written form."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts import Amount, DecimalText, RateText, ShareText, TaxRateText, minor_digits

AMOUNT: TypeAdapter[Decimal] = TypeAdapter(DecimalText)
WRITTEN = [
    "0",
    "0.0",
    "0.00",
    "1",
    "-1",
    "1060.00",
    "-0.01",
    "-0.0001",
    "99999999999999.9999",
    "-99999999999999.9999",
    "-10.10",
]
NOT_WRITTEN = [
    "",
    "-",
    ".",
    "1.",
    ".5",
    "-.5",
    "01",
    "-01",
    "+1",
    "1e5",
    "1E5",
    "1_000",
    "1,000",
    " 1",
    "1 ",
    "1\n",
    "１",
    "１.５",
    "١",
    "-0",
    "-0.0",
    "-0.0000",
    "1.00000",
    "100000000000000",
    "NaN",
    "Infinity",
    "0x10",
    "1060,00",
    "--1",
    "1\u00a0",
]


@pytest.mark.parametrize("text", WRITTEN)
def test_an_amount_in_its_written_form_is_read_exactly(text: str) -> None:
    assert str(AMOUNT.validate_json(f'"{text}"')) == text
    assert AMOUNT.dump_json(Decimal(text)) == f'"{text}"'.encode()


@pytest.mark.parametrize("text", NOT_WRITTEN)
def test_any_other_text_is_no_amount(text: str) -> None:
    with pytest.raises(ValidationError):
        AMOUNT.validate_python(text)
    with pytest.raises(ValidationError):
        AMOUNT.validate_json(('"' + text.replace("\n", "\\n") + '"').encode())


@pytest.mark.parametrize("json", ["1060.00", "1060", "true", "null", "[]", "{}", "1e2", "NaN", "-0.0"])
def test_no_json_value_but_a_string_is_an_amount(json: str) -> None:
    with pytest.raises(ValidationError):
        AMOUNT.validate_json(json)


@pytest.mark.parametrize(
    "value",
    [1.1, 1, True, None, Decimal("NaN"), Decimal("Infinity"), Decimal("-0"), Decimal("1.00001"), Decimal("1E+20")],
)
def test_no_python_value_but_a_fitting_decimal_is_an_amount(value: object) -> None:
    with pytest.raises(ValidationError):
        AMOUNT.validate_python(value)


def test_a_decimal_with_an_exponent_is_written_without_it() -> None:
    assert AMOUNT.dump_json(AMOUNT.validate_python(Decimal("1E+2"))) == b'"100"'


@given(st.decimals(min_value=-(10**13), max_value=10**13, places=4))
def test_every_decimal_survives_the_wire(value: Decimal) -> None:
    value = value or abs(value)

    assert AMOUNT.validate_json(AMOUNT.dump_json(value)) == value


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        (
            RateText,
            ["7.1234", "0.000000000001", "1", "9999999999.999999999999"],
            ["0", "0.0", "-1", "0.0000000000001", "1e2", "10000000000"],
        ),
        (ShareText, ["1", "1.0", "0.4", "0.333333333334"], ["0", "0.00", "1.1", "-0.5", "2", ".5", "40%"]),
        (TaxRateText, ["0", "0.06", "0.13"], ["1", "6", "-0.06", "6%", "0.0000001"]),
    ],
)
def test_rates_and_shares_have_their_own_forms(form: object, good: list[str], bad: list[str]) -> None:
    adapter: TypeAdapter[Decimal] = TypeAdapter(form)

    assert [format(adapter.validate_json(f'"{text}"'), "f") for text in good] == good
    for text in bad:
        with pytest.raises(ValidationError):
            adapter.validate_json(f'"{text}"')


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("CNY", 2), ("JPY", 0), ("KWD", 3), ("HUF", 2), ("XAU", None), ("HRK", None), ("cny", None), ("", None)],
)
def test_a_currency_knows_its_decimals(currency: str, digits: int | None) -> None:
    assert minor_digits(currency) == digits


def test_amounts_of_one_currency_calculate() -> None:
    hotel, rail = Amount(Decimal("1060.00"), "CNY"), Amount(Decimal("553.5"), "CNY")

    assert (hotel + rail).text() == "1613.50"
    assert (rail - hotel).text() == "-506.50"
    assert -hotel < rail <= hotel
    assert (hotel - hotel).text() == "0.00"
    assert str(Amount.rounded(Decimal("712.335"), "CNY")) == "712.34 CNY"


def test_amounts_of_two_currencies_do_not_meet() -> None:
    with pytest.raises(ValueError, match="do not mix"):
        _ = Amount(Decimal(1), "CNY") + Amount(Decimal(1), "USD")
    with pytest.raises(ValueError, match="do not mix"):
        _ = Amount(Decimal(1), "CNY") < Amount(Decimal(1), "USD")


@pytest.mark.parametrize(
    ("value", "currency"), [("1.5", "JPY"), ("1.50", "JPY"), ("1.001", "CNY"), ("NaN", "CNY"), ("1", "XXX")]
)
def test_an_amount_that_its_currency_cannot_hold_is_not_built(value: str, currency: str) -> None:
    with pytest.raises(ValueError, match=r"decimals|currency"):
        Amount(Decimal(value), currency)
