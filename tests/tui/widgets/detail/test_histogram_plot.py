"""The histogram as lines: it fits, its axes tell the range, and no bin with anything in it looks empty."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tui_params.core.figures import Histogram
from tui_params.tui.terminal.glyphs import ASCII, UNICODE
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.histogram_plot import bins_for, draw


def histogram(counts: list[int], low: float = -1.0, high: float = 1.0) -> Histogram:
    edges = tuple(low + (high - low) * index / len(counts) for index in range(len(counts) + 1))
    return Histogram(edges, tuple(counts), 0, 0, True)


def words(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def plot(counts: list[int], width: int, height: int, **options: bool) -> list[str]:
    glyphs = ASCII if options.get("is_ascii") else UNICODE
    is_log = options.get("is_log_counts", False)
    return words(draw(histogram(counts), width, height, is_log_counts=is_log, glyphs=glyphs))


@pytest.mark.parametrize("width", range(20, 131, 11))
@pytest.mark.parametrize("height", [4, 6, 14])
@pytest.mark.parametrize("is_log_counts", [False, True])
@pytest.mark.parametrize("is_ascii", [False, True])
def test_it_fits(width: int, height: int, is_log_counts: bool, is_ascii: bool) -> None:
    counts = [(index * 7919) % 1000 for index in range(bins_for(width))]
    lines = plot(counts, width, height, is_log_counts=is_log_counts, is_ascii=is_ascii)
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)
    if is_ascii:
        assert all(line.isascii() for line in lines)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 10**12), min_size=40, max_size=40), st.booleans())
def test_every_bin_with_anything_in_it_leaves_a_trace(counts: list[int], is_log_counts: bool) -> None:
    lines = draw(histogram(counts), 47, 10, is_log_counts=is_log_counts, glyphs=UNICODE)
    if not any(counts):
        assert words(lines) == ["no finite values in this range"]
        return
    bars = [line[1][0] for line in lines[:8]]
    for column, count in enumerate(counts):
        assert (bars[-1][column] != " ") is (count > 0)
    highest = counts.index(max(counts))
    assert bars[0][highest] == "█"


def test_the_ends_of_the_axis_are_the_range() -> None:
    lines = words(draw(histogram([1] * 53, -0.25, 12.5), 60, 10, is_log_counts=False, glyphs=UNICODE))
    assert lines[-1].split()[0] == "-0.25"
    assert lines[-1].split()[-1] == "12.5"


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1e-30), (-1e300, 1e300), (1e9, 1e9 + 1), (-5.0, -4.0), (0.0, 2**63), (-1e-300, 5.0)]
)
def test_any_range_has_an_axis(low: float, high: float) -> None:
    lines = words(draw(histogram([3] * 33, low, high), 40, 8, is_log_counts=False, glyphs=UNICODE))
    assert len(lines) == 8
    assert not any("nan" in line.lower() for line in lines)
    assert all(cell_len(line) <= 40 for line in lines)
    assert math.isclose(float(lines[-1].split()[0].replace(",", "")), low, rel_tol=0.01, abs_tol=1e-300)


def test_nothing_finite_is_said_and_not_drawn() -> None:
    assert plot([0] * 30, 40, 8) == ["no finite values in this range"]
    empty = Histogram((), (), 0, 0, True)
    assert words(draw(empty, 40, 8, is_log_counts=False, glyphs=UNICODE)) == ["no finite values in this range"]


def test_a_logarithmic_scale_shows_what_a_linear_one_hides() -> None:
    counts = [10**9] + [10] * 32
    linear, logarithmic = plot(counts, 40, 10), plot(counts, 40, 10, is_log_counts=True)
    assert "".join(logarithmic).count("█") > "".join(linear).count("█")


def test_two_threads_draw_two_plots() -> None:
    wanted = {width: plot([width] * bins_for(width), width, 8) for width in (30, 50)}
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda width: (width, plot([width] * bins_for(width), width, 8)), [30, 50] * 6))
    assert all(lines == wanted[width] for width, lines in found)
