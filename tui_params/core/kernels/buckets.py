"""Buckets: values of a wide type that share one row of its table.

A bucket is a sign, an exponent and 7 bits of mantissa: the upper 16 bits of a float32, the upper 19 bits of a float64.
Integers of 32 and 64 bits have the bucket of their value as float64, truncated toward zero, so that every integer below
256 has one to itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_params.core.dtypes import DType

FLOAT64_BITS = 19
FLOAT64_SHIFT = 64 - FLOAT64_BITS


def truncated(values: NDArray[Any]) -> NDArray[np.float64]:
    """Integers (int64 or uint64) as float64, rounded toward zero."""
    # abs of the least int64 is itself; seen as unsigned it is right.
    magnitudes = np.abs(values).view(np.uint64)
    # Clears the bit that would round up, and else only bits that the conversion drops.
    magnitudes &= ~(magnitudes >> 53)
    floats: NDArray[np.float64] = magnitudes.astype(np.float64)
    np.negative(floats, out=floats, where=values < 0)
    return floats


def bounds(buckets: NDArray[np.uint32], part: DType) -> tuple[NDArray[Any], NDArray[Any]]:
    """Least and greatest value of each bucket, without zero: float64, uint64 for uint64, int64 for other integers."""
    if part.kind == "int":
        return _integer_bounds(buckets, part)
    shift = 16 if part.bits == 32 else FLOAT64_SHIFT
    real = np.dtype(f"f{part.bits // 8}")
    code: NDArray[Any] = np.left_shift(buckets.astype(f"u{part.bits // 8}"), shift)
    near = (code | (code << 1 == 0)).view(real).astype(np.float64)
    far = (code | (1 << shift) - 1).view(real).astype(np.float64)
    return np.minimum(near, far), np.maximum(near, far)


def _integer_bounds(buckets: NDArray[np.uint32], part: DType) -> tuple[NDArray[Any], NDArray[Any]]:
    is_negative = buckets >> FLOAT64_BITS - 1 == 1
    codes = (buckets & (1 << FLOAT64_BITS - 1) - 1).astype(np.uint64)
    low = np.ceil((codes << FLOAT64_SHIFT).view(np.float64)).astype(np.uint64)
    # One less than the least value of the next bucket; 2**64 itself would not fit, and is 0 after wrapping round.
    after = np.ceil((codes + np.uint64(1) << FLOAT64_SHIFT).view(np.float64))
    high = np.where(after < 2.0**64, after, 0).astype(np.uint64) - np.uint64(1)
    if part.name == "uint64":
        return low, high
    high = np.minimum(high, np.where(is_negative, np.uint64(1 << 63), np.uint64((1 << 63) - 1)))
    least = np.where(is_negative, (0 - high).view(np.int64), low.view(np.int64))
    greatest = np.where(is_negative, (0 - low).view(np.int64), high.view(np.int64))
    return least, greatest
