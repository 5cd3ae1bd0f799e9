"""The leaves of a tree: tensors, and entries that are none. Those of columns are made when they are looked at."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import compress
from operator import neg
from typing import overload

import msgspec

from tui_params.core.tensor import TensorInfo
from tui_params.core.tensor_columns import TensorColumns


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A leaf that is not a tensor: a step, an epoch, a hyper-parameter."""

    name: str
    text: str


Leaf = TensorInfo | Entry


class NamesOfTree(Sequence[str]):
    """The names of tensors, put together from the labels of the nodes of their tree.

    ``order`` has for each leaf the place of its name. ``label``, ``parent`` and ``first`` are as in Tree.
    """

    def __init__(
        self, label: Sequence[str], parent: Sequence[int], first: array[int], order: Sequence[int], count: int
    ) -> None:
        """``count``: how many of the leaves are tensors."""
        self._label = label
        self._parent = parent
        self._first = first
        self._order = order
        self._count = count
        self._all: list[str] | None = None

    def at(self, position: int) -> str:
        """The name of the leaf at a position in the tree."""
        node, labels = bisect_right(self._first, position) - 1, []
        while node >= 0:
            labels.append(self._label[node])
            node = self._parent[node]
        return ".".join(reversed(labels))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        return self.all()[place]

    def __iter__(self) -> Iterator[str]:
        return iter(self.all())

    def all(self) -> list[str]:
        """All names in the order of the listing."""
        if self._all is None:
            full: list[str] = []
            for label, around in zip(self._label, self._parent, strict=True):
                full.append(label if around < 0 else f"{full[around]}.{label}")
            names = [""] * len(self._order)
            # The last node with a first leaf is that leaf: it is written last.
            for place, name in zip(map(self._order.__getitem__, self._first), full, strict=True):
                names[place] = name
            self._all = names[: self._count]
        return self._all


class LeafColumns(Sequence[Leaf]):
    """The leaves of a tree whose tensors are columns.

    ``order`` has for each leaf the place of its tensor in ``tensors``, or, from their number on, in ``entries``.
    """

    def __init__(self, tensors: TensorColumns, entries: Sequence[Entry], order: Sequence[int]) -> None:
        self.tensors = tensors
        self._name_at = tensors.names.at if isinstance(tensors.names, NamesOfTree) else None
        self.entries = entries
        self.order = order
        count = len(tensors)
        is_last = isinstance(order, range) or not entries or min(order[count:]) >= count
        self.positions: Sequence[int] = (
            range(count) if is_last else array("i", compress(range(len(order)), map(count.__gt__, order)))
        )
        """The positions of the leaves that are tensors."""

    @property
    def rows(self) -> Sequence[int]:
        """For each leaf that is a tensor, the place of its form."""
        if isinstance(self.order, range):
            return self.tensors.rows
        count = len(self.tensors)
        places = self.order[:count] if isinstance(self.positions, range) else filter(count.__gt__, self.order)
        return array("i", map(self.tensors.rows.__getitem__, places))

    @property
    def names(self) -> list[str]:
        """The names of all leaves, in their order."""
        names = [*self.tensors.names, *(entry.name for entry in self.entries)]
        return names if isinstance(self.order, range) else list(map(names.__getitem__, self.order))

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, place: int) -> Leaf: ...
    @overload
    def __getitem__(self, place: slice) -> list[Leaf]: ...
    def __getitem__(self, place: int | slice) -> Leaf | list[Leaf]:
        tensors, entries, count = self.tensors, self.entries, len(self.tensors)
        if isinstance(place, slice):
            if not tensors.are_made:
                return [self[each] for each in range(*place.indices(len(self.order)))]
            made = tensors.made()
            return [made[at] if at < count else entries[at - count] for at in self.order[place]]
        at = self.order[place]
        if at >= count:
            return entries[at - count]
        if tensors.are_made:
            return tensors[at]
        if self._name_at is not None:
            return self.tensors.named(at, self._name_at(range(len(self.order))[place]))
        return self.tensors[at]

    def largest(self, first: int, last: int, most: int) -> list[TensorInfo]:
        """The largest tensors at the positions ``first .. last`` by their bytes, of equal ones the first."""
        at = self.positions[bisect_left(self.positions, first) : bisect_left(self.positions, last)]
        nbytes = [form.nbytes for form in self.tensors.forms]
        rows = map(self.tensors.rows.__getitem__, map(self.order.__getitem__, at))
        found = heapq.nlargest(most, zip(map(nbytes.__getitem__, rows), map(neg, at), strict=True))
        return [self.tensor(-place) for _, place in found]

    def tensor(self, position: int) -> TensorInfo:
        """The leaf at a position at which there is a tensor."""
        leaf = self[position]
        assert isinstance(leaf, TensorInfo)
        return leaf

    def __iter__(self) -> Iterator[Leaf]:
        leaves: list[Leaf] = [*self.tensors.made(), *self.entries]
        return iter(leaves) if isinstance(self.order, range) else map(leaves.__getitem__, self.order)


class TensorsInOrder(Sequence[TensorInfo]):
    """The tensors among the leaves of a tree, in its order."""

    def __init__(self, leaves: LeafColumns) -> None:
        self._leaves = leaves

    def __len__(self) -> int:
        return len(self._leaves.tensors)

    @overload
    def __getitem__(self, place: int) -> TensorInfo: ...
    @overload
    def __getitem__(self, place: slice) -> list[TensorInfo]: ...
    def __getitem__(self, place: int | slice) -> TensorInfo | list[TensorInfo]:
        leaves = self._leaves
        if isinstance(place, slice):
            return [leaves.tensor(at) for at in leaves.positions[place]]
        return leaves.tensor(leaves.positions[place])

    def __iter__(self) -> Iterator[TensorInfo]:
        leaves, made = self._leaves, self._leaves.tensors.made()
        if isinstance(leaves.order, range):
            return iter(made)
        return map(made.__getitem__, filter(len(made).__gt__, leaves.order))
