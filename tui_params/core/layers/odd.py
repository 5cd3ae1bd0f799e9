"""Which tensors of a kind stand out: by a rule that a few wild values cannot hide from."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core import text
from tui_params.core.layers.known import INF, NAN, READ, Column
from tui_params.core.layers.statistics import Scale, Statistic

LEAST_KNOWN = 5
"""Values from which on a median says what is usual."""

TIMES = 2.0
"""A value is odd from this many times the median (or the median from as many times it) ..."""

POINTS = 0.05
"""... a share from so far from the median ..."""

SPREADS = 6.0
"""... and both only beyond so many robust standard deviations: 1.4826 times the median distance from the median."""

_TO_STD = 1.4826
_MOST = 0.25
"""The largest share of the values that can be odd: what is more often is not."""


class Odd(msgspec.Struct, frozen=True, gc=False):
    """One that stands out: its place among the tensors of the kind, and why.

    ``times`` is its value divided by the median, where that is what counts. ``flags`` of a NaN or an infinity make
    any value odd.
    """

    place: int
    value: float | None
    median: float | None
    times: float | None = None
    flags: int = 0

    def words(self, statistic: Statistic) -> str:
        """``std 6.1x the median``."""
        if self.flags:
            found = [word for flag, word in ((NAN, "NaN"), (INF, "Inf")) if self.flags & flag]
            return f"{'more ' if statistic.origin == 'change' else ''}{' and '.join(found)}"
        assert self.value is not None
        if self.times is not None:
            return f"{statistic.title} {text.number(self.times, 2)}x the median"
        usual = "0" if self.median is None else statistic.words(self.median)
        return f"{statistic.title} {statistic.words(self.value)}, the median {usual}"


class Usual(msgspec.Struct, frozen=True):
    """The values of a kind: the least, the median and the greatest, how many are known, and the odd ones."""

    low: float | None
    median: float | None
    high: float | None
    known: int
    odd: tuple[Odd, ...]


def usual_of(column: Column, scale: Scale) -> Usual:
    """What is usual among some tensors; the odd ones, those with a NaN first, then the farthest from the median."""
    flagged = np.flatnonzero((column.flags > 0) & (column.states == READ))
    is_known = (column.states == READ) & np.isfinite(column.values)
    places = np.flatnonzero(is_known)
    values = column.values[places]
    if not values.size:
        return Usual(None, None, None, 0, tuple(_flagged(column, at, None) for at in flagged))
    median = float(np.median(values))
    odd = [_flagged(column, at, median) for at in flagged]
    far = _far(values, median, scale)
    for at in far:
        place, value = int(places[at]), float(values[at])
        if not column.flags[place]:
            times = value / median if scale == "ratio" and median > 0 and value > 0 else None
            odd.append(Odd(place, value, median, times))
    return Usual(float(values.min()), median, float(values.max()), int(values.size), tuple(odd))


def _flagged(column: Column, at: np.intp, median: float | None) -> Odd:
    value = float(column.values[at])
    return Odd(int(at), value if value == value else None, median, None, int(column.flags[at]))


def _far(values: NDArray[np.float64], median: float, scale: Scale) -> list[int]:
    """Which values are odd, the farthest first."""
    if values.size < LEAST_KNOWN and scale != "count":
        return []
    if scale == "count" or (scale == "ratio" and median == 0):
        distances, is_odd = values - median, values > median
    elif scale == "share":
        distances = np.abs(values - median)
        is_odd = distances >= max(POINTS, SPREADS * _TO_STD * float(np.median(distances)))
    else:
        with np.errstate(divide="ignore"):
            distances = np.abs(np.log(values / median))
        is_odd = distances >= max(log(TIMES), SPREADS * _TO_STD * float(np.median(distances)))
    found = np.flatnonzero(is_odd)
    if found.size > _MOST * values.size and scale != "count":
        return []
    order: list[int] = found[np.argsort(-distances[found], kind="stable")].tolist()
    return order


def told(usual: Usual, statistic: Statistic, label: Callable[[int], str], most: int) -> list[str]:
    """The odd ones in words: ``17: std 6.1x the median``, and how many more there are."""
    words = [f"{label(odd.place)}: {odd.words(statistic)}" for odd in usual.odd[:most]]
    return [*words, f"and {len(usual.odd) - most:,} more"] if len(usual.odd) > most else words
