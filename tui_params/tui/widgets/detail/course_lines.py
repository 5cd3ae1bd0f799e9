"""What was seen of a parameter at the last steps, as lines of its page: two series, each with its last value."""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core import text
from tui_params.core.course import ODD, Course, Point, drawn
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.text_lines import wrapped

_LABEL = 8
_MOST = 64


def course_lines(course: Course | None, width: int, glyphs: Glyphs, curve: Sequence[Line] = ()) -> list[Line]:
    """The steps that were looked at, the norms of the gradient and the updates; nothing where nothing was seen.

    A drawn ``curve`` stands in the place of the norms.
    """
    if course is None:
        return []
    if not course.norms and not course.updates:
        return wrapped(f"not followed step by step: {course.reason}", width, "dim") if course.reason else []
    room = max(min(width - _LABEL - 12, _MOST), 4)
    lines: list[Line] = [*curve]
    if course.norms and not curve:
        lines = [_series("grad L2", course.norms, room, glyphs)]
    if course.updates:
        lines.append(_series("update", course.updates, room, glyphs))
    # A curve has the steps on its axis, and all of them.
    shown = (course.updates or course.norms)[-room:] if curve else (course.norms or course.updates)[-room:]
    first, last = shown[0].step, shown[-1].step
    words = f"steps {first:,} to {last:,}"
    if last - first >= len(shown):
        words += f", {len(shown)} of {last - first + 1:,} seen"
    if any(point.is_scaled for point in shown):
        words += "; some gradients still scaled"
    if course.updates:
        bars = "|" if glyphs.is_ascii else "‖"
        words += f"; update: {bars}change{bars} / {bars}before{bars}"
    return [*lines, *wrapped(words, width, "dim", limit=2)]


def _series(label: str, points: Sequence[Point], room: int, glyphs: Glyphs) -> Line:
    last = points[-1]
    value = text.number(last.value, 4) if last.value is not None else last.word
    is_odd = last.value is None and last.word in ODD
    return [
        (label.ljust(_LABEL), "dim"),
        (drawn(points, room, ascii_only=glyphs.is_ascii), "error" if is_odd else "spark"),
        (" ", "text"),
        (value, "error" if is_odd else "number"),
    ]
