"""A rectangle of a tensor's values as text, for the value screen and the ``values`` command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tui_params.core.reading.value_part import numbers_of
from tui_params.core.reading.value_text import Flag, Format, Value, flag_of, sizes_of, texts_of
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import shape as shape_text
from tui_params.core.window import Axis, Plane, Window, make_window, parse_window, plane

if TYPE_CHECKING:
    from tui_params.core.reading.readable import Readable

_GAP = 2
_RULED = 5


class Grid(msgspec.Struct, frozen=True):
    """Values of a tensor in rows and columns, ready to be drawn.

    ``cells`` are right-aligned to ``cell_width`` characters and ``row_labels`` to ``label_width``; ``flags`` has the
    shape of ``cells``. Row and column labels are the tensor's own indices; a vector is laid out in several rows, and
    there a column label such as ``+3`` is added to the row's. A scalar has one cell with empty labels.
    ``sizes`` has the shape of ``cells``: the sign of a value, times 3 from half of ``largest`` on, 2 from a tenth on,
    1 below; 0 for zeros, complex numbers, bools and what is not finite. ``largest`` is the largest finite magnitude.
    ``window`` was read; ``plane`` is the view that it was cut from, for stepping and scrolling.
    """

    caption: str
    column_labels: tuple[str, ...]
    row_labels: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    flags: tuple[tuple[Flag, ...], ...]
    cell_width: int
    label_width: int
    window: Window
    plane: Plane
    sizes: tuple[tuple[int, ...], ...] = ()
    largest: float = 0.0

    @property
    def width(self) -> int:
        """Characters that a line takes with two blanks between columns."""
        return self.label_width + len(self.column_labels) * (self.cell_width + _GAP)


def read_grid(
    source: Readable, info: TensorInfo, expression: str, max_rows: int, max_columns: int, digits: int = 4
) -> Grid:
    """The first ``max_rows`` by ``max_columns`` values of ``info`` at a slice expression, as text.

    No other value is read. If there are more than two dimensions, the leading ones are at their first index.
    ``digits`` are the significant digits of the largest magnitude shown. Raises SliceError, ReadError.
    """
    view = plane(parse_window(expression, info.shape))
    max_rows, max_columns = max(max_rows, 1), max(max_columns, 1)
    is_vector = view.rows is None and view.columns is not None
    if is_vector and max_columns > _RULED:
        # Rows of 5, 10, 15 ... are easy to count in.
        max_columns -= max_columns % _RULED
    window = view.part(0, max_rows, 0, max_rows * max_columns if is_vector else max_columns)
    values = read_values(source, info, window)
    texts = texts_of(values, Format(digits=digits))
    columns = min(window.shape[-1], max_columns) if window.shape else 1
    row_labels, column_labels = _labels(view, window, columns)
    cell_width = max(map(len, [*texts, *column_labels, ""]))
    label_width = max(map(len, [*row_labels, ""]))
    flags = [flag_of(value) for value in values]
    sizes, largest = sizes_of(values) if info.dtype.kind in ("float", "int") else ([0] * len(values), 0.0)
    starts = range(0, len(values), max(columns, 1))
    return Grid(
        caption=_caption(window, info),
        column_labels=column_labels,
        row_labels=tuple(label.rjust(label_width) for label in row_labels),
        cells=tuple(tuple(text.rjust(cell_width) for text in texts[start : start + columns]) for start in starts),
        flags=tuple(tuple(flags[start : start + columns]) for start in starts),
        cell_width=cell_width,
        label_width=label_width,
        window=window,
        plane=view,
        sizes=tuple(tuple(sizes[start : start + columns]) for start in starts),
        largest=largest,
    )


def fit_grid(
    source: Readable, info: TensorInfo, expression: str, max_rows: int, max_width: int, digits: int = 4
) -> Grid:
    """The grid of as many columns as ``max_width`` characters hold, at least one. Raises SliceError, ReadError."""
    columns = max(1, max_width // (typical_width(info, digits) + _GAP))
    grid = read_grid(source, info, expression, max_rows, columns, digits)
    while grid.width > max_width and len(grid.column_labels) > 1:
        fewer = max(1, (max_width - grid.label_width) // (grid.cell_width + _GAP))
        fewer = min(fewer, len(grid.column_labels) - 1)
        grid = read_grid(source, info, expression, max_rows, fewer, digits)
    more = (max_width - grid.label_width) // (grid.cell_width + _GAP)
    if grid.plane.rows is None and more - more % _RULED > len(grid.column_labels) >= _RULED:
        # The numbers of a vector may be shorter than is usual for its type.
        wider = read_grid(source, info, expression, max_rows, more, digits)
        grid = wider if wider.width <= max_width else grid
    return grid


def typical_width(info: TensorInfo, digits: int = 4) -> int:
    """Characters that most values of this element type take; a grid may turn out wider."""
    if info.dtype.kind == "complex":
        return 2 * digits + 8
    if info.dtype.kind == "float":
        return digits + 5
    return min(8, len(str(1 << info.dtype.bits))) if info.dtype.kind == "int" else 1


def read_values(source: Readable, info: TensorInfo, window: Window) -> list[Value]:
    """The values of a window as Python numbers, in row-major order, none of them rounded."""
    return numbers_of(source.read_window(info, window), info.dtype)


def _labels(view: Plane, window: Window, columns: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Row labels and column labels of the part ``window`` of a plane."""
    if view.columns is None:
        return ("",), ("",)
    across = window.axes[view.columns]
    if view.rows is None:
        rows = tuple(str(across.index(first)) for first in range(0, across.length, max(columns, 1)))
        return rows, tuple(f"{place * across.step:+d}" for place in range(columns))
    return _indices(window.axes[view.rows]), _indices(across)


def _indices(axis: Axis) -> tuple[str, ...]:
    return tuple(str(axis.index(place)) for place in range(axis.length))


def _caption(window: Window, info: TensorInfo) -> str:
    if not info.shape:
        return "scalar"
    text = f"{make_window(window.axes).expression} of {shape_text(info.shape)}"
    return text if window.numel else f"{text}, no elements"
