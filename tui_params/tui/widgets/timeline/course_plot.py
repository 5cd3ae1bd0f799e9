"""A course over the steps as a curve, with the true numbers of the steps on its axis. Drawn in a thread: 10 ms."""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core import text
from tui_params.core.compare.tracks import Step
from tui_params.tui.state.track_rows import are_numbered
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.axes import LABEL, Ticks, curve_axes
from tui_params.tui.widgets.scale import Scale

LEAST_ROWS = 3


def course_lines(
    title: str,
    steps: Sequence[Step],
    values: Sequence[float | None],
    broken: Sequence[int],
    columns: int,
    height: int,
    glyphs: Glyphs,
) -> list[Line]:
    """A title, the curve and its axis in so many cells; ``broken`` are the steps with NaN or infinities.

    A step without a value is left out of the curve. Fewer lines if there is no room for a curve or nothing to show.
    """
    known = [(at, value) for at, value in enumerate(values) if value is not None]
    rows, wide = height - 3, columns - LABEL - 1
    if rows < LEAST_ROWS or wide < 12 or len(known) < 2:
        return []
    across = _places(steps)
    numbers = [value for _, value in known]
    scale = Scale.of(numbers)

    points = [across[at] for at, _ in known], [scale.up(value) for value in numbers]
    axes = curve_axes(wide, rows, points, _step_ticks(steps, across, wide), scale.ticks, glyphs)
    cells = [[(letter, "spark") for letter in line] for line in axes.cells]
    for at in broken:
        cells[-1][min(round(across[at] * (wide - 1)), wide - 1)] = ("N", "error")
    lines: list[Line] = [[(f"{title}{', log axis' if scale.is_log else ''}", "label")]]
    lines += [[(left, "dim"), *line] for left, line in zip(axes.left, cells, strict=True)]
    return [*lines, *([(words, "dim")] for words in axes.below)]


def _places(steps: Sequence[Step]) -> list[float]:
    """Where each step stands on the axis, 0 to 1: by its number, or one beside the other where they have none."""
    numbers = [step.number or 0 for step in steps] if are_numbered(steps) else list(range(len(steps)))
    whole = numbers[-1] - numbers[0] or 1
    return [(number - numbers[0]) / whole for number in numbers]


def _step_ticks(steps: Sequence[Step], across: Sequence[float], columns: int) -> Ticks:
    """The last step, and from the first one on as many others as there is room for."""
    shown, end = [], -2
    final = text.shorten(steps[-1].name, 12)
    for at, step in enumerate(steps[:-1]):
        label = text.shorten(step.name, 12)
        middle = round(across[at] * (columns - 1))
        start = max(0, middle - len(label) // 2)
        if start > end + 1 and start + len(label) < columns - len(final) - 2:
            shown.append((across[at], label))
            end = start + len(label)
    shown.append((1.0, final))
    return [place for place, _ in shown], [label for _, label in shown]
