"""The tail exponent alpha of a spectrum, as weightwatcher 0.7.7 computes it (WW_powerlaw.py, class WWFit).

Its steps are kept, also those that surprise: eigenvalues of at most 1e-5 are dropped whatever the scale of the matrix,
and with fewer than 20 of them the estimate is another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from tui_params.core.numbers.spectrum.spectrum import PowerLaw

LEAST_EIGENVALUE = 1e-5
"""weightwatcher's EVALS_THRESH: eigenvalues up to it are dropped, whatever the largest is."""

FEWEST = 8
"""weightwatcher leaves out a layer with fewer eigenvalues; a tail of a short list has at least as many."""

FEW = 20
"""With fewer eigenvalues that were not dropped, the estimate is corrected for its bias."""

MOST = 15_000
"""weightwatcher leaves out a layer with more eigenvalues."""


def fit(values: Sequence[float], count: int) -> tuple[PowerLaw | None, str | None]:
    """The power law of the squares of singular values, ``count`` with those that are lost; or why there is none.

    For each eigenvalue x_i as the least of the tail (ascending, k = n - i of them are in it):
    alpha = 1 + k / sum ln(x_j / x_i), D = max |1 - (x_j / x_i)^(1 - alpha) - (0 .. k-1) / k|. The least D decides, the
    first of several. With fewer than 20, alpha = 1 + (k - 1) / sum, for tails of 8 and more.
    """
    if count < FEWEST:
        return None, f"fewer than {FEWEST} values"
    if count > MOST:
        return None, f"more than {MOST:,} values"
    with np.errstate(over="ignore", under="ignore"):
        squares = np.sort(np.asarray(values, np.float64) ** 2)
    data = squares[squares > LEAST_EIGENVALUE]
    if data.size < 2:
        return None, f"{data.size} of {count:,} squares are above 1e-5"
    if not np.isfinite(data[-1]):
        return None, "the squares are beyond float64"
    alphas, distances = _few(data) if data.size < FEW else _many(data)
    best = int(np.argmin(distances))
    if distances[best] >= 1 or alphas[best] <= 1:
        return None, "no tail falls like a power"
    alpha = float(alphas[best])
    least = float(data[best])
    sigma = (alpha - 1) / sqrt(data.size - best)
    tail = int((data >= least).sum())
    return PowerLaw(alpha, sigma, float(distances[best]), least, tail, data.size, count), None


def _many(data: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    logs = np.log(data)
    alphas, distances = np.zeros(data.size - 1), np.ones(data.size - 1)
    ahead = np.arange(data.size, dtype=np.float64)
    for first in range(data.size - 1):
        count = data.size - first
        rise = logs[first:].sum() - count * logs[first]
        if rise > 0:
            alphas[first] = 1 + count / rise
            distances[first] = _distance(data[first:], alphas[first], ahead[:count])
    return alphas, distances


def _few(data: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    logs = np.log(data)
    alphas, distances = np.zeros(data.size - 1), np.ones(data.size - 1)
    ahead = np.arange(data.size, dtype=np.float64)
    # With fewer than eight, all of them are one tail.
    for first in range(max(data.size - FEWEST, 0) + 1):
        count = data.size - first
        rise = logs[first:].sum() - count * logs[first]
        if rise > 1e-12:
            alphas[first] = 1 + (count - 1) / rise
            distances[first] = _distance(data[first:], alphas[first], ahead[:count])
    return alphas, distances


def _distance(tail: NDArray[np.float64], alpha: float, ahead: NDArray[np.float64]) -> float:
    return float(np.abs(1 - (tail / tail[0]) ** (1 - alpha) - ahead / tail.size).max())
