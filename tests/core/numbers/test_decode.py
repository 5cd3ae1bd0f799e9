from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories_numbers import READABLE, exact_values, pack_codes, part_of
from tui_params.core.dtypes import DType, from_torch, numpy_dtype, unknown
from tui_params.core.numbers.decode import decode, numbers, part_dtype, unpack
from tui_params.errors import ReadError


def dtype_named(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype


@given(st.sampled_from([2, 4, 6]), st.data())
def test_unpacking_takes_a_little_endian_stream_apart(bits: int, data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=40))
    assert unpack(pack_codes(codes, bits), bits, len(codes)).tolist() == codes


def test_the_low_nibble_comes_first() -> None:
    assert unpack(np.array([0x21, 0xF3], np.uint8), 4, 3).tolist() == [1, 2, 3]


def test_four_codes_of_six_bits_fill_three_bytes() -> None:
    assert unpack(np.array([0b10_000001, 0b0011_0000, 0b000100_00], np.uint8), 6, 4).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("dtype", [d for d in READABLE if d.bits <= 16 and not d.is_complex], ids=str)
def test_every_pattern_has_the_value_of_its_type(dtype: DType) -> None:
    codes = list(range(1 << dtype.bits))
    raw = (
        pack_codes(codes, dtype.bits) if dtype.is_packed else np.arange(1 << dtype.bits).astype(f"<u{dtype.bits // 8}")
    )
    values = decode(raw.view(np.uint8), dtype, len(codes))
    assert values.dtype == (np.dtype(bool) if dtype.kind == "bool" else numpy_dtype(dtype))
    with np.errstate(invalid="ignore"):
        found = [None if x != x else x for x in values.astype(np.float64).tolist()]
    assert found == [x if x is None else float(x) for x in exact_values(codes, dtype)]


@pytest.mark.parametrize(
    ("name", "raw", "values"),
    [
        ("bfloat16", [0x80, 0x3F, 0x00, 0xC0], [1.0, -2.0]),
        ("float8_e8m0fnu", [0, 127, 254], [2.0**-127, 1.0, 2.0**127]),
        ("float4_e2m1fn", [0x10, 0xF7], [0.0, 0.5, 6.0, -6.0]),
        ("float6_e2m3fn", [0b00_011111, 0b0000_0000, 0b100001_00], [7.5, 0.0, 0.0, -0.125]),
        ("float6_e3m2fn", [0b00_011111, 0b0000_0000, 0b100001_00], [28.0, 0.0, 0.0, -0.0625]),
        ("float8_e4m3fn", [0x7E, 0xFE, 0x01], [448.0, -448.0, 2.0**-9]),
        ("bool", [0, 1, 2, 255], [False, True, True, True]),
        ("int16", [0x00, 0x80], [-32768]),
        ("bits16", [0x00, 0x80], [32768]),
        ("quint8", [0xFF], [255]),
        ("complex32", [0x00, 0x3C, 0x00, 0xC0], [1 - 2j]),
    ],
)
def test_values_by_hand(name: str, raw: list[int], values: list[complex]) -> None:
    dtype = dtype_named(name)
    found = decode(np.array(raw, np.uint8), dtype, len(values))
    assert found.astype(np.complex128 if dtype.is_complex else np.float64).tolist() == values


@pytest.mark.parametrize("name", ["float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_fnuz_types_have_their_only_nan_at_0x80(name: str) -> None:
    values = decode(np.arange(256).astype(np.uint8), dtype_named(name), 256).astype(np.float64)
    assert np.flatnonzero(~np.isfinite(values)).tolist() == [0x80]
    assert np.count_nonzero(values == 0) == 1


@pytest.mark.parametrize("dtype", READABLE, ids=str)
def test_bytes_that_are_missing_are_an_error_and_no_values_are_none(dtype: DType) -> None:
    assert decode(np.empty(0, np.uint8), dtype, 0).size == 0
    with pytest.raises(ReadError, match=f"5 elements of {dtype.name} take {dtype.nbytes(5)} bytes"):
        decode(np.zeros(dtype.nbytes(5) - 1, np.uint8), dtype, 5)


@pytest.mark.parametrize(
    "dtype", [unknown("float3_e1m1"), DType("complex7", "c7", 14, "complex", None, None, "float7")]
)
def test_a_type_that_nobody_knows_is_refused_by_name(dtype: DType) -> None:
    with pytest.raises(ReadError, match=f"element type {dtype.name} cannot be decoded"):
        part_dtype(dtype)
    with pytest.raises(ReadError, match=dtype.name):
        decode(np.zeros(8, np.uint8), dtype, 1)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_numbers_lose_nothing(codes: list[int]) -> None:
    patterns = np.array(codes, np.uint64)
    for name in ("uint64", "int64", "float64"):
        values = numbers(patterns, dtype_named(name)).tolist()
        assert [None if x != x else x for x in values] == exact_values(codes, dtype_named(name))


def test_ml_dtypes_is_what_the_values_are() -> None:
    assert decode(np.zeros(2, np.uint8), dtype_named("bfloat16"), 1).dtype == np.dtype(ml_dtypes.bfloat16)
    assert part_of(dtype_named("complex64")).name == "float32"
