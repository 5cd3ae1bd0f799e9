"""The order of tensors and modules in the tree: natural, as they appear in the source, or by a value.

Each function takes names that were split at their dots, and returns positions. The leaves of a module always stay
together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tui_params.core.tensor import TensorInfo

_DIGITS = re.compile("[0-9]+")
_LONGEST = 0x10FFFF
"""Longer numbers are compared as if they had this length: no name has a million digits."""


class Sort(msgspec.Struct, frozen=True):
    """Another order of the tree: by a value of each tensor, the largest first unless ``is_ascending``.

    A module is placed by its first tensor; with ``is_total`` by the sum of the values below it, in which tied tensors
    count once. Tensors without a value (yet), and leaves that are not tensors, come last. ``is_flat``: all tensors in
    one list under their full names, without modules.
    """

    value: Callable[[TensorInfo], Any]
    is_ascending: bool = False
    is_flat: bool = False
    is_total: bool = False


def natural_key(segment: str) -> str:
    """A sort key under which ``layers2`` comes before ``layers10``, and numbers before letters.

    Numbers are compared by length and digits, never converted: a name may hold 10,000 digits.
    """
    return _DIGITS.sub(_number_key, segment)


def _number_key(match: re.Match[str]) -> str:
    digits = match[0].lstrip("0")
    # Below every other character, then the length, then the digits.
    return f"\0{chr(min(len(digits), _LONGEST))}{digits}"


def natural_order(segments: Sequence[list[str]], tensors: int) -> list[int]:
    """Positions sorted segment by segment in natural order; top-level modules without any tensor come last.

    The first ``tensors`` of the names are tensors. Each distinct segment becomes one character, by rank, so that
    names are compared as strings.
    """
    tops = {names[0] for names in segments[:tensors]}
    distinct: set[str] = set()
    for names in segments:
        distinct.update(names)
    ranked = sorted(distinct, key=lambda segment: (natural_key(segment), segment))
    # Ranks stay below the 1,114,112 code points; surrogates are ordinary characters to a comparison.
    if len(ranked) < 0x10FFFF:
        rank = {segment: chr(index) for index, segment in enumerate(ranked)}.__getitem__
        keys = ["".join(map(rank, names)) for names in segments]
        for index in range(tensors, len(segments)):
            if segments[index][0] not in tops:
                keys[index] = "\U0010ffff" + keys[index]
        return sorted(range(len(segments)), key=keys.__getitem__)
    place = {segment: index for index, segment in enumerate(ranked)}

    def key(index: int) -> tuple[bool, list[int]]:
        names = segments[index]
        return index >= tensors and names[0] not in tops, [place[name] for name in names]

    return sorted(range(len(segments)), key=key)


def order_by_value(
    segments: Sequence[list[str]], order: list[int], sort: Sort, tensors: Sequence[TensorInfo]
) -> list[int]:
    """Positions sorted by value within each module, modules by their first value or their sum.

    Equal values keep the order that ``order`` has.
    """
    if sort.is_total and not sort.is_flat:
        return _order_by_total(segments, order, sort, tensors)
    values = [sort.value(info) for info in tensors] + [None] * (len(segments) - len(tensors))
    known = [index for index in order if values[index] is not None]
    known.sort(key=lambda index: values[index], reverse=not sort.is_ascending)
    # reverse=True keeps equal values in their order, too.
    ranked = known + [index for index in order if values[index] is None]
    return [ranked[place] for place in order_of_appearance([segments[index] for index in ranked])]


class _Module:
    """A module while its sum is computed: its children (modules by name, leaves by position), and the sum so far."""

    __slots__ = ("children", "total")

    def __init__(self) -> None:
        self.children: dict[str | int, Any] = {}
        self.total: Any = None


def _order_by_total(
    segments: Sequence[list[str]], order: list[int], sort: Sort, tensors: Sequence[TensorInfo]
) -> list[int]:
    root = _Module()
    groups: dict[str, set[int]] = {info.tied_to: set() for info in tensors if info.tied_to is not None}
    for index in order:
        value, counted = None, None
        if index < len(tensors):
            value, counted = sort.value(tensors[index]), groups.get(tensors[index].first_name)
        module = root
        for name in segments[index][:-1]:
            below = module.children.get(name)
            if below is None:
                below = module.children[name] = _Module()
            module = below
            if value is None or (counted is not None and id(module) in counted):
                continue
            module.total = value if module.total is None else module.total + value
            if counted is not None:
                counted.add(id(module))
        module.children[index] = value
    sorted_: list[int] = []
    stack = [iter(_by_total(root, sort))]
    while stack:
        for key, below in stack[-1]:
            if isinstance(key, int):
                sorted_.append(key)
            else:
                stack.append(iter(_by_total(below, sort)))
                break
        else:
            stack.pop()
    return sorted_


def _by_total(module: _Module, sort: Sort) -> list[tuple[str | int, Any]]:
    """The children of a module, sorted; those without a value last."""

    def value(item: tuple[str | int, Any]) -> Any:
        return item[1].total if isinstance(item[1], _Module) else item[1]

    known = [item for item in module.children.items() if value(item) is not None]
    known.sort(key=value, reverse=not sort.is_ascending)
    return known + [item for item in module.children.items() if value(item) is None]


def order_of_appearance(segments: Sequence[list[str]]) -> list[int]:
    """Positions such that the leaves of a module are together, and each module is where it first appeared."""
    root: dict[str | int, object] = {}
    for position, names in enumerate(segments):
        level = root
        for name in names[:-1]:
            level = level.setdefault(name, {})  # type: ignore[assignment]
        level[position] = position
    order: list[int] = []
    stack = [iter(root.values())]
    while stack:
        for value in stack[-1]:
            if isinstance(value, int):
                order.append(value)
            else:
                stack.append(iter(value.values()))  # type: ignore[attr-defined]
                break
        else:
            stack.pop()
    return order
