"""Difference: how the elements of one tensor differ from those of another, as figures that merge.

Every element is converted to float64 without loss, so that all types compare with all others; integers of 64 bits,
which float64 cannot hold, are subtracted in two halves. Sums of squares are kept as exact fractions of rounded
partial sums: they neither overflow nor underflow, and merging them in any order gives the same figures.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.dtypes import DType
from tui_params.core.kernels.by_numpy import NumpyKernels
from tui_params.core.kernels.protocol import Gap, KernelSupply
from tui_params.core.numbers.decode import numbers, part_dtype, unpack

STEP = 1 << 16
"""Elements handled at a time: few enough for the temporary arrays to stay in the second-level cache."""

_LEAST_SQUARE = 1e-200
"""A smaller sum of squares may lack squares that underflowed."""

_ROUNDING = Fraction(1, 10**9)
"""How far two sums of the same squares in another order may be apart: at most 2**17 are rounded one after another."""

Floats = NDArray[np.float64]


class Difference(msgspec.Struct, frozen=True, gc=False):
    """How the elements of B differ from those of A.

    ``count`` elements were compared; of complex tensors the real and imaginary parts count as two. ``changed`` are
    those that differ in value: |b - a| > atol + rtol |a|. NaN equals NaN whatever its bits, 0.0 equals -0.0.
    ``first`` is the position of the first one in row-major order, counted in elements of the tensor.
    ``max_abs`` = max |b - a|, ``mean_abs`` = mean |b - a|, ``relative_l2`` = ||b - a|| / ||a|| and ``cosine`` =
    a.b / (||a|| ||b||) are over the ``pairs`` that are finite on both sides; each is None where it has no value (no
    such pair, a norm of 0) or lies beyond float64. ``became_nan`` elements are NaN in B and not in A, ``was_nan`` the
    other way round; ``became_inf`` and ``was_inf`` count infinities in the same way. ``became_zero`` elements are zero
    in B, and finite but not zero in A. ``first_broken`` is the position of the first that became NaN or infinite.
    """

    count: int
    changed: int
    first: int | None
    pairs: int
    max_abs: float | None
    mean_abs: float | None
    relative_l2: float | None
    cosine: float | None
    became_nan: int
    was_nan: int
    became_inf: int
    was_inf: int
    became_zero: int = 0
    first_broken: int | None = None

    @property
    def changed_fraction(self) -> float:
        return self.changed / self.count if self.count else 0.0

    @property
    def snr_db(self) -> float | None:
        """20 log10(||a|| / ||b - a||), the signal to noise of a quantised B; None if that has no value."""
        return -20 * math.log10(self.relative_l2) if self.relative_l2 else None


class Counted(msgspec.Struct, frozen=True, gc=False):
    """What a Tally has counted, as a value that may go to another process.

    ``sums`` are those of |b - a|, (b - a)^2, a^2, b^2 and ab, exact, as numerators and denominators.
    """

    counts: tuple[int, ...]
    peak: float
    first: int | None
    first_broken: int | None
    sums: tuple[tuple[int, int], ...]


_COUNTS = ("count", "changed", "pairs", "became_nan", "was_nan", "became_inf", "was_inf", "became_zero")
_SUMS = ("_abs", "_dd", "_aa", "_bb", "_ab")


class Tally:
    """Accumulates the figures of one pair of tensors; tallies of other elements of the pair are merged in."""

    def __init__(
        self, a: DType, b: DType, rtol: float = 0.0, atol: float = 0.0, kernels: KernelSupply = NumpyKernels
    ) -> None:
        """An empty tally that compares with ``kernels``. Raises ReadError for a type that cannot be decoded."""
        self._kernels = kernels
        self._a, self._b = (a, part_dtype(a)), (b, part_dtype(b))
        self._rtol, self._atol = rtol, atol
        # A complex tensor beside a real one: the real one has no imaginary parts.
        self._parts = 2 if a.is_complex or b.is_complex else 1
        self._names = a.name, b.name
        self._is_wide = _is_wide(self._a[1]) or _is_wide(self._b[1])
        self.count = self.changed = self.pairs = 0
        self.first: int | None = None
        self.became_nan = self.was_nan = self.became_inf = self.was_inf = self.became_zero = 0
        self.first_broken: int | None = None
        self._peak = 0.0
        self._abs = self._dd = self._aa = self._bb = self._ab = Fraction(0)

    def add(self, raw_a: NDArray[np.uint8], raw_b: NDArray[np.uint8], numel: int, start: int) -> None:
        """Compare ``numel`` elements from position ``start`` of the tensor; ``raw_a``, ``raw_b`` are their bytes."""
        for at, count in _steps(numel):
            pieces = _piece(raw_a, self._a[0], at, count), _piece(raw_b, self._b[0], at, count)
            gap = self._kernels().difference(*pieces, self._names, count, self._atol, self._rtol)
            if gap is not None:
                self._add_gap(gap, count, start + at)
                continue
            a = _values(raw_a, self._a, at, count, self._parts)
            b = _values(raw_b, self._b, at, count, self._parts)
            with np.errstate(all="ignore"):
                self._add(a, b, start + at)

    def add_equal(self, raw: NDArray[np.uint8], numel: int) -> None:
        """Count elements whose bytes are the same on both sides; only the norms need them."""
        for at, count in _steps(numel):
            piece = _piece(raw, self._a[0], at, count)
            gap = self._kernels().difference(piece, piece, (self._names[0],) * 2, count, 0.0, 0.0)
            if gap is not None:
                self._add_gap(gap, count, at)
                continue
            values = _values(raw, self._a, at, count, self._parts).astype(np.float64, copy=False)
            with np.errstate(all="ignore"):
                squares = float(np.square(values).sum())
                self.count += values.size
                if not _is_sound(squares, values):
                    values = values[np.isfinite(values)]
                    exact = _dot(values, values)
                else:
                    exact = Fraction(squares)
            self.pairs += values.size
            self._aa += exact
            self._bb += exact
            self._ab += exact

    def merge(self, other: Tally) -> None:
        """Add the figures of another tally of the same pair of tensors."""
        self.add_counted(other.counted())

    def counted(self) -> Counted:
        """Everything that was counted so far."""
        counts = tuple([getattr(self, name) for name in _COUNTS])
        sums: list[Fraction] = [getattr(self, name) for name in _SUMS]
        pairs = tuple([total.as_integer_ratio() for total in sums])
        return Counted(counts, self._peak, self.first, self.first_broken, pairs)

    def add_counted(self, counted: Counted) -> None:
        """Add what another tally of the same pair of tensors has counted."""
        for name, count in zip(_COUNTS, counted.counts, strict=True):
            setattr(self, name, getattr(self, name) + count)
        for name, pair in zip(_SUMS, counted.sums, strict=True):
            setattr(self, name, getattr(self, name) + Fraction(*pair))
        self._peak = max(self._peak, counted.peak)
        self.first = _least(self.first, counted.first)
        self.first_broken = _least(self.first_broken, counted.first_broken)

    @property
    def norms_agree(self) -> bool:
        """Whether both sides have the same norm but for rounding: else neither is a rearrangement of the other.

        Where NaN or infinities came and went, no norm is of all finite elements: then as many came as went.
        """
        if self.became_nan or self.was_nan or self.became_inf or self.was_inf:
            return self.became_nan == self.was_nan and self.became_inf == self.was_inf
        return abs(self._aa - self._bb) <= max(self._aa, self._bb) * _ROUNDING

    def difference(self) -> Difference:
        """The figures of all elements counted so far."""
        # Without a difference the two vectors are equal, and no quotient may be rounded away from 0 or 1.
        is_equal = not self._dd
        relative = _root(self._dd / self._aa) if self._aa else 0.0 if is_equal and self.pairs else None
        cosine = None
        if self._aa and self._bb:
            magnitude = min(_root(self._ab * self._ab / (self._aa * self._bb)) or 0.0, 1.0)
            cosine = 1.0 if is_equal else magnitude if self._ab > 0 else -magnitude
        return Difference(
            self.count,
            self.changed,
            self.first,
            self.pairs,
            self._peak if self.pairs and math.isfinite(self._peak) else None,
            _float(self._abs / self.pairs) if self.pairs else None,
            relative,
            cosine,
            self.became_nan,
            self.was_nan,
            self.became_inf,
            self.was_inf,
            self.became_zero,
            self.first_broken,
        )

    def _add_gap(self, gap: Gap, count: int, start: int) -> None:
        self.count += count
        self.pairs += count
        self._peak = max(self._peak, gap.peak)
        self._abs += Fraction(gap.total)
        self._aa += Fraction(gap.aa)
        self._bb += Fraction(gap.bb)
        self._ab += Fraction(gap.ab)
        self._dd += Fraction(gap.dd)
        self.became_zero += gap.became_zero
        if gap.changed:
            self.changed += gap.changed
            self.first = _least(self.first, start + gap.first)

    def _add(self, a: NDArray[Any], b: NDArray[Any], start: int) -> None:
        if self._is_wide:
            delta, is_different = _subtract_wide(a, b)
            a, b = a.astype(np.float64), b.astype(np.float64)
        else:
            a, b = a.astype(np.float64, copy=False), b.astype(np.float64, copy=False)
            delta, is_different = b - a, a != b
        self.count += a.size
        zeros_b = b == 0.0
        if zeros_b.any():
            self.became_zero += int(np.count_nonzero(zeros_b & (a != 0.0) & np.isfinite(a)))
        work = np.multiply(a, a)
        aa = float(work.sum())
        bb = float(np.multiply(b, b, out=work).sum())
        ab = float(np.multiply(a, b, out=work).sum())
        dd = float(np.multiply(delta, delta, out=work).sum())
        if _is_sound(aa, a) and _is_sound(bb, b) and _is_sound(dd, delta):
            distance = np.abs(delta, out=work)
            self.pairs += a.size
            self._peak = max(self._peak, float(distance.max()))
            self._abs += Fraction(float(distance.sum()))
            self._aa += Fraction(aa)
            self._bb += Fraction(bb)
            self._ab += Fraction(ab)
            self._dd += Fraction(dd)
            if self._rtol or self._atol:
                is_different &= distance > self._atol + self._rtol * np.abs(a)
        else:
            self._add_odd(a, b, delta, is_different, start)
        changed = int(np.count_nonzero(is_different))
        if changed:
            self.changed += changed
            self.first = _least(self.first, start + int(is_different.argmax()) // self._parts)

    def _add_odd(self, a: Floats, b: Floats, delta: Floats, is_different: NDArray[np.bool_], start: int) -> None:
        """Add elements some of which are not finite, or whose squares leave the range of float64."""
        nan_a, nan_b = np.isnan(a), np.isnan(b)
        inf_a, inf_b = np.isinf(a), np.isinf(b)
        finite = ~(nan_a | nan_b | inf_a | inf_b)
        self.became_nan += int(np.count_nonzero(nan_b & ~nan_a))
        self.was_nan += int(np.count_nonzero(nan_a & ~nan_b))
        self.became_inf += int(np.count_nonzero(inf_b & ~inf_a))
        self.was_inf += int(np.count_nonzero(inf_a & ~inf_b))
        broken = (nan_b & ~nan_a) | (inf_b & ~inf_a)
        if broken.any():
            self.first_broken = _least(self.first_broken, start + int(broken.argmax()) // self._parts)
        is_different &= ~(nan_a & nan_b)
        if self._rtol or self._atol:
            is_different &= ~(finite & (np.abs(delta) <= self._atol + self._rtol * np.abs(a)))
        a, b, delta = a[finite], b[finite], delta[finite]
        if not a.size:
            return
        exponent = 0
        if not np.isfinite(delta).all():
            delta, exponent = b * 0.5 - a * 0.5, 1
        self.pairs += a.size
        distance = np.abs(delta)
        peak = float(distance.max())
        self._peak = max(self._peak, 2.0 * peak if exponent else peak)
        self._abs += _sum(distance) * 2**exponent
        self._aa += _dot(a, a)
        self._bb += _dot(b, b)
        self._ab += _dot(a, b)
        self._dd += _dot(delta, delta) * 4**exponent


def _least(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)


def _steps(numel: int) -> list[tuple[int, int]]:
    return [(at, min(STEP, numel - at)) for at in range(0, numel, STEP)]


def _is_wide(part: DType) -> bool:
    return part.kind == "int" and part.bits == 64


def _piece(raw: NDArray[np.uint8], dtype: DType, at: int, count: int) -> NDArray[np.uint8]:
    """The bytes of ``count`` elements from number ``at`` of ``raw``."""
    begin = dtype.nbytes(at)
    return raw[begin : begin + dtype.nbytes(count)]


def _values(raw: NDArray[np.uint8], dtypes: tuple[DType, DType], at: int, count: int, parts: int) -> NDArray[Any]:
    """The values of ``count`` elements from number ``at`` of ``raw``, ``parts`` numbers each."""
    dtype, part = dtypes
    piece = _piece(raw, dtype, at, count)
    if part.is_packed:
        patterns: NDArray[Any] = unpack(piece, part.bits, count)
    else:
        width = part.bits // 8
        patterns = piece.view(f"<u{width}").astype(f"u{width}", copy=False)
    values = numbers(patterns, part)
    if parts == 2 and not dtype.is_complex:
        both = np.zeros((count, 2), values.dtype)
        both[:, 0] = values
        return both.reshape(-1)
    return values


def _subtract_wide(a: NDArray[Any], b: NDArray[Any]) -> tuple[Floats, NDArray[np.bool_]]:
    """b - a rounded once to float64, and where a and b differ exactly; at least one holds 64-bit integers.

    Beside floats that are far from the integer the difference may be rounded twice.
    """
    if a.dtype.kind == "f" or b.dtype.kind == "f":
        integers, floats = (b, a) if a.dtype.kind == "f" else (a, b)
        high, low = _halves(integers)
        delta = (floats - high) - low
        return (-delta if integers is b else delta), ~_is_integer(floats, integers)
    high_a, low_a = _halves(a)
    high_b, low_b = _halves(b)
    delta = (high_b - high_a) + (low_b - low_a)
    return delta, delta != 0


def _halves(integers: NDArray[Any]) -> tuple[Floats, Floats]:
    """Integers as a multiple of 2**32 and the rest of 0 to 2**32 - 1, both exact in float64."""
    shift = integers.dtype.type(32)
    high = (integers >> shift).astype(np.float64) * 2.0**32
    return high, (integers & integers.dtype.type(0xFFFFFFFF)).astype(np.float64)


def _is_integer(floats: Floats, integers: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a float has exactly the value of the integer."""
    low, high = (0.0, 2.0**64) if integers.dtype.kind == "u" else (-(2.0**63), 2.0**63)
    inside: NDArray[np.bool_] = (floats >= low) & (floats < high)
    inside &= np.where(inside, floats, 0.0).astype(integers.dtype) == integers
    inside &= np.trunc(floats) == floats
    return inside


def _is_sound(squares: float, values: Floats) -> bool:
    """Whether a sum of squares can be trusted: no square overflowed or underflowed, every value was finite."""
    return _LEAST_SQUARE < squares < math.inf or (squares == 0.0 and not values.any())


def _scaled(values: Floats) -> tuple[Floats, int]:
    """``values`` divided by a power of two so that their magnitudes are below 1, and its exponent."""
    exponent = math.frexp(float(np.abs(values).max()))[1]
    return np.ldexp(values, -exponent), exponent


def _dot(a: Floats, b: Floats) -> Fraction:
    """The inner product of finite values, in whatever range they are."""
    if not a.size:
        return Fraction(0)
    (a, exponent_a), (b, exponent_b) = _scaled(a), _scaled(b)
    return Fraction(float((a * b).sum())) * Fraction(2) ** (exponent_a + exponent_b)


def _sum(values: Floats) -> Fraction:
    values, exponent = _scaled(values)
    return Fraction(float(values.sum())) * Fraction(2) ** exponent


def _float(value: Fraction) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _root(square: Fraction) -> float | None:
    """The square root, also where the square itself lies beyond float64."""
    if not square:
        return 0.0
    # An even shift, so that numerator and denominator are of about the same length.
    shift = (square.numerator.bit_length() - square.denominator.bit_length()) // 2
    root = math.sqrt(square / Fraction(4) ** shift)
    try:
        return math.ldexp(root, shift)
    except OverflowError:
        return None
