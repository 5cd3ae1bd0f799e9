"""The kernels as numba compiled them: without the GIL, and several times as fast.

A Compilation loads what an earlier run has compiled, or has it compiled by another process (``compiler``), which tries
it against numpy before it serves or is kept.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_params.core.kernels import compiler, machine_code
from tui_params.core.kernels.by_numpy import (
    DECODED,
    LANES,
    LIMB_SUMS,
    WORDS,
    Extremes,
    Gap,
    Kernels,
    NumpyKernels,
    Sums,
    limb_totals,
)
from tui_params.core.kernels.machine_code import MachineCode


class CompiledKernels:
    """The loops as machine code. Calls of ctypes run without the GIL."""

    def __init__(self, code: MachineCode) -> None:
        """Load ``code``. Raises RuntimeError and OSError where that fails."""
        self._engine, addresses = machine_code.load(code)
        self._loops = {name: _callable(address) for name, address in addresses.items()}

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
        sums, found = np.zeros(6), np.zeros(3, np.int64)
        tables = map(_address, (scratch, limits, sums, found))
        self._loops["difference"](_address(a), _address(b), numel, kinds, *tables)
        is_finite, changed, first = found.tolist()
        aa, bb, ab, dd, total, peak = sums.tolist()
        return Gap(aa, bb, ab, dd, total, peak, changed, first) if is_finite else None


CHUNK = 1024
"""Elements that ``loops_difference`` decodes at a time."""

_SHIFTS = (0, 32, 33, 65, 64, 96)
"""Places of the sums of squares: of lower * lower, 2 * lower * upper, upper * upper, each of its halves."""

_scratch = (ctypes.c_int64 * 2)()


def _callable(address: int) -> Callable[..., None]:
    """A loop as a function of words of 64 bits.

    numba's functions take two addresses more, of their result and of an exception, and give a status (the calling
    convention that numba.core.callconv.CPUCallConv describes); these loops have neither.
    """
    loop = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 8)(address)
    result = ctypes.addressof(_scratch)

    def call(*words: int) -> None:
        loop(result, result + 8, *words, *(0,) * (8 - len(words)))

    return call


def _address(array: NDArray[Any]) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


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
"""What an llvmlite raises that does not fit this Python or processor."""


class Compilation:
    """One attempt to have compiled kernels. ``done`` is set when it is decided, ``reason`` says why there are none."""

    def __init__(self, build: Callable[[], bytes] | None = None) -> None:
        self._build = build or self._compile
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False
        self.kernels: Kernels | None = None
        self.reason: str | None = None
        self.done = Event()

    def load(self) -> bool:
        """Whether an earlier run has left machine code that serves: 0.05 s where it has, nothing where not."""
        store = machine_code.store()
        if store is None or sys.byteorder != "little":
            return False
        try:
            kept = store.read(machine_code.file_name())
        except OSError as error:
            self.reason = str(error)
            return False
        if kept is not None and self._attempt(lambda: kept[0]):
            self.done.set()
        return self.done.is_set()

    def run(self) -> None:
        """Have the loops compiled, which takes seconds."""
        self._attempt(self._build)
        self.done.set()

    def stop(self) -> None:
        """This process is about to end: compile no further, unless that is kept for the next."""
        self._is_stopped = machine_code.store() is None
        if self._is_stopped and self._process is not None:
            self._process.kill()

    def _attempt(self, find: Callable[[], bytes]) -> bool:
        try:
            code = machine_code.decode(find())
            if code.origin != machine_code.origin_here():
                raise RuntimeError("the machine code is for another processor")
            self.kernels = CompiledKernels(code)
        except _FAILURES as error:
            self.reason = str(error) or type(error).__name__
            return False
        self.reason = None
        return True

    def _compile(self) -> bytes:
        if sys.byteorder != "little":
            raise RuntimeError("the compiled loops are for little-endian processors")
        with compiler.start() as process:
            self._process = process
            if self._is_stopped:
                process.kill()
            try:
                data, complaint = process.communicate(timeout=compiler.SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise RuntimeError(f"compiling took longer than {compiler.SECONDS:.0f} s") from None
        if process.returncode:
            last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(last or f"the compiler ended with {process.returncode}")
        return data


def prove(kernels: Kernels) -> None:
    """Raise RuntimeError unless ``kernels`` find in some bytes what numpy finds."""
    raw = np.frombuffer(bytes((i * i * 7 + i // 3) & 0xFF for i in range(8 * 515)), np.uint8)
    if _results(kernels, raw) != _results(NumpyKernels(), raw):
        raise RuntimeError("a compiled loop counts wrongly")
    _prove_difference(kernels)


def _prove_difference(kernels: Kernels) -> None:
    """Numpy has no loop of its own for differences: here it is the definition, with some at the very tolerance."""
    a = np.arange(2600, dtype=np.float32) / 64
    b = a + np.where(np.arange(2600) % 7 == 3, a * np.float32(0.25) + np.float32(0.125), 0).astype(np.float32)
    a[2000], b[2000] = 3, 4
    x, y = a.astype(np.float64), b.astype(np.float64)
    for atol, rtol in ((0.0, 0.0), (0.125, 0.25), (0.1, 0.3)):
        found = kernels.difference(a.view(np.uint8), b.view(np.uint8), ("float32", "float32"), a.size, atol, rtol)
        changed = abs(y - x) > atol + rtol * abs(x)
        if found is None:
            continue
        sums = (found.aa, found.bb, found.ab, found.dd, found.total)
        expected = (x @ x, y @ y, x @ y, (y - x) @ (y - x), abs(y - x).sum())
        is_right = all(abs(one - other) <= 1e-12 * other for one, other in zip(sums, expected, strict=True))
        first = int(changed.argmax()) if changed.any() else found.first
        if not is_right or (found.peak, found.changed, found.first) != (abs(y - x).max(), changed.sum(), first):
            raise RuntimeError("a compiled loop compares wrongly")


def _results(kernels: Kernels, raw: NDArray[np.uint8]) -> list[Any]:
    lanes = np.zeros((LANES, WORDS), np.uint32)
    kernels.count16(raw.view("<u2"), lanes)
    packed, squares = np.zeros(WORDS, np.uint64), np.zeros(512, np.uint64)
    results: list[Any] = [kernels.float32(raw.view("<u4"), packed, squares), packed.tobytes(), squares.tobytes()]
    results.append(lanes.sum(0).tobytes())
    finite = np.where(raw.view("<u8") >> 52 & 0x7FF == 0x7FF, 0, raw.view("<u8"))
    counts, sums = np.zeros(1 << 19, np.int64), np.zeros((4096, LIMB_SUMS), np.int64)
    results += [kernels.float64(finite, counts, sums), _filled(counts), list(map(limb_totals, sums.tolist()))]
    for kind in ("<i4", "<u4", "<i8", "<u8"):
        counts.fill(0)
        results += [kernels.integers(raw.view(kind), counts), _filled(counts)]
    for size in (1, 2, 4, 8):
        grid = raw.view(f"<u{size}").reshape(-1, 103)
        rows, columns = np.zeros(grid.shape[0], grid.dtype), np.zeros(103, grid.dtype)
        kernels.maxima(grid, rows, columns, int(np.iinfo(grid.dtype).max) - 9, is_doubled=True)
        results += [rows.tolist(), columns.tolist()]
    return results


def _filled(counts: NDArray[np.int64]) -> list[list[int]]:
    places = np.flatnonzero(counts)
    return [places.tolist(), counts[places].tolist()]
