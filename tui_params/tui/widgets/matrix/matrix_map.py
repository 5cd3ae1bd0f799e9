"""MatrixMap: one plane of layers as coloured cells that scroll under their headers."""

from __future__ import annotations

from rich.style import Style
from textual import events
from textual.message import Message

from tui_params.core.layers.short_names import short_names
from tui_params.tui.state.layer_book import LayerBook
from tui_params.tui.terminal.colour_depth import Depth, depth_of
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import LinesView
from tui_params.tui.widgets.lenses.heat_colours import heat_style
from tui_params.tui.widgets.matrix.matrix_layout import Grid, lay_out, reach
from tui_params.tui.widgets.matrix.matrix_lines import Drawing, all_lines


class MatrixMap(LinesView, can_focus=True, inherit_bindings=False):
    """The matrix. Its cursor is on a layer and a column, which may be without a tensor."""

    class Moved(Message):
        """The cursor has moved, perhaps to another plane."""

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.glyphs = glyphs
        self.book: LayerBook | None = None
        self.plane = 0
        self.row = self.column = 0
        self.words = ""
        """What is said where there is nothing to show."""
        self._first_row = self._first_column = 0
        self._names: tuple[object, tuple[str, ...]] = (None, ())
        self.drawing: Drawing | None = None
        """What is on screen."""
        self._seen: tuple[object, ...] = ()
        self._lines_of_rows: dict[int, Line] = {}

    @property
    def depth(self) -> Depth:
        """The colours that the terminal has."""
        app = self.app
        no_color = bool(getattr(app, "no_color", False))
        return depth_of(app.console.color_system, no_color=no_color, is_ascii=self.glyphs.is_ascii)

    def show(self, book: LayerBook) -> None:
        """Show a book; the cursor stays where it is."""
        if book is not self.book:
            self.book = book
            self.plane = self.row = self.column = self._first_row = self._first_column = 0
        self.fill()

    @property
    def current_tensor(self) -> int | None:
        """The position of the tensor at the cursor."""
        if self.book is None or not self.book.table.planes:
            return None
        return self.book.table.planes[self.plane].at(self.row, self.column)

    def go_to(self, tensor: int) -> None:
        """Put the cursor on a tensor, if it is in a plane."""
        planes = self.book.table.planes if self.book is not None else ()
        for number, plane in enumerate(planes):
            for key, place in plane.places.items():
                if plane.tensors[place] == tensor:
                    self.plane, (self.row, self.column) = number, divmod(key, len(plane.columns))
                    self.fill()
                    return

    def fill(self) -> None:
        """Draw the part around the cursor."""
        width, height, book = self.size.width, self.size.height, self.book
        self.drawing = None
        if width <= 0 or height <= 0:
            return
        if book is None or not book.table.planes:
            self.set_lines([[(f" {self.words}", "dim")]] if self.words else [])
            return
        plane = book.table.planes[self.plane]
        grid = lay_out(plane, width, height)
        self.row = max(0, min(self.row, len(plane.rows) - 1))
        self.column = max(0, min(self.column, len(plane.columns) - 1))
        self._first_row = reach(self._first_row, self.row, grid.rows, len(plane.rows))
        self._first_column = reach(self._first_column, self.column, grid.columns, len(plane.columns))
        self.drawing = Drawing(
            book, plane, book.shades(self.plane), grid, self._names_for(grid), self._first_row, self._first_column,
            self.row, self.column, self.depth, self.glyphs,
        )  # fmt: skip
        seen = (book, book.looks, self.plane, grid, self._first_column, self.depth)
        if seen != self._seen:
            self._seen = seen
            self._lines_of_rows.clear()
        self.set_lines(all_lines(self.drawing, width, height, self._lines_of_rows))

    def _names_for(self, grid: Grid) -> tuple[str, ...]:
        """The names of all columns, in so many cells."""
        assert self.book is not None
        plane = self.book.table.planes[self.plane]
        key = (id(plane), grid.wide)
        if key != self._names[0]:
            self._names = key, plane.columns if plane.is_split else short_names(plane.columns, grid.wide - 1)
        return self._names[1]

    # Keys and mouse

    def move(self, down: int, across: int) -> None:
        """Move the cursor by so many layers and columns."""
        self.row, self.column = self.row + down, self.column + across
        self._went()

    def _went(self) -> None:
        self.fill()
        self.post_message(self.Moved())

    def page(self, down: int, across: int) -> None:
        if self.drawing is not None:
            grid = self.drawing.grid
            self.move(down * max(1, grid.rows - 1), across * max(1, grid.columns - 1))

    def edge(self, by: int) -> None:
        """To the first tensor or the last one."""
        if self.drawing is not None:
            plane = self.drawing.plane
            self.row, self.column = (0, 0) if by < 0 else (len(plane.rows) - 1, len(plane.columns) - 1)
            self._went()

    def turn_plane(self, by: int) -> bool:
        """To another plane; False if there is only one."""
        count = len(self.book.table.planes) if self.book is not None else 0
        if count < 2 or self.book is None:
            return False
        before = self.book.table.planes[self.plane]
        self.plane = (self.plane + by) % count
        after = self.book.table.planes[self.plane]
        layer = before.rows[self.row]
        if before.stack == after.stack and layer in after.rows:
            self.row = after.rows.index(layer)
        self._first_column = 0
        self.column = min(self.column, len(after.columns) - 1) if before.is_split and after.is_split else 0
        self._went()
        return True

    def seek(self, by: int) -> bool:
        """To the next tensor of this plane that stands out; False if none does."""
        if self.drawing is None or self.book is None:
            return False
        plane, book = self.drawing.plane, self.book
        kinds = {book.kind_of[tensor] for tensor in plane.tensors}
        odd = {book.table.members[kind].indices[found.place] for kind in kinds for found in book.usual(kind).odd}
        wide = len(plane.columns)
        found = sorted(key for key, place in plane.places.items() if plane.tensors[place] in odd)
        if not found:
            return False
        here = self.row * wide + self.column
        later = [key for key in found if key > here] if by > 0 else [key for key in reversed(found) if key < here]
        key = later[0] if later else found[0] if by > 0 else found[-1]
        self.row, self.column = divmod(key, wide)
        self._went()
        return True

    def on_resize(self) -> None:
        self.fill()

    def on_click(self, event: events.Click) -> None:
        drawing = self.drawing
        if drawing is None:
            return
        row, column = event.y - 1, (event.x - drawing.grid.label) // drawing.grid.wide
        if 0 <= row < drawing.grid.rows and 0 <= column < drawing.grid.columns:
            self.row, self.column = drawing.top + row, drawing.left + column
            self._went()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move(3, 0)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move(-3, 0)

    def style_of(self, name: str, over: Style) -> Style:
        """The style of a cell, whose name says which table and level it is of; else that of a name of the theme."""
        if not name.startswith("heat"):
            return super().style_of(name, over)
        return heat_style(name, self.depth, bool(self.app.current_theme.dark), over)
