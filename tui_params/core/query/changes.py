"""What has moved since an earlier look or differs on the other side, as a filter asks for it: ``change>0.1``."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Protocol

Compare = Callable[[float, float], bool]


class Moved(Protocol):
    """What a filter asks of a change (``core.compare.moved.Change``)."""

    @property
    def state(self) -> str: ...

    @property
    def relative(self) -> float | None: ...

    @property
    def at_least(self) -> float | None: ...

    @property
    def cosine(self) -> float | None: ...

    @property
    def has_changed(self) -> bool | None: ...

    @property
    def is_from_zero(self) -> bool: ...


_ABOVE = (operator.gt, operator.ge, operator.ne)
_BELOW = (operator.lt, operator.le, operator.eq)


def has_changed(change: Moved | None) -> bool | None:
    """Whether a tensor is not what it was then, or what it is on the other side; None where that is not known."""
    return None if change is None else change.has_changed


def is_on(change: Moved | None, side: str) -> bool | None:
    """Whether only that side (``a``, ``b``) has the tensor; None where that is not known."""
    return None if change is None else change.state == f"only_{side}"


def is_cosine(change: Moved | None, compare: Compare, number: float) -> bool | None:
    """Whether the cosine of both sides is as asked; None where nothing is known of the tensor.

    Where it has no value (another shape, one side alone, a norm of 0) nothing holds.
    """
    if change is None or change.state == "unread":
        return None
    return change.cosine is not None and compare(change.cosine, number)


def is_size(change: Moved | None, compare: Compare, number: float) -> bool | None:
    """Whether the relative change of a tensor is as asked; None where that is not known.

    It is ``Change.relative``, 0 of what is bit-identical, and infinite of what was all zeros. A tensor that is new or
    has another shape has none: then nothing holds. Where a lower bound is known, what follows from it is.
    """
    if change is None or change.state == "unread":
        return None
    if change.state == "same":
        return compare(0.0, number)
    if change.state not in ("moved", "equal", "dtype", "adapted"):
        return False
    if change.relative is not None:
        return compare(change.relative, number)
    if change.is_from_zero:
        return compare(float("inf"), number)
    if change.state in ("equal", "dtype"):
        return False
    least = change.at_least or 0.0
    if least > number or (least == number and compare is operator.ge):
        # It is at least that, so it is certainly more.
        return compare in _ABOVE
    return False if number < 0 and compare in _BELOW else None
