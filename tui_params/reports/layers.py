"""Layers of one checked source: the kinds of its tensors, and two figures of each tensor in columns."""

from __future__ import annotations

import msgspec

from tui_params.core.figures import Figures
from tui_params.core.layers.known import LOST, Column, Known, positions
from tui_params.core.layers.odd import Usual, usual_of
from tui_params.core.layers.statistics import STATISTICS, Statistic
from tui_params.core.layers.table import LayerTable, table_of
from tui_params.reports.facts import Checked

STD = next(item for item in STATISTICS if item.name == "std")
ABS_MAX = next(item for item in STATISTICS if item.name == "absmax")


class Layers(msgspec.Struct, frozen=True):
    """The tensors by kind and layer; ``std`` and ``figures`` are side by side with them, ``usual`` with the kinds.

    ``figures`` are None of a tensor that was not read; ``usual`` is what is usual of the std.
    """

    table: LayerTable
    std: Column
    figures: tuple[Figures | None, ...]
    usual: tuple[Usual, ...]

    def std_of(self, kind: int) -> Column:
        """The std of the tensors of a kind."""
        return self.std.some(positions(self.table.members[kind].indices))

    def range_of(self, kind: int, statistic: Statistic) -> tuple[float | int, float | int] | None:
        """The least and the greatest value of a figure in a kind, exactly; None without one."""
        some = (self.figures[at] for at in self.table.members[kind].indices)
        values = [value for one in some if one is not None and (value := statistic.of(one)) is not None]
        return (min(values), max(values)) if values else None


def layers_of(checked: Checked) -> Layers:
    """The layers of a source. A tensor that was not read has no figure, and that is its state."""
    table = table_of(checked.tensors)
    known = Known(len(checked.tensors))
    found = tuple(checked.figures.get(info.name) for info in checked.tensors)
    for at, figures in enumerate(found):
        if figures is None:
            known.take_state(at, LOST)
        else:
            known.take_figures(at, figures)
    std = known.column(STD)
    usual = tuple(usual_of(std.some(positions(members.indices)), STD.scale) for members in table.members)
    return Layers(table, std, found, usual)
