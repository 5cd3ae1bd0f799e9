"""Known: the figures of many tensors in columns, as far as they are known; what is not known has its own state."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.figures import Figures
from tui_params.core.layers.statistics import STATISTICS, Origin, Statistic

UNREAD, READ, LOST, ABSENT = 0, 1, 2, 3
"""Not read yet; read; cannot be read; there is no such thing (a parameter without a gradient)."""

NAN, INF = 1, 2
"""Flags of a tensor with a NaN, with an infinity; of a change, with more of them than before."""

Positions: TypeAlias = NDArray[np.intp]

_ORIGINS: tuple[Origin, ...] = ("values", "change", "gradient")


class Cell(msgspec.Struct, frozen=True, gc=False):
    """One figure of one tensor. ``value`` is None where there is none, whatever the state is."""

    state: int
    value: float | None = None
    flags: int = 0


class Column(msgspec.Struct, frozen=True):
    """One figure of some tensors: ``values`` are NaN where it has none; ``states`` and ``flags`` say more."""

    values: NDArray[np.float64]
    states: NDArray[np.uint8]
    flags: NDArray[np.uint8]

    def cell(self, at: int) -> Cell:
        """That of one tensor."""
        value = float(self.values[at])
        return Cell(int(self.states[at]), None if value != value else value, int(self.flags[at]))

    def some(self, chosen: Positions) -> Column:
        """That of some of the tensors (``positions``)."""
        return Column(self.values[chosen], self.states[chosen], self.flags[chosen])

    def counts(self) -> tuple[int, int, int]:
        """How many tensors are read, how many cannot be, and of how many there is such a thing at all."""
        read, lost = int(np.count_nonzero(self.states == READ)), int(np.count_nonzero(self.states == LOST))
        return read, lost, len(self.states) - int(np.count_nonzero(self.states == ABSENT))


class Known:
    """What is known of ``count`` tensors; ``version`` grows with everything that is taken."""

    def __init__(self, count: int) -> None:
        self.version = 0
        self._values = {item.name: np.full(count, np.nan) for item in STATISTICS}
        self._states = {origin: np.zeros(count, np.uint8) for origin in _ORIGINS}
        self._flags = {origin: np.zeros(count, np.uint8) for origin in _ORIGINS}

    def take_figures(self, at: int, figures: Figures, origin: Origin = "values") -> None:
        """Take the figures of a tensor, or of its gradient."""
        self._begin(at, origin, READ)
        for statistic in STATISTICS:
            if statistic.origin == origin:
                value = statistic.of(figures)
                self._values[statistic.name][at] = np.nan if value is None else _as_float(value)
        if figures.non_finite:
            self._flags[origin][at] = NAN * bool(figures.nan) | INF * bool(figures.non_finite - figures.nan)

    def take_change(self, at: int, size: float | None, flags: int) -> None:
        """Take how a tensor has moved: its relative change, or infinity where that has no number."""
        self._begin(at, "change", READ)
        self._values["change"][at] = np.nan if size is None or size == inf else size
        self._flags["change"][at] = flags

    def take_state(self, at: int, state: int, origin: Origin = "values") -> None:
        """Take that there is no figure, and why."""
        self._begin(at, origin, state)
        for statistic in STATISTICS:
            if statistic.origin == origin:
                self._values[statistic.name][at] = np.nan

    def _begin(self, at: int, origin: Origin, state: int) -> None:
        self.version += 1
        self._states[origin][at] = state
        self._flags[origin][at] = 0

    def column(self, statistic: Statistic) -> Column:
        """One figure as it is known now; what is taken later does not change it."""
        count = len(self._values[statistic.name])
        column = Column(np.empty(count), np.empty(count, np.uint8), np.empty(count, np.uint8))
        self.copy_to(column, statistic)
        return column

    def copy_to(self, column: Column, statistic: Statistic) -> None:
        """Make a column what is known now: in the same memory, since new memory costs more than the copy."""
        np.copyto(column.values, self._values[statistic.name])
        np.copyto(column.states, self._states[statistic.origin])
        np.copyto(column.flags, self._flags[statistic.origin])

    def count_read(self, chosen: Positions) -> int:
        """How many of some tensors are read."""
        return int(np.count_nonzero(self._states["values"][chosen] == READ))


def positions(numbers: Sequence[int]) -> Positions:
    """Positions of tensors, or numbers of layers, as an array."""
    return np.asarray(numbers, np.intp)


def _as_float(value: float | int) -> float:
    """An integer beyond float64 is infinite here: it is only compared."""
    try:
        return float(value)
    except OverflowError:
        return inf
