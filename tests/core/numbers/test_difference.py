"""The figures of a difference against the same ones in exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_numbers import READABLE, exact_values, pack_codes, part_of, special_codes
from tui_params.core.dtypes import DType, from_torch
from tui_params.core.kernels.engine import Engine
from tui_params.core.numbers.difference import STEP, Difference, Tally

Codes = list[int]
Value = Fraction | float | None


def codes_of(dtype: DType) -> st.SearchStrategy[int]:
    part = part_of(dtype)
    return st.sampled_from(special_codes(part)) | st.integers(0, (1 << part.bits) - 1)


def values_of(codes: Codes, dtype: DType, parts: int) -> list[Value]:
    """The values of elements, ``parts`` numbers each; a real number has no imaginary part."""
    values = exact_values(codes, part_of(dtype))
    if parts == 2 and not dtype.is_complex:
        return [value for real in values for value in (real, Fraction(0))]
    return values


def tally_of(
    a: Codes,
    dtype_a: DType,
    b: Codes,
    dtype_b: DType,
    start: int = 0,
    *,
    engine: Engine,
    rtol: float = 0.0,
    atol: float = 0.0,
) -> Tally:
    tally = Tally(dtype_a, dtype_b, rtol, atol, engine.current)
    numel = len(a) // (2 if dtype_a.is_complex else 1)
    tally.add(pack_codes(a, part_of(dtype_a).bits), pack_codes(b, part_of(dtype_b).bits), numel, start)
    return tally


def check(found: Difference, a: list[Value], b: list[Value], parts: int, rtol: float = 0, atol: float = 0) -> None:
    """Compare with the definition, in Fractions."""

    def is_changed(x: Value, y: Value) -> bool:
        if x is None or y is None:
            return (x is None) != (y is None)
        if isinstance(x, float) or isinstance(y, float):
            return x != y
        return abs(y - x) > Fraction(atol) + Fraction(rtol) * abs(x)

    changed = [is_changed(x, y) for x, y in zip(a, b, strict=True)]
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if isinstance(x, Fraction) and isinstance(y, Fraction)]
    assert (found.count, found.changed, found.pairs) == (len(a), sum(changed), len(pairs))
    assert found.first == (changed.index(True) // parts if any(changed) else None)
    assert found.became_nan == sum(y is None and x is not None for x, y in zip(a, b, strict=True))
    assert found.was_nan == sum(x is None and y is not None for x, y in zip(a, b, strict=True))
    assert found.became_inf == sum(isinstance(y, float) and not isinstance(x, float) for x, y in zip(a, b, strict=True))
    assert found.was_inf == sum(isinstance(x, float) and not isinstance(y, float) for x, y in zip(a, b, strict=True))
    assert found.became_zero == sum(x != 0 == y for x, y in pairs)
    broken = []
    for x, y in zip(a, b, strict=True):
        is_new_nan, is_new_inf = y is None and x is not None, isinstance(y, float) and not isinstance(x, float)
        broken.append(is_new_nan or is_new_inf)
    assert found.first_broken == (broken.index(True) // parts if any(broken) else None)
    if not pairs:
        assert (found.max_abs, found.mean_abs, found.relative_l2, found.cosine) == (None,) * 4
        return
    distances = [abs(y - x) for x, y in pairs]
    near(found.max_abs, max(distances))
    near(found.mean_abs, sum(distances, Fraction()) / len(pairs))
    aa, bb, ab = (sum(x * x for x, _ in pairs), sum(y * y for _, y in pairs), sum(x * y for x, y in pairs))
    dd = sum(distance * distance for distance in distances)
    if aa:
        near_square(found.relative_l2, dd / aa)
    else:
        assert found.relative_l2 == (None if dd else 0.0)
    if aa and bb:
        assert found.cosine is not None
        assert -1 <= found.cosine <= 1
        # Terms that cancel leave the rounding of the largest of them.
        assert abs(found.cosine - (1 if ab > 0 else -1) * math.sqrt(Fraction(ab * ab, aa * bb))) < 1e-9
    else:
        assert found.cosine is None


def near(found: float | None, exact: Fraction) -> None:
    if exact >= Fraction(1.7976931348623157e308):
        assert found in (None, 1.7976931348623157e308)
    else:
        assert found is not None
        assert abs(Fraction(found) - exact) <= exact / 10**12 + Fraction(5e-324)


def near_square(found: float | None, exact: Fraction) -> None:
    if exact > Fraction(1.79e308) ** 2:
        assert found is None or math.isfinite(found)
    else:
        assert found is not None
        # Among subnormals the root itself is rounded by much.
        unit = Fraction(math.ulp(found))
        assert abs(Fraction(found) ** 2 - exact) <= exact / 10**11 + 2 * Fraction(found) * unit + unit**2


@given(st.data())
@settings(max_examples=150)
def test_all_types_against_all_others_random(engine: Engine, data: st.DataObject) -> None:
    dtype_a = data.draw(st.sampled_from(READABLE))
    dtype_b = data.draw(st.sampled_from(READABLE) | st.just(dtype_a))
    numel = data.draw(st.integers(1, 24))
    a = data.draw(st.lists(codes_of(dtype_a), min_size=numel * 2, max_size=numel * 2))
    b = data.draw(st.lists(codes_of(dtype_b), min_size=numel * 2, max_size=numel * 2))
    if dtype_a == dtype_b:
        for place in data.draw(st.sets(st.integers(0, numel * 2 - 1))):
            b[place] = a[place]
    a, b = a[: numel * (2 if dtype_a.is_complex else 1)], b[: numel * (2 if dtype_b.is_complex else 1)]
    parts = 2 if dtype_a.is_complex or dtype_b.is_complex else 1
    tally = tally_of(a, dtype_a, b, dtype_b, engine=engine)
    check(tally.difference(), values_of(a, dtype_a, parts), values_of(b, dtype_b, parts), parts)


@given(st.data())
@settings(max_examples=60)
def test_tolerances_random(engine: Engine, data: st.DataObject) -> None:
    # Of narrow types |b - a| and the bound are exact in float64, so that the answer is not a matter of rounding.
    names = ("bfloat16", "float16", "int8", "float8_e4m3fn", "uint8")
    dtype_a, dtype_b = [from_torch(data.draw(st.sampled_from(names))) for _ in "ab"]
    assert dtype_a is not None
    assert dtype_b is not None
    rtol, atol = data.draw(st.sampled_from([0.0, 0.5, 0.25])), data.draw(st.sampled_from([0.0, 2.0, 0.125]))
    a = data.draw(st.lists(codes_of(dtype_a), min_size=1, max_size=20))
    b = data.draw(st.lists(codes_of(dtype_b), min_size=len(a), max_size=len(a)))
    found = tally_of(a, dtype_a, b, dtype_b, rtol=rtol, atol=atol, engine=engine).difference()
    x, y = values_of(a, dtype_a, 1), values_of(b, dtype_b, 1)
    big = [place for place, (p, q) in enumerate(zip(x, y, strict=True)) if is_wide_apart(p, q)]
    if not big:
        check(found, x, y, 1, rtol, atol)


def is_wide_apart(x: Value, y: Value) -> bool:
    """Whether the difference of two finite values needs more than the 53 bits of float64."""
    return isinstance(x, Fraction) and isinstance(y, Fraction) and Fraction(float(y - x)) != y - x


@given(st.data())
@settings(max_examples=60)
def test_merging_in_any_order_gives_the_same_random(engine: Engine, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([dtype for dtype in READABLE if not dtype.is_complex and dtype.bits >= 8]))
    a = data.draw(st.lists(codes_of(dtype), min_size=1, max_size=30))
    b = data.draw(st.lists(codes_of(dtype), min_size=len(a), max_size=len(a)))
    cut = data.draw(st.integers(0, len(a)))
    parts = [(0, cut), (cut, len(a))]
    tallies = [
        tally_of(a[start:stop], dtype, b[start:stop], dtype, start, engine=engine)
        for start, stop in parts
        if stop > start
    ]
    found = []
    for order in (tallies, tallies[::-1]):
        whole = Tally(dtype, dtype, kernels=engine.current)
        for tally in order:
            whole.merge(tally)
        found.append(whole.difference())
    assert found[0] == found[1]
    check(found[0], exact_values(a, dtype), exact_values(b, dtype), 1)


@given(st.data())
@settings(max_examples=60)
def test_equal_bytes_count_as_pairs_of_themselves_random(engine: Engine, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(READABLE))
    numel = data.draw(st.integers(1, 20)) * 8
    length = numel * (2 if dtype.is_complex else 1)
    codes = data.draw(st.lists(codes_of(dtype), min_size=length, max_size=length))
    by_bytes = Tally(dtype, dtype, kernels=engine.current)
    by_bytes.add_equal(pack_codes(codes, part_of(dtype).bits), numel)
    found = by_bytes.difference()
    parts = 2 if dtype.is_complex else 1
    check(found, values_of(codes, dtype, parts), values_of(codes, dtype, parts), parts)
    assert found.cosine in (1.0, None)
    assert found.changed == 0


def f64(*values: float) -> Codes:
    codes: Codes = np.array(values).view(np.uint64).tolist()
    return codes


def of(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype


def test_squares_beyond_float64_and_below_it(engine: Engine) -> None:
    big = tally_of(f64(1e200, 2e200), of("float64"), f64(1e200, 3e200), of("float64"), engine=engine).difference()
    assert big.max_abs == pytest.approx(1e200)
    assert big.relative_l2 == pytest.approx(1 / math.sqrt(5))
    for scale in (1e-161, 1e-200):
        tally = tally_of(f64(scale, 2 * scale), of("float64"), f64(scale, 3 * scale), of("float64"), engine=engine)
        small = tally.difference()
        assert small.relative_l2 == pytest.approx(1 / math.sqrt(5), rel=1e-12)
        assert small.cosine == pytest.approx(7 / math.sqrt(50), rel=1e-12)
    apart = tally_of(f64(1.7e308), of("float64"), f64(-1.7e308), of("float64"), engine=engine).difference()
    assert (apart.max_abs, apart.mean_abs, apart.relative_l2, apart.cosine) == (None, None, 2.0, -1.0)


def test_zeros_of_either_sign_and_nan_of_any_bits_are_equal(engine: Engine) -> None:
    a = [0x00000000, 0x80000000, 0x7FC00000, 0x7F800001]
    b = [0x80000000, 0x00000000, 0xFFC12345, 0x7FC00000]
    found = tally_of(a, of("float32"), b, of("float32"), engine=engine).difference()
    assert (found.changed, found.first, found.pairs, found.max_abs) == (0, None, 2, 0.0)


def test_integers_that_float64_cannot_tell_apart(engine: Engine) -> None:
    a, b = [2**53, 2**63 - 1, 2**64 - 1], [2**53 + 1, 2**63 - 2, 1]
    found = tally_of(a, of("int64"), b, of("int64"), engine=engine).difference()
    assert (found.changed, found.max_abs, found.mean_abs) == (3, 2.0, 4 / 3)  # the last: -1 became 1
    unsigned = tally_of(a, of("uint64"), b, of("uint64"), engine=engine).difference()
    assert (unsigned.changed, unsigned.max_abs) == (3, 2.0**64)
    mixed = tally_of([2**63], of("uint64"), [2**63], of("int64"), engine=engine).difference()
    assert (mixed.changed, mixed.max_abs) == (1, 2.0**64)
    floats = tally_of(
        [2**53 + 1, 2**53, 2**64 - 1], of("int64"), f64(2.0**53, 2.0**53, -1.0 - 2**-52), of("float64"), engine=engine
    )
    assert (floats.difference().changed, floats.difference().first, floats.difference().max_abs) == (2, 0, 1.0)


def test_steps_do_not_show(engine: Engine) -> None:
    rng = np.random.default_rng(0)
    numel = 2 * STEP + 5
    a = rng.normal(size=numel).astype(np.float32)
    b = a + (rng.random(numel) < 0.1).astype(np.float32)
    b[: STEP + 3] = a[: STEP + 3]
    b[STEP + 7] = np.nan
    tally = Tally(of("float32"), of("float32"), kernels=engine.current)
    tally.add(a.view(np.uint8), b.view(np.uint8), numel, 0)
    found = tally.difference()
    keep = ~np.isnan(b)
    x, y = a[keep].astype(np.float64), b[keep].astype(np.float64)
    assert found.changed == np.count_nonzero(a != b)
    assert found.first == int(np.flatnonzero(a != b)[0])
    assert (found.became_nan, found.pairs) == (1, numel - 1)
    assert found.max_abs == np.abs(y - x).max()
    assert found.mean_abs == pytest.approx(np.abs(y - x).mean(), rel=1e-13)
    assert found.relative_l2 == pytest.approx(np.linalg.norm(y - x) / np.linalg.norm(x), rel=1e-13)
    assert found.cosine == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), rel=1e-13)


def test_no_elements(engine: Engine) -> None:
    found: Any = Tally(of("float32"), of("bfloat16"), kernels=engine.current).difference()
    assert (found.count, found.pairs, found.max_abs, found.changed_fraction) == (0, 0, None, 0.0)
