"""How the figures of a module are spread: the least, the median and the greatest, and whose they are."""

from __future__ import annotations

import numpy as np
import pytest

from tests.factories_memory import MemorySource
from tui_params.core.figures import Figures
from tui_params.tui.terminal.glyphs import UNICODE
from tui_params.tui.widgets.canvas import line_width
from tui_params.tui.widgets.detail.module_page import ModuleView, module_parts
from tui_params.tui.widgets.detail.spread_lines import spread_lines

VALUES = {"low": np.full(4, -3.0), "middle": np.array([0.0, 0.0, 1.0, 1.0]), "high": np.full(4, 9.0)}


def measured() -> list[tuple[str, Figures]]:
    source = MemorySource(VALUES)
    return [(name, source.summarize(name).figures(4)) for name in VALUES]


@pytest.mark.parametrize("width", [27, 30, 33, 34, 50, 60, 110])
def test_every_figure_has_its_least_median_and_greatest(width: int) -> None:
    lines = spread_lines(measured(), 3, width)
    assert max(map(line_width, lines)) <= width
    words = ["".join(part for part, _ in line).split() for line in lines]
    rows = {row[0]: [cell for cell in row[1:] if cell not in (*VALUES, "%")] for row in words[2:]}
    assert rows["mean"] == ["-3", "0.5", "9"]
    assert rows["std"] == ["0", "0", "0.5"]
    assert rows["absmax"] == ["1", "3", "9"]
    assert rows["zeros"] == ["0", "0", "50"]
    if width >= 60:
        mean = next(row for row in words if row[0] == "mean")
        assert mean == ["mean", "-3", "low", "0.5", "9", "high"]


def test_beside_the_tree_on_80_columns_nothing_is_cut() -> None:
    lines = ["".join(part for part, _ in line) for line in spread_lines(measured(), 288, 33)]
    assert lines[:2] == ["Spread over 3 of 288 tensors", "          least   median greatest"]
    assert lines[-1] == "zeros       0 %      0 %     50 %"


def test_of_a_part_it_says_so_and_of_one_there_is_no_spread() -> None:
    assert "3 of 7 tensors" in spread_lines(measured(), 7, 60)[0][0][0]
    assert "all 3 tensors" in spread_lines(measured(), 3, 60)[0][0][0]
    assert spread_lines(measured()[:1], 1, 60) == []


@pytest.mark.parametrize(("height", "below"), [(0, 0), (10, 0), (10, 8), (30, 8), (60, 18)])
def test_the_room_of_the_values_is_used_and_nothing_is_lost(height: int, below: int) -> None:
    from tui_params.core.tree.totals import Totals

    totals = Totals(3, 12, 96, 12, 0, 0, 0, {"f64": 96})
    view = ModuleView("m", None, totals, (), (), (), 3, figures=tuple(measured()))
    upper, lower = module_parts(view, 60, height, below, UNICODE)
    whole = [*module_parts(view, 60, 0, 0, UNICODE)[0]]
    assert [line for line in (*upper, *lower) if line] == [line for line in whole if line]
    assert len(lower) <= below
    assert bool(lower) == (height == 10 and below == 8)
