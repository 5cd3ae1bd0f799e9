"""SortScreen: one letter says by what the tree is sorted."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen

from tui_params.tui.glyphs import Glyphs
from tui_params.tui.sorting import KEYS, SortChoice
from tui_params.tui.widgets.canvas import Line, LinesView


class SortScreen(ModalScreen["SortChoice | None"]):
    """The letters; a capital one sorts the other way round, tab makes one flat list."""

    def __init__(self, glyphs: Glyphs, now: SortChoice) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.is_flat = now.is_flat
        self.now = now

    def compose(self) -> ComposeResult:
        yield LinesView(id="sort", classes="-ascii" if self.glyphs.is_ascii else "")

    def on_mount(self) -> None:
        self.query_one(LinesView).border_title = "Sort by"
        self._fill()

    def _fill(self) -> None:
        lines: list[Line] = []
        for key in KEYS:
            is_now = key.name == self.now.name
            mark = (" reversed" if self.now.is_reversed else " now") if is_now else ""
            lines.append([(f" {key.letter}  ", "accent"), (key.title, "text"), (mark, "dim")])
        lines.append([])
        lines.append(
            [
                (" A\u2013Z", "accent") if not self.glyphs.is_ascii else (" A-Z", "accent"),
                ("  the other way round", "dim"),
            ]
        )
        box = "x" if self.is_flat else " "
        lines.append([(" tab", "accent"), (f"  [{box}] one flat list, no modules", "text")])
        self.query_one(LinesView).set_lines(lines)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        if event.key == "tab":
            self.is_flat = not self.is_flat
            self._fill()
            return
        letter = event.character or ""
        for key in KEYS:
            if letter.lower() == key.letter and letter.isascii():
                self.dismiss(SortChoice(key.name, letter.isupper(), self.is_flat))
                return
        if event.key == "enter" and self.is_flat != self.now.is_flat:
            self.dismiss(SortChoice(self.now.name, self.now.is_reversed, self.is_flat))
        elif event.key in ("escape", "q", "o", "enter"):
            self.dismiss(None)
