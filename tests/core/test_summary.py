from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.factories_numbers import READABLE, pack_codes, part_of, quantile, reference, special_codes

from tui_params.core import summary as summary_module
from tui_params.core.dtypes import DType, from_torch, unknown
from tui_params.core.figures import QUANTILES, SPARK_BINS, Figures
from tui_params.core.summary import Accumulator, Summary
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


def summary_of(codes: list[int], dtype: DType) -> Summary:
    return Summary.of(pack_codes(codes, part_of(dtype).bits), dtype, len(codes) // (2 if dtype.is_complex else 1))


def is_rounded_root(found: float | None, squared: Fraction) -> bool:
    """Whether ``found`` is the float next to the root of ``squared``, or None where there is none."""
    if found is None:
        return squared > Fraction(1.7976931348623157e308) ** 2
    exact = Fraction(found)
    below, above = (exact + Fraction(math.nextafter(found, to))) / 2 if False else None, None
    below = (exact + Fraction(max(math.nextafter(found, -math.inf), 0.0))) / 2
    next_up = math.nextafter(found, math.inf)
    above = None if math.isinf(next_up) else (exact + Fraction(next_up)) / 2
    return below * below <= squared and (above is None or squared <= above * above)


def check(figures: Figures, codes: list[int], dtype: DType) -> None:
    expected = reference(codes, dtype)
    for field in ("count", "finite", "nan", "pos_inf", "neg_inf", "zeros", "subnormals", "mean"):
        assert getattr(figures, field) == expected[field], field
    for field in ("min", "max", "abs_max"):
        found = getattr(figures, field)
        assert (None if found is None else Fraction(found)) == expected[field], field
        assert found is None or math.copysign(1, found) == 1 or found < 0
    for field, squared in expected.get("squared", {}).items():
        assert is_rounded_root(getattr(figures, field), squared), field
    if not expected["finite"]:
        assert figures.quantiles == figures.spark == ()
        assert figures.std is figures.l2_norm is figures.rms is None
        return
    exact = [quantile(expected["sorted"], repr(q)) for q in QUANTILES]
    if figures.quantiles_exact:
        assert figures.quantiles == tuple(map(float, exact))
        assert figures.quantile_error == 0
    for found, true in zip(figures.quantiles, exact, strict=True):
        assert (
            abs(Fraction(found) - true)
            <= Fraction(figures.quantile_error) * abs(true) * 2
            + Fraction(abs(found)) * Fraction(2, 1 << 53)
            + Fraction(5e-324)
            or not figures.quantiles_exact
        )
    assert len(figures.spark) == SPARK_BINS


@pytest.mark.parametrize("dtype", READABLE, ids=str)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_figures_are_those_of_the_definition(dtype: DType, data: st.DataObject) -> None:
    codes = data.draw(codes_of(dtype))
    figures = summary_of(codes, dtype).figures(len(codes) // (2 if dtype.is_complex else 1))
    assert figures.is_exact
    assert figures.quantiles_exact
    check(figures, codes, dtype)


@pytest.mark.parametrize("dtype", READABLE, ids=str)
def test_every_special_pattern_at_once(dtype: DType) -> None:
    part = part_of(dtype)
    codes = special_codes(part) * 2 if part.bits > 8 else list(range(1 << part.bits)) * 2
    check(summary_of(codes, dtype).figures(len(codes) // (2 if dtype.is_complex else 1)), codes, dtype)


@pytest.mark.parametrize("dtype", [d for d in READABLE if part_of(d).bits > 16], ids=str)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_bucketed_figures_are_exact_but_for_the_quantiles(dtype: DType, data: st.DataObject) -> None:
    codes = data.draw(codes_of(dtype))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary_module, "EXACT_LIMIT", 0)
        figures = summary_of(codes, dtype).figures(len(codes) // (2 if dtype.is_complex else 1))
    check(figures, codes, dtype)
