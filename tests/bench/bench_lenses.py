"""Inside a tensor: zoom of a histogram, cast previews, the search for an element, profiles of rows and columns.

Run with ``python -m tests.bench.bench_lenses``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import ml_dtypes
import numpy as np

from tests.bench.bench_stats import FileSource, PrivateMemory, dtype_named
from tests.bench.line import Line
from tui_params.core.kernels.engine import Engine
from tui_params.core.numbers.casts import GROUPED, TARGETS, preview
from tui_params.core.numbers.distribution import SCALES, distribution_of
from tui_params.core.numbers.summary import Summary
from tui_params.core.reading.between import Range, find_between
from tui_params.core.reading.casting import cast_values
from tui_params.core.reading.profiling import profile
from tui_params.core.tensor import describe
from tui_params.tui.terminal.glyphs import UNICODE
from tui_params.tui.widgets.lenses.histogram_plot import drawn

ROWS, COLUMNS = 16_384, 4_096


def best(work: Callable[[], object], times: int = 5) -> float:
    """Seconds of the quickest of some runs, the first of which imports what is needed."""
    work()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def run() -> Iterator[Line]:
    dtype = dtype_named("bfloat16")
    # Every pattern there is: no tensor of 16 bits has more.
    words = np.tile(np.arange(1 << 16, dtype=np.uint16), 4)
    summary = Summary.of(words.view(np.uint8), dtype, words.size)
    for target in TARGETS:
        if target not in GROUPED:
            seconds = best(lambda target=target: preview(summary, target))  # type: ignore[misc]
            yield Line(
                f"cast to {target} from counts, 0 bytes read", f"{1e3 * seconds:.1f} ms", "20 ms", seconds < 0.02
            )
    found = distribution_of(summary, words.size)
    for scale in SCALES:
        span = found.whole(scale)
        assert span is not None
        seconds = best(lambda span=span: drawn(found, span, "counts", 190, 45, None, UNICODE))  # type: ignore[misc]
        yield Line(f"a zoom step at 200x60, {scale} axis, drawn", f"{1e3 * seconds:.1f} ms, 0 bytes read", "", None)
    with tempfile.TemporaryDirectory() as folder:
        yield from _passes(Path(folder) / "matrix")


def _passes(path: Path) -> Iterator[Line]:
    info = describe("a", (ROWS, COLUMNS), dtype_named("bfloat16"))
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        for _ in range(ROWS // 1024):
            file.write((random.normal(size=(1024, COLUMNS)) * 0.02).astype(ml_dtypes.bfloat16).tobytes())
    source = FileSource(path, info, Engine())

    def read() -> None:
        for _ in source.blocks(info):
            pass

    plain = best(read, 3)
    yield Line("read 134 MB of bf16 in blocks", f"{plain:.2f} s", "", None)
    seconds = best(lambda: find_between(source, info, Range(5.0, 6.0, True)), 3)
    yield Line(
        "search all of it for an element in a bin", f"{seconds:.2f} s, {seconds / plain:.1f}x the read", "", None
    )
    with PrivateMemory() as memory:
        seconds = best(lambda: profile(source, info, 20.0), 1)
    yield Line(
        "profiles of all rows and columns",
        f"{seconds:.2f} s, {memory.megabytes:.0f} MB",
        "64 MB",
        memory.megabytes < 64,
    )
    with PrivateMemory() as memory:
        seconds = best(lambda: cast_values(source, info, tuple(GROUPED), 1.0), 1)
    yield Line(
        "int4 in groups of 32 and of 128", f"{seconds:.2f} s, {memory.megabytes:.0f} MB", "64 MB", memory.megabytes < 64
    )
    source.close()


if __name__ == "__main__":
    from tests.bench.__main__ import row

    for line in run():
        print(row(line), flush=True)
