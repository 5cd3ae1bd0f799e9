"""Course: what was seen of a tensor at the last steps of a training: norms of its gradient, and how far it moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

ODD = ("NaN", "Inf")
"""The words of what is not finite."""

LOOKS = 128
"""How many looks at a tensor are remembered."""


class Point(msgspec.Struct, frozen=True, gc=False):
    """A figure of a tensor at one step; ``value`` is None if it has none, and ``word`` says why: ``NaN``, ``Inf``,
    ``none`` (there was no gradient). ``is_scaled``: the gradient was still multiplied by a loss scale.
    """

    step: int
    value: float | None
    word: str = ""
    is_scaled: bool = False


class Course(msgspec.Struct, frozen=True, gc=False):
    """The looks at a parameter, the latest last.

    ``norms`` are the norms of its gradient; ``updates`` the norm of what a step has added to it, divided by its own
    norm before that step. ``reason`` is why there are none.
    """

    norms: tuple[Point, ...] = ()
    updates: tuple[Point, ...] = ()
    reason: str = ""


class Courses(Protocol):
    """The courses of the tensors of a source that trains. None of it waits for a tensor."""

    def want(self, names: Sequence[str]) -> None:
        """From now on look at these parameters, as far as there is room: the first of them matters most."""
        ...

    def publish(self) -> bool:
        """Let ``of`` know what was seen until now; whether that is more than before."""
        ...

    def of(self, name: str) -> Course | None:
        """The course of a parameter as it was published; None if it was never looked at."""
        ...


_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS = "_.-=+*#@"


def drawn(points: Sequence[Point], width: int, *, ascii_only: bool = False) -> str:
    """The last ``width`` points, a cell each, the latest at the right; the highest is the largest of them.

    A zero is ``0``, a blank has no value, and ``!`` is not finite.
    """
    levels = _ASCII_LEVELS if ascii_only else _LEVELS
    last = points[-width:] if width > 0 else ()
    top = max((point.value for point in last if point.value is not None), default=0.0)
    cells = []
    for point in last:
        if point.value is None:
            cells.append("!" if point.word in ODD else " ")
        elif point.value <= 0 or top <= 0:
            cells.append("0")
        else:
            cells.append(levels[min(int(point.value / top * len(levels)), len(levels) - 1)])
    return "".join(cells)
