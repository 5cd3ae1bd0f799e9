"""Grids of values: what is read, and how it reads."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.factories_memory import MemorySource
from tui_params.core.reading.grid import Grid, fit_grid, read_grid
from tui_params.errors import ReadError, SliceError


def grid_of(array: Any, expression: str = "", rows: int = 4, columns: int = 6, digits: int = 4) -> Grid:
    source = MemorySource({"x": np.asarray(array)})
    grid = read_grid(source, source.find("x"), expression, rows, columns, digits)
    assert source.elements_read == sum(map(len, grid.cells)), "read more than is shown"
    return grid


def rows_of(grid: Grid) -> list[str]:
    return [" ".join(row) for row in grid.cells]


def test_matrix_is_cut_to_what_fits_before_it_is_read() -> None:
    grid = grid_of(np.arange(4096 * 1024, dtype=np.int32).reshape(4096, 1024), "", 3, 4)
    assert grid.caption == "[0:3, 0:4] of [4096, 1024]"
    assert grid.row_labels == ("0", "1", "2")
    assert grid.column_labels == ("0", "1", "2", "3")
    assert rows_of(grid) == ["   0    1    2    3", "1024 1025 1026 1027", "2048 2049 2050 2051"]
    assert grid.flags[0] == ("zero", "", "", "")


def test_labels_are_the_real_indices() -> None:
    grid = grid_of(np.arange(200).reshape(10, 20), "[-3:, ::-5]")
    assert [label.strip() for label in grid.row_labels] == ["7", "8", "9"]
    assert grid.column_labels == ("19", "14", "9", "4")
    assert rows_of(grid)[0] == "159 154 149 144"


def test_vector_is_laid_out_in_rows() -> None:
    grid = grid_of(np.arange(1000), "3:", 3, 12)
    assert grid.caption == "[3:33] of [1000]"
    assert grid.row_labels == (" 3", "13", "23")
    assert grid.column_labels[:3] == ("+0", "+1", "+2")
    assert [cell.strip() for cell in grid.cells[1]] == [str(index) for index in range(13, 23)]


def test_vector_with_a_step_and_a_short_last_row() -> None:
    grid = grid_of(np.arange(20), "::-3", 4, 5)
    assert grid.row_labels == ("19", " 4")
    assert grid.column_labels == ("+0", "-3", "-6", "-9", "-12")
    assert [len(row) for row in grid.cells] == [5, 2]
    assert rows_of(grid)[1].split() == ["4", "1"]


def test_scalar_and_indexed_element() -> None:
    assert grid_of(np.float32(0.5)).caption == "scalar"
    assert grid_of(np.float32(0.5)).cells == (("0.5",),)
    grid = grid_of(np.arange(6).reshape(2, 3), "[1, 2]")
    assert (grid.caption, grid.cells, grid.row_labels) == ("[1, 2] of [2, 3]", (("5",),), ("",))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3), (0, 2, 3)])
def test_empty_tensor_has_no_cells(shape: tuple[int, ...]) -> None:
    grid = grid_of(np.zeros(shape))
    assert sum(map(len, grid.cells)) == 0
    assert grid.caption.endswith(", no elements")


def test_leading_dimensions_stand_at_their_first_index() -> None:
    grid = grid_of(np.arange(120).reshape(2, 3, 4, 5), "[1:]")
    assert grid.caption == "[1, 0, 0:4, 0:5] of [2, 3, 4, 5]"
    assert grid.cells[0][0] == "60"
    assert grid.plane.leading == (0, 1)


def test_floats_share_their_decimals_and_small_ones_are_never_zero() -> None:
    grid = grid_of([[0.0612, -0.001, 0.0], [3e-9, 0.05, -0.0]])
    assert [[cell.strip() for cell in row] for row in grid.cells] == [
        ["0.0612", "-0.0010", "0"],
        ["3.0e-09", "0.0500", "-0"],
    ]
    assert grid.flags == (("", "", "zero"), ("", "", "zero"))
    assert {len(cell) for row in grid.cells for cell in row} == {grid.cell_width}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 1.0], ["1.0", "1.0"]),
        ([1.5, 1.25], ["1.50", "1.25"]),
        ([1 / 3, 2 / 3], ["0.3333", "0.6667"]),
        ([123456.0, 1.0], ["123456", "1"]),
        ([1e7, 2.5], ["1.000e+07", "2.500e+00"]),
        ([1e-5, -2e-5], ["1.000e-05", "-2.000e-05"]),
        ([1e300, 1.0], ["1.000e+300", "1.000e+00"]),
        ([math.nan, math.inf, -math.inf, 0.5], ["NaN", "+Inf", "-Inf", "0.5"]),
        ([math.nan], ["NaN"]),
        ([0.0, 0.0], ["0", "0"]),
    ],
)
def test_float_text(values: list[float], expected: list[str]) -> None:
    assert [cell.strip() for cell in grid_of(values).cells[0]] == expected


def test_flags_mark_what_is_not_finite() -> None:
    assert grid_of([math.nan, math.inf, -math.inf, 0.0, 2.0]).flags == (("nan", "inf", "inf", "zero", ""),)


@pytest.mark.parametrize(
    ("array", "expected", "flags"),
    [
        (np.array([2**63 - 1, -(2**63)]), [str(2**63 - 1), str(-(2**63))], ("", "")),
        (np.array([2**64 - 1], np.uint64), [str(2**64 - 1)], ("",)),
        (np.array([True, False]), ["1", "0"], ("", "zero")),
        (np.array([1.5, math.nan], ml_dtypes.bfloat16), ["1.5", "NaN"], ("", "nan")),
        (np.array([448.0, 0.25], ml_dtypes.float8_e4m3fn), ["448.0", "0.2"], ("", "")),
        (np.array([2.0, 0.5], ml_dtypes.float8_e8m0fnu), ["2.0", "0.5"], ("", "")),
        (np.array([6.0, -0.5], ml_dtypes.float4_e2m1fn), ["6.0", "-0.5"], ("", "")),
        (np.array([1 + 2j, 0.5 - 0.25j, 0], np.complex64), ["1.00+2.00j", "0.50-0.25j", "0+0j"], ("", "", "zero")),
        (np.array([complex(math.nan, 1), complex(1, -math.inf)]), ["NaN+1.0j", "1.0-Infj"], ("nan", "inf")),
    ],
)
def test_every_kind_of_element(array: Any, expected: list[str], flags: tuple[str, ...]) -> None:
    grid = grid_of(array)
    assert [cell.strip() for cell in grid.cells[0]] == expected
    assert grid.flags == (flags,)


@pytest.mark.filterwarnings("error")
def test_signalling_nan_is_shown_without_a_warning() -> None:
    signalling = np.array([0x7F800001, 0], np.uint32).view(np.float32)
    assert grid_of(signalling).flags == (("nan", "zero"),)


FLOATS = st.floats(width=32)


@settings(max_examples=100)
@example(np.array([[0.5, 10.0]], np.float32), 2)  # half of the last digit is even, and would be rounded to 0
@given(arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(0, 5)), elements=FLOATS), st.integers(2, 8))
def test_what_is_shown_is_near_what_is_there(array: np.ndarray, digits: int) -> None:
    grid = grid_of(array, "", 5, 5, digits)
    finite = np.abs(array[np.isfinite(array)])
    largest = float(finite.max(initial=0))
    for value, text, flag in zip(array.ravel(), sum(grid.cells, ()), sum(grid.flags, ()), strict=True):
        if math.isfinite(value):
            assert abs(float(text) - float(value)) <= 0.51 * largest * 10.0 ** (1 - digits)
            assert (float(text) == 0) == (value == 0) == (flag == "zero")
        else:
            assert flag in ("nan", "inf")


def test_fit_grid_takes_as_many_columns_as_the_width_holds() -> None:
    small = np.arange(10_000).reshape(100, 100) % 7
    source = MemorySource({"small": small, "large": small + 10**17})
    for width in (1, 20, 47, 80, 200):
        for name in ("small", "large"):
            grid = fit_grid(source, source.find(name), "", 3, width)
            assert grid.width <= width or len(grid.column_labels) == 1
    assert len(fit_grid(source, source.find("large"), "", 3, 80).column_labels) == 3


def test_errors_pass_through() -> None:
    source = MemorySource({"x": np.zeros((2, 2))}, broken={"x": "the disk is gone"})
    with pytest.raises(ReadError, match="the disk is gone"):
        read_grid(source, source.find("x"), "", 2, 2)
    with pytest.raises(SliceError, match="3 indices"):
        read_grid(source, source.find("x"), "0, 0, 0", 2, 2)
