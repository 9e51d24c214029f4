"""CubicWeb's JSON API: lists of RQL queries in one transaction, each request signed with HMAC-SHA512."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

from connector.errors import Ambiguous, CredentialsRefused, Rejected, Unavailable
from connector.http import HttpClient

CALL_S = 30.0
Query = tuple[str, Mapping[str, Any]]


class CubicwebClient:
    """Asks one instance with one token. `signed_url` is the address the server knows itself by, where it differs."""

    def __init__(self, http: HttpClient, token_id: str, token: str, signed_url: str) -> None:
        self._http, self._id, self._key = http, token_id, token.encode()
        self._url = f"{signed_url.rstrip('/')}/api/v1/rql"

    def read(self, query: str, **params: Any) -> list[list[Any]]:
        """The rows of a query that changes nothing."""
        return self._call([(query, params)], safe=True)[0]

    def write(self, *queries: Query) -> list[list[list[Any]]]:
        """The rows of each query; all of them happen or none. Raises Ambiguous where the answer was lost."""
        return self._call(queries, safe=False)

    def close(self) -> None:
        """Gives back connections."""
        self._http.close()

    def _call(self, queries: Sequence[Query], safe: bool) -> list[list[list[Any]]]:
        body = json.dumps([{"query": query, "params": dict(params)} for query, params in queries]).encode()
        reply = self._http.call(
            "POST", "/api/v1/rql", content=body, headers=self._signed(body), total_s=CALL_S, safe=safe
        )
        if reply.status == 200:
            try:
                return [result["rows"] for result in reply.json()["result_sets"]]
            except (ValueError, KeyError, TypeError) as error:
                lost = Unavailable if safe else Ambiguous
                raise lost("the OA's answer is not what its interface promises", code="OA-503") from error
        message = self._http.scrub(reply.body.decode("utf-8", "replace"))
        if reply.status in (401, 403):
            raise CredentialsRefused(f"the OA refuses our signature ({message}); check key and clock", code="OA-403")
        if reply.status == 429 or reply.status == 503:
            raise Unavailable(f"the OA asks us to wait: {message}", code="OA-501", retry_after_s=reply.retry_after_s)
        if 400 <= reply.status < 500:
            raise Rejected(f"the OA refuses: {message}", code="OA-401")
        # CubicWeb rolls back what fails, but a proxy between may answer for a server that went on.
        raise (Unavailable if safe else Ambiguous)(f"the OA failed (HTTP {reply.status}): {message}", code="OA-502")

    def _signed(self, body: bytes) -> dict[str, str]:
        headers = {
            "content-sha512": hashlib.sha512(body).hexdigest(),
            "content-type": "application/json",
            "date": formatdate(usegmt=True),
        }
        signed = "POST" + self._url + "".join(headers.values())
        signature = hmac.new(self._key, signed.encode(), "sha512").hexdigest()
        return {
            **headers,
            "accept": "application/json",
            "x-client-name": "oa-erp-connector",
            "authorization": f"Cubicweb {self._id}:{signature}",
        }


def moment(text: str) -> datetime:
    """A time as CubicWeb writes it."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def as_parameter(at: datetime) -> str:
    """A time as its databases compare it: UTC without zone, SQLite included, which compares the text."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
