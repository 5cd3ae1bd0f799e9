"""ModuleTree: the tree of modules and tensors. It paints only the rows that are on screen (``core/tree/rows.py``).

The cursor is on a node, never on a row number: it stays with its tensor whatever is opened, closed or filtered away.
When figures arrive, ``figures_changed`` repaints their lines.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from rich.text import Text
from textual import events
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_params.core import text
from tui_params.core.course import Course
from tui_params.core.figures import Figures
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.rows import Rows
from tui_params.tui import keys
from tui_params.tui.state.changes import Changes
from tui_params.tui.state.columns import Content, Layout, indent
from tui_params.tui.state.marks import Marks
from tui_params.tui.state.shared_axis import SharedAxis
from tui_params.tui.state.sorting import Shown
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import Canvas
from tui_params.tui.widgets.tree.arrangement import Arrangement
from tui_params.tui.widgets.tree.tree_messages import Entered, Exposed, HeadingClicked, Moved, Refused
from tui_params.tui.widgets.tree.tree_row import row_line
from tui_params.tui.widgets.tree.tree_state import Seen, Spans, next_of_interest, rows_showing, state_of, tensors_at

_HEADED = 6
"""The fewest lines of the tree that leave room for a line with the names of the columns."""


class ModuleTree(Canvas, ScrollView, can_focus=True, inherit_bindings=False):
    """The tree on the left."""

    BINDINGS = keys.bindings(keys.TREE)
    DEFAULT_CSS = """
    ModuleTree { overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.glyphs = glyphs
        self.rows: Rows | None = None
        self.cursor: int | None = None
        self.marks = Marks()
        self.changes = Changes()
        self.axis: SharedAxis | None = None
        self._figures: Callable[[str], Figures | None] = lambda name: None
        self.course_of: Callable[[str], Course | None] = lambda name: None
        self._spans: Spans | None = None
        self._gradients: Mapping[str, TensorInfo] = {}
        self._arrangement = Arrangement()
        self._empty_text = ""
        self.search_anchor: int | None = None  # where the cursor stood when a search began

    # What is shown

    def show(
        self,
        rows: Rows,
        figures: Callable[[str], Figures | None],
        marks: Marks,
        content: Content | None = None,
        gradients: Mapping[str, TensorInfo] | None = None,
    ) -> None:
        """Show a tree; ``figures`` returns at once what is known of the tensor of a name.

        ``content`` is what the columns need, and ``gradients`` are by the name of their parameter.
        """
        self.rows = rows
        self._gradients = gradients if gradients is not None else {}
        self._arrangement.content = content if content is not None else Content()
        self._arrangement.change()
        self.cursor = self.search_anchor = None  # nodes of the tree before
        self.marks = marks
        self._figures = figures
        self._changed_rows()
        self.move_to(rows.visible[0] if rows.visible else None)

    def set_empty_text(self, words: str) -> None:
        """What is shown in place of rows when there are none."""
        self._empty_text = words
        if self.rows is None or not self.rows.visible:
            self.refresh()

    def set_order(self, shown: Shown | None, *, is_flat: bool = False) -> None:
        """Show the column that the tree is sorted by; full names in one list if ``is_flat``."""
        self._arrangement.shown, self._arrangement.is_flat = shown, is_flat
        self._arrangement.change()
        self._changed_rows()

    def set_changes(self, changes: Changes) -> None:
        """Show how the tensors have moved since an earlier look or differ on the other side, if there is one."""
        self.changes = changes
        self._arrangement.compare(is_compared=bool(changes.since), is_across=changes.is_across)
        self.refresh()

    def set_axis(self, axis: SharedAxis | None) -> None:
        """Draw the sparklines of one module on one axis, or (None) each on its own."""
        self.axis = axis
        self._arrangement.axis = axis.range if axis is not None else None
        self.refresh()

    def set_columns(self, wanted: tuple[str, ...] | None) -> None:
        """Show these columns, as far as there is room, in this order; None: the usual ones."""
        self._arrangement.wanted = wanted
        self._arrangement.change()
        self.refresh()
        self.post_message(Exposed())

    @property
    def layout_of_columns(self) -> Layout:
        """The columns as they are shown at this width."""
        return self._arrangement.layout(self.scrollable_content_region.width)

    @property
    def heading(self) -> int:
        """The lines above the rows that do not scroll: the headings, where the tree is high enough."""
        return int(self.size.height >= _HEADED)

    def set_spans(self, spans: Spans | None) -> None:
        """Which parts of a name the search has hit: they are underlined."""
        self._spans = spans
        self.refresh()

    def keep_only(self, leaves: Iterable[int] | None) -> None:
        """Filter the rows, keeping the cursor where it is or near it."""
        if self.rows is None:
            return
        self.rows.keep_only(leaves)
        self._changed_rows()
        visible = self.rows.visible
        if not visible:
            self.refresh()
            return
        node = next((at for at in (self.search_anchor, self.cursor) if at is not None), visible[0])
        row = self.rows.nearest_row(node)
        if leaves is not None and visible[row] != node and self.rows.tree.is_module(visible[row]):
            # A search is for tensors: go to the first that is left, not to the module above it.
            row = next((at for at in range(row, len(visible)) if not self.rows.tree.is_module(visible[at])), row)
        self.move_to(visible[row])

    def figures_changed(self, names: Iterable[str], marked: Collection[str] = ()) -> None:
        """Repaint the rows of some tensors, and of the modules above those in ``marked``, whose mark may change."""
        if self.rows is None:
            return
        names = tuple(names)
        if self.axis is not None and self.axis.take(names):
            self.set_axis(self.axis)
        for row in rows_showing(self.rows, names, marked):
            self.refresh_line(row + self.heading)

    def tensors_on_screen(self) -> Iterator[TensorInfo]:
        """The tensors of the rows on screen, and their gradients for a column; first the one at the cursor."""
        if self.rows is None:
            return iter(())
        top = self.scroll_offset.y
        gradients = self._gradients if self.layout_of_columns.has("grad") else {}
        return tensors_at(self.rows, self.cursor, self.rows.visible[top : top + self.size.height], gradients)

    # The cursor

    @property
    def cursor_row(self) -> int:
        if self.rows is None or self.cursor is None:
            return 0
        return self.rows.nearest_row(self.cursor)

    def move_to(self, node: int | None) -> None:
        """Put the cursor on a node, which must be visible, and bring it on screen."""
        old_row = self.cursor_row
        changed = node != self.cursor
        self.cursor = node
        new_row = self.cursor_row
        if self.rows is not None and self.rows.visible:
            self.refresh_line(old_row + self.heading)
            self.refresh_line(new_row + self.heading)
            self._scroll_to_row(new_row)
        if changed:
            self.post_message(Moved(node))

    def reveal(self, node: int) -> None:
        """Open what hides a node and put the cursor on it."""
        if self.rows is None:
            return
        before = len(self.rows)
        row = self.rows.reveal(node)
        if len(self.rows) != before:
            self._changed_rows()
        if self.rows.visible:
            self.move_to(self.rows.visible[row])

    @property
    def _height(self) -> int:
        """How many rows fit on screen."""
        return self.scrollable_content_region.height - self.heading

    def _move_to_row(self, row: int) -> None:
        if self.rows is not None and self.rows.visible:
            self.move_to(self.rows.visible[max(0, min(row, len(self.rows.visible) - 1))])

    def _scroll_to_row(self, row: int) -> None:
        height = self._height
        if height <= 0:
            return
        top = self.scroll_offset.y
        if row < top:
            self.scroll_to(y=row, animate=False)
        elif row >= top + height:
            self.scroll_to(y=row - height + 1, animate=False)

    def _changed_rows(self) -> None:
        if self.rows is None:
            return
        self.virtual_size = Size(self.scrollable_content_region.width, len(self.rows) + self.heading)
        self.refresh()
        self.post_message(Exposed())

    def _change(self, change: Callable[[Rows, int], None], otherwise: str = "") -> None:
        """Open or close something. The cursor stays where it was, or goes to the module that now hides its row.

        If no row appears or disappears, ``otherwise`` says why.
        """
        if self.rows is None or not self.rows.visible:
            return
        row, before = self.cursor_row, len(self.rows)
        height = row - self.scroll_offset.y
        change(self.rows, self.rows.visible[row])
        if len(self.rows) == before:
            self.post_message(Refused(otherwise))
        self._changed_rows()
        if self.cursor is not None:
            row = self.rows.nearest_row(self.cursor)
            if not 0 <= row - self.scroll_offset.y < self._height:
                self.scroll_to(y=max(0, row - height), animate=False)
            self.move_to(self.rows.visible[row])

    # Actions

    def action_cursor(self, step: int) -> None:
        self._move_to_row(self.cursor_row + step)

    def action_page(self, step: int) -> None:
        self._move_to_row(self.cursor_row + step * max(1, self._height - 1))

    def action_edge(self, step: int) -> None:
        self._move_to_row(0 if step < 0 or self.rows is None else len(self.rows) - 1)

    def action_open_close(self) -> None:
        self._change(Rows.toggle, "There is nothing below this row to open.")

    def action_enter(self) -> None:
        if self.rows is None or self.cursor is None:
            return
        if self.rows.tree.is_module(self.cursor):
            self.action_open_close()
        else:
            self.post_message(Entered())

    def action_out(self) -> None:
        if self.rows is None or self.cursor is None:
            return
        if self.rows.tree.is_module(self.cursor) and self.rows.is_expanded(self.cursor):
            self._change(Rows.collapse)
        else:
            self.action_parent()

    def action_into(self) -> None:
        if self.rows is None or self.cursor is None or not self.rows.tree.is_module(self.cursor):
            return
        if self.rows.is_expanded(self.cursor):
            self._move_to_row(self.cursor_row + 1)
        else:
            self._change(Rows.expand)

    def action_parent(self) -> None:
        self._go(Rows.parent_row, "This row is in no module: it is at the top.")

    def action_sibling(self, step: int) -> None:
        if step > 0:
            self._go(Rows.next_sibling, "This is the last row of its module.")
        else:
            self._go(Rows.previous_sibling, "This is the first row of its module.")

    def _go(self, where: Callable[[Rows, int], int], otherwise: str) -> None:
        """Move to another row; if there is none, ``otherwise`` says why."""
        if self.rows is None or not self.rows.visible:
            return
        row = self.cursor_row
        target = where(self.rows, row)
        if target == row:
            self.post_message(Refused(otherwise))
        self._move_to_row(target)

    def action_expand_below(self) -> None:
        self._change(lambda rows, node: rows.set_below(node, True), "There is nothing more to open below this row.")

    def action_collapse_below(self) -> None:
        self._change(Rows.collapse_around, "There is nothing open below this row.")

    def action_expand_all(self) -> None:
        self._change(lambda rows, node: rows.set_all(True), "Everything is open.")

    def action_collapse_all(self) -> None:
        self._change(lambda rows, node: rows.set_all(False), "Everything is closed.")

    def action_mark(self, step: int) -> None:
        """Go to the next tensor with a mark; under a filter, to the next one that it leaves."""
        if self.rows is None:
            return
        node, why = next_of_interest(self.rows, self.cursor_row, step, self.marks)
        if node is None or node == self.cursor:
            self.post_message(Refused(why))
        else:
            self.reveal(node)

    # Events

    def on_resize(self) -> None:
        if self.rows is not None:
            self.virtual_size = Size(self.scrollable_content_region.width, len(self.rows) + self.heading)
            self._scroll_to_row(self.cursor_row)
        self.post_message(Exposed())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(Exposed())

    def on_mouse_move(self, event: events.MouseMove) -> None:
        node = self._node_at(event.y)
        # A name may be abbreviated; where it may hold markup, it is shown as it is.
        name = text.clean(self.rows.tree.name(node), 300) if self.rows is not None and node is not None else None
        self.tooltip = Text(name) if name else None

    def _node_at(self, y: int) -> int | None:
        row = y - self.heading + self.scroll_offset.y
        is_row = self.rows is not None and y >= self.heading and row < len(self.rows)
        return self.rows.visible[row] if self.rows is not None and is_row else None

    def on_click(self, event: events.Click) -> None:
        if event.y < self.heading:
            column = self.layout_of_columns.at(event.x)
            self.post_message(HeadingClicked(column.name if column is not None else "name", is_menu=event.button == 3))
        node = self._node_at(event.y)
        if self.rows is None or node is None:
            return
        on_arrow = event.x <= indent(self.rows.depth(node), self.size.width) + 3
        was_here = node == self.cursor
        self.move_to(node)
        if self.rows.tree.is_module(node) and (on_arrow or was_here or event.chain > 1):
            self.action_open_close()
        elif event.chain > 1:
            self.post_message(Entered())

    def on_focus(self) -> None:
        self._repaint_cursor()

    def on_blur(self) -> None:
        self._repaint_cursor()

    def _repaint_cursor(self) -> None:
        if self.rows is not None and self.rows.visible:
            row = self.cursor_row - self.scroll_offset.y + self.heading
            self.refresh(Region(0, row, self.size.width, 1))

    # Painting

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        heading = self.heading
        if y < heading:
            return self.paint(self._arrangement.heading(width, self.glyphs), width)
        y -= heading
        row = y + self.scroll_offset.y
        if self.rows is None or row >= len(self.rows.visible):
            if y == 1 and (self.rows is None or not self.rows.visible):
                return self.paint([(f"  {self._empty_text}", "dim")], width)
            return self.blank(width)
        node = self.rows.visible[row]
        is_here = node == self.cursor or row == self.cursor_row
        over = self.inks.get("cursor" if self.has_focus else "cursor-blurred") if is_here else None
        return self.paint(self._line(node, width), width, over)

    def _line(self, node: int, width: int) -> Line:
        rows = self.rows
        assert rows is not None
        layout, order = self.layout_of_columns, self._arrangement
        known = self._figures, self._gradients, self.marks, self.changes, self.axis
        seen = Seen(*known, self._spans, order.shown, order.is_flat, self.glyphs, self.course_of)
        return row_line(rows.tree, node, state_of(rows, node, layout, seen), width, layout, self.glyphs)
