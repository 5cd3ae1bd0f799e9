"""Comparing two large files: seconds against ``cmp`` of the same two in the same run, and private memory.

Run with ``python -m tests.bench.bench_diff``. The files differ in their last two tensors, so that ``cmp``, which stops
at the first difference, reads nearly all of them. They are in the page cache, in a temporary folder.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.bench.bench_stats import PrivateMemory, seconds
from tests.bench.line import Line
from tui_params.api.comparing import compare
from tui_params.api.opening import ENGINE

TENSORS, SIDE = 170, 2048
RATIO = 2.0
MEMORY_LIMIT_MB = 64


def write(path: Path, *, changed: int, count: int = TENSORS, side: int = SIDE) -> None:
    """``count`` bf16 matrices; of the last ``changed`` every third element has another last bit."""
    nbytes = 2 * side * side
    header = {
        f"model.layers.{i}.mlp.up_proj.weight": {
            "dtype": "BF16",
            "shape": [side, side],
            "data_offsets": [i * nbytes, (i + 1) * nbytes],
        }
        for i in range(count)
    }
    text = json.dumps(header).encode()
    values = np.random.default_rng(0).normal(0, 0.02, side * side).astype(np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for i in range(count):
            tensor = np.roll(bits, i)
            if i >= count - changed:
                tensor[::3] ^= 1
            file.write(tensor.data)


def command_line(a: Path, b: Path) -> None:
    command = [sys.executable, "-m", "tui_params", "diff", str(a), str(b)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr


def peak_megabytes(a: Path, b: Path) -> float:
    """The private memory that a fresh process needs at most for the comparison, beyond that of its imports."""
    command = [sys.executable, "-m", "tests.bench.bench_diff", "--memory", str(a), str(b)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak(a: str, b: str) -> None:
    # The imports, and the first use of every operation, are not what is measured.
    one, other = ({"x": np.arange(8) + i} for i in range(2))
    from tests.factories_memory import MemorySource

    compare(MemorySource(one), MemorySource(other))
    with PrivateMemory() as memory:
        compare(a, b)
    print(memory.megabytes)


def run() -> Iterator[Line]:
    """The lines of this benchmark."""
    # As any earlier use leaves them: the loops compiled, and kept for the processes that follow.
    ENGINE.start_compiling().done.wait()
    with tempfile.TemporaryDirectory() as folder:
        a, b, c = (Path(folder) / f"{name}.safetensors" for name in "abc")
        write(a, changed=0)
        write(b, changed=2)
        what = f"diff of {a.stat().st_size / 1e9:.2f} GB, 2 tensors differ"
        tool = shutil.which("cmp")
        plain = (
            seconds(lambda: subprocess.run(["cmp", str(a), str(b)], capture_output=True, check=False)) if tool else None
        )
        if plain is not None:
            yield Line(f"{what}: cmp", f"{plain:.2f} s", "", None)
        for name, taken in (
            ("whole process", seconds(lambda: command_line(a, b))),
            ("in-process", seconds(lambda: compare(a, b))),
            ("in-process, one thread", seconds(lambda: compare(a, b, threads=1))),
        ):
            ratio = None if plain is None else taken / plain
            measured = f"{taken:.2f} s" if ratio is None else f"{taken:.2f} s, {ratio:.2f} x cmp"
            yield Line(f"{what}: {name}", measured, f"< {RATIO:g} x cmp", None if ratio is None else ratio < RATIO)
        used = peak_megabytes(a, b)
        yield Line(f"{what}: extra memory", f"{used:.0f} MB", f"< {MEMORY_LIMIT_MB} MB", 0 <= used < MEMORY_LIMIT_MB)
        b.unlink()
        write(c, changed=TENSORS)
        what = "the same size, all tensors differ"
        both = seconds(lambda: subprocess.run(["cat", str(a), str(c)], stdout=subprocess.DEVNULL, check=True), 2)
        taken = seconds(lambda: command_line(a, c), 2)
        yield Line(f"{what}: whole process", f"{taken:.2f} s, {taken / both:.1f} x cat of both", "", None)
        used = peak_megabytes(a, c)
        yield Line(f"{what}: extra memory", f"{used:.0f} MB", f"< {MEMORY_LIMIT_MB} MB", 0 <= used < MEMORY_LIMIT_MB)


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--memory"]:
        print_peak(*arguments[1:])
        return
    for line in run():
        mark = {None: "", True: "ok", False: "MISSED"}[line.ok]
        print(f"{line.what:64} {line.measured:24} {line.target:12} {mark}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
