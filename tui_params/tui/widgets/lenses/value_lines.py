"""The sheet of values as lines: which cells fit, where they lie, how they are painted. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tui_params.core import text as words
from tui_params.core.dtypes import DType
from tui_params.core.reading.edges import Edge
from tui_params.core.reading.value_part import Part
from tui_params.core.reading.value_text import Format, Value, bits_text, flag_of, sizes_of, texts_of
from tui_params.core.window import Plane
from tui_params.tui.state.place import Place
from tui_params.tui.terminal.line import Line
from tui_params.tui.terminal.themes import tint_of

GAP = 2
"""Blanks between two columns."""

_RULED = 5
_NAMES = ("min", "max", "mean")
_STYLES = {"nan": "error", "inf": "error", "zero": "dim"}


class Layout(msgspec.Struct, frozen=True):
    """How many cells fit, and which plane position is in the corner.

    A plane of one row is wrapped into lines of ``columns`` cells: then ``top`` is 0 and ``left`` the first position of
    the first line.
    """

    lines: int
    columns: int
    cell_width: int
    label_width: int
    is_wrapped: bool
    top: int = 0
    left: int = 0

    @property
    def wanted(self) -> tuple[int, int, int, int]:
        """First row, rows, first column, columns of the plane that are in sight."""
        if self.is_wrapped:
            return 0, 1, self.left, self.lines * self.columns
        return self.top, self.lines, self.left, self.columns

    def cell(self, row: int, column: int) -> tuple[int, int] | None:
        """The line and the column on screen of a position of the plane; None if it is not in sight."""
        if self.is_wrapped:
            line, across = divmod(column - self.left, self.columns)
        else:
            line, across = row - self.top, column - self.left
        return (line, across) if 0 <= line < self.lines and 0 <= across < self.columns else None

    def position(self, line: int, across: int) -> tuple[int, int]:
        """The position of the plane that stands at a line and a column on screen."""
        if self.is_wrapped:
            return 0, self.left + line * self.columns + across
        return self.top + line, self.left + across


def lay_out(view: Plane, size: tuple[int, int], cell_width: int, edge: tuple[int, int]) -> Layout:
    """The layout of a plane on ``size`` (width, height), with the corner at its first value.

    ``edge`` are the cells at the right and the lines at the bottom that are kept free.
    """
    width, height = size
    is_wrapped = view.row_count <= 1
    labelled = view.columns if is_wrapped else view.rows
    # A blank at the left, and room for the names of the numbers below.
    label_width = max(_label_width(view, labelled), max(map(len, _NAMES)) if edge[1] else 0) + 1
    cell_width = max(cell_width, 1 if is_wrapped else _label_width(view, view.columns))
    columns = max(1, (width - label_width - edge[0]) // (cell_width + GAP))
    if is_wrapped:
        columns = min(columns, max(1, view.column_count))
        if columns > _RULED:
            columns -= columns % _RULED  # rows of 5, 10, 15 ... are easy to count in
    lines = max(1, height - 1 - edge[1])
    return Layout(lines, columns, cell_width, label_width, is_wrapped)


def _label_width(view: Plane, axis: int | None) -> int:
    if axis is None or not view.window.axes[axis].length:
        return 0
    along = view.window.axes[axis]
    return max(len(str(along.index(0))), len(str(along.index(along.length - 1))))


def scrolled(layout: Layout, before: Layout, place: Place) -> Layout:
    """The layout with its corner where it was before, or moved as little as brings the place into sight."""
    view = place.plane
    if layout.is_wrapped:
        step = layout.columns
        count = -(-view.column_count // step)
        first = before.left // step if before.is_wrapped else 0
        line = _scrolled(first, place.column // step, layout.lines, count)
        return msgspec.structs.replace(layout, top=0, left=line * step)
    top = _scrolled(before.top, place.row, layout.lines, view.row_count)
    left = _scrolled(before.left, place.column, layout.columns, view.column_count)
    return msgspec.structs.replace(layout, top=top, left=left)


def _scrolled(first: int, at: int, shown: int, count: int) -> int:
    """The first position in sight, so that ``at`` is; after a jump, with a third of the others before it."""
    if not first - shown <= at < first + 2 * shown:
        first = at - shown // 3
    return max(0, min(max(min(first, at), at - shown + 1), count - shown))


class Cells(msgspec.Struct, frozen=True):
    """The texts of a Part, and the style of each."""

    part: Part
    texts: tuple[tuple[str, ...], ...]
    styles: tuple[tuple[str, ...], ...]
    width: int
    largest: float


def cells_of(part: Part, dtype: DType, how: Format) -> Cells:
    """The values of a part as text, coloured by sign and size; NaN, infinities and zeros have styles of their own."""
    flat: list[Value] = [value for row in part.values for value in row]
    if how.form == "bits":
        texts = [bits_text(bits, dtype.bits) for row in part.bits for bits in row]
    else:
        texts = texts_of(flat, how)
    sizes, largest = sizes_of(flat) if dtype.kind in ("float", "int") else ([0] * len(flat), 0.0)
    styles = [_STYLES.get(flag_of(value)) or tint_of(size) for value, size in zip(flat, sizes, strict=True)]
    width = len(part.values[0]) if part.values else 1
    starts = range(0, len(flat), max(1, width))
    return Cells(
        part,
        tuple(tuple(texts[start : start + width]) for start in starts),
        tuple(tuple(styles[start : start + width]) for start in starts),
        max(map(len, texts), default=1),
        largest,
    )


def sheet_lines(layout: Layout, cells: Cells | None, place: Place, unknown: str) -> list[Line]:
    """The labels, then a line for each row in sight; a value that is not here yet is a dim dot."""
    view = place.plane
    here = layout.cell(place.row, place.column)
    lines = [_heading(layout, view, here)]
    for line in range(layout.lines):
        row, first = layout.position(line, 0)
        if (first >= view.column_count) if layout.is_wrapped else (row >= view.row_count):
            break
        is_here = here is not None and here[0] == line
        parts: Line = [(_row_label(layout, view, line).rjust(layout.label_width), "label" if is_here else "dim")]
        for across in range(layout.columns):
            row, column = layout.position(line, across)
            if column >= view.column_count:
                break
            text, style = _cell(cells, row, column, unknown)
            padded = text.rjust(layout.cell_width)
            if here == (line, across):
                parts += [(" " * GAP, "text"), (padded, "here" if style != "error" else "here-error")]
            else:
                parts.append((f"{' ' * GAP}{padded}", style))
        lines.append(parts)
    return lines


def _cell(cells: Cells | None, row: int, column: int, unknown: str) -> tuple[str, str]:
    if cells is None or not cells.part.holds(row, column):
        return unknown, "dim"
    at = row - cells.part.row, column - cells.part.column
    return cells.texts[at[0]][at[1]], cells.styles[at[0]][at[1]]


def _heading(layout: Layout, view: Plane, here: tuple[int, int] | None) -> Line:
    """The labels of the columns: indices of the tensor, or what is to be added to the label of a wrapped line."""
    line: Line = [(" " * layout.label_width, "dim")]
    if view.columns is None:
        return line
    axis = view.window.axes[view.columns]
    for across in range(layout.columns):
        position = across if layout.is_wrapped else layout.left + across
        if position >= view.column_count:
            break
        label = f"{across * axis.step:+d}" if layout.is_wrapped else str(axis.index(position))
        is_here = here is not None and here[1] == across
        line.append((f"{' ' * GAP}{label.rjust(layout.cell_width)}", "label" if is_here else "dim"))
    return line


def _row_label(layout: Layout, view: Plane, line: int) -> str:
    if layout.is_wrapped:
        first = layout.position(line, 0)[1]
        return "" if view.columns is None else str(view.window.axes[view.columns].index(first))
    assert view.rows is not None
    return str(view.window.axes[view.rows].index(layout.top + line))


EDGE_CELL = 9
"""Cells for a number of the edge."""

EDGE = (3 * (EDGE_CELL + GAP) + GAP + 1, 4)
"""Cells at the right and lines at the bottom for the edge: three numbers, and what sets them apart."""


def edged(
    lines: list[Line], layout: Layout, rows: Mapping[int, Edge], columns: Mapping[int, Edge], bar: str
) -> list[Line]:
    """The lines of a sheet with the edges of its rows at the right and of its columns below."""
    width = layout.label_width + layout.columns * (layout.cell_width + GAP)
    title = "".join(f"{' ' * GAP}{name:>{EDGE_CELL}}" for name in _NAMES)
    found = []
    for number, line in enumerate(lines):
        taken = sum(len(part) for part, _ in line)
        padded: Line = [*line, (" " * (width - taken + 1), "text"), (bar, "dim")]
        if not number:
            found.append([*padded, (title, "label")])
            continue
        found.append([*padded, *_edge_cells(rows.get(layout.top + number - 1))])
    found.append([])
    for which, name in enumerate(_NAMES):
        below: Line = [(name.rjust(layout.label_width), "label")]
        for across in range(layout.columns):
            text, style = _edge_cell(columns.get(layout.left + across), which, layout.cell_width)
            below.append((f"{' ' * GAP}{text:>{layout.cell_width}}", style))
        found.append(below)
    return found


def _edge_cells(edge: Edge | None) -> Line:
    cells = (_edge_cell(edge, which, EDGE_CELL) for which in range(3))
    return [(f"{' ' * GAP}{text:>{EDGE_CELL}}", style) for text, style in cells]


def _edge_cell(edge: Edge | None, which: int, room: int) -> tuple[str, str]:
    """A number of an edge; beside the mean, ``!`` says that not every value is finite."""
    if edge is None:
        return "", "dim"
    value = (edge.low, edge.high, edge.mean)[which]
    mark = "!" if which == 2 and edge.not_finite else ""
    return words.number_within(value, room - len(mark)) + mark, "error" if mark else "number"
