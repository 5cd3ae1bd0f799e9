"""BookmarksScreen: one letter sets a bookmark on a tensor or a module, or goes to one."""

from __future__ import annotations

from collections.abc import Mapping

from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen

from tui_params.core import text
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import LinesView

_WIDTH = 58
_FRAME = 4


class BookmarksScreen(ModalScreen[str | None]):
    """The bookmarks there are; dismissed with the letter that was pressed. ``name`` is what would get one, if any."""

    def __init__(self, glyphs: Glyphs, kept: Mapping[str, str], name: str | None = None) -> None:
        super().__init__()
        self.glyphs = glyphs
        self._kept = kept
        self._of_tensor = name
        self._is_answered = False

    def compose(self) -> ComposeResult:
        yield LinesView(id="bookmarks", classes="-ascii" if self.glyphs.is_ascii else "")

    def on_mount(self) -> None:
        view = self.query_one(LinesView)
        view.border_title = "Set a bookmark" if self._of_tensor is not None else "Go to a bookmark"
        view.border_subtitle = "a letter, or esc"
        self._fill()

    def on_resize(self) -> None:
        self._fill()

    def _fill(self) -> None:
        width = max(10, min(_WIDTH, self.size.width * 96 // 100) - _FRAME)
        lines: list[Line] = []
        if self._of_tensor is not None:
            lines += [[(text.shorten_name(text.name(self._of_tensor), width), "title")], []]
        for letter, name in sorted(self._kept.items())[: max(1, self.size.height - len(lines) - _FRAME)]:
            lines.append([(f"{letter}  ", "accent"), (text.shorten_name(text.name(name), width - 3), "text")])
        if not self._kept:
            lines.append([("no bookmarks yet", "dim")])
        view = self.query_one(LinesView)
        view.styles.height = len(lines) + 2
        view.set_lines(lines)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        letter = event.character or ""
        if event.key == "escape":
            self._answer(None)
        elif len(letter) == 1 and letter.isalnum() and letter.isascii():
            self._answer(letter)

    def _answer(self, letter: str | None) -> None:
        # A key that comes while this closes would close the screen below.
        if not self._is_answered:
            self._is_answered = True
            self.dismiss(letter)
