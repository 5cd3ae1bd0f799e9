"""Opening torch.save files: seconds to the listing, and memory, for an ordinary file and one of 102,000 tensors.

A file of 1.3 GB is listed beside ``torch.load`` of the same, which reads it all (``mmap=False``, its default).

Run with ``python -m tests.bench.bench_pickle``. The files are written by torch; each is opened in a fresh process.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.line import Line

ORDINARY, LARGE = 1_500, 102_000
TIMES_FASTER = 50
ORDINARY_SECONDS, LARGE_SECONDS, MEMORY_MB = 0.1, 4.0, 400

_OPEN = """
import resource, sys, time
from pathlib import Path
from tui_params.sources.torch_save.zip import open_torch

def peak():
    # MB: ru_maxrss is inherited from the parent on Linux, the high-water mark of /proc is not.
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)

before = peak()
times = []
for _ in range(3):
    start = time.perf_counter()
    source = open_torch(Path(sys.argv[1]))
    times.append(time.perf_counter() - start)
    if len(times) == 1:
        memory = peak() - before
print(len(source.listing.tensors), min(times), memory)
"""


def write(path: Path, count: int, *, legacy: bool = False) -> None:
    """A state dict of ``count`` small tensors with the names of a mixture of experts."""
    import torch

    state = {}
    for i in range(count):
        expert = f"model.layers.{i // 768}.mlp.experts.{i // 3 % 256}"
        state[f"{expert}.{('gate', 'up', 'down')[i % 3]}_proj.weight"] = torch.zeros(2, 4)
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)


_LOAD = """
import sys, time
import torch
times = []
for _ in range(3):
    start = time.perf_counter()
    state = torch.load(sys.argv[1], map_location="cpu", mmap=False)
    times.append(time.perf_counter() - start)
    assert len(state) == int(sys.argv[2])
    del state
print(min(times))
"""


def write_wide(path: Path) -> int:
    """A state dict of 1.3 GB with as many tensors as GPT-2 medium; returns how many."""
    import torch

    state = {}
    for layer in range(24):
        for part, shape in (("q", (1024, 1024)), ("k", (1024, 1024)), ("v", (1024, 1024)), ("o", (1024, 1024))):
            state[f"layers.{layer}.attn.{part}.weight"] = torch.zeros(shape)
            state[f"layers.{layer}.attn.{part}.bias"] = torch.zeros(shape[0])
        state[f"layers.{layer}.mlp.up.weight"] = torch.zeros(4096, 1024)
        state[f"layers.{layer}.mlp.down.weight"] = torch.zeros(1024, 4096)
        state[f"layers.{layer}.norm.weight"] = torch.zeros(1024)
    state["embedding.weight"] = torch.zeros(22_000, 1024)
    torch.save(state, path)
    return len(state)


def beside_torch(path: Path) -> Iterator[Line]:
    """How long listing takes, and torch.load."""
    count = write_wide(path)
    found, seconds, _ = measure(path)
    assert found == count
    command = [sys.executable, "-c", _LOAD, str(path), str(count)]
    loading = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    what = f"open {count:,} tensors, zip of {path.stat().st_size / 1e9:.1f} GB"
    measured = f"{seconds:.4f} s, torch.load {loading:.2f} s"
    yield Line(what, measured, f"1/{TIMES_FASTER} of it", seconds * TIMES_FASTER < loading)


def measure(path: Path) -> tuple[int, float, float]:
    """Tensors, seconds (the best of three) and MB of the first opening, in a fresh process."""
    done = subprocess.run([sys.executable, "-c", _OPEN, str(path)], capture_output=True, text=True, check=True)
    count, seconds, memory = done.stdout.split()
    return int(count), float(seconds), float(memory)


def run() -> Iterator[Line]:
    """The lines of the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        for count, legacy in ((ORDINARY, False), (LARGE, False), (LARGE, True)):
            path = Path(folder) / "model.pt"
            write(path, count, legacy=legacy)
            found, seconds, memory = measure(path)
            assert found == count
            limit = ORDINARY_SECONDS if count == ORDINARY else LARGE_SECONDS
            what = f"{count:,} tensors, {'legacy stream' if legacy else 'zip'} of {path.stat().st_size >> 20} MB"
            yield Line(f"open {what}", f"{seconds:.3f} s", f"{limit} s", seconds < limit)
            yield Line(f"memory of {what}", f"{memory:.0f} MB", f"{MEMORY_MB} MB", memory < MEMORY_MB)
        yield from beside_torch(Path(folder) / "wide.pt")


if __name__ == "__main__":
    for line in run():
        print(f"{line.what:60} {line.measured:>10}  target {line.target:>8}  {'ok' if line.ok else 'MISSED'}")
