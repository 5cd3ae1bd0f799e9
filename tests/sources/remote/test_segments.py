from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui_params.sources.remote.segments import Segments

SPANS = st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
CONTENT = bytes(range(60))


@given(st.lists(st.tuples(SPANS, st.booleans()), max_size=20), SPANS)
def test_what_arrived_and_what_is_missing(steps: list[tuple[tuple[int, int], bool]], wanted: tuple[int, int]) -> None:
    segments = Segments()
    known: set[int] = set()
    kept: dict[int, int] = {}
    for (begin, end), is_added in steps:
        if is_added:
            for first, nbytes in segments.add(begin, CONTENT[begin:end]):
                kept[first] = nbytes
                assert not known & set(range(first, first + nbytes))
                known |= set(range(first, first + nbytes))
            assert set(range(begin, end)) <= known
        elif kept:
            first = min(kept, key=lambda each: abs(each - begin))
            segments.drop(first)
            known -= set(range(first, first + kept.pop(first)))
    assert segments.nbytes == len(known)
    begin, end = wanted
    gaps = segments.gaps(begin, end)
    assert {byte for first, last in gaps for byte in range(first, last)} == set(range(begin, end)) - known
    assert gaps == sorted(gaps)
    assert all(first < last for first, last in gaps)
    assert segments.read(begin, end) == (None if gaps else CONTENT[begin:end])


def test_what_is_dropped_twice_is_gone_once() -> None:
    segments = Segments()
    assert segments.add(4, b"abcd") == [(4, 4)]
    assert segments.add(2, b"..abcdef") == [(2, 2), (8, 2)]
    segments.drop(4)
    segments.drop(4)
    assert (segments.gaps(0, 12), segments.nbytes) == ([(0, 2), (4, 8), (10, 12)], 4)
