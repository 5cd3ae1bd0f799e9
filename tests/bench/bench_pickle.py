"""Opening torch.save files: seconds to the listing, and memory, for an ordinary file and one of 102,000 tensors.

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


if __name__ == "__main__":
    for line in run():
        print(f"{line.what:60} {line.measured:>10}  target {line.target:>8}  {'ok' if line.ok else 'MISSED'}")
