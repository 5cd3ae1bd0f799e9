"""BlockTables: what is summed up of each block of a matrix, and of each of its rows and columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True, eq=False)
class BlockTables:
    """Sums over blocks of ``height`` rows by ``width`` columns, those at the ends smaller; a monoid under ``merge``.

    ``sums``, ``squares`` (of the finite values) and ``peaks`` (their largest magnitude) are float64, ``nans`` and
    ``infs`` uint32 counts, all of shape [blocks down, blocks across]. ``row_squares`` and ``column_squares`` are the
    float64 sums of squares of each row and column, NaN where one holds a value that is not finite; they are empty where
    they are not wanted.
    """

    height: int
    width: int
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    peaks: NDArray[np.float64]
    nans: NDArray[np.uint32]
    infs: NDArray[np.uint32]
    row_squares: NDArray[np.float64]
    column_squares: NDArray[np.float64]

    @staticmethod
    def empty(rows: int, columns: int, height: int, width: int, *, has_rows: bool, has_columns: bool) -> BlockTables:
        """The tables of a matrix of which nothing was seen yet."""
        shape = -(-rows // height), -(-columns // width)
        edges = np.zeros(rows * has_rows), np.zeros(columns * has_columns)
        sums, squares, peaks = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        nans, infs = np.zeros(shape, np.uint32), np.zeros(shape, np.uint32)
        return BlockTables(height, width, sums, squares, peaks, nans, infs, *edges)

    def merge(self, other: BlockTables) -> None:
        """Take in what was summed up of other elements of the same matrix."""
        self.sums += other.sums
        self.squares += other.squares
        np.maximum(self.peaks, other.peaks, out=self.peaks)
        self.nans += other.nans
        self.infs += other.infs
        self.row_squares += other.row_squares
        self.column_squares += other.column_squares
