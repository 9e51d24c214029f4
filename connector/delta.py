"""A delta feed: rows since a compound cursor (time, id), read again over a window for what committed late, told once."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from connector.errors import Misconfigured

REMEMBERED_MAX = 8  # Cursors whose window is remembered; an older one only means that some rows are told twice.
BEGINNING = datetime(1990, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Where a row stands in a feed: when it changed, then its id, so that equal times keep an order."""

    at: datetime
    id: int


@dataclass(frozen=True, slots=True)
class Row:
    """A changed row and its place."""

    key: Key
    data: Any


Fetch = Callable[[Key, int], Sequence[Row]]  # (after this key, at most so many) -> rows in the order of their keys


class Delta:
    """Several streams behind one cursor. Asking again with a cursor gives at least the same rows again; rows seen in the
    overlap are left out only once their cursor has come back, because then the caller has them safe."""

    def __init__(self, streams: dict[str, Fetch], *, overlap_s: float, limit: int = 100) -> None:
        self._streams, self._overlap, self._limit = streams, timedelta(seconds=overlap_s), limit
        self._seen: OrderedDict[str, dict[str, frozenset[Key]]] = OrderedDict()
        self._lock = threading.Lock()

    def page(self, cursor: str | None) -> tuple[list[tuple[str, Row]], str, bool]:
        """New rows with the name of their stream, the next cursor, and whether more are waiting."""
        places = _read(cursor)
        with self._lock:
            seen_before = dict(self._seen.get(cursor or "", {}))
        fresh: list[tuple[str, Row]] = []
        seen: dict[str, frozenset[Key]] = {}
        more = False
        for name, fetch in self._streams.items():
            last, full = places.get(name, (Key(BEGINNING, 0), True))
            start = last if full else Key(max(last.at - self._overlap, BEGINNING), 0)
            rows = list(fetch(start, self._limit))
            known = seen_before.get(name, frozenset())
            fresh += [(name, row) for row in rows if row.key not in known]
            full = len(rows) >= self._limit
            newest = rows[-1].key if full else max([last, *(row.key for row in rows)])
            places[name] = (newest, full)
            more = more or full
            window = max([newest, last]).at - self._overlap
            seen[name] = frozenset(key for key in (*known, *(row.key for row in rows)) if key.at >= window)
        text = _written(places, seen)
        with self._lock:
            self._seen[text] = seen
            self._seen.move_to_end(text)
            while len(self._seen) > REMEMBERED_MAX:
                self._seen.popitem(last=False)
        fresh.sort(key=lambda item: item[1].key)
        return fresh, text, more


def _read(cursor: str | None) -> dict[str, tuple[Key, bool]]:
    if not cursor:
        return {}
    try:
        places = json.loads(cursor)["at"]
        return {
            name: (Key(datetime.fromisoformat(at), int(row)), bool(full)) for name, (at, row, full) in places.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Misconfigured(f"this is not a cursor of ours: {cursor[:80]!r}") from error


def _written(places: dict[str, tuple[Key, bool]], seen: dict[str, frozenset[Key]]) -> str:
    """The mark of what was seen makes two cursors differ when a row that committed late came between them."""
    keys = sorted((name, key.at.isoformat(), key.id) for name, group in seen.items() for key in group)
    mark = hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:12]
    at = {name: [key.at.isoformat(), key.id, full] for name, (key, full) in places.items()}
    return json.dumps({"at": at, "seen": mark}, separators=(",", ":"))
