"""The mapping book in force: loaded once, and anew when a file of its folder changed, so that a new row counts at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from connector.translate.book import Book
from connector.translate.reader import load_book
from connector.translate.tables import BookRefused

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 2.0
_Seen = tuple[tuple[str, int, int], ...]


class Shelf:
    """Gives the book of a folder (None: the starter book). A book that is wrong when it is first loaded is refused; one
    that becomes wrong later leaves the last sound one in force, and the log says why. Safe for several threads."""

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        self._book: Book | None = None
        self._seen: _Seen = ()
        self._looked = 0.0

    def book(self) -> Book:
        """The book in force now. Raises BookRefused where there never was a sound one."""
        book = self._book
        if book is not None and (self._path is None or self._clock() - self._looked < LOOK_EVERY_S):
            return book
        with self._lock:
            if self._book is None:
                self._seen = self._files()
                self._book = load_book(self._path)
            elif self._clock() - self._looked >= LOOK_EVERY_S:
                self._look_again()
            self._looked = self._clock()
            return self._book

    def _look_again(self) -> None:
        seen = self._files()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            book = load_book(self._path)
        except BookRefused as refused:
            log.error("the changed mapping book is wrong; the last sound one stays in force", error=str(refused)[:2000])
            return
        assert self._book is not None
        if book.fingerprint != self._book.fingerprint:
            log.info("a new mapping book is in force", name=book.name, version=book.version, book=book.fingerprint[:12])
            self._book = book

    def _files(self) -> _Seen:
        """Name, size and time of each file that belongs to the book."""
        if self._path is None:
            return ()
        found = []
        for file in sorted(self._path.iterdir()) if self._path.is_dir() else ():
            if file.suffix in (".yaml", ".csv", ".xlsx"):
                with suppress(OSError):  # Gone meanwhile, or the dangling link an editor locks a file with.
                    stat = file.stat()
                    found.append((file.name, stat.st_size, stat.st_mtime_ns))
        return tuple(found)
