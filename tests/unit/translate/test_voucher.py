"""The translator and the preview: the golden case, what a book of one's own changes, and what the reader is told."""

from __future__ import annotations

import json
import re
import shutil
from datetime import date
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import contracts
from connector import translate
from connector.translate import Book, BookRefused, Refusal, load_book, to_voucher
from connector.translate.book import STARTER
from connector.translate.preview import Preview, preview
from connector.translate.table import render
from connector.translate.trace import explain
from connector.translate.voucher import Terms
from contracts import Voucher, code, parse_event, to_xml
from contracts.voucher import to_dict
from tests.unit.translate.notation import changed as other_starter

EXAMPLES = Path(contracts.__file__).parent / "examples"
CASE_A = (EXAMPLES / "expense-report-approved.case-a.json").read_bytes()
EXPECTED: dict[str, Any] = json.loads((EXAMPLES / "voucher.case-a.json").read_bytes())


@pytest.fixture(scope="module")
def book() -> Book:
    return load_book()


def changed(**data: Any) -> bytes:
    event = json.loads(CASE_A)
    event["data"] |= data
    return json.dumps(event).encode()


def holds(expected: Any, got: Any) -> bool:
    """Whether `got` equals `expected` in every field that `expected` gives."""
    if isinstance(expected, dict):
        return isinstance(got, dict) and all(
            name in got and holds(value, got[name]) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return len(expected) == len(got) and all(map(holds, expected, got))
    return bool(expected == got)


def test_case_a_becomes_the_golden_voucher_in_every_given_field(book: Book) -> None:
    voucher = to_voucher(parse_event(CASE_A).data, book)

    assert isinstance(voucher, Voucher)
    assert holds(EXPECTED, to_dict(voucher))


def test_every_line_names_the_rule_that_made_it(book: Book) -> None:
    voucher = to_voucher(parse_event(CASE_A).data, book)

    assert isinstance(voucher, Voucher)
    assert [line.rule for line in voucher.lines] == ["cost", "cost", "cost", "input-tax", "advance", "employee-payable"]


def test_a_merged_line_is_explained_by_each_invoice_in_it(book: Book) -> None:
    explained = explain(parse_event(CASE_A).data, book)

    assert not isinstance(explained, Refusal)
    tax = explained[1][3]
    assert [(reason.source_line, reason.amount) for reason in tax.reasons] == [
        (1, Decimal("60.00")),
        (2, Decimal("45.66")),
    ]
    assert [reason.tax_row for reason in tax.reasons] == ["tax.csv:8", "tax.csv:13"]
    assert tax.at.startswith("book.yaml:")
    assert tax.reasons[1].inputs["invoice.total"] == "553.00"


def test_tax_that_is_kept_in_the_cost_names_the_row_that_says_so(book: Book) -> None:
    explained = explain(parse_event(CASE_A).data, book)

    assert not isinstance(explained, Refusal)
    assert explained[1][2].reasons[0].tax_row == "tax.csv:3"


def test_a_reference_obeys_the_length_the_erp_stores(book: Book) -> None:
    voucher = to_voucher(parse_event(CASE_A).data, book, reference_max=20)

    assert isinstance(voucher, Voucher)
    assert voucher.reference == "C01-EXP2025-0017-V1"


def own_book(tmp_path: Path, name: str, old: str, new: str) -> Book:
    folder = tmp_path / "own"
    shutil.copytree(STARTER, folder)
    text = (folder / name).read_text("utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new), "utf-8")
    return load_book(folder)


LINE = {
    "line": 1,
    "category": "vehicle.fuel",
    "date": "2025-03-27",
    "description": "",
    "currency": "CNY",
    "paid_by": "employee",
}


def one_line(**line: Any) -> Any:
    return parse_event(changed(lines=[LINE | line], advances=[], total=line["amount"])).data


def test_tax_that_is_half_deductible_splits_in_two_lines(tmp_path: Path) -> None:
    own = own_book(tmp_path, "tax.csv", "*,vat_special,*,stated,,,yes", "vehicle.fuel,vat_special,*,stated,,0.5,")
    invoice = {"kind": "vat_special", "total": "55.00", "net": "48.68", "tax": "6.32"}

    voucher = to_voucher(one_line(amount="55.00", invoice=invoice), own)

    assert isinstance(voucher, Voucher)
    assert [(line.role, line.account, f"{line.amount}") for line in voucher.lines] == [
        ("expense", "660204", "48.68"),
        ("non_deductible_tax", "660204", "3.16"),
        ("input_tax", "2221010101", "3.16"),
        ("employee_payable", "224101", "55.00"),
    ]


@pytest.mark.parametrize(
    ("table", "old", "new", "code", "path", "key"),
    [
        (
            "accounts.csv",
            "vehicle.fuel,",
            "vehicle.gas,",
            "MAP-201",
            "data.lines[0].category",
            "account:vehicle.fuel/D01",
        ),
        ("roles.csv", "employee_payable,*", "employee_payable,C09", "MAP-204", "data", "role:employee_payable/C01"),
        (
            "tax.csv",
            "*,vat_ordinary,*,none,,,,,\n",
            "",
            "MAP-205",
            "data.lines[0].invoice.kind",
            "tax:vat_ordinary/vehicle.fuel",
        ),
        (
            "companies.csv",
            "\nC01,CNY,Asia/Shanghai,approval,1,stated,stop,,\n*,CNY",
            "\nC09,CNY,Asia/Shanghai,approval,1,stated,stop,,\nC08,CNY",
            "MAP-213",
            "data.company",
            "company:C01",
        ),
    ],
)
def test_a_missing_row_parks_the_report_under_its_key(
    tmp_path: Path, table: str, old: str, new: str, code: str, path: str, key: str
) -> None:
    own = own_book(tmp_path, table, old, new)

    refusal = to_voucher(one_line(amount="55.00", invoice={"kind": "vat_ordinary", "total": "55.00"}), own)

    assert isinstance(refusal, Refusal)
    assert [(finding.code, finding.path) for finding in refusal.findings] == [(code, path)]
    assert refusal.waits_for == (key,)
    assert refusal.code == code


def test_a_dimension_the_account_requires_must_be_there(tmp_path: Path) -> None:
    own = own_book(
        tmp_path, "chart.csv", "Vehicles,department employee project?", "Vehicles,department employee project"
    )

    refusal = to_voucher(one_line(amount="55.00"), own)
    assert isinstance(refusal, Refusal)
    assert [(finding.code, finding.path) for finding in refusal.findings] == [("MAP-209", "data.lines[0].project")]

    assert isinstance(to_voucher(one_line(amount="55.00", project="P1"), own), Voucher)


def test_the_day_of_the_invoice_decides_on_its_tax_and_else_that_of_the_line(book: Book) -> None:
    def tax(**dates: str) -> Decimal:
        ticket = {"kind": "rail", "total": "553.00", **dates}
        voucher = to_voucher(one_line(amount="553.00", category="travel.rail", date="2019-04-01", invoice=ticket), book)
        assert isinstance(voucher, Voucher)
        return sum((line.amount for line in voucher.lines if line.role == "input_tax"), Decimal(0))

    assert tax(date="2019-03-31") == 0
    assert tax() == Decimal("45.66")


def lines_of(answer: Voucher | Refusal) -> list[str]:
    assert isinstance(answer, Voucher), answer
    return [f"{line.side} {line.account} {line.amount}" for line in answer.lines]


def test_amounts_without_decimals_are_written_in_cents(book: Book) -> None:
    report = parse_event(
        changed(lines=[LINE | {"amount": "50"}], advances=[{"number": "ADV1", "amount": "20"}], total="50")
    ).data

    assert lines_of(to_voucher(report, book)) == ["debit 660204 50.00", "credit 122101 20.00", "credit 224101 30.00"]


def test_the_account_of_a_supplier_is_not_that_of_an_employee_of_the_same_code() -> None:
    book = other_starter(payables=("# S01", "S01,supplier_payable,*,224103,,\n# S01"))

    for kind, account in (("supplier", "224103"), ("employee", "220201")):
        payee = {"type": kind, "id": "S01"}
        line = LINE | {"amount": "50.00", "paid_by": "supplier"}
        voucher = to_voucher(parse_event(changed(lines=[line], advances=[], total="50.00", payee=payee)).data, book)
        assert lines_of(voucher)[1] == f"credit {account} 50.00"


def test_what_the_ledger_settled_is_taken_off_an_advance(book: Book) -> None:
    rate = {"value": "7.15", "date": "2025-03-27", "source": "PBOC"}
    claim = {"number": "ADV1", "amount": "480.00", "currency": "USD", "rate": rate}
    report = parse_event(changed(lines=[LINE | {"amount": "3432.00"}], advances=[claim], total="3432.00")).data

    terms = Terms(advances={"ADV1": ("USD", Decimal("7.10"))}, released={"ADV1": Decimal("3408.01")})

    assert lines_of(to_voucher(report, book, terms=terms)) == [
        "debit 660204 3432.00",
        "credit 122101 3408.01",
        "credit 660302 23.99",
    ]


def test_an_accrued_cost_without_an_account_waits_for_it() -> None:
    book = other_starter(roles=("accrual,*,224103,,,\n", ""))

    refusal = to_voucher(one_line(amount="50.00"), book, terms=Terms(date(2025, 4, 3), "2025-03", accrued=True))

    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.waits_for) == ("MAP-204", ("role:accrual/C01",))


SPECIAL = {"kind": "vat_special", "total": "106.00", "net": "100.00", "tax": "6.00", "certified": True}


@pytest.mark.parametrize(
    ("name", "rule", "line"),
    [
        ("input-tax", """account: '"222109"'""", "debit 222109 6.00"),
        ("cost", """account: '"660202"'""", "debit 660202 100.00"),
        ("input-tax", "when: amount < 10", "debit 2221010101 6.00"),
        ("cost", "when: amount > 10", "debit 660204 100.00"),
    ],
)
def test_a_rule_may_have_a_condition_or_an_account_alone(tmp_path: Path, name: str, rule: str, line: str) -> None:
    own = own_book(tmp_path, "book.yaml", f"  - id: {name}\n", f"  - id: {name}\n    {rule}\n")

    assert line in lines_of(to_voucher(one_line(amount="106.00", invoice=SPECIAL), own))


@pytest.mark.parametrize(("name", "path"), [("input-tax", "data.lines[0].category"), ("employee-payable", "data")])
def test_a_role_whose_only_condition_fails_waits_for_another_rule(tmp_path: Path, name: str, path: str) -> None:
    own = own_book(tmp_path, "book.yaml", f"  - id: {name}\n", f"  - id: {name}\n    when: amount > 1000\n")

    refusal = to_voucher(one_line(amount="106.00", invoice=SPECIAL), own)

    assert isinstance(refusal, Refusal)
    assert [(finding.code, finding.path) for finding in refusal.findings] == [("MAP-215", path)]
    assert refusal.waits_for == (f"rule:{name.replace('-', '_')}",)


def test_the_tax_of_a_part_is_explained_by_that_of_the_whole_invoice(book: Book) -> None:
    invoice = {
        "kind": "vat_special",
        "number": "2544",
        "total": "105.00",
        "net": "99.05",
        "tax": "5.95",
        "certified": True,
    }

    explained = explain(one_line(amount="35.00", invoice=invoice), book)

    assert not isinstance(explained, Refusal)
    (reason,) = next(line.reasons for line in explained[1] if line.rule == "input-tax")
    assert reason.said("en").endswith("tax 1.98 as stated on the vat_special invoice, of 5.95 on all of it")
    assert reason.said("zh").endswith("注明税额 1.98，整张发票税额 5.95")


PAIR = """
pairs:
  - id: extra
    debit: "660208"
    credit: "224103"
    amount: {amount}
"""


def with_pair(tmp_path: Path, amount: str) -> Book:
    return own_book(
        tmp_path, "book.yaml", "# A debit and a credit of", PAIR.format(amount=amount) + "# A debit and a credit of"
    )


def test_a_pair_below_zero_stands_on_the_other_sides(tmp_path: Path) -> None:
    voucher = to_voucher(one_line(amount="106.00"), with_pair(tmp_path, "0 - 5"))

    assert lines_of(voucher)[-2:] == ["debit 224103 5.00", "credit 660208 5.00"]


@pytest.mark.parametrize(
    "amount", ["round(amount * 0.14, 2)", "round(line.amount * coalesce(line.rate.value, 1) * 0.14, 2)"]
)
def test_a_pair_is_taken_back_by_a_red_invoice_whatever_it_is_counted_from(tmp_path: Path, amount: str) -> None:
    book = with_pair(tmp_path, amount)
    red = {"kind": "red_special", "total": "-100.00", "net": "-100.00", "tax": "0.00"}

    assert lines_of(to_voucher(one_line(amount="100.00"), book))[-2:] == ["debit 660208 14.00", "credit 224103 14.00"]
    returned = to_voucher(one_line(amount="-100.00", invoice=red), book)
    assert lines_of(returned)[-2:] == ["debit 224103 14.00", "credit 660208 14.00"]


@pytest.mark.parametrize("amount", ["5", "0 - 5"])
def test_of_a_pair_only_its_debit_is_a_cost(tmp_path: Path, amount: str) -> None:
    book = with_pair(tmp_path, amount)

    voucher = to_voucher(one_line(amount="106.00"), book)

    assert isinstance(voucher, Voucher)
    (pair,) = book.pairs
    roles = {line.account: line.role for line in voucher.lines if line.rule == pair.id}
    assert roles == {pair.debit: "expense", pair.credit: "counterpart"}


def test_a_pair_that_is_not_rounded_is_refused(tmp_path: Path) -> None:
    refusal = to_voucher(one_line(amount="106.00"), with_pair(tmp_path, "amount * 0.005005"))

    assert isinstance(refusal, Refusal)
    assert [(finding.code, finding.path) for finding in refusal.findings] == [("MAP-214", "data.lines[0]")]
    assert [key.partition(":")[0] for key in refusal.waits_for] == ["rule"]


def test_a_report_without_a_title_makes_a_voucher_without_a_memo(book: Book) -> None:
    voucher = to_voucher(parse_event(changed(title="")).data, book)

    assert isinstance(voucher, Voucher)
    assert voucher.memo is None


def test_the_posting_date_picks_the_row_of_the_company() -> None:
    rest = "CNY,Asia/Shanghai,approval,1,stated,stop,"
    book = other_starter(companies=(f"C01,{rest},", f"C01,USD{rest[3:]},2025-03-31\nC01,{rest}2025-04-01,"))

    assert isinstance(to_voucher(parse_event(CASE_A).data, book), Voucher)
    refusal = to_voucher(parse_event(changed(posting_date="2025-03-31")).data, book)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "MAP-203"


def test_two_rules_are_two_lines_also_on_one_account() -> None:
    book = other_starter(roles=("pending_tax,*,222109", "pending_tax,*,2221010101"))
    waits = LINE | {"amount": "106.00", "line": 2, "invoice": SPECIAL | {"certified": False}}
    lines = [LINE | {"amount": "106.00", "invoice": SPECIAL}, waits]

    voucher = to_voucher(parse_event(changed(lines=lines, advances=[], total="212.00")).data, book)

    assert lines_of(voucher)[2:4] == ["debit 2221010101 6.00", "debit 2221010101 6.00"]


def test_an_allowance_has_no_more_decimals_than_its_currency(tmp_path: Path) -> None:
    with pytest.raises(BookRefused) as refused:
        own_book(tmp_path, "per_diem.csv", "valid_to\n", "valid_to\ntravel.per_diem,CNY,*,180.005,welfare.meal,,\n")

    assert "no more decimals than CNY" in str(refused.value)


def test_a_report_of_more_lines_than_a_voucher_may_have_is_refused(book: Book) -> None:
    shares = [{"share": "0.01", "department": f"D{n}"} for n in range(100)]
    line = {
        "category": "vehicle.fuel",
        "date": "2025-03-27",
        "description": "",
        "currency": "CNY",
        "paid_by": "employee",
    }
    lines = [{**line, "line": n + 1, "amount": "100.00", "allocations": shares} for n in range(60)]

    refusal = to_voucher(parse_event(changed(lines=lines, advances=[], total="6000.00")).data, book)

    assert isinstance(refusal, Refusal)
    assert refusal.code == "MAP-212"


def test_the_preview_holds_plan_voucher_reasons_and_warnings(book: Book) -> None:
    shown = json.loads(preview(CASE_A, "application/json", book).to_json())

    assert shown["ok"] is True
    assert holds(EXPECTED, shown["voucher"])
    assert [step["step"] for step in shown["plan"]["steps"]] == ["post"]
    assert len(shown["trace"]) == 6
    assert {warning["about"] for warning in shown["warnings"]} == {"advance", "invoice", "budget", "period"}


def test_the_preview_reads_xml_too(book: Book) -> None:
    shown = preview(to_xml(parse_event(CASE_A)), "application/xml", book)

    assert shown.voucher == preview(CASE_A, None, book).voucher


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b"<a/>", CASE_A.replace(b"1060.00", b"1061.00"), CASE_A[:500]]
)
def test_the_preview_of_bad_bytes_is_findings(book: Book, body: bytes) -> None:
    shown = preview(body, "application/json", book)

    assert not shown.ok
    assert shown.findings
    assert table(shown)


def test_the_preview_names_every_missing_row_at_once(book: Book) -> None:
    body = CASE_A.replace(b"travel.rail", b"travel.ship").replace(b"entertainment.meal", b"gift.gold")

    shown = preview(body, None, book)

    assert shown.waits_for == ("account:travel.ship/D01", "account:gift.gold/D01")
    assert shown.plan is not None
    assert (shown.plan.outcome, shown.plan.code) == ("parked", "MAP-201")
    assert "account:travel.ship/D01" in table(shown)


def test_a_withdrawal_is_no_voucher(book: Book) -> None:
    event = json.loads(CASE_A)
    event["type"] = "expense.report.withdrawn.v1"
    event["data"] = {
        "company": "C01",
        "number": "EXP2025-0017",
        "version": 1,
        "withdrawn_at": "2025-04-03T10:11:05+08:00",
    }

    shown = preview(json.dumps(event).encode(), None, book)

    assert not shown.ok
    assert shown.plan is not None
    assert shown.plan.reason == "withdrawn before anything was booked"
    assert "MAP-212" in table(shown)


def test_every_code_the_translator_can_give_is_in_the_catalogue() -> None:
    sources = "".join(path.read_text("utf-8") for path in Path(translate.__file__).parent.glob("*.py"))

    given = set(re.findall(r'"(MAP-\d+)"', sources))

    assert len(given) > 5
    assert all(code(name).fix_zh for name in given)


@pytest.mark.parametrize(
    ("lang", "words"),
    [("en", ["Debit", "Travel", "less tax 45.66"]), ("zh", ["借方", "管理费用-差旅费", "扣除进项税额 45.66"])],
)
def test_an_accountant_reads_the_table_in_both_languages(book: Book, lang: Any, words: list[str]) -> None:
    text = table(preview(CASE_A, None, book), lang)

    assert all(word in text for word in [*words, "1913.00", "C01-EXP2025-0017-V1", "accounts.csv:3"])


def test_what_comes_with_the_document_is_never_markup(book: Book) -> None:
    text = table(preview(changed(title="[red]x[/red] [/]"), None, book))

    assert "[red]x[/red] [/]" in text


def table(shown: Preview, lang: Any = "en") -> str:
    out = StringIO()
    Console(file=out, width=200, color_system=None).print(render(shown, lang))
    return out.getvalue()
