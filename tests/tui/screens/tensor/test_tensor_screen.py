"""The screen inside one tensor: how one comes to it, walks in it and leaves it, and what its lines say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file
from textual.screen import Screen
from textual.widget import Widget

from tests.factories_memory import MemorySource
from tests.factories_screen import PATIENCE, Arrays, GatedSource, Stage, on_stage, ramp
from tui_params.api.opening import open_source
from tui_params.core.figures import Figures
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.errors import SourceChangedError
from tui_params.tui import keys
from tui_params.tui.screens.tensor.help import TensorHelp
from tui_params.tui.screens.tensor.lenses import LENSES, KeyIds, lens_keys
from tui_params.tui.screens.tensor.screen import TensorScreen
from tui_params.tui.terminal.glyphs import ASCII

Test = TypeVar("Test", bound=Callable[..., object])
COVERED: set[str] = set()


def covers(*ids: str) -> Callable[[Test], Test]:
    """Marks a test as one of what the keys of these ids do."""

    def mark(test: Test) -> Test:
        COVERED.update(ids)
        return test

    return mark


def keys_of(id_: str) -> tuple[str, ...]:
    """The keys of an id, as Pilot presses them."""
    return tuple(next(key for key in keys.TENSOR if key.id == id_).keys.split(","))


def test_every_key_has_a_test() -> None:
    ids = {key.id for key in keys.TENSOR}
    # The way back is tested in test_keys.py, the palette as that of the main screen.
    assert ids - COVERED == {"tensor.back", "tensor.palette"}


@pytest.mark.parametrize("entry", LENSES, ids=lambda entry: entry.slot)
def test_no_key_stands_for_two_things_and_each_is_explained(entry: object) -> None:
    kind = next(lens for lens in LENSES if lens is entry).kind
    table = (*keys.TENSOR, *lens_keys(), *kind.KEYS)
    used = [key for line in table for key in line.keys.split(",")]
    assert len(used) == len(set(used))
    assert all(key.tooltip and key.label and key.shown for key in table)
    assert {key.id.partition(".")[0] for key in kind.KEYS} == {kind.slot}
    assert set(kind.HINTS) <= {key.id for key in kind.KEYS}


def test_a_user_can_give_keys_to_all_ids() -> None:
    known = KeyIds()
    assert "search" in known
    assert "tensor.slice" in known
    assert "cells.format" in known
    assert "tensor.lens_cells" in known
    assert "cells.nothing" not in known
    assert len(known) == len(list(known)) == len(set(known))


def layers() -> Arrays:
    """Four dimensions, in layers of which the last is smaller; something that is in no layer."""
    arrays: Arrays = {f"layers.{place}.w": ramp(3, 4, 20, 30) + 10_000 * place for place in (0, 2, 10)}
    arrays["layers.11.w"] = ramp(2, 4, 10, 30)
    arrays["head"] = ramp(40, 50)
    return arrays


@asynccontextmanager
async def inside(name: str = "layers.0.w", size: tuple[int, int] = (100, 24)) -> AsyncIterator[Stage]:
    async with on_stage(MemorySource(layers()), size=size) as stage:
        await stage.go(name)
        await stage.press("enter")
        yield stage


def screen_of(stage: Stage) -> TensorScreen:
    top = stage.app.screen
    assert isinstance(top, TensorScreen)
    return top


async def test_the_header_says_tensor_shape_type_place_and_value() -> None:
    async with inside() as stage:
        assert stage.lines[0].split() == ["layers.0.w", "[3,", "4,", "20,", "30]", "f32", "28.1", "KiB"]
        assert stage.lines[1].startswith(" [0, 0, 0, 0] = 0  0x00000000")
        assert stage.lines[1].rstrip().endswith("plane 1 of 12  [0, 0, ↓, →]")
        await stage.press("down", "right", "right")
        assert stage.lines[1].startswith(" [0, 0, 1, 2] = 32.0  0x42000000")


@covers("tensor.next_plane", "tensor.previous_plane")
async def test_planes_are_stepped_through_at_the_same_position() -> None:
    async with inside() as stage:
        await stage.press("down", *keys_of("tensor.next_plane"))
        assert stage.lines[1].startswith(" [0, 1, 1, 0] = 630.0")
        await stage.press(*keys_of("tensor.previous_plane") * 2)
        assert stage.lines[1].startswith(" [2, 3, 1, 0] = ")
    async with inside("head") as stage:
        await stage.press("full_stop")
        assert "There is no other plane" in stage.status


@covers("tensor.across", "tensor.down", "tensor.transpose")
async def test_other_axes_lie_down_and_the_element_stays() -> None:
    async with inside() as stage:
        await stage.press("down", "right", "full_stop")
        before = stage.lines[1].split("=")[0]
        await stage.press("t")
        assert "[0, 1, →, ↓]" in stage.lines[1]
        await stage.press("x")
        assert "[→, 1, 1, ↓]" in stage.lines[1]
        seen = set()
        for key in ("x", "X", "x", "t", "X", "x"):
            await stage.press(key)
            assert stage.lines[1].split("=")[0] == before
            seen.add(screen_of(stage).place.plane.rows)
        assert len(seen) > 1
    async with inside("head") as stage:
        await stage.press("right", "down", "down", "t")
        assert stage.lines[1].startswith(" [2, 1] = 101.0")
        await stage.press("x")
        assert "There is no other axis" in stage.status


@covers("tensor.next_layer", "tensor.previous_layer")
async def test_layers_are_stepped_through_with_the_place_kept() -> None:
    async with inside() as stage:
        await stage.press("full_stop", "down", *keys_of("tensor.next_layer"))
        assert "layers.2.w" in stage.lines[0]
        assert stage.lines[1].startswith(" [0, 1, 1, 0] = 20630.0")
        await stage.press("right_square_bracket")
        assert "layers.10.w" in stage.lines[0]
        await stage.press(*("down",) * 12, "right_square_bracket")
        assert "layers.11.w" in stage.lines[0]
        assert "It is [2, 4, 10, 30] here, not [3, 4, 20, 30]" in stage.status
        assert stage.lines[1].startswith(" [0, 1, 9, 0] = ")
        await stage.press("right_square_bracket")
        assert "no later layer" in stage.status
        await stage.press(*keys_of("tensor.previous_layer") * 4)
        assert "no earlier layer" in stage.status
        await stage.press("escape")
        assert stage.cursor == "layers.0.w"
    async with inside("head") as stage:
        await stage.press("right_square_bracket")
        assert "in one layer only" in stage.status


@covers("tensor.slice")
async def test_the_slice_is_edited_in_place_and_a_wrong_one_gives_its_reason() -> None:
    async with inside() as stage:
        await stage.press(*keys_of("tensor.slice"))
        await stage.type("1, :, 5:9, ::-2")
        await stage.press("enter")
        place = screen_of(stage).place
        assert place.index == (1, 0, 5, 29)
        assert "[1, 0, 5:9↓, 29::-2→]" in stage.lines[1].replace("29:-1", "29:")
        await stage.press("v")
        assert stage.lines[1].startswith(" slice 1, :, 5:9, ::-2")
        await stage.type(", 3, 4")
        assert "6 indices for a tensor of 4 dimensions" in stage.status
        assert screen_of(stage)._ask.field.has_class("wrong")
        await stage.press("enter")
        assert screen_of(stage)._ask.display
        await stage.press("escape")
        assert screen_of(stage).place == place
        assert stage.lines[1].startswith(" [1, 0, 5, 29]")
        await stage.press("v", "ctrl+u", "enter")
        assert screen_of(stage).place.index == (1, 0, 5, 29)
        assert screen_of(stage).place.expression == "[...]"


async def test_an_empty_slice_says_so_in_the_place_of_the_picture() -> None:
    async with inside() as stage:
        await stage.press("v")
        await stage.type("..., 7:7")
        await stage.press("enter")
        assert "no elements in [..., 7:7]" in stage.lines[1]
        assert "There is nothing to show" in stage.text
        await stage.press("down", "n", "a", "e", "c", "f", "full_stop", "x", "t", "g", "escape", "right_square_bracket")
        await stage.press("v", "ctrl+u", "enter")
        assert " = " in stage.lines[1]


@covers("tensor.index")
async def test_an_index_is_gone_to() -> None:
    async with inside() as stage:
        await stage.press("g")
        await stage.type("1, -1, 3, 4")
        await stage.press("enter")
        assert stage.lines[1].startswith(" [1, 3, 3, 4] = ")
        await stage.press("g", *"2", "enter")
        assert stage.lines[1].startswith(" [2, 3, 3, 4] = ")
        await stage.press("g")
        await stage.type("3")
        assert "index 3 is out of range for axis 0 of size 3" in stage.status
        await stage.press("backspace", "enter")
        assert stage.lines[1].startswith(" [2, 3, 3, 4] = ")


@covers("tensor.next_lens", "tensor.previous_lens")
async def test_lenses_are_chosen_by_number_tab_and_a_click() -> None:
    async with inside() as stage:
        for number, entry in enumerate(LENSES, 1):
            await stage.press("down", str(number))
            lens = screen_of(stage).lens
            assert lens is not None
            assert lens.slot == entry.slot
            assert entry.title in stage.lines[2]
        first = screen_of(stage).lens
        await stage.press(*["tab"] * len(LENSES))
        assert screen_of(stage).lens is first
        await stage.press("tab", "shift+tab")
        assert screen_of(stage).lens is first
        await stage.press("1")
        await stage.pilot.click("#tensor-tabs", offset=(3, 0))
        await stage.rest()
        assert screen_of(stage).lens is not None


@covers("tensor.copy_line")
async def test_the_summary_is_copied() -> None:
    async with inside("head") as stage:
        await stage.press("y")
        assert stage.app.clipboard.startswith("head [40, 50] f32 x∈[0")
        assert stage.status.startswith(" Copied the summary: head [40, 50] f32")


@covers("tensor.help")
async def test_the_help_lists_the_keys_of_the_lens_and_of_the_screen() -> None:
    for glyphs in (None, ASCII):
        async with inside("head", (100, 80)) as stage:
            if glyphs is not None:
                stage.app.glyphs = glyphs
            await stage.press("question_mark")
            assert isinstance(stage.app.screen, TensorHelp)
            for key in (*keys.TENSOR, *keys.CELLS):
                assert key.tooltip[:30] in stage.text, key.id
            await stage.press("down", "q")
            assert isinstance(stage.app.screen, TensorScreen)


@covers("tensor.export")
async def test_the_window_the_plane_and_the_tensor_are_written_and_nothing_is_replaced_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with inside() as stage:
        await stage.press("full_stop", "w", "down", "enter")
        await stage.until(lambda: "Wrote memory-layers.0.w-plane.npy" in stage.status, "it is written")
        np.testing.assert_array_equal(np.load("memory-layers.0.w-plane.npy"), layers()["layers.0.w"][0, 1])
        await stage.press("w", "down", "enter")
        await stage.until(lambda: "exists already" in stage.text, "it is refused")
        await stage.press("escape", "w", "tab", "enter")
        await stage.until(lambda: "Wrote memory-layers.0.w-window.csv" in stage.status, "the window is written")
        assert Path("memory-layers.0.w-window.csv").read_text().startswith("600.0,601.0,")
        await stage.press("w", "up", "enter")
        await stage.until(lambda: "Wrote memory-layers.0.w.npy" in stage.status, "all is written")
        np.testing.assert_array_equal(np.load("memory-layers.0.w.npy"), layers()["layers.0.w"])
    assert len(list(tmp_path.iterdir())) == 3


async def test_what_was_left_is_found_again() -> None:
    async with inside() as stage:
        await stage.press("down", "right", "full_stop", "escape")
        await stage.go("head")
        await stage.press("enter")
        assert stage.lines[1].startswith(" [0, 0] = ")
        await stage.press("pagedown", "escape")
        await stage.go("layers.0.w")
        await stage.press("enter")
        assert stage.lines[1].startswith(" [0, 1, 1, 1] = ")


async def test_no_key_waits_for_a_tensor() -> None:
    source = GatedSource(layers(), ("head",))
    async with on_stage(source, size=(100, 24), is_settled=False) as stage:
        await stage.until(lambda: len(stage.app.screen_stack) > 1 and stage.screen.opened is not None, "it is open")
        opened = stage.screen.opened
        assert opened is not None
        stage.screen.tree_view.reveal(opened.tree.find("head") or 0)
        await stage.send("enter", "down", "right", "e", "n", "f", "full_stop", "t", "v", "escape", "g", "3", "enter")
        assert "[3, 1]" in stage.lines[1] or "[1, 3]" in stage.lines[1] or " = ·" in stage.lines[1]
        await stage.send("escape", "escape", "escape")
        assert stage.app.screen is stage.screen


class Vanishing(MemorySource):
    """Its file is cut while one walks in it."""

    is_cut = False

    def read_window(self, info: TensorInfo, window: Window) -> np.ndarray:
        if self.is_cut:
            raise SourceChangedError("m.safetensors has become shorter since it was opened")
        return super().read_window(info, window)


async def test_a_file_that_is_cut_meanwhile_is_told_and_walking_goes_on() -> None:
    source = Vanishing({"a": ramp(100, 100)})
    async with on_stage(source, size=(80, 24)) as stage:
        await stage.press("enter")
        source.is_cut = True
        await stage.press("pagedown")
        assert stage.text.count("has become shorter") == 2  # beside the place, and in place of the values
        await stage.press("down", "e", "f", "t", "a")
        source.is_cut = False
        await stage.press("g", *"50", "enter")
        assert " = " in stage.lines[1]
        assert "has become shorter" not in stage.text


async def test_a_truncated_file_gives_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"a": ramp(1000, 100)}, path)
    async with on_stage(lambda: open_source(path), size=(80, 24)) as stage:
        await stage.press("enter", "down")
        with path.open("r+b") as file:
            file.truncate(2000)
        await stage.press("G")
        assert " x " in stage.lines[1]
        await stage.press("n", "escape")


async def test_a_live_tensor_that_was_resized_is_walked_in_again() -> None:
    torch = pytest.importorskip("torch")
    state = {"a": torch.arange(200.0).reshape(10, 20), "b": torch.zeros(3)}
    async with on_stage(lambda: open_source(state), size=(80, 24)) as stage:
        await stage.press("enter", "G")
        assert stage.lines[1].startswith(" [9, 19] = 199.0")
        state["a"].resize_(4, 5)
        await stage.press("escape", "R", "enter")
        assert "[4, 5]" in stage.lines[0]
        assert " = " in stage.lines[1]
        state["a"].resize_(2, 2)
        await stage.press("G", "up", "left", "n", "e")  # nothing is told of it: no traceback, at most a reason
        assert stage.app.is_running


async def test_figures_that_come_later_reach_the_lens() -> None:
    source = GatedSource({"a": ramp(30, 30)}, ())
    gate = Event()
    blocks = source.blocks

    def held(*arguments: object, **options: object) -> object:
        assert gate.wait(PATIENCE)
        return blocks(*arguments, **options)  # type: ignore[arg-type]

    source.blocks = held  # type: ignore[method-assign, assignment]
    async with on_stage(source, size=(80, 24), is_settled=False) as stage:
        await stage.until(lambda: len(stage.app.screen_stack) > 1 and stage.screen.opened is not None, "it is open")
        await stage.send("enter")
        await stage.until(lambda: isinstance(stage.app.screen, TensorScreen), "it is inside")

        def figures() -> Figures | None:
            lens = screen_of(stage).lens
            return lens.seen.figures if lens is not None and lens.seen is not None else None

        assert figures() is None
        gate.set()
        await stage.until(lambda: figures() is not None, "the figures come")


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 24), (80, 1), (40, 12), (60, 20)])
async def test_it_opens_and_takes_keys_at_every_size(size: tuple[int, int]) -> None:
    async with inside(size=size) as stage:
        await stage.send(
            "down", "e", "right_square_bracket", "f", "question_mark", "down", "escape", "v", "escape", "c"
        )
        assert [strip.cell_length for strip in stage.strips] == [size[0]] * size[1]
        await stage.send("escape")
        await stage.pilot.resize_terminal(80, 24)
        await stage.rest()
        assert "layers.2.w" in stage.lines[0]


async def test_what_changes_below_a_screen_that_covers_it_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    async with inside(size=(80, 24)) as stage:
        monkeypatch.setattr(stage.app, "_display", lambda screen, update: sent.append(update))

        async def change(screen: Screen[Any], widget: Widget) -> int:
            del sent[:]
            for _ in range(3):
                widget.refresh()
                screen._on_timer_update()
                await stage.turn()
            return len(sent)

        assert await change(stage.screen, stage.screen.tree_view) == 0
        top = screen_of(stage)
        assert top.lens is not None
        await stage.send("question_mark")  # its edges let through the screen that it is about
        assert await change(top, top.lens) > 0


@covers("tensor.fetch")
async def test_on_this_machine_there_is_nothing_to_fetch() -> None:
    async with inside() as stage:
        for key in keys_of("tensor.fetch"):
            await stage.press(key)
            assert "Nothing has to be fetched" in stage.lines[-1]


async def test_every_key_can_be_pressed_before_the_lens_has_its_size() -> None:
    async with inside("head", size=(80, 24)) as stage:
        for number, entry in enumerate(LENSES, 1):
            await stage.press(str(number))
            lens = screen_of(stage).lens
            assert isinstance(lens, entry.kind)
            lens.styles.width = 0
            await stage.rest()
            assert not lens.has_room, entry.slot
            for key in entry.kind.KEYS:
                await stage.send(key.keys.split(",")[0])
                if not isinstance(stage.app.screen, TensorScreen) or screen_of(stage)._ask.display:
                    await stage.send("escape")
                screen_of(stage).action_lens(entry.slot)  # some go to another lens
            lens.styles.width = None
            await stage.rest()
            assert lens.has_room


async def test_the_palette_offers_the_keys_of_the_screen_and_of_the_lens() -> None:
    async with inside("head") as stage:
        await stage.press("colon")
        await stage.type("largest")
        await stage.until(lambda: "largest element of the slice" in stage.text, "the command is found")
        await stage.send("enter")
        await stage.until(lambda: isinstance(stage.app.screen, TensorScreen), "the palette is closed")
        await stage.until(lambda: screen_of(stage).place.index == (39, 49), "it has gone there")


async def test_after_a_step_of_a_training_the_old_values_stay_until_the_new_ones_are_read() -> None:
    source = MemorySource({"a": ramp(100, 100)})
    async with on_stage(source, size=(80, 24)) as stage:
        await stage.press("enter", "down")
        screen = screen_of(stage)
        source.arrays["a"] = ramp(100, 100) + 7
        screen.renew(msgspec.structs.replace(screen.subject, version=-1))
        lens = screen.lens
        assert lens is not None
        assert lens.plain().splitlines()[2].split()[1] == "100"
        assert screen.head.value is not None
        await stage.rest()
        assert stage.lines[1].startswith(" [1, 0] = 107.0")
        assert lens.plain().splitlines()[2].split()[1] == "107"
