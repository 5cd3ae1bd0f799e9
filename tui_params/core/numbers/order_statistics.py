"""Ranks: the finite elements of a summary in the order of their values, for quantiles and histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.figures import Histogram

MAX_FLOAT = 1.7976931348623157e308
_LARGE = MAX_FLOAT / 4
"""Between numbers below this no difference overflows."""


class Quantile(msgspec.Struct, frozen=True, gc=False):
    """A quantile, and by which share of its magnitude it may be off (0 where it is exact)."""

    value: float
    error: float


class _Place(msgspec.Struct, frozen=True, gc=False):
    """An order statistic: an estimate, and the closed interval that holds the true one."""

    estimate: Fraction
    low: Fraction
    high: Fraction


class Ranks:
    """Finite elements by value: ``counts[i]`` of them lie between ``lows[i]`` and ``highs[i]``, both included.

    The intervals ascend and do not overlap. Where ``highs is lows`` every element is known exactly.
    """

    def __init__(self, lows: NDArray[Any], highs: NDArray[Any], counts: NDArray[np.int64]) -> None:
        self._lows = lows
        self._highs = highs
        self._counts = counts
        self._ends = np.cumsum(counts)
        self.total = int(self._ends[-1]) if counts.size else 0

    def quantiles(self, qs: Sequence[float]) -> list[Quantile]:
        """The quantiles by numpy's "linear" rule, each rounded once; none if there is no element.

        Each of ``qs`` is taken as the decimal number that it prints as. Inside a bucket the elements are taken as
        evenly spread. Between two elements of opposite sign the error is relative to the larger of their magnitudes.
        """
        if not self.total:
            return []
        places = []
        for q in qs:
            numerator, denominator = _decimal(q)
            places.append((*divmod(numerator * (self.total - 1), denominator), denominator))
        if self._highs is self._lows:
            return self._exact(places)
        return [self._between(*place) for place in places]

    def _between(self, rank: int, rest: int, denominator: int) -> Quantile:
        share = Fraction(rest, denominator)
        a = b = self._place(rank)
        if share:
            b = self._place(rank + 1)
        value = a.estimate + (b.estimate - a.estimate) * share
        low = a.low + (b.low - a.low) * share
        high = a.high + (b.high - a.high) * share
        if low == high:
            return Quantile(float(value), 0.0)
        scale = abs(value) if value and a.low * b.high >= 0 else max(abs(a.estimate), abs(b.estimate))
        return Quantile(float(value), math.nextafter(float(max(value - low, high - value) / scale), math.inf))

    def _exact(self, places: list[tuple[int, int, int]]) -> list[Quantile]:
        """The numbers that lie ``rest / whole`` of the way from one order statistic to the next, rounded once."""
        ranks = [rank for rank, _, _ in places]
        last = self.total - 1
        rows = self._ends.searchsorted([*ranks, *(min(rank + 1, last) for rank in ranks)], "right")
        values = self._lows[rows].tolist()
        found = []
        for (_, rest, whole), low, high in zip(places, values, values[len(places) :], strict=False):
            if not rest or low == high:
                found.append(Quantile(float(low), 0.0))
                continue
            a, a_unit = low.as_integer_ratio()
            b, b_unit = high.as_integer_ratio()
            found.append(Quantile((a * b_unit * (whole - rest) + b * a_unit * rest) / (a_unit * b_unit * whole), 0.0))
        return found

    def _place(self, rank: int) -> _Place:
        row = int(np.searchsorted(self._ends, rank, "right"))
        low, high = Fraction(self._lows[row].item()), Fraction(self._highs[row].item())
        if low == high:
            return _Place(low, low, low)
        # The outermost intervals end at the exact minimum and maximum.
        if rank == 0:
            return _Place(low, low, low)
        if rank == self.total - 1:
            return _Place(high, high, high)
        count = int(self._counts[row])
        before = int(self._ends[row]) - count
        return _Place(low + (high - low) * Fraction(2 * (rank - before) + 1, 2 * count), low, high)

    def magnitudes(self) -> Ranks:
        """The same of the absolute values, without the zeros."""
        lows, highs = (-self._highs, -self._lows) if self._lows.dtype != np.uint64 else (self._lows, self._highs)
        negative, positive = self._lows < 0, self._lows > 0
        if self._lows.dtype == np.int64:  # the least int64 has its magnitude only as uint64
            lows, highs = lows.view(np.uint64), highs.view(np.uint64)
        low = np.concatenate((lows[negative][::-1], self._lows[positive].astype(lows.dtype)))
        high = np.concatenate((highs[negative][::-1], self._highs[positive].astype(highs.dtype)))
        counts = np.concatenate((self._counts[negative][::-1], self._counts[positive]))
        order = np.lexsort((high, low))
        low, high, counts = low[order], high[order], counts[order]
        # Buckets of x and of -x become one; only where min or max cut one short do their far ends differ.
        if low.size:
            starts = np.flatnonzero(np.concatenate(([True], low[1:] != low[:-1])))
            low, high = low[starts], np.maximum.reduceat(high, starts)
            counts = np.add.reduceat(counts, starts)
        return Ranks(low, low if self._highs is self._lows else high, counts)

    def limits(self) -> tuple[float, float] | None:
        """The least and the greatest element, as floats that do not lie inside; None if there is no element."""
        if not self.total:
            return None
        return float_below(self._lows[0].item()), -float_below(-self._highs[-1].item())

    def histogram(self, edges: Sequence[float]) -> Histogram:
        """Counts between ascending ``edges``; ``is_exact`` says that no bucket was shared out between two bins."""
        marks = np.asarray(edges, np.float64)
        sums, is_exact = self._below(marks[:-1], False)
        last, is_last_exact = self._below(marks[-1:], True)
        sums.extend(last)
        counts = tuple(after - before for before, after in pairwise(sums))
        return Histogram(tuple(edges), counts, sums[0], self.total - sums[-1], is_exact and is_last_exact)

    def _below(self, marks: NDArray[np.float64], is_closed: bool) -> tuple[list[int], bool]:
        """How many elements are less than each mark (or equal to it), and whether that is exact."""
        if not self.total:
            return [0] * marks.size, True
        side: Any = "right" if is_closed else "left"
        if self._lows.dtype == np.float64:
            rows, keys = self._highs.searchsorted(marks, side), marks
        else:
            # Integers are compared as integers: v < mark if and only if v < ceil(mark).
            whole = [math.floor(mark) + 1 if is_closed else math.ceil(mark) for mark in marks.tolist()]
            info = np.iinfo(self._lows.dtype)
            beyond = np.array([mark > info.max for mark in whole])
            keys = np.array([min(max(mark, info.min), info.max) for mark in whole], self._lows.dtype)
            rows, side = self._highs.searchsorted(keys, "left"), "left"
            rows[beyond] = self._counts.size
        starts = np.concatenate(([0], self._ends))
        sums = starts[rows].tolist()
        is_exact = True
        if self._highs is not self._lows:
            for i, row in enumerate(rows.tolist()):
                if row == self._counts.size:
                    continue
                low, high, mark = self._lows[row].item(), self._highs[row].item(), keys[i].item()
                if low < mark or (low == mark and side == "right" and low < high):
                    is_exact = False
                    share = (mark - low) / (high - low + int(self._lows.dtype != np.float64))
                    sums[i] += min(max(round(int(self._counts[row]) * share), 0), int(self._counts[row]))
        return sums, is_exact


@cache
def _decimal(q: float) -> tuple[int, int]:
    return Fraction(repr(q)).as_integer_ratio()


@cache
def _shares(bins: int) -> NDArray[np.float64]:
    """From 0 to 1 in so many steps."""
    shares: NDArray[np.float64] = np.arange(bins + 1) / bins
    shares.flags.writeable = False
    return shares


def float_below(value: float | int) -> float:
    """The greatest float that is not above ``value``."""
    nearest = float(value)
    return math.nextafter(nearest, -math.inf) if nearest > value else nearest


def linear_edges(low: float, high: float, bins: int) -> tuple[float, ...]:
    """``bins + 1`` evenly spaced numbers; around a single value where ``low == high``."""
    if low == high:
        margin = abs(low) / 2 or 0.5
        low, high = max(low - margin, -MAX_FLOAT), min(high + margin, MAX_FLOAT)
    shares = _shares(bins)
    if max(high, -low) < _LARGE:
        edges = low + (high - low) * shares
    else:
        # Half a range always fits into a float64, a whole one need not; what then rounds beyond it is clipped below.
        with np.errstate(over="ignore"):
            is_wide = high - low == math.inf
            edges = 2 * (low / 2 + (high / 2 - low / 2) * shares) if is_wide else low + (high - low) * shares
    return _ascending(edges, low, high)


def log_edges(low: float, high: float, bins: int) -> tuple[float, ...]:
    """``bins + 1`` positive numbers, evenly spaced in their logarithm; around a single value where ``low == high``."""
    if low == high:
        low, high = max(low / 2, 5e-324), min(high * 2, MAX_FLOAT)
    shares = _shares(bins)
    with np.errstate(over="ignore"):
        edges = np.exp2(math.log2(low) + (math.log2(high) - math.log2(low)) * shares)
    return _ascending(edges, low, high)


def _ascending(edges: NDArray[np.float64], low: float, high: float) -> tuple[float, ...]:
    edges[0], edges[-1] = low, high
    # Not np.clip, which takes longer for so few.
    found: list[float] = np.maximum.accumulate(np.minimum(np.maximum(edges, low), high)).tolist()
    return tuple(found)
