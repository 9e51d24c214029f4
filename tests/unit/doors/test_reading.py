"""Files and batches are read piece by piece: one bad event spoils no other, and nothing is read without a limit."""

from __future__ import annotations

import json
import time
import tracemalloc

import pytest

from connector.oa.csv_reports import COLUMNS as ALL_COLUMNS
from connector.oa.csv_reports import TEMPLATE
from connector.oa.piece import Piece
from connector.oa.reading import read_array, read_file
from contracts import Refused, parse_event, to_xml
from tests.unit.doors.samples import COLUMNS, array, body, event, row, table


def read(name: str, content: bytes) -> list[Piece]:
    return list(read_file(name, content, company="C01", adapter="folder"))


def codes(name: str, content: bytes) -> list[str]:
    with pytest.raises(Refused) as caught:
        read(name, content)
    return [finding.code for finding in caught.value.findings]


def numbers(pieces: list[Piece]) -> list[str | None]:
    return [piece.event.number if piece.event else None for piece in pieces]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", array(body("A"), body("B"), body("C"))),
        ("a.json", b"\n".join([body("A"), body("B"), body("C")])),
        ("a.jsonl", b"\n\n".join([body("A"), body("B"), body("C"), b""])),
        ("a.ndjson", b"\r\n".join([body("A"), body("B"), body("C")])),
        ("a.csv", table(row("A", total="10.00"), row("B", total="10.00"), row("C", total="10.00"))),
    ],
)
def test_several_events_in_one_file_are_each_an_event(name: str, content: bytes) -> None:
    assert numbers(read(name, content)) == ["A", "B", "C"]


def test_one_event_over_many_lines_is_one_event() -> None:
    assert numbers(read("a.json", json.dumps(event("A"), indent=2).encode())) == ["A"]


def test_an_xml_file_is_one_event() -> None:
    assert numbers(read("a.xml", to_xml(parse_event(body("A"))))) == ["A"]


def test_a_bad_element_spoils_no_other_and_is_named_by_its_place() -> None:
    bad = body("B").replace(b'"1913.00"', b"1913.00")

    pieces = read("a.json", array(body("A"), bad, b"17", b'{"a": }', body("C")))

    assert numbers(pieces) == ["A", None, None, None, "C"]
    assert [piece.findings[0].code for piece in pieces if piece.findings] == ["CON-120", "CON-114", "CON-101"]
    assert pieces[1].where == "[1]"
    assert pieces[1].raw == bad


def test_a_bad_line_spoils_no_other() -> None:
    pieces = read("a.jsonl", b"\n".join([body("A"), body("B")[:-20], body("C")]))

    assert numbers(pieces) == ["A", None, "C"]
    assert pieces[1].where == "line 2"


def test_brackets_commas_and_quotes_inside_text_part_nothing() -> None:
    tricky = event("A")
    tricky["data"]["title"] = '],[{"}\\" \\\\", [['

    assert numbers(read("a.json", array(json.dumps(tricky).encode(), body("B")))) == ["A", "B"]


def test_more_elements_than_allowed_are_refused_before_any_is_read() -> None:
    with pytest.raises(Refused) as caught:
        read_array(b"[" + b"1," * 1_000_000 + b"1]", 1000)

    assert caught.value.findings[0].code == "CON-118"


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * 5_000_000,
        b'[{"a":' * 100_000,
        b'["' + b"\\\\" * 5_000_000,
        b'["' + b"x" * 10_000_000 + b'"]',
        b"[[" + b"[]," * 200_000 + b"[]]]",
    ],
    ids=["brackets", "objects", "escapes", "ten megabytes of text", "many little arrays"],
)
def test_a_bomb_is_refused_quickly_and_within_bounded_memory(bomb: bytes) -> None:
    tracemalloc.start()
    begin = time.process_time()
    try:
        findings = [piece.findings[0].code for piece in read("a.json", bomb)]
    except Refused as refused:
        findings = [refused.findings[0].code]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert findings[0] in ("CON-101", "CON-104", "CON-105")
    assert peak < 3 * len(bomb) + 5_000_000
    assert time.process_time() - begin < 20


def test_rows_of_one_report_are_its_lines_wherever_they_stand() -> None:
    content = table(row("A", total="30.00"), row("B", total="10.00"), row("A", amount="20.00"))

    first, second = read("a.csv", content)

    assert first.where == "rows 2, 4"
    assert first.event is not None
    assert [str(line.amount) for line in first.event.data.lines] == ["10.00", "20.00"]
    assert second.event is not None
    assert first.raw.decode().splitlines() == [COLUMNS, row("A", total="30.00"), row("A", amount="20.00")]


def test_the_same_report_has_the_same_event_id_in_whatever_table_it_comes() -> None:
    alone = read("a.csv", table(row("A", total="10.00")))[0].event
    later = read("b.csv", table(row("B", total="10.00"), row("A", total="10.00")))[1].event
    other = read("c.csv", table(row("A", amount="11.00", total="11.00")))[0].event

    assert alone is not None
    assert alone == later
    assert other is not None
    assert other.id != alone.id


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_is_read_in_the_encodings_and_separators_of_spreadsheets(encoding: str, separator: str) -> None:
    content = table(row("A", total="10.00")).decode().replace(",", separator).replace("\n", "\r\n").encode(encoding)

    event = read("a.csv", content)[0].event

    assert event is not None
    assert event.data.employee.name == "张三"


def test_rare_characters_of_gb18030_are_read() -> None:
    content = table(row("A", total="10.00")).decode().replace("张三", "㐀𠀀").encode("gb18030")

    event = read("a.csv", content)[0].event

    assert event is not None
    assert event.data.employee.name == "㐀𠀀"


def test_a_finding_in_a_table_names_row_and_column() -> None:
    content = table(row("A", total="10.00"), row("B", total="10.00"), row("B", amount="1_0"))

    _, bad = read("a.csv", content)

    assert [(finding.code, finding.path) for finding in bad.findings] == [("CON-120", "row 4 amount")]


def test_a_row_of_the_wrong_width_spoils_its_report_only() -> None:
    pieces = read("a.csv", table(row("A", total="10.00"), row("B", total="10.00") + ",x", row("C", total="10.00")))

    assert numbers(pieces) == ["A", None, "C"]
    assert pieces[1].findings[0].code == "CON-150"


def test_a_quote_that_is_never_closed_refuses_the_whole_table() -> None:
    assert codes("a.csv", table(row("A", total="10.00"), 'B,1,"' + row("B"))) == ["CON-150"]


def test_a_text_that_looks_like_a_formula_stays_that_text() -> None:
    content = table(row("A", total="10.00").replace("文具", "=cmd|' /C calc'!A0"))

    event = read("a.csv", content)[0].event

    assert event is not None
    assert event.data.lines[0].description == "=cmd|' /C calc'!A0"


def test_a_negative_amount_stays_a_number() -> None:
    event = read("a.csv", table(row("A", total="7.50"), row("A", amount="-2.50")))[0].event

    assert event is not None
    assert str(event.data.lines[1].amount) == "-2.50"


def test_a_line_separator_of_unicode_ends_no_row() -> None:
    piece = read("a.csv", table(row("A", total="10.00").replace("文具", "a\u2028b")))[0]

    assert [finding.path for finding in piece.findings] == ["row 2 description"]


@pytest.mark.parametrize(
    "rows",
    ["," * 1_000_000, '"' + "\n" * 100_000, ('"\n",' * 50_000), "x" * 200_000],
    ids=["a million columns", "a cell of lines", "cells of lines", "a long cell"],
)
def test_a_row_without_end_is_refused(rows: str) -> None:
    assert codes("a.csv", table(rows)) == ["CON-150"]


def test_fifty_thousand_rows_of_one_report_are_refused_with_their_number() -> None:
    piece = read("a.csv", table(row("A", total="10.00"), *(row("A") for _ in range(49_999))))[0]

    assert "CON-118" in [finding.code for finding in piece.findings]


def test_memory_holds_the_table_and_one_report_at_a_time() -> None:
    content = table(*(row(f"A{number}", total="10.00") for number in range(5_000)))
    tracemalloc.start()

    good = sum(piece.event is not None for piece in read_file("a.csv", content, company="C01", adapter="folder"))

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert good == 5_000
    assert peak < 8 * len(content)


def test_a_withdrawal_needs_no_lines() -> None:
    content = b"number,version,event,withdrawn_at,reason\nA,2,withdrawn,2025-04-05T10:00:00+08:00,duplicate\n"

    event = read("a.csv", content)[0].event

    assert event is not None
    assert event.type == "expense.report.withdrawn.v1"


def test_the_template_names_every_column() -> None:
    assert TEMPLATE.split(",") == list(ALL_COLUMNS)
