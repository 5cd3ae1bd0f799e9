"""A matrix: layers down, kinds across, a coloured cell for each that there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tui_params.reports.html import Html, element
from tui_params.reports.pictures.svg import Box, boxes, picture, short, titled, words

LEVELS = 9
"""Colours of a value: the middle one is what is usual of its kind."""

_NARROW, _BROAD, _ACROSS = 15.0, 34.0, 820.0
"""Widths of a cell, and of all cells of a row where they fit."""

_LABEL = 46.0
_HEIGHTS = ((40, 15.0), (100, 10.0), (10_000, 6.0))
"""Up to so many layers, the height of a cell."""

_SLANT = 0.72
_LETTER = 6.2
_MOST_LABELS = 40


class Cell(msgspec.Struct, frozen=True, gc=False):
    """One cell: ``level`` of a value, from 0 to LEVELS - 1; None of one that is ``bad``, ``lost`` or has no value.

    ``low`` and ``high`` are the exact values of the tensors in it.
    """

    row: int
    column: int
    title: str
    level: int | None
    state: str
    low: float | None
    high: float | None


def matrix_picture(rows: Sequence[int], columns: Mapping[str, str], cells: Sequence[Cell], label: str) -> Html:
    """The matrix with its headers; ``columns`` are their short names and their whole ones."""
    tall = next(height for most, height in _HEIGHTS if len(rows) <= most)
    wide = min(max(_ACROSS / len(columns), _NARROW), _BROAD)
    top = _SLANT * _LETTER * max(map(len, columns)) + 16
    width = _LABEL + wide * len(columns) + _SLANT * _LETTER * max(map(len, columns)) + 12
    parts = [
        words(name, _LABEL + wide * (at + 0.5) + 3, top - 5, class_="head", turn=True, title=whole)
        for at, (name, whole) in enumerate(columns.items())
    ]
    step = -(-len(rows) // _MOST_LABELS)
    for at, row in enumerate(rows):
        if at % step == 0:
            parts.append(words(str(row), _LABEL - 6, top + tall * (at + 0.5) + 3.5, anchor="end", class_="row"))
    parts += [_drawn(cell, (_LABEL + wide * cell.column, top + tall * cell.row, wide - 1, tall - 1)) for cell in cells]
    return picture(width, top + tall * len(rows) + 2, *parts, label=label, class_="matrix")


def _drawn(cell: Cell, box: Box) -> Html:
    class_ = cell.state if cell.level is None else f"l{cell.level}"
    drawn = titled(boxes([box]), cell.title, class_, data_low=cell.low, data_high=cell.high)
    if cell.state != "bad":
        return drawn
    # A cross, so that it is seen without colours too.
    x, y, width, height = box
    arm = (min(width, 2 * height) - 4) / 2
    left, right = short(x + width / 2 - arm), short(x + width / 2 + arm)
    top, bottom = short(y + 1.5), short(y + height - 1.5)
    cross = element("path", d=f"M{left} {top}L{right} {bottom}M{right} {top}L{left} {bottom}", class_="cross")
    return Html(drawn + cross)


def legend_picture(limit: float) -> Html:
    """The colours and what they mean, with numbers."""
    size, left = 30.0, 1.0
    ends = [f"1/{limit:.3g}", "median of its kind", f"{limit:.3g}×"]
    parts = [element("path", d=boxes([(left + size * at, 4, size - 1, 13)]), class_=f"l{at}") for at in range(LEVELS)]
    right = left + size * LEVELS
    parts += [
        words(ends[0], left, 31, class_="row"),
        words(ends[1], left + size * LEVELS / 2, 31, anchor="middle", class_="row"),
        words(ends[2], right, 31, anchor="end", class_="row"),
    ]
    for place, (state, meaning) in enumerate((("bad", "NaN or Inf"), ("lost", "not read"), ("none", "no value"))):
        x = right + 28 + 96 * place
        parts.append(_drawn(Cell(0, 0, meaning, None, state, None, None), (x, 4, 20, 13)))
        parts.append(words(meaning, x + 26, 15, class_="row"))
    return picture(right + 28 + 96 * 3, 36, *parts, label="What the colours mean", class_="legend")
