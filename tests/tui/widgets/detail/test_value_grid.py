"""The values below the facts: slices, and moving over tensors of any number of dimensions."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.widgets import Input

from tests.factories_memory import MemorySource
from tests.factories_screen import Stage, on_stage, ramp
from tui_params.core.reading.grid import Grid, read_grid
from tui_params.tui.terminal.glyphs import UNICODE
from tui_params.tui.terminal.themes import tint_of
from tui_params.tui.widgets.detail.value_grid import grid_lines


async def slice_to(stage: Stage, expression: str) -> None:
    """Write a slice expression from nothing."""
    if not stage.screen.detail.field.has_focus:
        await stage.send("v")
    stage.screen.query_one("#slice", Input).value = ""
    await stage.type(expression)
    await stage.rest()


def numbers(stage: Stage) -> list[list[str]]:
    """The cells on screen, without labels of rows and columns."""
    return [line.split()[1:] for line in stage.values.splitlines()[1:]]


async def test_a_slice_shows_those_values() -> None:
    async with on_stage(MemorySource({"a": ramp(5, 6, 7)})) as stage:
        await slice_to(stage, "[2, 1:3, ::3]")
        assert [[float(cell) for cell in row] for row in numbers(stage)] == ramp(5, 6, 7)[2, 1:3, ::3].tolist()
        await slice_to(stage, "[-1, -1, -1]")
        assert "209" in stage.values
        await slice_to(stage, "")
        assert numbers(stage)[0][0] == "0"


async def test_a_wrong_slice_shows_its_reason_and_is_marked() -> None:
    async with on_stage(MemorySource({"a": ramp(4, 4)})) as stage:
        for expression in ("[9]", "[", "[0, 0, 0]", "abc", "[::0]", "[0.5]", "[red]x[/red]"):
            await slice_to(stage, expression)
            assert stage.screen.detail.field.has_class("wrong"), expression
            assert len(stage.values) > 10, expression
            assert not any("0.0" in cell for row in numbers(stage) for cell in row), expression
            assert not list(stage.app._notifications)
            await slice_to(stage, "[3]")
            assert not stage.screen.detail.field.has_class("wrong"), expression
            assert "15" in stage.values


async def test_a_slice_stays_for_the_next_tensor_of_the_same_shape_only() -> None:
    source = MemorySource({"a": ramp(4, 4), "b": ramp(4, 4) + 100, "c": ramp(2)})
    async with on_stage(source) as stage:
        await slice_to(stage, "[3]")
        await stage.press("escape", "down")
        assert stage.screen.detail.field.value == "[3]"
        assert "112" in stage.values
        await stage.press("down")
        assert stage.screen.detail.field.value == ""
        assert not stage.screen.detail.field.has_class("wrong")


async def test_a_matrix_is_walked_over_to_its_last_corner_and_no_further() -> None:
    async with on_stage(MemorySource({"a": ramp(30, 30)})) as stage:
        stage.screen.detail.grid.focus()
        await stage.press(*["down"] * 35, *["right"] * 35)
        assert "899" in stage.values
        await stage.press(*["up"] * 35, *["left"] * 35)
        assert numbers(stage)[0][0] == "0"


async def test_a_vector_is_walked_over() -> None:
    async with on_stage(MemorySource({"a": ramp(1000)})) as stage:
        stage.screen.detail.grid.focus()
        await stage.press("right")
        assert numbers(stage)[0][0].rstrip(".0") in ("1", "")
        across = len(numbers(stage)[0])
        await stage.press("home", "down")
        assert float(numbers(stage)[0][0]) == across
        await stage.press(*["pagedown"] * 40)
        assert "999" in stage.values
        await stage.press("home")
        assert float(numbers(stage)[0][0]) == 0


async def test_a_page_of_a_vector_goes_on_where_the_last_one_ended() -> None:
    async with on_stage(MemorySource({"a": ramp(1000)})) as stage:
        stage.screen.detail.grid.focus()
        await stage.rest()
        last = float(numbers(stage)[-1][-1])
        await stage.press("pagedown")
        assert float(numbers(stage)[0][0]) == last + 1
        await stage.press("pageup")
        assert float(numbers(stage)[0][0]) == 0


async def test_a_tensor_of_three_dimensions_is_walked_over() -> None:
    async with on_stage(MemorySource({"a": ramp(3, 30, 30)})) as stage:
        await slice_to(stage, "[1]")
        await stage.press("enter", "down", "right")
        assert float(numbers(stage)[0][0]) == 900 + 31
        await stage.press(*["pagedown"] * 9)
        assert "29" in [line.split()[0] for line in stage.values.splitlines()]


async def test_small_and_empty_tensors_can_be_walked_over_too() -> None:
    shapes: tuple[tuple[int, ...], ...] = ((), (0,), (0, 3), (3, 0), (1,), (1, 1, 1), (2, 0, 2))
    async with on_stage(MemorySource({f"a{shape}": ramp(*shape) + 7 for shape in shapes})) as stage:
        for shape in shapes:
            await stage.go(f"a{shape}")
            stage.screen.detail.grid.focus()
            await stage.press("down", "right", "pagedown", "up", "left", "pageup", "home", "j", "l")
            assert stage.app.is_running, shape
            assert stage.facts.startswith(f"a{shape}")
            if 0 not in shape:
                assert "7" in stage.values, shape
            await stage.press("escape")


async def test_the_wheel_moves_over_the_values() -> None:
    from textual import events

    async with on_stage(MemorySource({"a": ramp(90, 90)})) as stage:
        grid = stage.screen.detail.grid
        grid.post_message(events.MouseScrollDown(grid, 5, 5, 0, 0, 0, False, False, False, 5, 7))
        await stage.rest()
        assert float(numbers(stage)[0][0]) >= 90
        grid.post_message(events.MouseScrollUp(grid, 5, 5, 0, 0, 0, False, False, False, 5, 7))
        await stage.rest()
        assert float(numbers(stage)[0][0]) == 0


async def test_what_is_not_a_plain_number_has_its_own_style() -> None:
    values = np.array([[np.nan, 0, 1], [np.inf, -np.inf, 2]], np.float32)
    async with on_stage(MemorySource({"a": values})) as stage:
        styles = {words.strip(): style for line in stage.screen.detail.grid.lines for words, style in line}
        assert styles["NaN"] == styles["+Inf"] == styles["-Inf"] == "error"
        assert styles["0"] not in ("error", "number")


async def test_values_of_the_gradient() -> None:
    source = MemorySource({"a": ramp(3, 3), "a.grad": ramp(3, 3) + 500})
    tensors = {info.name: msgspec.structs.replace(info, kind="parameter") for info in source.listing.tensors}
    gradient = msgspec.structs.replace(tensors.pop("a.grad"), kind="gradient")
    source.listing = msgspec.structs.replace(source.listing, tensors=tuple(tensors.values()), gradients={"a": gradient})
    async with on_stage(source) as stage:
        await stage.press("g")
        assert "508" in stage.values
        await slice_to(stage, "[1]")
        assert "503" in stage.values
        await stage.press("escape", "g")
        assert "503" not in stage.values
        assert "3" in stage.values


async def test_only_what_is_on_screen_is_read() -> None:
    source = MemorySource({"a": ramp(500, 500)})
    async with on_stage(source) as stage:
        source.elements_read = 0
        stage.screen.detail.grid.focus()
        await stage.press("pagedown", "right")
        assert 0 < source.elements_read < 5000


async def test_the_values_grow_with_the_terminal() -> None:
    async with on_stage(MemorySource({"a": ramp(90, 90)})) as stage:
        before = len(numbers(stage)) * len(numbers(stage)[0])
        await stage.pilot.resize_terminal(200, 60)
        await stage.rest()
        assert len(numbers(stage)) * len(numbers(stage)[0]) > before


async def test_the_values_stand_in_the_window_of_the_caption() -> None:
    async with on_stage(MemorySource({"a": ramp(90, 90)})) as stage:
        stage.screen.detail.grid.focus()
        await stage.press("down", "down", "right")
        assert "[2:" in stage.text
        assert stage.values.splitlines()[1].split()[0] == "2"
        assert stage.values.splitlines()[0].split()[0] == "1"


async def test_the_caption_is_whole_or_says_where_the_values_begin() -> None:
    values = np.full((4100, 4000), 0.25, np.float16)
    values[4000, 3998] = np.nan
    async with on_stage(MemorySource({"a": ramp(2), "b": values}), (80, 24)) as stage:
        await stage.go("b")
        await stage.press("exclamation_mark")
        await stage.press("enter")
        assert "values v: slice from [3998, 3996]" in " ".join(stage.text.split())
        await stage.pilot.resize_terminal(120, 36)
        await stage.rest()
        assert " of [4100, 4000]" in stage.text
        assert "[3998:" in stage.text
        await stage.pilot.resize_terminal(80, 24)
        await slice_to(stage, "[10:20, 4:9]")
        await stage.press("escape")
        assert "[10:20, 4:9]" in stage.text


def grid_of(array: np.ndarray, columns: int = 4) -> Grid:
    source = MemorySource({"a": array})
    return read_grid(source, source.find("a"), "", 9, columns)


def test_values_are_tinted_by_their_sign_and_size() -> None:
    grid = grid_of(np.array([[1.0, -1.0, 0.5, -0.49], [0.1, -0.09, 0.0, np.nan], [np.inf, -np.inf, -0.0, 1e-30]]))
    assert grid.largest == 1.0
    assert grid.sizes == ((3, -3, 3, -2), (2, -1, 0, 0), (0, 0, 0, 1))
    styles = [style for _, style in grid_lines(grid, None, 80, UNICODE)[1]]
    assert styles == ["dim", "positive-3", "negative-3", "positive-3", "negative-2"]


@pytest.mark.parametrize("dtype", [np.bool_, np.complex64])
def test_what_has_no_sign_has_no_tint(dtype: type) -> None:
    assert {size for row in grid_of(np.array([[1, 0]]).astype(dtype)).sizes for size in row} == {0}


def test_integers_nothing_and_subnormals_are_tinted_too() -> None:
    assert grid_of(np.array([[-(2**63), 2**62, 1]])).sizes == ((-3, 3, 1),)
    assert grid_of(np.zeros((0, 3))).sizes == ()
    assert grid_of(np.array(5e-324)).sizes == ((3,),)


@given(st.lists(st.floats(allow_nan=True, width=32), min_size=1, max_size=12))
def test_a_tint_never_contradicts_its_number(values: list[float]) -> None:
    grid = grid_of(np.array(values, np.float32), 20)
    sizes = [size for row in grid.sizes for size in row]
    for value, size in zip(values, sizes, strict=True):
        assert (size > 0) == (value > 0 and np.isfinite(value))
        assert (size < 0) == (value < 0 and np.isfinite(value))
        assert abs(size) != 3 or abs(value) >= grid.largest / 2


def test_the_scale_stands_where_there_is_room() -> None:
    grid = grid_of(np.array([[1.5, -3.25]]))
    widths = [grid.width + room for room in (5, 13, 40)]
    none, short, full = ("".join(part for part, _ in grid_lines(grid, None, width, UNICODE)[0]) for width in widths)
    assert "█" not in none
    assert short.endswith("- ██████ +")
    assert full.endswith("-3.25 ██████ 3.25")
    assert [len(short), len(full)] == widths[1:]


async def test_with_few_colours_or_none_numbers_are_plain() -> None:
    tints = [tint_of(size) for size in (-3, -2, -1, 1, 2, 3)]
    async with on_stage() as stage:
        assert len({stage.app.inks[tint] for tint in tints}) == 6
        stage.app.theme = "ansi-dark"
        assert {stage.app.inks[tint] for tint in tints} == {stage.app.inks["number"]}
        stage.app.theme = "quiet-light"
        stage.app.no_color = True
        assert {stage.app.inks[tint] for tint in tints} == {stage.app.inks["number"]}
