"""Blocks of ggml to float32: the values that llama.cpp computes with.

ggml/src/ggml-quants.c, ``dequantize_row_*``. The types that need no tables are restored here, the
others by the package gguf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_params.core.dtypes import DType
from tui_params.errors import ReadError
from tui_params.sources.gguf.k_blocks import restore_k

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def restore(raw: NDArray[np.uint8], dtype: DType) -> NDArray[np.float32]:
    """The values of whole blocks of a type that has ``stored``, flat. Raises ReadError."""
    import numpy as np

    assert dtype.stored is not None
    elements, nbytes = dtype.stored
    blocks = raw.reshape(-1, nbytes)
    # A scale that is NaN or infinite poisons its block, which the statistics will say.
    with np.errstate(all="ignore"):
        if dtype.name == "Q8_0":
            values = blocks[:, 2:].view(np.int8).astype(np.float32)
            values *= _halves(blocks, 0)
            return values.reshape(-1)
        if dtype.name == "Q8_1":
            # After the scale comes the sum of the block, which is for products of two blocks.
            values = blocks[:, 4:].view(np.int8).astype(np.float32)
            values *= _halves(blocks, 0)
            return values.reshape(-1)
        if dtype.name == "Q8_K":
            # After the codes come 16 sums of them.
            values = blocks[:, 4:260].view(np.int8).astype(np.float32)
            values *= np.ascontiguousarray(blocks[:, :4]).view("<f4")
            return values.reshape(-1)
        if dtype.name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1"):
            return _nibbles(blocks, has_minimum=dtype.name[-1] == "1", has_high_bits=dtype.name[1] == "5")
        values_of_k = restore_k(blocks, dtype.name)
        return _by_package(blocks, dtype, elements) if values_of_k is None else values_of_k


def _halves(blocks: NDArray[np.uint8], at: int) -> NDArray[np.float32]:
    """The float16 at that byte of every block, as a column."""
    import numpy as np

    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _nibbles(blocks: NDArray[np.uint8], *, has_minimum: bool, has_high_bits: bool) -> NDArray[np.float32]:
    """Blocks of a scale, perhaps a minimum, perhaps 32 high bits, and 16 bytes with the low half of element i and the
    high half of element i + 16."""
    import numpy as np

    codes = np.empty((len(blocks), 32), np.uint8)
    np.bitwise_and(blocks[:, -16:], 0x0F, out=codes[:, :16])
    np.right_shift(blocks[:, -16:], 4, out=codes[:, 16:])
    if has_high_bits:
        codes |= np.unpackbits(blocks[:, -20:-16], axis=1, bitorder="little") << np.uint8(4)
    values = codes.astype(np.float32)
    if not has_minimum:
        values -= np.float32(16 if has_high_bits else 8)
    values *= _halves(blocks, 0)
    if has_minimum:
        values += _halves(blocks, 2)
    return values.reshape(-1)


def _by_package(blocks: NDArray[np.uint8], dtype: DType, elements: int) -> NDArray[np.float32]:
    import numpy as np

    try:
        from gguf import quants
        from gguf.constants import GGMLQuantizationType
    except ImportError as error:
        raise ReadError(f"blocks of type {dtype.name} are restored by the package gguf, and {error}") from None
    try:
        values: NDArray[Any] = quants.dequantize(blocks, GGMLQuantizationType[dtype.name])
    except (KeyError, NotImplementedError):
        raise ReadError(f"the version of the package gguf here does not restore blocks of type {dtype.name}") from None
    if values.size != len(blocks) * elements:
        raise ReadError(f"the package gguf has other blocks of type {dtype.name} than are known here")
    return np.ascontiguousarray(values, np.float32).reshape(-1)
