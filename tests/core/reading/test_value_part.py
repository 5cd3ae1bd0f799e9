"""Values and bits of a part of a plane are those of the array, also of a transposed plane."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_memory import MemorySource, dtype_of
from tui_params.core.reading.edges import column_edges, row_edges
from tui_params.core.reading.value_part import bits_of, read_element, read_part
from tui_params.core.window import parse_window, plane, plane_of
from tui_params.errors import SliceError

CUBE = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


@settings(max_examples=60, deadline=None)
@given(
    st.permutations(range(4)),
    st.tuples(*(st.integers(0, size - 1) for size in CUBE.shape)),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(1, 9),
)
def test_a_part_of_any_plane_has_the_values_of_the_array_at_random(
    axes: list[int], at: tuple[int, ...], row: int, column: int, most: int
) -> None:
    source = MemorySource({"a": CUBE})
    rows, columns, *leading = axes
    view = plane_of(parse_window("", CUBE.shape), rows, columns)
    view = type(view)(view.window, rows, columns, view.leading, tuple(at[axis] for axis in view.leading))
    part = read_part(source, source.find("a"), view, row, most, column, most)
    index: list[Any] = list(at)
    index[rows], index[columns] = slice(None), slice(None)
    table = CUBE[tuple(index)] if rows < columns else CUBE[tuple(index)].T
    expected = table[row : row + most, column : column + most]
    assert [list(values) for values in part.values] == ([] if not expected.size else expected.tolist())
    assert len(leading) == 2
    if part.values:
        assert part.holds(row, column)
        assert part.value(row, column) == expected[0, 0]
        assert not part.holds(row - 1, column)
        assert part.bits[0][0] == int(expected[0, 0].view(np.uint32))


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (np.float32(1.0), 0x3F800000),
        (np.float64(-0.0), 1 << 63),
        (np.float16(1.5), 0x3E00),
        (ml_dtypes.bfloat16(-2.0), 0xC000),
        (ml_dtypes.float8_e4m3fn(448), 0x7E),
        (ml_dtypes.float4_e2m1fn(-0.5), 0x9),
        (ml_dtypes.int4(-1), 0xF),
        (np.int8(-1), 0xFF),
        (np.int64(-2), (1 << 64) - 2),
        (np.uint32(7), 7),
        (np.bool_(True), 1),
        (np.complex64(1 + 2j), 0x400000003F800000),
        (np.complex128(1 + 2j), 0x40000000000000003FF0000000000000),
    ],
    ids=str,
)
def test_bits_are_those_of_the_value(value: Any, bits: int) -> None:
    array = np.array([value])
    source = MemorySource({"a": array})
    assert bits_of(array, dtype_of(array)) == [bits]
    assert read_element(source, source.find("a"), (0,)).bits == bits


def test_a_scalar_and_an_empty_tensor_are_read() -> None:
    source = MemorySource({"a": np.array(7), "e": np.zeros((0, 3))})
    assert read_element(source, source.find("a"), ()).value == 7
    assert read_part(source, source.find("a"), plane(parse_window("", ())), 0, 5, 0, 5).values == ((7,),)
    assert read_part(source, source.find("e"), plane(parse_window("", (0, 3))), 0, 5, 0, 5).values == ()


@pytest.mark.parametrize("kind", [np.float32, np.float64, ml_dtypes.bfloat16, np.int32, np.uint8, np.bool_])
def test_edges_are_what_numpy_says_of_the_finite_values(kind: Any) -> None:
    random = np.random.default_rng(0)
    array = (random.normal(size=(70, 90)) * 50).astype(np.float32)
    if np.dtype(kind).kind not in "iub":
        array[3] = np.nan
        array[:, 5] = np.inf
        array[9, 9] = -np.inf
    with np.errstate(invalid="ignore"):
        array = np.abs(array).astype(kind) if kind is np.uint8 else array.astype(kind)
    source = MemorySource({"a": array})
    info = source.find("a")
    for transposed in (False, True):
        table = array.T if transposed else array
        view = plane_of(parse_window("", array.shape), *((1, 0) if transposed else (0, 1)))
        told: list[tuple[int, int]] = []

        def progress(done: int, total: int, told: list[tuple[int, int]] = told) -> None:
            told.append((done, total))

        rows = row_edges(source, info, view, 2, 10, progress)
        assert told[-1][0] == told[-1][1]
        columns = column_edges(source, info, view, 4, 7)
        assert len(rows) == 10
        assert len(columns) == 7
        lines = [*(table[2 + place] for place in range(10)), *(table[:, 4 + place] for place in range(7))]
        for edge, line in zip((*rows, *columns), lines, strict=True):
            plain = line.astype(np.float64)
            finite = plain[np.isfinite(plain)]
            assert edge.not_finite == plain.size - finite.size
            if not finite.size:
                assert (edge.low, edge.high, edge.mean) == (None, None, None)
                continue
            assert (edge.low, edge.high) == (finite.min(), finite.max())
            assert edge.mean == pytest.approx(finite.mean(), rel=1e-12, abs=1e-12)


def test_complex_numbers_have_no_edges() -> None:
    source = MemorySource({"a": np.ones((3, 3), np.complex64)})
    with pytest.raises(SliceError, match="no order"):
        row_edges(source, source.find("a"), plane(parse_window("", (3, 3))), 0, 1)
