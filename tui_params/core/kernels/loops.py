"""The inner loops, as numba compiles them to machine code.

Only the process that compiles imports this module, because numba costs 0.3 s and 70 MB. The loops are never called as
Python. Each takes addresses and counts (see ``compiled.CompiledKernels``), touches no Python object and raises nothing;
``tests/core/kernels/test_kernels.py`` compares each with numpy's. Inputs may be unaligned, tables are aligned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types

from tui_params.core.kernels.loop_arrays import array_view
from tui_params.core.kernels.loops_blocks import blocks
from tui_params.core.kernels.loops_difference import difference
from tui_params.core.kernels.loops_few import few
from tui_params.core.kernels.loops_moved import moved
from tui_params.core.kernels.loops_seek import SEEK_LOOPS

_words16 = array_view(types.uint16, is_input=True)
_words32 = array_view(types.uint32, is_input=True)
_words64 = array_view(types.uint64, is_input=True)
_table32 = array_view(types.uint32)
_table64 = array_view(types.uint64)
_signed64 = array_view(types.int64)
_inline = njit(nogil=True)


def _count16(words: int, count: int, lanes: int) -> None:
    one, mask = np.uint32(1), np.uint64(0xFFFF)
    a, b = _table32(lanes, 65536), _table32(lanes + 262144, 65536)
    c, d = _table32(lanes + 524288, 65536), _table32(lanes + 786432, 65536)
    fours = _words64(words, count >> 2)
    for i in range(fours.size):
        four = fours[i]
        a[four & mask] += one
        b[(four >> np.uint64(16)) & mask] += one
        c[(four >> np.uint64(32)) & mask] += one
        d[four >> np.uint64(48)] += one
    rest = _words16(words + (count >> 2 << 3), count & 3)
    for i in range(rest.size):
        a[rest[i]] += one


@_inline  # type: ignore[untyped-decorator]
def _float32_tables(pairs: Any, packed: Any, a: Any, b: Any, c: Any, d: Any) -> None:
    """Count the upper halves and sum up the lower ones, and the squares of these: pairs are (lower, upper)."""
    one, seven = np.uint64(1 << 40), np.uint64(7)
    count = pairs.size // 2
    for i in range(count // 4):
        low_half, upper_half = np.uint64(pairs[8 * i]), np.uint64(pairs[8 * i + 1])
        packed[upper_half] += one + low_half
        a[upper_half >> seven] += low_half * low_half
        low_half, upper_half = np.uint64(pairs[8 * i + 2]), np.uint64(pairs[8 * i + 3])
        packed[upper_half] += one + low_half
        b[upper_half >> seven] += low_half * low_half
        low_half, upper_half = np.uint64(pairs[8 * i + 4]), np.uint64(pairs[8 * i + 5])
        packed[upper_half] += one + low_half
        c[upper_half >> seven] += low_half * low_half
        low_half, upper_half = np.uint64(pairs[8 * i + 6]), np.uint64(pairs[8 * i + 7])
        packed[upper_half] += one + low_half
        d[upper_half >> seven] += low_half * low_half
    for i in range(count // 4 * 4, count):
        low_half, upper_half = np.uint64(pairs[2 * i]), np.uint64(pairs[2 * i + 1])
        packed[upper_half] += one + low_half
        a[upper_half >> seven] += low_half * low_half


@_inline  # type: ignore[untyped-decorator]
def _key32(word: Any) -> Any:
    """A word as ``protocol.ordered`` maps it."""
    return np.uint32(word ^ (np.uint32(np.int32(word) >> np.int32(31)) | np.uint32(0x80000000)))


def _float32(words: int, count: int, packed: int, squares: int, special: int, found: int) -> None:
    magnitude, infinity, nothing = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000), np.uint32(0xFFFFFFFF)
    sign = np.uint32(0x80000000)
    table, kinds, extremes = _table64(packed, 65536), _signed64(special, 4), _signed64(found, 2)
    # Four tables of squares, for neighbours often have the same exponent.
    a, b = _table64(squares, 512), _table64(squares + 4096, 512)
    c, d = _table64(squares + 8192, 512), _table64(squares + 12288, 512)
    low, high = nothing, np.uint32(0)
    # Pieces that lie in the first-level cache, each looked at twice: the first loop runs in vectors.
    for start in range(0, count, 16384):
        size = min(16384, count - start)
        some = _words32(words + 4 * start, size)
        # As signed numbers the positive floats are in their order, and above all negative ones; as unsigned numbers
        # the negative ones are in the opposite order, and above all positive ones.
        most_signed, least_signed = np.int32(-0x80000000), np.int32(0x7FFFFFFF)
        most, least, smallest = np.uint32(0), nothing, nothing
        for i in range(size):
            word = some[i]
            most_signed, least_signed = max(most_signed, np.int32(word)), min(least_signed, np.int32(word))
            most, least, smallest = max(most, word), min(least, word), min(smallest, word & magnitude)
        is_finite = most_signed < np.int32(0x7F800000) and most < (infinity | sign)
        if is_finite:
            greatest = np.uint32(most_signed) if most_signed >= np.int32(0) else least
            lowest = most if most >= sign else np.uint32(least_signed)
            high, low = max(high, _key32(greatest)), min(low, _key32(lowest))
        else:
            for i in range(size):
                word = some[i]
                key = _key32(word)
                low = min(low, key if word & magnitude < infinity else nothing)
                high = max(high, key if word & magnitude < infinity else np.uint32(0))
        if not is_finite or smallest == np.uint32(0):
            zeros, neg_zeros, infs, neg_infs = np.uint32(0), np.uint32(0), np.uint32(0), np.uint32(0)
            for i in range(size):
                word = some[i]
                zeros += np.uint32(word == np.uint32(0))
                neg_zeros += np.uint32(word == sign)
                infs += np.uint32(word == infinity)
                neg_infs += np.uint32(word == (infinity | sign))
            kinds[0] += zeros
            kinds[1] += neg_zeros
            kinds[2] += infs
            kinds[3] += neg_infs
        _float32_tables(_words16(words + 4 * start, 2 * size), table, a, b, c, d)
    extremes[0], extremes[1] = low, high


@_inline  # type: ignore[untyped-decorator]
def _key64(word: Any) -> Any:
    """A word as ``protocol.ordered64`` maps it."""
    return np.uint64(word ^ (np.uint64(np.int64(word) >> np.int64(63)) | np.uint64(1 << 63)))


def _float64(words: int, count: int, counts: int, sums: int, scratch: int, special: int, found: int) -> None:
    magnitude, infinity = np.uint64(0x7FFFFFFFFFFFFFFF), np.uint64(0x7FF0000000000000)
    sign, nothing = np.uint64(1 << 63), np.uint64(0xFFFFFFFFFFFFFFFF)
    one, exponent, mantissa, half = np.uint64(1), np.uint64(52), np.uint64((1 << 52) - 1), np.uint64((1 << 26) - 1)
    buckets, kinds, pieces = _signed64(counts, 1 << 19), _signed64(special, 4), _table64(scratch, 4096 * 4)
    low, high = nothing, np.uint64(0)
    # Pieces so small that the sums of one fit into 64 bits: of mantissas, and of the products of their halves.
    for start in range(0, count, 2048):
        some = _words64(words + 8 * start, min(2048, count - start))
        bits = np.uint64(0)
        # Signed numbers are compared in vectors where unsigned ones are not.
        greatest, flipped = np.int64(-0x8000000000000000), np.int64(-0x8000000000000000)
        smallest, largest = np.int64(0x7FFFFFFFFFFFFFFF), np.int64(0)
        for i in range(some.size):
            word = some[i]
            size = np.int64(word & magnitude)
            greatest, flipped = max(greatest, np.int64(word)), max(flipped, np.int64(word ^ sign))
            smallest, largest = min(smallest, size), max(largest, size)
            bits |= word
        least, most = np.uint64(smallest), np.uint64(largest)
        if smallest > 0 and most < infinity:
            top = np.uint64(greatest) if greatest >= 0 else least | sign
            bottom = np.uint64(flipped) ^ sign if bits & sign else least
            high, low = max(high, _key64(top)), min(low, _key64(bottom))
        else:
            least, most = nothing, np.uint64(0)
            zeros, neg_zeros, infs, neg_infs = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
            for i in range(some.size):
                word = some[i]
                absolute = word & magnitude
                key = _key64(word)
                low = min(low, key if absolute < infinity else nothing)
                high = max(high, key if absolute < infinity else np.uint64(0))
                least = min(least, absolute - one)  # of a zero it is the greatest number
                most = max(most, absolute if absolute < infinity else np.uint64(0))
                zeros += np.int64(word == np.uint64(0))
                neg_zeros += np.int64(word == sign)
                infs += np.int64(word == infinity)
                neg_infs += np.int64(word == (infinity | sign))
            kinds[0] += zeros
            kinds[1] += neg_zeros
            kinds[2] += infs
            kinds[3] += neg_infs
        if bits & half:
            for i in range(some.size):
                word = some[i]
                buckets[word >> np.uint64(45)] += 1
                row = (word >> exponent) << np.uint64(2)
                lower, upper = word & half, (word & mantissa) >> np.uint64(26)
                pieces[row] += word & mantissa
                pieces[row + one] += lower * lower
                pieces[row + np.uint64(2)] += lower * upper
                pieces[row + np.uint64(3)] += upper * upper
        else:
            # Values converted from float32 or narrower types have no lower half.
            for i in range(some.size):
                word = some[i]
                buckets[word >> np.uint64(45)] += 1
                row = (word >> exponent) << np.uint64(2)
                upper = (word & mantissa) >> np.uint64(26)
                pieces[row] += word & mantissa
                pieces[row + np.uint64(3)] += upper * upper
        _gather64(pieces, _table64(sums, 4096 * 9), np.int64(least >> exponent), np.int64(most >> exponent))
    extremes = _table64(found, 2)
    extremes[0], extremes[1] = low, high


@_inline  # type: ignore[untyped-decorator]
def _gather64(pieces: Any, sums: Any, least: Any, most: Any) -> None:
    """Move the sums of a piece to where those of all pieces are, which hold limbs of 18 bits and their products.

    ``least`` and ``most`` are the exponents of the piece, zeros and what is not finite left out.
    """
    limb = np.uint64((1 << 18) - 1)
    for sign in range(2):
        for exponent in range(least, most + 1):
            row = 2048 * sign + exponent
            a, b, c, d = pieces[4 * row], pieces[4 * row + 1], pieces[4 * row + 2], pieces[4 * row + 3]
            if a:
                sums[9 * row] += a & limb
                sums[9 * row + 1] += (a >> np.uint64(18)) & limb
                sums[9 * row + 2] += a >> np.uint64(36)
                # In units of 2**0, 2**19, 2**37, 2**36, 2**55 and 2**72; c counts 2**27, d 2**52.
                sums[9 * row + 3] += b & np.uint64((1 << 36) - 1)
                sums[9 * row + 4] += (c & np.uint64((1 << 28) - 1)) << np.uint64(8)
                sums[9 * row + 6] += (b >> np.uint64(36)) + ((d & np.uint64((1 << 20) - 1)) << np.uint64(16))
                sums[9 * row + 7] += c >> np.uint64(28)
                sums[9 * row + 8] += d >> np.uint64(20)
                pieces[4 * row] = pieces[4 * row + 1] = pieces[4 * row + 2] = pieces[4 * row + 3] = np.uint64(0)


def _integers(element: Any, wide: Any) -> Callable[..., None]:
    """The loop over integers of one type; ``wide`` is the type of 64 bits with the same sign."""
    view = array_view(element, is_input=True)
    wide_view = array_view(wide)
    cast = np.uint64 if wide is types.uint64 else np.int64
    least = 0 if wide is types.uint64 else -(1 << 31)
    most = (1 << 32) - 1 if wide is types.uint64 else (1 << 31) - 1
    is_narrow = element.bitwidth == 32
    is_unsigned = wide is types.uint64

    def loop(values: int, count: int, counts: int, sums: int, found: int) -> None:
        mask = np.uint64(0xFFFFFFFF)
        buckets, totals, extremes = _signed64(counts, 1 << 19), _signed64(sums, 8), wide_view(found, 2)
        first = view(values, count)
        low = high = cast(first[0])
        for start in range(0, count, 4096):
            some = view(values + start * (4 if is_narrow else 8), min(4096, count - start))
            least_here = most_here = cast(some[0])
            for i in range(some.size):
                value = cast(some[i])
                least_here = min(least_here, value)
                most_here = max(most_here, value)
            low, high = min(low, least_here), max(high, most_here)
            if is_narrow or (least_here >= cast(least) and most_here <= cast(most)):
                total, low_squares, high_squares = np.int64(0), np.uint64(0), np.uint64(0)
                for i in range(some.size):
                    value = cast(some[i])
                    # A float64 holds every integer of 32 bits; its upper 19 bits are the bucket.
                    buckets[np.float64(value).view(np.uint64) >> np.uint64(45)] += 1
                    total += np.int64(value)
                    square = np.uint64(value * value)
                    low_squares += square & mask
                    high_squares += square >> np.uint64(32)
                totals[0] += total
                totals[2] += np.int64(low_squares)
                totals[3] += np.int64(high_squares)
            else:
                for i in range(some.size):
                    value = cast(some[i])
                    word = np.uint64(value)
                    is_negative = not is_unsigned and np.int64(word) < 0
                    size = ~word + np.uint64(1) if is_negative else word
                    # The bits that a float64 has no room for might round it up into another bucket.
                    kept = size & ~np.uint64(0x7FF) if size >> np.uint64(53) else size
                    bucket = np.float64(kept).view(np.uint64) >> np.uint64(45)
                    buckets[bucket | np.uint64(0x40000) if is_negative else bucket] += 1
                    # Of the absolute value: the square does not know the sign.
                    lower, upper = size & mask, size >> np.uint64(32)
                    totals[0] += -np.int64(lower) if is_negative else np.int64(lower)
                    totals[1] += -np.int64(upper) if is_negative else np.int64(upper)
                    square = lower * lower
                    totals[2] += np.int64(square & mask)
                    totals[3] += np.int64(square >> np.uint64(32))
                    square = lower * upper
                    totals[4] += np.int64(square & mask)
                    totals[5] += np.int64(square >> np.uint64(32))
                    square = upper * upper
                    totals[6] += np.int64(square & mask)
                    totals[7] += np.int64(square >> np.uint64(32))
        extremes[0], extremes[1] = low, high

    return loop


def _maxima(element: Any, cast: Any) -> Callable[..., None]:
    """The loop over unsigned words of one width."""
    words_view, table_view = array_view(element, is_input=True), array_view(element)

    @_inline  # type: ignore[untyped-decorator]
    def grid(words: Any, rows: Any, columns: Any, width: Any, twice: Any, most: Any) -> None:
        over = cast(1)
        for row in range(rows.size):
            best = rows[row]
            base = row * width
            # Without the cast back the sum is of 64 bits, and so are the vectors.
            if columns.size:
                for i in range(width):
                    word = cast(words[base + i] + (words[base + i] & twice))
                    word = over if word > most else word
                    columns[i] = max(columns[i], word)
                    best = max(best, word)
            else:
                for i in range(width):
                    word = cast(words[base + i] + (words[base + i] & twice))
                    word = over if word > most else word
                    best = max(best, word)
            rows[row] = best

    def loop(
        words: int, height: int, width: int, rows: int, columns: int, is_counted: int, twice: int, most: int
    ) -> None:
        grid(
            words_view(words, height * width),
            table_view(rows, height),
            table_view(columns, width * is_counted),
            width,
            cast(twice),
            cast(most),
        )

    return loop


LOOPS: dict[str, tuple[Callable[..., None], int]] = {
    "count16": (_count16, 3),
    "float32": (_float32, 6),
    "float64": (_float64, 7),
    "int32": (_integers(types.int32, types.int64), 5),
    "uint32": (_integers(types.uint32, types.uint64), 5),
    "int64": (_integers(types.int64, types.int64), 5),
    "uint64": (_integers(types.uint64, types.uint64), 5),
    "maxima8": (_maxima(types.uint8, np.uint8), 8),
    "maxima16": (_maxima(types.uint16, np.uint16), 8),
    "maxima32": (_maxima(types.uint32, np.uint32), 8),
    "maxima64": (_maxima(types.uint64, np.uint64), 8),
    "difference": (difference, 8),
    "blocks": (blocks, 4),
    "few": (few, 1),
    "moved": (moved, 8),
    **SEEK_LOOPS,
}
"""Every loop by name, and how many words (addresses, counts, flags) of 64 bits it takes."""
