"""The series of a tensor as it is drawn: a cell for each look, the latest at the right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.course import Point, drawn

points = st.lists(
    st.builds(Point, st.integers(1, 9), st.none() | st.floats(0, 1e300), st.sampled_from(["", "NaN", "Inf", "none"])),
    max_size=40,
)


@given(points, st.integers(0, 20), st.booleans())
def test_a_cell_for_each_of_the_last_looks(series: list[Point], width: int, ascii_only: bool) -> None:
    line = drawn(series, width, ascii_only=ascii_only)
    last = series[len(series) - min(width, len(series)) :]
    assert len(line) == len(last)
    assert line.isascii() or not ascii_only
    for cell, point in zip(line, last, strict=True):
        assert (cell in "! ") is (point.value is None)
        assert (cell == "0") is (point.value is not None and point.value == 0)


def test_the_largest_is_the_highest_and_what_is_no_number_stands_out() -> None:
    series = [Point(1, 0.0), Point(2, 1.0), Point(3, 8.0), Point(4, None, "NaN"), Point(5, None, "none"), Point(6, 4.0)]
    assert drawn(series, 10) == "0▂█! ▅"
    assert drawn(series, 2) == " █"
    assert drawn([], 5) == ""
