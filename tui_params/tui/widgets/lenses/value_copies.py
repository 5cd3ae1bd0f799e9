"""What the lens Values offers to be copied: the cell, its row, the window in sight."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tui_params.core import text
from tui_params.core.export.snippets import Rows, Snippet, snippet
from tui_params.core.reading.readable import Readable
from tui_params.core.reading.value_part import Part, read_part
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Plane
from tui_params.errors import SliceError
from tui_params.tui.state.place import Place
from tui_params.tui.widgets.lenses.value_lines import Layout

MOST = 10_000
"""Values that are copied at a time; a terminal takes about 100 KB of text into its clipboard."""


class Taken(msgspec.Struct, frozen=True):
    """A text for the clipboard, and what it is."""

    text: str
    words: str


def cell_copy(part: Part, place: Place, form: Snippet) -> Taken | None:
    """The value at the place; None if it is not here."""
    if not part.holds(place.row, place.column) or place.index is None:
        return None
    rows = ((part.value(place.row, place.column),),)
    return Taken(_written(rows, place.plane, place.row, place.column, form), f"the value at {text.shape(place.index)}")


def window_copy(part: Part, layout: Layout, view: Plane, form: Snippet) -> Taken | None:
    """The values in sight; None if they are not here."""
    row, rows, column, columns = layout.wanted
    rows, columns = min(rows, view.row_count - row), min(columns, view.column_count - column)
    if not (part.holds(row, column) and part.holds(row + rows - 1, column + columns - 1)):
        return None
    start, left = row - part.row, column - part.column
    values = tuple(line[left : left + columns] for line in part.values[start : start + rows])
    words = f"{text.plural(rows * columns, 'value')}: {view.part(row, rows, column, columns).expression}"
    return Taken(_written(values, view, row, column, form), words)


def read_row(source: Readable, info: TensorInfo, place: Place, form: Snippet, check: Callable[[], object]) -> Taken:
    """The whole row of the place, which is read. Raises ReadError, SliceError."""
    view = place.plane
    if view.column_count > MOST:
        raise SliceError(
            f"The row has {view.column_count:,} values; at most {MOST:,} are copied. w writes them to a file."
        )
    check()
    part = read_part(source, info, view, place.row, 1, 0, view.column_count)
    words = f"the row {view.part(place.row, 1, 0, view.column_count).expression}"
    return Taken(_written(part.values, view, place.row, 0, form), words)


def _written(rows: Rows, view: Plane, row: int, column: int, form: Snippet) -> str:
    return snippet(
        rows, form, _labels(view, view.rows, row, len(rows)), _labels(view, view.columns, column, len(rows[0]))
    )


def _labels(view: Plane, axis: int | None, first: int, count: int) -> list[str]:
    """Indices of the tensor along one axis of a plane."""
    if axis is None:
        return [""] * count
    return [str(view.window.axes[axis].index(first + place)) for place in range(count)]
