"""The curve of a gradient over the steps: what it shows, and where there is none."""

from __future__ import annotations

import math

import pytest

from tui_params.core.course import Course, Point
from tui_params.tui.terminal.glyphs import ASCII, UNICODE, Glyphs
from tui_params.tui.widgets.detail.course_curve import FRAME, can_be_drawn, curve_lines
from tui_params.tui.widgets.detail.course_lines import course_lines


def words(points: list[Point], width: int, rows: int = 4, glyphs: Glyphs = UNICODE) -> list[str]:
    lines = curve_lines(points, width, rows, glyphs)
    assert len(lines) == rows + FRAME
    found = ["".join(part for part, _ in line) for line in lines]
    assert all(len(line) <= width for line in found)
    return found


def test_steps_stand_at_their_places() -> None:
    points = [Point(step, 10.0 ** -abs(step - 60)) for step in (58, 59, 60, 61, 100)]
    found = words(points, 60)
    assert found[0] == "grad L2 1e-40  log axis"
    assert found[1].startswith("     1")
    assert found[-1].split() == ["58", "79", "100"]
    # The steps from 61 to 100 take most of the axis, a falling line.
    assert len(found[4].rstrip()) > 50


@pytest.mark.parametrize("width", [24, 34, 56, 120])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_what_is_not_finite_is_marked(width: int, glyphs: Glyphs) -> None:
    points = [Point(47_000 + step, math.sin(step) ** 2) for step in range(40)]
    points += [Point(47_040, None, "NaN"), Point(47_041, None, "none")]
    found = words(points, width, glyphs=glyphs)
    assert found[0].startswith("grad L2 none")
    assert "!" in found[4]
    assert found[-1].split()[0] == "47,000"
    assert found[-1].split()[-1] == "47,041"
    if glyphs.is_ascii:
        assert "".join(found).isascii()
    title = curve_lines(points[:-1], width, 4, glyphs)[0]
    assert title[1] == ("NaN", "error")


def test_zeros_and_equal_norms_have_an_axis() -> None:
    assert words([Point(step, 0.0) for step in range(1, 5)], 40)[1].strip().startswith("1")
    assert words([Point(step, 2.5) for step in range(1, 5)], 40)[1].strip().startswith("2.5")


def test_when_there_is_one() -> None:
    few = Course((*[Point(step, 1.0) for step in range(3)], Point(3, None, "Inf")))
    enough = Course((*few.norms, Point(4, 1.0)))
    assert not can_be_drawn(None, 100)
    assert not can_be_drawn(few, 100)
    assert not can_be_drawn(enough, 23)
    assert can_be_drawn(enough, 24)
    found = course_lines(enough, 80, UNICODE, curve_lines(enough.norms, 80, 4, UNICODE))
    assert ["".join(part for part, _ in line) for line in found][-1] == "steps 0 to 4"
    assert not any("grad L2 \u2588" in part for line in found for part, _ in line)
