"""A watched folder: files from inbox/ become events; each file ends in archive/ or rejected/ with a result beside it.

    inbox/ -> processing/ -> archive/NAME and archive/NAME.result.json     (something of it was accepted)
                          -> rejected/NAME and rejected/NAME.result.json   (nothing was)

Write NAME.tmp or NAME.part and rename it when it is whole; a file that is written in place is left alone until it has
not changed for `quiet_s`. What `reading.read_file` reads is taken. Only the files' own bytes count: a file that comes
again, or is read again after a crash, has one effect.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, Literal

from sqlalchemy.exc import SQLAlchemyError

from connector.errors import ConnectorError
from connector.oa.door import Accept, Refuse, Taken, from_an_oa, take
from connector.oa.reading import read_file
from connector.settings import Folder
from contracts import Finding, Refused

DOOR = "folder"
FILES_MAX = 1_000  # Files in one scan; the rest is there at the next.
LETTERS_MAX = 200  # Dead letters for pieces of one file; with more bad pieces than that, the file is one letter.
NAME_BYTES_MAX = 200
RESULT = ".result.json"
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".swp", "~")
_ROOMS = ("inbox", "processing", "archive", "rejected")
_CONTENT_TYPES = {".csv": "text/csv", ".xml": "application/xml"}
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of a file. `counts` has accepted, duplicate and refused events; `room` and `stored` say where it is."""

    name: str
    status: Literal["accepted", "partly", "refused", "duplicate"]
    counts: Mapping[str, int] = field(default_factory=dict)
    room: str = "archive"
    stored: str = ""


@dataclass(frozen=True, slots=True)
class ScanResult:
    """One look into a folder. `waiting` are files that are still being written; `busy`: another process looks already."""

    files: Sequence[FileResult] = ()
    waiting: Sequence[str] = ()
    busy: bool = False


def scan(folder: Folder, accept: Accept, refuse: Refuse, now: datetime) -> ScanResult:
    """Takes every file that is whole. A file leaves processing/ only after its events and letters are durable and its
    result is written. Raises OSError where the folder is away, and what `accept` raises where the ledger is; the file
    at hand is then read again by the next scan."""
    with _opened(folder.path) as rooms:
        if rooms is None:
            return ScanResult(busy=True)
        taker = _Taker(folder, rooms, accept, refuse, now)
        files = [taker.take(name) for name in sorted(os.listdir(rooms["processing"]))]
        waiting: list[str] = []
        for name in islice(sorted(filter(_is_meant, os.listdir(rooms["inbox"]))), FILES_MAX):
            found = taker.fetch(name)
            if found == "waiting":
                waiting.append(name)
            elif isinstance(found, FileResult):
                files.append(found)
            elif found == "ready":
                files.append(taker.take(name))
        return ScanResult([file for file in files if file is not None], waiting)


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, int] | None]:
    """Descriptors of the four rooms, made where missing; None where another process holds the folder. Everything is
    done through them, so that swapping a folder for a link leads nowhere."""
    opened: dict[str, int] = {}
    path.mkdir(parents=True, exist_ok=True)
    base = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(base, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        for room in _ROOMS:
            with suppress(FileExistsError):
                os.mkdir(room, 0o770, dir_fd=base)
            opened[room] = os.open(room, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=base)
        yield opened
    finally:
        for descriptor in (*opened.values(), base):
            os.close(descriptor)


def _is_meant(name: str) -> bool:
    return not name.startswith(".") and not name.lower().endswith(_UNFINISHED)


class _Taker:
    def __init__(self, folder: Folder, rooms: Mapping[str, int], accept: Accept, refuse: Refuse, now: datetime) -> None:
        self._folder, self._rooms, self._now = folder, rooms, now
        self._accept, self._refuse = accept, refuse
        self._source = f"/oa/{folder.adapter}/{folder.company}"

    def fetch(self, name: str) -> FileResult | Literal["ready", "waiting", "gone", "not a file"]:
        """Moves a whole, plain file to processing/; anything else that may not be opened goes to rejected/."""
        try:
            found = os.stat(name, dir_fd=self._rooms["inbox"], follow_symlinks=False)
        except FileNotFoundError:
            return "gone"
        if stat.S_ISDIR(found.st_mode):
            return "not a file"
        finding = _objection(name, found)
        # ctime cannot be set by whoever copies a file with its old times.
        if 0 <= self._now.timestamp() - found.st_ctime < self._folder.quiet_s:
            return "waiting"
        if finding is not None:
            return self._reject_entry(name, found, finding)
        os.rename(name, name, src_dir_fd=self._rooms["inbox"], dst_dir_fd=self._rooms["processing"])
        return "ready"

    def take(self, name: str) -> FileResult | None:
        """Reads a file in processing/ and moves it on; None where it was still being written."""
        found = os.stat(name, dir_fd=self._rooms["processing"], follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            return None
        finding = _objection(name, found)
        if finding is not None:
            return self._reject_entry(name, found, finding, "processing")
        try:
            descriptor = os.open(name, _READ, dir_fd=self._rooms["processing"])
        except PermissionError:
            finding = Finding("SEC-609", "", "a file we may read", "no permission", "let the connector's user read it")
            return self._reject_entry(name, found, finding, "processing")
        try:
            before = os.fstat(descriptor)
            body = _read(descriptor, self._folder.file_bytes_max + 1)
            sha256 = hashlib.sha256(body).hexdigest()
            if len(body) > self._folder.file_bytes_max:
                limit, size = self._folder.file_bytes_max, before.st_size
                finding = Finding("CON-104", "", f"at most {limit} bytes", f"{size} bytes", "split the file")
                note = f"{name}: {size} bytes, kept in rejected/".encode()
                return self._reject(name, sha256, note, "text/plain", [finding])
            if self._is_archived(name, sha256):
                os.unlink(name, dir_fd=self._rooms["processing"])
                return FileResult(name, "duplicate", stored=name)
            result = self._take_apart(name, sha256, body)
            after = os.fstat(descriptor)
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                return None  # Somebody still writes: what was taken is known, the rest comes with the next scan.
            return self._move(name, sha256, result)
        finally:
            os.close(descriptor)

    def _take_apart(self, name: str, sha256: str, body: bytes) -> dict[str, Any]:
        try:
            return self._take(name, sha256, body)
        except (OSError, SQLAlchemyError, ConnectorError):
            raise
        except Exception as error:  # noqa: BLE001 - one file that breaks our code must not stop the folder
            fix = "look at the file; report this as a fault of the connector"
            finding = Finding("OPS-802", "", "a file our code can handle", repr(error)[:200], fix)
            letter = self._letter(body, "application/octet-stream", [finding], f"{name}\n{sha256}")
            return self._result(name, sha256, {"refused": 1}, [], [finding], letter)

    def _take(self, name: str, sha256: str, body: bytes) -> dict[str, Any]:
        content_type = _CONTENT_TYPES.get(PurePath(name).suffix.lower(), "application/json")
        try:
            pieces = read_file(name, body, company=self._folder.company, adapter=self._folder.adapter)
        except Refused as refused:
            letter = self._letter(body, content_type, refused.findings, f"{name}\n{sha256}")
            return self._result(name, sha256, Counter(refused=1), [], refused.findings, letter)
        counts: Counter[str] = Counter()
        told: list[dict[str, Any]] = []
        bad: list[tuple[Taken, dict[str, Any]]] = []
        for taken in take(pieces, self._accept, DOOR, from_an_oa(self._folder.company)):
            counts[taken.status] += 1
            told.append(taken.as_dict())
            if taken.status == "refused":
                bad.append((taken, told[-1]))
        if len(bad) > LETTERS_MAX:
            letter = self._letter(body, content_type, bad[0][0].findings, f"{name}\n{sha256}")
            return self._result(name, sha256, counts, told, (), letter)
        for taken, line in bad:
            piece = taken.piece
            line["dead_letter"] = self._letter(
                piece.raw, piece.content_type, taken.findings, f"{name}\n{sha256}\n{piece.where}"
            )
        return self._result(name, sha256, counts, told)

    def _letter(self, raw: bytes, content_type: str, findings: Sequence[Finding], key: str) -> int:
        """The same bad piece of the same file is one letter, however often a crash makes us read it."""
        event_id = f"file-{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:40]}"
        return self._refuse(raw, DOOR, findings, content_type, self._source, event_id)

    def _result(
        self,
        name: str,
        sha256: str | None,
        counts: Mapping[str, int],
        events: Sequence[Mapping[str, Any]],
        findings: Sequence[Finding] = (),
        letter: int | None = None,
    ) -> dict[str, Any]:
        every = {status: counts.get(status, 0) for status in ("accepted", "duplicate", "refused")}
        good = every["accepted"] + every["duplicate"]
        status = "refused" if not good else "partly" if every["refused"] else "accepted"
        result: dict[str, Any] = {"file": name, "sha256": sha256, "read_at": self._now.isoformat(), "status": status}
        result |= every
        if findings:
            result["findings"] = [finding.as_dict() for finding in findings]
        if letter is not None:
            result["dead_letter"] = letter
        return result | {"events": events}

    def _reject(self, name: str, sha256: str, raw: bytes, content_type: str, findings: Sequence[Finding]) -> FileResult:
        letter = self._letter(raw, content_type, findings, f"{name}\n{sha256}")
        return self._move(name, sha256, self._result(name, sha256, {"refused": 1}, [], findings, letter))

    def _reject_entry(self, name: str, found: os.stat_result, finding: Finding, here: str = "inbox") -> FileResult:
        """What is no plain file is moved as it is, never opened."""
        shown = _safe(name)
        mark = hashlib.sha256(f"{shown} {found.st_ino} {found.st_ctime_ns}".encode()).hexdigest()
        note = f"{shown}: an entry of the inbox, kept in rejected/ and not opened".encode()
        letter = self._letter(note, "text/plain", [finding], f"{name}\n{mark}")
        result = self._result(shown, None, {"refused": 1}, [], [finding], letter)
        return self._move(name, mark, result, here, shown)

    def _move(
        self, name: str, sha256: str, result: Mapping[str, Any], here: str = "processing", wanted: str | None = None
    ) -> FileResult:
        room = "rejected" if result["status"] == "refused" else "archive"
        stored = _free(self._rooms[room], wanted or name, sha256)
        _write(self._rooms[room], f"{stored}{RESULT}", json.dumps(result, ensure_ascii=False, indent=1).encode())
        os.rename(name, stored, src_dir_fd=self._rooms[here], dst_dir_fd=self._rooms[room])
        os.fsync(self._rooms[room])
        counts = {status: result[status] for status in ("accepted", "duplicate", "refused")}
        return FileResult(wanted or name, result["status"], counts, room, stored)

    def _is_archived(self, name: str, sha256: str) -> bool:
        for stored in (name, _marked(name, sha256)):
            try:
                descriptor = os.open(stored, _READ, dir_fd=self._rooms["archive"])
            except OSError:
                continue
            try:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    body = _read(descriptor, self._folder.file_bytes_max + 1)
                    if hashlib.sha256(body).hexdigest() == sha256:
                        return True
            finally:
                os.close(descriptor)
        return False


def _objection(name: str, found: os.stat_result) -> Finding | None:
    """Why an entry may not be opened, if so."""
    fix = "put the file itself there, under a plain name"
    if not stat.S_ISREG(found.st_mode):
        kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        got = kinds.get(stat.S_IFMT(found.st_mode), "a device")
        return Finding("SEC-609", "", "a plain file", got, fix)
    if found.st_nlink > 1:
        return Finding("SEC-609", "", "a file of its own", "a hard link to a file elsewhere", fix)
    if _safe(name) != name:
        expected = f"a name of at most {NAME_BYTES_MAX} bytes, visible characters, not ending in {RESULT}"
        return Finding("SEC-609", "", expected, ascii(name)[:80], fix)
    return None


def _safe(name: str) -> str:
    """The name itself where it is one; else a name of ours, made of what is printable in it."""
    good = (
        name.isprintable()
        and "\\" not in name
        and not name.endswith(RESULT)
        and len(name.encode("utf-8", "surrogateescape")) <= NAME_BYTES_MAX
    )
    if good:
        return name
    mark = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name.removesuffix(RESULT)[:80])
    return f"{kept}.{mark}"


def _marked(name: str, sha256: str) -> str:
    path = PurePath(name)
    return f"{path.stem}.{sha256[:12]}{path.suffix}"


def _free(room: int, name: str, sha256: str) -> str:
    """The name, or one marked by the content where another file has it already."""
    try:
        os.stat(name, dir_fd=room, follow_symlinks=False)
    except FileNotFoundError:
        return name
    return _marked(name, sha256)


def _read(descriptor: int, bytes_max: int) -> bytes:
    parts: list[bytes] = []
    left = bytes_max
    while left > 0 and (part := os.read(descriptor, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _write(room: int, name: str, body: bytes) -> None:
    """All of it or nothing, on disk when it returns."""
    unfinished = f".{hashlib.sha256(name.encode()).hexdigest()[:16]}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(unfinished, flags, 0o640, dir_fd=room)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    os.rename(unfinished, name, src_dir_fd=room, dst_dir_fd=room)
