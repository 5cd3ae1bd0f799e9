"""Palette: Textual's list of commands, which also serves in a terminal of a few cells."""

from __future__ import annotations

from textual.command import CommandList, CommandPalette


class Palette(CommandPalette):
    """The list of commands. Where it has no room for a line, its keys for whole pages do nothing: Textual 8 raises."""

    def _action_command_list(self, action: str) -> None:
        if self.query_one(CommandList).scrollable_content_region:
            super()._action_command_list(action)
