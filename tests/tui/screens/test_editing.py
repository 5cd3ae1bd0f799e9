"""Editing in the explorer: from the key to the bytes and back, and what the screen shows meanwhile."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tests.factories_models import TiedModel, holder
from tests.factories_screen import PATIENCE, Stage, on_stage
from tui_params.core.edits import Edit
from tui_params.core.reading.grid import read_values
from tui_params.core.reading.value_text import Format, texts_of
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.live.editor import LiveEditor
from tui_params.live.source import ModelSource
from tui_params.settings import Settings
from tui_params.tui.screens.edit import TYPE_IT, EditScreen, typed_operation
from tui_params.tui.screens.edits import EditsScreen
from tui_params.tui.screens.explorer.editing import READ_ONLY
from tui_params.tui.widgets.canvas import LinesView

torch = pytest.importorskip("torch")
nn = torch.nn


@asynccontextmanager
async def editing(
    model: Any = None, size: tuple[int, int] = (120, 36), source: type[ModelSource] = ModelSource, **options: Any
) -> AsyncIterator[tuple[Stage, Any]]:
    """The explorer on a model whose values can be set."""
    if model is None:
        torch.manual_seed(0)
        model = TiedModel()
    editor = LiveEditor()

    def open_it() -> Source:
        opened = source(model)
        editor.attach(opened)
        return opened

    async with on_stage(open_it, size, editor=editor, **options) as stage:
        yield stage, model


def box(stage: Stage) -> str:
    """What a dialog shows."""
    return "\n".join(view.plain() for view in stage.app.screen.query(LinesView))


def is_true(stage: Stage, model: Any) -> None:
    """Whether every figure, mark and value on screen is that of the tensor it stands at, as it is now."""
    desk, pages, opened = stage.screen.desk, stage.screen.pages, stage.screen.opened
    assert desk is not None
    assert pages is not None
    assert opened is not None
    now = ModelSource(model)
    for info in opened.tensors:
        exact = now.summarize(info.name).figures(info.numel)
        for known in (desk.figures(info.name), stage.screen.session.figures(info.name)):
            assert known is None or known == exact, info.name
        marked = {finding.rule for finding in pages.marks.findings(info.name)}
        assert ("nan" in marked) <= bool(exact.nan), info.name
        if info.tied_to is None and desk.figures(info.name) is not None:
            assert ("nan" in marked) == bool(exact.nan), info.name
    shown, (key, grid, _) = pages.pane.info, pages._grid
    if shown is not None and grid is not None and key == pages._grid_asked:
        values = read_values(now, now.find(shown.name), grid.window)
        assert [cell.strip() for row in grid.cells for cell in row] == texts_of(values, Format())


async def test_adding_to_a_parameter_takes_four_keys_beside_the_number() -> None:
    async with editing() as (stage, model):
        await stage.go("lm_head.weight")
        expected = model.wte.weight.detach() + 0.1
        await stage.press("equals_sign", "tab")
        await stage.type("0.1")
        await stage.press("enter", "ctrl+s")
        assert torch.equal(model.wte.weight, expected)
        assert "editable: 1 edit made" in stage.header
        is_true(stage, model)


async def test_keys_that_come_faster_than_an_edit_is_worked_out_do_the_same() -> None:
    async with editing() as (stage, model):
        await stage.go("ln_f.bias")
        await stage.send("equals_sign")
        await stage.type("3")
        await stage.send("enter", "ctrl+s")
        await stage.rest()
        assert model.ln_f.bias.tolist() == [3] * 8
        await stage.send("equals_sign")
        await stage.type("4")
        await stage.send("ctrl+s")  # in the dialog: staged, then applied
        await stage.rest()
        assert model.ln_f.bias.tolist() == [4] * 8


async def test_nothing_is_written_before_it_is_applied_and_undo_gives_every_byte_back() -> None:
    async with editing() as (stage, model):
        before = model.ln_f.weight.detach().clone()
        await stage.go("ln_f.weight")
        await stage.press("equals_sign")
        assert "a number, nan or inf" in stage.text
        await stage.type("nan")
        await stage.rest()
        assert "8 of 8 values change." in box(stage)
        assert "Gradients and optimizer states stay as they are." in box(stage)
        await stage.press("enter")
        assert "editable: 1 edit staged" in stage.header
        assert "Staged, not written" in stage.status
        assert torch.equal(model.ln_f.weight, before)
        await stage.press("ctrl+s")
        assert model.ln_f.weight.isnan().all()
        assert "8 of 8 values are NaN" in stage.facts
        assert "!" in stage.row("ln_f.weight")
        is_true(stage, model)
        await stage.press("u")
        assert torch.equal(model.ln_f.weight, before)
        assert "NaN" not in stage.row("ln_f.weight")
        assert "!" not in stage.row("ln_f.weight")
        assert "Undone, byte for byte: set to nan in ln_f.weight." in stage.status
        is_true(stage, model)
        await stage.press("u", "ctrl+s")
        assert "No edit is staged" in stage.status
        assert "made" not in stage.header


async def test_the_value_at_the_cursor_the_slice_and_the_tensor_can_be_chosen() -> None:
    async with editing(holder(x=torch.arange(48.0).reshape(2, 4, 6))) as (stage, model):
        await stage.press("v")
        await stage.type(":, 1:")
        await stage.press("enter", "down", "right", "right", "right_square_bracket", "equals_sign")
        assert box(stage).splitlines()[1:5] == [
            "▸ cell   [1, 2, 2]  1 value",
            "  slice  [0:2, 1:4, 0:6]  36 values",
            "  table  [1, 1:4, 0:6]  18 values",
            "  tensor [...]  48 values",
        ]
        await stage.type("-5")
        await stage.press("enter", "ctrl+s")
        assert model.x[1, 2, 2] == -5
        assert (model.x == torch.arange(48.0).reshape(2, 4, 6)).sum() == 47
        await stage.press("equals_sign", "down", "tab", "tab", "tab")
        assert "zero" in box(stage)
        await stage.press("enter", "ctrl+s")
        assert not model.x[:, 1:].any()
        assert model.x[:, 0].sum() == sum(range(6)) + sum(range(24, 30))
        is_true(stage, model)


async def test_the_cursor_stays_in_view_and_on_its_value() -> None:
    async with editing(holder(x=torch.arange(4000.0).reshape(50, 80)), (80, 24)) as (stage, _):
        grid = stage.screen.detail.grid
        await stage.press("v", "enter")
        seen = []
        for key in (*["down"] * 12, *["right"] * 15, "pagedown", *["left"] * 20, "home", "end", *["up"] * 3):
            await stage.press(key)
            row, column = grid.cell or (-1, -1)
            pointed = [line.split(">")[1].split()[0] for line in stage.values.splitlines() if ">" in line]
            assert [float(number) for number in pointed] == [80 * row + column], (key, stage.values)
            seen.append((row, column))
        assert (12, 0) in seen
        assert (12, 15) in seen
        assert seen[-4:] == [(0, 0)] * 4


async def test_the_cursor_of_a_vector_moves_by_rows_and_ends_with_it() -> None:
    async with editing(holder(x=torch.arange(23.0))) as (stage, _):
        grid = stage.screen.detail.grid
        await stage.press("v", "enter")
        across = len(grid._grid.column_labels) if grid._grid is not None else 0
        assert across % 5 == 0
        await stage.press("down")
        assert grid.cell == (across,)
        await stage.press(*["right"] * 30)
        assert grid.cell == (22,)
        await stage.press(*["left"] * 2)
        assert grid.cell == (20,)


async def test_a_click_puts_the_cursor_on_a_value() -> None:
    async with editing(holder(x=torch.arange(48.0).reshape(6, 8))) as (stage, _):
        grid = stage.screen.detail.grid
        assert grid._grid is not None
        x = grid.region.x + grid._grid.label_width + 2 * (grid._grid.cell_width + 2) + 3
        await stage.pilot.click(offset=(x, grid.region.y + 4))
        await stage.rest()
        assert grid.cell == (3, 2)


async def test_without_a_cursor_the_arrows_move_the_window_as_before() -> None:
    async with on_stage(MemorySource({"x": np.arange(4000, dtype=np.float32).reshape(50, 80)})) as stage:
        await stage.press("v", "enter", "down", "right")
        assert stage.values.split()[0] == "1"
        assert ">" not in stage.values


async def test_edits_are_listed_dropped_applied_and_undone_in_the_list() -> None:
    async with editing() as (stage, model):
        for name, number in (("ln_f.weight", "2"), ("ln_f.bias", "inf"), ("h.0.attn.bias", "4")):
            await stage.go(name)
            await stage.press("equals_sign")
            await stage.type(number)
            await stage.press("enter")
        assert "editable: 3 edits staged" in stage.header
        await stage.press("ctrl+e")
        lines = box(stage).splitlines()
        assert [line[2:].split()[:2] for line in lines[:3]] == [
            ["staged", "ln_f.weight"], ["staged", "ln_f.bias"], ["staged", "h.0.attn.bias"],
        ]  # fmt: skip
        await stage.press("down")
        assert "0    8" in box(stage)  # eight infinities
        await stage.press("d", "ctrl+s")
        assert (model.ln_f.weight.tolist(), model.ln_f.bias.tolist()) == ([2] * 8, [0] * 8)
        assert "Wrote 2 edits" in box(stage)
        assert [line[2:].split()[:2] for line in box(stage).splitlines()[:2]] == [
            ["made", "h.0.attn.bias"], ["made", "ln_f.weight"],
        ]  # fmt: skip
        await stage.press("d")
        assert "Only a staged edit can be dropped" in box(stage)
        await stage.press("u", "u")
        await stage.press("u")
        assert "No edit was made" in box(stage)
        assert model.ln_f.weight.tolist() == [1] * 8
        await stage.press("ctrl+e")
        assert not isinstance(stage.app.screen, EditsScreen)
        is_true(stage, model)


async def test_an_edit_of_what_a_staged_one_touches_is_refused() -> None:
    async with editing() as (stage, model):
        await stage.go("wte.weight")
        await stage.press("equals_sign")
        await stage.type("1")
        await stage.press("enter")
        await stage.go("lm_head.weight")
        await stage.press("equals_sign")
        await stage.type("2")
        await stage.press("enter")
        assert "A staged edit touches these values already (set to 1)" in " ".join(box(stage).split())
        assert isinstance(stage.app.screen, EditScreen)
        await stage.press("escape", "ctrl+s")
        assert (model.wte.weight == 1).all()


async def test_what_is_refused_is_said_in_the_dialog_and_enter_does_nothing() -> None:
    model = holder(x=torch.ones(3).expand(2, 3), y=torch.ones(2, dtype=torch.float16))
    async with editing(model) as (stage, _):
        await stage.press("equals_sign")
        await stage.type("1")
        await stage.press("enter")
        assert "X cannot be edited: its elements share memory" in " ".join(box(stage).split())
        await stage.press("escape", "down", "equals_sign")
        await stage.type("1e9")
        await stage.press("enter")
        assert "does not fit float16, whose largest value is 65504" in " ".join(box(stage).split())
        await stage.press("backspace", "backspace", "enter")
        assert "editable: 1 edit staged" in stage.header
        await stage.press("ctrl+s")
        assert model.y.tolist() == [1, 1]
        await stage.press("equals_sign", "enter")
        assert "A number is missing" in box(stage)


async def test_if_a_tensor_changed_meanwhile_nothing_is_written_and_the_screen_says_so() -> None:
    async with editing() as (stage, model):
        await stage.go("ln_f.weight")
        await stage.press("equals_sign")
        await stage.type("5")
        await stage.press("enter")
        model.ln_f.weight.data[3] = 7
        await stage.press("ctrl+s")
        assert model.ln_f.weight.tolist() == [1, 1, 1, 7, 1, 1, 1, 1]
        assert "Ln_f.weight has other values than when this edit was staged" in stage.status
        assert "1 edit staged" in stage.header
        is_true(stage, model)  # what had been read of it is read anew


async def test_undoing_drops_the_staged_edits_of_what_it_changes() -> None:
    async with editing() as (stage, _):
        await stage.go("ln_f.weight")
        for number, last in (("5", "ctrl+s"), ("6", "u")):
            await stage.press("equals_sign")
            await stage.type(number)
            await stage.press("enter")
            await stage.press(last)
        assert "1 edit of it that was staged" in stage.status
        assert "staged" not in stage.header


async def test_a_sweep_is_finished_after_an_edit_and_the_report_is_of_the_new_values() -> None:
    async with editing() as (stage, model):
        await stage.press("S")
        assert "checked" in stage.header
        await stage.go("h.1.attn.weight")
        await stage.press("equals_sign")
        await stage.type("inf")
        await stage.press("enter", "ctrl+s")
        assert "1 error" in stage.header
        is_true(stage, model)
        await stage.press("u")
        assert "error" not in stage.header.replace("no error", "")
        assert "checked" in stage.header


class Gated(ModelSource):
    """A source that reads a tensor's blocks, and hands them out only when the gate is open."""

    gate = Event()
    started = Event()
    name = "ln_f.weight"

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        blocks = [block.copy() for block in super().blocks(info, start, stop)]
        if info.name == self.name and not self.gate.is_set():
            self.started.set()
            assert self.gate.wait(PATIENCE)
        yield from blocks


async def test_a_reading_that_began_before_an_edit_is_never_shown_after_it() -> None:
    Gated.gate.clear()
    Gated.started.clear()
    try:
        async with editing(source=Gated, is_settled=False) as (stage, model):
            await stage.until(lambda: stage.screen.opened is not None, "opened")
            opened = stage.screen.opened
            assert opened is not None
            node = opened.tree.find("ln_f.weight")
            assert node is not None
            stage.screen.tree_view.reveal(node)
            await stage.until(Gated.started.is_set, "the reading has begun")
            old = stage.screen.desk
            editor = stage.app.editor
            assert editor is not None
            stage.screen.editing._stage(editor.propose(Edit("ln_f.weight", "", "set", "5")))
            await stage.send("ctrl+s")
            await stage.until(lambda: stage.screen.desk is not old, "the edit is made")
            Gated.gate.set()
            await stage.rest()
            assert "=5" in stage.row("ln_f.weight")
            is_true(stage, model)
    finally:
        Gated.gate.set()


async def test_opened_again_the_edits_can_still_be_undone() -> None:
    async with editing() as (stage, model):
        await stage.go("ln_f.bias")
        await stage.press("equals_sign", "tab")
        await stage.type("2")
        await stage.press("enter", "ctrl+s")
        await stage.press("R")
        assert "1 edit made" in stage.header
        await stage.press("u")
        assert not model.ln_f.bias.any()
        is_true(stage, model)


async def test_a_gradient_is_edited_alone() -> None:
    model = TiedModel()
    model(torch.arange(20)).sum().backward()
    async with editing(model) as (stage, _):
        before = model.ln_f.weight.detach().clone()
        await stage.go("ln_f.weight")
        await stage.press("g", "equals_sign", "tab", "tab", "tab", "enter", "ctrl+s")
        assert not model.ln_f.weight.grad.any()
        assert torch.equal(model.ln_f.weight, before)
        is_true(stage, model)


async def test_filling_from_a_file_and_from_a_tensor(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(8.0))
    async with editing() as (stage, model):
        await stage.go("ln_f.weight")
        await stage.press("equals_sign")
        await stage.type("3")
        await stage.press("shift+tab")
        await stage.type(str(tmp_path / "a.npy"))
        await stage.press("enter", "ctrl+s")
        assert model.ln_f.weight.tolist() == list(range(8))
        await stage.go("ln_f.bias")
        await stage.press("equals_sign", "shift+tab")
        await stage.type("ln_f.weight")
        await stage.press("enter", "ctrl+s")
        assert model.ln_f.bias.tolist() == list(range(8))


@pytest.mark.parametrize(
    ("typed", "operation", "value"),
    [
        ("add 0.1", "add", "0.1"),
        ("scale by 2", "scale", "2"),
        ("scale 2", "scale", "2"),
        ("set to 1", "set", "1"),
        ("SET 1", "set", "1"),
        ("zero", "zero", ""),
        ("fill from add.weight", "fill", "add.weight"),
        ("nan", "set", "nan"),
    ],
)
async def test_the_words_of_the_operations_can_be_typed(typed: str, operation: str, value: str) -> None:
    async with editing(size=(60, 20)) as (stage, _):
        await stage.go("ln_f.weight")
        await stage.press("equals_sign")
        assert TYPE_IT in box(stage)
        dialog = stage.app.screen
        assert isinstance(dialog, EditScreen)
        for letter in typed:
            await stage.press({" ": "space", ".": "full_stop"}.get(letter, letter))
        assert (dialog.edit.operation, dialog.field.value) == (operation, value)


def test_a_word_is_an_operation_only_with_a_blank_behind_it() -> None:
    assert typed_operation("add") == (None, "add")
    assert typed_operation("zeros.weight") == (None, "zeros.weight")
    assert typed_operation("  Fill from x") == ("fill", "x")
    assert typed_operation("") == (None, "")


async def test_a_number_stays_when_other_operations_are_looked_at() -> None:
    async with editing() as (stage, _):
        await stage.go("ln_f.weight")
        await stage.press("equals_sign")
        await stage.type("0.5")
        await stage.press("tab", "tab", "tab", "tab")
        screen = stage.app.screen
        assert isinstance(screen, EditScreen)
        assert screen.field.value == ""
        await stage.press("tab")
        assert screen.edit == Edit("ln_f.weight", "[...]", "set", "0.5")


@pytest.mark.parametrize("key", ["equals_sign", "ctrl+s", "ctrl+e", "u"])
async def test_everything_else_is_read_only(key: str) -> None:
    for source in (MemorySource({"x": np.ones(3)}), ModelSource(TiedModel())):
        async with on_stage(source) as stage:
            await stage.press("end", key)
            assert READ_ONLY in stage.status
            assert len(stage.app.screen_stack) == 2
            assert ("read-only" in stage.header) == isinstance(source, ModelSource)


async def test_only_a_tensor_that_can_be_read_is_edited() -> None:
    async with editing(holder(x=torch.ones(2, device="meta"))) as (stage, _):
        await stage.press("equals_sign")
        assert "Its values cannot be set: it is on the meta device" in stage.status
    async with editing() as (stage, _):
        await stage.go("h.0")
        await stage.press("equals_sign")
        assert "Only a tensor has values" in stage.status


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_leaving_with_staged_edits_takes_the_key_twice(key: str) -> None:
    async with editing() as (stage, model):
        await stage.go("ln_f.bias")
        await stage.press("equals_sign")
        await stage.type("1")
        await stage.press("enter")
        await stage.send(key)
        assert stage.app.is_running
        assert "1 edit is staged and not applied: once more leaves." in stage.status
        await stage.send(key)
        assert not stage.app.is_running
        assert not model.ln_f.bias.any()


async def test_the_keys_of_edits_can_be_changed_everywhere() -> None:
    settings = Settings(theme="quiet-dark", keys={"apply": "ctrl+t", "undo": "x"})
    async with editing(settings=settings) as (stage, model):
        await stage.go("ln_f.bias")
        await stage.press("equals_sign")
        await stage.type("1")
        await stage.press("ctrl+t")
        assert model.ln_f.bias.all()
        await stage.press("ctrl+e", "x")
        assert not model.ln_f.bias.any()
        assert "ctrl+t applies" in box(stage)


_PRESSED = (
    *["equals_sign"] * 6, *["tab"] * 4, *["enter"] * 6, *["ctrl+s"] * 5, *["u"] * 4, *["escape"] * 5, *["down"] * 5,
    *["up"] * 5, *"1-.e0nai", "v", "S", "n", "N", "H", "L", "g", "R", "ctrl+e", "d", "vertical_line", "space", "o", "r",
    "slash", "z", "pagedown", "home", "left", "right", "E", "C", "right_square_bracket",
)  # fmt: skip


@pytest.mark.parametrize("seed", [*range(6), 101])
async def test_whatever_is_pressed_no_figure_stands_at_another_tensor(seed: int) -> None:
    chance = random.Random(seed)
    model = TiedModel()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    size = chance.choice([(120, 36), (80, 24), (60, 20)])
    async with editing(model, size) as (stage, _):
        for _ in range(12):
            keys = [chance.choice(_PRESSED) for _ in range(12)]
            for key in keys:
                if chance.random() < 0.3:
                    await stage.rest()
                await stage.send(key)
            await stage.rest()
            is_true(stage, model)
        for _ in range(3):
            await stage.press("escape")
        assert len(stage.app.screen_stack) == 2
        for _ in range(stage.screen.editing.undoable):
            stage.screen.editing.undo()  # by the key, it might be typed into a field
            await stage.rest()
        assert stage.screen.editing.undoable == 0
        is_true(stage, model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
