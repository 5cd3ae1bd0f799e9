"""The lines of the matrix: names of columns, layers, the scale, the tensor at the cursor. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tui_params.core import text
from tui_params.core.layers.known import LOST, READ, UNREAD, Cell
from tui_params.core.layers.planes import Plane
from tui_params.core.layers.shades import Shades
from tui_params.core.numbers.levels import BAD, TOP
from tui_params.tui.state.layer_book import LayerBook
from tui_params.tui.terminal.colour_depth import Depth
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import Part, spread
from tui_params.tui.widgets.canvas import cut_line, line_width
from tui_params.tui.widgets.detail.text_lines import mark_of
from tui_params.tui.widgets.kinds.kind_lines import flag_words
from tui_params.tui.widgets.lenses.heat_colours import glyph_of, is_half
from tui_params.tui.widgets.lenses.heat_lines import fitted, runs
from tui_params.tui.widgets.matrix.matrix_layout import Grid


class Drawing(msgspec.Struct, frozen=True):
    """Everything that the lines are made of. ``names`` are those of all columns, short enough for their cells."""

    book: LayerBook
    plane: Plane
    shades: Shades
    grid: Grid
    names: Sequence[str]
    top: int
    left: int
    row: int
    column: int
    depth: Depth
    glyphs: Glyphs

    @property
    def table(self) -> str:
        """The table of colours."""
        return "signed" if self.shades.against == "kind" else "sequential"


def all_lines(drawing: Drawing, width: int, height: int, known: dict[int, Line]) -> list[Line]:
    """The whole widget; ``known`` keeps the lines of the rows without the cursor."""
    lines = [header_line(drawing)]
    for row in range(drawing.top, drawing.top + drawing.grid.rows):
        line = known.get(row) if row != drawing.row else None
        if line is None:
            line = row_line(drawing, row)
            if row != drawing.row:
                known[row] = line
        lines.append(line)
    lines += [[] for _ in range(height - 3 - len(lines))]
    return [*lines, scale_line(drawing, width), name_line(drawing, width), value_line(drawing, width)]


def header_line(drawing: Drawing) -> Line:
    """The names of the columns on screen, that of the cursor marked; of narrow ones every few numbers."""
    grid, line = drawing.grid, [("layer".rjust(drawing.grid.label - 1) + " ", "dim")]
    columns = range(drawing.left, drawing.left + grid.columns)
    if grid.wide >= 4:
        for column in columns:
            style = "title" if column == drawing.column else "dim"
            line.append((f"{drawing.names[column].rjust(grid.wide - 1)} ", style))
        return line
    words = [" "] * (grid.columns * grid.wide + 4)
    here = (drawing.column - drawing.left) * grid.wide
    name = drawing.names[drawing.column]
    words[here : here + len(name)] = name
    taken = range(here - 1, here + len(name) + 1)
    step = -(-(max(map(len, drawing.names)) + 3) // grid.wide)
    for column in columns[::step]:
        label, at = drawing.names[column], (column - drawing.left) * grid.wide
        if not any(place in taken for place in range(at, at + len(label))):
            words[at : at + len(label)] = label
    whole = "".join(words)[: grid.columns * grid.wide + 3]
    return [*line, (whole[:here], "dim"), (whole[here : here + len(name)], "title"), (whole[here + len(name) :], "dim")]


def row_line(drawing: Drawing, row: int) -> Line:
    """The cells of one layer."""
    grid, plane, is_here = drawing.grid, drawing.plane, row == drawing.row
    pointer = (">" if drawing.glyphs.is_ascii else "▸") if is_here else " "
    label = f"{plane.rows[row]}{pointer}".rjust(grid.label)
    cells = [cell_part(drawing, row, column) for column in range(drawing.left, drawing.left + grid.columns)]
    return [(label, "title" if is_here else "dim"), *runs(cells)]


def cell_part(drawing: Drawing, row: int, column: int) -> Part:
    """One cell: its words, and its style."""
    plane, wide = drawing.plane, drawing.grid.wide
    place = plane.places.get(row * len(plane.columns) + column)
    is_here = row == drawing.row and column == drawing.column
    if place is None:
        return " " * wide, "here" if is_here else "text"
    cell, level = drawing.book.cell(plane.tensors[place]), drawing.shades.levels[place]
    is_bad = cell.state == READ and cell.flags > 0
    if not is_bad and (cell.state != READ or cell.value is None):
        words, style = _without_value(cell, drawing.glyphs)
        if cell.state == READ and drawing.grid.has_values and drawing.book.statistic.origin == "change":
            words, style = drawing.book.told(plane.tensors[place], wide - 1)[0], "accent"
        return _placed(words, wide), "here" if is_here else style
    if is_bad:
        return _placed(_bad_words(drawing, cell), wide), "here-error" if is_here else f"heat signed {BAD}"
    assert cell.value is not None
    name = f"heat {drawing.table} {level}"
    if drawing.grid.has_values:
        words = _placed(drawing.book.statistic.words(cell.value, wide - 1), wide)[:-1] + _sign(drawing, level)
    else:
        words = " " * wide if is_half(drawing.depth) else glyph_of(name, drawing.depth) * wide
    if is_here:
        name = f"heat {drawing.table} o" if is_half(drawing.depth) else f"{name} o"
    return words, name


def _sign(drawing: Drawing, level: int) -> str:
    """What stands behind a value at an end of the colours, where these do not tell."""
    if is_half(drawing.depth) or drawing.shades.against != "kind" or 0 < level < TOP:
        return " "
    return "^" if level else "v"


def _without_value(cell: Cell, glyphs: Glyphs) -> Part:
    if cell.state == UNREAD:
        return glyphs.unknown, "dim"
    return (glyphs.unreadable, "warning") if cell.state == LOST else ("-", "dim")


def _bad_words(drawing: Drawing, cell: Cell) -> str:
    """How many values are not finite where that is what is shown, or which."""
    wide = drawing.grid.wide
    if wide < 5:
        return "N" * max(1, wide - 1) if wide < 3 else "NaN"[: wide - 1]
    if drawing.book.statistic.scale == "count" and cell.value is not None:
        return drawing.book.statistic.words(cell.value, wide - 1)
    return flag_words(cell.flags)[: wide - 1] if cell.flags != 3 or wide > 8 else "NaN"


def _placed(words: str, wide: int) -> str:
    return words if wide == 1 else f"{words.rjust(wide - 1)} "


# Below the cells


def scale_line(drawing: Drawing, width: int) -> Line:
    """What is shown, the colours from the least to the greatest, and what stands out of them."""
    shades, depth, statistic = drawing.shades, drawing.depth, drawing.book.statistic
    half, ascii_only = is_half(depth), drawing.glyphs.is_ascii
    if shades.against == "kind":
        limit = text.number(shades.limit, 3)
        low, high = (f"/{limit}", f"x{limit}") if ascii_only else (f"÷{limit}", f"×{limit}")
    else:
        low, high = "0", statistic.words(shades.limit)
    parts: list[tuple[int, Line]] = [(0, [(f" {statistic.title}", "title")])]
    if half or depth == "16" or not drawing.grid.has_values:
        length = max(6, min(24, width // 5))
        names = [f"heat {drawing.table} {place * TOP // (length - 1)}" for place in range(length)]
        bar = runs([(" " if half else glyph_of(name, depth), name) for name in names])
        parts.append((1, [(f"{low} ", "dim"), *bar, (f" {high}", "dim")]))
    else:
        parts.append((1, [(f"^ {high}  v {low}" if shades.against == "kind" else f"{low} to {high}", "dim")]))
    if shades.against == "kind" and shades.known:
        parts.append((4, [("of its kind's median", "dim")]))
    if shades.bad:
        parts.append((0, [("N", f"heat signed {BAD}"), (f" {shades.bad:,} with NaN or Inf", "error")]))
    if shades.clipped:
        parts.append((3, [(f"{shades.clipped:,} beyond", "dim")]))
    if shades.unread:
        parts.append((2, [(f"{drawing.glyphs.unknown} {shades.unread:,} not known", "dim")]))
    return fitted(parts, width)


def name_line(drawing: Drawing, width: int) -> Line:
    """The tensor at the cursor, with its shape and type; or that there is none."""
    plane, book = drawing.plane, drawing.book
    at = plane.at(drawing.row, drawing.column)
    if at is None:
        column = plane.columns[drawing.column]
        what = f"no number {column} of this kind" if plane.is_split else f"no {text.clean(column, 60)}"
        return cut_line([(f" layer {plane.rows[drawing.row]} has {what}", "dim")], width)
    info, mark = book.table.tensors[at], book.mark(at)
    shape = "shape unknown," if info.has_unknown_size else text.shorten(text.short_shape(info.shape), 20)
    facts = f"{shape} {text.clean(info.dtype.short, 12)} "
    facts = facts.replace("×", "x") if drawing.glyphs.is_ascii else facts
    sign, style = mark_of(mark, drawing.glyphs) if mark else (" ", "text")
    room = max(8, width - len(facts) - 5)
    name = text.abbreviate(text.name(info.name, 400), room)
    return spread([(f" {sign} ", style), (name, "title")], [(facts, "dim")], width)


def value_line(drawing: Drawing, width: int) -> Line:
    """The value of the tensor at the cursor, how it compares with its kind, and what is wrong with it."""
    book, at = drawing.book, drawing.plane.at(drawing.row, drawing.column)
    if at is None:
        return []
    statistic, cell, usual = book.statistic, book.cell(at), book.usual(book.kind_of[at])
    line: Line = [("   ", "text"), (f"{statistic.title} ", "dim")]
    is_change = statistic.origin == "change"
    if is_change and cell.value is None and not cell.flags:
        words, about = book.told(at)
        style = {READ: "accent", LOST: "warning"}.get(cell.state, "dim")
        words = f"{words}: {about}" if about else words
        return [*line, (_cut(words, width - line_width(line), drawing.glyphs), style)]
    if cell.state == UNREAD:
        return cut_line([*line, ("not known yet; S reads every tensor", "dim")], width)
    if cell.state == LOST:
        return cut_line([*line, (text.clean(book.evidence(at), 300) or "unreadable", "warning")], width)
    line.append((statistic.words(cell.value), "number") if cell.value is not None else ("none", "dim"))
    if cell.flags and statistic.scale != "count":
        of = " of the finite values" if statistic.origin == "values" and cell.value is not None else ""
        line += [(f"{of}, ", "dim"), (flag_words(cell.flags), "error")]
    said = ""
    times = book.times_median(at)
    if times is not None and usual.median is not None:
        members = book.table.members[book.kind_of[at]].indices
        is_odd = any(members[odd.place] == at and not odd.flags for odd in usual.odd)
        words = f", {text.number(times, 3)}x its kind's median {statistic.words(usual.median)}"
        line.append((words, "accent" if is_odd else "dim"))
        said = "std-of-kind" if is_odd and statistic.name == "std" else ""
    evidence = book.evidence(at, without=said)
    room = width - line_width(line) - 2
    if evidence and room >= 13:
        line.append((f"; {_cut(text.clean(evidence, 300), room, drawing.glyphs)}", "warning"))
    return cut_line(line, width)


def _cut(words: str, room: int, glyphs: Glyphs) -> str:
    """The beginning of a sentence, with a sign where something is left out."""
    if len(words) <= room:
        return words
    sign = ".." if glyphs.is_ascii else "…"
    return f"{words[: max(0, room - len(sign))]}{sign}"
