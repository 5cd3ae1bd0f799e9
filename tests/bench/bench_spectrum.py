"""Singular values of a 14,336 x 4,096 matrix: the picture against ``torch.linalg.svdvals``, and memory.

Run with ``python -m tests.bench.bench_spectrum``. It takes minutes, nearly all of them in ``svdvals``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from tests.bench.line import Line
from tests.factories_safetensors import entry, file_bytes
from tui_params.api.opening import open_source
from tui_params.core.numbers.spectrum.spectrum import Spectrum
from tui_params.core.reading.matrix import plane_matrix
from tui_params.core.reading.spectrum_reading import Progress, read_spectrum
from tui_params.core.source import Source
from tui_params.core.window import parse_window, plane
from tui_params.errors import StoppedError

SHAPE = (14_336, 4_096)
TIMES = 25
WITHIN = 1e-3
MEMORY_LIMIT_MB = 400
COMPUTING_SECONDS = 8.0
"""The memory of LAPACK is taken at the start of its call; after so long the call is stopped."""


def write(path: Path) -> None:
    """A bf16 matrix: a random bulk, and 512 values that fall like k^-0.6 above it."""
    random = np.random.default_rng(0)
    rows, columns = SHAPE
    left = random.normal(size=(rows, 512)).astype(np.float32) / np.float32(rows**0.5)
    right = random.normal(size=(512, columns)).astype(np.float32) / np.float32(columns**0.5)
    part = (left * (30 * np.arange(1, 513, dtype=np.float32) ** np.float32(-0.6))) @ right
    part += random.standard_normal(SHAPE, np.float32) * np.float32(0.02)
    values = (part.view(np.uint32) >> 16).astype(np.uint16)
    path.write_bytes(file_bytes({"weight": entry("BF16", SHAPE, 0)}, values.tobytes()))


def first_values(source: Source) -> tuple[float, ...]:
    """The values of the first picture; what follows it is stopped."""
    found: list[Spectrum] = []

    def check() -> None:
        if found:
            raise StoppedError("the picture is there")

    with suppress(StoppedError):
        spectrum_of(source, check, lambda progress: found.append(progress.picture) if progress.picture else None)
    return found[0].values


def spectrum_of(source: Source, check: Callable[[], object], tell: Callable[[Progress], object]) -> Spectrum:
    info = source.find("weight")
    matrix = plane_matrix(plane(parse_window("", info.shape)))
    return read_spectrum(source, info, matrix, wants_all=True, check=check, tell=tell)


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        write(path)
        yield memory_line(path)
        with open_source(path) as source:
            whole = np.fromfile(path, np.uint16, offset=path.stat().st_size - 2 * SHAPE[0] * SHAPE[1])
            tensor = torch.from_numpy(whole.reshape(SHAPE)).view(torch.bfloat16)
            start = time.perf_counter()
            found = first_values(source)
            first = time.perf_counter() - start
        start = time.perf_counter()
        all_values = torch.linalg.svdvals(tensor.float())
        torch_seconds = time.perf_counter() - start
        with open_source(path) as source:
            start = time.perf_counter()
            first_values(source)
            second = time.perf_counter() - start
    ours = (first + second) / 2  # before and after: another load of the machine falls on both sides
    what = "spectrum of 14,336 x 4,096 bf16"
    ratio = torch_seconds / ours
    yield Line(f"{what}: picture", f"{ours:.2f} s, svdvals {ratio:.0f} x", f"at least {TIMES} x", ratio >= TIMES)
    error = float(np.max(np.abs(np.array(found[:16]) / all_values[:16].numpy() - 1)))
    yield Line(f"{what}: top 16 against svdvals", f"within {error:.1e}", f"within {WITHIN:g}", error <= WITHIN)


def memory_line(path: Path) -> Line:
    command = [sys.executable, "-m", "tests.bench.bench_spectrum", "--memory", str(path)]
    used = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return Line(
        "spectrum of 14,336 x 4,096 bf16: extra memory, both processes",
        f"{used:.0f} MB",
        f"under {MEMORY_LIMIT_MB} MB",
        used < MEMORY_LIMIT_MB,
    )


def print_peak(path: str) -> None:
    """The private memory of this process beyond its imports, and that of the process that computes all values."""
    import ml_dtypes  # noqa: F401 - its memory is not what is measured

    from tui_params.core.numbers.spectrum import solving  # noqa: F401

    before = anonymous_bytes("self")
    peak, is_over = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_over.wait(0.005):
            peak = max(peak, anonymous_bytes("self") - before + sum(map(anonymous_bytes, children())))

    watcher = threading.Thread(target=watch)
    watcher.start()
    computing: list[float] = []

    def check() -> None:
        if computing and time.monotonic() - computing[0] > COMPUTING_SECONDS:
            raise StoppedError("enough was seen")

    def tell(progress: Progress) -> None:
        if progress.words.startswith("computing") and not computing:
            computing.append(time.monotonic())

    with open_source(path) as source, suppress(StoppedError):
        spectrum_of(source, check, tell)
    is_over.set()
    watcher.join()
    print(peak / 1e6)


def children() -> list[str]:
    """The processes that this one has started."""
    return [child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()]


def anonymous_bytes(process: str) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--memory"]:
        print_peak(arguments[1])
        return
    for line in run():
        mark = {None: "", True: "ok", False: "MISSED"}[line.ok]
        print(f"{line.what:64} {line.measured:32} {line.target:16} {mark}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
