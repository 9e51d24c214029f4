"""Publishing files by hand or by a script: each event into the ledger, or to a gateway over HTTP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from connector.errors import Ambiguous, Rejected, Unavailable
from connector.http import HttpClient, Reply
from connector.ledger import Ledger
from connector.oa.door import Taken, into_ledger, take
from connector.oa.piece import Piece
from connector.oa.reading import read_file
from connector.retry import call
from connector.settings import Retry
from contracts import Finding, Refused, all_codes, to_json

FILE_BYTES_MAX = 64 * 1024 * 1024
BATCH = 500
BATCH_BYTES_MAX = 2 * 1024 * 1024
BATCH_TYPE = "application/cloudevents-batch+json"


@dataclass(frozen=True, slots=True)
class Published:
    """What became of one event of a file; a row of the table that `oaerp publish` prints."""

    file: str
    where: str
    status: Literal["accepted", "duplicate", "refused"]
    number: str = ""
    version: int | None = None
    event_id: str = ""
    findings: Sequence[Finding] = ()

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON-able values."""
        value = {name: getattr(self, name) for name in ("file", "where", "status", "number", "version", "event_id")}
        return value | {"findings": [finding.as_dict() for finding in self.findings]}


def publish_files(
    paths: Sequence[Path], ledger: Ledger, *, company: str = "C01", adapter: str = "file"
) -> Iterator[Published]:
    """Publishes every event of the files through the ledger; each is durable when it is told of. Doing it again has no
    second effect. `company` and `adapter` are for CSV tables, which name no source. Raises SQLAlchemyError where the
    ledger is away."""
    accept, _ = into_ledger(ledger)
    for path, pieces in _read(paths, company, adapter):
        for taken in take(pieces, accept, "publish"):
            yield _row(path, taken)


def send_files(
    paths: Sequence[Path],
    url: str,
    *,
    token: str | None = None,
    company: str = "C01",
    adapter: str = "file",
    retry: Retry | None = None,
) -> Iterator[Published]:
    """Publishes every event of the files to the gateway at `url` (its address without /v1/events), in batches, each
    under an Idempotency-Key made of its bytes, so that repeating is safe. Raises Unavailable or Ambiguous where the
    gateway does not answer, Rejected where it refuses us."""
    client = HttpClient(url, total_s=60, secrets=[token] if token else [])
    try:
        for path, pieces in _read(paths, company, adapter):
            for batch in _batches(pieces):
                yield from _send(client, path, batch, token, retry or Retry())
    finally:
        client.close()


def _read(paths: Sequence[Path], company: str, adapter: str) -> Iterator[tuple[Path, Iterable[Piece]]]:
    for path in paths:
        try:
            if path.stat().st_size > FILE_BYTES_MAX:
                finding = Finding("CON-104", "", f"at most {FILE_BYTES_MAX} bytes", "more", "split the file")
                yield path, [Piece("", b"", "text/plain", findings=[finding])]
                continue
            body = path.read_bytes()
            yield path, read_file(path.name, body, company=company, adapter=adapter)
        except OSError as error:
            finding = Finding("OPS-812", "", "a file that can be read", error.strerror or "none", "correct the path")
            yield path, [Piece("", b"", "text/plain", findings=[finding])]
        except Refused as refused:
            yield path, [Piece("", body, "text/plain", findings=refused.findings)]


def _row(path: Path, taken: Taken) -> Published:
    event, piece = taken.accepted, taken.piece
    if event is None:
        known = piece.event
        number, version = (known.number, known.version) if known is not None else ("", None)
        return Published(str(path), piece.where, "refused", number, version, findings=taken.findings)
    return Published(str(path), piece.where, taken.status, event.number, event.version, event.event_id)


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        if batch and (len(batch) == BATCH or size + len(piece.raw) > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += len(piece.raw)
    if batch:
        yield batch


def _send(client: HttpClient, path: Path, batch: Sequence[Piece], token: str | None, retry: Retry) -> list[Published]:
    good = [piece for piece in batch if piece.event is not None]
    told: list[dict[str, Any]] = []
    if good:
        body = b"[" + b",".join(to_json(piece.event) for piece in good if piece.event is not None) + b"]"
        headers = {"content-type": BATCH_TYPE, "idempotency-key": hashlib.sha256(body).hexdigest()}
        if token:
            headers["authorization"] = f"Bearer {token}"
        post = partial(_post, client, body, headers)
        # Under its key the same batch has one effect, so also a lost answer may be asked for again.
        told = call(post, on=(Unavailable, Ambiguous), retry=retry)
    answers = iter(told)
    rows = []
    for piece in batch:
        if piece.event is None:
            rows.append(_row(path, Taken(piece, "refused", findings=piece.findings)))
            continue
        answer = next(answers)
        findings = [Finding(**finding) for finding in answer.get("findings", ())]
        status = answer["status"]
        rows.append(
            Published(str(path), piece.where, status, piece.event.number, piece.event.version, piece.event.id, findings)
        )
    return rows


def _post(client: HttpClient, body: bytes, headers: dict[str, str]) -> list[dict[str, Any]]:
    reply = client.call("POST", "/v1/events", content=body, headers=headers)
    value = _json(reply)
    if reply.status in (202, 207, 422) and isinstance(value, dict) and isinstance(value.get("events"), list):
        return list(value["events"])
    if reply.status in (408, 429) or reply.status >= 500:
        raise Unavailable(f"the gateway answered {reply.status}", code="OPS-810", retry_after_s=reply.retry_after_s)
    said = client.scrub(reply.body.decode("utf-8", "replace"))
    raise Rejected(f"the gateway answered {reply.status}: {said}", code=_code(value))


def _code(problem: Any) -> str | None:
    """The code of the gateway's own refusal; another server's has none."""
    named = problem.get("code") if isinstance(problem, dict) else None
    return named if isinstance(named, str) and named in all_codes() else None


def _json(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except ValueError:
        return None
