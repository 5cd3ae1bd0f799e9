"""Inside one tensor: how long from a key to its paint in a file of a terabyte, and how fast the next NaN is found.

The terabyte is a sparse file: zeros that take no place. The explorer shows it in a pseudo-terminal of 120x36; a key is
painted when nothing more arrives for a moment. Meanwhile its statistics are being read in the background, as always.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.bench.bench_latency import percentile
from tests.bench.bench_start import Terminal
from tests.bench.line import Line
from tests.factories_safetensors import entry, file_bytes
from tui_params.api.opening import open_source
from tui_params.core.numbers.condition import NOT_FINITE, parse_condition
from tui_params.core.reading.value_search import find
from tui_params.core.window import parse_window

LIMIT_MS = 50.0
QUIET = 0.06
ROWS, COLUMNS = 500_000, 1_000_000
KEYS = (b"\x1b[B", b"\x1b[6~", b"\x1b[C", b"G", b"\x1b[5~", b"\x1b[1;5H", b"\x1b[6~", b"\x1b[F", b"\x1b[H")
NUMEL = 200_000_000
LIMIT_RATIO = 1.5


def paint_times(terminal: Terminal, keys: int) -> list[float]:
    """Milliseconds from each key to the last byte that it brings about."""
    waits = []
    for number in range(keys):
        terminal.bytes_within(QUIET)
        pressed = last = time.perf_counter()
        terminal.press(KEYS[number % len(KEYS)])
        while time.perf_counter() - last < QUIET:
            if terminal.read(QUIET) > 0:
                last = time.perf_counter()
        waits.append((last - pressed) * 1000)
    return waits


def seconds_of(work: object, *arguments: object) -> float:
    began = time.perf_counter()
    work(*arguments)  # type: ignore[operator]
    return time.perf_counter() - began


def run() -> Iterator[Line]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield from _keys(folder)
        yield from _search(folder)
    finally:
        shutil.rmtree(folder)


def _keys(folder: Path) -> Iterator[Line]:
    what = "inside a terabyte: a key to its paint, p95"
    path = folder / "terabyte.safetensors"
    nbytes = 2 * ROWS * COLUMNS
    header = {"w": {"dtype": "BF16", "shape": [ROWS, COLUMNS], "data_offsets": [0, nbytes]}}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        try:
            file.truncate(8 + len(text) + nbytes)
        except OSError as error:
            yield Line(what, f"no sparse file here: {error.strerror}", "", None)
            return
    with Terminal([sys.executable, "-m", "tui_params", str(path)], folder) as terminal:
        terminal.wait_for((b"terabyte",))
        terminal.settle(0.3)
        terminal.press(b"\r")
        terminal.wait_for((b"next NaN",))
        waits = paint_times(terminal, 90)
        terminal.quit()
    p95 = percentile(waits, 0.95)
    yield Line(what, f"{p95:.0f} ms (worst {max(waits):.0f})", f"< {LIMIT_MS:.0f} ms", p95 < LIMIT_MS)


def _search(folder: Path) -> Iterator[Line]:
    path = folder / "model.safetensors"
    words = np.random.default_rng(0).integers(0, 0x3F00, NUMEL, dtype=np.uint16)
    path.write_bytes(file_bytes({"w": entry("BF16", (NUMEL,), 0)}, words.tobytes()))
    dd = ["dd", f"if={path}", "of=/dev/null", "bs=2M"]
    with open_source(path) as source:
        source.engine.start_compiling().done.wait()
        info = source.find("w")
        window = parse_window("", info.shape)
        for what, condition in (
            ("the next NaN or Inf", NOT_FINITE),
            ("the next value > 1e30", parse_condition(">1e30")),
        ):
            ours, theirs = [], []
            for _ in range(7):
                theirs.append(seconds_of(lambda: subprocess.run(dd, check=True, stderr=subprocess.DEVNULL)))
                ours.append(seconds_of(find, source, info, window, condition, None))
            ratio = min(ours) / min(theirs)
            measured = f"{min(ours) * 1000:.0f} ms, {ratio:.2f} x dd"
            yield Line(f"{what} in 400 MB of bf16", measured, f"<= {LIMIT_RATIO} x dd", ratio <= LIMIT_RATIO)
