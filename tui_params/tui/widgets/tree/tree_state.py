"""Gathers what a row shows that is not in the tree (figures, marks, hits, order), for ``tree_row`` to draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tui_params.core import text
from tui_params.core.figures import Figures
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.rows import Rows
from tui_params.tui.state.marks import Marks
from tui_params.tui.state.sorting import Shown
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.tree.tree_row import Columns, RowState

Spans = Callable[[str], Sequence[tuple[int, int]]]


class Seen(msgspec.Struct, frozen=True):
    """Where a row finds its figures (by name), its mark, the hits of the search in its name, and its order."""

    figures: Callable[[str], Figures | None]
    marks: Marks
    spans: Spans | None
    shown: Shown | None
    is_flat: bool
    glyphs: Glyphs


def state_of(rows: Rows, node: int, width: int, seen: Seen) -> RowState:
    """The state of the row of a node in a tree ``width`` cells wide."""
    leaf = rows.tree.leaf_of(node)
    info = leaf if isinstance(leaf, TensorInfo) else None
    return RowState(
        is_expanded=rows.is_expanded(node),
        figures=seen.figures(info.name) if info is not None else None,
        mark=seen.marks.mark(rows.tree, node),
        spans=_spans_in_label(rows, node, seen.spans),
        label=rows.label(node),
        depth=rows.depth(node),
        value=_value_of(rows, node, width, seen),
        heading=seen.shown.heading if seen.shown is not None else "",
        has_decided=seen.shown is None or info is None or seen.shown.has_decided(info),
        is_flat=seen.is_flat,
    )


def _value_of(rows: Rows, node: int, width: int, seen: Seen) -> str:
    """The text in the column of the value that the tree is sorted by."""
    shown, tree = seen.shown, rows.tree
    if shown is None:
        return ""
    first = tree.leaves[tree.first[node]]
    if not isinstance(first, TensorInfo):
        return ""
    if tree.is_module(node):
        if shown.is_total:
            return text.size(tree.extent(node)[1])
        if not shown.has_decided(first):
            return seen.glyphs.unknown
    room = Columns.fit(width, shown.heading, is_flat=seen.is_flat).nbytes - 1
    is_lost = first.unreadable is not None or seen.marks.mark(tree, node) == "unreadable"
    return shown.of(first, room) or ("–" if is_lost else seen.glyphs.unknown)


def _spans_in_label(rows: Rows, node: int, spans: Spans | None) -> Sequence[tuple[int, int]]:
    if spans is None or rows.tree.is_module(node):
        return ()
    name = rows.tree.name(node)
    hidden = len(name) - len(rows.label(node))
    return [(max(start - hidden, 0), stop - hidden) for start, stop in spans(name) if stop > hidden]
