"""Raster: the part of a plane that fits on a screen, as one level of brightness for each cell of the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.numbers.block_picture import BlockPicture
from tui_params.core.numbers.levels import BAD, DEAD, MIDDLE, SPOILT, TOP
from tui_params.core.numbers.region import Region

Statistic: TypeAlias = Literal["mean", "rms", "max", "share"]
"""Of the elements of a block: their mean, root mean square, largest magnitude, share of NaN and Inf."""

_QUANTILE, _ROOM = 0.9, 1.5
"""The limit is so many times that quantile of the sizes: a single column of outliers cannot raise it."""

_LEAST_SHARE = 1e-6

_SOME = 4096


class Raster(msgspec.Struct, frozen=True):
    """Levels of the blocks of a region: ``row_edges[i]`` to ``row_edges[i + 1]`` are the rows of ``levels[i]``.

    A level is 0 to TOP: of a mean from ``-limit`` over MIDDLE, which is zero, to ``limit``, of the rest from zero to
    ``limit``; BAD where the block has a NaN or an Inf, unless that is what is shown. ``clipped`` blocks are beyond the
    limit. ``bad`` blocks have a NaN or an Inf. ``edge_rows`` and ``edge_columns`` say how large the least root mean
    square of a whole row or column is among those of a line of blocks; they are None where that is not known.
    ``values`` are there if every block is one element. ``is_coarse``: several cells of the screen show one block.
    """

    statistic: Statistic
    row_edges: tuple[int, ...]
    column_edges: tuple[int, ...]
    levels: tuple[bytes, ...]
    limit: float
    scale: float
    is_symlog: bool
    clipped: int
    bad: int
    is_sampled: bool
    is_coarse: bool
    edge_rows: bytes | None
    edge_columns: bytes | None
    values: tuple[tuple[float, ...], ...] | None = None

    @property
    def is_signed(self) -> bool:
        return self.statistic == "mean"


class BlockFacts(msgspec.Struct, frozen=True, gc=False):
    """What is known of one block: counts of its elements, and figures of the finite ones, None if there are none.

    ``low`` and ``high`` are None unless the block itself was read.
    """

    region: Region
    count: int
    nan: int
    inf: int
    mean: float | None
    rms: float | None
    peak: float | None
    low: float | None = None
    high: float | None = None
    is_sampled: bool = False


def make_raster(
    pictures: Sequence[BlockPicture],
    seen: Region,
    rows: int,
    columns: int,
    statistic: Statistic,
    *,
    is_symlog: bool = False,
) -> Raster:
    """The raster of a region that has elements, in at most ``rows`` by ``columns`` cells.

    Of the pictures that hold the region the first one is taken whose blocks are small enough, else the finest. At least
    one must hold it.
    """
    able = [picture for picture in pictures if picture.region.holds(seen)]
    high, wide = max(1, seen.height // rows), max(1, seen.width // columns)
    fine = [one for one in able if one.blocking.height <= high and one.blocking.width <= wide]
    picture = fine[0] if fine else min(able, key=lambda one: one.blocking.height * one.blocking.width)
    block = picture.blocking
    row_edges, is_high = _edges(seen.top, seen.height, rows, picture.region.top, picture.region.height, block.height)
    column_edges, is_wide = _edges(
        seen.left, seen.width, columns, picture.region.left, picture.region.width, block.width
    )
    downs = _Line(row_edges, picture.region.top, block.height, picture.row_counts)
    acrosses = _Line(column_edges, picture.region.left, block.width, picture.column_counts)
    counts = np.outer(downs.counts, acrosses.counts)
    bad = np.zeros(counts.shape, np.int64)
    for table in (picture.nans, picture.infs):
        if table.any():
            bad += _reduced(np.add, table, downs, acrosses).astype(np.int64)
    values = _values(picture, downs, acrosses, statistic, counts, bad)
    is_bad = bad > 0
    levels, limit, scale, clipped = _levels(values, is_bad, statistic, is_symlog)
    whole = next((one for one in pictures if one.row_squares.size or one.column_squares.size), None)
    is_single = not is_high and not is_wide and (block.height, block.width) == (1, 1) and not picture.is_sampled
    is_single = is_single and bool((np.diff(row_edges) == 1).all() and (np.diff(column_edges) == 1).all())
    return Raster(
        statistic,
        tuple(row_edges.tolist()),
        tuple(column_edges.tolist()),
        tuple(line.tobytes() for line in levels),
        limit,
        scale,
        is_symlog,
        clipped,
        int(is_bad.sum()),
        picture.is_sampled,
        is_high or is_wide,
        None if whole is None else _edge(whole.row_squares, whole.region.width, row_edges - whole.region.top),
        None if whole is None else _edge(whole.column_squares, whole.region.height, column_edges - whole.region.left),
        _singles(picture, downs, acrosses) if is_single and statistic != "share" else None,
    )


def facts_in(picture: BlockPicture, region: Region) -> BlockFacts:
    """What a picture that holds a region knows of it: of the blocks in which it lies."""
    block, whole = picture.blocking, picture.region
    top, left = (region.top - whole.top) // block.height, (region.left - whole.left) // block.width
    bottom = -(-(region.top + region.height - whole.top) // block.height)
    right = -(-(region.left + region.width - whole.left) // block.width)
    part = np.s_[top:bottom, left:right]
    nan, inf = int(picture.nans[part].sum()), int(picture.infs[part].sum())
    count = int(picture.row_counts[top:bottom].sum() * picture.column_counts[left:right].sum())
    finite = count - nan - inf
    first_row, first_column = whole.top + top * block.height, whole.left + left * block.width
    held = Region(
        first_row,
        first_column,
        min(whole.top + whole.height, whole.top + bottom * block.height) - first_row,
        min(whole.left + whole.width, whole.left + right * block.width) - first_column,
    )
    if not finite:
        return BlockFacts(held, count, nan, inf, None, None, None, is_sampled=picture.is_sampled)
    with np.errstate(all="ignore"):
        mean = float(picture.sums[part].sum() / finite)
        rms = float(np.sqrt(picture.squares[part].sum() / finite))
    return BlockFacts(held, count, nan, inf, mean, rms, float(picture.peaks[part].max()), is_sampled=picture.is_sampled)


def least_row(picture: BlockPicture, first: int, stop: int) -> tuple[int, float] | None:
    """The row, of those from ``first`` on, with the least root mean square, and that; None if no row is known."""
    return _least(picture.row_squares, picture.region.width, first - picture.region.top, stop - first, first)


def least_column(picture: BlockPicture, first: int, stop: int) -> tuple[int, float] | None:
    """The column, of those from ``first`` on, with the least root mean square."""
    return _least(picture.column_squares, picture.region.height, first - picture.region.left, stop - first, first)


def _least(squares: NDArray[np.float64], length: int, start: int, count: int, first: int) -> tuple[int, float] | None:
    some = squares[start : start + count]
    if not some.size or np.isnan(some).all():
        return None
    place = int(np.nanargmin(some))
    return first + place, float(np.sqrt(some[place] / length))


class _Line:
    """The lines of blocks along one axis that the cells of a raster are made of: cell i is ``starts[i]`` and on."""

    def __init__(self, edges: NDArray[np.int64], origin: int, size: int, counts: NDArray[np.int64]) -> None:
        places = (edges - origin) // size
        self.first = int(places[0])
        self.stop = max(int(-(-(edges[-1] - origin) // size)), self.first + 1)
        self.starts = places[:-1] - self.first
        self.is_repeated = bool((np.diff(self.starts) == 0).any())
        part = counts[self.first : self.stop]
        self.counts = part[self.starts] if self.is_repeated else np.add.reduceat(part, self.starts)


def _edges(start: int, length: int, cells: int, origin: int, whole: int, size: int) -> tuple[NDArray[np.int64], bool]:
    """Where the cells of a raster begin, and the end of the last; and whether blocks are larger than cells."""
    count = min(cells, length)
    edges = start + np.arange(count + 1, dtype=np.int64) * length // count
    if size == 1:
        return edges, False
    if size * count > length:
        return edges, True
    # A cell is of whole blocks: only so are its figures known.
    first, last = (start - origin) // size * size, -(-(start + length - origin) // size) * size
    edges = origin + (edges - origin + size // 2) // size * size
    edges[0], edges[-1] = origin + first, min(origin + last, origin + whole)
    return edges[np.append(True, np.diff(edges) > 0)], False


def _reduced(how: np.ufunc, table: NDArray[Any], downs: _Line, acrosses: _Line) -> NDArray[Any]:
    part = table[downs.first : downs.stop, acrosses.first : acrosses.stop]
    part = part[downs.starts] if downs.is_repeated else how.reduceat(part, downs.starts, axis=0)
    found: NDArray[Any] = (
        part[:, acrosses.starts] if acrosses.is_repeated else how.reduceat(part, acrosses.starts, axis=1)
    )
    return found


def _values(
    picture: BlockPicture,
    downs: _Line,
    acrosses: _Line,
    statistic: Statistic,
    counts: NDArray[np.int64],
    bad: NDArray[np.int64],
) -> NDArray[np.float64]:
    """The statistic of each cell; 0 where it has no finite element."""
    if statistic == "max":
        peaks: NDArray[np.float64] = _reduced(np.maximum, picture.peaks, downs, acrosses)
        return peaks
    finite = np.maximum(counts - bad, 1)
    with np.errstate(all="ignore"):
        if statistic == "share":
            found = bad / np.maximum(counts, 1)
        elif statistic == "rms":
            found = np.sqrt(_reduced(np.add, picture.squares, downs, acrosses) / finite)
        else:
            found = _reduced(np.add, picture.sums, downs, acrosses) / finite
    return np.asarray(found, np.float64)


def _levels(
    values: NDArray[np.float64], is_bad: NDArray[np.bool_], statistic: Statistic, is_symlog: bool
) -> tuple[NDArray[np.uint8], float, float, int]:
    """The levels; the limit; what is the unit of the symmetric logarithm; and how many values are beyond the limit."""
    if statistic == "share":
        with np.errstate(divide="ignore"):
            share = 1 + np.log10(np.maximum(values, _LEAST_SHARE)) / -np.log10(_LEAST_SHARE)
        return np.where(values > 0, np.rint(90 + 164 * share), 0).astype(np.uint8), 1.0, 1.0, 0
    sizes = np.abs(np.nan_to_num(values, nan=0.0))
    good = np.sort(sizes[~is_bad])
    top = float(good[-1]) if good.size else 0.0
    robust = robust_limit(good)
    limit, clipped, scale = robust, 0, robust / 8
    if is_symlog:
        limit = top
    elif good.size:
        clipped = int(good.size - np.searchsorted(good, robust, side="right"))
    if limit == 0:
        shares = np.zeros_like(values)
    elif is_symlog and scale > 0:
        with np.errstate(all="ignore"):
            shares = np.nan_to_num(np.arcsinh(sizes / scale) / np.arcsinh(limit / scale), nan=1.0)
    else:
        with np.errstate(all="ignore"):
            shares = sizes / limit
    shares = np.minimum(shares, 1.0)
    found = MIDDLE + np.rint(np.copysign(shares, values) * MIDDLE) if statistic == "mean" else np.rint(shares * TOP)
    levels = found.astype(np.uint8)
    levels[is_bad] = BAD
    return levels, limit, scale, clipped


def robust_limit(good: NDArray[np.float64], least: float = 0.0) -> float:
    """The size that has the brightest colour, of sorted sizes: a few that are far larger do not darken the rest.

    It is ``least`` or more.
    """
    if not good.size:
        return least
    top = float(good[-1])
    return max(min(top, _ROOM * float(good[int(_QUANTILE * (good.size - 1))])), least) or top


def _edge(squares: NDArray[np.float64], length: int, edges: NDArray[np.int64]) -> bytes | None:
    """For each line of blocks the least root mean square in it as a bar of eighths, DEAD, or SPOILT."""
    if not squares.size:
        return None
    with np.errstate(all="ignore"):
        least = np.sqrt(np.fmin.reduceat(squares, edges[:-1]) / length)
        # Some rows are enough to say how long a usual bar is.
        some = squares[:: max(1, squares.size // _SOME)]
        some = np.sort(some[np.isfinite(some)])
        usual = np.sqrt(some[some.size // 2] / length) if some.size else 0.0
        bars = np.clip(np.ceil(np.nan_to_num(least / (usual or 1.0), nan=0.0, posinf=8.0) * 4), 1, 8)
    is_spoilt = np.logical_or.reduceat(np.isnan(squares), edges[:-1])
    found = np.where(least == 0, DEAD, np.where(is_spoilt, SPOILT, bars))
    return found.astype(np.uint8).tobytes()


def _singles(picture: BlockPicture, downs: _Line, acrosses: _Line) -> tuple[tuple[float, ...], ...]:
    part = np.s_[downs.first : downs.stop, acrosses.first : acrosses.stop]
    found = picture.sums[part].copy()
    found[picture.nans[part] > 0] = np.nan
    found[picture.infs[part] > 0] = np.inf
    return tuple(map(tuple, found.tolist()))
