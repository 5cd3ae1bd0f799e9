"""Values as CSV read back to the same float64."""

from __future__ import annotations

import csv
import io
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tests.factories_memory import MemorySource
from tui_params.core.export import values_csv
from tui_params.core.export.values_csv import csv_of
from tui_params.core.window import parse_window
from tui_params.errors import ReadError, WriteError


def text_of(array: Any, expression: str = "", **options: Any) -> str:
    source = MemorySource({"x": np.asarray(array)}, **options)
    info = source.find("x")
    contents = csv_of(source, info, parse_window(expression, info.shape))
    return b"".join(bytes(piece) for piece in contents.pieces).decode()


def test_forms() -> None:
    assert text_of(np.array([[1, 2.5], [np.nan, -np.inf]], np.float32)) == "1.0,2.5\nnan,-inf\n"
    assert text_of(np.array([0.1], np.float32)) == "0.10000000149011612\n"
    assert text_of(np.array([1, -2], np.int8)) == "1\n-2\n"
    assert text_of(np.array(7, np.int64)) == "7\n"
    assert text_of(np.array([[True, False]])) == "1,0\n"
    assert text_of(np.array([1 + 2j, complex(np.nan, -np.inf)], np.complex64)) == "1+2j\nnan-infj\n"
    assert text_of(np.array([2**64 - 1], np.uint64)) == "18446744073709551615\n"
    assert text_of(np.array([0.5, -0.0], ml_dtypes.bfloat16)) == "0.5\n-0.0\n"
    assert text_of(np.zeros((3, 0))) == text_of(np.zeros((0, 3))) == ""
    assert text_of(np.arange(24).reshape(2, 3, 4), "[1, ::-1, 2:]") == "22,23\n18,19\n14,15\n"


@given(arrays(np.float64, array_shapes(max_dims=2, max_side=9)), st.integers(1, 30))
def test_any_values_in_pieces_of_any_size(array: Any, at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values_csv, "_AT_ONCE", at_once)
        rows = list(csv.reader(io.StringIO(text_of(array))))
    back = np.array([[float(cell) for cell in row] for row in rows])
    wanted = array.reshape(len(array), -1)
    assert back.shape == wanted.shape
    assert np.array_equal(back, wanted, equal_nan=True)


def test_what_is_no_table_or_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WriteError, match="at most 2 dimensions, and this has 3"):
        text_of(np.zeros((2, 2, 2)))
    monkeypatch.setattr(values_csv, "MOST_VALUES", 6)
    assert text_of(np.zeros(6)).count("\n") == 6
    with pytest.raises(WriteError, match="7 values are too many"):
        text_of(np.zeros(7))
    with pytest.raises(ReadError, match="it is gone"):
        text_of(np.zeros(6), unreadable={"x": "it is gone"})
