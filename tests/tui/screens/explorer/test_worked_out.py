"""A source elsewhere that works statistics out: they come by themselves, values only where somebody asks for them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.factories_elsewhere import ElsewhereSource
from tests.factories_screen import Arrays, Stage, on_stage
from tui_params.settings import Settings
from tui_params.tui.screens.problems import ProblemsScreen
from tui_params.tui.widgets.finding_list import FindingList

SETTINGS = Settings(theme="quiet-dark", fetch_below=10_000)

NBYTES = 120 * 100 * 4
"""Bytes of a weight: too large to be fetched by itself."""

NAMES = [f"layers.{layer}.weight" for layer in range(24)]


def model() -> Arrays:
    """Some layers: the later, the wider their values. One has NaN near its end."""
    random = np.random.default_rng(0)
    arrays: Arrays = {}
    for layer, name in enumerate(NAMES):
        arrays[name] = random.normal(0, 0.02 * (layer + 1), (120, 100)).astype(np.float32)
        arrays[f"layers.{layer}.bias"] = random.normal(0, 1, 12).astype(np.float32)
    arrays[NAMES[20]][117, 8] = np.nan
    return arrays


@pytest.fixture
def source() -> ElsewhereSource:
    return ElsewhereSource(model())


def few_came(source: ElsewhereSource) -> bool:
    """Whether no more came than the windows of values that were on screen, and the small tensors."""
    return source.nbytes < NBYTES / 4


async def test_a_page_has_everything_but_the_values(source: ElsewhereSource) -> None:
    async with on_stage(source, settings=SETTINGS) as stage:
        await stage.go(NAMES[1])
        assert "exact, all 12,000 elements" in stage.facts
        assert "Quantiles" in stage.facts  # and the histogram, of the summary
        assert "press f" not in stage.facts
        assert (NAMES[1], True) in source.asked
        assert "0.0" in stage.values
        assert source.fetched.count(NAMES[1]) == 1  # the window of values
        await stage.press("s", "a")
        assert source.asked.count((NAMES[1], True)) == 1  # the summary is kept
        await stage.go("layers.1.bias")
        assert "exact, all 12 elements" in stage.facts
        assert few_came(source)
        await stage.press("f")
        assert "Nothing has to be fetched" in stage.status or "fetched already" in stage.status


async def test_everything_is_read_without_a_question_and_without_the_values(source: ElsewhereSource) -> None:
    async with on_stage(source, settings=SETTINGS) as stage:
        await stage.press("S")
        await stage.until(lambda: "1 error" in stage.header, "everything is read")
        await stage.rest()
        assert [set(expected) for expected in source.expected] == [set(source.arrays)]
        assert {*NAMES} == {name for name, has_summary in source.asked if not has_summary}
        assert source.sought == [NAMES[20]]
        await stage.press("exclamation_mark")
        assert isinstance(stage.app.screen, ProblemsScreen)
        words = " ".join(stage.app.screen.query_one(FindingList).plain().split())
        assert "1 of 12,000 values is NaN, at [117, 8]" in words
        await stage.press("enter")
        assert stage.cursor == NAMES[20]
        assert "1 of 12,000 values is NaN, at [117, 8]" in stage.facts
        assert few_came(source)


async def test_the_tree_is_sorted_by_what_was_worked_out(source: ElsewhereSource) -> None:
    async with on_stage(source, settings=SETTINGS) as stage:
        await stage.press("S")
        await stage.until(lambda: "1 error" in stage.header, "everything is read")
        await stage.press("o", "s")
        weights = [name for name in stage.names if name.endswith(".weight")]
        assert weights == sorted(weights, key=lambda name: -np.nanstd(source.arrays[name]))
        assert weights != NAMES
        await stage.press("slash")
        await stage.type("std>.3")
        await stage.press("enter")
        assert stage.matching == sum(np.nanstd(array) > 0.3 for array in source.arrays.values())
        assert few_came(source)


async def test_pictures_need_the_values_and_say_so(source: ElsewhereSource) -> None:
    def says(stage: Stage, *words: str) -> bool:
        return all(each in stage.text for each in words)

    async with on_stage(source, settings=SETTINGS) as stage:
        await stage.go(NAMES[0])
        await stage.press("i")
        for key in ("2", "5"):
            await stage.press(key)
            assert says(stage, "46.9 KiB: press F to fetch it"), key
        await stage.press("4")
        assert says(stage, "finite", "mean")  # counts of the summary
        await stage.press("3")
        assert says(stage, "46.9 KiB: press F to fetch it")  # the profile of every row and column
        assert few_came(source)
        await stage.press("2", "F")
        assert not says(stage, "press F")
        assert source.nbytes > NBYTES
