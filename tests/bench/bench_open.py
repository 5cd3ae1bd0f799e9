"""From a path to the list of its tensors, at the size of the largest published models."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.line import Line
from tests.factories_names import deepseek_v3_names
from tests.factories_safetensors import entry, file_bytes, write_index

RUNS = 5
SHARDS = 163

# Each run is a process of its own: the first opening is the one that a person waits for.
OPEN = """
import sys, time
began = time.perf_counter()
from tui_params.api.opening import open_source
imported = time.perf_counter()
source = open_source(sys.argv[1])
opened = time.perf_counter()
assert len(source.listing.tensors) == int(sys.argv[2]), len(source.listing.tensors)
assert source.listing.findings == (), source.listing.findings[:3]
memory = 0
if sys.platform == "linux":
    memory = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS:"))
info = source.find(sys.argv[3])
find = time.perf_counter()
source.read(info.name, "[:1, :4]")
read = time.perf_counter()
print(imported - began, opened - imported, memory / 1024, read - find)
"""


def write_sparse(path: Path, names: list[tuple[str, tuple[int, ...], str]]) -> None:
    """A safetensors file with a true header whose data are a hole: as long as the real one, and no larger."""
    header, begin = {}, 0
    for name, shape, code in names:
        header[name] = entry(code, shape, begin)
        begin = header[name]["data_offsets"][1]
    start = file_bytes({"__metadata__": {"format": "pt"}} | header, b"")
    path.write_bytes(start)
    with path.open("r+b") as file:
        file.truncate(len(start) + begin)


def measure(path: Path, count: int, tensor: str) -> tuple[float, ...]:
    """Medians over RUNS processes: seconds to import and to open, resident MiB then, seconds of a first read."""
    runs = []
    for _ in range(RUNS):
        command = [sys.executable, "-c", OPEN, str(path), str(count), tensor]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        runs.append(tuple(map(float, done.stdout.split())))
    return tuple(statistics.median(column) for column in zip(*runs, strict=True))


def run() -> Iterator[Line]:
    """One file, one folder of shards, and one file as large as a file system allows."""
    folder = Path(tempfile.mkdtemp(prefix="tui-params-bench-"))
    try:
        names = deepseek_v3_names()
        last = names[-1][0]
        one = folder / "one.safetensors"
        write_sparse(one, names)
        yield from lines(f"{len(names):,} tensors in 1 file", one, len(names), last, 0.35)

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
        yield from lines(f"{len(names):,} tensors in {SHARDS} shards", shards, len(names), last, 0.7)

        huge = folder / "huge.safetensors"
        write_sparse(huge, [(f"layers.{number}.weight", (1 << 20, 1 << 17), "F8_E4M3") for number in range(8)])
        yield from lines("1 TiB in 8 tensors", huge, 8, "layers.7.weight", 0.05)
    finally:
        shutil.rmtree(folder)


def lines(what: str, path: Path, count: int, tensor: str, target: float) -> Iterator[Line]:
    """The figures of one path."""
    imported, opened, memory, read = measure(path, count, tensor)
    yield Line(f"import: {what}", f"{imported:.3f} s", "", None)
    yield Line(f"open: {what}", f"{opened:.3f} s", f"< {target} s", opened < target)
    if memory:
        yield Line(f"memory: {what}, listed", f"{memory:.0f} MiB", "", None)
    yield Line(f"first read: {what}, numpy loaded with it", f"{read:.3f} s", "< 0.5 s", read < 0.5)
