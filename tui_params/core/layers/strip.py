"""The values of a kind over its layers as a few cells, in which what stands out stays visible."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.layers.known import LOST, READ, UNREAD, Column, Positions
from tui_params.core.layers.odd import Usual

BLANK, DOT, NONE, LOST_CELL, VALUE, ODD, BAD = range(7)
"""What a cell shows, and which of two counts: no tensor, not read, no value, unreadable, a value, an odd one, NaN."""

TOP_LEVEL = 7


class Strip(msgspec.Struct, frozen=True, gc=False):
    """For each cell what it shows, and for a value its level from 0 to TOP_LEVEL: its share of the greatest one."""

    kinds: bytes
    levels: bytes


def strip_of(column: Column, usual: Usual, rows: Sequence[int], layers: Positions, width: int) -> Strip:
    """A strip of at most ``width`` cells over the layers ``rows``; ``layers`` has that of each tensor.

    Of several tensors in one cell the one with a NaN counts, then an odd one, then the greatest.
    """
    count = max(1, min(len(rows), width))
    where = np.searchsorted(np.asarray(rows, np.intp), layers)
    cells = where * count // max(1, len(rows))
    kinds = _kinds(column, usual)
    worst = np.zeros(count, np.uint8)
    np.maximum.at(worst, cells, kinds)
    sizes = np.where(np.isfinite(column.values) & (column.states == READ), column.values, 0.0)
    highest = np.zeros(count)
    counts = kinds == worst[cells]
    np.maximum.at(highest, cells[counts], np.abs(sizes[counts]))
    top = float(np.abs(sizes).max()) if sizes.size else 0.0
    levels = np.rint(highest / top * TOP_LEVEL) if top > 0 else np.zeros(count)
    return Strip(worst.tobytes(), levels.astype(np.uint8).tobytes())


def _kinds(column: Column, usual: Usual) -> NDArray[np.uint8]:
    states = column.states
    kinds = np.full(states.size, NONE, np.uint8)
    kinds[states == UNREAD] = DOT
    kinds[states == LOST] = LOST_CELL
    kinds[(states == READ) & np.isfinite(column.values)] = VALUE
    for odd in usual.odd:
        kinds[odd.place] = BAD if odd.flags else ODD
    return kinds
