"""Axes: the frame of a plot, by plotext: labels at the left, an axis of values below, and curves in braille.

plotext keeps one global figure, so a lock guards it; a plot takes about 10 ms, so a worker thread draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import msgspec

from tui_params.tui.terminal.glyphs import Glyphs

LABEL = 6
"""The cells of a label at the left; the axis takes one more."""

Ticks = tuple[Sequence[float], Sequence[str]]
"""Where the labels of an axis are, and the labels."""

_LOCK = Lock()
_ASCII = str.maketrans("┤│└┬─┼├┴┐┘┌", "||+-----+++")


class Axes(msgspec.Struct, frozen=True):
    """The drawn frame: for each row of the plot, from the top, its label and what stands there; below, the axis."""

    left: tuple[str, ...]
    cells: tuple[str, ...]
    below: tuple[str, str]


def bars_axes(columns: int, rows: int, across: Ticks, up: Ticks, glyphs: Glyphs) -> Axes:
    """The frame of bars one cell wide: 0 to ``columns`` - 1 across, 0 to 1 up."""
    return _drawn(columns, rows, (-0.5, columns - 0.5), (0, 1), across, up, ((), ()), glyphs)


def curve_axes(
    columns: int, rows: int, points: tuple[Sequence[float], Sequence[float]], across: Ticks, up: Ticks, glyphs: Glyphs
) -> Axes:
    """The frame with a curve through points between 0 and 1, both ways."""
    return _drawn(columns, rows, (0, 1), (0, 1), across, up, points, glyphs)


def _drawn(
    columns: int,
    rows: int,
    wide: tuple[float, float],
    high: tuple[float, float],
    across: Ticks,
    up: Ticks,
    points: tuple[Sequence[float], Sequence[float]],
    glyphs: Glyphs,
) -> Axes:
    import plotext

    with _LOCK:
        plotext.clear_figure()
        plotext.theme("clear")
        plotext.limit_size(False, False)  # otherwise plotext cuts the plot to the size that it takes the terminal for
        plotext.plot_size(columns + LABEL + 1, rows + 2)
        if points[0]:
            plotext.plot(list(points[0]), list(points[1]), marker="*" if glyphs.is_ascii else "braille")
        else:
            plotext.scatter([wide[0]], [high[0]], marker=" ")
        plotext.xlim(*wide)
        plotext.ylim(*high)
        plotext.xaxes(True, False)
        plotext.yaxes(True, False)
        plotext.yticks(list(up[0]), [label.rjust(LABEL) for label in up[1]])
        plotext.xticks(list(across[0]), list(across[1]))
        drawn = plotext.uncolorize(plotext.build()).rstrip("\n").split("\n")
    drawn += [""] * (rows + 2 - len(drawn))
    frames = [words.translate(_ASCII) if glyphs.is_ascii else words for words in drawn]
    left = tuple(words[: LABEL + 1].ljust(LABEL + 1) for words in frames[:rows])
    cells = tuple(words[LABEL + 1 :].ljust(columns)[:columns] for words in drawn[:rows])
    return Axes(left, cells, (frames[rows].rstrip(), frames[rows + 1].rstrip()))
