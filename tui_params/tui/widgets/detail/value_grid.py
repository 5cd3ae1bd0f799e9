"""ValueGrid: a window on the values of a tensor. The arrow keys move it, or a cursor in it where values are edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from textual import events
from textual.message import Message

from tui_params.core import text
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Plane, parse_window, plane
from tui_params.errors import SliceError
from tui_params.tui import keys
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.terminal.themes import tint_of
from tui_params.tui.widgets.canvas import LinesView

if TYPE_CHECKING:
    from tui_params.core.reading.grid import Grid

_ALL = 1 << 62

_BEFORE = 2
"""Rows and columns of a matrix that are shown before the element that the window moves to."""

_AROUND = 5
"""Elements of a vector, which is laid out in rows of 5, 10, 15 ..."""


class ValueGrid(LinesView, can_focus=True, inherit_bindings=False):
    """The values of one tensor at a slice expression, from a corner that can be moved."""

    BINDINGS = keys.bindings(keys.VALUES)

    class Wanted(Message):
        """The values at ``expression`` should be read, as many as fit."""

        def __init__(self, expression: str) -> None:
            super().__init__()
            self.expression = expression

    class Refused(Message):
        """A key did nothing here; ``why`` is a short sentence."""

        def __init__(self, why: str) -> None:
            super().__init__()
            self.why = why

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.glyphs = glyphs
        self.expression = ""
        self._plane: Plane | None = None
        self._row = 0
        self._column = 0
        self._shown = (1, 1)
        self._caption = ""
        self._marked: tuple[int, ...] | None = None
        self._sought = ""
        self._grid: Grid | None = None
        self.has_cursor = False
        """Whether the keys move a cursor from value to value: where they can be edited."""

    @property
    def cell(self) -> tuple[int, ...] | None:
        """The index of the value at the cursor; None where there is no cursor, or it is not in the tensor."""
        return self._marked if self.has_cursor else None

    @property
    def corner(self) -> tuple[int, ...] | None:
        """The index of the value at the cursor, or of the first one that is shown; None if there is none."""
        if self.cell is not None or self._plane is None:
            return self.cell
        return self._plane.index(self._row, self._column)

    @property
    def caption(self) -> str:
        return self._caption

    @property
    def view(self) -> Plane | None:
        """The slice, and which of its tables is shown; None if the expression does not fit the tensor."""
        return self._plane

    @property
    def is_right(self) -> bool:
        """Whether the expression fits the tensor; if not, the reason is on screen."""
        return self._plane is not None

    @property
    def has_tables(self) -> bool:
        """Whether the slice has more than two dimensions, so that it consists of several tables."""
        return self._plane is not None and bool(self._plane.leading)

    @property
    def rows_that_fit(self) -> int:
        """Rows of values on screen, below the line of column labels."""
        return self.size.height - 1

    def point_at(self, info: TensorInfo | None, expression: str) -> str | None:
        """Show a slice of ``info`` from its first value on; returns why, if the expression does not fit the shape."""
        self._row = self._column = 0
        self._marked = self._grid = None
        self.expression = expression
        self._plane = None
        self._caption = ""
        if info is None:
            self.set_lines([])
            return None
        try:
            self._plane = plane(parse_window(expression, info.shape))
        except SliceError as error:
            self.show_reason(str(error))
            return str(error)
        self._ask()
        return None

    def show_place(self, index: tuple[int, ...]) -> None:
        """Move the corner so that the element at ``index`` of the whole tensor is in view, and mark it."""
        view = self._plane
        if view is None or not index or len(index) != len(view.window.axes):
            return
        self._plane = msgspec.structs.replace(view, at=tuple(index[axis] for axis in view.leading))
        self._marked = index
        if view.rows is None:
            self._column = max(0, index[-1] - index[-1] % _AROUND - _AROUND)
        else:
            self._row, self._column = max(0, index[view.rows] - _BEFORE), max(0, index[-1] - _BEFORE)
        self._sought = self._plane.part(self._row, _ALL, self._column, _ALL).expression
        self._ask()

    def show_grid(self, grid: Grid) -> None:
        self._shown = (max(1, len(grid.row_labels)), max(1, len(grid.column_labels)))
        self._caption = grid.caption
        self._grid = grid
        if self.has_cursor and self.has_focus and self._marked is None:
            self._point_to(self._row, self._column)
        cell = _cell_of(grid, self._marked) if self._marked is not None else None
        if grid.plane.window.expression == self._sought and self._marked is not None and self._plane is not None:
            self._sought = ""
            if cell is None:
                # So few values fit that this one is not in view: it becomes the first.
                self._row, self._column = 0 if self._plane.rows is None else self._marked[-2], self._marked[-1]
                self._ask()
        self.set_lines(self._drawn(grid, cell))

    def show_reason(self, reason: str) -> None:
        self._caption = ""
        self._grid = None
        width = max(20, self.size.width)
        words = text.clean(reason)
        lines: list[Line] = []
        while words:
            cut = words.rfind(" ", 0, width) if len(words) > width else len(words)
            cut = cut if cut > 0 else width
            lines.append([(words[:cut], "warning")])
            words = words[cut:].lstrip()
        self.set_lines(lines[:4])

    def _ask(self) -> None:
        if self._plane is not None and self.rows_that_fit > 0:
            part = self._plane.part(self._row, _ALL, self._column, _ALL)
            # Otherwise Textual would take the widget that is running for the sender, and that may be the pane (when its
            # field was edited): the message would end there.
            self.post_message(self.Wanted(part.expression).set_sender(self))

    def reload(self) -> None:
        """Ask for the values again: they have changed."""
        self._ask()

    def _paint_again(self) -> None:
        if self._grid is not None:
            cell = _cell_of(self._grid, self._marked) if self._marked is not None else None
            self.set_lines(self._drawn(self._grid, cell))

    def _drawn(self, grid: Grid, cell: tuple[int, int] | None) -> list[Line]:
        has_tints = self.inks.get(tint_of(1)) != self.inks.get("number")
        return grid_lines(grid, cell, self.size.width, self.glyphs, has_tints=has_tints)

    # The cursor

    def on_focus(self) -> None:
        if self.has_cursor and self._marked is None:
            self._move_to(self._row, self._column)

    def _point_to(self, row: int, column: int) -> None:
        self._marked = self._plane.index(row, column) if self._plane is not None else None

    def _move_to(self, row: int, column: int) -> None:
        """Put the cursor on a position of the plane, or the nearest that there is, and bring it into view."""
        plane = self._plane
        if plane is None or not (plane.row_count and plane.column_count):
            return
        row = max(0, min(row, plane.row_count - 1))
        column = max(0, min(column, plane.column_count - 1))
        self._point_to(row, column)
        rows, columns = self._shown
        if plane.rows is None:
            # The rows of a vector follow one another: it moves by whole ones.
            ahead = max(0, -(-(column + 1 - self._column - rows * columns) // columns))
            behind = max(0, -(-(self._column - column) // columns))
            corner = 0, max(0, self._column + (ahead - behind) * columns)
        else:
            corner = _near(self._row, row, rows), _near(self._column, column, columns)
        if corner != (self._row, self._column):
            self._row, self._column = corner
            self._ask()
        self._paint_again()

    def _step_cursor(self, rows: int, columns: int) -> None:
        if self._plane is None:
            return
        if self._marked is None:
            row, column = self._row, self._column
        else:
            row, column = self._plane.position(self._marked)
        if self._plane.rows is None:
            rows, columns = 0, columns + rows * self._shown[1]
        self._move_to(row + rows, column + columns)

    def on_click(self, event: events.Click) -> None:
        grid, place = self._grid, event.get_content_offset(self)
        if not self.has_cursor or grid is None or self._plane is None or place is None:
            return
        row = place.y + self.top - bool(any(grid.column_labels))
        column = (place.x - grid.label_width) // (grid.cell_width + 2)
        if 0 <= row < len(grid.cells) and 0 <= column < len(grid.cells[row]):
            if self._plane.rows is None:
                self._move_to(0, self._column + row * self._shown[1] + column)
            else:
                self._move_to(self._row + row, self._column + column)

    # Moving

    def action_pan(self, rows: int, columns: int) -> None:
        if self._plane is None:
            return
        if self.has_cursor:
            self._step_cursor(rows, columns)
        else:
            self._pan(rows, columns)

    def _pan(self, rows: int, columns: int) -> None:
        if self._plane is None:
            return
        if self._plane.rows is None:
            # A vector is laid out in rows: down moves by one such row.
            rows, columns = 0, columns + rows * self._shown[1]
        row = max(0, min(self._row + rows, self._plane.row_count - 1))
        column = max(0, min(self._column + columns, self._plane.column_count - 1))
        if (row, column) != (self._row, self._column):
            self._row, self._column = row, column
            self._ask()

    def action_pan_page(self, step: int) -> None:
        if self._plane is not None and self._plane.rows is None:
            self.action_pan(step * max(1, self.rows_that_fit), 0)
        else:
            self.action_pan(step * max(1, self._shown[0]), 0)

    def action_pan_home(self) -> None:
        first = self._plane and msgspec.structs.replace(self._plane, at=(0,) * len(self._plane.at))
        if self._row or self._column or first != self._plane:
            self._row = self._column = 0
            self._plane = first
            self._ask()
        if self.has_cursor:
            self._move_to(0, 0)

    def action_step(self, by: int) -> None:
        """Show the next table, or the one before, of a slice of more than two dimensions."""
        if self._plane is None:
            return
        stepped = self._plane.step(by)
        if stepped == self._plane:
            self.post_message(self.Refused("There is no other table: at most two dimensions."))
        else:
            if self._marked is not None and self.has_cursor:
                row, column = self._plane.position(self._marked)
                self._marked = stepped.index(row, column)
            self._plane = stepped
            self._ask()

    def on_resize(self, event: events.Resize) -> None:
        self._ask()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._pan(*((0, 1) if event.shift else (1, 0)))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._pan(*((0, -1) if event.shift else (-1, 0)))

    def on_mouse_scroll_right(self, event: events.MouseScrollRight) -> None:
        event.stop()
        self._pan(0, 1)

    def on_mouse_scroll_left(self, event: events.MouseScrollLeft) -> None:
        event.stop()
        self._pan(0, -1)


def _near(corner: int, at: int, shown: int) -> int:
    """The first position in view that brings ``at`` into view with the least movement."""
    return max(min(corner, at), at - shown + 1)


def _cell_of(grid: Grid, index: tuple[int, ...]) -> tuple[int, int] | None:
    """The row and column at which a grid shows the element at ``index``; None if it does not show it."""
    view, axes = grid.plane, grid.window.axes
    at = []
    for place, axis in zip(index, axes, strict=True):
        far, rest = divmod(place - axis.start, axis.step)
        if rest or not 0 <= far < axis.length:
            return None
        at.append(far)
    if view.columns is None:
        return 0, 0
    if view.rows is None:
        row, column = divmod(at[view.columns], max(1, len(grid.column_labels)))
    else:
        row, column = at[view.rows], at[view.columns]
    return (row, column) if row < len(grid.cells) and column < len(grid.cells[row]) else None


def grid_lines(
    grid: Grid, marked: tuple[int, int] | None, width: int, glyphs: Glyphs, *, has_tints: bool = True
) -> list[Line]:
    """A grid as lines: column labels, then rows. NaN, infinities and zeros have styles of their own.

    Other values are tinted by their sign and size, with a scale at the right of the labels where there is room; without
    tints there is no scale. A pointer stands before the cell at the row and column ``marked``.
    """
    styles = {"nan": "error", "inf": "error", "zero": "dim"}
    head = " " * grid.label_width + "".join(f"  {label.rjust(grid.cell_width)}" for label in grid.column_labels)
    scale = _scale(grid, width - len(head), glyphs) if has_tints else []
    lines: list[Line] = [[(head, "dim"), *scale]] if any(grid.column_labels) else []
    for row, (label, cells, flags) in enumerate(zip(grid.row_labels, grid.cells, grid.flags, strict=False)):
        line: Line = [(label, "dim")]
        for column, (cell, flag) in enumerate(zip(cells, flags, strict=True)):
            style = styles.get(flag) or tint_of(grid.sizes[row][column] if grid.sizes else 0)
            if (row, column) == marked:
                value = cell.lstrip()
                line += [(f"{'>':>{len(cell) - len(value) + 2}}", "accent"), (value, style)]
            else:
                line.append((f"  {cell}", style))
        lines.append(line)
    return lines


def _scale(grid: Grid, room: int, glyphs: Glyphs) -> Line:
    """What the tints mean, at the right edge: the largest magnitude with both signs, and the six tints between."""
    largest = text.number_within(grid.largest, 8)
    blocks: Line = [(glyphs.bar, tint_of(size)) for size in (-3, -2, -1, 1, 2, 3)]
    for low, high in ((f"-{largest}", largest), ("-", "+")):
        left = room - len(low) - len(high) - len(blocks) - 2
        if grid.largest and left >= 2:
            return [(" " * left, "dim"), (f"{low} ", "dim"), *blocks, (f" {high}", "dim")]
    return []
