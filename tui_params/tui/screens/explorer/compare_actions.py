"""Sides: what the keys of the main screen and the threads say about the comparison with another source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_params.tui import keys
from tui_params.tui.desk import messages
from tui_params.tui.terminal.first_paint import FirstPaint

if TYPE_CHECKING:
    from tui_params.tui.screens.explorer.comparing import Comparing
    from tui_params.tui.screens.explorer.filter import Filter
    from tui_params.tui.screens.explorer.inside import Inside
    from tui_params.tui.screens.explorer.notice import Notice
    from tui_params.tui.screens.explorer.panes import Panes
    from tui_params.tui.screens.explorer.questions import Questions
    from tui_params.tui.screens.explorer.session import Session
    from tui_params.tui.screens.explorer.travel import Travel
    from tui_params.tui.state.view import View
    from tui_params.tui.terminal.glyphs import Glyphs
    from tui_params.tui.widgets.bars import SearchBar


class CompareActions(FirstPaint):
    """The part of the main screen that two sources need; the screen that composes it makes the parts."""

    BINDINGS = keys.bindings(keys.COMPARE)

    comparing: Comparing
    filter: Filter
    inside: Inside
    notice: Notice
    panes: Panes
    questions: Questions
    search: SearchBar
    session: Session
    travel: Travel
    glyphs: Glyphs
    left: View | None

    def action_compare(self) -> None:
        self.comparing.against.ask(self.app, self.glyphs, self._open_again)

    def action_renames(self) -> None:
        self.comparing.against.toggle_renames(self._open_again)

    def action_unchanged(self) -> None:
        words = self.comparing.against.toggle_unchanged()
        if words is not None:
            self.panes.shrink()
            self.search.set_text(words)
            self.filter.change(words)

    def action_difference(self) -> None:
        self.questions.show()
        self.inside.open_difference()

    def action_rank(self) -> None:
        self.comparing.against.ask_for_rank()

    def _open_again(self) -> None:
        """Open what is open and another source anew, and stay where the cursor is."""
        self.left = self.travel.view
        self.session.open_again()

    def on_compared_so_far(self, message: messages.ComparedSoFar) -> None:
        self.comparing.against.take_progress(message)

    def on_compared_all(self, message: messages.ComparedAll) -> None:
        self.comparing.against.take_all(message)

    def on_compared_failed(self, message: messages.ComparedFailed) -> None:
        self.comparing.take_failure(message)

    def on_faulted(self, message: messages.Faulted) -> None:
        self.notice.say(message.words, stays=True)

    def on_pair_read(self, message: messages.PairRead) -> None:
        self.comparing.against.take_pair(message)

    def on_rank_found(self, message: messages.RankFound) -> None:
        self.comparing.against.take_pair(message)

    def on_difference_measured(self, message: messages.DifferenceMeasured) -> None:
        self.inside.take_difference(message)
