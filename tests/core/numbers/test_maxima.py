from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import chain, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_numbers import BytesSource, exact_values, pack_codes, special_codes
from tui_params.core.channels import FAINT, Channel, Channels, Side
from tui_params.core.dtypes import DTYPES, DType, from_torch
from tui_params.core.kernels.engine import Engine
from tui_params.core.numbers import maxima
from tui_params.core.numbers.maxima import LISTED, Maxima, maxima_of
from tui_params.core.reading import tensor_reading as reading
from tui_params.core.reading.tensor_reading import measure
from tui_params.core.tensor import TensorInfo, describe

WITH_CHANNELS = tuple(dtype for dtype in DTYPES if maxima_of(describe("t", (2, 2), dtype)) is not None)


def dtype_named(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype


def side_of(groups: Sequence[Sequence[Fraction | float | None]]) -> Side:
    """A Side by its definition: of each row or column what its elements are (None and infinities: not finite)."""
    found: list[float] = []
    dead: list[int] = []
    for index, group in enumerate(groups):
        found.append(max((abs(float(x)) for x in group if x is not None and not math.isinf(x)), default=0.0))
        if all(x == 0 for x in group):
            dead.append(index)
    ordered = sorted(found)
    order = sorted(range(len(found)), key=lambda index: (-found[index], index))
    median = float((Fraction(ordered[(len(found) - 1) // 2]) + Fraction(ordered[len(found) // 2])) / 2)
    rising = sorted((index for index in range(len(found)) if found[index]), key=lambda index: (found[index], index))
    return Side(
        len(groups),
        len(dead),
        tuple(dead[:LISTED]),
        median,
        tuple(Channel(index, found[index]) for index in order[:LISTED]),
        sum(found[index] < FAINT * median for index in rising),
        tuple(Channel(index, found[index]) for index in rising[:LISTED]),
    )


def channels_of(codes: list[int], shape: tuple[int, ...], dtype: DType) -> Channels:
    values = exact_values(codes, dtype)
    width = int(np.prod(shape[1:])) if len(shape) > 3 else shape[-1]
    rows = [list(values[start : start + width]) for start in range(0, len(values), width)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    if len(shape) > 3:
        group = width // shape[1]
        columns = [list(chain(*columns[start : start + group])) for start in range(0, width, group)]
        if shape[1] == 1:
            return Channels(side_of(rows), None)
    return Channels(side_of(rows), side_of(columns))


def measured(info: TensorInfo, raw: NDArray[np.uint8], step: int = 64, *, engine: Engine) -> Channels | None:
    return measure(BytesSource({info: raw}, step, engine=engine), info).channels


@pytest.mark.parametrize("dtype", WITH_CHANNELS, ids=str)
@given(data=st.data())
@settings(max_examples=12)
def test_rows_and_columns_are_those_of_the_definition_wherever_blocks_end(
    engine: Engine, dtype: DType, data: st.DataObject
) -> None:
    shape = data.draw(
        st.sampled_from([(3, 5), (1, 7), (7, 1), (12, 2), (2, 3, 4), (2, 2, 3, 3), (20, 17), (1, 1, 1, 1, 9)])
    )
    code = st.one_of(st.sampled_from(special_codes(dtype)), st.integers(0, (1 << dtype.bits) - 1), st.just(0))
    numel = int(np.prod(shape))
    codes = data.draw(st.lists(code, min_size=numel, max_size=numel))
    info = describe("t", shape, dtype)
    raw = pack_codes(codes, dtype.bits)
    assert measured(info, raw, data.draw(st.sampled_from([8, 16, 64, 4096])), engine=engine) == channels_of(
        codes, shape, dtype
    )


def test_most_types_have_channels() -> None:
    names = {dtype.name for dtype in WITH_CHANNELS}
    assert {"float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int8", "uint8"} <= names
    assert not {"bool", "complex64", "complex32", "float4_e2m1fn", "float8_e8m0fnu", "float8_e4m3fnuz"} & names


@pytest.mark.parametrize("shape", [(), (6,), (0, 3), (3, 0), (2, 0, 3)])
def test_what_is_no_matrix_has_no_channels(engine: Engine, shape: tuple[int, ...]) -> None:
    info = describe("t", shape, dtype_named("float32"))
    assert measured(info, np.zeros(info.nbytes, np.uint8), engine=engine) is None


def test_a_view_has_no_channels(engine: Engine) -> None:
    info = TensorInfo("t", (4, 4), dtype_named("float32"), 16, 64, stride=(1, 4))
    assert measured(info, np.zeros(64, np.uint8), engine=engine) is None


def test_too_many_channels_are_not_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maxima, "MAX_CHANNELS", 10)
    dtype = dtype_named("float32")
    assert maxima_of(describe("t", (6, 4), dtype), engine.current) is not None
    assert maxima_of(describe("t", (6, 5), dtype), engine.current) is None
    assert maxima_of(describe("t", (6, 5, 9, 9), dtype), engine.current) is not None


def test_a_row_of_nan_is_not_dead_and_does_not_count(engine: Engine) -> None:
    values = np.array([[np.nan, np.inf, -np.inf], [0, -0.0, 0], [np.nan, 0, 0], [1e-45, 0, 0]], np.float32)
    found = measured(describe("t", (4, 3), dtype_named("float32")), values.view(np.uint8).reshape(-1), engine=engine)
    assert found is not None
    assert found.rows.first_dead == (1,)
    assert [channel.abs_max for channel in found.rows.largest] == [np.float32(1e-45), 0, 0, 0]


@pytest.mark.parametrize("name", ["bfloat16", "float32", "int8"])
def test_several_threads_find_the_same(engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "THREADS_BEYOND", 1)
    monkeypatch.setattr(reading, "MIN_RANGE", 1 << 10)
    monkeypatch.setattr(reading, "MAX_RANGE", 1 << 12)
    dtype = dtype_named(name)
    info = describe("t", (333, 457), dtype)
    raw = np.random.default_rng(0).integers(0, 256, info.nbytes, np.uint8)
    raw.reshape(333, -1)[17] = 0
    source = BytesSource({info: raw}, 512, engine=engine)
    one, three = (measure(source, info, threads=threads) for threads in (1, 3))
    assert one.summary == three.summary
    assert one.channels == three.channels
    assert one.channels is not None
    assert one.channels.rows.first_dead == (17,)


def test_maxima_merge_in_any_order(engine: Engine) -> None:
    info = describe("t", (40, 30), dtype_named("float16"))
    raw = np.random.default_rng(1).integers(0, 256, info.nbytes, np.uint8)
    cuts = [0, 8, 296, 304, 1200]
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        whole = maxima_of(info, engine.current)
        assert whole is not None
        for i in order:
            part = maxima_of(info, engine.current)
            assert part is not None
            part.add(raw[2 * cuts[i] : 2 * cuts[i + 1]], cuts[i], cuts[i + 1] - cuts[i])
            whole.merge(part)
        assert whole.channels() == measured(info, raw, engine=engine)


def test_of_equal_channels_the_first_are_listed(engine: Engine) -> None:
    for count, extra in product((5, 100), (0, 3)):
        values = np.ones((count, 2), np.float32)
        values[count - extra :] = 2
        found = measured(
            describe("t", (count, 2), dtype_named("float32")), values.view(np.uint8).reshape(-1), engine=engine
        )
        assert found is not None
        expected = [*range(count - extra, count), *range(count - extra)][:LISTED]
        assert [channel.index for channel in found.rows.largest] == expected


def test_the_least_integer_has_its_magnitude(engine: Engine) -> None:
    maxima = Maxima(dtype_named("int64"), 1, 2, 2, kernels=engine.current)
    maxima.add(np.array([-(2**63), 5], np.int64).view(np.uint8), 0, 2)
    assert maxima.channels().rows.largest == (Channel(0, 2.0**63),)


def test_faint_rows_are_counted_and_the_faintest_listed(engine: Engine) -> None:
    values = np.ones((40, 8), np.float32)
    values[7] = 0.001
    values[3] = 0.0001
    values[9] = 0
    values[20:36] *= 0.02
    found = measured(describe("t", (40, 8), dtype_named("float32")), values.reshape(-1).view(np.uint8), engine=engine)
    assert found is not None
    assert (found.rows.dead, found.rows.faint) == (1, 2)
    assert [channel.index for channel in found.rows.smallest[:3]] == [3, 7, 20]
