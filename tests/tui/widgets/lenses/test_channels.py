"""The lens Channels in the tensor screen: sides, figures, orders, marks, the way to a row, tokens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tests.factories_safetensors import entry, file_bytes
from tests.factories_screen import Stage, on_stage
from tui_params.api.opening import open_source
from tui_params.core.source import Source
from tui_params.tui.screens.tensor.screen import TensorScreen
from tui_params.tui.widgets.lenses.channels import KEYS, ChannelsLens
from tui_params.tui.widgets.lenses.values import Values


@asynccontextmanager
async def lens_on(
    source: Source | dict[str, NDArray[Any]], size: tuple[int, int] = (100, 30), name: str = ""
) -> AsyncIterator[tuple[Stage, ChannelsLens]]:
    """The lens on the first tensor of a source, or on a named one."""
    made = MemorySource(source) if isinstance(source, dict) else source
    async with on_stage(made, size) as stage:
        await stage.go(name or made.listing.tensors[0].name)
        await stage.press("i")
        assert isinstance(stage.app.screen, TensorScreen)
        stage.app.screen.action_lens("channels")
        await stage.rest()
        lens = stage.app.screen.lens
        assert isinstance(lens, ChannelsLens)
        yield stage, lens


def odd() -> NDArray[np.float32]:
    """A matrix with an outlier column, two dead rows and a NaN."""
    array = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    array[:, 17] *= 200
    array[[5, 9]] = 0
    array[21, 3] = np.nan
    return array


def listed(stage: Stage) -> list[list[str]]:
    """The words of the list, below its heading."""
    lines = stage.lines
    start = next(place for place, line in enumerate(lines) if "max |x|" in line and "RMS" in line)
    return [line.replace("▸", " ").split() for line in lines[start + 1 : -1] if line.strip()]


async def test_the_worst_rows_come_first_and_columns_are_the_other_side() -> None:
    array = odd()
    async with lens_on({"a": array}) as (stage, _):
        assert "40 rows" in stage.lines[3]
        assert "! 1 with NaN or Inf" in stage.lines[3]
        assert "o 2 dead" in stage.lines[3]
        assert [words[:3] for words in listed(stage)[:3]] == [
            ["21", "!", "NaN"],
            ["5", "o", "dead"],
            ["9", "o", "dead"],
        ]
        assert listed(stage)[0][-1] == "1"
        await stage.press("r")
        assert "^ 1 outlier" in stage.lines[3]
        # A NaN is worse than an outlier.
        assert [words[0] for words in listed(stage)[:2]] == ["3", "17"]
        assert float(listed(stage)[1][3]) == pytest.approx(float(np.abs(array[:, 17]).max()), rel=1e-3)


async def test_figures_and_orders_in_turn() -> None:
    array = np.arange(1, 37, dtype=np.float32).reshape(12, 3)
    async with lens_on({"a": array}) as (stage, lens):
        assert "rows by max |x|, worst first" in stage.lines[2]
        await stage.press("o")
        assert "largest first" in stage.lines[2]
        assert [words[0] for words in listed(stage)] == [str(row) for row in range(11, -1, -1)]
        await stage.press("o")
        assert [words[0] for words in listed(stage)] == [str(row) for row in range(12)]
        for name in ("RMS", "mean", "share of zeros", "share of NaN and Inf", "max |x|"):
            await stage.press("m")
            assert f"rows by {name}, smallest first" in stage.lines[2]
        await stage.press("down", "down", "o")
        assert "by index" in stage.lines[2]
        assert lens._ranking is not None
        assert lens._ranking.index(lens._rank) == 2  # the cursor stays on its row


async def test_the_next_mark() -> None:
    async with lens_on({"a": odd()}) as (stage, lens):
        await stage.press("o", "o", "o")
        assert lens._ranking is not None
        found = []
        for key in ("home", "n", "n", "n", "N"):
            await stage.press(key)
            found.append(lens._ranking.index(lens._rank))
        assert found == [0, 5, 9, 21, 9]
        await stage.press("end", "n")
        assert "None is marked below." in stage.status


@pytest.mark.parametrize(
    ("shape", "keys", "index"),
    [
        ((6, 5), ("down", "down"), (2, 0)),
        ((6, 5), ("r", "down", "down"), (0, 2)),
        ((2, 3, 5), ("end",), (1, 2, 0)),
        ((2, 3, 5), ("r", "end"), (0, 0, 4)),
        ((4, 3, 2, 2), ("end",), (3, 0, 0, 0)),
        ((4, 3, 2, 2), ("r", "end"), (0, 2, 0, 0)),
    ],
)
async def test_enter_shows_the_values_of_the_row_or_column(
    shape: tuple[int, ...], keys: tuple[str, ...], index: tuple[int, ...]
) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    async with lens_on({"a": array}) as (stage, _):
        for key in keys[:1] if keys[0] == "r" else ():
            await stage.press(key)
        await stage.press("o", "o", "o", "home", *(key for key in keys if key != "r"), "enter")
        assert isinstance(stage.app.screen, TensorScreen)
        assert isinstance(stage.app.screen.lens, Values)
        assert stage.app.screen.place.index == index


async def test_the_place_is_found_in_the_list() -> None:
    async with lens_on({"a": odd()}) as (stage, lens):
        await stage.press("g", *"33, 4".replace(" ", ""), "enter", "p")
        assert lens._ranking is not None
        assert lens._ranking.index(lens._rank) == 33
        await stage.press("r", "p")
        assert lens._ranking.index(lens._rank) == 4


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array(1.0), "it is a single value"),
        (np.ones(4), "a tensor of one dimension has no rows and columns"),
        (np.ones((0, 4)), "it has no elements"),
        (np.full((4, 4), np.nan), "4 with NaN or Inf"),
        (np.zeros((4, 4)), "4 dead"),
        (np.ones((8, 1, 3, 3)), "there is one input for each output"),
        (np.ones((1, 1)), "1 row "),
        (np.ones((3, 3), bool), "3 rows"),
        (np.ones((3, 3), np.complex64), "3 rows"),
    ],
)
async def test_what_is_strange_is_shown_or_told(values: NDArray[Any], words: str) -> None:
    async with lens_on({"a": values}) as (stage, _):
        assert words in stage.text
        for key in ("r", "m", "o", "s", "n", "end", "p"):
            await stage.press(key)


@pytest.mark.parametrize("size", [(60, 20), (40, 10), (30, 8)])
async def test_small_terminals(size: tuple[int, int]) -> None:
    async with lens_on({"a": odd()}, size) as (stage, lens):
        await stage.press("r", "m", "o", "s", "n", "end")
        assert lens.size.height >= len(lens.plain().split("\n"))


async def test_what_cannot_be_read_is_one_sentence() -> None:
    source = MemorySource({"a": odd()}, broken={"a": "the disk is gone"})
    async with lens_on(source) as (stage, _):
        assert "the disk is gone" in stage.text
        await stage.press("r", "m", "enter", "n", "end", "p")


def with_tokens(folder: Path, rows: int, tokens: object, name: str = "embed.weight") -> Source:
    array = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    (folder / "model.safetensors").write_bytes(file_bytes({name: entry("F32", array.shape, 0)}, array.tobytes()))
    (folder / "tokenizer.json").write_text(tokens if isinstance(tokens, str) else json.dumps(tokens))
    return open_source(folder / "model.safetensors")


async def test_rows_have_the_texts_of_their_tokens(tmp_path: Path) -> None:
    vocab = {"the": 0, "Ġcat": 1, "\u200b\x1b[31m": 2}
    tokens = {"model": {"vocab": vocab}, "decoder": {"type": "ByteLevel"}}
    async with lens_on(with_tokens(tmp_path, 4, tokens)) as (stage, _):
        await stage.press("o", "o", "o")
        rows = [" ".join(words) for words in listed(stage)]
        assert rows[0].startswith('0 "the"')
        assert rows[1].startswith('1 " cat"')
        assert rows[2].startswith('2 "\\u200b\\x1b[31m"')
        assert rows[3].startswith("3 (no token)")


async def test_a_table_of_fewer_rows_than_tokens_has_no_texts(tmp_path: Path) -> None:
    tokens = {"model": {"vocab": {str(number): number for number in range(9)}}}
    async with lens_on(with_tokens(tmp_path, 4, tokens)) as (stage, _):
        assert "tokenizer.json has 9 tokens, this table 4 rows: no text is shown" in stage.text


async def test_a_hostile_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    async with lens_on(with_tokens(tmp_path, 4, '{"model": {"vocab": ' + "[" * 50_000)) as (stage, _):
        assert "tokenizer.json is nested too deeply to be read" in stage.text
        assert len(listed(stage)) >= 4


async def test_other_tensors_have_no_tokens(tmp_path: Path) -> None:
    async with lens_on(with_tokens(tmp_path, 4, {"model": {"vocab": {"a": 0}}}, "fc.weight")) as (stage, _):
        assert "token" not in stage.text


async def test_every_key_is_named_and_none_is_taken_twice() -> None:
    found = [key for entry in KEYS for key in entry.keys.split(",")]
    assert len(found) == len(set(found))
    assert {entry.id.split(".")[0] for entry in KEYS} == {ChannelsLens.slot}
    assert set(ChannelsLens.HINTS) <= {entry.id for entry in KEYS}
