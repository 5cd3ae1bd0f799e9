"""Limbs: integers cut into pieces so short that the products of two can be added up exactly in float64 and int64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMB = 18
"""Bits of a limb: the product of two, times 2**17 elements, is below 2**53 and so exact in float64 and int64."""

LIMB_SUMS = 9
"""Sums for each sign and exponent of float64: of the three limbs of the mantissa, and of their products in pairs."""

LIMB_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""The limbs whose products are added up, in the order of the sums."""


def limb_totals(sums: list[int]) -> tuple[int, int]:
    """The sums of the mantissas (52 bits, without the leading one) and of their squares, from one row of limb sums."""
    total = sum(sums[i] << LIMB * i for i in range(3))
    squares = sum(sums[3 + i] << LIMB * (a + b) + int(a != b) for i, (a, b) in enumerate(LIMB_PAIRS))
    return total, squares


def integer_limbs(values: NDArray[Any], number: int) -> list[NDArray[np.int64]]:
    """``values`` (int64 or uint64) as sums of limb[i] * 2**16i, in 0..65535 except the last, which has the sign."""
    limbs = [(values >> 16 * i & 0xFFFF).astype(np.int64) for i in range(number - 1)]
    limbs.append((values >> 16 * (number - 1)).astype(np.int64))
    return limbs
