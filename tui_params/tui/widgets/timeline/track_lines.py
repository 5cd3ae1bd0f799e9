"""A row of the timeline: name, norm and change over the steps, what is wrong since when. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from tui_params.core import text
from tui_params.core.compare.tracks import Moment, Step
from tui_params.tui.state.track_rows import TrackRow, what_is_broken
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import cut_line

_LONGEST_NAME = 400
_LEAST_NAME = 24
_MOST_CELLS = 24
_LARGEST = 7
_SINCE = 13
_FLAT = 0.01
"""A norm that moves by less than this share of itself is drawn as flat as it is."""

_Moments = Sequence[Moment | None]
Part = tuple[str, str]


class Widths(msgspec.Struct, frozen=True):
    """The columns of the list: the name, each of the two strips, and what is wrong."""

    name: int
    strip: int
    since: int


def widths_of(width: int, steps: int) -> Widths:
    """The strips have a cell for each step, as far as there is room."""
    since = 2 * _SINCE - 2 if width >= 100 else _SINCE
    room = width - since - _LARGEST - _LEAST_NAME - 8  # the mark, and two cells between the columns
    strip = max(6, min(steps, _MOST_CELLS, room // 2))  # the headings are 6 wide
    return Widths(max(8, width - since - _LARGEST - 2 * strip - 8), strip, since)


def heading_line(width: int, steps: int) -> Line:
    columns = widths_of(width, steps)
    words = (
        f"  {'tensor':<{columns.name}} {'norm'[: columns.strip]:<{columns.strip}} "
        f"{'change'[: columns.strip]:<{columns.strip}} {'largest':>{_LARGEST}}  since step"
    )
    return cut_line([(words, "dim")], width)


def row_line(row: TrackRow, steps: Sequence[Step], width: int, glyphs: Glyphs) -> Line:
    columns = widths_of(width, len(steps))
    # A step that could not be opened is not one that does not have the tensor.
    moments = [
        Moment("", 0, reason=step.reason) if step.reason is not None else moment
        for step, moment in zip(steps, row.track.moments, strict=False)
    ]
    mark: Part = (" ", "text")
    if row.first_broken is not None:
        mark = (glyphs.error, "error")
    elif row.jump is not None:
        mark = (glyphs.warning, "warning")
    # How many tensors a row stands for is never cut.
    count = "" if row.kin is None else f" x{row.count:,}"
    name = text.name(row.name if row.kin is None else row.kin.kind, _LONGEST_NAME)
    name = text.abbreviate(name, columns.name - len(count)) + count
    largest = text.number_within(row.change, _LARGEST) if row.largest is not None else "0" if _is_compared(row) else ""
    line: Line = [
        mark,
        (f" {name:<{columns.name}} ", "error" if row.first_broken is not None else "text"),
        *norm_strip(moments, columns.strip, glyphs),
        (" ", "text"),
        *change_strip(moments, columns.strip, glyphs),
        (f" {largest:>{_LARGEST}}  ", "number"),
        *_since(row, steps, columns.since),
    ]
    return cut_line(line, width)


def _is_compared(row: TrackRow) -> bool:
    return any(moment is not None and moment.change is not None for moment in row.track.moments)


def _since(row: TrackRow, steps: Sequence[Step], width: int) -> Line:
    """As much as there is room for, the worst first."""
    parts: list[Part] = []
    if row.first_broken is not None:
        what = what_is_broken(row).partition(" ")[0]
        parts.append((f"{what} {steps[row.first_broken].name}", "error"))
    if row.jump is not None:
        parts.append((f"jump {steps[row.jump].name}", "warning"))
    if row.frozen_since is not None:
        parts.append((f"frozen {steps[row.frozen_since].name}", "accent"))
    line: Line = []
    for words, style in parts:
        gap = 2 if line else 0
        if line and len(words) + gap > width:
            break
        line.append((" " * gap + words, style))
        width -= len(words) + gap
    return line


def norm_strip(moments: _Moments, width: int, glyphs: Glyphs) -> Line:
    """A bar for each step, the lowest for the least norm of the tensor; of several in one cell, the last one."""
    norms = [moment.norm for moment in moments if moment is not None and moment.norm is not None]
    low, high = (min(norms), max(norms)) if norms else (0.0, 0.0)
    span = max(high - low, _FLAT * high)

    def cell(some: list[Moment]) -> Part:
        norm = next((moment.norm for moment in reversed(some) if moment.norm is not None), None)
        if any(moment.is_broken for moment in some):
            return "N" if any(moment.nan for moment in some) else "I", "error"
        return (_bar(norm - low, span, glyphs), "spark") if norm is not None else (" ", "text")

    return _strip(moments, width, glyphs, cell)


def change_strip(moments: _Moments, width: int, glyphs: Glyphs) -> Line:
    """A bar for each step, from nothing to the largest change of the tensor; ``0`` where not a bit has changed."""
    top = max((moment.change for moment in moments if moment is not None and moment.change is not None), default=0.0)

    def cell(some: list[Moment]) -> Part:
        changes = [moment.change for moment in some if moment.change is not None]
        if not changes:
            return " ", "text"
        change = max(changes)
        if change == 0 and all(moment.is_identical for moment in some if moment.change is not None):
            return "0", "dim"
        return _bar(change, top, glyphs), "spark"

    return _strip(moments, width, glyphs, cell)


def _strip(moments: _Moments, width: int, glyphs: Glyphs, cell: Callable[[list[Moment]], Part]) -> Line:
    count = min(len(moments), width)
    edges = [index * len(moments) // count for index in range(count + 1)] if count else []
    line: Line = []
    for start, stop in pairwise(edges):
        some = [moment for moment in moments[start:stop] if moment is not None]
        if some and all(moment.reason is not None for moment in some):
            line.append((glyphs.unreadable, "warning"))
        else:
            line.append(cell(some))
    return [*line, (" " * (width - count), "text")]


def _bar(value: float, top: float, glyphs: Glyphs) -> str:
    levels = text.ASCII_BLOCKS if glyphs.is_ascii else text.BLOCKS
    return levels[min(len(levels) - 1, int(value / top * len(levels)))] if top > 0 else levels[0]
