"""The kernels as numba compiled them: without the GIL, and several times as fast as numpy's."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_params.core.kernels import machine_code
from tui_params.core.kernels.block_tables import BlockTables
from tui_params.core.kernels.few import FewLoop
from tui_params.core.kernels.machine_code import MachineCode
from tui_params.core.kernels.protocol import DECODED, LANES, Extremes, Few, Gap, Lines, Moved, Sums
from tui_params.core.kernels.words import Words


class CompiledKernels:
    """The loops as machine code. Calls of ctypes run without the GIL."""

    def __init__(self, code: MachineCode) -> None:
        """Load ``code``. Raises RuntimeError and OSError where that fails."""
        self._engine, addresses = machine_code.load(code)
        self._loops = {name: _callable(address) for name, address in addresses.items()}
        self._few = FewLoop(_callable(addresses["few"], 1))

    def count16(self, words: NDArray[np.uint16], lanes: NDArray[np.uint32]) -> None:
        self._loops["count16"](_address(words), words.size, _address(lanes))

    def float32(self, words: NDArray[np.uint32], packed: NDArray[np.uint64], squares: NDArray[np.uint64]) -> Extremes:
        apart = np.zeros((LANES, 512), np.uint64)
        special, found = np.zeros(4, np.int64), np.zeros(2, np.uint64)
        self._loops["float32"](
            _address(words), words.size, _address(packed), _address(apart), _address(special), _address(found)
        )
        squares += apart.sum(0, np.uint64)
        return Extremes(*found.tolist(), *special.tolist())

    def float64(self, words: NDArray[np.uint64], counts: NDArray[np.int64], sums: NDArray[np.int64]) -> Extremes:
        scratch = np.zeros(4096 * 4, np.uint64)
        special, found = np.zeros(4, np.int64), np.zeros(2, np.uint64)
        tables = map(_address, (counts, sums, scratch, special, found))
        self._loops["float64"](_address(words), words.size, *tables)
        return Extremes(*found.tolist(), *special.tolist())

    def integers(self, values: NDArray[Any], counts: NDArray[np.int64]) -> Sums:
        sums = np.zeros(8, np.int64)
        found = np.zeros(2, np.uint64 if values.dtype.kind == "u" else np.int64)
        loop = self._loops[values.dtype.name]
        loop(_address(values), values.size, _address(counts), _address(sums), _address(found))
        low, high, *squares = sums.tolist()
        total = low + (high << 32)
        return Sums(total, sum(part << shift for part, shift in zip(squares, _SHIFTS, strict=True)), *found.tolist())

    def maxima(
        self,
        grid: NDArray[Any],
        rows: NDArray[Any],
        columns: NDArray[Any],
        most: int,
        *,
        is_doubled: bool,
    ) -> None:
        twice = -1 if is_doubled else 0
        self._loops[f"maxima{8 * grid.itemsize}"](
            _address(grid), *grid.shape, _address(rows), _address(columns), int(columns.size > 0), twice, most
        )

    def difference(
        self, a: NDArray[np.uint8], b: NDArray[np.uint8], types: tuple[str, str], numel: int, atol: float, rtol: float
    ) -> Gap | None:
        if types[0] not in DECODED or types[1] not in DECODED:
            return None
        kinds = DECODED.index(types[0]) | DECODED.index(types[1]) << 4
        scratch, limits = np.empty(2 * CHUNK, np.uint32), np.array([atol, rtol])
        sums, found = np.zeros(6), np.zeros(4, np.int64)
        tables = map(_address, (scratch, limits, sums, found))
        self._loops["difference"](_address(a), _address(b), numel, kinds, *tables)
        is_finite, changed, first, became_zero = found.tolist()
        aa, bb, ab, dd, total, peak = sums.tolist()
        return Gap(aa, bb, ab, dd, total, peak, changed, first, became_zero) if is_finite else None

    def moved(
        self,
        before: Moved | None,
        a: NDArray[np.uint8] | None,
        b: NDArray[np.uint8],
        types: tuple[str, str],
        numel: int,
        digits: NDArray[np.uint64],
    ) -> Moved | None:
        if types[0] not in DECODED or types[1] not in DECODED:
            return None
        kinds = DECODED.index(types[0]) | DECODED.index(types[1]) << 4
        scratch, counts, sums = np.empty(2 * CHUNK, np.uint32), np.zeros(7, np.int64), np.zeros(3)
        counts[6] = before is not None and before.finite == numel
        address = 0 if a is None else _address(a)
        tables = _address(scratch), _address(counts), _address(sums), _address(digits)
        self._loops["moved"](address, _address(b), numel, kinds, *tables)
        nan, infinite, changed, pairs, peak, differs, _ = counts.tolist()
        rest, aa, dd = sums.tolist()
        size = float(np.uint32(peak).view(np.float32))
        return Moved(numel - nan - infinite, nan, infinite, size, rest, pairs, aa, dd, changed, bool(differs))

    def blocks(self, grid: NDArray[Any], kind: str, top: int, left: int, tables: BlockTables) -> bool:
        if kind not in DECODED:
            return False
        sizes = tables.height, tables.width, tables.sums.shape[1]
        plan = np.array([DECODED.index(kind), *grid.shape, top, left, *sizes], np.int64)
        filled: list[NDArray[Any]] = [tables.sums, tables.squares, tables.peaks, tables.nans, tables.infs]
        edges = [_address(edge) if edge.size else 0 for edge in (tables.row_squares, tables.column_squares)]
        addresses = np.array([*map(_address, filled), *edges], np.int64)
        scratch = np.zeros(BLOCKS_TILE * BLOCKS_SCRATCH, np.uint8)
        self._loops["blocks"](_address(grid), _address(plan), _address(addresses), _address(scratch))
        return True

    def few(
        self, raw: NDArray[np.uint8], kind: str, numel: int, marks: tuple[int, int, int], lines: Lines | None
    ) -> Few | None:
        return self._few(raw, DECODED.index(kind), numel, marks, lines) if kind in DECODED else None

    def seek(self, words: NDArray[Any], sought: Words, start: int, stop: int, step: int) -> int | None:
        plan = np.array([sought.mask, *chain.from_iterable(sought.ranges)], np.uint64)
        found = np.empty(1, np.int64)
        loop = self._loops[f"seek{sought.bits}"]
        loop(_address(words), start, stop, _address(plan), len(sought.ranges), step, _address(found))
        place = int(found[0])
        return None if place < 0 else place


BLOCKS_TILE, BLOCKS_SCRATCH = 1024, 50
"""Columns that ``loops_blocks`` sums up at a time, and the bytes of scratch that it needs for each."""

CHUNK = 1024
"""Elements that ``loops_difference`` and ``loops_moved`` decode at a time."""

_SHIFTS = (0, 32, 33, 65, 64, 96)
"""Shifts of the sums of squares: lower * lower, 2 * lower * upper, upper * upper, in two halves each."""

_scratch = (ctypes.c_int64 * 2)()


def _callable(address: int, arity: int = 8) -> Callable[..., None]:
    """A loop as a function of ``arity`` words of 64 bits, which may be more than it takes.

    numba's functions take two more addresses, for a result and an exception, and return a status (see the calling
    convention in numba.core.callconv.CPUCallConv); these loops have neither.
    """
    loop = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * arity)(address)
    result = ctypes.addressof(_scratch)

    def call(*words: int) -> None:
        loop(result, result + 8, *words, *(0,) * (arity - len(words)))

    return call


def _address(array: NDArray[Any]) -> int:
    found: int = array.__array_interface__["data"][0]
    return found
