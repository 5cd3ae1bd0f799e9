"""The order of tensors and modules in a tree that is sorted by a value of the tensors.

Each function takes names that were split at their dots, and returns positions. The leaves of a module always stay
together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tui_params.core.name_order import order_of_appearance
from tui_params.core.tensor import TensorInfo


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
