"""The leaves of a tree: tensors, and entries that are none. Those of columns are made when they are looked at."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import overload

import msgspec

from tui_params.core.tensor import TensorInfo
from tui_params.core.tensor_columns import TensorColumns


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A leaf that is not a tensor: a step, an epoch, a hyper-parameter."""

    name: str
    text: str


Leaf = TensorInfo | Entry


class LeafColumns(Sequence[Leaf]):
    """The leaves of a tree whose tensors are columns.

    ``order`` has for each leaf the place of its tensor in ``tensors``, or, from their number on, in ``entries``.
    """

    def __init__(self, tensors: TensorColumns, entries: Sequence[Entry], order: Sequence[int]) -> None:
        self.tensors = tensors
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
        if isinstance(place, slice):
            return [self._leaf(at) for at in self.order[place]]
        return self._leaf(self.order[place])

    def _leaf(self, at: int) -> Leaf:
        count = len(self.tensors)
        return self.tensors[at] if at < count else self.entries[at - count]

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
            return [leaves.tensors[leaves.order[at]] for at in leaves.positions[place]]
        return leaves.tensors[leaves.order[leaves.positions[place]]]

    def __iter__(self) -> Iterator[TensorInfo]:
        leaves, made = self._leaves, self._leaves.tensors.made()
        if isinstance(leaves.order, range):
            return iter(made)
        return map(made.__getitem__, filter(len(made).__gt__, leaves.order))
