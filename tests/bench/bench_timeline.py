"""The timeline of a run of twenty checkpoints beside ``cat`` of all its files, and its memory for ten times as many.

Run with ``python -m tests.bench --only timeline``. The files of the first are real and in the page cache; those of the
second are sparse, so that they take no room on the disk.

The target is 1.5x ``cat``. On 2 cores that nobody else used, 2.3x was reached (16x before there was one loop for it):
of 0.18 s of processor time the reading took 0.05, which is what ``cat`` takes, the loop 0.08 for 0.3 billion elements,
and Python 0.04. A second thread reads no faster: two that only read took as long as one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.bench.line import Line
from tui_params.api.opening import ENGINE
from tui_params.api.timelines import timeline
from tui_params.cache.figures import ENVIRONMENT

STEPS, MORE = 20, 200
LAYERS, SHAPE = 10, (1024, 1536)
NBYTES = 4 * SHAPE[0] * SHAPE[1]
RUNS = 3
LIMIT = 1.5
_PEAK = """
import re, sys, tui_params
tui_params.timeline(sys.argv[1], threads=2)
# Not ru_maxrss: a process inherits that of the one that started it.
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    ENGINE.start_compiling().done.wait()
    folder = Path(tempfile.mkdtemp())
    kept = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = "off"
    try:
        numbers = np.random.default_rng(0)
        base = numbers.normal(size=(LAYERS, *SHAPE)).astype(np.float32)
        for step in range(STEPS):
            _write(folder / "run", step, base + np.float32(1e-4 * step) * base[::-1])
        files = sorted(str(path) for path in (folder / "run").rglob("*.safetensors"))
        pairs = [(_seconds_of_cat(files), _seconds_of_timeline(folder / "run")) for _ in range(RUNS)]
        cat, ours = (min(times) for times in zip(*pairs, strict=True))
        what = f"timeline of {STEPS} checkpoints, {STEPS * LAYERS * NBYTES / 1e9:.1f} GB, two threads"
        said = f"{ours:.2f} s, {ours / cat:.1f}x cat ({cat:.2f} s)"
        yield Line(what, said, f"<= {LIMIT}x cat", ours <= LIMIT * cat)
        os.environ[ENVIRONMENT] = str(folder / "kept")
        _seconds_of_timeline(folder / "run")
        again = min(_seconds_of_timeline(folder / "run") for _ in range(RUNS))
        yield Line("the same, opened again", f"{again:.3f} s", "< 1 s", again < 1)
        os.environ[ENVIRONMENT] = "off"
        for step in range(MORE):
            _write(folder / "sparse", step, None)
        peaks = [_peak(folder / name) for name in ("run", "sparse")]
        said = f"{peaks[0]} and {peaks[1]} MiB"
        yield Line(f"the same, memory, and of {MORE} checkpoints", said, "< 200 MB each", max(peaks) < 190)
    finally:
        del os.environ[ENVIRONMENT]
        if kept is not None:
            os.environ[ENVIRONMENT] = kept
        shutil.rmtree(folder)


def _write(folder: Path, step: int, values: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None) -> None:
    """One checkpoint; without values all of it is a hole."""
    inside = folder / f"checkpoint-{500 * (step + 1)}"
    inside.mkdir(parents=True)
    header = {
        f"layers.{layer}.weight": {
            "dtype": "F32",
            "shape": SHAPE,
            "data_offsets": [layer * NBYTES, (layer + 1) * NBYTES],
        }
        for layer in range(LAYERS)
    }
    text = json.dumps(header).encode()
    with (inside / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        if values is None:
            file.truncate(8 + len(text) + LAYERS * NBYTES)
        else:
            file.write(values.tobytes())
    # Long at rest: what is being written is not kept.
    os.utime(inside / "model.safetensors", (1.7e9, 1.7e9))


def _seconds_of_cat(files: list[str]) -> float:
    began = time.perf_counter()
    with Path(os.devnull).open("wb") as nothing:
        subprocess.run(["cat", *files], check=True, stdout=nothing)
    return time.perf_counter() - began


def _seconds_of_timeline(folder: Path) -> float:
    began = time.perf_counter()
    found = timeline(str(folder), threads=2)
    seconds = time.perf_counter() - began
    assert len(found.tracks) == LAYERS
    assert len(found.steps) == STEPS
    return seconds


def _peak(folder: Path) -> int:
    """MiB that a process took at most."""
    done = subprocess.run([sys.executable, "-c", _PEAK, str(folder)], check=True, capture_output=True, text=True)
    return int(done.stdout)
