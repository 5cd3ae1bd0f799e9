"""Matrix: a part of a tensor as rows and columns, and the reading of it in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.reading.readable import Readable
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Axis, Plane, Window, make_window
from tui_params.errors import ReadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 1 << 20
"""Elements of a block: few enough for a cache, many enough for a product with it."""

_FLOAT32_BITS = 24
"""Whole numbers of so many bits, and floating types of up to 32, lose nothing in float32."""


class Matrix(msgspec.Struct, frozen=True, gc=False):
    """A window of a tensor as a matrix: its first dimension are the rows, all others together the columns.

    A vector is one row, a single number one row of one column.
    """

    window: Window

    @property
    def rows(self) -> int:
        shape = self.window.shape
        return shape[0] if len(shape) > 1 else 1

    @property
    def columns(self) -> int:
        shape = self.window.shape
        return prod(shape[1:]) if len(shape) > 1 else prod(shape)

    @property
    def size(self) -> int:
        """The smaller of rows and columns: so many singular values there are."""
        return min(self.rows, self.columns)

    @property
    def length(self) -> int:
        return max(self.rows, self.columns)

    @property
    def is_wide(self) -> bool:
        return self.rows < self.columns


def plane_matrix(plane: Plane) -> Matrix:
    """The matrix of the plane that lies down."""
    return Matrix(plane.part(0, plane.row_count, 0, plane.column_count))


def folded_matrix(plane: Plane) -> Matrix:
    """The window of a plane as out x rest, which is how the kernel of a convolution multiplies."""
    return Matrix(make_window(plane.window.axes))


def needs_float64(info: TensorInfo) -> bool:
    """Whether float32 would round the elements, or not hold them."""
    bits = info.dtype.bits // (2 if info.dtype.is_complex else 1)
    return bits > 32 or (info.dtype.kind == "int" and bits > _FLOAT32_BITS)


class MatrixReading:
    """Reads a matrix in blocks of rows, as float32 or complex64; where those would round, as float64 or complex128."""

    def __init__(self, source: Readable, info: TensorInfo, matrix: Matrix) -> None:
        import numpy as np

        self._source = source
        self._info = info
        self.matrix = matrix
        self.is_rounded = needs_float64(info)
        real, both = ("f8", "c16") if self.is_rounded else ("f4", "c8")
        self.dtype = np.dtype(both if info.dtype.is_complex else real)

    def rows(self) -> Iterator[NDArray[Any]]:
        """The rows one after the other, in new arrays of about BLOCK elements, read in the order of a file.

        Of a matrix of one row, parts of that row. Raises ReadError.
        """
        axes, kept = self.matrix.window.axes, self._kept
        if len(kept) < 2:
            for window in _parts(axes, kept[0] if kept else None, BLOCK):
                yield self._read(window).reshape(1, -1)
            return
        for window in _parts(axes, kept[0], BLOCK // self.matrix.columns):
            yield self._read(window).reshape(-1, self.matrix.columns)

    def columns(self) -> Iterator[NDArray[Any]]:
        """The columns one after the other, as rows: the matrix transposed. Raises ReadError."""
        axes, kept = self.matrix.window.axes, self._kept
        # One position of the second axis has so many elements.
        each = self.matrix.window.numel // axes[kept[1]].length
        if each > 8 * BLOCK:
            raise ReadError(f"{each:,} elements at a time would have to be read, more than the memory for it holds")
        for window in _parts(axes, kept[1], BLOCK // each):
            yield self._read(window).reshape(self.matrix.rows, -1).T

    def tall(self) -> Iterator[NDArray[Any]]:
        """The rows, or of a wide matrix the columns as rows."""
        return self.columns() if self.matrix.is_wide and len(self._kept) > 1 else self.rows()

    @property
    def _kept(self) -> list[int]:
        return [number for number, axis in enumerate(self.matrix.window.axes) if not axis.is_index]

    def _read(self, window: Window) -> NDArray[Any]:
        import numpy as np

        values = self._source.read_window(self._info, window)
        if self._info.dtype.name == "bfloat16":
            # ml_dtypes takes three times as long.
            return (values.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
        with np.errstate(invalid="ignore"):
            return values.astype(self.dtype)


def _parts(axes: tuple[Axis, ...], number: int | None, count: int) -> Iterator[Window]:
    """The window cut along one axis, into parts of at most ``count`` positions, at least one."""
    if number is None:
        yield make_window(axes)
        return
    step = max(count, 1)
    for first in range(0, axes[number].length, step):
        yield make_window((*axes[:number], axes[number].part(first, step), *axes[number + 1 :]))
