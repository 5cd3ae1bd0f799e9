"""Kernels: the inner loops of every read, by numpy, and as numba compiled them as soon as that is there.

Both serve the same interface with the same results, so a read may change over in the middle. What an earlier run has
left of compiled loops is loaded in a twentieth of a second, when enough is to be read that it is worth it. To compile
takes seconds of another process, and begins when still more is wanted. The compiled loops run without the GIL.
"""

from __future__ import annotations

import atexit
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.kernels.buckets import FLOAT64_SHIFT, truncated
from tui_params.core.numbers.moments import LIMB, integer_limbs

if TYPE_CHECKING:
    from tui_params.core.kernels.compiled import Compilation

WORDS = 1 << 16

LANES = 4
"""Tables that are counted into in turn: one alone makes many processors wait for their own store."""

PACKED_COUNT = 40
"""Bits of the sum of the lower halves in a row of the packed float32 table; the count stands above."""

PACKED_LIMIT = (1 << 64 - PACKED_COUNT) - 1
"""Elements after which a count or a sum might not fit into its part of a packed row."""

STEP = 1 << 17
"""Elements that numpy looks at at once: the temporary arrays stay in the second-level cache, and the sums exact."""

WORTH_LOADING = 1 << 26
"""Bytes that somebody wants to read before compiled loops are loaded: for so many numpy needs as long as that takes."""

WORTH_COMPILING = 1 << 28
"""Bytes that somebody wants to read before the loops are compiled, where there are none to load."""

LIMB_SUMS = 9
"""Sums for each sign and exponent of float64: of the three limbs of the mantissa, and of their products in pairs."""

_LIMB_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


class Extremes(msgspec.Struct, frozen=True, gc=False):
    """Of some floats: the least and greatest finite word as ``ordered`` (low > high: there is none), and counts."""

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


class Gap(msgspec.Struct, frozen=True, gc=False):
    """How elements b differ from elements a, all finite: sums in float64 of their squares and products (``aa``, ``bb``,
    ``ab``), of the squares and the sizes of b - a, the greatest size, how many are changed, and the first of these.
    """

    aa: float
    bb: float
    ab: float
    dd: float
    total: float
    peak: float
    changed: int
    first: int


DECODED = ("float32", "bfloat16", "float16", "float8_e5m2", "float8_e4m3fn")
"""Types that have a compiled loop of differences, all of which a float32 holds."""


class Kernels(Protocol):
    """The loops. Inputs are contiguous, may be read-only and unaligned; tables are added to in place."""

    def count16(self, words: NDArray[np.uint16], lanes: NDArray[np.uint32]) -> None:
        """Count ``words`` into ``lanes[LANES, WORDS]``, which must be emptied before 2**32 words."""

    def float32(self, words: NDArray[np.uint32], packed: NDArray[np.uint64], squares: NDArray[np.uint64]) -> Extremes:
        """Count the upper halves and sum up the lower halves into ``packed[WORDS]``; the squares of the lower halves
        by sign and exponent into ``squares[512]``. At most PACKED_LIMIT elements between two unpackings.
        """

    def float64(self, words: NDArray[np.uint64], counts: NDArray[np.int64], sums: NDArray[np.int64]) -> Extremes:
        """Count the upper 19 bits into ``counts[2**19]``; by sign and exponent, add to ``sums[4096, LIMB_SUMS]`` what
        ``limb_totals`` understands. Of NaN and infinities these may be anything. At most 2**26 elements before
        ``sums`` must be emptied.
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

    def difference(
        self, a: NDArray[np.uint8], b: NDArray[np.uint8], types: tuple[str, str], numel: int, atol: float, rtol: float
    ) -> Gap | None:
        """How ``numel`` elements b differ from a, given as storage bytes; those with |b - a| > atol + rtol |a| are
        changed. None where there is no loop for these types, or where one of the elements is not finite.
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


_SPECIAL64 = tuple(map(np.uint64, (0, 1 << 63, 0x7FF << 52, 0xFFF << 52)))


def _add_limbs(words: NDArray[np.uint64], sums: NDArray[np.int64]) -> None:
    exponents = (words >> 52).astype(np.intp)
    mask = (1 << LIMB) - 1
    limbs = [(words >> LIMB * i & mask).astype(np.float64) for i in range(2)]
    limbs.append((words >> 2 * LIMB & 0xFFFF).astype(np.float64))
    # What was once a float32 or a bfloat16 has no lower limbs.
    is_empty = [not limb.any() for limb in limbs]
    for i, limb in enumerate(limbs):
        if not is_empty[i]:
            sums[:, i] += np.bincount(exponents, limb, 4096).astype(np.int64)
    for i, (a, b) in enumerate(_LIMB_PAIRS):
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


def limb_totals(sums: list[int]) -> tuple[int, int]:
    """The sums of the mantissas (52 bits, without the leading one) and of their squares, of a row of float64 sums."""
    total = sum(sums[i] << LIMB * i for i in range(3))
    squares = sum(sums[3 + i] << LIMB * (a + b) + int(a != b) for i, (a, b) in enumerate(_LIMB_PAIRS))
    return total, squares


def ordered(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """float32 words as unsigned numbers in the order of their values, -0 just below +0."""
    negative = (words.view(np.int32) >> 31).view(np.uint32)
    return words ^ (negative | np.uint32(0x80000000))


def unordered(key: int) -> float:
    """The float32 of a number that ``ordered`` gave; of -0 too it is 0."""
    word = key ^ (0x80000000 if key >> 31 else 0xFFFFFFFF)
    return float(np.uint32(word).view(np.float32)) + 0.0


def ordered64(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """float64 words as unsigned numbers in the order of their values, -0 just below +0."""
    negative = (words.view(np.int64) >> 63).view(np.uint64)
    return words ^ (negative | np.uint64(1 << 63))


def unordered64(key: int) -> float:
    """The float64 of a number that ``ordered64`` gave; of -0 too it is 0."""
    word = key ^ (1 << 63 if key >> 63 else (1 << 64) - 1)
    return float(np.uint64(word).view(np.float64)) + 0.0


_numpy = NumpyKernels()
_lock = Lock()
_compilation: Compilation | None = None
_has_looked = False
_wanted = 0


def current() -> Kernels:
    """The fastest kernels that are ready now."""
    compilation = _compilation
    return (compilation.kernels if compilation is not None else None) or _numpy


def ready() -> bool:
    """Whether the compiled kernels serve."""
    return current() is not _numpy


def expect(nbytes: int) -> None:
    """Say that ``nbytes`` more will be read: with enough of them compiled loops are loaded, or compiling starts.

    Loading takes a twentieth of a second, in the calling thread.
    """
    global _wanted
    _wanted += nbytes
    prepare(_wanted)


def prepare(nbytes: int) -> None:
    """``expect`` where ``nbytes`` in all will be read, and each of the reads says so again."""
    if nbytes < WORTH_LOADING or _compilation is not None:
        return
    if not _load() and nbytes >= WORTH_COMPILING:
        start_compiling()


def _load() -> bool:
    """Whether there are compiled loops now; looked for once in a process."""
    global _compilation, _has_looked
    from tui_params.core.kernels.compiled import Compilation

    with _lock:
        if _compilation is None and not _has_looked:
            _has_looked = True
            found = Compilation()
            if found.load():
                _compilation = found
        return _compilation is not None


def start_compiling() -> Compilation:
    """Load the loops, or have them compiled, watched by a daemon thread; may be called again."""
    global _compilation
    from tui_params.core.kernels.compiled import Compilation

    if _load():
        assert _compilation is not None
        return _compilation
    with _lock:
        if _compilation is None:
            _compilation = Compilation()
            atexit.register(_compilation.stop)
            Thread(target=_compilation.run, name="tui-params compiler", daemon=True).start()
        return _compilation


def forget() -> None:
    """Go back to numpy, as if nothing had been compiled; for measuring and tests."""
    global _compilation, _has_looked, _wanted
    with _lock:
        _compilation, _has_looked, _wanted = None, False, 0
