"""SortScreen: one letter chooses what the tree is sorted by."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen

from tui_params.tui.state.sorting import KEYS, SortChoice, SortKey, is_offered
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import LinesView


class SortScreen(ModalScreen["SortChoice | None"]):
    """The letters; a capital one sorts the other way round, and tab makes one flat list."""

    def __init__(self, glyphs: Glyphs, now: SortChoice, *, is_live: bool = False, is_across: bool = False) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.is_flat = now.is_flat
        self.now = now
        self._keys = [
            key
            for key in KEYS
            if is_offered(key.name, of_live=key.is_live, of_across=key.is_across, is_live=is_live, is_across=is_across)
        ]
        self._is_answered = False

    def compose(self) -> ComposeResult:
        yield LinesView(id="sort", classes="-ascii" if self.glyphs.is_ascii else "")

    def on_mount(self) -> None:
        self.query_one(LinesView).border_title = "Sort by"
        self._fill()

    def _fill(self) -> None:
        self.query_one(LinesView).set_lines(sort_lines(self.now, self.is_flat, self.glyphs, self._keys))

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        if event.key == "tab":
            self.is_flat = not self.is_flat
            self._fill()
            return
        letter = event.character or ""
        for key in self._keys:
            if letter.lower() == key.letter and letter.isascii():
                self._answer(SortChoice(key.name, letter.isupper(), self.is_flat))
                return
        if event.key == "enter" and self.is_flat != self.now.is_flat:
            self._answer(SortChoice(self.now.name, self.now.is_reversed, self.is_flat))
        elif event.key in ("escape", "q", "o", "enter"):
            self._answer(None)

    def _answer(self, choice: SortChoice | None) -> None:
        # A key that comes while this closes would close the screen below.
        if not self._is_answered:
            self._is_answered = True
            self.dismiss(choice)


def sort_lines(now: SortChoice, is_flat: bool, glyphs: Glyphs, choices: Sequence[SortKey] = KEYS) -> list[Line]:
    """The choices; a mark stands before the order that the tree has now."""
    lines: list[Line] = []
    for key in choices:
        is_now = key.name == now.name
        letter = key.letter.upper() if is_now and now.is_reversed else key.letter
        lines.append(
            [
                (f"{glyphs.closed} " if is_now else "  ", "accent"),
                (f"{letter}  ", "accent"),
                (f"{key.short:<10}", "label" if is_now else "text"),
                (key.title, "dim"),
            ]
        )
    letters = "A-Z" if glyphs.is_ascii else "A\u2013Z"
    lines += [[], [(f"  {letters}", "accent"), (" the other way round", "dim")]]
    lines.append([("  tab", "accent"), (f" [{'x' if is_flat else ' '}] one flat list, no modules", "text")])
    return lines
