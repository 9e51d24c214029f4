"""Which part of an invoice, or of an advance in another currency, is whose: each document holds spans of its amount, and no
two documents hold the same cent. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

# From a place on its amount up to a place: the 35.00 after the first 35.00 are (35.00, 70.00).
Span = tuple[Decimal, Decimal]
Spans = tuple[Span, ...]

_ZERO = Decimal(0)
_END = Decimal("Infinity")


def take(amount: Decimal, own: Spans, others: Iterable[Span]) -> Spans:
    """So much for a document that held `own` before: what it held first, then the earliest that none of the others holds.

    So a document that asks again for the same amount keeps its spans, whoever came or went in between. Whether as
    much is left is for others to check.
    """
    taken: list[Span] = []
    for start, end in (*own, *free([*own, *others])):
        if amount <= _ZERO:
            break
        upto = min(end, start + amount)
        amount -= upto - start
        taken.append((start, upto))
    return _joined(taken)


def free(held: Iterable[Span]) -> Spans:
    """What nobody holds; the last span has no end."""
    found: list[Span] = []
    at = _ZERO
    for start, end in sorted(held):
        if start > at:
            found.append((at, start))
        at = max(at, end)
    return (*found, (at, _END))


def cut(spans: Spans, start: Decimal, end: Decimal) -> Iterator[Span]:
    """What lies from `start` to `end`, counted along the spans; beyond the last one it goes on from where that ends."""
    passed, last = _ZERO, _ZERO
    for from_, to in spans:
        low, high = max(start - passed, _ZERO), min(end - passed, to - from_)
        if low < high:
            yield from_ + low, from_ + high
        passed, last = passed + to - from_, to
    if end > passed:
        yield last + max(start - passed, _ZERO), last + end - passed


def part_of(spans: Iterable[Span], worth: Callable[[Decimal], Decimal]) -> Decimal:
    """What spans come to, where `worth` says what everything up to a place comes to, rounded: spans that together are the
    whole come to exactly the whole, in whatever order they were taken."""
    return sum((worth(end) - worth(start) for start, end in spans), _ZERO)


def write(spans: Spans) -> str:
    """As text: `35.00-70.00 105.00-110.00`."""
    return " ".join(f"{start:f}-{end:f}" for start, end in spans)


def read(text: str) -> Spans:
    """What `write` wrote."""
    return tuple((Decimal(start), Decimal(end)) for start, _, end in (part.partition("-") for part in text.split()))


def _joined(spans: Iterable[Span]) -> Spans:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and joined[-1][1] == start:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return tuple(joined)
