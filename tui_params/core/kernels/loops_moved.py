"""The loop over a tensor at a step of a run, as numba compiles it: its figures, and how it moved since the step before.

The squares of float32 are exact in float64. Each is cut at 2**-51 of a power of two above all squares of its chunk: the
upper parts are whole numbers of that unit, and added up as such; the lower ones, at most half a unit each, are added up
in float64. ``numbers.movement`` says how little is lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from tui_params.core.kernels.loop_arrays import array_view
from tui_params.core.kernels.loops_difference import decode

_words32 = array_view(types.uint32, is_input=True)
_table32 = array_view(types.uint32)
_floats32_in = array_view(types.float32, is_input=True)
_floats32 = array_view(types.float32)
_signed64 = array_view(types.int64)
_table64 = array_view(types.uint64)
_floats64 = array_view(types.float64)
_inline = njit(nogil=True)
_loose = njit(nogil=True, fastmath={"reassoc", "contract"})
# A product and a sum may be one instruction: rounded once, which changes nothing where the product is exact.
_fused = njit(nogil=True, fastmath={"contract"})

CHUNK = 1024
"""Elements that are looked at together; ``compiled`` allots scratch for as many of each side."""


@_loose  # type: ignore[untyped-decorator]
def _plus(a: Any, b: Any) -> Any:
    """A sum whose order does not matter, so that its loop runs in vectors. The flag is of this addition alone."""
    return a + b


@_fused  # type: ignore[untyped-decorator]
def _square(a: Any) -> Any:
    return a * a


@_fused  # type: ignore[untyped-decorator]
def _raise(square: Any, anchor: Any) -> Any:
    return square + anchor


@_fused  # type: ignore[untyped-decorator]
def _lower(square: Any, raised: Any, anchor: Any) -> Any:
    """What ``_raise`` rounded off."""
    return square - (raised - anchor)


@_inline  # type: ignore[untyped-decorator]
def _greatest(words: Any, count: int) -> Any:
    """The greatest magnitude, as a word; NaN and infinities are greater than all that is finite."""
    size, most = np.uint32(0x7FFFFFFF), np.uint32(0)
    for i in range(count):
        most = max(most, words[i] & size)
    return most


@_inline  # type: ignore[untyped-decorator]
def _look(a: Any, b: Any, x: Any, y: Any, count: int) -> Any:
    """The greatest magnitude of b, how many elements have another value, and whether any word is another one.

    The last is not the same: -0 is no other value than 0.
    """
    size, most, moved, other = np.uint32(0x7FFFFFFF), np.uint32(0), np.uint32(0), np.uint32(0)
    for i in range(count):
        most = max(most, np.uint32(b[i] & size))
        # Without the cast back the sum is of 64 bits, and so are the vectors.
        moved = np.uint32(moved + np.uint32(x[i] != y[i]))
        other = np.uint32(other | np.uint32(a[i] ^ b[i]))
    return most, moved, other


@_inline  # type: ignore[untyped-decorator]
def _ceiling(most: Any) -> Any:
    """Of the greatest magnitude, the power of two above its square: its exponent, at least -250."""
    return np.int64(2) * (max(np.int64(most >> np.uint32(23)), np.int64(1)) - np.int64(126))


@_inline  # type: ignore[untyped-decorator]
def _anchor(exponent: int) -> Any:
    """1.5 * 2**(exponent + 1): what is added to it, below 2**exponent, is rounded to multiples of 2**(exponent-51)."""
    bits = (np.uint64(exponent + np.int64(1024)) << np.uint64(52)) | (np.uint64(1) << np.uint64(51))
    return np.uint64(bits).view(np.float64)


@_inline  # type: ignore[untyped-decorator]
def _keep(squares: Any, exponent: int, total: Any) -> None:
    """Add ``total`` of the units of 2**(exponent - 51) to ``squares``, whose digits of 32 bits begin at 2**-301."""
    mask, place = np.uint64(0xFFFFFFFF), (exponent + np.int64(250)) >> np.int64(5)
    shift = np.uint64((exponent + np.int64(250)) & np.int64(31))
    low, high = (np.uint64(total) & mask) << shift, (np.uint64(total) >> np.uint64(32)) << shift
    squares[place] += low & mask
    squares[place + 1] += (low >> np.uint64(32)) + (high & mask)
    squares[place + 2] += high >> np.uint64(32)


@_inline  # type: ignore[untyped-decorator]
def _add_alone(b: Any, count: int, anchor: float, sums: Any) -> Any:
    """The squares of finite elements: the upper parts as a number of units, the lower ones into ``sums[0]``."""
    units, rest, base = np.int64(0), 0.0, np.int64(np.float64(anchor).view(np.int64))
    for i in range(count):
        y = np.float64(b[i])
        square = _square(y)
        raised = _raise(square, anchor)
        units += np.int64(np.float64(raised).view(np.int64)) - base
        rest = _plus(rest, _lower(square, raised, anchor))
    sums[0] += rest
    return units


@_inline  # type: ignore[untyped-decorator]
def _add_both(a: Any, b: Any, count: int, anchor: float, sums: Any) -> Any:
    """As ``_add_alone``; the squares of ``a`` go into ``sums[1]``, those of b - a into ``sums[2]``."""
    units, rest, base = np.int64(0), 0.0, np.int64(np.float64(anchor).view(np.int64))
    aa = dd = 0.0
    for i in range(count):
        x, y = np.float64(a[i]), np.float64(b[i])
        delta = y - x
        square = _square(y)
        raised = _raise(square, anchor)
        units += np.int64(np.float64(raised).view(np.int64)) - base
        rest = _plus(rest, _lower(square, raised, anchor))
        aa = _plus(aa, _square(x))
        dd = _plus(dd, _square(delta))
    sums[0] += rest
    sums[1] += aa
    sums[2] += dd
    return units


@_inline  # type: ignore[untyped-decorator]
def _add_odd(a: Any, b: Any, x: Any, y: Any, count: int, has_before: bool, counts: Any, sums: Any, squares: Any) -> Any:
    """A chunk in which something is not finite; returns the greatest finite magnitude of b."""
    size, infinity, most = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000), np.uint32(0)
    for i in range(count):
        absolute = b[i] & size
        most = max(most, absolute if absolute < infinity else np.uint32(0))
    exponent = _ceiling(most)
    anchor = _anchor(exponent)
    base, units = np.int64(np.float64(anchor).view(np.int64)), np.int64(0)
    for i in range(count):
        absolute = b[i] & size
        counts[0] += np.int64(absolute > infinity)
        counts[1] += np.int64(absolute == infinity)
        is_finite = absolute < infinity
        if is_finite:
            square = _square(np.float64(y[i]))
            raised = _raise(square, anchor)
            units += np.int64(np.float64(raised).view(np.int64)) - base
            sums[0] += _lower(square, raised, anchor)
        if not has_before:
            continue
        counts[5] |= np.int64(a[i] ^ b[i])
        before = a[i] & size
        counts[2] += np.int64(x[i] != y[i] and not (before > infinity and absolute > infinity))
        if is_finite and before < infinity:
            delta = np.float64(y[i]) - np.float64(x[i])
            counts[3] += 1
            sums[1] += np.float64(x[i]) * np.float64(x[i])
            sums[2] += delta * delta
    _keep(squares, exponent, units)
    return most


def moved(a: int, b: int, count: int, kinds: int, scratch: int, counts: int, sums: int, squares: int) -> None:
    is_plain = kinds == 0
    table, totals, digits = _signed64(counts, 7), _floats64(sums, 3), _table64(squares, 24)
    infinity, greatest = np.uint32(0x7F800000), np.uint32(table[4])
    has_before = a != 0
    is_known = not has_before or bool(table[6])
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        # float32 is looked at where it lies; the other types are decoded into the first-level cache.
        at_a, at_b = a + 4 * start, b + 4 * start
        if not is_plain:
            at_a, at_b = scratch, scratch + 4 * CHUNK
            decode(kinds >> 4, b, start, size, _table32(at_b, size))
            if has_before:
                decode(kinds & 15, a, start, size, _table32(at_a, size))
        if not has_before:
            at_a = at_b
        words_a, words_b = _words32(at_a, size), _words32(at_b, size)
        floats_a, floats_b = _floats32_in(at_a, size), _floats32_in(at_b, size)
        if has_before:
            most, changed, other = _look(words_a, words_b, floats_a, floats_b, size)
        else:
            most, changed, other = _greatest(words_b, size), np.uint32(0), np.uint32(0)
        is_finite = most < infinity and (is_known or _greatest(words_a, size) < infinity)
        if not is_finite:
            most = _add_odd(words_a, words_b, floats_a, floats_b, size, has_before, table, totals, digits)
            greatest = max(greatest, most)
            continue
        greatest = max(greatest, most)
        exponent = _ceiling(most)
        if has_before:
            units = _add_both(floats_a, floats_b, size, _anchor(exponent), totals)
            table[2] += np.int64(changed)
            table[3] += size
            table[5] |= np.int64(other)
        else:
            units = _add_alone(floats_b, size, _anchor(exponent), totals)
        _keep(digits, exponent, units)
    table[4] = np.int64(greatest)
