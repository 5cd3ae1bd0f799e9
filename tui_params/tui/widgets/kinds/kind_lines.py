"""The lines of the list of kinds: a kind with its strip over the layers, or one of its tensors. Pure functions."""

from __future__ import annotations

from collections import Counter

import msgspec

from tui_params.core import text
from tui_params.core.kinds import KindGroup
from tui_params.core.layers.known import LOST, READ, UNREAD
from tui_params.core.layers.odd import told
from tui_params.core.layers.short_names import short_names
from tui_params.core.layers.strip import BAD, BLANK, DOT, LOST_CELL, NONE, ODD, Strip
from tui_params.core.tensor import TensorInfo
from tui_params.tui.state.layer_book import LayerBook
from tui_params.tui.state.marks import Mark
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import Part
from tui_params.tui.widgets.canvas import cut_line
from tui_params.tui.widgets.detail.text_lines import mark_of

_COUNT, _DTYPE, _NUMEL, _RANGE = 7, 7, 6, 18
_ROOMY, _WIDE = 64, 96
"""Cells from which on there is room for the types, and for the range of the values."""

_MOST_TOLD = 4
"""Odd tensors of a kind that are named in the list; its page names more."""

_INDENT = 4
_VALUE = 12
"""Cells of the value of one tensor."""


class Row(msgspec.Struct, frozen=True):
    """The row of a kind: its name as it is shown, whether its tensors follow, and whether the cursor is on it."""

    kind: int
    name: str
    is_open: bool
    is_here: bool


class _Widths:
    """The cells of each column of a list that is ``width`` cells wide; the names take what the others leave."""

    def __init__(self, book: LayerBook, width: int) -> None:
        self.whole = width
        self.count = max(_COUNT, len(f" x {book.most_of_kind:,}"))
        self.dtype = _DTYPE if width >= _ROOMY else 0
        self.range = _RANGE if width >= _WIDE else 0
        self.shape = 11 if width >= _ROOMY else 0
        self.strip = max(8, min(32, width // 5))
        fixed = _INDENT + self.count + self.dtype + _NUMEL + self.range + self.shape + self.strip + 1
        self.name = max(6, width - fixed)


def heading_line(book: LayerBook, width: int) -> Line:
    """What the columns are."""
    widths = _Widths(book, width)
    line: Line = [(f"{' ' * _INDENT}{'kind'.ljust(widths.name)}", "dim"), ("x".rjust(widths.count), "dim")]
    if widths.shape:
        line += [(" shape".ljust(widths.shape), "dim"), (" dtype".ljust(widths.dtype), "dim")]
    line += [("numel".rjust(_NUMEL), "dim")]
    title = f"{book.statistic.title} by layer"
    title = title if len(title) <= widths.strip else text.shorten(book.statistic.title, widths.strip)
    line.append((f" {title.ljust(widths.strip)}", "accent"))
    if widths.range:
        line.append(("least to greatest".rjust(_RANGE), "dim"))
    return cut_line(line, width)


def kind_lines(book: LayerBook, row: Row, width: int, glyphs: Glyphs) -> list[Line]:
    """A kind, and in a second line what stands out of it."""
    kind, is_here = row.kind, row.is_here
    widths = _Widths(book, width)
    group = book.table.kinds[kind]
    arrow = " " if group.count == 1 else glyphs.opened if row.is_open else glyphs.closed
    line = _head(book.mark_of_kind(kind), arrow, glyphs)
    line += [
        (row.name.ljust(widths.name), "title" if is_here else "text"),
        (f"x {group.count:,}".rjust(widths.count), "number"),
    ]
    if widths.shape:
        shape = text.shorten(_shape(group, glyphs), widths.shape - 1)
        dtype = text.dtype_mix({dtype.short: 1 for dtype in group.dtypes}, 1)
        line += [(f" {shape}".ljust(widths.shape), "dim")]
        line += [(f" {text.clean(dtype, widths.dtype - 1)}".ljust(widths.dtype), "dim")]
    is_tied = not group.numel and group.shapes and all(shape and 0 not in shape for shape in group.shapes)
    numel = "tied" if is_tied else text.numel(group.numel)
    line.append((numel.rjust(_NUMEL), "dim" if is_tied else "number"))
    strip = strip_parts(book.strip(kind, widths.strip), glyphs)
    line += [(" ", "text"), *cut_line(strip, widths.strip)]
    if widths.range:
        line.append((range_words(book, kind, glyphs).rjust(_RANGE), "number"))
    lines = [cut_line(line, width)]
    odd = told(book.usual(kind), book.statistic, lambda place: book.table.label(kind, place), _MOST_TOLD)
    if odd:
        style = "error" if book.usual(kind).odd[0].flags else "accent"
        words = _fitting(odd, width - _INDENT - 2)
        lines.append([(" " * (_INDENT + 2), "text"), (words, style)])
    return lines


def short_kinds(book: LayerBook, width: int) -> list[str]:
    """The names of all kinds, short enough for a list of that width.

    A long one is cut where a segment begins, unless what is left is the end of another one, too; where cutting leaves
    two alike, they are shortened so that they differ.
    """
    room = _Widths(book, width).name
    names = [text.name(group.kind, 400) for group in book.table.kinds]
    ends = Counter(end for name in names for end in _ends(name))
    found = [_cut_kind(name, room, ends) for name in names]
    counts = Counter(found)
    if len(counts) == len(found):
        return found
    middles = [text.shorten(name, room) for name in names]  # names that differ at their beginnings
    if len(set(middles)) == len(middles):
        return middles
    short = short_names(names, room)
    return [words if counts[words] == 1 else short[at] for at, words in enumerate(found)]


def _ends(name: str) -> list[str]:
    """The name from each of its segments on, the longest first."""
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]


def _cut_kind(name: str, room: int, ends: Counter[str]) -> str:
    if len(name) <= room:
        return name
    end = next((end for end in _ends(name) if len(end) < room and not end.startswith("#")), "")
    return f"…{end}" if ends[end] == 1 else text.shorten_name(name, room)


def member_lines(book: LayerBook, kind: int, place: int, width: int, glyphs: Glyphs, *, is_here: bool) -> list[Line]:
    """One tensor of a kind: its number, its value, and how that compares with the others."""
    at = book.table.members[kind].indices[place]
    info, usual, cell = book.table.tensors[at], book.usual(kind), book.cell(at)
    label = text.clean(book.table.label(kind, place), 12)
    line = _head(book.mark(at), " ", glyphs)
    line.append((f"  {label:<9}", "title" if is_here else "text"))
    words, style = value_part(book, at, glyphs)
    if any(odd.place == place for odd in usual.odd) and style == "number":
        style = "accent"
    line.append((words.rjust(_VALUE), style))
    room = max(0, width - _INDENT - 2 - 9 - _VALUE - 24)
    bar = min(room, 24)
    if bar >= 6:
        top = max(abs(usual.high or 0.0), abs(usual.low or 0.0))
        filled = round(bar * cell.value / top) if cell.value is not None and top > 0 else 0
        line += [(" ", "text"), (glyphs.bar * max(0, min(bar, filled)), "spark")]
        line = cut_line(line, width - 23)
    line += [(_facts(info, glyphs).rjust(22), "dim")]
    return [cut_line(line, width)]


def value_part(book: LayerBook, at: int, glyphs: Glyphs) -> Part:
    """The value of one tensor in words."""
    cell = book.cell(at)
    if cell.state == UNREAD:
        return glyphs.unknown, "dim"
    if book.statistic.origin == "change" and cell.value is None and not cell.flags:
        return book.told(at, _VALUE)[0], {READ: "accent", LOST: "warning"}.get(cell.state, "dim")
    if cell.state == LOST:
        return "unreadable", "warning"
    if cell.state == READ and cell.flags:
        return flag_words(cell.flags), "error"
    if cell.value is None:
        return "none", "dim"
    return book.statistic.words(cell.value), "number"


def flag_words(flags: int) -> str:
    """Which values that are not finite a tensor has."""
    return {1: "NaN", 2: "Inf", 3: "NaN, Inf"}[flags]


def strip_parts(strip: Strip, glyphs: Glyphs) -> Line:
    """The cells of a strip: bars as high as the values, and a sign for everything that is none."""
    blocks = text.ASCII_BLOCKS if glyphs.is_ascii else text.BLOCKS
    signs: dict[int, Part] = {
        BLANK: (" ", "text"),
        DOT: (glyphs.unknown, "dim"),
        NONE: ("-", "dim"),
        LOST_CELL: (glyphs.unreadable, "warning"),
        BAD: ("N", "here-error"),
    }
    line: Line = []
    for kind, level in zip(strip.kinds, strip.levels, strict=True):
        part = signs.get(kind) or (blocks[level], "accent" if kind == ODD else "spark")
        if line and line[-1][1] == part[1]:
            line[-1] = (line[-1][0] + part[0], part[1])
        else:
            line.append(part)
    return line


def range_words(book: LayerBook, kind: int, glyphs: Glyphs) -> str:
    """The least and the greatest value of a kind that are known."""
    usual = book.usual(kind)
    if usual.low is None or usual.high is None:
        return glyphs.unknown
    low, high = book.statistic.words(usual.low, 7), book.statistic.words(usual.high, 7)
    return low if low == high else f"{low} {'..' if glyphs.is_ascii else '…'} {high}"


def _head(mark: Mark, arrow: str, glyphs: Glyphs) -> Line:
    sign, style = mark_of(mark, glyphs) if mark else (" ", "text")
    return [(f"{sign} ", style), (f"{arrow} ", "dim")]


def _shape(group: KindGroup, glyphs: Glyphs) -> str:
    words = group.shape_in(text.short_shape)
    return words.replace("×", "x") if glyphs.is_ascii else words


def _facts(info: TensorInfo, glyphs: Glyphs) -> str:
    shape = "?" if info.has_unknown_size else text.shorten(text.short_shape(info.shape), 14)
    words = f"{shape} {text.clean(info.dtype.short, 7)}"
    return words.replace("×", "x") if glyphs.is_ascii else words


def _fitting(parts: list[str], room: int) -> str:
    """As many of the parts as fit, the first of them in any case."""
    while len(parts) > 1 and len(", ".join(parts)) > room:
        parts = parts[:-1]
    return text.shorten(", ".join(parts), max(4, room))
