"""The loops that seek the first or the last of some words that is one of those sought, as numba compiles them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types

from tui_params.core.kernels.loop_arrays import array_view

_table64 = array_view(types.uint64)
_signed64 = array_view(types.int64)
_inline = njit(nogil=True)

PIECE_NBYTES = 1 << 14
"""Bytes that are looked at in vectors before it is seen whether there was one: few enough for the first-level cache."""


def _seek(element: Any, cast: Any, *, has_halves: bool = False) -> Callable[..., None]:
    """The loop over unsigned words of one width; with ``has_halves`` over the two codes of 4 bits in each byte."""
    view = array_view(element, is_input=True)
    itemsize = element.bitwidth // 8
    per = 2 if has_halves else 1
    top = cast(0xF) if has_halves else cast((1 << element.bitwidth) - 1)

    @_inline  # type: ignore[untyped-decorator]
    def is_near(some: Any, mask: Any, first: Any, more: Any, other: Any, beyond: Any) -> bool:
        """Whether a word lies in one of two ranges: the least distance from the first word of each tells."""
        least, least_other = top, top
        if first == other:
            for i in range(some.size):
                least = min(least, cast((some[i] & mask) - first))
            return bool(least <= max(more, beyond))
        for i in range(some.size):
            word = cast(some[i] & mask)
            least, least_other = min(least, cast(word - first)), min(least_other, cast(word - other))
        return bool(least <= more) or bool(least_other <= beyond)

    @_inline  # type: ignore[untyped-decorator]
    def is_half_near(some: Any, mask: Any, first: Any, more: Any, other: Any, beyond: Any) -> bool:
        least, least_other = top, top
        for i in range(some.size):
            low, high = cast(some[i] & mask), cast((some[i] >> cast(4)) & mask)
            least = min(least, min(cast((low - first) & top), cast((high - first) & top)))
            least_other = min(least_other, min(cast((low - other) & top), cast((high - other) & top)))
        return bool(least <= more) or bool(least_other <= beyond)

    is_any = is_half_near if has_halves else is_near

    def loop(words: int, start: int, stop: int, plan: int, ranges: int, step: int, found: int) -> None:
        given, answer = _table64(plan, 1 + 2 * ranges), _signed64(found, 1)
        mask, piece = cast(given[0]), PIECE_NBYTES // itemsize * per
        answer[0] = -1
        begin = start // piece * piece if step > 0 else (stop - 1) // piece * piece
        while begin < stop and begin + piece > start:
            low, high = max(begin, start), min(begin + piece, stop)
            some = view(words + low // per * itemsize, (high + per - 1) // per - low // per)
            is_here = False
            for pair in range(0, ranges, 2):
                at, after = 1 + 2 * pair, 1 + 2 * min(pair + 1, ranges - 1)
                is_here = is_here or is_any(
                    some, mask, cast(given[at]), cast(given[at + 1]), cast(given[after]), cast(given[after + 1])
                )
            if is_here:
                for far in range(high - low):
                    place = low + far if step > 0 else high - 1 - far
                    word = some[place // per - low // per]
                    if per == 2 and place & 1:
                        word = cast(word >> cast(4))
                    for pair in range(ranges):
                        if cast((cast(word & mask) - cast(given[1 + 2 * pair])) & top) <= cast(given[2 + 2 * pair]):
                            answer[0] = place
                            return
            begin += piece if step > 0 else -piece

    return loop


SEEK_LOOPS: dict[str, tuple[Callable[..., None], int]] = {
    "seek4": (_seek(types.uint8, np.uint8, has_halves=True), 7),
    "seek8": (_seek(types.uint8, np.uint8), 7),
    "seek16": (_seek(types.uint16, np.uint16), 7),
    "seek32": (_seek(types.uint32, np.uint32), 7),
    "seek64": (_seek(types.uint64, np.uint64), 7),
}
