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
from tui_params.core.watching import MAX_HOLD_SECONDS, Wish
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import PlainInput
from tui_params.tui.widgets.canvas import LinesView
from tui_params.tui.widgets.detail.text_lines import wrapped

_FORMS = "nan  inf  norm>10  norm>5x (times its median)  still:100 (steps)"
_FIELDS = (
    ("for", "watch-field", "nothing: the watch ends"),
    ("save to", "watch-folder", "no folder: nothing is saved"),
    ("hold", "watch-hold", "seconds at most; none: it is not held"),
)
"""What stands before a field, its id, and what an empty one means."""

_MOST = 8


class Wanted(msgspec.Struct, frozen=True):
    """What to watch for, and whether in everything or only in the row at the cursor; without conditions, nothing."""

    wish: Wish
    is_all: bool


class Seen(msgspec.Struct, frozen=True):
    """The watch as it is: what was asked for, what it says and has seen, and whether the training stands."""

    wish: Wish
    words: str
    standing: str
    events: Sequence[Finding]
    is_all: bool


class WatchField(PlainInput):
    """One of the fields; tab chooses where to watch, up and down another field."""

    BINDINGS = [
        Binding("tab,shift+tab", "screen.choose_where", "where", show=False),
        Binding("down", "screen.choose_field(1)", "next field", show=False),
        Binding("up", "screen.choose_field(-1)", "field before", show=False),
    ]


class WatchScreen(ModalScreen[None]):
    """A field for the conditions. ``start`` takes what is wanted, and returns what is wrong with it, or nothing."""

    BINDINGS = [Binding("escape", "leave", "close", show=False)]
    AUTO_FOCUS = "#watch-field"

    def __init__(self, glyphs: Glyphs, name: str, seen: Seen, start: Callable[[Wanted], str]) -> None:
        super().__init__()
        self.glyphs = glyphs
        self._of_tensor, self._seen, self._start = name, seen, start
        self._is_all = not name or (bool(seen.standing) and seen.is_all)
        self._is_left = False

    def compose(self) -> ComposeResult:
        with Vertical(id="watch", classes="-ascii" if self.glyphs.is_ascii else ""):
            yield LinesView(id="watch-where")
            for word, name, empty in _FIELDS:
                with Horizontal(classes="watch-bar"):
                    yield Static(word, classes="watch-mark", markup=False)
                    yield WatchField(empty, id=name)
            yield LinesView(id="watch-said")

    def on_mount(self) -> None:
        self.query_one("#watch").border_title = "Watch at every step"
        wish = self._seen.wish
        seconds = f"{wish.hold_seconds:g}" if wish.hold_seconds else ""
        values = (wish.conditions or "nan inf", wish.folder, seconds)
        for field, value in zip(self.query(WatchField), values, strict=True):
            field.value = value
            field.cursor_position = len(value)
        self._fill()

    def on_resize(self) -> None:
        self._fill()

    def _fill(self, wrong: str = "") -> None:
        where, said = self.query_one("#watch-where", LinesView), self.query_one("#watch-said", LinesView)
        width = max(20, min(76, self.size.width * 96 // 100) - 4)
        choices: list[Line] = []
        for is_all, words in ((False, self._of_tensor), (True, "every parameter, buffer and gradient")):
            if words:
                mark, style = (self.glyphs.closed, "accent") if is_all is self._is_all else (" ", "dim")
                choices.append([(f"{mark} ", style), (text.shorten_name(words, width - 2), style)])
        where.set_lines(choices)
        where.styles.height = len(choices)
        lines: list[Line] = wrapped(wrong, width, "error") if wrong else wrapped(_FORMS, width, "dim")
        if self._seen.standing:
            lines += [[], *wrapped(self._seen.standing, width, "accent", limit=3)]
        elif self._seen.words:
            lines += [[], *wrapped(self._seen.words, width, "text", limit=2)]
        events = self._seen.events
        if events:
            lines.append([])
            # Borders, fields, "and more" and the keys need eight lines.
            room = max(1, min(_MOST, (self.size.height * 96 // 100 - len(choices) - len(lines) - 8) // 2))
            for event in events[:room]:
                words = f"{self.glyphs.error} {text.name(event.tensor or '')}: {event.evidence}"
                lines += wrapped(words, width, "error", limit=2, hang=2)
            more = len(events) - room
            if more > 0:
                lines.append([(f"  and {more:,} more", "dim")])
        lines += [[], self._key_line()]
        said.set_lines(lines)
        said.styles.height = len(lines)

    def _key_line(self) -> Line:
        enter = "lets the training go on" if self._seen.standing else "watches"
        arrows = "up down" if self.glyphs.is_ascii else "↑↓"
        where = [("tab", "where")] if self._of_tensor else []
        offered = ((arrows, "field"), *where, ("enter", enter), ("esc", "closes"))
        return [part for key, words in offered for part in ((key, "accent"), (f" {words}   ", "dim"))]

    def action_choose_where(self) -> None:
        if self._of_tensor:
            self._is_all = not self._is_all
            self._fill()

    def action_leave(self) -> None:
        # A key that comes while this closes would close the screen below.
        if not self._is_left:
            self._is_left = True
            self.dismiss()

    def action_choose_field(self, step: int) -> None:
        fields = list(self.query(WatchField))
        place = next((number for number, field in enumerate(fields) if field.has_focus), 0)
        fields[(place + step) % len(fields)].focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        conditions, folder, seconds = (field.value.strip() for field in self.query(WatchField))
        held = _seconds(seconds)
        if held is None:
            wrong = f"{seconds!r} is no number of seconds from 0 to {MAX_HOLD_SECONDS:,.0f}"
        else:
            wrong = self._start(Wanted(Wish(conditions, folder, held), self._is_all))
        if wrong:
            self._fill(wrong)
        else:
            self.action_leave()


def _seconds(words: str) -> float | None:
    """A number of seconds, 0 of nothing; None if it is no such number."""
    try:
        found = float(words) if words else 0.0
    except ValueError:
        return None
    return found if 0 <= found <= MAX_HOLD_SECONDS else None
