"""Palette: Textual's list of commands, which also serves in a terminal of a few cells."""

from __future__ import annotations

from textual.command import CommandList, CommandPalette, SearchIcon


class Palette(CommandPalette):
    """The list of commands. Where it has no room for a line, its keys for whole pages do nothing: Textual 8 raises."""

    def on_mount(self) -> None:
        self.query_one(SearchIcon).icon = ":"  # Textual's picture of a lens takes two cells, or none that can be read

    def _action_command_list(self, action: str) -> None:
        if self.query_one(CommandList).scrollable_content_region:
            super()._action_command_list(action)
