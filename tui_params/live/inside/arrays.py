"""Arrays of numpy among the values of a mapping: seen as tensors that share their memory.

Long lists and dicts of numbers are named.

numpy is not imported: whoever made an array has imported it. No code of a subclass of its arrays is called.
"""

from __future__ import annotations

import ctypes
import sys
from collections import OrderedDict, defaultdict, deque
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch

from .leaves import Find, Leaf

_DTYPES = {
    "f8": torch.float64, "f4": torch.float32, "f2": torch.float16, "i8": torch.int64, "i4": torch.int32,
    "i2": torch.int16, "i1": torch.int8, "u8": torch.uint64, "u4": torch.uint32, "u2": torch.uint16,
    "u1": torch.uint8, "b1": torch.bool, "c16": torch.complex128, "c8": torch.complex64,
}  # fmt: skip
_EXTENSIONS = (
    "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip
"""Types of ml_dtypes that torch has under the same name. Those of less than a byte take a byte each there."""

_TEXTS = "SUMmT"
"""Kinds of numpy types that hold no numbers: bytes, texts, dates, spans of time."""


MIN_LIST = 1_000
MIN_TABLE = 100
"""Numbers from which a list, or lists of equal length in a list, is listed, as in files: shorter ones are settings."""

_MOST_NESTED = 8
_DICTS = (dict, OrderedDict, defaultdict)
_SETS = (set, frozenset, deque)
_EXACT = frozenset({("decimal", "Decimal"), ("_pydecimal", "Decimal"), ("fractions", "Fraction")})


class Unread(NamedTuple):
    """What stands in the place of an array that cannot be seen as a tensor, and why."""

    reason: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int = 0


def value_leaf(name: str, value: Any, find: Find) -> Leaf | None:
    """The leaf of an array, of a number of numpy or of a long list or dict of numbers; None of anything else."""
    if type(value) in (list, tuple):
        return list_leaf(name, value, find)
    if type(value) in _DICTS or type(value) in _SETS:
        return _bag_leaf(name, value, find)
    return array_leaf(name, value, find)


def _bag_leaf(name: str, value: Any, find: Find) -> Leaf | None:
    """The leaf of a dict or a set of many numbers; None of any other."""
    if len(value) < MIN_LIST:
        return None
    is_dict = type(value) in _DICTS
    if not _are_numbers(list(value.values() if is_dict else value)):
        return None
    return _unread_leaf(name, value, find, (len(value),), "dict" if is_dict else "list")


def _unread_leaf(name: str, value: Any, find: Find, shape: tuple[int, ...], what: str) -> Leaf:
    numel = prod(shape)
    reason = f"a {what} of {numel:,} Python numbers, not an array: its values are not read"
    return Leaf(name, "array", find, Unread(reason, shape, "float64", 8 * numel), origin=f"list {id(value)}")


def list_leaf(name: str, value: Any, find: Find) -> Leaf | None:
    """The leaf of a list of numbers that is long enough to be one of weights; None of any other list.

    At least one number is a float: lists of whole numbers are indices, seeds and the states of random generators.
    """
    shape = _list_shape(value)
    if shape is None:
        return None
    return _unread_leaf(name, value, find, shape, "list" if len(shape) == 1 else "table of lists")


def _list_shape(items: Any) -> tuple[int, ...] | None:
    if not items or (len(items) < MIN_LIST and type(items[0]) not in (list, tuple)):
        return None
    shape: tuple[int, ...] = ()
    rows: Any = (items,)
    while type(rows[0]) in (list, tuple) and len(shape) < _MOST_NESTED:
        if not {type(row) for row in rows} <= {list, tuple}:
            return None
        # A list that is referred to again and again is looked at once.
        distinct = list({id(row): row for row in rows}.values())
        lengths = {len(row) for row in distinct}
        if len(lengths) > 1 or 0 in lengths:
            return None
        shape += (*lengths,)
        rows = distinct[0] if len(distinct) == 1 else [item for row in distinct for item in row]
    is_long = prod(shape) >= (MIN_LIST if len(shape) == 1 else MIN_TABLE)
    return shape if is_long and _are_numbers(rows) else None


def _are_numbers(items: Any) -> bool:
    """Whether all items are numbers, and not all are whole ones of Python."""
    kinds = {type(item) for item in items}
    others = kinds - {int, float, complex}
    return all(_is_number(item) for item in items if type(item) in others) if others else kinds != {int}


def _is_number(value: Any) -> bool:
    """Whether it is a number of numpy, a Decimal or a Fraction."""
    if (type(value).__module__, type(value).__qualname__) in _EXACT:
        return True
    plain = _plain(value)
    return plain is not None and plain.shape == () and plain.dtype.kind not in _TEXTS + "OV"


def array_leaf(name: str, value: Any, find: Find) -> Leaf | None:
    """The leaf of an array or a number of numpy; None of anything else, and of arrays of texts and dates."""
    plain = _plain(value)
    if plain is None or plain.dtype.kind in _TEXTS:
        return None
    if plain.dtype.kind == "O" and not any(type(item) in (int, float, complex) for item in plain.flat):
        return None
    seen = _seen(value, plain)
    # A number is made into an array at each look; the rest of what has no memory to share is copied.
    is_read = type(seen) is not Unread
    is_shared = is_read and _is_shared(value, plain)
    notes = ("a copy is read: its bytes are in another order",) if is_read and not is_shared and plain.ndim else ()
    origin = "" if is_shared else f"array {id(value)}"
    return Leaf(name, "array", partial(_find_seen, find), seen, notes, origin=origin)


def _numpy() -> Any:
    return sys.modules.get("numpy")


def _plain(value: Any) -> Any:
    """An array of numpy's own class with the same memory; None of what is no array."""
    numpy = _numpy()
    if numpy is None:
        return None
    if issubclass(type(value), numpy.ndarray):
        return numpy.ndarray.view(value, numpy.ndarray)
    return numpy.generic.reshape(value, ()) if issubclass(type(value), numpy.generic) else None


def _find_seen(find: Find) -> Any:
    value = find()
    plain = _plain(value)
    if plain is None:
        raise LookupError("it is no array any more")
    seen = _seen(value, plain)
    if type(seen) is Unread:
        raise LookupError(seen.reason)
    return seen


def _is_shared(value: Any, plain: Any) -> bool:
    """Whether the array has memory that a tensor can look at as it is."""
    is_array = issubclass(type(value), _numpy().ndarray)
    steps = all(step >= 0 and step % plain.itemsize == 0 for step in plain.strides)
    return is_array and plain.dtype.isnative and steps and type(_seen_type(plain)) is torch.dtype


def _seen_type(plain: Any) -> torch.dtype | str:
    """The type of the elements, or why they cannot be read."""
    dtype = plain.dtype
    if dtype.kind == "O":
        return "an array of Python objects, some of them numbers: its values are not read"
    if dtype.names:
        return f"an array of records (fields {', '.join(map(str, dtype.names[:8]))}): its values are not read"
    found = _DTYPES.get(dtype.str[1:])
    if found is None and dtype.type.__module__.partition(".")[0] == "ml_dtypes" and dtype.name in _EXTENSIONS:
        found = getattr(torch, dtype.name, None)
    return found or f"elements of type {dtype.name} cannot be decoded here"


def _seen(value: Any, plain: Any) -> Any:
    """A tensor over the memory of an array, or over that of a copy in native order."""
    found = _seen_type(plain)
    if type(found) is torch.dtype and "MaskedArray" in [kind.__name__ for kind in type(value).__mro__]:
        found = "a masked array: the mask that says which of its values count is not applied here"
    if type(found) is not torch.dtype:
        return Unread(str(found), tuple(plain.shape), str(plain.dtype.name))
    if not _is_shared(value, plain):
        plain = plain.astype(plain.dtype.newbyteorder("="), order="C")
    if not plain.size:
        return torch.empty(plain.shape, dtype=found)
    steps = [step // plain.itemsize for step in plain.strides]
    span = sum((plain.shape[axis] - 1) * step for axis, step in enumerate(steps)) + 1
    # torch.from_numpy warns about memory that may not be written to, which is never written to here.
    memory: Any = (ctypes.c_ubyte * (span * plain.itemsize)).from_address(plain.__array_interface__["data"][0])
    memory.owner = plain
    return torch.frombuffer(memory, dtype=torch.uint8).view(found).as_strided(plain.shape, steps)
