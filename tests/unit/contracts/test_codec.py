"""Every valid event survives JSON and XML without loss, and means the same in both."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts import (
    AnyEvent,
    ExpenseReport,
    Refused,
    Withdrawal,
    new_event,
    parse,
    parse_event,
    parse_xml,
    to_json,
    to_xml,
)
from contracts.codec.json import key_count
from contracts.fields import Code, Form, Number
from tests.unit.contracts.strategies import events

CASE_A = (Path(__file__).parents[3] / "contracts/examples/expense-report-approved.case-a.json").read_bytes()


@given(events())
@settings(max_examples=80, deadline=None)
def test_an_event_survives_json(event: AnyEvent) -> None:
    assert parse_event(to_json(event)) == event


@given(events())
@settings(max_examples=80, deadline=None)
def test_an_event_survives_xml(event: AnyEvent) -> None:
    assert to_json(parse_xml(to_xml(event))) == to_json(event)


@given(events())
@settings(max_examples=60, deadline=None)
def test_the_keys_of_an_event_are_counted_exactly(event: AnyEvent) -> None:
    """The duplicate check rests on this: as many fields set as there were keys."""
    keys = 0

    def count(pairs: list[tuple[str, object]]) -> None:
        nonlocal keys
        keys += len(pairs)

    json.loads(to_json(event), object_pairs_hook=count)

    assert key_count(parse_event(to_json(event))) == keys


@given(events(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_key_that_stands_twice_is_found_wherever_it_is(event: AnyEvent, data: st.DataObject) -> None:
    body = to_json(event)
    places = [
        index
        for index in range(len(body))
        if body.startswith(b'":', index) and body[body.rfind(b'"', 0, index) - 1] in b"{,"
    ]
    end = data.draw(st.sampled_from(places))
    key = body[body.rfind(b'"', 0, end) : end + 1]
    start = body.rfind(b'"', 0, end)
    doubled = body[:start] + key + data.draw(st.sampled_from([b":", b" :", b"\n:"])) + b"null," + body[start:]
    try:
        pairs_twice = []
        json.loads(doubled, object_pairs_hook=lambda pairs: pairs_twice.append(len(pairs) != len(dict(pairs))))
    except json.JSONDecodeError:
        return  # The place lay inside a text.
    if not any(pairs_twice):
        return

    with pytest.raises(Refused) as caught:
        parse_event(doubled)

    assert "CON-106" in [finding.code for finding in caught.value.findings]


def test_the_shared_example_is_read_and_written_back_in_every_given_field() -> None:
    event = parse_event(CASE_A)

    assert isinstance(event.data, ExpenseReport)
    assert json.loads(to_json(event)) == json.loads(CASE_A)


def test_an_event_answers_for_its_document() -> None:
    event = parse_event(CASE_A)

    assert (event.company, event.number, event.version) == ("C01", "EXP2025-0017", 1)
    assert (event.system, event.adapter, event.kind, event.happening) == ("oa", "feishu", "expense.report", "approved")


def test_inside_time_is_utc_whatever_zone_it_came_in() -> None:
    event = parse_event(CASE_A.replace(b'"2025-04-03T02:11:05Z"', b'"2025-04-03T10:11:05+08:00"'))

    assert event.time == datetime(2025, 4, 3, 2, 11, 5, tzinfo=UTC)
    assert event.time.utcoffset() == UTC.utcoffset(None)
    assert event.data.approved_at.isoformat() == "2025-04-03T10:11:05+08:00"


def test_json_and_xml_are_chosen_by_content_type() -> None:
    event = parse(CASE_A, "application/cloudevents+json; charset=utf-8")

    assert parse(to_xml(event), "application/xml; charset=UTF-8") == event
    assert parse(CASE_A, None) == event


def test_elements_may_come_in_any_order_and_with_blanks_between_them() -> None:
    event = parse_event(CASE_A)
    text = to_xml(event).decode()
    moved = text.replace(
        "<company>C01</company><version>1</version>",
        "\n  <version>1</version><!-- the books -->\n  <company>C01</company>",
    )

    assert moved != text
    assert parse_xml(moved.encode()) == event


def test_another_library_reads_our_envelope() -> None:
    ours = parse_event(CASE_A)

    theirs = JSONFormat().read(CloudEvent, to_json(ours))

    assert theirs.get_id() == ours.id
    assert theirs.get_type() == ours.type
    assert theirs.get_time() == ours.time
    assert theirs.get_extension("sequence") == "1"
    assert theirs.get_data()["total"] == "1913.00"


def test_a_new_event_takes_its_envelope_from_its_data() -> None:
    data = Withdrawal(company="C01", number="EXP1", version=3, withdrawn_at=datetime(2025, 4, 5, tzinfo=UTC))

    event = new_event(
        "expense.report.withdrawn.v1",
        data,
        id="w-1",
        time=datetime(2025, 4, 5, tzinfo=UTC),
        system="oa",
        adapter="cubicweb",
    )

    assert (event.subject, event.sequence, event.partitionkey, event.source) == (
        "EXP1",
        "3",
        "C01/EXP1",
        "/oa/cubicweb/C01",
    )
    assert parse_event(to_json(event)) == event


def test_a_new_event_of_a_type_that_does_not_fit_its_data_is_refused() -> None:
    data = Withdrawal(company="C01", number="EXP1", version=3, withdrawn_at=datetime(2025, 4, 5, tzinfo=UTC))

    with pytest.raises(Refused, match="CON-110"):
        new_event(
            "expense.report.approved.v1", data, id="w", time=datetime(2025, 4, 5, tzinfo=UTC), system="oa", adapter="x"
        )


def test_an_event_that_was_read_cannot_be_changed() -> None:
    event = parse_event(CASE_A)

    with pytest.raises(ValidationError, match="frozen"):
        event.data.total = 0


@pytest.mark.parametrize("kind", [Code, Number], ids=["code", "number"])
def test_codes_and_numbers_have_one_spelling_only(kind: object) -> None:
    """Exhaustive: whatever character a code may have, it is in Unicode's composed form and joins no neighbour."""
    form = next(part for part in get_args(kind) if isinstance(part, Form))
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    # Taken in pieces of 64, because that is how long a code may be.
    normal = "NFC" if kind is Code else "NFKC"
    allowed = []
    for point in range(1, 0x110000):
        character = chr(point)
        if 0xD800 <= point <= 0xDFFF or (
            unicodedata.is_normalized(normal, character) and not unicodedata.combining(character)
        ):
            continue
        try:
            adapter.validate_python(f"A{character}A")
        except ValidationError:
            continue
        allowed.append(hex(point))

    assert form.length_max == 64
    assert allowed == []


@given(st.text(max_size=6))
@settings(max_examples=300, deadline=None)
def test_a_code_that_is_taken_is_visible_and_normal(text: str) -> None:
    try:
        TypeAdapter(Code).validate_python(text)
    except ValidationError:
        return

    assert text == text.strip()
    assert text.isprintable()
    assert unicodedata.is_normalized("NFC", text)
