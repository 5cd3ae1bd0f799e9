"""The loop that sums up blocks of a matrix, as numba compiles it; the rules are those of ``loops``.

Reading memory is not what takes the time: storing partial sums is. So four rows are added to the sums of their columns
in one pass, and these go to the blocks once for all rows of a block. A loop that writes is given one array to write to,
with its parts at constant distances, and reads at most four others: with more, LLVM gives up its vectors rather than
compare all of their addresses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from tui_params.core.kernels.compiled import BLOCKS_TILE
from tui_params.core.kernels.loop_arrays import array_view
from tui_params.core.kernels.loops_difference import decode

_pairs = array_view(types.uint32, is_input=True)
_halves = array_view(types.uint16, is_input=True)
_table16 = array_view(types.uint16)
_table32 = array_view(types.uint32)
_floats32 = array_view(types.float32)
_floats64 = array_view(types.float64)
_signed64 = array_view(types.int64)
_inline = njit(nogil=True)
_reassociated = njit(nogil=True, fastmath={"reassoc", "contract", "nsz"})

TILE = BLOCKS_TILE
"""Columns that are summed up at a time: four rows of them and their sums lie in the first-level cache."""

_SUMS, _PEAKS, _HALVES, _SHORT, _DECODED, _SPARE = 0, 16 * TILE, 20 * TILE, 22 * TILE, 38 * TILE, 42 * TILE
"""What the scratch has for each column of a tile: float64 sums and sums of squares, the largest magnitude as a word of
float32 and of bfloat16, four float32 sums, a decoded word, and a sum of squares that nobody wants.
"""

_ROUND = 32
"""Rows of bfloat16 whose sums may be float32; their error is below a millionth of the mean magnitude."""


@_inline  # type: ignore[untyped-decorator]
def _is_tame(a: Any, b: Any, c: Any, d: Any, count: int) -> bool:
    """Whether the squares of these words of bfloat16 are normal float32: sizes are 0, or from 2**-60 to below 2**60."""
    size, one = np.uint16(0x7FFF), np.uint16(1)
    most, least = np.uint16(0), np.uint16(0xFFFF)
    for i in range(count):
        w, x = np.uint16(a[i] & size), np.uint16(b[i] & size)
        y, z = np.uint16(c[i] & size), np.uint16(d[i] & size)
        most = max(most, max(max(w, x), max(y, z)))
        # Of a zero it is the greatest number.
        w, x = min(np.uint16(w - one), np.uint16(x - one)), min(np.uint16(y - one), np.uint16(z - one))
        least = min(least, min(w, x))
    return bool(most < np.uint16(0x5D80) and least >= np.uint16(0x2180 - 1))


@_inline  # type: ignore[untyped-decorator]
def _raise_peaks(a: Any, b: Any, c: Any, d: Any, count: int, peaks: Any) -> None:
    size = np.uint16(0x7FFF)
    for i in range(count):
        w, x = np.uint16(a[i] & size), np.uint16(b[i] & size)
        y, z = np.uint16(c[i] & size), np.uint16(d[i] & size)
        peaks[i] = max(peaks[i], max(max(w, x), max(y, z)))


@_inline  # type: ignore[untyped-decorator]
def _lower(pair: Any) -> Any:
    return np.uint32(pair << np.uint32(16)).view(np.float32)


@_inline  # type: ignore[untyped-decorator]
def _upper(pair: Any) -> Any:
    return np.uint32(pair & np.uint32(0xFFFF0000)).view(np.float32)


@_reassociated  # type: ignore[untyped-decorator]
def _add_pairs(a: Any, b: Any, c: Any, d: Any, count: int, sums: Any) -> None:
    """Add four rows of pairs of bfloat16: even and odd columns have sums, then sums of squares, of their own."""
    for i in range(count):
        w, x, y, z = _lower(a[i]), _lower(b[i]), _lower(c[i]), _lower(d[i])
        sums[i] += (w + x) + (y + z)
        sums[i + TILE] += (w * w + x * x) + (y * y + z * z)
        w, x, y, z = _upper(a[i]), _upper(b[i]), _upper(c[i]), _upper(d[i])
        sums[i + TILE // 2] += (w + x) + (y + z)
        sums[i + TILE // 2 + TILE] += (w * w + x * x) + (y * y + z * z)


@_reassociated  # type: ignore[untyped-decorator]
def _add_rows(a: Any, b: Any, c: Any, d: Any, count: int, of_rows: Any) -> None:
    aa = bb = cc = dd = np.float32(0)
    for i in range(count):
        w, x, y, z = a[i], b[i], c[i], d[i]
        aa += _lower(w) * _lower(w) + _upper(w) * _upper(w)
        bb += _lower(x) * _lower(x) + _upper(x) * _upper(x)
        cc += _lower(y) * _lower(y) + _upper(y) * _upper(y)
        dd += _lower(z) * _lower(z) + _upper(z) * _upper(z)
    of_rows[0] += aa
    of_rows[1] += bb
    of_rows[2] += cc
    of_rows[3] += dd


@_inline  # type: ignore[untyped-decorator]
def _end_round(short: Any, sums: Any, count: int) -> None:
    """Move the float32 sums of a round to those of float64, which are in the order of the columns."""
    for i in range(count):
        sums[2 * i] += np.float64(short[i])
        sums[2 * i + 1] += np.float64(short[i + TILE // 2])
        sums[2 * i + TILE] += np.float64(short[i + TILE])
        sums[2 * i + 1 + TILE] += np.float64(short[i + TILE // 2 + TILE])
    for i in range(2 * TILE):
        short[i] = np.float32(0)


@_inline  # type: ignore[untyped-decorator]
def _is_finite(words: Any, count: int) -> bool:
    most = np.uint32(0)
    for i in range(count):
        most = max(most, words[i] & np.uint32(0x7FFFFFFF))
    return bool(most < np.uint32(0x7F800000))


@_inline  # type: ignore[untyped-decorator]
def _sort_out(words: Any, count: int, place: int, width: int, counts: Any, columns: int) -> None:
    """Count what is not finite in a row into its blocks, and put zeros there.

    ``place`` is the first element's, from the left edge of the first block; ``counts`` are the addresses of the counts
    of NaN and of infinities. The columns' sums of squares become NaN.
    """
    infinity = np.uint32(0x7F800000)
    across = (place + count - 1) // width + 1
    nans, infs, of_columns = _table32(counts[0], across), _table32(counts[1], across), _floats64(columns, count)
    for i in range(count):
        size = words[i] & np.uint32(0x7FFFFFFF)
        if size >= infinity:
            block = (place + i) // width
            if size == infinity:
                infs[block] += np.uint32(1)
            else:
                nans[block] += np.uint32(1)
            words[i] = np.uint32(0)
            of_columns[i] = np.nan


@_reassociated  # type: ignore[untyped-decorator]
def _add_row(values: Any, count: int, sums: Any) -> Any:
    total = 0.0
    for i in range(count):
        x = np.float64(values[i])
        sums[i] += x
        sums[i + TILE] += x * x
        total += x * x
    return total


@_inline  # type: ignore[untyped-decorator]
def _raise_row(words: Any, count: int, peaks: Any) -> None:
    for i in range(count):
        peaks[i] = max(peaks[i], words[i] & np.uint32(0x7FFFFFFF))


@_inline  # type: ignore[untyped-decorator]
def _to_blocks(scratch: int, count: int, place: int, width: int, tables: Any, offset: int, columns: int) -> None:
    """Add the sums of some columns to those of their blocks, from number ``offset`` on, and empty them."""
    sums, peaks = _floats64(scratch + _SUMS, 2 * TILE), _table32(scratch + _PEAKS, TILE)
    halves, of_columns = _table16(scratch + _HALVES, TILE), _floats64(columns, count)
    across = (place + count - 1) // width + 1
    block_sums, block_squares = _floats64(tables[0] + 8 * offset, across), _floats64(tables[1] + 8 * offset, across)
    block_peaks = _floats64(tables[2] + 8 * offset, across)
    for i in range(count):
        of_columns[i] += sums[i + TILE]
    for i in range(count):
        peaks[i] = max(peaks[i], np.uint32(halves[i]) << np.uint32(16))
        halves[i] = np.uint16(0)
    first = 0
    for block in range(across):
        stop = min(count, (block + 1) * width - place)
        total, square, peak = 0.0, 0.0, np.uint32(0)
        for i in range(first, stop):
            total += sums[i]
            square += sums[i + TILE]
            peak = max(peak, peaks[i])
            sums[i] = sums[i + TILE] = 0.0
            peaks[i] = np.uint32(0)
        block_sums[block] += total
        block_squares[block] += square
        block_peaks[block] = max(block_peaks[block], np.float64(np.uint32(peak).view(np.float32)))
        first = stop


@_inline  # type: ignore[untyped-decorator]
def _take_four(start: int, step: int, count: int, scratch: int, of_rows: int) -> bool:
    """Take in four rows of a tile of bfloat16, an even number of columns; False, and nothing is done, if not tame."""
    a, b = _halves(start, count), _halves(start + step, count)
    c, d = _halves(start + 2 * step, count), _halves(start + 3 * step, count)
    if not _is_tame(a, b, c, d, count):
        return False
    _raise_peaks(a, b, c, d, count, _table16(scratch + _HALVES, TILE))
    half = count // 2
    e, f = _pairs(start, half), _pairs(start + step, half)
    g, h = _pairs(start + 2 * step, half), _pairs(start + 3 * step, half)
    _add_pairs(e, f, g, h, half, _floats32(scratch + _SHORT, 4 * TILE))
    if of_rows:
        _add_rows(e, f, g, h, half, _floats64(of_rows, 4))
    return True


@_inline  # type: ignore[untyped-decorator]
def _take_one(
    kind: int, words: int, first: int, count: int, place: int, width: int, counts: Any, scratch: int, columns: int
) -> float:
    """Take in one row of a tile; the sum of its squares, NaN if a value is not finite."""
    found, values = _table32(scratch + _DECODED, TILE), _floats32(scratch + _DECODED, TILE)
    decode(kind, words, first, count, found)
    spoilt = 0.0
    if not _is_finite(found, count):
        _sort_out(found, count, place, width, counts, columns)
        spoilt = np.nan
    _raise_row(found, count, _table32(scratch + _PEAKS, TILE))
    return _add_row(values, count, _floats64(scratch + _SUMS, 2 * TILE)) + spoilt  # type: ignore[no-any-return]


def blocks(words: int, plan: int, tables: int, scratch: int) -> None:
    """``plan``: the number of the type, rows, columns, the first row and column in the matrix, height and width of a
    block, blocks across. ``tables``: addresses of sums, squares, peaks, NaN, infinities, squares of rows, squares of
    columns; 0 for those that are not wanted. ``scratch`` is empty.
    """
    numbers, at = _signed64(plan, 8), _signed64(tables, 7)
    kind, rows, columns, top, left = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    height, width, across = numbers[5], numbers[6], numbers[7]
    short, sums = _floats32(scratch + _SHORT, 4 * TILE), _floats64(scratch + _SUMS, 2 * TILE)
    first = np.int64(0)
    while first < rows:
        strip = (top + first) // height
        last = min(rows, (strip + 1) * height - top)
        begin = np.int64(0)
        while begin < columns:
            count = min(TILE, columns - begin)
            if kind == 1 and count > 1:
                count -= count & 1  # the last of an odd number has no neighbour: it is a tile of its own
            place = (left + begin) % width
            offset = strip * across + (left + begin) // width
            counts = at[3] + 4 * offset, at[4] + 4 * offset
            of_columns = at[6] + 8 * (left + begin) if at[6] else scratch + _SPARE
            row, added = first, 0
            while row < last:
                of_rows = at[5] + 8 * (top + row) if at[5] else np.int64(0)
                start, step = words + 2 * (row * columns + begin), 2 * columns
                is_fast = kind == 1 and row + 4 <= last and not count & 1
                if is_fast and _take_four(start, step, count, scratch, of_rows):
                    added += 4
                    row += 4
                    if added >= _ROUND:
                        _end_round(short, sums, count // 2)
                        added = 0
                else:
                    total = _take_one(
                        kind, words, row * columns + begin, count, place, width, counts, scratch, of_columns
                    )
                    if of_rows:
                        _floats64(of_rows, 1)[0] += total
                    row += 1
            if added:
                _end_round(short, sums, count // 2)
            _to_blocks(scratch, count, place, width, at, offset, of_columns)
            begin += count
        first = last
