"""The lines of the heat map: the picture with its labels and profiles, the scale, the block at the place. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from tui_params.core import text
from tui_params.core.numbers.levels import BAD, DEAD, SPOILT, TOP
from tui_params.core.window import Plane
from tui_params.tui.terminal.colour_depth import Depth
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import line_width
from tui_params.tui.widgets.lenses.heat_colours import glyph_of, is_half, prefix_of
from tui_params.tui.widgets.lenses.heat_layout import Cells, Layout, axis_of, cells_of, place_in

if TYPE_CHECKING:
    from tui_params.core.numbers.raster import BlockFacts, Raster

_TITLES = {"mean": "mean", "rms": "RMS", "max": "max |x|", "share": "NaN and Inf"}

_BETWEEN = 4
"""Lines from one row label to the next."""

_BARS, _ASCII_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
_SIDE_BARS = " ▏▎▍▌▋▊▉█"


def title_of(statistic: str, *, is_complex: bool) -> str:
    """What is shown, in a word; of complex numbers it is of their absolute values."""
    return "mean |x|" if is_complex and statistic == "mean" else _TITLES[statistic]


class Sketch(msgspec.Struct, frozen=True):
    """Everything that the lines are made of."""

    raster: Raster
    layout: Layout
    view: Plane
    row: int
    column: int
    depth: Depth
    glyphs: Glyphs
    is_complex: bool = False
    facts: BlockFacts | None = None
    note: str = ""

    @property
    def cells(self) -> Cells:
        raster = self.raster
        return cells_of(
            len(raster.row_edges) - 1, len(raster.column_edges) - 1, self.layout, is_half=is_half(self.depth)
        )

    @property
    def at(self) -> tuple[int, int]:
        """The block of the place."""
        return place_in(self.raster.row_edges, self.row), place_in(self.raster.column_edges, self.column)


def all_lines(sketch: Sketch, width: int) -> list[Line]:
    """The whole lens."""
    lines = _picture(sketch)
    if sketch.layout.has_columns:
        lines.append(_column_profile(sketch))
    lines.append(_column_labels(sketch))
    lines += [[] for _ in range(sketch.layout.lines + 1 + sketch.layout.has_columns - len(lines))]
    return [*lines, scale_line(sketch, width), block_line(sketch, width)]


# The picture


def _picture(sketch: Sketch) -> list[Line]:
    raster, layout, cells = sketch.raster, sketch.layout, sketch.cells
    here_row, here_column = sketch.at
    table = prefix_of(raster.statistic)
    pointer = ">" if sketch.glyphs.is_ascii else "▸"
    axis = axis_of(sketch.view, sketch.view.rows)
    rows = len(raster.levels)
    lines: list[Line] = []
    for y in range(layout.lines):
        first = 2 * y if cells.high == 0 else y // cells.high
        if first >= rows:
            break
        last = min(first + (2 if cells.high == 0 else 1), rows)
        is_here = first <= here_row < last
        starts_here = cells.high == 0 or y % cells.high == 0
        label = ""
        if is_here and starts_here:
            label = f"{axis.index(raster.row_edges[here_row])}{pointer}"
        elif starts_here and _is_labelled(y, cells, here_row):
            label = f"{axis.index(raster.row_edges[first])} "
        line: Line = [(label.rjust(layout.label)[-layout.label :], "title" if is_here else "dim")]
        here = here_column if is_here else -1
        middle = cells.high > 0 and y % cells.high == (cells.high - 1) // 2
        values = raster.values[first] if raster.values is not None and cells.has_room and middle else None
        if not is_half(sketch.depth):
            line += _plain_cells(raster.levels[first], values, cells, here, table, sketch.depth)
        elif cells.high == 0:
            lower = raster.levels[last - 1] if last - first == 2 else None
            mark = (here_column, here_row - first) if is_here else None
            line += _half_cells(raster.levels[first], lower, cells.wide, mark, table)
        else:
            line += _full_cells(raster.levels[first], values, cells, here, table)
        if layout.has_rows:
            line += [(" ", "text"), _row_mark(sketch, first, last)]
        lines.append(line)
    return lines


def _is_labelled(y: int, cells: Cells, here_row: int) -> bool:
    here = here_row // 2 if cells.high == 0 else here_row * cells.high
    step = max(_BETWEEN, cells.high) if cells.high < 2 else cells.high
    return y % step == 0 and (y == here or abs(y - here) > 1 or cells.high > 1)


def runs(names: list[tuple[str, str]]) -> Line:
    """Characters with the names of their styles, as few pieces as can be."""
    line: Line = []
    for character, name in names:
        if line and line[-1][1] == name:
            line[-1] = (line[-1][0] + character, name)
        else:
            line.append((character, name))
    return line


@lru_cache(maxsize=1024)
def _half_cells(upper: bytes, lower: bytes | None, wide: int, mark: tuple[int, int] | None, table: str) -> Line:
    found: list[tuple[str, str]] = []
    for place, level in enumerate(upper):
        below = "x" if lower is None else str(lower[place])
        above = str(level)
        if mark is not None and place == mark[0]:
            above, below = ("o", below) if mark[1] == 0 else (above, "o")
        found.append(("▀" * wide, f"heat {table} {above} {below}"))
    return runs(found)


def _full_cells(levels: bytes, values: tuple[float, ...] | None, cells: Cells, here: int, table: str) -> Line:
    found: list[tuple[str, str]] = []
    for place, level in enumerate(levels):
        words = " " * cells.wide
        if values is not None:
            words = text.number_within(values[place], cells.wide - 1).rjust(cells.wide - 1) + " "
        found.append((words, f"heat {table} {'o' if place == here else level}"))
    return runs(found)


def _plain_cells(
    levels: bytes, values: tuple[float, ...] | None, cells: Cells, here: int, table: str, depth: Depth
) -> Line:
    found: list[tuple[str, str]] = []
    for place, level in enumerate(levels):
        words = glyph_of(f"heat {table} {level}", depth) * cells.wide
        if values is not None:
            words = text.number_within(values[place], cells.wide - 1).rjust(cells.wide - 1) + " "
        found.append((words, f"heat {table} {level}{' o' if place == here else ''}"))
    return runs(found)


# The profiles: the least root mean square of the rows and columns of each line of blocks


def worst(marks: bytes) -> int:
    """The mark that counts of those in one character: a dead row, then one with a NaN, then the shortest bar."""
    return DEAD if DEAD in marks else SPOILT if SPOILT in marks else min(marks)


def _mark(mark: int, bars: str) -> tuple[str, str]:
    return ("0", "heat-dead") if mark == DEAD else ("N", "heat-spoilt") if mark == SPOILT else (bars[mark], "heat-edge")


def _row_mark(sketch: Sketch, first: int, last: int) -> tuple[str, str]:
    marks = sketch.raster.edge_rows
    if marks is None:
        return (" ", "text")
    return _mark(worst(marks[first:last]), _ASCII_BARS if sketch.glyphs.is_ascii else _SIDE_BARS)


def _column_profile(sketch: Sketch) -> Line:
    line: Line = [(" " * sketch.layout.label, "text")]
    marks = sketch.raster.edge_columns
    if marks is not None:
        bars, wide = _ASCII_BARS if sketch.glyphs.is_ascii else _BARS, sketch.cells.wide
        for mark in marks:
            character, name = _mark(mark, bars)
            is_bar = mark not in (DEAD, SPOILT)
            line += [(character * wide if is_bar else character, name), (" " * (0 if is_bar else wide - 1), "text")]
    return line


def _column_labels(sketch: Sketch) -> Line:
    """The true indices below the picture, that of the place under a pointer."""
    raster, layout, wide = sketch.raster, sketch.layout, sketch.cells.wide
    axis = axis_of(sketch.view, sketch.view.columns)
    here = sketch.at[1]
    pointer = "^" if sketch.glyphs.is_ascii else "▴"
    room = layout.columns + 2 * layout.has_rows
    said = f"{pointer}{axis.index(raster.column_edges[here])}"
    start = here * wide
    if start + len(said) > room:
        said = f"{axis.index(raster.column_edges[here])}{pointer}"
        start = max(0, here * wide + 1 - len(said))
    line: Line = [(" " * layout.label, "text")]
    filled = 0
    longest = max(len(str(axis.index(0))), len(str(axis.index(max(0, axis.length - 1)))))
    step = -(-max(12, longest + 4) // wide)
    for place in [*range(0, len(raster.column_edges) - 1, step), None]:
        is_past = place is None or place * wide >= start
        if is_past and filled <= start and said:
            line += [(" " * (start - filled), "text"), (said, "title")]
            filled, said = start + len(said), ""
        if place is None:
            break
        label, at = str(axis.index(raster.column_edges[place])), place * wide
        end = at + len(label)
        if at >= filled + (1 if filled else 0) and end <= room and (not said or end < start):
            line += [(" " * (at - filled), "text"), (label, "dim")]
            filled = end
    return line


# The scale and the block


def fitted(parts: list[tuple[int, Line]], width: int) -> Line:
    """The parts that fit into a line, two blanks between them; those with the highest number go first."""
    kept = list(parts)
    while len(kept) > 1 and sum(line_width(part) for _, part in kept) + 2 * (len(kept) - 1) > width:
        kept.remove(max(kept, key=lambda part: part[0]))
    line: Line = []
    for _, part in kept:
        line += [("  ", "text"), *part] if line else part
    return line


def scale_line(sketch: Sketch, width: int) -> Line:
    """What is shown, the colours from the least to the greatest, and what stands out of them."""
    raster, depth = sketch.raster, sketch.depth
    table = prefix_of(raster.statistic)
    low, high = text.number(-raster.limit, 3), text.number(raster.limit, 3)
    if table == "share":
        low, high = "0", "100 %"
    elif table == "sequential":
        low = "0"
    levels = [0, *range(90, TOP + 1)] if table == "share" else list(range(TOP + 1))
    length = max(6, min(32, width // 4))
    steps = [levels[place * (len(levels) - 1) // (length - 1)] for place in range(length)]
    half = is_half(depth)
    bar = runs(
        [(" " if half else glyph_of(name, depth), name) for name in (f"heat {table} {level}" for level in steps)]
    )
    scale: Line = [(f"{low} ", "dim"), *bar, (f" {high}", "dim")]
    parts: list[tuple[int, Line]] = [
        (1, [(title_of(raster.statistic, is_complex=sketch.is_complex), "title")]),
        (0, scale),
    ]
    if raster.is_symlog and table != "share":
        parts.append((5, [("symlog", "dim")]))
    if raster.bad:
        sign = [] if table == "share" else [(" " if half else "N", f"heat {table} {BAD}"), (" ", "text")]
        parts.append((2, [*sign, (f"NaN or Inf in {raster.bad:,}", "dim")]))
    if raster.clipped:
        parts.append((3, [(f"{text.plural(raster.clipped, 'cell')} beyond", "dim")]))
    return fitted(parts, width)


def block_line(sketch: Sketch, width: int) -> Line:
    """The block at the place: its indices, how many values, their range and mean."""
    facts = sketch.facts
    if facts is None:
        return []
    region = facts.region
    where = sketch.view.part(region.top, region.height, region.left, region.width).expression
    parts: list[tuple[int, Line]] = [(0, [(where, "title")])]
    if sketch.note:
        parts.append((3, [(sketch.note, "accent")]))
    if facts.nan or facts.inf:
        bad = [f"{count:,} {word}" for count, word in ((facts.nan, "NaN"), (facts.inf, "Inf")) if count]
        parts.append((1, [(" ".join(bad), "error")]))
    if facts.is_sampled:
        parts.append((6, [(f"of {text.plural(facts.count, 'value')} looked at", "dim")]))
    else:
        parts.append((6, [(text.plural(facts.count, "value"), "dim")]))
    if facts.count == 1 and facts.high is not None:
        parts.append((2, [(text.number(facts.high, 6), "number")]))
    elif facts.low is not None and facts.high is not None:
        dots = ".." if sketch.glyphs.is_ascii else "…"
        parts.append((2, [(f"{text.number(facts.low, 3)} {dots} {text.number(facts.high, 3)}", "number")]))
    elif facts.peak is not None and facts.count > 1:
        parts.append((2, [("max |x| ", "dim"), (text.number(facts.peak, 3), "number")]))
    if facts.mean is not None and facts.count > 1:
        parts.append(
            (4, [(f"{title_of('mean', is_complex=sketch.is_complex)} ", "dim"), (text.number(facts.mean, 3), "number")])
        )
        if facts.rms is not None:
            parts.append((5, [("RMS ", "dim"), (text.number(facts.rms, 3), "number")]))
    return fitted(parts, width)
