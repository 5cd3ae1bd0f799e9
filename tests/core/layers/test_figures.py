"""Figures in columns: what stands out, the strips, the levels of colour."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan

import numpy as np
import pytest

from tests.factories_memory import MemorySource
from tui_params.core.kinds import members_by_kind
from tui_params.core.layers.known import ABSENT, LOST, NAN, READ, UNREAD, Column, Known, positions
from tui_params.core.layers.odd import told, usual_of
from tui_params.core.layers.planes import planes_of
from tui_params.core.layers.shades import Against, shades_of
from tui_params.core.layers.statistics import STATISTICS, Statistic
from tui_params.core.layers.strip import BAD, BLANK, DOT, LOST_CELL, NONE, ODD, VALUE, strip_of
from tui_params.core.numbers import levels
from tui_params.core.reading.tensor_reading import summarize

STD, ABS_MAX, ZEROS, NON_FINITE, CHANGE, GRADIENT = STATISTICS


def column(values: Sequence[float], states: Sequence[int] = (), flags: Sequence[int] = ()) -> Column:
    count = len(values)
    return Column(
        np.array(values, np.float64),
        np.array([*states, *[READ] * (count - len(states))], np.uint8),
        np.array([*flags, *[0] * (count - len(flags))], np.uint8),
    )


def test_what_is_known_of_a_tensor() -> None:
    source = MemorySource({"w": np.array([0, 3, np.nan, -4], np.float32), "e": np.zeros(0, np.float32)})
    known = Known(4)
    for at, name in enumerate("we"):
        info = source.find(name)
        known.take_figures(at, summarize(source, info).figures(info.numel))
    known.take_state(2, LOST)
    known.take_state(0, ABSENT, "gradient")
    known.take_change(1, inf, NAN)
    cells = {item.name: [known.column(item).cell(at) for at in range(4)] for item in STATISTICS}
    assert [cell.state for cell in cells["std"]] == [READ, READ, LOST, UNREAD]
    assert [cell.value for cell in cells["absmax"]] == [4, None, None, None]
    assert (cells["zeros"][0].value, cells["nonfinite"][0].value, cells["std"][0].flags) == (0.25, 1, NAN)
    assert cells["zeros"][1].value is None
    assert [cell.state for cell in cells["gradient"]] == [ABSENT, UNREAD, UNREAD, UNREAD]
    assert (cells["change"][1].value, cells["change"][1].flags) == (None, NAN)
    before = known.column(STD)
    known.take_state(0, UNREAD)
    assert (before.cell(0).state, known.column(STD).cell(0).state) == (READ, UNREAD)
    assert before.counts() == (2, 1, 4)


@pytest.mark.parametrize(
    ("statistic", "values", "expected"),
    [
        (STD, [1, 1.01, 0.99, 1, 6.1, 1.02], ["4: std 6.1x the median"]),
        (STD, [1, 1.01, 0.99, 1, 0.1, 1.02], ["4: std 0.1x the median"]),
        (STD, [1, 1.01, 0.99, 1, 0, 1.02], ["4: std 0, the median 1"]),
        (STD, [1, 1, 6, 1], []),  # four are too few to say what is usual
        (STD, [1, 1.5, 2, 3, 4, 5, 7], []),  # widely spread, so that none stands out
        (STD, [1, 1, 1, 1, 1.9], []),  # less than twice
        (STD, [nan] * 6, []),
        (ZEROS, [0, 0.001, 0, 0, 0.4], ["4: zeros 40.0%, the median 0"]),
        (ZEROS, [0, 0.001, 0, 0, 0.04], []),
        (CHANGE, [0, 0, 0, 0, 0.25], ["4: change 0.25, the median 0"]),
        (CHANGE, [0, 0, 0, 0.1, 0.2], []),  # two of five are no exception
    ],
)
def test_what_stands_out(statistic: Statistic, values: list[float], expected: list[str]) -> None:
    assert told(usual_of(column(values), statistic.scale), statistic, str, 3) == expected


def test_nan_stands_out_among_any_and_comes_first() -> None:
    usual = usual_of(column([1, 1, 1, 9, 1, 1, 1, 1], flags=[0, 0, 0, 0, 0, 1, 2]), "ratio")
    assert told(usual, STD, str, 2) == ["5: NaN", "6: Inf", "and 1 more"]
    assert (usual.low, usual.median, usual.high, usual.known) == (1, 1, 9, 8)
    nothing = usual_of(column([nan, nan], [UNREAD, READ], [1, 1]), "ratio")  # what is not read has no flag that counts
    assert (nothing.low, nothing.known, [odd.place for odd in nothing.odd]) == (None, 0, [1])


def test_a_strip_shows_what_stands_out_however_narrow_it_is() -> None:
    values = [1.0] * 8 + [nan] * 3
    states = [READ] * 8 + [UNREAD, LOST, READ]
    some = column(values, states, [0, 0, 1])
    rows = range(12)
    strip = strip_of(some, usual_of(some, "ratio"), rows, positions(range(11)), 40)
    assert list(strip.kinds) == [VALUE, VALUE, BAD, *[VALUE] * 5, DOT, LOST_CELL, NONE, BLANK]
    assert list(strip.levels[:2]) == [7, 7]
    for width in (1, 2, 5):
        narrow = strip_of(some, usual_of(some, "ratio"), rows, positions(range(11)), width)
        assert len(narrow.kinds) == width
        assert BAD in narrow.kinds
    some = column([1, 1, 1, 1, 1, 10])
    strip = strip_of(some, usual_of(some, "ratio"), range(3), positions([0, 0, 1, 1, 2, 2]), 3)
    assert (list(strip.kinds), list(strip.levels)) == ([VALUE, VALUE, ODD], [1, 1, 7])


@pytest.mark.parametrize("against", ["kind", "plane"])
def test_levels(against: Against) -> None:
    names = [f"h.{layer}.{kind}" for layer in range(15) for kind in "qk"]
    (plane,) = planes_of(members_by_kind(names))
    values = [1.0 if at % 2 == 0 else 100.0 for at in range(30)]
    values[4], values[6], values[8] = 8.0, nan, 0.125
    shades = shades_of(column(values, [UNREAD], [0, NAN]), plane, STD, against)
    level = dict(zip(plane.tensors, shades.levels, strict=True))
    assert (shades.unread, shades.bad, shades.known) == (1, 1, 28)
    assert level[1] == levels.BAD
    if against == "kind":
        # Each kind by itself: 1 and 100 are both what is usual.
        assert shades.limit == pytest.approx(2)
        assert [level[at] for at in (2, 3, 4, 8)] == [levels.MIDDLE, levels.MIDDLE, levels.TOP, 0]
        assert shades.clipped == 2
    else:
        assert shades.limit == pytest.approx(100)
        assert [level[at] for at in (3, 8)] == [levels.TOP, 0]
        assert 0 < level[2] < level[4] < 30


def test_levels_of_zeros_and_of_nothing() -> None:
    (plane,) = planes_of(members_by_kind([f"h.{layer}.q" for layer in range(5)]))
    halves = shades_of(column([0, 0, 0, 2, 0]), plane, STD, "kind")
    assert list(halves.levels) == [levels.MIDDLE] * 3 + [levels.TOP, levels.MIDDLE]
    for statistic in STATISTICS:
        nothing = shades_of(column([nan] * 5, [UNREAD] * 5), plane, statistic, "kind")
        assert (nothing.known, nothing.unread, set(nothing.levels)) == (0, 5, {0})
    shares = shades_of(column([0, 0.5, 0, 0, 1e-5]), plane, ZEROS, "kind")
    assert (shares.against, shares.levels[1], shares.levels[0]) == ("plane", levels.TOP, 0)


@pytest.mark.parametrize(
    ("statistic", "value", "room", "words"),
    [
        (STD, 0.0193, 6, "0.0193"),
        (STD, 0.0193, 5, "0.019"),
        (ZEROS, 0.0, 5, "0"),
        (ZEROS, 1.0, 5, "100%"),
        (ZEROS, 0.12345, 9, "12.3%"),
        (ZEROS, 0.12345, 5, "12.3%"),
        (ZEROS, 0.99999, 9, ">99.9%"),
        (ZEROS, 1e-9, 9, "<.01%"),
        (ZEROS, 0.003, 4, "0.3%"),
        (ZEROS, 0.003, 3, "<1%"),
        (NON_FINITE, 1234567, 9, "1,234,567"),
        (NON_FINITE, 1234567, 6, "1.23M"),
    ],
)
def test_words(statistic: Statistic, value: float, room: int, words: str) -> None:
    assert statistic.words(value, room) == words
