"""The tensors of one kind in all layers: the names that differ from one name in one number."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 18
"""Digits of a number that is compared as one; int() refuses thousands of them."""


def same_in_layers(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Of ``names``, those with another number in the place of one of ``name``, and ``name``, by that number.

    It is the first number in the name for which there are others: the layer, not the expert within it. Empty if there
    are none.
    """
    segments = name.split(".")
    names = tuple(names)
    for place, segment in enumerate(segments):
        if not segment.isdecimal():
            continue
        start = "".join(f"{part}." for part in segments[:place])
        end = "".join(f".{part}" for part in segments[place + 1 :])
        found = []
        for other in names:
            if other.startswith(start) and other.endswith(end):
                number = other[len(start) : len(other) - len(end)]
                if number.isdecimal() and len(number) <= _LONGEST:
                    found.append((int(number), other))
        if len(found) > 1:
            return tuple(other for _, other in sorted(found))
    return ()
