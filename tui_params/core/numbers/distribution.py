"""Distribution: the finite elements of one tensor along an axis of values, at any zoom, from counts that are kept."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.figures import Figures, Histogram
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.numbers.order_statistics import MAX_FLOAT, Ranks, linear_edges, log_edges
from tui_params.core.numbers.summary import Summary

Scale = Literal["linear", "log", "symlog"]
"""How values lie along the axis. ``log`` is of magnitudes, without zeros; ``symlog`` is linear around zero."""

SCALES: tuple[Scale, ...] = ("linear", "log", "symlog")


_FAR = 1e100
"""So many times the knee away, symlog is logarithmic to the last digit."""

_NEAR = 1e-9
"""A value of less than so many knees lies on symlog as on a linear axis, to the last digit."""


class Span(msgspec.Struct, frozen=True, gc=False):
    """A part of the axis: from ``low`` to ``high``, on ``scale``. ``knee`` is where symlog stops to be linear."""

    scale: Scale
    low: float
    high: float
    knee: float = 1.0

    def at(self, share: float) -> float:
        """The value that lies so far along the axis: 0 is ``low``, 1 is ``high``; below 0 and above 1 go on."""
        if share in (0, 1):
            return self.high if share else self.low
        low, high = self._along(self.low), self._along(self.high)
        return self._value(low + (high - low) * share)

    def part(self, first: float, last: float) -> Span:
        """The axis between two shares of this one."""
        return msgspec.structs.replace(self, low=self.at(first), high=self.at(last))

    def share(self, value: float) -> float:
        """How far along the axis a value lies."""
        low, high = self._along(self.low), self._along(self.high)
        return (self._along(value) - low) / (high - low) if high > low else 0.5

    @property
    def _is_linear(self) -> bool:
        """Whether values lie along it in proportion; so they do on symlog, far below the knee."""
        far_below = self.scale == "symlog" and max(abs(self.low), abs(self.high)) < _NEAR * self.knee
        return self.scale == "linear" or far_below

    def _along(self, value: float) -> float:
        if self.scale == "log":
            return math.log2(max(value, 5e-324))
        if self._is_linear:
            return value / 2  # half of it, so that no range overflows
        share = value / self.knee / 2
        if abs(share) < _FAR:
            return math.asinh(share)
        return math.copysign(math.log(abs(value)) - math.log(self.knee), value)

    def _value(self, along: float) -> float:
        if self._is_linear:
            return min(max(2 * along, -MAX_FLOAT), MAX_FLOAT)
        try:
            if self.scale == "log":
                value = math.pow(2.0, along)
            elif abs(along) < math.log(_FAR):
                value = 2 * self.knee * math.sinh(along)
            else:
                value = math.copysign(math.exp(abs(along) + math.log(self.knee)), along)
        except OverflowError:
            value = math.copysign(math.inf, along)
        value = min(max(value, -MAX_FLOAT), MAX_FLOAT)
        return max(value, 5e-324) if self.scale == "log" else value

    def edges(self, bins: int) -> tuple[float, ...]:
        """The limits of ``bins`` bins that are equally wide on the axis."""
        if self._is_linear:
            return linear_edges(self.low, self.high, bins)
        if self.scale == "log":
            return log_edges(self.low, self.high, bins)
        if self.low == self.high:
            return linear_edges(self.low, self.high, bins)
        low, high = self._along(self.low), self._along(self.high)
        found = [self._value(low + (high - low) * place / bins) for place in range(bins + 1)]
        if low < 0 < high:
            # The edge that should be zero is made so: it separates the signs.
            found = [0.0 if abs(edge) < 1e-9 * self.knee * (high - low) / bins else edge for edge in found]
        found[0], found[-1] = self.low, self.high
        return tuple(np.maximum.accumulate(np.clip(found, self.low, self.high)).tolist())


class Distribution(msgspec.Struct, frozen=True, eq=False):
    """The counts of one tensor of ``numel`` elements, and the figures that follow from them.

    It may be that of a sample; then nothing that follows from it says that it is exact.
    """

    summary: Summary
    figures: Figures
    numel: int
    knee: float
    ranks: Ranks
    magnitudes: Ranks

    def whole(self, scale: Scale) -> Span | None:
        """The axis from the least element to the greatest; None if there is no finite element (or only zeros)."""
        limits = (self.magnitudes if scale == "log" else self.ranks).limits()
        if limits is None:
            return None
        low, high = limits
        if low == high:
            edges = (log_edges if scale == "log" else linear_edges)(low, high, 1)
            low, high = edges[0], edges[-1]
        return Span(scale, low, high, self.knee)

    def inner(self, scale: Scale) -> Span | None:
        """The axis from the 0.1 % quantile to the 99.9 % one; None if there is nothing between them."""
        ends = (self.magnitudes if scale == "log" else self.ranks).quantiles((0.001, 0.999))
        return Span(scale, ends[0].value, ends[1].value, self.knee) if ends and ends[0].value < ends[1].value else None

    @with_subnormals
    def histogram(self, span: Span, bins: int) -> Histogram:
        """The counts of ``bins`` bins; on a log axis those of magnitudes, and zeros lie below."""
        is_log = span.scale == "log"
        found = (self.magnitudes if is_log else self.ranks).histogram(span.edges(bins))
        below = found.below + (self.figures.zeros if is_log else 0)
        return msgspec.structs.replace(found, below=below, is_exact=found.is_exact and not self.figures.is_sampled)


@with_subnormals
def distribution_of(summary: Summary, numel: int) -> Distribution:
    """The distribution of the elements of a tensor of ``numel``, of which the summary may have a part."""
    ranks = summary.ranks()
    magnitudes = ranks.magnitudes()
    middle = magnitudes.quantiles((0.5,))
    knee = _rounded(middle[0].value) if middle else 1.0
    return Distribution(summary, summary.figures(numel), numel, knee, ranks, magnitudes)


@with_subnormals
def normal_shares(edges: tuple[float, ...], mean: float, std: float, *, is_magnitude: bool) -> tuple[float, ...]:
    """The share of a normal distribution in each bin between the edges; of both signs together for magnitudes.

    By the error function: (erf(b) - erf(a)) / 2 with a = (edge - mean) / (std sqrt 2).
    """
    marks = np.asarray(edges, np.float64)
    shares = _normal_between(marks, mean, std)
    if is_magnitude:
        shares = shares + _normal_between(-marks[::-1], mean, std)[::-1]
    found: list[float] = shares.tolist()
    return tuple(found)


def _normal_between(marks: NDArray[np.float64], mean: float, std: float) -> NDArray[np.float64]:
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        z = (marks - mean) / std / math.sqrt(2) if std > 0 else np.where(marks > mean, np.inf, -np.inf)
    # On the side of the tail, where differences of erf would lose all digits, those of erfc do not.
    upper = np.array([math.erfc(x) / 2 for x in z.tolist()])
    lower = np.array([math.erfc(-x) / 2 for x in z.tolist()])
    is_right = z[:-1] > 0
    found: NDArray[Any] = np.where(is_right, upper[:-1] - upper[1:], lower[1:] - lower[:-1])
    return found


def _rounded(value: float) -> float:
    """A positive number with one digit, so that it reads well on an axis."""
    return min(float(f"{value:.0e}"), MAX_FLOAT) or value
