"""The norms of a gradient at the last steps as a curve, by plotext. Drawn in a thread: 10 ms."""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core import text
from tui_params.core.course import ODD, Course, Point
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.axes import LABEL, Ticks, curve_axes
from tui_params.tui.widgets.scale import Scale

FEWEST = 4
"""Norms that make a curve; of fewer, the cells of a line say all."""

FRAME = 3
"""The lines of a curve beside its rows: the title, the axis, and the steps below it."""

_LEAST_WIDTH = 24


def can_be_drawn(course: Course | None, width: int) -> bool:
    """Whether there is a curve to draw, and room for it."""
    if course is None or width < _LEAST_WIDTH:
        return False
    return sum(point.value is not None for point in course.norms) >= FEWEST


def curve_lines(points: Sequence[Point], width: int, rows: int, glyphs: Glyphs) -> list[Line]:
    """A title with the last norm, ``rows`` of the curve, and its axis of steps; ``!`` stands below what is not finite.

    There are at least FEWEST points with a value, and ``width`` is what ``can_be_drawn`` takes.
    """
    wide = width - LABEL - 1
    first, last = points[0].step, points[-1].step
    across = [(point.step - first) / ((last - first) or 1) for point in points]
    known = [(place, point.value) for place, point in zip(across, points, strict=True) if point.value is not None]
    scale = Scale.of([value for _, value in known])
    curve = [place for place, _ in known], [scale.up(value) for _, value in known]
    axes = curve_axes(wide, rows, curve, _ticks(first, last, wide), scale.ticks, glyphs)
    cells = [[(letter, "spark") for letter in line] for line in axes.cells]
    for place, point in zip(across, points, strict=True):
        if point.word in ODD:
            cells[-1][min(round(place * (wide - 1)), wide - 1)] = ("!", "error")
    now = points[-1]
    value = text.number(now.value, 4) if now.value is not None else now.word
    title: Line = [("grad L2 ", "dim"), (value, "error" if now.word in ODD else "number")]
    if scale.is_log:
        title.append((" log" if width < 34 else "  log axis", "dim"))
    lines: list[Line] = [title]
    lines += [[(left, "dim"), *line] for left, line in zip(axes.left, cells, strict=True)]
    return [*lines, *([(words, "dim")] for words in axes.below)]


def _ticks(first: int, last: int, columns: int) -> Ticks:
    """The first step and the last, and one between them if there is room."""
    labels = {0.0: f"{first:,}", 1.0: f"{last:,}"}
    middle = (first + last) // 2
    if first < middle < last and columns >= 4 * len(labels[1.0]):
        labels[(middle - first) / (last - first)] = f"{middle:,}"
    return sorted(labels), [labels[place] for place in sorted(labels)]
