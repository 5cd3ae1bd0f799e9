"""Movements: the figures of a step and its change against exact fractions and float64, over all types with a loop."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_kernels import finite_values
from tui_params.core.kernels.engine import Engine
from tui_params.core.kernels.protocol import DECODED, DIGITS, Kernels, Moved
from tui_params.core.numbers import movement as module
from tui_params.core.numbers.moments import Moments, root
from tui_params.core.numbers.movement import Movement


@pytest.fixture(scope="session")
def compiled(compiled_engine: Engine) -> Kernels:
    return compiled_engine.current()


def take(kernels: Kernels, *steps: NDArray[Any], pieces: int = 1) -> Movement:
    """What is found of the last step, in so many pieces, beside the one before it, if there is one."""
    found = Movement()
    cut = [[part.view(np.uint8) for part in np.array_split(step, pieces)] for step in steps]
    names = steps[0].dtype.name, steps[-1].dtype.name
    for number, new in enumerate(cut[-1]):
        old = cut[0][number] if len(steps) > 1 else None
        assert found.add(kernels, names, None, old, new, new.size // steps[-1].itemsize) is not None
    return found


def exact_norm(values: NDArray[Any], times: int = 1) -> float | None:
    wide = values.astype(np.float64)
    squares = sum((Fraction(value) ** 2 for value in wide[np.isfinite(wide)].tolist()), Fraction(0))
    return root(*(squares * times).as_integer_ratio()) if np.isfinite(wide).any() else None


def check_against_definition(found: Movement, a: NDArray[Any], b: NDArray[Any]) -> None:
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite, both = np.isfinite(y), np.isfinite(x) & np.isfinite(y)
    assert (found.finite, found.nan, found.infinite) == (finite.sum(), np.isnan(y).sum(), np.isinf(y).sum())
    assert found.abs_max == (np.abs(y[finite]).max() if finite.any() else None)
    assert found.l2_norm(Moments()) == exact_norm(b)
    count, changed, pairs, *_ = found.counted().counts
    assert (count, changed, pairs) == (x.size, ((x != y) & ~(np.isnan(x) & np.isnan(y))).sum(), both.sum())
    if a.dtype == b.dtype:
        assert found.differs == (a.tobytes() != b.tobytes())
    _, dd, aa, *_ = found.counted().sums
    delta = y[both] - x[both]
    assert Fraction(*dd) == pytest.approx(math.fsum(delta * delta), rel=1e-12)
    assert Fraction(*aa) == pytest.approx(math.fsum(x[both] * x[both]), rel=1e-12)
    norm, moved = math.sqrt(Fraction(*aa)), math.sqrt(Fraction(*dd))
    assert found.change() == (pytest.approx(moved / norm, rel=1e-14) if norm else None if moved or not pairs else 0)
    assert found.changed_fraction == changed / count


@pytest.mark.parametrize("name_a", DECODED)
@pytest.mark.parametrize("name_b", DECODED)
@pytest.mark.parametrize("count", [1, 1300])
def test_any_two_types_with_and_without_what_is_not_finite(
    compiled: Kernels, name_a: str, name_b: str, count: int
) -> None:
    a, b = finite_values(name_a, count, 0), finite_values(name_b, count, 1)
    with np.errstate(all="ignore"):
        b[:count:3] = a[:count:3].astype(b.dtype)
        b[~np.isfinite(b.astype(np.float64))] = 2
        b[1::17], a[2::34], b[2::17] = 0, 0, -0.0
        check_against_definition(take(compiled, a, b), a, b)
        check_against_definition(take(compiled, a, b, pieces=3), a, b)
        # float8_e4m3fn has no infinity: it becomes NaN, here and in numpy.
        b[[0, count // 2]] = np.nan, -np.inf
        check_against_definition(take(compiled, a, b), a, b)
        a[[0, count // 2, count - 1]] = np.nan, np.inf, np.inf
        check_against_definition(take(compiled, a, b), a, b)
        a[:], b[:] = 1, np.nan
        check_against_definition(take(compiled, a, b), a, b)


WORDS = st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=40)


@given(WORDS, st.sampled_from([1, 100]))
def test_a_norm_of_any_float32_is_rounded_once(compiled: Kernels, words: list[int], times: int) -> None:
    values = np.array(words, np.uint32).view(np.float32)
    assert take(compiled, np.tile(values, times), pieces=2).l2_norm(Moments()) == exact_norm(values, times)


@given(WORDS, st.data())
def test_what_is_known_of_the_elements_before_changes_nothing(compiled: Kernels, words: list[int], data: Any) -> None:
    a = np.array(words, np.uint32).view(np.float32)
    b = np.array(data.draw(st.lists(st.sampled_from(words), min_size=a.size, max_size=a.size)), np.uint32)
    first, second, third = Movement(), Movement(), Movement()
    names, raw_a, raw_b = ("float32", "float32"), a.view(np.uint8), b.view(np.uint8)
    known = first.add(compiled, names, None, None, raw_a, a.size)
    assert second.add(compiled, names, known, raw_a, raw_b, a.size) == third.add(
        compiled, names, None, raw_a, raw_b, a.size
    )


def test_sizes_that_are_far_apart_are_not_lost(compiled: Kernels) -> None:
    values = np.full(3000, 2.0**-60, np.float32)
    values[[0, 1024, 2999]] = 1.0, 2.0**127, 2.0**-149
    found = take(compiled, values)
    assert found.l2_norm(Moments()) == exact_norm(values)
    assert found.l2_norm(Moments(finite=1, squares=1 << 2 * 149 + 200)) == root((1 << 254) + 1 + (1 << 200), 1)


def test_a_norm_that_lies_between_two_numbers_is_not_guessed(
    compiled: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = take(compiled, np.array([1, 2.0**-30 * 1.2345], np.float32))
    monkeypatch.setattr(module, "_DOUBT", 40)
    with pytest.raises(ArithmeticError):
        found.l2_norm(Moments())


def test_without_a_loop_nothing_is_taken_in(engine: Engine) -> None:
    raw = np.zeros(16, np.uint8)
    found = Movement()
    assert found.add(engine.current(), ("float64", "float64"), None, None, raw, 2) is None
    assert (found.finite, found.abs_max, found.l2_norm(Moments())) == (0, None, None)


def test_elements_that_are_not_aligned_are_taken(compiled: Kernels) -> None:
    raw = np.frombuffer(bytes(range(256)) * 20 + b"\0", np.uint8)[1:]
    digits = np.zeros(DIGITS, np.uint64)
    found = compiled.moved(None, raw, raw, ("float32", "float32"), 1280, digits)
    copied = compiled.moved(None, raw.copy(), raw.copy(), ("float32", "float32"), 1280, np.zeros_like(digits))
    assert isinstance(found, Moved)
    assert found == copied
