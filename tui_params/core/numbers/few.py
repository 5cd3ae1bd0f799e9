"""Figures of tensors of few elements, from the one loop that finds all of them."""

from __future__ import annotations

from functools import cache

import numpy as np

from tui_params.core.dtypes import DType
from tui_params.core.figures import Figures
from tui_params.core.kernels.protocol import Few
from tui_params.core.numbers.decode import numbers
from tui_params.core.numbers.moments import codes_below_max, largest_finite, quantum, root, smallest_normal


@cache
def marks_of(dtype: DType) -> tuple[int, int, int]:
    """The ``marks`` that ``Kernels.few`` takes for a floating type of at most 32 bits."""
    below = -1
    if dtype.bits <= 16:
        below = _pattern(float(numbers(codes_below_max(dtype)[:1], dtype)[0]))
    return _pattern(smallest_normal(dtype)), _pattern(largest_finite(dtype)), below


def _pattern(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


def figures_of(found: Few, dtype: DType, numel: int) -> Figures:
    """The figures of all ``numel`` elements of a tensor, to the last bit those of its Summary."""
    q, finite = quantum(dtype), found.finite
    low = high = abs_max = mean = std = rms = l2_norm = None
    if finite:
        low, high = found.low, found.high
        abs_max = max(abs(low), abs(high))
        total, squares = found.total, found.squares
        mean = total / (finite << q)
        std = root(finite * squares - total * total, finite * finite << 2 * q)
        rms, l2_norm = root(squares, finite << 2 * q), root(squares, 1 << 2 * q)
    return Figures(
        numel,
        1,
        numel,
        finite,
        found.nan,
        found.pos_inf,
        found.neg_inf,
        found.zeros,
        found.subnormals,
        low,
        high,
        mean,
        std,
        abs_max,
        l2_norm,
        rms,
        found.quantiles if finite else (),
        True,
        True,
        0.0,
        found.spark if finite else (),
        found.spark_low if finite else None,
        found.spark_high if finite else None,
        found.at_max,
        found.below_max if dtype.bits <= 16 else None,
    )
