"""Conflict rules for master records: what both systems say in, what counts out, and what a person must decide. Pure.

A field that a side does not state is not changed by it (contracts.master_data), so silence never wins and never deletes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

Side = Literal["oa", "erp"]
Rule = Literal["owner", "changed", "agreed", "only", "unchanged", "parked"]
Fields = Mapping[str, Any]
WHOLE_RECORD: Final = "*"


class _Deleted(Enum):
    RECORD = "deleted"


DELETED: Final = _Deleted.RECORD
State = Fields | Literal[_Deleted.RECORD] | None  # None: this side has said nothing yet.


@dataclass(frozen=True, slots=True)
class Winner:
    """Whose value counts (None: neither's alone) and by which rule.

    owner      the side that owns the field said it (or stands by what was agreed)
    changed    nobody owns the field, and only this side changed it
    agreed     both sides say the same
    only       only this side states the field at all
    unchanged  neither side says anything new
    parked     both changed it differently and nobody owns it: the agreed value stays until a person decides
    """

    system: Side | None
    rule: Rule


@dataclass(frozen=True, slots=True)
class Parked:
    """A field both sides changed differently, with all values; a deleted record is field `*` with the value DELETED."""

    field: str
    base: Any
    oa: Any
    erp: Any


@dataclass(frozen=True, slots=True)
class Resolution:
    """The record as it counts now: `values` (DELETED: the record is gone), who won each field, what waits for a person."""

    values: Fields | Literal[_Deleted.RECORD]
    winners: Mapping[str, Winner]
    parked: tuple[Parked, ...] = ()


def counts(known: int | None, arriving: int) -> bool:
    """Whether a version that arrives from a system replaces what is known of that system: only a higher one does."""
    return known is None or arriving > known


def resolve(owners: Mapping[str, Side], base: Fields, oa: State, erp: State) -> Resolution:
    """What counts, given who owns which field (`*` is the rest, and the record itself), what both sides last agreed on
    (`base`, empty for a new record) and what each says now.

    Every value comes from `base`, `oa` or `erp`. Swapping the two sides (and the owners) swaps only the names in the
    answer; resolving an answer again, once both sides hold it, changes nothing.
    """
    if isinstance(oa, _Deleted) or isinstance(erp, _Deleted):
        return _resolve_deleted(owners, base, oa, erp)
    stated: dict[Side, Fields] = {"oa": oa or {}, "erp": erp or {}}
    values: dict[str, Any] = {}
    winners: dict[str, Winner] = {}
    parked: list[Parked] = []
    for name in sorted({*base, *stated["oa"], *stated["erp"]}):
        agreed, ours, theirs = base.get(name), stated["oa"].get(name), stated["erp"].get(name)
        value, winner = _resolve_field(owners.get(name, owners.get(WHOLE_RECORD)), agreed, ours, theirs)
        if value is not None:
            values[name] = value
        if winner is not None:
            winners[name] = winner
            if winner.rule == "parked":
                parked.append(Parked(name, agreed, ours, theirs))
    return Resolution(values, winners, tuple(parked))


def _resolve_field(owner: Side | None, base: Any, oa: Any, erp: Any) -> tuple[Any, Winner | None]:
    """The value that counts; None is a field nobody states."""
    if oa is None and erp is None:
        return (base, Winner(None, "unchanged")) if base is not None else (None, None)
    if oa == erp:
        return oa, Winner(None, "unchanged" if oa == base else "agreed")
    if owner is not None:
        said = oa if owner == "oa" else erp
        if said is not None or base is not None:
            return (base if said is None else said), Winner(owner, "owner")
    if base is None and (oa is None or erp is None):
        return (erp, Winner("erp", "only")) if oa is None else (oa, Winner("oa", "only"))
    oa_changed = oa is not None and oa != base
    erp_changed = erp is not None and erp != base
    if oa_changed and erp_changed:
        return base, Winner(None, "parked")
    if oa_changed:
        return oa, Winner("oa", "changed")
    if erp_changed:
        return erp, Winner("erp", "changed")
    return base, Winner(None, "unchanged")


def _resolve_deleted(owners: Mapping[str, Side], base: Fields, oa: State, erp: State) -> Resolution:
    """One side or both deleted the record: its owner decides; without an owner a deletion meets only an unchanged record."""
    if isinstance(oa, _Deleted) and isinstance(erp, _Deleted):
        return Resolution(DELETED, {WHOLE_RECORD: Winner(None, "agreed")})
    deleter: Side = "oa" if isinstance(oa, _Deleted) else "erp"
    left = erp if deleter == "oa" else oa
    assert not isinstance(left, _Deleted)
    owner = owners.get(WHOLE_RECORD)
    if owner == deleter or left is None:
        return Resolution(DELETED, {WHOLE_RECORD: Winner(deleter, "owner" if owner == deleter else "only")})
    kept = resolve(owners, base, None, left) if deleter == "oa" else resolve(owners, base, left, None)
    if owner is not None:
        return Resolution(kept.values, {**kept.winners, WHOLE_RECORD: Winner(owner, "owner")}, kept.parked)
    changed = any(value is not None and value != base.get(name) for name, value in left.items())
    if not changed:
        return Resolution(DELETED, {WHOLE_RECORD: Winner(deleter, "changed")})
    conflict = Parked(
        WHOLE_RECORD, dict(base), oa if deleter == "oa" else dict(left), erp if deleter == "erp" else dict(left)
    )
    return Resolution(dict(base), {WHOLE_RECORD: Winner(None, "parked")}, (conflict,))
