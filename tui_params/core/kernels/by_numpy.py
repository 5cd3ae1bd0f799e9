"""The kernels in numpy: used until the compiled ones are ready, and where these cannot be had."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_params.core.kernels.block_tables import BlockTables
from tui_params.core.kernels.buckets import FLOAT64_SHIFT, truncated
from tui_params.core.kernels.limbs import LIMB, LIMB_PAIRS, integer_limbs
from tui_params.core.kernels.protocol import (
    PACKED_COUNT,
    STEP,
    WORDS,
    Extremes,
    Few,
    Gap,
    Lines,
    Moved,
    Sums,
    ordered,
    ordered64,
)
from tui_params.core.kernels.words import Words


class NumpyKernels:
    """The loops in numpy."""

    def count16(self, words: NDArray[np.uint16], lanes: NDArray[np.uint32]) -> None:
        for start in range(0, words.size, STEP):
            counts = np.bincount(words[start : start + STEP], minlength=WORDS)
            np.add(lanes[0], counts, out=lanes[0], casting="unsafe")

    def float32(self, words: NDArray[np.uint32], packed: NDArray[np.uint64], squares: NDArray[np.uint64]) -> Extremes:
        halves = words.view("<u2")
        low, high = 0xFFFFFFFF, 0
        special = np.zeros(4, np.int64)
        for start in range(0, words.size, STEP):
            some, pairs = words[start : start + STEP], halves[2 * start : 2 * (start + STEP)]
            upper = pairs[1::2].astype(np.intp)
            counts = np.bincount(upper, minlength=WORDS)
            rows = np.flatnonzero(counts)
            packed[rows] += counts[rows].view(np.uint64) << np.uint64(PACKED_COUNT)
            if int(np.bitwise_or.reduce(some)) & 0xFFFF:
                lower = pairs[::2].astype(np.float64)
                packed[rows] += np.bincount(upper, lower, WORDS)[rows].astype(np.uint64)
                lower *= lower
                squares += np.bincount(upper >> 7, lower, 512).astype(np.uint64)
            if counts[0] or counts[0x8000] or counts[0x7F80:0x8000].any() or counts[0xFF80:].any():
                special += [np.count_nonzero(some == word) for word in (0, 0x80000000, 0x7F800000, 0xFF800000)]
                some = some[some & 0x7FFFFFFF < 0x7F800000]
            if some.size:
                keys = ordered(some)
                low, high = min(low, int(keys.min())), max(high, int(keys.max()))
        return Extremes(low, high, *special.tolist())

    def float64(self, words: NDArray[np.uint64], counts: NDArray[np.int64], sums: NDArray[np.int64]) -> Extremes:
        # Fewer and larger steps: this table is larger than a step's keys would be.
        for start in range(0, words.size, 4 * STEP):
            keys = (words[start : start + 4 * STEP] >> FLOAT64_SHIFT).astype(np.intp)
            counts += np.bincount(keys, minlength=counts.size)
        low, high = 0xFFFFFFFFFFFFFFFF, 0
        special = np.zeros(4, np.int64)
        for start in range(0, words.size, STEP):
            some = words[start : start + STEP]
            _add_limbs(some, sums)
            magnitudes = some & 0x7FFFFFFFFFFFFFFF
            if magnitudes.min() == 0 or magnitudes.max() >= 0x7FF0000000000000:
                special += [np.count_nonzero(some == word) for word in _SPECIAL64]
                some = some[magnitudes < 0x7FF0000000000000]
            if some.size:
                keys64 = ordered64(some)
                low, high = min(low, int(keys64.min())), max(high, int(keys64.max()))
        return Extremes(low, high, *special.tolist())

    def integers(self, values: NDArray[Any], counts: NDArray[np.int64]) -> Sums:
        total = squares = 0
        low, high = int(values.min()), int(values.max())
        for start in range(0, values.size, STEP):
            sums = _integer_sums(values[start : start + STEP], counts)
            total, squares = total + sums[0], squares + sums[1]
        return Sums(total, squares, low, high)

    def maxima(
        self,
        grid: NDArray[Any],
        rows: NDArray[Any],
        columns: NDArray[Any],
        most: int,
        *,
        is_doubled: bool,
    ) -> None:
        step = max(1, STEP // grid.shape[1])
        for start in range(0, grid.shape[0], step):
            some = np.left_shift(grid[start : start + step], int(is_doubled))
            if most < np.iinfo(some.dtype).max:
                over = some > most
                if over.any():
                    some[over] = 1
            into = rows[start : start + step]
            if some.shape[1] < 16:  # a reduction along short rows is slow
                for column in some.T:
                    np.maximum(into, column, out=into)
            else:
                np.maximum(into, np.maximum.reduce(some, axis=1), out=into)
            if columns.size:
                np.maximum(columns, np.maximum.reduce(some, axis=0), out=columns)

    def difference(
        self, a: NDArray[np.uint8], b: NDArray[np.uint8], types: tuple[str, str], numel: int, atol: float, rtol: float
    ) -> Gap | None:
        return None

    def moved(
        self,
        before: Moved | None,
        a: NDArray[np.uint8] | None,
        b: NDArray[np.uint8],
        types: tuple[str, str],
        numel: int,
        digits: NDArray[np.uint64],
    ) -> Moved | None:
        return None

    def blocks(self, grid: NDArray[Any], kind: str, top: int, left: int, tables: BlockTables) -> bool:
        return False

    def few(
        self, raw: NDArray[np.uint8], kind: str, numel: int, marks: tuple[int, int, int], lines: Lines | None
    ) -> Few | None:
        return None

    def seek(self, words: NDArray[Any], sought: Words, start: int, stop: int, step: int) -> int | None:
        if sought.bits == 4:
            return _seek_halves(words, sought, start, stop, step)
        size = _SEEK_NBYTES // words.itemsize
        begins = range(start, stop, size)
        for begin in begins if step > 0 else reversed(begins):
            hits = _hits(words[begin : min(begin + size, stop)], sought)
            if hits is not None:
                return begin + int(np.flatnonzero(hits)[0 if step > 0 else -1])
        return None


_SEEK_NBYTES = 1 << 18
"""Bytes that are compared at a time: few enough for the cache of a core."""


def _hits(some: NDArray[Any], sought: Words) -> NDArray[np.bool_] | None:
    """Which words are sought; None if none is, which is seen by one comparison first."""
    top, is_masked = sought.mask, sought.mask != (1 << sought.bits) - 1
    if is_masked and sought.bits > 4 and all(first + more == top for first, more in sought.ranges):
        # The greatest magnitudes, NaN and Inf among them: the ends of both orders, which are looked at without a copy.
        least = min((first for first, _ in sought.ranges), default=top + 1)
        if int(some.view(f"i{some.itemsize}").max()) < least and int(some.max()) < least + top + 1:
            return None
    masked = np.bitwise_and(some, some.dtype.type(top)) if is_masked else some
    found: NDArray[np.bool_] | None = None
    for first, more in sought.ranges:
        if first + more == top:
            if int(masked.max()) < first:
                continue
            hits = masked >= first
        else:
            shifted = np.subtract(masked, some.dtype.type(first)) if first else masked
            if sought.bits == 4 and first + more > top:
                shifted &= np.uint8(15)  # these are in bytes, and the range goes on at 0
            if int(shifted.min()) > more:
                continue
            hits = shifted <= more
        found = hits if found is None else np.logical_or(found, hits)
    return found


def _seek_halves(raw: NDArray[np.uint8], sought: Words, start: int, stop: int, step: int) -> int | None:
    """``seek`` for codes of 4 bits: first the bytes that hold one, by a table of all bytes."""
    every = np.arange(256, dtype=np.uint8)
    low, high = (_hits(codes, sought) for codes in (every & np.uint8(15), every >> np.uint8(4)))
    if low is None or high is None:
        return None
    either = np.logical_or(low, high)
    begins = range(start // 2, (stop + 1) // 2, _SEEK_NBYTES)
    for begin in begins if step > 0 else reversed(begins):
        some = raw[begin : min(begin + _SEEK_NBYTES, (stop + 1) // 2)]
        places: list[int] = np.flatnonzero(either[some])[::step].tolist()
        for byte in places:
            for half in (0, 1)[::step]:
                if start <= 2 * (begin + byte) + half < stop and (low, high)[half][some[byte]]:
                    return 2 * (begin + byte) + half
    return None


_SPECIAL64 = tuple(map(np.uint64, (0, 1 << 63, 0x7FF << 52, 0xFFF << 52)))


def _add_limbs(words: NDArray[np.uint64], sums: NDArray[np.int64]) -> None:
    exponents = (words >> 52).astype(np.intp)
    mask = (1 << LIMB) - 1
    limbs = [(words >> LIMB * i & mask).astype(np.float64) for i in range(2)]
    limbs.append((words >> 2 * LIMB & 0xFFFF).astype(np.float64))
    # Values converted from float32 or bfloat16 have no lower limbs.
    is_empty = [not limb.any() for limb in limbs]
    for i, limb in enumerate(limbs):
        if not is_empty[i]:
            sums[:, i] += np.bincount(exponents, limb, 4096).astype(np.int64)
    for i, (a, b) in enumerate(LIMB_PAIRS):
        if not is_empty[a] and not is_empty[b]:
            sums[:, 3 + i] += np.bincount(exponents, limbs[a] * limbs[b], 4096).astype(np.int64)


def _integer_sums(values: NDArray[Any], counts: NDArray[np.int64]) -> tuple[int, int]:
    wide = np.uint64 if values.dtype == np.uint64 else np.int64
    most = max(-int(values.min()), int(values.max()))
    floats = values.astype(np.float64) if most <= 1 << 53 else truncated(values.astype(wide))
    if most <= 1 << LIMB:
        limbs = [floats]
    elif most <= 1 << 16 + LIMB:
        upper = np.floor(floats * 2.0**-16)
        limbs = [floats - upper * 2.0**16, upper]
    else:
        limbs = [limb.astype(np.float64) for limb in integer_limbs(values.astype(wide), 4)]
    total = sum(int(limb.sum()) << 16 * i for i, limb in enumerate(limbs))
    squares = 0
    for i, a in enumerate(limbs):
        for j, b in enumerate(limbs[: i + 1]):
            # Not a dot product: a BLAS would start its threads beside a training that needs the cores.
            squares += int(np.einsum("i,i->", a, b)) << 16 * (i + j) + int(i != j)
    keys = (floats.view(np.uint64) >> FLOAT64_SHIFT).astype(np.intp)
    # The span of the keys is usually far shorter than the whole table.
    first = int(keys.min())
    found = np.bincount(keys - first)
    counts[first : first + found.size] += found
    return total, squares
