"""Carried: the statistics of one opening, kept in memory for the next one of a model of which a few tensors changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tui_params.core.channels import Channels
from tui_params.core.figure_records import Measured
from tui_params.core.figures import Figures
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo


class Carried:
    """What a desk takes for its cache (``FigureCache`` and ``SourceCache`` in one); nothing is written anywhere.

    Each desk gets one of its own, so that what an earlier one still reads does not come into a later one.
    """

    def __init__(
        self, known: Mapping[str, Measured] | None = None, before: Mapping[str, Measured] | None = None
    ) -> None:
        """``before`` are statistics that are only shown until they are known anew."""
        self._known = dict(known or {})
        self._before = dict(before or {})

    def for_source(self, source: Source) -> Carried:
        return self

    def get(self, info: TensorInfo) -> Measured | None:
        return self._known.get(info.name)

    def figures(self, name: str) -> Figures | None:
        measured = self._known.get(name) or self._before.get(name)
        return measured.figures if measured is not None else None

    def put(self, info: TensorInfo, figures: Figures, channels: Channels | None) -> None:
        self._known[info.name] = Measured(figures, channels)

    def flush(self, *, is_last: bool = False) -> None:
        """Nothing: it is all in memory."""

    def without(self, names: Collection[str], *, keeps_figures: bool = False) -> Carried:
        """The same for the next desk, but for these tensors, whose figures may be shown until they are read anew."""
        known, before = self._known.copy(), self._before.copy()
        for name in names:
            lost = known.pop(name, None)
            if keeps_figures and lost is not None:
                before[name] = lost
        return Carried(known, before if keeps_figures else None)
