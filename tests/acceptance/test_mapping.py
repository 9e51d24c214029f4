"""The consultant's workbench as it is typed: `oaerp mapping`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import xlsxwriter  # type: ignore[import-untyped]
from lxml import etree

from connector.translate import load_book
from connector.translate.book import STARTER
from tests.acceptance.commands import ROOT, Terminal

EXAMPLES = ROOT / "contracts" / "examples"
CASE_A = EXAMPLES / "expense-report-approved.case-a.json"
TESTS = """
- case: A taxi is owed to the employee
  given: |
    travel.taxi 50.00
  expect: |
    Dr 660201 D01 E017 50.00
    Cr 224101 E017 50.00
"""
WRONG = """
- case: A hotel without its tax
  given: |
    travel.hotel 1060.00, vat_special 1000.00 + 60.00 certified
  expect: |
    Dr 660201 D01 E017 1060.00
    Cr 224101 E017 1060.00
"""


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A folder with a book of one's own, and a test in it."""
    for name, content in load_book().files.items():
        write(tmp_path / "book" / name, content.decode())
    write(tmp_path / "book" / "tests" / "basic.yaml", TESTS)
    return Terminal(tmp_path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def change(terminal: Terminal, name: str, old: str, new: str) -> None:
    path = terminal.folder / "book" / name
    assert old in path.read_text("utf-8")
    write(path, path.read_text("utf-8").replace(old, new))


def test_a_sound_book_is_told_to_be_sound_and_a_wrong_one_names_every_place(terminal: Terminal) -> None:
    sound = terminal.type("mapping", "lint", "book")
    change(terminal, "accounts.csv", "travel.taxi,*,*,660201", "travel.taxi,*,*,1")
    change(terminal, "tax.csv", "*,coach,*,included,0.03", "*,coach,*,included,3")

    wrong = terminal.type("mapping", "lint", "book")
    as_json = json.loads(terminal.type("mapping", "lint", "book", "--json").stdout)

    assert (sound.returncode, wrong.returncode) == (0, 1)
    assert "is sound" in sound.stderr
    assert {finding["path"].split(":")[0] for finding in as_json["findings"]} >= {"tax.csv"}
    for finding in as_json["findings"]:
        assert finding["path"] in wrong.stdout


def test_what_nobody_can_have_meant_is_told_and_does_not_fail(terminal: Terminal) -> None:
    change(terminal, "chart.csv", "660209,", "660999,闲置,Idle,\n660209,")

    ran = terminal.type("mapping", "lint", "book")

    assert ran.returncode == 0
    assert re.search(r"! +chart\.csv:\d+ +MAP-218 .*660999", ran.stdout)


def test_the_books_tests_pass_and_a_wrong_one_shows_the_lines_and_what_made_them(terminal: Terminal) -> None:
    passed = terminal.type("mapping", "test", "book")
    write(terminal.folder / "book" / "tests" / "wrong.yaml", WRONG)

    failed = terminal.type("mapping", "test", "book", "--junit", "junit.xml")

    assert (passed.returncode, failed.returncode) == (0, 1)
    assert "✓ A taxi is owed to the employee  basic.yaml:2" in passed.stdout
    assert re.search(r"- Dr 660201 D01 E017 1060\.00", failed.stdout)
    assert re.search(
        r"\+ Dr 660201 D01 E017 1000\.00 +\[cost\] book\.yaml:\d+, accounts\.csv:2, tax\.csv:8", failed.stdout
    )
    assert "1 of 2 tests failed" in failed.stderr
    suite = etree.parse(terminal.folder / "junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_a_test_is_chosen_by_its_title_or_place(terminal: Terminal) -> None:
    write(terminal.folder / "book" / "tests" / "wrong.yaml", WRONG)

    chosen = terminal.type("mapping", "test", "book", "--only", "TAXI")
    none = terminal.type("mapping", "test", "book", "--only", "zeppelin")

    assert (chosen.returncode, none.returncode) == (0, 1)
    assert "hotel" not in chosen.stdout
    assert "zeppelin" in none.stderr


def test_a_book_without_tests_and_a_test_that_cannot_be_read_are_failures(terminal: Terminal) -> None:
    tests = terminal.folder / "book" / "tests"
    write(tests / "basic.yaml", TESTS.replace("travel.taxi 50.00", "travel.taxi 50.00, crad"))
    unreadable = terminal.type("mapping", "test", "book")
    (tests / "basic.yaml").unlink()

    none = terminal.type("mapping", "test", "book")

    assert (unreadable.returncode, none.returncode) == (1, 1)
    assert re.search(r"basic\.yaml:4 +MAP-210 .*did you mean card\?", re.sub(r"\s+", " ", unreadable.stdout))
    assert "there are no tests" in none.stderr


def test_a_report_is_tried_from_an_event_or_from_a_case(terminal: Terminal) -> None:
    write(terminal.folder / "t.case", "# One\ntravel.taxi 50.00\n# Two\nno.such 1.00\n")

    event = terminal.type("mapping", "try", str(CASE_A), "--book", "book")
    case = terminal.type("mapping", "try", "t.case", "--book", "book", "--json")

    assert event.returncode == 0
    assert "C01-EXP2025-0017-V1" in event.stdout
    one, two = [json.loads(line) for line in case.stdout.splitlines()]
    assert (case.returncode, one["ok"], two["waits_for"]) == (1, True, ["account:no.such/D01"])


CHANGED = """# Changed after it was posted
travel.taxi 50.00
then
travel.taxi 60.00
# Changed after it was paid
travel.taxi 50.00
then
paid_out 50.00
travel.taxi 60.00
# Taken back
travel.taxi 50.00
reversed 2025-04-08
# Less than was paid
travel.taxi 50.00
then
paid_out 50.00
travel.taxi 40.00
# Money in advance
advanced ADV1 500.00
"""


def test_a_case_that_is_tried_shows_every_voucher_that_its_test_compares(terminal: Terminal) -> None:
    write(terminal.folder / "t.case", CHANGED)

    ran = terminal.type("mapping", "try", "t.case", "--book", "book", "--json")
    shown = terminal.type("mapping", "try", "t.case", "--book", "book")

    told = [json.loads(line) for line in ran.stdout.splitlines()]
    posted = [
        [(v["voucher"]["purpose"], v["voucher"]["total_debit"], len(v["trace"])) for v in case["posted"]]
        for case in told
    ]
    assert [case["corrected"] and case["corrected"]["kind"] for case in told] == [
        "red_and_blue", "additive", None, "block", None,
    ]  # fmt: skip
    assert posted == [
        [("reverse", "-50.00", 2), ("post", "60.00", 2)],
        [("post", "10.00", 0)],
        [("reverse", "-50.00", 2)],
        [],
        [("post", "500.00", 0)],
    ]
    assert (ran.returncode, shown.returncode) == (1, 1), "one is blocked"
    assert re.search(r"red_and_blue: .*-50\.00.*60\.00.*additive: .*10\.00.*block ACC-351: ", shown.stdout, re.DOTALL)


def test_coverage_tells_what_no_test_needs_and_fails_below_the_least(terminal: Terminal) -> None:
    low = terminal.type("mapping", "coverage", "book", "--min", "90")
    alone = json.loads(terminal.type("mapping", "coverage", "book", "--json").stdout)
    more = json.loads(terminal.type("mapping", "coverage", "book", "--with", str(EXAMPLES), "--json").stdout)

    assert low.returncode == 1
    assert "office.supplies" in low.stdout
    assert alone["rules"]["used"] == 2
    assert more["percent"] > alone["percent"]
    assert not (terminal.folder / "var").exists(), "looking makes no ledger"


def test_books_are_compared_by_key_and_by_the_vouchers_that_change(terminal: Terminal) -> None:
    change(terminal, "accounts.csv", "travel.hotel,*,*,660201", "travel.hotel,*,*,660209")

    same = terminal.type("mapping", "diff", "book", "book")
    other = terminal.type("mapping", "diff", str(STARTER), "book", "--with", str(CASE_A))

    assert (same.returncode, other.returncode) == (0, 1)
    assert re.search(r"changed +accounts +travel\.hotel/\*/\* +account +660201 +660209", other.stdout)
    assert re.search(r"EXP2025-0017 +Dr 660201 D01 E017 1000\.00 +Dr 660209 D01 E017 1000\.00", other.stdout)
    assert "1 of 1 vouchers would be others" in other.stderr


def test_every_booked_voucher_is_rebuilt_to_the_same_bytes_and_explained(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    demo = json.loads(terminal.type("demo", "--json").stdout)
    numbers = sorted({voucher["document"]["number"] for voucher in demo["vouchers"]})[:4]

    for number in numbers:
        ran = terminal.type("--home", "var/demo", "mapping", "explain", number, "--json")
        told = [json.loads(line) for line in ran.stdout.splitlines()]

        assert ran.returncode == 0, ran.stderr
        assert all(voucher["same"] for voucher in told if voucher["purpose"] == "post")
    shown = terminal.type("--home", "var/demo", "mapping", "explain", numbers[0])
    assert re.search(r"\[cost\] book\.yaml:\d+", shown.stdout)
    assert "category=" in shown.stdout
    assert "the same bytes" in shown.stderr


def test_with_other_rules_a_voucher_comes_out_otherwise_and_says_so(tmp_path: Path, terminal: Terminal) -> None:
    demo = json.loads(terminal.type("demo", "--json").stdout)
    number = demo["vouchers"][0]["document"]["number"]
    for name in ("travel.hotel", "travel.rail", "travel.taxi", "entertainment.meal", "office.supplies"):
        path = tmp_path / "book" / "accounts.csv"
        write(path, re.sub(rf"^({re.escape(name)},\*,\*,)\d+", r"\g<1>660210", path.read_text(), flags=re.MULTILINE))
    new = load_book(tmp_path / "book")

    ran = terminal.type(
        "--home", "var/demo", "mapping", "explain", number, "--as-of", new.fingerprint, OAERP_BOOK="book"
    )

    assert ran.returncode == 1
    assert "comes out otherwise" in ran.stderr
    assert re.search(r"\+ Dr 660210 ", ran.stdout)


def test_a_book_goes_out_as_a_workbook_and_only_what_was_changed_comes_back(terminal: Terminal) -> None:
    change(terminal, "accounts.csv", "travel.taxi,*,*,660201", "travel.taxi,*,*,660209")
    out = terminal.type("mapping", "export", "book", "--to", "book.xlsx")
    change(terminal, "accounts.csv", "travel.taxi,*,*,660209", "travel.taxi,*,*,660201")
    before = files(terminal)

    tried = terminal.type("mapping", "import", "book.xlsx", "--book", "book", "--dry-run")
    assert files(terminal) == before
    taken = terminal.type("mapping", "import", "book.xlsx", "--book", "book")

    after = files(terminal)
    assert (out.returncode, tried.returncode, taken.returncode) == (0, 0, 0), taken.stderr
    assert re.search(r"changed +accounts +travel\.taxi/\*/\* +account +660201 +660209", tried.stdout)
    assert {name for name in after if after[name] != before.get(name)} == {"accounts.csv"}
    rows = load_book(terminal.folder / "book").accounts
    assert [row.account for row in rows if row.category == "travel.taxi"] == ["660209"]
    assert terminal.type("mapping", "export", "book", "--to", "book.xlsx").returncode == 2, "it is there already"


def test_a_workbook_that_would_make_the_book_wrong_is_named_by_its_cell_and_writes_nothing(
    terminal: Terminal,
) -> None:
    workbook = xlsxwriter.Workbook(terminal.folder / "wrong.xlsx")
    sheet = workbook.add_worksheet("accounts")
    for number, cells in enumerate((("category", "account"), ("travel.taxi", "660201"), ("travel.rail", "999999"))):
        sheet.write_row(number, 0, cells)
    workbook.close()
    before = files(terminal)

    refused = terminal.type("mapping", "import", "wrong.xlsx", "--book", "book", "--json")
    no_workbook = terminal.type("mapping", "import", "book/book.yaml", "--book", "book")
    no_book = terminal.type("mapping", "import", "wrong.xlsx")

    assert (refused.returncode, no_workbook.returncode, no_book.returncode) == (1, 1, 2)
    assert [finding["path"] for finding in json.loads(refused.stdout)["findings"]] == ["wrong.xlsx!accounts!B3"]
    assert files(terminal) == before


def files(terminal: Terminal) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (terminal.folder / "book").iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "command", [("lint", "book"), ("test", "book"), ("coverage", "book"), ("diff", "book", "book")]
)
def test_messages_come_in_chinese_too(terminal: Terminal, command: tuple[str, ...]) -> None:
    ran = terminal.type("--lang", "zh", "mapping", *command)

    assert ran.returncode == 0
    assert re.search("[一-鿿]", ran.stderr)
