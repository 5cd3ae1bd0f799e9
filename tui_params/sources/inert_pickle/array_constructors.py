"""The constructors of numpy that the pickle machine imitates; as strict as numpy about what it is given."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tui_params.sources.inert_pickle.allowed import TORCH_ALLOWED
from tui_params.sources.inert_pickle.array_states import element_size, is_raw, letter_of, size_of
from tui_params.sources.inert_pickle.values import (
    UNFIT,
    ArrayType,
    ArrayValue,
    ByteArray,
    Encoded,
    Obj,
    Stub,
    Text,
)

Args = tuple[Any, ...]

# numpy/_core/src/multiarray/descriptor.c: an optional byte order, a letter, a number of bytes, the unit of a time.
_TYPE_CODE = re.compile(
    r"[<>=|]?(b1|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|O8?|O4|[SaUV]\d*|[mM]8?(\[.{1,12}\])?|T16?)"
)


def _numpy_dtype(args: Args) -> Any:
    # (code, align, copy); the code of the types of ml_dtypes is their class. Without a copy, numpy would change a type
    # that all share, or ignore the state that follows: the byte order.
    if len(args) != 3 or args[1] not in (False, True) or args[2] != 1:
        return UNFIT
    if type(args[0]) is Stub:
        return ArrayType(args[0])
    return ArrayType(args[0]) if type(args[0]) is str and _TYPE_CODE.fullmatch(args[0]) else UNFIT


def _numpy_scalar(args: Args) -> Any:
    if len(args) != 2 or type(args[0]) not in (ArrayType, Obj):
        return UNFIT
    if letter_of(args[0]) != "O" and not is_raw(args[1]):
        return UNFIT
    size, has = element_size(args[0]), size_of(args[1])
    if size is not None and has is not None and has < size:
        return UNFIT
    value = ArrayValue(args[0], (), args[1])
    value.is_scalar = True
    return value


def _numpy_reconstruct(args: Args) -> Any:
    # (class, shape, type code): an array of no elements, which the state fills.
    if len(args) != 3 or type(args[0]) is not Stub or not _is_byte(args[2]):
        return UNFIT
    if type(args[1]) is not tuple or len(args[1]) != 1 or type(args[1][0]) is not int or args[1][0]:
        return UNFIT
    is_class = args[0].build is None and f"{args[0].module}.{args[0].name}" not in TORCH_ALLOWED
    return ArrayValue(cls=args[0]) if is_class else UNFIT


def _masked_reconstruct(args: Args) -> Any:
    # (class, class of its data, shape, type code): numpy/ma/core.py, ``_mareconstruct``.
    return ArrayValue(cls=args[0]) if len(args) == 4 and type(args[0]) is Stub else UNFIT


def _is_byte(value: Any) -> bool:
    text = value.text if type(value) is Encoded else value
    if type(text) is Obj:
        # What another codec than latin-1 makes of it.
        return type(text.args) is tuple and text.args[:1] == ("b",)
    return type(text) in (str, bytes) and text in ("b", b"b")


def _numpy_frombuffer(args: Args) -> Any:
    # (buffer, dtype, shape, order[, axis_order]): numpy/_core/numeric.py
    if len(args) not in (4, 5) or type(args[0]) not in (bytes, Encoded, ByteArray, ArrayValue, Obj, Text):
        return UNFIT
    if type(args[3]) not in (str, bytes, type(None), Text, Obj):
        return UNFIT
    # In the order K the elements are read as C, and then the axes are transposed: without axes it means nothing.
    if args[3] == "K" and (len(args) == 4 or args[4] is None):
        return UNFIT
    data = args[0].data if type(args[0]) is ByteArray else args[0]
    return ArrayValue(args[1], args[2], data, *args[3:5])


ARRAY_CONSTRUCTORS: dict[tuple[str, str], Callable[[Args], Any]] = {
    ("numpy", "dtype"): _numpy_dtype,
    ("numpy.ma.core", "_mareconstruct"): _masked_reconstruct,
}
for _package in ("numpy.core", "numpy._core"):
    ARRAY_CONSTRUCTORS[f"{_package}.multiarray", "scalar"] = _numpy_scalar
    ARRAY_CONSTRUCTORS[f"{_package}.multiarray", "_reconstruct"] = _numpy_reconstruct
    ARRAY_CONSTRUCTORS[f"{_package}.numeric", "_frombuffer"] = _numpy_frombuffer
