"""Tryton's JSON-RPC: a session renewed once for all threads, exact numbers on the wire, and errors as Faults."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from connector.erp.tryton_errors import Fault
from connector.errors import Ambiguous, CredentialsRefused, Unavailable
from connector.http import HttpClient, Reply

# Tryton waits 30 s for a database connection before it answers; only a longer wait of ours tells that from a lost answer.
CALL_S = 40.0
REFUSED_S = 60.0  # After refused credentials nobody asks again for this long: Tryton locks a user who tries on.


class TrytonClient:
    """Calls one database as one user. Safe to use from several threads; connects on first use and again after a fork."""

    def __init__(
        self, http: HttpClient, database: str, user: str, password: str, company_id: int | None = None
    ) -> None:
        self._http, self._path = http, f"/{database}/rpc/"
        self._user, self._password, self._company_id = user, password, company_id
        self._lock = threading.Lock()
        self._token: str | None = None
        self._context: dict[str, Any] = {}
        self._refused_until = 0.0

    @property
    def company_id(self) -> int:
        """The company every call is made for: the configured one, else the user's own."""
        self._session()
        return int(self._context["company"])

    def call(self, method: str, *params: Any, context: Mapping[str, Any] | None = None, safe: bool = False) -> Any:
        """The result. Raises Fault for what Tryton answered, Unavailable when nothing was done, and Ambiguous when
        the answer was lost; a `safe` call changes nothing, so its lost answer is Unavailable."""
        token = self._session()
        reply = self._send(method, [*params, {**self._context, **(context or {})}], token, safe)
        if reply.status == 401:  # The session ended. Nothing was done, so this one repetition is not blind.
            reply = self._send(method, [*params, {**self._context, **(context or {})}], self._session(token), safe)
        return self._result(reply, safe)

    def read(self, method: str, *params: Any) -> Any:
        """`call` for what changes nothing."""
        return self.call(method, *params, safe=True)

    def close(self) -> None:
        """Gives back the connections. The session ends by itself on the server."""
        self._http.close()

    def _session(self, stale: str | None = None) -> str:
        """The session header; one thread renews it, the others wait for that."""
        with self._lock:
            if self._token is None or self._token == stale:
                self._token = self._login()
                if not self._context:
                    self._context = self._own_context(self._token)
            return self._token

    def _login(self) -> str:
        if time.monotonic() < self._refused_until:
            raise CredentialsRefused(
                f"Tryton refused the password of user {self._user!r}; not asked again yet", code="ERP-403"
            )
        params = [self._user, {"password": self._password}, "en"]
        reply = self._send("common.db.login", params, None, safe=True)
        if reply.status == 401:
            self._refused_until = time.monotonic() + REFUSED_S
            raise CredentialsRefused(f"Tryton refuses the user {self._user!r} or its password", code="ERP-403")
        if reply.status == 429:
            raise Unavailable(
                "Tryton limits logins of this user", code="ERP-505", retry_after_s=reply.retry_after_s or 60
            )
        if (
            reply.status != 200
        ):  # A 404 here means a database that is down at least as often as one that does not exist.
            raise Unavailable(f"Tryton cannot open its database for a login (HTTP {reply.status})", code="ERP-504")
        uid, token, *_ = self._result(reply, safe=True)
        return "Session " + base64.b64encode(f"{self._user}:{uid}:{token}".encode()).decode()

    def _own_context(self, token: str) -> dict[str, Any]:
        company = self._company_id
        if company is None:
            reply = self._send("model.res.user.get_preferences", [True, {}], token, safe=True)
            company = self._result(reply, safe=True).get("company")
        if company is None:
            raise Unavailable(f"the Tryton user {self._user!r} has no company; give it one", code="ERP-424")
        return {"company": company, "companies": [company], "language": "en"}

    def _send(self, method: str, params: list[Any], token: str | None, safe: bool) -> Reply:
        headers = {"content-type": "application/json", **({"authorization": token} if token else {})}
        body = json.dumps({"id": 1, "method": method, "params": params}, default=_encode, ensure_ascii=False)
        return self._http.call("POST", self._path, content=body.encode(), headers=headers, total_s=CALL_S, safe=safe)

    def _result(self, reply: Reply, safe: bool) -> Any:
        if reply.status != 200:
            raise Fault(
                "HTTP", self._http.scrub(reply.body.decode("utf-8", "replace")), reply.status, reply.retry_after_s
            )
        try:
            answer = json.loads(reply.body, parse_float=Decimal, object_hook=_decode)
            if not isinstance(answer, dict) or not ({"result", "error"} & answer.keys()):
                raise ValueError("neither result nor error")
        except ValueError as error:
            lost = Unavailable if safe else Ambiguous
            raise lost(f"Tryton's answer cannot be read: {self._http.scrub(str(error))}", code="ERP-506") from error
        if "error" not in answer:
            return answer["result"]
        raise self._fault(answer["error"])

    def _fault(self, error: Any) -> Fault:
        name, details = (error[0], error[1]) if isinstance(error, list) and len(error) > 1 else (str(error), "")
        parts = details if isinstance(details, list) else [details]
        text = " ".join(str(part) for part in parts[:2] if part)  # What follows is a domain, long and of no use here.
        return Fault(str(name), self._http.scrub(text))


def _encode(value: Any) -> Any:
    if isinstance(value, Decimal):
        return {"__class__": "Decimal", "decimal": str(value)}
    if isinstance(value, datetime):
        at = value.astimezone(UTC)
        return {
            "__class__": "datetime", "year": at.year, "month": at.month, "day": at.day,
            "hour": at.hour, "minute": at.minute, "second": at.second, "microsecond": at.microsecond,
        }  # fmt: skip
    if isinstance(value, date):
        return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
    raise TypeError(f"cannot send a {type(value).__name__} to Tryton")


def _decode(value: dict[str, Any]) -> Any:
    match value.get("__class__"):
        case "Decimal":
            return Decimal(value["decimal"])
        case "datetime":
            day = datetime(value["year"], value["month"], value["day"], tzinfo=UTC)
            return day.replace(
                hour=value["hour"], minute=value["minute"], second=value["second"], microsecond=value["microsecond"]
            )
        case "date":
            return date(value["year"], value["month"], value["day"])
        case _:
            return value
