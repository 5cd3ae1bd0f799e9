"""The lens Histogram in the tensor screen: zoom, axes, heights, outlines, the way to an element, casts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tests.factories_screen import GatedSource, Stage, on_stage
from tui_params.core.reading import tensor_reading
from tui_params.tui.screens.tensor.screen import TensorScreen
from tui_params.tui.widgets.lenses.histogram import KEYS, HistogramLens


def bell(*shape: int, seed: int = 0) -> NDArray[Any]:
    return (np.random.default_rng(seed).normal(size=shape) * 0.02).astype(ml_dtypes.bfloat16)


@asynccontextmanager
async def lens_on(
    source: MemorySource | dict[str, NDArray[Any]], size: tuple[int, int] = (100, 30), name: str = ""
) -> AsyncIterator[tuple[Stage, HistogramLens]]:
    """The lens on the first tensor of a source, or on a named one."""
    made = MemorySource(source) if isinstance(source, dict) else source
    async with on_stage(made, size) as stage:
        await stage.go(name or next(iter(made.arrays)))
        await stage.press("i")
        assert isinstance(stage.app.screen, TensorScreen)
        stage.app.screen.action_lens("histogram")
        await stage.rest()
        lens = stage.app.screen.lens
        assert isinstance(lens, HistogramLens)
        yield stage, lens


def counts(lens: HistogramLens) -> tuple[int, ...]:
    assert lens._plot is not None
    return lens._plot.histogram.counts


def edges(lens: HistogramLens) -> tuple[float, ...]:
    assert lens._plot is not None
    return lens._plot.histogram.edges


def bin_words(stage: Stage) -> str:
    return next(line for line in reversed(stage.lines) if " below" in line)


async def test_the_bins_are_those_of_the_values() -> None:
    values = bell(64, 50)
    async with lens_on({"a": values}) as (stage, lens):
        expected, _ = np.histogram(values.astype(np.float64), np.array(edges(lens)))
        assert counts(lens) == tuple(expected.tolist())
        assert "3.20K finite" in stage.lines[3]
        assert "counts" in stage.lines[2]


async def test_zoom_in_and_out_keep_the_value_under_the_cursor() -> None:
    async with lens_on({"a": bell(64, 50)}) as (stage, lens):
        await stage.press("left", "left", "left")
        assert lens._plot is not None
        whole, value = edges(lens), edges(lens)[lens._cursor]
        for _ in range(4):
            await stage.press("plus")
        now = edges(lens)
        assert now[-1] - now[0] < (whole[-1] - whole[0]) / 15
        assert now[max(lens._cursor - 2, 0)] <= value + (whole[1] - whole[0])
        for _ in range(6):
            await stage.press("minus")
        assert edges(lens) == whole


async def test_zoom_needs_no_second_read() -> None:
    source = MemorySource({"a": bell(64, 50)})
    async with lens_on(source) as (stage, _):
        before = source.step
        source.arrays["a"] = np.zeros((64, 50), ml_dtypes.bfloat16)  # whoever read again would see zeros
        for key in ("plus", "plus", "a", "a", "s", "s", "s", "z", "ctrl+right"):
            await stage.press(key)
        assert "zeros" not in stage.lines[3]
        assert source.step == before


async def test_the_counts_come_from_the_read_for_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_reading, "SAMPLE_BEYOND", 1000)
    reads: list[str] = []
    source = MemorySource({"a": bell(640, 500)})
    blocks = source.blocks

    def counted(info: Any, start: int = 0, stop: int | None = None) -> Any:
        reads.append("whole" if start == 0 and stop in (None, info.numel) else "part")
        return blocks(info, start, stop)

    monkeypatch.setattr(source, "blocks", counted)
    async with lens_on(source) as (_, lens):
        assert sum(counts(lens)) == 320_000
        assert reads.count("whole") == 1


async def test_the_cursor_takes_the_axis_along_and_stops_at_the_ends() -> None:
    async with lens_on({"a": bell(64, 50)}) as (stage, lens):
        whole = edges(lens)
        for _ in range(5):
            await stage.press("plus")
        start = edges(lens)[0]
        await stage.press("home", "left")
        assert edges(lens)[0] < start
        for _ in range(80):
            await stage.press("ctrl+left")
        assert edges(lens)[0] == pytest.approx(whole[0])
        assert "No value lies further out." in stage.status
        await stage.press("end")
        assert lens._cursor == len(counts(lens)) - 1


async def test_axes_heights_and_the_whole_in_turn() -> None:
    async with lens_on({"a": bell(64, 50)}) as (stage, lens):
        for words in ("log axis, counts", "symlog axis, counts", "counts"):
            await stage.press("a")
            assert words in stage.lines[2]
            assert sum(counts(lens)) + (words[:3] == "log") * int((np.asarray(bell(64, 50)) == 0).sum()) == 3200
        for words in ("log counts", "density", "cumulative", "counts"):
            await stage.press("s")
            assert words in stage.lines[2]
        whole = edges(lens)
        await stage.press("z")
        inner = edges(lens)
        assert whole[0] < inner[0] < inner[-1] < whole[-1]
        await stage.press("z")
        assert edges(lens) == whole


@pytest.mark.parametrize("key", ["enter", "n", "N"])
async def test_a_bin_leads_to_its_elements(key: str) -> None:
    values = np.zeros((40, 30), np.float32)
    values[7, 3] = values[20, 1] = values[33, 29] = 5
    async with lens_on({"a": values}) as (stage, lens):
        await stage.press("end")
        found = []
        for _ in range(4):
            await stage.press(key)
            assert lens.seen is not None
            found.append(lens.seen.place.index)
        first = [(7, 3), (20, 1), (33, 29)]
        assert found == [*(first if key != "N" else first[::-1]), (7, 3) if key != "N" else (33, 29)]
        assert "= 5.0" in stage.lines[1]


async def test_a_bin_without_elements_and_one_with_a_single_one_say_so() -> None:
    values = np.zeros((40, 30), np.float32)
    values[7, 3] = 5
    async with lens_on({"a": values}) as (stage, _):
        await stage.press("end", "left", "enter")
        assert "No element lies in this bin." in stage.status
        await stage.press("right", "enter")  # each press waits for its own search: the next would take it back
        await stage.press("enter")
        assert "This is the only element in the bin." in stage.status


async def test_the_next_layer_and_a_normal_are_laid_over() -> None:
    source = {f"layers.{number}.w": bell(64, 50, seed=number) for number in range(3)}
    async with lens_on(source) as (stage, lens):
        await stage.press("o")
        assert lens._plot is not None
        other, _ = np.histogram(source["layers.1.w"].astype(np.float64), np.array(edges(lens)))
        outline = lens._over.layer.outline(lens._found, lens._span, len(counts(lens)))  # type: ignore[arg-type]
        assert outline is not None
        assert outline.counts == tuple(other.tolist())
        assert "layers.1.w" in stage.text
        await stage.press("o")
        assert "a normal of the same mean and std" in stage.text
        await stage.press("o")
        assert "a normal" not in stage.text
        assert "layers.1.w" not in stage.text


async def test_the_last_layer_has_the_one_before_laid_over() -> None:
    source = {f"layers.{number}.w": bell(8, 8, seed=number) for number in range(3)}
    async with lens_on(source, name="layers.2.w") as (stage, _):
        await stage.press("o")
        assert "layers.1.w" in stage.text


async def test_a_tensor_is_laid_over_by_its_name() -> None:
    source = MemorySource(
        {"a": bell(64, 50), "other.weight": bell(9, 9), "more.weight": bell(3, 3), "empty": bell(0, 3)},
        broken={"more.weight": "the disk is gone"},
    )
    async with lens_on(source) as (stage, _):
        await stage.press("O", *"weight")
        assert "2 names have 'weight' in them" in stage.status
        await stage.press("escape", "O", *"xyz")
        assert "no name has that in it" in stage.status
        await stage.press("escape", "O", *"empty")
        assert "it has no elements" in stage.status
        await stage.press("escape", "O", *"other", "enter")
        assert "other.weight" in stage.text
        assert "81 drawn as 3.20K" in stage.text
        await stage.press("O", *"more", "enter")
        assert "the disk is gone" in stage.status


async def test_what_is_laid_over_is_read_again_when_the_lens_comes_back() -> None:
    source = GatedSource({f"layers.{number}.w": bell(64, 50, seed=number) for number in range(2)}, ("layers.1.w",))
    source.open_gates()
    async with lens_on(source) as (stage, lens):
        lens.desk.summary_of = None
        source.gates["layers.1.w"] = Event()
        source.started["layers.1.w"].clear()
        await stage.send("o")
        await stage.until(source.started["layers.1.w"].is_set, "the next layer is read")
        await stage.until(lambda: "layers.1.w   reading" in stage.text, "it says so")
        await stage.send("1")  # the reading is given up
        source.open_gates()
        await stage.press("4")
        assert stage.app.screen.lens is lens  # type: ignore[attr-defined]
        assert "layers.1.w   mean" in stage.text


async def test_what_is_laid_over_from_elsewhere_says_what_it_would_fetch() -> None:
    source = {f"layers.{number}.w": bell(64, 50, seed=number) for number in range(2)}
    async with lens_on(source) as (stage, lens):
        lens.desk.summary_of = None
        lens.desk.refuse = lambda info, numel: "6.3 KiB: press F to fetch it"
        await stage.press("o")
        assert "layers.1.w   6.3 KiB: press F to fetch it" in stage.text
        lens.desk.refuse = lambda info, numel: ""
        await stage.press("1", "4")
        assert "layers.1.w   mean" in stage.text


async def test_casts() -> None:
    values = bell(64, 50)
    values[0, 0] = 600
    async with lens_on({"a": values}) as (stage, _):
        await stage.press("c")
        rows = {line.split()[0] + line.split()[1]: line.split() for line in stage.lines if len(line.split()) > 3}
        assert rows["bf16exact"][1:3] == ["exact", "0"]
        assert any("fp8 e4m3fn" in line and " 1 " in line for line in stage.lines)
        assert "e4m3fn by torch's rule; ml_dtypes gives NaN for 1" in stage.text
        assert "int4 / 32" in stage.text
        assert not any("pass over" in line for line in stage.lines)
        await stage.press("c")
        assert "int4 / 32" not in stage.text


async def test_casts_are_of_floating_types() -> None:
    async with lens_on({"a": np.arange(12)}) as (stage, _):
        await stage.press("c")
        assert "its values are int64: casts are shown of floating types" in stage.text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array(2.5, np.float32), "1 finite"),
        (np.zeros((3, 0), np.float32), "It has no elements."),
        (np.full((4, 4), np.nan), "There is no finite value."),
        (np.array([np.inf, -np.inf], np.float32), "There is no finite value."),
        (np.full((5, 5), 3.0), "25 finite"),
        (np.array([1e-45, -1e-45], np.float32), "2 finite"),
        (np.array([True, False]), "2 finite"),
        (np.array([1 + 2j, np.nan], np.complex64), "NaN 1"),
        (np.array([1.7e308, -1.7e308]), "2 finite"),
        (np.ones((1,) * 12, np.float32), "1 finite"),
    ],
)
async def test_what_is_strange_is_shown_or_told(values: NDArray[Any], words: str) -> None:
    async with lens_on({"a": values}) as (stage, _):
        assert words in stage.text
        for key in ("a", "a", "s", "s", "plus", "c", "enter"):
            await stage.press(key)
        assert words in stage.text


@pytest.mark.parametrize("size", [(60, 20), (40, 10), (20, 6)])
async def test_small_terminals(size: tuple[int, int]) -> None:
    async with lens_on({"a": bell(30, 20)}, size) as (stage, lens):
        for key in ("a", "s", "o", "c", "plus", "end", "enter"):
            await stage.press(key)
        assert max(map(len, lens.plain().split("\n"))) <= size[0]


async def test_all_zeros_have_no_logarithm() -> None:
    async with lens_on({"a": np.zeros((4, 4), np.float32)}) as (stage, _):
        await stage.press("a")
        assert "All finite values are zero." in stage.text
        await stage.press("a", "a")
        assert "[0, " in bin_words(stage)


async def test_what_cannot_be_read_is_one_sentence() -> None:
    source = MemorySource({"a": bell(4, 4)}, unreadable={"a": "the file ends too early"})
    async with lens_on(source) as (stage, _):
        assert "the file ends too early" in stage.text
        for key in ("plus", "c", "o", "enter", "a", "z", "left"):
            await stage.press(key)


async def test_every_key_is_named_and_none_is_taken_twice() -> None:
    found = [key for entry in KEYS for key in entry.keys.split(",")]
    assert len(found) == len(set(found))
    assert {entry.id.split(".")[0] for entry in KEYS} == {HistogramLens.slot}
    assert set(HistogramLens.HINTS) <= {entry.id for entry in KEYS}
