"""Casts: against torch and ml_dtypes on every pattern of 16 bits, and against slow arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.dtypes import from_torch
from tui_params.core.numbers.casts import FLOATS, GROUPED, TARGETS, Cast, CastSums, as_float64, can_cast, preview
from tui_params.core.numbers.summary import Summary
from tui_params.core.reading.casting import cast_values
from tui_params.errors import StoppedError

MLDTYPES: dict[str, Any] = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}


def by_torch(values: NDArray[Any], target: str) -> NDArray[np.float64]:
    """What torch makes of float32 values, or float64 ones."""
    import torch

    found: NDArray[np.float64] = torch.from_numpy(values).to(getattr(torch, target)).double().numpy()
    return found


def by_definition(values: NDArray[np.float64], target: str, width: int) -> NDArray[np.float64]:
    """int8 and int4 one element at a time, in float64."""
    found = np.zeros_like(values)
    size, most = (values.size, 127) if target == "int8" else (GROUPED[target], 7)
    finite = [abs(x) for x in values.tolist() if math.isfinite(x)]
    for row in range(0, values.size, values.size if target == "int8" else width):
        end = values.size if target == "int8" else row + width
        for start in range(row, end, size):
            group = values[start : min(start + size, end)].tolist()
            peak = (
                max(finite, default=0.0) if target == "int8" else max(filter(math.isfinite, map(abs, group)), default=0)
            )
            scale = peak / most
            for place, x in enumerate(group):
                if math.isfinite(x) and scale:
                    found[start + place] = max(-most, min(round(x / scale), most)) * scale
    return found


def agrees(cast: Cast, values: NDArray[np.float64], after: NDArray[np.float64]) -> None:
    """Whether a cast counts what a comparison of the values before and after counts."""
    is_finite = np.isfinite(values)
    before, after = values[is_finite], after[is_finite]
    assert cast.finite == before.size
    assert cast.changed == np.count_nonzero(before != after)
    assert cast.overflowed == np.count_nonzero(np.isinf(after))
    assert cast.flushed == np.count_nonzero((after == 0) & (before != 0))
    if not before.size:
        assert cast.snr is None
    elif not cast.changed:
        assert cast.snr == math.inf
    elif cast.overflowed:
        assert cast.snr == -math.inf
    else:
        signal = sum(Fraction(x) ** 2 for x in before.tolist())
        noise = sum((Fraction(x) - Fraction(y)) ** 2 for x, y in zip(before.tolist(), after.tolist(), strict=True))
        assert cast.snr is not None
        assert math.isclose(cast.snr, 10 * math.log10(signal / noise), rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_every_pattern_of_16_bits_as_torch_and_ml_dtypes_cast_it(name: str, target: str) -> None:
    words = np.arange(1 << 16, dtype=np.uint16)
    dtype = from_torch(name)
    assert dtype is not None
    cast = preview(Summary.of(words.view(np.uint8), dtype, words.size), target)
    with np.errstate(invalid="ignore", over="ignore"):
        values = words.view(MLDTYPES[name]).astype(np.float32)
        other = values.astype(MLDTYPES[target]).astype(np.float64)
        exact = values.astype(np.float64)
    after = by_torch(values, target)
    agrees(cast, exact, after)
    is_finite = np.isfinite(values)
    is_same = (after == other) | (np.isnan(after) & np.isnan(other))
    assert cast.differing == np.count_nonzero(~is_same & is_finite)
    beyond = is_finite & (np.abs(values) > 464) if target == "float8_e4m3fn" else np.zeros(values.shape, np.bool_)
    assert cast.saturated == np.count_nonzero(beyond)
    assert np.isnan(other[beyond]).all()


def mixed(count: int, seed: int = 0) -> NDArray[np.float64]:
    """Values of all sizes and both signs, with what is not finite, zeros, and ties between neighbours."""
    random = np.random.default_rng(seed)
    values = random.normal(size=count) * 10.0 ** random.uniform(-12, 6, count)
    special = [math.nan, math.inf, -math.inf, 0.0, -0.0, 464.0, 464.0001, 448.0, 65504.0, 65519.99, 65520.0, 61439.9,
               61440.0, 2.0**-24, 2.0**-25, 2.0**-10, 2.0**-17, 1e-45, 3e38]  # fmt: skip
    values[: len(special)] = special[:count]
    return values


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("width", [1, 7, 128, 300, 5000])
def test_float32_by_a_pass(target: str, width: int) -> None:
    values = mixed(4200 // width * width + width).astype(np.float32)
    source = MemorySource({"a": values.reshape(-1, width)}, step=1000)
    finite = values[np.isfinite(values)].astype(np.float64)
    peak = float(np.abs(finite).max())
    cast = cast_values(source, source.find("a"), [target], peak)[0]
    exact = values.astype(np.float64)
    agrees(cast, exact, by_torch(values, target) if target in FLOATS else by_definition(exact, target, width))
    assert cast.scale == (peak / 127 if target == "int8" else None)


@pytest.mark.parametrize("target", FLOATS)
def test_float64_is_rounded_twice_as_torch_does_it(target: str) -> None:
    random = np.random.default_rng(1)
    # Just beside the middle of two neighbours: in float32 it is the middle.
    ties = (1 + (2 * random.integers(0, 512, 4000) + 1) / 2048) * (1 + random.choice([1e-12, -1e-12, 0], 4000))
    values = np.concatenate((mixed(4000), ties))
    source = MemorySource({"a": values})
    cast = cast_values(source, source.find("a"), [target], 3e38)[0]
    agrees(cast, values, by_torch(values, target))
    with np.errstate(over="ignore", invalid="ignore"):
        other = values.astype(MLDTYPES[target]).astype(np.float64)
    after = by_torch(values, target)
    assert cast.differing == np.count_nonzero((after != other) & np.isfinite(values))
    assert bool(cast.differing) == (target in ("float16", "float8_e4m3fn"))


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float16", "bfloat16"])
@pytest.mark.parametrize("target", TARGETS)
def test_counts_and_a_pass_tell_the_same(name: str, target: str) -> None:
    native = MLDTYPES[name]
    with np.errstate(over="ignore", invalid="ignore"):
        values = mixed(3000).astype(np.float32).astype(native)
    source = MemorySource({"a": values.reshape(30, 100)})
    exact = as_float64(values)
    peak = float(np.abs(exact[np.isfinite(exact)]).max())
    cast = cast_values(source, source.find("a"), [target], peak)[0]
    if target not in GROUPED:
        known = preview(source.summarize("a"), target)
        assert (known.finite, known.changed, known.flushed) == (cast.finite, cast.changed, cast.flushed)
        assert (known.overflowed, known.saturated) == (cast.overflowed, cast.saturated)
        assert known.snr == pytest.approx(cast.snr, rel=1e-12)
        cast = known
    after = by_torch(exact.astype(np.float32), target) if target in FLOATS else by_definition(exact, target, 100)
    agrees(cast, exact, after)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "values",
    [
        np.zeros(40, np.float32),
        np.full(40, np.nan, np.float32),
        np.array([np.inf, -np.inf], np.float32),
        np.array([1e-45, -1e-45, 0], np.float32),
        np.array([5e-324, -1e-310, 0]),
        np.array([1.7e308, -1e308, 1e-300]),
        np.array(3.5, np.float32),
        np.zeros((0, 4), np.float32),
    ],
    ids=["zeros", "nan", "inf", "subnormal", "subnormal64", "huge64", "0-d", "empty"],
)
def test_the_ends_of_the_range(values: NDArray[Any], target: str) -> None:
    source = MemorySource({"a": values})
    finite = values[np.isfinite(values)].astype(np.float64)
    peak = float(np.abs(finite).max()) if finite.size else 0.0
    cast = cast_values(source, source.find("a"), [target], peak)[0]
    exact = values.reshape(-1).astype(np.float64)
    if target in FLOATS:
        agrees(cast, exact, by_torch(values.reshape(-1), target))
    else:
        assert (cast.finite, cast.overflowed) == (finite.size, 0)
        snr = cast.snr
        assert (snr is None) == (not finite.size)
        # Multiples of the largest value itself are kept, however small or large it is.
        assert not finite.size or snr is None or snr > 10


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=70))
@settings(max_examples=200)
def test_int8_is_never_further_off_than_half_a_step(values: list[float]) -> None:
    array = np.array(values)
    peak = float(np.abs(array).max())
    sums = CastSums("int8", peak)
    sums.add(array)
    cast = sums.cast()
    assert cast.finite == len(values)
    scale = math.ldexp(peak, -math.frexp(peak)[1])
    assert cast.noise <= len(values) * (scale / 254) ** 2 * (1 + 1e-12)
    assert cast.overflowed == cast.saturated == 0


def test_a_pass_can_be_stopped_and_tells_how_far_it_is() -> None:
    source = MemorySource({"a": np.ones((600, 5000), np.float32)}, step=100_000)
    told: list[int] = []
    cast_values(source, source.find("a"), ["int4 / 32"], 1.0, progress=told.append)
    assert told[-1] == 3_000_000
    assert told == sorted(told)
    with pytest.raises(StoppedError):
        cast_values(source, source.find("a"), ["int4 / 32"], 1.0, should_stop=lambda: True)


def test_a_bucket_tells_no_cast() -> None:
    source = MemorySource({"a": np.linspace(0, 1, 70_000, dtype=np.float32), "b": np.arange(3)})
    with pytest.raises(ValueError, match="do not tell"):
        preview(source.summarize("a"), "float16")
    assert can_cast(source.find("a").dtype) is None
    assert can_cast(source.find("b").dtype) == "its values are int64: casts are shown of floating types"
