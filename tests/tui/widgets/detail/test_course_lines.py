"""Two series on the page of a parameter: what they show, and what they say where there is nothing to show."""

from __future__ import annotations

import pytest

from tui_params.core.course import Course, Point
from tui_params.tui.terminal.glyphs import ASCII, UNICODE, Glyphs
from tui_params.tui.widgets.detail.course_lines import course_lines


def words(course: Course | None, width: int = 80, glyphs: Glyphs = UNICODE) -> list[str]:
    lines = course_lines(course, width, glyphs)
    assert all(len("".join(part for part, _ in line)) <= width for line in lines)
    return ["".join(part for part, _ in line) for line in lines]


def series(*steps: int) -> tuple[Point, ...]:
    return tuple(Point(step, float(step)) for step in steps)


def test_nothing_and_why() -> None:
    assert words(None) == []
    assert words(Course()) == []
    assert words(Course(reason="it lies on a device")) == ["not followed step by step: it lies on a device"]


def test_both_series_with_their_last_values() -> None:
    found = words(Course(series(1, 2, 4, 8), series(8, 8, 8, 8)), 100)
    assert found[:2] == ["grad L2 ▂▃▅█ 8", "update  ████ 8"]
    assert found[2] == "steps 1 to 8, 4 of 8 seen; update: ‖change‖ / ‖before‖"
    assert words(Course(series(1, 2)))[-1] == "steps 1 to 2"


def test_what_is_not_finite_and_what_is_scaled() -> None:
    course = Course((Point(1, 2.0, is_scaled=True), Point(2, None, "NaN", is_scaled=True)))
    assert words(course) == ["grad L2 █! NaN", "steps 1 to 2; some gradients still scaled"]
    assert course_lines(course, 80, UNICODE)[0][-1] == ("NaN", "error")


@pytest.mark.parametrize("width", [20, 30, 44, 120])
def test_it_fits(width: int) -> None:
    course = Course(series(*range(1, 100)), series(*range(1, 100)))
    assert words(course, width)[0].startswith("grad L2 ")
    assert all(line.isascii() for line in words(course, width, ASCII)[:2])
