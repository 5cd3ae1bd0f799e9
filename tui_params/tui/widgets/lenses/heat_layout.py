"""Where the heat map is on the screen, which part of the plane it shows, and how zooming and moving change that."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tui_params.core.numbers.region import Region
from tui_params.core.window import Axis, Plane

NUMBER = 9
"""Characters that a value takes where values are written into the cells."""

_LEAST_LINES = 9
"""Lines from which there is room for the profile of the columns."""

_MOST_HIGH, _MOST_WIDE = 4, 12
"""Lines and characters of a cell that is one element, at most."""


class Layout(msgspec.Struct, frozen=True, gc=False):
    """``lines`` by ``columns`` characters of picture, to the right of labels of ``label`` characters."""

    label: int
    columns: int
    lines: int
    has_rows: bool
    has_columns: bool


def lay_out(view: Plane, width: int, height: int) -> Layout:
    """The layout for a lens of that size: labels, the picture and two profiles, the scale, the block at the place."""
    label = min(max(len(str(largest)) for largest in _largest(axis_of(view, view.rows))) + 1, max(width // 3, 2))
    has_columns = height >= _LEAST_LINES
    has_rows = width >= label + 12
    lines = max(1, height - 3 - has_columns)
    return Layout(label, max(1, width - label - 2 * has_rows), lines, has_rows, has_columns)


def axis_of(view: Plane, number: int | None) -> Axis:
    """The axis of a plane that is shown, of one element where it has none."""
    return Axis(0, 1, 1) if number is None else view.window.axes[number]


def _largest(axis: Axis) -> tuple[int, int]:
    return axis.start, axis.index(max(0, axis.length - 1))


class Zoom(msgspec.Struct, frozen=True, gc=False):
    """How far one has zoomed in, by factors of two, and the part of the plane that is seen."""

    level: int
    seen: Region


def whole(view: Plane) -> Zoom:
    return Zoom(0, Region(0, 0, view.row_count, view.column_count))


def zoomed(zoom: Zoom, by: int, view: Plane, layout: Layout, row: int, column: int) -> Zoom:
    """Nearer (or farther), with the element at a position staying where it is on the screen, as far as that goes."""
    level = max(0, min(zoom.level + by, deepest(view, layout)))
    height, width = _size(level, view, layout)
    seen = zoom.seen
    top = row - (row - seen.top) * height // seen.height
    left = column - (column - seen.left) * width // seen.width
    return shown(Zoom(level, Region(top, left, height, width)), view, row, column)


def deepest(view: Plane, layout: Layout) -> int:
    """The level at which values can be read."""
    level = 0
    while _size(level, view, layout) != _size(level + 1, view, layout):
        level += 1
    return level


def _size(level: int, view: Plane, layout: Layout) -> tuple[int, int]:
    rows, columns = view.row_count, view.column_count
    least_high, least_wide = min(rows, layout.lines), min(columns, max(1, layout.columns // NUMBER))
    high, wide = max(least_high, -(-rows >> level)), max(least_wide, -(-columns >> level))
    # As many as fill the screen: two in a line, or one; so many characters each.
    if layout.lines < high < 2 * layout.lines:
        high = min(rows, 2 * layout.lines)
    if wide < layout.columns:
        wide = min(columns, layout.columns // (layout.columns // wide))
    return high, wide


def shown(zoom: Zoom, view: Plane, row: int, column: int) -> Zoom:
    """The part of the same size that is nearest to what was seen, lies in the plane, and holds an element."""
    seen = zoom.seen
    height, width = min(seen.height, view.row_count), min(seen.width, view.column_count)
    top = max(min(seen.top, row), row - height + 1)
    left = max(min(seen.left, column), column - width + 1)
    top = max(0, min(top, view.row_count - height))
    left = max(0, min(left, view.column_count - width))
    return Zoom(zoom.level, Region(top, left, height, width))


class Cells(msgspec.Struct, frozen=True, gc=False):
    """How many lines and characters a block takes: ``high`` lines (0: half a line) by ``wide`` characters."""

    high: int
    wide: int

    @property
    def has_room(self) -> bool:
        """Whether a value can be written into it."""
        return self.high > 0 and self.wide >= NUMBER - 2


def cells_of(rows: int, columns: int, layout: Layout, *, is_half: bool) -> Cells:
    """The size of the blocks of a raster."""
    high = 0 if is_half and rows > layout.lines else max(1, min(layout.lines // max(rows, 1), _MOST_HIGH))
    return Cells(high, max(1, min(layout.columns // max(columns, 1), _MOST_WIDE)))


def place_in(edges: Sequence[int], position: int) -> int:
    """The number of the block in which a position is, the nearest one if it is in none."""
    low, high = 0, len(edges) - 2
    while low < high:
        middle = (low + high + 1) // 2
        if edges[middle] <= position:
            low = middle
        else:
            high = middle - 1
    return low
