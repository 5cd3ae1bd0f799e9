"""Verdicts: what came of comparing one tensor with its partner, and how that is decided."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec

from tui_params.core.compare.packed import Packed
from tui_params.core.compare.renames import Side
from tui_params.core.compare.structure import Pair

if TYPE_CHECKING:
    from tui_params.core.numbers.difference import Difference

State = Literal["identical", "equal", "changed", "uncompared"]


class Tolerance(msgspec.Struct, frozen=True, gc=False):
    """How far B may be from A without being a change: by ``atol + rtol |a|`` for each element.

    With ``ignore_dtype`` another element type alone is no change. Raises ValueError for a tolerance that is negative
    or not finite.
    """

    rtol: float = 0.0
    atol: float = 0.0
    ignore_dtype: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.rtol < math.inf and 0 <= self.atol < math.inf):
            raise ValueError("a tolerance is a finite number that is not negative")


EXACT = Tolerance()
"""Every difference in value or element type is a change."""


class Change(msgspec.Struct, frozen=True):
    """A tensor that both sources have and that is not the same in both.

    ``change`` is the first that applies: another shape (then no value is compared), another element type, other
    values. ``name`` is its name in A, ``name_in_b`` in B; the element types are short names. ``difference`` is None
    where values were not compared; if the shapes agree, ``reason`` says why not. ``packed_a`` and ``packed_b`` say what
    is packed in a tensor whose shape is that of bytes.
    """

    name: str
    name_in_b: str
    change: Literal["shape", "dtype", "values"]
    shape_a: tuple[int, ...]
    shape_b: tuple[int, ...]
    dtype_a: str
    dtype_b: str
    difference: Difference | None
    reason: str | None = None
    packed_a: Packed | None = None
    packed_b: Packed | None = None

    @property
    def first_index(self) -> tuple[int, ...] | None:
        """The index of the first element, in row-major order, that differs."""
        return None if self.difference is None else self._index(self.difference.first)

    @property
    def first_broken_index(self) -> tuple[int, ...] | None:
        """The index of the first element that became NaN or infinite."""
        return None if self.difference is None else self._index(self.difference.first_broken)

    def _index(self, place: int | None) -> tuple[int, ...] | None:
        if place is None:
            return None
        index = []
        for length in reversed(self.shape_a):
            place, position = divmod(place, length)
            index.append(position)
        return tuple(reversed(index))


class Uncompared(msgspec.Struct, frozen=True):
    """A tensor whose values could not be compared, and the reason, one sentence.

    ``side`` is None if both sources have it; else the one that lists it, while the other may have it as well.
    """

    name: str
    reason: str
    side: Side | None = None


class Verdict(msgspec.Struct, frozen=True):
    """The result of comparing one tensor; ``name`` is its name in A.

    "identical": same shape, element type and bytes. "equal": the bytes differ but no element differs in value (the
    sign of a zero, the bits of a NaN, a difference within the tolerance, an element type that is ignored). ``change``
    is set if it is "equal" or "changed", ``reason`` if it is "uncompared". ``norms_agree``: of one type, and changed,
    but perhaps in the order of the elements only.
    """

    name: str
    state: State
    change: Change | None = None
    reason: str | None = None
    norms_agree: bool = False


class Progress(msgspec.Struct, frozen=True, gc=False):
    """How far a comparison is: bytes of A, and tensors."""

    nbytes: int
    total_nbytes: int
    tensors: int
    total_tensors: int


def make_change(
    pair: Pair, change: Literal["shape", "dtype", "values"], difference: Difference | None, reason: str | None = None
) -> Change:
    a, b = pair.a, pair.b
    return Change(a.name, b.name, change, a.shape, b.shape, a.dtype.short, b.dtype.short, difference, reason)


def unread(pair: Pair, reason: str, tolerance: Tolerance) -> Verdict:
    """The verdict if values could not be read: another element type is a change even so, unless it is ignored."""
    if pair.has_same_dtype or tolerance.ignore_dtype:
        return Verdict(pair.name, "uncompared", None, reason)
    return Verdict(pair.name, "changed", make_change(pair, "dtype", None, reason))


def judge(pair: Pair, difference: Difference | None, tolerance: Tolerance, *, norms_agree: bool = False) -> Verdict:
    """The verdict on values that were compared; ``difference`` is None if element type and bytes are the same."""
    if difference is None:
        return Verdict(pair.name, "identical")
    is_changed = difference.changed > 0 or not (pair.has_same_dtype or tolerance.ignore_dtype)
    change = make_change(pair, "values" if pair.has_same_dtype else "dtype", difference)
    may_be_rearranged = norms_agree and difference.changed > 0 and pair.has_same_dtype
    return Verdict(pair.name, "changed" if is_changed else "equal", change, norms_agree=may_be_rearranged)
