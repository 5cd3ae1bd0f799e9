"""The strips around the panes: what is at the right stays, what is at the left gives way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.factories_memory import MemorySource
from tests.factories_screen import on_stage, ramp
from tui_params.core.findings import Finding
from tui_params.tui.screens.explorer.status import header_lines, status_lines
from tui_params.tui.widgets.bars import spread

Parts = list[tuple[str, str]]

parts = st.lists(st.tuples(st.text("ab ·…é", max_size=12), st.just("text")), max_size=4)


@given(parts, parts, st.integers(1, 80))
def test_the_right_end_stands_at_the_right(
    left: list[tuple[str, str]], right: list[tuple[str, str]], width: int
) -> None:
    line = "".join(text for text, _ in spread(left, right, width))
    end = "".join(text for text, _ in right)
    if len(end) <= width:
        assert cell_len(line) == width
        assert line.endswith(end)
        if len("".join(text for text, _ in left)) + len(end) + 2 <= width:
            assert line.startswith("".join(text for text, _ in left))


@pytest.mark.parametrize(
    "label", ["a", "重み" * 60, "x" * 500, "a\x1b[31m\n[bold]"], ids=["short", "wide", "long", "odd"]
)
async def test_header_and_status_fit_every_width(label: str) -> None:
    finding = Finding("error", "missing-shard", None, "a shard is missing")
    source = MemorySource({"w.a": ramp(3, 3), "w.b": ramp(2)}, label=label, findings=(finding,))
    async with on_stage(source) as stage:
        for is_filtered in (False, True):
            if is_filtered:
                await stage.send("slash")
                await stage.type("a very long filter that matches nothing at all")
                await stage.press("enter")
            state = stage.screen.bars.state
            for width in range(30, 131):
                for line in (*header_lines(state, width), *status_lines(state, width)):
                    words = "".join(text for text, _ in line)
                    assert cell_len(words) <= width, (width, words)
                    assert "\x1b" not in words
        assert "missing-shard" in stage.header
