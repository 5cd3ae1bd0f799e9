"""The one-line strips around the panes: header, status line, search bar, divider."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.highlighter import Highlighter
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from tui_params.core import text
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import LinesView, cut_line, line_width

Part = tuple[str, str]


def spread(left: Sequence[Part], right: Sequence[Part], width: int) -> Line:
    """A line with parts at its left and right ends; the left ones are shortened where there is too little room."""
    ending = list(right)
    while ending and line_width(ending) > width:
        ending.pop()
    room = width - line_width(ending) - (2 if ending else 0)
    line: Line = []
    for part, style in left:
        shown = part if cell_len(part) <= room else text.shorten(part, max(0, room))
        shown = shown if cell_len(shown) <= room else set_cell_size(shown, max(0, room))
        line.append((shown, style))
        room -= cell_len(shown)
    return [*cut_line(line, width - line_width(ending)), *ending]


class StripBar(LinesView, can_focus=False):
    """One or two lines, made by a function that is called again for each width."""

    class Clicked(Message):
        """A cell was clicked."""

        def __init__(self, bar: StripBar, x: int, y: int) -> None:
            super().__init__()
            self.bar = bar
            self.x = x
            self.y = y

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._make: Callable[[int], list[Line]] = lambda width: []

    def on_click(self, event: events.Click) -> None:
        self.post_message(self.Clicked(self, event.x, event.y))

    def show(self, make: Callable[[int], list[Line]]) -> None:
        self._make = make
        self.set_lines(make(self.size.width))

    def on_resize(self) -> None:
        self.set_lines(self._make(self.size.width))


class Divider(Widget):
    """The line between the panes, which the mouse can drag."""

    class Dragged(Message):
        """The mouse drags the line to this column of the screen."""

        def __init__(self, column: int) -> None:
            super().__init__()
            self.column = column

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._line = glyphs.divider

    def render(self) -> str:
        return "\n".join([self._line] * max(1, self.size.height)) if self.size.width == 1 else ""

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.capture_mouse()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        self.release_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.app.mouse_captured is self:
            self.post_message(self.Dragged(event.screen_x))


class PlainInput(Input):
    """A field of one line without a blinking cursor; control characters that are pasted into it are dropped."""

    def __init__(self, placeholder: str, *, id: str, highlighter: Highlighter | None = None) -> None:
        super().__init__(placeholder=placeholder, id=id, compact=True, select_on_focus=False, highlighter=highlighter)
        self.cursor_blink = False

    def update_node_styles(self, animate: bool = True) -> None:
        if self.is_attached:  # Textual would style it while it is being made, too
            super().update_node_styles(animate=animate)

    def validate_value(self, value: str) -> str:
        return "".join(letter for letter in value if letter.isprintable())


class _Underline(Highlighter):
    """Underlines what the search bar found wrong."""

    def __init__(self) -> None:
        self.spans: Sequence[tuple[int, int]] = ()

    def highlight(self, text: Text) -> None:
        for start, stop in self.spans:
            text.stylize("underline bold", start, stop)


class SearchBar(Horizontal):
    """The filter while it is being typed: the text, how many tensors match, or what is wrong with the text."""

    class Changed(Message):
        """The text has changed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Closed(Message):
        """Enter (keep the filter) or escape (drop it)."""

        def __init__(self, is_kept: bool) -> None:
            super().__init__()
            self.is_kept = is_kept

    class Recalled(Message):
        """An arrow key was pressed: it asks for the search before (-1) or after (1)."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    class Stepped(Message):
        """A page key was pressed: it moves the cursor of the tree while the filter is being typed."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    BINDINGS = [
        Binding("escape", "close(False)", "clear", show=False),
        Binding("enter", "close(True)", "keep", show=False, priority=True),
        Binding("up", "recall(-1)", show=False),
        Binding("down", "recall(1)", show=False),
        Binding("pageup,shift+up", "step(-1)", show=False),
        Binding("pagedown,shift+down", "step(1)", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._underline = _Underline()

    def compose(self) -> ComposeResult:
        yield Static("/", id="search-mark")
        yield PlainInput(
            "name  *.glob  /regex/  !not  dtype:bf16  numel>1e6  nan>0", id="search-text", highlighter=self._underline
        )
        yield Static("", id="search-note", markup=False)

    @property
    def text(self) -> str:
        return self.query_one(Input).value

    def set_text(self, words: str) -> None:
        """Put another text in, without a word about it."""
        field = self.query_one(Input)
        with field.prevent(Input.Changed):
            field.value = words

    def open(self) -> None:
        self.display = True
        self.query_one(Input).focus()

    def clear(self) -> None:
        self.query_one(Input).value = ""

    @property
    def note_width(self) -> int:
        """The cells that are free for a note beside the text."""
        return max(10, self.size.width * 45 // 100 - 2)

    def note(self, words: str, wrong: Sequence[tuple[int, int]] = ()) -> None:
        """Show how many tensors match, or what is wrong with the parts of the text at ``wrong``."""
        self._underline.spans = wrong
        note = self.query_one("#search-note", Static)
        note.update(text.clean(words, self.note_width), layout=False)
        note.set_class(bool(wrong), "wrong")
        self.query_one(Input).refresh()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.value))

    def action_close(self, is_kept: bool) -> None:
        self.post_message(self.Closed(is_kept))

    def action_step(self, step: int) -> None:
        self.post_message(self.Stepped(step))

    def action_recall(self, step: int) -> None:
        self.post_message(self.Recalled(step))

    def recall(self, words: str) -> None:
        """Put an earlier search in place of the text, with the cursor at its end."""
        self.set_text(words)
        self.query_one(Input).cursor_position = len(words)
