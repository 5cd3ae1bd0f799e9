"""What is written tightly puts the same cells on the screen as what Textual writes itself."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.color import Color
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate
from textual.strip import Strip

from tests.factories_cells import draw, same, updates
from tests.factories_screen import Stage
from tests.scenes import app_of, demo, play
from tui_params.tui.terminal import pens, wire
from tui_params.tui.terminal.pens import PLAIN, Pen, pen_of
from tui_params.tui.terminal.shown import Shown
from tui_params.tui.terminal.wire import TightUpdate, erases_in_colour, tightened


@given(updates(), st.booleans())
def test_the_cells_of_the_spans_are_those_that_textual_writes(update: ChopsUpdate, can_erase: bool) -> None:
    console = Console(color_system="truecolor", force_terminal=True)
    theirs = same(draw(update.render_segments(console)))
    ours = same(draw(tightened(update, Shown(), can_erase=can_erase).render_segments(console)))
    for y, start, stop in update.spans:
        for x in range(start, stop):
            assert ours[x, y] == theirs[x, y]
    assert set(ours) == {(x, y) for y, start, stop in update.spans for x in range(start, stop)}


@given(updates())
def test_the_pen_is_put_down_at_the_end_and_bytes_are_saved(update: ChopsUpdate) -> None:
    console = Console(color_system="truecolor", force_terminal=True)
    written = tightened(update, Shown()).render_segments(console)
    assert len(written) <= len(update.render_segments(console))
    last = list(re.finditer(r"\x1b\[([0-9;]*)m", written))
    assert not last or last[-1][1] == "0" or "\x1b[" not in written


def test_pens_are_read_from_their_parameters() -> None:
    assert pen_of("") == PLAIN
    assert pen_of("1;4;38;2;1;2;3;48;5;17") == (("1", "4"), "38;2;1;2;3", "48;5;17")
    assert pen_of("97;100") == ((), "97", "100")


def test_terminals_that_erase_in_the_colour_of_the_background_are_known() -> None:
    for environ in ({"TERM": "xterm-256color"}, {"TERM": "tmux-256color"}, {"TERM": "screen", "TMUX": "/tmp/x,1,0"}):
        assert erases_in_colour(environ)
    for environ in ({"TERM": "screen-256color"}, {"TERM": "linux"}, {}):
        assert not erases_in_colour(environ)


def test_long_blanks_are_erased_and_pens_used_once() -> None:
    dim, bright = Style(color="red"), Style(color="blue")
    strip = Strip([Segment("a", dim), Segment(" " * 60), Segment("b", bright), Segment("c", dim), Segment(" " * 30)])
    update = ChopsUpdate([{0: strip}, {0: strip}], [(0, 0, 93), (1, 0, 93)], [[93], [93]])
    written = tightened(update, Shown(), can_erase=True).render_segments(
        Console(color_system="truecolor", force_terminal=True)
    )
    assert written.count("\x1b[31m") == written.count("\x1b[34m") == 1
    assert "\x1b[60X" in written
    assert "\x1b[30X" in written
    assert "   " not in written


def test_a_picture_of_thousands_of_colours_is_written_in_as_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    width, height, steps = 120, 40, 0
    change = pens.change

    def counted(old: Pen, new: Pen) -> str:
        nonlocal steps
        steps += 1
        return change(old, new)

    monkeypatch.setattr(wire, "change", counted)
    rows = [
        Strip(
            [
                Segment("▀", Style(color=Color.from_rgb(x, y, 7), bgcolor=Color.from_rgb(y, 3 * x % 256, 90)))
                for x in range(width)
            ]
        )
        for y in range(height)
    ]
    update = ChopsUpdate([{0: row} for row in rows], [(y, 0, width) for y in range(height)], [[width]] * height)
    console = Console(color_system="truecolor", force_terminal=True)
    written = tightened(update, Shown()).render_segments(console)
    assert steps <= 3 * width * height
    assert same(draw(written)) == same(draw(update.render_segments(console)))


def test_the_cursor_takes_the_shortest_way() -> None:
    assert [wire._move((7, 3), to) for to in ((7, 3), (9, 3), (4, 3), (2, 3), (7, 4), (5, 4), (3, 9), (7, 2))] == [
        "", "\x1b[2C", "\b\b\b", "\x1b[5D", "\x1b[B", "\x1b[B\b\b", "\x1b[10;4H", "\x1b[3;8H",
    ]  # fmt: skip


def test_behind_the_last_cell_of_a_line_the_place_of_the_cursor_is_not_known() -> None:
    strip = Strip([Segment("abcdefghij", Style(color="red"))])
    update = ChopsUpdate([{0: strip}, {0: strip}], [(0, 8, 10), (1, 9, 10)], [[10], [10]])
    written = tightened(update, Shown()).render_segments(Console(color_system="truecolor", force_terminal=True))
    assert written == "\x1b[1;9H\x1b[31mij\x1b[2;10Hj\x1b[0m"


async def test_the_app_writes_its_updates_so() -> None:
    seen: list[object] = []
    app = app_of(demo)
    original = type(app).__mro__[1]._display  # type: ignore[attr-defined]

    def watch(self: object, screen: object, renderable: object) -> None:
        seen.append(renderable)
        original(self, screen, renderable)

    type(app).__mro__[1]._display = watch  # type: ignore[attr-defined]
    try:
        async with app.run_test(size=(100, 30)) as pilot:
            await play(Stage(app, pilot))
            seen.clear()
            await play(Stage(app, pilot), "down")
    finally:
        type(app).__mro__[1]._display = original  # type: ignore[attr-defined]
    updates_seen = [renderable for renderable in seen if isinstance(renderable, ChopsUpdate)]
    assert updates_seen
    assert all(isinstance(update, TightUpdate) for update in updates_seen)
