"""A histogram as lines: axes and labels by plotext, one column of the terminal a bin.

plotext fills whole cells; here the top of each bar is refined to an eighth of a cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tui_params.core import text
from tui_params.core.figures import Histogram
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.axes import LABEL, bars_axes


def bins_for(width: int) -> int:
    """How many bins a plot ``width`` cells wide shows: one per column to the right of the labels and the axis."""
    return max(8, width - LABEL - 1)


def draw(histogram: Histogram, width: int, height: int, *, is_log_counts: bool, glyphs: Glyphs) -> list[Line]:
    """The plot in ``height`` lines (at least 4); the last two are the axis of values."""
    counts = histogram.counts
    top = max(counts, default=0)
    rows = max(2, height - 2)
    if not counts or top == 0:
        return [[("no finite values in this range", "dim")]]
    scaled = [scaled_count(count, top, is_log_counts) for count in counts]
    ticks, labels = _value_ticks(histogram)
    axes = bars_axes(len(counts), rows, (ticks, labels), count_ticks(top, is_log_counts, rows), glyphs)
    lines: list[Line] = []
    for row, left in enumerate(axes.left):
        lines.append([(left, "dim"), (bar_cells(scaled, rows - 1 - row, rows, glyphs), "spark")])
    return [*lines, *([(words, "dim")] for words in axes.below)]


def bar_cells(scaled: Sequence[float], row: int, rows: int, glyphs: Glyphs) -> str:
    """The cells of one row (0 is the lowest), one per bin; a bin that is not empty always shows at least a trace."""
    cells = []
    for share in scaled:
        eighths = math.ceil(share * rows * 8) - row * 8
        if eighths <= 0:
            cells.append(" ")
        elif glyphs.is_ascii:
            cells.append(glyphs.bar if eighths >= 4 else ".")
        else:
            cells.append(text.BLOCKS[min(eighths, 8) - 1])
    return "".join(cells)


def scaled_count(count: float, top: float, is_log_counts: bool) -> float:
    """The height of a bar, as a share of the highest."""
    if count == 0:
        return 0.0
    # The logarithmic scale starts at one half, so that a count of 1 is visible.
    return math.log(2 * count) / math.log(2 * top) if is_log_counts else count / top


def count_ticks(top: int, is_log_counts: bool, rows: int) -> tuple[list[float], list[str]]:
    """Where counts are on the axis, as shares of its height, and their labels."""
    if not is_log_counts:
        # A tick in the middle only where there is a middle row.
        values = [0, top // 2, top] if rows >= 7 and rows % 2 else [0, top]
        return [value / top for value in values], [text.numel(value) for value in values]
    powers = [10**power for power in range(len(str(top)))]
    step = max(1, math.ceil(len(powers) / max(1, rows // 2)))
    values = powers[::step]
    return [scaled_count(value, top, True) for value in values], [text.numel(value) for value in values]


def _value_ticks(histogram: Histogram) -> tuple[list[float], list[str]]:
    """The ticks, by bin number, and their labels: at both ends, and at zero, else in the middle."""
    edges = histogram.edges
    last = len(edges) - 1
    places = [0, last]
    zero = next((index for index, edge in enumerate(edges) if edge >= 0), None)
    middle = zero if edges[0] < 0 < edges[-1] and zero is not None else last // 2
    if last // 5 < middle < last - last // 5:
        places.insert(1, middle)
    elif last >= 30:
        places.insert(1, last // 2)
    labels = [text.number(0.0 if place == zero and place != 0 else edges[place], 3) for place in places]
    return [min(max(place - 0.5, -0.4), last - 0.6) for place in places], labels
