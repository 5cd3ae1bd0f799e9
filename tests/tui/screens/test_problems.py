"""The list of problems: what says the same is one, enter goes to the place, and it says what it rests on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event

import msgspec
import numpy as np
import pytest
from textual.message import Message

from tests.factories_memory import MemorySource, dtype_of
from tests.factories_safetensors import entry, file_bytes
from tests.factories_screen import (
    PATIENCE,
    Arrays,
    GatedSource,
    ListedSource,
    Stage,
    eventually,
    on_stage,
    ramp,
    small_model,
)
from tui_params.api.opening import open_source
from tui_params.cache import figures as cache_module
from tui_params.cache.figures import FigureCache
from tui_params.core.dtypes import unknown
from tui_params.core.findings import Finding
from tui_params.core.health.checker import Checker
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo, describe
from tui_params.settings import Settings
from tui_params.tui.app import ParamsApp
from tui_params.tui.desk.desk import Desk
from tui_params.tui.desk.messages import Checked, Working
from tui_params.tui.desk.pending_source import PendingSource
from tui_params.tui.screens import problems
from tui_params.tui.screens.help import HelpPage
from tui_params.tui.screens.problems import ProblemsScreen
from tui_params.tui.screens.rule import RuleScreen
from tui_params.tui.state.finding_groups import Group, Known, groups_of
from tui_params.tui.state.marks import row_of
from tui_params.tui.state.opened import prepare
from tui_params.tui.terminal.glyphs import ASCII, UNICODE, Glyphs
from tui_params.tui.widgets import finding_list as problem_list
from tui_params.tui.widgets.finding_list import FindingList

SIZES = ((60, 20), (80, 24), (120, 36))


def listed(stage: Stage) -> FindingList:
    return stage.app.screen.query_one(FindingList)


def words_of(stage: Stage) -> str:
    """The whole list, whatever of it is on screen, with blanks for the ends of lines."""
    return " ".join(listed(stage).plain().split())


def lost_shard(count: int = 12, reason: str = "its shard model-00002-of-00003.safetensors is missing") -> MemorySource:
    """Two tensors a layer that cannot be read, and one that can."""
    arrays = {f"layers.{number}.{part}.weight": ramp(8) for number in range(count) for part in ("q", "k", "ok")}
    lost = [name for name in arrays if ".ok." not in name]
    finding = Finding("error", "missing-shard", None, f"{len(lost)} tensors: {reason}")
    return MemorySource(arrays, unreadable=dict.fromkeys(lost, reason), findings=(finding,))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
async def test_a_reason_that_many_share_is_told_once(size: tuple[int, int], glyphs: Glyphs) -> None:
    async with on_stage(lost_shard(), size, glyphs=glyphs) as stage:
        await stage.press("exclamation_mark")
        words = words_of(stage)
        assert words.count("is missing") == 3  # of the container, of the tensors, and in what the rule means
        assert "Could not be checked (24 tensors)" in words
        assert "layers.0.q.weight and 23 more" in words
        assert len(listed(stage).lines) <= listed(stage).size.height  # all of it is on screen
        assert all(line.isascii() for line in listed(stage).plain().splitlines()) or not glyphs.is_ascii


async def test_a_group_opens_to_its_members_and_closes_again() -> None:
    async with on_stage(lost_shard(), (80, 24)) as stage:
        await stage.press("exclamation_mark", "down")
        view = listed(stage)
        assert "layers.11.k.weight" not in words_of(stage)
        for opens, closes in (("right", "left"), ("space", "space"), ("l", "h")):
            await stage.press(opens)
            assert "layers.11.k.weight" in words_of(stage)
            await stage.press("down", "down")
            assert view.current is not None
            assert view.current.tensor == "layers.0.k.weight"
            await stage.press(closes)
            assert "layers.11.k.weight" not in words_of(stage)
            assert view.current.tensor == "layers.0.q.weight"
        await stage.press("right", "right", "down", "enter")
        assert stage.cursor == "layers.0.k.weight"


async def test_enter_on_a_group_goes_to_the_first() -> None:
    async with on_stage(lost_shard(), (80, 24)) as stage:
        await stage.press("exclamation_mark", "down", "enter")
        assert stage.app.screen is stage.screen
        assert stage.cursor == "layers.0.q.weight"


async def test_findings_of_one_kind_are_one_group_that_counts_tensors() -> None:
    arrays = {f"layers.{number}.norm.weight": np.ones(8, np.float32) for number in range(6)}
    arrays |= {f"layers.{number}.proj.weight": ramp(4, 4) for number in range(6)}
    for number in range(5):
        arrays[f"layers.{number}.proj.weight"][number % 4, 1] = np.nan
    arrays["head.weight"] = np.full((2, 2), np.inf, np.float32)
    async with on_stage(MemorySource(arrays)) as stage:
        await stage.press("E", "exclamation_mark")
        words = words_of(stage)
        assert "Errors: certainly wrong (6 tensors)" in words
        assert "layers.#.proj.weight × 5 nan 1 of 16 values is NaN" in words
        assert "head.weight inf 4 of 4 values are +Inf" in words
        assert "Remarks (6 tensors)" in words
        assert "layers.#.norm.weight × 6" in words


async def test_members_that_say_different_things_say_them() -> None:
    arrays = {f"layers.{number}.w": ramp(4, 4) for number in range(5)}
    for number in range(5):
        arrays[f"layers.{number}.w"][0, : number % 3 + 1] = np.nan
    async with on_stage(MemorySource(arrays)) as stage:
        await stage.press("E", "S")
        await stage.press("exclamation_mark")
        assert "layers.#.w × 5 nan the first: 1 of 16 values is NaN, at [0, 0]" in words_of(stage)
        await stage.press("right")
        assert "layers.2.w 3 of 16 values are NaN, at [0, 0], [0, 1], [0, 2]" in words_of(stage)


async def test_a_tensor_with_two_errors_counts_once() -> None:
    values = ramp(4, 4)
    values[0, 0], values[0, 1] = np.nan, np.inf
    async with on_stage(MemorySource({"a.weight": values})) as stage:
        await stage.press("exclamation_mark")
        assert "Errors: certainly wrong (2 in 1 tensor)" in words_of(stage)


async def test_reasons_that_differ_in_numbers_only_are_one() -> None:
    arrays = {f"w{number}": ramp(3) for number in range(150)}
    lost = {name: f"{name} ends at byte {number} of {number + 12:,}" for number, name in enumerate(arrays)}
    async with on_stage(MemorySource(arrays, unreadable=lost)) as stage:
        await stage.press("exclamation_mark")
        assert "w0 and 149 more the first: w0 ends at byte 0 of 12" in words_of(stage)
        assert len(listed(stage).groups) == 1


async def test_a_long_list_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problem_list, "MOST", 10)
    arrays = {f"w{number}": ramp(2) for number in range(30)}
    names = list(arrays)
    lost = {name: f"{'abcdefghijklmnop'[number]} is gone" for number, name in enumerate(names[:12])}
    lost |= dict.fromkeys(names[12:], "the disk is gone")
    async with on_stage(MemorySource(arrays, unreadable=lost)) as stage:
        await stage.press("exclamation_mark")
        assert "(30 tensors, the first 10 groups of 13)" in words_of(stage)
    async with on_stage(MemorySource(arrays, unreadable=dict.fromkeys(names, "the disk is gone"))) as stage:
        await stage.press("exclamation_mark", "right", "end")
        assert words_of(stage).endswith("w9 and 20 more")


async def test_many_problems_are_grouped_beside_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = Event()

    def slowly(known: Known) -> list[Group]:
        assert go_on.wait(PATIENCE)
        return groups_of(known)

    monkeypatch.setattr(problems, "AT_ONCE", 5)
    monkeypatch.setattr(problems, "groups_of", slowly)
    async with on_stage(lost_shard()) as stage:
        pages = stage.screen.pages
        assert pages is not None
        await stage.press("exclamation_mark")
        assert words_of(stage) == pages.coverage.sentence  # nothing is called right meanwhile
        await stage.press("down", "right", "enter")
        go_on.set()
        await stage.until(lambda: "layers.0.q.weight and 23 more" in words_of(stage), "they are listed")


# Going there


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("is_checked", [True, False])
async def test_enter_goes_to_the_place_in_the_values(size: tuple[int, int], is_checked: bool) -> None:
    values = ramp(3, 200, 300)
    values[2, 131, 250] = values[2, 140, 0] = np.nan
    async with on_stage(MemorySource({"b": ramp(9, 9), "deep.a.weight": values}), size) as stage:
        await stage.go("deep.a.weight")
        await stage.press("home", *(["S"] if is_checked else []))
        await stage.press("exclamation_mark", "enter")
        await stage.rest()
        assert stage.cursor == "deep.a.weight"
        assert "2 of 180,000 values are NaN, at [2, 131, 250], [2, 140, 0]" in " ".join(stage.facts.split())
        grid = stage.screen.detail.grid
        assert ">NaN" in stage.values
        assert "131" in stage.values
        assert "250" in stage.values
        # The grid is on screen, whole, and goes when the cursor moves on.
        assert ">NaN" in stage.text
        assert grid.size.height >= 4
        await stage.press("home")
        assert ">" not in stage.values
        assert not stage.screen.has_class("-values")


async def test_enter_goes_to_the_place_in_a_vector_and_drops_the_slice() -> None:
    values = ramp(1000)
    values[777] = np.inf
    async with on_stage(MemorySource({"a": ramp(1000), "b": values})) as stage:
        await stage.press("v")
        await stage.type("3")
        await stage.press("escape", "down", "exclamation_mark", "enter")
        await stage.rest()
        assert stage.screen.detail.field.value == ""
        assert ">+Inf" in stage.values
        row = next(line for line in stage.values.splitlines() if ">+Inf" in line)
        assert row.split()[0] == "775"
        assert "771" not in stage.values.split()[0]


async def test_where_few_columns_fit_the_place_is_still_in_view() -> None:
    values = np.zeros((40, 40), np.complex128)
    values[:, :] = 1234567.25 + 1234567.5j
    values[30, 30] = complex(np.nan, 1)
    async with on_stage(MemorySource({"a.weight": values}), (60, 20)) as stage:
        await stage.press("exclamation_mark", "enter")
        await stage.rest()
        assert ">NaN" in stage.values


async def test_enter_on_a_scalar_goes_to_its_tensor() -> None:
    async with on_stage(MemorySource({"a": ramp(2, 2), "steps": np.array(np.nan, np.float32)})) as stage:
        await stage.press("exclamation_mark", "enter")
        await stage.rest()
        assert stage.cursor == "steps"
        assert "the one value is NaN" in stage.facts
        assert "at []" not in stage.text


async def test_enter_on_what_is_no_tensor_says_why() -> None:
    async with on_stage(lost_shard(), (60, 20)) as stage:
        before = stage.cursor
        await stage.press("exclamation_mark", "enter")
        assert isinstance(stage.app.screen, ProblemsScreen)
        assert "This is about memory as a whole, not a tensor." in stage.text
        await stage.press("down")
        assert "enter goes there" in stage.text
        await stage.press("up", "right")
        assert "There is nothing to open here" in stage.text
        await stage.press("escape")
        assert stage.cursor == before


def layered(*lost: str) -> MemorySource:
    """Twelve layers of three tensors; some are lost."""
    rng = np.random.default_rng(0)
    parts = ("attn.q.weight", "mlp.down.weight", "mlp.up.weight")
    names = [f"model.layers.{number}.{part}" for number in range(12) for part in parts]
    return MemorySource({name: rng.normal(size=(4, 4)) for name in names if not name.startswith(lost)})


@pytest.mark.parametrize(
    ("lost", "module", "first"),
    [
        (("model.layers.5.mlp.down.",), "model.layers.5", "model.layers.5.attn.q.weight"),
        (("model.layers.5.",), "model.layers", "model.layers.0.attn.q.weight"),
        (("model.layers.5.mlp.down.", "model.layers.6.mlp.down."), "model.layers", "model.layers.0.attn.q.weight"),
        (("model.layers.5.attn.", "model.layers.5.mlp.down."), "model.layers.5.mlp.up.weight", ""),
    ],
)
async def test_what_is_absent_is_marked_at_the_module_and_enter_goes_there(
    lost: tuple[str, ...], module: str, first: str
) -> None:
    async with on_stage(layered(*lost), (100, 30)) as stage:
        await stage.press("S")
        await stage.rest()
        pages, opened = stage.screen.pages, stage.screen.opened
        assert pages is not None
        assert opened is not None
        assert pages.marks.mark(opened.tree, row_of(opened.tree, module) or 0) == "warning"
        assert pages.marks.mark(opened.tree, row_of(opened.tree, "model.layers.3") or 0) == ""
        await stage.press("exclamation_mark")
        assert "Warnings: worth a look (1 module)" in words_of(stage)
        await stage.press("enter")
        await stage.rest()
        assert stage.cursor == module
        if first:
            assert "of 12" in stage.facts
            await stage.press("n")
            assert stage.cursor == first
        await stage.press("slash")
        await stage.type("finding:gap")
        await stage.press("enter")
        assert stage.names[-1] == (first or module)


async def test_the_rule_at_the_cursor_is_explained() -> None:
    array = ramp(8, 8) + 1
    array[0, 0] = 500
    source = MemorySource(
        {"fc.weight": array, "gone": ramp(2)},
        unreadable={"gone": "lost"},
        findings=(Finding("error", "trailing-bytes", None, "3 B are behind its end", file="a"),),
    )
    settings = Settings(theme="quiet-dark", thresholds={"abs_max_warning": 400.0})
    async with on_stage(source, (100, 30), settings=settings) as stage:
        await stage.press("S")
        await stage.press("exclamation_mark")
        told = {}
        for _ in range(3):
            current = listed(stage).current
            assert current is not None
            await stage.press("question_mark")
            if isinstance(stage.app.screen, RuleScreen):
                told[current.rule] = " ".join(stage.app.screen.query_one(HelpPage).plain().split())
                assert "esc closes" in stage.text
                assert "Source" in stage.text, "the box is as high as the page"
                await stage.press("escape")
            else:
                assert "There is no rule here to explain." in stage.text
                told[current.rule] = ""
            assert isinstance(stage.app.screen, ProblemsScreen)
            await stage.press("down")
        assert told.keys() == {"trailing-bytes", "abs-max", ""}
        assert told["trailing-bytes"].startswith("Trailing bytes error or warning Bytes after the last tensor")
        assert told["trailing-bytes"].endswith("Source safetensors: the format's specification; PKWARE APPNOTE 4.3.16")
        assert "Thresholds" not in told["trailing-bytes"]
        assert "abs-max-warning 400 " in told["abs-max"], "the one of the settings"


async def test_a_rule_that_is_not_known_is_not_explained() -> None:
    source = MemorySource({"w": ramp(2)}, findings=(Finding("error", "of-our-own", None, "it is so"),))
    async with on_stage(source, (100, 30)) as stage:
        await stage.press("exclamation_mark")
        assert "? explains" in stage.text
        await stage.press("question_mark")
        assert "Nothing more is known of of-our-own." in stage.text
        await stage.press("escape")
    async with on_stage(MemorySource({"w": ramp(2)}), (100, 30)) as stage:
        await stage.press("exclamation_mark")
        assert "? explains" not in stage.text


async def test_what_is_about_a_file_names_it() -> None:
    said = [("trailing-bytes", "a.safetensors"), ("trailing-bytes", "b.safetensors"), ("start-values", None)]
    findings = tuple(Finding("error", rule, None, "3 B are behind its end", file=file) for rule, file in said)
    async with on_stage(MemorySource({"w": ramp(2, 2)}, findings=findings), (100, 30)) as stage:
        await stage.press("exclamation_mark")
        words = words_of(stage)
        assert "Errors: certainly wrong (2 files and the source itself)" in words
        for name in ("a.safetensors", "b.safetensors", "memory"):
            assert name in words
        await stage.press("down", "enter")
        assert "This is about b.safetensors as a whole, not a tensor." in stage.text


async def test_enter_on_the_gradient_shows_the_gradient() -> None:
    source = with_gradient()
    async with on_stage(source) as stage:
        await stage.press("S")
        await stage.press("exclamation_mark", "enter")
        await stage.rest()
        assert stage.cursor == "b"
        assert stage.facts.startswith("b.grad")
        assert ">NaN" in stage.values
        await stage.press("g", "home")
        assert stage.facts.startswith("a")


def with_gradient() -> MemorySource:
    """Two parameters, and the gradient of one, with a NaN."""
    gradient = ramp(5, 5)
    gradient[3, 3] = np.nan
    source = MemorySource({"a": ramp(5, 5), "b": ramp(5, 5)})
    source.arrays["b.grad"] = gradient
    info = msgspec.structs.replace(source.listing.tensors[1], name="b.grad", kind="gradient")
    source.listing = msgspec.structs.replace(source.listing, gradients={"b": info})
    return source


async def test_a_page_asks_for_the_places_by_itself_once() -> None:
    source = MemorySource(small_model())
    asked: list[str] = []
    blocks = source.blocks

    def noted(info: TensorInfo, start: int = 0, stop: int | None = None):  # type: ignore[no-untyped-def]
        asked.append(info.name)
        return blocks(info, start, stop)

    source.blocks = noted  # type: ignore[method-assign]
    async with on_stage(source) as stage:
        await stage.go("layers.2.mlp.weight")
        assert "1 of 128 values is NaN, at [1, 2]" in stage.facts
        await stage.press("up", "down", "up", "down")
        assert asked.count("layers.2.mlp.weight") == 2  # for its figures, and for the place


# What it rests on


def said(stage: Stage) -> str:
    """The list as it would be after a while."""
    screen = stage.app.screen
    assert isinstance(screen, ProblemsScreen)
    screen.fill()
    return words_of(stage)


def style_of(stage: Stage, words: str) -> str:
    return next(style for line in listed(stage).lines for part, style in line if words in part)


async def test_nothing_read_is_not_called_healthy() -> None:
    source = GatedSource({"a": ramp(3), "b": ramp(3)}, ("a", "b"))
    async with on_stage(source, is_settled=False) as stage:
        await stage.until(lambda: len(stage.app.screen_stack) > 1 and stage.screen.opened is not None, "it is open")
        await stage.send("exclamation_mark")
        assert said(stage) == "Nothing has been read yet; S reads everything."


async def test_what_was_read_is_said_without_green() -> None:
    source = GatedSource({"a": ramp(3), "b": ramp(3), **{f"c{number}": ramp(3) for number in range(60)}}, ("c59",))
    async with on_stage(source, (80, 24)) as stage:
        await stage.press("exclamation_mark")
        words = said(stage)
        assert "of 62 tensors read whole; S reads the rest." in words
        assert "Nothing wrong was found in the " in words
        assert style_of(stage, "Nothing wrong") == "text"
        await stage.send("S")
        assert "so far" in said(stage)
        await stage.send("escape")
        source.open_gates()
        await stage.rest()
        await stage.press("exclamation_mark")
        assert said(stage) == "All 62 tensors read whole and cross-checked. Nothing wrong was found."
        assert style_of(stage, "Nothing wrong") == "success"
        await stage.press("S")
        assert "Every tensor has been read and cross-checked" in stage.text


async def test_what_could_not_be_read_is_counted_apart() -> None:
    async with on_stage(lost_shard()) as stage:
        await stage.press("S", "exclamation_mark")
        assert said(stage).startswith("12 of 36 tensors read whole and cross-checked; 24 could not be read.")


async def test_a_source_without_tensors() -> None:
    async with on_stage(MemorySource({}, metadata={"step": "3"})) as stage:
        await stage.press("exclamation_mark")
        assert said(stage) == "There are no tensors here."
        await stage.press("enter", "space", "right", "left", "down", "S", "escape")


async def test_what_is_found_meanwhile_moves_no_cursor() -> None:
    source: Source = GatedSource({"b": np.full(3, np.nan, np.float32), "a": np.full(3, np.inf, np.float32)}, ("a",))
    assert isinstance(source, GatedSource)
    async with on_stage(source, is_settled=False) as stage:
        await stage.until(lambda: len(stage.app.screen_stack) > 1 and stage.screen.desk is not None, "it is open")
        desk = stage.screen.desk
        assert desk is not None
        await stage.until(lambda: desk.figures("b") is not None or source.started["a"].is_set(), "it reads")
        source.open_gates()
        await stage.rest()
        await stage.press("exclamation_mark", "down")
        before = listed(stage).current
        await stage.press("escape", "S")
        await stage.press("exclamation_mark", "down")
        after = listed(stage).current
        assert before is not None
        assert after is not None
        assert before.tensor == after.tensor


# The cross-check


async def test_while_the_tensors_are_cross_checked_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, finish = Event(), Checker.finish

    def slowly(self: Checker, should_stop: Callable[[], bool] | None = None) -> tuple[Finding, ...]:
        assert go_on.wait(PATIENCE)
        return finish(self, should_stop)

    monkeypatch.setattr(Checker, "finish", slowly)
    async with on_stage(MemorySource({"a": ramp(4), "b": ramp(3)})) as stage:
        await stage.send("S")
        await stage.until(lambda: "cross-checking the tensors" in stage.header, "the header says so")
        await stage.send("S")
        assert "being cross-checked" in stage.status
        await stage.send("exclamation_mark")
        assert said(stage).startswith("All 2 tensors read whole. Cross-checking the tensors.")
        assert "Nothing wrong was found in the tensors that were read." in said(stage)
        assert style_of(stage, "Nothing wrong") == "text"
        await stage.send("down", "escape")
        go_on.set()
        await stage.rest()
        assert "cross-checking" not in stage.header
        assert "checked: nothing found" in stage.header
        await stage.press("S")
        assert "Every tensor has been checked" in stage.status


@pytest.mark.parametrize(
    ("arrays", "metadata", "words"),
    [
        ({}, {}, "it has no tensors, so nothing was checked"),
        ({"cache": ramp(0, 4)}, {}, "its one tensor has no element, so nothing was checked"),
        (
            {"module.fc.weight": ramp(0), "module.mean": ramp(4)},
            {"ds_version": "0.19.8"},
            "an empty place: DeepSpeed's stage 3 keeps the values in the optimizer files of all ranks",
        ),
    ],
)
async def test_what_was_not_checked_is_never_said_to_be_well(
    arrays: Arrays, metadata: dict[str, str], words: str
) -> None:
    async with on_stage(MemorySource(arrays, metadata=metadata), size=(120, 36)) as stage:
        await stage.press("S")
        assert "nothing found" not in stage.header
        assert "not checked" in stage.header or "nothing was checked" in stage.header
        await stage.press("exclamation_mark")
        assert "Could not be checked" in said(stage)
        assert words in said(stage)
        assert "Nothing wrong was found" not in said(stage)


@pytest.fixture
def _at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file that was written a moment ago be old enough for the cache."""
    monkeypatch.setattr(cache_module, "SETTLED_NS", -(10**18))


def kept(folder: Path, leaving: str = "", **lost: str) -> tuple[Path, FigureCache]:
    """A file that the cache has seen whole, but for the tensor ``leaving``."""
    path, values = folder / "model.safetensors", np.arange(1 << 18, dtype=np.float32)
    values[77] = np.nan
    header = {"a.weight": entry("F32", (512, 512), 0), "b.weight": entry("F32", (512, 512), 1 << 20)}
    header |= {name: entry(code, (4,), 0, 16) for name, code in lost.items()}
    path.write_bytes(file_bytes(header, values.tobytes() + np.arange(1 << 18, dtype=np.float32).tobytes()))
    cache = FigureCache(folder / "cache")
    with open_source(path) as source:
        found = cache.for_source(source)
        assert found is not None
        for info in source.listing.tensors:
            if info.unreadable is None and info.name != leaving:
                found.put(info, source.summarize(info.name).figures(info.numel), None)
        found.flush(is_last=True)
    return path, cache


@pytest.mark.usefixtures("_at_rest")
@pytest.mark.parametrize("lost", [{}, {"c": "X9"}], ids=["whole", "one type unknown"])
async def test_what_the_cache_knows_whole_is_cross_checked_at_once(tmp_path: Path, lost: dict[str, str]) -> None:
    path, cache = kept(tmp_path, **lost)
    posted: list[Message] = []
    desk = Desk(prepare(open_source(path)), 1, posted.append, cache)
    try:
        await asyncio.sleep(0)
        assert not posted  # nothing before the screen asks
        desk.want(["a.weight"])
        await eventually(lambda: any(isinstance(message, Checked) for message in posted), "it is cross-checked")
        report = next(message.report for message in posted if isinstance(message, Checked))
        assert report.checked == 2
        assert [entry.tensor for entry in report.unchecked] == list(lost)
        assert [finding.indices for finding in report.findings if finding.rule == "nan"] == [((0, 77),)]
        assert not desk.sweep()
        assert not any(isinstance(message, Working) and message.sweep for message in posted)
        await eventually(lambda: not desk.is_busy, "it rests")
        assert sum(isinstance(message, Checked) for message in posted) == 1
    finally:
        desk.close(PATIENCE)


@pytest.mark.usefixtures("_at_rest")
async def test_a_histogram_of_what_the_cache_knows_takes_no_finding_away(tmp_path: Path) -> None:
    path, cache = kept(tmp_path)
    settings = Settings(theme="quiet-dark")
    app = ParamsApp(PendingSource("model", lambda: open_source(path)), settings=settings, glyphs=UNICODE, cache=cache)
    async with app.run_test(size=(120, 36)) as pilot:
        stage = Stage(app, pilot)
        await stage.until(lambda: len(app.screen_stack) > 1 and stage.is_resting, "the first rest")
        await stage.until(lambda: stage.screen.pages is not None and stage.screen.pages.report, "it is cross-checked")
        await stage.press("exclamation_mark")
        await stage.press("enter")
        assert stage.cursor == "a.weight"
        assert "█" in stage.facts
        assert "1 of 262,144 values is NaN, at [0, 77]" in stage.facts


@pytest.mark.usefixtures("_at_rest")
async def test_what_the_cache_knows_in_part_is_not_cross_checked(tmp_path: Path) -> None:
    path, cache = kept(tmp_path, leaving="b.weight")
    posted: list[Message] = []
    desk = Desk(prepare(open_source(path)), 1, posted.append, cache)
    try:
        desk.want(["a.weight"])
        await eventually(lambda: desk.figures("a.weight") is not None, "it is read")
        assert not desk.is_cross_checking
        assert not any(isinstance(message, Checked) for message in posted)
    finally:
        desk.close(PATIENCE)


async def test_the_header_says_that_there_may_be_more_parameters() -> None:
    infos = (
        describe("a", (4, 4), dtype_of(ramp(1))),
        TensorInfo("b", (), unknown("?"), 0, 0, unreadable="its shard is missing"),
    )
    async with on_stage(ListedSource(infos), (80, 24)) as stage:
        assert "2 tensors · at least 16 parameters · at least 64 B · f32 " in stage.header
