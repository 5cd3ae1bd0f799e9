"""Scale: the axis of values of a curve, logarithmic where they are far apart."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import msgspec

from tui_params.core import text
from tui_params.tui.widgets.axes import LABEL, Ticks

_LOG_FROM = 30.0
"""From so many times the least value on, the axis is logarithmic."""


class Scale(msgspec.Struct, frozen=True):
    """The ends of the axis; a value of 0 stands at the lower end of a logarithmic one."""

    low: float
    high: float
    is_log: bool

    @staticmethod
    def of(values: Sequence[float]) -> Scale:
        """The axis of values of 0 and more, at least one."""
        low, high = min(values), max(values)
        above = [value for value in values if value > 0]
        least = min(above, default=0.0)
        if least and high >= _LOG_FROM * least and len(above) > 1:
            return Scale(least, high, True)
        if low == high:
            return Scale(0.0, high, False) if high > 0 else Scale(0.0, 1.0, False)
        return Scale(0.0 if low < high / 2 else low, high, False)

    def up(self, value: float) -> float:
        """Where a value stands, 0 to 1."""
        if self.is_log:
            return (log10(max(value, self.low)) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> Ticks:
        """Both ends, with labels that differ."""
        labels = [text.number_within(value, LABEL) for value in (self.low, self.high)]
        if labels[0] == labels[1]:
            labels = [f"{value:.5g}"[:LABEL] for value in (self.low, self.high)]
        return [self.up(self.low), self.up(self.high)], labels
