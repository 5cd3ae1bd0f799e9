"""CopyScreen: one letter chooses what is copied of what a lens shows; tab chooses the form."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen

from tui_params.core import text
from tui_params.core.export.snippets import SNIPPETS, Snippet
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import LinesView
from tui_params.tui.widgets.lenses.lens import CopyChoice

_TITLES = {"python": "Python", "csv": "CSV", "markdown": "Markdown"}


class CopyScreen(ModalScreen[None]):
    """The choices, each with its letter."""

    form: Snippet = "python"
    """The form that was chosen last, in any tensor."""

    def __init__(self, glyphs: Glyphs, choices: Sequence[CopyChoice]) -> None:
        super().__init__()
        self.glyphs = glyphs
        self._choices = choices
        self._is_answered = False

    def compose(self) -> ComposeResult:
        yield LinesView(id="copy", classes="-ascii" if self.glyphs.is_ascii else "")

    def on_mount(self) -> None:
        self.query_one(LinesView).border_title = "Copy"
        self._fill()

    def _fill(self) -> None:
        view = self.query_one(LinesView)
        lines = copy_lines(self._choices, self.form)
        view.styles.height = len(lines) + 2
        view.set_lines(lines)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        if event.key in ("tab", "shift+tab"):
            step = 1 if event.key == "tab" else -1
            CopyScreen.form = SNIPPETS[(SNIPPETS.index(self.form) + step) % len(SNIPPETS)]
            self._fill()
            return
        chosen = next((choice for choice in self._choices if choice.letter == event.key), None)
        if event.key == "enter":
            chosen = self._choices[0]
        if (chosen is not None or event.key in ("escape", "q")) and not self._is_answered:
            self._is_answered = True
            self.dismiss(None)
            if chosen is not None:
                chosen.copy(self.form)


def copy_lines(choices: Sequence[CopyChoice], form: Snippet) -> list[Line]:
    """What can be copied, and in which form."""
    lines: list[Line] = [
        [(f" {choice.letter}  ", "accent"), (f"{choice.name:<8}", "text"), (text.shorten(choice.about, 42), "dim")]
        for choice in choices
    ]
    forms: Line = [(" as ", "dim")]
    for each in SNIPPETS:
        forms += [(_TITLES[each], "tab" if each == form else "dim"), ("  ", "dim")]
    return [*lines, [], [*forms, ("  tab ", "accent"), ("form  ", "dim"), ("esc ", "accent"), ("closes", "dim")]]
