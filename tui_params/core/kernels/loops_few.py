"""The loop over a tensor of few elements that finds all of its figures, as numba compiles it; the rules are those of
``loops``. It sorts the elements, so that nothing has to be counted into tables larger than the tensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from tui_params.core.kernels.loop_arrays import array_view
from tui_params.core.kernels.loops_difference import decode

_table32 = array_view(types.uint32)
_table64 = array_view(types.uint64)
_signed64 = array_view(types.int64)
_floats32 = array_view(types.float32)
_floats64 = array_view(types.float64)
_inline = njit(nogil=True)
_divided = njit(nogil=True, error_model="numpy")  # a check of the divisor would have to raise

FEW = 1 << 16
"""The most elements."""
LISTED = 8
"""Rows, or columns, of each kind that are listed."""
QUANTILES = 9
BINS = 16
SIDE = 8 + 3 * LISTED
"""Integers about the rows, or about the columns: how many, dead, faint, and how many of each list; then the lists."""
COUNTS = 32
"""Integers before those of the rows: see ``few``."""
REALS = 16
"""Floats before those of the rows; a side has 1 + 2 * LISTED: its median, then the magnitudes of two lists."""
LIMBS = 12, 12, 20
"""Words of 32 bits of the sums of the positive and of the negative elements, and of all squares."""
_SHORT = 32


@_divided  # type: ignore[untyped-decorator]
def _divide(a: Any, b: Any) -> Any:
    return a // b


@_divided  # type: ignore[untyped-decorator]
def _ratio(a: Any, b: Any) -> Any:
    return a / b


@_inline  # type: ignore[untyped-decorator]
def _key(word: Any) -> Any:
    """A finite word as a number in the order of the values, +0 just below -0: in the order of their patterns."""
    key = np.uint32(word ^ (np.uint32(np.int32(word) >> np.int32(31)) | np.uint32(0x80000000)))
    if key == np.uint32(0x80000000):
        return np.uint32(0x7FFFFFFF)
    return np.uint32(0x80000000) if key == np.uint32(0x7FFFFFFF) else key


@_inline  # type: ignore[untyped-decorator]
def _word(key: Any) -> Any:
    """The inverse of ``_key``."""
    if key == np.uint32(0x80000000):
        return key
    if key == np.uint32(0x7FFFFFFF):
        return np.uint32(0)
    if key & np.uint32(0x80000000):
        return np.uint32(key ^ np.uint32(0x80000000))
    return np.uint32(~key)


@_inline  # type: ignore[untyped-decorator]
def _value(key: Any) -> Any:
    return np.float64(np.uint32(_word(key)).view(np.float32))


@_inline  # type: ignore[untyped-decorator]
def _move(source: Any, target: Any, starts: Any, count: int, shift: Any, base: int) -> None:
    for i in range(count):
        word = source[i]
        digit = base + np.int64((word >> shift) & np.uint32(0xFF))
        place = starts[digit]
        target[place] = word
        starts[digit] = place + np.int64(1)


@_inline  # type: ignore[untyped-decorator]
def _insert(words: Any, count: int) -> None:
    """Sort the first words by insertion."""
    for i in range(1, count):
        word = words[i]
        j = i
        while j > 0 and words[j - 1] > word:
            words[j] = words[j - 1]
            j -= 1
        words[j] = word


@_inline  # type: ignore[untyped-decorator]
def _distribute(words: Any, other: Any, starts: Any, count: int) -> None:
    """Sort the first words, at least one, through ``other`` by eight bits at a time."""
    for i in range(1024):
        starts[i] = 0
    for i in range(count):
        word = words[i]
        starts[np.int64(word & np.uint32(0xFF))] += 1
        starts[256 + np.int64((word >> np.uint32(8)) & np.uint32(0xFF))] += 1
        starts[512 + np.int64((word >> np.uint32(16)) & np.uint32(0xFF))] += 1
        starts[768 + np.int64(word >> np.uint32(24))] += 1
    is_here = True
    for step in range(4):
        base, shift = 256 * step, np.uint32(8 * step)
        some = words[0] if is_here else other[0]
        # Narrow types have only zeros in their lower bits.
        if starts[base + np.int64((some >> shift) & np.uint32(0xFF))] != count:
            total = np.int64(0)
            for i in range(base, base + 256):
                found = starts[i]
                starts[i] = total
                total += found
            if is_here:
                _move(words, other, starts, count, shift, base)
            else:
                _move(other, words, starts, count, shift, base)
            is_here = not is_here
    if not is_here:
        for i in range(count):
            words[i] = other[i]


@_inline  # type: ignore[untyped-decorator]
def _sort(words: int, scratch: int, count: int) -> None:
    """Sort words at an address. Of arrays that come from a caller numba would count references in each branch."""
    if count <= _SHORT:
        _insert(_table32(words, count), count)
    else:
        other, starts = _table32(scratch + 8 * FEW, FEW), _signed64(scratch + 24 * FEW, 1024)
        _distribute(_table32(words, count), other, starts, count)


@_inline  # type: ignore[untyped-decorator]
def _add(limbs: Any, number: Any, shift: int) -> None:
    """Add a number of 64 bits, times a power of two, to words of 32 bits that may carry over later."""
    mask = np.uint64(0xFFFFFFFF)
    place, bits = shift >> 5, np.uint64(shift & 31)
    low, high = (number & mask) << bits, (number >> np.uint64(32)) << bits
    limbs[place] += low & mask
    limbs[place + 1] += (low >> np.uint64(32)) + (high & mask)
    limbs[place + 2] += high >> np.uint64(32)


@_inline  # type: ignore[untyped-decorator]
def _carry(limbs: Any, into: Any, first: int) -> None:
    carry = np.uint64(0)
    for i in range(limbs.size):
        carry += limbs[i]
        into[first + i] = np.uint32(carry & np.uint64(0xFFFFFFFF))
        carry >>= np.uint64(32)


@_inline  # type: ignore[untyped-decorator]
def _add_up(keys: Any, count: int, limbs: int, into: Any) -> None:
    """The sums of sorted elements in units of 2**-149, and of their squares in units of 2**-298."""
    positive, negative, squares = _table64(limbs, 12), _table64(limbs + 96, 12), _table64(limbs + 192, 20)
    for i in range(20):
        squares[i] = np.uint64(0)
    for i in range(12):
        positive[i] = negative[i] = np.uint64(0)
    i = 0
    while i < count:
        # Of one sign and exponent at a time: the sums of 2**16 of them fit into 64 bits.
        code = _word(keys[i]) >> np.uint32(23)
        exponent = np.int64(code & np.uint32(0xFF))
        leading = np.uint64(1 << 23) if exponent else np.uint64(0)
        total, square = np.uint64(0), np.uint64(0)
        while i < count:
            word = _word(keys[i])
            if word >> np.uint32(23) != code:
                break
            mantissa = np.uint64(word & np.uint32(0x7FFFFF)) | leading
            total += mantissa
            square += mantissa * mantissa
            i += 1
        shift = max(exponent, np.int64(1)) - 1
        if code & np.uint32(0x100):
            _add(negative, total, shift)
        else:
            _add(positive, total, shift)
        _add(squares, square, 2 * shift)
    _carry(positive, into, 0)
    _carry(negative, into, 12)
    _carry(squares, into, 24)


@_inline  # type: ignore[untyped-decorator]
def _list(magnitudes: Any, limit: float, sign: float, indices: Any, at: int, sizes: Any, start: int) -> int:
    """The first LISTED in the order of ``sign`` times the magnitude, equal ones by index; how many they are.

    With a sign of 1 only those above 0 and below ``limit`` are looked at.
    """
    listed = 0
    for i in range(magnitudes.size):
        size = np.float64(magnitudes[i])
        if sign > 0 and not (0 < size < limit):
            continue
        if listed == LISTED and sign * size >= sign * sizes[start + LISTED - 1]:
            continue
        place = listed if listed < LISTED else LISTED - 1
        while place > 0 and sign * sizes[start + place - 1] > sign * size:
            sizes[start + place] = sizes[start + place - 1]
            indices[at + place] = indices[at + place - 1]
            place -= 1
        sizes[start + place] = size
        indices[at + place] = i
        listed = min(listed + 1, LISTED)
    return listed


@_inline  # type: ignore[untyped-decorator]
def _side(table: int, count: int, scratch: int, counts: int, at: int, real: int, start: int) -> None:
    """The figures of rows, or of columns, from the largest magnitude in each: doubled, or 1 if there is no finite one.

    They are left in the counts from ``at`` and in the reals from ``start`` on.
    """
    found, reals = _signed64(counts, COUNTS + 2 * SIDE), _floats64(real, 64)
    words, floats, spare = _table32(table, count), _floats32(table, count), _table32(scratch + 12 * FEW, FEW)
    faint = reals[14]
    dead = 0
    for i in range(count):
        if words[i] == np.uint32(0):
            if dead < LISTED:
                found[at + 8 + dead] = i
            dead += 1
        words[i] >>= np.uint32(1)
        spare[i] = words[i]
    _sort(scratch + 12 * FEW, scratch, count)
    low, high = spare[(count - 1) >> 1], spare[count >> 1]
    median = (np.float64(np.uint32(low).view(np.float32)) + np.float64(np.uint32(high).view(np.float32))) / 2.0
    weak = 0
    for i in range(count):
        size = np.float64(floats[i])
        weak += int(0 < size < faint * median)
    found[at], found[at + 1], found[at + 2] = count, dead, weak
    found[at + 3] = min(dead, LISTED)
    found[at + 4] = _list(floats, np.inf, -1.0, found, at + 8 + LISTED, reals, start + 1)
    limit = faint * median if weak >= LISTED else np.inf
    found[at + 5] = _list(floats, limit, 1.0, found, at + 8 + 2 * LISTED, reals, start + 1 + LISTED)
    reals[start] = median


@_inline  # type: ignore[untyped-decorator]
def _maxima(words: Any, rows: Any, columns: Any, group: int) -> None:
    """The largest finite magnitude of each row and column, doubled; 1 where only others are. Columns begin as 0."""
    magnitude, infinity = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000)
    one = np.uint32(1)
    place = 0
    for row in range(rows.size):
        best = np.uint32(0)
        if group == 1:
            width = columns.size
            for i in range(width):
                size = words[place + i] & magnitude
                size = size << one if size < infinity else one
                columns[i] = max(columns[i], size)
                best = max(best, size)
            place += width
        else:
            for column in range(columns.size):
                most = np.uint32(0)
                for _ in range(group):
                    size = words[place] & magnitude
                    most = max(most, size << one if size < infinity else one)
                    place += 1
                columns[column] = max(columns[column], most)
                best = max(best, most)
        rows[row] = best


@_inline  # type: ignore[untyped-decorator]
def _count(words: Any, keys: Any, plan: Any, counts: Any) -> int:
    """Count the kinds of elements, and leave the keys of the finite ones, how many are returned."""
    magnitude, infinity, sign = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000), np.uint32(0x80000000)
    normal, largest, below = np.uint32(plan[2]), np.uint32(plan[3]), np.uint32(plan[4])
    finite = 0
    nan, infs, neg_infs, zeros = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    subnormals, at_max, below_max = np.int64(0), np.int64(0), np.int64(0)
    for i in range(words.size):
        word = words[i]
        size = word & magnitude
        if size < infinity:
            keys[finite] = _key(word)
            finite += 1
            zeros += np.int64(size == np.uint32(0))
            subnormals += np.int64(size < normal)
            at_max += np.int64(size == largest)
            below_max += np.int64(size == below)
        elif size > infinity:
            nan += 1
        elif word & sign:
            neg_infs += 1
        else:
            infs += 1
    counts[0], counts[1], counts[2], counts[3] = finite, nan, infs, neg_infs
    counts[4], counts[5], counts[6], counts[7] = zeros, subnormals - zeros, at_max, below_max
    return finite


@_inline  # type: ignore[untyped-decorator]
def _quantiles(keys: Any, count: int, plan: Any, counts: Any, reals: Any) -> None:
    """The quantiles of sorted elements, each rounded once; ``counts[8]`` says that one is not."""
    for i in range(QUANTILES):
        whole = plan[17 + 2 * i]
        product = plan[16 + 2 * i] * (count - 1)
        rank = _divide(product, whole)
        rest = product - rank * whole
        low = _value(keys[rank])
        high = _value(keys[rank + 1]) if rest else low
        if low == high:
            reals[2 + i] = low
            continue
        # Both products are exact: 24 bits times 10. Their sum is, unless one is far smaller than the other.
        a, b = low * np.float64(whole - rest), high * np.float64(rest)
        total = a + b
        part = total - a
        if (a - (total - part)) + (b - part) != 0.0:
            counts[8] = 1
        reals[2 + i] = _ratio(total, np.float64(whole))


@_inline  # type: ignore[untyped-decorator]
def _bins(keys: Any, count: int, low: float, high: float, counts: Any) -> None:
    """The counts between evenly spaced limits, rounded as numpy rounds them; the last bin is closed."""
    before = 0
    last = low
    for i in range(BINS + 1):
        edge = low if i == 0 else high if i == BINS else low + (high - low) * (np.float64(i) * (1.0 / BINS))
        last = max(last, min(max(edge, low), high))
        start, stop = 0, count
        while start < stop:
            middle = (start + stop) >> 1
            value = _value(keys[middle])
            if value < last or (i == BINS and value == last):
                start = middle + 1
            else:
                stop = middle
        if i:
            counts[11 + i] = start - before
        before = start


@_inline  # type: ignore[untyped-decorator]
def _spark(address: int, count: int, found: int, real: int) -> None:
    """The counts in bins between the outermost quantiles, or the extremes where these are equal."""
    keys, counts, reals = _table32(address, count), _signed64(found, COUNTS), _floats64(real, 64)
    low, high = reals[2], reals[2 + QUANTILES - 1]
    if low == high:
        low, high = _value(keys[0]), _value(keys[count - 1])
    reals[11], reals[12] = low, high
    for i in range(BINS):
        counts[12 + i] = 0
    if low == high:
        counts[12 + BINS // 2] = count
    else:
        _bins(keys, count, low, high, counts)


def few(plan: int) -> None:
    """``plan``: how many elements, the number of their type in DECODED, the patterns as float32 of the smallest normal
    number, the largest finite one and the one below it (-1: not counted), how many rows (0: none) and columns (0: not
    wanted), neighbours in a column, columns also where they are not wanted, the address of the elements, and those of
    ``scratch``, ``found``, ``real`` and the sums; from 16 on the quantiles as fractions.

    ``found``: finite, NaN, infinities, negative ones, zeros, subnormals, at the largest magnitude, below it, whether a
    quantile could not be rounded here; from 12 on the bins. ``real``: the extremes, the quantiles, the limits of the
    bins; at 14 stands the share of the median below which a row is faint, which is an input.
    """
    given = _signed64(plan, 40)
    count, rows, columns = given[0], given[5], given[6]
    raw, scratch, found, real, sums = given[9], given[10], given[11], given[12], given[13]
    counts, reals = _signed64(found, COUNTS + 2 * SIDE), _floats64(real, 64)
    words, keys = _table32(scratch, count), _table32(scratch + 4 * FEW, FEW)
    tables, limbs = scratch + 16 * FEW, scratch + 24 * FEW + 8192
    decode(given[1], raw, 0, count, words)
    counts[8] = 0
    if rows:
        width = given[8]
        heights, widths = _table32(tables, rows), _table32(tables + 4 * rows, width)
        for i in range(width):
            widths[i] = np.uint32(0)
        _maxima(words, heights, widths, given[7])
        _side(tables, rows, scratch, found, COUNTS, real, REALS)
        if columns:
            _side(tables + 4 * rows, width, scratch, found, COUNTS + SIDE, real, REALS + 1 + 2 * LISTED)
    finite = _count(words, keys, given, counts)
    _sort(scratch + 4 * FEW, scratch, finite)
    _add_up(keys, finite, limbs, _table32(sums, 44))
    if finite:
        # Zeros are positive here.
        reals[0], reals[1] = _value(keys[0]) + 0.0, _value(keys[finite - 1]) + 0.0
        _quantiles(keys, finite, given, counts, reals)
        _spark(scratch + 4 * FEW, finite, found, real)
