"""Adding to all numbers of an array at once is adding to each."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.shifted import shifted


@given(st.sampled_from("iq"), st.lists(st.integers(0, 2**30)), st.integers(0, 2**30 - 1))
def test_each_is_shifted(typecode: str, values: list[int], by: int) -> None:
    before = array(typecode, values)
    assert shifted(before, by).tolist() == [value + by for value in values]
    assert before.tolist() == values


@given(st.lists(st.integers(0, 2**61)), st.integers(0, 2**61))
def test_the_largest_offsets_are_no_matter(values: list[int], by: int) -> None:
    assert shifted(array("q", values), by).tolist() == [value + by for value in values]
