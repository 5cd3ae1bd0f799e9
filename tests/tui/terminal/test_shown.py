"""Only cells that differ are sent, and the terminal never shows others than a full repaint would."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip

from tests.factories_cells import CellTerminal, draw, same, updates
from tests.factories_memory import MemorySource
from tests.factories_screen import on_stage, ramp, small_model
from tui_params.tui.app import ParamsApp
from tui_params.tui.terminal.pens import PLAIN, Pen
from tui_params.tui.terminal.shown import Run, Shown
from tui_params.tui.terminal.wire import placed, tightened

RED: Pen = ((), "31", "")
LINED: Pen = (("4",), "", "")


def parts(shown: Shown, text: str, pen: Pen = PLAIN, *, x: int = 0, can_erase: bool = True) -> list[tuple[int, str]]:
    """Where the parts that are written begin, and their texts."""
    return [(part.x, part.text) for part in shown.take(Run(0, x, text, pen, len(text)), can_erase=can_erase)]


def test_what_is_shown_is_not_written_again() -> None:
    shown = Shown()
    assert parts(shown, "some words") == [(0, "some words")]
    assert parts(shown, "some words") == []
    assert parts(shown, "some birds") == [(5, "bi")]
    assert parts(shown, "some birds", RED) == [(0, "some birds")]
    shown.lose(0, 2, 1)
    assert parts(shown, "some birds", RED) == [(2, "m")]
    shown.forget()
    assert parts(shown, "some birds", RED) == [(0, "some birds")]


def test_equal_cells_are_written_where_a_movement_takes_more_bytes() -> None:
    shown = Shown()
    parts(shown, "a12345b--c123456d")
    assert parts(shown, "A12345B--C123456D") == [(0, "A12345B--C"), (16, "D")]


def test_blanks_look_alike_in_all_colours_but_not_if_they_are_underlined() -> None:
    shown = Shown()
    parts(shown, "   ")
    assert parts(shown, "   ", RED) == []
    assert parts(shown, "   ", LINED) == [(0, "   ")]
    assert parts(shown, "   ") == [(0, "   ")]


def test_a_text_is_erased_as_a_whole_where_the_terminal_can() -> None:
    for can_erase, written in ((True, [(0, " " * 22)]), (False, [(0, " "), (21, " ")])):
        shown = Shown()
        parts(shown, f"a{' ' * 20}b", can_erase=can_erase)
        assert parts(shown, " " * 22, can_erase=can_erase) == written


def test_wide_and_combining_characters_are_always_written() -> None:
    shown = Shown()
    # The last two are two characters in two cells, but not one in each.
    for text, cells in (("層", 2), ("e\u0301", 1), ("層\u0301", 2), ("⌚\u20d0", 2), ("⌚\u2060", 2)):
        run = Run(0, 3, text, PLAIN, cells)
        assert list(shown.take(run, can_erase=True)) == list(shown.take(run, can_erase=True)) == [run]
    assert parts(shown, "ab", x=3) == [(3, "ab")]


@given(st.lists(updates(), min_size=2, max_size=4), st.booleans(), st.booleans())
def test_after_several_updates_the_cells_are_those_of_all(
    several: list[ChopsUpdate], can_erase: bool, returns: bool
) -> None:
    console = Console(color_system="truecolor", force_terminal=True)
    shown, theirs, ours = Shown(), CellTerminal(), CellTerminal(returns=returns)
    for update in several:
        cells = draw(update.render_segments(console))
        spans = [(x, y) for y, start, stop in update.spans for x in range(start, stop)]
        theirs.cells.update({place: cells[place] for place in spans})
        ours.write(tightened(update, shown, can_erase=can_erase).render_segments(console))
        assert same(ours.cells) == same(theirs.cells)


class Watched:
    """A terminal that draws what an app displays; that of a Pilot draws nothing."""

    def __init__(self, app: ParamsApp) -> None:
        self.app, self.terminal, self.sent = app, CellTerminal(), 0
        self.console = Console(color_system="truecolor", force_terminal=True)
        app._display = self._display  # type: ignore[method-assign]

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        ParamsApp._display(self.app, screen, renderable)
        if isinstance(renderable, CompositorUpdate) and not self.app._batch_count:
            if isinstance(renderable, ChopsUpdate):
                renderable = tightened(renderable, self.app._shown, can_erase=True)
            written = renderable.render_segments(self.console)
            self.sent += len(written)
            self.terminal.write(written)

    def is_right(self) -> bool:
        """Whether it shows what a full repaint would draw."""
        strips = self.app.screen._compositor.render_strips()
        whole = "".join(f"\x1b[{y + 1};1H{strip.render(self.console)}" for y, strip in enumerate(strips))
        width, height = self.app.size
        cells = {(x, y): cell for (x, y), cell in self.terminal.cells.items() if x < width and y < height}
        return same(cells) == same(draw(whole))


KEYS = (
    *("down",) * 8, *("up",) * 3, "pagedown", "pageup", "home", "end", "E", "C", "space", "right", "left", "z", "tab",
    "s", "a", "v", "escape", "escape", "escape", "o", "slash", "n", "exclamation_mark", "question_mark", "K", "M", "i",
    "enter", "ctrl+d", "greater_than_sign", "less_than_sign", "vertical_line", "x", "1", "2", "4", "ctrl+l",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
async def test_the_terminal_shows_what_a_full_repaint_would(seed: int) -> None:
    choose = random.Random(seed)
    arrays = small_model() | {"層.層e\u0301.weight": ramp(3, 4), "層.bias": ramp(2)}
    async with on_stage(MemorySource(arrays), size=(80, 24)) as stage:
        watched = Watched(stage.app)
        pressed = ["ctrl+l"]
        for _ in range(40):
            await stage.send(pressed[-1])
            await stage.until(watched.is_right, f"what a full repaint would draw, after {pressed}")
            pressed.append(choose.choice(KEYS))
        await stage.pilot.resize_terminal(100, 30)
        await stage.until(watched.is_right, "what a full repaint would draw, in another size")


@pytest.mark.parametrize(
    "keys", [("ctrl+d", "down"), ("enter", "down"), ("enter", "3", "down", "end"), ("M", "right", "down")]
)
async def test_nothing_of_what_was_there_before_is_left(keys: tuple[str, ...]) -> None:
    async with on_stage(size=(80, 24)) as stage:
        watched = Watched(stage.app)
        for key in ("ctrl+l", "S", *keys):
            await stage.press(key)
        await stage.until(watched.is_right, "what a full repaint would draw")


async def test_a_screen_that_something_else_has_written_to_is_repainted() -> None:
    async with on_stage(size=(80, 24)) as stage:
        watched = Watched(stage.app)
        await stage.press("ctrl+l")
        whole = watched.sent
        assert watched.is_right()
        watched.terminal.write("\x1b[12;5HBroadcast message")
        await stage.press("down", "up")
        assert not watched.is_right()
        await stage.press("ctrl+l")
        assert watched.is_right()
        assert watched.sent > 2 * whole
        stage.screen.tree_view.refresh()
        before = watched.sent
        await stage.rest()
        assert watched.sent - before > 500  # what is on screen is not known after a whole repaint
        stage.screen.tree_view.refresh()
        before = watched.sent
        await stage.rest()
        assert watched.sent == before


async def test_after_a_stay_in_the_shell_everything_is_painted() -> None:
    async with on_stage(size=(80, 24)) as stage:
        watched = Watched(stage.app)
        await stage.press("ctrl+l", "question_mark")
        await stage.until(watched.is_right, "what a full repaint would draw")
        watched.terminal.write("\x1b[12;5Hbash-5.2#")
        assert not watched.is_right()
        stage.app.app_resume_signal.publish(stage.app)
        await stage.until(watched.is_right, "what a full repaint would draw")


class OtherWidths(CellTerminal):
    """A terminal that takes an emoji before U+FE0F for one cell, or for two, whatever Rich thinks."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self._emoji = cells

    def _put(self, letter: str) -> None:
        if letter == "❤":
            self.cells[self._x, self._y] = (letter, self._pen)
            if self._emoji == 2:
                self.cells[self._x + 1, self._y] = ("", self._pen)
            self._x += self._emoji
        elif letter != "\ufe0f":
            super()._put(letter)


@pytest.mark.parametrize("cells", [1, 2])
@pytest.mark.parametrize("can_erase", [True, False])
def test_what_lies_behind_an_emoji_is_right_whatever_cells_it_takes(cells: int, can_erase: bool) -> None:
    console = Console(color_system="truecolor", force_terminal=True)
    shown, terminal = Shown(), OtherWidths(cells)
    dim, bright = Style(color="red"), Style(color="blue")
    rows = (
        [Segment("name 123456", dim), Segment("  78901", bright), Segment("  ok")],
        [Segment("a❤\ufe0fb 12", dim), Segment("       901", bright), Segment("  ok")],
        [Segment("❤\ufe0f", bright), Segment("❤\ufe0f", dim), Segment("  345 x   901", bright), Segment("  ok")],
        [Segment("name 123456", dim), Segment("  78901", bright), Segment("  ok")],
    )
    for row in rows:
        strip = Strip(row)
        length = strip.cell_length
        update = ChopsUpdate([{0: strip}], [(0, 0, length)], [[length]])
        terminal.write(tightened(update, shown, can_erase=can_erase).render_segments(console))
        texts = [terminal.cells.get((x, 0), (" ",))[0] for x in range(length)]
        plain, behind = "".join(segment.text for segment in row), length
        while plain and plain[-1].isascii() and behind:
            behind -= 1
            assert texts[behind] == plain[-1], (row, texts)
            plain = plain[:-1]
        # Nothing of the row before is seen among the cells of the emoji.
        assert all(letter in ("", " ", "❤", "a") for letter in texts[:behind]), (row, texts)


@pytest.mark.parametrize("cells", [1, 2])
def test_a_full_paint_places_what_lies_behind_an_emoji(cells: int) -> None:
    terminal = OtherWidths(cells)
    lines = [
        [Strip([Segment("plain ")]), Strip([Segment("│ 12")])],
        [Strip([Segment("a❤\ufe0f   ")]), Strip([Segment("│ 34")])],
    ]
    update = placed(LayoutUpdate(lines, Region(0, 0, 10, 2)))  # type: ignore[arg-type]
    terminal.write(update.render_segments(Console(color_system="truecolor", force_terminal=True)))
    edge = Strip.join(lines[1][:1]).cell_length
    assert [terminal.cells[edge + place, 1][0] for place in range(4)] == list("│ 34")
    sure = placed(LayoutUpdate(lines[:1], Region(0, 0, 10, 1)))  # type: ignore[arg-type]
    assert sure.render_segments(Console()).count("plain") == 1
