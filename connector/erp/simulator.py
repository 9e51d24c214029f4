"""The adapter of the ERP simulator (connector.testing.erp_simulator): a plain HTTP ERP, for tests, trials and the benchmarks."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import quote

from connector.adapter import Change, Delivery, Features, Outcome, Page, Receipt, Status
from connector.errors import Ambiguous, ConnectorError, CredentialsRefused, Misconfigured, Unavailable
from connector.http import HttpClient, Reply
from connector.outcomes import outcome_of
from connector.settings import System
from connector.translate.target import TARGETS, with_options
from contracts.bill import ErpDocument, entries, to_dict
from contracts.findings import Finding, Refused

# Error code of the simulator -> what it means and our code. A code that is not here is permanent, ERP-401.
ERRORS: dict[str, tuple[Any, str]] = {
    "UNKNOWN_ACCOUNT": ("permanent", "ERP-411"),
    "CLOSED_PERIOD": ("permanent", "ERP-402"),
    "INVALID": ("permanent", "ERP-401"),
    "NOT_FOUND": ("permanent", "ERP-422"),
    "DUPLICATE_REFERENCE": ("duplicate", "ERP-409"),
    "ALREADY_REVERSED": ("duplicate", "ERP-409"),
    "BATCH_REFUSED": ("transient", "ERP-504"),
    "BUSY": ("transient", "ERP-504"),
}
# Bare statuses. A 500 does not say whether the work was done.
STATUSES: dict[int, tuple[Any, str]] = {
    401: ("auth", "ERP-403"),
    429: ("transient", "ERP-505"),
    500: ("ambiguous", "ERP-502"),
    502: ("ambiguous", "ERP-502"),
    503: ("transient", "ERP-504"),
    504: ("ambiguous", "ERP-502"),
}


@dataclass(frozen=True, slots=True)
class _Work:
    place: int
    reference: str
    document: ErpDocument


class SimulatorErp:
    """Vouchers, bills or expense documents over HTTP. Settings: `url`, `user`, `password`; options `unique_reference`
    (yes|no), `batch`, `settle_s`, `timeout_s`, `target`, `red_letter` and the limits of connector.translate.target."""

    name = "simulator"

    def __init__(self, system: System) -> None:
        if not system.url:
            raise Misconfigured("the simulator adapter needs a url")
        options = system.options
        self.company = system.company
        features = Features(
            deliver=True,
            batch=int(options.get("batch", "100")),
            unique_reference=options.get("unique_reference", "no") == "yes",
            settle_s=int(options.get("settle_s", "5")),
            reference_max=64,
        )
        self.features = with_options(features, options)
        self._user = system.user or "connector"
        self._password = system.password.get_secret_value() if system.password else ""
        self._http = HttpClient(system.url, total_s=int(options.get("timeout_s", "10")), secrets=[self._password])
        self._lock = threading.Lock()
        self._token: str | None = None

    def receive(self, headers: Mapping[str, str], body: bytes) -> Sequence[Change]:
        """The simulator pushes nothing."""
        raise Refused(Finding("CON-114", "", "no push from this system", "a request", "use another adapter's door"))

    def poll(self, cursor: str | None) -> Page:
        """Nothing is reported."""
        return Page((), cursor or "")

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Receipt | Outcome]:
        """Posts in lists. What may be there already is looked up first, unless the reference is unique over there."""
        answers: dict[int, Receipt | Outcome] = {}
        work: list[_Work] = []
        seen: dict[str, _Work] = {}
        for place, delivery in enumerate(batch):
            if isinstance(delivery.payload, Status) or not isinstance(delivery.payload, TARGETS[self.features.target]):
                answers[place] = Outcome(
                    "permanent", "ERP-401", f"this ERP takes a {self.features.target}, nothing else"
                )
                continue
            item = _Work(place, delivery.reference, delivery.payload)
            if delivery.resumed and not self.features.unique_reference:
                found = self._ask(item)
                if found is not None:
                    answers[place] = found
                    continue
            if item.reference not in seen:
                seen[item.reference] = item
                work.append(item)
        for start in range(0, len(work), self.features.batch):
            answers.update(self._post(work[start : start + self.features.batch]))
        for place, delivery in enumerate(batch):  # Twice in one batch: the same answer, unless it says other things.
            if place not in answers:
                first = seen[delivery.reference]
                answers[place] = (
                    answers[first.place] if first.document == delivery.payload else _differs(delivery.reference, None)
                )
        return [answers[place] for place in range(len(batch))]

    def find(self, reference: str) -> Receipt | None:
        """The document with our reference; a live one before a cancelled one."""
        rows = self._rows(reference)
        return _receipt(rows[0]) if rows else None

    def reverse(self, delivery: Delivery) -> Receipt | Outcome:
        """Posts the reversal, which cancels what it names. Where that is reversed already the answer is `duplicate`: by
        whom is for the caller to ask."""
        if delivery.reverses is None:
            return Outcome("permanent", "ERP-422", "the delivery does not say what it reverses")
        return self.deliver([delivery])[0]

    def classify(self, error: BaseException) -> Outcome:
        """Our own errors by their class."""
        if isinstance(error, ConnectorError):
            return outcome_of(error)
        return Outcome("ambiguous", "ERP-502", f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Gives back connections."""
        self._http.close()

    def _ask(self, item: _Work) -> Receipt | Outcome | None:
        try:
            rows = self._rows(item.reference)
        except ConnectorError as error:
            return self.classify(error)
        return self._adopted(item, rows[0]) if rows else None

    def _adopted(self, item: _Work, row: Mapping[str, Any]) -> Receipt | Outcome:
        same = [[line.account, line.side, str(line.amount)] for _, line in entries(item.document)] == row["lines"]
        return _receipt(row) if same else _differs(item.reference, row["id"])

    def _post(self, work: Sequence[_Work]) -> dict[int, Receipt | Outcome]:
        try:
            documents = [to_dict(item.document) for item in work]
            body = self._call("POST", f"/{self.features.target}s", {"documents": documents}, safe=False)
            results = body["results"]
        except ConnectorError as error:
            return dict.fromkeys((item.place for item in work), self.classify(error))
        except KeyError:
            error_code = body.get("error", {}).get("code")
            return dict.fromkeys((item.place for item in work), _outcome(error_code, body.get("error", {})))
        if not isinstance(results, list) or len(results) != len(work):
            lost = Outcome("ambiguous", "ERP-404", "the ERP answered for another list than the one sent")
            return dict.fromkeys((item.place for item in work), lost)
        answers = {item.place: self._answer(item, result) for item, result in zip(work, results, strict=True)}
        again = [item for item, result in zip(work, results, strict=True) if _code(result) == "BATCH_REFUSED"]
        if again and len(again) < len(work):
            answers.update(self._post(again))
        return answers

    def _answer(self, item: _Work, result: Mapping[str, Any]) -> Receipt | Outcome:
        code = _code(result)
        if code == "DUPLICATE_REFERENCE":
            return self._ask(item) or Outcome(
                "ambiguous", "ERP-404", f"{item.reference} is refused as a duplicate but cannot be found"
            )
        if code is not None:
            return _outcome(code, result["error"])
        if result.get("reference") != item.reference:
            return Outcome("ambiguous", "ERP-404", f"the ERP answered for another document than {item.reference}")
        return _receipt(result)

    def _rows(self, reference: str) -> list[dict[str, Any]]:
        path = f"/{self.features.target}s?reference={quote(reference, safe='')}"
        body = self._call("GET", path, None, safe=True)
        rows = [row for row in body.get("documents", ()) if row["reference"] == reference]
        return sorted(rows, key=lambda row: (row["state"] != "posted", int(row["id"])))

    def _call(self, method: str, path: str, body: Any, *, safe: bool) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        token = self._session()
        reply = self._http.call(method, path, content=content, headers=_headers(token), safe=safe)
        if reply.status == 401:  # Nothing was done: renew the session once and say it again.
            reply = self._http.call(method, path, content=content, headers=_headers(self._session(token)), safe=safe)
        return self._read(reply, safe)

    def _read(self, reply: Reply, safe: bool) -> dict[str, Any]:
        if reply.status != 200:
            kind, code = STATUSES.get(reply.status, ("ambiguous", "ERP-502"))
            message = f"HTTP {reply.status}: {self._http.scrub(reply.body.decode('utf-8', 'replace'))}"
            if kind == "auth":
                raise CredentialsRefused(message, code=code)
            if kind == "transient" or safe:
                raise Unavailable(message, code=code, retry_after_s=reply.retry_after_s)
            raise Ambiguous(message, code=code)
        try:
            body = reply.json()
            if not isinstance(body, dict):
                raise ValueError("not an object")
        except ValueError as error:
            lost = Unavailable if safe else Ambiguous
            raise lost("the ERP's answer is not JSON", code="ERP-506") from error
        return body

    def _session(self, stale: str | None = None) -> str:
        with self._lock:
            if self._token is None or self._token == stale:
                content = json.dumps({"user": self._user, "password": self._password}).encode()
                reply = self._http.call("POST", "/session", content=content, headers=_headers(None), safe=True)
                if reply.status == 401:
                    raise CredentialsRefused(f"the ERP refuses the user {self._user!r}", code="ERP-403")
                self._token = str(self._read(reply, safe=True)["token"])
            return self._token


def _headers(token: str | None) -> dict[str, str]:
    return {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}


def _code(result: Mapping[str, Any]) -> str | None:
    return result["error"]["code"] if "error" in result else None


def _outcome(code: str | None, error: Mapping[str, Any]) -> Outcome:
    kind, ours = ERRORS.get(code or "", ("permanent", "ERP-401"))
    return Outcome(
        kind, ours, str(error.get("message", "no message")), field=error.get("field"), external_id=error.get("id")
    )


def _differs(reference: str, external_id: str | None) -> Outcome:
    return Outcome(
        "conflict", "ERP-409", f"{reference} is in the ERP already with other content", external_id=external_id
    )


def _receipt(row: Mapping[str, Any]) -> Receipt:
    return Receipt(
        reference=row["reference"], external_id=row["id"], number=row["number"], state=row["state"],
        posted_on=date.fromisoformat(row["date"]), total=row["total"], currency=row["currency"],
        details={"reversed_by": row["reversed_by"]} if row.get("reversed_by") else {},
    )  # fmt: skip
