"""Kernels: the inner loops of every read, by numpy, and by numba as soon as that is compiled.

Both serve the same interface with the same results, so a read may change over in the middle. numba is worth its import
(0.4 s, and some seconds of compiling where no cache is left of an earlier run) only for gigabytes, so nobody asks for
it before so much is wanted, and then on a thread of its own. The compiled loops run without the GIL.
"""

from __future__ import annotations

from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.buckets import FLOAT64_SHIFT, truncated
from tui_params.core.moments import LIMB, integer_limbs

if TYPE_CHECKING:
    from tui_params.core.compiled import Compilation

WORDS = 1 << 16

LANES = 4
"""Tables that are counted into in turn: one alone makes many processors wait for their own store."""

PACKED_COUNT = 40
"""Bits of the sum of the lower halves in a row of the packed float32 table; the count stands above."""

PACKED_LIMIT = (1 << 64 - PACKED_COUNT) - 1
"""Elements after which a count or a sum might not fit into its part of a packed row."""

STEP = 1 << 17
"""Elements that numpy looks at at once: the temporary arrays stay in the second-level cache, and the sums exact."""

WORTH_COMPILING = 1 << 29
"""Bytes that somebody wants to read before numba is loaded: for so many numpy needs as long as the import takes."""


class Extremes(msgspec.Struct, frozen=True, gc=False):
    """Of some float32: the least and greatest finite word as ``ordered`` (low > high: there is none), and counts."""

    low: int
    high: int
    pos_zeros: int
    neg_zeros: int
    pos_inf: int
    neg_inf: int


class Sums(msgspec.Struct, frozen=True, gc=False):
    """Of some integers, at least one: their sum, the sum of their squares, the least and the greatest."""

    total: int
    squares: int
    low: int
    high: int


class Kernels(Protocol):
    """The loops. Inputs are contiguous, may be read-only and unaligned; tables are added to in place."""

    def count16(self, words: NDArray[np.uint16], lanes: NDArray[np.uint32]) -> None:
        """Count ``words`` into ``lanes[LANES, WORDS]``, which must be emptied before 2**32 words."""

    def float32(self, words: NDArray[np.uint32], packed: NDArray[np.uint64], squares: NDArray[np.uint64]) -> Extremes:
        """Count the upper halves and sum up the lower halves into ``packed[WORDS]``; the squares of the lower halves
        by sign and exponent into ``squares[512]``. At most PACKED_LIMIT elements between two unpackings.
        """

    def integers(self, values: NDArray[Any], counts: NDArray[np.int64]) -> Sums:
        """Count integers of 32 or 64 bits by their buckets into ``counts[2**19]``; 1 to 2**30 of them."""

    def maxima(
        self,
        grid: NDArray[Any],
        rows: NDArray[Any],
        columns: NDArray[Any],
        most: int,
        *,
        is_doubled: bool,
    ) -> None:
        """Raise ``rows[r]`` and ``columns[c]`` to the greatest of the unsigned ``grid[r, c]``, doubled (without the
        top bit) if ``is_doubled``; what is greater than ``most`` counts as 1. ``columns`` may be empty: rows only.
        """


class NumpyKernels:
    """The loops by numpy."""

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


def ordered(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """float32 words as unsigned numbers in the order of their values, -0 just below +0."""
    negative = (words.view(np.int32) >> 31).view(np.uint32)
    return words ^ (negative | np.uint32(0x80000000))


def unordered(key: int) -> float:
    """The float32 of a number that ``ordered`` gave; of -0 too it is 0."""
    word = key ^ (0x80000000 if key >> 31 else 0xFFFFFFFF)
    return float(np.uint32(word).view(np.float32)) + 0.0


_numpy = NumpyKernels()
_lock = Lock()
_compilation: Compilation | None = None
_wanted = 0


def current() -> Kernels:
    """The fastest kernels that are ready now."""
    compilation = _compilation
    return (compilation.kernels if compilation is not None else None) or _numpy


def ready() -> bool:
    """Whether the compiled kernels serve."""
    return current() is not _numpy


def expect(nbytes: int) -> None:
    """Say that ``nbytes`` more will be read; with enough of them compiling starts."""
    global _wanted
    _wanted += nbytes
    if _wanted >= WORTH_COMPILING and _compilation is None:
        start_compiling()


def start_compiling() -> Compilation:
    """Import and compile on a daemon thread, once in a process; may be called again."""
    global _compilation
    from tui_params.core.compiled import Compilation

    with _lock:
        if _compilation is None:
            _compilation = Compilation()
            Thread(target=_compilation.run, name="tui-params compiler", daemon=True).start()
        return _compilation


def forget() -> None:
    """Go back to numpy, as if nothing had been compiled; for measuring and tests."""
    global _compilation, _wanted
    with _lock:
        _compilation, _wanted = None, 0
