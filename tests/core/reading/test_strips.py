"""Strips and runs: every element once, in row-major order, whatever the blocks of the source are."""

from __future__ import annotations

import functools
import operator
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tests.factories_numbers import BytesSource, pack_codes
from tui_params.core.dtypes import from_torch
from tui_params.core.reading.strips import PART, runs, strips
from tui_params.core.tensor import TensorInfo, describe
from tui_params.errors import ReadError, StoppedError


class StridedSource(MemorySource):
    """Says of its tensors that they are views, so that their blocks may come in any order."""

    def __init__(self, array: NDArray[Any]) -> None:
        super().__init__({"a": array})

    def find(self, name: str) -> TensorInfo:
        info = super().find(name)
        return TensorInfo(info.name, info.shape, info.dtype, info.numel, info.nbytes, stride=(1,) * len(info.shape))


shapes = st.lists(st.integers(0, 9), max_size=4).map(tuple)


@given(shapes, st.integers(1, 40), st.integers(1, 300), st.booleans())
@settings(max_examples=300)
def test_strips_are_whole_rows_or_parts_of_one(shape: tuple[int, ...], step: int, most: int, is_strided: bool) -> None:
    array = np.arange(prod(shape), dtype=np.float32).reshape(shape)
    source = StridedSource(array) if is_strided else MemorySource({"a": array}, step=8 * step)
    width = shape[-1] if shape else 1
    at = 0
    told: list[int] = []
    for strip in strips(source, source.find("a"), most=most, progress=told.append):
        assert strip.first == at
        assert strip.values.ravel().tolist() == list(range(at, at + strip.values.size))
        assert strip.values.shape[1] == width or (len(strip.values) == 1 and at % width + strip.values.size <= width)
        at += strip.values.size
    assert at == array.size
    assert told[-1:] == ([array.size] if array.size else [])


@pytest.mark.parametrize("step", [8, 104, 1000, 5000])
def test_a_long_row_is_cut_where_a_group_ends(step: int) -> None:
    source = MemorySource({"a": np.arange(3 * 1000.0).reshape(3, 1000)}, step=step)
    found = [(strip.first % 1000, strip.values.shape) for strip in strips(source, source.find("a"), most=512)]
    assert all(column % PART == 0 for column, _ in found)
    assert sum(prod(shape) for _, shape in found) == 3000


@given(shapes, st.integers(1, 40), st.integers(1, 300), st.booleans(), st.booleans(), st.data())
@settings(max_examples=300)
def test_runs_are_a_part_of_the_tensor(
    shape: tuple[int, ...], step: int, most: int, is_strided: bool, is_backwards: bool, data: st.DataObject
) -> None:
    array = np.arange(prod(shape), dtype=np.float32).reshape(shape)
    source = StridedSource(array) if is_strided else MemorySource({"a": array}, step=8 * step)
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, array.size)] * 2)))
    if start == stop:
        return
    found = [
        (run.first, run.values.ravel().tolist())
        for run in runs(source, source.find("a"), start, stop, is_backwards=is_backwards, most=most)
    ]
    ordered = found[::-1] if is_backwards else found
    assert [value for _, values in ordered for value in values] == list(range(start, stop))
    assert all(first == values[0] for first, values in found if values)


def test_packed_elements_come_one_by_one() -> None:
    dtype = from_torch("float4_e2m1fn")
    assert dtype is not None
    codes = [place % 16 for place in range(45)]
    info = describe("a", (3, 15), dtype)
    source = BytesSource({info: pack_codes(codes, 4)}, step=8)
    values = np.concatenate([strip.values.ravel() for strip in strips(source, info)])
    assert values.view(np.uint8).tolist() == codes
    some = [run.values.view(np.uint8).ravel().tolist() for run in runs(source, info, 5, 21)]
    assert functools.reduce(operator.iadd, some, []) == codes[5:21]


def test_what_goes_wrong_is_one_error() -> None:
    source = MemorySource({"a": np.ones((4, 4), np.float32)}, broken={"a": "the disk is gone"})
    for made in (strips(source, source.find("a")), runs(source, source.find("a"), 0, 16)):
        with pytest.raises(ReadError, match="the disk is gone"):
            list(made)
    source = MemorySource({"a": np.ones((4, 4), np.float32)})
    for made in (
        strips(source, source.find("a"), should_stop=lambda: True),
        runs(source, source.find("a"), 0, 16, should_stop=lambda: True),
    ):
        with pytest.raises(StoppedError):
            list(made)


def test_a_source_that_ends_early_is_told_on() -> None:
    source = MemorySource({"a": np.ones((4, 4), np.float32)})
    info = TensorInfo("a", (5, 4), source.find("a").dtype, 20, 80)
    with pytest.raises(ReadError, match="ended after 16 of 20"):
        list(strips(source, info))
    with pytest.raises(ReadError, match="ended after 16 of 20"):
        list(runs(source, info, 0, 20))
