"""An ONNX file of 5,100 initialisers in 400 MiB, beside ``onnx.load``, and a stored NPZ of 400 MiB: listed.

Run with ``python -m tests.bench --only far``. Each is listed by a process of its own, after its imports; the files are
in the page cache.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tests.bench.line import Line
from tests.factories_onnx import model, tensor

INITIALISERS = 5_100
NBYTES = 400 << 20
ARRAYS = 300
MOST_MILLISECONDS = 30

_OURS = """
import sys, time
from tui_params.sources.detect import open_path
import tui_params.sources.{module}
began = time.perf_counter()
source = open_path(sys.argv[1])
seconds = time.perf_counter() - began
assert len(source) == int(sys.argv[2])
print(seconds)
"""
_THEIRS = """
import sys, time
import onnx
began = time.perf_counter()
model = onnx.load(sys.argv[1])
seconds = time.perf_counter() - began
assert len(model.graph.initializer) == int(sys.argv[2])
print(seconds)
"""


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _onnx(Path(folder) / "model.onnx")
        yield _npz(Path(folder) / "arrays.npz")


def _onnx(path: Path) -> Iterator[Line]:
    numel = NBYTES // INITIALISERS // 4
    data = np.random.default_rng(0).normal(size=numel).astype(np.float32).tobytes()
    path.write_bytes(model(tensor(f"layers.{at}.weight", (numel,), 1, raw=data) for at in range(INITIALISERS)))
    ours = _seconds(_OURS.format(module="onnx.reader"), path, INITIALISERS)
    what = f"list an ONNX file of {INITIALISERS:,} initialisers in 400 MiB"
    if find_spec("onnx") is None:
        yield Line(what, f"{ours:.3f} s; the package onnx is not installed", "", None)
        return
    theirs = _seconds(_THEIRS, path, INITIALISERS)
    yield Line(what, f"{ours:.3f} s, onnx.load {theirs:.2f} s", "at most 1/20", 20 * ours <= theirs)


def _npz(path: Path) -> Line:
    values = np.random.default_rng(0).normal(size=NBYTES // ARRAYS // 4).astype(np.float32)
    np.savez(path, **{f"layers.{at}.weight": values for at in range(ARRAYS)})  # type: ignore[arg-type]
    ours = 1000 * _seconds(_OURS.format(module="numpy_save.npz"), path, ARRAYS)
    what = f"list a stored NPZ of {ARRAYS} arrays in 400 MiB, after the start"
    return Line(what, f"{ours:.1f} ms", f"under {MOST_MILLISECONDS} ms", ours < MOST_MILLISECONDS)


def _seconds(script: str, path: Path, count: int) -> float:
    """The best of several processes."""
    command = [sys.executable, "-c", script, str(path), str(count)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(5)]
    return min(float(done.stdout) for done in runs)
