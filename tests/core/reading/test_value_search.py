"""The next value that meets a condition is the one that a slow look at every value finds."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_memory import MemorySource, dtype_of
from tui_params.core.dtypes import DTYPES, numpy_dtype
from tui_params.core.kernels.engine import Engine
from tui_params.core.numbers.condition import NOT_FINITE, Condition, between, parse_condition, words_of
from tui_params.core.reading import value_search
from tui_params.core.reading.value_search import Found, find, find_extreme
from tui_params.core.window import Window, parse_window
from tui_params.errors import ReadError, SliceError, StoppedError

REAL = [dtype for dtype in DTYPES if dtype.numpy is not None and dtype.kind in ("float", "int", "bool")]
TYPES = list({np.dtype(numpy_dtype(dtype)): dtype for dtype in REAL})
CONDITIONS = (
    ">0", ">=0", "<0", "<=0", "=0", ">1", "<-1", "=1", "abs>1", "abs>=1", "abs<1", "abs=0", ">3.5", "<1e39", ">-1e39",
    ">1e400", "<-1e400", "=0.1", "abs>1e39", ">inf", "<=inf", "<-inf", ">=-inf", "=inf", "nan", "inf", "nan or inf",
    "abs>-1", "abs<0", ">9007199254740993", "=9223372036854775807", "<18446744073709551616", "=-128", ">=-129", "=2.5",
)  # fmt: skip


def every_value(kind: np.dtype[Any]) -> NDArray[Any]:
    """Every pattern of a type of 16 bits and less; of a wider one the corners and some more."""
    bits = next(dtype for dtype in REAL if numpy_dtype(dtype) == kind).bits
    if kind == np.bool_:
        return np.array([False, True, False])
    if bits <= 8:
        return np.arange(1 << bits, dtype=np.uint8).view(kind)
    if bits == 16:
        return np.arange(1 << 16, dtype=np.uint16).view(kind)
    random = np.random.default_rng(bits)
    words = random.integers(0, 1 << 64, 500, dtype=np.uint64).astype(f"u{bits // 8}")
    edges = [0, 1, 2, (1 << bits) - 1, 1 << (bits - 1), (1 << (bits - 1)) - 1, (1 << (bits - 1)) + 1]
    found = np.concatenate([words, np.array(edges, f"u{bits // 8}")]).view(kind)
    special = [0.0, 1, 3.5, 0.1, 2.5, -1]
    special += [-0.0, math.inf, -math.inf, math.nan] if kind.kind == "f" else []
    if kind.kind != "f":
        special = [value for value in special if value == int(value) and (value >= 0 or kind.kind == "i")]
    return np.concatenate([found, np.array(special).astype(kind)])


def meets(condition: Condition, value: Any, kind: np.dtype[Any]) -> bool:
    """The slow rule: Python's own comparisons of exact numbers; a bound is rounded to the elements' type first."""
    number = float(value) if not isinstance(value, int) else value
    if condition.kind != "interval":
        is_nan, is_inf = number != number, number in (math.inf, -math.inf)
        return {"nan": is_nan, "inf": is_inf, "not finite": is_nan or is_inf}[condition.kind]
    low, high = condition.low, condition.high
    if not isinstance(value, int):
        low, high = (_rounded(bound, kind) for bound in (low, high))
    sized = abs(number) if condition.is_abs else number
    above = sized > low if condition.is_low_open else sized >= low
    return above and (sized < high if condition.is_high_open else sized <= high)


def _rounded(bound: float, kind: np.dtype[Any]) -> float:
    with np.errstate(all="ignore"):
        found, limit = (float(value) for value in np.array([np.float64(bound), math.inf]).astype(kind))
    return found if math.isfinite(found) and not (math.isfinite(limit) and abs(bound) > limit) else bound


@pytest.mark.parametrize("kind", [ml_dtypes.float4_e2m1fn, ml_dtypes.float6_e2m3fn, ml_dtypes.float6_e3m2fn])
def test_a_bound_beyond_a_type_that_has_no_infinity_is_not_its_largest_value(kind: Any) -> None:
    largest = float(ml_dtypes.finfo(kind).max)
    source = MemorySource({"a": np.array([0, -largest, largest, 0]).astype(kind)})
    info = source.find("a")
    for words, expected in ((">=100", None), ("<inf", 0), ("abs>=inf", None), (">-1e30", 0), (f">={largest}", 2)):
        found = find(source, info, whole((4,)), parse_condition(words), None)
        assert (None if found is None else found.index[0]) == expected, words


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_the_words_are_those_whose_values_meet_the_condition(kind: np.dtype[Any]) -> None:
    array = every_value(kind)
    if array.size > 1000:
        array = array[::23]
    dtype = dtype_of(array)
    with np.errstate(invalid="ignore"):
        plain = array.astype(np.float64).tolist() if dtype.kind == "float" else array.astype(object).tolist()
    raw = array.view(f"u{max(8, dtype.bits) // 8}").tolist()
    for words in CONDITIONS:
        condition = parse_condition(words)
        sought = words_of(condition, dtype)
        everything = 1 << sought.bits
        for value, word in zip(plain, raw, strict=True):
            value = int(value) if dtype.kind != "float" else value
            found = any(((word & sought.mask) - first) % everything <= more for first, more in sought.ranges)
            assert found == meets(condition, value, kind), (words, value, hex(word))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1.0, -2.0, math.nan, math.inf]), min_size=1, max_size=60),
    st.sampled_from(["[...]", "[::2]", "[::-1]", "[3:40:3]"]),
    st.integers(-1, 59),
    st.sampled_from([1, -1]),
    st.sampled_from(["nan or inf", ">0", "=1", "<0"]),
    st.sampled_from([np.float32, ml_dtypes.bfloat16, np.float64, ml_dtypes.float4_e2m1fn]),
)
def test_the_next_and_the_one_before_are_found_at_random(
    values: list[float], expression: str, at: int, step: int, words: str, kind: Any
) -> None:
    with np.errstate(all="ignore"):
        array = np.array(values).astype(kind)
    source = MemorySource({"a": array}, step=8)
    info, window = source.find("a"), parse_window(expression, array.shape)
    if not window.numel:
        return
    condition = parse_condition(words)
    at = min(at, window.numel - 1)
    after = (window.axes[0].index(at),) if at >= 0 else None
    found = find(source, info, window, condition, after, step)
    start = at if after is not None else (-1 if step > 0 else window.numel)
    order = [(start + step * (far + 1)) % window.numel for far in range(window.numel)]
    if after is None:
        order = list(range(window.numel))[::step]
    expected = None
    for place in order:
        index = window.axes[0].index(place)
        if meets(condition, float(array[index]), np.dtype(kind)):
            has_wrapped = after is not None and ((place <= at) if step > 0 else (place >= at))
            expected = Found((index,), has_wrapped)
            break
    assert found == expected


@settings(max_examples=150)
@given(data=st.data(), kind=st.sampled_from(TYPES), words=st.sampled_from(CONDITIONS), step=st.sampled_from([1, -1]))
def test_the_next_of_every_type_is_found_at_random(
    engine: Engine, data: st.DataObject, kind: np.dtype[Any], words: str, step: int
) -> None:
    every = every_value(kind)
    places = data.draw(st.lists(st.integers(0, every.size - 1), min_size=1, max_size=50))
    array = every[places]
    source = MemorySource({"a": array}, step=16)
    source.engine = engine
    info, condition = source.find("a"), parse_condition(words)
    at = data.draw(st.integers(0, array.size - 1))
    with np.errstate(invalid="ignore"):
        plain = array.astype(np.float64 if info.dtype.kind == "float" else object).tolist()
    plain = [value if info.dtype.kind == "float" else int(value) for value in plain]
    order = [(at + step * (far + 1)) % array.size for far in range(array.size)]
    expected = next((place for place in order if meets(condition, plain[place], kind)), None)
    found = find(source, info, whole(array.shape), condition, (at,), step)
    assert (None if found is None else found.index[0]) == expected
    finite = [value for value in plain if math.isfinite(value)]
    for side, best in ((1, max), (-1, min)):
        found = find_extreme(source, info, whole(array.shape), side)
        assert found == (Found((plain.index(best(finite)),), False) if finite else None)


def whole(shape: tuple[int, ...]) -> Window:
    return parse_window("", shape)


def test_indices_are_those_of_the_tensor() -> None:
    array = np.zeros((3, 40, 50), np.float32)
    array[1, 17, 3] = array[2, 0, 0] = np.nan
    source = MemorySource({"a": array})
    info = source.find("a")
    first = find(source, info, whole(array.shape), NOT_FINITE, (0, 0, 0))
    assert first == Found((1, 17, 3), False)
    second = find(source, info, whole(array.shape), NOT_FINITE, (1, 17, 3))
    assert second == Found((2, 0, 0), False)
    assert find(source, info, whole(array.shape), NOT_FINITE, (2, 0, 0)) == Found((1, 17, 3), True)
    assert find(source, info, whole(array.shape), NOT_FINITE, (1, 17, 3), -1) == Found((2, 0, 0), True)
    part = parse_window("[1:, ::-1, 3]", array.shape)
    assert find(source, info, part, NOT_FINITE, None) == Found((1, 17, 3), False)
    assert find(source, info, parse_window("[:1]", array.shape), NOT_FINITE, None) is None


def test_a_part_of_a_complex_number_makes_it_not_finite() -> None:
    for kind in (np.complex64, np.complex128):
        array = np.ones((4, 5), kind)
        array[2, 3] = complex(0, math.nan)
        source = MemorySource({"a": array})
        assert find(source, source.find("a"), whole((4, 5)), NOT_FINITE, (0, 0)) == Found((2, 3), False)
        with pytest.raises(SliceError, match="no order"):
            find(source, source.find("a"), whole((4, 5)), parse_condition(">1"), None)
        with pytest.raises(SliceError, match="no order"):
            find_extreme(source, source.find("a"), whole((4, 5)), 1)


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("expression", ["", "[::2]"])
def test_the_largest_and_the_smallest_are_the_first_of_them(kind: np.dtype[Any], expression: str) -> None:
    array = np.concatenate([every_value(kind)[-20:], every_value(kind)[:20]])
    source = MemorySource({"a": array})
    window = parse_window(expression, array.shape)
    plain = [int(value) if kind.kind in "biu" or "int" in str(kind) else float(value) for value in array]
    seen = {place: plain[place] for place in range(window.axes[0].step * 0, len(plain), window.axes[0].step)}
    finite = {place: value for place, value in seen.items() if math.isfinite(value)}
    for side, best in ((1, max), (-1, min)):
        found = find_extreme(source, source.find("a"), window, side)
        if not finite:
            assert found is None
            continue
        target = best(finite.values())
        assert found == Found((next(place for place, value in finite.items() if value == target),), False)


def test_progress_can_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value_search, "CHUNK_NBYTES", 1 << 14)
    source = MemorySource({"a": np.zeros(1 << 16, np.float32)})
    told = []

    def progress(done: int, numel: int) -> None:
        told.append((done, numel))
        if len(told) == 3:
            raise StoppedError("enough")

    with pytest.raises(StoppedError):
        find(source, source.find("a"), whole((1 << 16,)), NOT_FINITE, None, 1, progress)
    assert told == [(4096 * (number + 1), 1 << 16) for number in range(3)]


@pytest.mark.parametrize("kind", [np.float32, ml_dtypes.bfloat16, ml_dtypes.float4_e2m1fn, np.complex64])
def test_what_lies_in_a_far_chunk_is_found_both_ways(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    monkeypatch.setattr(value_search, "CHUNK_NBYTES", 64)
    array = np.zeros(5000, kind)
    words = "nan" if kind is np.complex64 else "=1"
    for place in (17, 2500, 4999):
        array[place] = np.nan if kind is np.complex64 else 1
    source = MemorySource({"a": array}, step=24)
    info, window, condition = source.find("a"), whole((5000,)), parse_condition(words)
    forwards = (17, 2500, False), (2500, 4999, False), (4999, 17, True)
    backwards = (17, 4999, True), (4999, 2500, False), (2500, 17, False)
    for step, cases in ((1, forwards), (-1, backwards)):
        for after, expected, wraps in cases:
            assert find(source, info, window, condition, (after,), step) == Found((expected,), wraps)


def test_a_fault_of_reading_comes_out_of_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value_search, "CHUNK_NBYTES", 64)
    source = MemorySource({"a": np.zeros(5000, np.float32)}, broken={"a": "shard 2 is missing"})
    with pytest.raises(ReadError, match="shard 2"):
        find(source, source.find("a"), whole((5000,)), NOT_FINITE, None)


@pytest.mark.parametrize("words", ["", "3", "> ", "abs", ">x", "=nan", ">1 2", "<>3", "x" * 5000])
def test_what_is_no_condition_is_told_in_a_sentence(words: str) -> None:
    with pytest.raises(SliceError) as told:
        parse_condition(words)
    assert len(str(told.value)) < 200


def test_an_interval_holds_its_ends_as_it_says() -> None:
    array = np.array([0.5, 1.0, 1.5, 2.0], np.float32)
    source = MemorySource({"a": array})
    info, window = source.find("a"), whole((4,))
    assert find(source, info, window, between(1.0, 2.0), (1,)) == Found((2,), False)
    assert find(source, info, window, between(1.0, 2.0), (2,)) == Found((1,), True)
    assert find(source, info, window, between(1.0, 2.0, is_closed=True), (2,)) == Found((3,), False)
