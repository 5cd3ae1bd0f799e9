"""The way from the explorer to the timeline of the run whose newest checkpoint is open, and back to a tensor of it."""

from __future__ import annotations

import os

from textual.app import App

from tui_params.sources.given import is_address
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.screens.explorer.travel import Travel
from tui_params.tui.state.run import Run
from tui_params.tui.terminal.glyphs import Glyphs


def open_timeline(session: Session, travel: Travel, notice: Notice, glyphs: Glyphs, app: App[object]) -> None:
    """Show the timeline of the folder that was opened; say why not, if it is none."""
    path = session.pending.given
    if not is_address(path) and not os.path.isdir(path):
        notice.say("Only the folder of a run has a timeline: checkpoint-500/, checkpoint-1000/ ...")
        return
    from tui_params.tui.screens.timeline.screen import TimelineScreen

    def leave(name: str | None) -> None:
        if name is not None:
            travel.go_to(name)

    notice.clear()
    app.push_screen(TimelineScreen(Run((path,)), glyphs), leave)
