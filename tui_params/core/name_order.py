"""The order of names: natural, or as they appear in the source.

Each function takes names that were split at their dots, and returns positions. The leaves of a module always stay
together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_DIGITS = re.compile("[0-9]+")
_LONGEST = 0x10FFFF
"""Longer numbers are compared as if they had this length: no name has a million digits."""


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
