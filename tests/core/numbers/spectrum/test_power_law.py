"""Alpha, against numbers of weightwatcher 0.7.7 on the same matrices, and against its formula, slowly."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tui_params.core.numbers.spectrum.power_law import fit


def matrix(rows: int, columns: int, power: float) -> NDArray[np.float32]:
    """A random bulk, and values that fall like k^-power; whole numbers decide, so it is the same everywhere."""
    random = np.random.default_rng(rows * 1000 + columns)
    bulk = random.integers(-1000, 1001, (rows, columns)) / 4000
    falling = np.arange(1, columns + 1) ** -power
    left = random.integers(-1000, 1001, (rows, columns)) / 577
    right = random.integers(-1000, 1001, (columns, columns)) / 577
    whole: NDArray[np.float32] = (bulk * 0.2 + (left * falling) @ right / columns).astype(np.float32)
    return whole


def values_of(whole: NDArray[np.float32]) -> list[float]:
    values: list[float] = np.linalg.svd(whole.astype(np.float64), compute_uv=False).tolist()
    return values


@pytest.mark.parametrize(
    ("shape", "power", "alpha", "distance", "sigma", "least", "tail"),
    [
        ((300, 200), 0.6, 5.853661192578544, 0.06629122240855424, 1.144018914284758, 0.6530874226160104, 18),
        ((128, 64), 1.0, 2.8904299530762065, 0.05621311385702543, 0.4125256359992159, 0.15130729537302162, 21),
        ((20, 12), 0.8, 1.5053089322728601, 0.09973619579682225, 0.16843631075762003, 0.02523693653534793, 9),
        ((25, 20), 0.8, 2.0493222117987813, 0.12744719750673628, 0.39660651679940306, 0.08455447880222523, 7),
        ((30, 19), 0.7, 1.644537759210143, 0.14533493394430202, 0.19433544641058903, 0.04370737882212045, 11),
        ((40, 8), 0.5, 1.3121451538001714, 0.22395873507231678, 0.1103599774833095, 0.03515381150785645, 8),
    ],
)
def test_the_numbers_are_those_of_weightwatcher(
    shape: tuple[int, int], power: float, alpha: float, distance: float, sigma: float, least: float, tail: int
) -> None:
    values = values_of(matrix(*shape, power))
    law, reason = fit(values, len(values))
    assert reason is None
    assert law is not None
    found = (law.alpha, law.distance, law.sigma, law.least)
    assert found == pytest.approx((alpha, distance, sigma, least), rel=1e-9)
    assert (law.tail, law.used, law.count) == (tail, shape[1], shape[1])


def test_the_slices_of_a_convolution_are_one_list() -> None:
    kernel = matrix(64, 288, 0.5).reshape(64, 32, 3, 3)
    pooled = [value for at in np.ndindex(3, 3) for value in values_of(kernel[:, :, at[0], at[1]])]
    law, _ = fit([value * sqrt(0.5) for value in pooled], len(pooled))
    assert law is not None
    assert (law.alpha, law.distance) == pytest.approx((3.335031765872298, 0.13402574864543076), rel=1e-9)
    assert (law.tail, law.count) == (115, 288)


def slow(values: list[float]) -> tuple[float, float]:
    """The formula, one number at a time: alpha and D."""
    squares = sorted(value * value for value in values if value * value > 1e-5)
    best = (0.0, 1.0)
    for first in range(len(squares) - 1):
        tail = squares[first:]
        count = len(tail)
        rise = sum(log(value / tail[0]) for value in tail)
        if rise <= 1e-9:
            continue
        alpha = 1 + count / rise
        distance = max(abs(1 - (value / tail[0]) ** (1 - alpha) - place / count) for place, value in enumerate(tail))
        if distance < best[1] - 1e-12:
            best = (alpha, distance)
    return best


@given(st.lists(st.floats(0.01, 100), min_size=20, max_size=60, unique=True))
def test_random_values_agree_with_the_slow_formula(values: list[float]) -> None:
    law, _ = fit(values, len(values))
    _, distance = slow(values)
    if law is not None:
        assert law.distance == pytest.approx(distance, rel=1e-6)
        assert law.alpha > 1
    else:
        assert distance == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.0] * 7, "fewer than 8 values"),
        ([1e-4] * 30, "0 of 30 squares are above 1e-5"),
        ([1e200] * 30, "the squares are beyond float64"),
        ([1.0] * 30, "no tail falls like a power"),
        ([1.0] * 15_001, "more than 15,000 values"),
    ],
)
def test_where_there_is_none_it_says_why(values: list[float], reason: str) -> None:
    assert fit(values, len(values)) == (None, reason)


def test_scale_matters_because_small_ones_are_dropped() -> None:
    values = values_of(matrix(300, 200, 0.6) * np.float32(0.01))
    law, _ = fit(values, len(values))
    assert law is not None
    assert law.used < law.count == 200
