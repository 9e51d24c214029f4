"""POST /v1/events: 202 means safe in the ledger, every refusal says why, and a repeated request has one effect."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from connector.ledger import Ledger
from contracts import parse_event, to_xml
from tests.integration.doors.conftest import Served
from tests.integration.process.world import told
from tests.unit.doors.samples import array, body

BAD_MESSAGES = sorted((Path(__file__).parents[2] / "unit/contracts/bad").iterdir())
Serve = Callable[..., Served]


def test_an_accepted_event_is_in_the_ledger_when_the_answer_comes(serve: Serve, ledger: Ledger) -> None:
    gateway = serve(ledger)

    reply = gateway.post(body("EXP-7", 2), "application/cloudevents+json")

    assert reply.status_code == 202
    assert reply.json() == {
        "accepted": 1,
        "duplicate": 0,
        "refused": 0,
        "events": [
            {
                "index": 0,
                "status": "accepted",
                "id": "EXP-7-2",
                "source": "/oa/feishu/C01",
                "number": "EXP-7",
                "version": 2,
                "trace": "oaerp trace EXP-7",
            }
        ],
    }
    assert gateway.waiting() == 1


def test_whoever_may_post_reports_does_not_speak_for_the_erp(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger)
    document = {"type": "expense.report", "number": "EXP-1", "version": 1}
    more = {"reference": "C01-EXP-1-V1", "erp_number": "7", "reversed_on": "2025-04-20"}
    forged = told("voucher.reversed.v1", "EXP-1", number="EXP-1", document=document, **more)

    reply = gateway.post(json.dumps(forged).encode(), "application/cloudevents+json")

    assert (reply.status_code, reply.json()["code"], gateway.waiting()) == (422, "SEC-608", 0)


def test_an_xml_event_is_taken(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger)

    assert gateway.post(to_xml(parse_event(body())), "application/xml").status_code == 202
    assert gateway.waiting() == 1


def test_the_same_event_again_is_a_duplicate_with_one_effect(serve: Serve, ledger: Ledger) -> None:
    gateway = serve(ledger)
    gateway.post(body())

    reply = gateway.post(array(body(), body()))

    assert reply.status_code == 202
    assert reply.json()["duplicate"] == 2
    assert gateway.waiting() == 1


@pytest.mark.parametrize("content_type", ["application/json", "application/cloudevents-batch+json"])
def test_in_a_batch_the_bad_ones_are_refused_and_the_others_accepted(
    serve: Serve, ledger: Ledger, content_type: str
) -> None:
    gateway = serve(ledger)
    bad = body("B").replace(b'"1913.00"', b"1913.00")

    reply = gateway.post(array(body("A"), bad, b"null", body("C")), content_type)

    assert reply.status_code == 207
    told = reply.json()
    assert [one["status"] for one in told["events"]] == ["accepted", "refused", "refused", "accepted"]
    assert told["events"][1]["index"] == 1
    assert told["events"][1]["findings"][0]["path"] == "data.total"
    assert gateway.waiting() == 2


def test_a_batch_of_bad_events_only_is_a_problem_that_tells_of_each(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger)

    reply = gateway.post(array(b"1", b"{}"))

    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"
    assert len(reply.json()["events"]) == 2
    assert gateway.waiting() == 0


def test_every_bad_message_of_the_catalogue_is_answered_with_its_code(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger)

    for path in BAD_MESSAGES:
        reply = gateway.post(path.read_bytes(), f"application/{path.suffix[1:]}")
        told = reply.json()
        codes = [finding["code"] for finding in told["findings"]]
        codes += [finding["code"] for one in told.get("events", ()) for finding in one.get("findings", ())]
        assert reply.status_code == 422, path.name
        assert path.name.split(".")[1] in codes or path.name.startswith("16-list"), path.name
    assert gateway.waiting() == 0
    assert gateway.post(body()).status_code == 202


def test_a_problem_says_what_is_wrong_in_the_readers_language(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger)
    bad = body().replace(b'"1913.00"', b"1913.00")

    english = gateway.post(bad).json()
    chinese = gateway.post(bad, accept_language="en;q=0.5, zh-CN").json()

    assert english["code"] == "CON-120"
    assert english["type"] == "urn:oa-erp-connector:code:CON-120"
    assert english["title"] == "Amount not in its written form"
    assert set(english["findings"][0]) == {"code", "path", "expected", "got", "fix"}
    assert chinese["title"] == "金额格式错误"
    assert chinese["findings"][0]["fix"].startswith("以文本发送金额")


def test_the_same_key_and_body_get_the_first_answer(serve: Serve, ledger: Ledger) -> None:
    gateway = serve(ledger)
    first = gateway.post(body(), idempotency_key="k1")

    again = gateway.post(body(), idempotency_key="k1")

    assert again.content == first.content
    assert again.status_code == 202
    assert again.headers["idempotency-replayed"] == "true"


def test_a_key_with_another_body_is_refused_and_takes_nothing(serve: Serve, ledger: Ledger) -> None:
    gateway = serve(ledger)
    gateway.post(body("A"), idempotency_key="k1")

    reply = gateway.post(body("B"), idempotency_key="k1")

    assert reply.status_code == 422
    assert reply.json()["code"] == "SYN-306"
    assert gateway.waiting() == 1


def test_a_key_whose_request_was_refused_may_be_used_for_the_corrected_one(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger)
    assert gateway.post(b"{}", idempotency_key="k1").status_code == 422

    assert gateway.post(body(), idempotency_key="k1").status_code == 202


def test_two_clients_may_use_the_same_key(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger, tokens=("one-token", "another-token"))
    gateway.post(body("A"), idempotency_key="k1", authorization="Bearer one-token")

    reply = gateway.post(body("B"), idempotency_key="k1", authorization="Bearer another-token")

    assert reply.status_code == 202


def test_the_same_request_many_times_at_once_has_one_effect(serve: Serve, ledger: Ledger) -> None:
    gateway = serve(ledger)
    answers: list[tuple[int, bytes]] = []

    def send() -> None:
        reply = gateway.post(array(body("A"), body("B")), idempotency_key="k1")
        answers.append((reply.status_code, reply.content))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 8
    assert len(set(answers)) == 1
    assert gateway.waiting() == 2


@pytest.mark.parametrize("key", ["", "x" * 201, "with blank"])
def test_an_unusable_key_is_refused(serve: Serve, local_ledger: Ledger, key: str) -> None:
    reply = serve(local_ledger).post(body(), idempotency_key=key)

    assert reply.status_code == 400
    assert reply.json()["code"] == "OPS-812"


def test_a_thousand_events_are_taken_at_once_and_one_more_is_too_many(serve: Serve, ledger: Ledger) -> None:
    gateway = serve(ledger)
    events = [body(f"A{number}") for number in range(1001)]

    assert gateway.post(array(*events[:1000])).json()["accepted"] == 1000
    reply = gateway.post(array(*events))

    assert reply.status_code == 413
    assert reply.json()["code"] == "CON-118"
    assert gateway.waiting() == 1000


def test_fifty_thousand_lines_in_a_report_are_refused_and_the_rest_goes_on(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger, body_bytes_max=20_000_000)
    large = json.loads(body("B"))
    large["data"]["lines"] *= 17_000

    reply = gateway.post(array(body("A"), json.dumps(large).encode(), body("C")))

    assert reply.status_code == 207
    assert [one["status"] for one in reply.json()["events"]] == ["accepted", "refused", "accepted"]
    assert reply.json()["events"][1]["findings"][0]["code"] == "CON-104"


@pytest.mark.parametrize("content", [b"[]", b" [ ] "])
def test_an_empty_batch_is_refused(serve: Serve, local_ledger: Ledger, content: bytes) -> None:
    reply = serve(local_ledger).post(content)

    assert (reply.status_code, reply.json()["code"]) == (422, "CON-118")


def test_a_batch_cut_off_takes_nothing(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger)

    reply = gateway.post(array(body("A"), body("B"))[:-10])

    assert (reply.status_code, reply.json()["code"]) == (422, "CON-101")
    assert gateway.waiting() == 0
