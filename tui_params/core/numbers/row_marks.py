"""Row marks: a number for each row of a table, from a few of its columns, so that equal rows have equal ones.

Rows with one mark need not be equal: whoever wants to know reads these few again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_params.core.channels import MOST_ALIKE

SAMPLED = 8
"""Columns that a mark is made of: with the largest magnitude, enough to tell nearly all rows that differ apart."""

MAX_ROWS = 1 << 20
"""A table of more rows has no marks: they would take over 8 MB in each thread."""


_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2**64 divided by the golden ratio: its multiples differ in many bits (Knuth, volume 3, 6.4)."""


class RowMarks:
    """The marks of the rows of one table, over the elements added so far; a monoid under ``merge``."""

    def __init__(self, rows: int, width: int) -> None:
        self._marks = np.zeros(rows, np.uint64)
        columns = {place * (width - 1) // (SAMPLED - 1) for place in range(SAMPLED)}
        self._columns = np.array(sorted(columns), np.int64)
        # Odd multipliers, so that no bit of a value is lost.
        self._weights = np.arange(1, self._columns.size + 1, dtype=np.uint64) * _SPREAD | np.uint64(1)

    def add(self, grid: NDArray[Any], row: int, column: int) -> None:
        """Take in the patterns of some whole rows, or of a part of one, from that row and column on."""
        first, last = self._columns.searchsorted([column, column + grid.shape[1]]).tolist()
        if first < last:
            # np.take and a product: three times as fast as an index and a sum along such short rows.
            sample = np.take(grid, self._columns[first:last] - column, axis=1).astype(np.uint64)
            self._marks[row : row + grid.shape[0]] += sample.dot(self._weights[first:last])

    def merge(self, other: RowMarks) -> None:
        """Take in the marks of other elements of the same table."""
        self._marks += other._marks

    def between(self, first: int, stop: int) -> NDArray[np.uint64]:
        """The sums that the marks of some rows are so far, to be added elsewhere; a view."""
        return self._marks[first:stop]

    def add_sums(self, first: int, sums: NDArray[np.uint64]) -> None:
        """Add such sums of other elements, for the rows from ``first`` on."""
        self._marks[first : first + sums.size] += sums

    def alike(self, largest: NDArray[Any]) -> tuple[tuple[int, ...], ...]:
        """The groups of rows with one mark and one largest magnitude, which is neither 0 nor the 1 of non-finite ones.

        MOST_ALIKE rows at most, the largest groups first.
        """
        rows = (largest > 1).nonzero()[0]
        keys = self._marks[rows] ^ (largest[rows].astype(np.uint64) * _SPREAD)
        ordered = np.sort(keys)
        if not (ordered[1:] == ordered[:-1]).any():
            return ()
        order = np.argsort(keys, kind="stable")
        starts = np.concatenate(([0], (ordered[1:] != ordered[:-1]).nonzero()[0] + 1, [keys.size]))
        sizes = starts[1:] - starts[:-1]
        found: list[tuple[int, ...]] = []
        left = MOST_ALIKE
        for group in np.argsort(-sizes, kind="stable")[:MOST_ALIKE].tolist():
            if sizes[group] < 2 or left < 2:
                break
            members = rows[order[starts[group] : starts[group] + min(int(sizes[group]), left)]]
            left -= members.size
            found.append(tuple(members.tolist()))
        return tuple(found)
