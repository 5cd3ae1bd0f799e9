"""The rows of a module tree, laid out from the few shapes that its modules have.

A model repeats itself: most of its 61 layers have the same names below them. So the names below each number are
compared as one text; what has been laid out for such a text is copied as a block.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

import msgspec

from tui_params.core.name_order import natural_key
from tui_params.core.shifted import shifted
from tui_params.core.tree.labels import Labels

_DEEPEST = 100
"""Modules inside each other that are laid out in this way."""

_FREE, _MOST_TIMES = 10_000, 16
"""Rows that may be laid out: so many, and so many for each name. A model has shapes with about four for each name."""


class Layout(msgspec.Struct, frozen=True):
    """The nodes of a tree in preorder, as ``Tree`` has them; ``order`` are the positions of the names, leaf by leaf."""

    order: Sequence[int]
    label: Labels
    parent: array[int]
    end: array[int]
    first: array[int]


class _Shape(msgspec.Struct, frozen=True):
    """What all modules with the same names below them have in common.

    ``leaves`` are the places of the leaves among the names, from the first name on, as they stand in the tree. The
    label of the first row is the name of the module and ``suffix``: an only child stands on the line of its module.
    ``parent``, ``end`` and ``first`` are as in Layout, but count from the first row and the first leaf of the module;
    the parent of its first row is 0. They are never negative, so that ``shifted`` may add to all at once.
    """

    leaves: array[int]
    suffix: str
    rows: _Rows


class _Rows(msgspec.Struct, frozen=True):
    """Rows of a tree, as in Layout, counted from the first of them; labels are numbers in the table of all."""

    label: array[int]
    parent: array[int]
    end: array[int]
    first: array[int]


class _Child(msgspec.Struct, frozen=True):
    """A child of a module: its label, the place of its first name, and its shape; None for a leaf."""

    label: str
    start: int
    shape: _Shape | None


_ONLY_LEAF = _Rows(array("i", (0,)), array("i", (0,)), array("i", (1,)), array("i", (0,)))


def lay_out(names: Sequence[str], tensors: int, *, is_ordered: bool) -> Layout | None:
    """The tree of some names, of which the first ``tensors`` are those of tensors, in natural order.

    Top-level modules without any tensor come last. ``is_ordered``: modules stand where they first appeared. None for
    names of very many segments, and for ordered ones of which those of a module do not stand together.
    """
    tops = {name.partition(".")[0] for name in names[:tensors]} if tensors < len(names) else None
    try:
        return _Builder(names, tops, is_ordered=is_ordered).layout()
    except _ApartError:
        pass
    if is_ordered:
        return None
    # Sorted, names with the same beginning always stand together. Most sources list them so anyhow.
    places = sorted(range(len(names)), key=names.__getitem__)
    try:
        layout = _Builder([names[place] for place in places], tops, is_ordered=False).layout()
    except _ApartError:
        return None
    return msgspec.structs.replace(layout, order=[places[place] for place in layout.order])


class _ApartError(Exception):
    """The names of a module do not stand together, or are too many for this way of laying them out."""


class _Builder:
    """Lays out one list of names."""

    def __init__(self, names: Sequence[str], tops: set[str] | None, *, is_ordered: bool) -> None:
        self._names = names
        self._tops = tops
        self._is_ordered = is_ordered
        self._known: dict[str, _Shape] = {}
        self._number_of: dict[str, int] = {}
        self._keys: dict[str, tuple[str, str]] = {}
        self._room = _FREE + _MOST_TIMES * len(names)

    def layout(self) -> Layout:
        """The nodes of all names. Raises _ApartError."""
        children = self._children(0, len(self._names), "", 0)
        tops = self._tops
        self._sort(children, None if tops is None else lambda label: label not in tops)
        leaves, rows = self._rows(children, 0, -1, _Rows(array("i"), array("i"), array("i"), array("i")))
        is_sorted = leaves == array("i", range(len(leaves)))
        order = range(len(leaves)) if is_sorted else leaves
        return Layout(order, Labels(list(self._number_of), rows.label), rows.parent, rows.end, rows.first)

    def _children(self, start: int, stop: int, prefix: str, depth: int) -> list[_Child]:
        """The children of the module whose names begin with ``prefix``, as they are met in ``start:stop``."""
        if depth > _DEEPEST:
            raise _ApartError
        names, skip = self._names, len(prefix)
        children: list[_Child] = []
        met: set[str] = set()
        while start < stop:
            name = names[start]
            if not name.startswith(prefix):
                raise _ApartError
            dot = name.find(".", skip)
            if dot < 0:
                children.append(_Child(name[skip:], start, None))
                start += 1
                continue
            label, below = name[skip:dot], name[: dot + 1]
            if label in met:
                raise _ApartError
            met.add(label)
            end = self._end(start, stop, below)
            children.append(
                _Child(label, start, self._shape(start, end, below, depth + 1, is_one_of_many=label.isdecimal()))
            )
            start = end
        return children

    def _end(self, start: int, stop: int, prefix: str) -> int:
        """Where the names with ``prefix`` that begin at ``start`` seem to end; each part of them is looked at later."""
        names, step = self._names, 1
        while start + step < stop and names[start + step].startswith(prefix):
            step *= 2
        low, high = start + step // 2, min(start + step, stop)
        while high - low > 1:
            middle = (low + high) // 2
            if names[middle].startswith(prefix):
                low = middle
            else:
                high = middle
        return high

    def _shape(self, start: int, stop: int, prefix: str, depth: int, *, is_one_of_many: bool) -> _Shape:
        if not is_one_of_many:
            return self._new_shape(start, stop, prefix, depth)
        text = "\n".join(["", *self._names[start:stop]])
        count = stop - start
        if text.count("\n") != count or text.count(f"\n{prefix}") != count:
            raise _ApartError
        text = text.replace(f"\n{prefix}", "\n")
        shape = self._known.get(text)
        if shape is None:
            shape = self._known[text] = self._new_shape(start, stop, prefix, depth)
        return shape

    def _new_shape(self, start: int, stop: int, prefix: str, depth: int) -> _Shape:
        children = self._children(start, stop, prefix, depth)
        if len(children) > 1:
            self._sort(children)
            own = _Rows(array("i", (0,)), array("i", (0,)), array("i", (0,)), array("i", (0,)))
            leaves, rows = self._rows(children, start, 0, own)
            rows.end[0] = len(rows.end)
            self._room -= len(rows.end)
            if self._room < 0:
                raise _ApartError
            return _Shape(leaves, "", rows)
        child = children[0]
        if child.shape is None:
            return _Shape(array("i", (0,)), f".{child.label}", _ONLY_LEAF)
        return msgspec.structs.replace(child.shape, suffix=f".{child.label}{child.shape.suffix}")

    def _sort(self, children: list[_Child], is_last: Callable[[str], bool] | None = None) -> None:
        """Sort the children of a module: in natural order, and a leaf before a module of the same name.

        Those that ``is_last`` names come after all others.
        """

        def key(child: _Child) -> tuple[bool, tuple[str, str], bool]:
            label = child.label
            found = self._keys.get(label)
            if found is None:
                found = self._keys[label] = natural_key(label), label
            return is_last is not None and is_last(label), found, child.shape is not None

        if not self._is_ordered:
            children.sort(key=key)

    def _rows(self, children: Sequence[_Child], start: int, around: int, rows: _Rows) -> tuple[array[int], _Rows]:
        """The leaves and the rows of the children of a module, added to ``rows``, which has its own row or none.

        ``around`` is what the children have as their parent.
        """
        label, parent, end, first = rows.label, rows.parent, rows.end, rows.first
        number_of = self._number_of
        leaves = array("i")
        for child in children:
            row, shape, offset = len(label), child.shape, child.start - start
            if shape is None:
                label.append(number_of.setdefault(child.label, len(number_of)))
                parent.append(around)
                end.append(row + 1)
                first.append(len(leaves))
                leaves.append(offset)
                continue
            below = shape.rows
            label += below.label
            label[row] = number_of.setdefault(child.label + shape.suffix, len(number_of))
            parent += shifted(below.parent, row)
            parent[row] = around
            end += shifted(below.end, row)
            first += shifted(below.first, len(leaves))
            leaves += shifted(shape.leaves, offset)
        return leaves, rows
