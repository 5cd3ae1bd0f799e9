"""What is sent: any partition of the elements of a tensor merges, by way of the wire, to the figures of the whole."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_memory import dtype_of
from tests.factories_numbers import READABLE, BytesSource
from tui_params.core.dtypes import DType
from tui_params.core.numbers import summary as summaries
from tui_params.core.numbers.difference import Tally
from tui_params.core.numbers.sent_summary import pack_summary, unpack_summary
from tui_params.core.reading.partial import Measured, Partial
from tui_params.core.reading.tensor_reading import Reading
from tui_params.core.team import Compared
from tui_params.core.tensor import TensorInfo, describe
from tui_params.errors import ReadError
from tui_params.ranks.channel import PIECE_NBYTES, Joiner, cut
from tui_params.ranks.wire import (
    ComparedPart,
    Part,
    decode,
    encode,
    pack_compared,
    pack_maxima,
    unpack_compared,
    unpack_maxima,
)


def sent(part: Part) -> Part:
    """The message as it arrives."""
    joiner = Joiner()
    arrived = [joiner.add(piece) for piece in cut(encode([part]))]
    assert arrived[:-1] == [None] * (len(arrived) - 1)
    assert arrived[-1] is not None
    (message,) = decode(arrived[-1])
    assert isinstance(message, Part)
    return message


def read(source: BytesSource, info: TensorInfo, start: int, stop: int) -> Partial:
    reading = Reading(source, info, has_channels=True, ranges=[(start, stop)])
    reading.run()
    return reading.partial()


def by_parts(source: BytesSource, info: TensorInfo, cuts: list[int], order: list[int]) -> Measured:
    whole = Partial.empty(info, has_channels=True)
    for number in order:
        start, stop = cuts[number], cuts[number + 1]
        found = read(source, info, start, stop)
        maxima = None if found.maxima is None else pack_maxima(found.maxima.found_in(start, stop))
        part = sent(Part(0, 0, pack_summary(found.summary), maxima))
        assert (part.maxima is None) == (whole.maxima is None)
        there = None
        if part.maxima is not None and whole.maxima is not None:
            there = unpack_maxima(part.maxima, whole.maxima.word)
        whole.take(unpack_summary(part.summary, info.dtype), there)
    return whole.measured(info)


@pytest.mark.parametrize("limit", [1 << 16, 40], ids=["patterns", "buckets"])
@settings(max_examples=60)
@given(data=st.data())
def test_any_partition_merges_to_the_same_figures(limit: int, data: st.DataObject) -> None:
    dtype: DType = data.draw(st.sampled_from(READABLE))
    shape = data.draw(st.sampled_from([(29,), (12, 17), (3, 5, 8), (4, 3, 3, 3), (0, 4)]))
    info = describe("model.embed_tokens.weight", shape, dtype)
    raw = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 256, info.nbytes, np.uint8)
    if dtype.name == "bool":
        raw &= 1
    source = BytesSource({info: raw})
    inner = data.draw(st.sets(st.integers(1, max(1, info.numel // 8))))
    cuts = sorted({0, info.numel, *(min(8 * place, info.numel) for place in inner)})
    order = data.draw(st.permutations(range(len(cuts) - 1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summaries, "EXACT_LIMIT", limit)
        whole = read(source, info, 0, info.numel).measured(info)
        found = by_parts(source, info, cuts, order)
    assert msgspec.json.encode(found) == msgspec.json.encode(whole)
    assert repr(found) == repr(whole)


def test_sums_of_thousands_of_bits_arrive() -> None:
    values = np.array([1e308, -1e308, 5e-324, 1e-200, np.nan, -np.inf, 0.0] * 12_000)
    info = describe("x", values.shape, dtype_of(values))
    found = read(BytesSource({info: values.view(np.uint8).reshape(-1)}), info, 0, info.numel).summary
    assert found.moments is not None
    assert found.moments.squares.bit_length() > 3000
    assert unpack_summary(sent(Part(0, 0, pack_summary(found), None)).summary, info.dtype) == found


@given(st.binary(max_size=200))
def test_what_is_no_message_raises_nothing_else_than_valueerror_fuzz(data: bytes) -> None:
    try:
        decode(data)
    except ValueError:
        return


def test_maxima_of_another_tensor_are_refused() -> None:
    values = np.ones((4, 6), np.float32)
    info = describe("x", (4, 6), dtype_of(values))
    found = read(BytesSource({info: values.view(np.uint8).reshape(-1)}), info, 0, 24)
    other = Partial.empty(describe("x", (3, 6), info.dtype), has_channels=True)
    assert found.maxima is not None
    with pytest.raises(ValueError, match="another tensor"):
        other.take(found.summary, found.maxima.found_in(0, 24))


@settings(max_examples=40)
@given(st.lists(st.floats(width=32), min_size=1, max_size=60), st.integers(0, 5), st.data())
def test_what_was_counted_of_two_tensors_arrives(values: list[float], shift: int, data: st.DataObject) -> None:
    a = np.array(values, np.float32)
    b = np.roll(a, shift)
    dtype = dtype_of(a)
    at = data.draw(st.integers(0, a.size))
    whole, first, last = (Tally(dtype, dtype) for _ in range(3))
    for tally, ranges in ((whole, [(0, at), (at, a.size)]), (first, [(0, at)]), (last, [(at, a.size)])):
        for start, stop in ranges:
            tally.add(a[start:stop].view(np.uint8), b[start:stop].view(np.uint8), stop - start, start)
    merged = Tally(dtype, dtype)
    for tally in (last, first):
        (message,) = decode(encode([pack_compared(3, 1, Compared(tally.counted(), ((0, 8),)))]))
        assert isinstance(message, ComparedPart)
        assert (message.number, message.first) == (3, 1)
        there = unpack_compared(message)
        assert there.same == ((0, 8),)
        assert there.counted is not None
        merged.add_counted(there.counted)
    assert merged.difference() == whole.difference()
    assert merged.norms_agree == whole.norms_agree


def test_pieces_are_bounded_and_what_is_no_piece_is_refused() -> None:
    data = bytes(2 * PIECE_NBYTES + 1)
    pieces = list(cut(data))
    assert [len(piece) for piece in pieces] == [PIECE_NBYTES + 1, PIECE_NBYTES + 1, 2]
    joiner = Joiner()
    assert [joiner.add(piece) for piece in pieces] == [None, None, data]
    for wrong in (b"", b"\2x", b"\1" + bytes(PIECE_NBYTES + 1)):
        with pytest.raises(ValueError, match="no piece"):
            Joiner().add(wrong)


def test_a_type_that_cannot_be_decoded_raises_as_elsewhere() -> None:
    with pytest.raises(ReadError):
        Partial.empty(describe("x", (3,), DType("odd", "odd", 0, "unknown")), has_channels=True)
