"""Profiles of rows and columns: against float64 sums of numpy for every type, and marked as ``check`` marks them."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tests.factories_numbers import READABLE, BytesSource, pack_codes, part_of, special_codes
from tui_params.core.channels import FAINT, outlier_limit
from tui_params.core.dtypes import DType
from tui_params.core.numbers import profiles as module
from tui_params.core.numbers.decode import numbers
from tui_params.core.numbers.maxima import maxima_of
from tui_params.core.numbers.profiles import MEASURES, ORDERS, Profile, Profiles, layout_of, ranked
from tui_params.core.reading.profiling import profile
from tui_params.core.reading.tensor_reading import measure
from tui_params.core.source import Source
from tui_params.core.tensor import describe
from tui_params.errors import ReadError, StoppedError


def profiled(source: Source, name: str = "a") -> Profiles:
    return profile(source, source.find(name), 20.0)


def same(profile: Profile | None, groups: NDArray[np.float64]) -> None:
    """Whether a profile has the figures of these rows."""
    assert profile is not None
    assert (profile.count, profile.size) == groups.shape
    is_finite = np.isfinite(groups)
    known = np.where(is_finite, groups, 0.0)
    count = is_finite.sum(1)
    assert profile.abs_max.tolist() == np.abs(known).max(1).tolist()
    assert profile.nan.tolist() == np.isnan(groups).sum(1).tolist()
    assert profile.inf.tolist() == np.isinf(groups).sum(1).tolist()
    assert profile.zeros.tolist() == ((groups == 0).sum(1)).tolist()
    for index, row in enumerate(known):
        if not count[index]:
            assert math.isnan(profile.rms[index])
            continue
        scale = float(np.abs(row).max()) or 1.0
        exact = [x / scale for x in row.tolist()]
        rms = math.sqrt(math.fsum(x * x for x in exact) / count[index]) * scale
        mean = math.fsum(exact) / count[index] * scale
        # Squares of the least float64 numbers have few digits, whatever is done.
        assert math.isclose(profile.rms[index], rms, rel_tol=1e-12, abs_tol=1e-323)
        assert math.isclose(profile.mean[index], mean, rel_tol=1e-10, abs_tol=1e-13 * scale)


@pytest.mark.parametrize("step", [8, 40, 4096])
@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 5), (4, 3, 2, 2), (30, 1), (1, 30)])
@pytest.mark.parametrize("dtype", READABLE, ids=str)
def test_every_type(dtype: DType, shape: tuple[int, ...], step: int) -> None:
    part = part_of(dtype)
    parts = 2 if dtype.is_complex else 1
    some = special_codes(part)
    count = math.prod(shape) * parts
    codes = [some[place * 7 % len(some)] for place in range(count)]
    info = describe("a", shape, dtype)
    source = BytesSource({info: pack_codes(codes, part.bits)}, step=step)
    values = numbers(np.array(codes, f"u{max(1, part.bits // 8)}"), part).astype(np.float64)
    rows, width, group = layout_of(info)
    grid = values.reshape(rows, width // group, group * parts)
    found = profiled(source)
    same(found.rows, grid.reshape(rows, -1))
    same(found.columns, grid.transpose(1, 0, 2).reshape(width // group, -1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8])
@pytest.mark.parametrize("shape", [(40, 33), (3, 16, 20), (12, 9, 3, 3)])
def test_marks_are_those_of_check(dtype: Any, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    array = np.clip(random.normal(size=shape) * 3, -9, 9).astype(dtype)
    array[5 % shape[0]] = 0
    array[:, 7] = 0
    array[2] *= np.array(11 if dtype is np.int8 else 90).astype(dtype)
    source = MemorySource({"a": array}, step=104)
    found, channels = profiled(source), measure(source, source.find("a")).channels
    assert channels is not None
    for side, known in ((channels.rows, found.rows), (channels.columns, found.columns)):
        assert side is not None
        assert known is not None
        assert known.median_abs_max == side.median_abs_max
        assert known.limit == outlier_limit(side.median_abs_max, side.count, 20.0)
        assert known.marked().get("dead", 0) == side.dead
        top = {channel.index for channel in side.largest if known.limit is not None and channel.abs_max > known.limit}
        assert top <= {index for index in range(known.count) if known.line(index).mark == "outlier"}


def test_rows_of_a_table_of_tokens_may_be_faint() -> None:
    array = np.ones((100, 8), np.float32)
    array[3] = FAINT / 2
    array[4] = np.nan
    for name, mark in (("wte.weight", "faint"), ("fc.weight", "")):
        found = profiled(MemorySource({name: array}), name)
        assert found.rows is not None
        assert found.rows.line(3).mark == mark
        assert found.rows.line(4) == module.ChannelLine(4, "nan", 0.0, None, None, 0, 8, 0)


def test_orders() -> None:
    array = np.ones((9, 4))
    array[1] = [0, 0, 0, 0]
    array[4] = 100
    array[6, 2] = np.nan
    array[7] = 2
    rows = profiled(MemorySource({"a": array})).rows
    assert rows is not None
    assert ranked(rows, "rms", "worst").order.tolist() == [6, 1, 4, 7, 0, 2, 3, 5, 8]
    assert ranked(rows, "rms", "largest").order.tolist()[:3] == [4, 7, 0]
    assert ranked(rows, "rms", "smallest").order.tolist()[:2] == [1, 0]
    assert ranked(rows, "nan", "largest").order.tolist()[0] == 6
    for measure_, order in ((a, b) for a in MEASURES for b in ORDERS):
        found = ranked(rows, measure_, order)
        assert [found.rank(index) for index in found.order.tolist()] == list(range(9))
        assert [line.index for line in found.lines(2, 3)] == found.order.tolist()[2:5]
    worst = ranked(rows, "rms", "worst")
    assert (worst.next_marked(0, 1), worst.next_marked(2, 1), worst.next_marked(2, -1)) == (1, None, 1)


def test_a_curve_keeps_the_extremes_of_its_steps() -> None:
    array = np.ones((1000, 2))
    array[617] = 50
    array[3] = np.inf
    rows = profiled(MemorySource({"a": array})).rows
    assert rows is not None
    curve = ranked(rows, "abs_max", "place").curve(10)
    assert curve.highs[6] == 50
    assert (curve.lows[0], curve.highs[0], curve.lows[6]) == (0, 1, 1)
    assert (curve.marks[0], curve.marks[6], curve.marks[1]) == ("nan", "outlier", "")
    assert len(ranked(rows, "abs_max", "place").curve(5000).lows) == 1000


def test_what_is_too_much_is_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHANNELS", 10)
    found = profiled(MemorySource({"a": np.ones((1, 40), np.float32)}))
    assert found.columns is None
    assert found.rows is not None
    assert found.reason == "40 columns are more than are listed (10)"
    found = profiled(MemorySource({"a": np.ones((40, 2), np.float32)}))
    assert found.rows is None
    assert found.reason == "40 rows are more than are listed (10)"
    found = profiled(MemorySource({"a": np.ones((8, 1, 3, 3), np.float32)}))
    assert found.columns is None
    assert found.reason == "there is one input for each output, so there are no columns to compare"


def test_what_has_no_channels_says_so() -> None:
    source = MemorySource({"s": np.array(1.0), "v": np.ones(3), "e": np.ones((0, 3))})
    for name, reason in (("s", "single value"), ("v", "one dimension"), ("e", "no elements")):
        with pytest.raises(ReadError, match=reason):
            profile(source, source.find(name), 20.0)
    assert maxima_of(source.find("e")) is None


def test_it_tells_how_far_it_is_and_can_be_stopped() -> None:
    source = MemorySource({"a": np.ones((64, 2048), np.float32)})
    told: list[int] = []
    profile(source, source.find("a"), 20.0, progress=told.append)
    assert told[-1] == 64 * 2048
    with pytest.raises(StoppedError):
        profile(source, source.find("a"), 20.0, should_stop=lambda: True)
