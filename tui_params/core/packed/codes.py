"""Codes: the small integers of a packed weight, out of the words and bytes in which they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
"""The values of the codes of 4 bits in OCP MX 1.0, table 5."""

E8M0 = np.append(np.ldexp(np.float32(1), np.arange(255) - 127), np.float32(np.nan)).astype(np.float32)
"""The scales of MX formats by their byte, OCP MX 1.0, 5.4.1."""

_NIBBLES = np.arange(16, dtype=np.float32)


def pairs(packed: NDArray[np.uint8], values: NDArray[np.float32], *, is_high_first: bool) -> NDArray[np.float32]:
    """The value of both codes of 4 bits of each byte of the last dimension, by a table of 16 values."""
    byte = np.arange(256)
    both = (byte >> 4, byte & 15) if is_high_first else (byte & 15, byte >> 4)
    # One look into a table of pairs is twice as fast as two into one of values.
    table = np.ascontiguousarray(values[np.stack(both, -1)]).view(np.uint64).reshape(-1)
    found: NDArray[np.float32] = table[packed].view(np.float32)
    return found


def fields(words: NDArray[Any], bits: int, bit: int, count: int) -> NDArray[np.uint8]:
    """``count`` codes of ``bits`` bits (1 to 8) from the words of the last dimension, from bit number ``bit`` on.

    The codes lie one after the other, from the lowest bit of the first word; a code may lie in two words.
    """
    words = np.ascontiguousarray(words).view(np.uint32)
    mask = (1 << bits) - 1
    if 32 % bits == 0:
        shifts = np.arange(0, 32, bits, dtype=np.uint32)
        codes = ((words[..., None] >> shifts) & np.uint32(mask)).astype(np.uint8)
        return codes.reshape(*words.shape[:-1], -1)[..., bit // bits : bit // bits + count]
    at = bit + np.arange(count) * bits
    low = words[..., at // 32].astype(np.uint64)
    following = np.minimum(at // 32 + 1, words.shape[-1] - 1)
    high = words[..., following].astype(np.uint64)
    both = low | (high << np.uint64(32))
    return ((both >> (at % 32).astype(np.uint64)) & np.uint64(mask)).astype(np.uint8)


def field_values(words: NDArray[Any], bits: int, bit: int, count: int) -> NDArray[np.float32]:
    """The codes that ``fields`` finds, as float32."""
    if bits not in (4, 8):
        return fields(words, bits, bit, count).astype(np.float32)
    packed = np.ascontiguousarray(words).astype("<u4", copy=False).view(np.uint8)
    first = bit // bits
    if bits == 8:
        return packed[..., first : first + count].astype(np.float32)
    return pairs(packed, _NIBBLES, is_high_first=False)[..., first : first + count]


def byte_values(packed: NDArray[np.uint8], bits: int) -> NDArray[np.float32]:
    """All codes of 2, 4 or 8 bits of the bytes of the last dimension, lowest bits first, as float32."""
    packed = np.ascontiguousarray(packed)
    if bits == 8:
        return packed.astype(np.float32)
    if bits == 4:
        return pairs(packed, _NIBBLES, is_high_first=False)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes = (packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return codes.reshape(*packed.shape[:-1], -1).astype(np.float32)


def rounded(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[np.float32]:
    """Each value rounded to another type, to nearest even, and back in float32."""
    return values if dtype == np.float32 else values.astype(dtype).astype(np.float32)
