"""Statistics of large tensors: seconds against ``dd`` of the same bytes, the first picture, and memory.

Run with ``python -m tests.bench.bench_stats``. The files are real, in a temporary folder, and in the page cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.line import Line
from tests.factories_kernels import numpy_engine
from tui_params.api.opening import code_store
from tui_params.core.dtypes import DType, from_torch, numpy_dtype
from tui_params.core.kernels.engine import Engine
from tui_params.core.reading import tensor_reading
from tui_params.core.reading.tensor_reading import sample, summarize
from tui_params.core.source import Listing, Source
from tui_params.core.tensor import TensorInfo, describe
from tui_params.core.window import Window
from tui_params.errors import ReadError

BLOCK = 3 << 19
"""A multiple of eight elements of every type, also of those of 6 bits."""
MEMORY_LIMIT_MB = 64


def dtype_named(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype


class FileSource(Source):
    """One file that is one tensor, read with preadv into a buffer for each read."""

    def __init__(self, path: Path, info: TensorInfo, engine: Engine) -> None:
        self.engine = engine
        self.label = path.name
        self.listing = Listing("raw", (info,))
        self._file = os.open(path, os.O_RDONLY)

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        raise NotImplementedError

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        position, end = info.dtype.nbytes(start), info.dtype.nbytes(info.numel if stop is None else stop)
        buffer = np.empty(BLOCK, np.uint8)
        while position < end:
            got = os.preadv(self._file, [buffer[: end - position].data], position)
            if not got:
                raise ReadError(f"{self.label} ended at byte {position}")
            yield buffer[:got]
            position += got

    def close(self) -> None:
        os.close(self._file)


class PrivateMemory:
    """The peak of the process's anonymous memory while the block runs, over what it was before, in MB."""

    def __enter__(self) -> PrivateMemory:
        self._before = self._peak = anonymous_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self._peak = max(self._peak, anonymous_bytes())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def megabytes(self) -> float:
        return (self._peak - self._before) / 1e6


def anonymous_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """The best of some runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def encoded(dtype: DType) -> NDArray[np.uint8]:
    """The bytes of a million normally distributed values of scale 0.02; of packed types and integers any bits."""
    values = np.random.default_rng(0).normal(0, 0.02, 1 << 20)
    if dtype.kind == "int":
        return (values * 2e9).astype(dtype.numpy).view(np.uint8)
    if dtype.name == "bfloat16":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    if dtype.bits < 8:
        return np.random.default_rng(0).integers(0, 256, dtype.nbytes(values.size), np.uint8)
    return values.astype(numpy_dtype(dtype)).view(np.uint8)


def write(path: Path, dtype: DType, numel: int) -> None:
    """The same million values again and again."""
    million = encoded(dtype)
    left = dtype.nbytes(numel)
    with path.open("wb") as file:
        while left:
            left -= file.write(million.data[: min(left, million.size)])


def measure(name: str, numel: int, *, is_promised: bool, folder: Path) -> Iterator[Line]:
    dtype = dtype_named(name)
    info = describe("weight", (numel // 4096, 4096), dtype)
    path = folder / name
    write(path, dtype, info.numel)
    what = f"{numel / 1e6:.0f} M {dtype.short} ({info.nbytes / 1e6:.0f} MB)"
    by_numpy, compiled = numpy_engine(), Engine(code_store)
    with FileSource(path, info, by_numpy) as source:
        dd = seconds(partial(plain_read, path))
        sample_at_once = seconds(lambda: sample(source, info).figures(info.numel), 1)
        with_numpy = seconds(partial(statistics, source, info, 1), 2)
        compiled.start_compiling().done.wait()
        source.engine = compiled
        for threads, limit in ((1, 5), (2, 3)):
            whole = seconds(partial(statistics, source, info, threads))
            target, is_quick = (f"under {limit} x dd", whole < limit * dd) if is_promised else ("", None)
            yield Line(
                f"{what}: every statistic, {threads} threads", f"{whole:.3f} s, {whole / dd:.1f} x dd", target, is_quick
            )
        both = seconds(lambda: tensor_reading.measure(source, info, threads=1))
    yield Line(f"{what}: the channels as well", f"{both:.3f} s, {both / dd:.1f} x dd", "", None)
    yield Line(f"{what}: by numpy", f"{with_numpy:.3f} s, {with_numpy / dd:.1f} x dd", "", None)
    used = peak_megabytes(path, name, info.numel)
    path.unlink()
    if is_promised:
        quick = sample_at_once < 0.1
        yield Line(f"{what}: first picture", f"{sample_at_once * 1000:.0f} ms", "under 100 ms", quick)
    yield Line(f"{what}: extra memory", f"{used:.0f} MB", f"under {MEMORY_LIMIT_MB} MB", 0 <= used < MEMORY_LIMIT_MB)


def statistics(source: Source, info: TensorInfo, threads: int) -> None:
    summarize(source, info, threads=threads).figures(info.numel)


def plain_read(path: Path) -> None:
    subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=1M"], stderr=subprocess.DEVNULL, check=True)


def run(*, is_full: bool = False) -> Iterator[Line]:
    """The lines of this benchmark; ``is_full`` adds the types that no promise is made for."""
    with tempfile.TemporaryDirectory() as folder:
        # The import of numpy and ml_dtypes is not what is measured.
        sample_info = describe("warm", (8,), dtype_named("bfloat16"))
        path = Path(folder) / "warm"
        path.write_bytes(bytes(16))
        with FileSource(path, sample_info, numpy_engine()) as source:
            summarize(source, sample_info).figures(8)
        yield from measure("bfloat16", 201_000_000, is_promised=True, folder=Path(folder))
        yield from measure("float32", 100_000_000, is_promised=True, folder=Path(folder))
        if is_full:
            for name in ("float64", "int64", "int32", "float8_e4m3fn", "float4_e2m1fn", "float6_e2m3fn"):
                yield from measure(name, 50_000_000, is_promised=False, folder=Path(folder))


def peak_megabytes(path: Path, name: str, numel: int) -> float:
    """The private memory that a fresh process needs at most for the statistics, beyond that of its imports."""
    command = [sys.executable, "-m", "tests.bench.bench_stats", "--memory", str(path), name, str(numel)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak(path: str, name: str, numel: str) -> None:
    info = describe("weight", (int(numel),), dtype_named(name))
    from tui_params.core.numbers.summary import Summary

    Summary.empty(info.dtype)
    with FileSource(Path(path), info, Engine(code_store)) as source, PrivateMemory() as memory:
        sample(source, info).figures(info.numel)
        summarize(source, info).figures(info.numel)
    print(memory.megabytes)


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--memory"]:
        print_peak(*arguments[1:])
        return
    for line in run(is_full="--full" in arguments):
        mark = {None: "", True: "ok", False: "MISSED"}[line.ok]
        print(f"{line.what:48} {line.measured:32} {line.target:16} {mark}")


if __name__ == "__main__":
    main(sys.argv[1:])
