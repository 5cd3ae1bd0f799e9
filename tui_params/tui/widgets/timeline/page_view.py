"""TrackPage: the page beside or below the rows of a timeline."""

from __future__ import annotations

from textual.message import Message

from tui_params.tui.widgets.canvas import LinesView


class TrackPage(LinesView):
    """The page of the tensor at the cursor. What it shows is drawn for its size, so it says when that changes."""

    class Resized(Message):
        """It has another size."""

    def on_resize(self) -> None:
        self.post_message(self.Resized())
