"""The visible rows of the tree, as one sorted list of nodes.

Nodes are numbered in preorder, so the visible ones are always an increasing sequence: finding a node is a bisection,
and opening or closing a module replaces one slice. Nothing here knows what a row looks like.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from tui_params.core.tree.totals import Sums, Totals
from tui_params.core.tree.tree import Tree


class Rows:
    """Which nodes are visible, which modules are expanded, and what a filter leaves of the tree.

    While a filter is on, the modules above the matches start expanded, and a module that leads to a single row shares
    the line of that row, as in the whole tree. When the filter is taken off, the modules are expanded as before.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.visible: list[int] = []
        self._expanded = bytearray(len(tree))
        self._kept: bytearray | None = None  # by node, under a filter
        self._merged = bytearray(0)  # of these, the modules that have no line of their own
        self._kept_leaves: list[int] = []
        self._kept_sums: Sums | None = None
        self._expanded_without_filter: bytearray | None = None
        self._rebuild()

    def __len__(self) -> int:
        return len(self.visible)

    @property
    def is_filtered(self) -> bool:
        return self._kept is not None

    def is_expanded(self, node: int) -> bool:
        return bool(self._expanded[node])

    def parent(self, node: int) -> int:
        """The module around a node that has a line of its own, or -1."""
        at = self.tree.parent[node]
        while at >= 0 and self._kept is not None and self._merged[at]:
            at = self.tree.parent[at]
        return at

    def depth(self, node: int) -> int:
        """How many modules with a line of their own are around a node."""
        depth = 0
        while (node := self.parent(node)) >= 0:
            depth += 1
        return depth

    def label(self, node: int) -> str:
        """The name of a node relative to the line above it that it belongs to."""
        if self._kept is None:
            return self.tree.label[node]
        labels = [self.tree.label[node]]
        at = self.tree.parent[node]
        while at >= 0 and self._merged[at]:
            labels.append(self.tree.label[at])
            at = self.tree.parent[at]
        return ".".join(reversed(labels))

    def totals(self, node: int) -> Totals:
        """The totals of a subtree: of what the filter leaves of it, if one is on."""
        if self._kept is None:
            return self.tree.totals(node)
        if self._kept_sums is None:
            self._kept_sums = Sums(self.tree.leaves, self._kept_leaves)
        return self._kept_sums.totals(*self.tree.span(node))

    def first_leaf(self, node: int) -> int | None:
        """The position of the first leaf of a subtree that the filter leaves; None if it leaves none."""
        first, last = self.tree.span(node)
        if self._kept is None:
            return first
        at = bisect_left(self._kept_leaves, first)
        return self._kept_leaves[at] if at < len(self._kept_leaves) and self._kept_leaves[at] < last else None

    def previous(self, node: int) -> int | None:
        """The node right before this one in the same module; None if it is the first or the filter leaves it out."""
        parent, at = self.tree.parent, node - 1
        if at < 0 or at == parent[node]:
            return None
        while parent[at] != parent[node]:
            at = parent[at]
        return at if self._kept is None or self._kept[at] else None

    def row_of(self, node: int) -> int | None:
        """The row on which a node is visible, or None."""
        row = bisect_left(self.visible, node)
        return row if row < len(self.visible) and self.visible[row] == node else None

    def nearest_row(self, node: int) -> int:
        """The row of a node; if it is hidden, the row of the module that hides it, or a row near by."""
        at = node
        while at >= 0:
            row = self.row_of(at)
            if row is not None:
                return row
            at = self.tree.parent[at]
        return max(0, min(bisect_left(self.visible, node), len(self.visible) - 1))

    def toggle(self, node: int) -> None:
        if self.is_expanded(node):
            self.collapse(node)
        else:
            self.expand(node)

    def expand(self, node: int) -> None:
        if not self.tree.is_module(node) or self._expanded[node]:
            return
        self._expanded[node] = 1
        row = self.row_of(node)
        if row is not None:
            self.visible[row + 1 : row + 1] = self._walk(node + 1, self.tree.end[node])

    def collapse(self, node: int) -> None:
        if not self._expanded[node]:
            return
        self._expanded[node] = 0
        row = self.row_of(node)
        if row is not None:
            stop = bisect_left(self.visible, self.tree.end[node], row + 1)
            del self.visible[row + 1 : stop]

    def set_below(self, node: int, is_expanded: bool) -> None:
        """Expand or collapse a module and every module below it."""
        stop = self.tree.end[node]
        self._expanded[node:stop] = (b"\1" if is_expanded else b"\0") * (stop - node)
        row = self.row_of(node)
        if row is not None:
            after = bisect_left(self.visible, stop, row + 1)
            self.visible[row + 1 : after] = self._walk(node + 1, stop) if is_expanded else ()

    def collapse_around(self, node: int) -> None:
        """Collapse a module with all below it; of a tensor, the module around it."""
        parent = self.tree.parent[node]
        self.set_below(node if self.tree.is_module(node) or parent < 0 else parent, False)

    def set_all(self, is_expanded: bool) -> None:
        self._expanded = bytearray((b"\1" if is_expanded else b"\0") * len(self.tree))
        self._rebuild()

    def open_initially(self, limit: int) -> None:
        """Expand level by level until the next level would exceed ``limit`` rows and two thirds of them are used.

        Modules without a tensor, which hold only metadata, stay closed.
        """
        tree = self.tree
        while True:
            closed = [
                node
                for node in self.visible
                if tree.is_module(node) and not self._expanded[node] and tree.tensor_count(node)
            ]
            if not closed:
                return
            before, rows = bytearray(self._expanded), len(self.visible)
            for node in closed:
                self._expanded[node] = 1
            self._rebuild()
            if len(self.visible) > limit and rows > 2 * limit // 3:
                self._expanded = before
                self._rebuild()
                return

    def expanded_paths(self) -> set[str]:
        """The paths of the expanded modules, to expand them again in a tree with another order."""
        expanded = self._expanded_without_filter or self._expanded
        return {self.tree.name(node) for node in range(len(self.tree)) if expanded[node] and self.tree.is_module(node)}

    def expand_paths(self, paths: Iterable[str]) -> None:
        """Expand the modules with these paths; unknown paths are ignored."""
        for path in paths:
            node = self.tree.find_module(path)
            if node is not None:
                self._expanded[node] = 1
        self._rebuild()

    def reveal(self, node: int) -> int:
        """Expand the modules that hide a node and return its row, or the nearest row if the filter leaves it out."""
        hidden = []
        at = self.tree.parent[node]
        while at >= 0:
            if not self._expanded[at]:
                hidden.append(at)
            at = self.tree.parent[at]
        for module in reversed(hidden):
            self.expand(module)
        return self.nearest_row(node)

    def keep_only(self, leaves: Iterable[int] | None) -> None:
        """Keep only these leaves (positions in ``tree.leaves``) and the modules above them; None: everything."""
        if leaves is None:
            if self._expanded_without_filter is not None:
                self._expanded = self._expanded_without_filter
            self._kept = self._expanded_without_filter = self._kept_sums = None
            self._merged, self._kept_leaves = bytearray(0), []
            self._rebuild()
            return
        if self._expanded_without_filter is None:
            self._expanded_without_filter = bytearray(self._expanded)
        kept = bytearray(len(self.tree))
        merged = bytearray(len(self.tree))
        parent = self.tree.parent
        self._kept_leaves, self._kept_sums = sorted(leaves), None
        for leaf in self.tree.nodes_of_leaves(self._kept_leaves):
            node, below = leaf, False
            while node >= 0 and not kept[node]:
                kept[node] = 1
                merged[node] = below  # it has one child so far
                node, below = parent[node], True
            if node >= 0:
                merged[node] = 0
        self._kept, self._merged = kept, merged
        self._expanded = bytearray(kept)
        self._rebuild()

    def parent_row(self, row: int) -> int:
        """The row of the module around this one; the same row at the top."""
        parent = self.parent(self.visible[row])
        return row if parent < 0 else self.nearest_row(parent)

    def next_sibling(self, row: int) -> int:
        """The next row in the same module that is not below this one; the same row if there is none."""
        node = self.visible[row]
        after = bisect_left(self.visible, self.tree.end[node], row + 1)
        if after < len(self.visible) and self.parent(self.visible[after]) == self.parent(node):
            return after
        return row

    def previous_sibling(self, row: int) -> int:
        """The row before this one in the same module; the same row if it is the first."""
        node = self.visible[row]
        around = self.parent(node)
        for before in range(row - 1, -1, -1):
            at = self.visible[before]
            if self.parent(at) == around:
                return before
            if at == around:
                break
        return row

    def next_leaf(self, row: int, step: int, leaves: Iterable[int]) -> int | None:
        """The node of the nearest of ``leaves`` after (step 1) or before (step -1) this row, in a circle."""
        nodes = sorted(self.tree.nodes_of_leaves(leaves))
        if not nodes:
            return None
        here = self.visible[row] if self.visible else 0
        if step > 0:
            return next((node for node in nodes if node > here), nodes[0])
        return next((node for node in reversed(nodes) if node < here), nodes[-1])

    def next_tensor(self, row: int, step: int) -> int | None:
        """The row of the next tensor that is visible after (step 1) or before (step -1) this one, in a circle."""
        count = len(self.visible)
        for distance in range(1, count + 1):
            at = (row + step * distance) % count
            if self.tree.tensor(self.visible[at]) is not None:
                return at
        return None

    def _rebuild(self) -> None:
        self.visible = self._walk(0, len(self.tree))

    def _walk(self, node: int, stop: int) -> list[int]:
        """The visible nodes of ``node .. stop``, a run of complete subtrees."""
        expanded, kept, merged, end = self._expanded, self._kept, self._merged, self.tree.end
        if kept is None and expanded.find(0, node, stop) < 0:
            return list(range(node, stop))
        visible = []
        while node < stop:
            if kept is None:
                visible.append(node)
                node = node + 1 if expanded[node] else end[node]
            elif not kept[node]:
                node = end[node]
            elif merged[node]:
                node += 1
            else:
                visible.append(node)
                node = node + 1 if expanded[node] else end[node]
        return visible
