"""The tensor types of ggml by their numbers: name, elements and bytes of a block, and how it is read here.

ggml/include/ggml.h (``enum ggml_type``) and ggml-common.h (the structs of the blocks). GGML_QUANT_SIZES of gguf-py
agrees but for Q8_1, of which it says 40 bytes: the struct has two halves and 32 bytes.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import msgspec

from tui_params.core.dtypes import DType, from_torch, unknown

PLAIN = {
    0: "float32", 1: "float16", 24: "int8", 25: "int16", 26: "int32", 27: "int64", 28: "float64", 30: "bfloat16",
}  # fmt: skip

BLOCKS: dict[int, tuple[str, int, int]] = {
    2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 29: ("IQ1_M", 256, 56), 34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip

REMOVED = {
    4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8",
    36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8",
}  # fmt: skip
"""Types that ggml has given up: no version of today reads them."""

NATIVE = frozenset({"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K"})
"""Types whose values are restored by code of our own."""

_NOT_IN_PACKAGE = frozenset({"Q1_0"})
"""Types that the package gguf does not restore either."""


class GgmlType(msgspec.Struct, frozen=True):
    """One tensor type: the type of its elements, why they cannot be read (None if they can), notes for the page."""

    dtype: DType
    refusal: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def elements(self) -> int:
        """How many elements a block has: rows are whole blocks."""
        block = self.dtype.stored or self.dtype.block
        return 1 if block is None else block[0]

    def nbytes(self, numel: int) -> int:
        """The bytes of so many elements in the file."""
        if self.dtype.stored is None:
            return self.dtype.nbytes(numel)
        elements, nbytes = self.dtype.stored
        return -(-numel // elements) * nbytes


@cache
def type_of(number: int) -> GgmlType:
    """The tensor type of that number; an unknown one has a name made of the number, and a refusal."""
    known = from_torch(PLAIN.get(number, ""))
    if known is not None:
        return GgmlType(known)
    if number in REMOVED:
        name = REMOVED[number]
        return GgmlType(unknown(name), f"elements of type {name} cannot be decoded: ggml has given this type up")
    if number not in BLOCKS:
        return GgmlType(unknown(f"ggml {number}"), f"the file has tensor type {number}, which is not known here")
    name, elements, nbytes = BLOCKS[number]
    width = f"{elements} elements in {nbytes} bytes, {8 * nbytes / elements:g} bits each"
    refusal = None
    if name in _NOT_IN_PACKAGE:
        refusal = f"blocks of type {name} cannot be restored here"
    elif name not in NATIVE and not has_package():
        refusal = f"blocks of type {name} are restored by the package gguf, which is not installed (pip install gguf)"
    if refusal is not None:
        return GgmlType(DType(name, name.lower(), 0, "float", block=(elements, nbytes)), refusal, (width,))
    dtype = DType(name, name.lower(), 32, "float", "float32", stored=(elements, nbytes))
    return GgmlType(dtype, None, (width, "values are restored to float32 when they are read"))


@cache
def has_package() -> bool:
    """Whether the package gguf can be imported, as far as that can be told without importing it."""
    return find_spec("gguf") is not None
