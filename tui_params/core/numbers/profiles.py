"""Profiles: figures of every row and column of one tensor, from sums over its elements.

Rows and columns are those of ``core.channels``, and so are the marks, so that what ``check`` says of a row is said of
the same one here.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.channels import FAINT, outlier_limit
from tui_params.core.numbers.casts import as_float64
from tui_params.core.numbers.maxima import median_of
from tui_params.core.tensor import TensorInfo

MAX_CHANNELS = 1 << 20
"""More rows, or elements of a row, have no figures of their own: they would take over 100 MB."""

Measure = Literal["rms", "abs_max", "mean", "zeros", "nan"]
MEASURES: tuple[Measure, ...] = ("abs_max", "rms", "mean", "zeros", "nan")

Order = Literal["worst", "largest", "smallest", "place"]
"""``worst`` first: not finite, dead, outliers, faint, then by the distance from the median; ``place`` is by index."""

ORDERS: tuple[Order, ...] = ("worst", "largest", "smallest", "place")

Mark = Literal["", "faint", "outlier", "dead", "nan"]
MARKS: tuple[Mark, ...] = ("", "faint", "outlier", "dead", "nan")
"""In the order in which they are worse. ``dead``: zeros only. ``outlier``, ``faint``: as ``check`` has them."""

_GRID_NUMEL = 1 << 15
"""Elements that are added at a time: few enough for the second-level cache."""

_LARGE, _SCALE = 2.0**500, 2.0**600
"""Beyond this, and below its inverse, squares are summed up apart and scaled: they might leave float64."""


class ChannelLine(msgspec.Struct, frozen=True, gc=False):
    """The figures of one row or column: over its finite elements, ``nan`` and ``inf`` counted apart.

    ``rms``, ``mean`` are None where no element is finite.
    """

    index: int
    mark: Mark
    abs_max: float
    rms: float | None
    mean: float | None
    zeros: int
    nan: int
    inf: int


class Profile(msgspec.Struct, frozen=True, eq=False):
    """The rows, or the columns, of one tensor: arrays with an entry for each; ``size`` elements are in each of them.

    ``limit`` is the magnitude beyond which one is an outlier, None if that means nothing here.
    """

    size: int
    abs_max: NDArray[np.float64]
    rms: NDArray[np.float64]
    mean: NDArray[np.float64]
    zeros: NDArray[np.int64]
    nan: NDArray[np.int64]
    inf: NDArray[np.int64]
    marks: NDArray[np.uint8]
    median_abs_max: float
    limit: float | None

    @property
    def count(self) -> int:
        return self.abs_max.size

    def marked(self) -> dict[Mark, int]:
        """How many have each mark, the worst first; those that none has are left out."""
        counts = np.bincount(self.marks, minlength=len(MARKS)).tolist()
        return {mark: counts[number] for number, mark in reversed(list(enumerate(MARKS))) if mark and counts[number]}

    def line(self, index: int) -> ChannelLine:
        """The figures of one."""
        rms, mean = float(self.rms[index]), float(self.mean[index])
        return ChannelLine(
            index,
            MARKS[int(self.marks[index])],
            float(self.abs_max[index]),
            None if math.isnan(rms) else rms,
            None if math.isnan(mean) else mean,
            int(self.zeros[index]),
            int(self.nan[index]),
            int(self.inf[index]),
        )

    def values(self, measure: Measure) -> NDArray[np.float64]:
        """One figure of each, the zeros and NaN as shares; NaN where there is none."""
        if measure in ("zeros", "nan"):
            counts = self.zeros if measure == "zeros" else self.nan + self.inf
            shares: NDArray[np.float64] = counts / self.size
            return shares
        return {"rms": self.rms, "abs_max": self.abs_max, "mean": self.mean}[measure]


class Ranking(msgspec.Struct, frozen=True, eq=False):
    """A Profile in the order of one of its figures."""

    profile: Profile
    measure: Measure
    order: NDArray[np.intp]
    ranks: NDArray[np.intp]
    """The place of each index in the order."""

    def lines(self, first: int, count: int) -> tuple[ChannelLine, ...]:
        """Some of them from place ``first`` on."""
        return tuple([self.profile.line(index) for index in self.order[max(first, 0) : first + count].tolist()])

    def index(self, rank: int) -> int:
        return int(self.order[rank])

    def rank(self, index: int) -> int:
        return int(self.ranks[index])

    def next_marked(self, rank: int, step: int) -> int | None:
        """The place of the next one (or the one before) with a mark, in this order; None if there is none."""
        places = np.flatnonzero(self.profile.marks[self.order])
        later = places[places > rank] if step > 0 else places[places < rank]
        return None if not later.size else int(later[0 if step > 0 else -1])

    def curve(self, points: int) -> Curve:
        """The figure over all of them in at most ``points`` steps, from the first in the order to the last."""
        values = self.profile.values(self.measure)[self.order]
        steps = min(points, values.size)
        starts = np.arange(steps) * values.size // steps
        with np.errstate(invalid="ignore"):
            lows, highs = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
            marks = np.maximum.reduceat(self.profile.marks[self.order], starts)
        return Curve(
            values.size,
            tuple(lows.tolist()),
            tuple(highs.tolist()),
            tuple([MARKS[mark] for mark in marks.tolist()]),
        )


class Curve(msgspec.Struct, frozen=True, gc=False):
    """A figure over ``count`` channels in steps of neighbours: least, greatest and worst mark in each; NaN for none."""

    count: int
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    marks: tuple[Mark, ...]


class Profiles(msgspec.Struct, frozen=True, eq=False):
    """The rows and the columns of one tensor; ``reason`` says in one sentence why one of them is missing."""

    rows: Profile | None
    columns: Profile | None
    reason: str | None = None


def ranked(profile: Profile, measure: Measure, order: Order) -> Ranking:
    """The rows or columns in an order by one of their figures; equal ones by their index, what is None at the end."""
    values = profile.values(measure)
    if order == "place":
        found = np.arange(values.size)
    elif order == "worst":
        found = np.lexsort((-_distance(values, measure), -profile.marks.astype(np.int64)))
    else:
        found = np.argsort(-values if order == "largest" else values, kind="stable")
    ranks = np.empty_like(found)
    ranks[found] = np.arange(found.size)
    return Ranking(profile, measure, found, ranks)


def _distance(values: NDArray[np.float64], measure: Measure) -> NDArray[np.float64]:
    """How far each lies from the median: in its logarithm, the mean in its value; of shares, they themselves."""
    if measure in ("zeros", "nan"):
        return values
    known = values[~np.isnan(values)]
    middle = median_of(known) if known.size else 0.0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        far = np.abs(values - middle) if measure == "mean" else np.abs(np.log(values) - np.log(middle))
    return np.where(np.isnan(far), -1.0, far)


def layout_of(info: TensorInfo) -> tuple[int, int, int]:
    """Rows, elements in a row, and how many neighbours in a row are one column, as ``core.channels`` has them."""
    if info.ndim < 2 or not info.numel:
        return (1, max(info.numel, 1), 1)
    width = math.prod(info.shape[1:]) if info.ndim > 3 else info.shape[-1]
    return info.numel // width, width, math.prod(info.shape[2:]) if info.ndim > 3 else 1


class ProfileSums:
    """The sums behind the Profiles of one tensor, over the elements added so far."""

    def __init__(self, info: TensorInfo) -> None:
        rows, width, group = layout_of(info)
        self._parts = 2 if info.dtype.is_complex else 1
        self._info = info
        self._is_wide = info.dtype.bits // self._parts == 64
        self._width = width * self._parts
        self._group = group * self._parts
        self._rows = _Sums(rows if rows <= MAX_CHANNELS else 0, self._is_wide)
        # A convolution with one input for each output (a depthwise one) has no inputs to compare.
        has_columns = info.ndim >= 2 and self._width <= MAX_CHANNELS and (width > group or info.ndim <= 3)
        self._columns = _Sums(self._width if has_columns else 0, self._is_wide)

    def add(self, values: NDArray[Any], first: int) -> None:
        """Take in values in the element's own type from the row-major number ``first`` on."""
        flat = values.reshape(-1)
        if self._parts == 2:
            flat = flat.view(flat.real.dtype)
        row, column = divmod(first * self._parts, self._width)
        while flat.size:
            if column or flat.size < self._width:
                take = rows = min(self._width - column, flat.size, _GRID_NUMEL)
                grid = flat[:take].reshape(1, take)
            else:
                rows = max(1, min(flat.size, _GRID_NUMEL) // self._width)
                take = min(rows * self._width, flat.size, max(_GRID_NUMEL, 1))
                grid = flat[:take].reshape(-1, min(self._width, take))
            self._take(as_float64(grid), row, column)
            column += take
            row, column = row + column // self._width, column % self._width
            flat = flat[take:]

    def _take(self, grid: NDArray[np.float64], row: int, column: int) -> None:
        bad = ~np.isfinite(grid)
        if bad.any():
            nan = np.isnan(grid)
            self._rows.count_bad(nan, bad, 1, row)
            self._columns.count_bad(nan, bad, 0, column)
            grid = np.where(bad, 0.0, grid)
        sizes = np.abs(grid)
        self._rows.raise_to(sizes.max(1), row)
        self._columns.raise_to(sizes.max(0), column)
        filled = grid != 0
        for sums, axis, at in ((self._rows, 1, row), (self._columns, 0, column)):
            count = grid.shape[axis] if filled.all() else np.count_nonzero(filled, axis=axis)
            sums.add_filled(count, at, grid.shape[1 - axis])
        if self._is_wide and (sizes.max() > _LARGE or bool((filled & (sizes < 1 / _LARGE)).any())):
            is_large, is_small = sizes > _LARGE, sizes < 1 / _LARGE
            for level, which, factor in ((1, is_large, 1 / _SCALE), (2, is_small, _SCALE)):
                self._sum_up(np.where(which, grid, 0.0) * factor, row, column, level)
            grid = np.where(is_large | is_small, 0.0, grid)
        self._sum_up(grid, row, column, 0)

    def _sum_up(self, grid: NDArray[np.float64], row: int, column: int, level: int) -> None:
        if self._rows.count:
            self._rows.add(grid.sum(1), np.einsum("ij,ij->i", grid, grid), row, level)
        if self._columns.count:
            self._columns.add(grid.sum(0), np.einsum("ij,ij->j", grid, grid), column, level)

    def profiles(self, outlier_ratio: float, *, has_faint: bool) -> Profiles:
        """The figures of everything that was added; ``has_faint`` for the rows of a table of tokens."""
        rows, width, group = layout_of(self._info)
        found = self._rows.profile(1, self._width, outlier_ratio, has_faint=has_faint)
        across = self._columns.profile(self._group, rows * self._group, outlier_ratio, has_faint=False)
        reason = None
        if found is None:
            reason = f"{rows:,} rows are more than are listed ({MAX_CHANNELS:,})"
        elif across is None and self._width > MAX_CHANNELS:
            reason = f"{width // group:,} columns are more than are listed ({MAX_CHANNELS:,})"
        elif across is None:
            reason = "there is one input for each output, so there are no columns to compare"
        return Profiles(found, across, reason)


class _Sums:
    """Sums along one side; the three levels of sums are for ordinary, very large and very small numbers."""

    def __init__(self, count: int, is_wide: bool) -> None:
        self.count = count
        levels = 3 if is_wide else 1
        self._totals = np.zeros((levels, count))
        self._squares = np.zeros((levels, count))
        self._abs_max = np.zeros(count)
        self._filled = np.zeros(count, np.int64)
        self._nan = np.zeros(count, np.int64)
        self._bad = np.zeros(count, np.int64)

    def count_bad(self, nan: NDArray[np.bool_], bad: NDArray[np.bool_], axis: int, at: int) -> None:
        if self.count:
            self._nan[at : at + nan.shape[1 - axis]] += np.count_nonzero(nan, axis=axis)
            self._bad[at : at + bad.shape[1 - axis]] += np.count_nonzero(bad, axis=axis)

    def raise_to(self, sizes: NDArray[np.float64], at: int) -> None:
        if self.count:
            some = self._abs_max[at : at + sizes.size]
            np.maximum(some, sizes, out=some)

    def add_filled(self, filled: NDArray[np.intp] | int, at: int, size: int) -> None:
        if self.count:
            self._filled[at : at + size] += filled

    def add(self, totals: NDArray[np.float64], squares: NDArray[np.float64], at: int, level: int) -> None:
        self._totals[level, at : at + totals.size] += totals
        self._squares[level, at : at + squares.size] += squares

    def profile(self, group: int, size: int, outlier_ratio: float, *, has_faint: bool) -> Profile | None:
        """The figures; ``group`` neighbours are one, of ``size`` elements in all."""
        if not self.count:
            return None
        totals, squares = (x.reshape(len(x), -1, group).sum(2) for x in (self._totals, self._squares))
        filled, nan, bad = (x.reshape(-1, group).sum(1) for x in (self._filled, self._nan, self._bad))
        abs_max: NDArray[np.float64] = self._abs_max.reshape(-1, group).max(1)
        finite = size - bad
        with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
            mean, rms = totals[0] / finite, np.sqrt(squares[0] / finite)
            if len(totals) == 3:
                mean += totals[1] / finite * _SCALE + totals[2] / finite / _SCALE
                large = np.sqrt((squares[1] + squares[0] / _SCALE / _SCALE) / finite) * _SCALE
                small = np.sqrt((squares[2] + squares[0] * _SCALE * _SCALE) / finite) / _SCALE
                rms = np.where(squares[1] > 0, large, np.where((squares[2] > 0) & np.isfinite(small), small, rms))
        median = median_of(abs_max)
        limit = outlier_limit(median, abs_max.size, outlier_ratio)
        marks = np.zeros(abs_max.size, np.uint8)
        if has_faint:
            marks[(abs_max > 0) & (abs_max < FAINT * median)] = MARKS.index("faint")
        if limit is not None:
            marks[abs_max > limit] = MARKS.index("outlier")
        marks[(filled == 0) & (bad == 0)] = MARKS.index("dead")
        marks[bad > 0] = MARKS.index("nan")
        zeros = finite - filled
        return Profile(size, abs_max, rms, mean, zeros, nan, bad - nan, marks, median, limit)
