"""The heat map on the tensor screen: what it shows, and what its keys do."""

from __future__ import annotations

from threading import Event
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tests.factories_screen import GatedSource, Stage, on_stage, ramp
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.errors import ReadError
from tui_params.tui import keys
from tui_params.tui.screens.tensor.screen import TensorScreen
from tui_params.tui.terminal.glyphs import ASCII
from tui_params.tui.widgets.lenses.heat_map import HeatMap


def planted() -> NDArray[np.float32]:
    """Noise with a NaN, a column of outliers, a dead row, a dead column."""
    found = np.random.default_rng(0).integers(-1000, 1001, (900, 700)).astype(np.float32)
    found[:, 300] *= 40
    found[500, 123] = np.nan
    found[777] = 0
    found[:, 50] = 0
    return found


def lens_of(stage: Stage) -> HeatMap:
    screen = stage.app.screen
    assert isinstance(screen, TensorScreen)
    assert isinstance(screen.lens, HeatMap)
    return screen.lens


def words(stage: Stage) -> list[str]:
    return lens_of(stage).plain().split("\n")


def state(stage: Stage) -> str:
    return "".join(piece for piece, _ in lens_of(stage).state)


def zoom(stage: Stage) -> tuple[int, int, int]:
    """How far one has zoomed in, and how much is seen."""
    found = lens_of(stage)._zoom
    assert found is not None
    return found.level, found.seen.height, found.seen.width


def place(stage: Stage) -> tuple[int, ...]:
    screen = stage.app.screen
    assert isinstance(screen, TensorScreen)
    index = screen.place.index
    assert index is not None
    return index


async def test_what_was_planted_is_seen_without_any_colour() -> None:
    async with on_stage(MemorySource({"a": planted()}), glyphs=ASCII, size=(80, 24)) as stage:
        await stage.press("i", "2")
        lines = words(stage)
        assert sum("N" in line[:-1] for line in lines[:16]) == 1
        assert "NaN or Inf in 1" in lines[-2]
        assert [line for line in lines[:16] if line.endswith(" 0")]
        assert lines[16].count("0") == 1
        await stage.press("s")
        lines = words(stage)
        column = lines[3].index("@")
        assert all(line[column] == "@" for line in lines[:16])
        assert state(stage).startswith("RMS of ")


async def test_the_line_below_names_the_block_and_what_is_in_it() -> None:
    values = planted()
    async with on_stage(MemorySource({"a": values}), size=(120, 36)) as stage:
        await stage.press("i", "2", "down", "right", "right")
        lens = lens_of(stage)
        row, column = place(stage)
        line = words(stage)[-1]
        where = line[1 : line.index("]")]
        (top, bottom), (left, right) = (tuple(map(int, part.split(":"))) for part in where.split(", "))
        assert (row, column) == (top, left)
        block = values[top:bottom, left:right].astype(np.float64)
        assert f"{block.size:,} values" in line
        assert f"{block.min():.3g}" in line
        assert lens.is_settled


async def test_zooming_in_ends_at_the_values_themselves() -> None:
    async with on_stage(MemorySource({"a": ramp(900, 700)}), size=(120, 36)) as stage:
        await stage.press("i", "2", "g", *"450", "comma", *"350", "enter")
        assert place(stage) == (450, 350)
        for _ in range(12):
            await stage.press("plus")
            assert place(stage) == (450, 350)
        assert state(stage) == "single values"
        row = next(line for line in words(stage) if line.startswith("450▸"))
        assert "315,350" in row or "3.15e5" in row
        await stage.press("z")
        assert "of" in state(stage)
        await stage.press("plus", "escape")
        assert isinstance(stage.app.screen, TensorScreen)  # the first escape shows the whole plane
        assert lens_of(stage).state


async def test_the_place_is_that_of_the_values() -> None:
    async with on_stage(MemorySource({"a": ramp(90, 70)}), size=(80, 24)) as stage:
        await stage.press("i", "2", "down", "down", "right", "enter")
        screen = stage.app.screen
        assert isinstance(screen, TensorScreen)
        assert screen.lens is not None
        assert screen.lens.slot == "cells"
        there = place(stage)
        assert there[0] > 0
        await stage.press("2")
        assert place(stage) == there


async def test_n_goes_to_the_next_nan_with_zoom_and_lens_kept() -> None:
    values = planted()
    values[3, 600] = np.inf
    async with on_stage(MemorySource({"a": values}), size=(80, 24)) as stage:
        await stage.press("i", "2", "s", "plus", "plus", "n")
        assert place(stage) == (3, 600)
        before = zoom(stage)
        assert "1 Inf" in words(stage)[-1]
        await stage.press("n")
        assert place(stage) == (500, 123)
        assert zoom(stage) == before
        assert "1 NaN" in words(stage)[-1]
        await stage.press("n")
        assert place(stage) == (3, 600)
        assert "gone on from the other end" in stage.lines[-1]
        await stage.press("N")
        assert place(stage) == (500, 123)


async def test_what_is_sought_is_the_same_in_values_and_in_the_heat_map() -> None:
    values = ramp(30, 20)
    values[4, 5] = -7
    async with on_stage(MemorySource({"a": values}), size=(80, 24)) as stage:
        await stage.press("i", "2", "slash")
        await stage.type("<0")
        await stage.press("enter")
        assert place(stage) == (4, 5)
        assert state(stage).startswith("n finds <0")
        await stage.press("1", "home", "n")
        assert place(stage) == (4, 5)
        await stage.press("2", "slash")
        await stage.type("nonsense")
        assert "nonsense" in stage.lines[-1]
        await stage.press("escape", "slash", "enter")  # nothing is NaN and Inf again
        assert "There is no NaN or Inf" in stage.lines[-1]


async def test_n_goes_on_in_the_next_plane() -> None:
    values = ramp(2, 3, 40, 50)
    values[1, 2, 30, 7] = np.nan
    async with on_stage(MemorySource({"a": values}), size=(80, 24)) as stage:
        await stage.press("i", "2", "plus", "n")
        assert place(stage) == (1, 2, 30, 7)
        assert "1 NaN" in words(stage)[-1]
        zoomed = state(stage)
        await stage.press("comma")
        assert place(stage) == (1, 1, 30, 7)
        assert state(stage) == zoomed  # what is seen of a plane is seen of the next


async def test_escape_stops_a_search_first() -> None:
    source = GatedSource({"a": ramp(900, 700)}, ("a",))
    async with on_stage(source, size=(80, 24), is_settled=False) as stage:
        source.open_gates()
        await stage.press("i", "2", "plus")
        lens, source.gates["a"] = lens_of(stage), Event()
        await stage.send("n")
        await stage.until(source.started["a"].is_set, "search")
        assert state(stage).startswith("searching NaN or Inf")
        await stage.send("escape")
        assert not lens.seeking.is_running
        assert state(stage).startswith("mean of ")
        source.open_gates()
        await stage.rest()
        assert lens_of(stage) is lens


@pytest.mark.parametrize("shape", [(900, 700), (3,), (), (0, 3)], ids=str)
async def test_no_key_leaves_the_plane(shape: tuple[int, ...]) -> None:
    names = [name for key in keys.HEAT for name in key.keys.split(",") if key.id != "heat.open"]
    async with on_stage(MemorySource({"a": ramp(*shape)}), size=(60, 20)) as stage:
        await stage.press("i", "2", "plus", *names, "minus", *reversed(names), "plus", *names[::2])
        screen = stage.app.screen
        assert isinstance(screen, TensorScreen)
        assert lens_of(stage).plain()
        index = screen.place.index
        assert index is None or all(at < length for at, length in zip(index, shape, strict=True))


async def test_moving_beyond_the_edge_moves_what_is_seen() -> None:
    async with on_stage(MemorySource({"a": ramp(900, 700)}), size=(80, 24)) as stage:
        await stage.press("i", "2", "plus", "plus", "plus")
        assert place(stage) == (0, 0)
        await stage.press("pagedown", "ctrl+right")
        first = place(stage)
        assert first[0] > 0
        assert first[1] > 0
        await stage.press(*("down",) * 40)
        assert place(stage)[0] > first[0] + 40
        await stage.press("ctrl+end")
        assert place(stage) == (899, 699)
        await stage.press("home")
        assert place(stage) == (899, 0)
        await stage.press("ctrl+home")
        assert place(stage) == (0, 0)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((0, 4), np.float32), "There is nothing to show"),
        (np.array(3.5), "3.5"),
        (np.zeros((5, 5), np.float32), "row 0 is zero"),
        (np.full((5, 5), np.nan, np.float32), "1 NaN"),
        (np.full((5, 5), -np.inf, np.float32), "1 Inf"),
        (np.full((5, 5), 1e-45, np.float32), "1.4013e-45"),
        (np.ones((1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 2), np.float16), "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0:1, 0:1]"),
        (np.array([[3 + 4j, 1]]), "5"),
        (np.array(3 + 4j), "5"),
        (np.array(True), "1"),
        (np.array([[True, False]]), "1"),
    ],
)
async def test_odd_tensors(array: NDArray[Any], said: str) -> None:
    async with on_stage(MemorySource({"a": array}), size=(80, 24)) as stage:
        await stage.press("i", "2")
        assert said in lens_of(stage).plain()


async def test_what_cannot_be_read_says_why() -> None:
    source = MemorySource(
        {"a": ramp(5, 5), "b": ramp(5, 5)}, unreadable={"a": "it is cut off"}, broken={"b": "it is gone"}
    )
    async with on_stage(source, size=(80, 24)) as stage:
        await stage.press("i", "2")
        assert "it is cut off" in lens_of(stage).plain()
        await stage.press("escape", "down", "i", "2")
        assert "it is gone" in lens_of(stage).plain()


class Vanishing(MemorySource):
    """A source whose windows cannot be read after a while."""

    is_gone = False

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        if self.is_gone:
            raise ReadError("the file is not there any more")
        return super().read_window(info, window)


async def test_a_file_that_vanishes_leaves_the_picture_and_says_so() -> None:
    source = Vanishing({"a": ramp(3000, 700)})
    async with on_stage(source, size=(80, 24)) as stage:
        await stage.press("i", "2")
        before = state(stage)
        source.is_gone = True
        await stage.press("down")
        assert state(stage) == before
        assert "the file is not there any more" in stage.text
        assert "mean" in words(stage)[-1]  # what the picture knows of the block


async def test_nothing_is_read_again_to_zoom_in_a_small_matrix() -> None:
    source = MemorySource({"a": ramp(400, 300)})
    async with on_stage(source, size=(80, 24)) as stage:
        await stage.press("i", "2")
        read = source.elements_read
        await stage.press("plus", "plus", "down", "s", "a", "minus", "z")
        assert source.elements_read - read < 4000  # the blocks at the place


@pytest.mark.parametrize("size", [(40, 12), (20, 8), (10, 5), (300, 90)])
async def test_small_and_large_terminals(size: tuple[int, int]) -> None:
    async with on_stage(MemorySource({"a": planted()}), size=size) as stage:
        await stage.press("i", "2", "s", "a", "plus", "plus", "down", "right")
        assert size[0] < 20 or all(len(line) <= size[0] for line in words(stage))


async def test_values_that_change_are_read_again_and_the_old_picture_stays_meanwhile() -> None:
    source = MemorySource({"a": ramp(40, 30)})
    async with on_stage(source, size=(80, 24)) as stage:
        await stage.press("i", "2")
        lens = lens_of(stage)
        seen = lens.seen
        assert seen is not None
        before = words(stage)
        source.arrays["a"] = -ramp(40, 30) - 1
        lens.show(msgspec.structs.replace(seen, version="another"))
        assert "before the last change" in state(stage)
        assert words(stage)[:-2] == before[:-2]
        await stage.rest()
        assert "before the last change" not in state(stage)
        assert words(stage)[-1].endswith("-1")
