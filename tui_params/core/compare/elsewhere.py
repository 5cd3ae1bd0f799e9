"""What was found elsewhere: tensors whose values the other side has under another name, or in another layout."""

from __future__ import annotations

from typing import Literal

import msgspec

How = Literal["same", "reshaped", "transposed", "rows", "columns", "part"]


class Relation(msgspec.Struct, frozen=True):
    """A tensor of A and one of B that have the same values, bit for bit.

    ``how`` as in ``Layout``. Of the larger one of a "part" the slice is given, as an expression or, where none would
    do, in words; ``is_transposed`` if the part is the transposed slice.
    """

    a: str
    b: str
    how: How
    slice_a: str | None = None
    slice_b: str | None = None
    is_transposed: bool = False


class Untried(msgspec.Struct, frozen=True):
    """How many tensors of both sides were not tried, and the reason, one sentence."""

    reason: str
    count: int


class Elsewhere(msgspec.Struct, frozen=True):
    """The relations in the order of A; ``tried`` tensors of both sides were read for them."""

    relations: tuple[Relation, ...] = ()
    tried: int = 0
    untried: tuple[Untried, ...] = ()


SUGGESTED = "the suggested renames match their names"


def with_untried(found: Elsewhere, reason: str, count: int) -> Elsewhere:
    """The same with more tensors that were not tried."""
    if not count:
        return found
    return msgspec.structs.replace(found, untried=(*found.untried, Untried(reason, count)))
