"""An OA that pushes signed webhooks (Standard Webhooks 1.0.0): one CloudEvents JSON event in each request."""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

from connector.adapter import Change, Delivery, Features, Outcome, Page, Receipt
from connector.errors import ConnectorError, Misconfigured
from connector.oa.door import from_an_oa
from connector.outcomes import outcome_of
from connector.settings import Security, System
from contracts import Finding, Refused, parse_event

SIGNATURES_MAX = 10
SECRET_BYTES_MIN = 16
_ID = re.compile(r"[!-~]{1,200}")


class WebhookOa:
    """The OA of one company that calls our hook. Settings: `password` is this OA's own secret (`whsec_...`, several
    apart by blanks while one replaces another); without it security.webhook_keys are taken."""

    name = "webhook"
    features = Features(push=True)

    def __init__(self, system: System, security: Security, clock: Callable[[], float] = time.time) -> None:
        self.company = system.company
        own = system.password.get_secret_value().split() if system.password is not None else []
        secrets = own or [key.get_secret_value() for key in security.webhook_keys]
        if not secrets:
            raise Misconfigured("the webhook adapter needs a secret: its password, or security.webhook_keys")
        self._keys = [_key(secret) for secret in secrets]
        self._tolerance_s = security.tolerance_s
        self._clock = clock
        self._check = from_an_oa(system.company)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Sequence[Change]:
        """The event, after its signature was found right over the raw bytes. Raises Refused: SEC-601 to SEC-603 where
        it cannot be trusted, SEC-608 for another company, and CON codes for what is wrong with the event. That an id
        comes once is the gateway's affair: it has the ledger."""
        self._verify({name.lower(): value for name, value in headers.items()}, body)
        event = parse_event(body)
        finding = self._check(event)
        if finding is not None:
            raise Refused(finding)
        return [Change(event, body)]

    def _verify(self, headers: Mapping[str, str], body: bytes) -> None:
        given = {name: headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")}
        absent = [f"webhook-{name}" for name, value in given.items() if not value]
        if absent:
            raise _refused("SEC-601", absent[0], "a signed request", "no such header", "sign it (Standard Webhooks)")
        if not _ID.fullmatch(given["id"]):
            raise _refused("SEC-602", "webhook-id", "1 to 200 visible ASCII characters", "another id", "correct the id")
        if not re.fullmatch(r"[0-9]{1,12}", given["timestamp"]):
            fix = "send the time of signing in seconds"
            raise _refused("SEC-602", "webhook-timestamp", "seconds since 1970", "another text", fix)
        age_s = int(self._clock()) - int(given["timestamp"])
        if abs(age_s) > self._tolerance_s:
            expected, got = f"a time within {self._tolerance_s} s of ours", f"{abs(age_s)} s off"
            raise _refused("SEC-603", "webhook-timestamp", expected, got, "sign right before sending; set the clocks")
        if not self._is_signed(given, body):
            fix = "check the secret; sign id.timestamp.body over the bytes that are sent"
            raise _refused("SEC-602", "webhook-signature", "a signature by our shared secret", "another", fix)

    def _is_signed(self, given: Mapping[str, str], body: bytes) -> bool:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return False  # The library signs text; an event is UTF-8 or it is none.
        at = datetime.fromtimestamp(int(given["timestamp"]), UTC)
        ours = [key.sign(given["id"], at, text).encode() for key in self._keys]
        theirs = [signature.encode() for signature in given["signature"].split(" ")[:SIGNATURES_MAX]]
        return any(hmac.compare_digest(a, b) for a in ours for b in theirs)

    def poll(self, cursor: str | None) -> Page:
        """It is not polled."""
        return Page(changes=(), cursor=cursor or "")

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        """It takes nothing back."""
        return [self._takes_nothing() for _ in batch]

    def find(self, reference: str) -> Receipt | None:
        """It holds nothing of ours."""
        return None

    def reverse(self, delivery: Delivery) -> Outcome:
        """It takes nothing back."""
        return self._takes_nothing()

    def classify(self, error: BaseException) -> Outcome:
        """What an error means; this adapter calls nobody, so there are only our own."""
        if isinstance(error, ConnectorError):
            return outcome_of(error)
        return Outcome("permanent", "OPS-801", f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """There is nothing to give back."""

    @staticmethod
    def _takes_nothing() -> Outcome:
        return Outcome("permanent", "OA-401", "a webhook OA only sends; nothing can be written to it")


def _key(secret: str) -> Webhook:
    text = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise Misconfigured("a webhook secret is not whsec_ and base64") from error
    if len(key) < SECRET_BYTES_MIN:
        raise Misconfigured(f"a webhook secret has fewer than {SECRET_BYTES_MIN} bytes", code="CFG-702")
    return Webhook(key)


def _refused(code: str, path: str, expected: str, got: str, fix: str) -> Refused:
    return Refused(Finding(code, path, expected, got, fix))
