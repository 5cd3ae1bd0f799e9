"""In which order tensors and modules stand: natural, as they appeared, or by a value.

Each function takes the names cut at their dots, and returns positions; the leaves of a module always stand together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tui_params.core.tensor import TensorInfo

_DIGITS = re.compile("([0-9]+)")


class Sort(msgspec.Struct, frozen=True):
    """Another order of the tree: by a value of each tensor, the largest first unless ``is_ascending``.

    A module stands where its first tensor would. What has no value (yet), and what is no tensor, comes last.
    ``is_flat``: all tensors in one list under their full names, without modules.
    """

    value: Callable[[TensorInfo], Any]
    is_ascending: bool = False
    is_flat: bool = False


def natural_key(segment: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key under which ``layers2`` comes before ``layers10``.

    Numbers are compared by length and digits, never converted: a name may hold 10,000 digits.
    """
    parts = []
    for part in _DIGITS.split(segment):
        if part.isascii() and part.isdigit():
            digits = part.lstrip("0")
            parts.append((0, len(digits), digits))
        elif part:
            parts.append((1, 0, part))
    return tuple(parts)


def natural_order(segments: Sequence[list[str]], tensors: int) -> list[int]:
    """Positions sorted segment by segment in natural order; what holds no tensor at all comes last.

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
    """Positions sorted by value within each module, which itself stands by its first; ties keep ``order``."""
    values = [sort.value(info) for info in tensors] + [None] * (len(segments) - len(tensors))
    known = [index for index in order if values[index] is not None]
    known.sort(key=lambda index: values[index], reverse=not sort.is_ascending)
    # reverse=True keeps equal values in their order, too.
    ranked = known + [index for index in order if values[index] is None]
    return [ranked[place] for place in order_of_appearance([segments[index] for index in ranked])]


def order_of_appearance(segments: Sequence[list[str]]) -> list[int]:
    """Positions such that the leaves of a module stand together, each module where it first appeared."""
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
