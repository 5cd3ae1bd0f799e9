"""Storage bytes to numpy values, for all types including those packed into less than a byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_params.core.dtypes import DType, from_torch, numpy_dtype
from tui_params.errors import ReadError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def part_dtype(dtype: DType) -> DType:
    """The real type that ``dtype`` is made of: the type of its parts if it is complex, else itself.

    Raises ReadError, naming the type, if it cannot be decoded.
    """
    part = from_torch(dtype.part) if dtype.part is not None else dtype
    if part is None or not part.is_sized or part.numpy is None:
        raise ReadError(f"values of the element type {dtype.name} cannot be decoded here")
    return part


def unpack(raw: NDArray[np.uint8], bits: int, numel: int) -> NDArray[np.uint8]:
    """The first ``numel`` codes of ``bits`` (2, 4 or 6) bits each, one a byte, from a little-endian bit stream.

    The lowest bits of a byte are the first of its two 4-bit or four 2-bit codes; four 6-bit codes fill three bytes
    (safetensors).
    """
    import numpy as np

    raw = raw[: (numel * bits + 7) // 8]
    if bits == 4:
        codes = np.empty((raw.size, 2), np.uint8)
        np.bitwise_and(raw, 0x0F, out=codes[:, 0])
        np.right_shift(raw, 4, out=codes[:, 1])
        return codes.reshape(-1)[:numel]
    if bits == 2:
        shifts = np.arange(0, 8, 2, dtype=np.uint8)
        return ((raw[:, None] >> shifts) & np.uint8(3)).reshape(-1)[:numel]
    if bits != 6:
        raise ValueError(f"no packing of {bits} bits is known")
    groups = -(-raw.size // 3)
    padded = np.zeros(groups * 3, np.uint8)
    padded[: raw.size] = raw
    first, second, third = padded.reshape(groups, 3).T
    codes = np.empty((groups, 4), np.uint8)
    codes[:, 0] = first & 0x3F
    codes[:, 1] = first >> 6 | (second & 0x0F) << 2
    codes[:, 2] = second >> 4 | (third & 0x03) << 4
    codes[:, 3] = third >> 2
    return codes.reshape(-1)[:numel]


def decode(raw: NDArray[np.uint8], dtype: DType, numel: int) -> NDArray[Any]:
    """The ``numel`` values whose storage bytes are ``raw`` (little-endian), flat, in native byte order.

    The array has the element's own numpy or ml_dtypes type, and complex64 for complex32; a byte of a bool that is
    neither 0 nor 1 is True, as torch reads it. It is a view of ``raw`` where that is possible. Raises ReadError
    for a type that cannot be decoded, and if ``raw`` is too short.
    """
    import numpy as np

    part = part_dtype(dtype)
    needed = dtype.nbytes(numel)
    if raw.size < needed:
        raise ReadError(f"{numel} elements of {dtype.name} take {needed} bytes, and there are only {raw.size}")
    raw = np.ascontiguousarray(raw[:needed])
    if dtype.name == "complex32":
        pairs: NDArray[Any] = raw.view("<f2").astype(np.float32).view(np.complex64)
        return pairs
    if dtype.kind == "bool":
        return np.not_equal(raw, 0)
    if part.is_packed:
        raw = unpack(raw, part.bits, numel)
    native = numpy_dtype(dtype)
    assert native is not None
    return _little_endian(raw.view(native))


def numbers(patterns: NDArray[Any], part: DType) -> NDArray[Any]:
    """The values of bit patterns (unsigned, one each, not packed) of a real type, without any loss.

    float64 for floating types, uint64 for uint64, int64 for the other integers and for bool.
    """
    import numpy as np

    native = numpy_dtype(part)
    assert native is not None
    values: NDArray[Any] = patterns.view(native)
    if part.kind == "bool":
        values = np.not_equal(patterns, 0)
        return values.astype(np.int64)
    if part.kind == "int":
        return values.astype(np.uint64 if part.name == "uint64" else np.int64)
    # Converting a signalling NaN makes it quiet, and numpy would warn about that.
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def _little_endian(values: NDArray[Any]) -> NDArray[Any]:
    import sys

    return values if sys.byteorder == "little" else values.byteswap()
