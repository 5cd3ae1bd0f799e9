"""What is kept of a tensor at a look, and what a later look says of it, against the same in exact fractions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.compare import looks
from tui_params.core.compare.looks import Kept, Look, change_of, held_by, most_kept, take, take_over
from tui_params.core.compare.moved import Change
from tui_params.core.reading.tensor_reading import summarize
from tui_params.errors import StoppedError

ROOM = 1 << 20

Arrays = Mapping[str, NDArray[Any]]


def never() -> bool:
    return False


def kept_of(source: MemorySource, name: str, earlier: Kept | None = None, room: int = 0) -> Kept:
    return take(source, source.find(name), None, earlier, room=room, should_stop=never)


def look_at(source: MemorySource, room: int = 0) -> Look:
    look = Look("14:02:11")
    look.list(source.listing.tensors)
    look.kept = {name: kept_of(source, name, room=room) for name in source.arrays}
    return look


def change_between(before: NDArray[Any], now: NDArray[Any], *, keeps: bool = False, **options: Any) -> Change:
    """How the tensor ``w`` has moved from one look to the next."""
    look = look_at(MemorySource({"w": before}, step=7), ROOM if keeps else 0)
    later = MemorySource({"w": now}, step=5, **options)
    return change_of(later, later.find("w"), look.kept.get("w"), kept_of(later, "w"), look, never)


def relative(before: NDArray[Any], now: NDArray[Any]) -> Fraction | None:
    """The square of ||now - before|| / ||before||, exactly."""
    a = [Fraction(float(value)) for value in before.reshape(-1)]
    b = [Fraction(float(value)) for value in now.reshape(-1)]
    norm = sum(value * value for value in a)
    return Fraction(sum((y - x) ** 2 for x, y in zip(a, b, strict=True))) / norm if norm else None


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8, np.bool_])
@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (1000,)])
def test_figures_and_digest_are_of_every_byte(dtype: Any, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    source = MemorySource({"w": array}, step=7)
    kept = kept_of(source, "w")
    assert kept.digest == hashlib.sha256(array.tobytes()).digest()
    figures = summarize(source, source.find("w")).figures(array.size)
    assert kept.sums is not None
    assert (kept.sums.count, kept.sums.mean, kept.sums.std) == (array.size, figures.mean, figures.std)
    assert (kept.sums.min, kept.sums.max, kept.sums.l2_norm) == (figures.min, figures.max, figures.l2_norm)
    assert kept.values is None or not array.size


def test_figures_that_are_known_are_not_counted_again_unless_they_are_of_a_sample() -> None:
    source = MemorySource({"w": np.arange(6, dtype=np.float32)})
    info = source.find("w")
    figures = summarize(source, info).figures(info.numel)
    of_another = summarize(MemorySource({"w": np.ones(6, np.float32)}), info).figures(info.numel)
    kept = take(source, info, of_another, None, room=0, should_stop=never)
    assert kept.sums is not None
    assert kept.sums.mean == 1
    part = MemorySource({"w": np.ones(2, np.float32)})
    sampled = summarize(part, part.find("w"))
    kept = take(source, info, sampled.figures(6), None, room=0, should_stop=never)
    assert kept.sums is not None
    assert kept.sums.mean == figures.mean == 2.5


@pytest.mark.parametrize("keeps", [False, True])
def test_the_same_bytes_are_the_same_and_others_are_not(keeps: bool) -> None:
    array = np.array([1.0, -0.0, np.nan, np.inf], np.float32)
    assert change_between(array, array.copy(), keeps=keeps).state == "same"
    zero = array.copy()
    zero[1] = 0.0
    change = change_between(array, zero, keeps=keeps)
    assert change.state == "moved"
    assert change.at_least is None
    if keeps:
        assert change.difference is not None
        assert change.difference.changed == 0


def test_with_values_the_relative_change_is_exact() -> None:
    random = np.random.default_rng(1)
    before = random.normal(size=(40, 25)).astype(np.float32)
    now = before + (random.normal(size=(40, 25)) * 1e-3).astype(np.float32)
    change = change_between(before, now, keeps=True)
    expected = float(np.linalg.norm(now.astype(np.float64) - before) / np.linalg.norm(before.astype(np.float64)))
    assert change.relative == pytest.approx(expected, rel=1e-12)
    assert change.at_least is not None
    assert 0 < change.at_least <= expected
    assert change.size == change.relative
    without = change_between(before, now)
    assert without.relative is None
    assert without.difference is None
    assert without.at_least == without.size == change.at_least


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12))
def test_the_lower_bound_is_never_above_the_relative_change(pairs: list[tuple[float, float]]) -> None:
    before, now = (np.array(side, np.float32) for side in zip(*pairs, strict=True))
    change, square = change_between(before, now), relative(before, now)
    if change.state == "same" or square is None:
        assert change.at_least is None
        return
    if change.at_least is not None:
        assert Fraction(change.at_least) ** 2 <= square
    if change.relative is not None:  # a single element
        assert change.relative == pytest.approx(math.sqrt(square), rel=1e-12)


def test_what_was_zero_or_not_finite_has_no_bound() -> None:
    zeros = np.zeros(3, np.float32)
    change = change_between(zeros, zeros + 1)
    assert change.is_from_zero
    assert (change.relative, change.at_least, change.size) == (None, None, math.inf)
    bad = np.array([1, np.nan, 2], np.float32)
    change = change_between(np.array([1, 1, 2], np.float32), bad)
    assert (change.at_least, change.more_nan, change.more_inf, change.size) == (None, 1, 0, math.inf)
    assert change_between(bad, np.array([1, 1, 2], np.float32)).more_nan == 0


def test_integers_beyond_float64_do_not_raise() -> None:
    change = change_between(np.array([2**62, 1], np.int64), np.array([2**62 + 1, 1], np.int64))
    assert change.state == "moved"
    assert change.at_least is None or change.at_least < 1e-15


def test_other_tensors_of_a_name_say_what_is_other() -> None:
    matrix = np.ones((2, 3), np.float32)
    for now, state, words in (
        (np.ones((3, 2), np.float32), "shape", "[2, 3]"),
        (np.ones((2, 3), np.float16), "dtype", "float32"),
    ):
        change = change_between(matrix, now)
        assert (change.state, change.size) == (state, math.inf)
        assert words in change.about


def test_what_is_new_and_what_was_not_read_then_differ() -> None:
    look = look_at(MemorySource({"w": np.ones(2, np.float32)}))
    later = MemorySource({"w": np.ones(2, np.float32), "v": np.ones(2, np.float32)})
    new = change_of(later, later.find("v"), None, kept_of(later, "v"), look, never)
    assert (new.state, new.size) == ("new", math.inf)
    del look.kept["w"]
    unread = change_of(later, later.find("w"), None, kept_of(later, "w"), look, never)
    assert (unread.state, unread.size) == ("unread", None)
    assert "14:02:11" in unread.about
    assert look.gone_in({"v"}) == ("w",)


def test_what_cannot_be_read_says_why_on_either_side() -> None:
    array = np.ones(2, np.float32)
    broken = change_between(array, array, broken={"w": "the device is gone"})
    assert broken.state == "unread"
    assert "the device is gone" in broken.about
    look = look_at(MemorySource({"w": array}, unreadable={"w": "it is on the device meta"}))
    later = MemorySource({"w": array})
    change = change_of(later, later.find("w"), look.kept["w"], kept_of(later, "w"), look, never)
    assert change.state == "unread"
    assert "meta" in change.about


def test_values_are_kept_within_the_room_and_shared_where_they_are_the_same() -> None:
    source = MemorySource({"w": np.ones(4, np.float32)})
    first = kept_of(source, "w", room=16)
    assert first.values is not None
    assert first.values.tobytes() == source.arrays["w"].tobytes()
    assert kept_of(source, "w", room=15).values is None
    assert kept_of(source, "w", first, room=16).values is first.values
    assert kept_of(source, "w", first, room=0).values is first.values
    a, b = Look("1"), Look("2")
    a.kept, b.kept = {"w": first}, {"w": kept_of(source, "w", first, room=16)}
    assert held_by([a, b]) == a.nbytes == 16
    assert a.left_out == 0
    assert most_kept() <= looks.MOST_KEPT


def test_values_can_take_over_the_memory_of_those_before() -> None:
    before = kept_of(MemorySource({"w": np.ones(4, np.float32)}), "w", room=ROOM)
    memory = before.values
    later = MemorySource({"w": np.arange(4, dtype=np.float32)})
    now = kept_of(later, "w", before)
    assert now.values is None
    take_over(later, later.find("w"), before, now, never)
    assert now.values is memory
    assert before.values is None
    assert now.values is not None
    assert now.values.tobytes() == later.arrays["w"].tobytes()


def test_it_stops_within_a_block() -> None:
    source = MemorySource({"w": np.ones(100, np.float32)}, step=1)
    asked = iter([False, False])
    with pytest.raises(StoppedError):
        take(source, source.find("w"), None, None, room=0, should_stop=lambda: next(asked, True))
