"""Casts: how the values of a tensor would come through a cast to a smaller type, element by element and exactly.

The casts to floating types are torch's: to the nearest, ties to even, over float32 (a float64 is rounded twice), with
subnormals; float16, bfloat16 and float8_e5m2 overflow to infinity, float8_e4m3fn saturates at 448. int8 and int4 are
symmetric, with one scale for all elements or for each group of neighbours in a row: s = max |x| / 127 (or 7), the code
is x / s rounded half to even, in float64.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.dtypes import DType, from_torch, numpy_dtype
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.numbers.decode import numbers, part_dtype
from tui_params.core.numbers.summary import Summary

FLOATS = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
"""The floating types that a cast is shown to, by torch's names."""

SCALED = "int8"
GROUPED: dict[str, int] = {"int4 / 128": 128, "int4 / 32": 32}
"""The casts with a scale for each group, and the elements of a group; the last of a row may have fewer."""

TARGETS = (*FLOATS, SCALED, *GROUPED)

SATURATION = 464.0
"""Beyond this, the tie between 448 and the next number that float8_e4m3fn does not have, torch saturates."""

PART = 1 << 14
"""Columns that are to be added at a time: whole groups, and few enough for the second-level cache."""

_INT8, _INT4 = 127, 7


class Cast(msgspec.Struct, frozen=True, gc=False):
    """What a cast does to the finite elements of one tensor.

    ``signal`` and ``noise`` are the sums of x² and of (x - cast x)², both in the same unit (see ``CastSums``). Of the
    ``finite`` elements, ``changed`` are not the same afterwards; ``overflowed`` become infinite; ``saturated`` lie
    further beyond the largest value than rounding reaches, and become that; ``flushed`` become zero and were not.
    ``differing`` come out of another library otherwise than out of torch: NaN of ml_dtypes in place of 448, or another
    neighbour from numpy, which rounds a float64 to float16 once. ``scale`` is the one of int8.
    """

    target: str
    finite: int
    signal: float
    noise: float
    changed: int
    overflowed: int
    saturated: int
    flushed: int
    differing: int = 0
    scale: float | None = None

    @property
    def snr(self) -> float | None:
        """10 log10(sum x² / sum (x - cast x)²) in dB; infinite if nothing changes, None if no element is finite.

        It is -inf where an element becomes infinite, or where all that there is becomes zero and more.
        """
        if not self.finite:
            return None
        if not self.changed:
            return math.inf
        if self.overflowed:
            return -math.inf
        return 10 * (math.log10(self.signal) - math.log10(self.noise))


class CastSums:
    """The sums behind a Cast over the elements added so far. ``peak`` is the largest finite magnitude of all.

    Squares are of values divided by the power of two next to ``peak``, so that none overflows; what then underflows
    has no weight beside the others.
    """

    def __init__(self, target: str, peak: float) -> None:
        self.target = target
        self._exponent = -math.frexp(peak)[1] if peak else 0
        self._scale = math.ldexp(peak, self._exponent) / _INT8 if target == SCALED else None
        self._peak = peak
        self._signal: list[float] = []
        self._noise: list[float] = []
        self._counts = [0] * 6

    def add(self, values: NDArray[np.float64], counts: NDArray[np.int64] | None = None) -> None:
        """Take in values, of which those that are not finite do not count; ``counts`` of each, if not one.

        For a cast by groups ``values`` are whole rows, or a part of one that starts at a group.
        """
        found, saturated, differing = self._cast(values)
        is_finite = np.isfinite(values)
        if not is_finite.all():
            values, found = values[is_finite], found[is_finite]
            saturated = None if saturated is None else saturated[is_finite]
            differing = None if differing is None else differing[is_finite]
            counts = None if counts is None else counts[is_finite]
        if not values.size:
            return
        self._counts[0] += values.size if counts is None else int(counts.sum())
        error = values - found
        self._count(1, error != 0, counts)
        if self.target in FLOATS:
            is_infinite = np.isinf(found)
            self._count(2, is_infinite, counts)
            error[is_infinite] = 0.0
        self._count(3, saturated, counts)
        self._count(4, (found == 0) & (values != 0), counts)
        self._count(5, differing, counts)
        for sums, x in ((self._signal, values), (self._noise, error)):
            x = _shifted(x, self._exponent)
            x *= x
            sums.append(float(x.sum() if counts is None else (x * counts).sum()))

    def _count(self, at: int, which: NDArray[np.bool_] | None, counts: NDArray[np.int64] | None) -> None:
        if which is not None:
            self._counts[at] += int(np.count_nonzero(which) if counts is None else counts[which].sum())

    def _cast(
        self, values: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
        """The values after the cast, which of them saturate, and which come out of another library otherwise."""
        if self._scale is not None:
            return self._steps(values, np.float64(self._scale), _INT8), None, None
        if self.target in GROUPED:
            return self._by_groups(values, GROUPED[self.target]), None, None
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            single = values.astype(np.float32)
            if self.target == "float16":
                found = _halves(single)
            else:
                found = single.astype(numpy_dtype(_dtype(self.target))).astype(np.float64)
            if self.target == "float8_e4m3fn":
                is_beyond = np.abs(single) > SATURATION
                found[is_beyond] = np.copysign(448.0, values[is_beyond])
                return found, is_beyond, is_beyond
            if self.target == "float16" and not np.array_equal(single, values, equal_nan=True):
                return found, None, found != values.astype(np.float16).astype(np.float64)
        return found, None, None

    def _by_groups(self, values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        rows = values.reshape(-1, values.shape[-1])
        found = np.empty_like(rows)
        width = rows.shape[1]
        whole = width // size * size
        for part in (slice(0, whole), slice(whole, width)):
            some = rows[:, part]
            if some.size:
                long = min(size, some.shape[1])
                groups = np.abs(some).reshape(-1, long)
                if not np.isfinite(groups).all():
                    groups[~np.isfinite(groups)] = 0.0
                # One scale for each element: numpy is slow along so short rows.
                scales = np.repeat(_shifted(_largest(groups), self._exponent) / _INT4, long)
                found[:, part] = self._steps(some.reshape(-1), scales, _INT4).reshape(some.shape)
        return found.reshape(values.shape)

    def _steps(self, values: NDArray[np.float64], scale: Any, most: int) -> NDArray[np.float64]:
        """The nearest multiples of a scale, which is 0 where there are zeros only."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            codes = _shifted(values, self._exponent)
            codes /= scale
            np.rint(codes, out=codes)
            np.clip(codes, -most, most, out=codes)
            codes *= scale
            found = _shifted(codes, -self._exponent)
        return found if np.all(scale > 0) else np.where(scale > 0, found, 0.0)

    def cast(self) -> Cast:
        """The result over everything that was added."""
        scale = None if self.target != SCALED else self._peak / _INT8
        finite, changed, overflowed, saturated, flushed, differing = self._counts
        signal, noise = math.fsum(self._signal), math.fsum(self._noise)
        return Cast(self.target, finite, signal, noise, changed, overflowed, saturated, flushed, differing, scale)


def needs_pass(summary: Summary, target: str) -> bool:
    """Whether the counts of a summary do not tell what a cast would do: groups, and buckets of wide types."""
    return target in GROUPED or summary.moments is not None


def can_cast(dtype: DType) -> str | None:
    """Why no cast is shown from a type, one sentence; None if one is."""
    part = part_dtype(dtype)
    return None if part.kind == "float" else f"its values are {part.name}: casts are shown of floating types"


@with_subnormals
def preview(summary: Summary, target: str) -> Cast:
    """What a cast does to the elements of a summary, from its counts alone: of patterns, not of buckets."""
    if needs_pass(summary, target):
        raise ValueError(f"the counts do not tell what a cast to {target} does")
    values = numbers(summary.patterns, part_dtype(summary.dtype))
    is_finite = np.isfinite(values)
    values, counts = values[is_finite], summary.counts[is_finite]
    sums = CastSums(target, float(np.abs(values).max()) if values.size else 0.0)
    sums.add(values, counts)
    return sums.cast()


def as_float64(values: NDArray[Any]) -> NDArray[np.float64]:
    """Values of a real type as float64, those of bfloat16 by their bits, which is several times faster."""
    if values.dtype.name == "bfloat16":
        values = np.left_shift(values.view(np.uint16).astype(np.uint32), 16).view(np.float32)
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def _halves(single: NDArray[np.float32]) -> NDArray[np.float64]:
    """Finite float32 values as float16. numpy takes 100 times as long for each that overflows or becomes zero."""
    sizes = np.abs(single)
    is_between = (sizes > 2.0**-25) & (sizes < 65520.0)
    found = np.copysign(np.where(sizes >= 65520.0, np.inf, 0.0), single)
    found[is_between] = single[is_between].astype(np.float16)
    return found


def _largest(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest number of each row; by halves, because numpy is slow along short rows."""
    while rows.shape[1] > 1 and not rows.shape[1] % 2:
        half = rows.shape[1] // 2
        rows = np.maximum(rows[:, :half], rows[:, half:])
    found: NDArray[np.float64] = rows.max(1)
    return found


def _shifted(values: NDArray[np.float64], exponent: int) -> NDArray[np.float64]:
    """A copy of the values times 2**exponent."""
    # A product is several times as fast, but 2.0**1024 is no float.
    return values * 2.0**exponent if abs(exponent) < 1023 else np.ldexp(values, exponent)


def _dtype(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype
