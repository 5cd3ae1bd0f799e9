"""FirstPaint: a screen that is styled, laid out and painted once before it is seen, not three times."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.geometry import Size
from textual.screen import Screen

Breakpoints = Sequence[tuple[int, str]]


class FirstPaint(Screen[None]):
    """A screen that begins with the classes of its size, and whose first paint waits until Textual would show it.

    Textual styles a new screen three times: when it is made, when it is shown, and when the classes of its size are
    set. While the app is starting, it also paints it, and throws away what it painted.
    """

    _is_awaited = _is_painted = False

    def begin_with(self, size: Size, horizontal: Breakpoints, vertical: Breakpoints) -> None:
        """Set the classes of the size of the terminal, before the screen is shown."""
        for length, breakpoints in ((size.width, horizontal), (size.height, vertical)):
            fitting = [point for point in breakpoints if length >= point[0]]
            if fitting:
                self.add_class(max(fitting)[1], update=False)

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        if not self._is_painted:
            event.refresh_styles = False  # they are those of this moment

    def _compositor_refresh(self) -> None:
        if not self._is_painted and self.app._batch_count:
            if not self._is_awaited:
                self._is_awaited = True
                # The app takes its first message when it has started, after the batch.
                self.app.call_later(self._compositor_refresh)
            return
        self._is_painted = True
        super()._compositor_refresh()
