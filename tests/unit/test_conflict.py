"""Conflict rules: one table of single fields, deletions, and properties that hold for every record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.conflict import DELETED, Parked, Side, State, Winner, counts, resolve

EMPLOYEE: dict[str, Side] = {"*": "oa", "bank_account": "erp"}
NOBODY: dict[str, Side] = {}

# owner, agreed, the OA says, the ERP says -> value, who won, by which rule
TABLE: list[tuple[Side | None, str | None, str | None, str | None, str | None, Side | None, str]] = [
    (None, "A", "A", "A", "A", None, "unchanged"),
    (None, "A", None, None, "A", None, "unchanged"),
    (None, "A", "B", "A", "B", "oa", "changed"),
    (None, "A", "A", "B", "B", "erp", "changed"),
    (None, "A", "B", None, "B", "oa", "changed"),
    (None, "A", None, "B", "B", "erp", "changed"),
    (None, "A", "A", None, "A", None, "unchanged"),
    (None, "A", "B", "B", "B", None, "agreed"),
    (None, "A", "B", "C", "A", None, "parked"),
    (None, None, "B", "C", None, None, "parked"),
    (None, None, "B", "B", "B", None, "agreed"),
    (None, None, "B", None, "B", "oa", "only"),
    (None, None, None, "B", "B", "erp", "only"),
    ("oa", "A", "B", "C", "B", "oa", "owner"),
    ("oa", "A", "A", "C", "A", "oa", "owner"),
    ("oa", "A", None, "C", "A", "oa", "owner"),
    ("oa", None, None, "C", "C", "erp", "only"),
    ("oa", None, "B", "C", "B", "oa", "owner"),
    ("oa", "A", "B", "B", "B", None, "agreed"),
    ("erp", "A", "B", "C", "C", "erp", "owner"),
    ("erp", "A", "B", "A", "A", "erp", "owner"),
    ("erp", "A", "B", None, "A", "erp", "owner"),
    ("erp", None, "B", None, "B", "oa", "only"),
]


@pytest.mark.parametrize(("owner", "base", "oa", "erp", "value", "system", "rule"), TABLE)
def test_each_field_has_its_winner(
    owner: Side | None,
    base: str | None,
    oa: str | None,
    erp: str | None,
    value: str | None,
    system: Side | None,
    rule: str,
) -> None:
    owners: dict[str, Side] = {} if owner is None else {"name": owner}

    resolution = resolve(owners, stated(base), stated(oa), stated(erp))

    assert resolution.values == stated(value)
    assert resolution.winners == {"name": Winner(system, rule)}  # type: ignore[arg-type]
    assert resolution.parked == ((Parked("name", base, oa, erp),) if rule == "parked" else ())


def stated(value: str | None) -> dict[str, Any]:
    return {} if value is None else {"name": value}


def test_each_field_of_a_record_goes_by_its_own_owner() -> None:
    base = {"name": "Zhang", "department": "D01", "bank_account": "1"}

    resolution = resolve(
        EMPLOYEE,
        base,
        {**base, "department": "D02", "bank_account": "2"},
        {**base, "department": "D03", "bank_account": "3"},
    )

    assert resolution.values == {"name": "Zhang", "department": "D02", "bank_account": "3"}
    assert not resolution.parked


def test_a_side_that_has_said_nothing_changes_nothing() -> None:
    assert resolve(EMPLOYEE, {}, None, {"name": "Zhang"}).values == {"name": "Zhang"}
    assert resolve(NOBODY, {"name": "Zhang"}, None, None).values == {"name": "Zhang"}


RECORD = {"name": "Zhang", "department": "D01"}
OTHER = {"name": "Zhang", "department": "D02"}
DELETIONS: list[tuple[dict[str, Side], State, State, Any, str]] = [
    (NOBODY, DELETED, DELETED, DELETED, "agreed"),
    (NOBODY, DELETED, RECORD, DELETED, "changed"),
    (NOBODY, RECORD, DELETED, DELETED, "changed"),
    (NOBODY, DELETED, None, DELETED, "only"),
    (NOBODY, DELETED, OTHER, RECORD, "parked"),
    (NOBODY, OTHER, DELETED, RECORD, "parked"),
    (EMPLOYEE, DELETED, OTHER, DELETED, "owner"),
    (EMPLOYEE, OTHER, DELETED, OTHER, "owner"),
    (EMPLOYEE, RECORD, DELETED, RECORD, "owner"),
]


@pytest.mark.parametrize(("owners", "oa", "erp", "values", "rule"), DELETIONS)
def test_a_deletion_is_decided_by_the_records_owner(
    owners: dict[str, Side], oa: State, erp: State, values: Any, rule: str
) -> None:
    resolution = resolve(owners, RECORD, oa, erp)

    assert resolution.values == values
    assert resolution.winners["*"].rule == rule
    assert bool(resolution.parked) is (rule == "parked")


def test_a_deletion_against_a_change_is_parked_with_both() -> None:
    resolution = resolve(NOBODY, RECORD, DELETED, OTHER)

    assert resolution.parked == (Parked("*", RECORD, DELETED, OTHER),)


@pytest.mark.parametrize(
    ("known", "arriving", "expected"), [(None, 1, True), (1, 2, True), (2, 2, False), (3, 2, False)]
)
def test_only_a_higher_version_counts(known: int | None, arriving: int, expected: bool) -> None:
    assert counts(known, arriving) is expected


fields = st.dictionaries(
    st.sampled_from(["name", "department", "email", "bank_account"]), st.sampled_from(["A", "B", "C"]), max_size=4
)
states = st.one_of(st.none(), st.just(DELETED), fields)
owner_maps = st.dictionaries(
    st.sampled_from(["*", "name", "department", "bank_account"]), st.sampled_from(["oa", "erp"])
)
OPPOSITE: dict[Any, Any] = {"oa": "erp", "erp": "oa", None: None}


@given(owner_maps, fields, states, states)
def test_swapping_the_sides_swaps_only_the_names(
    owners: dict[str, Side], base: dict[str, str], oa: State, erp: State
) -> None:
    one = resolve(owners, base, oa, erp)
    two = resolve({name: OPPOSITE[side] for name, side in owners.items()}, base, erp, oa)

    assert one.values == two.values
    assert one.winners == {name: Winner(OPPOSITE[winner.system], winner.rule) for name, winner in two.winners.items()}
    assert one.parked == tuple(Parked(p.field, p.base, p.erp, p.oa) for p in two.parked)


@given(owner_maps, fields, states, states)
def test_resolving_the_answer_again_changes_nothing(
    owners: dict[str, Side], base: dict[str, str], oa: State, erp: State
) -> None:
    first = resolve(owners, base, oa, erp)
    agreed: Any = {} if first.values is DELETED else first.values

    again = resolve(owners, agreed, first.values, first.values)

    assert again.values == first.values
    assert not again.parked


@given(owner_maps, fields, states, states)
def test_a_value_is_never_invented_and_never_lost_without_a_deletion(
    owners: dict[str, Side], base: dict[str, str], oa: State, erp: State
) -> None:
    resolution = resolve(owners, base, oa, erp)

    said = [part for part in (base, oa, erp) if isinstance(part, dict)]
    if resolution.values is DELETED:
        assert DELETED in (oa, erp)
        return
    assert isinstance(resolution.values, dict)
    for name, value in resolution.values.items():
        assert value in [part.get(name) for part in said]
    if DELETED not in (oa, erp):
        parked = {p.field for p in resolution.parked}
        assert {name for part in said for name in part} - parked <= set(resolution.values)
