"""Every key of the tables in ``keys.py``: what it does, under each of the keys that it is bound to."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import TypeVar

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save
from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Input

from tests.factories_hub import store
from tests.factories_memory import MemorySource
from tests.factories_screen import PATIENCE, Arrays, eventually, on_stage, ramp, small_model
from tests.scenes import editable
from tui_params.api.opening import open_source
from tui_params.cache.choices import Choices
from tui_params.cache.folder import CacheFolder
from tui_params.core.beat import Beat
from tui_params.core.tensor import TensorInfo
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.tui import keys
from tui_params.tui.screens.edits import EditsScreen
from tui_params.tui.screens.explorer import notice
from tui_params.tui.screens.help import HelpScreen
from tui_params.tui.screens.tensor.screen import TensorScreen
from tui_params.tui.widgets.canvas import LinesView
from tui_params.tui.widgets.detail.value_grid import ValueGrid
from tui_params.tui.widgets.finding_list import FindingList
from tui_params.tui.widgets.tree.module_tree import ModuleTree

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
    table = (*keys.TREE, *keys.SCREEN, *keys.COMPARE, *keys.VALUES, *keys.EDITS, *keys.TENSOR)
    return tuple(next(key for key in table if key.id == id_).keys.split(","))


def test_every_key_has_a_test() -> None:
    ids = [key.id for key in (*keys.TREE, *keys.SCREEN, *keys.COMPARE, *keys.VALUES, *keys.EDITS)]
    assert len(ids) == len(set(ids))
    assert set(ids) - COVERED == set()
    assert COVERED - set(ids) == set()  # those of the tensor screen: tests/tui/screens/tensor


@covers("compare", "renames", "unchanged", "difference", "rank")
async def test_another_source_is_compared_and_looked_into() -> None:
    def before() -> MemorySource:
        return MemorySource({"a": ramp(4, 4), "b": ramp(3)})

    def after() -> MemorySource:
        return MemorySource({"module.a": ramp(4, 4) + 1, "module.b": ramp(3)})

    async with on_stage(before, other=after) as stage:
        assert "Renaming b:module.=" in stage.status
        await stage.press("r")
        assert "1 changed, 1 same" in stage.header
        await stage.press("U")
        assert stage.names == ["b"]
        await stage.press("U")
        assert stage.names == ["a", "b"]
        await stage.go("a")
        await stage.press("D")
        assert "rank of B - A: 1 of 4" in stage.facts
        await stage.press("d")
        assert isinstance(stage.app.screen, TensorScreen)
        assert "B - A" in stage.text
        await stage.press("escape", "r")
        assert "4 on one side alone" in stage.header
        await stage.press("c")
        assert "module.=" in stage.text
        await stage.press("enter")
        assert "against" not in stage.header
        for key in ("r", "U", "d", "D"):
            await stage.press(key)
            assert stage.status.strip()[:4] in ("Only", "Noth"), key


def test_every_key_is_explained() -> None:
    for key in (*keys.TREE, *keys.SCREEN, *keys.COMPARE, *keys.VALUES, *keys.EDITS):
        assert key.tooltip
        assert key.label
        assert key.shown


@pytest.mark.parametrize(
    "table",
    [(*keys.TREE, *keys.SCREEN, *keys.COMPARE, *keys.EDITS), (*keys.VALUES, *keys.SCREEN, *keys.COMPARE, *keys.EDITS)],
)
def test_no_key_stands_for_two_things(table: tuple[keys.Key, ...]) -> None:
    used = [key for entry in table for key in entry.keys.split(",")]
    assert len(used) == len(set(used))


@pytest.mark.parametrize("kind", [ModuleTree, ValueGrid, FindingList, LinesView])
def test_every_cursor_moves_by_the_same_keys(kind: type[Widget]) -> None:
    bound = {binding.key for binding in kind.BINDINGS if isinstance(binding, Binding)}
    assert bound >= {keys.UP, keys.DOWN, keys.PAGE_UP, keys.PAGE_DOWN, keys.HOME}
    assert (keys.END in bound) is (kind is not ValueGrid)  # the last values of a tensor may be far away


# The tree


@covers("tree.up", "tree.down")
async def test_arrows_and_letters_move_the_cursor_by_a_row() -> None:
    async with on_stage() as stage:
        names = stage.names
        for key in keys_of("tree.down"):
            before = names.index(stage.cursor or "")
            await stage.press(key, key)
            assert names.index(stage.cursor or "") == before + 2, key
        for key in keys_of("tree.up"):
            before = names.index(stage.cursor or "")
            await stage.press(key)
            assert names.index(stage.cursor or "") == before - 1, key
        await stage.press("up", "up", "up", "up")
        assert stage.cursor == names[0]
        await stage.press("end", "down", "down")
        assert stage.cursor == names[-1]


@covers("tree.left", "tree.right")
async def test_left_closes_then_leaves_and_right_opens_then_enters() -> None:
    for left, right in zip(keys_of("tree.left"), keys_of("tree.right"), strict=True):
        async with on_stage() as stage:
            await stage.go("layers.0.attn.weight")
            await stage.press(left)
            assert stage.cursor == "layers.0.attn"
            await stage.press(left)
            assert stage.cursor == "layers.0.attn"
            assert "layers.0.attn.weight" not in stage.names
            await stage.press(right)
            assert stage.cursor == "layers.0.attn"
            assert "layers.0.attn.weight" in stage.names
            await stage.press(right)
            assert stage.cursor == "layers.0.attn.weight"
            await stage.press(right)
            assert stage.cursor == "layers.0.attn.weight"


@covers("tree.toggle", "tree.enter")
@pytest.mark.parametrize("key", [*keys_of("tree.toggle"), *keys_of("tree.enter")])
async def test_a_module_is_closed_and_opened(key: str) -> None:
    async with on_stage() as stage:
        await stage.go("layers.2")
        await stage.press(key)
        assert not any(name.startswith("layers.2.") for name in stage.names)
        assert "layers.10.attn" in stage.names
        await stage.press(key)
        assert "layers.2.mlp.weight" in stage.names
        assert stage.cursor == "layers.2"


@covers("tree.enter", "inside")
async def test_enter_on_a_tensor_looks_into_it_and_escape_comes_back_to_the_row() -> None:
    async with on_stage() as stage:
        await stage.go("layers.2.mlp.weight")
        for into in (*keys_of("tree.enter"), *keys_of("inside")):
            for back in keys_of("tensor.back"):
                await stage.press(into)
                assert isinstance(stage.app.screen, TensorScreen)
                assert "layers.2.mlp.weight" in stage.lines[0]
                await stage.press(back)
                assert stage.screen.tree_view.has_focus
                assert stage.cursor == "layers.2.mlp.weight"


@covers("values.inside")
async def test_enter_in_the_values_looks_into_the_tensor_from_there() -> None:
    async with on_stage(MemorySource({"a": ramp(40, 50)})) as stage:
        stage.screen.detail.grid.focus()
        await stage.press("down", "down", "right", *keys_of("values.inside"))
        assert "[2, 1] = 101.0" in stage.lines[1]


async def test_enter_on_the_enlarged_page_looks_into_the_tensor() -> None:
    async with on_stage() as stage:
        await stage.press("z", "enter")
        assert "embed.weight" in stage.lines[0]
        assert isinstance(stage.app.screen, TensorScreen)
        await stage.press("escape")
        assert stage.screen.detail.facts.has_focus
        await stage.press("escape", "escape")
        assert stage.screen.tree_view.size.width > 0


async def test_a_module_cannot_be_looked_into() -> None:
    async with on_stage() as stage:
        await stage.go("layers.2")
        await stage.press("i")
        assert "move to one first" in stage.status


@covers("tree.page_up", "tree.page_down", "tree.home", "tree.end")
async def test_pages_and_ends() -> None:
    source = MemorySource({f"layer{number}": ramp(2) for number in range(200)})
    async with on_stage(source, (100, 24)) as stage:
        names = stage.names
        height = stage.screen.tree_view.size.height
        for key in keys_of("tree.page_down"):
            before = names.index(stage.cursor or "")
            await stage.press(key)
            assert before + height - 2 <= names.index(stage.cursor or "") <= before + height, key
            assert stage.cursor is not None
            assert stage.cursor in stage.row(stage.cursor)
        for key in keys_of("tree.page_up"):
            before = names.index(stage.cursor or "")
            await stage.press(key)
            assert before - height <= names.index(stage.cursor or "") <= before - height + 2, key
        for key in keys_of("tree.end"):
            await stage.press("home", key)
            assert stage.cursor == names[-1], key
            assert names[-1] in stage.row(names[-1])
        for key in keys_of("tree.home"):
            await stage.press("end", key)
            assert stage.cursor == names[0], key
            assert names[0] in stage.row(names[0])


@covers("tree.parent")
@pytest.mark.parametrize("key", keys_of("tree.parent"))
async def test_parent(key: str) -> None:
    async with on_stage() as stage:
        await stage.go("layers.2.attn.bias")
        for expected in ("layers.2.attn", "layers.2", "layers", "layers"):
            await stage.press(key)
            assert stage.cursor == expected


@covers("tree.next", "tree.previous")
async def test_siblings() -> None:
    async with on_stage() as stage:
        for key in keys_of("tree.next"):
            await stage.go("layers.0")
            await stage.press(key)
            assert stage.cursor == "layers.2", key
            await stage.press(key, key, key)
            assert stage.cursor == "layers.10", key
        for key in keys_of("tree.previous"):
            await stage.go("layers.10")
            await stage.press(key)
            assert stage.cursor == "layers.2", key
            await stage.press(key, key, key)
            assert stage.cursor == "layers.0", key


@covers("tree.expand_below", "tree.collapse_below", "tree.expand_all", "tree.collapse_all")
async def test_everything_below_and_everything() -> None:
    async with on_stage() as stage:
        everything = stage.names
        await stage.press("C")
        assert stage.names == ["embed.weight", "layers", "norm.weight", "steps"]
        await stage.press("E")
        assert stage.names == everything
        await stage.go("layers.2")
        await stage.press("minus")
        assert "layers.2" in stage.names
        assert not any(name.startswith("layers.2.") for name in stage.names)
        await stage.press("right")
        assert "layers.2.attn" in stage.names
        assert "layers.2.attn.weight" not in stage.names
        await stage.press("e")
        assert stage.names == everything
        assert stage.cursor == "layers.2"


@covers("tree.collapse_below")
async def test_closing_everything_leaves_the_cursor_on_what_hides_its_tensor() -> None:
    async with on_stage() as stage:
        await stage.go("layers.2.attn.bias")
        await stage.press("C")
        assert stage.cursor == "layers"
        await stage.press("E")
        await stage.go("layers.2.attn.bias")
        await stage.press("minus")
        assert stage.cursor == "layers.2.attn"


@covers("tree.next_mark", "tree.previous_mark")
async def test_marks_are_visited_in_turn_and_opened() -> None:
    async with on_stage() as stage:
        await stage.press("C", "n")
        assert stage.cursor == "layers.2.mlp.weight"
        assert stage.row("layers.2.mlp.weight").startswith("!")
        await stage.press("n")
        assert stage.cursor == "layers.10.mlp.weight"
        await stage.press("n")
        assert stage.cursor == "layers.2.mlp.weight"
        await stage.press("N")
        assert stage.cursor == "layers.10.mlp.weight"


async def test_without_a_mark_the_key_says_so_and_moves_nothing() -> None:
    async with on_stage(MemorySource({"a": ramp(3), "b": ramp(3)})) as stage:
        await stage.press("n")
        assert stage.cursor == "a"
        assert "No mark" in stage.status


def odd() -> MemorySource:
    """Tensors that have no histogram, each for another reason, below ``m`` and beside it."""
    arrays: Arrays = {"m.first": ramp(3), "m.same": np.ones(3), "m.none": np.zeros((0, 2)), "m.nan": np.full(2, np.nan)}
    return MemorySource({**arrays, "m.lost": ramp(3), "z": ramp(2)}, broken={"m.lost": "its bytes are gone"})


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
@pytest.mark.parametrize(
    ("at", "key", "said"),
    [
        ("m", "s", "Only a tensor has a histogram"),
        ("m", "a", "Only a tensor has a histogram"),
        ("m.same", "s", "all finite values are equal"),
        ("m.none", "a", "the tensor has no elements"),
        ("m.nan", "s", "no value is finite"),
        ("m.lost", "a", "could not be read"),
        ("m", "v", "Only a tensor has values"),
        ("m", "g", "No gradients here"),
        ("m", "p", "it is at the top"),
        ("z", "p", "it is at the top"),
        ("z", "J", "the last row of its module"),
        ("m", "left_square_bracket", "the first row of its module"),
        ("z", "space", "nothing below this row"),
        ("z", "e", "nothing more to open"),
        ("z", "minus", "nothing open below"),
        ("m", "E", "Everything is open"),
    ],
)
async def test_a_key_that_does_nothing_says_why_in_the_status_line(
    size: tuple[int, int], at: str, key: str, said: str
) -> None:
    async with on_stage(odd(), size) as stage:
        await stage.press("E")
        await stage.go("m.first")
        await stage.go(at)
        before = stage.status, stage.facts
        assert said not in stage.status
        await stage.press(key)
        assert said in stage.status
        assert len(stage.status) == size[0]
        assert stage.cursor == at
        assert not list(stage.app._notifications)
        assert stage.facts == before[1]
        await stage.press("up" if at != "m" else "down")
        assert said not in stage.status
        await stage.go("m.first")
        assert "log" not in stage.facts


async def test_what_was_said_goes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(odd()) as stage:
        await stage.go("m")
        before = stage.status
        await stage.press("v", "s")
        assert "Only a tensor has a histogram" in stage.status
        monkeypatch.setattr(notice, "SAID_FOR", 0.01)
        await stage.send("s")
        await stage.until(lambda: stage.status == before, "the sentence goes")


async def test_the_only_mark_is_said_to_be_the_only_one() -> None:
    async with on_stage(MemorySource({"a": ramp(3), "b": np.array([np.nan, 1.0])})) as stage:
        await stage.press("n")
        assert stage.cursor == "b"
        await stage.press("n")
        assert "No other mark" in stage.status
        await stage.press("C", "C")
        assert "Everything is closed" in stage.status


async def test_gradients_of_a_module_are_not_turned_on_unseen() -> None:
    source = MemorySource({"m.a": ramp(3), "m.b": ramp(2), "m.a.grad": -ramp(3) - 100})
    *tensors, gradient = source.listing.tensors
    gradient = msgspec.structs.replace(gradient, kind="gradient")
    source.listing = msgspec.structs.replace(source.listing, tensors=tuple(tensors), gradients={"m.a": gradient})
    async with on_stage(source) as stage:
        await stage.go("m")
        await stage.press("g")
        assert "Only a tensor has a gradient" in stage.status
        await stage.go("m.a")
        assert stage.facts.startswith("m.a\n")
        assert "-102" not in stage.values


async def test_the_divider_says_where_it_ends() -> None:
    async with on_stage(odd(), (60, 20)) as stage:
        await stage.press("greater_than_sign")
        assert "one above the other" in stage.status
    async with on_stage(odd()) as stage:
        await stage.press(*("less_than_sign",) * 30)
        assert "The tree needs this width" in stage.status
        await stage.press(*("greater_than_sign",) * 40)
        assert "no room for more" in stage.status
        await stage.press("z", "greater_than_sign")
        assert "z gives it back" in stage.status


async def test_nothing_can_be_copied_of_nothing() -> None:
    async with on_stage(MemorySource({})) as stage:
        await stage.press("y")
        assert "nothing to copy" in stage.status


# Everywhere


@covers("search", "clear")
async def test_search_and_clear() -> None:
    async with on_stage() as stage:
        everything = stage.names
        await stage.press("slash")
        await stage.type("norm")
        await stage.press("enter")
        assert stage.names == ["norm.weight"]
        assert stage.screen.tree_view.has_focus
        await stage.press("escape")
        assert stage.names == everything


@covers("values")
async def test_values_takes_the_keyboard_to_the_slice() -> None:
    async with on_stage(size=(80, 24)) as stage:
        assert stage.screen.detail.grid.size.height == 0
        await stage.press("v")
        assert stage.screen.detail.field.has_focus
        assert stage.screen.detail.grid.size.height > 1
        await stage.type("[1]")
        await stage.press("enter")
        assert stage.screen.detail.grid.has_focus
        assert "8.0" in stage.values
        await stage.press("escape")
        assert stage.screen.tree_view.has_focus


async def test_values_of_a_module_says_what_to_do() -> None:
    async with on_stage() as stage:
        await stage.go("layers")
        await stage.press("v")
        assert stage.screen.tree_view.has_focus
        assert "Only a tensor has values" in stage.status


def with_gradient() -> MemorySource:
    """A source with a gradient of one of its two parameters."""
    source = MemorySource({"a": ramp(3), "b": ramp(3), "a.grad": -ramp(3) - 100})
    tensors = {info.name: msgspec.structs.replace(info, kind="parameter") for info in source.listing.tensors}
    gradient: TensorInfo = msgspec.structs.replace(tensors.pop("a.grad"), kind="gradient")
    source.listing = msgspec.structs.replace(source.listing, tensors=tuple(tensors.values()), gradients={"a": gradient})
    return source


@covers("gradient")
async def test_gradient_goes_there_and_back() -> None:
    async with on_stage(with_gradient()) as stage:
        assert stage.facts.startswith("a\n")
        assert "-102" in stage.facts  # beside
        assert "-102" not in stage.values
        assert "g shows its gradient alone" in stage.facts
        await stage.press("g")
        assert stage.facts.startswith("a.grad")
        assert "-102" in stage.facts
        assert "-102" in stage.values
        assert "the gradient of a" in stage.facts
        await stage.press("down")
        assert stage.facts.startswith("b\n")
        assert "it has no gradient" in stage.facts
        await stage.press("up", "g")
        assert stage.facts.startswith("a\n")
        assert "-102" not in stage.values


async def test_gradient_without_any_says_why() -> None:
    async with on_stage() as stage:
        before = stage.facts
        await stage.press("g")
        assert stage.facts == before
        assert "No gradients here" in stage.status


@covers("log_counts", "log_axis")
async def test_scales_of_the_histogram() -> None:
    values = np.concatenate([np.full(900, 1.0), np.geomspace(1, 1000, 50)]).astype(np.float32)
    async with on_stage(MemorySource({"a": values})) as stage:
        plain = stage.facts
        assert "┤" in plain
        assert "log" not in plain
        await stage.press("s")
        log_counts = stage.facts
        assert "log counts" in log_counts
        assert log_counts.count("█") > plain.count("█")
        await stage.press("s", "a")
        log_axis = stage.facts
        assert "log axis" in log_axis
        assert log_axis != plain
        await stage.press("a")
        assert stage.facts == plain


@covers("enlarge")
async def test_enlarge_and_back() -> None:
    async with on_stage() as stage:
        width = stage.screen.detail.size.width
        await stage.press("z")
        assert stage.screen.detail.size.width == 120 > width
        assert max(map(len, stage.facts.splitlines())) > width
        await stage.press("z")
        assert stage.screen.detail.size.width == width
        assert stage.screen.tree_view.has_focus


@covers("scroll_down", "scroll_up")
async def test_the_detail_scrolls_while_the_tree_has_the_keyboard() -> None:
    async with on_stage(size=(80, 24)) as stage:
        await stage.go("layers.2.mlp.weight")
        await stage.press("ctrl+d")
        facts = stage.screen.detail.facts
        assert facts.top > 0
        assert stage.cursor == "layers.2.mlp.weight"
        await stage.press(*["ctrl+d"] * 6)
        last = facts.plain().splitlines()[-1].strip()
        assert last in stage.text
        await stage.press(*["ctrl+u"] * 9)
        assert facts.top == 0


@covers("narrower", "wider")
async def test_the_tree_gets_narrower_and_wider_within_limits() -> None:
    async with on_stage() as stage:
        tree = stage.screen.tree_view
        await stage.go("layers")  # a page that is quickly drawn
        width = tree.size.width
        await stage.press("greater_than_sign")
        assert tree.size.width == width + 4
        await stage.press("less_than_sign", "less_than_sign")
        assert tree.size.width == width - 4
        await stage.press(*["less_than_sign"] * 12)
        assert tree.size.width >= 20
        await stage.press(*["greater_than_sign"] * 22)
        assert stage.screen.detail.size.width >= 20


@covers("scan")
async def test_scan_reads_and_checks_what_is_not_on_screen() -> None:
    arrays = {f"layer{number}": ramp(4) for number in range(60)}
    arrays["layer55"][1] = np.nan
    async with on_stage(MemorySource(arrays), (80, 24)) as stage:
        desk = stage.screen.desk
        assert desk is not None
        assert desk.figures("layer55") is None
        await stage.press("S")
        await stage.until(lambda: all(desk.figures(name) is not None for name in arrays), "everything is read")
        await stage.press("n")
        assert stage.cursor == "layer55"


@covers("fetch")
async def test_on_this_machine_there_is_nothing_to_fetch() -> None:
    async with on_stage() as stage:
        for key in keys_of("fetch"):
            await stage.press(key)
            assert "Nothing has to be fetched" in stage.status


@covers("verify")
async def test_verify_compares_the_files_with_those_of_the_hub(tmp_path: Path) -> None:
    content = save({"fc.weight": ramp(8, 8), "fc.bias": ramp(8)})
    path = store(tmp_path / "models--a--b", "model.safetensors", content)
    async with on_stage(open_source(path)) as stage:
        await stage.press("V")
        await stage.until(lambda: "1 file verified." in stage.text, "the result is shown")
        await stage.press("exclamation_mark")
        assert "Against the hub: 1 file verified." in stage.text
    path.resolve().write_bytes(content[:-1] + b"\1")
    async with on_stage(open_source(path)) as stage:
        await stage.press("V")
        await stage.until(lambda: "1 file not that of the hub; ! lists why." in stage.text, "the result is shown")
        await stage.press("S")
        await stage.until(lambda: "1 error" in stage.text, "the report has it too")
        await stage.press("exclamation_mark")
        assert "it is not the file of the hub" in stage.text


async def test_files_without_a_digest_are_listed_as_not_verified() -> None:
    async with on_stage(MemorySource({"a.weight": ramp(8, 8)})) as stage:
        await stage.press("V")
        await stage.until(lambda: "1 file not verified; ! lists why." in stage.text, "the result is shown")
        await stage.press("S")
        await stage.until(lambda: "1 file not verified" in stage.text.splitlines()[1], "the header says so")
        await stage.press("exclamation_mark")
        assert "Could not be checked" in stage.text
        assert "memory was not verified: it was not read from a file" in stage.text


async def test_escape_stops_the_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Event()
    read = ExtentSource.file_blocks

    def held(self: ExtentSource, name: str, start: int, stop: int) -> Iterator[memoryview]:
        for block in read(self, name, start, stop):
            gate.wait(PATIENCE)
            yield block

    monkeypatch.setattr(ExtentSource, "file_blocks", held)
    path = store(tmp_path / "models--a--b", "model.safetensors", save({"fc.weight": ramp(8, 8)}))
    async with on_stage(open_source(path), (120, 20)) as stage:
        await stage.send("V")
        await stage.until(lambda: "verifying" in stage.text, "the header says so")
        await stage.send("V", "escape")
        assert stage.screen.verification.progress is None
        gate.set()
        await stage.press("down")
        assert "verif" not in stage.text
        await stage.press("V")
        await stage.until(lambda: "1 file verified." in stage.text, "it may be started again")


@covers("timeline")
async def test_a_source_that_is_no_folder_of_a_run_has_no_timeline() -> None:
    async with on_stage() as stage:
        for key in keys_of("timeline"):
            await stage.press(key)
            assert stage.app.screen is stage.screen
            assert "Only the folder of a run has a timeline" in stage.status


@covers("problems")
async def test_problems_lists_the_worst_first_and_enter_goes_there() -> None:
    source = MemorySource(small_model(), unreadable={"steps": "the [shard] is missing"})
    async with on_stage(source) as stage:
        await stage.press("C", "exclamation_mark")
        assert stage.app.screen is not stage.screen
        words = stage.text
        assert words.index("layers.2.mlp.weight") < words.index("the [shard] is missing")
        assert "could not be read" in words
        await stage.press("enter")
        assert stage.app.screen is stage.screen
        assert stage.cursor in ("layers.2.mlp.weight", "layers.10.mlp.weight")
        before = stage.cursor
        await stage.press("exclamation_mark", "down", "down", "up", "end", "home", "escape")
        assert stage.app.screen is stage.screen
        assert stage.cursor == before


@covers("axis")
async def test_one_axis_for_the_sparklines_of_a_module_and_each_its_own_again() -> None:
    arrays = {"a.small": ramp(9), "a.large": 10 * ramp(9), "b.other": 100 * ramp(9)}
    async with on_stage(MemorySource(arrays)) as stage:
        await stage.press("E")
        await stage.go("a.small")
        own = {name: stage.row(name) for name in arrays}
        await stage.press("x")
        assert "One axis for the 2 tensors of a." in stage.status
        assert "one axis" in stage.lines[2]
        assert " to " in stage.lines[2]
        assert stage.row("a.small") != own["a.small"]
        assert stage.row("b.other") == own["b.other"]
        await stage.go("a.large")
        await stage.press("x")
        assert "one axis" not in stage.lines[2]
        assert stage.row("a.small") == own["a.small"]


@covers("pin")
async def test_pin_says_why_there_is_nothing_to_pin_in_a_file() -> None:
    async with on_stage() as stage:  # of models: screens/explorer/test_comparing.py
        await stage.press("P")
        assert "Only explore(model) compares" in stage.status


class Training(MemorySource):
    """Tensors of a model that trains meanwhile."""

    def beat(self) -> Beat:
        return Beat(3, 0.1)


async def test_pin_names_what_compares_a_model_that_trains() -> None:
    async with on_stage(Training({"a": ramp(2, 2)})) as stage:
        assert "W watch  F hold" in stage.status
        await stage.press("P")
        assert "no earlier look is kept: c compares it with a file" in stage.status


@covers("sort")
async def test_sort_puts_the_largest_first_and_the_cursor_on_it() -> None:
    arrays = {"small": ramp(2), "large": ramp(90), "middle": ramp(9)}
    async with on_stage(MemorySource(arrays)) as stage:
        await stage.go("middle")
        await stage.press("o", "p")
        await stage.until(lambda: stage.names == ["large", "middle", "small"], "by the number of elements")
        assert stage.cursor == "large"
        await stage.press("o", "P")
        await stage.until(lambda: stage.names == ["small", "middle", "large"], "the other way round")
        await stage.press("o", "escape")
        assert stage.names == ["small", "middle", "large"]
        await stage.press("o", "n")
        await stage.until(lambda: stage.names == list(arrays), "as they were")
        assert stage.cursor == "small"


@covers("copy_name", "copy_line")
async def test_copying_the_name_and_the_line() -> None:
    async with on_stage() as stage:
        await stage.go("layers.2.mlp.weight")
        await stage.press("y")
        assert stage.app.clipboard == "layers.2.mlp.weight"
        await stage.press("Y")
        assert stage.app.clipboard.startswith("layers.2.mlp.weight [16, 8] f32 x∈[0 ")
        assert "1 NaN" in stage.app.clipboard
        assert "\n" not in stage.app.clipboard
        await stage.go("layers.10")
        await stage.press("y")
        assert stage.app.clipboard == "layers.10"


@covers("focus")
async def test_tab_goes_round_the_panes() -> None:
    async with on_stage() as stage:
        screen = stage.screen
        for widget in (screen.detail.facts, screen.detail.field, screen.detail.grid, screen.tree_view):
            await stage.press("tab")
            assert widget.has_focus
        await stage.go("layers")
        await stage.press("tab")
        assert screen.detail.facts.has_focus
        await stage.press("tab")
        assert screen.tree_view.has_focus


@covers("hold")
async def test_hold_says_that_nothing_trains_here() -> None:
    # tests/tui/screens/test_pulse.py holds the picture of a model that does.
    async with on_stage() as stage:
        await stage.press("F")
        assert "Nothing here trains" in stage.lines[-1]


@covers("logical")
async def test_the_key_of_packed_weights_says_that_there_are_none() -> None:
    # tests/tui/screens/explorer/test_packed.py shows some.
    async with on_stage() as stage:
        await stage.press("t")
        assert "There are no packed weights here." in stage.lines[-1]


@covers("watch")
async def test_watch_says_that_nothing_trains_here() -> None:
    # tests/tui/screens/test_watch.py watches a model that does.
    async with on_stage() as stage:
        await stage.press("W")
        assert "Only a model that trains" in stage.lines[-1]


@covers("repaint")
async def test_every_screen_is_painted_anew_by_the_same_key() -> None:
    async with on_stage() as stage:
        for opening in ("tab", "question_mark", "K", "M", "i"):
            await stage.press(opening)
            stage.app._shown.lose(500, 0, 1)  # a line of which something is known
            await stage.press(*keys_of("repaint"))
            assert 500 not in stage.app._shown._lines, opening
            await stage.press("escape")


@covers("reload")
async def test_reload_opens_again_and_keeps_the_cursor() -> None:
    opened: list[MemorySource] = []

    def open_it() -> MemorySource:
        arrays = small_model()
        arrays["steps"] = np.array(7 + len(opened), np.int64)
        opened.append(MemorySource(arrays))
        return opened[-1]

    async with on_stage(open_it) as stage:
        await stage.go("steps")
        await stage.press()
        assert "=7" in stage.row("steps")
        await stage.press("R")
        await stage.until(lambda: len(opened) == 2 and stage.screen.session.generation == 2, "opened again")
        await stage.press()
        assert stage.cursor == "steps"
        assert "=8" in stage.row("steps")
        await eventually(lambda: opened[0].is_closed, "the old source is closed")
        assert not opened[1].is_closed


@covers("help")
async def test_help_lists_every_key_and_the_filter_language() -> None:
    async with on_stage() as stage:
        await stage.press("question_mark")
        screen = stage.app.screen
        assert isinstance(screen, HelpScreen)
        from tui_params.core.query.query import HELP
        from tui_params.tui.screens.help import HelpPage

        page = screen.query_one(HelpPage)
        words = page.plain()
        for key in (*keys.TREE, *keys.SCREEN, *keys.COMPARE, *keys.VALUES, *keys.EDITS):
            assert key.tooltip[:24] in words, key.id
        for term, _ in HELP:
            assert term in words
        before = stage.text
        await stage.press("j", "j", "pagedown")
        assert stage.text != before
        for closing in ("escape", "q", "question_mark"):
            await stage.press(closing)
            assert not isinstance(stage.app.screen, HelpScreen), closing
            assert stage.app.is_running
            await stage.press("question_mark")


@covers("palette")
async def test_the_palette_offers_the_commands() -> None:
    async with on_stage() as stage:
        await stage.go("layers.2")
        await stage.press("colon")
        assert stage.app.screen is not stage.screen
        await stage.type("collapse all")
        await stage.until(lambda: "Close the whole tree" in stage.text, "the command is found")
        await stage.send("enter")
        await stage.until(lambda: stage.app.screen is stage.screen, "the palette is closed")
        await stage.until(lambda: len(stage.names) == 4, "the command has run")
        assert stage.cursor == "layers"


@covers("quit")
async def test_q_quits() -> None:
    source = MemorySource(small_model())
    async with on_stage(source) as stage:
        await stage.send("q")
        await stage.until(lambda: not stage.app.is_running, "it has ended")
    assert stage.app.return_code == 0
    assert stage.app.failure is None
    await eventually(lambda: source.is_closed, "the source is closed")


# Values


@covers("values.up", "values.down", "values.left", "values.right")
async def test_arrows_and_letters_move_over_the_values() -> None:
    async with on_stage(MemorySource({"a": ramp(100, 100)})) as stage:
        stage.screen.detail.grid.focus()
        await stage.press()
        steps = (("values.down", "1"), ("values.right", "1"))
        for step, (id_, _) in enumerate(steps):
            for number, key in enumerate(keys_of(id_), 1):
                await stage.press(key)
                row, column = (number, 0) if step == 0 else (2, number)
                assert first_value(stage.values) == 100 * row + column, key
        for number, key in enumerate(keys_of("values.up"), 1):
            await stage.press(key)
            assert first_value(stage.values) == 100 * (2 - number) + 2, key
        for number, key in enumerate(keys_of("values.left"), 1):
            await stage.press(key)
            assert first_value(stage.values) == 2 - number, key
        await stage.press("up", "left")
        assert first_value(stage.values) == 0
        assert stage.screen.detail.grid.has_focus


@covers("values.page_up", "values.page_down", "values.home")
async def test_pages_of_values() -> None:
    async with on_stage(MemorySource({"a": ramp(100, 100)})) as stage:
        grid = stage.screen.detail.grid
        grid.focus()
        await stage.press("right")
        rows = len(stage.values.splitlines()) - 1
        for number, key in enumerate(keys_of("values.page_down"), 1):
            await stage.press(key)
            assert first_value(stage.values) == 100 * rows * number + 1, key
        for key in keys_of("values.page_up"):
            await stage.press(key)
        assert first_value(stage.values) == 1
        await stage.press("pagedown", "right", *keys_of("values.home"))
        assert first_value(stage.values) == 0
        await stage.press(*["pagedown"] * 20)
        assert stage.values.split()[-1] != ""
        assert "99" in [line.split()[0] for line in stage.values.splitlines()]


def first_value(grid: str) -> float:
    """The number in the upper left corner of a grid of values: after the column labels and the row label."""
    return float(grid.splitlines()[1].split()[1])


async def test_the_field_takes_letters_that_are_keys_elsewhere() -> None:
    async with on_stage() as stage:
        await stage.press("v")
        await stage.type("q?:")
        assert stage.screen.query_one("#slice", Input).value == "q?:"
        assert stage.app.is_running


@covers("values.next_table", "values.previous_table")
async def test_tables_of_a_tensor_of_four_dimensions_are_visited_in_turn() -> None:
    async with on_stage(MemorySource({"a": ramp(2, 3, 4, 5)}), size=(120, 36)) as stage:
        stage.screen.detail.grid.focus()
        await stage.press("down")
        assert "next table" in stage.status
        for table in (1, 2, 3, 4, 5, 0, 1):
            await stage.press(*keys_of("values.next_table"))
            assert first_value(stage.values) == 20 * table + 5
        for table in (0, 5):
            await stage.press(*keys_of("values.previous_table"))
            assert first_value(stage.values) == 20 * table + 5
        await stage.press("home")
        assert first_value(stage.values) == 0


async def test_a_matrix_has_no_other_table() -> None:
    async with on_stage(MemorySource({"a": ramp(4, 5)})) as stage:
        stage.screen.detail.grid.focus()
        await stage.press("down")
        assert "next table" not in stage.status
        await stage.press("right_square_bracket")
        assert "no other table" in stage.status
        assert first_value(stage.values) == 5


async def test_what_is_said_fits_the_narrowest_screen() -> None:
    async with on_stage(MemorySource({"m.a": ramp(4, 5), "m.b": ramp(2)}), size=(60, 20)) as stage:
        await stage.go("m")
        for key in ("g", "v", "s", "a", "p", "left_square_bracket", "J", "n", "N", "E", "e", "greater_than_sign"):
            await stage.send(key)
            assert stage.screen.notice.words.endswith("."), key
            assert f" {stage.screen.notice.words}".ljust(60) == stage.status, key
        stage.screen.detail.grid.focus()
        await stage.go("m.a")
        await stage.send("right_square_bracket")
        assert stage.status.strip() == "There is no other table: at most two dimensions."


@covers("export")
async def test_the_list_is_written_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with on_stage() as stage:
        await stage.press(*keys_of("export"))
        assert type(stage.app.screen).__name__ == "ExportScreen"
        await stage.press("escape")
        assert list(tmp_path.iterdir()) == []
        await stage.press(*keys_of("export"), "enter")
        await stage.until(lambda: "Wrote memory.csv" in stage.status, "it is written")
        assert [path.name for path in tmp_path.iterdir()] == ["memory.csv"]


@covers("columns")
async def test_the_columns_of_the_tree_are_chosen() -> None:
    async with on_stage(size=(120, 36)) as stage:
        await stage.press(*keys_of("columns"))
        assert type(stage.app.screen).__name__ == "ColumnsScreen"
        await stage.send("space", "escape")
        await stage.rest()
        assert "shape" not in stage.lines[2]


@covers("back", "forward")
async def test_back_and_forward_go_through_what_was_looked_at_across_filters() -> None:
    async with on_stage(MemorySource({f"m.w{place}": ramp(2) for place in range(5)})) as stage:
        for name in ("m.w1", "m.w3", "m.w4"):
            await stage.go(name)
        await stage.press("slash", "w", "4", "enter")
        for keys_ in (keys_of("back"), keys_of("back")[-1:]):
            await stage.press(keys_[-1])
        assert stage.cursor == "m.w1"
        assert stage.screen.filter.query is None
        await stage.press(keys_of("forward")[0])
        assert stage.cursor == "m.w3"
        await stage.press(*keys_of("forward") * 2)
        assert stage.cursor == "m.w4"
        assert "no later tensor" in stage.status
        await stage.go("m.w0")
        await stage.press(*keys_of("back")[:1])
        assert stage.cursor == "m.w4"


@covers("bookmark", "go_to")
async def test_a_bookmark_is_gone_to_by_its_letter() -> None:
    async with on_stage(MemorySource({f"m.w{place}": ramp(2) for place in range(5)})) as stage:
        await stage.press(*keys_of("go_to"))
        assert "no bookmarks yet" in stage.status
        await stage.go("m.w3")
        await stage.press(*keys_of("bookmark"), "a")
        assert "Bookmark a is on m.w3" in stage.status
        await stage.go("m.w0")
        await stage.press(*keys_of("go_to"), "x")
        assert "no bookmark x" in stage.status
        assert stage.cursor == "m.w0"
        await stage.press(*keys_of("go_to"), "escape")
        assert stage.cursor == "m.w0"
        await stage.press(*keys_of("go_to"), "a")
        assert stage.cursor == "m.w3"


async def test_bookmarks_are_kept_for_each_path(tmp_path: Path) -> None:
    choices = Choices(CacheFolder(tmp_path, 1 << 20, 10))
    source = MemorySource({"a": ramp(2), "b": ramp(3)})
    async with on_stage(source, choices=choices) as stage:
        await stage.go("b")
        await stage.press("m", "q")
    async with on_stage(MemorySource({"a": ramp(2), "b": ramp(3)}), choices=choices) as stage:
        await stage.press("apostrophe", "q")
        assert stage.cursor == "b"


async def test_under_a_filter_n_steps_through_the_matches() -> None:
    async with on_stage(MemorySource({f"m{place}.{part}": ramp(2) for place in range(3) for part in "ab"})) as stage:
        await stage.press("slash", *".a", "enter")
        seen = []
        for _ in range(4):
            await stage.press("n")
            seen.append(stage.cursor)
        assert seen == ["m1.a", "m2.a", "m0.a", "m1.a"]
        await stage.press("N")
        assert stage.cursor == "m0.a"


@covers("edit", "edits", "apply", "undo")
async def test_values_of_a_live_model_are_set_listed_and_put_back() -> None:
    torch = pytest.importorskip("torch")
    open_it, editor = editable(lambda: open_source({"x": tensor}))
    tensor = torch.ones(3)
    async with on_stage(open_it, editor=editor) as stage:
        for edit, apply, undo in itertools.product(*map(keys_of, ("edit", "apply", "undo"))):
            await stage.press(edit, "5", "enter")
            assert tensor.tolist() == [1] * 3
            await stage.press(apply)
            assert tensor.tolist() == [5] * 3
            await stage.press(undo)
            assert tensor.tolist() == [1] * 3
        for key in keys_of("edits"):
            await stage.press(key)
            assert isinstance(stage.app.screen, EditsScreen)
            await stage.press(key)
            assert len(stage.app.screen_stack) == 2


async def test_a_search_from_the_enlarged_detail_brings_the_tree_back() -> None:
    async with on_stage() as stage:
        await stage.press("z")
        assert not stage.screen.tree_view.display or stage.screen.tree_view.size.width == 0
        await stage.press("slash", "b")
        assert stage.screen.tree_view.size.width > 0
        assert not stage.screen.panes.is_enlarged


@pytest.mark.parametrize("key", ["vertical_line", "exclamation_mark", "question_mark", "o", "colon", "w", "m"])
async def test_ctrl_c_quits_from_every_dialog(key: str) -> None:
    async with on_stage(size=(80, 24)) as stage:
        await stage.send(key)
        await stage.until(lambda: stage.app.screen is not stage.screen, "a dialog")
        await stage.send("ctrl+c")
        await stage.until(lambda: not stage.app.is_running, "the end")


async def test_a_bookmark_that_a_filter_hides_is_gone_to_all_the_same() -> None:
    arrays = {f"layers.{place}.{part}": ramp(3) for place in range(4) for part in ("q", "k")} | {"mask": ramp(2)}
    async with on_stage(MemorySource(arrays)) as stage:
        await stage.go("layers.1.k")
        await stage.press("m", "d")
        for words in ("mask", ".q"):
            await stage.press("slash", *words, "enter")
            await stage.press("apostrophe", "d")
            assert stage.cursor == "layers.1.k"
            assert stage.facts.startswith("layers.1.k\n")
            assert stage.screen.filter.query is None
            assert stage.screen.search.text == ""
            await stage.go("mask")
        await stage.press("slash", *"mask", "enter", "H")
        assert stage.screen.filter.query is None


@covers("kinds", "matrix")
async def test_kinds_and_matrix_lie_above_the_tree_and_lead_to_each_other() -> None:
    async with on_stage() as stage:
        before = stage.cursor
        await stage.press("K")
        assert "Kinds" in stage.lines[0]
        assert "layers.#.mlp.weight" in stage.text
        await stage.press("M")
        assert "Matrix" in stage.lines[0]
        assert "layer" in stage.lines[1]
        await stage.press("K", "K")
        assert stage.app.screen is stage.screen
        await stage.press("M", "escape")
        assert (stage.app.screen, stage.cursor) == (stage.screen, before)
