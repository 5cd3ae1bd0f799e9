"""The states of the explorer: opening, empty, partial, failed, stale; and every size and kind of terminal."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
from textual.filter import Monochrome, NoColor
from textual.theme import BUILTIN_THEMES

from tests.factories_memory import MemorySource
from tests.factories_screen import PATIENCE, GatedSource, eventually, on_stage, ramp, small_model
from tui_params.core.findings import Finding
from tui_params.core.source import Source
from tui_params.errors import OpenError
from tui_params.settings import Settings
from tui_params.tui.screens.explorer import delays
from tui_params.tui.terminal.glyphs import ASCII

# Opening


async def test_while_a_source_is_being_opened_the_screen_says_so_and_keys_work() -> None:
    gate = threading.Event()
    started = threading.Event()

    def open_it() -> Source:
        started.set()
        assert gate.wait(PATIENCE)
        return MemorySource(small_model())

    async with on_stage(open_it, is_settled=False) as stage:
        try:
            await stage.until(lambda: len(stage.app.screen_stack) > 1, "the screen")
            await stage.until(lambda: "opening memory" in stage.text, "the word")
            assert started.is_set()
            assert not gate.is_set()
            keys = "up,down,E,C,n,N,slash,a,escape,v,g,s,z,z,y,Y,R,tab,tab,J,p,space,enter,less_than_sign,end,home"
            await stage.send(*keys.split(","))
            await stage.send("question_mark", "escape", "colon", "escape")
            assert stage.app.is_running
        finally:
            gate.set()
        await stage.until(lambda: "embed.weight" in stage.text, "the tree")


async def test_q_works_while_a_source_is_being_opened() -> None:
    gate = threading.Event()

    def open_it() -> Source:
        assert gate.wait(PATIENCE)
        return MemorySource({})

    try:
        async with on_stage(open_it, is_settled=False) as stage:
            await stage.until(lambda: len(stage.app.screen_stack) > 1, "the screen")
            await stage.send("q")
            await stage.until(lambda: not stage.app.is_running, "the end")
        assert not gate.is_set()
    finally:
        gate.set()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OpenError("model.bin is [not] a checkpoint"), "model.bin is [not] a checkpoint"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (MemoryError(), "MemoryError"),
    ],
    ids=["open", "os", "memory"],
)
async def test_a_source_that_cannot_be_opened_ends_with_code_3_and_a_sentence(error: Exception, reason: str) -> None:
    def open_it() -> Source:
        raise error

    async with on_stage(open_it, is_settled=False) as stage:
        await stage.until(lambda: not stage.app.is_running, "the end")
    assert stage.app.return_code == 3
    assert stage.app.failure is not None
    assert reason in stage.app.failure


async def test_a_source_without_a_tensor_says_so_and_keys_harm_nothing() -> None:
    async with on_stage(MemorySource({})) as stage:
        assert "no tensors here" in stage.text
        assert "0 tensors" in stage.header
        keys = "up,down,left,right,space,enter,pageup,pagedown,home,end,p,J,e,minus,E,"
        keys += "C,c,escape,K,escape,M,escape,n,N,v,g,s,a,z,z,y,Y,tab,tab,R"
        await stage.send(*keys.split(","))
        await stage.until(lambda: stage.screen.session.generation == 2, "opened again")
        await stage.rest()
        assert "no tensors here" in stage.text


async def test_metadata_alone_is_shown() -> None:
    async with on_stage(MemorySource({}, metadata={"epoch": "3", "args.lr": "0.1\x1b[2J\n"})) as stage:
        await stage.press("E", "end", "down", "up")
        assert "epoch" in stage.text
        assert "\x1b" not in stage.text
        assert "\\x1b" in stage.text


# Quitting


async def test_quitting_does_not_wait_for_a_tensor_that_is_being_read() -> None:
    source = GatedSource({"a": ramp(4), "b": ramp(4)}, ("a",))
    try:
        async with on_stage(source, is_settled=False) as stage:
            await stage.until(source.started["a"].is_set, "a is being read")
            await stage.send("q")
            await stage.until(lambda: not stage.app.is_running, "the end")
            assert not source.gates["a"].is_set()
    finally:
        source.open_gates()


def test_a_process_ends_while_a_tensor_is_being_read() -> None:
    script = """
import asyncio, threading
from tests.factories_screen import GatedSource, Stage, ramp
from tests.scenes import app_of
import tests.factories_screen as screen
screen.PATIENCE = threading.TIMEOUT_MAX  # the gate is never opened
source = GatedSource({"a": ramp(4)}, ("a",))

async def main() -> None:
    app = app_of(lambda: source)
    async with app.run_test() as pilot:
        stage = Stage(app, pilot)
        await stage.until(source.started["a"].is_set)
        await stage.until(lambda: stage.facts.startswith("a"))
        for _ in range(20):
            await stage.turn()
        print("quit", flush=True)
        await stage.send("q")

asyncio.run(main())
"""
    # Without a bound a process that waits for the tensor would hold up this test for ever.
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600, check=False)
    assert (result.returncode, result.stdout) == (0, "quit\n"), result.stderr


# Reloading


def opening(*sources: Callable[[], Source]) -> Callable[[], Source]:
    """Opens the first source, then the second, and so on; the last one again and again."""
    left = list(sources)

    def open_it() -> Source:
        return (left.pop(0) if len(left) > 1 else left[0])()

    return open_it


def failing() -> Source:
    raise OpenError("the checkpoint is gone")


class Changing(MemorySource):
    """A source that says that it is no longer what was opened."""

    sentence: str | None = None

    def changed(self) -> str | None:
        return self.sentence


async def test_a_source_that_changed_says_so_and_r_opens_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delays, "WATCH_EVERY", 0.01)
    source = Changing(small_model())
    async with on_stage(opening(lambda: source, lambda: MemorySource({"new.weight": ramp(3)}))) as stage:
        assert "written" not in stage.header
        source.sentence = "model.safetensors was written again"
        await stage.until(lambda: "model.safetensors was written again; R reloads" in stage.header, "the header")
        assert "embed.weight" in stage.text  # what was there stays
        await stage.press("R")
        await stage.until(lambda: stage.screen.session.generation == 2, "opened again")
        await stage.rest()
        assert "written" not in stage.header
        assert stage.names == ["new.weight"]
        await eventually(lambda: source.is_closed, "the old source is closed")


async def test_a_reload_that_fails_keeps_what_is_on_screen_and_says_why() -> None:
    async with on_stage(opening(lambda: MemorySource(small_model()), failing)) as stage:
        await stage.go("norm.weight")
        before = stage.facts
        await stage.press("R")
        await stage.until(lambda: "the checkpoint is gone" in stage.text, "the reason")
        await stage.rest()
        assert stage.app.is_running
        assert stage.facts == before
        assert stage.cursor == "norm.weight"
        await stage.press("down", "up")
        assert stage.facts == before


async def test_a_reload_that_works_after_one_that_failed_clears_the_reason() -> None:
    new = {"norm.weight": ramp(3)}
    async with on_stage(opening(lambda: MemorySource(small_model()), failing, lambda: MemorySource(new))) as stage:
        await stage.press("R")
        await stage.until(lambda: stage.screen.session.stale is not None, "the reason")
        await stage.press("R")
        await stage.until(lambda: stage.screen.session.generation == 2, "opened again")
        await stage.rest()
        assert stage.screen.session.stale is None
        assert "R reloads" not in stage.header
        assert stage.names == ["norm.weight"]


async def test_a_reload_during_a_blocked_read_does_not_block_the_screen() -> None:
    source = GatedSource({"a": ramp(4), "b": ramp(4)}, ("a",))
    new = {"a": ramp(4) + 50}
    async with on_stage(opening(lambda: source, lambda: MemorySource(new)), is_settled=False) as stage:
        try:
            await stage.until(source.started["a"].is_set, "a is being read")
            await stage.send("R")
            await stage.until(lambda: stage.screen.session.generation == 2, "opened again")
            await stage.rest()
            assert "53" in stage.facts
            assert not source.gates["a"].is_set()
        finally:
            source.open_gates()
        await stage.rest()
        assert "53" in stage.facts


async def test_two_reloads_at_once_end_with_one_source() -> None:
    opened: list[MemorySource] = []

    def open_it() -> Source:
        opened.append(MemorySource(small_model()))
        return opened[-1]

    async with on_stage(open_it) as stage:
        await stage.send("R", "R", "R")
        await stage.until(lambda: len(opened) == 4, "opened again")
        for _ in range(20):
            await stage.turn()
        await stage.rest()
        await eventually(lambda: [source.is_closed for source in opened].count(False) == 1, "the others are closed")
        # Each is opened by a thread of its own, so they need not come in the order in which they were asked for.
        assert stage.screen.opened is not None
        shown = stage.screen.opened.source
        assert isinstance(shown, MemorySource)
        assert not shown.is_closed
    await eventually(lambda: shown.is_closed, "the one that was shown is closed")


async def test_findings_about_the_container_stand_in_the_header() -> None:
    findings = (
        Finding("warning", "odd-name", None, "a name is odd"),
        Finding("error", "missing-shard", None, "model-00002-of-00003.safetensors is missing"),
        Finding("info", "note", None, "nothing"),
    )
    async with on_stage(MemorySource({"a": ramp(3)}, findings=findings)) as stage:
        assert "! missing-shard (+1)" in stage.header


# Terminals

SIZES = ((30, 8), (60, 20), (80, 24), (120, 36), (200, 60), (20, 5), (1, 1))


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_every_size(size: tuple[int, int]) -> None:
    async with on_stage(size=size) as stage:
        assert [strip.cell_length for strip in stage.strips] == [size[0]] * size[1]
        if size[0] >= 30:
            assert "embed.weight" in stage.text
        if size[0] >= 60:
            assert "[20, 8]" in stage.text
            assert "12 tensors" in stage.header
            assert "quit" in stage.status
        await stage.press("down", "E", "v", "escape", "z", "z", "slash", "n", "escape", "question_mark", "escape", "n")
        assert [strip.cell_length for strip in stage.strips] == [size[0]] * size[1]


async def test_the_terminal_is_resized_while_it_runs() -> None:
    async with on_stage() as stage:
        await stage.go("layers.10.attn.weight")
        for size in (*SIZES, (120, 36)):
            await stage.pilot.resize_terminal(*size)
            await stage.rest()
            assert len(stage.lines) == size[1]
            assert stage.cursor == "layers.10.attn.weight"
            if size[1] >= 20:
                assert "weight" in stage.row("layers.10.attn.weight")
        assert "┤" in stage.facts
        assert max(map(len, stage.facts.splitlines())) <= stage.screen.detail.size.width


async def test_panes_stand_one_above_the_other_where_it_is_narrow() -> None:
    async with on_stage(size=(60, 20)) as stage:
        tree, detail = stage.screen.tree_view, stage.screen.detail
        assert tree.region.width == detail.region.width == 60
        assert tree.region.y < detail.region.y
        await stage.pilot.resize_terminal(120, 36)
        await stage.rest()
        assert tree.region.y == detail.region.y


async def test_a_small_ascii_terminal_gets_ascii() -> None:
    async with on_stage(size=(60, 20), glyphs=ASCII) as stage:
        assert "-----" in stage.text
        assert stage.text.isascii()
        await stage.press("z")
        assert "-----" not in stage.text


async def test_an_ascii_terminal_gets_ascii() -> None:
    arrays = small_model() | {"größe": ramp(3), "empty": ramp(0), "all.nan": np.full((2, 2), np.nan, np.float32)}
    source = MemorySource(arrays, tied_to={"norm.weight": "embed.weight"}, metadata={"epoch": "3 µ"})
    seen = ""
    async with on_stage(source, glyphs=ASCII) as stage:
        for name in stage.names:
            await stage.go(name)
            seen += stage.text
        await stage.press("home", "s", "a", "z")
        seen += stage.text
        await stage.press("escape", "slash")
        seen += stage.text
        await stage.type("wei")
        seen += stage.text
        await stage.press("enter", "v")
        seen += stage.text
        await stage.type("[")
        seen += stage.text
        await stage.press("enter")
        seen += stage.text
        await stage.press("escape", "g", "y")
        seen += stage.text
        await stage.press("question_mark")
        seen += stage.text
        await stage.press("pagedown")
        seen += stage.text
    assert {letter for letter in seen if not letter.isascii()} == set()
    assert "#" in seen


async def test_without_colour_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    source = MemorySource(small_model(), unreadable={"steps": "the shard is missing"})
    async with on_stage(source) as stage:
        assert stage.app.no_color
        await stage.go("layers.2.mlp.weight")
        assert stage.row("layers.2.mlp.weight").startswith("!")
        assert stage.row("steps").startswith("x")
        colours = {
            (style.color, style.bgcolor)
            for strip in stage.strips
            for _, style, _ in strip.apply_filter(stage.app.get_line_filters()[-1], stage.screen.background_colors[1])
            if style is not None and style.color is not None and style.color.triplet is not None
            and len(set(style.color.triplet)) > 1
        }  # fmt: skip
        assert colours == set()


@pytest.mark.parametrize("theme", ["ansi-dark", "ansi-light", "quiet-dark", "quiet-light"])
async def test_without_colour_no_text_has_the_colour_of_its_ground(monkeypatch: pytest.MonkeyPatch, theme: str) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with on_stage(settings=Settings(theme=theme)) as stage:
        await stage.press("exclamation_mark", "escape", "end")
        for strip in stage.strips:
            for line_filter in stage.app.get_line_filters():
                strip = strip.apply_filter(line_filter, stage.screen.background_colors[1])
            for text, style, _ in strip:
                if text.strip() and style is not None and style.color is not None:
                    is_plain = style.color.is_default and style.bgcolor is not None and style.bgcolor.is_default
                    assert is_plain or style.color != style.bgcolor, (theme, text)
                    assert theme.startswith("quiet") or is_plain, (theme, text, style)


async def test_an_empty_no_color_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    async with on_stage() as stage:
        assert not stage.app.no_color
        assert not any(isinstance(item, (Monochrome, NoColor)) for item in stage.app.get_line_filters())


async def test_under_every_theme_the_cursor_is_to_be_seen() -> None:
    async with on_stage() as stage:
        tree = stage.screen.tree_view
        for theme in [*BUILTIN_THEMES, "quiet-light", "quiet-dark"]:
            stage.app.theme = theme
            await stage.rest()
            assert "embed.weight" in stage.text, theme
            cursor, other = ({part.style.bgcolor for part in tree.render_line(y) if part.style} for y in (1, 2))
            assert cursor.isdisjoint(other), theme
            for part in tree.render_line(1):
                assert part.style is not None
                assert part.style.color != part.style.bgcolor, theme


async def test_the_header_names_the_order_that_the_tree_is_in() -> None:
    async with on_stage(MemorySource({"b": ramp(2), "a": ramp(9)})) as stage:
        assert "sorted" not in stage.header
        await stage.press("o", "a")
        await stage.until(lambda: "sorted by absmax" in stage.header, "it says so")
        await stage.press("o", "tab", "M")
        await stage.until(lambda: "sorted by mean, reversed, flat" in stage.header, "and all of it")
        await stage.press("o", "tab", "n")
        await stage.until(lambda: "sorted" not in stage.header, "the natural order needs no word")


async def test_optimizer_states_are_no_parameters() -> None:
    arrays = {"state_dict.w": ramp(10), "optimizer_states.0.exp_avg": ramp(10), "optimizer_states.0.step": ramp(1)}
    async with on_stage(MemorySource(arrays)) as stage:
        assert "10 parameters" in stage.header
        assert "11 in optimizer states" in stage.header


async def test_no_problem_is_said_in_words() -> None:
    async with on_stage(MemorySource({"a": ramp(4), "b": ramp(3)})) as stage:
        await stage.press("S")
        await stage.rest()
        await stage.press("exclamation_mark")
        await stage.until(lambda: "Nothing wrong was found" in stage.text, "the list says so")


async def test_s_twice_finds_nothing_twice() -> None:
    kinds = {f"layers.{place}.w": ramp(8, 8) for place in range(7)} | {"layers.7.w": 1e6 * ramp(8, 8)}
    async with on_stage(MemorySource(kinds)) as stage:
        await stage.press("S")
        await stage.rest()
        pages = stage.screen.pages
        assert pages is not None
        assert pages.report is not None
        before = pages.report.findings
        assert before
        await stage.press("S", "S")
        await stage.rest()
        assert pages.report.findings == before
        assert pages.marks.read_below(None) == len(kinds)


async def test_one_is_no_plural() -> None:
    one = np.ones(1, np.float32)
    async with on_stage(MemorySource({"scale": one})) as stage:
        assert "1 tensor · 1 parameter · 4 B" in stage.header
    async with on_stage(MemorySource({"a.x": one, "a.y": one[:0], "b.x": one})) as stage:
        await stage.go("a")
        assert "2 tensors · 1 element ·" in stage.facts
        for words in (stage.header, stage.text, stage.facts):
            assert not any(wrong in words for wrong in (" 1 tensors", " 1 parameters", " 1 elements"))
