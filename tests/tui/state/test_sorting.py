"""Sorting on screen: the column that explains the order, what is not read yet, the dialog."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from msgspec import structs
from rich.cells import cell_len

from tests.factories_memory import MemorySource
from tests.factories_screen import GatedSource, on_stage, ramp, small_model
from tui_params.tui.screens.sort import SortScreen, sort_lines
from tui_params.tui.state.columns import BY_NAME, content_of, lay_out
from tui_params.tui.state.sorting import KEYS, SortChoice, describe, shown_of, trainable_of
from tui_params.tui.terminal.glyphs import ASCII, UNICODE, Glyphs
from tui_params.tui.terminal.themes import INKS
from tui_params.tui.widgets.tree.tree_cells import Known, tensor_cell

SIZES = ((60, 20), (80, 24), (120, 36))


@pytest.mark.parametrize("size", SIZES)
async def test_a_module_shows_the_value_by_which_it_stands_where_it_does(size: tuple[int, int]) -> None:
    arrays = {"a.x": ramp(3), "a.y": ramp(2), "b.x": ramp(9), "b.y": ramp(1), "c": ramp(5)}
    async with on_stage(MemorySource(arrays), size) as stage:
        await stage.press("S")
        await stage.rest()
        await stage.press("o", "a")
        await stage.until(lambda: stage.names == ["b", "b.x", "b.y", "c", "a", "a.x", "a.y"], "sorted")
        assert "by absmax" in stage.header
        heading = stage.lines[2]
        end = heading.index("absmax▾") + len("absmax▾")
        for name, value in (("b", "8"), ("b.x", "8"), ("b.y", "0"), ("c", "4"), ("a", "2")):
            assert stage.row(name)[:end].endswith(f" {value}"), name
        await stage.press("o", "n")
        await stage.until(lambda: "absmax" not in stage.lines[2], "the usual columns")


async def test_by_bytes_modules_stand_by_their_sum_and_show_it() -> None:
    arrays = {"a.x": ramp(30), "a.y": ramp(30), "b": ramp(40)}
    async with on_stage(MemorySource(arrays), (80, 24)) as stage:
        await stage.press("o", "b")
        await stage.until(lambda: "bytes▾" in stage.lines[2], "sorted")
        assert stage.names == ["a", "a.x", "a.y", "b"]
        assert "240 B" in stage.row("a")
        assert "160 B" in stage.row("b")
        await stage.press("o", "tab", "b")
        await stage.until(lambda: stage.names == ["b", "a.x", "a.y"], "the largest tensor first")
        assert "160 B" in stage.row("b")


async def test_rows_below_the_names_of_columns_answer_to_the_mouse_and_scroll() -> None:
    arrays = {f"w{place:02}": ramp(place + 1) for place in range(40)}
    async with on_stage(MemorySource(arrays), (80, 24)) as stage:
        # All is read first: no figure that comes later changes the order.
        await stage.press("S", "o", "tab", "a")
        await stage.until(lambda: stage.screen.tree_view.heading == 1, "sorted")
        tree = stage.screen.tree_view
        await stage.pilot.click(tree, offset=(5, 3))
        await stage.rest()
        assert stage.cursor == stage.names[2]
        await stage.press("G")
        assert stage.cursor == stage.names[-1]
        assert stage.cursor in stage.row(stage.cursor)
        assert "absmax" in stage.lines[2]
        await stage.press("home")
        assert stage.row(stage.names[0]).strip().startswith(stage.names[0])


async def test_of_what_was_not_read_the_order_says_so_and_s_puts_it_right() -> None:
    arrays = {f"m{place}.w{part}": ramp(2 + place) for place in range(30) for part in range(2)}
    async with on_stage(MemorySource(arrays), (80, 24)) as stage:
        await stage.press("C")
        await stage.go("m3.w0")
        await stage.press("o", "a")
        await stage.until(lambda: "reads all" in stage.status, "it says so")
        assert stage.names[0] == "m3"
        read, of = stage.screen.order.read or (0, 0)
        assert 0 < read < of
        assert of == 60
        assert f"By the {read} of 60 tensors read so far; S reads all." in stage.status
        assert f"by absmax, {read} of 60 read" in stage.header
        last = stage.screen.tree_view.rows
        assert last is not None
        await stage.press("end", "C")
        assert "\u00b7" in stage.row(stage.cursor or "")
        before = stage.cursor
        await stage.press("S")
        await stage.until(lambda: stage.names[0] == "m29", "sorted again")
        assert stage.screen.order.read is None
        assert stage.names[:3] == ["m29", "m28", "m27"]
        assert stage.cursor == before
        assert ", " not in stage.lines[0]
        await stage.press("o", "A")
        await stage.until(lambda: stage.names[0] == "m0", "the other way round")
        assert "reads all" not in stage.status


async def test_what_cannot_be_read_stands_last_and_is_no_zero() -> None:
    source = MemorySource({"a": ramp(3), "b": ramp(5), "c": ramp(9)}, broken={"b": "the disk says no"})
    async with on_stage(source, (80, 24)) as stage:
        await stage.press("o", "a")
        await stage.until(lambda: stage.names == ["c", "a", "b"], "sorted")
        assert stage.row("b").split() == ["x", "b", "5", "f32", "\u2013"]
        assert "S reads all" not in stage.status


async def test_a_sort_during_a_check_is_made_again_at_its_end() -> None:
    source = GatedSource({"a": ramp(3), "b": ramp(5), "c": ramp(9)}, ("c",))
    async with on_stage(source, (80, 24), is_settled=False) as stage:
        await stage.until(source.started["c"].is_set, "c is being read")
        await stage.send("S", "o", "a")
        await stage.until(lambda: "again when all is read" in stage.status, "it says so")
        assert stage.names[0] == "b"
        source.open_gates()
        await stage.until(lambda: stage.names == ["c", "b", "a"], "sorted again")
        assert stage.screen.order.read is None


def test_numbers_in_the_column_always_fit() -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "tiny": -np.full(3, 1.2345e-300),
        "huge": np.array([2**63 - 1, -(2**63)], np.int64),
        "wide": np.array([-1.7e308, 1.7e308]),
        "million": np.full(4, -999_999.0),
        "nearly": np.r_[np.zeros(99_999, np.int8), np.ones(1, np.int8)],
        "trace": np.r_[np.ones(99_999, np.int8), np.zeros(1, np.int8)],
        "nan": np.full(2, np.nan),
        "normal": rng.normal(size=99),
    }
    source = MemorySource(arrays)
    known = {info.name: source.summarize(info.name).figures(info.numel) for info in source.listing.tensors}
    for key in KEYS:
        choice = SortChoice(key.name, is_flat=True)
        shown = shown_of(choice, source.listing.tensors, known.get)
        if key.name == "name":
            continue
        assert shown is not None
        assert len(BY_NAME[key.name].heading) <= 8
        for info in source.listing.tensors:
            for width in (26, 42, 60):
                layout = lay_out(width, None, content_of(source.listing.tensors), sorted_by=key.name, is_flat=True)
                column, cells = next(pair for pair in layout.cells if pair[0].name == key.name)
                words, _ = tensor_cell(info, Known(known[info.name]), column, cells - 1, layout, UNICODE)
                assert len(words) <= cells - 1, (key.name, info.name, words)
                assert words or key.name == "grad"


def test_the_order_in_words() -> None:
    assert describe(SortChoice("absmax", is_flat=True), 120) == "sorted by absmax, flat"
    assert describe(SortChoice("absmax", is_flat=True), 60) == "by absmax, flat"
    assert describe(SortChoice("nonfinite", is_reversed=True), 80) == "by NaN, Inf, reversed"


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_the_dialog_fits_and_marks_what_is_now(glyphs: Glyphs) -> None:
    for key in KEYS:
        for is_reversed in (False, True):
            others = [other for other in KEYS if other.is_across is key.is_across]
            lines = sort_lines(SortChoice(key.name, is_reversed), False, glyphs, others)
            assert {style for line in lines for _, style in line} <= set(INKS)
            words = ["".join(part for part, _ in line) for line in lines]
            assert max(map(cell_len, words)) <= 38
            letter = key.letter.upper() if is_reversed else key.letter
            marked = [line for line in words if line[:1].strip()]
            assert [line.split()[1:3] for line in marked] == [[letter, key.short.split()[0]]]


async def test_the_dialog_answers_once() -> None:
    async with on_stage(MemorySource(small_model())) as stage:
        answers: list[SortChoice | None] = []
        screen = SortScreen(stage.app.glyphs, SortChoice("name"))
        await stage.app.push_screen(screen, answers.append)
        for choice in (SortChoice("mean"), SortChoice("std"), None):
            screen._answer(choice)
        await stage.until(lambda: stage.app.screen is stage.screen, "closed")
        await stage.rest()
        assert answers == [SortChoice("mean")]
        assert stage.app.screen is stage.screen


async def test_under_a_filter_a_module_stands_where_what_is_shown_puts_it() -> None:
    arrays = {"a.up": ramp(3), "a.down": ramp(90), "b.up": ramp(9), "b.down": ramp(1), "c.up": ramp(5), "c.z": ramp(2)}
    async with on_stage(MemorySource(arrays), (120, 36)) as stage:
        await stage.press("S")
        await stage.rest()
        await stage.press("o", "a")
        await stage.until(lambda: stage.names[0] == "a", "by all of it")
        await stage.send("slash", *"up")
        await stage.until(lambda: stage.names == ["b.up", "c.up", "a.up"], "by what matches")
        await stage.send("enter")
        await stage.rest()
        assert stage.names == ["b.up", "c.up", "a.up"]
        await stage.press("escape")
        await stage.until(lambda: stage.names[0] == "a", "by all of it again")


async def test_under_a_filter_a_module_shows_the_sum_of_what_is_shown() -> None:
    arrays = {f"m.{part}.{name}": ramp(40) for part in "ab" for name in ("x1", "x2", "w")}
    async with on_stage(MemorySource(arrays), (200, 60)) as stage:
        assert " 240 " in stage.row("m")
        await stage.press("slash", *"x")
        await stage.press("enter")
        await stage.until(lambda: len(stage.names) == 7, "filtered")
        assert " 160 " in stage.row("m")
        assert " 80 " in stage.row("m.a")
        await stage.press("o", "p")
        await stage.until(lambda: "numel▾" in stage.lines[2], "sorted")
        assert " 160 " in stage.row("m")


async def test_an_order_by_gradients_is_complete_when_all_gradients_are_read() -> None:
    source = MemorySource({"a": ramp(3), "b": ramp(9), "c": ramp(5), "a.grad": ramp(4), "c.grad": ramp(7)})
    found = {info.name: info for info in source.listing.tensors}
    gradients = {name: structs.replace(found.pop(f"{name}.grad"), kind="gradient") for name in "ac"}
    tensors = tuple(structs.replace(info, kind="parameter", requires_grad=True) for info in found.values())
    source.listing = structs.replace(source.listing, tensors=tensors, gradients=gradients)
    async with on_stage(source, (120, 36)) as stage:
        await stage.press("S")
        await stage.rest()
        await stage.press("o", "g")
        await stage.until(lambda: stage.names == ["c", "a", "b"], "sorted")
        assert stage.screen.order.read is None
        assert ", " not in stage.lines[0]


async def test_under_a_filter_it_is_sorted_again_as_figures_arrive() -> None:
    arrays = {f"a{place}": ramp(2 + place) for place in range(4)} | {"b": ramp(9)}
    source = GatedSource(arrays, ("a3",))
    async with on_stage(source, is_settled=False) as stage:
        await stage.until(lambda: source.started["a3"].is_set(), "it reads")
        await stage.send("slash", "a", "enter", "o", "a")
        await stage.until(lambda: stage.names == ["a2", "a1", "a0", "a3"], "sorted by what is read")
        assert stage.screen.order.read == (3, 4)
        source.open_gates()
        await stage.until(lambda: stage.names == ["a3", "a2", "a1", "a0"], "sorted again")
        assert stage.screen.order.read is None


@pytest.mark.parametrize(("key", "column"), [("e", "min"), ("x", "max")])
async def test_it_sorts_by_the_extremes(key: str, column: str) -> None:
    arrays = {"low": -ramp(5), "high": ramp(5)}
    async with on_stage(MemorySource(arrays)) as stage:
        await stage.press("o", key.upper())
        await stage.until(lambda: f"{column}▴" in stage.lines[2], "sorted")
        assert stage.names == ["low", "high"]


def test_what_only_a_model_has_is_offered_for_models_alone() -> None:
    assert not {"o", "q"} & {key.letter for key in KEYS}  # they close the dialog

    def offered(is_live: bool, is_across: bool = False) -> set[str]:
        screen = SortScreen(UNICODE, SortChoice("name"), is_live=is_live, is_across=is_across)
        letters = [key.letter for key in screen._keys]
        assert len(set(letters)) == len(letters)
        return {key.name for key in screen._keys}

    assert offered(False, True) - offered(False) == {"across", "cosine", "share"}
    assert offered(True) - offered(True, True) == {"change", "gradchange"}
    assert offered(True) - offered(False) == {"trainable", "device", "grad", "change", "gradchange"}
    infos = [msgspec.structs.replace(info, requires_grad=True) for info in MemorySource({"w": ramp(2)}).listing.tensors]
    assert trainable_of(infos[0]) is None
    assert trainable_of(msgspec.structs.replace(infos[0], kind="parameter")) is True
