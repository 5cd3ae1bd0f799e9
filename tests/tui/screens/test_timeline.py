"""The timeline on the screen: what it says, what its keys do, and how it takes new checkpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tests.factories_memory import MemorySource
from tests.factories_screen import GatedSource, Stage, eventually, on_stage
from tests.factories_timeline import BROKEN, FROZEN, JUMPS, STEPS, arrays_of_run, planted_run, write_step
from tui_params.api.opening import open_source
from tui_params.core.compare.tracks import Step
from tui_params.core.source import Source
from tui_params.settings import Settings
from tui_params.tui import keys
from tui_params.tui.app import ParamsApp
from tui_params.tui.desk import timeline_desk
from tui_params.tui.screens.timeline.help import TimelineHelp
from tui_params.tui.screens.timeline.screen import TimelineScreen
from tui_params.tui.state.run import Run
from tui_params.tui.terminal.glyphs import ASCII, UNICODE
from tui_params.tui.widgets.timeline.course_plot import course_lines
from tui_params.tui.widgets.timeline.track_page import track_page


@asynccontextmanager
async def on_timeline(*paths: str, size: tuple[int, int] = (120, 36)) -> AsyncIterator[Stage]:
    """The timeline of these checkpoints, as the first screen."""
    app = ParamsApp(None, settings=Settings(theme="quiet-dark"), run=Run(paths))
    async with app.run_test(size=size) as pilot:
        stage = Stage(app, pilot)
        await stage.until(lambda: len(app.screen_stack) > 1, "the first screen")
        yield stage


def top(stage: Stage) -> TimelineScreen:
    assert isinstance(stage.app.screen, TimelineScreen)
    return stage.app.screen


def names_of(stage: Stage) -> list[str]:
    return [row.name for row in top(stage).tracks.rows]


def keys_of(name: str) -> tuple[str, ...]:
    return tuple(next(key for key in keys.TIMELINE if key.id == f"timeline.{name}").keys.split(","))


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_what_it_says_and_what_each_key_does(size: tuple[int, int], tmp_path: Path) -> None:
    async with on_timeline(*planted_run(tmp_path), size=size) as stage:
        await stage.rest()
        screen = top(stage)
        assert stage.lines[0].startswith(" ! NaN since step 2500: 3 tensors  model.layers.{")
        assert "8 steps, 500 to 4000  14 tensors" in stage.lines[1]
        await stage.pilot.resize_terminal(60, 20)
        await stage.rest()
        assert stage.lines[1].rstrip() == " Timeline  8 steps, 500 to 4000  14 tensors"
        await stage.pilot.resize_terminal(*size)
        await stage.rest()
        names = names_of(stage)
        assert names[:5] == [*BROKEN, "lm_head.weight", JUMPS]
        first = next(line for line in stage.lines if "1.mlp.up_proj.weight" in line and "NaN 2500" in line)
        assert "NNNN" in first
        assert "III" in screen.tracks.plain()
        assert "jump 2000" in screen.tracks.plain()
        page = screen.page.plain()
        assert "NaN since step 2500: 1 NaN of 2,048 elements" in page
        below = next(line for line in page.splitlines() if line.lstrip().startswith("500 "))
        assert below.split()[:1] == ["500"]
        assert {"1500", "2500", "4000"} <= set(below.split())

        for name, at in (("down", 1), ("page_down", 13), ("home", 0), ("end", 13), ("up", 12), ("page_up", 0)):
            for key in keys_of(name):
                if name in ("down", "page_up"):
                    screen.tracks.to_start()
                elif name in ("up", "page_down"):
                    screen.tracks.edge(1)
                await stage.press(key)
                assert screen.tracks.current is not None
                here = names.index(screen.tracks.current.name)
                assert here == at if size[1] > 24 or "page" not in name else here >= at - 13
        for key in keys_of("sort"):
            await stage.press(key)
            assert names_of(stage)[0] == JUMPS
            await stage.press(key)
            assert names_of(stage) == sorted(names_of(stage))
            assert "by name" in stage.lines[1]
            await stage.press(key)
        for key in keys_of("kinds"):
            screen.tracks.move(2)
            await stage.press(key)
            folded = names_of(stage)
            assert folded[:3] == [BROKEN[0], "lm_head.weight", JUMPS]
            assert len(folded) == 5
            await stage.rest()
            assert "5 kinds of 14 tensors" in stage.lines[1]
            assert "mlp.up_proj.weight x4" in screen.tracks.plain()
            # The cursor is on the kind of the tensor that it was on, and later on the tensor that it shows.
            assert screen.tracks.current is not None
            assert screen.tracks.current.name == BROKEN[0]
            assert "The first of 4 tensors of its kind, 3 with NaN or Inf" in " ".join(screen.page.plain().split())
            await stage.press(key)
            assert names_of(stage) == names
            assert screen.tracks.current.name == BROKEN[0]
            screen.tracks.to_start()
        for key in keys_of("search"):
            await stage.press(key)
            await stage.type("norm")
            await stage.rest()
            assert len(names_of(stage)) == 4
            assert "4 of 14 tensors  /norm" in stage.lines[1]
            await stage.press("enter")
        await stage.type("G")
        await stage.rest()
        assert f"{FROZEN}" in screen.page.plain()
        assert "Frozen since step 1500: not a bit has changed" in screen.page.plain()
        await stage.press("slash", "escape")
        assert names_of(stage) == names
        await stage.press(*keys_of("search"), "x", "y", "enter")
        assert "No tensor has this text" in stage.text
        await stage.press("escape")
        assert names_of(stage) == names
        for key in (*keys_of("scroll_down"), *keys_of("scroll_up")):
            await stage.press(key)
        assert screen.page.top == 0
        await stage.press(*keys_of("enter"))
        assert "There is no tree here" in stage.status
        await stage.press(*keys_of("clear"))
        assert "q leaves" in stage.status
        for key in keys_of("help"):
            await stage.press(key)
            assert isinstance(stage.app.screen, TimelineHelp)
            assert "since the step before" in stage.text or size == (80, 24)
            await stage.press("escape")
        before = screen.desk
        await stage.press(*keys_of("reload"))
        assert screen.desk is not before
        assert names_of(stage) == names
        assert {key.id for key, _ in screen.commands()} >= {"timeline.sort", "timeline.reload"}
        await stage.pilot.resize_terminal(40, 12)
        await stage.rest()
        assert "NaN since step 2500: 3 tensors" in stage.lines[0]
        await stage.send("q")
        await eventually(lambda: not stage.app.is_running or stage.app._exit, "the end")
    assert stage.app.return_code == 0


async def test_from_the_explorer_and_back_to_a_tensor(tmp_path: Path) -> None:
    planted_run(tmp_path)
    async with on_stage(lambda: open_source(tmp_path)) as stage:
        await stage.press("T")
        assert "Only the folder of a run has a timeline" in stage.status
        stage.screen.session.pending.given = str(tmp_path)
        for back in (*keys_of("leave"), "escape"):
            await stage.press("T")
            assert "NaN since step 2500" in stage.lines[0]
            await stage.press(back)
            assert stage.app.screen is stage.screen
        await stage.press("T", *["down"] * 4, *keys_of("enter"))
        assert stage.cursor == JUMPS


async def test_new_checkpoints_are_added_when_they_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline_desk, "LOOK_AGAIN", 0.01)
    arrays = arrays_of_run()
    for number, step in zip(STEPS[:3], arrays, strict=False):
        write_step(tmp_path, number, step)
    read: list[str] = []
    async with on_timeline(str(tmp_path)) as stage:
        await stage.rest()
        screen = top(stage)
        assert "3 steps, 500 to 1500" in stage.lines[1]
        assert screen.desk is not None
        for source in screen.desk._sources[:2]:
            assert source is not None
            monkeypatch.setattr(source, "blocks", lambda *_, **__: read.append("an old step"))
        write_step(tmp_path, 2000, arrays[3], cut=-100)
        await stage.until(lambda: "step 2000 is not whole yet" in stage.lines[1], "the half of a checkpoint")
        write_step(tmp_path, 2000, arrays[3])
        await stage.until(lambda: "4 steps, 500 to 2000" in stage.lines[1], "the whole checkpoint")
        await stage.rest()
        (row,) = (row for row in screen.tracks.rows if row.name == JUMPS)
        assert len(row.track.moments) == 4
        last = row.track.moments[3]
        assert last is not None
        assert last.since == 2
        assert (last.change or 0) > 0.3
        # One that will not become whole is taken with its reason, when the next is there.
        write_step(tmp_path, 2500, {}, cut=5)
        await stage.until(lambda: "step 2500 cannot be opened yet" in stage.lines[1], "what cannot be opened")
        write_step(tmp_path, 3000, arrays[5])
        await stage.until(lambda: "6 steps, 500 to 3000" in stage.lines[1], "the next checkpoint")
        await stage.rest()
        assert "1 step not opened" in stage.lines[1]
        assert "NaN and Inf since step 3000: 4 tensors  step 2500 not opened" in stage.lines[0]
        assert "x step 2500: " in screen.page.plain()
        assert [line.count("x") for line in screen.tracks.plain().split("\n")[1:15]] == [2] * 14
        assert read == []


async def test_it_fills_in_and_no_key_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arrays = {f"layers.{at}.weight": np.full((4, 4), at + 1, np.float32) for at in range(6)}
    held = GatedSource(arrays, ("layers.5.weight",))

    def opened(path: str, format: str | None = None) -> Source:  # noqa: A002
        return held if path == "b" and not held.gates["layers.5.weight"].is_set() else MemorySource(arrays)

    monkeypatch.setattr("tui_params.api.timelines.open_source", opened)
    monkeypatch.setattr("tui_params.tui.screens.timeline.screen.AT_ONCE", 2)  # rows are arranged in a thread
    monkeypatch.setattr("tui_params.tui.state.track_rows._PART", 2)
    async with on_timeline("a", "b", "c") as stage:
        await stage.until(lambda: len(names_of(stage)) == 5, "what has been read")
        assert "No NaN and no infinity so far" in stage.lines[0]
        assert "reading" in stage.lines[1]
        assert "esc stops" in stage.status
        await stage.send("down", "down")
        assert stage.app.screen.tracks.current.name == names_of(stage)[2]  # type: ignore[attr-defined]
        await stage.send("o", "o")
        await stage.until(lambda: names_of(stage) == sorted(arrays)[:5], "the order of names")
        await stage.send("escape")
        assert "The reading was stopped: R reads the run again." in stage.status
        assert "5 tensors" in stage.lines[1]
        assert "stopped, not read whole" in stage.lines[1]
        held.open_gates()
        assert "No NaN and no infinity in what could be read" in stage.lines[0]
        await stage.press("R")
        assert len(names_of(stage)) == 6
        assert "No NaN and no infinity at any step" in stage.lines[0]
        assert "frozen memory" in stage.text


async def test_a_run_that_cannot_be_opened_ends_with_the_reason(tmp_path: Path) -> None:
    async with on_timeline(str(tmp_path)) as stage:
        await eventually(lambda: stage.app.failure, "the failure")
    assert stage.app.return_code == 3
    assert "is no folder with two steps or more" in (stage.app.failure or "")


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_the_axis_has_the_true_steps(glyphs: object) -> None:
    def drawn(numbers: Sequence[int | None], values: Sequence[float | None], columns: int = 60) -> list[str]:
        steps = [Step(f"run/{at}.pt", number) for at, number in enumerate(numbers)]
        lines = course_lines("norm", steps, values, [1], columns, 9, glyphs)  # type: ignore[arg-type]
        return ["".join(part for part, _ in line) for line in lines]

    # As far apart as their numbers are.
    lines = drawn((0, 5000, 6000, 10000), (1.0, 2.0, 3.0, 1.0), 90)
    places = [lines[-1].index(label) for label in ("0", "5000", "6000", "10000")]
    assert places[1] - places[0] > 4 * (places[2] - places[1])
    assert "N" in lines[-3]
    assert drawn((None, None, None), (1.0, 1.0, 1.0))[-1].split()[0] == "run/0.pt"
    assert drawn((1, 2, 3), (1e-6, 1.0, 0.0))[0] == "norm, log axis"
    assert drawn((1, 2), (1.0, None)) == []
    assert drawn((1, 2), (1.0, 2.0), columns=15) == []


@pytest.mark.parametrize("seed", [0, 1])
async def test_random_keys_leave_nothing_stale(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    pressed = [key for table in keys.TIMELINE for key in table.keys.split(",") if table.id != "timeline.leave"]
    async with on_timeline(*planted_run(tmp_path), size=(80, 24)) as stage:
        for _ in range(40):
            key = random.choice([*pressed, "m", "l", "p", "resize"])
            if key == "resize":
                await stage.pilot.resize_terminal(random.choice((40, 80, 120)), random.choice((12, 24, 36)))
            else:
                await stage.send(key)
        for _ in range(6):  # out of the help and the field, and without a filter
            await stage.send("escape")
        await stage.press("R")
        screen = top(stage)
        if len(names_of(stage)) == 5:
            await stage.press("K")
        assert "NaN since step 2500: 3 tensors" in stage.lines[0]
        assert len(names_of(stage)) == 14
        assert screen.tracks.current is not None
        size = screen.page.content_size
        page = track_page(screen.tracks.current, screen._steps, size.width, size.height, UNICODE)
        assert screen.page.lines == page
        rows = screen.tracks.plain()
        screen.tracks.on_resize()  # draws everything anew
        assert screen.tracks.plain() == rows
