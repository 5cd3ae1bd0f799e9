"""LayerHelp: the keys of the screens of kinds and layers, and what their signs mean."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from tui_params.tui.keys import Key
from tui_params.tui.screens.help import HelpPage, keys_table
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.detail.text_lines import wrapped


class LayerHelp(ModalScreen[None]):
    """The keys of one screen, then sentences on what it shows."""

    BINDINGS = [Binding("escape,q,question_mark,f1", "dismiss", "close", show=False)]

    def __init__(self, glyphs: Glyphs, title: str, table: Sequence[Key], notes: Sequence[str]) -> None:
        super().__init__()
        self.glyphs = glyphs
        self._title = title
        self._table = table
        self._notes = notes

    def compose(self) -> ComposeResult:
        yield HelpPage(id="help")

    def on_mount(self) -> None:
        self.set_class(self.glyphs.is_ascii, "-ascii")
        self.query_one(HelpPage).border_title = self._title
        self.query_one(HelpPage).border_subtitle = "arrows scroll, esc closes"

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        page = self.query_one(HelpPage)
        changed = getattr(getattr(self.app, "settings", None), "keys", {})
        lines = [*keys_table("Keys", self._table, changed, page.size.width), [], [("What it shows", "title")]]
        for note in self._notes:
            lines += [[(" ", "text"), *part] for part in wrapped(note, page.size.width - 1, "text", limit=20)]
        page.set_lines(lines)
