"""A watched folder: each file once, each row on its own, and nothing leaves before it is safe."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from connector.adapter import Change
from connector.ledger import Ledger
from connector.ledger.tables import dead_letters
from connector.oa.door import Accept, Refuse, into_ledger
from connector.oa.folder import FileResult, ScanResult, scan
from connector.process.intake import Accepted
from connector.settings import Folder
from contracts import Finding
from tests.integration.doors.conftest import events_in
from tests.unit.doors.samples import array, body, row, table
from workers.watch import watch

BAD_FILES = sorted((Path(__file__).parents[2] / "bad/folder").iterdir())


class Watched:
    """A folder and the ledger its files go to."""

    def __init__(self, path: Path, ledger: Ledger, **settings: Any) -> None:
        self.folder = Folder(path=path, company="C01", **({"quiet_s": 0} | settings))
        self.ledger = ledger
        self.accept: Accept
        self.refuse: Refuse
        self.accept, self.refuse = into_ledger(ledger)
        self.scan()

    def put(self, name: str, content: bytes) -> Path:
        """Writes a file into the inbox."""
        path = self.folder.path / "inbox" / name
        path.write_bytes(content)
        return path

    def scan(self, later_s: float = 1, accept: Accept | None = None) -> ScanResult:
        """One scan, as if that many seconds had passed."""
        now = datetime.now(UTC) + timedelta(seconds=later_s)
        return scan(self.folder, accept or self.accept, self.refuse, now)

    def one(self) -> FileResult:
        """A scan that finds one file."""
        (result,) = self.scan().files
        return result

    def told(self, room: str, name: str) -> Any:
        """The result file of a file."""
        return json.loads((self.folder.path / room / f"{name}.result.json").read_bytes())

    def names(self, room: str) -> list[str]:
        """What lies in a room."""
        return sorted(os.listdir(self.folder.path / room))

    def letters(self) -> list[Any]:
        """The dead letters."""
        with self.ledger.begin() as tx:
            return list(tx.execute(select(dead_letters).order_by(dead_letters.c.id)))


@pytest.fixture
def watched(tmp_path: Path, local_ledger: Ledger) -> Watched:
    return Watched(tmp_path / "oa", local_ledger)


def test_a_file_ends_in_the_archive_with_its_result_beside_it(tmp_path: Path, ledger: Ledger) -> None:
    watched = Watched(tmp_path / "oa", ledger)
    content = array(body("A"), body("B"))
    watched.put("reports.json", content)

    result = watched.one()

    assert result == FileResult(
        "reports.json", "accepted", {"accepted": 2, "duplicate": 0, "refused": 0}, "archive", "reports.json"
    )
    assert watched.names("archive") == ["reports.json", "reports.json.result.json"]
    assert (watched.folder.path / "archive/reports.json").read_bytes() == content
    assert [event["number"] for event in watched.told("archive", "reports.json")["events"]] == ["A", "B"]
    assert events_in(ledger) == 2


def test_bad_rows_are_told_and_kept_while_the_others_go_on(tmp_path: Path, ledger: Ledger) -> None:
    watched = Watched(tmp_path / "oa", ledger)
    watched.put("t.csv", table(row("A", total="10.00"), row("B", amount="1e1", total="10.00"), row("C", total="10.00")))

    assert watched.one().counts == {"accepted": 2, "duplicate": 0, "refused": 1}

    bad = watched.told("archive", "t.csv")["events"][1]
    (letter,) = watched.letters()
    assert bad["findings"][0]["path"] == "row 3 amount"
    assert bad["dead_letter"] == letter.id
    assert bytes(letter.body) == table(row("B", amount="1e1", total="10.00"))


@pytest.mark.parametrize("path", BAD_FILES, ids=lambda path: path.name)
def test_a_bad_file_is_rejected_with_its_code_and_its_bytes_are_kept(watched: Watched, path: Path) -> None:
    watched.put(path.name, path.read_bytes())

    result = watched.one()

    told = watched.told("rejected", path.name)
    findings = told.get("findings") or told["events"][0]["findings"]
    assert result.status == "refused"
    assert path.name.split(".")[1] in [finding["code"] for finding in findings]
    assert (watched.folder.path / "rejected" / path.name).read_bytes() == path.read_bytes()
    assert len(watched.letters()) == 1
    assert events_in(watched.ledger) == 0


def test_a_file_still_being_written_is_left_alone(tmp_path: Path, local_ledger: Ledger) -> None:
    watched = Watched(tmp_path / "oa", local_ledger, quiet_s=300)
    path = watched.put("a.json", body("A"))
    os.utime(path, (0, 0))  # Copied with its old times: only when it was written here counts.

    assert watched.scan(later_s=1) == ScanResult([], ["a.json"])
    assert [file.status for file in watched.scan(later_s=301).files] == ["accepted"]


@pytest.mark.parametrize("name", ["a.json.tmp", "a.json.part", ".a.json", "a.json~", "A.JSON.TMP"])
def test_an_unfinished_name_is_left_alone(watched: Watched, name: str) -> None:
    watched.put(name, body("A"))

    assert watched.scan().files == []
    assert watched.names("inbox") == [name]


def test_the_same_file_again_is_not_read_again(watched: Watched) -> None:
    watched.put("a.json", body("A"))
    watched.scan()
    watched.put("a.json", body("A"))

    assert watched.one().status == "duplicate"
    assert watched.names("archive") == ["a.json", "a.json.result.json"]


def test_another_file_of_the_same_name_is_kept_beside_the_first(watched: Watched) -> None:
    watched.put("a.json", body("A"))
    watched.scan()
    watched.put("a.json", body("B"))

    result = watched.one()

    assert result.status == "accepted"
    assert result.stored not in ("", "a.json")
    assert len(watched.names("archive")) == 4
    watched.put("a.json", body("B"))
    assert watched.one().status == "duplicate"


def test_the_same_reports_under_another_name_have_one_effect(watched: Watched) -> None:
    watched.put("a.csv", table(row("A", total="10.00")))
    watched.put("b.csv", table(row("A", total="10.00")))

    assert [file.counts["duplicate"] for file in watched.scan().files] == [0, 1]
    assert events_in(watched.ledger) == 1


def test_names_that_differ_by_case_only_are_two_files(watched: Watched) -> None:
    watched.put("a.json", body("A"))
    watched.put("A.json", body("B"))

    assert {file.stored for file in watched.scan().files} == {"a.json", "A.json"}


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after the commit"])
def test_a_crash_while_a_file_is_read_leaves_one_effect(watched: Watched, committed: bool) -> None:
    watched.put("t.csv", table(row("A", total="10.00"), row("B", amount="x", total="10.00")))

    def die(changes: Sequence[Change], door: str) -> Sequence[Accepted]:
        if committed:
            watched.accept(changes, door)
        raise Killed

    with pytest.raises(Killed):
        watched.scan(accept=die)
    assert watched.names("processing") == ["t.csv"]

    assert watched.one().status == "partly"
    assert events_in(watched.ledger) == 1
    assert len(watched.letters()) == 1


def test_a_crash_after_the_letters_makes_no_second_letter(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.put("t.csv", table(row("A", total="10.00"), row("B", amount="x", total="10.00")))

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(os, "fsync", die)
        with pytest.raises(Killed):
            watched.scan()

    assert watched.one().status == "partly"
    assert (events_in(watched.ledger), len(watched.letters())) == (1, 1)
    assert watched.names("archive") == ["t.csv", "t.csv.result.json"]


def test_while_the_ledger_is_away_the_file_waits(watched: Watched) -> None:
    watched.put("a.json", body("A"))

    def away(changes: Sequence[Change], door: str) -> Sequence[Accepted]:
        raise OperationalError("INSERT", {}, ConnectionRefusedError("no database"))

    with pytest.raises(OperationalError):
        watched.scan(accept=away)
    assert watched.names("archive") == watched.names("rejected") == []

    assert watched.one().status == "accepted"


def test_a_link_a_pipe_and_a_socket_are_never_opened(watched: Watched, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_bytes(body("SECRET"))
    inbox = watched.folder.path / "inbox"
    (inbox / "link.json").symlink_to(secret)
    (inbox / "hard.json").hardlink_to(secret)
    os.mkfifo(inbox / "pipe.json")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(inbox / "sock.json"))

        results = watched.scan().files

    assert [(file.name, file.status) for file in results] == [
        (name, "refused") for name in ("hard.json", "link.json", "pipe.json", "sock.json")
    ]
    for file in results:
        assert watched.told("rejected", file.stored)["findings"][0]["code"] == "SEC-609"
    assert secret.read_bytes() == body("SECRET")
    assert events_in(watched.ledger) == 0
    assert all(b"SECRET" not in bytes(letter.body) for letter in watched.letters())


@pytest.mark.parametrize(
    "name",
    ["a\nb.json", "a\x1b[31m.json", "x\\..\\y.json", "a\u202exsj.json", "x" * 240 + ".json", "a.json.result.json"],
)
def test_an_unsafe_name_is_replaced_and_the_file_refused(watched: Watched, name: str) -> None:
    watched.put(name, body("A"))

    result = watched.one()

    assert result.status == "refused"
    assert result.stored.isprintable()
    assert watched.names("rejected") == sorted([result.stored, f"{result.stored}.result.json"])
    assert watched.told("rejected", result.stored)["findings"][0]["code"] == "SEC-609"


def test_a_name_that_is_no_utf8_is_refused(watched: Watched) -> None:
    inbox = os.fsencode(watched.folder.path / "inbox")
    Path(os.fsdecode(inbox + b"/\xff\xfe.json")).write_bytes(body("A"))

    assert watched.one().status == "refused"


def test_folders_in_the_inbox_are_left_alone(watched: Watched) -> None:
    (watched.folder.path / "inbox/more").mkdir()

    assert watched.scan().files == []


def test_an_inbox_swapped_for_a_link_is_refused(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (watched.folder.path / "inbox").rmdir()
    (watched.folder.path / "inbox").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="inbox"):
        watched.scan()


def test_a_file_that_is_too_large_is_rejected_unread(tmp_path: Path, local_ledger: Ledger) -> None:
    watched = Watched(tmp_path / "oa", local_ledger, file_bytes_max=2000)
    watched.put("a.json", b"x" * 2001)

    assert watched.one().status == "refused"
    assert watched.told("rejected", "a.json")["findings"][0]["code"] == "CON-104"
    assert b"2001 bytes" in bytes(watched.letters()[0].body)


def test_two_processes_never_read_a_folder_at_once(watched: Watched) -> None:
    watched.put("a.json", body("A"))
    inside: list[ScanResult] = []

    def accept(changes: Sequence[Change], door: str) -> Sequence[Accepted]:
        inside.append(watched.scan())
        return watched.accept(changes, door)

    watched.scan(accept=accept)

    assert inside == [ScanResult(busy=True)]


def test_a_file_with_very_many_bad_rows_is_one_letter_with_all_its_bytes(watched: Watched) -> None:
    content = b"\n".join([body("A"), *(b"{}" for _ in range(300))])
    watched.put("a.jsonl", content)

    assert watched.one().counts == {"accepted": 1, "duplicate": 0, "refused": 300}

    (letter,) = watched.letters()
    assert bytes(letter.body) == content
    assert watched.told("archive", "a.jsonl")["dead_letter"] == letter.id


def test_a_file_that_breaks_our_code_does_not_stop_the_folder(watched: Watched) -> None:
    watched.put("a.json", body("A"))
    watched.put("b.json", body("B"))

    def broken(changes: Sequence[Change], door: str) -> Sequence[Accepted]:
        if changes[0].event.number == "A":
            raise RecursionError("a fault of ours")
        return watched.accept(changes, door)

    assert [file.status for file in watched.scan(accept=broken).files] == ["refused", "accepted"]
    assert watched.letters()[0].code == "OPS-802"


def test_watching_reads_what_comes_and_stops_when_told(watched: Watched) -> None:
    stop, seen = threading.Event(), threading.Event()
    results: list[FileResult] = []

    def scanned(result: ScanResult) -> None:
        results.extend(result.files)
        if results:
            seen.set()

    thread = threading.Thread(
        target=watch,
        args=(watched.folder, watched.accept, watched.refuse, stop),
        kwargs={"tick_s": 0.01, "scanned": scanned},
    )
    thread.start()
    watched.put("a.json", body("A"))
    assert seen.wait(60)
    stop.set()
    thread.join(20)

    assert not thread.is_alive()
    assert [file.status for file in results] == ["accepted"]


def test_watching_goes_on_after_the_ledger_was_away(watched: Watched) -> None:
    stop, seen = threading.Event(), threading.Event()
    fails = iter([True, True, False])

    def accept(changes: Sequence[Change], door: str) -> Sequence[Accepted]:
        if next(fails):
            raise OperationalError("INSERT", {}, ConnectionRefusedError("no database"))
        seen.set()
        return watched.accept(changes, door)

    watched.put("a.json", body("A"))
    thread = threading.Thread(
        target=watch, args=(watched.folder, accept, watched.refuse, stop), kwargs={"tick_s": 0.01}
    )
    thread.start()
    assert seen.wait(60)
    stop.set()
    thread.join(20)

    assert events_in(watched.ledger) == 1


def test_a_refusal_names_the_finding_in_the_letter(watched: Watched) -> None:
    letter = watched.refuse(b"x", "folder", [Finding("CON-101", "", "a", "b", "c")], "text/plain", "/oa/x/C01", "e1")

    assert letter == watched.refuse(
        b"x", "folder", [Finding("CON-101", "", "a", "b", "c")], "text/plain", "/oa/x/C01", "e1"
    )
