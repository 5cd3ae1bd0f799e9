"""TrackList: the tensors of a run one below the other; only the rows on screen are drawn."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from tui_params.core.compare.tracks import Step
from tui_params.tui.state.track_rows import TrackRow
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import Canvas
from tui_params.tui.widgets.timeline.track_lines import heading_line, row_line


class TrackList(Canvas, can_focus=True):
    """The list. The cursor stands on the name of a tensor, wherever that is by now."""

    class Moved(Message):
        """The cursor has moved to another tensor."""

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.glyphs = glyphs
        self.words = ""
        """What is said where there are no rows."""
        self.rows: Sequence[TrackRow] = ()
        self._steps: Sequence[Step] = ()
        self._at = 0
        self._first = 0
        self._is_held = False
        self._painted: list[tuple[Line, bool]] = []

    @property
    def current(self) -> TrackRow | None:
        return self.rows[self._at] if self.rows else None

    def show(self, rows: Sequence[TrackRow], steps: Sequence[Step]) -> None:
        """Show other rows. A cursor that the user has moved stays on its tensor; else it is on the first."""
        before = self.current
        self.rows, self._steps = rows, steps
        self._at = min(self._at, max(0, len(rows) - 1)) if self._is_held else 0
        if self._is_held and before is not None and self.current is not None and self.current.name != before.name:
            self._at = next((at for at, row in enumerate(rows) if row.stands_for(before.name)), self._at)
        self.fill()
        if self.current is not before:
            self.post_message(self.Moved())

    def hold(self) -> None:
        """Keep the cursor on its tensor, whatever rows come."""
        self._is_held = True

    def to_start(self) -> None:
        """Put the cursor on the first row, where it stays while rows come."""
        self._at, self._is_held = 0, False
        self.fill()
        self.post_message(self.Moved())

    def move(self, by: int) -> None:
        """Move the cursor by so many rows."""
        self._is_held = True
        self._at = max(0, min(self._at + by, len(self.rows) - 1))
        self.fill()
        self.post_message(self.Moved())

    def page(self, by: int) -> None:
        self.move(by * max(1, self.size.height - 2))

    def edge(self, by: int) -> None:
        self.move(by * len(self.rows))

    def fill(self) -> None:
        """Draw the rows on screen, and repaint those that look other than before."""
        height, width = self.size.height, self.size.width
        if width <= 0 or height <= 0:
            return
        room = max(1, height - 1)
        self._first = max(min(self._first, self._at, max(0, len(self.rows) - room)), self._at - room + 1, 0)
        drawn: list[tuple[Line, bool]] = [(heading_line(width, len(self._steps)), False)]
        if not self.rows:
            drawn = [([(f" {self.words}", "dim")], False)]
        for at in range(self._first, min(self._first + room, len(self.rows))):
            drawn.append((row_line(self.rows[at], self._steps, width, self.glyphs), at == self._at))
        drawn += [([], False)] * (height - len(drawn))
        before, self._painted = self._painted, drawn
        changed = [Region(0, y, width, 1) for y, line in enumerate(drawn) if y >= len(before) or line != before[y]]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        line, is_here = self._painted[y] if y < len(self._painted) else ([], False)
        over = self.inks.get("cursor" if self.has_focus else "cursor-blurred") if is_here else None
        return self.paint(line, self.size.width, over)

    def plain(self) -> str:
        """The rows on screen as text, for tests."""
        return "\n".join("".join(part for part, _ in line).rstrip() for line, _ in self._painted)

    def on_resize(self) -> None:
        self._painted = []
        self.fill()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        at = self._first + event.y - 1
        if event.y > 0 and at < len(self.rows):
            self.move(at - self._at)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move(-3)
