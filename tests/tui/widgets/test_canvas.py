"""Lines, and the cells in which two of them differ."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from tui_params.tui.terminal.line import Line
from tui_params.tui.terminal.themes import INKS
from tui_params.tui.widgets.canvas import LinesView, cut_line, differences, to_ascii

# Those of a heat map and of the bar of the cursor have a background; the others are INKS.
SEEN_ON_BLANKS = ("hit", "tab", "on-spark", "on-accent", "here", "here-error", "cursor", "heat:3")
STYLES = sorted({*INKS, *SEEN_ON_BLANKS})

parts = st.tuples(st.text("ab ▁█·…é重\u0301", max_size=6), st.sampled_from(STYLES))
lines = st.lists(parts, max_size=5)
narrow_lines = st.lists(st.tuples(st.text("ab ▁█·…é", max_size=6), st.sampled_from(STYLES)), max_size=5)

BLANK = (" ", "text")


def cells(line: Line, width: int) -> list[tuple[str, str]]:
    """The line cell by cell, filled up with blanks; a wide character is followed by an empty cell."""
    found: list[tuple[str, str]] = []
    for text, style in line:
        for letter in text:
            size = cell_len(letter)
            if size == 0 and found:
                found[-1] = (found[-1][0] + letter, found[-1][1])
            elif size:
                found.append((letter, style))
                found += [("", style)] * (size - 1)
    return (found + [BLANK] * width)[:width]


def seen(line: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The cells with what cannot be seen left out: the colour of a blank without a line below and not reversed."""
    return [BLANK if letter == " " and style not in SEEN_ON_BLANKS else (letter, style) for letter, style in line]


@settings(max_examples=300)
@given(lines, lines)
def test_painting_the_differences_over_the_old_line_gives_the_new_one(old: Line, new: Line) -> None:
    screen, after = cells(old, 80), cells(new, 80)
    for start, stop in differences(old, new):
        screen[start:stop] = after[start:stop]
    assert seen(screen) == seen(after)


@settings(max_examples=200)
@given(narrow_lines, narrow_lines)
def test_of_narrow_characters_no_run_begins_or_ends_with_what_is_the_same(old: Line, new: Line) -> None:
    before, after = seen(cells(old, 80)), seen(cells(new, 80))
    runs = differences(old, new)
    for start, stop in runs:
        assert before[start] != after[start]
        assert before[stop - 1] != after[stop - 1]
    assert all(stop < start for (_, stop), (start, _) in pairwise(runs))


def test_what_moves_the_cursor_costs_as_much_as_it_does() -> None:
    def of(*parts: str) -> Line:
        return [(part, "number") for part in parts]

    assert differences(of("-0.0123", "  -0.0456"), of("-0.0999", "  -0.0777")) == [(4, 7), (13, 16)]
    assert differences(of("12 4"), of("92 9")) == [(0, 4)]
    assert differences([("12", "positive-1"), ("4", "number")], [("92", "positive-1"), ("9", "number")]) == [
        (0, 1),
        (2, 3),
    ]
    # A long blank is erased, and its colour cannot be seen.
    assert differences([("mean", "dim"), ("     0.1", "number")], []) == [(0, 12)]
    assert differences([("mean    ", "dim")], [("mean", "dim"), ("    ", "number")]) == []
    assert differences([("a  ", "dim")], [("a", "dim"), ("  ", "hit")]) == [(1, 3)]


@given(lines)
def test_a_line_does_not_differ_from_itself(line: Line) -> None:
    assert differences(line, list(line)) == []


@given(st.lists(st.tuples(st.text("ab ▁é重", max_size=6), st.sampled_from(STYLES)), max_size=5), st.integers(0, 20))
def test_a_line_is_cut_to_its_width_in_cells(line: Line, width: int) -> None:
    whole = "".join(text for text, _ in line)
    cut = "".join(text for text, _ in cut_line(line, width))
    assert cell_len(cut) == width
    assert whole.startswith(cut.rstrip())
    if cell_len(whole) <= width:
        assert cut.rstrip() == whole.rstrip()


@given(st.text(max_size=30))
def test_ascii_keeps_its_place(words: str) -> None:
    found = to_ascii(words)
    assert found.isascii()
    assert len(found) == len(words)


class Page(App[None]):
    """A page alone."""

    def compose(self) -> ComposeResult:
        yield LinesView(id="page")


async def test_a_page_that_is_replaced_again_and_again_shows_the_last_one() -> None:
    app = Page()
    pages: list[list[Line]] = [
        [[("one", "text")], [("two", "error")]],
        [[("one", "text")], [("twofold", "error"), (" three", "dim")], [("重み a", "text")]],
        [[("重 み a", "text")]],
        [[], [], [("x" * 200, "text")]],
        [[(f"line {number}", "text")] for number in range(60)],
        [[("e\u0301e", "text")]],
        [],
    ]
    async with app.run_test(size=(30, 8)) as pilot:
        page = app.query_one(LinesView)
        for lines_ in [*pages, *reversed(pages)]:
            page.set_lines(lines_)
            await pilot.pause()
            strips = app.screen._compositor.render_strips(app.size)
            for y, strip in enumerate(strips):
                wanted = "".join(text for text, _ in lines_[y]) if y < len(lines_) else ""
                assert strip.cell_length == 30
                if y < 7:
                    assert strip.text.rstrip() == wanted.rstrip()[: len(strip.text)].rstrip()
                elif len(lines_) > 8:
                    assert strip.text.endswith(f"+{len(lines_) - 8} lines")


async def test_a_page_scrolls_to_its_last_line_and_no_further() -> None:
    app = Page()
    async with app.run_test(size=(30, 8)) as pilot:
        page = app.query_one(LinesView)
        page.set_lines([[(f"line {number}", "text")] for number in range(60)])
        page.scroll_lines(1000)
        await pilot.pause()
        shown = [strip.text.rstrip() for strip in app.screen._compositor.render_strips(app.size)]
        assert shown == [f"line {number}" for number in range(52, 60)]
        page.set_lines([[("short", "text")]])
        await pilot.pause()
        shown = [strip.text.rstrip() for strip in app.screen._compositor.render_strips(app.size)]
        assert shown == ["short", *[""] * 7]


async def test_the_note_of_more_lines_covers_no_part_of_a_number() -> None:
    app = Page()
    async with app.run_test(size=(30, 4)) as pilot:
        page = app.query_one(LinesView)
        for last, shown in (("short 12", "short 12"), ("wide" + " 1234567" * 3, ""), ("12" + " " * 40, "12")):
            page.set_lines([[("a", "text")], [("b", "text")], [("c", "text")], [(last, "text")], [("e", "text")]])
            await pilot.pause()
            line = app.screen._compositor.render_strips(app.size)[3].text
            assert line.startswith(shown.ljust(10))
            assert line.endswith("+1 line" if shown else "+2 lines")


async def test_no_heading_is_left_alone_above_the_note_of_more_lines() -> None:
    app = Page()
    async with app.run_test(size=(30, 6)) as pilot:
        page = app.query_one(LinesView)
        heading: Line = [("Quantiles", "label")]
        rows: list[Line] = [[(f"row {number}", "text")] for number in range(9)]
        wide: Line = [("1234567" * 4, "text")]
        for lines_, shown, following in (
            ([*rows[:5], heading, *rows[5:]], "row 4", 5),
            ([*rows[:4], heading, wide, *rows[4:]], "row 3", 7),
            ([*rows[:4], heading, *rows[4:]], "Quantiles", 4),
        ):
            page.set_lines(lines_, from_top=True)
            await pilot.pause()
            strips = [strip.text.rstrip() for strip in app.screen._compositor.render_strips(app.size)]
            assert [line for line in strips[:5] if line][-1] == shown
            assert strips[5].endswith(f"+{following} lines")
            page.action_scroll_pages(1)
            await pilot.pause()
            strips = [strip.text.rstrip() for strip in app.screen._compositor.render_strips(app.size)]
            assert shown == "Quantiles" or "Quantiles" in strips[:3]
