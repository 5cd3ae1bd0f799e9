"""The header of an array in a NumPy file: its element type, its shape, and in which order the elements lie.

numpy/lib/_format_impl.py and the document "NEP 1": the bytes ``93 NUMPY``, a version of two bytes, the length of the
header (uint16; uint32 from version 2 on), and a Python dict with the keys descr, fortran_order and shape.
"""

from __future__ import annotations

import re
from math import prod
from typing import Any

import msgspec

from tui_params.core.dtypes import DType, from_torch, unknown
from tui_params.core.reading.extent import Extent
from tui_params.core.tensor import MAX_LISTED_NDIM, TensorInfo, beyond_numpy
from tui_params.core.text import clean, shape
from tui_params.errors import OpenError
from tui_params.sources.numpy_save.literal import parse_literal

MAGIC = b"\x93NUMPY"
MAX_HEADER_NBYTES = 1 << 20
"""numpy itself refuses more than 10,000 characters, unless it is told to trust the file."""

_MAX_DIM = (1 << 63) - 1
_PLAIN = re.compile(r"([<>=|])([biufcV])(\d{1,4})")
_TEXTS = re.compile(r"[<>=|]?([SUa]\d*|[Mm]8(?:\[.{1,12}\])?)")

_NAMES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8",
    "u8": "uint64", "u4": "uint32", "u2": "uint16", "u1": "uint8", "b1": "bool", "c16": "complex128", "c8": "complex64",
    "f1": "float8_e5m2",
}  # fmt: skip
"""``f1`` is written by ml_dtypes: of its types, float8_e5m2 alone says that it is a float (numpy.load refuses it)."""

_LONG = {"f16": "float128", "f12": "float96", "c32": "complex256", "c24": "complex192"}


class Header(msgspec.Struct, frozen=True):
    """What the header says. ``nbytes`` is its own length, up to the first element; ``descr`` is as it was written."""

    descr: Any
    is_fortran: bool
    shape: tuple[int, ...]
    nbytes: int


def read_header(head: bytes) -> Header | int:
    """The header at the start of ``head``, or how many bytes of the file are needed to read it. Raises OpenError."""
    if head[:6] != MAGIC:
        raise OpenError("it does not start as an array of NumPy does")
    if len(head) < 12:
        raise OpenError("it ends inside its header: it is truncated")
    major, minor = head[6], head[7]
    if major not in (1, 2, 3) or minor:
        raise OpenError(f"it has version {major}.{minor} of the format, and 1.0, 2.0 and 3.0 are known")
    start = 10 if major == 1 else 12
    length = int.from_bytes(head[8:start], "little")
    if length > MAX_HEADER_NBYTES:
        raise OpenError(f"its header claims {length:,} bytes: more than {MAX_HEADER_NBYTES:,} are refused")
    if start + length > len(head):
        return start + length
    try:
        text = head[start : start + length].decode("utf-8" if major == 3 else "latin-1")
    except UnicodeDecodeError:
        raise OpenError("its header is no UTF-8 text") from None
    value = parse_literal(text.strip(" \n\0"))
    if type(value) is not dict or not {"descr", "fortran_order", "shape"} <= value.keys():
        raise OpenError("its header does not say what type, shape and order its elements have")
    return Header(value["descr"], _order(value["fortran_order"]), _shape(value["shape"]), start + length)


def _order(value: Any) -> bool:
    if type(value) is not bool:
        raise OpenError("its header does not say in what order its elements lie")
    return value


def _shape(value: Any) -> tuple[int, ...]:
    if type(value) is not tuple or not all(type(dim) is int and 0 <= dim <= _MAX_DIM for dim in value):
        raise OpenError("its header has no shape that an array can have")
    if len(value) > MAX_LISTED_NDIM:
        raise OpenError(f"its header has {len(value):,} dimensions: more than {MAX_LISTED_NDIM:,} are not listed")
    return value


def text_type(descr: Any) -> str | None:
    """``U5`` where the elements are texts or dates, which are no numbers; else None."""
    match = _TEXTS.fullmatch(descr) if type(descr) is str else None
    return None if match is None else match[1]


def type_of(descr: Any) -> tuple[DType, bool, str | None, tuple[str, ...]]:
    """The element type, whether its bytes are swapped, why it cannot be read (None if it can), and notes."""
    if type(descr) is not str:
        return unknown("record"), False, _records(descr), ()
    match = _PLAIN.fullmatch(descr)
    code = match[2] + match[3] if match is not None else ""
    known = from_torch(_NAMES.get(code, ""))
    if match is not None and known is not None:
        is_swapped = match[1] == ">" and known.itemsize > 1
        return known, is_swapped, None, ("big-endian in the file",) * is_swapped
    if descr == "<V2":
        # The types of ml_dtypes have a byte order, other voids have "|".
        bfloat16 = from_torch("bfloat16")
        assert bfloat16 is not None
        return bfloat16, False, None, ("written as <V2, as ml_dtypes writes bfloat16",)
    if code == "V1":
        bits8 = from_torch("bits8")
        assert bits8 is not None
        note = f"written as {descr}: one byte each, of a type that the file does not name (fp8 or int4 of ml_dtypes?)"
        return bits8, False, None, (note,)
    if descr.lstrip("<>=|")[:1] == "O":
        return unknown("object"), False, "an array of Python objects, which are pickled: its values are not read", ()
    name = _LONG.get(code, clean(descr.lstrip("<>=|"), 40) or "unknown")
    return unknown(name), False, f"elements of type {name} cannot be decoded here", ()


def _records(descr: Any) -> str:
    fields = descr if type(descr) is list else []
    names = [field[0] for field in fields if type(field) is tuple and field]
    # A title beside the name.
    plain = [name[1] if type(name) is tuple and len(name) == 2 else name for name in names]
    shown = ", ".join(clean(name, 40) for name in plain[:8] if type(name) is str and name)
    more = f" and {len(names) - 8:,} more" if len(names) > 8 else ""
    return f"an array of records (fields {shown}{more}): its values are not read"


def describe(header: Header, name: str, file: str, offset: int | None, available: int) -> tuple[TensorInfo, Extent]:
    """The array as a tensor, and where its elements lie; ``available`` are the bytes from ``offset`` on.

    Elements in column-major order get strides. A ``fault`` of its length is in ``unreadable``.
    """
    dtype, is_swapped, refusal, notes = type_of(header.descr)
    numel = prod(header.shape)
    nbytes = dtype.nbytes(numel) if dtype.is_sized else min(available, _MAX_DIM)
    if refusal is None:
        refusal = beyond_numpy(len(header.shape))
    if dtype.is_sized and nbytes > available:
        refusal = length_fault(header, dtype, available)
    stride = None
    if header.is_fortran and numel and sum(dim != 1 for dim in header.shape) > 1:
        steps = [1]
        for dim in header.shape[:-1]:
            steps.append(steps[-1] * dim)
        stride = tuple(steps)
    if numel > _MAX_DIM:
        raise OpenError(f"its shape {shape(header.shape[:8])} has more elements than there can be")
    info = TensorInfo(
        name,
        header.shape,
        dtype,
        numel,
        nbytes,
        "tensor",
        file,
        offset,
        stride=stride,
        unreadable=refusal,
        notes=notes + ("Fortran order (columns first) in the file",) * (stride is not None),
    )
    begin = offset or 0
    return info, Extent(file, begin, begin, begin + nbytes, stride, is_swapped=is_swapped)


def length_fault(header: Header, dtype: DType, available: int) -> str:
    """That an array has fewer bytes than its shape and type need."""
    needed = dtype.nbytes(prod(header.shape))
    return f"its shape and type need {needed:,} bytes, and it has {max(available, 0):,}"
