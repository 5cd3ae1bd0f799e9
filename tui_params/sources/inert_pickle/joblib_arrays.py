"""Arrays of joblib: their bytes stand in the middle of the pickle, after the object that describes them.

joblib/numpy_pickle.py, ``NumpyArrayWrapper``: the state has shape, order and dtype. Then, where the state has
``numpy_array_alignment_bytes``, a byte that says how many bytes of padding follow, and the padding; then the elements.
An array with Python objects is a pickle of its own instead.
"""

from __future__ import annotations

from math import prod
from typing import Any

from tui_params.core.dtypes import from_torch
from tui_params.errors import OpenError
from tui_params.sources.inert_pickle.allowed import WRAPPER
from tui_params.sources.inert_pickle.array_states import element_size, letter_of
from tui_params.sources.inert_pickle.values import ArrayType, ArrayValue, Obj, Stub, render

_ALIGNMENT = 16
"""NUMPY_ARRAY_ALIGNMENT_BYTES of joblib."""


def is_wrapper(value: Any) -> bool:
    """Whether an object, whose state was just set, is joblib's description of an array that follows."""
    return (
        type(value) is Obj
        and type(value.cls) is Stub
        and f"{value.cls.module}.{value.cls.name}" == WRAPPER
        and type(value.state) is dict
    )


def has_objects(state: dict[Any, Any]) -> bool:
    """Whether the elements are Python objects, or records with some: then a pickle follows."""
    dtype = state.get("dtype")
    if letter_of(dtype) == "O":
        return True
    fields = (
        dtype.state[4] if type(dtype) is ArrayType and type(dtype.state) is tuple and len(dtype.state) > 4 else None
    )
    return type(fields) is dict and any(
        type(field) is tuple and field and letter_of(field[0]) == "O" for field in fields.values()
    )


def read_array(state: dict[Any, Any], data: bytes, pos: int, what: str) -> tuple[ArrayValue, bytes, int]:
    """The array that follows at ``pos``, its bytes, and where the pickle goes on. Raises OpenError."""
    shape, order = state.get("shape"), state.get("order")
    size = item_size(state.get("dtype"))
    if type(shape) is not tuple or not all(type(dim) is int and 0 <= dim < 1 << 60 for dim in shape[:64]):
        raise OpenError(f"{what} is damaged: an array of joblib has no shape")
    if size is None:
        kind = render(state.get("dtype"))[:60]
        raise OpenError(f"{what} holds an array of joblib of type {kind}, whose length is not known here")
    if is_aligned(state):
        pos = _after_padding(data, pos, what)
    stop = pos + prod(shape[:64]) * size
    if stop > len(data):
        raise OpenError(f"{what} ends inside an array of joblib, of {stop - pos:,} bytes: it is truncated")
    raw = data[pos:stop]
    cls = state.get("subclass")
    is_plain = type(cls) is Stub and cls.module == "numpy" and cls.name == "ndarray"
    value = ArrayValue(state.get("dtype"), shape, raw, "F" if order == "F" else "C", None, None if is_plain else cls)
    return value, raw, stop


def is_aligned(state: dict[Any, Any]) -> bool:
    """Whether padding precedes the elements, as since joblib 1.1."""
    return state.get("numpy_array_alignment_bytes") is not None


def _after_padding(data: bytes, pos: int, what: str) -> int:
    """Where the elements begin. Nothing but what joblib writes is taken for padding.

    Its first byte, 1 to 16, is no instruction of a pickle: so no unpickler that knows nothing of joblib goes on here,
    and what we take for data can hide no instruction from us.
    """
    count = data[pos] if pos < len(data) else 0
    padding = data[pos + 1 : pos + 1 + count]
    if not 1 <= count <= _ALIGNMENT or padding != b"\xff" * count:
        raise OpenError(f"{what} is damaged: no padding stands before an array of joblib")
    return pos + 1 + count


def item_size(dtype: Any) -> int | None:
    """The bytes of one element of any type without Python objects; None if they are not known."""
    size = element_size(dtype)
    if size is not None or type(dtype) is not ArrayType:
        return size
    if type(dtype.code) is Stub:
        known = from_torch(dtype.code.name) if dtype.code.module.startswith("ml_dtypes") else None
        # The types of ml_dtypes of less than a byte take a byte each.
        return None if known is None else max(known.itemsize, 1)
    letter = letter_of(dtype)
    if letter in ("m", "M"):
        return 8
    if letter in ("S", "a", "U", "V") and type(dtype.state) is tuple and len(dtype.state) > 5:
        size = dtype.state[5]
        return size if type(size) is int and 0 <= size < 1 << 31 else None
    return None
