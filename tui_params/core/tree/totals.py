"""Totals: what the tensors of a range of leaves hold together, from running sums over all of them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

import msgspec

from tui_params.core.tensor import TensorInfo


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A leaf that is not a tensor: a step, an epoch, a hyper-parameter."""

    name: str
    text: str


Leaf = TensorInfo | Entry


class Totals(msgspec.Struct, frozen=True, gc=False):
    """What a subtree holds; tied tensors count once, as torchinfo and ``Module.parameters()`` count them.

    ``numel`` and ``nbytes`` cover all tensors. ``parameters``, ``trainable`` and ``buffers`` are elements: of tensors
    of kind "parameter" (and of plain tensors, because files do not tell the kind), of those known to have
    requires_grad, and of those of kind "buffer". ``tied`` counts the tensors that are tied to another in the subtree.
    ``named`` are the elements of what a module itself calls a parameter: of those of kind "parameter" alone.
    """

    tensors: int
    numel: int
    nbytes: int
    parameters: int
    trainable: int
    buffers: int
    tied: int
    nbytes_by_dtype: Mapping[str, int]
    named: int = 0


class Sums:
    """The totals of any range of ``leaves``; of those at ``kept`` alone, if it is given (increasing positions)."""

    def __init__(self, leaves: Sequence[Leaf], kept: Iterable[int] | None = None) -> None:
        self._leaves = leaves
        positions = range(len(leaves)) if kept is None else tuple(kept)
        self._groups = _groups(leaves, positions)
        self._ties = _ties(leaves, positions)

    def count(self, first: int, last: int) -> int:
        """How many tensors are at the positions ``first .. last``."""
        return sum(bisect_left(group.positions, last) - bisect_left(group.positions, first) for group in self._groups)

    def totals(self, first: int, last: int) -> Totals:
        """The totals of the tensors at the positions ``first .. last``."""
        tensors = numel = nbytes = parameters = trainable = buffers = named = 0
        mix: dict[str, int] = {}
        for group in self._groups:
            start = bisect_left(group.positions, first)
            stop = bisect_left(group.positions, last, start)
            if start == stop:
                continue
            elements = group.numel[stop] - group.numel[start]
            held = group.nbytes[stop] - group.nbytes[start]
            tensors += stop - start
            numel += elements
            nbytes += held
            mix[group.dtype] = mix.get(group.dtype, 0) + held
            buffers += elements if group.is_buffer else 0
            parameters += 0 if group.is_buffer else elements
            trainable += elements if group.is_trainable else 0
            named += elements if group.is_named else 0
        twice = 0
        for leaf in self._twice(first, last):
            twice += 1
            numel -= leaf.numel
            nbytes -= leaf.nbytes
            mix[leaf.dtype.short] -= leaf.nbytes
            buffers -= leaf.numel if leaf.kind == "buffer" else 0
            parameters -= 0 if leaf.kind == "buffer" else leaf.numel
            trainable -= leaf.numel if leaf.requires_grad and leaf.kind != "buffer" else 0
            named -= leaf.numel if leaf.kind == "parameter" else 0
        return Totals(tensors, numel, nbytes, parameters, trainable, buffers, twice, mix, named)

    def _twice(self, first: int, last: int) -> Iterator[TensorInfo]:
        """The tensors of a range of leaves that are tied to an earlier one in it."""
        for index in range(bisect_left(self._ties, (first, 0)), len(self._ties)):
            earlier, later = self._ties[index]
            if earlier >= last:
                return
            leaf = self._leaves[later]
            if later < last and isinstance(leaf, TensorInfo):
                yield leaf


class _Group(msgspec.Struct, frozen=True):
    """The tensors of one element type and kind: the positions of their leaves, and running sums over these."""

    dtype: str
    is_buffer: bool
    is_trainable: bool
    is_named: bool
    positions: array[int]
    numel: tuple[int, ...]
    nbytes: tuple[int, ...]


def _groups(leaves: Sequence[Leaf], positions: Sequence[int]) -> tuple[_Group, ...]:
    members: dict[tuple[str, bool, bool, bool], list[int]] = {}
    for position in positions:
        leaf = leaves[position]
        if type(leaf) is TensorInfo:
            is_buffer = leaf.kind == "buffer"
            is_trainable = not is_buffer and leaf.requires_grad is True
            key = leaf.dtype.short, is_buffer, is_trainable, leaf.kind == "parameter"
            if key in members:
                members[key].append(position)
            else:
                members[key] = [position]
    groups = []
    for (dtype, is_buffer, is_trainable, is_named), places in members.items():
        tensors = [leaf for place in places if isinstance(leaf := leaves[place], TensorInfo)]
        numel = (0, *accumulate(info.numel for info in tensors))
        nbytes = (0, *accumulate(info.nbytes for info in tensors))
        groups.append(_Group(dtype, is_buffer, is_trainable, is_named, array("i", places), numel, nbytes))
    return tuple(groups)


def _ties(leaves: Sequence[Leaf], positions: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbours in each group of tied tensors, as pairs of positions, sorted.

    If both of a pair are in a range, the later one must not count there.
    """
    if not any(isinstance(leaf := leaves[at], TensorInfo) and leaf.tied_to is not None for at in positions):
        return []
    groups: dict[str, list[int]] = {}
    for position in positions:
        leaf = leaves[position]
        if isinstance(leaf, TensorInfo):
            groups.setdefault(leaf.first_name, []).append(position)
    return sorted(pair for group in groups.values() for pair in pairwise(group))
