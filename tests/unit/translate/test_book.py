"""The mapping book: text stays text, rows have an order and a time, and everything wrong is found at its file:line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from connector.translate import Book, BookRefused, load_book
from connector.translate.book import STARTER, Scope
from connector.translate.reader import read_book
from connector.translate.tables import AccountRow
from contracts import parse
from contracts.expense import ExpenseReport

CATEGORIES = [
    "travel.hotel",
    "travel.rail",
    "travel.air",
    "travel.coach",
    "travel.taxi",
    "travel.toll",
    "travel.meal",
    "travel.per_diem",
    "entertainment.meal",
    "entertainment.gift",
    "office.supplies",
    "office.postage",
    "office.printing",
    "communication.phone",
    "vehicle.fuel",
    "vehicle.parking",
    "training.course",
    "meeting.venue",
    "welfare.meal",
    "freight.express",
    "service.consulting",
]
DAY = date(2025, 4, 3)

Change = Callable[[str, str, str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "book"
    shutil.copytree(STARTER, copy)
    return copy


@pytest.fixture
def change(folder: Path) -> Change:
    def replace(name: str, old: str, new: str) -> None:
        text = (folder / name).read_text("utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), "utf-8")

    return replace


def account(book: Book, category: str, department: str = "D01", company: str = "C01", on: date = DAY) -> str | None:
    view = book.view(company, on)
    assert view is not None
    hit = view.account(category, department, on)
    return None if hit is None else hit.account


def findings(folder: Path) -> list[tuple[str, str]]:
    with pytest.raises(BookRefused) as refused:
        load_book(folder)
    assert all(finding.code in ("MAP-210", "MAP-217") for finding in refused.value.findings)
    return [(finding.path, f"{finding.expected} / {finding.got}") for finding in refused.value.findings]


def fixes(folder: Path) -> list[tuple[str, str]]:
    with pytest.raises(BookRefused) as refused:
        load_book(folder)
    return [(finding.path, finding.fix) for finding in refused.value.findings]


def test_the_starter_book_has_exactly_its_categories() -> None:
    assert load_book().categories() == sorted(CATEGORIES)


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_starter_book_takes_any_department_and_company(category: str) -> None:
    assert account(load_book(), category, "any department", "C77") is not None


def test_no_other_category_falls_into_an_account_of_the_starter_book() -> None:
    assert account(load_book(), "travel") is None
    assert account(load_book(), "*") is None
    assert account(load_book(), "travel.hotel ") is None


def test_an_account_with_a_leading_zero_stays_text(folder: Path, change: Change) -> None:
    change("accounts.csv", "travel.taxi,*,*,660201", "travel.taxi,*,*,0123")
    change("chart.csv", "account,name_zh", "account,name_zh")
    (folder / "chart.csv").write_text((folder / "chart.csv").read_text("utf-8") + "0123,差旅,Travel,\n", "utf-8")

    assert account(load_book(folder), "travel.taxi") == "0123"


def test_an_exact_row_wins_over_a_star_and_a_priority_over_both(folder: Path, change: Change) -> None:
    change(
        "accounts.csv",
        "travel.taxi,*,*,660201,,,",
        "travel.taxi,*,*,660201,,,\ntravel.taxi,D07,*,660204,,,\ntravel.taxi,*,C02,660208,5,,",
    )
    book = load_book(folder)

    assert account(book, "travel.taxi") == "660201"
    assert account(book, "travel.taxi", "D07") == "660204"
    assert account(book, "travel.taxi", "D07", "C02") == "660208"


def test_a_row_counts_only_on_its_days(folder: Path, change: Change) -> None:
    change(
        "accounts.csv",
        "travel.taxi,*,*,660201,,,",
        "travel.taxi,*,*,660201,,,2025-03-31\ntravel.taxi,*,*,660204,,2025-04-02,",
    )
    book = load_book(folder)

    assert account(book, "travel.taxi", on=date(2025, 3, 31)) == "660201"
    assert account(book, "travel.taxi", on=date(2025, 4, 1)) is None
    assert account(book, "travel.taxi", on=date(2025, 4, 2)) == "660204"


def test_a_row_for_any_category_answers_for_each(folder: Path, change: Change) -> None:
    change("accounts.csv", "travel.taxi,*,*,660201,,,", "travel.taxi,*,*,660204,,,\n*,*,*,660202,,,")
    book = load_book(folder)

    assert account(book, "travel.taxi") == "660204"
    assert account(book, "whatever") == "660202"


def test_the_fingerprint_changes_with_every_file_and_only_then(folder: Path, change: Change) -> None:
    starter = load_book().fingerprint
    assert load_book(folder).fingerprint == starter
    change("tax.csv", "0.03", "0.04")

    assert load_book(folder).fingerprint != starter
    assert len(starter) == 64


@pytest.mark.parametrize(
    ("name", "old", "new", "at", "said"),
    [
        (
            "accounts.csv",
            "travel.rail,*,*,660201",
            "travel.rail,*,*,999999",
            "accounts.csv:3",
            "an account of the chart",
        ),
        ("accounts.csv", "travel.rail,*,*,660201,,,", "travel.rail,*,*,660201", "accounts.csv:3", "7 cells / 4"),
        ("accounts.csv", "travel.rail", "travel.hotel", "accounts.csv:3", "another at accounts.csv:2"),
        ("accounts.csv", "category,", "kategory,", "accounts.csv:1", "kategory"),
        ("accounts.csv", "660201,,,", "660201,high,,", "accounts.csv:2", "priority"),
        ("accounts.csv", "660201,,,", "660201,,2025-02-30,", "accounts.csv:2", "valid_from"),
        ("accounts.csv", "660201,,,", "660201,,2025-03-02,2025-03-01", "accounts.csv:2", "valid_from on or before"),
        ("accounts.csv", "travel.rail,", 'travel."rail,', "accounts.csv:3", "an account for"),
        ("companies.csv", "C01,CNY", "C01,XYZ", "companies.csv:3", "ISO 4217"),
        ("companies.csv", "Asia/Shanghai", "Asia/Nowhere", "companies.csv:3", "time zone"),
        ("chart.csv", "employee\n", "person\n", "chart.csv:3", "'person' is no dimension"),
        ("roles.csv", "input_tax", "imput_tax", "roles.csv:3", "role"),
        ("roles.csv", "2221010101", "(expense)", "roles.csv:3", "an account of the chart"),
        ("tax.csv", "included,0.09", "included,9", "tax.csv:13", "rate"),
        ("tax.csv", "included,0.09", "included,", "tax.csv:13", "a rate belongs to"),
        ("book.yaml", "    merge: yes", "    merge: perhaps", "book.yaml:55", "merge"),
        ("book.yaml", "- id: cost\n", "- id: input-tax\n", "book.yaml:53", "one rule per id"),
        ("book.yaml", 'memo: "{description}"', 'memo: "{descriptoin}"', "book.yaml:41", "descriptoin"),
        ("book.yaml", "role: advance", "role: advanse", "book.yaml:76", "role"),
        ("book.yaml", "  tax: tax.csv", "  tax: ../tax.csv", "book.yaml:20", "tables.tax"),
        ("book.yaml", "  tax: tax.csv", "  tax: other.csv", "other.csv", "a readable file"),
        ("book.yaml", "\nrules:", "\nrules: [", "book.yaml:41", "YAML"),
    ],
)
def test_what_is_wrong_is_found_at_its_line(
    folder: Path, change: Change, name: str, old: str, new: str, at: str, said: str
) -> None:
    if said == "an account for":  # A stray quote is text in CSV unless it opens the cell.
        change(name, "travel.rail,", '"travel.rail" x,')
        said = "double quotes"
    else:
        change(name, old, new)

    found = findings(folder)

    assert any(path == at and said in text for path, text in found), found


@pytest.mark.parametrize(
    ("written", "fix"),
    [("6602O1", "did you mean 660201?"), ("ABC", "add the account to the chart table, or correct it")],
)
def test_an_account_that_the_chart_lacks_is_told_with_the_one_that_was_meant(
    folder: Path, change: Change, written: str, fix: str
) -> None:
    change("accounts.csv", "travel.rail,*,*,660201", f"travel.rail,*,*,{written}")

    with pytest.raises(BookRefused) as refused:
        load_book(folder)

    [finding] = refused.value.findings
    assert (finding.path, finding.got, finding.fix) == ("accounts.csv:3", written, fix)


def test_a_row_with_a_wrong_account_still_answers_for_its_category(folder: Path, change: Change) -> None:
    change("accounts.csv", "travel.rail,*,*,660201", "travel.rail,*,*,999999")
    change("book.yaml", "  - id: cost\n", '  - id: cost\n    when: line.category == "travel.rail"\n')

    assert [path for path, _ in findings(folder)] == ["accounts.csv:3"]


def test_everything_wrong_is_named_at_once(folder: Path, change: Change) -> None:
    change("accounts.csv", "travel.rail,*,*,660201", "travel.rail,*,*,999999")
    change("companies.csv", "C01,CNY", "C01,XYZ")
    change("tax.csv", "stated", "guessed")

    assert [path for path, _ in findings(folder)] == ["companies.csv:3", "accounts.csv:3", "tax.csv:8"]


def test_a_folder_that_is_no_book_is_refused(tmp_path: Path) -> None:
    assert findings(tmp_path) == [("book.yaml", f"a readable file in {tmp_path.name} / No such file or directory")]


@pytest.mark.parametrize(
    "text", ["a: &x [1]\nb: *x\n", "[" * 5000, "name: \x00", "- 1", "", "a: 1\na: 2\n", "!!python/object:os.system {}"]
)
def test_yaml_tricks_are_refused(folder: Path, text: str) -> None:
    (folder / "book.yaml").write_text(text, "utf-8")

    assert findings(folder)


def test_a_table_that_is_not_utf_8_is_refused(folder: Path) -> None:
    (folder / "chart.csv").write_bytes("科目".encode("gb18030"))

    assert ("chart.csv:1", "UTF-8 text / a byte at 0 that is not (it reads as GB18030)") in findings(folder)


RULES = """rules:
  - id: fair
    role: expense
    when: line.project == "FAIR" and amount > 100
    account: "660207"
  - id: rich
    role: expense
    when: amount > 5000
    account: '"660299" if line.category == "travel.hotel" else account'
    priority: 5
"""


@pytest.fixture
def ruled(folder: Path, change: Change) -> Path:
    change("book.yaml", "\nrules:\n", f"\n{RULES}")
    change("chart.csv", "660302,", "660299,会议,Fairs,\n660302,")
    return folder


@pytest.fixture
def scope() -> Scope:
    event = parse((Path("contracts/examples/expense-report-approved.case-a.json")).read_bytes(), None)
    assert isinstance(event.data, ExpenseReport)
    return Scope(event.data, event.data.lines[0], None, Decimal("1000.00"), "660201", "D01")


def test_rules_of_one_role_are_asked_by_priority_then_in_the_order_of_the_file(ruled: Path) -> None:
    rule = load_book(ruled).rules["expense"]

    assert rule.otherwise is not None
    assert rule.otherwise.otherwise is not None
    assert [rule.id, rule.otherwise.id, rule.otherwise.otherwise.id] == ["rich", "fair", "cost"]
    assert [rule.position, rule.otherwise.position, rule.otherwise.otherwise.position] == [1, 0, 2]
    assert rule.otherwise.otherwise.when is None
    assert rule.otherwise.otherwise.otherwise is None


def test_a_rule_says_when_it_holds_and_which_account_it_takes(ruled: Path, scope: Scope) -> None:
    rich = load_book(ruled).rules["expense"]
    assert rich.when is not None
    assert rich.account is not None
    fair = rich.otherwise
    assert fair is not None
    assert fair.account is not None

    assert rich.when(scope) is False
    assert rich.when(replace(scope, amount=Decimal("5000.01"))) is True
    assert rich.account(scope) == "660299"
    assert rich.account(replace(scope, line=scope.report.lines[1])) == "660201"
    assert fair.account(scope) == "660207"


def test_a_pair_adds_a_debit_and_a_credit_below_the_rules(folder: Path, change: Change, scope: Scope) -> None:
    (folder / "book.yaml").write_text(
        (folder / "book.yaml").read_text("utf-8")
        + 'pairs:\n  - id: welfare\n    when: line.category == "welfare.meal"\n    debit: "660208"\n'
        + '    credit: "224102"\n    amount: round(amount * 0.14, 2)\n    merge: yes\n',
        "utf-8",
    )

    book = load_book(folder)

    (pair,) = book.pairs
    assert (pair.debit, pair.credit, pair.merge) == ("660208", "224102", True)
    assert pair.when is not None
    assert pair.when(scope) is False
    assert pair.amount(scope) == Decimal("140.00")
    assert pair.position > max(rule.position for rule in book.rules.values())


@pytest.mark.parametrize(
    ("old", "new", "at", "fix"),
    [
        ("    when: amount", "    wen: amount", "book.yaml:47", "did you mean when?"),
        ("amount > 5000", "amuont > 5000", "book.yaml:47, column 11", "did you mean amount?"),
        ("amount > 5000", "amount / 7 > 5000", "book.yaml:47, column 11", "write round(... / ..., 2): what is divided has to be rounded"),
        ("\"660299\"", "\"669299\"", "book.yaml:48", "did you mean 660299?"),
        ('account: "660207"\n  -', 'account: "6602077"\n  -', "book.yaml:44", "did you mean 660207?"),
        ("    priority: 5", "    priority: 5\n    merg: yes", "book.yaml:50", "did you mean merge?"),
        ("role: expense\n    when: line.p", "role: expence\n    when: line.p", "book.yaml:42", "did you mean expense?"),
        ("id: rich", "id: fair", "book.yaml:41", "rename one of them"),
        ("  tolerances: ", "  tolerance: ", "book.yaml:23", "did you mean tolerances?"),
        ("version:", "verzion:", "book.yaml:6", "did you mean version?"),
        (
            "    when: line.project == \"FAIR\" and amount > 100\n", "", "book.yaml:49",
            "add the condition, or remove one of them",
        ),
    ],
)  # fmt: skip
def test_a_slip_in_a_rule_is_named_with_what_was_meant(
    ruled: Path, change: Change, old: str, new: str, at: str, fix: str
) -> None:
    change("book.yaml", old, new)

    assert (at, fix) in fixes(ruled)


def test_a_pair_names_accounts_of_the_chart(folder: Path) -> None:
    (folder / "book.yaml").write_text(
        (folder / "book.yaml").read_text("utf-8")
        + "pairs:\n  - {id: cost, debit: '1', credit: '224102', amount: account}\n",
        "utf-8",
    )

    assert [text for _, text in findings(folder)] == [
        "one rule per id / cost",
        "an account of the chart / 1",
        "a number / account, a text",
    ]


def test_the_tables_of_a_group_may_be_split_by_company(folder: Path, change: Change) -> None:
    change("book.yaml", "accounts: accounts.csv ", "accounts: accounts.csv, accounts-C02.csv ")
    change("book.yaml", "roles: roles.csv ", "roles: [roles.csv, roles-C02.csv] ")
    (folder / "accounts-C02.csv").write_text("category,company,account\ntravel.taxi,C02,660204\n", "utf-8")
    (folder / "roles-C02.csv").write_text("role,company,account\nrounding,C02,660302\n", "utf-8")

    book = load_book(folder)

    assert account(book, "travel.taxi") == "660201"
    assert account(book, "travel.taxi", company="C02") == "660204"
    assert book.roles[-1].at == "roles-C02.csv:2"


def test_two_files_of_one_table_do_not_answer_the_same_question(folder: Path, change: Change) -> None:
    change("book.yaml", "accounts: accounts.csv ", "accounts: accounts.csv, more.csv ")
    (folder / "more.csv").write_text("category,account\ntravel.hotel,660204\n", "utf-8")

    assert findings(folder) == [("more.csv:2", "one row for travel.hotel/*/* on a day / another at accounts.csv:2")]


def test_a_book_is_rebuilt_from_its_files_byte_for_byte(ruled: Path) -> None:
    book = load_book(ruled)

    again = read_book(dict(book.files) | {"beside.txt": b"not of the book"})

    assert again.fingerprint == book.fingerprint
    assert again.files == book.files
    assert set(again.files) == {path.name for path in ruled.iterdir() if path.is_file()}


def test_files_that_are_no_book_are_refused() -> None:
    with pytest.raises(BookRefused, match=r"book.yaml: expected a file of the book"):
        read_book({})


def test_what_is_above_an_allowance_goes_to_a_category_that_has_an_account(folder: Path) -> None:
    with (folder / "per_diem.csv").open("a", encoding="utf-8") as file:
        file.write("travel.per_diem,CNY,*,180.00,travel.perdiem,,\n")

    assert fixes(folder) == [("per_diem.csv:5", "did you mean travel.per_diem?")]


TAXI = "travel.taxi,*,*,660201,,,"


@pytest.mark.parametrize(
    ("name", "old", "new", "at", "said"),
    [
        ("accounts.csv", TAXI, "ｔravel.taxi,*,*,660201,,,", "accounts.csv:6", "write it in half width"),
        ("accounts.csv", TAXI, "travel.taxi,＊,*,660201,,,", "accounts.csv:6", "write it in half width"),
        ("accounts.csv", TAXI, "travel.taxi\u200b,*,*,660201,,,", "accounts.csv:6", "ZERO WIDTH SPACE"),
        ("accounts.csv", TAXI, "travel.taxi,*,*,660201,1_0,,", "accounts.csv:6", "write it with plain digits"),
        ("accounts.csv", TAXI, "travel.taxi,*,*,660201,1.0,,", "accounts.csv:6", "write it with plain digits"),
        ("accounts.csv", TAXI, "travel.taxi,*,*,660201,,20250101,", "accounts.csv:6", "a day like 2025-03-31"),
        ("accounts.csv", TAXI, "travel.taxi,*,*,660201,,2025-W01-1,", "accounts.csv:6", "a day like 2025-03-31"),
        ("accounts.csv", "category,", "# first\ncategory,", "accounts.csv:1", "move the line below"),
        ("accounts.csv", "category,", "\ncategory,", "accounts.csv:1", "the names of the columns in the first line"),
        ("tax.csv", "0.09", "9e-2", "tax.csv:13", "a number like 0.09"),
        ("tax.csv", "0.09", "０.09", "tax.csv:13", "a number like 0.09"),
        ("tax.csv", "stated,,,yes", "stated,,,on", "tax.csv:8", "write yes or no"),
        ("tax.csv", "stated,,,yes", "statd,,,yes", "tax.csv:8", "did you mean stated?"),
        ("per_diem.csv", "180.00", "1e999999", "per_diem.csv:2", "a number like 0.09"),
        ("book.yaml", "    merge: yes", "    merge: yes\n    when:", "book.yaml:56", "a value for when, got nothing"),
        ("book.yaml", "    merge: yes", "    merge: yes\n    account: ~", "book.yaml:56", "a value for account"),
        ("book.yaml", "    merge: yes", "    merge: on", "book.yaml:55", "write yes or no"),
        ("book.yaml", "    merge: yes", "    merge: yes\n    priority: 0123", "book.yaml:56", "plain digits"),
        ("book.yaml", "    merge: yes", "    memo: !!binary aGVsbG8=", "book.yaml:55", "without a tag"),
        ("book.yaml", "    merge: yes", "    merge: yes\x01", "book.yaml:55", "the control character"),
        ("book.yaml", 'memo: "{description}', 'memo: "{Description}', "book.yaml:41", "did you mean description?"),
        ("book.yaml", 'memo: "{description}', 'memo: "{description', "book.yaml:41", "close the braces"),
        ("book.yaml", 'memo: "{description}"', 'memo: "{{description}}"', "book.yaml:41", "close the braces"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(
    folder: Path, change: Change, name: str, old: str, new: str, at: str, said: str
) -> None:
    if name == "per_diem.csv":
        (folder / name).write_text("category,currency,daily,above\ntravel.per_diem,CNY,180.00,travel.meal\n", "utf-8")
    change(name, old, new)

    with pytest.raises(BookRefused) as refused:
        load_book(folder)

    assert any(finding.path == at and said in str(finding) for finding in refused.value.findings), refused.value


@pytest.mark.parametrize(("sign", "name"), [(";", "semicolons"), ("\t", "tabs"), ("，", "Chinese commas")])
def test_a_table_with_other_signs_than_commas_is_told_in_one_sentence(folder: Path, sign: str, name: str) -> None:
    text = (folder / "tax.csv").read_text("utf-8")
    (folder / "tax.csv").write_text(text.replace(",", sign), "utf-8")

    assert findings(folder) == [("tax.csv:1", f"the names of the columns in the first line, between commas / {name}")]


@pytest.mark.parametrize("table", ["companies", "accounts", "roles", "tax", "chart"])
def test_a_table_without_rows_is_refused(folder: Path, table: str) -> None:
    header, _, _ = (folder / f"{table}.csv").read_text("utf-8").partition("\n")
    (folder / f"{table}.csv").write_text(header + "\n", "utf-8")

    assert (f"{table}.csv", f"at least one row in {table} / none") in findings(folder)


def test_a_link_leads_to_a_file_of_the_folder_only(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "tax.csv").rename(folder / "data" / "tax.csv")
    (folder / "tax.csv").symlink_to("data/tax.csv")
    assert load_book(folder).taxes

    (folder / "data" / "tax.csv").rename(folder.parent / "tax.csv")
    (folder / "tax.csv").unlink()
    (folder / "tax.csv").symlink_to("../tax.csv")

    assert findings(folder) == [("tax.csv", "a file in book / a link out of it")]


def test_a_pipe_is_no_table_and_keeps_nobody_waiting(folder: Path) -> None:
    (folder / "tax.csv").unlink()
    os.mkfifo(folder / "tax.csv")

    assert findings(folder) == [("tax.csv", "a readable file in book / no plain file")]


def test_of_very_many_faults_the_first_hundred_are_told(folder: Path) -> None:
    with (folder / "accounts.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"c{number},*,*,000000,,,\n" for number in range(500))

    found = findings(folder)

    assert len(found) == 100
    assert found[-1] == ("", "fewer faults / 401 more findings")


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("'line.project == \"it\" and amuont > 5'", "book.yaml:43, column 37"),
        ("\"line.project == 'it' and amuont > 5\"", "book.yaml:43, column 37"),
        ('"line.project == \\"it\\" and amuont > 5"', "book.yaml:43, column 39"),
        ("line.project == '出差'\n      and amuont > 5", "book.yaml:44, column 11"),
        ("|\n      line.project == '出差'\n\n      and amuont > 5", "book.yaml:46, column 11"),
        (">-\n      line.project == '出差'\n      and amuont > 5", "book.yaml:45, column 11"),
    ],
)
def test_a_refused_expression_is_named_at_its_line_and_column_of_the_file(
    ruled: Path, change: Change, written: str, at: str
) -> None:
    change("book.yaml", 'line.project == "FAIR" and amount > 100', written)

    assert (at, "did you mean amount?") in fixes(ruled)


def test_a_category_that_the_accounts_table_lacks_is_a_slip_of_the_pen(ruled: Path, change: Change) -> None:
    change("book.yaml", '== "travel.hotel"', '== "travel.hotle"')

    assert ("book.yaml:48, column 44", "did you mean travel.hotel?") in fixes(ruled)


def test_rows_for_a_question_are_found_in_their_order(folder: Path) -> None:
    with (folder / "accounts.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"*,D{number},*,660202,,,\n" for number in range(2000))
        file.write("travel.taxi,D77,*,660204,,,\n")
    book = load_book(folder)

    rows = book.rows_for(AccountRow, "travel.taxi", "D77", "C01")

    assert [row.account for row in rows] == ["660204", "660201", "660202"]
    assert account(book, "whatever", "D77") == "660202"
