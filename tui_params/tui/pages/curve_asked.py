"""CurveAsked: the curve of a gradient over the steps on the page that is shown, drawn anew after each look."""

from __future__ import annotations

from collections.abc import Callable

from tui_params.core.course import Course
from tui_params.tui.desk.messages import HistogramReady
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.course_curve import FRAME, can_be_drawn, curve_lines
from tui_params.tui.widgets.detail.detail_lines import TensorView

_LEAST_HEIGHT = 16
"""The fewest lines of a page that leave room for it."""

_ROWS, _TIGHT_ROWS = 6, 4

Want = Callable[[object, Callable[[], list[Line]]], None]


class CurveAsked:
    """The drawn curve of one gradient. ``want`` has it drawn elsewhere, and answers with the key."""

    def __init__(self, want: Want, generation: int, glyphs: Glyphs) -> None:
        self._want, self._generation, self._glyphs = want, generation, glyphs
        self._asked: object = None
        self._got: object = None
        self._shown: tuple[object, tuple[Line, ...]] = (None, ())

    @property
    def is_settled(self) -> bool:
        return self._asked == self._got

    def of(self, view: TensorView, width: int, height: int) -> tuple[Line, ...]:
        """The curve on the page of a gradient, and of a parameter where the page is high; empty if it has none.

        Until it is drawn, the one before it, or as many empty lines.
        """
        course: Course | None = view.course
        is_due = view.info.kind == "gradient" or not view.is_tight
        if course is None or height < _LEAST_HEIGHT or not is_due or not can_be_drawn(course, width):
            return ()
        rows = _TIGHT_ROWS if view.is_tight else _ROWS
        place = view.info.name, width, rows
        key = "curve", self._generation, place, course.norms[-1].step, len(course.norms)
        if key != self._asked and self.is_settled:
            self._asked = key
            points, glyphs = course.norms, self._glyphs
            self._want(key, lambda: curve_lines(points, width, rows, glyphs))
        return self._shown[1] if self._shown[0] == place else tuple([] for _ in range(rows + FRAME))

    def take(self, message: HistogramReady) -> bool:
        """Take a drawn curve; False if it is none, or was not asked for."""
        if message.key != self._asked or not isinstance(message.key, tuple):
            return False
        self._got = message.key
        self._shown = message.key[2], message.lines
        return True
