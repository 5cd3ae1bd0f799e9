"""Whether numpy takes the states that a pickle gives to its arrays and element types."""

from __future__ import annotations

import re
from math import prod
from typing import Any

from tui_params.sources.inert_pickle.values import ArrayType, Encoded, Obj, Stub, Text, raw_of

_AS_LIST = 2
"""The flag of a type whose elements are pickled as a list: numpy's ndarraytypes.h, ``NPY_LIST_PICKLE``."""


def letter_of(dtype: Any) -> str:
    """The letter of a numpy type, ``f`` of ``<f4``; empty if it has no code."""
    return dtype.code.lstrip("<>=|")[:1] if type(dtype) is ArrayType and type(dtype.code) is str else ""


def is_array_state(state: Any, cls: Any) -> bool:
    """Whether an array of ``cls`` takes ``state``: numpy's methods.c, ``array_setstate``.

    ([version,] shape, dtype, is Fortran order, data), and the mask and the fill value of a masked array. Of a class
    of another package, which may have rules of its own for the last three, only the rest is looked at.
    """
    if type(state) is not tuple or len(state) not in (4, 5, 7):
        return False
    version, (shape, dtype, is_fortran, data, *_) = (1, state) if len(state) == 4 else (state[0], state[1:])
    if type(shape) is not tuple or not all(type(dim) is int and 0 <= dim < 1 << 63 for dim in shape[:64]):
        return False
    if type(version) is not int or version not in (0, 1) or is_fortran not in (0, 1):
        return False
    if type(cls) is not Stub or cls.module.partition(".")[0] != "numpy":
        return True
    if len(state) == 7 and cls.module in ("numpy", "numpy.core", "numpy._core"):
        return False
    if type(is_fortran) not in (bool, int) or type(dtype) not in (ArrayType, Obj) or not _holds(dtype, data):
        return False
    # Numpy has 64 dimensions at most.
    size, has = element_size(dtype), size_of(data)
    return size is None or has is None or (len(shape) <= 64 and prod(shape) * size == has)


def _holds(dtype: Any, data: Any) -> bool:
    """Whether ``data`` is of the kind in which numpy keeps elements of ``dtype``."""
    letter = letter_of(dtype)
    if letter == "O":
        flags = dtype.state[7] if type(dtype.state) is tuple and len(dtype.state) > 7 else _AS_LIST
        return type(data) is list and type(flags) is int and flags & _AS_LIST != 0
    if type(data) is list:
        # Records with a field of Python objects are a list too, and so are texts of any length.
        return letter in ("V", "T") or type(dtype) is Obj or type(dtype.code) is Stub
    return is_raw(data)


_PLAIN_TYPE = re.compile(r"[<>=|]?[biufc](\d{1,2})")


def element_size(dtype: Any) -> int | None:
    """The bytes of an element of one of numpy's own types; None if its code does not say."""
    code = dtype.code if type(dtype) is ArrayType else None
    found = _PLAIN_TYPE.fullmatch(code) if type(code) is str else None
    return None if found is None else int(found[1])


def size_of(data: Any) -> int | None:
    """How many bytes ``data`` holds; None if that is not known here."""
    return len(raw_of(data)) if type(data) in (bytes, Encoded) else None


def is_raw(data: Any) -> bool:
    """Whether ``data`` may be bytes: as such, as text of Python 2, as a call that makes bytes, or beside the pickle."""
    return type(data) in (bytes, str, Encoded, Obj, Text)


def is_type_state(state: Any, letter: str) -> bool:
    """Whether numpy takes ``state`` for that of a dtype of the kind ``letter``.

    (version, byte order, subarray, names, fields, element size, alignment, flags[, metadata]): numpy's descriptor.c,
    ``arraydescr_setstate``.
    """
    if type(state) is not tuple or len(state) not in (7, 8, 9) or type(state[0]) is not int:
        return False
    _, order, subarray, names, fields, *numbers = state
    if not 1 <= state[0] <= 4 or type(order) is not str or len(order) != 1 or (names is None) != (fields is None):
        return False
    if not (subarray is None or (type(subarray) is tuple and len(subarray) == 2)):
        return False
    if letter in ("m", "M") and (len(state) != 9 or type(state[8]) is not tuple):
        # The unit of a span of time.
        return False
    if letter in tuple("biufc"):
        # Of the builtin types, size and alignment are given as -1.
        return numbers[:2] == [-1, -1] and numbers[2:3] in ([], [0])
    if letter in ("S", "a", "U", "V") and not (type(numbers[0]) is int and numbers[0] >= 0):
        # Their size is nowhere but here.
        return False
    return all(type(number) is int and -1 <= number < 1 << 31 for number in numbers[:3])
