"""Spectrum: the singular values of a matrix, or the largest of them, and the figures that follow from them.

Everything here is a frozen value of plain numbers, and knows no array.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import exp, fsum, inf, isfinite, log
from typing import Literal

import msgspec

Method = Literal["krylov", "svd", "gram"]


class PowerLaw(msgspec.Struct, frozen=True, gc=False):
    """The tail of the eigenvalues s^2 as a power law: their density falls like x^-alpha from ``least`` on.

    ``tail`` eigenvalues are in it, of ``used`` that were looked at; ``count`` are all there are. ``sigma`` is the
    standard error of ``alpha``, ``distance`` the Kolmogorov-Smirnov distance of the fit.
    """

    alpha: float
    sigma: float
    distance: float
    least: float
    tail: int
    used: int
    count: int


class Pooled(msgspec.Struct, frozen=True, gc=False):
    """What weightwatcher says of a convolution: of the values of its slices ``[:, :, i, j]``, times sqrt(1/2)."""

    slices: int
    count: int
    stable_rank: float
    power_law: PowerLaw | None
    reason: str | None = None


class Spectrum(msgspec.Struct, frozen=True):
    """The singular values of a matrix of ``rows`` by ``columns``, the largest first.

    ``method`` is ``krylov`` for a picture: the leading values only, each with a residual in ``residuals``, within which
    there is a singular value of the matrix; but one between two of them may have been missed. Otherwise all values
    are there; those of at most ``floor`` are lost in the rounding of the arithmetic. ``frobenius`` is summed over the
    elements themselves.

    Figures that need all values are None in a picture: ``rank`` counts the values above the floor, ``stored_rank``
    those that the rounding of the elements to their own type cannot make (None of whole numbers), ``participation`` is
    (sum s^2)^2 / sum s^4, ``entropy_rank`` is exp(-sum p ln p) with p = s / sum s, ``condition`` the largest value over
    the smallest; with ``is_least_condition`` it is over the floor, and so a lower bound. ``power_law`` is that of
    weightwatcher 0.7.7, or ``no_power_law`` says why there is none.
    """

    rows: int
    columns: int
    values: tuple[float, ...]
    frobenius: float
    method: Method
    residuals: tuple[float, ...] = ()
    floor: float = 0.0
    rank: int | None = None
    stored_rank: int | None = None
    participation: float | None = None
    entropy_rank: float | None = None
    condition: float | None = None
    is_least_condition: bool = False
    power_law: PowerLaw | None = None
    no_power_law: str | None = None
    pooled: Pooled | None = None

    @property
    def is_exact(self) -> bool:
        return self.method != "krylov"

    @property
    def count(self) -> int:
        """How many singular values the matrix has."""
        return min(self.rows, self.columns)

    @property
    def norm(self) -> float:
        """The spectral norm: the largest singular value."""
        return self.values[0] if self.values else 0.0

    @property
    def stable_rank(self) -> float | None:
        """The squared Frobenius norm over the squared spectral norm; None of a matrix of zeros."""
        return (self.frobenius / self.norm) ** 2 if self.norm else None

    def shares(self) -> tuple[float, ...]:
        """The share of the squared Frobenius norm that the first value has, the first two, and so on."""
        whole = self.frobenius or 1.0
        return tuple(accumulate((value / whole) ** 2 for value in self.values))


def derived(
    rows: int, columns: int, values: Sequence[float], frobenius: float, method: Method, floor: float
) -> Spectrum:
    """The spectrum of all singular values, largest first, with the figures that follow from them.

    The power law is another matter (``power_law.fit``).
    """
    kept = [value for value in values if value > floor]
    largest = values[0] if values else 0.0
    spectrum = Spectrum(rows, columns, tuple(values), frobenius, method, floor=floor, rank=len(kept))
    if not kept:
        return spectrum
    # Relative to the largest, whose square may lie beyond float64.
    parts = [value / largest for value in kept]
    total = fsum(parts)
    squares = fsum(part**2 for part in parts)
    is_least = len(kept) < len(values)
    least = floor if is_least else kept[-1]
    condition = largest / least if least else inf
    return msgspec.structs.replace(
        spectrum,
        participation=squares**2 / fsum(part**4 for part in parts),
        entropy_rank=exp(-fsum(part / total * log(part / total) for part in parts)),
        condition=condition if isfinite(condition) else None,
        is_least_condition=is_least,
    )
