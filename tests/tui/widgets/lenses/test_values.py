"""The lens Values: walking, searching, formats, edges, copies."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Event
from typing import Any, TypeVar

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tests.factories_screen import PATIENCE, Stage, on_stage, ramp
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.tui import keys
from tui_params.tui.screens.tensor.ask_bar import AskField
from tui_params.tui.screens.tensor.copying import CopyScreen
from tui_params.tui.screens.tensor.screen import TensorScreen
from tui_params.tui.state.place import Place
from tui_params.tui.widgets.lenses.values import Values

Test = TypeVar("Test", bound=Callable[..., object])
COVERED: set[str] = set()


def covers(*ids: str) -> Callable[[Test], Test]:
    """Marks a test as one of what the keys of these ids do."""

    def mark(test: Test) -> Test:
        COVERED.update(f"cells.{name}" for name in ids)
        return test

    return mark


def keys_of(name: str) -> tuple[str, ...]:
    """The keys of an id, as Pilot presses them."""
    return tuple(next(key for key in keys.CELLS if key.id == f"cells.{name}").keys.split(","))


def test_every_key_has_a_test() -> None:
    assert {key.id for key in keys.CELLS} == COVERED


@asynccontextmanager
async def values_of(
    array: NDArray[Any], size: tuple[int, int] = (80, 24), source: MemorySource | None = None
) -> AsyncIterator[Stage]:
    async with on_stage(source or MemorySource({"a": array}), size=size) as stage:
        await stage.press("enter")
        yield stage


def lens_of(stage: Stage) -> Values:
    screen = stage.app.screen
    assert isinstance(screen, TensorScreen)
    assert isinstance(screen.lens, Values)
    return screen.lens


def index_of(stage: Stage) -> tuple[int, ...] | None:
    screen = stage.app.screen
    assert isinstance(screen, TensorScreen)
    return screen.place.index


def shown(stage: Stage) -> list[list[str]]:
    """The words of the lines of the sheet."""
    return [line.split() for line in lens_of(stage).plain().splitlines()]


@covers("up", "down", "left", "right", "page_up", "page_down", "page_left", "page_right")
async def test_keys_move_the_place_and_the_sheet_follows() -> None:
    async with values_of(ramp(500, 400)) as stage:
        for key in keys_of("down"):
            await stage.press(key)
        for key in keys_of("right"):
            await stage.press(key)
        assert index_of(stage) == (2, 2)
        for key in (*keys_of("up")[:1], *keys_of("left")[:1]):
            await stage.press(key)
        assert index_of(stage) == (1, 1)
        assert shown(stage)[0][0] == "0"
        for down, up in zip(keys_of("page_down"), keys_of("page_up"), strict=True):
            await stage.press(down)
            assert index_of(stage) == (19, 1)
            assert shown(stage)[1][0] == "18"
            await stage.press(up)
            assert index_of(stage) == (1, 1)
        across = len(shown(stage)[0]) - 1
        for right, left in zip(keys_of("page_right"), keys_of("page_left"), strict=True):
            await stage.press(right)
            assert index_of(stage) == (1, 1 + across)
            await stage.press(left)
            assert index_of(stage) == (1, 1)


@covers("row_start", "row_end", "first", "last")
async def test_the_ends_of_the_row_and_of_the_plane_are_gone_to() -> None:
    async with values_of(ramp(500, 400)) as stage:
        await stage.press("down", *keys_of("row_end"))
        assert index_of(stage) == (1, 399)
        await stage.press(*keys_of("row_start"))
        assert index_of(stage) == (1, 0)
        for last, first in ((keys_of("last")[0], keys_of("first")[0]), (keys_of("last")[1], keys_of("first")[0])):
            await stage.press(last)
            assert index_of(stage) == (499, 399)
            assert "199999" in shown(stage)[-1][-1].replace(",", "")
            await stage.press(first)
            assert index_of(stage) == (0, 0)


@pytest.mark.parametrize("shape", [(1000,), (1, 1000)])
async def test_a_plane_of_one_row_is_laid_out_in_lines(shape: tuple[int, ...]) -> None:
    async with values_of(ramp(*shape)) as stage:
        lines = shown(stage)
        per_line = len(lines[0])
        assert per_line % 5 == 0
        assert [line[0] for line in lines[1:4]] == ["0", str(per_line), str(2 * per_line)]
        await stage.press("down", "right")
        assert (index_of(stage) or ())[-1] == per_line + 1
        await stage.press("end")
        assert (index_of(stage) or ())[-1] == 2 * per_line - 1
        await stage.press("G")
        assert (index_of(stage) or ())[-1] == 999
        await stage.press("pageup", "home", "e")
        assert "One row has no edge" in stage.status


async def test_a_row_of_a_thousand_million_is_walked_in() -> None:
    array = np.broadcast_to(np.float32(2.5), (1, 10**9))
    source = MemorySource({"a": ramp(1)})
    source.listing = MemorySource({"a": ramp(1)}).listing
    reads = []

    class Sparse(MemorySource):
        def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
            reads.append(window.numel)
            return np.full(window.shape, 2.5, np.float32)

        def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Any:
            yield np.zeros(4, np.uint8)

    async with values_of(array, source=Sparse({"a": array})) as stage:
        await stage.press("G", "pageup", "up", "end")
        assert (index_of(stage) or ())[-1] > 10**9 - 10**3
        await stage.press("g", *"500000000", "enter")
    assert max(reads) < 1000


@covers("next", "previous")
async def test_nan_and_inf_are_stepped_through() -> None:
    array = ramp(60, 50)
    array[3, 4], array[40, 2], array[59, 49] = np.nan, np.inf, -np.inf
    async with values_of(array) as stage:
        seen = []
        for _ in range(4):
            await stage.press(*keys_of("next"))
            seen.append(index_of(stage))
        assert seen == [(3, 4), (40, 2), (59, 49), (3, 4)]
        assert "gone on from the other end" in stage.status
        await stage.press(*keys_of("previous"))
        assert index_of(stage) == (59, 49)
    async with values_of(ramp(3, 3)) as stage:
        await stage.press("n")
        assert "There is no NaN or Inf here" in stage.status


@covers("search")
async def test_values_are_searched() -> None:
    async with values_of(ramp(60, 50) - 100) as stage:
        await stage.press(*keys_of("search"))
        await stage.type(">2000")
        await stage.press("enter")
        assert index_of(stage) == (42, 1)
        assert "n finds >2000" in stage.lines[2]
        await stage.press("n")
        assert index_of(stage) == (42, 2)
        await stage.press("slash", *("equals_sign", "0"), "enter")
        assert index_of(stage) == (2, 0)
        await stage.press("n")
        assert "This is the only =0" in stage.status
        await stage.press("slash", *"abs", "greater_than_sign", *"5000", "enter")
        assert "There is no abs>5000 here" in stage.status
        await stage.press("slash", "question_mark")
        assert "is no condition" in stage.status
        await stage.press("enter", "escape", "slash", "enter", "n")
        assert "There is no NaN or Inf here" in stage.status


@covers("largest", "smallest")
async def test_the_largest_and_the_smallest_are_gone_to_in_the_slice() -> None:
    array = np.sin(ramp(60, 50))
    array[2, 2] = np.inf
    async with values_of(array) as stage:
        finite = np.where(np.isfinite(array), array, 0)

        def at(place: Any) -> tuple[int, ...]:
            return divmod(int(place), 50)

        await stage.press("a")
        assert index_of(stage) == at(finite.argmax())
        await stage.press("A")
        assert index_of(stage) == at(finite.argmin())
        await stage.press("v", *"5", "colon", "7", "enter", "a")
        assert index_of(stage) == at(5 * 50 + finite[5:7].argmax())
    async with values_of(np.full((3, 3), np.nan)) as stage:
        await stage.press("a")
        assert "There is no finite value here" in stage.status


async def test_a_search_can_be_given_up() -> None:
    gate, began = Event(), Event()

    class Slow(MemorySource):
        def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Any:
            for block in super().blocks(info, start, stop):
                yield block
                if start == 4096:  # the search, not the statistics
                    began.set()
                    assert gate.wait(PATIENCE)

    source = Slow({"a": ramp(200, 200)})
    async with values_of(ramp(1), source=source) as stage:
        await stage.press("g", *"20", "comma", *"95", "enter")
        await stage.send("n")
        await stage.until(began.is_set, "it searches")
        await stage.until(lambda: "searching NaN or Inf" in stage.lines[2], "it says so")
        await stage.send("escape")
        assert "searching" not in stage.text
        gate.set()
        await stage.rest()
        assert isinstance(stage.app.screen, TensorScreen)
        assert index_of(stage) == (20, 95)


@covers("format", "more_digits", "fewer_digits")
async def test_numbers_are_written_in_four_ways() -> None:
    async with values_of(np.array([[0.123456789, -2.5, 1e-9]])) as stage:
        assert shown(stage)[1][1:] == ["0.123", "-2.500", "1.0e-09"]
        for key in keys_of("more_digits"):
            await stage.press(key)
        assert shown(stage)[1][1] == "0.1235"
        for key in keys_of("fewer_digits"):
            await stage.press(key)
        assert "4 digits" in stage.lines[2]
        await stage.press(*keys_of("format"))
        assert shown(stage)[1][1:] == ["0.1235", "-2.5000", "1.0e-09"]
        assert "4 decimals" in stage.lines[2]
        await stage.press("f")
        assert shown(stage)[1][1:] == ["1.235e-01", "-2.500e+00", "1.000e-09"]
        await stage.press("f")
        assert shown(stage)[1][1:] == ["0x3fbf9add3739635f", "0xc004000000000000", "0x3e112e0be826d695"]
        assert "bits in hex" in stage.lines[2]
        await stage.press("f")
        assert shown(stage)[1][1] == "0.123"
        await stage.press(*keys_of("more_digits") * 30)
        assert "17 digits" in stage.lines[2]
        await stage.press(*keys_of("fewer_digits") * 30)
        assert "1 digit" in stage.lines[2]


@covers("edge")
async def test_the_edge_has_what_numpy_says_of_whole_rows_and_columns() -> None:
    array = np.sin(ramp(300, 70))
    array[250, 3] = np.nan
    async with values_of(array, (120, 36)) as stage:
        await stage.press("e")
        lines = shown(stage)
        assert lines[0][-3:] == ["min", "max", "mean"]
        low, high, mean = (float(word) for word in lines[3][-3:])
        assert low == pytest.approx(array[2].min(), rel=1e-2)
        assert high == pytest.approx(array[2].max(), rel=1e-2)
        assert mean == pytest.approx(array[2].mean(), rel=1e-2, abs=1e-4)
        assert lines[-3][0] == "min"
        assert float(lines[-3][1]) == pytest.approx(array[:, 0].min(), rel=1e-2)
        finite = array[:, 3][np.isfinite(array[:, 3])]
        assert lines[-1][4].endswith("!")
        assert float(lines[-1][4].rstrip("!")) == pytest.approx(finite.mean(), rel=3e-2)
        await stage.press("pagedown", "t", "e")
        assert "mean" not in shown(stage)[0]
    async with values_of(array, (60, 20)) as stage:
        await stage.press("e")
        assert "mean" in shown(stage)[0]
    async with values_of(array, (40, 12)) as stage:
        await stage.press("e")
        assert "no room for an edge" in stage.status
    async with values_of(np.ones((4, 4), np.complex64)) as stage:
        await stage.press("e")
        assert "no order" in stage.status
        assert "mean" not in stage.text


@covers("copy")
async def test_a_cell_a_row_and_the_window_are_copied_in_three_forms() -> None:
    array = ramp(6, 5)
    array[1, 1], array[1, 2] = np.nan, -np.inf
    async with values_of(array) as stage:
        CopyScreen.form = "python"
        await stage.press("down", "c", "c")
        assert stage.app.clipboard == "5.0"
        assert "Copied the value at [1, 0]" in stage.status
        await stage.press("c", "r")
        assert stage.app.clipboard == '[5.0, float("nan"), float("-inf"), 8.0, 9.0]'
        nan, inf = math.nan, math.inf
        assert eval(stage.app.clipboard)[3:] == [8.0, 9.0]
        await stage.press("c", "tab", "w")
        assert stage.app.clipboard.splitlines()[:2] == ["0.0,1.0,2.0,3.0,4.0", "5.0,nan,-inf,8.0,9.0"]
        await stage.press("c", "tab", "r")
        assert stage.app.clipboard.splitlines() == [
            "| | 0 | 1 | 2 | 3 | 4 |",
            "| --- | --- | --- | --- | --- | --- |",
            "| 1 | 5.0 | nan | -inf | 8.0 | 9.0 |",
        ]
        await stage.press("c", "tab", "escape")
        assert CopyScreen.form == "python"
        assert nan != inf
    async with values_of(ramp(2, 20_000)) as stage:
        await stage.press("c", "r")
        assert "The row has 20,000 values; at most 10,000 are copied" in stage.status


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array(3.5), "3.5"),
        (np.zeros((0, 3)), "There is nothing to show"),
        (ramp(*(2,) * 12), "0x00000000"),
        (np.array([[1 + 2j]], np.complex64), "1.0+2.0j"),
        (np.array([True, False]), "1"),
        (np.array([[1.5, -0.5]], ml_dtypes.float4_e2m1fn), "0x3"),
        (np.full((2, 2), np.nan), "NaN"),
        (np.array([np.inf, -np.inf], np.float16), "-Inf"),
        (np.full((3, 3), 5e-324), "4.941e-324"),
        (np.arange(6, dtype=np.uint64).reshape(2, 3) + 2**63, "9223372036854775808"),
    ],
    ids=str,
)
async def test_every_kind_of_tensor_is_shown_and_takes_every_key(array: NDArray[Any], words: str) -> None:
    async with values_of(array, (100, 24)) as stage:
        assert words in stage.text
        for key in keys.CELLS:
            await stage.press(key.keys.split(",")[0])
            is_open = not isinstance(stage.app.screen, TensorScreen) or isinstance(stage.app.screen.focused, AskField)
            await stage.press("escape" if is_open else "down")
        await stage.press("full_stop", "x", "X", "t")
        assert isinstance(stage.app.screen, TensorScreen)


async def test_a_click_moves_the_place_and_the_wheel_scrolls() -> None:
    async with values_of(ramp(100, 100)) as stage:
        lens = lens_of(stage)
        layout = lens._layout
        await stage.pilot.click(lens, offset=(layout.label_width + 2 * (layout.cell_width + 2) + 3, 4))
        await stage.rest()
        assert index_of(stage) == (3, 2)
        screen = stage.app.screen
        assert isinstance(screen, TensorScreen)
        assert isinstance(screen.place, Place)


async def test_only_what_is_in_sight_is_read() -> None:
    source = MemorySource({"a": ramp(2000, 1000)})
    async with values_of(ramp(1), source=source) as stage:
        source.windows.clear()
        await stage.press("pagedown", "G", "ctrl+right", "left", "t")
        assert sum(window.numel for window in source.windows) < 8 * 19 * 12
