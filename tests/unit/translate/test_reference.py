"""The reference is the same for one key, different for two, and only of characters every ERP takes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.translate import make_reference

companies = st.one_of(st.sampled_from(["C01", "c01", "C-1", "C", "1"]), st.from_regex(r"\A[A-Za-z0-9_-]{1,32}\Z"))
numbers = st.one_of(
    st.sampled_from(["1", "1-V1", "V1", "1-2", "1-V1-R", "EXP2025-0017", "exp2025-0017", "报销1", "费用1"]),
    st.text("A-V1xR2报", min_size=1, max_size=64),
)
keys = st.tuples(
    companies, numbers, st.one_of(st.integers(1, 20), st.integers(1, 2**53 - 1)), st.sampled_from(["post", "reverse"])
)


def test_a_plain_number_stays_readable() -> None:
    assert make_reference("C01", "EXP2025-0017", 1, "post") == "C01-EXP2025-0017-V1"


def test_a_reversal_has_its_own_reference() -> None:
    assert make_reference("C01", "EXP2025-0017", 1, "reverse") == "C01-EXP2025-0017-V1-R"


@pytest.mark.parametrize("number", ["报销2025-0017", "exp2025-0017", "EXP 2025#17", "E" * 64])
def test_other_characters_and_long_numbers_are_shortened_with_a_hash(number: str) -> None:
    reference = make_reference("C01", number, 1, "post")

    assert len(reference) <= 32
    assert re.fullmatch(r"[A-Z0-9-]+", reference)
    assert reference == make_reference("C01", number, 1, "post")


def test_a_reference_shorter_than_the_hash_is_refused() -> None:
    with pytest.raises(AssertionError):
        make_reference("C01", "EXP1", 1, "post", 19)


@settings(max_examples=2000, deadline=None)
@given(st.lists(keys, min_size=2, max_size=12, unique=True), st.integers(20, 64))
def test_different_documents_never_share_a_reference(
    different: list[tuple[str, str, int, str]], max_length: int
) -> None:
    references = [make_reference(c, n, v, p, max_length) for c, n, v, p in different]  # type: ignore[arg-type]

    assert len(set(references)) == len(different)
    assert all(len(reference) <= max_length and re.fullmatch(r"[A-Z0-9-]+", reference) for reference in references)
