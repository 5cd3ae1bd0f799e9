"""One row of the tree as a line of styled text. Pure functions: they read no file.

From the left: two marks, the indent, an arrow for a module, the name; then the columns of the layout. For a given
width they stand at fixed places, so that nothing jumps when modules are opened and closed. A name that is too long
may use the blanks of the first column.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tui_params.core import text
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.totals import Totals
from tui_params.core.tree.tree import Tree
from tui_params.tui.state.changes import Below
from tui_params.tui.state.columns import Layout, indent
from tui_params.tui.state.marks import Mark
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import cut_line
from tui_params.tui.widgets.detail.detail_lines import has_unknown_size
from tui_params.tui.widgets.tree.tree_cells import Cell, Known, heading_cells, module_cells, tensor_cells

_MARKS = 2


class RowState(msgspec.Struct, frozen=True):
    """What a row shows that is not in the tree.

    ``label``, ``depth`` and ``totals`` are given where a filter makes them differ from those of the tree. ``sorted_by``
    is the column that the tree is sorted by; of a module, ``value`` is the statistic of its first tensor, which
    decided its place. ``about`` stands behind the name of a module: the parameter that a state belongs to.
    ``changed``: how many tensors of a module have changed since an earlier look or on the other side, and the worst.
    """

    is_expanded: bool
    known: Known
    spans: Sequence[tuple[int, int]] = ()
    label: str | None = None
    depth: int | None = None
    totals: Totals | None = None
    sorted_by: str = ""
    value: Cell | None = None
    is_flat: bool = False
    is_repeated: bool = False
    about: str = ""
    changed: Below | None = None


def heading_line(
    layout: Layout,
    glyphs: Glyphs,
    sorted_by: str = "",
    *,
    is_ascending: bool,
    is_live: bool,
    axis: tuple[float, float] | None = None,
) -> Line:
    """The headings: that of the names, with what the marks mean where there is room, and those of the columns.

    ``axis`` are the ends of the axis that the sparklines of a module share: they stand there instead.
    """
    is_sorted = sorted_by == "name"
    arrow = (glyphs.opened if is_ascending else glyphs.ascending) if is_sorted else ""
    line: Line = [(f"  name{arrow}"[: layout.name], "accent" if is_sorted else "dim")]
    legend = f"  {glyphs.trainable} trainable" if is_live and not layout.has("trainable") else ""
    room = layout.name - len(line[0][0])
    has_axis = axis is not None and layout.has("spark")
    if axis is not None and has_axis:
        ends = [f"  {text.number(axis[0], digits)} to {text.number(axis[1], digits)}" for digits in (3, 2, 1)]
        ends += [f" {text.number(axis[0], digits)}..{text.number(axis[1], digits)}" for digits in (2, 1)]
        words = next((each for each in ends if len(each) <= room), "")
        line.append((words.rjust(room) if len(words) < room else words, "accent"))
    else:
        line.append(((legend if len(legend) <= room else "").ljust(room), "dim"))
    return line + heading_cells(layout, glyphs, sorted_by, is_ascending=is_ascending, has_axis=has_axis)


def row_line(tree: Tree, node: int, state: RowState, width: int, layout: Layout, glyphs: Glyphs) -> Line:
    """The line of one node, at most ``width`` cells."""
    leaf = tree.leaf_of(node)
    if leaf is None:
        totals = state.totals if state.totals is not None else tree.totals(node)
        # Where no shape is known, 0 would be a false statement.
        is_unknown = not totals.numel and all(map(has_unknown_size, tree.tensors_below(node)))
        cells = module_cells(
            totals,
            layout,
            is_unknown=is_unknown,
            is_repeated=state.is_repeated,
            sorted_by=state.sorted_by,
            value=state.value,
            changed=state.changed,
            glyphs=glyphs,
        )
    elif isinstance(leaf, TensorInfo):
        cells = tensor_cells(leaf, state.known, layout, glyphs, state.sorted_by)
    else:
        room = width - layout.name
        cells = cut_line([(f" {text.clean(leaf.text, max(room - 1, 0))}", "dim")], room)
    # The first cell is to the right, so a name that is too long may have its blanks, but for one.
    first, style = cells[0] if cells else ("", "dim")
    spare = max(0, len(first) - len(first.lstrip()) - 1) if leaf is None or isinstance(leaf, TensorInfo) else 0
    name, taken = _name(tree, node, state, layout.name, spare, width, glyphs)
    return [*cut_line(name, layout.name + taken), (first[taken:], style), *cells[1:]]


def _name(
    tree: Tree, node: int, state: RowState, cells: int, spare: int, width: int, glyphs: Glyphs
) -> tuple[Line, int]:
    """The name in so many cells, or more if it needs some of those to spare; and how many of these it takes."""
    leaf = tree.leaf_of(node)
    line: Line = [_mark(state.known.mark, glyphs)]
    is_module = leaf is None
    kinds: Line = [(" ", "dim"), (" ", "text")]
    if isinstance(leaf, TensorInfo):
        marks: Line = [(glyphs.tied, "accent")] if leaf.tied_to is not None else []
        marks += [(glyphs.trainable, "success")] if leaf.requires_grad else []
        kinds = [*marks, *kinds][:2]
    # A tied tensor that is trainable has its second mark in the first blank of the indent.
    line.append(kinds[0])
    if state.is_flat:
        line.append(kinds[1])
        room = cells - _MARKS - 1
    else:
        arrow = (glyphs.opened if state.is_expanded else glyphs.closed) if is_module else " "
        blanks = indent(tree.depth(node) if state.depth is None else state.depth, width)
        before = f"{' ' * blanks}{arrow} "
        line += [kinds[1], (before[1:], "dim")] if kinds[1][0] != " " else [(before[:-2], "text"), (before[-2:], "dim")]
        room = cells - _MARKS - blanks - 2
    raw = tree.label[node] if state.label is None else state.label
    label = text.clean(raw)
    style = "label" if is_module else "text" if isinstance(leaf, TensorInfo) else "dim"
    if not label:
        label, style = "(empty name)", "dim"
    taken = max(0, min(len(label) - room, spare))
    room += taken
    shown = text.abbreviate(label, room)
    spans = _spans_left(label, shown, state.spans) if label == raw else ()
    if spans:
        line.extend(_with_hits(shown, spans, style))
    else:
        line.append((shown, style))
    room -= len(shown)
    class_name = state.about or text.clean(tree.class_name(node) or "") if is_module else ""
    if class_name and room >= min(len(class_name) + 1, 14):
        class_name = text.shorten_name(class_name, room - 1) if state.about else text.shorten(class_name, room - 1)
        line.append((f" {class_name}", "dim"))
        room -= len(class_name) + 1
    line.append((" " * room, "text"))
    return line, taken


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
