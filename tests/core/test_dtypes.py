"""Sizes of element types: of whole bytes, of packed bits, and of a made-up type that is stored in blocks."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories_numbers import BytesSource
from tui_params.api.comparing import compare
from tui_params.core.dtypes import DTYPES, DType, fit, from_torch, unknown
from tui_params.core.numbers.decode import decode
from tui_params.core.reading.tensor_reading import measure, sample
from tui_params.core.source import Listing
from tui_params.core.tensor import describe
from tui_params.errors import ReadError
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.local import opened

Q4 = DType("q4_0", "q4_0", 0, "float", block=(32, 18))
"""As GGUF stores four bits: 32 of them and a float16 that scales them."""
Q3 = DType("q3", "q3", 0, "float", block=(12, 5))
"""A block that is no multiple of 8 elements."""
SIZED = (*DTYPES, Q4, Q3)


def bits_of(dtype: DType) -> Fraction:
    return Fraction(dtype.bits) if dtype.block is None else Fraction(8 * dtype.block[1], dtype.block[0])


@given(st.sampled_from(SIZED), st.integers(0, 10_000))
def test_sizes_are_those_of_whole_units(dtype: DType, numel: int) -> None:
    elements, nbytes = dtype.unit
    assert Fraction(8 * nbytes, elements) == bits_of(dtype)
    assert dtype.nbytes(numel) == (
        ceil(numel * bits_of(dtype) / 8) if dtype.block is None else -(-numel // elements) * nbytes
    )
    assert dtype.fills(numel, dtype.nbytes(numel)) == (numel % elements == 0)
    assert not dtype.fills(numel, dtype.nbytes(numel) + 1)
    held = dtype.numel(numel)
    assert dtype.nbytes(held) <= numel
    more = held + (elements if dtype.block is not None else 1)
    assert more * bits_of(dtype) > 8 * numel
    assert dtype.is_sized
    assert dtype.is_packed == (bits_of(dtype) < 8)
    assert dtype.itemsize * 8 == (dtype.bits if dtype.bits >= 8 else 0)


@given(st.sampled_from(SIZED), st.sampled_from(SIZED), st.integers(0, 100_000))
def test_what_fits_starts_and_ends_at_whole_bytes_of_each_type(a: DType, b: DType, nbytes: int) -> None:
    for dtypes in ((a,), (a, b)):
        numel = fit(nbytes, *dtypes)
        assert numel >= 1
        for dtype in dtypes:
            assert numel % dtype.grain == 0
            assert dtype.fills(numel, dtype.nbytes(numel))
        grain = fit(0, *dtypes)  # the smallest that there is
        assert numel == grain or all(dtype.nbytes(numel) <= nbytes for dtype in dtypes)
        assert any(dtype.nbytes(numel + grain) > nbytes for dtype in dtypes)


def test_of_a_type_that_nobody_knows_there_is_no_size() -> None:
    dtype = unknown("float3")
    assert not dtype.is_sized
    assert not dtype.is_packed
    assert (dtype.unit, dtype.nbytes(9), dtype.numel(9), dtype.itemsize) == ((1, 0), 0, 0, 0)
    bf16 = from_torch("bfloat16")
    assert bf16 is not None
    assert fit(1600, dtype, bf16) == fit(1600, bf16) == 800
    assert fit(1600, dtype) == 1600  # not one element at a time


def test_a_tensor_of_blocks_is_listed_with_its_bytes() -> None:
    info = describe("w", (4, 64), Q4)
    assert (info.numel, info.nbytes, info.storage_shape) == (256, 144, (4, 36))
    ragged = describe("w", (4, 33), Q4)
    assert (ragged.nbytes, ragged.storage_shape) == (5 * 18, None)


def test_values_and_statistics_of_blocks_are_refused_by_name() -> None:
    info = describe("w", (4, 64), Q4)
    raw = np.zeros(info.nbytes, np.uint8)
    refusal = "values of the element type q4_0 cannot be decoded here"
    for read in (measure, sample):
        with pytest.raises(ReadError, match=refusal):
            read(BytesSource({info: raw}), info)
    with pytest.raises(ReadError, match=refusal):
        decode(raw, Q4, 256)


def test_of_blocks_in_a_file_there_are_bytes_but_no_window(tmp_path: Path) -> None:
    info = msgspec.structs.replace(describe("w", (4, 64), Q4), file="w.bin", offset=3)
    raw = np.random.default_rng(0).integers(0, 256, info.nbytes, np.uint8)
    path = tmp_path / "w.bin"
    path.write_bytes(b"???" + raw.tobytes())
    with opened(path) as (_, file):
        source = ExtentSource("w", Listing("raw", (info,)), {}, {"w.bin": file})
    assert b"".join(block.tobytes() for block in source.blocks(info)) == raw.tobytes()
    assert b"".join(block.tobytes() for block in source.blocks(info, 64, 128)) == raw[36:72].tobytes()
    for expression in ("", "[0, :32]", "[1, 5]"):
        with pytest.raises(ReadError, match="values of the element type q4_0 cannot be decoded here"):
            source.read("w", expression)


@pytest.mark.parametrize("step", [96, 32 * 7])
def test_blocks_are_compared_byte_by_byte(step: int) -> None:
    info = describe("w", (40, 96), Q4)
    raw = np.random.default_rng(0).integers(0, 256, info.nbytes, np.uint8)
    changed = raw.copy()
    changed[-1] ^= 1
    same = compare(BytesSource({info: raw}, step), BytesSource({info: raw.copy()}, 128))
    assert (same.identical, same.changed, same.uncompared) == (("w",), (), ())
    other = compare(BytesSource({info: raw}, step), BytesSource({info: changed}, 128))
    assert other.identical == ()
    (reason,) = [each.reason for each in other.uncompared]
    assert reason == "values of the element type q4_0 cannot be decoded here"
