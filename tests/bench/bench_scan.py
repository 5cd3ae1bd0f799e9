"""A scan of a whole checkpoint: seconds against ``cat``, private memory, tiny tensors, how long a key waits, and the
explorer's ``S`` against ``check``.

Run with ``python -m tests.bench.bench_scan``. The files are real, in a temporary folder, and in the page cache.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from tests.bench.bench_stats import PrivateMemory, dtype_named, encoded, seconds
from tests.bench.line import Line
from tests.factories_faults import FULL, write_faulty
from tests.factories_names import deepseek_v3_names
from tui_params.api.opening import ENGINE, open_source
from tui_params.cache.figures import FigureCache
from tui_params.core.health.checker import check
from tui_params.core.kinds import group_by_kind
from tui_params.core.reading.outcome import Outcome
from tui_params.core.reading.scanner import Scanner
from tui_params.core.reading.sweep import scan_all
from tui_params.core.reading.tensor_reading import measure, summarize
from tui_params.core.source import Source
from tui_params.core.tensor import describe

FP8 = dtype_named("float8_e4m3fn")
BYTES = 4_000_000_000
MEMORY_LIMIT_MB = 200
EXPLORER_LIMIT = 1.3
"""Times as long as ``check`` that the explorer may take for the same."""

LAYER: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("attn.qkv.weight", "bfloat16", (6144, 4096)),
    ("attn.out.weight", "bfloat16", (4096, 4096)),
    ("attn.out.weight_scale", "float32", (4096, 32)),
    ("mlp.up.weight", "float8_e4m3fn", (14336, 4096)),
    ("mlp.down.weight", "bfloat16", (4096, 14336)),
    ("mlp.conv.weight", "float16", (512, 512, 3, 3)),
    ("norm.weight", "bfloat16", (4096,)),
    ("norm.bias", "float32", (4096,)),
    ("exp_avg", "float32", (4096, 4096)),
    ("experts.weight", "bfloat16", (4, 1024, 4096)),
)
"""Names, types and shapes of one of the layers that are repeated until there are enough bytes: 0.43 GB."""


def write_checkpoint(path: Path, nbytes: int) -> None:
    """A safetensors file of layers, of ``nbytes`` at least."""
    header: dict[str, object] = {}
    tensors = []
    offset = layer = 0
    while offset < nbytes:
        for name, type_name, shape in LAYER:
            dtype = dtype_named(type_name)
            size = dtype.nbytes(int(np.prod(shape)))
            header[f"layers.{layer}.{name}"] = {
                "dtype": dtype.safetensors,
                "shape": shape,
                "data_offsets": [offset, offset + size],
            }
            tensors.append((dtype, size))
            offset += size
        layer += 1
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    million = {dtype: encoded(dtype) for dtype, _ in tensors}
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for dtype, left in tensors:
            while left:
                left -= file.write(million[dtype].data[: min(left, million[dtype].size)])


def write_tiny(path: Path, count: int) -> None:
    """A safetensors file of ``count`` float32 tensors of one element."""
    header = {
        f"blocks.{i}.scale": {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i in range(count)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    values = np.random.default_rng(0).normal(size=count).astype(np.float32)
    path.write_bytes(struct.pack("<Q", len(text)) + text + values.tobytes())


def write_many(path: Path, count: int) -> None:
    """A safetensors file of ``count`` bfloat16 matrices of 16 KiB."""
    shape, nbytes = (128, 64), 2 * 128 * 64
    parts = ("gate", "up", "down")
    names = [f"layers.{i // 768}.experts.{i % 768 // 3}.{parts[i % 3]}_proj.weight" for i in range(count)]
    header = {
        name: {"dtype": "BF16", "shape": shape, "data_offsets": [nbytes * i, nbytes * (i + 1)]}
        for i, name in enumerate(names)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    million = encoded(dtype_named("bfloat16"))
    places = np.random.default_rng(0).integers(0, (million.size - nbytes) // 2, count) * 2
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for place in places.tolist():
            file.write(million[place : place + nbytes].data)


def scan(source: Source, threads: int | None) -> list[Outcome]:
    outcomes: list[Outcome] = []
    scan_all(source, [info.name for info in source.listing.tensors], outcomes.append, threads=threads)
    assert all(outcome.figures is not None and outcome.figures.is_exact for outcome in outcomes)
    return outcomes


def waits(source: Source) -> list[float]:
    """How late a thread of Python woke up, in seconds, beside a Scanner that reads everything."""
    done = threading.Event()
    scanner = Scanner(source, lambda outcome: None, lambda activity: done.set() if activity is None else None)
    scanner.want([info.name for info in source.listing.tensors])
    late = []
    while not done.is_set():
        start = time.perf_counter()
        time.sleep(0.005)
        late.append(time.perf_counter() - start - 0.005)
    scanner.close()
    return sorted(late)


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        write_checkpoint(path, BYTES)
        what = f"{path.stat().st_size / 1e9:.1f} GB, 7 types"
        cat = seconds(lambda: subprocess.run(["cat", str(path)], stdout=subprocess.DEVNULL, check=True))
        yield Line(f"{what}: cat", f"{cat:.2f} s", "", None)
        ENGINE.start_compiling().done.wait()
        with open_source(path) as source:
            for threads in (1, 2):
                taken = seconds(partial(scan, source, threads), 2)
                ratio = taken / cat
                name = f"{what}: statistics and channels, {threads} threads"
                yield Line(name, f"{taken:.2f} s, {ratio:.1f} x cat", "under 5 x", ratio < 5)
            infos = source.listing.tensors
            with_channels = seconds(lambda: [measure(source, info, threads=1) for info in infos], 2)
            without = seconds(lambda: [summarize(source, info, threads=1) for info in infos], 2)
            share = (with_channels - without) / without
            yield Line(f"{what}: the channels alone", f"{with_channels - without:.2f} s, {share:.0%} more", "", None)
            late = waits(source)
        p95 = late[len(late) * 95 // 100] * 1000
        yield Line("a thread of Python wakes up during it, late by", f"p95 {p95:.1f} ms", "under 50 ms", p95 < 50)
        yield Line("the same at worst", f"{late[-1] * 1000:.0f} ms", "", None)
        used = peak_megabytes(path)
        path.unlink()
        yield Line(f"{what}: extra memory", f"{used:.0f} MB", f"under {MEMORY_LIMIT_MB} MB", used < MEMORY_LIMIT_MB)
        write_checkpoint(path, BYTES // 10)
        size = path.stat().st_size / 1e9
        yield Line(f"{size:.1f} GB, 7 types: extra memory", f"{peak_megabytes(path):.0f} MB", "", None)
        path.unlink()
        write_tiny(path, 92_000)
        with open_source(path) as source:
            taken = seconds(lambda: scan(source, None), 1)
        named = [describe(name, shape, FP8) for name, shape, _ in deepseek_v3_names()]
        grouped = seconds(lambda: group_by_kind(named))
        yield Line("the kinds of 91,991 tensors", f"{grouped:.2f} s", "under 0.5 s", grouped < 0.5)
        yield Line("92,000 tensors of one element", f"{taken:.1f} s", "under 12 s", taken < 12)
        write_many(path, 10_000)
        yield from explorer(path, "10,000 tensors, 0.16 GB", Path(folder))
        write_faulty(path, FULL)
        yield from explorer(path, "303 tensors, 1.33 GB", Path(folder))


def explorer(path: Path, what: str, folder: Path) -> Iterator[Line]:
    """The explorer's ``S``, from the key to the report, against ``check``: at best of three fresh processes each."""
    environment = {**os.environ, "TUI_PARAMS_CACHE": str(folder / "kept")}

    def measured(option: str) -> list[float]:
        command = [sys.executable, "-m", "tests.bench.bench_scan", option, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return [float(word) for word in done.stdout.split()]

    measured("--check")  # leaves the compiled loops
    runs = [(measured("--check")[0], measured("--explore")) for _ in range(3)]
    checking = min(seconds for seconds, _ in runs)
    sweeping = min(seconds for _, (seconds, *_) in runs)
    ratio = sweeping / checking
    limit = EXPLORER_LIMIT
    shown = f"{sweeping:.2f} s, {ratio:.2f} x the {checking:.2f} s of check"
    yield Line(f"S in the explorer: {what}", shown, f"under {limit} x", ratio < limit)
    pressed, late = (min(figures[place] for _, figures in runs) for place in (1, 2))
    shown = f"{pressed:.1f} ms; then late by p95 {late:.1f} ms"
    yield Line("the screen's thread is held by the key S for", shown, "under 50 ms", max(pressed, late) < 50)


def print_check(path: str) -> None:
    """What a fresh process needs for a check of what is open."""
    with open_source(path) as source:
        print(seconds(lambda: check(source), 1))


def print_explored(path: str) -> None:
    """Seconds from ``S`` to the report; milliseconds that the key took, and by which the loop was late (p95)."""
    from tests.factories_screen import Stage
    from tui_params.settings import Settings
    from tui_params.tui.app import ParamsApp
    from tui_params.tui.desk.pending_source import PendingSource
    from tui_params.tui.screens.explorer.screen import ExplorerScreen

    async def explore(folder: str) -> None:
        # No figures are kept from one run to the next.
        cache = FigureCache(Path(folder))
        app = ParamsApp(PendingSource("model", lambda: open_source(path)), settings=Settings(), cache=cache)
        async with app.run_test(size=(120, 36)) as pilot:
            while len(app.screen_stack) < 2:
                await pilot.pause()
            await Stage(app, pilot).rest()
            screen = app.screen
            assert isinstance(screen, ExplorerScreen)
            assert screen.pages is not None
            begin = time.perf_counter()
            screen.action_scan()
            pressed = time.perf_counter() - begin
            late = []
            while screen.pages.report is None:
                start = time.perf_counter()
                await asyncio.sleep(0.01)
                late.append(time.perf_counter() - start - 0.01)
            taken = time.perf_counter() - begin
        print(taken, 1000 * pressed, 1000 * sorted(late)[len(late) * 95 // 100])

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(explore(folder))


def peak_megabytes(path: Path) -> float:
    """The private memory that a fresh process needs at most for a scan, beyond that of its imports."""
    command = [sys.executable, "-m", "tests.bench.bench_scan", "--memory", str(path)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak(path: str) -> None:
    ENGINE.start_compiling().done.wait()
    with open_source(path) as source, PrivateMemory() as memory:
        for _ in scan(source, 2):
            pass
    print(memory.megabytes)


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--memory"]:
        print_peak(*arguments[1:])
        return
    if arguments[:1] in (["--check"], ["--explore"]):
        (print_check if arguments[0] == "--check" else print_explored)(*arguments[1:])
        return
    for line in run():
        mark = {None: "", True: "ok", False: "MISSED"}[line.ok]
        print(f"{line.what:60} {line.measured:32} {line.target:16} {mark}")


if __name__ == "__main__":
    main(sys.argv[1:])
