"""Signatures of messages: who has no key of ours is refused, whatever the headers hold."""

from __future__ import annotations

import base64

import pytest
from pydantic import SecretStr

from connector.channels import Message
from connector.channels.signature import KEY_ID, sign, verify
from connector.settings import Security
from contracts import Refused

OLD = SecretStr("k1:" + base64.b64encode(b"o" * 32).decode())
NEW = SecretStr("k2:" + base64.b64encode(b"n" * 32).decode())
STRANGER = SecretStr("k1:" + base64.b64encode(b"s" * 32).decode())
BODY = '{"名称": "差旅"}'.encode()
NOW = 1_800_000_000.0


def code_of(message: Message, security: Security, now_s: float = NOW) -> str | None:
    try:
        verify(message, security, "/oa/x/C01", now_s)
    except Refused as refused:
        return refused.findings[0].code
    return None


def signed(key: SecretStr = OLD, **changed: str) -> Message:
    return Message(BODY, {**sign(BODY, "e-1", (key,), NOW), **changed})


@pytest.mark.parametrize("keys", [(OLD,), (NEW, OLD), (OLD, NEW)])
def test_a_message_signed_by_any_of_our_keys_is_taken(keys: tuple[SecretStr, ...]) -> None:
    assert code_of(signed(OLD), Security(signing_keys=keys)) is None


def test_one_of_several_signatures_is_enough() -> None:
    genuine = signed().headers["webhook-signature"]

    message = signed(**{"webhook-signature": f"v1,AAAA {genuine}"})

    assert code_of(message, Security(signing_keys=(OLD,))) is None


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (Message(BODY), "SEC-601"),
        (signed(STRANGER), "SEC-602"),
        (Message(BODY + b" ", signed().headers), "SEC-602"),
        (signed(**{"webhook-id": "e-2"}), "SEC-602"),
        (signed(**{"webhook-timestamp": "1e9"}), "SEC-602"),
        (signed(**{"webhook-timestamp": "９"}), "SEC-602"),
        (signed(**{"webhook-signature": "v1,"}), "SEC-602"),
        (signed(**{"webhook-signature": "\ud800"}), "SEC-602"),
        (signed(**{"webhook-id": "\ud800"}), "SEC-602"),
        (Message(b"\xff", signed().headers), "SEC-602"),
        (signed(**{KEY_ID: "k9"}), "SEC-604"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_code(message: Message, code: str) -> None:
    assert code_of(message, Security(signing_keys=(OLD,))) == code


@pytest.mark.parametrize("offset_s", [-15 * 24 * 3600, 400])
def test_too_old_or_from_the_future_is_refused(offset_s: int) -> None:
    message = Message(BODY, sign(BODY, "e-1", (OLD,), NOW + offset_s))

    assert code_of(message, Security(signing_keys=(OLD,))) == "SEC-603"


def test_a_source_named_as_unsigned_is_taken_bare_but_never_with_a_wrong_signature() -> None:
    security = Security(signing_keys=(OLD,), unsigned_sources=("/oa/x/C01",))

    assert code_of(Message(BODY), security) is None
    assert code_of(signed(STRANGER), security) == "SEC-602"


def test_without_keys_everything_is_taken() -> None:
    assert code_of(Message(BODY), Security()) is None
