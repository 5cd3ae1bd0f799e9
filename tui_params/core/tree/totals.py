"""Totals: what the tensors of a range of leaves hold together, from running sums over all of them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, compress, pairwise

import msgspec

from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.leaves import Entry as Entry
from tui_params.core.tree.leaves import Leaf as Leaf
from tui_params.core.tree.leaves import LeafColumns, TensorsInOrder


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

    def __init__(
        self, leaves: Sequence[Leaf], kept: Iterable[int] | None = None, groups: tuple[Group, ...] | None = None
    ) -> None:
        """``groups`` are those of all leaves, where they are known and no tensors are tied."""
        self._leaves = leaves
        self._ties: list[tuple[int, int]] = []
        if groups is None and kept is None and isinstance(leaves, LeafColumns):
            groups = _groups_of_columns(leaves)
        if groups is not None:
            self.groups = groups
            return
        positions = range(len(leaves)) if kept is None else tuple(kept)
        infos, places = tensors_among(leaves, positions)
        self.groups = _groups(infos, places)
        self._ties = _ties(infos, places)

    @property
    def dtypes(self) -> frozenset[str]:
        """The element types of the tensors, as ``DType.short``."""
        return frozenset(group.dtype for group in self.groups)

    @property
    def has_parameters(self) -> bool:
        """Whether any is what a module calls a parameter."""
        return any(group.is_named for group in self.groups)

    def count(self, first: int, last: int) -> int:
        """How many tensors are at the positions ``first .. last``."""
        return sum(bisect_left(group.positions, last) - bisect_left(group.positions, first) for group in self.groups)

    def totals(self, first: int, last: int) -> Totals:
        """The totals of the tensors at the positions ``first .. last``."""
        tensors = numel = nbytes = parameters = trainable = buffers = named = 0
        mix: dict[str, int] = {}
        for group in self.groups:
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


def tensors_among(leaves: Sequence[Leaf], positions: Sequence[int]) -> tuple[Sequence[TensorInfo], Sequence[int]]:
    """Those of the leaves at these positions that are tensors, and their positions."""
    if isinstance(leaves, LeafColumns) and isinstance(positions, range) and len(positions) == len(leaves):
        return TensorsInOrder(leaves), leaves.positions
    some = leaves if isinstance(positions, range) else [leaves[position] for position in positions]
    infos = [leaf for leaf in some if type(leaf) is TensorInfo]
    if len(infos) < len(some):
        positions = [position for position in positions if isinstance(leaves[position], TensorInfo)]
    return infos, positions if isinstance(positions, range) else array("i", positions)


class Group(msgspec.Struct, frozen=True):
    """The tensors of one element type and kind: the positions of their leaves, and running sums over these."""

    dtype: str
    is_buffer: bool
    is_trainable: bool
    is_named: bool
    positions: Sequence[int]
    numel: Sequence[int]
    nbytes: Sequence[int]


def _groups(infos: Sequence[TensorInfo], positions: Sequence[int]) -> tuple[Group, ...]:
    sorts = [(info.dtype.short, info.kind, info.requires_grad) for info in infos]
    members: dict[tuple[str, bool, bool, bool], list[int]] = {}
    of_sort: dict[tuple[str, str, bool | None], list[int]] = {}
    for dtype, kind, requires_grad in dict.fromkeys(sorts):
        is_buffer = kind == "buffer"
        is_trainable = not is_buffer and requires_grad is True
        of_sort[dtype, kind, requires_grad] = members.setdefault(
            (dtype, is_buffer, is_trainable, kind == "parameter"), []
        )
    numel, nbytes = [info.numel for info in infos], [info.nbytes for info in infos]
    if len(members) == 1:
        (member,) = members
        return (Group(*member, positions, _running(numel), _running(nbytes)),)
    for place, sort in enumerate(sorts):
        of_sort[sort].append(place)
    groups = []
    for member, places in members.items():
        at = array("i", map(positions.__getitem__, places))
        sums = _running(map(numel.__getitem__, places)), _running(map(nbytes.__getitem__, places))
        groups.append(Group(*member, at, *sums))
    return tuple(groups)


def _groups_of_columns(leaves: LeafColumns) -> tuple[Group, ...]:
    """The groups of plain tensors: one for each element type, in the order in which they occur."""
    rows, positions, forms = leaves.rows, leaves.positions, leaves.tensors.forms
    numel, nbytes = [form.numel for form in forms], [form.nbytes for form in forms]
    dtypes = list(dict.fromkeys(form.dtype.short for form in forms))
    groups = []
    for dtype in dtypes:
        at, its_rows = positions, rows
        if len(dtypes) > 1:
            is_one = [form.dtype.short == dtype for form in forms]
            at = array("i", compress(positions, map(is_one.__getitem__, rows)))
            its_rows = array("i", compress(rows, map(is_one.__getitem__, rows)))
        sums = _running(map(numel.__getitem__, its_rows)), _running(map(nbytes.__getitem__, its_rows))
        groups.append(Group(dtype, False, False, False, at, *sums))
    # The forms are in the order of the files.
    return tuple(sorted(groups, key=lambda group: group.positions[0]))


def _running(values: Iterable[int]) -> Sequence[int]:
    """The sums of the first 0, 1, 2, ... of some values."""
    values = list(values)
    try:
        return array("q", accumulate(values, initial=0))  # an int in a list is an object of 28 bytes
    except OverflowError:
        return list(accumulate(values, initial=0))


def _ties(infos: Sequence[TensorInfo], positions: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbours in each group of tied tensors, as pairs of positions, sorted.

    If both of a pair are in a range, the later one must not count there.
    """
    if {info.tied_to for info in infos} <= {None}:
        return []
    groups: dict[str, list[int]] = {}
    for info, position in zip(infos, positions, strict=True):
        groups.setdefault(info.first_name, []).append(position)
    return sorted(pair for group in groups.values() for pair in pairwise(group))
