"""The webhook door trusts only what was signed with a shared secret, now, over exactly these bytes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from connector.errors import Misconfigured
from connector.oa.webhook import WebhookOa
from connector.settings import Security, System
from contracts import Refused
from tests.unit.doors.samples import body, event

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
NOW = 1_614_265_330
VECTOR = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(NOW),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def oa(*secrets: str, now: int = NOW, password: str | None = None, tolerance_s: int = 300) -> WebhookOa:
    keys = tuple(SecretStr(secret) for secret in secrets or (SECRET,))
    system = System(adapter="webhook", company="C01", password=SecretStr(password) if password else None)
    return WebhookOa(system, Security(webhook_keys=keys, tolerance_s=tolerance_s), clock=lambda: now)


def signed(content: bytes, secret: str = SECRET, at: int = NOW, webhook_id: str = "msg_1") -> dict[str, str]:
    signature = Webhook(secret).sign(webhook_id, datetime.fromtimestamp(at, UTC), content.decode())
    return {"webhook-id": webhook_id, "webhook-timestamp": str(at), "webhook-signature": signature}


def refusal(door: WebhookOa, headers: dict[str, str], content: bytes) -> str:
    with pytest.raises(Refused) as caught:
        door.receive(headers, content)
    return caught.value.findings[0].code


def test_the_vector_of_the_specification_is_found_genuine() -> None:
    code = refusal(oa(), VECTOR, b'{"test": 2432232314}')

    assert code == "CON-110"  # Its signature is right, so it is read; that it is no event of ours comes after.


def test_a_signed_event_is_taken_with_its_bytes() -> None:
    content = body("A")

    (change,) = oa().receive(signed(content), content)

    assert change.event.number == "A"
    assert change.raw == content


@pytest.mark.parametrize("at", range(0, 400, 37))
def test_a_flipped_bit_of_the_body_is_noticed(at: int) -> None:
    content = body("A")
    flipped = bytearray(content)
    flipped[at % len(content)] ^= 1

    assert refusal(oa(), signed(content), bytes(flipped)) == "SEC-602"


@pytest.mark.parametrize("at", range(3, 47, 4))
def test_a_flipped_character_of_the_signature_is_noticed(at: int) -> None:
    content = body("A")
    headers = signed(content)
    signature = headers["webhook-signature"]
    other = "A" if signature[at] != "A" else "B"
    headers["webhook-signature"] = signature[:at] + other + signature[at + 1 :]

    assert refusal(oa(), headers, content) == "SEC-602"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_id_and_time_are_signed_too(name: str) -> None:
    content = body("A")
    headers = signed(content)
    headers[name] = {"webhook-id": "msg_2", "webhook-timestamp": str(NOW - 1)}[name]

    assert refusal(oa(), headers, content) == "SEC-602"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    content = body("A")
    headers = signed(content)
    del headers[name]

    assert refusal(oa(), headers, content) == "SEC-601"


def test_the_same_members_in_another_order_are_another_body() -> None:
    content = body("A")
    reordered = json.dumps(dict(reversed(event("A").items())), ensure_ascii=False).encode()

    assert refusal(oa(), signed(content), reordered) == "SEC-602"


@pytest.mark.parametrize("off_s", [-301, 301, 86_400 * 365])
def test_a_signature_of_another_time_is_refused(off_s: int) -> None:
    content = body("A")

    assert refusal(oa(), signed(content, at=NOW + off_s), content) == "SEC-603"


@pytest.mark.parametrize("off_s", [-300, 300])
def test_clocks_may_differ_by_the_tolerance(off_s: int) -> None:
    content = body("A")

    assert oa().receive(signed(content, at=NOW + off_s), content)


@pytest.mark.parametrize("time", ["nan", "1e9", "-5", "1614265330.0", "１６１４２６５３３０", "9" * 30, " 1614265330"])
def test_a_time_that_is_no_number_of_seconds_is_refused(time: str) -> None:
    content = body("A")

    assert refusal(oa(), signed(content) | {"webhook-timestamp": time}, content) == "SEC-602"


@pytest.mark.parametrize("signature", ["v1", "v1,", ",", "v2,abc", "v1,===", "garbage", "v1a," + "A" * 44, "v1,é"])
def test_a_signature_that_is_none_is_refused(signature: str) -> None:
    content = body("A")

    assert refusal(oa(), signed(content) | {"webhook-signature": signature}, content) == "SEC-602"


def test_a_body_that_is_no_text_is_refused() -> None:
    assert refusal(oa(), signed(b""), b"\xff\xfe") == "SEC-602"


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_every_configured_secret_verifies_while_one_replaces_another(secret: str) -> None:
    content = body("A")

    assert oa(SECRET, OTHER).receive(signed(content, secret), content)


def test_a_sender_that_rotates_may_sign_with_both_secrets() -> None:
    content = body("A")
    headers = signed(content, OTHER)
    headers["webhook-signature"] += " " + signed(content)["webhook-signature"]

    assert oa().receive(headers, content)


def test_an_oa_with_its_own_secret_does_not_take_the_common_one() -> None:
    content = body("A")

    assert refusal(oa(SECRET, password=OTHER), signed(content, SECRET), content) == "SEC-602"
    assert oa(SECRET, password=OTHER).receive(signed(content, OTHER), content)


@pytest.mark.parametrize("members", [{"source": "/erp/tryton/C01"}, {"source": "/oa/feishu/C02"}])
def test_an_oa_speaks_for_its_own_company_only(members: dict[str, str]) -> None:
    content = body("A", **members)
    if members["source"].endswith("C02"):
        content = content.replace(b"C01", b"C02")

    assert refusal(oa(), signed(content), content) == "SEC-608"


def test_the_signature_is_checked_before_the_body_is_read() -> None:
    assert refusal(oa(), signed(b"{}"), b"[" * 100_000) == "SEC-602"


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!!!!", "whsec_c2hvcnQ="])
def test_an_unusable_secret_is_refused_at_the_start(secret: str) -> None:
    with pytest.raises(Misconfigured):
        oa(secret)


def test_without_a_secret_nothing_starts() -> None:
    with pytest.raises(Misconfigured):
        WebhookOa(System(adapter="webhook", company="C01"), Security())
