"""Element types as NumPy writes them, ``<f4``, and what they are here."""

from __future__ import annotations

import re
from typing import Any

from tui_params.core.dtypes import DType, from_torch, unknown
from tui_params.core.text import clean

_PLAIN = re.compile(r"([<>=|])([biufcV])(\d{1,4})")

_NAMES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8",
    "u8": "uint64", "u4": "uint32", "u2": "uint16", "u1": "uint8", "b1": "bool", "c16": "complex128", "c8": "complex64",
    "f1": "float8_e5m2",
}  # fmt: skip
"""``f1`` is written by ml_dtypes: of its types, float8_e5m2 alone says that it is a float (numpy.load refuses it)."""

_LONG = {"f16": "float128", "f12": "float96", "c32": "complex256", "c24": "complex192"}


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
        note = f"written as {descr}, which may be fp8 or int4: the file does not say"
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
