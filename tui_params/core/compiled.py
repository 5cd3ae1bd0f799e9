"""The kernels as numba compiles them: without the GIL, and several times as fast."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_params.core.kernels import LANES, WORDS, Extremes, Kernels, NumpyKernels, Sums

# The loops are compiled by numba, and never called as Python.


def _count16(fours: Any, rest: Any, lanes: Any) -> None:
    one, mask = np.uint32(1), np.uint64(0xFFFF)
    a, b, c, d = lanes[0], lanes[1], lanes[2], lanes[3]
    for i in range(fours.size):
        four = fours[i]
        a[four & mask] += one
        b[(four >> np.uint64(16)) & mask] += one
        c[(four >> np.uint64(32)) & mask] += one
        d[four >> np.uint64(48)] += one
    for i in range(rest.size):
        a[rest[i]] += one


def _float32(words: Any, halves: Any, packed: Any, squares: Any, special: Any) -> Any:
    one, seven = np.uint64(1 << 40), np.uint64(7)
    magnitude, infinity, nothing = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000), np.uint32(0xFFFFFFFF)
    least, sign, span = np.uint32(0x10000), np.uint32(0x80000000), np.uint32(0x7F800000 - 0x10000)
    # Four tables of squares, for neighbours often have the same exponent.
    a, b, c, d = squares[0], squares[1], squares[2], squares[3]
    low, high = nothing, np.uint32(0)
    for start in range(0, words.size, 16384):
        some = words[start : start + 16384]
        # A loop of its own over what lies in the first-level cache, for this one runs in vectors.
        has_special = np.uint32(0)
        for i in range(some.size):
            word = some[i]
            size = word & magnitude
            key = word ^ (np.uint32(np.int32(word) >> np.int32(31)) | sign)
            low = min(low, key if size < infinity else nothing)
            high = max(high, key if size < infinity else np.uint32(0))
            has_special |= np.uint32(np.uint32(size - least) >= span)
        if has_special:
            zeros, neg_zeros, infs, neg_infs = np.uint32(0), np.uint32(0), np.uint32(0), np.uint32(0)
            for i in range(some.size):
                word = some[i]
                zeros += np.uint32(word == np.uint32(0))
                neg_zeros += np.uint32(word == sign)
                infs += np.uint32(word == infinity)
                neg_infs += np.uint32(word == (infinity | sign))
            special[0] += zeros
            special[1] += neg_zeros
            special[2] += infs
            special[3] += neg_infs
        pairs = halves[2 * start : 2 * (start + some.size)]
        for i in range(some.size // 4):
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
        for i in range(some.size // 4 * 4, some.size):
            low_half, upper_half = np.uint64(pairs[2 * i]), np.uint64(pairs[2 * i + 1])
            packed[upper_half] += one + low_half
            a[upper_half >> seven] += low_half * low_half
    return low, high


def _integers32(values: Any, counts: Any, sums: Any) -> None:
    shift, mask = np.uint64(45), np.uint64(0xFFFFFFFF)
    total, low_squares, high_squares = np.int64(0), np.uint64(0), np.uint64(0)
    low = high = np.int64(values[0])
    for i in range(values.size):
        value = np.int64(values[i])
        # A float64 holds every integer of 32 bits; its upper 19 bits are the bucket.
        counts[np.float64(value).view(np.uint64) >> shift] += 1
        total += value
        square = np.uint64(value * value)
        low_squares += square & mask
        high_squares += square >> np.uint64(32)
        low = min(low, value)
        high = max(high, value)
    sums[0], sums[1], sums[2], sums[3], sums[4] = total, np.int64(low_squares), np.int64(high_squares), low, high


def _maxima(words: Any, rows: Any, columns: Any, width: Any, twice: Any, most: Any, over: Any) -> None:
    # Without the cast back the sum is of 64 bits, and so are the vectors.
    cast = rows.dtype.type
    for row in range(rows.size):
        best = rows[row]
        some = words[row * width : (row + 1) * width]
        if columns.size:
            for i in range(width):
                word = cast(some[i] + (some[i] & twice))
                word = over if word > most else word
                columns[i] = max(columns[i], word)
                best = max(best, word)
        else:
            for i in range(width):
                word = cast(some[i] + (some[i] & twice))
                word = over if word > most else word
                best = max(best, word)
        rows[row] = best


class CompiledKernels:
    """The loops as numba compiled them; what it has no loop for is left to numpy."""

    def __init__(self, *, has_cache: bool) -> None:
        """Import numba and compile. Raises whatever is wrong with it."""
        import numba
        from numba import types

        if numba.config.DISABLE_JIT:
            raise RuntimeError("numba is told not to compile")

        def array(element: Any, ndim: int = 1, *, is_input: bool = False) -> Any:
            return types.Array(element, ndim, "C", readonly=is_input, aligned=not is_input)

        def compiled(loop: Callable[..., Any], returned: Any, *arguments: Any) -> Callable[..., Any]:
            made: Callable[..., Any] = numba.njit(returned(*arguments), nogil=True, cache=has_cache)(loop)
            return made

        u8, u16, u32, u64 = types.uint8, types.uint16, types.uint32, types.uint64
        self._numpy = NumpyKernels()
        words = array(u16, is_input=True)
        self._count16 = compiled(_count16, types.void, array(u64, is_input=True), words, array(u32, 2))
        pair = types.UniTuple(u32, 2)
        self._float32 = compiled(
            _float32, pair, array(u32, is_input=True), words, array(u64), array(u64, 2), array(types.int64)
        )
        i64 = types.int64
        self._integers = {
            name: compiled(_integers32, types.void, array(element, is_input=True), array(i64), array(i64))
            for name, element in (("int32", types.int32), ("uint32", u32))
        }
        self._maxima = {
            size: compiled(_maxima, types.void, array(u, is_input=True), array(u), array(u), types.int64, u, u, u)
            for size, u in ((1, u8), (2, u16), (4, u32))
        }

    def count16(self, words: NDArray[np.uint16], lanes: NDArray[np.uint32]) -> None:
        whole = words.size // 4 * 4
        self._count16(words[:whole].view("<u8"), words[whole:], lanes)

    def float32(self, words: NDArray[np.uint32], packed: NDArray[np.uint64], squares: NDArray[np.uint64]) -> Extremes:
        special = np.zeros(4, np.int64)
        apart = np.zeros((LANES, 512), np.uint64)
        low, high = self._float32(words, words.view("<u2"), packed, apart, special)
        squares += apart.sum(0, np.uint64)
        return Extremes(low, high, *special.tolist())

    def integers(self, values: NDArray[Any], counts: NDArray[np.int64]) -> Sums:
        loop = self._integers.get(values.dtype.name)
        if loop is None:
            return self._numpy.integers(values, counts)
        sums = np.zeros(5, np.int64)
        loop(values, counts, sums)
        total, low_squares, high_squares, low, high = sums.tolist()
        return Sums(total, (high_squares << 32) + low_squares, low, high)

    def maxima(
        self,
        grid: NDArray[Any],
        rows: NDArray[Any],
        columns: NDArray[Any],
        most: int,
        *,
        is_doubled: bool,
    ) -> None:
        loop = self._maxima.get(grid.itemsize)
        if loop is None:
            self._numpy.maxima(grid, rows, columns, most, is_doubled=is_doubled)
            return
        word = rows.dtype.type
        twice = word(np.iinfo(rows.dtype).max if is_doubled else 0)
        loop(grid.reshape(-1), rows, columns, grid.shape[1], twice, word(most), word(1))


_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    SystemError,
    TypeError,
    ValueError,
)
"""What a numba raises that does not fit this Python, numpy or processor, or that finds a broken cache."""


class Compilation:
    """One attempt to have compiled kernels. ``done`` is set when it is decided, ``reason`` says why there are none."""

    def __init__(self, build: Callable[[bool], Kernels] | None = None) -> None:
        self._build = build or _build
        self.kernels: Kernels | None = None
        self.reason: str | None = None
        self.done = Event()

    def run(self) -> None:
        """Compile with a cache of the machine code, and where that cannot be had (no writable folder, or a broken
        file in it), without.
        """
        if not self._attempt(has_cache=True):
            self._attempt(has_cache=False)
        self.done.set()

    def _attempt(self, *, has_cache: bool) -> bool:
        try:
            kernels = self._build(has_cache)
            _prove(kernels)
        except _FAILURES as error:
            self.reason = f"{type(error).__name__}: {error}"
            return False
        self.kernels, self.reason = kernels, None
        return True


def _build(has_cache: bool) -> Kernels:
    if sys.byteorder != "little":
        raise ImportError("the compiled loops are for little-endian processors")
    from numba.core import caching, errors

    try:
        return CompiledKernels(has_cache=has_cache)
    except (errors.NumbaError, caching.pickle.PickleError) as error:
        raise RuntimeError(str(error)) from error


def _prove(kernels: Kernels) -> None:
    """Raise RuntimeError unless ``kernels`` find in some bytes what numpy finds."""
    raw = np.frombuffer(bytes((i * i * 7 + i // 3) & 0xFF for i in range(4 * 515)), np.uint8)
    if _results(kernels, raw) != _results(NumpyKernels(), raw):
        raise RuntimeError("a compiled loop counts wrongly")


def _results(kernels: Kernels, raw: NDArray[np.uint8]) -> list[Any]:
    lanes = np.zeros((LANES, WORDS), np.uint32)
    kernels.count16(raw.view("<u2"), lanes)
    packed, squares = np.zeros(WORDS, np.uint64), np.zeros(512, np.uint64)
    results: list[Any] = [kernels.float32(raw.view("<u4"), packed, squares), packed.tolist(), squares.tolist()]
    results.append(lanes.sum(0).tolist())
    for kind in ("<i4", "<u4"):
        counts = np.zeros(1 << 19, np.int64)
        results += [kernels.integers(raw.view(kind), counts), counts.tolist()]
    for size in (1, 2, 4):
        grid = raw.view(f"<u{size}").reshape(-1, 103)
        rows, columns = np.zeros(grid.shape[0], grid.dtype), np.zeros(103, grid.dtype)
        kernels.maxima(grid, rows, columns, np.iinfo(grid.dtype).max - 9, is_doubled=True)
        results += [rows.tolist(), columns.tolist()]
    return results
