"""A tensor in one line: what is said, and what is loud."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import dtype_of
from tui_params.core.numbers.summary import Summary
from tui_params.core.tensor_summary import one_line


def line(array: NDArray[np.generic], *, numel: int | None = None, ascii_only: bool = False, name: str = "") -> str:
    dtype = dtype_of(array)
    figures = Summary.of(np.ascontiguousarray(array).reshape(-1).view(np.uint8), dtype, array.size).figures(
        array.size if numel is None else numel
    )
    return one_line(name, array.shape, dtype, figures, ascii_only=ascii_only)


def test_what_the_issue_shows() -> None:
    values = np.random.default_rng(0).normal(0, 0.02, (64, 32)).astype(ml_dtypes.bfloat16)
    values[0, :3] = np.nan
    words = line(values)
    assert words.startswith("[64, 32] bf16 x∈[-0.0")
    assert " μ=" in words
    assert words.endswith(" 3 NaN")
    assert line(values, name="w\x1b").startswith("w\\x1b [64, 32] bf16 ")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((0, 3), np.float32), "[0, 3] f32 no elements"),
        (np.float32(3.5) * np.ones(()), "[] f64 x=3.5"),
        (np.zeros(4, np.int8), "[4] i8 x=0"),
        (np.array([np.nan, np.inf, -np.inf]), "[3] f64 nothing finite 1 NaN 1 +Inf 1 -Inf"),
        (np.array([1, 2j], np.complex64), "[2] c64 x∈[0 █   ▄    2] μ=0.75 σ=0.8292 (real and imaginary parts)"),
    ],
)
def test_edges(array: NDArray[np.generic], words: str) -> None:
    assert line(array) == words


def test_a_sample_says_so_and_ascii_is_ascii() -> None:
    values = np.arange(100, dtype=np.float32)
    assert line(values, numel=1000).endswith(" (sampled)")
    assert line(values, ascii_only=True) == "[100] f32 x in [0 @@@@@@@@ 99] mean=49.5 std=28.87"
