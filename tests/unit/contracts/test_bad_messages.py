"""The catalogue of bad messages: every file in `bad/` is refused with the code in its name, and so are the big ones made here."""

from __future__ import annotations

import contextlib
import json
import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import (
    EVENT_BYTES_MAX,
    Finding,
    Refused,
    SubmittedReport,
    all_codes,
    parse,
    parse_event,
    parse_xml,
    to_xml,
)

BAD = sorted((Path(__file__).parent / "bad").iterdir(), key=lambda path: path.name)
CASE_A = Path(__file__).parents[3] / "contracts/examples/expense-report-approved.case-a.json"


def refusal(body: bytes, content_type: str = "application/json") -> Refused:
    with pytest.raises(Refused) as caught:
        parse(body, content_type)
    return caught.value


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_a_bad_message_is_refused_with_its_code(path: Path) -> None:
    code = path.name.split(".")[1]

    refused = refusal(path.read_bytes(), f"application/{path.suffix[1:]}")

    assert code in [finding.code for finding in refused.findings], refused
    assert all(finding.code in all_codes() for finding in refused.findings)
    assert all(finding.expected and finding.got and finding.fix for finding in refused.findings)


@pytest.mark.parametrize("path", [path for path in BAD if path.suffix == ".json"], ids=lambda path: path.name)
def test_a_bad_message_has_no_finding_but_the_one_it_was_made_for(path: Path) -> None:
    """A mistake is explained once: nothing that was right is complained about. Follow-ups of the same mistake may come along."""
    code = path.name.split(".")[1]
    follow_ups = {"54-unknown-currency": {"CON-132"}, "50-jpy-with-decimals": {"CON-121"}, "54-rate-missing": set()}
    numbers = {"60", "61", "62"}  # Where the number or version is wrong, envelope and data disagree as well.

    codes = {finding.code for finding in refusal(path.read_bytes()).findings}

    allowed = {code} | follow_ups.get(path.name.split(".")[0], set())
    assert codes <= (allowed | {"CON-130"} if path.name[:2] in numbers else allowed)


def event() -> dict[str, object]:
    value: dict[str, object] = json.loads(CASE_A.read_bytes())
    return value


def _with_lines(count: int) -> bytes:
    value = json.loads(CASE_A.read_bytes())
    line = {
        "line": 1,
        "category": "a",
        "date": "2025-01-01",
        "description": "",
        "amount": "0",
        "currency": "CNY",
        "paid_by": "employee",
    }
    value["data"]["lines"] = [{**line, "line": number} for number in range(1, count + 1)]
    return json.dumps(value).encode()


BIG = {
    "row 26: one byte too many": (b" " * (EVENT_BYTES_MAX + 1), "CON-104"),
    "row 30: nested 5,000 deep": (b"[" * 5_000 + b"]" * 5_000, "CON-105"),
    "row 30: nested 5,000 deep in objects": (b'{"data":' * 5_000 + b"1" + b"}" * 5_000, "CON-105"),
    "row 30: 200,000 brackets never closed": (b"[" * 200_000, "CON-105"),
    "row 34: a number of 5,000 digits": (
        CASE_A.read_bytes().replace(b'"version": 1', b'"version": ' + b"1" * 5_000),
        "CON-107",
    ),
    "row 39: an array of 100,000 numbers": (b"[" + b"0," * 100_000 + b"0]", "CON-114"),
    "row 40: a text of 10 MB": (b'{"type": "' + b"x" * 10_000_000 + b'"}', "CON-104"),
    "row 65: 501 lines": (_with_lines(501), "CON-118"),
    "row 65: 50,000 lines": (_with_lines(50_000), "CON-104"),
    "row 65: 80,000 empty lines": (
        json.dumps(event() | {"data": {"lines": [{}] * 60_000}}).replace(" ", "").encode(),
        "CON-118",
    ),
}


@pytest.mark.parametrize(("body", "code"), BIG.values(), ids=BIG.keys())
def test_a_bomb_is_refused_at_once(body: bytes, code: str) -> None:
    started = time.process_time()  # what we spend, however busy the machine is

    refused = refusal(body)

    assert code in [finding.code for finding in refused.findings]
    assert len(refused.findings) <= 100
    assert time.process_time() - started < 5


def test_500_lines_are_taken() -> None:
    value = json.loads(_with_lines(500))
    value["data"]["total"] = "0"

    assert len(parse_event(json.dumps(value).encode()).data.lines) == 500


def test_xml_nested_20_000_deep_is_refused() -> None:
    assert refusal(b"<a>" * 20_000 + b"</a>" * 20_000, "application/xml").findings[0].code == "CON-105"


def test_a_huge_xml_is_refused_before_it_is_read() -> None:
    with pytest.raises(Refused) as caught:
        parse_xml(b"<" * (EVENT_BYTES_MAX + 1))

    assert caught.value.findings[0].code == "CON-104"


@pytest.mark.parametrize(
    "content_type", ["application/x-python-serialize", "application/x-yaml", "application/x-msgpack", "text/plain", "/"]
)
def test_other_media_types_are_refused(content_type: str) -> None:
    assert refusal(CASE_A.read_bytes(), content_type).findings[0].code == "CON-108"


@pytest.mark.parametrize("charset", ["gbk", "utf-16", "utf-99"])
def test_other_charsets_are_refused(charset: str) -> None:
    assert refusal(CASE_A.read_bytes(), f"application/json; charset={charset}").findings[0].code == "CON-103"


def test_all_findings_come_at_once() -> None:
    value = json.loads(CASE_A.read_bytes())
    value["data"]["lines"][0]["amount"] = 1060.00
    value["data"]["lines"][1]["currency"] = "USD"
    value["data"]["lines"][2]["invoice"]["kind"] = "ticket"
    value["data"]["titel"] = value["data"].pop("title")

    findings = {(finding.code, finding.path) for finding in refusal(json.dumps(value).encode()).findings}

    assert findings == {
        ("CON-120", "data.lines[0].amount"),
        ("CON-132", "data.lines[1].rate"),
        ("CON-115", "data.lines[2].invoice.kind"),
        ("CON-112", "data.title"),
        ("CON-113", "data.titel"),
    }


def test_a_bank_account_is_not_quoted_in_a_finding() -> None:
    value = json.loads(CASE_A.read_bytes())
    value["data"]["payee"] = {"type": "employee", "id": "E017", "bank_account": "6222021234567890123 "}

    refused = refusal(json.dumps(value).encode())

    assert refused.findings[0].path == "data.payee.bank_account"
    assert "6222" not in str(refused)


def test_a_quoted_key_inside_a_text_is_not_a_duplicate() -> None:
    value = json.loads(CASE_A.read_bytes())
    value["data"]["title"] = 'he said "total": 17 and " : "'

    assert parse_event(json.dumps(value).encode()).data.title == value["data"]["title"]


def test_an_event_in_any_layout_is_the_same_event() -> None:
    value = json.loads(CASE_A.read_bytes())
    layouts = [
        json.dumps(value, indent=4),
        json.dumps(value, separators=(" ,", " : ")),
        json.dumps(value, ensure_ascii=True),
    ]

    assert {parse_event(layout.encode()).model_dump_json() for layout in layouts} == {
        parse_event(CASE_A.read_bytes()).model_dump_json()
    }


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1.00", "CNY", "2025-04-03"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


def _places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in _places(item, (*path, key)))]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_stands_in_whatever_field_is_taken_or_refused_with_known_codes(data: st.DataObject) -> None:
    value = json.loads(CASE_A.read_bytes())
    *path, last = data.draw(st.sampled_from(_places(value)[1:]))
    parent = value
    for key in path:
        parent = parent[key]
    parent[last] = data.draw(VALUES)

    findings = _findings(json.dumps(value).encode())

    assert {finding.code for finding in findings} <= set(all_codes())
    assert all(finding.expected and finding.got and finding.fix for finding in findings)


def _findings(body: bytes) -> tuple[Finding, ...]:
    try:
        parse_event(body)
    except Refused as refused:
        return refused.findings
    return ()


@pytest.mark.parametrize("kind", ["json", "xml"])
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_are_taken_or_refused_and_nothing_else(kind: str, data: st.DataObject) -> None:
    body = CASE_A.read_bytes() if kind == "json" else to_xml(parse_event(CASE_A.read_bytes()))
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 40)))
    damaged = (
        body[:start]
        + data.draw(st.binary(max_size=6) | st.sampled_from([b"", b"}", b"<", b'"', b"&", b"\\"]))
        + body[end:]
    )

    with contextlib.suppress(Refused):
        parse(damaged, f"application/{kind}")


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused_cleanly(body: bytes) -> None:
    for kind in ("application/json", "application/xml"):
        with pytest.raises(Refused):
            parse(body, kind)


FARE = {"kind": "air", "fare": "1000.00", "fuel": "60.00", "airport_fee": "50.00"}


@pytest.mark.parametrize(
    ("invoice", "expected"),
    [
        # Signs: only what gives something back is below zero, and then all of it.
        ({"total": "-1060.00", "tax": "60.00"}, ["CON-135 total"]),
        ({"total": "1060.00", "tax": "-60.00"}, ["CON-135 tax"]),
        ({"net": "-1000.00", "tax": "-60.00"}, ["CON-135 net"]),
        # Of what is paid more than half is no tax; abroad it is at least not all.
        ({"total": "1060.00", "tax": "900.00"}, ["CON-135 tax"]),
        ({"total": "1060.00", "tax": "530.01"}, ["CON-135 tax"]),
        ({"total": "1060.00", "tax": "530.00"}, []),
        ({"net": "400.00", "tax": "660.00"}, ["CON-135 tax"]),
        ({"kind": "foreign", "total": "1060.00", "tax": "900.00"}, []),
        ({"kind": "foreign", "total": "1060.00", "tax": "1060.00"}, ["CON-135 tax"]),
        ({"total": "0.00", "net": "0.00", "tax": "0.00"}, []),
        # A ticket is no less than its parts; taxes of its own may be more.
        ({"kind": "air", "total": "1060.00", "fare": "1200.00", "fuel": "-140.00"}, ["CON-135 fuel"]),
        ({"kind": "air", "total": "1060.00", "fare": "1010.00", "airport_fee": "-50.00"}, ["CON-135 airport_fee"]),
        ({**FARE, "total": "1110.00"}, []),
        ({**FARE, "total": "1200.00"}, []),
        ({**FARE, "total": "1109.99"}, ["CON-135 total"]),
        ({**FARE, "total": "1060.00"}, []),
        ({**FARE, "total": "1059.99"}, ["CON-135 total"]),
        ({**FARE, "fuel": "50.00", "net": "972.48", "tax": "87.52", "total": "1060.00"}, []),
        ({"kind": "air", "airport_fee": "1060.01", "total": "1060.00"}, ["CON-135 total"]),
    ],
)
def test_an_invoice_that_cannot_be_true_is_refused(invoice: dict[str, str], expected: list[str]) -> None:
    value = json.loads(CASE_A.read_bytes())
    value["data"]["lines"][0]["invoice"] = {"kind": "vat_special", **invoice}

    findings = _findings(json.dumps(value).encode())

    assert [f"{finding.code} {finding.path.removeprefix('data.lines[0].invoice.')}" for finding in findings] == expected


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_red_invoice_is_stated_below_zero_or_as_large_as_it_is(sign: str) -> None:
    value = json.loads(CASE_A.read_bytes())
    red = {"kind": "red_special", "total": f"{sign}106.00", "net": f"{sign}100.00", "tax": f"{sign}6.00"}
    value["data"]["lines"][0].update(amount="-106.00", invoice=red)
    value["data"]["total"] = "747.00"

    assert _findings(json.dumps(value).encode()) == ()

    red["tax"] = "-6.00" if sign == "" else "6.00"
    red.pop("net")

    assert [finding.code for finding in _findings(json.dumps(value).encode())] == ["CON-135"]


def test_the_airport_fee_stands_outside_net_and_tax() -> None:
    value = json.loads(CASE_A.read_bytes())
    value["data"]["lines"][1].update(amount="1110.00", category="travel.air")
    value["data"]["lines"][1]["invoice"].update(
        kind="air",
        fare="1000.00",
        fuel="60.00",
        airport_fee="50.00",
        net="972.48",
        tax="87.52",
        tax_rate="0.09",
        total="1110.00",
    )
    value["data"]["total"] = "2470.00"

    assert parse_event(json.dumps(value).encode()).data.lines[1].invoice.tax == Decimal("87.52")


def test_a_report_in_another_currency_is_summed_line_by_line_at_the_pinned_rate() -> None:
    """33.33 + 33.33 + 33.34 USD at 7.1234: each line is rounded half up, 237.42 + 237.42 + 237.49 = 712.33."""
    value = json.loads(CASE_A.read_bytes())
    rate = {"value": "7.1234", "date": "2025-03-27", "source": "PBOC"}
    for line, amount in zip(value["data"]["lines"], ["33.33", "33.33", "33.34"], strict=True):
        line.update(amount=amount, currency="USD", rate=rate)
        del line["invoice"]
    value["data"]["total"] = "712.33"

    assert parse_event(json.dumps(value).encode()).data.total == Decimal("712.33")

    value["data"]["total"] = (
        "712.34"  # The sum converted at once: one cent of rounding, at most one per converted line.
    )
    assert parse_event(json.dumps(value).encode()).data.total == Decimal("712.34")

    value["data"]["total"] = "712.37"
    assert [finding.code for finding in refusal(json.dumps(value).encode()).findings] == ["CON-131"]


def test_a_submitted_report_needs_no_approval() -> None:
    value = json.loads(CASE_A.read_bytes())
    value["type"] = "expense.report.submitted.v1"
    del value["data"]["approved_at"]

    assert isinstance(parse_event(json.dumps(value).encode()).data, SubmittedReport)

    value["type"] = "expense.report.changed.v1"
    assert [finding.path for finding in refusal(json.dumps(value).encode()).findings] == ["data.approved_at"]
