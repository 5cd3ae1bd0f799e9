"""Terminals of a few cells, as while a window is dragged: every screen opens, its keys work, and it grows again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.command import CommandList, CommandPalette

from tests.factories_memory import MemorySource
from tests.factories_screen import Stage, on_stage, small_model
from tui_params.core.findings import Finding
from tui_params.tui.screens.explorer.screen import ExplorerScreen
from tui_params.tui.widgets.finding_list import FindingList

SIZES = ((1, 1), (2, 2), (1, 24), (80, 1))

KEYS = ("down", "right", "pagedown", "end", "left", "pageup", "tab", "up", "space")

OPENED_BY = {
    "the tree": (),
    "the detail": ("z",),
    "the values": ("v",),
    "the filter": ("slash", "n"),
    "the problems": ("exclamation_mark",),
    "the rule": ("exclamation_mark", "question_mark"),
    "the orders": ("o",),
    "the keys": ("question_mark",),
    "the commands": ("colon",),
    "the commands with a word": ("colon", "s", "o"),
    "the themes": (),
}


@asynccontextmanager
async def with_problems(size: tuple[int, int]) -> AsyncIterator[Stage]:
    findings = (Finding("error", "missing-shard", None, "model-00002-of-00003.safetensors is missing"),)
    source = MemorySource(small_model(), findings=findings, unreadable={"steps": "the shard is missing"})
    async with on_stage(source, size) as stage:
        await stage.press("S")
        yield stage


async def open_screen(stage: Stage, name: str) -> None:
    await stage.send(*OPENED_BY[name])
    if name == "the themes":
        stage.app.search_themes()
        await stage.turn()
    top = stage.app.screen
    assert isinstance(top, CommandPalette) == (name in ("the commands", "the commands with a word", "the themes"))
    if isinstance(top, CommandPalette):
        commands = top.query_one(CommandList)
        await stage.until(lambda: commands.option_count > 0, "commands are listed")


async def close_screen(stage: Stage) -> None:
    while not isinstance(stage.app.screen, ExplorerScreen):
        assert stage.app.is_running, "a key raised"
        await stage.send("escape")
    await stage.press("escape", "escape")


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_every_screen_opens_and_takes_keys(size: tuple[int, int]) -> None:
    async with with_problems(size) as stage:
        for name in OPENED_BY:
            await open_screen(stage, name)
            await stage.send(*KEYS)
            assert [strip.cell_length for strip in stage.strips] == [size[0]] * size[1]
            await close_screen(stage)


async def test_every_screen_shrinks_and_grows() -> None:
    async with with_problems((80, 24)) as stage:
        for name in OPENED_BY:
            await open_screen(stage, name)
            await stage.pilot.resize_terminal(1, 1)
            await stage.send(*KEYS)
            await stage.pilot.resize_terminal(80, 24)
            await stage.turn()
            assert stage.text.strip()
            await close_screen(stage)


async def test_the_cursor_of_the_problems_is_in_view_when_the_terminal_has_grown() -> None:
    async with with_problems((1, 1)) as stage:
        await stage.send("exclamation_mark", "end")
        await stage.pilot.resize_terminal(60, 12)
        await stage.turn()
        view = stage.app.screen.query_one(FindingList)
        assert view.current is not None
        assert "> " in stage.text
