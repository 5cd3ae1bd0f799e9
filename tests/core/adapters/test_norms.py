"""Norms of products of factors against the products themselves in float64."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.adapters import factors as module
from tui_params.core.adapters.factors import Factors, NoNormError
from tui_params.core.adapters.norms import Norm, norm_of_product
from tui_params.errors import ReadError, StoppedError

DTYPES: tuple[Any, ...] = (np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn)


def product(left: NDArray[Any], right: NDArray[Any]) -> Norm:
    """The norm of ``left @ right`` of two arrays, read from a source."""
    source = MemorySource({"b": left, "a": right})
    factors = Factors(source)
    return norm_of_product(factors.gram(source.find("b"), 1), factors.gram(source.find("a"), 0))


def formed(left: NDArray[Any], right: NDArray[Any]) -> float:
    one, two = left.astype(np.float64), right.astype(np.float64)
    return float(np.linalg.norm(one @ (two.reshape(two.shape[0], -1) if two.ndim > 2 else two)))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("scale", [1.0, 2.0**-6, 64.0])
def test_a_product_is_never_formed_and_has_its_norm(dtype: Any, scale: float) -> None:
    generator = np.random.default_rng(0)
    left = (generator.normal(size=(37, 5)) * scale).astype(dtype)
    right = generator.normal(size=(5, 53)).astype(dtype)
    norm = product(left, right)
    assert norm.value == pytest.approx(formed(left, right), rel=1e-13)
    assert not norm.is_bound


@settings(deadline=None)
@given(st.integers(0, 6), st.integers(0, 9), st.integers(0, 9), st.integers(0, 1 << 30))
def test_any_shape_has_a_norm(rank: int, outputs: int, inputs: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    left, right = generator.normal(size=(outputs, rank)), generator.normal(size=(rank, inputs))
    norm = product(left, right)
    expected = formed(left, right)
    assert norm.value >= expected * (1 - 1e-9) if norm.is_bound else norm.value == pytest.approx(expected, rel=1e-4)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    # Each block is of another magnitude, some are zeros.
    left = generator.normal(size=(300, 4)) * np.repeat(10.0 ** generator.integers(-90, 90, 30), 10)[:, None]
    left[20:60] = 0.0
    right = generator.normal(size=(4, 3, 5, 2)).astype(np.float32)
    expected = formed(left, right)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert product(left, right).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("exponent", [-1_000, -300, 300, 900])
def test_magnitudes_whose_squares_leave_float64(exponent: int) -> None:
    generator = np.random.default_rng(2)
    left, right = generator.normal(size=(6, 2)), generator.normal(size=(2, 7))
    norm = product(np.ldexp(left, exponent), np.ldexp(right, -exponent))
    assert norm.value == pytest.approx(formed(left, right), rel=1e-13)


def test_the_smallest_floats_are_not_taken_for_zeros() -> None:
    left = np.full((3, 1), 2.0**-133, ml_dtypes.bfloat16)
    right = np.full((1, 3), 2.0**-149, np.float32)
    assert product(left, right).value == 3 * 2.0**-282


def test_what_float64_cannot_hold_is_no_number() -> None:
    huge = product(np.full((2, 1), 1e300), np.full((1, 2), 1e300))
    with pytest.raises(NoNormError, match="beyond float64"):
        _ = huge.value
    tiny = product(np.full((2, 1), 1e-300), np.full((1, 2), 1e-300))
    with pytest.raises(NoNormError, match="beyond float64"):
        _ = tiny.value


def test_zeros_have_the_norm_zero() -> None:
    norm = product(np.zeros((4, 2), np.float32), np.ones((2, 4), np.float32))
    assert (norm.value, norm.is_bound) == (0.0, False)


def test_what_cancels_out_is_an_upper_bound() -> None:
    generator = np.random.default_rng(3)
    column, row = generator.normal(size=(40, 1)), generator.normal(size=(1, 40))
    # The second product takes back the first but for a rest that the Gram matrices cannot resolve.
    left, right = np.hstack([column, column * (1 + 1e-12)]), np.vstack([row, -row])
    norm = product(left, right)
    assert norm.is_bound
    assert formed(left, right) <= norm.value < 1e-4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_said(value: float) -> None:
    left = np.ones((4, 2), ml_dtypes.bfloat16)
    left[3, 1] = value
    with pytest.raises(NoNormError, match="b holds values that are not finite"):
        product(left, np.ones((2, 4), np.float32))


def test_ranks_that_differ_are_said() -> None:
    with pytest.raises(NoNormError, match="ranks 2 and 3"):
        product(np.ones((4, 2)), np.ones((3, 4)))


def test_what_is_no_matrix_of_floats_is_refused() -> None:
    for array in (np.ones((2, 2), np.int8), np.ones((2, 2), ml_dtypes.float4_e2m1fn), np.ones((2, 2), np.complex64)):
        with pytest.raises(NoNormError, match="quantised, or no weight"):
            product(array, np.ones((2, 2)))
    for odd in (np.ones(3), np.array(1.0)):
        with pytest.raises(NoNormError, match="no matrix"):
            product(odd, np.ones((2, 2)))
    with pytest.raises(NoNormError, match="rank is 3,000"):
        product(np.ones((1, 3_000)), np.ones((3_000, 1)))


def test_a_factor_that_cannot_be_read_says_why() -> None:
    source = MemorySource({"a": np.ones((2, 2))}, unreadable={"a": "it is gone"})
    with pytest.raises(ReadError, match="it is gone"):
        Factors(source).gram(source.find("a"), 0)


def test_the_work_is_given_up_between_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 4)
    source = MemorySource({"a": np.ones((2, 100))})
    asked: list[None] = []

    def should_stop() -> bool:
        asked.append(None)
        return len(asked) > 3

    with pytest.raises(StoppedError):
        Factors(source, should_stop).gram(source.find("a"), 0)
    assert source.elements_read == 12


def test_memory_is_bounded_by_blocks() -> None:
    source = MemorySource({"a": np.ones((4, 1 << 20), np.float16)})
    Factors(source).gram(source.find("a"), 0)
    assert max(window.numel for window in source.windows) <= module.BLOCK
