"""WatchScreen: what is to be watched for while a model trains, and what was seen so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui_params.core import text
from tui_params.core.findings import Finding
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import PlainInput
from tui_params.tui.widgets.canvas import LinesView
from tui_params.tui.widgets.detail.text_lines import wrapped

_FORMS = "nan  inf  norm>10  norm>5x (times its median)  still:100 (steps)"
_MOST = 8


class Wanted(msgspec.Struct, frozen=True):
    """What to watch for, and whether in everything or only in the row at the cursor; without conditions, nothing."""

    conditions: str
    is_all: bool


class ConditionField(PlainInput):
    """The conditions; tab chooses where."""

    BINDINGS = [Binding("tab,shift+tab", "screen.choose_where", "where", show=False)]


class WatchScreen(ModalScreen[None]):
    """A field for the conditions. ``start`` takes what is wanted, and returns what is wrong with it, or nothing."""

    BINDINGS = [Binding("escape", "leave", "close", show=False)]
    AUTO_FOCUS = "ConditionField"

    def __init__(
        self,
        glyphs: Glyphs,
        name: str,
        conditions: str,
        said: str,
        events: Sequence[Finding],
        start: Callable[[Wanted], str],
    ) -> None:
        super().__init__()
        self.glyphs = glyphs
        self._name, self._conditions, self._said, self._events = name, conditions, said, events
        self._start = start
        self._is_all = not name
        self._is_left = False

    def compose(self) -> ComposeResult:
        with Vertical(id="watch", classes="-ascii" if self.glyphs.is_ascii else ""):
            yield LinesView(id="watch-where")
            with Horizontal(id="watch-bar"):
                yield Static("for", id="watch-mark", markup=False)
                yield ConditionField("nothing", id="watch-field")
            yield LinesView(id="watch-said")

    def on_mount(self) -> None:
        self.query_one("#watch").border_title = "Watch at every step"
        self.query_one("#watch").border_subtitle = "enter, or esc"
        field = self.query_one(ConditionField)
        field.value = self._conditions or "nan inf"
        field.cursor_position = len(field.value)
        self._fill()

    def on_resize(self) -> None:
        self._fill()

    def _fill(self, wrong: str = "") -> None:
        where, said = self.query_one("#watch-where", LinesView), self.query_one("#watch-said", LinesView)
        width = max(20, min(76, self.size.width * 96 // 100) - 4)
        choices: list[Line] = []
        for is_all, words in ((False, self._name), (True, "every parameter, buffer and gradient")):
            if words:
                mark, style = (self.glyphs.closed, "accent") if is_all is self._is_all else (" ", "dim")
                choices.append([(f"{mark} ", style), (text.shorten_name(words, width - 2), style)])
        where.set_lines(choices)
        where.styles.height = len(choices)
        lines: list[Line] = wrapped(wrong, width, "error") if wrong else [[(text.shorten(_FORMS, width), "dim")]]
        if self._name:
            lines.append([("tab changes where; nothing written ends the watch", "dim")])
        if self._said:
            lines += [[], *wrapped(self._said, width, "text", limit=2)]
        if self._events:
            lines.append([])
            room = max(1, min(_MOST, (self.size.height - 10) // 2))
            for event in self._events[:room]:
                words = f"{self.glyphs.error} {text.name(event.tensor or '')}: {event.evidence}"
                lines += wrapped(words, width, "text", limit=2, hang=2)
            more = len(self._events) - room
            if more > 0:
                lines.append([(f"and {more:,} more", "dim")])
        said.set_lines(lines)
        said.styles.height = len(lines)

    def action_choose_where(self) -> None:
        if self._name:
            self._is_all = not self._is_all
            self._fill()

    def action_leave(self) -> None:
        # A key that comes while this closes would close the screen below.
        if not self._is_left:
            self._is_left = True
            self.dismiss()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        wrong = self._start(Wanted(event.value.strip(), self._is_all))
        if wrong:
            self._fill(wrong)
        else:
            self.action_leave()
