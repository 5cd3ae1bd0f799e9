"""The header of an array in a NumPy file: its element type, its shape, and in which order the elements lie.

numpy/lib/_format_impl.py and the document "NEP 1": the bytes ``93 NUMPY``, a version of two bytes, the length of the
header (uint16; uint32 from version 2 on), and a Python dict with the keys descr, fortran_order and shape.
"""

from __future__ import annotations

import re
from math import prod
from typing import Any

import msgspec

from tui_params.core.dtypes import DType
from tui_params.core.reading.extent import Extent
from tui_params.core.tensor import MAX_LISTED_NDIM, TensorInfo, beyond_numpy
from tui_params.core.text import shape
from tui_params.errors import OpenError
from tui_params.sources.bytes.array_types import type_of
from tui_params.sources.numpy_save.literal import parse_literal

MAGIC = b"\x93NUMPY"
MAX_HEADER_NBYTES = 1 << 20
"""numpy itself refuses more than 10,000 characters, unless it is told to trust the file."""

_MAX_DIM = (1 << 63) - 1
_TEXTS = re.compile(r"[<>=|]?((?P<kind>[SUa])(?P<length>\d{0,9})|[Mm]8(?:\[.{1,12}\])?)", re.ASCII)


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
    value = parse_literal(text.strip(" \n"))
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


def text_fault(header: Header, available: int) -> str | None:
    """That texts or dates have another length than their shape and type need; None if not."""
    match = _TEXTS.fullmatch(header.descr)
    assert match is not None
    width = 8 if match["kind"] is None else int(match["length"] or 0) * (4 if match["kind"] == "U" else 1)
    needed = prod(header.shape) * width
    return None if needed == available else _length(needed, available)


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
    return _length(dtype.nbytes(prod(header.shape)), available)


def _length(needed: int, available: int) -> str:
    return f"its shape and type need {needed:,} bytes, and it has {max(available, 0):,}"
