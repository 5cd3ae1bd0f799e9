"""A gradient beside its parameter: the figures of both in two columns, and both distributions on one axis."""

from __future__ import annotations

from math import ceil, floor, inf

import msgspec

from tui_params.core import text
from tui_params.core.figures import Figures
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line

LEAST_WIDTH = 26
"""The cells of a page from which on there is room for two columns of figures."""

_TWO_BLOCKS = 50
_LABEL, _GAP = 7, 2


class Beside(msgspec.Struct, frozen=True):
    """The figures of a gradient (None: not known yet, or not readable for a ``reason``), and its first values.

    ``window`` says where these are: ``[0:1, 0:5]``.
    """

    figures: Figures | None
    reason: str | None = None
    values: tuple[str, ...] = ()
    window: str = ""


def beside_lines(figures: Figures, beside: Beside, width: int, glyphs: Glyphs) -> list[Line]:
    """What there is to compare: figures, the ratio of the norms, the distributions, the first values."""
    gradient = beside.figures
    lines = _axis_lines(figures, gradient, width, glyphs) if gradient is not None else []
    lines += _table_lines(figures, gradient, width, glyphs)
    if gradient is None:
        words = f"{glyphs.unreadable} {beside.reason}" if beside.reason is not None else f"{glyphs.working} reading"
        lines.append([(text.clean(f"gradient: {words}", width), "warning" if beside.reason is not None else "dim")])
    elif figures.l2_norm and gradient.l2_norm is not None:
        ratio = text.number(gradient.l2_norm / figures.l2_norm, 3)
        lines.append([("grad L2 / L2 ", "dim"), (ratio, "number")])
    if beside.values:
        label = f"grad {beside.window} "
        shown: Line = [(label, "dim")]
        room = width - len(label)
        for value in beside.values:
            if room < len(value) + 1:
                break
            shown.append((f"{value} ", "number"))
            room -= len(value) + 1
        lines.append(shown)
    return lines


def _axis_lines(figures: Figures, gradient: Figures, width: int, glyphs: Glyphs) -> list[Line]:
    """Two sparklines over one range, with the ends of the range."""
    ranges = [
        (each.spark_low, each.spark_high)
        for each in (figures, gradient)
        if each.spark_low is not None and each.spark_high is not None
    ]
    if len(ranges) < 2:
        return []
    low, high = min(start for start, _ in ranges), max(stop for _, stop in ranges)
    ends = text.number(low, 3), text.number(high, 3)
    cells = min(40, width - _LABEL - len(ends[0]) - len(ends[1]) - 2)
    if cells < 8 or not 0 < high - low < inf or cells / (high - low) == inf:
        return []
    lines: list[Line] = []
    for label, each in (("value", figures), ("grad", gradient)):
        drawn = text.spark(on_axis(each, low, high, cells), cells, ascii_only=glyphs.is_ascii).ljust(cells)
        first, last = ends if not lines else (" " * len(ends[0]), "")
        lines.append([(label.ljust(_LABEL), "dim"), (f"{first} ", "number"), (drawn, "spark"), (f" {last}", "number")])
    return lines


def on_axis(figures: Figures, low: float, high: float, cells: int) -> tuple[int, ...]:
    """The heights of a sparkline of ``cells`` cells over another range, which holds that of the figures.

    The elements of a bin are spread evenly over the cells that it covers; a height is a thousandth of an element.
    """
    heights = [0.0] * cells
    start, stop = figures.spark_low, figures.spark_high
    if start is None or stop is None:
        return (0,) * cells
    step, scale = (stop - start) / max(1, len(figures.spark)), cells / (high - low)
    for index, count in enumerate(figures.spark):
        first, last = (start + index * step - low) * scale, (start + (index + 1) * step - low) * scale
        start_at = max(0, min(cells - 1, floor(first)))
        for at in range(start_at, max(start_at + 1, min(cells, ceil(last)))):
            share = (min(last, at + 1) - max(first, at)) / (last - first) if last > first else 1.0
            heights[at] += count * max(0.0, share)
    return tuple(ceil(1000 * height) for height in heights)


def _table_lines(figures: Figures, gradient: Figures | None, width: int, glyphs: Glyphs) -> list[Line]:
    blocks = 2 if width >= _TWO_BLOCKS else 1
    room = (width - (blocks - 1) * _GAP) // blocks
    column = (room - _LABEL) // 2
    rows = [
        (label, _cell_of(figures, label, column - 1), _cell_of(gradient, label, column - 1))
        for label in ("mean", "std", "min", "max", "absmax", "RMS", "L2", "zeros", "NaN", "Inf")
    ]
    height = -(-len(rows) // blocks)
    heading: Line = []
    for block in range(blocks):
        heading.append((" " * (_LABEL + _GAP * bool(block)), "dim"))
        heading.append(("value".rjust(column), "label"))
        heading.append(((f"{glyphs.gradient} grad" if not glyphs.is_ascii else "grad").rjust(column), "label"))
    lines: list[Line] = [heading]
    for place in range(height):
        line: Line = []
        for at in range(place, len(rows), height):
            label, value, of_gradient = rows[at]
            line.append((f"{' ' * (_GAP * bool(line))}{label.ljust(_LABEL)}", "dim"))
            for words, style in (value, of_gradient):
                line.append((words.rjust(column), style))
        lines.append(line)
    return lines


def _cell_of(figures: Figures | None, label: str, room: int) -> tuple[str, str]:
    if figures is None:
        return "", "dim"
    if label == "zeros":
        words = "0" if not figures.zeros else text.percent(figures.zeros, figures.count)
        return words, "number"
    if label in ("NaN", "Inf"):
        count = figures.nan if label == "NaN" else figures.pos_inf + figures.neg_inf
        return text.number_within(count, room), "error" if count else "number"
    measured = {
        "mean": figures.mean,
        "std": figures.std,
        "min": figures.min,
        "max": figures.max,
        "absmax": figures.abs_max,
        "RMS": figures.rms,
        "L2": figures.l2_norm,
    }[label]
    whole = text.number(measured)
    return whole if len(whole) <= room else text.number_within(measured, room), "number"
