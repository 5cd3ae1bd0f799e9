"""TimelineHelp: the keys of the timeline, and what its strips and words mean."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from tui_params.core.compare.tracks import FEWEST, JUMP
from tui_params.tui import keys
from tui_params.tui.screens.help import HelpPage, keys_table
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.detail.text_lines import wrapped


class TimelineHelp(ModalScreen[None]):
    """The keys, then what is shown."""

    BINDINGS = [Binding("escape,q,question_mark,f1", "dismiss", "close", show=False)]

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs

    def compose(self) -> ComposeResult:
        yield HelpPage(id="help")

    def on_mount(self) -> None:
        self.set_class(self.glyphs.is_ascii, "-ascii")
        page = self.query_one(HelpPage)
        page.border_title, page.border_subtitle = "Timeline", "arrows scroll, esc closes"

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        page = self.query_one(HelpPage)
        changed = getattr(getattr(self.app, "settings", None), "keys", {})
        width = page.size.width
        lines = [*keys_table("Keys", keys.TIMELINE, changed, width), [], [("What it shows", "title")]]
        for note in _notes(self.glyphs):
            lines += [[(" ", "text"), *part] for part in wrapped(note, width - 1, "text", limit=12)]
        page.set_lines(lines)


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
        "The folder of a run is looked at again every few seconds: a new checkpoint is added when its files have come "
        "to rest, and only it and the one before it are read.",
    )
