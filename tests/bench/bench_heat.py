"""The heat map of a matrix of 201 million bfloat16: the first picture, the exact one, zooming, memory.

Processor times of one thread are compared, in turns, so that what else the machine does falls on both.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

from tests.bench.bench_stats import PrivateMemory, dtype_named, seconds, write
from tests.bench.line import Line
from tui_params.api.opening import code_store, open_source
from tui_params.core.kernels.engine import Engine
from tui_params.core.numbers.block_picture import BlockPicture, blocking_of
from tui_params.core.numbers.raster import make_raster
from tui_params.core.numbers.region import Region
from tui_params.core.reading.block_reading import read_picture, sample_picture
from tui_params.core.reading.tensor_reading import Reading, measure, summarize
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import parse_window, plane

ROWS, COLUMNS = 49_152, 4_096
TURNS = 5
WHOLE = Region(0, 0, ROWS, COLUMNS)


def write_matrix(path: Path) -> None:
    """A safetensors file with the one matrix."""
    nbytes = 2 * ROWS * COLUMNS
    entry = {"w": {"dtype": "BF16", "shape": [ROWS, COLUMNS], "data_offsets": [0, nbytes]}}
    head = json.dumps(entry).encode().ljust(120)
    values = path.with_suffix(".values")
    write(values, dtype_named("bfloat16"), ROWS * COLUMNS)
    with path.open("wb") as file, values.open("rb") as content:
        file.write(len(head).to_bytes(8, "little") + head)
        while block := content.read(1 << 24):
            file.write(block)
    values.unlink()


def fused(source: Source, info: TensorInfo, *, is_counted: bool) -> BlockPicture | None:
    """The exact picture, and the statistics in the same read if ``is_counted``."""
    reading = Reading(source, info, has_channels=is_counted, is_counted=is_counted, blocking=blocking_of(WHOLE))
    reading.run(None, None, 1)
    return reading.measurement().picture if is_counted else reading.picture()


def run() -> Iterator[Line]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "matrix.safetensors"
        write_matrix(path)
        with open_source(path) as source:
            source.engine = Engine(code_store)
            yield from _first(source, source.find("w"))
            source.engine.start_compiling().done.wait()
            yield from _exact(source, source.find("w"))


def _first(source: Source, info: TensorInfo) -> Iterator[Line]:
    view = plane(parse_window("", info.shape))

    def draw() -> None:
        picture = sample_picture(source, info, view)
        assert picture is not None
        make_raster([picture], WHOLE, 56, 112, "mean")

    taken = seconds(draw, TURNS)
    yield Line("heat map of 201 M bf16: sampled picture", f"{taken * 1000:.0f} ms", "under 150 ms", taken < 0.15)


def _exact(source: Source, info: TensorInfo) -> Iterator[Line]:
    work: dict[str, Callable[[], object]] = {
        "plain": lambda: summarize(source, info, threads=1),
        "channels": lambda: measure(source, info, threads=1),
        "fused": lambda: fused(source, info, is_counted=True),
        "alone": lambda: fused(source, info, is_counted=False),
    }
    taken: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(TURNS):
        for name, do in work.items():
            start = time.process_time()
            do()
            taken[name].append(time.process_time() - start)
    found = {name: median(times) for name, times in taken.items()}
    ratio = found["fused"] / found["channels"]
    yield Line(
        "exact, with the statistics in one read (RMS as well)",
        f"{found['fused']:.3f} s, {ratio:.2f} x statistics",
        "under 1.4 x",
        ratio < 1.4,
    )
    ratio = found["alone"] / found["plain"]
    yield Line("exact, alone", f"{found['alone']:.3f} s, {ratio:.2f} x statistics", "under 1.3 x", ratio < 1.3)
    view = plane(parse_window("", info.shape))
    with PrivateMemory() as memory:
        picture = read_picture(source, info, view, WHOLE, check=lambda: None)
    used = memory.megabytes
    yield Line("exact, extra memory", f"{used:.0f} MB", "under 64 MB", used < 64)
    slowest = 0.0
    for level in range(6):
        seen = Region(1000, 300, ROWS - 1000 >> level, COLUMNS - 300 >> level)
        for rows, columns in ((56, 112), (104, 192)):
            draw = partial(make_raster, [picture], seen, rows, columns, "rms")
            slowest = max(slowest, seconds(draw, TURNS))
    yield Line("zooming and moving, the slowest", f"{slowest * 1000:.0f} ms", "under 50 ms", slowest < 0.05)
