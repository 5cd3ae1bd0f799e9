"""Rasters: each cell against its definition, whatever part of a plane is shown in however many cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.numbers import block_picture
from tui_params.core.numbers.block_picture import BlockPicture
from tui_params.core.numbers.levels import BAD, DEAD, MIDDLE, SPOILT, TOP
from tui_params.core.numbers.raster import Raster, Statistic, facts_in, least_column, least_row, make_raster
from tui_params.core.numbers.region import Region
from tui_params.core.reading import block_reading
from tui_params.core.reading.block_reading import read_block, read_picture, sample_picture
from tui_params.core.window import parse_window, plane


def picture_of(values: NDArray[Any], region: Region | None = None, down: int = 512) -> BlockPicture:
    """The picture of a matrix, or of a region of it, in at most ``down`` blocks each way."""
    source = MemorySource({"x": values})
    region = region or Region(0, 0, *values.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_picture, "MOST_DOWN", down)
        patch.setattr(block_picture, "MOST_BLOCKS", down * down)
        view = plane(parse_window("", values.shape))
        return read_picture(source, source.find("x"), view, region, check=lambda: None)


def matrix(rows: int, columns: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def of_block(block: NDArray[Any], statistic: Statistic) -> float:
    """The statistic by definition, over the finite values."""
    good = block[np.isfinite(block)].astype(np.float64)
    if statistic == "share":
        return float(1 - good.size / block.size)
    if not good.size:
        return 0.0
    if statistic == "max":
        return float(abs(good).max())
    return float(good.mean()) if statistic == "mean" else float(np.sqrt((good * good).mean()))


def check_raster(raster: Raster, values: NDArray[Any]) -> None:
    """Every level is that of the values in its cell, whose bounds are where the raster says that they are."""
    beyond = bad = 0
    for row, line in enumerate(raster.levels):
        top, bottom = raster.row_edges[row : row + 2]
        assert top < bottom
        for column, level in enumerate(line):
            left, right = raster.column_edges[column : column + 2]
            assert left < right
            block = values[top:bottom, left:right]
            value = of_block(block, raster.statistic)
            if not np.isfinite(block).all():
                bad += 1
                assert level == BAD or raster.statistic == "share"
                continue
            beyond += abs(value) > raster.limit * (1 + 1e-6)
            share = min(1.0, abs(value) / raster.limit) if raster.limit else 0.0
            if raster.statistic == "mean":
                assert abs(level - (MIDDLE + np.copysign(share, value) * MIDDLE)) <= 0.51
            elif raster.statistic != "share":
                assert abs(level - share * TOP) <= 0.51
            else:
                assert level == 0
    assert raster.bad == bad
    if raster.statistic != "share":
        assert abs(raster.clipped - beyond) <= 1  # the one that is the limit itself is rounded


@given(st.data())
def test_every_cell_is_what_the_definition_gives(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70))
    values = matrix(rows, columns, data.draw(st.integers(0, 99)))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, values.size - 1))
        values.flat[place] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e30, 0.0]))
    picture = picture_of(values, down=data.draw(st.sampled_from([4, 9, 512])))
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    seen = Region(top, left, data.draw(st.integers(1, rows - top)), data.draw(st.integers(1, columns - left)))
    cells = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    for statistic in ("mean", "rms", "max", "share"):
        raster = make_raster([picture], seen, *cells, statistic)
        assert 1 <= len(raster.levels) <= cells[0]
        assert 1 <= len(raster.levels[0]) <= cells[1]
        assert raster.row_edges[0] <= seen.top < raster.row_edges[-1]
        assert raster.column_edges[0] <= seen.left < raster.column_edges[-1]
        if not raster.is_coarse:
            check_raster(raster, values)
        if raster.values is not None and statistic == "mean":
            shown = values[seen.top : seen.top + seen.height, seen.left : seen.left + seen.width]
            shown = np.where(np.isinf(shown), np.inf, shown)  # an infinity has no sign here
            assert np.array_equal(np.array(raster.values), shown, equal_nan=True)


def test_the_whole_plane_is_shown_without_a_gap() -> None:
    values = matrix(403, 100)
    raster = make_raster([picture_of(values, down=64)], Region(0, 0, 403, 100), 30, 30, "rms")
    assert (raster.row_edges[0], raster.row_edges[-1]) == (0, 403)
    assert (raster.column_edges[0], raster.column_edges[-1]) == (0, 100)
    check_raster(raster, values)


def test_one_nan_among_a_million_is_seen_in_every_statistic() -> None:
    values = np.ones((1000, 1000), np.float32)
    values[357, 642] = np.nan
    picture = picture_of(values)
    for statistic in ("mean", "rms", "max", "share"):
        raster = make_raster([picture], Region(0, 0, 1000, 1000), 1, 1, statistic)
        assert raster.bad == 1
        assert raster.levels[0][0] == BAD or (statistic == "share" and raster.levels[0][0] >= 90)


def test_one_dead_row_among_many_is_seen_at_the_edge() -> None:
    values = matrix(6000, 40)
    values[4321] = 0
    values[:, 7] = 0
    values[100, 3] = np.inf
    picture = picture_of(values)
    raster = make_raster([picture], Region(0, 0, 6000, 40), 60, 10, "mean")
    assert raster.edge_rows is not None
    assert raster.edge_columns is not None
    at = next(number for number, edge in enumerate(raster.row_edges) if edge > 4321) - 1
    assert [number for number, mark in enumerate(raster.edge_rows) if mark == DEAD] == [at]
    assert raster.edge_rows[next(number for number, edge in enumerate(raster.row_edges) if edge > 100) - 1] == SPOILT
    assert [number for number, mark in enumerate(raster.edge_columns) if mark == DEAD] == [1]
    assert raster.edge_columns[0] == SPOILT
    assert least_row(picture, 4300, 4400) == (4321, 0.0)
    assert least_column(picture, 4, 8) == (7, 0.0)
    found = least_row(picture, 0, 4000)
    assert found is not None
    sizes = np.sqrt((values[:4000].astype(np.float64) ** 2).mean(1))
    assert found[0] == np.nanargmin(np.where(np.isfinite(sizes), sizes, np.nan))
    assert found[1] == pytest.approx(np.nanmin(sizes))


def test_a_column_of_outliers_does_not_take_the_scale() -> None:
    values = matrix(400, 800)
    values[:, 123] *= 1000
    for columns in (60, 80, 200):
        raster = make_raster([picture_of(values)], Region(0, 0, 400, 800), 40, columns, "rms")
        assert raster.limit < 3
        assert raster.clipped == 40
        symlog = make_raster([picture_of(values)], Region(0, 0, 400, 800), 40, columns, "rms", is_symlog=True)
        assert symlog.clipped == 0
        levels = sorted({level for line in symlog.levels for level in line})
        assert levels[-1] == TOP
        assert 20 < levels[0] < 150


@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf, 1e-45, 3e38, -1.5])
def test_matrices_of_one_value(fill: float) -> None:
    values = np.full((50, 30), fill, np.float32)
    for statistic in ("mean", "rms", "max", "share"):
        for is_symlog in (False, True):
            picture = picture_of(values)
            raster = make_raster([picture], Region(0, 0, 50, 30), 10, 10, statistic, is_symlog=is_symlog)
            found = {level for line in raster.levels for level in line}
            assert len(found) == 1
            level = found.pop()
            if not np.isfinite(fill):
                assert level == (TOP if statistic == "share" else BAD)
            elif fill == 0 or statistic == "share":
                assert level == (MIDDLE if statistic == "mean" else 0)
            else:
                assert level == (0 if fill < 0 and statistic == "mean" else TOP)


def test_a_finer_picture_of_a_part_is_preferred_where_it_is_needed() -> None:
    values = matrix(400, 400)
    rough = picture_of(values, down=20)
    region = Region(100, 100, 50, 50)
    near = picture_of(values, region)
    seen = Region(110, 120, 20, 20)
    assert make_raster([rough], seen, 20, 20, "mean").is_coarse
    raster = make_raster([rough, near], seen, 20, 20, "mean")
    assert not raster.is_coarse
    check_raster(raster, values)
    assert raster.values is not None
    assert raster.values[3][4] == values[113, 124]
    # Of the edge, whole rows count: they are known from the whole plane alone.
    assert raster.edge_rows is not None
    whole = make_raster([rough, near], Region(0, 0, 400, 400), 10, 10, "mean")
    assert not whole.is_coarse
    check_raster(whole, values)


def test_facts_of_a_block() -> None:
    values = matrix(40, 60)
    values[3, 4], values[5, 6], values[7, 8] = np.nan, np.inf, -np.inf
    source = MemorySource({"x": values})
    view = plane(parse_window("", values.shape))
    block = Region(2, 3, 10, 20)
    exact = read_block(source, source.find("x"), view, block)
    part = values[2:12, 3:23].astype(np.float64)
    good = part[np.isfinite(part)]
    assert (exact.count, exact.nan, exact.inf) == (200, 1, 2)
    assert (exact.low, exact.high, exact.peak) == (good.min(), good.max(), abs(good).max())
    assert exact.mean == pytest.approx(good.mean(), rel=1e-12)
    assert exact.rms == pytest.approx(np.sqrt((good * good).mean()), rel=1e-12)
    known = facts_in(picture_of(values), block)
    assert (known.region, known.count, known.nan, known.inf, known.peak) == (block, 200, 1, 2, exact.peak)
    assert known.mean == pytest.approx(good.mean(), rel=1e-6)
    assert known.low is None
    rough = facts_in(picture_of(values, down=4), block)
    assert rough.region == Region(0, 0, 20, 30)  # the blocks of which something is known
    nothing = read_block(source, source.find("x"), view, Region(3, 4, 1, 1))
    assert (nothing.count, nothing.nan, nothing.mean, nothing.low) == (1, 1, None, None)


@pytest.mark.parametrize("size", [1e300, 1e-300, 1e-310])
def test_the_mean_of_a_block_neither_overflows_nor_vanishes(size: float) -> None:
    source = MemorySource({"x": np.array([[size, size / 2], [-size, size]])})
    view = plane(parse_window("", (2, 2)))
    facts = read_block(source, source.find("x"), view, Region(0, 0, 2, 2))
    assert facts.mean == pytest.approx(size * 0.375, rel=1e-9)
    assert facts.rms == pytest.approx(size * np.sqrt(3.25 / 4), rel=1e-9)


def test_a_row_whose_squares_vanish_is_not_one_of_zeros() -> None:
    values = np.full((4, 8), 1e-200)
    values[2] = 0
    raster = make_raster([picture_of(values)], Region(0, 0, 4, 8), 4, 8, "mean")
    assert raster.edge_rows is not None
    assert [mark == DEAD for mark in raster.edge_rows] == [False, False, True, False]


def test_a_sample_says_that_it_is_one() -> None:
    values = matrix(300, 300)
    source = MemorySource({"x": values})
    view = plane(parse_window("", values.shape))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_reading, "SAMPLED_BEYOND", 1000)
        patch.setattr(block_reading, "SAMPLED_ROWS", 20)
        picture = sample_picture(source, source.find("x"), view)
    assert picture is not None
    raster = make_raster([picture], Region(0, 0, 300, 300), 10, 10, "rms")
    assert raster.is_sampled
    assert raster.edge_rows is None
    assert len(raster.levels) == 10
    assert facts_in(picture, Region(0, 0, 30, 30)).is_sampled
