"""ModuleViews: what the page of a module shows, gathered from the tree, the marks and the adapters."""

from __future__ import annotations

from collections.abc import Callable

from tui_params.core import text
from tui_params.core.kinds import group_by_kind
from tui_params.core.tensor import TensorInfo
from tui_params.tui.desk.desk import Desk
from tui_params.tui.state.adapters import Adapters
from tui_params.tui.state.changes import Changes
from tui_params.tui.state.marks import Marks
from tui_params.tui.widgets.detail.detail_lines import has_unknown_size
from tui_params.tui.widgets.detail.module_page import ModuleView
from tui_params.tui.widgets.detail.spread_lines import Measured

MOST_GROUPED = 3_000
"""Tensors of a module that are grouped by kinds within a few ms; of more, the page says nothing of kinds."""


class ModuleViews:
    """The views of the modules of one opened source; ``find`` gives a tensor by its name."""

    def __init__(self, desk: Desk, find: Callable[[str], TensorInfo | None]) -> None:
        self.has_unknown_sizes = False
        self.adapters = Adapters(desk.adapters.want, desk.adapters.want_changes)
        self._desk = desk
        self._find = find
        self._largest: dict[str, tuple[TensorInfo, ...]] = {}

    def of(self, node: int, marks: Marks, changes: Changes) -> ModuleView:
        """The view of the module of a node."""
        tree = self._desk.opened.tree
        findings, unread = marks.below(tree, node)
        totals, (first, last) = tree.totals(node), tree.span(node)
        below = tuple(tree.tensors_below(node)) if totals.tensors <= MOST_GROUPED else ()
        kinds = group_by_kind(below)
        return ModuleView(
            tree.name(node),
            tree.class_name(node),
            totals,
            self._largest_below(node),
            tuple(findings),
            tuple(unread),
            marks.read_below(node),
            last - first - totals.tensors,
            self.has_unknown_sizes and any(map(self._is_of_unknown_size, (name for name, _ in unread))),
            self.adapters.lines_below(tree.name(node)),
            self.adapters.changes_below(tree.name(node)),
            kinds,
            self._figures_below(node, totals.tensors),
            _sentences(changes, node),
            tuple(changes.facts_of(below[at].name for at in kind.indices) for kind in kinds)
            if changes.is_across
            else (),
        )

    def _figures_below(self, node: int, tensors: int) -> Measured:
        """The figures that are known of the tensors of a module."""
        if tensors > MOST_GROUPED:
            return ()
        tree = self._desk.opened.tree
        start = len(tree.name(node)) + 1
        below = [info for info in tree.tensors_below(node) if info.tied_to is None]
        known = [(info.name[start:], self._desk.figures(info.name)) for info in below]
        return tuple((name, figures) for name, figures in known if figures is not None and figures.finite)

    def _is_of_unknown_size(self, name: str) -> bool:
        info = self._find(name)
        return info is not None and has_unknown_size(info)

    def _largest_below(self, node: int) -> tuple[TensorInfo, ...]:
        """The largest tensors of a module; looked for only once, because there may be 90,000."""
        tree = self._desk.opened.tree
        path = tree.name(node)
        if path not in self._largest:
            self._largest[path] = tuple(tree.largest_below(node, 8))
        return self._largest[path]


def _sentences(changes: Changes, node: int) -> tuple[str, ...]:
    if not changes.since:
        return ()
    if changes.is_across:
        return (f"{changes.since}: {changes.summary(node)}", *_worst(changes, node))
    gone = changes.sentence_of_gone
    return (f"{changes.since}: {changes.summary(node)}", *((gone,) if gone else ()))


def _worst(changes: Changes, node: int) -> tuple[str, ...]:
    """Which tensor of a module differs most from its partner in the other source."""
    below = changes.facts_below(node)
    if below.worst is None:
        return ()
    change = changes.of(below.worst_name)
    words = ""
    if change is not None and (change.more_nan or change.more_inf):
        words = f", {'NaN' if change.more_nan else 'infinities'} in B"
    elif change is not None and change.relative is not None:
        words = f", ||B - A|| / ||A|| = {text.number(change.relative)}"
    return (f"the most: {text.clean(below.worst_name, 200)}{words}",)
