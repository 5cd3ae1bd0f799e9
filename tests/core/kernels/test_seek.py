"""The first and the last word that is sought is the one that a look at every word finds, by numpy and compiled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tui_params.core.kernels.by_numpy import NumpyKernels
from tui_params.core.kernels.engine import Engine
from tui_params.core.kernels.protocol import Kernels
from tui_params.core.kernels.words import Words


@pytest.fixture(scope="module")
def kernels(engine: Engine) -> Kernels:
    return engine.current()


def slow(codes: list[int], sought: Words, start: int, stop: int, step: int) -> int | None:
    places = range(start, stop)
    for place in places if step > 0 else reversed(places):
        code = codes[place] & sought.mask
        if any((code - first) % (1 << sought.bits) <= more for first, more in sought.ranges):
            return place
    return None


def stored(codes: list[int], bits: int) -> NDArray[np.unsignedinteger]:
    """The words, two in a byte where they have 4 bits, one byte away from where they would be aligned."""
    if bits == 4:
        even = codes + [0] * (len(codes) % 2)
        return np.array([low | high << 4 for low, high in zip(even[::2], even[1::2], strict=True)], np.uint8)
    raw = np.zeros(1 + len(codes) * bits // 8, np.uint8)
    words = raw[1:].view(f"<u{bits // 8}")
    words[:] = codes
    return words


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], Words, int, int]:
    bits = draw(st.sampled_from([4, 8, 16, 32, 64]))
    everything = (1 << bits) - 1
    word = st.one_of(
        st.integers(0, everything), st.sampled_from([0, 1, everything, everything >> 1, (everything >> 1) + 1])
    )
    ranges = draw(st.lists(st.tuples(word, st.one_of(st.integers(0, 3), word)), max_size=5))
    mask = draw(st.sampled_from([everything, everything >> 1]))
    # A range of the lower half does not go on behind it.
    ranges = [(first & mask, min(more, mask - (first & mask)) if mask < everything else more) for first, more in ranges]
    near = [st.just((first + far) & everything) for first, more in ranges for far in (-1, 0, more, more + 1)]
    codes = draw(st.lists(st.one_of(word, *near), max_size=40))
    start, stop = sorted(draw(st.tuples(*[st.integers(0, len(codes))] * 2)))
    return codes, Words(bits, mask, tuple(ranges)), start, stop


@settings(max_examples=150)
@example(case=([0], Words(4, 15, ((13, 3),)), 0, 1), step=1)
@example(case=([0], Words(8, 255, ((253, 3),)), 0, 1), step=1)
@example(case=([1], Words(8, 255, ((0, 0), (0, 1))), 0, 1), step=1)
@given(case=cases(), step=st.sampled_from([1, -1]))
def test_a_random_word_is_found(kernels: Kernels, case: tuple[list[int], Words, int, int], step: int) -> None:
    codes, sought, start, stop = case
    found = kernels.seek(stored(codes, sought.bits), sought, start, stop, step)
    assert found == slow(codes, sought, start, stop, step)


@pytest.mark.parametrize("bits", [4, 8, 16, 32, 64])
def test_a_far_word_is_found_from_either_end(kernels: Kernels, bits: int) -> None:
    # Over several of the pieces that are looked at in vectors, and of the steps of numpy.
    size = (1 << 22) // bits + 7
    mask, one = (1 << bits - 1) - 1, (1 << bits - 1) | 5
    places = [0, 1, size // 3, size // 3 + 1, size - 2, size - 1]
    raw = np.zeros((size * max(bits, 4) + 7) // 8, np.uint8)
    for place in places:
        if bits == 4:
            raw[place // 2] |= (one & 15) << 4 * (place % 2)
        else:
            raw[: size * bits // 8].view(f"<u{bits // 8}")[place] = one
    words = raw if bits == 4 else raw[: size * bits // 8].view(f"<u{bits // 8}")
    for sought in (Words(bits, mask, ((5, mask - 5),)), Words(bits, 2 * mask + 1, ((3, 1), (one, 0), (2, 0)))):
        for number, place in enumerate(places):
            after = places[number + 1] if number + 1 < len(places) else None
            before = places[number - 1] if number else None
            assert kernels.seek(words, sought, place, size, 1) == place
            assert kernels.seek(words, sought, place + 1, size, 1) == after
            assert kernels.seek(words, sought, 0, place + 1, -1) == place
            assert kernels.seek(words, sought, 0, place, -1) == before


def test_the_compiled_loop_and_numpy_agree_on_every_word_of_sixteen_bits(compiled_engine: Engine) -> None:
    words = np.random.default_rng(3).permutation(1 << 16).astype(np.uint16)
    compiled, plain = compiled_engine.current(), NumpyKernels()
    for sought in (Words(16, 0x7FFF, ((0x7F80, 0x7F),)), Words(16, 0xFFFF, ((0x3F80, 0x10), (0xBF80, 0x10)))):
        start, seen = 0, 0
        while (place := compiled.seek(words, sought, start, words.size, 1)) is not None:
            assert place == plain.seek(words, sought, start, words.size, 1)
            start, seen = place + 1, seen + 1
        assert seen == (256 if sought.mask == 0x7FFF else 34)
