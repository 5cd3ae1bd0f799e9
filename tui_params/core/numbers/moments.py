"""Moments: counts, sums and extremes of elements, kept exactly."""

from __future__ import annotations

from functools import cache
from math import isqrt
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.dtypes import DType, numpy_dtype
from tui_params.core.kernels.limbs import LIMB, integer_limbs

_FEW = 16
"""Python adds up to so many rows of a table faster than numpy."""


def quantum(part: DType) -> int:
    """q such that every finite value of the real type ``part`` is a whole multiple of 2**-q."""
    if part.kind != "float":
        return 0
    return 1074 if part.bits == 64 else 149


class Moments(msgspec.Struct, frozen=True, gc=False):
    """Counts, exact sums and extremes of some elements; a commutative monoid under ``+``.

    ``total`` and ``squares`` are the sums of x and of x*x over the finite elements, in units of 2**-q and 2**-2q
    for q = ``quantum``. ``low`` and ``high`` are None where there is no finite element, and never -0.0. ``at_max``
    counts the elements of a floating type whose magnitude is the largest finite one.
    """

    finite: int = 0
    nan: int = 0
    pos_inf: int = 0
    neg_inf: int = 0
    zeros: int = 0
    subnormals: int = 0
    total: int = 0
    squares: int = 0
    low: float | int | None = None
    high: float | int | None = None
    at_max: int = 0

    def __add__(self, other: Moments) -> Moments:
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return Moments(
            self.finite + other.finite,
            self.nan + other.nan,
            self.pos_inf + other.pos_inf,
            self.neg_inf + other.neg_inf,
            self.zeros + other.zeros,
            self.subnormals + other.subnormals,
            self.total + other.total,
            self.squares + other.squares,
            min(lows, default=None),
            max(highs, default=None),
            self.at_max + other.at_max,
        )

    def mean(self, q: int) -> float | None:
        """The mean of the finite elements, rounded once."""
        return self.total / (self.finite << q) if self.finite else None

    def std(self, q: int) -> float | None:
        """The population standard deviation of the finite elements, rounded once."""
        if not self.finite:
            return None
        return root(self.finite * self.squares - self.total * self.total, self.finite * self.finite << 2 * q)

    def rms(self, q: int) -> float | None:
        """The root of the mean square of the finite elements, rounded once."""
        return root(self.squares, self.finite << 2 * q) if self.finite else None

    def l2_norm(self, q: int) -> float | None:
        """The root of the sum of squares, rounded once; None also if it is beyond float64."""
        return root(self.squares, 1 << 2 * q) if self.finite else None


def root(numerator: int, denominator: int) -> float | None:
    """The square root of a non-negative fraction, rounded once to float64; None where it is too large for one."""
    shift = max(0, (130 - numerator.bit_length() + denominator.bit_length()) // 2)
    quotient, rest = divmod(numerator << 2 * shift, denominator)
    floor = isqrt(quotient)
    # At least 64 bits, and one more that says "and something": enough to round correctly. int / int rounds once.
    sticky = rest != 0 or floor * floor != quotient
    try:
        return (2 * floor + sticky) / (1 << shift + 1)
    except OverflowError:
        return None


def measure(values: NDArray[Any], counts: NDArray[np.int64], part: DType) -> Moments:
    """The moments of ``counts[i]`` elements of each value ``values[i]``: from ``decode.numbers``, sorted, finite.

    The counts may add up to 2**40 for types of 16 bits and less, to 65,536 for wider ones.
    """
    if not values.size:
        return Moments()
    if part.kind == "float":
        total, squares = _float_sums(values, counts, part)
        magnitudes = np.abs(values)
        subnormals = int(counts[(magnitudes > 0) & (magnitudes < smallest_normal(part))].sum())
        largest = largest_finite(part)
        at_max = int(counts[-1]) if values[-1] == largest else 0
        at_max += int(counts[0]) if values[0] == -largest else 0
        low, high = float(values[0]) + 0.0, float(values[-1]) + 0.0
    else:
        total, squares = _integer_sums(values, counts, part)
        subnormals = at_max = 0
        low, high = int(values[0]), int(values[-1])
    zeros = int(counts[values == 0].sum())
    return Moments(int(counts.sum()), 0, 0, 0, zeros, subnormals, total, squares, low, high, at_max)


@cache
def smallest_normal(part: DType) -> float:
    """The smallest positive normal number of a floating type. Imports ml_dtypes."""
    import ml_dtypes

    return float(ml_dtypes.finfo(numpy_dtype(part)).smallest_normal)


@cache
def largest_finite(part: DType) -> float:
    """The largest finite number of a floating type: 65504 of float16, 448 of float8_e4m3fn. Imports ml_dtypes."""
    import ml_dtypes

    return float(ml_dtypes.finfo(numpy_dtype(part)).max)


@cache
def codes_below_max(part: DType) -> NDArray[Any]:
    """The patterns, sorted, whose magnitude is next below the largest finite one, of a type of at most 16 bits.

    Patterns are in the order of the magnitudes (IEEE 754-2019 section 3.4; OCP 8-bit and MX formats).
    """
    import ml_dtypes

    native = numpy_dtype(part)
    assert native is not None
    word = np.dtype(f"u{native.itemsize}")
    below = int(np.array(ml_dtypes.finfo(native).max, native).view(word)) - 1
    # Of float8_e8m0fnu, which has no sign, the greatest patterns have that bit set already. np.unique would be shorter,
    # but imports numpy.ma.
    return np.array(sorted({below, below | 1 << part.bits - 1}), word)


def _float_sums(values: NDArray[np.float64], counts: NDArray[np.int64], part: DType) -> tuple[int, int]:
    if values.size <= _FEW:
        return _fraction_sums(values, counts, quantum(part))
    precision = 53 if part.bits == 64 else 24 if part.bits == 32 else 11
    fractions, exponents = np.frexp(values)
    mantissas = np.ldexp(fractions, precision).astype(np.int64)
    # Sorted values have their exponents in runs; -x and x may share one, for their limbs carry the sign.
    starts = np.concatenate(([0], np.flatnonzero(exponents[1:] != exponents[:-1]) + 1))
    signs, magnitudes = np.sign(mantissas), np.abs(mantissas)
    # A limb of a subnormal need not be a whole multiple of the quantum, though the sums are: hence the guard bits.
    guard = 2 * precision
    shifts = (exponents[starts] + (quantum(part) - precision)).tolist()

    def add_up(amounts: NDArray[np.int64], place: int, scale: int) -> int:
        sums = np.add.reduceat(amounts, starts).tolist()
        return sum(amount << place + scale * shift for shift, amount in zip(shifts, sums, strict=True))

    if precision <= 24:
        # Up to 2**40 of 2**11, or 2**16 of 2**24: their sum fits, and that of their squares in two parts.
        square = magnitudes * magnitudes
        total = add_up(mantissas * counts, guard, 1)
        squares = add_up((square & 0xFFFFFF) * counts, guard, 2) + add_up((square >> 24) * counts, 24 + guard, 2)
        return total >> guard, squares >> guard
    limbs = [magnitudes >> shift & (1 << LIMB) - 1 for shift in range(0, precision, LIMB)]
    total = squares = 0
    for i, limb in enumerate(limbs):
        weighted = limb * counts
        total += add_up(weighted * signs, LIMB * i + guard, 1)
        for j in range(i + 1):
            squares += add_up(weighted * limbs[j], LIMB * (i + j) + int(i != j) + guard, 2)
    return total >> guard, squares >> guard


def _fraction_sums(values: NDArray[np.float64], counts: NDArray[np.int64], q: int) -> tuple[int, int]:
    """The sums of ``_float_sums`` of a few values, by Python's integers."""
    total = squares = 0
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        numerator, unit = value.as_integer_ratio()
        scaled = numerator << q - unit.bit_length() + 1
        total += scaled * count
        squares += scaled * scaled * count
    return total, squares


def _integer_sums(values: NDArray[Any], counts: NDArray[np.int64], part: DType) -> tuple[int, int]:
    if int(counts.sum()) >= 1 << 30:
        # Only a table of a narrow type holds so many: at most 65,536 rows.
        rows = list(zip(values.tolist(), counts.tolist(), strict=True))
        return sum(value * count for value, count in rows), sum(value * value * count for value, count in rows)
    limbs = integer_limbs(values, max(1, part.bits // 16))
    total = squares = 0
    for i, limb in enumerate(limbs):
        weighted = limb * counts
        total += int(weighted.sum()) << 16 * i
        for j in range(i + 1):
            squares += int((weighted * limbs[j]).sum()) << 16 * (i + j) + int(i != j)
    return total, squares
