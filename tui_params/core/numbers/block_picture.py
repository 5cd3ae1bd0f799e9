"""BlockPicture: a matrix as blocks, of which any coarser picture is made without reading anything again."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.kernels.block_tables import BlockTables
from tui_params.core.numbers.region import Region

MOST_BLOCKS = 1 << 18
"""Blocks of a picture: 10 MiB in each thread that reads."""

MOST_DOWN = 512
"""Blocks down, or across, where the matrix is long enough in both directions."""

MOST_EDGE = 1 << 18
"""A matrix with more rows than this has no figures of each row: they would take over 2 MiB in each thread."""


class Blocking(msgspec.Struct, frozen=True, gc=False):
    """How a region is cut: blocks of ``height`` rows by ``width`` columns; the last ones may be smaller."""

    region: Region
    height: int
    width: int

    def tables(self) -> BlockTables:
        """Empty tables for it."""
        rows, columns = self.region.height, self.region.width
        has_rows, has_columns = rows <= MOST_EDGE, columns <= MOST_EDGE
        return BlockTables.empty(rows, columns, self.height, self.width, has_rows=has_rows, has_columns=has_columns)

    def transposed(self) -> Blocking:
        return Blocking(self.region.transposed(), self.width, self.height)


def blocking_of(region: Region) -> Blocking:
    """Blocks so small that a region is MOST_BLOCKS of them, or single elements."""
    down = MOST_DOWN if region.width >= MOST_DOWN else max(MOST_DOWN, MOST_BLOCKS // max(region.width, 1))
    across = MOST_DOWN if region.height >= MOST_DOWN else max(MOST_DOWN, MOST_BLOCKS // max(region.height, 1))
    return Blocking(region, max(1, -(-region.height // down)), max(1, -(-region.width // across)))


@dataclass(frozen=True, slots=True, eq=False)
class BlockPicture:
    """What is known of the blocks of a region of a plane; all arrays are read-only.

    ``row_counts`` and ``column_counts`` say how many rows and columns of each block were looked at: fewer than there
    are if ``is_sampled``. ``row_squares`` and ``column_squares`` (sums of squares; NaN where a value is not finite) are
    empty unless every element of the region was looked at. For the other arrays see BlockTables.
    """

    blocking: Blocking
    is_sampled: bool
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    peaks: NDArray[np.float64]
    nans: NDArray[np.uint32]
    infs: NDArray[np.uint32]
    row_counts: NDArray[np.int64]
    column_counts: NDArray[np.int64]
    row_squares: NDArray[np.float64]
    column_squares: NDArray[np.float64]

    @property
    def region(self) -> Region:
        return self.blocking.region

    def transposed(self) -> BlockPicture:
        """The picture of the transposed plane."""
        return BlockPicture(
            self.blocking.transposed(),
            self.is_sampled,
            self.sums.T,
            self.squares.T,
            self.peaks.T,
            self.nans.T,
            self.infs.T,
            self.column_counts,
            self.row_counts,
            self.column_squares,
            self.row_squares,
        )


def exact_picture(blocking: Blocking, tables: BlockTables) -> BlockPicture:
    """The picture of a region of which every element is in the tables."""
    rows = _sizes(blocking.region.height, blocking.height)
    columns = _sizes(blocking.region.width, blocking.width)
    return make_picture(blocking, tables, rows, columns, is_sampled=False)


def make_picture(
    blocking: Blocking,
    tables: BlockTables,
    row_counts: NDArray[np.int64],
    column_counts: NDArray[np.int64],
    *,
    is_sampled: bool,
) -> BlockPicture:
    """The picture of the blocks in ``tables``, which must not be added to any more."""
    picture = BlockPicture(
        blocking,
        is_sampled,
        tables.sums,
        tables.squares,
        tables.peaks,
        tables.nans,
        tables.infs,
        row_counts,
        column_counts,
        tables.row_squares,
        tables.column_squares,
    )
    for array in (tables.sums, tables.squares, tables.peaks, tables.nans, tables.infs, row_counts, column_counts):
        array.flags.writeable = False
    return picture


def _sizes(length: int, size: int) -> NDArray[np.int64]:
    """The rows in each block of ``size``, the last one with what is left."""
    found = np.full(-(-length // size), size, np.int64)
    if found.size:
        found[-1] = length - (found.size - 1) * size
    return found
