"""The next element in a range: against a search of all values, for every element type."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_memory import MemorySource
from tests.factories_numbers import READABLE, BytesSource, exact_values, pack_codes, part_of, special_codes
from tui_params.core.dtypes import DType
from tui_params.core.reading.between import Range, find_between
from tui_params.core.tensor import describe
from tui_params.errors import StoppedError

EDGES = (-1.7e308, -1e300, -300.5, -2.0, -1.0, -1e-3, -0.0, 0.0, 1e-40, 0.5, 1.0, 1.5, 3.0, 127.0, 2.0**53, 2.0**63)


def is_in(value: Fraction | float | None, wanted: Range) -> bool:
    if not isinstance(value, Fraction):
        return False
    size = abs(value) if wanted.is_magnitude else value
    return size >= wanted.low and (size < wanted.high or (wanted.is_closed and size == wanted.high))


@pytest.mark.parametrize("dtype", READABLE, ids=str)
@pytest.mark.parametrize("is_magnitude", [False, True])
@pytest.mark.parametrize("is_closed", [False, True])
def test_every_type(dtype: DType, is_magnitude: bool, is_closed: bool) -> None:
    part = part_of(dtype)
    codes = special_codes(part)
    codes = codes[: len(codes) // 2 * 2]
    values = exact_values(codes, part)
    each = 2 if dtype.is_complex else 1
    elements = [values[place : place + each] for place in range(0, len(values), each)]
    info = describe("a", (len(elements),), dtype)
    source = BytesSource({info: pack_codes(codes, part.bits)}, step=8)
    for low, high in itertools.pairwise(EDGES):
        wanted = Range(low, high, is_closed, is_magnitude)
        expected = [place for place, some in enumerate(elements) if any(is_in(value, wanted) for value in some)]
        found = []
        here: tuple[int, ...] | None = None
        for _ in expected:
            here = find_between(source, info, wanted, here)
            assert here is not None
            found.append(here[0])
        assert found == expected
        assert find_between(source, info, wanted, here) == ((expected[0],) if expected else None)
        last = find_between(source, info, wanted, is_backwards=True)
        assert last == ((expected[-1],) if expected else None)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=60), st.data())
@settings(max_examples=200)
def test_it_goes_around_from_anywhere(values: list[int], data: st.DataObject) -> None:
    source = MemorySource({"a": np.array(values, np.int32)}, step=8)
    here = data.draw(st.integers(0, len(values) - 1))
    wanted = Range(0.5, 2.0, True)
    for step in (1, -1):
        places = [(here + step * far) % len(values) for far in range(1, len(values) + 1)]
        expected = next((place for place in places if values[place] in (1, 2)), None)
        found = find_between(source, source.find("a"), wanted, (here,), is_backwards=step < 0)
        assert found == (None if expected is None else (expected,))


def test_scalars_empty_tensors_and_many_dimensions() -> None:
    source = MemorySource({"s": np.array(2.0), "e": np.zeros((3, 0)), "d": np.arange(24.0).reshape(2, 3, 4)})
    wanted = Range(2.0, 3.0, False)
    assert find_between(source, source.find("s"), wanted, ()) == ()
    assert find_between(source, source.find("e"), wanted) is None
    assert find_between(source, source.find("d"), Range(17.0, 17.0, True), (1, 2, 3)) == (1, 1, 1)


def test_it_tells_how_far_it_is_and_can_be_stopped() -> None:
    source = MemorySource({"a": np.zeros(100_000, np.float32)})
    told: list[int] = []
    assert find_between(source, source.find("a"), Range(1.0, 2.0, True), (10,), progress=told.append) is None
    assert told[-1] == 100_000
    assert told == sorted(told)
    stops: list[Any] = [False, False, True]
    with pytest.raises(StoppedError):
        find_between(source, source.find("a"), Range(1.0, 2.0, True), should_stop=lambda: stops.pop(0))
