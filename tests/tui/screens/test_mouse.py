"""What a click does on the bars and on the name of a page, and what the wheel does with shift."""

from __future__ import annotations

import numpy as np
import pytest
from textual import events

from tests.factories_memory import MemorySource
from tests.factories_screen import on_stage, ramp, small_model
from tui_params.tui.widgets.detail.tensor_detail import path_at


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 36)])
async def test_each_hint_of_the_footer_is_a_key(size: tuple[int, int]) -> None:
    async with on_stage(MemorySource(small_model()), size) as stage:
        bars, state = stage.screen.bars, stage.screen.bars.state
        words = {"search": "search", "keys": "help", "quit": "quit", "check": "scan", "problems": "problems"}
        seen = 0
        for word, name in words.items():
            at = stage.status.find(word)
            if at >= 0:
                seen += 1
                assert bars.key_at(bars.status, at, 0) == name
        assert seen >= 3
        assert bars.key_at(bars.status, size[0] - 1, 0) is None
        assert state.said == ""
        await stage.pilot.click("#status", offset=(stage.status.index("search"), 0))
        await stage.rest()
        assert stage.screen.search.display
        await stage.send("escape")
        await stage.go("layers.2")
        await stage.pilot.click("#status", offset=(stage.status.index("open"), 0))
        await stage.rest()
        assert "layers.2.attn" not in stage.names


async def test_the_badge_opens_the_list_of_what_is_wrong() -> None:
    async with on_stage(MemorySource({"w": np.full((8, 8), np.nan, np.float32), "x": ramp(3)})) as stage:
        await stage.press("S")
        await stage.rest()
        second = stage.header.splitlines()[1]
        await stage.pilot.click("#header", offset=(second.index("1 error"), 1))
        await stage.until(lambda: type(stage.app.screen).__name__ == "ProblemsScreen", "the list")
        await stage.send("escape")
        await stage.pilot.click("#header", offset=(2, 0))
        await stage.rest()
        assert stage.app.screen is stage.screen


async def test_a_segment_of_the_name_leads_to_its_module() -> None:
    async with on_stage(MemorySource(small_model())) as stage:
        await stage.go("layers.2.attn.bias")
        await stage.pilot.click("#facts", offset=(len("layers.2.a") + 1, 0))
        await stage.rest()
        assert stage.cursor == "layers.2.attn"
        await stage.pilot.click("#facts", offset=(2, 0))
        await stage.rest()
        assert stage.cursor == "layers"


def test_the_segment_at_a_cell_also_where_the_name_takes_lines() -> None:
    lines = [[("model.layers.", "title")], [("11.weight", "title")], [("[3]", "number")]]
    assert path_at(lines, 0, 0) == "model"
    assert path_at(lines, 0, 6) == "model.layers"
    assert path_at(lines, 1, 1) == "model.layers.11"
    assert path_at(lines, 1, 8) == "model.layers.11.weight"
    assert path_at(lines, 1, 9) is None
    assert path_at(lines, 2, 0) is None
    assert path_at([], 0, 0) is None


async def test_the_wheel_with_shift_moves_values_sideways() -> None:
    async with on_stage(MemorySource({"w": ramp(100, 100)})) as stage:
        grid = stage.screen.detail.grid

        def wheel(kind: type[events.MouseEvent], *, shift: bool) -> None:
            grid.post_message(kind(grid, 5, 2, 0, 0, 0, shift, False, False, 5, 2))

        before = stage.values.splitlines()[0].split()[0]
        wheel(events.MouseScrollDown, shift=True)
        await stage.until(lambda: stage.values.splitlines()[0].split()[0] == str(int(before) + 1), "one column on")
        wheel(events.MouseScrollRight, shift=False)
        await stage.until(lambda: stage.values.splitlines()[0].split()[0] == str(int(before) + 2), "two")
        wheel(events.MouseScrollUp, shift=True)
        wheel(events.MouseScrollLeft, shift=False)
        await stage.until(lambda: stage.values.splitlines()[0].split()[0] == before, "back")
