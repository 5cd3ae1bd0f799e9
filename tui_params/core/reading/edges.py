"""Edges: the least, the greatest and the mean value of whole rows and columns of a plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Plane
from tui_params.errors import SliceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tui_params.core.reading.readable import Readable

AT_ONCE = 1 << 16
"""Elements that are read at a time."""

Progress = Callable[[int, int], object]
"""Called after each read with how many elements were read, and of how many; it may raise StoppedError."""


class Edge(msgspec.Struct, frozen=True, gc=False):
    """Over the finite elements of one row or column; all None if it has none. ``mean`` is summed in float64."""

    low: float | int | None
    high: float | int | None
    mean: float | None
    not_finite: int


def row_edges(
    source: Readable, info: TensorInfo, view: Plane, first: int, count: int, progress: Progress | None = None
) -> tuple[Edge, ...]:
    """The edges of ``count`` rows from position ``first`` on. Raises ReadError, SliceError."""
    _check(info)
    total = count * view.column_count
    source = source.still_part(info, view.part(first, count, 0, view.column_count))
    found: list[Edge] = []
    for row in range(first, min(first + count, view.row_count)):
        gathered = _Gathered(1)
        for column in range(0, view.column_count, AT_ONCE):
            array = _part(source, info, view, row, 1, column, AT_ONCE)
            gathered.add(array, info)
            if progress is not None:
                progress(len(found) * view.column_count + min(column + AT_ONCE, view.column_count), total)
        found += gathered.edges()
    return tuple(found)


def column_edges(
    source: Readable, info: TensorInfo, view: Plane, first: int, count: int, progress: Progress | None = None
) -> tuple[Edge, ...]:
    """The edges of ``count`` columns from position ``first`` on. Raises ReadError, SliceError.

    Of a matrix in row-major order every row is visited for them: that is as many places of the file.
    """
    _check(info)
    count = max(0, min(count, view.column_count - first))
    source = source.still_part(info, view.part(0, view.row_count, first, count))
    gathered = _Gathered(count)
    step = max(1, AT_ONCE // 4 // max(count, 1))
    for row in range(0, view.row_count, step):
        array = _part(source, info, view, row, step, first, count)
        gathered.add(array.T, info)
        if progress is not None:
            progress(min(row + step, view.row_count) * count, view.row_count * count)
    return tuple(gathered.edges())


def _check(info: TensorInfo) -> None:
    if info.dtype.is_complex:
        raise SliceError("complex numbers have no order, so rows and columns of them have no least and no greatest")


def _part(
    source: Readable, info: TensorInfo, view: Plane, row: int, rows: int, column: int, columns: int
) -> NDArray[Any]:
    """Values as rows and columns of the plane."""
    array = source.read_window(info, view.part(row, rows, column, columns))
    if view.rows is not None and view.columns is not None and view.rows > view.columns:
        array = array.T
    rows = 1 if view.rows is None else array.shape[0]
    return array.reshape(rows, -1)


class _Gathered:
    """The edges of some rows while their values are added."""

    def __init__(self, count: int) -> None:
        self._low: list[float | int | None] = [None] * count
        self._high: list[float | int | None] = [None] * count
        self._sum = [0.0] * count
        self._finite = [0] * count
        self._not_finite = [0] * count

    def add(self, rows: NDArray[Any], info: TensorInfo) -> None:
        import numpy as np

        for number, values in enumerate(rows):
            if info.dtype.kind == "float":
                with np.errstate(invalid="ignore"):
                    values = values.astype(np.float64)
                finite = values[np.isfinite(values)]
                self._not_finite[number] += values.size - finite.size
            else:
                finite = values.astype(np.uint64 if info.dtype.name == "uint64" else np.int64)
            if not finite.size:
                continue
            low, high = finite.min().item(), finite.max().item()
            before = self._low[number], self._high[number]
            self._low[number] = low if before[0] is None else min(before[0], low)
            self._high[number] = high if before[1] is None else max(before[1], high)
            self._sum[number] += float(finite.sum(dtype=np.float64))
            self._finite[number] += finite.size

    def edges(self) -> Iterator[Edge]:
        gathered = zip(self._low, self._high, self._sum, self._finite, self._not_finite, strict=True)
        for low, high, total, finite, rest in gathered:
            yield Edge(low, high, total / finite if finite else None, rest)
