"""The figures that follow from singular values, against their formulas in numpy; and the first values by Krylov."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tui_params.core.numbers.spectrum.extent import Extent, scaled
from tui_params.core.numbers.spectrum.krylov import leading
from tui_params.core.numbers.spectrum.spectrum import derived
from tui_params.errors import ReadError


def test_the_figures_are_those_of_their_formulas() -> None:
    values = np.array([5.0, 2.0, 1.0, 0.25])
    norm = float(np.linalg.norm(values))
    found = derived(4, 9, values.tolist(), norm, "svd", 1e-12)
    share = values / values.sum()
    assert found.rank == found.count == 4
    assert found.norm == 5
    assert found.stable_rank == pytest.approx(norm**2 / 25)
    assert found.participation == pytest.approx((values**2).sum() ** 2 / (values**4).sum())
    assert found.entropy_rank == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    assert found.condition == 20
    assert not found.is_least_condition
    assert found.shares() == pytest.approx(tuple((values**2).cumsum() / norm**2))


def test_what_lies_below_the_floor_is_no_value() -> None:
    found = derived(3, 3, [1.0, 0.5, 1e-17], 1.0, "gram", 1e-8)
    assert found.rank == 2
    assert found.condition == 1e8
    assert found.is_least_condition


def test_a_matrix_of_zeros_has_no_figures() -> None:
    found = derived(3, 2, [0.0, 0.0], 0.0, "svd", 0.0)
    assert (found.rank, found.norm, found.stable_rank, found.condition, found.participation) == (0, 0, None, None, None)


def test_values_beyond_their_own_squares() -> None:
    found = derived(2, 2, [3e200, 1e200], 3.16e200, "svd", 0.0)
    assert found.condition == pytest.approx(3)
    assert found.stable_rank == pytest.approx(1.109, rel=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
def test_every_residual_covers_its_error(dtype: type) -> None:
    random = np.random.default_rng(0)
    whole: NDArray[Any] = (random.normal(size=(500, 320)) @ np.diag(np.arange(1, 321.0) ** -0.5)).astype(dtype)
    if np.iscomplexobj(whole):
        whole = whole * np.exp(1j * random.normal(size=whole.shape)).astype(dtype)
    true = np.linalg.svd(whole.astype(np.complex128), compute_uv=False)
    found = leading(lambda some: whole.conj().T @ (whole @ some), 320, whole.dtype)
    nearest = np.abs(true[None] - found.values[:, None]).min(1)
    assert (nearest <= found.residuals).all()
    assert found.asymmetry < 1e-4
    assert np.abs(found.values[:16] / true[:16] - 1).max() < 2e-2


def test_a_low_rank_is_not_made_up() -> None:
    random = np.random.default_rng(0)
    whole = (random.normal(size=(400, 5)) @ random.normal(size=(5, 300))).astype(np.float32)
    found = leading(lambda some: whole.T @ (whole @ some), 300, whole.dtype)
    true = np.linalg.svd(whole, compute_uv=False)
    assert found.values[:5] == pytest.approx(true[:5], rel=1e-5)
    assert found.values[5] < 1e-2 * found.values[0]
    assert (found.residuals[5:] >= found.values[5:] / 2).all()


def test_a_matrix_that_changes_between_products_is_noticed() -> None:
    random = np.random.default_rng(0)
    wholes = [random.normal(size=(400, 300)).astype(np.float32) for _ in range(8)]

    def multiply(some: NDArray[Any]) -> NDArray[Any]:
        whole = wholes.pop()
        product: NDArray[Any] = whole.T @ (whole @ some)
        return product

    assert leading(multiply, 300, np.dtype("f4")).asymmetry > 1e-2


@pytest.mark.parametrize("factor", [1.0, 1e-40, 1e36])
def test_the_extent_of_small_and_large_ones(factor: float) -> None:
    block = (np.arange(-6, 6).reshape(3, 4) * factor).astype(np.float32)
    extent = Extent()
    extent.add(block[:1])
    extent.add(block[1:])
    extent.finish()
    assert extent.norm() == pytest.approx(float(np.linalg.norm(block.astype(np.float64))), rel=1e-6)
    moved = scaled(block, extent.exponent)
    assert 2.0**-31 < np.abs(moved).max() < 2.0**31


def test_what_is_not_finite_is_counted() -> None:
    extent = Extent()
    extent.add(np.array([[1, np.nan], [np.inf, -np.inf]], np.float32))
    with pytest.raises(ReadError, match="1 NaN and 2 infinite among 4 values: a matrix with such values has no singul"):
        extent.finish()
