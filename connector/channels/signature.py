"""Signatures of messages on the broker: the Standard Webhooks scheme (id, time and body under HMAC-SHA256), keys by id."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pydantic import SecretStr
from standardwebhooks import Webhook

from connector.channels import Message
from connector.settings import Security
from contracts import Finding, Refused

KEY_ID = "oaerp-key-id"
CLOCK_SKEW_S = 300


def sign(body: bytes, event_id: str, keys: Sequence[SecretStr], now_s: float | None = None) -> dict[str, str]:
    """Headers that prove that `body` comes from us, by the first key; none where there are no keys."""
    if not keys:
        return {}
    key_id, secret = _split(keys[0])
    at = datetime.fromtimestamp(int(time.time() if now_s is None else now_s), UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, at, body.decode()),
        KEY_ID: key_id,
    }


def verify(message: Message, security: Security, source: str, now_s: float | None = None) -> None:
    """Raises Refused where a message is not signed by one of our keys within its age limit. Without keys everything is
    taken (doctor warns); `unsigned_sources` are taken as they are."""
    if not security.signing_keys or (
        source in security.unsigned_sources and "webhook-signature" not in message.headers
    ):
        return
    _verify(message.headers, message.body, security, time.time() if now_s is None else now_s)


def _verify(headers: Mapping[str, str], body: bytes, security: Security, now_s: float) -> None:
    event_id, sent, signature = (headers.get(f"webhook-{name}") for name in ("id", "timestamp", "signature"))
    if not event_id or not sent or not signature:
        raise _refused(
            "SEC-601",
            "webhook-signature",
            "a signed message",
            "none",
            "sign it, or name its source in unsigned_sources",
        )
    if not sent.isascii() or not sent.isdigit() or len(sent) > 12:
        raise _refused(
            "SEC-602", "webhook-timestamp", "seconds since 1970", repr(sent[:20]), "send the time of signing"
        )
    age_s = now_s - int(sent)
    if age_s > security.message_age_max_s or age_s < -CLOCK_SKEW_S:
        limit = f"signed within {security.message_age_max_s} s and not in the future"
        raise _refused(
            "SEC-603", "webhook-timestamp", limit, f"{int(age_s)} s ago", "sign it anew, or correct the clock"
        )
    wanted = headers.get(KEY_ID)
    keys = [pair for pair in map(_split, security.signing_keys) if wanted in (None, pair[0])]
    if not keys:
        raise _refused(
            "SEC-604",
            KEY_ID,
            "a key we know",
            repr(str(wanted)[:40]),
            "add the key to signing_keys, or sign with one of them",
        )
    try:
        at = datetime.fromtimestamp(int(sent), UTC)
        good = [Webhook(secret).sign(event_id, at, body.decode()) for _, secret in keys]
        given = [part.encode() for part in signature.split(" ", 10)[:10]]
    except UnicodeError:  # a body or a header that is no text cannot have been signed by us
        good, given = [], []
    if not any(hmac.compare_digest(ours.encode(), theirs) for ours in good for theirs in given):
        raise _refused(
            "SEC-602",
            "webhook-signature",
            "a signature by one of our keys",
            "another",
            "check the key and that the body is signed as sent",
        )


def _split(key: SecretStr) -> tuple[str, str]:
    key_id, _, secret = key.get_secret_value().partition(":")
    return key_id, secret


def _refused(code: str, path: str, expected: str, got: str, fix: str) -> Refused:
    return Refused(Finding(code, path, expected, got, fix))
