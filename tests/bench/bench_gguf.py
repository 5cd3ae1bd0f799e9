"""A GGUF file with the vocabulary of today's models: listed by us, and by the reader of the package gguf beside it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.line import Line
from tests.factories_gguf import gguf_bytes, plain

ENTRIES = 150_000
TENSORS = 300

# A process of its own each time; the imports of the package are no part of what is measured.
OURS = """
import resource, sys, time
from tui_params.sources.detect import open_path
from tui_params.sources.gguf import reader
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.process_time()
source = open_path(sys.argv[1])
assert len(source) == int(sys.argv[2])
print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
THEIRS = """
import resource, sys, time
from gguf import GGUFReader
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.process_time()
reader = GGUFReader(sys.argv[1])
assert len(reader.tensors) == int(sys.argv[2])
print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def write(path: Path) -> None:
    """A file with tokens, merges, types and scores."""
    metadata: dict[str, tuple[int, Any]] = {
        "tokenizer.ggml.tokens": (9, (8, [f"token{number}" for number in range(ENTRIES)])),
        "tokenizer.ggml.merges": (9, (8, [f"to ken{number}" for number in range(ENTRIES)])),
        "tokenizer.ggml.token_type": (9, (5, [1] * ENTRIES)),
        "tokenizer.ggml.scores": (9, (6, [0.0] * ENTRIES)),
    }
    path.write_bytes(gguf_bytes([plain(f"blk.{n}.w", np.ones((4, 8), "f4")) for n in range(TENSORS)], metadata))


def measure(script: str, path: Path, times: int) -> tuple[float, float]:
    """The best of several runs: seconds of the processor, and MiB by which the peak memory grew."""
    runs = []
    for _ in range(times):
        command = [sys.executable, "-c", script, str(path), str(TENSORS)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        runs.append(tuple(map(float, done.stdout.split())))
    unit = 1024 if sys.platform == "linux" else 1024 * 1024
    return min(run[0] for run in runs), min(run[1] for run in runs) / unit


def run() -> Iterator[Line]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocabulary.gguf"
        write(path)
        what = f"list a GGUF file with {ENTRIES:,} tokens and merges"
        seconds, memory = measure(OURS, path, 5)
        if find_spec("gguf") is None:
            yield Line(what, f"{seconds:.3f} s, {memory:.1f} MiB more; the package gguf is not installed", "", None)
            return
        other, others_memory = measure(THEIRS, path, 1)
        ratio = other / seconds
        yield Line(f"{what}, processor time", f"{seconds:.3f} s, GGUFReader {other:.1f} s", "at most 1/20", ratio >= 20)
        share = others_memory / max(memory, 1)
        measured = f"{memory:.1f} MiB more, GGUFReader {others_memory:.0f} MiB"
        yield Line(f"{what}, memory", measured, "at most 1/10", share >= 10)
