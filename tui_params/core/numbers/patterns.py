"""Tallies: one pass over storage bytes that counts bit patterns, and sums up what the counts do not tell.

Types of 16 bits and less have few patterns, so a table of counts holds everything. For wider types only the upper bits
are counted ("buckets" with 7 bits of mantissa), and exact moments are kept beside them. All arithmetic is on integers,
or on float64 integers below 2**53, so no result depends on the order of the elements.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tui_params.core.dtypes import DType
from tui_params.core.kernels.buckets import FLOAT64_BITS
from tui_params.core.kernels.by_numpy import NumpyKernels
from tui_params.core.kernels.limbs import LIMB_SUMS, limb_totals
from tui_params.core.kernels.protocol import (
    LANES,
    PACKED_COUNT,
    PACKED_LIMIT,
    STEP,
    WORDS,
    KernelSupply,
    unordered,
    unordered64,
)
from tui_params.core.numbers.decode import unpack
from tui_params.core.numbers.moments import Moments

FLOAT32_MAX = float(np.finfo(np.float32).max)
FLOAT64_MAX = float(np.finfo(np.float64).max)

Table = tuple[NDArray[Any], NDArray[np.int64]]
"""Bit patterns (unsigned, sorted, unique) and how many elements have each."""


class Tally(Protocol):
    """Counts of a stream of elements, given as their storage bytes."""

    def add(self, raw: NDArray[np.uint8], numel: int) -> None:
        """Count ``numel`` more elements; ``raw`` is contiguous and has exactly their bytes."""

    def table(self) -> Table:
        """Every pattern of a narrow type; for a wide type, the buckets of the finite elements other than zero."""

    def moments(self) -> Moments | None:
        """The moments of a wide type; None for a narrow one, whose table tells them."""


def tally(part: DType, kernels: KernelSupply = NumpyKernels) -> Tally:
    """An empty Tally for a real type, which counts with ``kernels``."""
    if part.bits <= 16:
        return NarrowTally(part.bits, kernels)
    if part.kind == "int":
        return IntegerTally(part, kernels)
    return Float32Tally(kernels) if part.bits == 32 else Float64Tally(kernels)


def sparse(counts: NDArray[np.int64], dtype: Any) -> Table:
    """The rows of a dense table that are not empty."""
    patterns = np.flatnonzero(counts != 0)  # of bool numpy has a quicker way
    return patterns.astype(dtype), counts[patterns]


def _count_sizes(words: NDArray[Any], size: int) -> int:
    """How many words are ``size`` without their sign. Rarely called, so its extra pass costs other tensors nothing."""
    mask = (1 << 8 * words.itemsize - 1) - 1
    some = (words[start : start + STEP] for start in range(0, words.size, STEP))
    return sum(int(np.count_nonzero(piece & mask == size)) for piece in some)


class NarrowTally:
    """Counts of every pattern of 2, 4, 6, 8 or 16 bits.

    Patterns of 2, 4 and 8 bits are counted as words of 16, several at once, and taken apart at the end.
    """

    _FLUSH = 1 << 31  # words after which a lane might not hold a count

    def __init__(self, bits: int, kernels: KernelSupply) -> None:
        self._kernels = kernels
        self._bits = bits
        self._counts = np.zeros(1 << bits if bits == 6 else WORDS, np.int64)
        self._lanes = np.zeros((LANES, 0 if bits == 6 else WORDS), np.uint32)
        self._added = 0
        self._rest = np.zeros(1 << bits, np.int64)

    def add(self, raw: NDArray[np.uint8], numel: int) -> None:
        if self._bits == 6:
            for start in range(0, numel, STEP):
                some = min(STEP, numel - start)
                codes = unpack(raw[start * 6 // 8 :], 6, some)
                self._counts += np.bincount(codes, minlength=64)
            return
        whole = numel * self._bits // 16 * 2
        if self._added + whole // 2 >= self._FLUSH:
            self._flush()
        self._added += whole // 2
        self._kernels().count16(raw[:whole].view("<u2"), self._lanes)
        rest = numel - whole * 8 // self._bits
        if rest:
            codes = unpack(raw[whole:], self._bits, rest) if self._bits < 8 else raw[whole:]
            self._rest += np.bincount(codes, minlength=self._rest.size)

    def _flush(self) -> None:
        if self._added:
            for lane in self._lanes:
                self._counts += lane
            self._lanes.fill(0)
            self._added = 0

    def table(self) -> Table:
        self._flush()
        counts = self._counts
        if self._bits == 8:
            grid = counts.reshape(256, 256)
            counts = grid.sum(0) + grid.sum(1) + self._rest
        elif self._bits in (2, 4):
            axes = range(16 // self._bits)
            cube = counts.reshape((1 << self._bits,) * len(axes))
            counts = self._rest + np.sum([cube.sum(tuple({*axes} - {axis})) for axis in axes], axis=0)
        return sparse(counts, np.uint16 if self._bits == 16 else np.uint8)

    def moments(self) -> None:
        return None


class Float32Tally:
    """float32 by its upper 16 bits, with the sums of the lower 16 for each, and of their squares by exponent."""

    _FLUSH = PACKED_LIMIT

    def __init__(self, kernels: KernelSupply) -> None:
        self._kernels = kernels
        self._counts = np.zeros(WORDS, np.int64)
        self._packed = np.zeros(WORDS, np.uint64)
        self._squares = np.zeros(512, np.uint64)
        self._added = 0
        self._pos_zeros = 0
        self._moments = Moments()

    def add(self, raw: NDArray[np.uint8], numel: int) -> None:
        words = raw.view("<u4")
        for start in range(0, numel, self._FLUSH):
            self._add(words[start : start + self._FLUSH])

    def _add(self, words: NDArray[np.uint32]) -> None:
        if self._added + words.size > self._FLUSH:
            self._flush()
        found = self._kernels().float32(words, self._packed, self._squares)
        self._added += words.size
        self._pos_zeros += found.pos_zeros
        low = high = None
        if found.low <= found.high:
            low, high = unordered(found.low), unordered(found.high)
        zeros = found.pos_zeros + found.neg_zeros
        at_max = _count_sizes(words, 0x7F7FFFFF) if FLOAT32_MAX in (high, -(low or 0)) else 0
        self._moments += Moments(0, 0, found.pos_inf, found.neg_inf, zeros, low=low, high=high, at_max=at_max)

    def _flush(self) -> None:
        """Move the contents of the tables into the counts and, one exponent at a time, into the moments."""
        if not self._added:
            return
        rows = np.flatnonzero(self._packed)
        packed = self._packed[rows]
        counts = (packed >> np.uint64(PACKED_COUNT)).view(np.int64)
        lower = (packed & np.uint64((1 << PACKED_COUNT) - 1)).view(np.int64)
        self._counts[rows] += counts
        codes, head = rows >> 7, rows & 127
        starts = np.concatenate(([0], np.flatnonzero(codes[1:] != codes[:-1]) + 1))
        heads = counts * head
        sums = np.add.reduceat(np.stack((counts, heads, heads * head, lower, lower * head)), starts, axis=1)
        total_sum = squares_sum = subnormals = finite = non_finite = 0
        for code, *parts in zip(codes[starts].tolist(), *sums.tolist(), strict=True):
            count, heads, head_squares, lows, head_lows = parts
            exponent = code & 0xFF
            if exponent == 0xFF:
                non_finite += count
                continue
            finite += count
            if exponent:  # the leading bit, which is not stored
                head_squares += 256 * heads + 16384 * count
                heads += 128 * count
                head_lows += 128 * lows
            else:
                subnormals += count
            total = (heads << 16) + lows
            square = (head_squares << 32) + (head_lows << 17) + int(self._squares[code])
            shift = max(exponent, 1) - 1
            total_sum += -total << shift if code & 0x100 else total << shift
            squares_sum += square << 2 * shift
        self._moments += Moments(finite, non_finite, 0, 0, 0, subnormals, total_sum, squares_sum)
        self._packed.fill(0)
        self._squares.fill(0)
        self._added = 0

    def table(self) -> Table:
        self._flush()
        counts = self._counts.copy()
        counts[0] -= self._pos_zeros
        counts[0x8000] -= self._moments.zeros - self._pos_zeros
        counts[0x7F80:0x8000] = counts[0xFF80:] = 0
        return sparse(counts, np.uint32)

    def moments(self) -> Moments:
        self._flush()
        found = self._moments
        # The tables count zeros among the subnormals, and infinities among the NaN.
        return found + Moments(subnormals=-found.zeros, nan=-found.pos_inf - found.neg_inf)


class Float64Tally:
    """float64 by its upper 19 bits, with sums of the limbs of the mantissa and of their products per exponent."""

    _FLUSH = 1 << 26  # elements after which a sum of products of limbs might not fit into int64

    def __init__(self, kernels: KernelSupply) -> None:
        self._kernels = kernels
        self._counts = np.zeros(1 << FLOAT64_BITS, np.int64)
        self._sums = np.zeros((4096, LIMB_SUMS), np.int64)
        self._flushed = np.zeros(4096, np.int64)
        self._added = 0
        self._pos_zeros = 0
        self._moments = Moments()

    def add(self, raw: NDArray[np.uint8], numel: int) -> None:
        words = raw.view("<u8")
        for start in range(0, numel, self._FLUSH):
            self._add(words[start : start + self._FLUSH])

    def _add(self, words: NDArray[np.uint64]) -> None:
        if self._added + words.size > self._FLUSH:
            self._flush()
        found = self._kernels().float64(words, self._counts, self._sums)
        self._added += words.size
        self._pos_zeros += found.pos_zeros
        low = high = None
        if found.low <= found.high:
            low, high = unordered64(found.low), unordered64(found.high)
        zeros = found.pos_zeros + found.neg_zeros
        at_max = _count_sizes(words, 0x7FEFFFFFFFFFFFFF) if FLOAT64_MAX in (high, -(low or 0)) else 0
        self._moments += Moments(0, 0, found.pos_inf, found.neg_inf, zeros, low=low, high=high, at_max=at_max)

    def _flush(self) -> None:
        """Move the contents of the sums into the moments, one exponent at a time."""
        if not self._added:
            return
        total_sum = squares_sum = subnormals = finite = non_finite = 0
        counted = self._counts.reshape(4096, -1).sum(1)
        counts = counted - self._flushed
        for code in np.flatnonzero(counts).tolist():
            count, exponent = int(counts[code]), code & 0x7FF
            if exponent == 0x7FF:
                non_finite += count
                continue
            finite += count
            total, square = limb_totals(self._sums[code].tolist())
            if exponent:  # the leading bit, which is not stored
                square += (count << 104) + (total << 53)
                total += count << 52
            else:
                subnormals += count
            shift = max(exponent, 1) - 1
            total_sum += -total << shift if code & 0x800 else total << shift
            squares_sum += square << 2 * shift
        self._moments += Moments(finite, non_finite, 0, 0, 0, subnormals, total_sum, squares_sum)
        self._sums.fill(0)
        self._flushed = counted
        self._added = 0

    def table(self) -> Table:
        counts = self._counts.copy()
        half = counts.size // 2
        counts[0] -= self._pos_zeros
        counts[half] -= self._moments.zeros - self._pos_zeros
        counts[half - 128 : half] = counts[-128:] = 0
        return sparse(counts, np.uint32)

    def moments(self) -> Moments:
        self._flush()
        found = self._moments
        # The tables count zeros among the subnormals, and infinities among the NaN.
        return found + Moments(subnormals=-found.zeros, nan=-found.pos_inf - found.neg_inf)


class IntegerTally:
    """Integers of 32 and 64 bits by the bucket of their value."""

    _FLUSH = 1 << 30  # elements after which a sum of the halves of squares might not fit into 64 bits

    def __init__(self, part: DType, kernels: KernelSupply) -> None:
        self._kernels = kernels
        self._type = np.dtype(f"<{'u' if part.name.startswith('u') else 'i'}{part.bits // 8}")
        self._counts = np.zeros(1 << FLOAT64_BITS, np.int64)
        self._moments = Moments()

    def add(self, raw: NDArray[np.uint8], numel: int) -> None:
        values = raw.view(self._type)
        for start in range(0, numel, self._FLUSH):
            some = values[start : start + self._FLUSH]
            before = int(self._counts[0])
            found = self._kernels().integers(some, self._counts)
            zeros = int(self._counts[0]) - before
            self._moments += Moments(
                some.size, zeros=zeros, total=found.total, squares=found.squares, low=found.low, high=found.high
            )

    def table(self) -> Table:
        counts = self._counts.copy()
        counts[0] = 0
        return sparse(counts, np.uint32)

    def moments(self) -> Moments:
        return self._moments
