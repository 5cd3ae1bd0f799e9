"""Buckets: which values of a wide type share a row of its table.

float32 and float64 are bucketed by sign, exponent and 7 bits of mantissa; 32- and 64-bit integers by the same of
their value as float32, truncated toward zero, so that every integer up to 256 has a bucket to itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_params.core.dtypes import DType

FLOAT64_BITS = 19


def integer_buckets(values: NDArray[Any]) -> NDArray[np.intp]:
    """The bucket of each value (int64 or uint64)."""
    signs = np.where(values < 0, 0x8000, 0).astype(np.intp)
    # abs of the least int64 is itself; seen as unsigned it is right.
    magnitudes = np.abs(values).view(np.uint64)
    # Clears the bit that would round up, and else only bits that the conversion drops.
    magnitudes &= ~(magnitudes >> 24)
    buckets: NDArray[np.intp] = (magnitudes.astype(np.float32).view(np.uint32) >> 16).astype(np.intp) | signs
    return buckets


def bounds(buckets: NDArray[np.uint32], part: DType) -> tuple[NDArray[Any], NDArray[Any]]:
    """The least and the greatest value of each bucket, zero left out: float64, uint64 for uint64, else int64."""
    if part.kind == "int":
        return _integer_bounds(buckets, part)
    shift = 16 if part.bits == 32 else 64 - FLOAT64_BITS
    real = np.dtype(f"f{part.bits // 8}")
    code: NDArray[Any] = np.left_shift(buckets.astype(f"u{part.bits // 8}"), shift)
    near = (code | (code << 1 == 0)).view(real).astype(np.float64)
    far = (code | (1 << shift) - 1).view(real).astype(np.float64)
    return np.minimum(near, far), np.maximum(near, far)


def _integer_bounds(buckets: NDArray[np.uint32], part: DType) -> tuple[NDArray[Any], NDArray[Any]]:
    codes = (buckets & 0x7FFF) << 16
    near = np.ceil(codes.view(np.float32).astype(np.float64))
    # One less than the least value of the next bucket; 2**64 itself would not fit, and is 0 after wrapping round.
    after = np.ceil((codes + np.uint32(0x10000)).view(np.float32).astype(np.float64))
    low = near.astype(np.uint64)
    high = np.where(after < 2.0**64, after, 0).astype(np.uint64) - np.uint64(1)
    if part.name == "uint64":
        return low, high
    is_negative = buckets >= 0x8000
    high = np.minimum(high, np.where(is_negative, np.uint64(1 << 63), np.uint64((1 << 63) - 1)))
    positive, negative = (
        (low.view(np.int64), high.view(np.int64)),
        ((0 - high).view(np.int64), (0 - low).view(np.int64)),
    )
    return np.where(is_negative, negative[0], positive[0]), np.where(is_negative, negative[1], positive[1])
