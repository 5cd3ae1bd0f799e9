"""What a quick screen relies on in Textual."""

from __future__ import annotations

from tests.factories_memory import MemorySource
from tests.factories_screen import on_stage, ramp
from tui_params.tui.terminal.quick_screen import FRAME, QuickScreen


async def test_the_frames_of_the_tensor_screen_are_short() -> None:
    async with on_stage(MemorySource({"a": ramp(3, 4)})) as stage:
        await stage.press("enter")
        screen = stage.app.screen
        assert isinstance(screen, QuickScreen)
        timer = screen._update_timer
        assert timer is screen._update_timer
        assert timer._interval == FRAME
        assert timer._repeat is None
        await stage.press("right")
        assert "[0, 1] = 1.0" in stage.lines[1]
