"""Extent: the largest magnitude and the Frobenius norm of a matrix, gathered block by block."""

from __future__ import annotations

from math import frexp, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_params.core import text
from tui_params.errors import ReadError

_COMFORT = 2.0**30
"""Between one over this and this, the largest magnitude needs no scale, in float32 either."""


class Extent:
    """What is known of the elements that were added so far. Those that are not finite are counted."""

    def __init__(self) -> None:
        self._squares: list[tuple[float, float]] = []
        self._count = 0
        self._nan = 0
        self._infinite = 0

    def add(self, block: NDArray[Any]) -> None:
        self._count += block.size
        parts = block.view(block.real.dtype) if np.iscomplexobj(block) and block.flags.c_contiguous else block
        if np.iscomplexobj(parts):
            parts = np.stack((block.real, block.imag))
        peak = float(max(parts.max(), -parts.min())) if parts.size else 0.0
        if not np.isfinite(peak):
            nan = int(np.isnan(block).sum())
            self._nan += nan
            self._infinite += block.size - nan - int(np.isfinite(block).sum())
        elif peak:
            self._squares.append((peak, _squares(parts, peak)))

    def finish(self) -> None:
        """Raise ReadError if an element is not finite."""
        if self._nan or self._infinite:
            found = [f"{count:,} {name}" for count, name in ((self._nan, "NaN"), (self._infinite, "infinite")) if count]
            bad = self._nan + self._infinite
            raise ReadError(
                f"{' and '.join(found)} among {text.plural(self._count, 'value')}: a matrix with"
                f" {'such a value' if bad == 1 else 'such values'} has no singular values"
            )

    @property
    def is_zero(self) -> bool:
        return not self._squares

    @property
    def exponent(self) -> int:
        """The power of two to divide the elements by, so that no product overflows or vanishes; 0 in most cases."""
        peak = max((peak for peak, _ in self._squares), default=1.0)
        return 0 if 1 / _COMFORT < peak < _COMFORT else frexp(peak)[1]

    def norm(self) -> float:
        """The Frobenius norm of the elements; infinite where it lies beyond float64."""
        peak = max((peak for peak, _ in self._squares), default=0.0)
        return peak * sqrt(sum(squares * (each / peak) ** 2 for each, squares in self._squares)) if peak else 0.0


def scaled(block: NDArray[Any], exponent: int) -> NDArray[Any]:
    """The block divided by a power of two."""
    if not exponent:
        return block
    if np.iscomplexobj(block):
        whole = np.empty_like(block)
        whole.real, whole.imag = np.ldexp(block.real, -exponent), np.ldexp(block.imag, -exponent)
        return whole
    divided: NDArray[Any] = np.ldexp(block, -exponent)
    return divided


def _squares(parts: NDArray[Any], peak: float) -> float:
    """The sum of the squares of the elements over ``peak``."""
    if parts.dtype == np.float32 and 1 / _COMFORT < peak < _COMFORT:
        # Each row in float32, with some 1e-7 of error, of which many rows leave a trace of 1e-8.
        return float(np.einsum("ij,ij->i", parts, parts).sum(dtype=np.float64)) / peak**2
    return float(np.square(parts.astype(np.float64) / peak).sum())
