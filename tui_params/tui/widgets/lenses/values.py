"""Values: the numbers of a plane, as a sheet that one walks in."""

from __future__ import annotations

from collections.abc import Hashable

import msgspec
from textual import events

from tui_params.core import text
from tui_params.core.export.snippets import Snippet
from tui_params.core.reading.grid import typical_width
from tui_params.core.reading.value_part import Part, read_part
from tui_params.core.reading.value_text import FORMS, MOST_DIGITS, Format
from tui_params.core.window import Window
from tui_params.tui import keys
from tui_params.tui.desk.tensor_desk import Answer, Task, TensorDesk
from tui_params.tui.later import Later
from tui_params.tui.state.place import Place
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.text_lines import wrapped
from tui_params.tui.widgets.lenses import value_edges
from tui_params.tui.widgets.lenses.lens import CopyChoice, Lens, Seen
from tui_params.tui.widgets.lenses.seeking import Seeking
from tui_params.tui.widgets.lenses.value_copies import Taken, cell_copy, read_row, window_copy
from tui_params.tui.widgets.lenses.value_edges import SheetEdges
from tui_params.tui.widgets.lenses.value_lines import (
    EDGE,
    GAP,
    Cells,
    Layout,
    cells_of,
    edged,
    lay_out,
    scrolled,
    sheet_lines,
)

_PART = "cells.part"
"""The slot in which the values in sight are read."""

_LEAST = 22
"""Cells for labels and values beside an edge."""

MOMENT = 0.04
"""Seconds after which values that are not here yet are shown as not known."""

_COPY = "cells.copy"
"""The slot in which a row is read that is to be copied."""


class Values(Lens):
    """The values around the place. What is in sight is read, and nothing else."""

    slot = "cells"
    KEYS = keys.CELLS
    HINTS = ("cells.next", "cells.search", "cells.largest", "cells.format", "cells.copy", "cells.edge")
    BINDINGS = keys.bindings(keys.CELLS)

    def __init__(self, glyphs: Glyphs, desk: TensorDesk) -> None:
        super().__init__(glyphs, desk)
        self.format = Format()
        self._layout = Layout(1, 1, 1, 1, False)
        self._asked: Hashable = None
        self._answered: Hashable = None
        self._cells: Cells | None = None
        self._cells_of: Hashable = None
        self._reason: str | None = None
        self._cell_width = 0
        self._width_of: Hashable = None
        self._copying: Hashable = None
        self._shown_of: Hashable = None
        self._timer: Later | None = None
        self._is_late = False
        self.seeking = Seeking(desk, "cells.search", self._say, self._move, self._restate)
        self.edges = SheetEdges(desk, self._fill)

    @property
    def is_settled(self) -> bool:
        is_idle = not (self.seeking.is_running or self.edges.is_running or self._copying is not None)
        return self._answered == self._asked and is_idle

    @property
    def state(self) -> Line:
        seen = self.seen
        if self.seeking.is_running or self.edges.words:
            return [(self.seeking.words or self.edges.words, "accent")]
        sought = self.seeking.state
        if seen is None or (seen.info.dtype.kind in ("int", "bool") and self.format.form != "bits"):
            return sought
        return [*sought, ("  " if sought else "", "dim"), (self.format.words, "dim")]

    @property
    def window(self) -> Window | None:
        return self.seen.place.plane.part(*self._layout.wanted) if self.seen is not None else None

    def _restate(self) -> None:
        self.post_message(self.Restated())

    def _say(self, words: str) -> None:
        self.post_message(self.Told(words))

    def show(self, seen: Seen) -> None:
        before, self.seen = self.seen, seen
        if before is not None and (before.info.name, before.version, before.place) != (
            seen.info.name, seen.version, seen.place,
        ):  # fmt: skip
            self.seeking.stop()  # whoever walks on does not wait for it
        self._fill()

    def hide(self) -> None:
        self.seeking.stop()
        self.edges.stop()

    def back(self) -> bool:
        if self.seeking.stop():
            return True
        if self.edges.stop():
            self.edges.is_on = False
            self._fill()
            self._restate()
            return True
        return False

    def on_resize(self) -> None:
        self._fill()

    def _fill(self) -> None:
        """Lay the sheet out, ask for what is in sight, and paint what is here."""
        seen = self.seen
        if seen is None or not self.has_room:
            return
        reason = seen.info.unreadable
        if reason is None and seen.place.index is None:
            reason = f"There is nothing to show: {seen.place.expression} of {text.shape(seen.info.shape)} is empty."
        if reason is not None:
            self.desk.stop(_PART)
            self._asked = self._answered = None
            self.set_lines(wrapped(reason, self.size.width, "warning", limit=4))
            return
        self._ask(seen)
        if self._reason is not None:
            self.set_lines(wrapped(self._reason, self.size.width, "warning", limit=4))
        else:
            here = self._cells if self._is_here() else None
            lines = sheet_lines(self._layout, here, seen.place, self.glyphs.unknown)
            if self._has_edges(seen):
                self.edges.want(seen, self._layout)
                if self.edges.reason is not None:
                    self._say(self.edges.reason)
                    self.edges.is_on = False
                    self._fill()
                    return
                lines = edged(lines, self._layout, self.edges.rows, self.edges.columns, self.glyphs.divider)
                self._restate()
            if not self._awaits(seen):
                self.set_lines(lines)

    def _awaits(self, seen: Seen) -> bool:
        """Whether what is in sight will be here in a moment: then it is painted once, and not twice for one key."""
        if self._answered == self._asked or self._shown_of != self._kind(seen):
            self._drop_timer()
            self._shown_of = self._kind(seen)
            return False
        if self._timer is None:
            self._is_late = False
            self._timer = Later(self, MOMENT, self._be_late)
        return not self._is_late

    def _be_late(self) -> None:
        self._is_late = True
        self._fill()

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer, self._is_late = None, False

    def _has_edges(self, seen: Seen) -> bool:
        has_room = self.size.width >= EDGE[0] + _LEAST and self.size.height >= 3 * EDGE[1]
        return self.edges.is_on and has_room and seen.place.plane.row_count > 1

    def _kind(self, seen: Seen) -> Hashable:
        """What cells must belong to so that they can be shown: a plane of a tensor, and how it is written.

        Those of an earlier version stay until the new ones are read.
        """
        return seen.info.name, seen.info.dtype, seen.place.plane, self.format

    def _ask(self, seen: Seen) -> None:
        kind = seen.info.dtype, self.format
        if self._width_of != kind:
            self._width_of, self._cell_width = kind, 0
        guessed = max(4, typical_width(seen.info, self.format.digits) - 2)
        view, edge = seen.place.plane, EDGE if self._has_edges(seen) else (0, 0)
        layout = lay_out(view, (self.size.width, self.size.height), self._cell_width or guessed, edge)
        self._layout = scrolled(layout, self._layout, seen.place)
        wanted = self._layout.wanted
        key = (seen.info.name, seen.version, view, wanted)
        if key == self._asked:
            return
        self._reason = None
        self._asked = key
        info = seen.info

        def read(task: Task) -> Part:
            task.check()
            return read_part(self.desk.source, info, view, *wanted)

        self.desk.ask(_PART, key, read)

    def take(self, answer: Answer) -> None:
        if self.seeking.take(answer):
            return
        if answer.slot == value_edges.SLOT:
            self.edges.take(answer)
        elif answer.slot == _COPY:
            self._take_copy(answer)
        elif answer.slot == _PART and answer.key == self._asked:
            self._answered = answer.key
            self._reason = answer.reason
            if isinstance(answer.result, Part):
                self._take_part(answer.result)
            self._fill()

    def _take_part(self, part: Part) -> None:
        seen = self.seen
        assert seen is not None
        self._cells = cells_of(part, seen.info.dtype, self.format)
        self._cells_of = self._kind(seen)
        # Never narrower than before: the columns stay where they are while one walks.
        self._cell_width = max(self._cell_width, self._cells.width)

    # Moving

    def _move(self, place: Place) -> None:
        seen = self.seen
        if seen is None or place == seen.place:
            return
        self.seeking.stop()
        # At once, so that the next key begins where this one ended.
        self.seen = msgspec.structs.replace(seen, place=place)
        self._fill()
        self.post_message(self.Moved(place))

    def action_move(self, rows: int, columns: int) -> None:
        if self.seen is None:
            return
        if self._layout.is_wrapped:
            rows, columns = 0, columns + rows * self._layout.columns
        self._move(self.seen.place.moved(rows, columns))

    def action_page(self, down: int, across: int) -> None:
        """Scroll by what is in sight but one line or column, and the place with it."""
        layout, seen = self._layout, self.seen
        if seen is None:
            return
        rows, columns = down * max(1, layout.lines - 1), across * max(1, layout.columns - 1)
        if layout.is_wrapped:
            corner = msgspec.structs.replace(layout, left=max(0, layout.left + rows * layout.columns))
        else:
            top, left = max(0, layout.top + rows), max(0, layout.left + columns)
            corner = msgspec.structs.replace(layout, top=top, left=left)
        self._layout = corner
        self.action_move(rows, columns)

    def action_row_edge(self, side: int) -> None:
        if self.seen is None:
            return
        place, layout = self.seen.place, self._layout
        if layout.is_wrapped:
            start = place.column - place.column % layout.columns
            self._move(place.at(0, start if side < 0 else start + layout.columns - 1))
        else:
            self._move(place.at(place.row, 0 if side < 0 else place.plane.column_count - 1))

    def action_edge(self, side: int) -> None:
        if self.seen is not None:
            view = self.seen.place.plane
            last = view.row_count - 1, view.column_count - 1
            self._move(self.seen.place.at(*((0, 0) if side < 0 else last)))

    def on_click(self, event: events.Click) -> None:
        at, layout = event.get_content_offset(self), self._layout
        if self.seen is None or at is None or at.y < 1:
            return
        across = (at.x - layout.label_width) // (layout.cell_width + GAP)
        if 0 <= at.y - 1 < layout.lines and 0 <= across < layout.columns:
            row, column = layout.position(at.y - 1, across)
            view = self.seen.place.plane
            if row < view.row_count and column < view.column_count:
                self._move(self.seen.place.at(row, column))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(*((0, 1) if event.shift else (3, 0)))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(*((0, -1) if event.shift else (-3, 0)))

    # Searching

    def action_seek(self, step: int) -> None:
        if self.seen is not None:
            self.seeking.seek(self.seen, step)

    def action_extreme(self, side: int) -> None:
        if self.seen is not None:
            self.seeking.to_extreme(self.seen, side)

    def action_search(self) -> None:
        self.post_message(self.seeking.asked(lambda: self.seen))

    def action_edges(self) -> None:
        seen = self.seen
        if seen is None:
            return
        if seen.place.plane.row_count <= 1:
            self._say("One row has no edge: the page of the tensor has its least, greatest and mean.")
            return
        self.edges.is_on = not self.edges.is_on
        if self.edges.is_on and not self._has_edges(seen):
            self.edges.is_on = False
            self._say("There is no room for an edge here: make the terminal larger.")
        if not self.edges.is_on:
            self.edges.stop()
        self._fill()
        self._restate()

    # Copying

    def action_copy(self) -> None:
        seen = self.seen
        if seen is None or self._cells is None or not self._is_here():
            self._say("There is nothing here to copy.")
            return
        part, place, layout = self._cells.part, seen.place, self._layout

        def cell(form: Snippet) -> None:
            self._copy(cell_copy(part, place, form))

        def row(form: Snippet) -> None:
            self._copying = key = (seen.info.name, seen.version, place, form)
            source, info = self.desk.source, seen.info
            self.desk.ask(_COPY, key, lambda task: read_row(source, info, place, form, task.check))

        def window(form: Snippet) -> None:
            self._copy(window_copy(part, layout, place.plane, form))

        index = text.shape(place.index or ())
        columns = text.plural(place.plane.column_count, "value")
        self.post_message(
            self.Copies(
                (
                    CopyChoice("c", "cell", f"the value at {index}", cell),
                    CopyChoice("r", "row", f"the whole row, {columns}", row),
                    CopyChoice("w", "window", "the values in sight", window),
                )
            )
        )

    def _copy(self, taken: Taken | None) -> None:
        if taken is None:
            self._say("The values are not here yet.")
        else:
            self.post_message(self.Copied(taken.text, taken.words))

    def _take_copy(self, answer: Answer) -> None:
        if answer.key == self._copying:
            self._copying = None
            if isinstance(answer.result, Taken):
                self._copy(answer.result)
            elif answer.reason is not None:
                self._say(answer.reason)

    # How numbers are written

    def action_format(self) -> None:
        form = FORMS[(FORMS.index(self.format.form) + 1) % len(FORMS)]
        self._write_as(msgspec.structs.replace(self.format, form=form))

    def action_digits(self, step: int) -> None:
        digits = max(1, min(self.format.digits + step, MOST_DIGITS))
        self._write_as(msgspec.structs.replace(self.format, digits=digits))

    def _write_as(self, how: Format) -> None:
        if how == self.format:
            return
        part = self._cells.part if self._cells is not None and self.seen is not None and self._is_here() else None
        self.format = how
        if part is not None and self.seen is not None:
            self._width_of, self._cell_width = (self.seen.info.dtype, how), 0
            self._take_part(part)
        self._fill()
        self._restate()

    def _is_here(self) -> bool:
        return self.seen is not None and self._cells_of == self._kind(self.seen)
