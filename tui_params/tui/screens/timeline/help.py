"""TimelineHelp: the keys of the timeline, and what its strips and words mean."""

from __future__ import annotations

from collections.abc import Mapping

from tui_params.core.compare.tracks import FEWEST, JUMP
from tui_params.tui import keys
from tui_params.tui.screens.help import HelpBox, keys_table, note_lines
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line


class TimelineHelp(HelpBox):
    """The keys, then what is shown."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(glyphs, "Timeline")

    def content(self, width: int, changed: Mapping[str, str]) -> list[Line]:
        return [*keys_table("Keys", keys.TIMELINE, changed, width), [], *note_lines(_notes(self.glyphs), width)]


def _notes(glyphs: Glyphs) -> tuple[str, ...]:
    return (
        "norm: the L2 norm of the finite elements at each step; the lowest bar is the least norm of the tensor, the "
        "highest its greatest, at least 1 % above. N: it has a NaN at that step; I: infinities only.",
        "change: ||b - a|| / ||a|| since the step before that has it in the same shape; the highest bar is the largest "
        "change of the tensor, which is the number beside it. 0: not a bit has changed.",
        f"{glyphs.unreadable}: it could not be read at that step; a blank: it is not there, or there is nothing to "
        "compare it with. Where there are more steps than cells, a cell has the last norm and the largest change of a "
        "few steps.",
        f"jump: a change of {JUMP:g} times the median of the tensor's others or more, from {FEWEST} changes on. "
        "frozen: not a bit has changed since that step, up to the last one.",
        "Folded to kinds (tensors whose names differ in numbers only), a row is that of the tensor that comes first in "
        "the order, with how many there are; the page says how many of them have NaN, jumped or are frozen.",
        "The folder of a run is looked at again every few seconds: a new checkpoint is added when its files have come "
        "to rest, and only it and the one before it are read.",
    )
