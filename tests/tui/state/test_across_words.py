"""How a difference is written in a cell: never rounded to what it is not, and within its room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.compare.moved import Change
from tui_params.core.numbers.difference import Difference
from tui_params.tui.state.across_words import across_cell, across_line, bar, cosine_words, module_line, share_cell
from tui_params.tui.state.changes import Below
from tui_params.tui.state.paths import complete
from tui_params.tui.terminal.glyphs import ASCII, UNICODE


def moved(relative: float | None, **others: float) -> Change:
    found = Difference(100, 5, 0, 100, 1.0, 0.1, relative, 0.5, 0, 0, 0, 0)
    return Change("moved", relative=relative, difference=found, **others)  # type: ignore[arg-type]


CHANGES = (
    None, Change("same"), Change("equal"), Change("only_a"), Change("only_b"), Change("shape"), Change("unread"),
    Change("implied"), Change("dtype"), Change("adapted", relative=0.0), Change("adapted", relative=0.5), moved(None),
    moved(1e-300), moved(12345.678), moved(0.001234),
)  # fmt: skip


@given(st.sampled_from(CHANGES), st.integers(6, 24), st.sampled_from((ASCII, UNICODE)))
def test_a_cell_fits_its_room(change: Change | None, room: int, glyphs: object) -> None:
    assert glyphs in (ASCII, UNICODE)
    chosen = ASCII if glyphs is ASCII else UNICODE
    assert len(across_cell(change, room, chosen)[0]) <= room
    line = across_line(change, room, chosen)
    assert sum(len(words) for words, _ in line) == room
    if chosen is ASCII:
        assert all(words.isascii() for words, _ in line) or change is None


@pytest.mark.parametrize(("room", "words"), [(24, "NaN, 1,200 of 1,201"), (12, "+NaN"), (4, "+NaN")])
def test_the_row_of_a_module_says_without_colour_that_nan_are_the_cause(room: int, words: str) -> None:
    below = Below()
    for place in range(1201):
        became_nan = int(place == 7)
        found = Difference(100, 5, 0, 99, 1.0, 0.1, 0.5, 0.5, became_nan, 0, became_nan, 0)
        below.take(f"w{place}", Change("moved", relative=0.5, difference=found) if place else Change("same"))
    line = module_line(below, 1201, room, UNICODE)
    assert "".join(part for part, _ in line).strip().lstrip("━ ") == words
    assert sum(len(part) for part, _ in line) == room


def test_the_bar_is_logarithmic() -> None:
    filled = [len(bar(value, 6, ASCII).strip()) for value in (0.0, 1e-7, 1e-5, 1e-3, 0.1, 1.0, float("inf"))]
    assert filled == [0, 1, 1, 3, 5, 6, 6]
    assert bar(1e-3, 6, UNICODE) == "━━━   "


@pytest.mark.parametrize(("cosine", "words"), [(1.0, "1"), (0.9999999, ">0.9999"), (0.5, "0.50000"), (-1.0, "-1")])
def test_a_cosine_is_1_only_where_nothing_differs(cosine: float, words: str) -> None:
    assert cosine_words(cosine, 8) == words


def test_a_share_says_no_less_than_some_and_no_more_than_not_all() -> None:
    assert share_cell(Change("same"), 7, UNICODE)[0] == "0"
    assert share_cell(moved(0.1), 7, UNICODE)[0] == "5.00 %"
    assert share_cell(Change("only_a"), 7, UNICODE)[0] == "–"


def test_paths_are_completed_as_far_as_they_are_one(tmp_path: object) -> None:
    import os
    from pathlib import Path

    folder = Path(os.fspath(tmp_path))  # type: ignore[call-overload]
    for name in ("step_1.pt", "step_2.pt", ".hidden"):
        (folder / name).touch()
    (folder / "run").mkdir()
    assert complete(f"{folder}/s") == (f"{folder}/step_", ("step_1.pt", "step_2.pt"))
    assert complete(f"{folder}/r") == (f"{folder}/run/", ("run/",))
    assert complete(f"{folder}/")[1] == ("run/", "step_1.pt", "step_2.pt")
    assert complete(f"{folder}/x") == (f"{folder}/x", ())
    assert complete(f"{folder}/none/x") == (f"{folder}/none/x", ())
