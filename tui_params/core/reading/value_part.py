"""The values of a rectangle of a plane, and of one element, as plain numbers and as their bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.dtypes import DType
from tui_params.core.reading.value_text import Value
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Axis, Plane, make_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tui_params.core.reading.readable import Readable


class Part(msgspec.Struct, frozen=True, gc=False):
    """The values of a plane from position ``row``, ``column`` on, row by row, and the bits of each.

    Bits are those of the value as it is read: lowest byte first in a complex number, the real part in the lower half.
    """

    row: int
    column: int
    values: tuple[tuple[Value, ...], ...]
    bits: tuple[tuple[int, ...], ...]

    def holds(self, row: int, column: int) -> bool:
        """Whether the value at a position of the plane is here."""
        return 0 <= row - self.row < len(self.values) and 0 <= column - self.column < len(self.values[0])

    def value(self, row: int, column: int) -> Value:
        """The value at a position of the plane that is here."""
        return self.values[row - self.row][column - self.column]


class Element(msgspec.Struct, frozen=True, gc=False):
    """One value, and its bits."""

    value: Value
    bits: int


def read_part(source: Readable, info: TensorInfo, view: Plane, row: int, rows: int, column: int, columns: int) -> Part:
    """At most ``rows`` by ``columns`` values of a plane. No other value is read. Raises ReadError, SliceError."""
    window = view.part(row, rows, column, columns)
    if not window.numel:
        return Part(row, column, (), ())
    array = source.read_window(info, window)
    if view.rows is not None and view.columns is not None and view.rows > view.columns:
        array = array.T
    width = 1 if view.columns is None else window.axes[view.columns].length
    values, bits = numbers_of(array, info.dtype), bits_of(array, info.dtype)
    starts = range(0, len(values), width)
    return Part(
        row,
        column,
        tuple(tuple(values[start : start + width]) for start in starts),
        tuple(tuple(bits[start : start + width]) for start in starts),
    )


def read_element(source: Readable, info: TensorInfo, index: tuple[int, ...]) -> Element:
    """The value at an index of the whole tensor. Raises ReadError, SliceError."""
    window = make_window(tuple(Axis(at, 1, 1, True) for at in index))
    array = source.read_window(info, window).reshape(1)
    return Element(numbers_of(array, info.dtype)[0], bits_of(array, info.dtype)[0])


def numbers_of(array: NDArray[Any], dtype: DType) -> list[Value]:
    """The values of an array as Python numbers, in row-major order, none of them rounded."""
    array = array.reshape(-1)
    if dtype.kind == "float":
        # The ml_dtypes types are not numpy's floats; float64 holds each of their values.
        import numpy as np

        # Widening a signalling NaN raises the invalid flag (IEEE 754, 6.2), of which numpy warns.
        with np.errstate(invalid="ignore"):
            array = array.astype("float64")
    values: list[Value] = array.tolist()
    return values


def bits_of(array: NDArray[Any], dtype: DType) -> list[int]:
    """The bits of each value of an array in row-major order, as unsigned numbers of ``dtype.bits`` bits."""
    import numpy as np

    flat = np.ascontiguousarray(array).reshape(-1)
    if dtype.name == "complex32":
        flat = flat.view(np.float32).astype(np.float16)
    if dtype.bits == 128:
        pairs = flat.view(np.uint64).reshape(-1, 2).tolist()
        return [low | high << 64 for low, high in pairs]
    words = flat.view(f"u{max(8, dtype.bits) // 8}")
    found: list[int] = (words & ((1 << dtype.bits) - 1) if dtype.bits < 8 else words).tolist()
    return found
