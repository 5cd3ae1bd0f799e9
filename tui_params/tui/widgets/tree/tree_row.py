"""One row of the tree as a line of styled text. Pure functions: they read no file.

From the left: two marks, the indent, an arrow for a module, the name; from the right, as far as there is room:
a sparkline, the element type, the bytes, the parameters. For a given width the columns stand at fixed places, so that
nothing jumps when modules are opened and closed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tui_params.core import text
from tui_params.core.figures import Figures
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.tree import Tree
from tui_params.tui.state.marks import Mark
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import cut_line
from tui_params.tui.widgets.detail.detail_lines import has_unknown_size

_NUMEL = 6
_NBYTES = 9
_NARROW_VALUE = 8
_MARKS = 2
_ROOMY = 50
_FULL_NAME = 38
"""Cells that the names of a flat list get before other columns do: most names of a transformer fit into them."""


class Columns(msgspec.Struct, frozen=True):
    """The columns of a tree of some width: how wide each is, with the blank before it; 0 means that it is absent.

    Where the tree is sorted by a value, the value takes the column ``nbytes``.
    """

    name: int
    numel: int
    nbytes: int
    dtype: int
    spark: int

    @staticmethod
    def fit(width: int, heading: str = "", *, is_flat: bool = False) -> Columns:
        """The columns of a tree ``width`` cells wide: the name keeps about half of it.

        ``heading`` is the name of the value that is shown in place of the bytes; where there is no room for bytes, the
        value replaces another column. In a flat list the full names get their room first.
        """
        spark = 0 if width < 40 else 7 if width < _ROOMY else 9
        if is_flat:
            value = _NBYTES if width >= _ROOMY or heading == "bytes" else _NARROW_VALUE
            nbytes = value if heading and width >= 26 else 0
            name = width - spark - nbytes
            numel = _NUMEL if heading != "numel" and name >= _FULL_NAME + _NUMEL else 0
            dtype = 7 if heading != "dtype" and name - numel >= _FULL_NAME + 7 else 0
            return Columns(name - numel - dtype, numel, nbytes, dtype, spark)
        numel = _NUMEL if width >= 26 else 0
        dtype = 0 if width < 34 else 7 if width < 66 else 12
        nbytes = _NBYTES if width >= 56 else 0
        if heading and not nbytes and width >= 26:
            numel, dtype, nbytes = (numel if dtype else 0), 0, _NBYTES
        return Columns(max(0, width - numel - nbytes - dtype - spark), numel, nbytes, dtype, spark)

    @staticmethod
    def indent(depth: int, width: int) -> int:
        """The cells before the arrow of a row, never more than a third of the width."""
        return min(depth * (2 if width >= _ROOMY else 1), max(0, width // 3 - 2))


class RowState(msgspec.Struct, frozen=True):
    """What a row shows that is not in the tree.

    ``label`` and ``depth`` are given where a filter makes them differ from those of the tree. ``value`` is what the
    tree is sorted by, shown in place of the bytes, and ``heading`` its name; ``has_decided`` says whether the value was
    known when the tree was sorted.
    """

    is_expanded: bool
    figures: Figures | None
    mark: Mark
    spans: Sequence[tuple[int, int]] = ()
    label: str | None = None
    depth: int | None = None
    value: str = ""
    heading: str = ""
    has_decided: bool = True
    is_flat: bool = False


def heading_line(heading: str, width: int, *, is_flat: bool) -> Line:
    """The names of the columns, for a tree that is sorted by a value that it does not show otherwise."""
    columns = Columns.fit(width, heading, is_flat=is_flat)
    line: Line = [(" " * columns.name, "dim"), ("numel".rjust(columns.numel) if columns.numel else "", "dim")]
    line.append((heading.rjust(columns.nbytes) if columns.nbytes else "", "accent"))
    line.append((" dtype".ljust(columns.dtype) if columns.dtype else "", "dim"))
    return line


def row_line(tree: Tree, node: int, state: RowState, width: int, glyphs: Glyphs) -> Line:
    """The line of one node, at most ``width`` cells."""
    columns = Columns.fit(width, state.heading, is_flat=state.is_flat)
    leaf = tree.leaf_of(node)
    name = cut_line(_name(tree, node, state, columns, width, glyphs), columns.name)
    if leaf is None:
        return name + _module_columns(tree, node, state, columns)
    if isinstance(leaf, TensorInfo):
        return name + _tensor_columns(leaf, state, columns, glyphs)
    room = width - columns.name
    return name + cut_line([(f" {text.clean(leaf.text, max(room - 1, 0))}", "dim")], room)


def _name(tree: Tree, node: int, state: RowState, columns: Columns, width: int, glyphs: Glyphs) -> Line:
    leaf = tree.leaf_of(node)
    line: Line = [_mark(state.mark, glyphs)]
    is_module = leaf is None
    kind, kind_style = " ", "dim"
    if isinstance(leaf, TensorInfo):
        if leaf.tied_to is not None:
            kind, kind_style = glyphs.tied, "accent"
        elif leaf.requires_grad:
            kind, kind_style = glyphs.trainable, "success"
    line.append((kind, kind_style))
    if state.is_flat:
        line.append((" ", "text"))
        room = columns.name - _MARKS - 1
    else:
        arrow = (glyphs.opened if state.is_expanded else glyphs.closed) if is_module else " "
        indent = Columns.indent(tree.depth(node) if state.depth is None else state.depth, width)
        line.append((" " * indent, "text"))
        line.append((f"{arrow} ", "dim"))
        room = columns.name - _MARKS - indent - 2
    raw = tree.label[node] if state.label is None else state.label
    label = text.clean(raw)
    style = "label" if is_module else "text" if isinstance(leaf, TensorInfo) else "dim"
    if not label:
        label, style = "(empty name)", "dim"
    shown = text.abbreviate(label, room)
    spans = _spans_left(label, shown, state.spans) if label == raw else ()
    if spans:
        line.extend(_with_hits(shown, spans, style))
    else:
        line.append((shown, style))
    room -= len(shown)
    class_name = text.clean(tree.class_name(node) or "") if is_module else ""
    if class_name and room >= min(len(class_name) + 1, 14):
        class_name = text.shorten(class_name, room - 1)
        line.append((f" {class_name}", "dim"))
        room -= len(class_name) + 1
    line.append((" " * room, "text"))
    return line


def _spans_left(label: str, shown: str, spans: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """Where the hits of a label are in its abbreviated form, as far as that shows them unchanged."""
    if not spans or shown == label:
        return spans
    head = 1 if shown[:1] == "…" else 0
    body = shown[head:].removesuffix("w").removesuffix("b")  # of .weight and .bias
    at = label.find(body)
    if at < 0 or (at > 0 and not head):
        return ()
    shift, stop = head - at, head + len(body)
    moved = [(max(first + shift, head), min(last + shift, stop)) for first, last in spans]
    return [(first, last) for first, last in moved if first < last]


def _with_hits(label: str, spans: Sequence[tuple[int, int]], style: str) -> Line:
    line: Line = []
    at = 0
    for start, stop in spans:
        if start > at:
            line.append((label[at:start], style))
        if stop > max(start, at):
            line.append((label[max(start, at) : stop], "hit"))
        at = max(at, stop)
    line.append((label[at:], style))
    return line


def _mark(mark: Mark, glyphs: Glyphs) -> tuple[str, str]:
    if mark == "error":
        return glyphs.error, "error"
    if mark == "warning":
        return glyphs.warning, "warning"
    if mark == "unreadable":
        return glyphs.unreadable, "warning"
    return " ", "dim"


def _module_columns(tree: Tree, node: int, state: RowState, columns: Columns) -> Line:
    if not tree.tensor_count(node):
        return [(" " * (columns.numel + columns.nbytes + columns.dtype + columns.spark), "dim")]
    numel, nbytes = tree.extent(node)
    # Where no shape is known, 0 would be a false statement.
    is_unknown = not numel and all(map(has_unknown_size, tree.tensors_below(node)))
    line: Line = []
    if columns.numel:
        line.append((("?" if is_unknown else text.numel(numel)).rjust(columns.numel), "number"))
    if columns.nbytes:
        shown = "?" if is_unknown else text.size(nbytes)
        line.append(((state.value if state.heading else shown).rjust(columns.nbytes), "dim"))
    if columns.dtype:
        mix = tree.totals(node).nbytes_by_dtype
        room = columns.dtype - 1
        shown = text.dtype_mix(dict(mix), 2)
        if len(shown) > room and len(mix) > 1:
            first, more = text.dtype_mix(dict(mix), 1).split("+")
            shown = (
                f"{first[: room - len(more) - 2]}…+{more}" if len(first) > room - len(more) - 1 else f"{first}+{more}"
            )
        line.append((f" {shown[:room]}".ljust(columns.dtype), "dim"))
    if columns.spark:
        line.append((" " * columns.spark, "dim"))
    return line


def _tensor_columns(info: TensorInfo, state: RowState, columns: Columns, glyphs: Glyphs) -> Line:
    is_unknown = has_unknown_size(info)
    line: Line = []
    if columns.numel:
        line.append((("?" if is_unknown else text.numel(info.numel)).rjust(columns.numel), "number"))
    if columns.nbytes and state.heading:
        line.append((state.value.rjust(columns.nbytes), "accent" if state.has_decided else "dim"))
    elif columns.nbytes:
        line.append((("?" if is_unknown else text.size(info.nbytes)).rjust(columns.nbytes), "dim"))
    if columns.dtype:
        line.append((f" {text.clean(info.dtype.short, columns.dtype - 1)}".ljust(columns.dtype), "dim"))
    if columns.spark:
        line.extend(_spark(info, state, columns.spark, glyphs))
    return line


def _spark(info: TensorInfo, state: RowState, width: int, glyphs: Glyphs) -> Line:
    figures = state.figures
    if state.mark == "unreadable" and figures is None:
        return [(" n/a".ljust(width), "warning")]  # the mark at the left and the detail say more
    if figures is None:
        return [(f" {glyphs.unknown}".ljust(width), "dim")]
    if figures.count == 0:
        return [(" empty".ljust(width), "dim")]
    if figures.finite == 0:
        return [((" NaN" if figures.nan else " Inf").ljust(width), "error")]
    if figures.min == figures.max:
        only = text.number_within(figures.min, width - 2)
        return [((f" ={only}" if only else " equal").ljust(width), "dim")]
    drawn = text.spark(figures.spark, width - 1, ascii_only=glyphs.is_ascii)
    return [(" ", "dim"), (drawn.ljust(width - 1), "dim" if figures.is_sampled else "spark")]
