"""One event of a file or a batch as it was read: where it stood, its bytes, and the event or what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from contracts import AnyEvent, Finding

Span: TypeAlias = "tuple[int, int]"


@dataclass(frozen=True, slots=True)
class Piece:
    """Either `event` is there, or `findings` says why not. `where` is for people: `[3]`, `line 7`, `rows 2, 3`."""

    where: str
    raw: bytes
    content_type: str
    event: AnyEvent | None = None
    findings: Sequence[Finding] = ()
