"""Planes: tables with layers down and kinds across, or with the experts of one kind across."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tui_params.core.kinds import Members

MOST_SPELLED = 7
"""Values of a second number that get a column each (``mlp.0``, ``mlp.2``); more than these get a plane."""

_LONGEST = 18
"""Digits of a number that is compared as one; int() refuses thousands of them."""


class Plane(msgspec.Struct, frozen=True):
    """One table: ``rows`` are the numbers of the layers, ascending.

    ``stack`` is the name before that number, ``model.layers``. ``columns`` are the rest of the names
    (``#`` where the number ends it); of an ``is_split`` plane they are the second number (the experts of one kind,
    ``title``). ``tensors`` are positions in the list that was grouped; ``places`` gives for
    row * len(columns) + column a position in ``tensors``. There is no place where there is no tensor: most of a table
    of ten thousand kinds is empty.
    """

    title: str
    stack: str
    rows: tuple[int, ...]
    columns: tuple[str, ...]
    is_split: bool
    places: Mapping[int, int]
    tensors: tuple[int, ...]
    column_of: tuple[int, ...]

    def at(self, row: int, column: int) -> int | None:
        """The position of a tensor in the list that was grouped; None where there is none."""
        place = self.places.get(row * len(self.columns) + column)
        return None if place is None else self.tensors[place]


class Stacked(msgspec.Struct, frozen=True):
    """The layer of each tensor of a kind, in the order of its members; ``stack`` is the name before it."""

    stack: str
    layers: tuple[int, ...]


class _Draft:
    """A plane that is being filled."""

    def __init__(self, title: str, stack: str, *, is_split: bool) -> None:
        self.title, self.stack, self.is_split = title, stack, is_split
        self.columns: dict[str, int] = {}
        self.cells: dict[tuple[int, str], int] = {}

    def put(self, layers: Iterable[int], columns: Iterable[str], tensors: Iterable[int]) -> None:
        cells = self.cells
        for layer, column, tensor in zip(layers, columns, tensors, strict=True):
            cells.setdefault((layer, column), tensor)  # "07" and "7" are one layer

    def done(self) -> Plane:
        rows = sorted({layer for layer, _ in self.cells})
        columns = list(dict.fromkeys(column for _, column in self.cells))
        if self.is_split:
            columns.sort(key=int)
        row_of, column_of = {row: at for at, row in enumerate(rows)}, {name: at for at, name in enumerate(columns)}
        wide = len(columns)
        across = tuple([column_of[column] for _, column in self.cells])
        keys = [row_of[layer] * wide + at for (layer, _), at in zip(self.cells, across, strict=True)]
        places = dict(zip(keys, range(len(keys)), strict=True))
        tensors = tuple(self.cells.values())
        split = self.is_split
        return Plane(self.title, self.stack, tuple(rows), tuple(columns), split, places, tensors, across)


def planes_of(kinds: Sequence[Members]) -> tuple[Plane, ...]:
    """The tables of a model: for each stack of layers one of its kinds, then one for each kind of its experts."""
    drafts: dict[tuple[str, str], _Draft] = {}
    for kind in kinds:
        axis = layer_axis(kind)
        if axis is None:
            continue
        segments = kind.kind.split(".")
        marks = [at for at, segment in enumerate(segments) if segment == "#"]
        across = _second_axis(kind, axis, segments, marks)
        spelled = [at for at in range(len(marks)) if at not in (axis, across)]
        for numbers, members in _by_numbers(kind, spelled):
            filled = list(segments)
            for at, number in zip(spelled, numbers, strict=True):
                filled[marks[at]] = number
            stack, rest = ".".join(filled[: marks[axis]]), ".".join(filled[marks[axis] + 1 :]) or "#"
            if across is None:
                draft = drafts.setdefault((stack, ""), _Draft(stack, stack, is_split=False))
            else:
                title = ".".join(filled)
                draft = drafts.setdefault((stack, title), _Draft(title, stack, is_split=True))
            _put(draft, kind, axis, across, rest, members)
    order = {stack: at for at, (stack, _) in enumerate(drafts)}
    ready = sorted(drafts.values(), key=lambda draft: (order[draft.stack], draft.is_split))
    return tuple(draft.done() for draft in ready if draft.cells)


def stacked(kind: Members) -> Stacked | None:
    """The layer of each tensor of a kind; None for one without layers."""
    axis = layer_axis(kind)
    if axis is None or not all(map(_is_index, kind.numbers[axis])):
        return None
    segments = kind.kind.split(".")
    place = [at for at, segment in enumerate(segments) if segment == "#"][axis]
    return Stacked(".".join(segments[:place]), tuple(map(int, kind.numbers[axis])))


def layer_axis(kind: Members) -> int | None:
    """Which of its numbers is the layer: the first that differs among its tensors; without one, the first number."""
    if not kind.numbers:
        return None
    return next((at for at, column in enumerate(kind.numbers) if any(number != column[0] for number in column)), 0)


def _second_axis(kind: Members, axis: int, segments: list[str], marks: list[int]) -> int | None:
    """Which number is that of the experts, if one is: it has many values, or stands behind that word."""
    for at in range(axis + 1, len(marks)):
        distinct = set(kind.numbers[at])
        is_expert = marks[at] > 0 and "expert" in segments[marks[at] - 1]
        if len(distinct) > (1 if is_expert else MOST_SPELLED) and all(map(_is_index, distinct)):
            return at
    return None


def _by_numbers(kind: Members, places: Sequence[int]) -> Iterable[tuple[tuple[str, ...], Sequence[int]]]:
    """The members of a kind (by their place in it) with the same numbers at ``places``."""
    if all(len(set(kind.numbers[at])) == 1 for at in places):
        return [(tuple(kind.numbers[at][0] for at in places), range(len(kind.indices)))]
    groups: dict[tuple[str, ...], list[int]] = {}
    for member, numbers in enumerate(zip(*(kind.numbers[at] for at in places), strict=True)):
        groups.setdefault(numbers, []).append(member)
    return groups.items()


def _put(draft: _Draft, kind: Members, axis: int, across: int | None, rest: str, members: Sequence[int]) -> None:
    layers, columns = kind.numbers[axis], kind.numbers[across] if across is not None else None
    right = [at for at in members if _is_index(layers[at])]
    names = [rest] * len(right) if columns is None else [str(int(columns[at])) for at in right]
    draft.put([int(layers[at]) for at in right], names, [kind.indices[at] for at in right])


def _is_index(number: str) -> bool:
    return number.isdecimal() and len(number) <= _LONGEST
