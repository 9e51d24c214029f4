"""The mapping book: text stays text, rows have an order and a time, and everything wrong is found at its file:line."""

from __future__ import annotations

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
        ("book.yaml", "role: advance", "role: advanse", "book.yaml:75", "role"),
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


def test_everything_wrong_is_named_at_once(folder: Path, change: Change) -> None:
    change("accounts.csv", "travel.rail,*,*,660201", "travel.rail,*,*,999999")
    change("companies.csv", "C01,CNY", "C01,XYZ")
    change("tax.csv", "stated", "guessed")

    assert [path for path, _ in findings(folder)] == ["companies.csv:3", "tax.csv:8", "accounts.csv:3"]


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

    assert ("chart.csv", "UTF-8 text / a byte at 0 that is not") in findings(folder)


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
        ("amount > 5000", "amuont > 5000", "book.yaml:47, column 1", "did you mean amount?"),
        ("amount > 5000", "amount / 7 > 5000", "book.yaml:47, column 1", "write round(... / ..., 2): what is divided has to be rounded"),
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
