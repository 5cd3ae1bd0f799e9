"""SharedAxis: one scale for the sparklines of the tensors of one module, so that they can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_params.core.figures import Figures

MOST = 2_000
"""Tensors of a module that can share an axis; of more, the range would take too long when figures arrive."""


class SharedAxis:
    """The range of the tensors of the module ``path``, as far as they were read: it holds all their sparklines."""

    def __init__(self, path: str, names: Iterable[str], figures: Callable[[str], Figures | None]) -> None:
        self.path = path
        self.names = frozenset(names)
        self.range: tuple[float, float] | None = None
        self._figures = figures
        self._update(self.names)

    def _update(self, names: Iterable[str]) -> None:
        low, high = self.range if self.range is not None else (inf, -inf)
        for name in names:
            found = self._figures(name)
            if found is not None and found.spark_low is not None and found.spark_high is not None:
                low, high = min(low, found.spark_low), max(high, found.spark_high)
        self.range = (low, high) if low <= high else None

    def take(self, names: Iterable[str]) -> bool:
        """Take the figures of some tensors into account; whether the axis is another one now."""
        before = self.range
        self._update(self.names.intersection(names))
        return self.range != before

    def of(self, name: str) -> tuple[float, float] | None:
        """The ends of the axis of a tensor; None if it has its own."""
        return self.range if name in self.names else None
