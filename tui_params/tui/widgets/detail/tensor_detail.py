"""TensorDetail: the pane on the right, a page of facts above a window of values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from tui_params.core import text
from tui_params.core.tensor import TensorInfo
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import PlainInput
from tui_params.tui.widgets.canvas import LinesView
from tui_params.tui.widgets.detail.value_grid import ValueGrid

_ENDS = re.compile(r":[^,\]]*")

_MARK_WIDTH = 7
_HINTS = {True: "v: choose a slice", False: "v: slice"}
"""What an empty field says, where there is room and where there is little."""


class Facts(LinesView, can_focus=True):
    """The page of facts; it scrolls when it has the focus."""

    BINDINGS = [Binding("enter", "screen.inside", "inside", show=False)]

    class Resized(Message):
        """The width or height has changed: the page must be made again."""

    class PathClicked(Message):
        """A segment of the name at the top was clicked: ``path`` is the name up to it."""

        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

    def on_resize(self) -> None:
        self.post_message(self.Resized())

    def on_click(self, event: events.Click) -> None:
        place = event.get_content_offset(self)
        path = path_at(self.lines, self.top + place.y, place.x) if place is not None else None
        if path is not None:
            self.post_message(self.PathClicked(path))


def _spaceless(words: str) -> str:
    return words.replace(" ", "")


def path_at(lines: Sequence[Line], row: int, x: int) -> str | None:
    """The name at the top of a page, which may take several lines, up to the segment at a cell; None beside it."""
    titles = [line[0][0] for line in itertools.takewhile(lambda line: line and line[0][1] == "title", lines)]
    if not 0 <= row < len(titles) or not 0 <= x < len(titles[row]):
        return None
    name, at = "".join(titles), sum(map(len, titles[:row])) + x
    end = name.find(".", at)
    return name if end < 0 else name[:end]


class SliceField(PlainInput):
    """The field for the slice expression; escape leaves it."""

    BINDINGS = [Binding("escape", "leave", "leave", show=False)]

    class Left(Message):
        """Escape was pressed."""

    def action_leave(self) -> None:
        self.post_message(self.Left())


class TensorDetail(Vertical):
    """Facts, the slice field, the values."""

    class WentToPlace(Message):
        """The values around a certain element are to be shown, and need room."""

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.glyphs = glyphs
        self.info: TensorInfo | None = None
        self._is_roomy = False

    def compose(self) -> ComposeResult:
        yield Facts(id="facts")
        with Vertical(id="values"):
            with Horizontal(id="slice-bar"):
                yield Static("", id="slice-mark")  # nothing is shown yet
                yield SliceField("", id="slice")
                yield Static("", id="slice-caption", markup=False)
            yield ValueGrid(self.glyphs, id="grid")

    @property
    def facts(self) -> Facts:
        return self.query_one(Facts)

    @property
    def grid(self) -> ValueGrid:
        return self.query_one(ValueGrid)

    @property
    def field(self) -> SliceField:
        return self.query_one(SliceField)

    def show_values_of(self, info: TensorInfo | None) -> None:
        """Show the values of a tensor (None: of nothing). The slice is kept only if the shape is the same.

        The words beside the field follow with the values (``caption``), so that they are painted together.
        """
        if info is None or self.info is None or info.shape != self.info.shape:
            with self.field.prevent(Input.Changed):
                self.field.value = ""
        self.info = info
        self.field.can_focus = info is not None  # ``disabled`` would paint it anew
        self.grid.point_at(info, self.field.value)
        if info is None:
            self.caption("")

    def show_place(self, index: tuple[int, ...]) -> None:
        """Show the values around the element at ``index``, and mark it; a slice that was chosen before is dropped."""
        if self.info is None or len(index) != len(self.info.shape) or not index:
            return
        with self.field.prevent(Input.Changed):
            self.field.value = ""
        self.field.remove_class("wrong")
        self.grid.point_at(self.info, "")
        self.grid.show_place(index)
        self.post_message(self.WentToPlace())

    def caption(self, words: str) -> None:
        """Say beside the field which values are on screen; where there is little room, without the shape, or only where
        they begin.
        """
        bar = self.size.width - 2
        if words and _spaceless(words.partition(" of ")[0]) == f"[{_spaceless(self.field.value).strip('[]')}]":
            words = words.partition(" of ")[2]  # the field says it already
            words = f"of {words}" if words else ""
        if words:
            self._is_roomy = bar - _MARK_WIDTH - len(_HINTS[True]) - 1 >= len(words)
        self.field.placeholder = _HINTS[self._is_roomy] if self.info is not None else ""
        self._write("#slice-mark", "values " if self.info is not None else "")
        # The widths are those of app.tcss: a cell of the field is for its cursor.
        field = bar * 2 // 5 if self.field.value else len(_HINTS[self._is_roomy]) + 1
        room = max(0, bar - _MARK_WIDTH - field)
        window = words.partition(" of ")[0]
        corner = _ENDS.sub("", window)
        words = next(
            (form for form in (words, window, f"from {corner}") if len(form) <= room), text.shorten(corner, room)
        )
        self.query_one("#slice-bar").set_class(bool(self.field.value), "-filled").set_class(self._is_roomy, "-roomy")
        self._write("#slice-caption", words)

    def _write(self, where: str, words: str) -> None:
        """Put words into one of the texts; those that stand there already are not sent again."""
        static = self.query_one(where, Static)
        if static.content != words:
            static.update(words, layout=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        reason = self.grid.point_at(self.info, event.value)
        self.field.set_class(reason is not None, "wrong")
        if reason is not None:
            self.caption("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.grid.focus()
