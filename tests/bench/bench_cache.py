"""The cache of statistics at the size of the largest published models: how soon everything is known again."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bench_open import SHARDS, write_sparse
from tests.bench.line import Line
from tests.factories_names import deepseek_v3_names
from tests.factories_safetensors import write_index
from tui_params.api.opening import open_source
from tui_params.cache import figures as module
from tui_params.cache.figures import FigureCache
from tui_params.core.channels import Channel, Channels, Side
from tui_params.core.figures import Figures

RUNS = 5

# Each run is a process of its own, as the second opening is.
RECALL = """
import sys, time
from pathlib import Path
from tui_params.api.opening import open_source
source = open_source(sys.argv[2])
began = time.perf_counter()
from tui_params.cache.figures import FigureCache
imported = time.perf_counter()
cache = FigureCache(Path(sys.argv[1]))
found = cache.for_source(source)
looked = time.perf_counter()
found.load()
loaded = time.perf_counter()
known = [found.get(info) for info in source.listing.tensors]
got = time.perf_counter()
assert None not in known and cache.complaint is None
print(imported - began, looked - imported, loaded - looked, got - loaded)
"""


def measured(numel: int, number: int, is_matrix: bool) -> tuple[Figures, Channels | None]:
    """Figures with as many digits as those of a real tensor."""
    x = 1 / (number + 3)
    figures = Figures(
        numel=numel, parts=1, count=numel, finite=numel, nan=0, pos_inf=0, neg_inf=0, zeros=number % 97, subnormals=0,
        min=-x, max=x, mean=x / 9, std=x / 7, abs_max=x, l2_norm=x * 99, rms=x / 7, is_exact=True,
        quantiles=tuple(x * place / 9 for place in range(-4, 5)), quantiles_exact=False, quantile_error=0.0039,
        spark=tuple(numel // 16 + place for place in range(16)), spark_low=-x, spark_high=x,
    )  # fmt: skip
    largest = tuple(Channel(number * place % 7168, x / place) for place in range(1, 9))
    side = Side(7168, 0, (), x / 3, largest)
    return figures, Channels(side, side) if is_matrix else None


def run() -> Iterator[Line]:
    """One file, and a folder of shards."""
    # Otherwise the files that are written here would be too young to be trusted.
    settled, module.SETTLED_NS = module.SETTLED_NS, -(10**18)
    folder = Path(tempfile.mkdtemp(prefix="tui-params-bench-"))
    try:
        names = deepseek_v3_names()
        one = folder / "one.safetensors"
        write_sparse(one, names)
        yield from lines("1 file", one, folder / "of-one")

        shards = folder / "shards"
        shards.mkdir()
        weight_map: dict[str, str] = {}
        step = -(-len(names) // SHARDS)
        for number in range(SHARDS):
            part = names[number * step : (number + 1) * step]
            shard = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
            write_sparse(shards / shard, part)
            weight_map |= {name: shard for name, _, _ in part}
        write_index(shards, weight_map)
        yield from lines(f"{SHARDS} shards", shards, folder / "of-shards")
    finally:
        module.SETTLED_NS = settled
        shutil.rmtree(folder)


def lines(what: str, path: Path, kept: Path) -> Iterator[Line]:
    """The figures of one path."""
    with open_source(path) as source:
        infos = source.listing.tensors
        found = FigureCache(kept).for_source(source)
        assert found is not None
        values = [measured(info.numel, number, info.ndim == 2) for number, info in enumerate(infos)]
        began = time.perf_counter()
        for info, (figures, channels) in zip(infos, values, strict=True):
            found.put(info, figures, channels)
        put = time.perf_counter() - began
        began = time.perf_counter()
        found.flush(is_last=True)
        flushed = time.perf_counter() - began
    nbytes = sum(file.stat().st_size for file in os.scandir(kept))
    title = f"{len(infos):,} tensors in {what}"
    yield Line(f"put: {title}", f"{put / len(infos) * 1e6:.1f} us each", "", None)
    yield Line(f"flush: {title}", f"{flushed:.3f} s", "< 1 s", flushed < 1)
    yield Line(
        f"size: {title}", f"{nbytes / len(infos):.0f} B each, {nbytes / 2**20:.0f} MiB", "< 64 MiB", nbytes < 2**26
    )
    command = [sys.executable, "-c", RECALL, str(kept), str(path)]
    runs = [
        tuple(map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()))
        for _ in range(RUNS)
    ]
    imported, looked, loaded, got = (statistics.median(column) for column in zip(*runs, strict=True))
    yield Line(f"import: {title}", f"{imported:.3f} s", "", None)
    yield Line(f"look at the data files: {title}", f"{looked:.3f} s", "", None)
    yield Line(f"load: {title}", f"{loaded:.3f} s", "< 0.3 s", loaded < 0.3)
    yield Line(f"get: {title}", f"{got / len(infos) * 1e6:.1f} us each", "< 20 us", got / len(infos) < 20e-6)
