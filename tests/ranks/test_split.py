"""How work is split: every step once, in order, and as much for each."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.dtypes import DTYPES
from tui_params.core.tensor import describe
from tui_params.ranks.split import STEP_NBYTES, Portion, Unit, elements, split, step_of, units_of

UNITS = st.lists(st.builds(Unit, st.integers(0, 1 << 30), st.integers(1, 300)), max_size=40)


@given(UNITS, st.integers(1, 9))
def test_every_step_is_read_once_and_in_order(units: list[Unit], ways: int) -> None:
    shares = split(units, ways)
    assert len(shares) == ways
    found = [
        (portion.number, step) for share in shares for portion in share for step in range(portion.first, portion.stop)
    ]
    assert found == [(number, step) for number, unit in enumerate(units) for step in range(unit.steps)]


@given(st.lists(st.integers(1, 1 << 34), min_size=1, max_size=20), st.integers(1, 9))
def test_no_process_has_more_than_a_step_too_much(sizes: list[int], ways: int) -> None:
    units = [Unit(size, -(-size // STEP_NBYTES)) for size in sizes]
    each = 1 << 16
    total = sum(unit.nbytes + each for unit in units)
    for share in split(units, ways):
        cost = sum((units[at.number].nbytes + each) * (at.stop - at.first) / units[at.number].steps for at in share)
        assert cost <= total / ways + 2 * (STEP_NBYTES + each)


def test_small_tensors_stay_whole_and_a_large_one_is_cut() -> None:
    assert split([Unit(100)] * 4, 2) == [[Portion(0, 0, 1), Portion(1, 0, 1)], [Portion(2, 0, 1), Portion(3, 0, 1)]]
    assert split([Unit(1 << 30, 256)], 2) == [[Portion(0, 0, 128)], [Portion(0, 128, 256)]]
    assert split([], 2) == [[], []]


def test_the_elements_of_all_portions_are_those_of_the_tensor() -> None:
    for dtype in DTYPES:
        for numel in (0, 1, 8, 3 * step_of(describe("x", (1,), dtype)) + 5):
            info = describe("x", (numel,), dtype)
            ranges = [elements(info, portion) for share in split(units_of([info]), 3) for portion in share]
            assert ranges[0][0] == 0
            assert ranges[-1][1] == numel
            assert all(before[1] == after[0] for before, after in pairwise(ranges))
            assert all(start % dtype.grain == 0 for start, _ in ranges)
