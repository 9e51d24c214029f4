"""POST /v1/hooks: a genuine webhook has one effect however often it comes; a forged one leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx2
import pytest
from sqlalchemy import select
from standardwebhooks import Webhook

from connector.ledger import Ledger
from connector.ledger.tables import dead_letters
from tests.integration.doors.conftest import SECRET, Served
from tests.unit.doors.samples import body

Serve = Callable[..., Served]


def call(
    gateway: Served, content: bytes, webhook_id: str = "msg_1", *, late_s: int = 0, secret: str = SECRET
) -> httpx2.Response:
    at = datetime.fromtimestamp(int(time.time()) - late_s, UTC)
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, at, content.decode()),
        "content-type": "application/json",
    }
    return gateway.client.post("/v1/hooks/webhook/C01", content=content, headers=headers)


def test_a_signed_event_is_safe_when_the_answer_comes(serve: Serve, ledger: Ledger) -> None:
    gateway = serve(ledger)

    reply = call(gateway, body("A"))

    assert reply.status_code == 202
    assert reply.json()["events"][0]["number"] == "A"
    assert gateway.waiting() == 1


def test_a_delivery_that_is_repeated_gets_the_first_answer(serve: Serve, ledger: Ledger) -> None:
    gateway = serve(ledger)
    first = call(gateway, body("A"), late_s=60)

    again = call(gateway, body("A"))

    assert (again.status_code, again.content) == (202, first.content)
    assert gateway.waiting() == 1


def test_an_id_that_comes_with_another_body_is_refused(serve: Serve, ledger: Ledger) -> None:
    gateway = serve(ledger)
    call(gateway, body("A"))

    reply = call(gateway, body("B"))

    assert (reply.status_code, reply.json()["code"]) == (409, "SEC-605")
    assert gateway.waiting() == 1


@pytest.mark.parametrize(("late_s", "code"), [(301, "SEC-603"), (-400, "SEC-603"), (0, "SEC-602")])
def test_what_is_not_genuine_leaves_nothing_but_a_count(
    serve: Serve, local_ledger: Ledger, late_s: int, code: str
) -> None:
    gateway = serve(local_ledger)
    secret = SECRET if code == "SEC-603" else "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

    reply = call(gateway, body("A"), late_s=late_s, secret=secret)

    assert (reply.status_code, reply.json()["code"]) == (401, code)
    assert (gateway.waiting(), gateway.letters()) == (0, 0)
    assert 'oaerp_gateway_events_total{door="hooks",status="untrusted"} 1.0' in gateway.client.get("/metrics").text
    assert call(gateway, body("A")).status_code == 202  # The id was not spent by the forger.


def test_a_genuine_event_that_is_wrong_is_kept_as_one_dead_letter(serve: Serve, ledger: Ledger) -> None:
    gateway = serve(ledger)
    bad = body("A").replace(b'"1913.00"', b"1913.00")

    first, again, anew = call(gateway, bad), call(gateway, bad), call(gateway, bad, "msg_2")

    assert [reply.status_code for reply in (first, again, anew)] == [422] * 3
    assert first.json()["code"] == "CON-120"
    assert gateway.letters() == 1
    with ledger.begin() as tx:
        letter = tx.execute(select(dead_letters)).one()
    assert (letter.id, bytes(letter.body)) == (first.json()["dead_letter"], bad)


def test_an_event_of_another_company_is_forbidden(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger)

    reply = call(gateway, body("A").replace(b"C01", b"C02"))

    assert (reply.status_code, reply.json()["code"]) == (403, "SEC-608")
    assert gateway.waiting() == 0


@pytest.mark.parametrize("path", ["/v1/hooks/nobody", "/v1/hooks/webhook", "/v1/hooks/webhook/C99"])
def test_a_hook_that_is_not_there_is_told(serve: Serve, local_ledger: Ledger, path: str) -> None:
    reply = serve(local_ledger).client.post(path, content=body())

    assert (reply.status_code, reply.json()["code"]) == (404, "OPS-813")


def test_a_signed_event_travels_under_the_same_key_as_any_other_door(serve: Serve, local_ledger: Ledger) -> None:
    gateway = serve(local_ledger)
    gateway.post(body("A"))

    assert call(gateway, body("A")).json()["duplicate"] == 1
    assert gateway.waiting() == 1
