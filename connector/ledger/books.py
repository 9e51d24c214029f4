"""Mapping books that were ever in force, kept whole, so that a voucher can be rebuilt with the rules of its day."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.engine import Connection

from connector.ledger.tables import books
from connector.translate import reader
from connector.translate.book import Book


def archive(tx: Connection, book: Book) -> bool:
    """Keeps the book as the one in force from now on; nothing where it is in force already. True where it is another."""
    latest = tx.scalar(select(books.c.fingerprint).order_by(books.c.id.desc()).limit(1))
    if latest == book.fingerprint:
        return False
    tx.execute(
        books.insert(),
        {
            "fingerprint": book.fingerprint,
            "name": book.name,
            "version": book.version,
            "files": pack(book.files),
        },
    )
    return True


def archived(tx: Connection, fingerprint: str) -> Book | None:
    """The book with this fingerprint (or the start of one, eight characters at least); None where it was never in force."""
    if len(fingerprint) < 8:
        return None
    c = books.c
    kept = tx.scalar(select(c.files).where(c.fingerprint.startswith(fingerprint, autoescape=True)).limit(1))
    return None if kept is None else reader.read_book(unpack(kept))


def in_force(tx: Connection, day: date) -> Book | None:
    """The book that was in force at the end of this day (UTC); None before the first one."""
    end = datetime.combine(day + timedelta(days=1), time(), UTC)
    c = books.c
    kept = tx.scalar(select(c.files).where(c.used_from < end).order_by(c.id.desc()).limit(1))
    return None if kept is None else reader.read_book(unpack(kept))


def history(tx: Connection) -> list[Row[Any]]:
    """Every book with its day, the latest first, without its files."""
    c = books.c
    return list(tx.execute(select(c.id, c.fingerprint, c.name, c.version, c.used_from).order_by(c.id.desc())))


def pack(files: Mapping[str, bytes]) -> bytes:
    """The files of a book as one ZIP; equal files make equal bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive_:
        for name in sorted(files):
            archive_.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name], zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def unpack(packed: bytes) -> dict[str, bytes]:
    """The files that `pack` packed."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive_:
        return {name: archive_.read(name) for name in archive_.namelist()}
