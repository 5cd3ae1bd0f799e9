"""Gathers what a row shows that is not in the tree (figures, marks, hits, order), for ``tree_row`` to draw."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from tui_params.core.course import Course
from tui_params.core.figures import Figures
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.core.tree.rows import Rows
from tui_params.tui.state.changes import Changes
from tui_params.tui.state.columns import BY_NAME, Layout
from tui_params.tui.state.marks import Marks
from tui_params.tui.state.shared_axis import SharedAxis
from tui_params.tui.state.sorting import Shown
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.tree.tree_cells import Cell, Known, tensor_cell
from tui_params.tui.widgets.tree.tree_row import RowState

Spans = Callable[[str], Sequence[tuple[int, int]]]

_STATE_OF = "state of "
_ONE_OF = "one of "


class Seen(msgspec.Struct, frozen=True):
    """Where a row finds its figures (by name), its gradient, its mark, its change, the search's hits, its order.

    ``course_of`` gives what was seen of a parameter step by step.
    """

    figures: Callable[[str], Figures | None]
    gradients: Mapping[str, TensorInfo]
    marks: Marks
    changes: Changes
    axis: SharedAxis | None
    spans: Spans | None
    shown: Shown | None
    is_flat: bool
    glyphs: Glyphs
    course_of: Callable[[str], Course | None] = lambda name: None


def state_of(rows: Rows, node: int, layout: Layout, seen: Seen) -> RowState:
    """The state of the row of a node."""
    leaf = rows.tree.leaf_of(node)
    sorted_by = seen.shown.name if seen.shown is not None else ""
    if leaf is not None:
        return RowState(
            is_expanded=False,
            known=known_of(leaf, rows, node, layout, seen) if isinstance(leaf, TensorInfo) else Known(),
            spans=_spans_in_label(rows, node, seen.spans),
            label=rows.label(node),
            depth=rows.depth(node),
            sorted_by=sorted_by,
            is_flat=seen.is_flat,
        )
    totals = rows.totals(node)
    before = rows.previous(node)
    return RowState(
        is_expanded=rows.is_expanded(node),
        known=Known(mark=seen.marks.mark(rows.tree, node)),
        label=rows.label(node),
        depth=rows.depth(node),
        totals=totals,
        sorted_by=sorted_by,
        value=_value_of(rows, node, layout, seen),
        is_repeated=before is not None and rows.tree.is_module(before) and rows.totals(before) == totals,
        about=_state_of_parameter(rows, node),
        changed=seen.changes.facts_below(node) if seen.changes.since else None,
    )


def known_of(info: TensorInfo, rows: Rows, node: int, layout: Layout, seen: Seen) -> Known:
    """What is known of the tensor of a node, as far as the columns show it."""
    gradient = seen.gradients.get(info.name)
    return Known(
        figures=seen.figures(info.name),
        mark=seen.marks.mark(rows.tree, node),
        gradient=seen.figures(gradient.name) if gradient is not None else None,
        has_gradient=gradient is not None,
        owner=rows.tree.class_name(node) or "" if layout.has("module") else "",
        is_compared=bool(seen.changes.since),
        change=seen.changes.of(info.name),
        gradient_change=seen.changes.of(gradient.name) if gradient is not None else None,
        axis=seen.axis.of(info.name) if seen.axis is not None else None,
        course=seen.course_of(info.name),
        is_aside=seen.axis is not None and info.name not in seen.axis.names,
    )


def rows_showing(rows: Rows, names: Iterable[str], marked: Collection[str]) -> Iterator[int]:
    """The rows of some tensors or gradients, and of the modules above those in ``marked``."""
    tree, seen = rows.tree, set[int]()
    for name in names:
        node = tree.find(name)
        if node is None and name.endswith(".grad"):
            node = tree.find(name.removesuffix(".grad"))  # the column of its norm
        while node is not None and node >= 0 and node not in seen:
            seen.add(node)
            row = rows.row_of(node)
            if row is not None:
                yield row
            node = tree.parent[node] if name in marked else None


def tensors_at(
    rows: Rows, cursor: int | None, nodes: Sequence[int], gradients: Mapping[str, TensorInfo]
) -> Iterator[TensorInfo]:
    """The tensors of some rows, each followed by its gradient if it has one there; first the one at the cursor."""
    for node in nodes if cursor is None else (cursor, *(other for other in nodes if other != cursor)):
        info = rows.tree.tensor(node)
        if info is not None:
            yield info
            if info.name in gradients:
                yield gradients[info.name]


def next_of_interest(rows: Rows, row: int, step: int, marks: Marks) -> tuple[int | None, str]:
    """The node of the next tensor (step 1) or the one before (-1) with a mark; under a filter, of the next match.

    The sentence says why there is none, or none but the one on this row.
    """
    if rows.is_filtered:
        found = rows.next_tensor(row, step)
        return (None, "No tensor matches.") if found is None else (rows.visible[found], "There is no other match.")
    node = rows.next_leaf(row, step, marks.leaves())
    return node, f"No {'mark' if node is None else 'other mark'} among what has been read so far."


def _value_of(rows: Rows, node: int, layout: Layout, seen: Seen) -> Cell | None:
    """The statistic by which a module was placed: that of its first tensor. None if it was placed by its totals."""
    shown, tree = seen.shown, rows.tree
    if shown is None or not shown.is_of_figures:
        return None
    position = rows.first_leaf(node)
    first = tree.leaves[position] if position is not None else None
    if not isinstance(first, TensorInfo) or not layout.has(shown.name):
        return "", "dim"
    if not shown.has_decided(first):
        return seen.glyphs.unknown, "dim"
    column = BY_NAME[shown.name]
    room = next(cells for known, cells in layout.cells if known is column) - 1
    known = known_of(first, rows, tree.node_of_leaf(position or 0), layout, seen)
    return tensor_cell(first, known, column, room, layout, seen.glyphs)[0], "dim"


def _state_of_parameter(rows: Rows, node: int) -> str:
    """The parameter that the states below a module belong to, if its name is only a number."""
    if not rows.tree.label[node].rpartition(".")[2].isdecimal():
        return ""
    leaf = rows.tree.leaves[rows.tree.first[node]]
    notes = leaf.notes if isinstance(leaf, TensorInfo) else ()
    whose = next((note for note in notes if note.startswith(_STATE_OF)), "")
    name = whose.removeprefix(_STATE_OF).partition(" (")[0]
    # Of a list only the last name would be left where there is little room, as if it were certain.
    return "one of several" if name.startswith(_ONE_OF) else clean(name)


def _spans_in_label(rows: Rows, node: int, spans: Spans | None) -> Sequence[tuple[int, int]]:
    if spans is None or rows.tree.is_module(node):
        return ()
    name = rows.tree.name(node)
    hidden = len(name) - len(rows.label(node))
    return [(max(start - hidden, 0), stop - hidden) for start, stop in spans(name) if stop > hidden]
