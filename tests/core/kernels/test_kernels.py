from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_kernels import finite_values
from tui_params.core.figures import QUANTILES, SPARK_BINS
from tui_params.core.kernels.by_numpy import NumpyKernels
from tui_params.core.kernels.engine import Engine
from tui_params.core.kernels.limbs import LIMB_SUMS, limb_totals
from tui_params.core.kernels.proof import prove
from tui_params.core.kernels.protocol import (
    DECODED,
    FEW,
    LANES,
    WORDS,
    Few,
    Gap,
    Kernels,
    Moved,
    Sums,
    ordered,
    ordered64,
    unordered,
    unordered64,
)


@pytest.fixture(scope="session")
def compiled(compiled_engine: Engine) -> Kernels:
    return compiled_engine.current()


def words(count: int, seed: int = 0) -> NDArray[np.uint32]:
    found = np.random.default_rng(seed).integers(0, 1 << 32, count, np.uint32)
    found[::7] = 0
    found[1::11] = 0x80000000
    found[2::13] = 0x7F800000
    found[3::17] = 0xFF800000
    found[4::19] &= np.uint32(0x8000FFFF)
    return found


def finite_words(count: int, low: float, high: float) -> NDArray[np.uint32]:
    return np.random.default_rng(1).uniform(low, high, count).astype(np.float32).view(np.uint32)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 1001, 16_384, 16_385, 50_001, 140_000])
@pytest.mark.parametrize(
    "make",
    [
        words,
        lambda count: finite_words(count, -1, 1),
        lambda count: finite_words(count, 1, 2),
        lambda count: finite_words(count, -2, -1),
        lambda count: finite_words(count, 0, 1e-42),
        lambda count: np.full(count, 0x80000000, np.uint32),
        lambda count: np.where(np.arange(count) % 20_000 == 17_000, words(count), finite_words(count, -3, -1)),
        lambda count: np.full(count, 0xFF7FFFFF, np.uint32),
    ],
    ids=["any", "mixed", "positive", "negative", "tiny", "-0", "one odd", "least"],
)
def test_compiled_float32_is_that_of_numpy(
    compiled: Kernels, make: Callable[[int], NDArray[np.uint32]], count: int
) -> None:
    some = make(count)
    both = []
    for each in (NumpyKernels(), compiled):
        packed, squares = np.zeros(WORDS, np.uint64), np.zeros(512, np.uint64)
        found = each.float32(some, packed, squares)
        both.append((found, packed.tolist(), squares.tolist()))
    assert both[0] == both[1]


@pytest.mark.parametrize("mask", [0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFE0000000, 0xFFF0000000000000])
@pytest.mark.parametrize("count", [0, 1, 2, 2047, 2048, 2049, 140_003])
def test_compiled_float64_is_that_of_numpy(compiled: Kernels, count: int, mask: int) -> None:
    pairs = words(2 * count).view(np.uint64)[:count] & np.uint64(mask)
    pairs[::5] &= np.uint64(0x800FFFFFFFFFFFFF)
    pairs[1::7] |= np.uint64(0x7FE0000000000000)
    normal = np.random.default_rng(3).standard_normal(count) + 1e-9
    plain: list[NDArray[Any]] = [
        part.view(np.uint64) & np.uint64(mask) for part in (normal, abs(normal), -abs(normal), normal * 1e-300)
    ]
    for some in (pairs, np.full(count, 0xBFEFFFFFFFFFFFFF, np.uint64), *plain):
        both = []
        for each in (NumpyKernels(), compiled):
            counts, sums = np.zeros(1 << 19, np.int64), np.zeros((4096, LIMB_SUMS), np.int64)
            for part in np.array_split(some, 3):
                found = each.float64(part, counts, sums)
            places = np.flatnonzero(counts)
            finite = [row for row in range(4096) if row & 0x7FF != 0x7FF and sums[row].any()]
            totals = [limb_totals(sums[row].tolist()) for row in finite]
            both.append((found, places.tolist(), counts[places].tolist(), finite, totals))
        assert both[0] == both[1]
        mantissas = [word & (1 << 52) - 1 for word in some.tolist() if word >> 52 & 0x7FF != 0x7FF]
        assert sum(total for total, _ in both[0][4]) == sum(mantissas)
        assert sum(square for _, square in both[0][4]) == sum(mantissa * mantissa for mantissa in mantissas)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 1001, 140_003])
def test_compiled_counts_are_those_of_numpy(compiled: Kernels, count: int) -> None:
    both = []
    for each in (NumpyKernels(), compiled):
        lanes = np.zeros((LANES, WORDS), np.uint32)
        each.count16(words(count).view(np.uint16)[:count], lanes)
        each.count16(np.full(count, 0xFFFF, np.uint16), lanes)
        both.append(lanes.sum(0).tolist())
    assert both[0] == both[1]


@pytest.mark.parametrize("kind", ["<i4", "<u4", "<i8", "<u8"])
@pytest.mark.parametrize("count", [1, 2, 1001, 140_003])
def test_compiled_sums_of_integers_are_those_of_numpy(compiled: Kernels, kind: str, count: int) -> None:
    values = words(2 * count).view(kind)[:count]
    extremes = np.iinfo(kind)
    for some in (values, np.full(count, extremes.min, kind), np.full(count, extremes.max, kind)):
        both = []
        for each in (NumpyKernels(), compiled):
            counts = np.zeros(1 << 19, np.int64)
            both.append((each.integers(some, counts), counts.nonzero()[0].tolist(), counts[counts > 0].tolist()))
        assert both[0] == both[1]
        whole = some.tolist()
        assert both[0][0] == Sums(sum(whole), sum(value * value for value in whole), min(whole), max(whole))


@pytest.mark.parametrize("name_a", DECODED)
@pytest.mark.parametrize("name_b", DECODED)
@pytest.mark.parametrize("count", [1, 1024, 70_003])
def test_compiled_differences_are_those_of_float64(compiled: Kernels, name_a: str, name_b: str, count: int) -> None:
    a, b = finite_values(name_a, count, 0), finite_values(name_b, count, 1)
    with np.errstate(all="ignore"):
        b[:count:3] = a[:count:3].astype(b.dtype)
        b[~np.isfinite(b.astype(np.float64))] = 2
        b[1::17], a[2::34], b[2::17] = 0, 0, -0.0
    raw_a, raw_b = a.view(np.uint8), b.view(np.uint8)
    x, y = a.astype(np.float64), b.astype(np.float64)
    for atol, rtol in ((0.0, 0.0), (1e-3, 1e-2)):
        found = compiled.difference(raw_a, raw_b, (name_a, name_b), count, atol, rtol)
        assert found is not None
        delta = y - x
        changed = abs(delta) > atol + rtol * abs(x)
        assert (found.changed, found.peak) == (changed.sum(), abs(delta).max())
        assert found.first == (changed.argmax() if changed.any() else 0)
        assert found.became_zero == ((x != 0) & (y == 0)).sum()
        sums = [found.aa, found.bb, found.dd, found.total]
        # Not np.dot, whose order of adding up depends on the processor.
        expected = [math.fsum(terms) for terms in (x * x, y * y, delta * delta, abs(delta))]
        np.testing.assert_allclose(sums, expected, rtol=1e-12)
        assert abs(found.ab - math.fsum(x * y)) <= 1e-12 * math.fsum(abs(x * y))
    for place in (0, count // 2, count - 1):
        odd = b.copy()
        odd[place] = np.nan
        assert compiled.difference(raw_a, odd.view(np.uint8), (name_a, name_b), count, 0.0, 0.0) is None
        if name_b != "float8_e4m3fn":
            odd[place] = -np.inf
        assert compiled.difference(raw_a, odd.view(np.uint8), (name_a, name_b), count, 0.0, 0.0) is None


@given(st.integers(1, 100), st.integers(1, 500), st.integers(1, 256), st.sampled_from([-1, 0, 1]))
def test_at_the_very_tolerance_a_compiled_difference_is_rounded_as_numpy_rounds_it(
    compiled: Kernels, hundredths: int, thousandths: int, quarters: int, step: int
) -> None:
    atol, rtol = hundredths / 100, thousandths / 1000
    a = np.full(100, quarters / 4, np.float32)
    limit = atol + rtol * np.abs(a.astype(np.float64))
    b = a.copy()
    b[57] = np.float32(a[57] + limit[57])
    b[57] = np.nextafter(b[57], np.float32(step * 1e9), dtype=np.float32) if step else b[57]
    found = compiled.difference(a.view(np.uint8), b.view(np.uint8), ("float32", "float32"), 100, atol, rtol)
    changed = np.abs(b.astype(np.float64) - a.astype(np.float64)) > limit
    assert found is not None
    assert (found.changed, found.first) == (changed.sum(), 57 if changed.any() else 0)


def test_types_without_a_loop_are_left_to_numpy(compiled: Kernels) -> None:
    raw = np.zeros(16, np.uint8)
    for each in (NumpyKernels(), compiled):
        assert each.difference(raw, raw, ("float64", "float64"), 2, 0.0, 0.0) is None
    assert NumpyKernels().difference(raw, raw, ("float32", "float32"), 4, 0.0, 0.0) is None


def test_read_only_and_unaligned_input_is_taken(engine: Engine) -> None:
    raw = np.frombuffer(bytes(range(256)) * 4 + b"\0", np.uint8)[1:]
    assert not raw.flags.writeable
    lanes = np.zeros((LANES, WORDS), np.uint32)
    engine.current().count16(raw.view("<u2"), lanes)
    assert lanes.sum() == 512
    found = engine.current().float32(raw.view("<u4"), np.zeros(WORDS, np.uint64), np.zeros(512, np.uint64))
    assert unordered(found.high) == raw.copy().view("<f4").max()
    rows = np.zeros(4, np.uint16)
    engine.current().maxima(raw.view("<u2").reshape(4, 128), rows, rows[:0], 0xFFFF, is_doubled=False)
    assert rows.tolist() == raw.copy().view("<u2").reshape(4, 128).max(1).tolist()


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_ordered_words_have_the_order_of_the_floats(values: list[float]) -> None:
    floats = np.array(values, np.float32)
    keys = ordered(floats.view(np.uint32))
    assert [unordered(key) for key in keys.tolist()] == floats.tolist()
    assert np.all(np.diff(floats[np.argsort(keys)]) >= 0)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_ordered_words_have_the_order_of_the_doubles(values: list[float]) -> None:
    floats = np.array(values)
    keys = ordered64(floats.view(np.uint64))
    assert [unordered64(key) for key in keys.tolist()] == floats.tolist()
    assert np.all(np.diff(floats[np.argsort(keys)]) >= 0)


class Miscomparing(NumpyKernels):
    def difference(self, *arguments: Any) -> Gap:
        return Gap(0, 0, 0, 0, 0, 0, 0, 0, 0)


class Mismoving(NumpyKernels):
    def moved(self, *arguments: Any) -> Moved:
        return Moved(0, 0, 0, 0, 0, 0, 0, 0, 0, False)


class Misjudging(NumpyKernels):
    def few(self, *arguments: Any) -> Few:
        return Few(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, (), (), 0.0, 0.0, None, None)


class Miscounting(NumpyKernels):
    def count16(self, words: NDArray[np.uint16], lanes: NDArray[np.uint32]) -> None:
        super().count16(words[1:], lanes)


def test_a_loop_that_counts_wrongly_is_found_out(compiled: Kernels) -> None:
    prove(NumpyKernels())
    with pytest.raises(RuntimeError, match="a compiled loop counts wrongly"):
        prove(Miscounting())
    with pytest.raises(RuntimeError, match="a compiled loop compares wrongly"):
        prove(Miscomparing())
    with pytest.raises(RuntimeError, match="a compiled loop finds wrong changes"):
        prove(Mismoving())
    with pytest.raises(RuntimeError, match="a compiled loop finds wrong figures of few elements"):
        prove(Misjudging())


def test_the_scratch_of_a_difference_is_as_large_as_the_loop_takes_it_for() -> None:
    pytest.importorskip("numba")
    from tui_params.core.kernels import compiled, loops_difference, loops_moved

    assert compiled.CHUNK == loops_difference.CHUNK == loops_moved.CHUNK


def test_the_tables_of_few_elements_have_one_layout() -> None:
    pytest.importorskip("numba")
    from tui_params.core.kernels import few, loops_few
    from tui_params.core.numbers import maxima

    assert loops_few.FEW == FEW
    for name in ("LISTED", "BINS", "COUNTS", "REALS", "SIDE", "LIMBS"):
        assert getattr(few, name) == getattr(loops_few, name)
    assert few.SIDE_REALS == 1 + 2 * loops_few.LISTED
    assert (len(QUANTILES), SPARK_BINS, maxima.LISTED) == (loops_few.QUANTILES, loops_few.BINS, loops_few.LISTED)
