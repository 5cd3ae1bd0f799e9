"""LayerHelp: the keys of the screens of kinds and layers, and what their signs mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tui_params.tui.keys import Key
from tui_params.tui.screens.help import HelpBox, keys_table, note_lines
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line


class LayerHelp(HelpBox):
    """The keys of one screen, then sentences on what it shows."""

    def __init__(self, glyphs: Glyphs, title: str, table: Sequence[Key], notes: Sequence[str]) -> None:
        super().__init__(glyphs, title)
        self._table = table
        self._notes = notes

    def content(self, width: int, changed: Mapping[str, str]) -> list[Line]:
        return [*keys_table("Keys", self._table, changed, width), [], *note_lines(self._notes, width)]
