"""Writing what is shown to a file: the dialog, the rows and values that come out, and what stands in the way."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tests.factories_safetensors import entry, file_bytes
from tests.factories_screen import PATIENCE, GatedSource, Stage, on_stage, ramp, small_model
from tui_params.api.opening import open_source
from tui_params.core.export import npy
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.tui.screens.export import ExportScreen


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dialog(stage: Stage) -> ExportScreen:
    screen = stage.app.screen
    assert isinstance(screen, ExportScreen)
    return screen


async def write(stage: Stage, *keys: str) -> None:
    """Press w and some keys, then enter, and wait until the file is written."""
    stage.screen.notice.clear()  # what an earlier one said
    await stage.press("w", *keys, "enter")
    await stage.until(lambda: len(stage.app.screen_stack) == 2, "the dialog closes")
    await stage.until(lambda: stage.screen.notice.words.startswith("Wrote"), "it is written")


async def name_it(stage: Stage, name: str) -> None:
    dialog(stage).field.value = ""
    await stage.type(name)


def rows_of(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(path).open(newline="")))


async def test_the_list_in_the_order_shown_under_a_filter() -> None:
    async with on_stage(MemorySource(small_model(), label="m.pt")) as stage:
        await stage.press("S")
        await stage.press("slash")
        await stage.type("layers mean>0")
        await stage.press("enter", "o", "m")
        await write(stage)
        found = rows_of("m.csv")
        opened = stage.screen.opened
        assert opened is not None
        matching = stage.screen.filter.found
        assert matching is not None
        names = [opened.tensors[index].name for index in matching.indices]
        assert [row["name"] for row in found] == names
        assert 3 < len(names) < len(opened.tensors)
        assert set(names) == {name for name in stage.names if opened.tree.find(name) and name in names}
        for row in found:
            figures = stage.screen.desk.figures(row["name"]) if stage.screen.desk is not None else None
            assert figures is not None
            assert float(row["mean"]) == figures.mean
        await write(stage, "tab", "tab")
        facts = json.loads(Path("m.json").read_text())
        assert facts["filter"] == "layers mean>0"
        assert facts["sort"] == "mean"
        assert (facts["total"], facts["listed"], facts["unchecked"]) == (len(opened.tensors), len(names), 0)
        assert facts["undecided"] == 0
        assert stage.status.startswith(" Wrote m.json (")


async def test_modules_that_are_closed_hide_nothing_from_the_list() -> None:
    async with on_stage(MemorySource(small_model(), label="m")) as stage:
        await stage.press("C")
        await write(stage)
        opened = stage.screen.opened
        assert opened is not None
        assert [row["name"] for row in rows_of("m.csv")] == [info.name for info in opened.tensors]


async def test_columns_that_find_no_room_are_written_too() -> None:
    async with on_stage(MemorySource(small_model(), label="m"), size=(60, 20)) as stage:
        chosen = ("std", "min", "max", "shape", "rms", "l2", "nbytes")
        stage.screen.columns.change(chosen)
        await write(stage)
        assert set(chosen) - set(stage.screen.columns.shown)
        names = list(rows_of("m.csv")[0])
        assert names == ["name", "std", "min", "max", "shape", "rms", "l2_norm", "nbytes", "unchecked"]


async def test_what_was_not_read_is_said() -> None:
    source = GatedSource(small_model(), ("embed.weight",), label="m", broken={"steps": "torn"})
    async with on_stage(source, is_settled=False) as stage:
        await stage.until(lambda: stage.screen.opened is not None, "it is open")
        await stage.until(source.started["embed.weight"].is_set, "it waits at the gate")
        await stage.send("w", "tab", "tab", "enter")
        await stage.until(lambda: os.path.exists("m.json"), "it is written")
        found = json.loads(Path("m.json").read_text())
        unchecked = {row["name"]: row["unchecked"] for row in found["tensors"]}
        assert unchecked["embed.weight"] == "not read yet"
        assert found["unchecked"] == sum(reason is not None for reason in unchecked.values()) > 0
        await stage.until(lambda: "without figures" in stage.status, "the notice says so")
        await stage.send("slash")
        await stage.type("mean>1")
        await stage.send("enter", "w")
        assert "so far" in stage.text
        await name_it(stage, "few.json")
        await stage.send("enter")
        await stage.until(lambda: os.path.exists("few.json"), "it is written")
        assert json.loads(Path("few.json").read_text())["undecided"] > 0
        source.open_gates()
        await stage.send("slash", "escape")
        await stage.rest()
        await write(stage, "tab")
        assert "| torn |" in Path("m.md").read_text()


async def test_a_tensor_a_slice_and_a_table() -> None:
    array = ramp(3, 4, 5)
    async with on_stage(MemorySource({"a.x": array, "b": ramp(2)}, label="m.safetensors")) as stage:
        await stage.go("a.x")
        await write(stage, "down", "down")
        assert np.array_equal(np.load("m-a.x.npy"), array)
        await stage.press("w", "down")
        assert "table" in stage.text
        await stage.press("escape", "v")
        await stage.type("::-1, 1:")
        await stage.press("enter", "right_square_bracket")
        await stage.send("w")
        assert dialog(stage).choice.name == "slice"  # the values have the focus
        await stage.press("escape")
        await write(stage)
        assert np.array_equal(np.load("m-a.x-slice.npy"), array[::-1, 1:])
        await write(stage, "down", "tab")
        assert np.array_equal(np.loadtxt("m-a.x-table.csv", delimiter=","), array[1, 1:])
        await stage.press("w", "tab", "enter")
        await stage.until(lambda: "at most 2 dimensions, and this has 3" in stage.text, "the refusal")
        await stage.press("escape")
        assert sorted(os.listdir()) == ["m-a.x-slice.npy", "m-a.x-table.csv", "m-a.x.npy"]


async def test_the_gradient_that_is_shown() -> None:
    import torch

    model = torch.nn.Linear(2, 3)
    model.weight.grad = torch.full((3, 2), 0.25)
    async with on_stage(lambda: open_source(model)) as stage:
        await stage.go("weight")
        await write(stage)
        row = next(row for row in rows_of("Linear.csv") if row["name"] == "weight")
        assert (row["shape"], row["has_grad"]) == ("[3, 2]", "true")
        assert float(row["grad_l2_norm"]) == pytest.approx(0.25 * 6**0.5)
        await stage.press("g")
        await write(stage, "down")
        assert np.array_equal(np.load("Linear-weight.grad.npy"), np.full((3, 2), 0.25, np.float32))


async def test_the_screen_as_a_picture_without_the_dialog() -> None:
    async with on_stage(MemorySource({"<a>&\x1b[2J": ramp(2, 3)}, label="m")) as stage:
        await write(stage, "up")
        picture = Path("m-screen.svg").read_text()
        words = "".join(ElementTree.fromstring(picture).itertext()).replace("\xa0", " ")
        assert "<a>&\\x1b[2J" in words
        assert "Write to a file" not in words


async def test_a_file_that_is_there_is_asked_about() -> None:
    Path("m.csv").write_text("mine")
    async with on_stage(MemorySource(small_model(), label="m")) as stage:
        await stage.press("w", "enter")
        await stage.until(lambda: "exists already (4 B)" in stage.text, "the question")
        assert "enter writes over it" in stage.text
        await stage.press("left", "x")  # another name is not the one that was asked about
        assert "exists" not in stage.text
        await name_it(stage, "m.csv")
        await stage.press("enter")
        await stage.until(lambda: "exists already" in stage.text, "the question again")
        assert Path("m.csv").read_text() == "mine"
        await stage.press("enter")
        await stage.until(lambda: len(stage.app.screen_stack) == 2, "the dialog closes")
        await stage.until(lambda: Path("m.csv").read_text().startswith('"name"'), "it is written")
        await stage.until(lambda: os.listdir() == ["m.csv"], "nothing else is left")


async def test_the_file_that_is_open_is_not_replaced(folder: Path) -> None:
    path = folder / "m.csv"  # the content decides, not the name
    before = file_bytes({"a": entry("U8", (3,), 0)}, b"abc")
    path.write_bytes(before)
    async with on_stage(lambda: open_source(path)) as stage:
        await stage.press("w", "enter")
        await stage.until(lambda: "is part of what is open here" in stage.text, "the refusal")
        await stage.press("enter")
        await stage.until(lambda: not stage.screen.exporting.is_busy, "an end")
        assert path.read_bytes() == before


async def test_the_format_follows_the_suffix_and_the_suffix_the_format() -> None:
    async with on_stage(MemorySource(small_model(), label="m")) as stage:
        await stage.send("w")
        assert dialog(stage).field.value == "m.csv"
        await stage.send("shift+tab")
        assert dialog(stage).field.value == "m.json"
        await name_it(stage, "other.MD")
        await stage.press("enter")
        await stage.until(lambda: os.path.exists("other.MD"), "it is written")
        assert Path("other.MD").read_text().startswith("| name |")
        await stage.rest()
        await stage.send("w")
        await name_it(stage, "mine.npy")
        await stage.press("enter")
        assert "The list is written as .csv or .md or .json, not as .npy." in stage.text
        await stage.send("down")  # to the tensor; the name stays
        assert dialog(stage).field.value == "mine.npy"
        await name_it(stage, "values.txt")
        await stage.press("tab", "enter")
        await stage.until(lambda: os.path.exists("values.txt.csv"), "it is written")


@pytest.mark.parametrize(
    ("name", "words"),
    [("no/x.csv", "there is no folder"), ("/", "is the name of a folder"), ("", "the file has no name yet")],
)
async def test_a_name_that_will_not_do(name: str, words: str) -> None:
    async with on_stage(MemorySource(small_model(), label="m"), size=(60, 20)) as stage:
        await stage.send("w")
        await name_it(stage, name)
        await stage.press("enter")
        await stage.until(lambda: words in stage.text, words)
        await name_it(stage, "good.csv")
        await stage.press("enter")
        await stage.until(lambda: os.path.exists("good.csv"), "it is written")


async def test_what_cannot_be_read_says_why() -> None:
    source = MemorySource({"a": ramp(4), "b": ramp(4)}, label="m", unreadable={"a": "the shard is missing"})
    async with on_stage(source) as stage:
        await stage.go("a")
        await stage.press("w", "down", "enter")
        await stage.until(lambda: "the shard is missing" in "".join(stage.lines[10:26]), "the reason")
        assert os.listdir() == []


@pytest.mark.parametrize("what", ["list", "tensor", "screen"])
async def test_the_palette_has_all_of_it(what: str) -> None:
    async with on_stage(MemorySource(small_model(), label="m")) as stage:
        await stage.go("norm.weight")
        commands = {command.title: command for command in stage.app.get_system_commands(stage.app.screen)}
        commands[f"Write the {what}"].callback()
        await stage.until(lambda: isinstance(stage.app.screen, ExportScreen), "the dialog")
        assert dialog(stage).choice.name == what
        await stage.press("escape")
        await stage.go("layers.0")
        commands["Write the tensor"].callback()
        await stage.until(lambda: "Only a tensor has values" in stage.status, "it says so")


class HaltingSource(MemorySource):
    """Stands still at the third window that is read at a time, until ``go_on`` is set."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.reached, self.go_on = Event(), Event()
        self.count = 0
        self.is_armed = False

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        if self.is_armed:
            self.count += 1
            if self.count == 3:
                self.reached.set()
                assert self.go_on.wait(PATIENCE)
        return super().read_window(info, window)


@pytest.fixture
def halting(monkeypatch: pytest.MonkeyPatch) -> Iterator[HaltingSource]:
    monkeypatch.setattr(npy, "PIECE_NBYTES", 400)
    source = HaltingSource({"a": ramp(10, 100)}, label="m")
    yield source
    source.go_on.set()


async def begin(stage: Stage, source: HaltingSource) -> None:
    source.is_armed = True
    await stage.press("w", "down", "enter")
    await stage.until(source.reached.is_set, "the third window")
    await stage.until(lambda: len(stage.app.screen_stack) == 2, "the dialog closes")


async def test_progress_and_escape(halting: HaltingSource) -> None:
    async with on_stage(halting) as stage:
        await begin(stage, halting)
        assert stage.status.startswith(" writing m-a.npy, ")
        assert " %, esc stops " in stage.status
        (hidden,) = os.listdir()
        assert hidden.startswith(".tui-params-")
        await stage.send("w")  # one at a time
        assert stage.screen.notice.words == "One file is being written already; esc stops it."
        await stage.send("down", "escape")
        halting.go_on.set()
        await stage.until(lambda: "Stopped: m-a.npy is not written." in stage.status, "it stops")
        assert os.listdir() == []
        await write(stage, "down")
        assert np.array_equal(np.load("m-a.npy"), ramp(10, 100))


async def test_a_failure_on_the_way_is_said(halting: HaltingSource) -> None:
    async with on_stage(halting) as stage:
        await begin(stage, halting)
        halting.broken["a"] = "a.bin was truncated"
        halting.go_on.set()
        await stage.until(lambda: "m-a.npy is not written: a.bin was truncated" in stage.status, "the reason")
        assert os.listdir() == []


async def test_opening_again_stops_it(halting: HaltingSource) -> None:
    async with on_stage(halting) as stage:
        await begin(stage, halting)
        first = stage.screen.desk
        assert first is not None
        await stage.send("R")
        await stage.until(lambda: stage.screen.desk is not first, "it is open again")
        halting.go_on.set()
        await stage.until(lambda: not stage.screen.exporting.is_busy, "it stops")
        assert stage.screen.notice.words == "Stopped: m-a.npy is not written."
        assert os.listdir() == []


async def test_leaving_stops_it(halting: HaltingSource) -> None:
    async with on_stage(halting) as stage:
        await begin(stage, halting)
        exports = stage.screen.exporting._writing._exports
        assert exports is not None
        join = exports.join

        def let_it_go_on(seconds: float) -> None:
            halting.go_on.set()
            join(max(seconds, PATIENCE))

        exports.join = let_it_go_on  # type: ignore[method-assign]
    assert os.listdir() == []
