"""Fields of a message: which bytes are asked for, and the same fields from any window onto them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories_onnx import field, model, number, tensor
from tui_params.sources.bytes.protobuf import BadMessageError, Bytes, fields, varint
from tui_params.sources.onnx.graph import Walk
from tui_params.sources.onnx.usual import Run


def test_what_is_skipped_is_not_read() -> None:
    raw = model(tensor(f"layers.{at}.weight", (20_000,), 3, raw=bytes(20_000)) for at in range(100))
    asked = []

    def read(offset: int, count: int) -> bytes:
        asked.append(count)
        return raw[offset : offset + count]

    walk = Walk(Bytes(read, len(raw)), "m")
    walk.model()
    (run,) = walk.tensors
    assert isinstance(run, Run)
    assert run.names == [f"layers.{at}.weight" for at in range(100)]
    assert sum(asked) < len(raw) // 5


def test_what_lies_together_is_read_together() -> None:
    raw = b"".join(field(1, f"{at:060}") for at in range(4_000))
    asked = []

    def read(offset: int, count: int) -> bytes:
        asked.append(count)
        return raw[offset : offset + count]

    data = Bytes(read, len(raw))
    assert len([data.at(each.start, each.stop - each.start) for each in fields(data, 0, len(raw))]) == 4_000
    assert len(asked) < 20


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.integers(1, 12))
def test_numbers_are_the_same_however_the_bytes_come(values: list[int], most: int) -> None:
    raw = b"".join(map(number, values))
    data = Bytes(lambda offset, count: raw[offset : offset + max(count, most)], len(raw))
    at, found = 0, []
    while at < len(raw):
        value, at = varint(data, at, len(raw))
        found.append(value)
    assert found == values


def test_a_number_ends_within_its_message() -> None:
    data = Bytes(lambda offset, count: b"\x80\x01"[offset : offset + count], 2)
    assert varint(data, 0, 2) == (128, 2)
    for at, stop in ((0, 1), (2, 2), (1, 1)):
        with pytest.raises(BadMessageError):
            varint(data, at, stop)
