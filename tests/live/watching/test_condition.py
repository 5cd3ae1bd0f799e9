"""What is waited for, as it is written, and when it holds."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tui_params.core.dtypes import from_torch
from tui_params.core.tensor import describe
from tui_params.errors import QueryError
from tui_params.live.attached.figures import figures_of, is_finite
from tui_params.live.watching.condition import parse_condition
from tui_params.live.watching.judge import FEWEST, Event, Judge

F32 = from_torch("float32")
assert F32 is not None


def judge(*conditions: str, numel: int = 4) -> Judge:
    assert F32 is not None
    return Judge(describe("w", (numel,), F32), tuple(parse_condition(word) for word in conditions))


def look(judging: Judge, step: int, *values: float) -> list[Event]:
    return judging.look(step, np.array(values, np.float32).view(np.uint8))


@pytest.mark.parametrize(
    ("text", "what", "amount"),
    [
        ("nan", "nan", 0),
        (" Inf ", "inf", 0),
        ("norm>1e3", "norm", 1000),
        ("norm>2.5X", "growth", 2.5),
        ("still:3", "still", 3),
    ],
)
def test_what_is_written_is_understood(text: str, what: str, amount: float) -> None:
    found = parse_condition(text)
    assert (found.what, found.amount) == (what, amount)


@pytest.mark.parametrize(
    "text",
    ["", "NaN!", "norm", "norm>", "norm>x", "norm>0", "norm>-1", "norm>nan", "norm>inf", "norm>1xx", "norm<3",
     "still", "still:", "still:0", "still:-1", "still:1.5", "still:²", "still:99999999999"],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_condition(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_condition_that_goes_on_is_told_once_and_again_when_it_comes_back() -> None:
    judging = judge("nan", "inf")
    assert look(judging, 1, 1, 2, 3, 4) == []
    (event,) = look(judging, 2, 1, math.nan, 2, math.nan)
    assert (event.step, event.condition.text) == (2, "nan")
    assert event.figures.nan == 2
    assert event.figures.norm == pytest.approx(math.sqrt(5))
    (event,) = look(judging, 3, 1, math.nan, -math.inf, math.inf)
    assert event.condition.text == "inf"
    assert (event.figures.pos_inf, event.figures.neg_inf) == (1, 1)
    assert look(judging, 4, math.nan, math.nan, math.inf, 0) == []
    assert look(judging, 5, 0, 0, 0, 0) == []
    assert [event.step for event in look(judging, 6, math.nan, 0, 0, 0)] == [6]


def test_a_norm_is_compared_with_a_number() -> None:
    judging = judge("norm>5")
    assert look(judging, 1, 3, 4, 0, 0) == []  # 5 is not above 5
    (event,) = look(judging, 2, 3, 4, 0.01, 0)
    assert event.figures.norm == pytest.approx(5.00001)
    assert look(judging, 3, 0, 0, 0, 0) == []
    # A norm that cannot be compared is no reason to be silent.
    assert look(judging, 4, math.nan, 0, 0, 0)[0].figures.nan == 1


def test_a_norm_is_compared_with_its_own_median() -> None:
    judging = judge("norm>3x")
    assert look(judging, 1, 1000, 0, 0, 0) == []  # nothing to compare with yet
    for step in range(2, FEWEST + 2):
        assert look(judging, step, 2, 0, 0, 0) == []
    assert look(judging, 50, 5.9, 0, 0, 0) == []
    (event,) = look(judging, 51, 6.1, 0, 0, 0)
    assert event.median == 2
    # Of the last looks only: the median follows.
    for step in range(100, 400):
        look(judging, step, 100, 0, 0, 0)
    assert look(judging, 400, 299, 0, 0, 0) == []
    assert look(judging, 401, 301, 0, 0, 0)[0].median == 100


def test_of_a_median_of_zero_there_are_no_multiples() -> None:
    judging = judge("norm>3x")
    for step in range(1, 2 * FEWEST):
        look(judging, step, 0, 0, 0, 0)
    assert look(judging, 99, 1, 0, 0, 0) == []


def test_still_is_the_same_to_the_last_bit() -> None:
    judging = judge("still:3")
    assert [look(judging, step, 0.0, 1, 2, math.nan) for step in (5, 6, 7)] == [[], [], []]
    (event,) = look(judging, 8, 0.0, 1, 2, math.nan)
    assert event.since == 5
    assert look(judging, 9, 0.0, 1, 2, math.nan) == []
    assert look(judging, 10, -0.0, 1, 2, math.nan) == []
    assert look(judging, 12, -0.0, 1, 2, math.nan) == []
    assert look(judging, 14, -0.0, 1, 2, math.nan)[0].since == 10


VALUES = [
    [], [0.0, -0.0], [1.5], [3e38, 3e38, -3e38], [1e-45, 2e-45], [math.nan, 3.0, 4.0], [math.inf, -math.inf, math.nan],
    [1e-40, 1.0, 1e20], list(np.linspace(-7, 9, 200_001)),
]  # fmt: skip


@pytest.mark.parametrize("values", VALUES, ids=lambda values: str(values[:3]))
@pytest.mark.parametrize(
    "kind", ["float64", "float32", "float16", "bfloat16", "float8_e5m2", "complex64", "complex128"]
)
def test_figures_are_those_of_a_slow_reference(values: list[float], kind: str) -> None:
    dtype = from_torch(kind)
    assert dtype is not None
    native: Any = getattr(np, kind, None) or getattr(ml_dtypes, kind)
    with np.errstate(over="ignore"):
        array = np.array(values, np.float64).astype(native)
    if kind == "float64":
        array = array * 1e200  # squares beyond the range of float64
    parts = array.view(array.real.dtype) if dtype.is_complex else array
    exact = [float(value) for value in parts.astype(np.float64)]
    raw = np.frombuffer(array.tobytes(), np.uint8)
    found = figures_of(raw, dtype, array.size)
    assert found.nan == sum(map(math.isnan, exact))
    assert found.pos_inf == exact.count(math.inf)
    assert found.neg_inf == exact.count(-math.inf)
    finite = [value for value in exact if math.isfinite(value)]
    assert found.norm == pytest.approx(math.hypot(*finite), rel=1e-13)
    assert is_finite(raw, dtype, array.size) is found.is_finite is (len(finite) == len(exact))


@pytest.mark.parametrize("small", [1e-310, 5e-324, 1e-170])
def test_norms_of_tiny_numbers_do_not_vanish(small: float) -> None:
    dtype = from_torch("float64")
    assert dtype is not None
    for values in ([small, small], [small] * 50_000, [0.0] * 40_000 + [small, -small], [1.0] * 40_000 + [small]):
        raw = np.array(values).view(np.uint8)
        assert figures_of(raw, dtype, len(values)).norm == pytest.approx(math.hypot(*values), rel=1e-12)
