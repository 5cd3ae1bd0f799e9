"""KindList: the kinds one below the other; each can be opened to its tensors. Only what is on screen is worked out."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from tui_params.tui.state.layer_book import LayerBook
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import LinesView
from tui_params.tui.widgets.kinds.kind_lines import Row, heading_line, kind_lines, member_lines, short_kinds


class KindList(LinesView, can_focus=True, inherit_bindings=False):
    """The list. ``cursor`` counts rows: kinds, and the tensors of those that are open."""

    class Moved(Message):
        """The cursor has moved, or a kind was opened or closed."""

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.glyphs = glyphs
        self.book: LayerBook | None = None
        self.cursor = 0
        self.first = 0
        """The row in the first line."""
        self.words = ""
        """What is said where there are no rows."""
        self._opened: set[int] = set()
        self._starts: list[int] = []
        self._names: tuple[LayerBook | None, int, list[str]] = (None, 0, [])
        self._drawn: dict[int, list[Line]] = {}  # by row, for as long as they are being laid out
        self._rows_at: list[int] = []  # of each line on screen
        self._here_y = -1  # the line with the bar of the cursor

    def show(self, book: LayerBook) -> None:
        """Show a book; the cursor stays on its row."""
        if book is not self.book:
            self.book = book
            self._opened = set()
            self._count()
        self.fill()

    @property
    def current(self) -> tuple[int, int | None] | None:
        """The kind at the cursor, and the place of one of its tensors in it."""
        return self._row(self.cursor) if self._starts and self._starts[-1] else None

    @property
    def current_tensor(self) -> int | None:
        """The position of the tensor at the cursor: of a kind with one tensor, that one."""
        if self.book is None or self.current is None:
            return None
        kind, place = self.current
        indices = self.book.table.members[kind].indices
        return indices[place] if place is not None else indices[0] if len(indices) == 1 else None

    def _count(self) -> None:
        """Where the rows of each kind begin; at the end, how many rows there are."""
        kinds = self.book.table.kinds if self.book is not None else ()
        heights = [1 + (group.count if kind in self._opened else 0) for kind, group in enumerate(kinds)]
        self._starts = list(accumulate(heights, initial=0))

    def _row(self, row: int) -> tuple[int, int | None]:
        kind = bisect_right(self._starts, row) - 1
        place = row - self._starts[kind] - 1
        return kind, None if place < 0 else place

    def _lines_of(self, row: int) -> list[Line]:
        lines = self._drawn.get(row)
        if lines is None:
            lines = self._drawn[row] = self._draw(row)
        return lines

    def _draw(self, row: int) -> list[Line]:
        assert self.book is not None
        kind, place = self._row(row)
        is_here, width = row == self.cursor, self.size.width
        if place is not None:
            return member_lines(self.book, kind, place, width, self.glyphs, is_here=is_here)
        if self._names[:2] != (self.book, width):
            self._names = self.book, width, short_kinds(self.book, width)
        shown = Row(kind, self._names[2][kind], kind in self._opened, is_here)
        return kind_lines(self.book, shown, width, self.glyphs)

    def fill(self) -> None:
        """Draw the rows on screen; the one at the cursor is among them."""
        height, book = self.size.height - 1, self.book
        total = self._starts[-1] if self._starts else 0
        if self.size.width <= 0 or height <= 0 or not total or book is None:
            self._rows_at = []
            self._set_bar(-1)
            self.set_lines([[(f" {self.words}", "dim")]])
            return
        self.cursor = max(0, min(self.cursor, total - 1))
        self.first = max(0, min(self.first, self.cursor))
        self._drawn.clear()
        self._reach(height)
        lines, rows = [heading_line(book, self.size.width)], [-1]
        for row in range(self.first, total):
            if len(lines) > height:
                break
            some = self._lines_of(row)
            lines += some
            rows += [row] * len(some)
        self._rows_at = rows
        self._set_bar(rows.index(self.cursor))
        self.set_lines(lines[: height + 1])

    def _set_bar(self, y: int) -> None:
        """Paint the bar of the cursor in another line."""
        if y != self._here_y:
            changed = [Region(0, at, self.size.width, 1) for at in (self._here_y, y) if at >= 0]
            self._here_y = y
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        if y != self._here_y or y >= len(self._lines):
            return super().render_line(y)
        bar = self.inks.get("cursor" if self.has_focus else "cursor-blurred", self.rich_style)
        return self.paint(self._lines[y], self.size.width, bar)

    def _reach(self, height: int) -> None:
        """Scroll until the row at the cursor is on screen with all its lines."""
        needed, row = len(self._lines_of(self.cursor)), self.cursor
        while row > self.first and needed + len(self._lines_of(row - 1)) <= height:
            row -= 1
            needed += len(self._lines_of(row))
        self.first = max(self.first, row)

    # Keys and mouse

    def move(self, by: int) -> None:
        """Move the cursor by so many rows."""
        self.cursor += by
        self.fill()
        self.post_message(self.Moved())

    def page(self, by: int) -> None:
        self.move(by * max(1, self.size.height - 2))

    def edge(self, by: int) -> None:
        self.move(by * (self._starts[-1] if self._starts else 0))

    def go_to_kind(self, kind: int) -> None:
        self.move(self._starts[kind] - self.cursor)

    def toggle(self, *, opens: bool | None = None) -> bool:
        """Open or close the kind at the cursor, which goes to the kind; False if that changes nothing."""
        if self.current is None or self.book is None:
            return False
        kind, _ = self.current
        is_open = kind in self._opened
        wanted = not is_open if opens is None else opens
        if wanted is is_open or (wanted and self.book.table.kinds[kind].count == 1):
            return False
        self.cursor = self._starts[kind]
        self._opened ^= {kind}
        self._count()
        self.move(0)
        return True

    def on_resize(self) -> None:
        self.fill()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        row = self._rows_at[event.y] if event.y < len(self._rows_at) else -1
        if row < 0:
            return
        is_again, self.cursor = row == self.cursor, row
        self.move(0)
        if is_again:
            self.toggle()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move(-3)
