"""The help screen: every key and the whole filter language, in one column or two."""

from __future__ import annotations

import pytest

from tests.factories_screen import on_stage
from tui_params.core.query.query import HELP
from tui_params.tui import keys
from tui_params.tui.screens.help import HelpPage, help_lines
from tui_params.tui.terminal.glyphs import ASCII, UNICODE
from tui_params.tui.widgets.canvas import line_width

TABLES = 8
"""The line of the page on which the first table of keys begins, unless it is very narrow."""


def plain(width: int) -> list[str]:
    return ["".join(text for text, _ in line) for line in help_lines(width, UNICODE)]


@pytest.mark.parametrize("width", [40, 51, 69, 95, 96, 97, 106, 140])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_everything_is_told_within_the_width(width: int, glyphs: object) -> None:
    lines = help_lines(width, glyphs)  # type: ignore[arg-type]
    assert max(map(line_width, lines)) <= width
    words = " ".join("".join(text for text, _ in line) for line in lines)
    for _, table in keys.SECTIONS:
        for key in table:
            assert all(shown in words for shown in key.shown.split())
            assert key.tooltip.split()[0] in words
    assert all(term in words for term, _ in HELP)


def test_two_tables_stand_side_by_side_where_there_is_room() -> None:
    assert plain(95)[TABLES].split() == ["Tree"]
    assert plain(96)[TABLES].split() == ["Tree", "Everywhere"]
    assert len(plain(106)) - TABLES < 0.8 * (len(plain(95)) - TABLES)


@pytest.mark.parametrize(("size", "columns"), [((60, 20), 1), ((80, 24), 1), ((110, 36), 2), ((120, 36), 2)])
async def test_columns_by_the_size_of_the_terminal(size: tuple[int, int], columns: int) -> None:
    async with on_stage(size=size) as stage:
        await stage.press("question_mark")
        page = stage.app.screen.query_one(HelpPage).plain().splitlines()
        assert page[0] == "First steps"
        assert ("Everywhere" in page[TABLES]) is (columns == 2)
        assert page[TABLES].startswith("Tree")


@pytest.mark.parametrize("width", [40, 50, 74, 106])
def test_a_tour_of_six_lines_comes_first(width: int) -> None:
    lines = plain(width)
    end = lines.index("")
    assert lines[0] == "First steps"
    assert [line.split("  ")[0].strip() for line in lines[1:end] if line[1] != " "] == [
        "↓ →",
        "/",
        "v",
        "S !",
        "o |",
        "W F",
    ]
    if width >= 50:
        assert end == TABLES - 1 == 7
    changed = ["".join(text for text, _ in line) for line in help_lines(50, UNICODE, {"scan": "f5", "sort": "x,y"})]
    assert changed[4].split()[:2] == ["f5", "!"]
    assert changed[5].split()[:2] == ["x", "|"]


def test_keys_that_the_user_has_given_are_told() -> None:
    lines = help_lines(106, UNICODE, {"search": "f,ctrl+shift+f12,ctrl+alt+delete"})
    words = ["".join(text for text, _ in line) for line in lines]
    assert any("f ctrl+shift+f12 ctrl+alt+delete" in line for line in words)
    assert max(map(line_width, lines)) <= 106
