"""What the kinds and the matrix say of a change that has no number: in a cell, and in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tui_params.core import text
from tui_params.tui.state.across_words import across_cell
from tui_params.tui.state.change_words import cell_of
from tui_params.tui.terminal.glyphs import UNICODE

if TYPE_CHECKING:
    from tui_params.core.compare.moved import Change

Told: TypeAlias = tuple[str, str]
"""A few words, and the sentence that explains them, which may be empty."""

ROOMY = 14
"""Cells in which the longest of the few words fit."""


def told_change(change: Change | None, room: int = ROOMY, *, is_across: bool) -> Told:
    """The words in at most ``room`` cells (6 or more)."""
    if change is None:
        return "not compared yet", ""
    words, _ = (across_cell if is_across else cell_of)(change, room, UNICODE)
    return words, text.clean(change.about, 300)
