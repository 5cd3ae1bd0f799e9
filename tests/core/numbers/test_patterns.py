from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_numbers import pack_codes
from tui_params.core.dtypes import DType, from_torch
from tui_params.core.kernels.buckets import FLOAT64_SHIFT, bounds, truncated
from tui_params.core.kernels.engine import Engine
from tui_params.core.kernels.protocol import STEP
from tui_params.core.numbers import patterns
from tui_params.core.numbers.moments import root
from tui_params.core.numbers.patterns import Float32Tally, Float64Tally, NarrowTally, tally


def dtype_named(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype


@pytest.mark.parametrize("bits", [4, 6, 8, 16])
@given(data=st.data())
@settings(max_examples=40)
def test_narrow_patterns_are_counted_whatever_the_number_of_them(
    engine: Engine, bits: int, data: st.DataObject
) -> None:
    counts: Counter[int] = Counter()
    counter = NarrowTally(bits, engine.current)
    for _ in range(data.draw(st.integers(1, 3))):
        codes = data.draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=30))
        raw = pack_codes(codes, bits)
        if len(codes) * bits % 8:
            raw = raw.copy()
            raw[-1] |= 0xFF << len(codes) * bits % 8 & 0xFF  # what pads the last byte is no element
        counter.add(raw, len(codes))
        counts.update(codes)
    found, numbers = counter.table()
    assert dict(zip(found.tolist(), numbers.tolist(), strict=True)) == counts
    assert found.tolist() == sorted(counts)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_sums_are_the_same_however_often_they_are_carried_over(
    engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).standard_normal(20_000).astype(dtype_named(name).numpy)
    values[::31] = 0
    raw = values.view(np.uint8)
    once = tally(dtype_named(name), engine.current)
    once.add(raw, values.size)
    monkeypatch.setattr(patterns, "STEP", 100)
    monkeypatch.setattr(Float32Tally, "_FLUSH", 1000)
    monkeypatch.setattr(Float64Tally, "_FLUSH", 1000)
    often = tally(dtype_named(name), engine.current)
    often.add(raw, values.size)
    assert once.moments() == often.moments()
    for a, b in zip(once.table(), often.table(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_the_largest_mantissas_of_a_whole_step_add_up(engine: Engine, name: str) -> None:
    # Here the float64 sums of a step come closest to 2**53.
    dtype = dtype_named(name)
    value = float(np.nextafter(np.array(2, dtype.numpy), np.array(0, dtype.numpy)))
    for count in (STEP, 9 * STEP + 1):
        counter = tally(dtype, engine.current)
        counter.add(np.full(count, value, dtype.numpy).view(np.uint8), count)
        found = counter.moments()
        assert found is not None
        quantum = 149 if name == "float32" else 1074
        numerator, denominator = value.as_integer_ratio()
        assert found.total == (numerator << quantum) // denominator * count
        assert found.squares == ((numerator << quantum) // denominator) ** 2 * count


def test_large_integers_of_a_whole_step_add_up(engine: Engine) -> None:
    for name, value in (("int64", -(2**63)), ("uint64", 2**64 - 1), ("int64", 2**34), ("int32", -(2**18))):
        counter = tally(dtype_named(name), engine.current)
        counter.add(np.full(STEP, value, dtype_named(name).numpy).view(np.uint8), STEP)
        found = counter.moments()
        assert found is not None
        assert (found.total, found.squares) == (value * STEP, value * value * STEP)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30), st.lists(st.integers(0, 2**64 - 1), max_size=30))
def test_integers_are_truncated_toward_zero(signed: list[int], unsigned: list[int]) -> None:
    for values, kind in ((signed, np.int64), (unsigned, np.uint64)):
        for value, found in zip(values, truncated(np.array(values, kind)).tolist(), strict=True):
            drop = max(0, abs(value).bit_length() - 53)
            assert abs(found) == abs(value) >> drop << drop
            assert found == 0 or (found < 0) == (value < 0)


@given(st.sampled_from(["int64", "uint64", "int32", "uint32"]), st.data())
def test_an_integer_lies_between_the_bounds_of_its_bucket(name: str, data: st.DataObject) -> None:
    dtype = dtype_named(name)
    info = np.iinfo(dtype.numpy or "")
    powers = st.builds(
        lambda sign, bits, step: sign * (1 << bits) + step,
        st.sampled_from([-1, 1]),
        st.integers(0, 64),
        st.integers(-2, 2),
    )
    value = data.draw(st.one_of(st.integers(info.min, info.max), powers).filter(lambda v: info.min <= v <= info.max))
    if value == 0:
        return
    floats = truncated(np.array([value], np.uint64 if name == "uint64" else np.int64))
    low, high = bounds((floats.view(np.uint64) >> FLOAT64_SHIFT).astype(np.uint32), dtype)
    assert low[0] <= value <= high[0]
    assert int(high[0]) - int(low[0]) <= abs(value) / 128
    assert abs(value) >= 256 or low[0] == high[0]


@given(st.sampled_from(["float32", "float64"]), st.integers(0, 2**64 - 1))
def test_a_float_lies_between_the_bounds_of_its_bucket(name: str, pattern: int) -> None:
    dtype = dtype_named(name)
    code = pattern >> 64 - dtype.bits
    value = float(np.array([code], f"u{dtype.bits // 8}").view(np.dtype(dtype.numpy))[0])
    if value == 0 or not np.isfinite(value):
        return
    shift = 16 if name == "float32" else FLOAT64_SHIFT
    low, high = (bound.item() for bound in bounds(np.array([code >> shift], np.uint32), dtype))
    assert low <= value <= high
    assert (low > 0) == (high > 0) == (value > 0)
    if abs(value) >= np.finfo(np.dtype(dtype.numpy)).tiny:
        assert high - low < abs(value) / 128


@given(st.integers(0, 2**200), st.integers(1, 2**200))
def test_a_root_is_rounded_once(numerator: int, denominator: int) -> None:
    found = root(numerator, denominator)
    assert found is not None
    a, b = found.as_integer_ratio()
    ulp_a, ulp_b = float(np.spacing(found)).as_integer_ratio()
    above = (2 * a * ulp_b + ulp_a * b) ** 2 * denominator  # of the midpoint between found and its successor
    assert above >= numerator * (2 * b * ulp_b) ** 2
    c, d = float(np.nextafter(found, 0)).as_integer_ratio()
    below = (a * d + c * b) ** 2 * denominator
    assert below <= numerator * (2 * b * d) ** 2


def test_roots_at_the_ends_of_float64() -> None:
    assert root(0, 7) == 0.0
    assert root(1, 1 << 2148) == 5e-324
    assert root(1 << 2048, 1) is None
    assert root(1 << 2046, 1) == 2.0**1023
