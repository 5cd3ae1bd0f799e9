"""The module tree of a listing, as flat arrays in preorder.

A *node* is an index into these arrays; its subtree is the contiguous range ``node .. end[node]``. So "everything
below" is a slice, a list of visible nodes is always sorted, and 150,000 nodes are a handful of lists instead of as
many objects. A module with a single child shares the line of that child (``embed_tokens.weight``), so that a long
prefix costs one row and one indent. If a tensor and a module have the same name, they are two nodes.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from operator import attrgetter, eq

from tui_params.core.name_order import natural_order, order_of_appearance
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo
from tui_params.core.tensor_columns import TensorColumns
from tui_params.core.tree.leaves import Entry, Leaf, LeafColumns
from tui_params.core.tree.order import Sort, order_by_value
from tui_params.core.tree.shapes import Layout, lay_out
from tui_params.core.tree.totals import Group, Sums, Totals

_PART = 1_000
"""Leaves that are taken at a time: whoever needs a few pays for no more."""

_nbytes_of = attrgetter("nbytes")


class Tree:
    """The nodes of one listing, and the totals of any of them.

    ``label[node]`` is the name relative to the parent node, ``parent[node]`` that node or -1, and ``end[node]`` one
    beyond the last node of its subtree. A module has at least two children, so a leaf is a node whose end is the
    next one. ``first[node]`` is the position in ``leaves`` of the first leaf of the subtree.
    """

    def __init__(
        self,
        listing: Listing,
        sort: Sort | None = None,
        layout: Layout | None = None,
        groups: tuple[Group, ...] | None = None,
    ) -> None:
        """``layout`` is that of the listing in natural order, and ``groups`` are those of its sums, where known."""
        self.modules: Mapping[str, str] = listing.modules
        # Arrays, not lists: an int in a list is an object of 28 bytes, and there may be half a million nodes.
        self.label: Sequence[str] = []
        self.parent = array("i")
        self.end = array("i")
        self.first = array("i")
        names = _names(listing) if layout is None else []
        if sort is None and layout is None:
            layout = _layout(listing, names)
        if layout is not None:
            order = layout.order
            self.label, self.parent, self.end, self.first = layout.label, layout.parent, layout.end, layout.first
        else:
            segments, order = _sorted(listing, names, sort)
            self._build([segments[index] for index in order])
        self.leaves = _leaves(listing, order)
        self.sums = Sums(self.leaves, groups=groups)
        self._node_of_leaf: array[int] | None = None
        self._leaf_by_name: dict[str, int] | None = None

    def _build(self, segments: Sequence[list[str]]) -> None:
        label: list[str] = []
        parent: list[int] = []
        end: list[int] = []
        first: list[int] = []
        shared = _shared_with_previous(segments)
        opening = _opening_sizes(shared)
        open_nodes = [-1]  # the modules around the current leaf, outermost first
        open_sizes = [0]  # how many leading segments of the leaf's name each of them stands for
        node, around, start = 0, -1, 0
        for position, names in enumerate(segments):
            if start > shared[position]:
                while open_sizes[-1] > shared[position]:
                    open_sizes.pop()
                    end[open_nodes.pop()] = node
                around, start = open_nodes[-1], open_sizes[-1]
            if position in opening:
                for size in opening[position]:
                    parent.append(around)
                    label.append(".".join(names[start:size]))
                    first.append(position)
                    end.append(0)
                    open_nodes.append(node)
                    open_sizes.append(size)
                    around, start = node, size
                    node += 1
            parent.append(around)
            label.append(names[start] if len(names) - start == 1 else ".".join(names[start:]))
            first.append(position)
            node += 1
            end.append(node)
        for module in open_nodes[1:]:
            end[module] = node
        self.label = label
        self.parent, self.end, self.first = array("i", parent), array("i", end), array("i", first)

    def __len__(self) -> int:
        return len(self.label)

    def is_module(self, node: int) -> bool:
        return self.end[node] > node + 1

    def position(self, node: int) -> int:
        """The position in ``leaves`` of a leaf node; -1 for a module."""
        return self.first[node] if self.end[node] == node + 1 else -1

    def span(self, node: int | None) -> tuple[int, int]:
        """Positions of the first leaf of a subtree and one beyond its last; of the whole tree for None."""
        if node is None:
            return 0, len(self.leaves)
        after = self.end[node]
        return self.first[node], self.first[after] if after < len(self.first) else len(self.leaves)

    def depth(self, node: int) -> int:
        """How many modules are around a node."""
        depth = 0
        while (node := self.parent[node]) >= 0:
            depth += 1
        return depth

    def leaf_of(self, node: int) -> Leaf | None:
        """The tensor or entry of a leaf node; None for a module."""
        return self.leaves[self.first[node]] if self.end[node] == node + 1 else None

    def tensor(self, node: int) -> TensorInfo | None:
        leaf = self.leaf_of(node)
        return leaf if isinstance(leaf, TensorInfo) else None

    def name(self, node: int) -> str:
        """The full dotted name of a tensor, or the path of a module."""
        leaf = self.leaf_of(node)
        if leaf is not None:
            return leaf.name
        labels = []
        while node >= 0:
            labels.append(self.label[node])
            node = self.parent[node]
        return ".".join(reversed(labels))

    def class_name(self, node: int) -> str | None:
        """The class of a module node, or of the module that directly holds the node's tensor."""
        name = self.name(node)
        if not self.is_module(node):
            name = name.rpartition(".")[0]
        return self.modules.get(name)

    def tensors_below(self, node: int | None) -> Iterator[TensorInfo]:
        """The tensors of a subtree in order; of the whole tree for None."""
        first, last = self.span(node)
        for start in range(first, last, _PART):
            for leaf in self.leaves[start : min(start + _PART, last)]:
                if isinstance(leaf, TensorInfo):
                    yield leaf

    def largest_below(self, node: int | None, most: int) -> list[TensorInfo]:
        """The tensors of a subtree with the most bytes, of equal ones the first; tied ones under their first name."""
        if isinstance(self.leaves, LeafColumns):
            return self.leaves.largest(*self.span(node), most)
        below = (info for info in self.tensors_below(node) if info.tied_to is None)
        return heapq.nlargest(most, below, key=_nbytes_of)

    def node_of_leaf(self, position: int) -> int:
        # Among the nodes with the same first leaf, the leaf itself is the innermost and stands last.
        return bisect_right(self.first, position) - 1

    def nodes_of_leaves(self, positions: Iterable[int]) -> Iterator[int]:
        """The nodes of many leaves."""
        if self._node_of_leaf is None:
            is_leaf = map(eq, self.end, range(1, len(self.end) + 1))
            self._node_of_leaf = array("i", compress(range(len(self.end)), is_leaf))
        return map(self._node_of_leaf.__getitem__, positions)

    def find(self, name: str) -> int | None:
        """The node of the tensor or entry with that full name, else of the module with that path, else None."""
        if self._leaf_by_name is None:
            leaves = self.leaves
            names = leaves.names if isinstance(leaves, LeafColumns) else [leaf.name for leaf in leaves]
            self._leaf_by_name = dict(zip(names, range(len(names)), strict=True))
        position = self._leaf_by_name.get(name)
        if position is not None:
            return self.node_of_leaf(position)
        return self.find_module(name)

    def find_module(self, path: str) -> int | None:
        """The node of the module with exactly that path, or whose line includes it (``a`` on the line ``a.b``)."""
        node, rest = 0, path
        while node < len(self.label):
            label = self.label[node]
            if self.is_module(node):
                if rest == label or label.startswith(rest + "."):
                    return node
                if rest.startswith(label + "."):
                    rest = rest[len(label) + 1 :]
                    node += 1
                    continue
            node = self.end[node]
        return None

    def tensor_count(self, node: int) -> int:
        """How many tensors are in a subtree."""
        return self.sums.count(*self.span(node))

    def extent(self, node: int | None) -> tuple[int, int]:
        """Elements and bytes of a subtree; tied tensors count once."""
        totals = self.totals(node)
        return totals.numel, totals.nbytes

    def totals(self, node: int | None = None) -> Totals:
        """All totals of a subtree, or of the whole tree for None; quick enough for every row of the screen."""
        return self.sums.totals(*self.span(node))


def tensors_in_order(listing: Listing) -> list[TensorInfo]:
    """The tensors in the order of the tree, which takes half as long as making one."""
    names = _names(listing)
    layout = _layout(listing, names)
    order = layout.order if layout is not None else _sorted(listing, names, None)[1]
    return [leaf for leaf in _leaves(listing, order) if isinstance(leaf, TensorInfo)]


def _names(listing: Listing) -> list[str]:
    """The names of the leaves as the listing has them: of the tensors, then of what is none."""
    tensors = listing.tensors
    names = tensors.names if isinstance(tensors, TensorColumns) else [info.name for info in tensors]
    return [*names, *listing.metadata]


def _leaves(listing: Listing, order: Sequence[int]) -> Sequence[Leaf]:
    """The leaves in the order of the tree."""
    entries = [Entry(name, text) for name, text in listing.metadata.items()]
    if isinstance(listing.tensors, TensorColumns):
        return LeafColumns(listing.tensors, entries, order)
    leaves: list[Leaf] = [*listing.tensors, *entries]
    return [leaves[index] for index in order]


def _layout(listing: Listing, names: Sequence[str]) -> Layout | None:
    return lay_out(names, len(listing.tensors), is_ordered=listing.is_ordered)


def _sorted(listing: Listing, names: Sequence[str], sort: Sort | None) -> tuple[list[list[str]], list[int]]:
    """The segments of the names of the leaves, and the order of the leaves."""
    # Each distinct segment is kept once: "weight" may occur 280,000 times beside 300 others.
    kept: dict[str, str] = {}
    one = kept.setdefault
    segments = [[one(part, part) for part in name.split(".")] for name in names]
    tensors = len(listing.tensors)
    if sort is not None and sort.is_flat:
        segments = [[name] for name in names]
    order = order_of_appearance(segments) if listing.is_ordered else natural_order(segments, tensors)
    if sort is not None:
        order = order_by_value(segments, order, sort, listing.tensors)
    return segments, order


def _shared_with_previous(segments: Sequence[list[str]]) -> list[int]:
    """How many leading segments the *modules* of each name have in common with those of the name before."""
    shared = [0] * len(segments)
    previous: list[str] = [""]
    for position, names in enumerate(segments):
        limit = min(len(names), len(previous)) - 1
        if names[:limit] != previous[:limit]:
            limit = next(index for index in range(limit) if names[index] != previous[index])
        shared[position] = limit
        previous = names
    return shared


def _opening_sizes(shared: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """For each leaf at which modules begin, how many leading segments each of these modules has, outermost first.

    These are the intervals of the array of common prefixes, as in a compressed trie: walking backwards, the stack
    holds the distinct running minima of what follows, and those deeper than what is shared with the leaf before
    begin here.
    """
    opening: dict[int, tuple[int, ...]] = {}
    stack: list[int] = []
    for position in range(len(shared) - 1, -1, -1):
        depth = shared[position]
        if stack and stack[-1] > depth:
            count = 1
            while count < len(stack) and stack[-count - 1] > depth:
                count += 1
            opening[position] = tuple(stack[-count:])
            del stack[-count:]
        if depth and (not stack or stack[-1] < depth):
            stack.append(depth)
    return opening
