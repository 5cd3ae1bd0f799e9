from __future__ import annotations

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_numbers import READABLE, pack_codes, part_of, quantile, reference, special_codes
from tui_params.core.dtypes import DType, from_torch, numpy_dtype, unknown
from tui_params.core.figures import QUANTILES, SPARK_BINS, Figures
from tui_params.core.kernels.engine import Engine
from tui_params.core.numbers import summary as summary_module
from tui_params.core.numbers.order_statistics import MAX_FLOAT
from tui_params.core.numbers.summary import EXACT_LIMIT, Accumulator, Summary
from tui_params.errors import ReadError


def dtype_named(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype


def codes_of(dtype: DType, max_size: int = 60) -> st.SearchStrategy[list[int]]:
    part = part_of(dtype)
    code = st.one_of(st.sampled_from(special_codes(part)), st.integers(0, (1 << part.bits) - 1))
    lists = st.lists(code, max_size=max_size)
    return lists.map(lambda codes: codes[: len(codes) // 2 * 2]) if dtype.is_complex else lists


def summary_of(codes: list[int], dtype: DType, engine: Engine) -> Summary:
    return Summary.of(
        pack_codes(codes, part_of(dtype).bits),
        dtype,
        len(codes) // (2 if dtype.is_complex else 1),
        kernels=engine.current,
    )


def is_rounded_root(found: float | None, squared: Fraction) -> bool:
    """Whether ``found`` is the float next to the root of ``squared``, or None where that is too large for one."""
    if found is None:
        return squared > Fraction(MAX_FLOAT) ** 2
    below = (Fraction(found) + Fraction(max(math.nextafter(found, -math.inf), 0.0))) / 2
    above = Fraction(found) + (Fraction(math.ulp(found)) / 2)
    return below * below <= squared <= above * above


def check(figures: Figures, codes: list[int], dtype: DType, *, is_bucketed: bool = False) -> None:
    expected = reference(codes, dtype)
    for field in ("count", "finite", "nan", "pos_inf", "neg_inf", "zeros", "subnormals", "mean", "at_max", "below_max"):
        assert getattr(figures, field) == expected[field], field
    for field in ("min", "max", "abs_max"):
        found = getattr(figures, field)
        assert (None if found is None else Fraction(found)) == expected[field], field
        assert isinstance(found, float if part_of(dtype).kind == "float" else int) or found is None
        assert found != 0 or math.copysign(1, found) == 1
    for field, squared in expected.get("squared", {}).items():
        assert is_rounded_root(getattr(figures, field), squared), field
    if not expected["finite"]:
        assert figures.quantiles == figures.spark == ()
        assert figures.std is figures.l2_norm is figures.rms is figures.spark_low is None
        return
    finite = expected["sorted"]
    exact = [quantile(finite, repr(q)) for q in QUANTILES]
    if figures.quantiles_exact:
        assert figures.quantiles == tuple(map(float, exact))
        assert figures.quantile_error == 0
    else:
        assert figures.quantile_error > 0
        for q, found, true in zip(QUANTILES, figures.quantiles, exact, strict=True):
            rank = math.floor(Fraction(repr(q)) * (len(finite) - 1))
            a, b = finite[rank], finite[min(rank + 1, len(finite) - 1)]
            # Between elements of opposite sign the share is of the larger magnitude, as it was estimated.
            scale = abs(Fraction(found)) if a * b > 0 else 2 * max(abs(a), abs(b)) + 2 * abs(Fraction(found))
            # Among subnormals what was found is itself rounded by much, and the error is a share of that.
            error = Fraction(figures.quantile_error)
            assert abs(Fraction(found) - true) <= error * scale + (1 + error) * Fraction(math.ulp(found))
    assert len(figures.spark) == SPARK_BINS
    assert figures.spark_low is not None
    assert figures.spark_high is not None
    inside = [x for x in finite if figures.spark_low <= x <= figures.spark_high]
    assert sum(figures.spark) == len(inside) or is_bucketed


@pytest.mark.parametrize("dtype", READABLE, ids=str)
@given(data=st.data())
@settings(max_examples=15)
def test_figures_are_those_of_the_definition(engine: Engine, dtype: DType, data: st.DataObject) -> None:
    codes = data.draw(codes_of(dtype))
    figures = summary_of(codes, dtype, engine).figures(len(codes) // (2 if dtype.is_complex else 1))
    assert figures.is_exact
    assert figures.quantiles_exact
    check(figures, codes, dtype)


@pytest.mark.parametrize("dtype", READABLE, ids=str)
def test_every_special_pattern_at_once(engine: Engine, dtype: DType) -> None:
    part = part_of(dtype)
    codes = special_codes(part) * 2 if part.bits > 8 else list(range(1 << part.bits)) * 2
    check(summary_of(codes, dtype, engine).figures(len(codes) // (2 if dtype.is_complex else 1)), codes, dtype)


@pytest.mark.parametrize("dtype", [d for d in READABLE if part_of(d).bits > 16], ids=str)
@given(data=st.data())
@settings(max_examples=15)
def test_bucketed_figures_are_exact_but_for_the_quantiles(engine: Engine, dtype: DType, data: st.DataObject) -> None:
    codes = data.draw(codes_of(dtype))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary_module, "EXACT_LIMIT", 0)
        figures = summary_of(codes, dtype, engine).figures(len(codes) // (2 if dtype.is_complex else 1))
    check(figures, codes, dtype, is_bucketed=True)


LIMITS = [EXACT_LIMIT, 12]
"""The true limit of exact tables, and one that short lists cross."""


@pytest.mark.parametrize("dtype", READABLE, ids=str)
@given(data=st.data())
@settings(max_examples=15)
def test_however_elements_are_cut_and_merged_the_summary_is_the_same(
    engine: Engine, dtype: DType, data: st.DataObject
) -> None:
    codes = data.draw(codes_of(dtype))
    step = 2 if dtype.is_complex else 1
    cuts = sorted(data.draw(st.lists(st.integers(0, len(codes) // step).map(lambda cut: cut * step), max_size=4)))
    chunks = [codes[a:b] for a, b in zip([0, *cuts], [*cuts, len(codes)], strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary_module, "EXACT_LIMIT", data.draw(st.sampled_from(LIMITS)))
        whole = summary_of(codes, dtype, engine)
        parts = [summary_of(chunk, dtype, engine) for chunk in chunks]
        merged = Summary.empty(dtype)
        for part in data.draw(st.permutations(parts)):
            merged = merged.merge(part)
        nested = parts[-1]
        for part in reversed(parts[:-1]):
            nested = part.merge(nested)
        accumulator = Accumulator(dtype, engine.current)
        for chunk in chunks:
            accumulator.add(pack_codes(chunk, part_of(dtype).bits), len(chunk) // step)
        assert whole == merged == nested == accumulator.summary()
        assert whole.merge(Summary.empty(dtype)) == Summary.empty(dtype).merge(whole) == whole
        numel = len(codes) // step
        assert merged.figures(numel) == whole.figures(numel)
    if chunks[0] and len(chunks[0]) < len(codes):
        assert parts[0] != whole


@pytest.mark.parametrize("name", ["float32", "float64", "int64", "uint64", "int32", "complex64"])
def test_large_summaries_merge_to_the_same_bit(engine: Engine, name: str) -> None:
    dtype = dtype_named(name)
    raw = np.random.default_rng(1).integers(0, 256, dtype.nbytes(150_001), np.uint8)
    raw.view(np.uint32)[5000:9000] = 0
    whole = Summary.of(raw, dtype, 150_001, kernels=engine.current)
    a, b, c = (
        Summary.of(raw[dtype.nbytes(start) : dtype.nbytes(stop)], dtype, stop - start, kernels=engine.current)
        for start, stop in ((0, 3), (3, 100_000), (100_000, 150_001))
    )
    assert a.moments is None
    assert whole.moments is not None
    assert a.merge(b).merge(c) == c.merge(a.merge(b)) == a.merge(b.merge(c)) == whole
    assert pickle.loads(pickle.dumps(whole)) == whole
    assert a.merge(b) != whole


def exact_sums(values: list[float]) -> tuple[Fraction, Fraction]:
    """The sums of finite floats and of their squares, in whole multiples of the smallest float."""
    unit = 1 << 1074
    scaled = [numerator * (unit // denominator) for numerator, denominator in map(float.as_integer_ratio, values)]
    return Fraction(sum(scaled), unit), Fraction(sum(number * number for number in scaled), unit * unit)


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-43, 1e-30, 1.0, 1e30])
def test_large_tensors_have_the_moments_of_exact_arithmetic(engine: Engine, name: str, scale: float) -> None:
    dtype = dtype_named(name)
    values = (np.random.default_rng(2).standard_normal(70_000) * scale).astype(dtype.numpy)
    values[::977] = 0
    values[1::997] = -0.0
    values[2], values[3], values[4:9] = np.inf, -np.inf, np.nan
    figures = Summary.of(values.view(np.uint8), dtype, values.size, kernels=engine.current).figures(values.size)
    finite = [x for x in values.tolist() if math.isfinite(x)]
    total, squares = exact_sums(finite)
    assert figures.mean == float(total / len(finite))
    assert is_rounded_root(figures.std, squares / len(finite) - (total / len(finite)) ** 2)
    assert is_rounded_root(figures.l2_norm, squares)
    assert (figures.nan, figures.pos_inf, figures.neg_inf) == (5, 1, 1)
    assert figures.zeros == np.count_nonzero(values == 0)
    assert figures.subnormals == np.count_nonzero(
        (values != 0) & (np.abs(values) < np.finfo(np.dtype(dtype.numpy)).tiny)
    )
    assert (figures.min, figures.max) == (min(finite), max(finite))
    assert figures.is_exact
    assert not figures.quantiles_exact
    true = np.quantile(np.array(finite), QUANTILES)
    bound = figures.quantile_error * np.abs(figures.quantiles) + 1e-12 * scale
    assert (np.abs(np.array(figures.quantiles) - true) <= bound).all()
    if scale > 1e-40:
        assert figures.quantile_error < 2**-7


@pytest.mark.parametrize("name", ["int64", "uint64", "int32", "uint32", "qint32"])
@pytest.mark.parametrize("bits", [8, 18, 19, 34, 35, 54, 64])
def test_large_integer_tensors_are_summed_exactly(engine: Engine, name: str, bits: int) -> None:
    dtype = dtype_named(name)
    info = np.iinfo(dtype.numpy or "")
    limit = (1 << bits) - 1
    values = np.random.default_rng(3).integers(
        max(info.min, -limit), min(info.max, limit), 70_000, dtype.numpy, endpoint=True
    )
    values[:2] = max(info.min, -limit), min(info.max, limit)
    figures = Summary.of(values.view(np.uint8), dtype, values.size, kernels=engine.current).figures(values.size)
    whole = values.tolist()
    total, squares = sum(whole), sum(x * x for x in whole)
    assert figures.mean == float(Fraction(total, 70_000))
    assert is_rounded_root(figures.l2_norm, Fraction(squares))
    assert is_rounded_root(figures.std, Fraction(squares, 70_000) - Fraction(total, 70_000) ** 2)
    assert (figures.min, figures.max) == (min(whole), max(whole))
    whole.sort()
    true = [quantile(whole, repr(q)) for q in QUANTILES]
    if bits <= 8:
        assert figures.quantiles_exact
        assert figures.quantiles == tuple(map(float, true))
    for found, x in zip(figures.quantiles, true, strict=True):
        assert abs(Fraction(found) - x) <= abs(x) / 128 + 1
    histogram = Summary.of(values.view(np.uint8), dtype, values.size, kernels=engine.current).histogram(7)
    assert sum(histogram.counts) == 70_000
    assert histogram.below == histogram.above == 0


def test_integers_at_the_ends_of_64_bits(engine: Engine) -> None:
    for name, ends in (("int64", (-(2**63), 2**63 - 1)), ("uint64", (0, 2**64 - 1))):
        dtype = dtype_named(name)
        for times in (1, 40_000):  # a table of patterns, and buckets
            raw = np.array(list(ends) * times, dtype.numpy).view(np.uint8)
            figures = Summary.of(raw, dtype, 2 * times, kernels=engine.current).figures(2 * times)
            assert (figures.min, figures.max) == ends
            assert figures.abs_max == max(map(abs, ends))
            assert figures.mean == sum(ends) / 2
            assert figures.std == 2.0**63
            assert figures.quantiles[0] == pytest.approx(float(ends[0] + (0 if times > 1 else 2**64 // 1000)))


def test_the_quantiles_are_those_of_numpy(engine: Engine) -> None:
    rng = np.random.default_rng(4)
    for name in ("float32", "bfloat16", "float16", "int8", "float64"):
        dtype = dtype_named(name)
        for size in (1, 2, 999, 40_000):
            values = (rng.standard_normal(size) * 50).astype(numpy_dtype(dtype))
            figures = Summary.of(values.view(np.uint8), dtype, size, kernels=engine.current).figures(size)
            assert figures.quantiles_exact
            expected = np.quantile(values.astype(np.float64), QUANTILES)
            assert figures.quantiles == pytest.approx(expected.tolist(), rel=1e-12, abs=1e-12)


def test_a_layer_norm_of_ones_has_a_mean_of_exactly_one(engine: Engine) -> None:
    for name in ("bfloat16", "float32"):
        dtype = dtype_named(name)
        for numel in (4096, 100_003):
            ones = np.ones(numel, numpy_dtype(dtype))
            figures = Summary.of(ones.view(np.uint8), dtype, numel, kernels=engine.current).figures(numel)
            assert (figures.mean, figures.std, figures.rms, figures.min, figures.max) == (1.0, 0.0, 1.0, 1.0, 1.0)
            assert figures.quantiles == (1.0,) * len(QUANTILES)
            assert figures.quantiles_exact
            assert figures.spark == (0,) * 8 + (numel,) + (0,) * 7
            assert figures.spark_low == figures.spark_high == 1.0


def test_more_than_2_to_the_24_elements_have_quantiles(engine: Engine) -> None:
    # torch.quantile refuses them; a float32 accumulator stops counting.
    dtype = dtype_named("uint8")
    block = np.repeat(np.arange(256, dtype=np.uint8), 1 << 12)
    accumulator = Accumulator(dtype, engine.current)
    for _ in range(17):
        accumulator.add(block)
    figures = accumulator.summary().figures(17 << 20)
    assert figures.count == 17 << 20
    assert figures.mean == 127.5
    assert figures.quantiles[4] == 127.5
    assert figures.quantiles_exact


def test_counts_beyond_a_billion_stay_exact(engine: Engine) -> None:
    for name, code, value in (("uint16", 0xFFFF, 65535), ("bfloat16", 0x3F80, 1), ("int8", 0x80, -128)):
        dtype = dtype_named(name)
        summary = summary_of([code], dtype, engine)
        for _ in range(36):
            summary = summary.merge(summary)
        summary = summary.merge(summary_of([0], dtype, engine))
        n = 1 << 36
        figures = summary.figures(n + 1)
        assert figures.mean == float(Fraction(value * n, n + 1))
        assert is_rounded_root(figures.l2_norm, Fraction(value) ** 2 * n)
    summary = summary_of([0x3F800001], dtype_named("float32"), engine)
    for _ in range(40):
        summary = summary.merge(summary)
    assert summary.figures(1 << 40).mean == 1 + 2.0**-23


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("float16", 65504), ("bfloat16", 255 * 2.0**120), ("float8_e4m3fn", 448), ("float8_e4m3fnuz", 240),
        ("float8_e5m2", 57344), ("float8_e5m2fnuz", 57344), ("float8_e8m0fnu", 2.0**127), ("float4_e2m1fn", 6),
        ("float6_e2m3fn", 7.5), ("float6_e3m2fn", 28), ("float32", (2 - 2.0**-23) * 2.0**127),
        ("float64", (2 - 2.0**-52) * 2.0**1023),
    ],
)  # fmt: skip
def test_the_largest_finite_values_are_counted_exactly(engine: Engine, name: str, largest: float) -> None:
    dtype = dtype_named(name)
    native = np.dtype(numpy_dtype(dtype))
    for numel in (8, 300_000 if dtype.bits >= 8 else 3000):
        values = np.ones(numel, native)
        sign = 1 if name == "float8_e8m0fnu" else -1
        values[[0, 1, -1]] = np.array([largest, sign * largest, largest], np.float64).astype(native)
        values[3] = np.nan if dtype.bits >= 8 else 1
        codes = values.view(f"u{native.itemsize}")
        values[4:6] = (codes[:1] - 1).view(native)
        raw = codes.view(np.uint8) if dtype.bits >= 8 else pack_codes(codes.tolist(), dtype.bits)
        figures = Summary.of(raw, dtype, numel, kernels=engine.current).figures(numel)
        assert (figures.at_max, figures.abs_max) == (3, largest)
        assert figures.below_max == (2 if dtype.bits <= 16 else None)
        if dtype.bits >= 8:
            half = numel // 16 * 8 * native.itemsize
            a, b = (
                Summary.of(raw[:half], dtype, numel // 16 * 8, kernels=engine.current),
                Summary.of(raw[half:], dtype, numel - numel // 16 * 8, kernels=engine.current),
            )
            assert a.merge(b).figures(numel) == figures


def test_the_largest_values_of_integers_are_not_counted(engine: Engine) -> None:
    for name in ("int8", "uint16", "bool", "int64"):
        dtype = dtype_named(name)
        figures = Summary.of(np.ones(8, numpy_dtype(dtype)).view(np.uint8), dtype, 8, kernels=engine.current).figures(8)
        assert figures.at_max is figures.below_max is None
    figures = Summary.empty(dtype_named("float16")).figures(0)
    assert figures.at_max == figures.below_max == 0


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "complex64"])
def test_nothing_finite(engine: Engine, name: str) -> None:
    dtype = dtype_named(name)
    for size in (4, 80_000):
        values = np.full(size, np.nan, numpy_dtype(part_of(dtype)))
        values[-1] = np.inf
        numel = size // (2 if dtype.is_complex else 1)
        summary = Summary.of(values.view(np.uint8), dtype, numel, kernels=engine.current)
        figures = summary.figures(numel)
        assert (figures.finite, figures.nan, figures.pos_inf) == (0, size - 1, 1)
        assert figures.min is figures.mean is figures.std is None
        assert figures.quantiles == ()
        assert figures.is_exact
        assert summary.histogram(8).counts == ()
        assert summary.histogram(2, -1.0, 1.0).counts == (0, 0)


def test_parts_of_complex_numbers_count_apart(engine: Engine) -> None:
    dtype = dtype_named("complex64")
    values = np.array([3 + 4j, complex(np.nan, -5)], np.complex64)
    figures = Summary.of(values.view(np.uint8), dtype, 2, kernels=engine.current).figures(2)
    assert (figures.parts, figures.count, figures.numel, figures.nan) == (2, 4, 2, 1)
    assert (figures.min, figures.max, figures.abs_max) == (-5.0, 4.0, 5.0)
    assert figures.is_exact


def test_a_part_of_the_elements_is_not_exact(engine: Engine) -> None:
    figures = summary_of([0x3F80] * 10, dtype_named("bfloat16"), engine).figures(11)
    assert figures.is_sampled
    assert not figures.is_exact
    assert not figures.quantiles_exact


def test_norms_beyond_float64_have_no_value(engine: Engine) -> None:
    values = np.full(4, MAX_FLOAT)
    figures = Summary.of(values.view(np.uint8), dtype_named("float64"), 4, kernels=engine.current).figures(4)
    assert figures.l2_norm is None
    assert figures.rms == figures.mean == MAX_FLOAT


def test_odd_counts_of_packed_types_do_not_count_the_padding(engine: Engine) -> None:
    figures = Summary.of(np.array([0xF2], np.uint8), dtype_named("float4_e2m1fn"), 1, kernels=engine.current).figures(1)
    assert (figures.count, figures.min, figures.max) == (1, 1.0, 1.0)


def test_bytes_of_a_bool_that_are_neither_0_nor_1_are_true(engine: Engine) -> None:
    figures = Summary.of(np.array([0, 1, 2, 255], np.uint8), dtype_named("bool"), 4, kernels=engine.current).figures(4)
    assert (figures.mean, figures.zeros, figures.min, figures.max) == (0.75, 1, 0, 1)


def test_what_cannot_be_done_says_so(engine: Engine) -> None:
    with pytest.raises(ReadError, match="float3"):
        Summary.empty(unknown("float3"))
    with pytest.raises(ValueError, match="do not merge"):
        Summary.empty(dtype_named("int8")).merge(Summary.empty(dtype_named("uint8")))
    with pytest.raises(ValueError, match="3 bytes do not hold 2 elements"):
        Summary.of(np.zeros(3, np.uint8), dtype_named("int16"), 2, kernels=engine.current)


@given(
    st.sampled_from(["float32", "float64", "bfloat16", "int32", "uint64", "int64"]),
    st.integers(1, 9),
    st.booleans(),
    st.data(),
)
@settings(max_examples=80)
def test_histograms_count_between_their_edges(
    engine: Engine, name: str, bins: int, is_log_axis: bool, data: st.DataObject
) -> None:
    dtype = dtype_named(name)
    codes = data.draw(codes_of(dtype))
    bound = st.one_of(
        st.none(), st.floats(1e-3, 1e6) if is_log_axis else st.floats(allow_nan=False, allow_infinity=False)
    )
    low, high = data.draw(bound), data.draw(bound)
    if low is not None and high is not None:
        low, high = min(low, high), max(low, high)
    limit = data.draw(st.sampled_from(LIMITS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary_module, "EXACT_LIMIT", limit)
        histogram = summary_of(codes, dtype, engine).histogram(bins, low, high, is_log_axis=is_log_axis)
    finite = reference(codes, dtype)["sorted"]
    values = [abs(x) for x in finite] if is_log_axis else finite
    assert histogram.below + sum(histogram.counts) + histogram.above == len(finite)
    assert min(histogram.counts, default=0) >= 0
    if not histogram.counts:
        assert not any(values)
        return
    assert len(histogram.counts) == bins
    assert list(histogram.edges) == sorted(histogram.edges)
    if low is None and not is_log_axis:
        assert histogram.below == 0
    if high is None:
        assert histogram.above == 0
    if not histogram.is_exact:
        assert part_of(dtype).bits > 16
        assert len(codes) > limit
        return
    edges = [Fraction(edge) for edge in histogram.edges]
    assert histogram.below == sum(x < edges[0] for x in values)
    assert histogram.above == sum(x > edges[-1] for x in values)
    for i, count in enumerate(histogram.counts):
        is_last = i == bins - 1
        assert count == sum(edges[i] <= x < edges[i + 1] or (is_last and x == edges[-1]) for x in values)


def test_a_histogram_of_one_value_surrounds_it(engine: Engine) -> None:
    summary = summary_of([0x4000] * 3, dtype_named("bfloat16"), engine)
    assert summary.histogram(3).edges == pytest.approx((1.0, 5 / 3, 7 / 3, 3.0))
    assert summary.histogram(3).counts == (0, 3, 0)
    assert summary.histogram(2, is_log_axis=True).edges == (1.0, 2.0, 4.0)


def test_a_bucketed_histogram_is_close_and_says_when_it_shares_out(engine: Engine) -> None:
    values = np.random.default_rng(5).standard_normal(200_000).astype(np.float32)
    summary = Summary.of(values.view(np.uint8), dtype_named("float32"), values.size, kernels=engine.current)
    histogram = summary.histogram(40, -1.0, 1.0)
    assert not histogram.is_exact
    true, _ = np.histogram(values, 40, (-1.0, 1.0))
    assert np.abs(np.array(histogram.counts) - true).max() < 120
    assert summary.histogram(2, -8.0, 8.0).is_exact
    assert not summary.histogram(2, -8.0, 8.0, numel=values.size + 1).is_exact


def test_impossible_limits_of_a_histogram_are_refused(engine: Engine) -> None:
    summary = summary_of([0x4000] * 3, dtype_named("bfloat16"), engine)
    for bins, low, high, is_log_axis in ((0, 0.0, 1.0, False), (4, 2.0, 1.0, False), (4, 0.0, 1.0, True)):
        with pytest.raises(ValueError, match="bins fit between"):
            summary.histogram(bins, low, high, is_log_axis=is_log_axis)
    with pytest.raises(ValueError, match="bins fit between"):
        summary.histogram(4, math.nan, 1.0)


def test_a_quantile_between_zero_and_the_smallest_numbers_is_as_uncertain_as_it_says(engine: Engine) -> None:
    codes = [0, 0, 1, 65536, 65536, 65536]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary_module, "EXACT_LIMIT", 0)
        check(
            summary_of(codes, dtype_named("float32"), engine).figures(6),
            codes,
            dtype_named("float32"),
            is_bucketed=True,
        )
