"""The screens of kinds and layers: what they show, where their keys go, and that no cell is stale."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from tests.factories_layers import ODD, SPOILT, mixture
from tests.factories_memory import MemorySource
from tests.factories_pair import base, base_arrays, tuned, tuned_arrays
from tests.factories_screen import GatedSource, Stage, on_stage
from tui_params.core.layers.statistics import Statistic
from tui_params.core.layers.table import table_of
from tui_params.tui import keys
from tui_params.tui.screens.explorer import layers
from tui_params.tui.screens.kinds import KindsScreen
from tui_params.tui.screens.layer_screen import LayerScreen
from tui_params.tui.screens.matrix import MatrixScreen
from tui_params.tui.state.layer_book import LayerBook
from tui_params.tui.terminal.glyphs import ASCII, UNICODE
from tui_params.tui.widgets.kinds.kind_lines import Row, kind_lines, short_kinds
from tui_params.tui.widgets.kinds.kind_list import KindList


def kinds(stage: Stage) -> KindsScreen:
    screen = stage.app.screen
    assert isinstance(screen, KindsScreen)
    return screen


def matrix(stage: Stage) -> MatrixScreen:
    screen = stage.app.screen
    assert isinstance(screen, MatrixScreen)
    return screen


async def look(stage: Stage) -> None:
    """Show what is known by now, as the screen does by itself after a while."""
    await stage.rest()
    screen = stage.app.screen
    if isinstance(screen, LayerScreen):
        screen.fill()
        if isinstance(screen, KindsScreen):
            screen._show_page()
        await stage.turn()


def line_with(stage: Stage, words: str) -> str:
    return next(line for line in stage.lines if words in line)


async def test_kinds_are_listed_with_what_stands_out_and_open_to_their_tensors() -> None:
    source = mixture()
    stds = [np.std(array.astype(float)) for name, array in source.arrays.items() if "v_proj" in name]
    times = float(stds[9] / np.median(stds))
    async with on_stage(source, (80, 24)) as stage:
        await stage.press("S", "K")
        await look(stage)
        assert "15 kinds of 236 tensors" in stage.lines[0]
        assert "236 of 236 read" in stage.lines[0]
        assert "x 10" in line_with(stage, "self_attn.v_proj.weight")
        assert f"9: std {times:.1f}x the median" in stage.text
        await stage.press("end", "home", "down", "down", "down", "down")
        await look(stage)
        assert "median 0.02" in stage.text  # on the page of the kind
        await stage.press("right", "pagedown", "up", "up")
        await look(stage)
        assert stage.text.count("4×16 f32") == 10
        await stage.press("left", "enter", "enter", "s", "s", "s")
        await look(stage)
        assert "NaN and Inf, 236 of 236 read" in stage.lines[0]
        await stage.press("end")
        assert "5.3: NaN" in stage.text
        await stage.press("enter")
        assert stage.cursor == "model.norm.weight"


def test_no_two_kinds_of_a_list_have_the_same_name_however_narrow_it_is() -> None:
    names = [
        f"model.layers.{at}.{block}.{part}_proj.{end}"
        for at in range(2)
        for block in ("mlp", "mlp.experts.0", "mlp.shared_experts")
        for part in ("gate", "up", "down")
        for end in ("weight", "weight_scale_inv")
    ]
    names += [f"model.layers.0.mlp.experts.{expert}.up_proj.weight" for expert in range(1, 12_000)]
    source = MemorySource({name: np.zeros(1, np.float32) for name in names})
    book = LayerBook(table_of(source.listing.tensors))
    for width in (60, 80, 120):
        shown = short_kinds(book, width)
        assert len(set(shown)) == len(shown) == 18
        lines = [kind_lines(book, Row(at, name, False, False), width, UNICODE)[0] for at, name in enumerate(shown)]
        assert all(
            f" x {count:,} " in "".join(words for words, _ in line)
            for line, count in zip(lines, (group.count for group in book.table.kinds), strict=True)
        )


def test_kinds_that_differ_at_their_beginnings_keep_these() -> None:
    names = [f"{letter * 30}.a_long_end_that_all_of_them_have_in_common.weight" for letter in "xyz"]
    book = LayerBook(table_of(MemorySource({name: np.zeros(1, np.float32) for name in names}).listing.tensors))
    assert [name[:10] for name in short_kinds(book, 80)] == ["x" * 10, "y" * 10, "z" * 10]


async def test_matrix_finds_the_odd_ones_and_goes_there() -> None:
    async with on_stage(mixture(), (80, 24)) as stage:
        await stage.press("S", "M")
        await look(stage)
        assert stage.lines[1].split() == [
            "layer", "in_nrm", "q_proj", "k_proj", "v_proj", "o_proj", "pa_nrm", "gt_prj", "up_prj", "d_proj", "gate",
        ]  # fmt: skip
        await stage.press("N", "n")
        while ODD not in stage.text:
            await stage.press("n")
        assert "x its kind's median 0.0" in stage.text
        await stage.press("K")
        await look(stage)
        rows = kinds(stage).query_one(KindList)
        assert "self_attn.v_proj.weight" in rows.plain().splitlines()[rows._here_y]
        await stage.press("M")
        await look(stage)
        assert ODD in stage.text
        await stage.press("full_stop", "full_stop", "n")
        await look(stage)
        assert "3 of 4" in stage.lines[0]
        assert SPOILT in stage.text
        assert "1 with NaN or Inf" in stage.text
        before = stage.text
        await stage.press("a")
        await look(stage)
        assert stage.text != before
        await stage.press("question_mark")
        assert "Keys" in stage.text
        await stage.press("escape", "enter")
        assert stage.cursor == SPOILT
        assert stage.app.screen is stage.screen


async def test_what_differs_from_another_source_is_a_figure_too_and_what_has_no_number_is_said_in_words() -> None:
    async with on_stage(base, (100, 30), other=tuned) as stage:
        await stage.press("K")
        await look(stage)
        assert "change, 23 of 23 compared" in stage.lines[0]
        await stage.press("home")
        await look(stage)
        assert "change: 1 other shape" in stage.text
        book = kinds(stage).shown
        assert book is not None
        before, after = base_arrays(), tuned_arrays()
        for name in (f"layers.{layer}.attn.{kind}.weight" for layer in range(4) for kind in ("q_proj", "v_proj")):
            a, b = before[name].astype(float), after[name].astype(float)
            shown = book.cell(book.table.position[name]).value
            assert shown == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a), rel=1e-9)
        await stage.press("M", "home")
        await look(stage)
        assert "only in A" in stage.lines[2]
        assert "type only" in stage.lines[5]  # and no tiny number
        assert "NaN" in stage.lines[4]
        while "type only:" not in stage.text:
            await stage.press("down" if "layers.3" not in stage.lines[-3] else "right")
        assert "change type only: the type is f32 in A and bf16 in B" in stage.lines[-2]


async def test_what_could_not_be_compared_is_neither_the_same_nor_still_to_come() -> None:
    damaged = MemorySource(base_arrays(), label="damaged", broken={"layers.2.attn.q_proj.weight": "a bad sector"})
    async with on_stage(base, (80, 24), other=lambda: damaged) as stage:
        await stage.press("M", "down", "down")
        await look(stage)
        assert "21 of 22 compared, 1 cannot be" in stage.lines[0]
        assert "S read all" not in stage.lines[-1]
        assert "layers.2.attn.q_proj.weight" in stage.lines[-3]
        assert "change not compared: a bad sector" in stage.lines[-2]


async def test_cells_fill_in_as_tensors_are_read_and_nothing_is_read_unasked() -> None:
    arrays = {f"h.{layer}.{kind}": np.array([0.0, 2.0], np.float32) for layer in range(60) for kind in "qk"}
    source = GatedSource(arrays, closed=("h.50.q",))
    async with on_stage(source, (80, 24), is_settled=False) as stage:
        await stage.until(lambda: "q" in stage.text and stage.screen.opened is not None, "it opens")
        await stage.send("M")
        screen = matrix(stage)
        screen.fill()
        book = screen.shown
        assert book is not None
        read = book.column.counts()[0]
        assert read < 60  # what the tree has on screen
        for _ in range(3):
            await stage.turn()
            screen.fill()
        assert book.column.counts()[0] <= read + 40

        def read_by_now() -> int:
            screen.fill()
            return book.column.counts()[0]

        await stage.send("G", "S")
        await stage.until(lambda: read_by_now() >= 100, "most is read")
        assert "·" in stage.text
        source.open_gates()
        await stage.until(lambda: read_by_now() == 120, "everything is read")
        await stage.turn()
        assert "120 of 120 read" in stage.lines[0]
        assert "59▸" in stage.text


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"w": np.ones(3), "b.c": np.ones(2)}, "No name has the number of a layer in it"),
        ({"layers.0.q": np.ones(3)}, "1 layer, 1 kind"),
        ({}, "No name has the number of a layer in it"),
    ],
)
async def test_few_layers_or_none(arrays: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]], said: str) -> None:
    async with on_stage(MemorySource(arrays), (80, 24)) as stage:
        await stage.press("M")
        await look(stage)
        assert said in stage.text
        await stage.press("down", "right", "G", "home", "n", "full_stop", "a", "s", "enter")
        if isinstance(stage.app.screen, MatrixScreen):
            await stage.press("K")
            await look(stage)
            await stage.press("down", "right", "enter")


async def test_many_layers_scroll_under_their_headers_and_a_long_tree_is_offered_as_kinds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layers, "AT_ONCE", 100)  # so that a thread groups them
    monkeypatch.setattr(layers, "OFFERED_FROM", 1000)
    arrays = {f"h.{layer}.{'very_long_' * 3}{kind}": np.ones(2, np.float32) for layer in range(400) for kind in "qkv"}
    async with on_stage(MemorySource(arrays), (40, 20), glyphs=ASCII) as stage:
        assert "1,200 tensors: K folds them into kinds" in stage.status
        await stage.press("M")
        await look(stage)
        await stage.press("G")
        await look(stage)
        header = stage.lines[1].split()
        assert len(set(header)) == 4
        assert "399>" in stage.text
        assert stage.text.isascii()
        await stage.press("escape", "R", "down")
        assert "folds" not in stage.status  # offered once


# Random keys: every cell on screen is what is known of its tensor.


def expected(stage: Stage, name: str, statistic: Statistic, room: int) -> str:
    figures = stage.screen.session.figures(name)
    if figures is None:
        return "·"
    if figures.non_finite and statistic.scale != "count":
        return "NaN" if room > 2 else "N"
    value = statistic.of(figures)
    return "-" if value is None else statistic.words(float(value), room)


def wrong_cells(stage: Stage, screen: MatrixScreen) -> Iterator[str]:
    """The cells on screen that do not show what is known."""
    drawing, area = screen.map.drawing, screen.map.region
    assert drawing is not None
    grid, lines = drawing.grid, stage.lines
    for y in range(grid.rows):
        row = drawing.top + y
        line = lines[area.y + 1 + y]
        label = line[: grid.label].strip(" ▸")
        if label != str(drawing.plane.rows[row]):
            yield f"layer {label}"
        for x in range(grid.columns):
            at = drawing.plane.at(row, drawing.left + x)
            words = line[grid.label + x * grid.wide :][: grid.wide].strip().rstrip("^v")  # without the sign of an end
            name = drawing.book.table.tensors[at].name if at is not None else ""
            if words != (expected(stage, name, drawing.book.statistic, grid.wide - 1) if name else ""):
                yield f"{name} {words}"


async def test_a_jump_in_a_matrix_that_is_higher_than_the_screen_leaves_no_stale_line() -> None:
    async with on_stage(mixture(10, 4), (46, 14)) as stage:
        await stage.press("S")
        await stage.press("M")
        tops = []
        for key in ("end", "home", "end", "up", "up", "home"):
            await stage.send(key)
            await stage.turn()
            screen = stage.app.screen
            assert isinstance(screen, MatrixScreen)
            assert screen.map.drawing is not None
            assert list(wrong_cells(stage, screen)) == [], key
            tops.append(screen.map.drawing.top)
        assert tops[1] == tops[5] == 0
        assert tops[0] == tops[2] == tops[3] == tops[4] > 0  # a cursor that stays in sight scrolls nothing


@pytest.mark.parametrize("size", [(80, 24), (46, 14)])
async def test_random_keys_leave_no_stale_cell(size: tuple[int, int]) -> None:
    draw = random.Random(size[0])
    tables = {MatrixScreen: keys.MATRIX, KindsScreen: keys.KINDS}
    async with on_stage(mixture(10, 4), size) as stage:
        await stage.press("M")
        checked = 0
        for count in range(90):
            screen = stage.app.screen
            if not isinstance(screen, LayerScreen):
                await stage.send("escape" if screen is not stage.screen else draw.choice("KM"))
                continue
            key = draw.choice([key for key in tables[type(screen)] if count > 40 or "read" not in key.id])
            await stage.send(draw.choice(key.keys.split(",")))
            if count % 8 == 0 and isinstance(stage.app.screen, MatrixScreen):
                await look(stage)
                top = stage.app.screen
                assert isinstance(top, MatrixScreen)
                assert list(wrong_cells(stage, top)) == [], f"after {count} keys"
                checked += 1
        assert checked
