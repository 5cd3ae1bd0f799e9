"""Arrays of numpy inside a pickle: their types, and the place of their elements.

An array of Python objects or of records cannot be read as numbers: where it holds numbers, it is listed with the
reason, so that nobody takes it for read. Arrays of texts and dates are metadata.
"""

from __future__ import annotations

from math import prod
from typing import Any

from tui_params.core.dtypes import DType, from_torch, unknown
from tui_params.core.findings import Finding
from tui_params.core.reading.extent import Extent
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, plural
from tui_params.sources.bytes.held import Held
from tui_params.sources.inert_pickle.machine import MAX_PICKLE_BYTES, MIN_BLOB_BYTES
from tui_params.sources.inert_pickle.values import ArrayType, ArrayValue, Encoded, Stub, Text, render
from tui_params.sources.torch_save.layout import MAX_NUMBER, MalformedTensorError, TensorLister, numbers_of

MAX_HELD_NBYTES = MAX_PICKLE_BYTES
"""Bytes of arrays that are decoded into memory: no more than the pickle itself may have."""

# numpy/_core/numerictypes.py; the digit is the number of bytes.
_CODES = {
    "f8": "float64",
    "f4": "float32",
    "f2": "float16",
    "i8": "int64",
    "i4": "int32",
    "i2": "int16",
    "i1": "int8",
    "u8": "uint64",
    "u4": "uint32",
    "u2": "uint16",
    "u1": "uint8",
    "b1": "bool",
    "c16": "complex128",
    "c8": "complex64",
}
_LONG = {"f16": "float128", "f12": "float96", "c32": "complex256", "c24": "complex192"}
_TEXTS = frozenset("SUaMmT")
"""Kinds of numpy types that hold no numbers: bytes, texts, dates, spans of time."""


def objects_of(value: ArrayValue) -> list[Any] | None:
    """The items of an array of Python objects; None of any other array."""
    return value.data if type(value.data) is list else None


def is_number(value: Any) -> bool:
    """Whether a value inside a list is a number of Python or of numpy."""
    kind = type(value)
    if kind is ArrayValue:
        return value.shape == () and _kind_of(value.dtype) not in _TEXTS | {"O", "V", ""}
    return kind is int or kind is float


def is_metadata(value: ArrayValue) -> bool:
    """Whether an array holds no numbers itself: texts, dates, or Python objects none of which is a number."""
    items = objects_of(value)
    return _kind_of(value.dtype) in _TEXTS or (items is not None and not any(is_number(item) for item in items))


_WIDTHS = {"S": 1, "U": 4, "a": 1, "m": 8, "M": 8}
"""Bytes of one character of a text, or of one date."""


def text_fault(value: ArrayValue) -> str | None:
    """Why numpy refuses an array of texts or dates, which are shown as metadata; None if it takes it."""
    shape = value.shape
    if type(value.data) is not bytes or type(value.dtype) is not ArrayType or type(value.dtype.code) is not str:
        return None
    code = value.dtype.code.lstrip("<>=|")
    count = code[1:].partition("[")[0]
    count = count or "0"
    if code[:1] not in _WIDTHS or not count.isdecimal() or len(count) > 9 or type(shape) is not tuple:
        return None
    if not all(type(dim) is int and 0 <= dim <= MAX_NUMBER for dim in shape[:64]):
        return "its shape is malformed"
    size = _WIDTHS[code[0]] * (int(count) if code[0] in "SUa" else 1)
    state = value.dtype.state
    if code[0] in "SUa" and type(state) is tuple and len(state) > 5 and type(state[5]) is int:
        # The state has the last word.
        size = max(0, state[5])
    needed = prod(shape[:64]) * size
    has = len(value.data)
    # A scalar of texts may be shorter than its type.
    return f"its shape and type need {plural(needed, 'byte')}, and it has {has:,}" if shape and needed != has else None


def add_array(lister: TensorLister, name: str, value: ArrayValue, notes: tuple[str, ...] = ()) -> None:
    """Describe ``value`` under ``name``, which must be new. Raises MalformedTensorError."""
    shape, stride = _layout(value)
    numel = prod(shape)
    dtype, item, refusal = _type_of(value)
    if numel * max(item, 1) > MAX_NUMBER:
        raise MalformedTensorError("has a shape whose product overflows")
    if value.mask is not None and refusal is None:
        refusal = "a masked array: the mask that says which of its values count is not applied here"
    nbytes = numel * item if item else len(value.data) if type(value.data) is bytes else 0
    raw, fault = b"", None
    if refusal is None:
        raw, refusal, fault = _bytes_of(lister, value.data, nbytes)
    if fault is not None:
        lister.report(Finding("error", "storage-bounds", name, fault))
    unreadable = fault or refusal
    place = held = None
    if unreadable is None:
        place = lister.place_of(value.data)
        if place is None:
            held, unreadable = _hold(lister, raw)
    is_swapped = item > 1 and type(value.dtype) is ArrayType and value.dtype.is_big_endian
    tied_to = None
    if numel and unreadable is None:
        # Python has one object for all equal strings of a single byte.
        same = value.data if nbytes >= MIN_BLOB_BYTES else value
        tied_to = lister.first_of((id(same), dtype.name, is_swapped, shape, stride), name)
    cls = render(value.cls) if value.cls is not None else "numpy.ndarray"
    notes += (f"class {cls}",) * (cls != "numpy.ndarray") + ("big-endian in the file",) * is_swapped
    lister.tensors.append(
        TensorInfo(
            name,
            shape,
            dtype,
            numel,
            nbytes,
            "array",
            lister.file,
            place,
            tied_to=tied_to,
            stride=stride,
            unreadable=unreadable,
            notes=notes,
        )
    )
    if held is not None:
        lister.held[name] = held
    if unreadable is None and (held is not None or stride is not None or is_swapped):
        begin = place or 0
        lister.extents[name] = Extent(lister.file, begin, begin, begin + nbytes, stride, is_swapped=is_swapped)


def _layout(value: ArrayValue) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The shape, and the stride unless the elements are in row-major order."""
    shape = numbers_of(value.shape, "shape")
    if not prod(shape):
        if value.order == "K" and value.axes is not None:
            shape = tuple(shape[axis] for axis in _axes(value, len(shape)))
        return shape, None
    if value.order not in ("C", "F", "K"):
        raise MalformedTensorError("has a malformed order of elements")
    strides = []
    step = 1
    for dim in shape if value.order == "F" else reversed(shape):
        strides.append(step)
        step *= dim
    stride = tuple(strides) if value.order == "F" else tuple(reversed(strides))
    if value.order == "K" and value.axes is not None:
        axes = _axes(value, len(shape))
        shape = tuple(shape[axis] for axis in axes)
        stride = tuple(stride[axis] for axis in axes)
    expected = 1
    for dim, step in zip(reversed(shape), reversed(stride), strict=True):
        if dim != 1:
            if step != expected:
                return shape, stride
            expected *= dim
    return shape, None


def _axes(value: ArrayValue, ndim: int) -> tuple[int, ...]:
    axes = numbers_of(value.axes, "order of dimensions")
    if sorted(axes) != list(range(ndim)):
        raise MalformedTensorError("has a malformed order of dimensions")
    return axes


def _kind_of(dtype: Any) -> str:
    """The letter of a numpy type: ``f`` of ``f4``, ``+`` of a class such as those of ml_dtypes; empty if unknown."""
    if type(dtype) is ArrayType:
        return dtype.code.lstrip("<>=|")[:1] if type(dtype.code) is str else "+"
    # A type of texts of any length has no code: numpy/_core/_internal.py
    is_texts = "_convert_to_stringdtype_kwargs" in render(dtype) if dtype is not None else False
    return "T" if is_texts else ""


def _type_of(value: ArrayValue) -> tuple[DType, int, str | None]:
    """The element type, its bytes, and why elements of it cannot be read (None if they can)."""
    dtype = value.dtype
    if type(dtype) is not ArrayType:
        return unknown("unknown"), 0, "its element type is not known here"
    if type(dtype.state) is not tuple or len(dtype.state) < 2 or dtype.state[1] not in ("<", ">", "|", "="):
        return unknown("unknown"), 0, f"the byte order of its type {clean(render(dtype), 40)} is not known"
    if type(dtype.code) is Stub:
        name = clean(dtype.code.name, 40)
        known = from_torch(name) if dtype.code.module in ("ml_dtypes", "ml_dtypes._ml_dtypes_ext") else None
        # Those of less than a byte take a byte each in ml_dtypes: they are not packed as they are elsewhere.
        if known is not None and known.itemsize:
            return known, known.itemsize, None
        if _kind_of_record(dtype):
            return unknown("record"), 0, _records(dtype)
        return unknown(name), 0, f"elements of type {name} cannot be decoded here"
    code = dtype.code.lstrip("<>=|")
    known = from_torch(_CODES.get(code, ""))
    if known is not None:
        return known, known.itemsize, None
    if code[:1] == "O":
        return unknown("object"), 0, "an array of Python objects, some of them numbers: its values are not read"
    if code[:1] == "V":
        return unknown("record"), 0, _records(dtype)
    name = _LONG.get(code, clean(code, 40) or "unknown")
    return unknown(name), 0, f"elements of type {name} cannot be decoded here"


def _kind_of_record(dtype: ArrayType) -> bool:
    return type(dtype.state) is tuple and len(dtype.state) > 3 and type(dtype.state[3]) is tuple


def _records(dtype: ArrayType) -> str:
    names = dtype.state[3] if _kind_of_record(dtype) else ()
    if not names:
        return f"elements of type {clean(render(dtype), 40)} are bytes without a meaning that is known here"
    shown = ", ".join(clean(render(name), 40) for name in names[:8])
    more = f" and {len(names) - 8:,} more" if len(names) > 8 else ""
    return f"an array of records (fields {shown}{more}): its values are not read"


def _bytes_of(lister: TensorLister, data: Any, nbytes: int) -> tuple[bytes, str | None, str | None]:
    """The bytes of the elements; else why they cannot be read, or what is wrong with them."""
    text = data.text if type(data) is Encoded else data
    raw: bytes | None
    if type(data) is Encoded or (type(text) is str and len(text) == nbytes):
        raw = lister.decoded(text)
        if raw is None:
            return b"", None, "its bytes are written as text that stands for no bytes"
    elif type(text) is str:
        # Python 2 wrote bytes as strings, and those that are UTF-8 were read as such.
        raw = text.encode("utf-8", "replace")
    elif type(data) is bytes:
        raw = data
    elif type(data) is Text:
        return b"", f"its values are in {data.text}", None
    else:
        return b"", None, "it has no bytes that hold its values"
    if len(raw) != nbytes:
        return b"", None, f"its shape and type need {plural(nbytes, 'byte')}, and it has {len(raw):,}"
    return raw, None, None


def _hold(lister: TensorLister, raw: bytes) -> tuple[Held | None, str | None]:
    if lister.held_nbytes + len(raw) > MAX_HELD_NBYTES:
        most = f"{MAX_HELD_NBYTES:,} bytes of such arrays are kept in memory"
        return None, f"its values lie nowhere in the file as they are, and at most {most}"
    lister.held_nbytes += len(raw)
    return Held(lister.file, raw), None
