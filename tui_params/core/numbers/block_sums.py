"""Block sums: values of any type taken into BlockTables, by a compiled loop where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_params.core.dtypes import DType, numpy_dtype
from tui_params.core.kernels.block_tables import BlockTables
from tui_params.core.kernels.protocol import DECODED, STEP, KernelSupply

LOOPED = DECODED
"""Names of the types that the compiled loop handles; the others go over float64."""


_LEAST = 5e-324
"""The least float64."""


class BlockSums:
    """Fills the tables of one matrix of ``columns`` columns; one thread adds, and the results of several merge."""

    def __init__(self, dtype: DType, columns: int, tables: BlockTables, kernels: KernelSupply) -> None:
        self._dtype = dtype
        self._columns = columns
        self._kernels = kernels
        self.tables = tables

    def add_stored(self, raw: NDArray[np.uint8], first: int, numel: int) -> None:
        """Take in ``numel`` elements from the row-major position ``first`` on; ``raw`` are their storage bytes."""
        from tui_params.core.numbers.decode import decode

        values = decode(raw, self._dtype, numel)
        row, column = divmod(first, self._columns)
        if column:
            head = min(self._columns - column, numel)
            self.add(values[:head].reshape(1, head), row, column)
            values, row = values[head:], row + 1
        whole = values.size // self._columns
        if whole:
            self.add(values[: whole * self._columns].reshape(whole, self._columns), row, 0)
            values, row = values[whole * self._columns :], row + whole
        if values.size:
            self.add(values.reshape(1, -1), row, 0)

    def add(self, values: NDArray[Any], row: int, column: int) -> None:
        """Take in a box of values, of the element's own type, whose first one is at a row and a column."""
        if not values.size:
            return
        name = self._dtype.name
        # complex32 is read as complex64, and integers of 4 bits a byte each: their names are not among these.
        if name in LOOPED and values.dtype == numpy_dtype(self._dtype):
            words = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
            if self._kernels().blocks(words, name, row, column, self.tables):
                return
        across = min(values.shape[1], STEP)
        down = max(1, STEP // across)
        for top in range(0, values.shape[0], down):
            for left in range(0, values.shape[1], across):
                _add(values[top : top + down, left : left + across], row + top, column + left, self.tables)


def magnitudes(values: NDArray[Any]) -> NDArray[np.float64]:
    """The values as float64; of complex ones the absolute value, NaN if a part is NaN, else Inf if one is infinite."""
    with np.errstate(all="ignore"):
        if values.dtype.kind != "c":
            return values.astype(np.float64)
        wide = values.astype(np.complex128)
        found: NDArray[np.float64] = np.abs(wide)
        found[np.isnan(wide.real) | np.isnan(wide.imag)] = np.nan
    return found


def _add(values: NDArray[Any], row: int, column: int, tables: BlockTables) -> None:
    found = magnitudes(values)
    is_bad = ~np.isfinite(found)
    downs, rows = _starts(row, found.shape[0], tables.height)
    acrosses, columns = _starts(column, found.shape[1], tables.width)
    part = np.s_[downs, acrosses]
    has_bad = bool(is_bad.any())
    if has_bad:
        for counts, kind in ((tables.nans, np.isnan(found)), (tables.infs, np.isinf(found))):
            counts[part] += _summed(kind.astype(np.uint32), rows, columns)
        found[is_bad] = 0
    with np.errstate(all="ignore"):
        squares = found * found
        if values.dtype.itemsize >= 8 and values.dtype.kind in "fc":
            # A square that vanishes must not make a row look like one of zeros.
            squares[(squares == 0) & (found != 0)] = _LEAST
        tables.sums[part] += _summed(found, rows, columns)
        tables.squares[part] += _summed(squares, rows, columns)
    peaks = np.maximum.reduceat(np.maximum.reduceat(np.abs(found), columns, axis=1), rows, axis=0)
    np.maximum(tables.peaks[part], peaks, out=tables.peaks[part])
    for edge, first, axis in ((tables.row_squares, row, 1), (tables.column_squares, column, 0)):
        if edge.size:
            with np.errstate(all="ignore"):
                total = squares.sum(axis=axis)
            if has_bad:
                total[is_bad.any(axis=axis)] = np.nan
            edge[first : first + total.size] += total


def _starts(first: int, count: int, size: int) -> tuple[slice, NDArray[np.intp]]:
    """The blocks that ``count`` rows from ``first`` on are in, and the place among them where each block begins."""
    low, high = first // size, (first + count - 1) // size
    starts = np.arange(low, high + 1, dtype=np.intp) * size - first
    starts[0] = 0
    return slice(low, high + 1), starts


def _summed(values: NDArray[Any], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[Any]:
    found: NDArray[Any] = np.add.reduceat(np.add.reduceat(values, columns, axis=1), rows, axis=0)
    return found
