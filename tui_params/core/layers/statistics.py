"""The figures that tables of layers show, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from tui_params.core import text
from tui_params.core.figures import Figures

Origin = Literal["values", "change", "gradient"]
"""Where a figure comes from: the values of the tensor, how it has moved since an earlier look, or its gradient."""

Scale = Literal["ratio", "share", "count"]
"""How two values are compared: by their quotient, by their difference, or only as none and some."""


class Statistic(msgspec.Struct, frozen=True):
    """One figure. ``of`` gives it of the figures it comes from (those of the gradient, for ``gradient``)."""

    name: str
    title: str
    scale: Scale
    origin: Origin = "values"
    of: Callable[[Figures], float | int | None] = lambda figures: None

    def words(self, value: float, room: int = 9) -> str:
        """A value in at most ``room`` characters (4 or more)."""
        if self.scale == "share":
            return _percent(value, room)
        if self.scale == "count":
            shown = f"{int(value):,}"
            return shown if len(shown) <= room else text.numel(int(value))
        return text.number_within(value, room)


def _percent(share: float, room: int) -> str:
    """A share in percent that is never rounded to 0 or 100: ``12.5%``."""
    if share in (0.0, 1.0):
        return "0" if share == 0 else "100%"
    if share < 1e-4:
        return "<.01%" if room >= 5 else "<.1%"
    if share > 0.9995:
        return ">99.9%" if room >= 6 else ">99%"
    for digits in (2, 1, 0) if share < 0.1 else (1, 0):
        shown = f"{100 * share:.{digits}f}%"
        if len(shown) <= room and (digits or 0.005 <= share < 0.995):
            return shown
    return "<1%" if share < 0.5 else ">99%"


STATISTICS: tuple[Statistic, ...] = (
    Statistic("std", "std", "ratio", of=lambda figures: figures.std),
    Statistic("absmax", "max |x|", "ratio", of=lambda figures: figures.abs_max),
    Statistic("zeros", "zeros", "share", of=lambda figures: figures.zeros / figures.count if figures.count else None),
    Statistic("nonfinite", "NaN and Inf", "count", of=lambda figures: figures.non_finite),
    Statistic("change", "change", "ratio", "change"),
    Statistic("gradient", "gradient norm", "ratio", "gradient", of=lambda figures: figures.l2_norm),
)
"""Every figure, in the order in which a key goes through them; the last two only where there is such a thing."""
