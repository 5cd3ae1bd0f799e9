"""Kinds and matrix of DeepSeek-V3's 91,991 tensors: how long they take to build, and what is worked out for a key.

Processor time of one thread, so that what else the machine does counts little; beside it the time for the same tree.
Then keys while a sweep reads them all, seen from outside: from the key to the first byte that it paints, in the tree,
in the kinds and in the matrix.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from tests.bench.bench_latency import DOWN, LIMIT_MS, PAUSE, UP, percentile
from tests.bench.bench_start import Terminal, expert_names, write_sparse
from tests.bench.line import Line
from tests.factories_memory import MemorySource
from tests.factories_names import deepseek_v3_names
from tui_params.core.dtypes import from_safetensors
from tui_params.core.layers.table import table_of
from tui_params.core.reading.tensor_reading import summarize
from tui_params.core.source import Listing
from tui_params.core.tensor import describe
from tui_params.core.tree.tree import Tree
from tui_params.tui.state.layer_book import Asked, LayerBook
from tui_params.tui.state.marks import Marks

RUNS, KEYS = 5, 60
Result = TypeVar("Result")
BUILD, LOOK = 0.3, 0.05


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    infos = [
        describe(name, shape, dtype)
        for name, shape, code in deepseek_v3_names()
        if (dtype := from_safetensors(code)) is not None
    ]
    listing = Listing("none", tuple(infos))
    tree_seconds, tree = best(lambda: Tree(listing))
    seconds, table = best(lambda: table_of(infos))
    what = f"{len(infos):,} tensors"
    times = f"{seconds:.2f} s, {seconds / tree_seconds:.1f}x the tree"
    yield Line(f"kinds and matrix of {what}", times, f"< {BUILD} s", seconds < BUILD)

    source = MemorySource({"w": np.arange(64, dtype=np.float32)})
    info = source.find("w")
    figures = summarize(source, info).figures(info.numel)
    book = LayerBook(table)
    asked = Asked(lambda name: figures, lambda name: False, lambda name: None, {}, "", Marks(), tree)
    seconds, _ = best(lambda: book.fill(asked))
    yield Line(f"what is known of {what}, filled in", f"{seconds:.2f} s", "", None)

    def look() -> None:
        """What is worked out anew for a screen: every kind with its strip, and the largest plane."""
        book.take([infos[0].name])
        book.look()
        for kind in range(len(table.kinds)):
            book.strip(kind, 24)
        book.shades(len(table.planes) - 1)

    seconds, _ = best(look)
    yield Line(
        f"all kinds and a plane of {what}, anew", f"{1000 * seconds:.1f} ms", f"< {1000 * LOOK:.0f} ms", seconds < LOOK
    )
    yield from keys_during_a_sweep()


def press_through(path: Path, folder: Path, key: bytes) -> float:
    """The 95 % quantile of the milliseconds from a key to what it paints, on the screen that ``key`` opens."""
    shutil.rmtree(folder / "tui-params", ignore_errors=True)  # figures that were kept would end the sweep at once
    waits: list[float] = []
    with Terminal([sys.executable, "-m", "tui_params", str(path)], folder) as terminal:
        terminal.wait_for((b"lm_head", b"embed_tokens", b"layers"))
        terminal.settle(0.3)
        terminal.press(key)
        terminal.settle(1.0)
        terminal.press(b"S")
        for count in range(KEYS):
            terminal.bytes_within(PAUSE)
            seen, pressed = len(terminal.output), time.perf_counter()
            terminal.press(DOWN if count % 20 < 10 else UP)
            while len(terminal.output) == seen and time.perf_counter() - pressed < 5:
                terminal.read(1.0)
            waits.append(1000 * (time.perf_counter() - pressed))
        terminal.quit()
    return percentile(waits, 0.95)


def keys_during_a_sweep() -> Iterator[Line]:
    folder = Path(tempfile.mkdtemp(prefix="tui-params-bench-"))
    try:
        path = folder / "model.safetensors"
        write_sparse(path, expert_names(91_991))
        tree = press_through(path, folder, b"")
        for key, name in ((b"K", "kinds"), (b"M", "matrix")):
            high = press_through(path, folder, key)
            measured = f"p95 {high:.0f} ms, {high / tree:.1f}x the tree"
            yield Line(f"a key in the {name} during a sweep", measured, f"p95 < {LIMIT_MS:.0f} ms", high < LIMIT_MS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def best(work: Callable[[], Result]) -> tuple[float, Result]:
    """The least processor time of some runs, and what came of the last one."""
    least = float("inf")
    for _ in range(RUNS):
        began = time.thread_time()
        result = work()
        least = min(least, time.thread_time() - began)
    return least, result
