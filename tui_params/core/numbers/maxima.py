"""Maxima: the largest magnitude in each row and column of one tensor, found in the integers that its bytes are.

For the floating types here, the bit patterns without the sign bit, read as unsigned integers, have the order of the
magnitudes (IEEE 754-2019 section 3.4; OCP 8-bit formats), with infinities and NaN above the largest finite one.
Doubling drops the sign bit and leaves the odd numbers free: 1 means "not finite", so that a row of NaN is not taken
for a row of zeros.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_params.core.channels import FAINT, Channel, Channels, Side, is_embedding_name
from tui_params.core.dtypes import DType, numpy_dtype
from tui_params.core.kernels.by_numpy import NumpyKernels
from tui_params.core.kernels.protocol import KernelSupply, Lines
from tui_params.core.numbers.decode import numbers
from tui_params.core.numbers.row_marks import MAX_ROWS, RowMarks
from tui_params.core.tensor import TensorInfo

MAX_CHANNELS = 1 << 22
"""A tensor with more rows and columns than this together has no maxima: they would take over 32 MB in each thread."""

LISTED = 8
"""How many of the largest channels, and of the dead ones, are listed."""

_FEW = 64

_UNORDERED = ("float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")
"""Types whose pattern for -0 is NaN, or that have no zero."""


class FoundMaxima(NamedTuple):
    """The largest magnitudes of some elements, as doubled patterns: of the rows from ``first`` on, of all columns.

    ``marks`` are the sums of RowMarks for the same rows, None where none are made.
    """

    first: int
    rows: NDArray[Any]
    columns: NDArray[Any]
    marks: NDArray[np.uint64] | None


def lines_of(info: TensorInfo) -> Lines | None:
    """The rows and columns; None for what has no channels: complex, packed or bool types, views, one dimension."""
    if info.stride is not None or not info.numel or info.ndim < 2 or info.dtype.kind not in ("float", "int"):
        return None
    if info.dtype.is_packed or info.dtype.name in _UNORDERED or info.dtype.numpy is None:
        return None
    width = math.prod(info.shape[1:]) if info.ndim > 3 else info.shape[-1]
    rows = info.numel // width
    group = math.prod(info.shape[2:]) if info.ndim > 3 else 1
    # A convolution with one input for each output (a depthwise one) has no inputs to compare.
    has_columns = width > group or info.ndim <= 3
    if info.ndim > 3 and rows + width * has_columns > MAX_CHANNELS:
        has_columns = False
    if rows + width * has_columns > MAX_CHANNELS:
        return None
    return Lines(rows, width, group, has_columns)


def has_marks(info: TensorInfo) -> bool:
    """Whether rows of a tensor that has lines are compared with each other: those of embeddings."""
    return info.ndim == 2 and info.dtype.kind == "float" and is_embedding_name(info.name)


def maxima_of(info: TensorInfo, kernels: KernelSupply = NumpyKernels) -> Maxima | None:
    """Empty Maxima; None for what has no channels (``lines_of``)."""
    lines = lines_of(info)
    if lines is None:
        return None
    marks = RowMarks(lines.rows, lines.width) if lines.rows <= MAX_ROWS and has_marks(info) else None
    columns = lines.width if lines.has_columns else 0
    return Maxima(info.dtype, lines.rows, lines.width, columns, lines.group, kernels, marks)


class Maxima:
    """The largest magnitude in each row and column, over the elements added so far; a monoid under ``merge``.

    ``group`` neighbours in a row count as one column: the elements of one convolution kernel. ``marks`` are to be made
    in passing.
    """

    def __init__(
        self,
        dtype: DType,
        rows: int,
        width: int,
        columns: int,
        group: int = 1,
        kernels: KernelSupply = NumpyKernels,
        marks: RowMarks | None = None,
    ) -> None:
        native = numpy_dtype(dtype)
        assert native is not None
        self._kernels = kernels
        self._marks = marks
        self._dtype = dtype
        self._width = width
        self._group = group
        self._word = np.dtype(f"<u{native.itemsize}")
        self._is_float = dtype.kind == "float"
        self._signed = native if native.kind == "i" else None
        self._most = 2 * _greatest(native, self._word) if self._is_float else int(np.iinfo(self._word).max)
        self._rows = np.zeros(rows, self._word)
        self._columns = np.zeros(columns, self._word)

    def add(self, raw: NDArray[np.uint8], first: int, numel: int) -> None:
        """Take in ``numel`` elements from the row-major index ``first`` on; ``raw`` are their storage bytes."""
        words: NDArray[Any] = np.ascontiguousarray(raw[: numel * self._word.itemsize]).view(self._word)
        if self._signed is not None:
            # abs of the least integer is itself; seen as unsigned it is right.
            words = np.abs(words.view(self._signed)).view(self._word)
        row, column = divmod(first, self._width)
        if column:
            head = min(self._width - column, numel)
            self._raise(words[:head].reshape(1, head), row, column)
            words, row = words[head:], row + 1
        whole = words.size // self._width
        if whole:
            self._raise(words[: whole * self._width].reshape(whole, self._width), row, 0)
            words, row = words[whole * self._width :], row + whole
        if words.size:
            self._raise(words.reshape(1, -1), row, 0)

    def _raise(self, grid: NDArray[Any], row: int, column: int) -> None:
        rows = self._rows[row : row + grid.shape[0]]
        columns = self._columns[column : column + grid.shape[1]] if self._columns.size else self._columns
        if self._marks is not None:
            self._marks.add(grid, row, column)
        self._kernels().maxima(grid, rows, columns, self._most, is_doubled=self._is_float)

    def merge(self, other: Maxima) -> None:
        """Take in the maxima of other elements of the same tensor."""
        np.maximum(self._rows, other._rows, out=self._rows)
        np.maximum(self._columns, other._columns, out=self._columns)
        if self._marks is not None and other._marks is not None:
            self._marks.merge(other._marks)

    @property
    def word(self) -> np.dtype[Any]:
        """The type of the patterns."""
        return self._word

    def found_in(self, start: int, stop: int) -> FoundMaxima:
        """What was found so far, if only elements ``start:stop`` (row-major) were added; views, to be copied."""
        first, last = start // self._width, -(-stop // self._width)
        marks = None if self._marks is None else self._marks.between(first, last)
        return FoundMaxima(first, self._rows[first:last], self._columns, marks)

    def merge_found(self, found: FoundMaxima) -> None:
        """Take in what was found elsewhere. Raises ValueError if it is of a tensor of another type or shape."""
        stop = found.first + found.rows.size
        if found.columns.size != self._columns.size or stop > self._rows.size or found.rows.dtype != self._word:
            raise ValueError("the maxima are those of another tensor")
        rows = self._rows[found.first : stop]
        np.maximum(rows, found.rows, out=rows)
        np.maximum(self._columns, found.columns, out=self._columns)
        if self._marks is not None and found.marks is not None:
            self._marks.add_sums(found.first, found.marks)

    def channels(self) -> Channels:
        """The figures of the rows and columns."""
        columns = self._columns.reshape(-1, self._group).max(1) if self._columns.size else None
        alike = () if self._marks is None else self._marks.alike(self._rows)
        return Channels(self._side(self._rows), None if columns is None else self._side(columns), alike)

    def _side(self, found: NDArray[Any]) -> Side:
        dead = (found == 0).nonzero()[0]
        magnitudes = numbers(found >> 1, self._dtype) if self._is_float else found.astype(np.float64)
        largest = _largest(magnitudes)
        median = median_of(magnitudes)
        is_alive = magnitudes > 0
        faint = (is_alive & (magnitudes < FAINT * median)).nonzero()[0]
        alive = faint if faint.size >= LISTED else is_alive.nonzero()[0]
        smallest = alive[_largest(-magnitudes[alive])] if alive.size else alive
        return Side(
            found.size,
            dead.size,
            tuple(dead[:LISTED].tolist()),
            median,
            tuple(map(Channel, largest.tolist(), magnitudes[largest].tolist())),
            faint.size,
            tuple(map(Channel, smallest.tolist(), magnitudes[smallest].tolist())),
        )


def median_of(values: NDArray[np.float64]) -> float:
    """The median of at least one number, also where the sum of two is none."""
    lower, upper = (values.size - 1) // 2, values.size // 2
    # A sort is quicker than a partition in two places where there are few.
    placed = np.sort(values) if values.size <= _FEW else np.partition(values, (lower, upper))
    a, b = float(placed[lower]), float(placed[upper])
    return (a + b) / 2 if a + b < math.inf else a / 2 + b / 2


def _largest(magnitudes: NDArray[np.float64]) -> NDArray[np.intp]:
    """The indices of the LISTED greatest, the greatest first, equal ones by index."""
    if magnitudes.size <= _FEW:
        return np.argsort(-magnitudes, kind="stable")[:LISTED]
    least = np.partition(magnitudes, -LISTED)[-LISTED]
    above = np.flatnonzero(magnitudes > least)
    places = np.concatenate((above, np.flatnonzero(magnitudes == least)[: LISTED - above.size]))
    order: NDArray[np.intp] = places[np.lexsort((places, -magnitudes[places]))]
    return order


@cache
def _greatest(native: np.dtype[Any], word: np.dtype[Any]) -> int:
    """The pattern of the greatest finite number of a floating type."""
    import ml_dtypes

    return int(np.array(ml_dtypes.finfo(native).max, native).view(word))
