"""Distributions along every axis: each bin against a count of all values."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_numbers import READABLE, exact_values, pack_codes, part_of, special_codes
from tui_params.core.dtypes import DType, from_torch
from tui_params.core.numbers.distribution import (
    SCALES,
    Distribution,
    Scale,
    Span,
    distribution_of,
    normal_shares,
)
from tui_params.core.numbers.summary import Summary


def distribution(codes: list[int], dtype: DType) -> Distribution:
    part = part_of(dtype)
    numel = len(codes) // (2 if dtype.is_complex else 1)
    return distribution_of(Summary.of(pack_codes(codes, part.bits), dtype, numel), numel)


def of_float32(values: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Distribution:
    dtype = from_torch("float32")
    assert dtype is not None
    return distribution_of(Summary.of(values.view(np.uint8), dtype, values.size), values.size)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", READABLE, ids=str)
def test_every_bin_of_every_type(dtype: DType, scale: Scale) -> None:
    part = part_of(dtype)
    codes = special_codes(part)
    codes = codes[: len(codes) // 2 * 2]
    found = distribution(codes, dtype)
    values = [value for value in exact_values(codes, part) if isinstance(value, Fraction)]
    sizes = [abs(value) for value in values if value] if scale == "log" else values
    whole = found.whole(scale)
    if whole is None:
        assert not sizes
        return
    for span in (whole, whole.part(0.2, 0.7), whole.part(0.45, 0.55)):
        histogram = found.histogram(span, 13)
        edges = histogram.edges
        assert list(edges) == sorted(edges)
        assert histogram.is_exact
        for place, (low, high) in enumerate(pairwise(edges)):
            expected = sum(low <= value < high or (place == 12 and value == high) for value in sizes)
            assert histogram.counts[place] == expected
        assert histogram.above == sum(value > edges[-1] for value in sizes)
        assert histogram.below == len(values) - sum(histogram.counts) - histogram.above


@given(
    st.sampled_from(SCALES),
    st.floats(-1e300, 1e300),
    st.floats(-1e300, 1e300),
    st.floats(1e-30, 1e30),
    st.integers(1, 200),
)
@settings(max_examples=120)
def test_any_span_has_ascending_edges_and_shares(scale: Scale, a: float, b: float, knee: float, bins: int) -> None:
    low, high = sorted((abs(a), abs(b)) if scale == "log" else (a, b))
    low = max(low, 5e-324) if scale == "log" else low
    if low >= high:
        return
    span = Span(scale, low, high, knee)
    edges = span.edges(bins)
    assert len(edges) == bins + 1
    assert (edges[0], edges[-1]) == (low, high)
    assert all(before <= after for before, after in pairwise(edges))
    assert (span.at(0), span.at(1)) == (low, high)
    for share in (0.25, 0.5, 0.9):
        assert low <= span.at(share) <= high
    narrow = abs(high - low) < 1e-9 * max(abs(low), abs(high))
    assert narrow or math.isclose(span.share(span.at(0.25)), 0.25, abs_tol=1e-3)


def test_zero_separates_the_signs_on_a_symmetric_axis() -> None:
    for bins in (2, 10, 64):
        assert 0.0 in Span("symlog", -3.0, 3.0, 0.1).edges(bins)


def test_what_has_nothing_to_show_has_no_axis() -> None:
    found = of_float32(np.array([np.nan, np.inf], np.float32))
    assert [found.whole(scale) for scale in SCALES] == [None] * 3
    zeros = of_float32(np.zeros(5, np.float32))
    assert zeros.whole("log") is None
    assert zeros.whole("linear") == Span("linear", -0.5, 0.5, 1.0)
    assert zeros.inner("linear") is None
    one = of_float32(np.full(3, 2.5, np.float32))
    for scale in SCALES:
        span = one.whole(scale)
        assert span is not None
        assert sum(one.histogram(span, 9).counts) == 3


def test_buckets_that_are_shared_out_say_so() -> None:
    values = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    found = of_float32(values)
    span = found.whole("linear")
    assert span is not None
    histogram = found.histogram(span.part(0.4, 0.6), 300)
    assert not histogram.is_exact
    counts, _ = np.histogram(values.astype(np.float64), np.array(histogram.edges))
    assert abs(np.array(histogram.counts) - counts).max() < 0.25 * counts.max()


def test_a_sample_is_not_exact() -> None:
    values = np.ones(10, np.float32)
    dtype = from_torch("float32")
    assert dtype is not None
    found = distribution_of(Summary.of(values.view(np.uint8), dtype, 10), 20)
    span = found.whole("linear")
    assert span is not None
    assert not found.histogram(span, 3).is_exact


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (3.0, 0.5), (-2.0, 1e-6)])
@pytest.mark.parametrize("is_magnitude", [False, True])
def test_a_normal_has_the_shares_of_its_density(mean: float, std: float, is_magnitude: bool) -> None:
    low = 0.0 if is_magnitude else mean - 9 * std
    edges = tuple(np.linspace(low, abs(mean) + 9 * std, 400).tolist())
    shares = normal_shares(edges, mean, std, is_magnitude=is_magnitude)
    assert math.isclose(sum(shares), 1.0, abs_tol=1e-12)
    for place in (50, 199, 200, 350):
        a, b = edges[place : place + 2]
        steps = np.linspace(a, b, 2001)

        def density(x: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
            return np.exp(-(((x - mean) / std) ** 2) / 2) / std / math.sqrt(2 * math.pi)

        heights = density(steps) + (density(-steps) if is_magnitude else 0)
        assert math.isclose(shares[place], float(np.trapezoid(heights, steps)), rel_tol=1e-4, abs_tol=1e-15)


def test_the_far_tail_of_a_normal_keeps_its_digits() -> None:
    right = normal_shares((9.0, 10.0), 0.0, 1.0, is_magnitude=False)[0]
    left = normal_shares((-10.0, -9.0), 0.0, 1.0, is_magnitude=False)[0]
    assert right == left == pytest.approx(1.1285884e-19, rel=1e-6)


def test_a_normal_without_width_is_one_bin() -> None:
    assert normal_shares((0.0, 1.0, 2.0, 3.0), 1.5, 0.0, is_magnitude=False) == (0.0, 1.0, 0.0)
