"""The one table of element types, with the names that torch, safetensors, numpy and people have for them.

A new type is a new line of ``DTYPES``. Sources look types up by their own spelling (``from_safetensors``,
``from_torch``); nothing else in the package may keep a second table.
"""

from __future__ import annotations

from functools import cache
from math import gcd, lcm
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["float", "int", "bool", "complex", "unknown"]


class DType(msgspec.Struct, frozen=True, gc=False):
    """One element type.

    ``bits`` is the width of one element in storage; below 8 the elements are packed, lowest bits first. A type whose
    elements share a scale is stored in blocks instead: ``block`` is the number of elements in one and its bytes, such
    as (32, 18), and ``bits`` is 0. Without either the size is unknown. So never work a size out from ``bits``: the
    methods here are right for all types.

    ``numpy`` is the name of a numpy type, or of an attribute of ``ml_dtypes`` after ``ml_dtypes.``; it is None
    where neither has the type, and always for block types: then values and statistics are refused by name. For packed
    types the ml_dtypes type holds one value a byte, so bytes from storage must be unpacked before they are viewed as
    it. A complex type has ``part``, the name of the type of its parts.

    A type of blocks whose values the source restores when it reads them has ``stored`` instead of ``block``: the number
    of elements in a block of the file, and its bytes. Everything else describes the values as they are read (``bits``
    32 and ``numpy`` "float32"), so that all arithmetic is that of these values; its name is that of the blocks.
    """

    name: str
    short: str
    bits: int
    kind: Kind
    numpy: str | None = None
    safetensors: str | None = None
    part: str | None = None
    block: tuple[int, int] | None = None
    stored: tuple[int, int] | None = None

    @property
    def is_complex(self) -> bool:
        return self.kind == "complex"

    @property
    def is_packed(self) -> bool:
        """Whether one element alone has no bytes of its own."""
        return self.block is not None or 0 < self.bits < 8

    @property
    def is_sized(self) -> bool:
        """Whether it is known how many bytes the elements take."""
        return self.block is not None or self.bits > 0

    @property
    def itemsize(self) -> int:
        """Bytes of one element; 0 of packed types, block types and types of unknown size."""
        return self.bits // 8

    @property
    def unit(self) -> tuple[int, int]:
        """The fewest elements that fill whole bytes, and these bytes.

        (1, 2) of bfloat16, (4, 3) of 6 bits, one block of a block type; (1, 0) where the size is unknown.
        """
        if self.block is not None:
            return self.block
        shared = gcd(self.bits, 8)
        return 8 // shared, self.bits // shared

    @property
    def grain(self) -> int:
        """A read starts at a multiple of so many elements: 8, or as many more as make whole blocks."""
        block = self.block or self.stored
        return 8 if block is None else lcm(8, block[0])

    def nbytes(self, numel: int) -> int:
        """Bytes that ``numel`` elements take in storage, rounded up to a whole byte or block."""
        if self.block is None:
            return (numel * self.bits + 7) // 8
        elements, nbytes = self.block
        return -(-numel // elements) * nbytes

    def numel(self, nbytes: int) -> int:
        """Elements that ``nbytes`` bytes hold, rounded down to a whole element or block; 0 if the size is unknown."""
        if self.block is None:
            return nbytes * 8 // self.bits if self.bits else 0
        elements, size = self.block
        return nbytes // size * elements

    def fills(self, numel: int, nbytes: int) -> bool:
        """Whether ``numel`` elements are exactly ``nbytes`` bytes, without any padding."""
        if self.block is None:
            return numel * self.bits == nbytes * 8
        return numel % self.block[0] == 0 and self.nbytes(numel) == nbytes

    def __str__(self) -> str:
        return self.short


DTYPES: tuple[DType, ...] = (
    DType("float64", "f64", 64, "float", "float64", "F64"),
    DType("float32", "f32", 32, "float", "float32", "F32"),
    DType("float16", "f16", 16, "float", "float16", "F16"),
    DType("bfloat16", "bf16", 16, "float", "ml_dtypes.bfloat16", "BF16"),
    DType("float8_e4m3fn", "f8e4m3", 8, "float", "ml_dtypes.float8_e4m3fn", "F8_E4M3"),
    DType("float8_e5m2", "f8e5m2", 8, "float", "ml_dtypes.float8_e5m2", "F8_E5M2"),
    DType("float8_e4m3fnuz", "f8e4m3z", 8, "float", "ml_dtypes.float8_e4m3fnuz", "F8_E4M3FNUZ"),
    DType("float8_e5m2fnuz", "f8e5m2z", 8, "float", "ml_dtypes.float8_e5m2fnuz", "F8_E5M2FNUZ"),
    DType("float8_e8m0fnu", "f8e8m0", 8, "float", "ml_dtypes.float8_e8m0fnu", "F8_E8M0"),
    DType("float6_e2m3fn", "f6e2m3", 6, "float", "ml_dtypes.float6_e2m3fn", "F6_E2M3"),
    DType("float6_e3m2fn", "f6e3m2", 6, "float", "ml_dtypes.float6_e3m2fn", "F6_E3M2"),
    # torch spells two of these in one byte float4_e2m1fn_x2; we count single values, as safetensors does.
    DType("float4_e2m1fn", "f4e2m1", 4, "float", "ml_dtypes.float4_e2m1fn", "F4"),
    DType("int64", "i64", 64, "int", "int64", "I64"),
    DType("int32", "i32", 32, "int", "int32", "I32"),
    DType("int16", "i16", 16, "int", "int16", "I16"),
    DType("int8", "i8", 8, "int", "int8", "I8"),
    DType("uint64", "u64", 64, "int", "uint64", "U64"),
    DType("uint32", "u32", 32, "int", "uint32", "U32"),
    DType("uint16", "u16", 16, "int", "uint16", "U16"),
    DType("uint8", "u8", 8, "int", "uint8", "U8"),
    # Packed, the lowest bits of a byte first, as in ONNX.
    DType("int4", "int4", 4, "int", "ml_dtypes.int4"),
    DType("uint4", "uint4", 4, "int", "ml_dtypes.uint4"),
    DType("int2", "int2", 2, "int", "ml_dtypes.int2"),
    DType("uint2", "uint2", 2, "int", "ml_dtypes.uint2"),
    DType("bool", "bool", 8, "bool", "bool", "BOOL"),
    DType("complex128", "c128", 128, "complex", "complex128", None, "float64"),
    DType("complex64", "c64", 64, "complex", "complex64", "C64", "float32"),
    DType("complex32", "c32", 32, "complex", None, None, "float16"),
    # Quantised integers as stored; scale and zero point are in the tensor's notes.
    DType("qint8", "qi8", 8, "int", "int8"),
    DType("quint8", "qu8", 8, "int", "uint8"),
    DType("qint32", "qi32", 32, "int", "int32"),
    DType("bits8", "bits8", 8, "int", "uint8"),
    DType("bits16", "bits16", 16, "int", "uint16"),
)

_BY_NAME = {dtype.name: dtype for dtype in DTYPES}
_BY_NAME |= {
    "float": _BY_NAME["float32"],
    "double": _BY_NAME["float64"],
    "half": _BY_NAME["float16"],
    "long": _BY_NAME["int64"],
    "int": _BY_NAME["int32"],
    "short": _BY_NAME["int16"],
    "cfloat": _BY_NAME["complex64"],
    "cdouble": _BY_NAME["complex128"],
    "chalf": _BY_NAME["complex32"],
}
_NOT_OF_TORCH = frozenset({"int4", "uint4", "int2", "uint2"})
_BY_SAFETENSORS = {dtype.safetensors: dtype for dtype in DTYPES if dtype.safetensors}


def from_torch(name: str) -> DType | None:
    """The type that torch calls ``name`` (``"bfloat16"``, ``"torch.bfloat16"``), or None.

    ``float4_e2m1fn_x2`` is not in the table: its readers double the last dimension and use ``float4_e2m1fn``. Nor are
    ``int4``, ``uint4``, ``int2`` and ``uint2``, which have a byte for each element in torch, and no operator.
    """
    name = name.removeprefix("torch.")
    return None if name in _NOT_OF_TORCH else _BY_NAME.get(name)


def named(name: str) -> DType | None:
    """The type of that name in the table, also of those that only other libraries have (``int4`` of ONNX), or None."""
    return _BY_NAME.get(name)


def from_safetensors(code: str) -> DType | None:
    """The type of a safetensors header's ``dtype`` (``"BF16"``), or None."""
    return _BY_SAFETENSORS.get(code)


def fit(nbytes: int, *dtypes: DType) -> int:
    """Elements to read at a time: no more than ``nbytes`` bytes of each type, in whole grains of all, at least one."""
    grain = lcm(*(dtype.grain for dtype in dtypes))
    most = min((dtype.numel(nbytes) for dtype in dtypes if dtype.is_sized), default=nbytes)
    return max(most // grain * grain, grain)


def unknown(name: str) -> DType:
    """A type that cannot be decoded: it is listed under its own name, and its values are refused."""
    return DType(name, name.lower()[:8], 0, "unknown")


@cache
def numpy_dtype(dtype: DType) -> np.dtype[Any] | None:
    """The numpy type that views one element, or None (``complex32``, unknown types). Imports numpy."""
    import numpy as np

    if dtype.numpy is None:
        return None
    if dtype.numpy.startswith("ml_dtypes."):
        import ml_dtypes

        scalar: type[Any] = getattr(ml_dtypes, dtype.numpy.removeprefix("ml_dtypes."))
        return np.dtype(scalar)
    return np.dtype(dtype.numpy)
