"""FewLoop: calls the compiled loop over a tensor of few elements, and makes values of what it leaves in its tables."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from struct import Struct
from threading import local

import numpy as np
from numpy.typing import NDArray

from tui_params.core.channels import FAINT, Channel, Side
from tui_params.core.figures import QUANTILES
from tui_params.core.kernels.protocol import FEW, Few, Lines

LISTED, BINS, COUNTS, REALS = 8, 16, 32, 16
SIDE, SIDE_REALS = 8 + 3 * LISTED, 1 + 2 * LISTED
LIMBS = 12, 12, 20
"""The layout of the tables; ``loops_few`` explains it."""

PLAN = Struct("10q")
"""The part of the plan that is of one tensor."""

_FRACTIONS = [part for q in QUANTILES for part in Fraction(repr(q)).as_integer_ratio()]


class FewLoop:
    """The loop, with tables for each thread that calls it."""

    def __init__(self, loop: Callable[..., None]) -> None:
        self._loop = loop
        self._tables = local()

    def __call__(
        self, raw: NDArray[np.uint8], kind: int, numel: int, marks: tuple[int, int, int], lines: Lines | None
    ) -> Few | None:
        """As ``Kernels.few``; ``kind`` is the type's number in DECODED."""
        try:
            tables: _Tables = self._tables.kept
        except AttributeError:
            tables = self._tables.kept = _Tables()
        rows = columns = places = 0
        group = 1
        if lines is not None:
            rows, group, places = lines.rows, lines.group, lines.width // lines.group
            columns = places if lines.has_columns else 0
        address = raw.__array_interface__["data"][0]
        PLAN.pack_into(tables.plan, 0, numel, kind, *marks, rows, columns, group, places, address)
        self._loop(tables.address)
        counts = tables.counts.tolist()
        if counts[8]:
            return None
        reals = tables.reals.tolist()
        positive, negative, squares = (int.from_bytes(part, "little") for part in tables.sums)
        finite, nan, pos_inf, neg_inf, zeros, subnormals, at_max, below_max = counts[:8]
        return Few(
            finite,
            nan,
            pos_inf,
            neg_inf,
            zeros,
            subnormals,
            at_max,
            below_max,
            positive - negative,
            squares,
            reals[0],
            reals[1],
            tuple(reals[2:11]),
            tuple(counts[12 : 12 + BINS]),
            reals[11],
            reals[12],
            _side(counts, COUNTS, reals, REALS) if rows else None,
            _side(counts, COUNTS + SIDE, reals, REALS + SIDE_REALS) if columns else None,
        )


class _Tables:
    """What the loop reads and fills beside the elements: 1.6 MB, of which few elements touch little."""

    def __init__(self) -> None:
        plan = np.zeros(40, np.int64)
        self.counts = np.zeros(COUNTS + 2 * SIDE, np.int64)
        self.reals = np.zeros(64)
        self.reals[14] = FAINT
        scratch, sums = np.empty(24 * FEW + 8192 + 8 * sum(LIMBS), np.uint8), np.zeros(sum(LIMBS), np.uint32)
        self._kept = plan, scratch, sums
        ends = np.cumsum((0, *LIMBS)).tolist()
        whole = sums.view(np.uint8).data
        self.sums = [whole[4 * start : 4 * stop] for start, stop in pairwise(ends)]
        arrays = (plan, scratch, self.counts, self.reals, sums)
        self.address, *plan[10:14] = [int(array.__array_interface__["data"][0]) for array in arrays]
        plan[16 : 16 + len(_FRACTIONS)] = _FRACTIONS
        self.plan = plan.data


def _side(counts: list[int], first: int, reals: list[float], start: int) -> Side:
    count, dead, faint, dead_listed, largest, smallest = counts[first : first + 6]
    at = first + 8
    return Side(
        count,
        dead,
        tuple(counts[at : at + dead_listed]),
        reals[start],
        _channels(counts, at + LISTED, reals, start + 1, largest),
        faint,
        _channels(counts, at + 2 * LISTED, reals, start + 1 + LISTED, smallest),
    )


def _channels(counts: list[int], at: int, reals: list[float], start: int, number: int) -> tuple[Channel, ...]:
    return tuple(map(Channel, counts[at : at + number], reals[start : start + number]))
