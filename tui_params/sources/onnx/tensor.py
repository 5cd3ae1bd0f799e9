"""A TensorProto of onnx.proto: its name, type and shape, and where its values are; no value is read."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from tui_params.core.dtypes import DType, named, unknown
from tui_params.core.tensor import MAX_LISTED_NDIM
from tui_params.sources.bytes.protobuf import BYTES, VARINT, BadMessageError, Bytes, Field, fields, varint

MAX_TEXT = 2000
MAX_NAME_NBYTES = 4096
MAX_RANGES = 100_000
"""Pieces of values that are not packed: onnx.proto asks for packed ones."""

_MAX_DIM = 1 << 60

_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16", 17: "float8_e4m3fn",
    18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4", 23: "float4_e2m1fn",
    24: "float8_e8m0fnu", 25: "uint2", 26: "int2", 27: "float6_e2m3fn", 28: "float6_e3m2fn",
}  # fmt: skip
_OTHER = {0: "undefined", 8: "string"}
STRING = 8
_TYPED = {
    4: {1, 14}, 5: {2, 3, 4, 5, 6, 9, 10, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28}, 7: {7}, 10: {11, 15},
    11: {12, 13},
}  # fmt: skip
"""The types whose values may be in float_data, int32_data, int64_data, double_data and uint64_data."""


class Proto(msgspec.Struct):
    """What a TensorProto says. ``ranges`` are the places of its values in the file, ``field`` the field they are in:

    9 for raw bytes, else one of float_data, int32_data and so on; 0 if there are none. ``external`` are the entries
    about a file that has them instead. ``texts`` counts the texts of a tensor of texts. ``is_odd`` says that its name
    or an entry is no UTF-8, ``fault`` what makes no sense.
    """

    name: str = ""
    code: int = 0
    dims: list[int] = []
    field: int = 0
    ranges: list[tuple[int, int]] = []
    is_external: bool = False
    external: dict[str, str] = {}
    texts: int = 0
    is_odd: bool = False
    fault: str | None = None

    @property
    def dtype(self) -> DType:
        """The element type."""
        return type_of(self.code)


@lru_cache(256)
def type_of(code: int) -> DType:
    """The element type of that number; an unknown one has the number in its name."""
    return named(_TYPES.get(code, "")) or unknown(_OTHER.get(code, f"onnx {code}"))


def read_text(data: Bytes, field: Field, most: int = MAX_TEXT) -> str:
    """The text of a field, cut off at ``most`` bytes."""
    return data.at(field.start, max(min(field.stop - field.start, most), 0)).decode("utf-8", "backslashreplace")


def _is_odd(data: Bytes, field: Field) -> bool:
    """Whether the text of a field is no UTF-8. Of a very long one, which is cut, this is not told."""
    size = field.stop - field.start
    if not 0 <= size <= MAX_NAME_NBYTES:
        return False
    try:
        data.at(field.start, size).decode()
    except UnicodeDecodeError:
        return True
    return False


def read_entry(data: Bytes, field: Field) -> tuple[str, str]:
    """A StringStringEntryProto: key and value. Raises BadMessageError."""
    found = {1: "", 2: ""}
    for inner in fields(data, field.start, min(field.stop, data.size)):
        if inner.number in found and inner.kind == BYTES:
            found[inner.number] = read_text(data, inner)
    return found[1], found[2]


def read_tensor(data: Bytes, start: int, stop: int) -> Proto:
    """The TensorProto in the bytes ``start:stop``. Of a damaged one, what comes before the damage."""
    proto = Proto()
    end = start
    try:
        for field in fields(data, start, stop):
            _take(proto, data, field)
            end = field.stop
    except BadMessageError:
        # Values that the file does not have all of are told as that.
        if end <= data.size or not proto.ranges or proto.ranges[-1][1] != end:
            proto.fault = proto.fault or "its description is damaged"
    if proto.field in _TYPED and proto.code in _TYPES and proto.code not in _TYPED[proto.field]:
        proto.fault = f"its values are not in the field for elements of type {_TYPES[proto.code]}"
    return proto


def _take(proto: Proto, data: Bytes, field: Field) -> None:
    number, kind = field.number, field.kind
    if number == 1:
        _add_dims(proto, data, field)
    elif number == 2 and kind == VARINT:
        proto.code = field.value
    elif number == 8 and kind == BYTES:
        proto.name = read_text(data, field, MAX_NAME_NBYTES)
        proto.is_odd = proto.is_odd or _is_odd(data, field)
    elif number == 3 and kind == BYTES:
        proto.fault = "it says that it is a segment of a larger tensor, which no reader puts together"
    elif number == 6 and kind == BYTES:
        proto.texts += 1
    elif number == 13 and kind == BYTES:
        key, value = read_entry(data, field)
        proto.external[key] = value
        proto.is_odd = proto.is_odd or "\\x" in key + value
    elif number == 14 and kind == VARINT:
        proto.is_external = field.value == 1
    elif number == 9 or number in _TYPED:
        if proto.field not in (0, number):
            proto.fault = "it has values in two places"
        if len(proto.ranges) >= MAX_RANGES:
            proto.fault = f"its values lie in more than {MAX_RANGES:,} pieces"
            return
        if number == 9:
            # Of several, the last counts.
            proto.ranges.clear()
        proto.field = number
        proto.ranges.append(_range(data, field))


def _range(data: Bytes, field: Field) -> tuple[int, int]:
    if field.kind != VARINT:
        return field.start, field.stop
    _, stop = varint(data, field.start, data.size)
    return field.start, stop


def _add_dims(proto: Proto, data: Bytes, field: Field) -> None:
    found: list[int] = []
    if field.kind == VARINT:
        found.append(field.value)
    elif field.kind == BYTES:
        at, stop = field.start, min(field.stop, data.size)
        while at < stop and len(found) <= MAX_LISTED_NDIM:
            value, at = varint(data, at, stop)
            found.append(value)
    proto.dims += found
    if len(proto.dims) > MAX_LISTED_NDIM or any(dim > _MAX_DIM for dim in found):
        proto.dims.clear()
        proto.fault = "its shape cannot be that of a tensor"


def offset_and_length(external: dict[str, str]) -> tuple[int, int | None] | None:
    """Where in its file an external tensor starts, and its bytes (None: all that follow); None if that is no number."""
    numbers: list[Any] = []
    for key in ("offset", "length"):
        text = external.get(key)
        if text is not None and not (text.isascii() and text.isdecimal() and len(text) < 19):
            return None
        numbers.append(None if text is None else int(text))
    return numbers[0] or 0, numbers[1]
