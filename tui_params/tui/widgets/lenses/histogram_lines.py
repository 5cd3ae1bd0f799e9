"""The lines around the plot of the lens Histogram. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core import text
from tui_params.core.figures import Figures
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import Part, spread
from tui_params.tui.widgets.canvas import line_width
from tui_params.tui.widgets.lenses.histogram_plot import Plot


def facts_line(figures: Figures, width: int) -> Line:
    """The counts that no bin has, and the mean; what does not fit is left out."""
    total = figures.count
    line: Line = [(f"{text.numel(figures.finite)} finite", "text")]
    bad = (("NaN", figures.nan), ("+Inf", figures.pos_inf), ("-Inf", figures.neg_inf))
    facts: list[Part] = [(f"{name} {count:,}", "error") for name, count in bad if count]
    if figures.zeros:
        facts.append((f"zeros {figures.zeros:,} ({text.percent(figures.zeros, total)})", "text"))
    facts += [(f"mean {text.number(figures.mean)}", "text"), (f"std {text.number(figures.std)}", "text")]
    for words, style in facts if figures.finite or figures.non_finite else []:
        if line_width(line) + len(words) + 3 > width:
            break
        line += [("   ", "text"), (words, style)]
    return line


def bin_line(plot: Plot, cursor: int, width: int) -> Line:
    """The range of the bin under the cursor, and how many elements lie in it and below it."""
    found = plot.histogram
    low, high = found.edges[cursor], found.edges[cursor + 1]
    is_last = cursor == plot.columns - 1
    count = found.counts[cursor]
    sign = "" if found.is_exact else "about "
    below = found.below + sum(found.counts[:cursor])
    right: list[Part] = [(f"{text.percent(below, plot.finite)} below", "dim")]
    what = "|x| in " if plot.span.scale == "log" else ""
    for digits in (17, 6, 4) if width >= 110 else (6, 4):
        shown = f"{what}[{_edge(low, digits)}, {_edge(high, digits)}{']' if is_last else ')'}"
        words = f"{sign}{count:,}"
        share = f"  {text.percent(count, plot.finite)}"
        if len(shown) + len(words) + len(share) + len(right[0][0]) + 6 <= width:
            break
    else:
        right, share = [], ""
    return spread([(shown, "label"), (f"  {words}", "accent"), (share, "dim")], right, width)


def _edge(value: float, digits: int) -> str:
    """A limit of a bin: with all its digits, or as many as there is room for."""
    return repr(value) if digits == 17 else f"{value:.{digits}g}"


def outline_line(name: str, facts: str, glyphs: Glyphs, width: int) -> Line:
    """What is laid over the bars."""
    sign = "---" if glyphs.is_ascii else "▁─▔"
    room = width - 4
    shown = text.abbreviate(name, max(8, room))
    line: Line = [(f"{sign} ", "success"), (shown, "text")]
    return [*line, (f"   {facts}", "dim")] if len(shown) + len(facts) + 3 <= room else line


def indented(lines: Sequence[Line]) -> list[Line]:
    """The lines with a blank before each."""
    return [[(" ", "text"), *line] if line else [] for line in lines]
