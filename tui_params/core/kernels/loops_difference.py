"""The loop that compares two tensors, as numba compiles it; the rules are those of ``loops``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from tui_params.core.kernels.loop_arrays import array_view

_words16 = array_view(types.uint16, is_input=True)
_words32 = array_view(types.uint32, is_input=True)
_table32 = array_view(types.uint32)
_signed64 = array_view(types.int64)
_inline = njit(nogil=True)
_floats32 = array_view(types.float32)
_floats64 = array_view(types.float64)
_bytes8 = array_view(types.uint8, is_input=True)
_reassociated = njit(nogil=True, fastmath={"reassoc", "contract", "nnan", "ninf", "nsz"})

CHUNK = 1024
"""Elements that are decoded at a time, into the first-level cache, and whose sums are rounded apart."""


@_inline  # type: ignore[untyped-decorator]
def decode(kind: int, address: int, first: int, count: int, into: Any) -> None:
    """Elements from number ``first`` on as words of float32, which hold each of them; ``kind`` is DECODED's number."""
    if kind == 0:  # float32
        words = _words32(address + 4 * first, count)
        for i in range(count):
            into[i] = words[i]
    elif kind == 1:  # bfloat16
        halves = _words16(address + 2 * first, count)
        for i in range(count):
            into[i] = np.uint32(halves[i]) << np.uint32(16)
    elif kind == 2:  # float16: the exponent is moved by a multiplication, which makes subnormals normal as well
        halves = _words16(address + 2 * first, count)
        for i in range(count):
            word = np.uint32(halves[i])
            moved = np.uint32((word & np.uint32(0x7FFF)) << np.uint32(13)).view(np.float32) * np.float32(2.0**112)
            size = np.float32(moved).view(np.uint32)
            special = np.uint32(0x7F800000) | ((word & np.uint32(0x3FF)) << np.uint32(13))
            size = special if (word & np.uint32(0x7C00)) == np.uint32(0x7C00) else size
            into[i] = size | ((word & np.uint32(0x8000)) << np.uint32(16))
    elif kind == 3:  # float8_e5m2: the upper half of a float16
        octets = _bytes8(address + first, count)
        for i in range(count):
            word = np.uint32(octets[i])
            moved = np.uint32((word & np.uint32(0x7F)) << np.uint32(21)).view(np.float32) * np.float32(2.0**112)
            size = np.float32(moved).view(np.uint32)
            special = np.uint32(0x7F800000) | ((word & np.uint32(3)) << np.uint32(21))
            size = special if (word & np.uint32(0x7C)) == np.uint32(0x7C) else size
            into[i] = size | ((word & np.uint32(0x80)) << np.uint32(24))
    else:  # float8_e4m3fn: no infinity, one NaN
        octets = _bytes8(address + first, count)
        for i in range(count):
            word = np.uint32(octets[i])
            moved = np.uint32((word & np.uint32(0x7F)) << np.uint32(20)).view(np.float32) * np.float32(2.0**120)
            size = np.float32(moved).view(np.uint32)
            size = np.uint32(0x7FC00000) if (word & np.uint32(0x7F)) == np.uint32(0x7F) else size
            into[i] = size | ((word & np.uint32(0x80)) << np.uint32(24))


@_inline  # type: ignore[untyped-decorator]
def _all_finite(a: Any, b: Any, count: int) -> bool:
    infinity, bad = np.uint32(0x7F800000), np.uint32(0)
    for i in range(count):
        bad |= np.uint32((a[i] & infinity) == infinity) | np.uint32((b[i] & infinity) == infinity)
    return bool(bad == np.uint32(0))


@_reassociated  # type: ignore[untyped-decorator]
def _add_sums(a: Any, b: Any, count: int, sums: Any) -> None:
    aa = bb = ab = dd = total = 0.0
    for i in range(count):
        x, y = np.float64(a[i]), np.float64(b[i])
        delta = y - x
        aa += x * x
        bb += y * y
        ab += x * y
        dd += delta * delta
        total += abs(delta)
    sums[0] += aa
    sums[1] += bb
    sums[2] += ab
    sums[3] += dd
    sums[4] += total


@_inline  # type: ignore[untyped-decorator]
def _count_changed(a: Any, b: Any, count: int, sums: Any, atol: float, rtol: float) -> Any:
    """How many elements are changed, and the greatest distance.

    Compiled to the letter: a product and a sum in one would be rounded once, where Python and numpy round twice. The
    maximum is one of integers, so that it runs in vectors.
    """
    changed, peak = np.int64(0), np.uint64(0)
    for i in range(count):
        x = np.float64(a[i])
        distance = abs(np.float64(b[i]) - x)
        changed += np.int64(distance > atol + rtol * abs(x))
        peak = max(peak, np.float64(distance).view(np.uint64))
    sums[5] = max(sums[5], np.uint64(peak).view(np.float64))
    return changed


@_inline  # type: ignore[untyped-decorator]
def _count_zeroed(a: Any, b: Any, count: int) -> Any:
    """How many words are zero, of either sign, in b and not in a."""
    size, zeroed = np.uint32(0x7FFFFFFF), np.uint32(0)
    for i in range(count):
        zeroed += np.uint32((a[i] & size) != np.uint32(0)) & np.uint32((b[i] & size) == np.uint32(0))
    return np.int64(zeroed)


def difference(a: int, b: int, count: int, kinds: int, scratch: int, limits: int, sums: int, found: int) -> None:
    words_a, words_b = _table32(scratch, CHUNK), _table32(scratch + 4 * CHUNK, CHUNK)
    floats_a, floats_b = _floats32(scratch, CHUNK), _floats32(scratch + 4 * CHUNK, CHUNK)
    totals, results, limit = _floats64(sums, 6), _signed64(found, 4), _floats64(limits, 2)
    atol, rtol = limit[0], limit[1]
    results[0] = 0
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        decode(kinds & 15, a, start, size, words_a)
        decode(kinds >> 4, b, start, size, words_b)
        if not _all_finite(words_a, words_b, size):
            return
        _add_sums(floats_a, floats_b, size, totals)
        changed = _count_changed(floats_a, floats_b, size, totals, atol, rtol)
        if changed and not results[1]:
            for i in range(size):
                x = np.float64(floats_a[i])
                if abs(np.float64(floats_b[i]) - x) > atol + rtol * abs(x):
                    results[2] = start + i
                    break
        results[1] += changed
        results[3] += _count_zeroed(words_a, words_b, size)
    results[0] = 1
