"""The lens Spectrum: figures and curve, the picture before all values, and sentences where there are none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tests.factories_screen import PATIENCE, Stage, on_stage, ramp
from tui_params.core.numbers.spectrum.spectrum import PowerLaw, derived
from tui_params.core.reading import spectrum_reading
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.tui.screens.tensor.lenses import LENSES
from tui_params.tui.screens.tensor.screen import TensorScreen
from tui_params.tui.terminal.glyphs import ASCII, UNICODE, Glyphs
from tui_params.tui.widgets.canvas import line_width
from tui_params.tui.widgets.lenses.spectrum import Spectrum
from tui_params.tui.widgets.lenses.spectrum_curve import draw
from tui_params.tui.widgets.lenses.spectrum_lines import View, room_of, spectrum_lines

KEY = str(next(number for number, entry in enumerate(LENSES, 1) if entry.slot == "spectrum"))


def falling(rows: int, columns: int) -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(rows, columns)), random.normal(size=(columns, columns))
    whole: NDArray[np.float32] = ((left * np.arange(1, columns + 1) ** -0.9) @ right).astype(np.float32)
    return whole


@asynccontextmanager
async def seen(source: MemorySource, name: str, size: tuple[int, int] = (100, 30)) -> AsyncIterator[Stage]:
    async with on_stage(source, size=size) as stage:
        await stage.go(name)
        await stage.press("enter", KEY)
        await stage.rest()
        yield stage


def lens_of(stage: Stage) -> Spectrum:
    screen = stage.app.screen
    assert isinstance(screen, TensorScreen)
    assert isinstance(screen.lens, Spectrum)
    return screen.lens


async def test_the_figures_are_there_and_the_cursor_walks() -> None:
    array = falling(60, 40)
    true = np.linalg.svd(array.astype(np.float64), compute_uv=False)
    async with seen(MemorySource({"w": array}), "w") as stage:
        assert "60 × 40  all values" in stage.lines[2]
        assert "All 40 values by svd in float64" in stage.lines[3]
        assert f"spectral norm  {true[0]:.4g}" in stage.text
        assert f"stable rank    {(true**2).sum() / true[0] ** 2:.4g}"[:19] in stage.text
        assert "rank           40, full" in stage.text
        assert "tail" in stage.text
        for key, number in (
            ("down", 2),
            ("right", 3),
            ("up", 2),
            ("left", 1),
            ("up", 1),
            ("pagedown", 11),
            ("end", 40),
        ):
            await stage.press(key)
            assert f" s{number} = {true[number - 1]:#.4g}"[:12] in stage.text, key
        await stage.press("pageup")
        assert " s30 = " in stage.text
        await stage.press("home")
        assert " s1 = " in stage.text
        before = lens_of(stage).plain()
        await stage.press("s")
        await stage.rest()
        assert lens_of(stage).plain() != before
        assert not lens_of(stage).is_log
        await stage.press("e")
        assert "All values are there." in stage.text
        await stage.press("o")
        assert "There is only one plane" in stage.text


async def test_a_kernel_is_out_x_rest_or_a_plane() -> None:
    async with seen(MemorySource({"conv": falling(24, 54).reshape(24, 6, 3, 3)}), "conv") as stage:
        assert "24 × 54, out x rest" in stage.lines[2]
        assert "weightwatcher  alpha" in stage.text
        await stage.press("o")
        await stage.rest()
        assert "24 × 6  all values" in stage.lines[2]
        assert "weightwatcher" not in stage.text
        await stage.press("full_stop")
        await stage.rest()
        assert "[0, 0, 0, 1]" in stage.lines[1]
        assert "All 6 values" in stage.text


BAD = np.full((3, 4), np.nan, np.float32)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (BAD, "12 NaN among 12 values: a matrix with such values has no singular values"),
        (np.zeros((5, 4), np.float32), "All 4 singular values are 0"),
        (np.zeros((0, 4), np.float32), "There are no elements, and so no singular values"),
        (np.full(16, 2.0), "One row or column has one singular value: its norm."),
        (np.full((), 2.0), "One row or column has one singular value: its norm."),
    ],
)
async def test_what_has_no_spectrum_says_so(array: NDArray[Any], words: str) -> None:
    async with seen(MemorySource({"w": array}), "w") as stage:
        assert words in stage.text
        await stage.press("down", "end", "s", "e", "o", "home")
        assert words in stage.text


async def test_a_large_one_stays_a_picture_until_all_values_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum_reading, "MOST_UNASKED", 100)
    async with seen(MemorySource({"w": falling(300, 280)}), "w") as stage:
        assert "picture" in stage.lines[2]
        assert "Picture: the largest" in stage.text
        assert "within" in stage.text
        await stage.press("e")
        await stage.rest()
        assert "All 280 values" in stage.text


async def test_one_that_is_too_large_is_a_picture_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum_reading, "MOST_UNASKED", 100)
    monkeypatch.setattr(spectrum_reading, "MOST", 200)
    async with seen(MemorySource({"w": falling(300, 280)}), "w", (200, 30)) as stage:
        assert "all 280 values would take 1.20 MiB and hours; 200 values are the most" in stage.text
        await stage.press("e")
        assert "values are the most." in stage.status


class Gated(MemorySource):
    """Reads of more than a few values wait."""

    def __init__(self, name: str, array: NDArray[Any]) -> None:
        super().__init__({name: array})
        self.gate = Event()
        self.is_waiting = Event()
        self.large = 0

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        if window.numel > 3000:
            self.large += 1
            self.is_waiting.set()
            assert self.gate.wait(PATIENCE)
        return super().read_window(info, window)


async def test_escape_stops_it_and_e_goes_on_and_what_was_found_is_kept() -> None:
    source = Gated("w", falling(80, 60))
    async with on_stage(source, size=(100, 30)) as stage:
        await stage.go("w")
        await stage.press("enter")
        await stage.send(KEY)
        await stage.until(source.is_waiting.is_set, "it is read")
        await stage.send("escape")
        assert isinstance(stage.app.screen, TensorScreen)
        assert "Stopped; e reads it." in stage.text
        source.gate.set()
        await stage.press("e")
        await stage.rest()
        assert "All 60 values" in stage.text
        reads = source.large
        await stage.press("1", KEY)
        await stage.rest()
        assert "All 60 values" in stage.text
        assert source.large == reads


async def test_the_help_has_every_formula() -> None:
    async with seen(MemorySource({"w": ramp(3, 4)}), "w", (100, 100)) as stage:
        await stage.press("question_mark")
        for words in ("What it shows", "sum s^2 / s1^2", "exp(-sum p ln p)", "weightwatcher 0.7.7", "Roy and Vetterli"):
            assert words in stage.text


def view(width: int, height: int, glyphs: Glyphs, *, is_log: bool) -> View:
    values = [10.0 ** (-place / 4) for place in range(40)]
    found = msgspec.structs.replace(
        derived(50, 40, values, 2.0, "gram", 1e-6), power_law=PowerLaw(2.5, 0.1, 0.05, 0.1, 9, 24, 40), stored_rank=12
    )
    room = room_of(width, height, 10)
    return View(
        found, found.shares(), draw(found, room.columns, room.rows, is_log, glyphs), 3, ("a", "b"), "dim", glyphs
    )


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("is_log", [True, False])
@pytest.mark.parametrize(("width", "height"), [(30, 8), (40, 12), (60, 16), (76, 20), (80, 20), (120, 32), (200, 56)])
def test_it_fits_every_size(width: int, height: int, is_log: bool, glyphs: Glyphs) -> None:
    lines = spectrum_lines(view(width, height, glyphs, is_log=is_log), width, height)
    words = ["".join(text for text, _ in line) for line in lines]
    assert len(lines) <= height
    assert all(line_width(line) <= width for line in lines)
    assert any(line.lstrip().startswith("spectral norm  1" if width < 76 else "") for line in words)
    if width >= 60:
        assert any("floor" in line for line in words)
        assert any(">= 1e6" in line or "≥ 1e6" in line for line in words)
    if glyphs.is_ascii:
        assert all(line.isascii() for line in words)
