"""The plot of the lens Histogram: bars, an outline over them, ticks, and where quantiles are. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Literal

import msgspec

from tui_params.core import text
from tui_params.core.figures import QUANTILES, Histogram
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.axes import LABEL, Axes, Ticks, bars_axes
from tui_params.tui.widgets.detail.histogram_plot import bar_cells, count_ticks, scaled_count

if TYPE_CHECKING:
    from tui_params.core.numbers.distribution import Distribution, Span

Height = Literal["counts", "log counts", "density", "cumulative"]
HEIGHTS: tuple[Height, ...] = ("counts", "log counts", "density", "cumulative")
"""What the height of a bar is; ``density`` is the share of the elements in a unit of the value, or in a decade."""

_DENSEST = 1e308
"""A density is not drawn higher than this: bins may be as narrow as the least float64."""

_NAMES = {
    0.001: "0.1%",
    0.01: "1%",
    0.05: "5%",
    0.25: "25%",
    0.5: "50%",
    0.75: "75%",
    0.95: "95%",
    0.99: "99%",
    0.999: "99.9%",
}
_FIRST = (0.5, 0.25, 0.75, 0.05, 0.95, 0.01, 0.99, 0.001, 0.999)
"""In the order in which quantiles keep their place where two fall together."""


class Outline(msgspec.Struct, frozen=True, gc=False):
    """What is laid over the bars: its counts in the same bins and below them, for as many elements."""

    counts: tuple[float, ...]
    below: float


class Plot(msgspec.Struct, frozen=True):
    """A drawn histogram: all that does not change while the cursor moves."""

    span: Span
    height: Height
    histogram: Histogram
    axes: Axes
    scaled: tuple[float, ...]
    outline: tuple[float, ...]
    marks: str
    rows: int
    finite: int

    @property
    def columns(self) -> int:
        return len(self.histogram.counts)


def columns_for(width: int) -> int:
    """How many bins there are in a plot of that width: one a cell, beside the labels and the axis."""
    return max(8, width - LABEL - 2)


def drawn(
    found: Distribution, span: Span, height: Height, columns: int, rows: int, outline: Outline | None, glyphs: Glyphs
) -> Plot:
    """The plot of ``rows`` rows; takes about 10 ms."""
    histogram = found.histogram(span, columns)
    finite = found.figures.finite
    edges = histogram.edges
    own = _heights(histogram.counts, histogram.below, span, edges, finite, height)
    other = _heights(outline.counts, outline.below, span, edges, finite, height) if outline is not None else ()
    top = max(*own, *other, 0)
    scaled, over = (tuple([_scaled(value, top, height) for value in values]) for values in (own, other))
    axes = bars_axes(columns, rows, value_ticks(span, columns), _height_ticks(top, height, rows), glyphs)
    return Plot(span, height, histogram, axes, scaled, over, _marks(found, span, columns), rows, finite)


def _heights(
    counts: Sequence[float], below: float, span: Span, edges: Sequence[float], finite: int, height: Height
) -> Sequence[float]:
    if height == "cumulative":
        return [part / max(finite, 1) for part in accumulate(counts, initial=below)][1:]
    if height == "density":
        along = [math.log10(edge) for edge in edges] if span.scale == "log" else edges
        widths = [high - low for low, high in pairwise(along)]
        whole = max(finite, 1)
        shares = [count / whole for count in counts]
        return [min(share / width, _DENSEST) if width > 0 else 0.0 for share, width in zip(shares, widths, strict=True)]
    return counts


def _scaled(value: float, top: float, height: Height) -> float:
    if not top or not value:
        return 0.0
    if height == "cumulative":
        return min(value, 1.0)
    if height == "log counts":
        return max(0.0, scaled_count(value, top, True)) if top > 0.5 else value / top
    return value / top


def _height_ticks(top: float, height: Height, rows: int) -> Ticks:
    if height == "cumulative":
        shares = (0, 0.25, 0.5, 0.75, 1) if rows >= 10 else (0, 0.5, 1) if rows >= 5 else (0, 1)
        return shares, [f"{round(100 * share)} %" for share in shares]
    if height == "density":
        places = (0, 0.5, 1) if rows >= 7 and rows % 2 else (0, 1)
        return places, [text.number_within(top * place, LABEL) for place in places]
    return count_ticks(max(1, math.ceil(top)), height == "log counts", rows)


def _marks(found: Distribution, span: Span, columns: int) -> str:
    """A line with the names of the quantiles below the values where they lie."""
    ranks = found.magnitudes if span.scale == "log" else found.ranks
    places = ranks.quantiles(QUANTILES)
    values = dict(zip(QUANTILES, (place.value for place in places), strict=True)) if places else {}
    cells = [" "] * columns
    for quantile in _FIRST:
        if quantile not in values or not span.low <= values[quantile] <= span.high:
            continue
        name = _NAMES[quantile]
        at = min(int(span.share(values[quantile]) * columns), columns - 1)
        start = max(0, min(at - len(name) // 2, columns - len(name)))
        around = cells[max(0, start - 1) : start + len(name) + 1]
        if all(cell == " " for cell in around):
            cells[start : start + len(name)] = name
    return "".join(cells)


def value_ticks(span: Span, columns: int) -> Ticks:
    """Round values along the axis, by bin number, with their labels: as many as have room."""
    values = _round_values(span.low, span.high, max(2, columns // 16)) if span.scale == "linear" else _powers(span)
    placed: list[tuple[float, float, str]] = []
    apart = min((abs(a - b) for a, b in pairwise(values)), default=0.0) if span.scale == "linear" else 0.0
    largest = max((abs(value) for value in values), default=0.0)
    # As many digits as tell neighbours apart.
    digits = min(max(3, math.ceil(math.log10(largest / apart)) + 1), 12) if apart and largest else 3
    wanted = sorted(values, key=lambda value: (value != 0, -math.log10(abs(value)) % 3 if value else 0))
    for value in wanted:
        at = span.share(value) * columns - 0.5
        label = text.number(value, digits)
        half = len(label) / 2 + 1
        if half - 1 <= at + 0.5 <= columns - half + 1 and all(
            abs(at - other) > half + len(name) / 2 + 1 for other, _, name in placed
        ):
            placed.append((at, value, label))
    if len(placed) < 2:
        ends = ((0.0, span.low), (columns - 1.0, span.high))
        placed = [(at, value, text.number(value, 6)) for at, value in ends]
    placed.sort()
    return [min(max(at, -0.4), columns - 0.6) for at, _, _ in placed], [label for _, _, label in placed]


def _round_values(low: float, high: float, most: int) -> list[float]:
    rough = high / most - low / most
    if not 1e-300 < rough < 1e300:
        return []  # the ends will do: near the limits of float64 a step need not be a number
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * times for times in (1, 2, 5) if power * times >= rough), power * 10)
    first, last = math.ceil(low / step), math.floor(high / step)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(number * step, min(digits, 300)) for number in range(first, last + 1)] if last - first < 100 else []


def _powers(span: Span) -> list[float]:
    least = span.low if span.scale == "log" else span.knee / 2
    most = max(abs(span.low), abs(span.high))
    powers = range(math.ceil(math.log10(max(least, 5e-324))), math.floor(math.log10(max(most, 5e-324))) + 1)
    sizes = [float(f"1e{power}") for power in powers]
    near = [size * times for size in sizes for times in (2.0, 5.0)] if len(sizes) < 4 else []
    values = [*sizes, *near]
    if span.scale == "symlog":
        values = [0.0, *values, *(-value for value in values)]
    return [value for value in values if span.low <= value <= span.high]


def plot_lines(plot: Plot, cursor: int, glyphs: Glyphs) -> list[Line]:
    """The rows of the plot, the axis with the cursor's pointer, its labels and the quantiles."""
    lines: list[Line] = []
    for row, left in enumerate(plot.axes.left):
        height = plot.rows - 1 - row
        bars = bar_cells(plot.scaled, height, plot.rows, glyphs)
        lines.append([(left, "dim"), *_row(bars, plot.outline, height, plot.rows, cursor, glyphs)])
    axis = plot.axes.below[0].ljust(LABEL + 1 + plot.columns)
    at = LABEL + 1 + cursor
    lines.append([(axis[:at], "dim"), (glyphs.ascending, "accent"), (axis[at + 1 :], "dim")])
    lines.append([(plot.axes.below[1], "dim")])
    return lines


def _row(bars: str, outline: Sequence[float], height: int, rows: int, cursor: int, glyphs: Glyphs) -> Line:
    """The cells of one row: bars, the outline over them, and the column of the cursor."""
    line: Line = []
    for column, bar in enumerate(bars):
        letter, style = bar, "accent" if column == cursor else "spark"
        part = _outline_cell(outline, column, height, rows, glyphs) if outline else ""
        if part and bar == glyphs.bar and not glyphs.is_ascii:
            # Without the bar behind it, it would look like a hole.
            letter, style = (bar, style) if part == "│" else (part, f"on-{style}")
        elif part and (part not in "│|" or bar == " "):
            letter, style = part, "success"
        if line and line[-1][1] == style:
            line[-1] = line[-1][0] + letter, style
        else:
            line.append((letter, style))
    return line


def _outline_cell(outline: Sequence[float], column: int, height: int, rows: int, glyphs: Glyphs) -> str:
    """The piece of the outline in a cell: its bottom, middle or top, or the step up to it; empty if there is none."""
    thirds = _thirds(outline[column], rows)
    if thirds and (thirds - 1) // 3 == height:
        return "-" if glyphs.is_ascii else "▁─▔"[(thirds - 1) % 3]
    # Of two neighbours the higher one has the step, which is where no bar is.
    around = [_thirds(outline[at], rows) for at in (column - 1, column + 1) if 0 <= at < len(outline)]
    if thirds and any((other - 1) // 3 < height < (thirds - 1) // 3 for other in around):
        return "|" if glyphs.is_ascii else "│"
    return ""


def _thirds(share: float, rows: int) -> int:
    """The height of the outline in thirds of a cell, from 1; 0 where there is none."""
    return max(1, round(share * rows * 3)) if share > 0 else 0
